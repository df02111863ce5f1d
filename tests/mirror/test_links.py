"""Links in the file, as blocks and as a journal of small commits: memory, file and followers agree at every version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecdb
from tests.oracles.invariants import check_database
from tests.storage.test_open import change_record
from vecdb.mirror import links, payloads
from vecdb.mirror.versions import Mirror
from vecdb.storage import keys
from vecdb.storage.changes import read_block_changes
from vecdb.storage.keys import Space

ROWS, DIM = 2000, 16
RECORD_BYTES = 4 * (1 + 2 + 40)


@pytest.fixture
def table(db: vecdb.Database, rng: np.random.Generator) -> vecdb.Table:
    table = db.create_table("t", dim=DIM, metric="l2")
    table.insert(range(ROWS), rng.normal(size=(ROWS, DIM)))
    return table


def links_of(mirror: Mirror) -> np.ndarray:
    with mirror.view() as view:
        table = view.find_table("t")
        return view.column(table, table.schema.columns[0]).links.gather()


def entries(db: vecdb.Database) -> list[tuple[bytes, int]]:
    with db._view() as view:
        return [(key, len(payload)) for key, payload in view.records.scan(Space.JOURNAL, b"")]


def blocks_written(db: vecdb.Database) -> int:
    """Of links, by the last commit."""
    with db._view() as view:
        changes = read_block_changes(view.records, range(db.version, db.version + 1))
    assert changes is not None
    return len(changes[1, 1].get(Space.LINKS, ()))


def test_a_small_commit_writes_records_and_a_large_one_blocks(
    db: vecdb.Database, table: vecdb.Table, rng: np.random.Generator
) -> None:
    assert entries(db) == []
    table.insert("one", rng.normal(size=DIM))
    ((_, size),) = entries(db)
    assert 10 * RECORD_BYTES < size <= 42 * RECORD_BYTES
    assert blocks_written(db) <= 6  # at least 20 differ
    table.insert(range(ROWS, 2 * ROWS), rng.normal(size=(ROWS, DIM)))
    assert len(entries(db)) == 1
    assert blocks_written(db) > ROWS // 24
    check_database(db)


def test_the_journal_is_at_most_half_of_the_blocks(
    db: vecdb.Database, table: vecdb.Table, rng: np.random.Generator
) -> None:
    written: set[bytes] = set()
    for number in range(200):  # several laps
        table.insert(ROWS + number, rng.normal(size=DIM))
        now = entries(db)
        written.update(key for key, _ in now)
        assert sum(size for _, size in now) < (0.5 + 16 / 28) * (ROWS + number) * RECORD_BYTES
    assert len(written) == 200
    assert len(now) < 60
    check_database(db)


def test_memory_file_and_followers_agree_whatever_is_written(
    db: vecdb.Database, table: vecdb.Table, rng: np.random.Generator
) -> None:
    close, slack, lagging = (Mirror(db._environment, 1 << 30) for _ in range(3))
    links_of(close), links_of(slack), links_of(lagging)
    alive = list(range(ROWS))
    for step in range(150):
        kind = rng.integers(0, 12)
        if kind < 6:
            table.insert(f"n{step}", rng.normal(size=DIM))
        elif kind < 8:
            table.insert([f"{step}-{i}" for i in range(20)], rng.normal(size=(20, DIM)))
        elif kind < 9:
            table.delete([alive.pop(int(rng.integers(len(alive)))) for _ in range(5)])
        elif kind < 10:
            with db.transaction():
                table.insert(f"kept{step}", rng.normal(size=DIM))
                with pytest.raises(ZeroDivisionError), db.transaction():
                    table.insert(f"lost{step}", rng.normal(size=DIM))
                    raise ZeroDivisionError
                table.upsert(alive[0], rng.normal(size=DIM))
        elif kind < 11:
            table.update(alive[1], vectors=rng.normal(size=DIM))
        else:
            table.vacuum()
        expected = links_of(db._mirror)
        np.testing.assert_array_equal(links_of(close), expected)
        if rng.integers(0, 3) == 0:  # a few versions behind: some in the journal, some in blocks
            np.testing.assert_array_equal(links_of(slack), expected)
        np.testing.assert_array_equal(links_of(Mirror(db._environment, 1 << 30)), expected)
        if step % 70 == 69:  # more than a lap behind
            np.testing.assert_array_equal(links_of(lagging), expected)
            check_database(db)


def test_who_follows_a_small_commit_reads_no_block_that_was_folded(
    db: vecdb.Database, table: vecdb.Table, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Mirror(db._environment, 1 << 30)
    blocks, read = len(links_of(follower)), []

    def read_payloads(*arguments: Any) -> Any:
        read.extend(arguments[3].tolist())
        return payloads.read_payloads(*arguments)

    monkeypatch.setattr(links, "read_payloads", read_payloads)
    for number in range(3):
        table.insert(f"n{number}", rng.normal(size=DIM))
        assert 0 < blocks_written(db) <= 6
        np.testing.assert_array_equal(links_of(follower), links_of(db._mirror))
    assert all(number >= blocks for number in read)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"short", "wrong length"),
        (bytes(8 + RECORD_BYTES - 1), "wrong length"),
        (bytes(8) + np.full(43, 5000, "<i4").tobytes(), "slot that does not exist"),
        (bytes(8) + np.full(43, -1, "<i4").tobytes(), "slot that does not exist"),
        (bytes(8) + np.array([0, *[5000] * 42], "<i4").tobytes(), "link to nowhere"),
        (bytes(8) + np.array([0, *[-2] * 42], "<i4").tobytes(), "link to nowhere"),
    ],
    ids=range(6),
)
def test_hostile_entries_never_reach_a_kernel(tmp_path: Path, payload: bytes, message: str) -> None:
    place = tmp_path / "t.vecdb"
    rng = np.random.default_rng(3)
    with vecdb.connect(place) as db:
        table = db.create_table("t", dim=DIM)
        table.insert(range(ROWS), rng.normal(size=(ROWS, DIM)))
        table.insert("one", rng.normal(size=DIM))
    change_record(place, Space.JOURNAL, keys.journal(1, 1, 0), payload)
    with vecdb.connect(place, readonly=True) as db:
        plan = db.table("t").search(rng.normal(size=DIM)).plan
    assert plan.strategy == "scan"
    assert message in (plan.damage or "")
    assert "table 't', column 'vector'" in str(plan)
