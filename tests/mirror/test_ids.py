"""Ids of rows kept in memory by slot: always those of the version that a call reads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecdb
from tests.concurrency.test_processes import Peer

HERE = [1.0, 1.0]


def ids(table: vecdb.Table, k: int = 100) -> list[Any]:
    """All ids, nearest first, by every way that reads no fields; they agree."""
    found = table.search(HERE, k, fields=False).ids
    batch = table.search_batch([HERE, HERE], k)
    assert [row[:count].tolist() for row, count in zip(batch.ids, batch.counts, strict=True)] == [found, found]
    assert table.search(HERE, k).ids == found
    return found


@pytest.fixture
def table(db: vecdb.Database) -> vecdb.Table:
    table = db.create_table("t", dim=2, metric="l2")
    table.insert(["a", "b"], [[2, 2], [3, 3]])
    assert ids(table) == ["a", "b"]
    return table


def test_a_slot_assigned_again_after_a_roll_back(db: vecdb.Database, table: vecdb.Table) -> None:
    with pytest.raises(KeyError), db.transaction():
        table.insert("lost", HERE)
        assert ids(table) == ["lost", "a", "b"]
        with pytest.raises(KeyError), db.transaction():
            table.insert("lost sooner", [1.5, 1.5])
            assert ids(table) == ["lost", "lost sooner", "a", "b"]
            raise KeyError
        table.insert("lost too", [1.5, 1.5])
        assert ids(table) == ["lost", "lost too", "a", "b"]
        raise KeyError
    table.insert("kept", HERE)
    assert ids(table) == ["kept", "a", "b"]


def test_a_table_made_again_after_a_roll_back(db: vecdb.Database) -> None:
    with pytest.raises(KeyError), db.transaction():
        lost = db.create_table("lost", dim=2)
        lost.insert("lost", HERE)
        assert ids(lost) == ["lost"]
        raise KeyError
    kept = db.create_table("kept", dim=2)
    kept.insert("kept", HERE)
    assert ids(kept) == ["kept"]


def test_a_table_dropped_and_made_again(db: vecdb.Database, table: vecdb.Table) -> None:
    assert len(db._mirror._ids) == 1
    db.drop_table("t")
    assert db._mirror._ids == {}
    again = db.create_table("t", dim=2, metric="l2")
    again.insert(["b", "a"], [[2, 2], [3, 3]])
    assert ids(again) == ["b", "a"]


def test_upserts_and_deletes(table: vecdb.Table) -> None:
    table.upsert("a", [2, 2], {"x": 1})  # keeps its slot
    table.upsert("b", HERE)
    assert ids(table) == ["b", "a"]
    table.delete("a")
    table.insert("c", [2, 2])
    assert ids(table) == ["b", "c"]
    table.insert("a", [4, 4])
    assert ids(table) == ["b", "c", "a"]


def test_ints_and_strs_in_one_table(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=2, metric="l2")
    extreme = [-(2**63), 2**63 - 1, -1, 0]
    table.insert(extreme, [[number, number] for number in range(2, 6)])
    assert ids(table) == extreme
    assert table.search_batch([HERE]).ids.dtype == np.int64
    table.insert("1", HERE)
    for _ in range(2):
        assert ids(table) == ["1", *extreme]
        batch = table.search_batch([HERE], k=7).ids
        assert batch.dtype == object
        assert [type(identifier) for identifier in batch[0]] == [str, int, int, int, int, type(None), type(None)]
    assert table.search_batch([[5, 5]], k=1).ids.dtype == object
    table.delete("1")
    assert ids(table) == extreme
    assert table.search_batch([HERE], k=5).ids.tolist() == [[*extreme, -1]]
    assert table.search_batch([HERE]).ids.dtype == np.int64


def test_commits_of_another_process(path: Path, db: vecdb.Database, table: vecdb.Table) -> None:
    with Peer(path) as peer:
        with pytest.raises(KeyError), db.transaction():
            table.insert("mine", HERE)
            assert peer("db.table('t').search([1.0, 1.0], fields=False).ids") == "['a', 'b']"
            assert ids(table) == ["mine", "a", "b"]
            raise KeyError
        assert peer("db.table('t').insert('theirs', [1.0, 1.0])") == "'theirs'"
        assert ids(table) == ["theirs", "a", "b"]
        assert peer("db.table('t').delete('a')") == "1"
        assert peer("db.table('t').insert(range(300), np.full((300, 2), 9))") != ""
        assert ids(table, k=400) == ["theirs", "b", *range(300)]
        table.insert("mine", [1.5, 1.5])
        assert peer("db.table('t').search([1.0, 1.0], k=3, fields=False).ids") == "['theirs', 'mine', 'b']"
        peer("db.drop_table('t')")
        peer("db.create_table('t', dim=2).insert(7, [1.0, 1.0])")
        assert ids(db.table("t")) == [7]
        assert len(db._mirror._ids) == 1


def test_a_version_that_is_held_keeps_its_ids(db: vecdb.Database, table: vecdb.Table) -> None:
    with db._mirror.view() as view:
        old = view.find_table("t")
        table.delete("a")
        table.insert(range(100), np.full((100, 2), 9))
        assert ids(table, k=101) == ["b", *range(100)]
        assert view.ids(old, np.array([1, 0, 1], np.int32)).tolist() == ["b", "a", "b"]


def test_threads_read_ids_while_rows_come_and_go(db: vecdb.Database) -> None:
    """A row's vector tells its id. Strs come after ints, rows move to new slots, the arrays grow."""
    table = db.create_table("t", dim=1, metric="l2")
    table.insert(range(50), np.arange(50)[:, None])
    stop = threading.Event()
    problems: list[object] = []

    def read(batch: bool) -> None:
        rng = np.random.default_rng(batch)
        while not stop.is_set():
            query = rng.integers(50, size=(20, 1)).astype(np.float32)
            if batch:
                found = table.search_batch(query, k=1, threads=1).ids[:, 0].tolist()
            else:
                found = [table.search(one, k=1, fields=False).ids[0] for one in query]
            wrong = [pair for pair in zip(query[:, 0].tolist(), found, strict=True) if pair[0] != int(pair[1])]
            problems.extend(wrong)

    threads = [threading.Thread(target=read, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for step in range(60):
        number = step % 50
        with db.transaction():
            table.delete([number, str(number)])
            table.insert(str(number) if step > 20 else number, [number])
            table.insert(range(100 * step + 100, 100 * step + 150), np.arange(1000, 1050)[:, None])
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_ids_count_as_memory(path: Path, long: bool) -> None:
    """Ids take what the columns leave: long ones are read from the file each time."""
    names = [f"{number} {'x' * 400 * long}" for number in range(3000)]
    vectors = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    with vecdb.connect(path) as db:
        db.create_table("t", dim=16).insert(names, vectors)
    with vecdb.connect(path, memory=1_500_000) as db:
        table = db.table("t")
        assert table.search(vectors[7], k=1, fields=False).ids == [names[7]]
        for _ in range(2):
            found = table.search_batch(vectors, k=1, exact=True).ids[:, 0].tolist()
            assert found == names
            known = sum(int(ids._known.sum()) for ids in db._mirror._ids.values())
            assert (known < len(names)) == long  # given up when they were too many, part by part of the batch
            assert len(db._mirror.columns) == 1
            assert db._mirror._nbytes() <= 1_500_000
        assert table.search(vectors[7], k=1, fields=False).ids == [names[7]]


def test_ids_never_take_the_place_of_a_column(path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    with vecdb.connect(path) as db:
        for name in ("a", "b"):
            db.create_table(name, dim=16).insert(range(3000), vectors)
    with vecdb.connect(path) as db:
        for name in ("a", "b"):
            assert db.table(name).search(vectors[7], k=1, fields=False).ids == [7]
        columns = sum(mirror.nbytes for mirror in db._mirror.columns.values())
        assert db._mirror._nbytes() > columns + 1000
    with vecdb.connect(path, memory=columns + 1000) as db:
        for name in ("a", "b", "a"):
            assert db.table(name).search(vectors[7], k=1, fields=False).ids == [7]
        assert len(db._mirror.columns) == 2
        assert db._mirror._nbytes() <= columns + 1000
