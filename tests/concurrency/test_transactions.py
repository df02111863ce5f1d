"""Transactions, savepoints, and what each thread sees."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecdb
from tests.oracles.invariants import check_database
from vecdb.mirror.blocks import Blocks


def run(target: object) -> object:
    """Call in another thread; its result or its error."""
    box: list[object] = []

    def call() -> None:
        try:
            box.append(target())  # type: ignore[operator]
        except BaseException as error:
            box.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return box[0]


@pytest.fixture
def table(db: vecdb.Database, rng: np.random.Generator) -> vecdb.Table:
    table = db.create_table("t", dim=4, metric="l2")
    table.insert(range(1500), rng.normal(size=(1500, 4)))
    return table


def test_own_rows_are_seen_and_others_see_the_commit_only(db: vecdb.Database, table: vecdb.Table) -> None:
    query = [9.0, 9.0, 9.0, 9.0]
    with db.transaction():
        table.insert("new", query, {"x": 1})
        hits = table.search(query, k=1)
        assert hits.ids == ["new"]
        assert hits.plan.strategy == "graph"
        assert hits[0].fields == {"x": 1}
        assert table.search_batch([query], k=1).ids[0, 0] == "new"
        assert len(table) == 1501
        assert run(lambda: len(table)) == 1500
        assert "new" not in run(lambda: table.search(query, k=1).ids)  # type: ignore[operator]
        assert run(lambda: table.get("new")) is None
    assert run(lambda: table.search(query, k=1).ids) == ["new"]


def test_savepoints(db: vecdb.Database, table: vecdb.Table) -> None:
    with db.transaction():
        table.insert("a", [9, 9, 9, 9])
        with pytest.raises(KeyError), db.transaction():
            table.insert("b", [9, 9, 9, 9])
            table.delete("a")
            with db.transaction():
                table.insert("c", [9, 9, 9, 9])
            assert table.search([9, 9, 9, 9], k=2).ids == ["b", "c"]
            raise KeyError
        assert table.search([9, 9, 9, 9], k=1).ids == ["a"]
        with db.transaction():
            table.upsert("a", [8, 8, 8, 8])
            table.insert("d", [9, 9, 9, 9])
            with pytest.raises(KeyError), db.transaction():
                table.delete(["d", "a", *range(1000)])
                raise KeyError
        assert table.search([9, 9, 9, 9], k=2).ids == ["d", "a"]
        assert table.get("b") is None
    assert table.search([9, 9, 9, 9], k=2).ids == ["d", "a"]
    assert len(table) == 1502


def test_tables_made_and_dropped_in_a_transaction(db: vecdb.Database, table: vecdb.Table) -> None:
    with pytest.raises(KeyError), db.transaction():
        other = db.create_table("other", dim=2)
        other.insert(1, [1, 0])
        assert other.search([1, 0]).ids == [1]
        db.drop_table("t")
        assert db.tables() == ["other"]
        with pytest.raises(vecdb.TableNotFoundError):
            len(table)
        raise KeyError
    assert db.tables() == ["t"]
    assert len(table) == 1500
    with pytest.raises(vecdb.TableNotFoundError, match="rolled back"):
        len(other)
    with db.transaction():
        third = db.create_table("third", dim=2)
        with pytest.raises(KeyError), db.transaction():
            third.insert(1, [1, 0])
            raise KeyError
        assert len(third.search([1, 0])) == 0
        third.insert(2, [1, 0])
    assert third.search([1, 0]).ids == [2]
    db.drop_table("third")
    db.create_table("third", dim=3)
    with pytest.raises(vecdb.TableNotFoundError, match="dropped"):
        third.search([1, 0])


def test_many_savepoints_do_not_grow_memory(db: vecdb.Database, table: vecdb.Table) -> None:
    with db.transaction():
        with db.transaction():
            table.insert("first", [1, 1, 1, 1])
        mirror = db._mirror.columns[next(iter(db._mirror.columns))]
        size = mirror.links.arena.nbytes
        for number in range(200):
            with db.transaction():
                table.insert(f"x{number}", [1, 1, 1, number])
        assert mirror.links.arena.nbytes <= 3 * size


def test_places_are_recycled_over_commits(table: vecdb.Table, db: vecdb.Database) -> None:
    mirror = next(iter(db._mirror.columns.values()))
    table.insert("first", [1, 1, 1, 1])
    size = mirror.links.arena.nbytes
    for number in range(300):
        table.upsert("x", [1, 1, 1, number])
    assert mirror.links.arena.nbytes <= 2 * size


def test_one_writer_at_a_time(path: Path) -> None:
    with vecdb.connect(path, timeout=0.2) as db, vecdb.connect(path, timeout=0.2) as other:
        table = db.create_table("t", dim=2)
        with db.transaction():
            table.insert(1, [1, 0])
            with pytest.raises(vecdb.LockTimeoutError, match=r"0\.2 s"):
                other.table("t")
                other.create_table("u", dim=2)
            assert isinstance(run(lambda: table.insert(2, [1, 0])), vecdb.LockTimeoutError)
        other.create_table("u", dim=2)
        assert run(lambda: table.insert(2, [1, 0])) == 2


def test_misuse(db: vecdb.Database, table: vecdb.Table) -> None:
    transaction = db.transaction()
    with transaction:
        assert isinstance(run(lambda: transaction.__exit__(None, None, None)), vecdb.TransactionError)
        table.insert("a", [1, 1, 1, 1])
    with pytest.raises(vecdb.TransactionError, match="once"), transaction:
        pass
    assert table.get("a") is not None
    outer, inner = db.transaction(), db.transaction()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(vecdb.TransactionError, match="innermost"):
        outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)
    outer.__exit__(None, None, None)


def test_closing_rolls_back_this_threads_transaction(path: Path) -> None:
    db = vecdb.connect(path)
    table = db.create_table("t", dim=2)
    transaction = db.transaction()
    transaction.__enter__()
    table.insert(1, [1, 0])
    db.close()
    db.close()
    with pytest.raises(vecdb.StaleHandleError):
        len(table)
    with pytest.raises(vecdb.StaleHandleError), db.transaction():
        pass
    with vecdb.connect(path) as again:
        assert len(again.table("t")) == 0
        again.table("t").insert(1, [1, 0])


def test_versions_grow_by_commits_that_write(db: vecdb.Database, table: vecdb.Table) -> None:
    before = db.version
    with db.transaction():
        pass
    table.delete("nope")
    assert db.version == before
    table.insert("a", [1, 1, 1, 1])
    assert db.version == before + 1
    with db.transaction():
        table.insert("b", [1, 1, 1, 1])
        table.insert("c", [1, 1, 1, 1])
    assert db.version == before + 2


def test_a_savepoint_cut_off_in_a_savepoint(db: vecdb.Database, table: vecdb.Table, rng: np.random.Generator) -> None:
    def cut(done: int, total: int) -> None:
        raise RuntimeError

    vectors = rng.normal(size=(600, 4))
    with db.transaction():
        table.insert("kept", [9, 9, 9, 9])
        with pytest.raises(ValueError, match="undo"), db.transaction():
            table.insert("x", [9, 9, 9, 9])
            cut_off = pytest.raises(vecdb.TransactionError, match="rolled back")
            with cut_off, db.transaction(), pytest.raises(RuntimeError):
                table.insert(range(5000, 5600), vectors, progress=cut)
            assert table.get("x") is not None
            raise ValueError("undo")
        assert table.get("x") is None
    assert table.search([9, 9, 9, 9], k=1).ids == ["kept"]
    assert len(table) == 1501


def test_a_publication_cut_off_leaves_a_sound_file(
    db: vecdb.Database, table: vecdb.Table, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(6):
        calls = 0
        original = Blocks._drop_unused

        def cut(blocks: Blocks, epoch: int, step: int = step, original: Any = original) -> None:
            nonlocal calls
            calls += 1
            if calls == step % 3 + 1:
                raise KeyboardInterrupt
            original(blocks, epoch)

        monkeypatch.setattr(Blocks, "_drop_unused", cut)
        with pytest.raises(KeyboardInterrupt):
            table.upsert([1, 2], rng.normal(size=(2, 4)))
        monkeypatch.undo()
        for number in range(20):
            table.upsert([number, number + 1], rng.normal(size=(2, 4)))
        check_database(db)


def test_a_scan_ends_with_its_transaction(db: vecdb.Database, table: vecdb.Table) -> None:
    with db.transaction():
        rows = table.scan()
        next(rows)
    with pytest.raises(vecdb.Error):
        list(rows)
