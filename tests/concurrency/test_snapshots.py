"""A snapshot is one version, whatever is written meanwhile, for all threads; it ends, and says so."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecdb
from tests.concurrency.test_processes import Peer

ROWS = 1500
DIM = 4


@pytest.fixture
def table(db: vecdb.Database, rng: np.random.Generator) -> vecdb.Table:
    table = db.create_table("t", dim=DIM, metric="l2", fields={"n": int, "word": str}, indexes=["word"])
    words = {"n": list(range(ROWS)), "word": ["odd" if number % 2 else "even" for number in range(ROWS)]}
    table.insert(range(ROWS), rng.normal(size=(ROWS, DIM)), words)
    return table


def everything(table: vecdb.TableView, rng_seed: int = 7) -> list[Any]:
    """What each kind of call says of a table."""
    queries = np.random.default_rng(rng_seed).normal(size=(20, DIM))
    batch = table.search_batch(queries, k=5)
    return [
        len(table),
        table.count(where="word = 'odd'"),
        table.count(where="n >= 700"),
        [(row.id, row.fields, row.vector.tobytes()) for row in table.scan(vectors=True) if row.vector is not None],
        [row.id for row in table.scan(where="n < 40", order="-n", limit=9)],
        [(hit.id, hit.distance, hit.fields) for query in queries for hit in table.search(query, where="word = 'even'")],
        [table.search(query, k=3, fields=False, exact=exact).ids for query in queries for exact in (True, False)],
        (batch.ids.tolist(), batch.distances.tolist()),
        [hit.id for hit, _ in zip(table.search_iter(queries[0]), range(100), strict=False)],
        [table.get(3), table.get(["new", 5], vectors=False)],
        table.explain(where="word = 'odd'").matching,
        (table.stats(), table.fields, table.indexes, table.vectors, 3 in table),
    ]


def change(table: vecdb.Table, step: int) -> None:
    """Commits of every kind."""
    rng = np.random.default_rng(step)
    ids = range(step, ROWS, 3)
    table.upsert(ids, rng.normal(size=(len(ids), DIM)), {"n": [-step] * len(ids), "word": ["even"] * len(ids)})
    table.delete(where=f"n > {1400 - 10 * step}")
    table.update(step, fields={"word": "changed"})
    table.upsert(f"new {step}", [0.0] * DIM, {"n": 0})
    table.vacuum()


@pytest.mark.parametrize("used_before", [True, False], ids=["column in memory", "column loaded later"])
def test_a_snapshot_is_of_one_version(path: Path, db: vecdb.Database, table: vecdb.Table, used_before: bool) -> None:
    if not used_before:  # the snapshot's own column comes from the file then, of its version
        db.close()
        db = vecdb.connect(path)
        table = db.table("t")
    before = everything(table) if used_before else None
    with db.snapshot() as snap, Peer(path) as peer:
        assert snap.version == db.version
        for step in range(1, 4):
            change(table, step)
            assert peer(f"db.table('t').insert('theirs {step}', [0, 0, 0, 0])") == f"'theirs {step}'"
            if step == 1:
                db.create_table("other", dim=2)
                before = before or everything(snap.table("t"))
            assert everything(snap.table("t")) == before
            assert everything(table) != before
        assert snap.tables() == ["t"]
        assert "t" in snap
        assert "other" not in snap
        with pytest.raises(vecdb.TableNotFoundError):
            snap.table("other")
        table.add_field("later", str)
        db.drop_table("t")
        assert everything(snap.table("t")) == before
        assert snap.version < db.version
    db.close()


def test_all_threads_read_a_snapshot_while_a_writer_works(db: vecdb.Database, table: vecdb.Table) -> None:
    stop = threading.Event()

    def write() -> None:
        for step in range(1, 400):
            if stop.is_set():
                return
            change(table, step % 9)
            table.delete(f"new {step % 9}")

    with db.snapshot() as snap, ThreadPoolExecutor(9) as pool:
        view = snap.table("t")
        before = everything(view)
        writer = pool.submit(write)
        scan = view.scan()
        begun = [next(scan) for _ in range(300)]
        try:
            for answer in pool.map(everything, [view] * 24):
                assert answer == before
        finally:
            stop.set()
        writer.result()
        assert len(begun) + len(list(scan)) == ROWS


def test_a_snapshot_sees_commits_only(db: vecdb.Database, table: vecdb.Table) -> None:
    with db.transaction():
        table.insert("mine", [9, 9, 9, 9])
        with db.snapshot() as snap:
            assert "mine" not in snap.table("t")
            assert snap.version == db.version - 1  # the transaction's own is the next one's
            assert snap.table("t").search([9, 9, 9, 9], k=1).ids != ["mine"]
    with db.snapshot() as snap:
        assert "mine" in snap.table("t")


def test_a_snapshot_is_read_only(db: vecdb.Database, table: vecdb.Table) -> None:
    writes = set(dir(vecdb.Table)) - set(dir(vecdb.TableView))
    assert {"insert", "upsert", "update", "delete", "vacuum", "add_field", "create_index", "drop_index"} <= writes
    with db.snapshot() as snap:
        for name in writes:
            assert not hasattr(snap.table("t"), name)
            assert not hasattr(snap, name)


@pytest.mark.parametrize("ending", ["with", "close", "database"])
def test_a_snapshot_that_ended_is_stale(path: Path, table: vecdb.Table, db: vecdb.Database, ending: str) -> None:
    with vecdb.connect(path) as other:  # so that the file stays open
        snap = other.snapshot()
        view = snap.table("t")
        scan = view.scan()
        next(scan)
        if ending == "with":
            with snap:
                pass
        elif ending == "close":
            snap.close()
            snap.close()
        else:
            other.close()
        for call in (
            lambda: len(view),
            snap.tables,
            lambda: "t" in snap,
            lambda: view.search([0] * DIM),
            lambda: list(scan),
        ):
            with pytest.raises(vecdb.StaleHandleError, match="closed"):
                call()
    assert db.stats().readers == ()


def test_calls_under_way_end_when_their_snapshot_is_closed(db: vecdb.Database, table: vecdb.Table) -> None:
    """In other threads: each either answers or says that the snapshot is closed."""
    for _ in range(5):
        snap = db.snapshot()
        view = snap.table("t")
        answers: list[object] = []

        def ask(view: vecdb.TableView = view, answers: list[object] = answers) -> None:
            try:
                while True:
                    answers.append(len(list(view.scan(vectors=True))))
                    answers.append(len(view.search([0] * DIM, where="word = 'odd'")))
            except BaseException as error:
                answers.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(answers) < 4:
            time.sleep(0.001)
        snap.close()
        for thread in threads:
            thread.join()
        failures = [answer for answer in answers if not isinstance(answer, int)]
        assert [type(failure) for failure in failures] == [vecdb.StaleHandleError] * 4
        assert set(answers) - set(failures) == {ROWS, 10}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_snapshot_is_stale_after_fork(db: vecdb.Database, table: vecdb.Table) -> None:
    with db.snapshot() as snap:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                len(snap.table("t"))
            except vecdb.StaleHandleError:
                snap.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(snap.table("t")) == ROWS
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(snap)


def test_stats_tell_who_keeps_old_versions(path: Path, db: vecdb.Database, table: vecdb.Table) -> None:
    with db.snapshot() as snap, Peer(path) as peer:
        peer("globals().update(theirs=db.snapshot())")
        scan = table.scan()
        next(scan)
        for step in range(1, 4):
            change(table, step)
        stats = db.stats()
        assert [reader.version for reader in stats.readers] == [snap.version] * 2
        behind = stats.version - snap.version
        assert {reader.behind for reader in stats.readers} == {behind}
        assert list(stats.other_processes.values()) == [behind]
        kept = stats.readers[0].kept_bytes
        assert 0 < kept <= stats.free_bytes
        assert 0 < stats.readers[0].seconds < 60
        del scan
        peer("theirs.close()")
        assert len(db.stats().readers) == 1
    for step in range(1, 4):  # what the snapshot kept is used again
        change(table, step)
    assert db.stats().file_bytes <= stats.file_bytes
    assert db.stats().readers == ()


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


@pytest.mark.parametrize("limit", ["MAX_HELD_SECONDS", "MAX_HELD_BYTES"])
def test_a_snapshot_and_a_scan_are_ended_at_a_limit(
    db: vecdb.Database, table: vecdb.Table, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecdb.storage.held._WATCH_SECONDS", 0.01)
    monkeypatch.setattr(f"vecdb.storage.held.{limit}", 0.0)
    snap, scan = db.snapshot(), table.scan()
    view = snap.table("t") if limit == "MAX_HELD_BYTES" else None
    next(scan)
    for step in range(60 if view else 0):  # more than all that the database holds
        table.upsert(range(ROWS), np.random.default_rng(step).normal(size=(ROWS, DIM)))
        if db.stats().readers == ():
            break
    wait_until(lambda: db.stats().readers == ())
    for call in (snap.tables, lambda: list(scan)):
        with pytest.raises(vecdb.StaleHandleError, match="was ended, since it was open"):
            call()
    wait_until(lambda: not any(thread.name == "vecdb-watch" for thread in threading.enumerate()))
    with db.snapshot() as another:
        assert another.version == db.version


def test_a_snapshot_gives_way_to_a_new_map(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that outgrows its address space: writes go on after the timeout, and the snapshot says what happened."""
    monkeypatch.setattr("vecdb.storage.environment.MAP_RESERVE", 1 << 20)
    monkeypatch.setattr("vecdb.storage.environment.MIN_MAP", 1 << 20)
    with vecdb.connect(path, timeout=0.2) as db, Peer(path) as peer:
        table = db.create_table("t", dim=64)
        with db.snapshot() as snap:
            table.insert(range(2000), np.random.default_rng(0).normal(size=(2000, 64)))
            with pytest.raises(vecdb.StaleHandleError, match="mapped anew"):
                snap.tables()
        assert len(table) == 2000
        monkeypatch.setattr("vecdb.storage.environment.DEFAULT_TIMEOUT", 0.2)
        with db.snapshot() as snap:  # the other process makes the file outgrow this one's map
            assert peer("len(db.table('t').insert(range(2000, 9000), np.ones((7000, 64))))") == "7000"
            assert len(table) == 9000
            with pytest.raises(vecdb.StaleHandleError, match="mapped anew"):
                snap.tables()
        assert len(table.search(np.ones(64), k=20)) == 20


