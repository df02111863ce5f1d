"""Blocks whose slots are all gone leave the file and memory; nobody who reads an older version misses them."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import nearest, recall
from tests.oracles.invariants import check_database
from vecdb.mirror.blocks import BLANK
from vecdb.mirror.vectors import flat
from vecdb.mirror.versions import Mirror
from vecdb.storage.keys import Space

ROWS, DIM, PART = 3000, 24, 500


def count(db: vecdb.Database, space: Space) -> int:
    with db._view() as view:
        return sum(1 for _ in view.records.scan(space, b""))


def links_of(mirror: Mirror) -> np.ndarray:
    with mirror.view() as view:
        table = view.find_table("t")
        return view.column(table, table.schema.columns[0]).links.gather()


@pytest.mark.parametrize("quantization", ["u8", "none"])
def test_a_sliding_window_keeps_its_size(
    path: Path, rng: np.random.Generator, quantization: Literal["u8", "none"]
) -> None:
    vectors = rng.normal(size=(4 * ROWS, DIM)).astype(np.float32)
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=DIM, metric="l2", quantization=quantization)
        table.insert(range(ROWS), vectors[:ROWS])
        first = {space: count(db, space) for space in (Space.VECTORS, Space.CODES, Space.LINKS)}
        follower = Mirror(db._environment, 1 << 30)
        links_of(follower)
        for start in range(0, 3 * ROWS, PART):
            table.delete(range(start, start + PART))
            table.insert(range(start + ROWS, start + ROWS + PART), vectors[start + ROWS : start + ROWS + PART])
            np.testing.assert_array_equal(links_of(follower), links_of(db._mirror))
        for space, blocks in first.items():
            assert count(db, space) <= 1.4 * blocks
        mirror = next(iter(db._mirror.columns.values()))
        assert np.count_nonzero(mirror.links.table[: mirror.links.count] == BLANK) > ROWS // 24
        assert len(mirror.links.arena) <= 4 * first[Space.LINKS]
        check_database(db)
        table.vacuum()
        for space, blocks in first.items():
            assert count(db, space) <= blocks + 3
        check_database(db)
    with vecdb.connect(path) as db:
        table = db.table("t")
        queries = vectors[::400]
        right = [[int(row) + 3 * ROWS for row in nearest(vectors[3 * ROWS :], query, "l2", 10)] for query in queries]
        for _ in range(2):  # vectors are in the file first, then in memory
            assert recall(table.search_batch(queries, ef=200).ids.tolist(), right) > 0.98
        assert table.search_batch(queries, exact=True).ids.tolist() == right
        table.insert("more", vectors[0])
        assert table.search(vectors[0], k=1).ids == ["more"]


@pytest.mark.parametrize("quantization", ["u8", "none"])
def test_vectors_of_the_deleted_leave_at_once_where_codes_conduct(
    path: Path, rng: np.random.Generator, quantization: Literal["u8", "none"]
) -> None:
    """Also a quantizer that is trained anew by a process that never saw them leaves a graph that serves."""
    vectors = rng.normal(size=(3 * ROWS, DIM)).astype(np.float32)
    vectors[ROWS:] *= 3
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=DIM, metric="l2", quantization=quantization)
        table.insert(range(ROWS), vectors[:ROWS])
        spaces = (Space.VECTORS, Space.LINKS)
        before = {space: count(db, space) for space in spaces}
        table.delete(range(ROWS // 2))
        after = {space: count(db, space) for space in spaces}
        assert after[Space.LINKS] == before[Space.LINKS], "the dead conduct"
        coded = quantization == "u8"
        assert after[Space.VECTORS] <= (0.6 if coded else 1) * before[Space.VECTORS]
        assert coded or after == before
        check_database(db)
    with vecdb.connect(path) as db:
        table = db.table("t")
        queries = vectors[ROWS // 2 : ROWS : 50]
        exact = table.search_batch(queries, exact=True).ids.tolist()
        assert recall(table.search_batch(queries, ef=150).ids.tolist(), exact) > 0.98
        table.insert(range(ROWS, ROWS + 300), vectors[ROWS : ROWS + 300])
        with db._view() as view:
            state = view.find_table("t").state.columns[1]
        assert state.waiting > 500
        assert state.trainings == (2 if coded else 1)
        exact = table.search_batch(queries, exact=True).ids.tolist()
        assert recall(table.search_batch(queries, ef=150).ids.tolist(), exact) > 0.98
        check_database(db)


def test_columns_of_fields_go_with_their_last_rows(path: Path) -> None:
    """A window of rows slides over them; whoever filters finds what is there, in every form of a field."""
    fields = {"n": int, "name": str, "at": datetime}
    start = datetime(2024, 1, 1)

    def row(number: int) -> dict[str, object]:
        return {"n": number, "name": f"name {number}", "at": start + timedelta(hours=number)}

    with vecdb.connect(path) as db:
        table = db.create_table("t", fields=fields)
        table.insert(range(ROWS), None, [row(number) for number in range(ROWS)])
        blocks = count(db, Space.COLUMNS)
        for first in range(0, 3 * ROWS, PART):
            table.insert(range(first + ROWS, first + ROWS + PART), None, [row(first + ROWS + i) for i in range(PART)])
            table.delete(where=f"n < {first + PART}")
            assert count(db, Space.COLUMNS) <= blocks + 2 * len(fields)
        for where in ("n >= 0", "n != 7", "NOT name LIKE 'x%'", "at > '2024-01-01'", "n IS NOT NULL"):
            assert table.count(where=where) == ROWS
        table.add_field("more", int)
        table.update(4 * ROWS - 1, fields={"more": 5, "name": "new"})
        assert [row.id for row in table.scan(where="more = 5 AND name = 'new'")] == [4 * ROWS - 1]
        check_database(db)
        # One at a time: blocks that are filled when all their rows are gone already.
        for number in range(4 * ROWS, 4 * ROWS + 1200):
            table.insert(number, None, row(number))
            table.delete(number)
        check_database(db)
    with vecdb.connect(path) as db:
        assert db.table("t").count(where="n >= 0") == ROWS


def test_memory_is_that_of_the_rows_that_are_there(path: Path, rng: np.random.Generator) -> None:
    """However many came and went; so a column that fits is still kept in memory, in this process and in the next."""
    rows, dim = 1200, 256
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=dim, metric="l2")
        table.insert(range(rows), rng.normal(size=(rows, dim)))
        mirror = next(iter(db._mirror.columns.values()))
        first = mirror.nbytes
        for start in range(0, 20 * rows, rows // 2):
            table.delete(range(start, start + rows // 2))
            table.insert(range(start + rows, start + rows + rows // 2), rng.normal(size=(rows // 2, dim)))
            assert mirror.nbytes < 5 * first
        assert mirror.vectors is not None
        assert len(mirror.vectors.array) <= mirror.slots + 5 * rows, "what is gone would stay in memory for long"
        table.vacuum()
    with vecdb.connect(path, memory=4 * first) as db:
        hits = db.table("t").search(rng.normal(size=dim))
        assert hits.plan.strategy == "graph"
        assert next(iter(db._mirror.columns.values())).nbytes < 4 * first
        check_database(db)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count, or do not allow")
def test_arrays_may_be_larger_than_memory_where_hardly_any_of_them_is_used() -> None:
    array = flat((1 << 31, 512), np.uint8)
    assert array.nbytes > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    array[-1] = 7
    assert (int(array[0, 0]), int(array[-1, -1])) == (0, 7)
    assert array.ctypes.data % 64 == 0


def test_who_reads_an_older_version_still_has_what_was_there(path: Path, rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(2 * ROWS, DIM)).astype(np.float32)
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=DIM, metric="l2")
        table.insert(range(ROWS), vectors[:ROWS])
    with vecdb.connect(path) as db:
        table = db.table("t")
        other = Mirror(db._environment, 1 << 30)  # loads a column before the rows go, its vectors after
        old = other.view()
        before = old.find_table("t")
        version = old.column(before, before.schema.columns[0])
        assert version.vectors is not None
        assert version.vectors.absent.all()
        table.delete(range(ROWS - 1))
        table.insert(range(ROWS, 2 * ROWS), vectors[ROWS:])
        table.vacuum()
        with other.view() as new:
            after = new.find_table("t")
            rows = new.vectors(after, new.column(after, after.schema.columns[0]), whole=True)
            np.testing.assert_array_equal(rows[np.arange(ROWS - 1, 2 * ROWS)], vectors[ROWS - 1 :])
        rows = old.vectors(before, version, whole=True)
        np.testing.assert_array_equal(rows[np.arange(ROWS)], vectors[:ROWS])
        old.close()
        assert table.search(vectors[5], k=1).ids != [5]


@pytest.mark.parametrize("rows", [10, ROWS])
def test_what_was_deleted_in_a_transaction_that_needs_more_room_comes_back_with_it(
    path: Path, rng: np.random.Generator, rows: int
) -> None:
    """Arrays that grow leave out what is gone, but not what a roll back, or one to a savepoint, brings back."""
    vectors = rng.normal(size=(rows, DIM)).astype(np.float32)
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=DIM, metric="l2")
        table.insert(range(rows), vectors)
        with pytest.raises(ZeroDivisionError), db.transaction():
            table.delete(range(rows))
            table.vacuum()
            table.insert(range(rows, 9 * rows), rng.normal(size=(8 * rows, DIM)))
            raise ZeroDivisionError
        with db.transaction():
            table.insert("kept", vectors[0])
            with pytest.raises(ZeroDivisionError), db.transaction():
                table.delete("kept")
                table.insert(range(rows, 40 * rows), rng.normal(size=(39 * rows, DIM)))
                raise ZeroDivisionError
        check_database(db)
    with vecdb.connect(path) as db:
        table = db.table("t")
        found = [row.vector for row in table.get([*range(rows), "kept"], vectors=True) if row is not None]
        np.testing.assert_array_equal(found, [*vectors, vectors[0]])
        assert table.search(vectors[3], k=1, ef=200).distances[0] == 0


def test_codes_made_anew_skip_what_is_gone(db: vecdb.Database, rng: np.random.Generator) -> None:
    table = db.create_table("t", dim=DIM, metric="l2")
    table.insert(range(ROWS), rng.normal(size=(ROWS, DIM)))
    table.delete(range(ROWS - 200))
    table.vacuum()
    blocks = count(db, Space.CODES)
    table.insert(range(ROWS, ROWS + 2000), 50 * rng.normal(size=(2000, DIM)))
    with db._view() as view:
        assert view.find_table("t").state.columns[1].trainings == 2
    assert count(db, Space.CODES) < blocks + 2000 // 50
    check_database(db)


def test_rows_without_vectors_have_no_blocks(db: vecdb.Database, rng: np.random.Generator) -> None:
    table = db.create_table("t", vectors={"a": vecdb.Vector(DIM), "b": vecdb.Vector(DIM)})
    none = [None] * ROWS
    table.insert(range(ROWS), {"a": rng.normal(size=(ROWS, DIM)), "b": none})
    table.insert(range(ROWS, 2 * ROWS), {"a": none, "b": rng.normal(size=(ROWS, DIM))})
    full = -(-ROWS // 40)
    assert count(db, Space.VECTORS) <= 2 * full + 4
    check_database(db)
    assert len(table.search(rng.normal(size=DIM), column="b", ef=300)) == 10


def test_a_block_that_is_missing_though_it_is_of_use_is_told(tmp_path: Path, rng: np.random.Generator) -> None:
    place = tmp_path / "t.vecdb"
    for space in (Space.LINKS, Space.CODES, Space.VECTORS):
        place.unlink(missing_ok=True)
        with vecdb.connect(place) as db:
            table = db.create_table("t", dim=DIM)
            table.insert(range(ROWS), rng.normal(size=(ROWS, DIM)))
            table.delete(range(500))  # they wait, and conduct
            with db.transaction():
                writer = db._transactions.writer
                assert writer is not None
                key = next(iter(writer.records.scan(space, b"")))[0]
                writer.records.delete(space, bytes(key))
        with vecdb.connect(place, readonly=True) as db:
            if space is Space.VECTORS:
                with pytest.raises(vecdb.CorruptionError, match="vectors"):
                    db.table("t").search_batch(rng.normal(size=(100, DIM)))
            else:  # which follow from them
                hits = db.table("t").search(rng.normal(size=DIM))
                assert space.value.decode() in (hits.plan.damage or "")
                assert hits.plan.strategy == "scan"
