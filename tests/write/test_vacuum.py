"""vacuum(): complete, interruptible, beside other writers, and part of a transaction where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import nearest, recall

ROWS, DIM = 3000, 8


@pytest.fixture
def vectors(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(2 * ROWS, DIM)).astype(np.float32)


@pytest.fixture
def table(db: vecdb.Database, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> vecdb.Table:
    """Half of the rows are deleted; a vacuum takes many steps."""
    monkeypatch.setattr("vecdb.write.vacuum._MENDED_AT_ONCE", 500)
    monkeypatch.setattr("vecdb.write.vacuum._TAKEN_AT_ONCE", 400)
    table = db.create_table("t", dim=DIM, metric="l2")
    table.insert(range(ROWS), vectors[:ROWS])
    table.delete(range(0, ROWS, 2))
    return table


def waiting(db: vecdb.Database) -> int:
    return db.stats().tables["t"].waiting


def test_vacuum_is_complete_and_tells_how_far_it_is(db: vecdb.Database, table: vecdb.Table) -> None:
    version, told = db.version, []
    assert table.vacuum(progress=lambda done, total: told.append((done, total))) == ROWS // 2
    assert waiting(db) == 0
    assert told[-1][0] == told[-1][1] == ROWS + ROWS // 2
    assert db.version >= version + len(told), "every step is a commit"
    assert db.vacuum() == 0


def test_a_vacuum_cut_off_is_taken_up_by_the_next(db: vecdb.Database, table: vecdb.Table) -> None:
    def stop(done: int, total: int) -> None:
        if done > total * 3 // 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table.vacuum(progress=stop)
    left = waiting(db)
    assert 0 < left < ROWS // 2
    assert table.vacuum() == left


def test_others_write_between_the_steps(
    path: Path, db: vecdb.Database, table: vecdb.Table, vectors: np.ndarray
) -> None:
    came: list[int] = []

    def write(done: int, total: int) -> None:
        row = ROWS + len(came)
        came.append(row)
        table.insert(row, vectors[row])
        table.delete(2 * len(came) + 1)

    table.vacuum(progress=write)
    table.vacuum()
    assert waiting(db) == 0
    living = [row for row in range(1, ROWS, 2) if row > 2 * len(came) + 1] + [1, *came]
    found = table.search_batch(vectors[:50], ef=100)
    right = [[living[place] for place in nearest(vectors[living], query, "l2", 10)] for query in vectors[:50]]
    assert recall(found.ids.tolist(), right) >= 0.95


def test_a_vacuum_in_a_transaction_is_rolled_back_with_it(db: vecdb.Database, table: vecdb.Table) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction():
        assert table.vacuum() == ROWS // 2
        raise ZeroDivisionError
    assert waiting(db) == ROWS // 2


def test_inserts_repair_more_than_updates_leave(db: vecdb.Database, table: vecdb.Table, vectors: np.ndarray) -> None:
    for row in range(1, 101, 2):
        table.upsert(row, vectors[ROWS + row])
    assert waiting(db) == ROWS // 2 - 50
    table.upsert(range(101, ROWS, 2), vectors[ROWS + 101 :: 2])
    assert waiting(db) == 0


def test_another_process_sees_the_repaired_graph(path: Path, db: vecdb.Database, table: vecdb.Table) -> None:
    """What waits follows from the file: one that opens it anew has as much to do."""
    table.search([0] * DIM)
    db.close()
    with vecdb.connect(path) as again:
        assert waiting(again) == ROWS // 2
        assert again.vacuum() == ROWS // 2
        assert len(again.table("t").search([0] * DIM, k=5)) == 5


def test_stats_tell_what_is_there_and_what_vacuum_would_do(
    path: Path, db: vecdb.Database, table: vecdb.Table, vectors: np.ndarray
) -> None:
    """A transaction sees the counters of its own rows in its tables."""
    half = ROWS // 2
    column = vecdb.ColumnStats(half, True, half)
    assert db.stats().tables == {"t": vecdb.TableStats(half, ROWS, {"vector": column})}
    assert table.stats().tombstones == half
    with db.transaction():
        table.delete(1)
        assert table.stats().rows == half - 1
        assert db.stats().tables["t"].rows == half
    table.vacuum()
    assert table.stats() == vecdb.TableStats(half - 1, ROWS, {"vector": vecdb.ColumnStats(half - 1, True, 0)})
    stats = db.stats()
    assert stats.version == db.version
    assert stats.file_bytes == path.stat().st_size
    db.drop_table("t")
    assert db.stats().free_bytes > stats.free_bytes + vectors[:ROWS].nbytes
    assert db.create_table("flat").stats() == vecdb.TableStats(0, 0, {})


def test_stats_tell_what_can_be_reached(db: vecdb.Database, table: vecdb.Table) -> None:
    """Asked for, as a walk over the whole graph costs time."""
    assert table.stats().columns["vector"].reachable is None
    assert table.stats(reachability=True).columns["vector"].reachable == ROWS // 2
    table.delete(range(1, ROWS - 1, 2))
    assert table.stats(reachability=True).columns["vector"].reachable == 1
    table.vacuum()
    assert table.stats(reachability=True).columns["vector"].reachable == 1
    table.delete(ROWS - 1)
    assert table.stats(reachability=True).columns["vector"].reachable == 0
    with db.transaction():
        table.insert(["a", "b"], [[1.0] * DIM, [2.0] * DIM])
        assert table.stats(reachability=True).columns["vector"].reachable == 2
    small = db.create_table("small", dim=2)
    small.insert(1, [1, 2])
    assert small.stats(reachability=True).columns["vector"].reachable is None, "it has no graph"


def test_a_row_without_a_way_to_it_is_counted_as_such(db: vecdb.Database, table: vecdb.Table) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction():
        writer = db._transactions.writer
        assert writer is not None
        found = writer.find_table("t")
        mirror = writer.writable(found, found.schema.columns[0])
        victim = int(mirror.present().live_slots[-1])
        for number in range(mirror.links.count):
            block = mirror.links.own(number)
            lists = block[:, 2:]
            lists[lists == victim] = -1  # what comes after it in a list is lost, too
        assert (table.stats(reachability=True).columns["vector"].reachable or 0) < ROWS // 2
        raise ZeroDivisionError