def test_memory_that_a_snapshot_keeps_is_bounded(db: vecdb.Database, table: vecdb.Table) -> None:
    """Of a block that changes with every commit, an old snapshot keeps the one copy that it sees."""

    table.search([0] * DIM)
    for number in range(20):
        table.insert(f"before {number}", [0] * DIM)
    with db.snapshot() as snap:
        before = everything(snap.table("t"))
        for number in range(300):
            table.insert(f"row {number}", [0.001 * number] * DIM)
            with db.snapshot():  # comes and goes
                pass
        links = db._mirror.columns[1, 1].links
        blocks, kept = links.count, len(links.arena) - links.free_places - links.count
        assert kept <= 2 * blocks
        assert everything(snap.table("t")) == before
    table.insert("after", [0] * DIM)
    table.insert("and again", [0] * DIM)
    assert len(links.arena) - links.free_places - links.count <= 2 * blocks


def test_columns_of_old_versions_count_as_memory(path: Path, table: vecdb.Table, db: vecdb.Database) -> None:
    everything(table)
    size = db._mirror._nbytes()
    db.close()
    with vecdb.connect(path, memory=size * 3 // 2) as small:
        table = small.table("t")
        snap = small.snapshot()
        change(table, 1)
        snap.table("t").search_batch(np.zeros((20, DIM)))
        assert small._mirror._nbytes() <= size * 3 // 2
        table.search_batch(np.zeros((20, DIM)))
        assert small._mirror._nbytes() <= size * 3 // 2
        snap.close()
        del snap
        gc.collect()
        table.search_batch(np.zeros((20, DIM)))
        assert small._mirror.columns


def test_async_code_calls_in_threads(db: vecdb.Database, table: vecdb.Table) -> None:
    """As the README has it. A transaction belongs to a thread, so it is one function that is called in one."""

    def move(row: int) -> None:
        with db.transaction():
            table.delete(row)
            table.insert(f"moved {row}", [0] * DIM)

    async def main() -> None:
        with db.snapshot() as snap:
            view = snap.table("t")
            searches = [asyncio.to_thread(view.search, [0] * DIM, k=5) for _ in range(20)]
            writes = [asyncio.to_thread(move, row) for row in range(10)]
            hits, _ = await asyncio.gather(asyncio.gather(*searches), asyncio.gather(*writes))
            assert len({tuple(found.ids) for found in hits}) == 1
            assert len(view) == ROWS
        assert len(await asyncio.to_thread(lambda: [row.id for row in table.scan(where="n IS NULL")])) == 10
        assert "moved 3" in table

    asyncio.run(main())
