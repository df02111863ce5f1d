"""A transaction that does not reach its end leaves nothing: exceptions, Ctrl-C at any moment, a full file."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

import vecdb

ROWS = 1500

# An interrupt that comes while Python runs a finalizer, or closes a generator that was thrown away, is reported by
# Python and goes no further: the call it fell into goes on. What must hold afterwards is the same.
swallowed_interrupts = pytest.mark.filterwarnings(
    "ignore:(?s).*KeyboardInterrupt:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def two(db: vecdb.Database, rng: np.random.Generator) -> tuple[vecdb.Table, vecdb.Table]:
    """Two tables: one with a graph, one without."""
    first, second = db.create_table("first", dim=4), db.create_table("second", dim=4, metric="l2")
    first.insert(range(ROWS), rng.normal(size=(ROWS, 4)))
    second.insert(range(10), rng.normal(size=(10, 4)))
    return first, second


def write_both(two: tuple[vecdb.Table, vecdb.Table], rows: int = 300) -> None:
    vectors = np.random.default_rng(1).normal(size=(rows, 4))
    two[0].insert(range(ROWS, ROWS + rows), vectors)
    two[0].delete(range(100))
    two[1].upsert(range(rows), vectors, {"n": list(range(rows))})


def state(db: vecdb.Database) -> tuple[object, ...]:
    """Everything that a caller can see of the two tables."""
    queries = np.random.default_rng(2).normal(size=(5, 4))
    tables = [db.table("first"), db.table("second")]
    return (
        db.version,
        [[(row.id, row.fields, row.vector.tobytes()) for row in table.scan(vectors=True)] for table in tables],  # type: ignore[union-attr]
        [
            table.search(query, k=20, exact=exact).ids
            for table in tables
            for query in queries
            for exact in (True, False)
        ],
    )


def test_an_exception_rolls_back(db: vecdb.Database, two: tuple[vecdb.Table, vecdb.Table], path: Path) -> None:
    before = state(db)
    with pytest.raises(KeyError), db.transaction():
        write_both(two)
        assert state(db) != before
        raise KeyError
    assert state(db) == before
    with vecdb.connect(path) as other:
        assert state(other) == before
    two[1].insert("next", [1, 2, 3, 4])
    assert len(two[1]) == 11


def test_a_traceback_that_is_kept_does_not_block_the_next_writer(
    db: vecdb.Database, two: tuple[vecdb.Table, vecdb.Table]
) -> None:
    try:
        with db.transaction():
            write_both(two)
            raise KeyError
    except KeyError as error:
        kept = error
    done = threading.Thread(target=lambda: two[1].insert("next", [1, 2, 3, 4]))
    done.start()
    done.join()
    assert len(two[1]) == 11
    assert kept.__traceback__ is not None


def test_a_thread_that_dies_in_a_transaction_gives_up_its_turn(
    db: vecdb.Database, two: tuple[vecdb.Table, vecdb.Table]
) -> None:
    before = state(db)

    def die() -> None:
        transaction = db.transaction()
        transaction.__enter__()
        write_both(two)

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    two[1].insert("next", [1, 2, 3, 4])
    two[1].delete("next")
    assert state(db)[1:] == before[1:]


@pytest.fixture
def alarms() -> Iterator[None]:
    """SIGALRM raises KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)


@pytest.mark.usefixtures("alarms")
@swallowed_interrupts
def test_ctrl_c_at_any_moment(db: vecdb.Database, two: tuple[vecdb.Table, vecdb.Table]) -> None:
    moments = np.random.default_rng(3).uniform(0.0005, 0.05, size=60)
    before = state(db)
    interrupted = 0
    for moment in moments:
        try:
            signal.setitimer(signal.ITIMER_REAL, moment)
            with db.transaction():
                write_both(two)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
        now = state(db)
        if now[0] != before[0]:  # it came after the commit, or not at all
            assert len(two[0]) == ROWS + 200
            assert len(two[1]) == 300
            two[0].delete(range(ROWS, ROWS + 300))
            vectors = [row.vector for row in two[0].scan(vectors=True)]
            assert len(vectors) == ROWS - 100
            db.drop_table("first")
            db.drop_table("second")
            rng = np.random.default_rng(20240607)
            two = db.create_table("first", dim=4), db.create_table("second", dim=4, metric="l2")
            two[0].insert(range(ROWS), rng.normal(size=(ROWS, 4)))
            two[1].insert(range(10), rng.normal(size=(10, 4)))
            before = state(db)
        else:
            assert now == before
    assert interrupted >= 10


@pytest.mark.usefixtures("alarms")
def test_ctrl_c_while_waiting_for_the_turn(db: vecdb.Database, path: Path) -> None:
    table = db.create_table("t", dim=2)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with db.transaction():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(KeyboardInterrupt):
        table.insert(1, [1, 0])
    leave.set()
    thread.join()
    table.insert(1, [1, 0])
    assert len(table) == 1


def test_an_interrupted_statement_dooms_its_transaction(
    db: vecdb.Database, two: tuple[vecdb.Table, vecdb.Table]
) -> None:
    before = state(db)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    vectors = np.random.default_rng(1).normal(size=(600, 4))
    with pytest.raises(vecdb.TransactionError, match="cut off"), db.transaction():
        with pytest.raises(KeyboardInterrupt):
            two[0].insert(range(ROWS, ROWS + 600), vectors, progress=interrupt)
        with pytest.raises(vecdb.TransactionError):
            two[1].insert("x", [1, 0, 0, 0])
        with pytest.raises(vecdb.TransactionError):
            len(two[0])
    assert state(db) == before
    with db.transaction():
        two[1].insert("x", [1, 0, 0, 0])
        with pytest.raises(KeyboardInterrupt), db.transaction():
            two[0].insert(range(ROWS, ROWS + 600), vectors, progress=interrupt)
        two[1].insert("y", [1, 0, 0, 0])  # rolling back to the savepoint made it whole again
    assert len(two[1]) == 12
    assert len(two[0]) == ROWS


def test_a_full_file_rolls_back(path: Path) -> None:
    with vecdb.connect(path, max_size=9 << 17) as db:
        first, second = db.create_table("first", dim=64), db.create_table("second", dim=64, metric="l2")
        first.insert(range(ROWS), np.random.default_rng(1).normal(size=(ROWS, 64)))
        second.insert("x", np.ones(64))
        before = [row.id for row in second.scan()], len(first), db.version
        rng = np.random.default_rng(5)
        for _ in range(3):
            with pytest.raises(vecdb.StorageFullError, match="max_size"), db.transaction():
                second.insert(range(5), rng.normal(size=(5, 64)))
                first.insert(range(ROWS, 4 * ROWS), rng.normal(size=(3 * ROWS, 64)))
                assert len(first) == 4 * ROWS
            assert ([row.id for row in second.scan()], len(first), db.version) == before
            assert second.search(np.ones(64)).ids == ["x"]
            assert len(first.search(np.ones(64), k=ROWS, exact=True)) == ROWS
        second.insert("y", np.ones(64))
        assert len(second) == 2
    assert path.stat().st_size <= 9 << 17
    with vecdb.connect(path) as db:
        assert len(db.table("first")) == ROWS
        db.table("first").insert(range(ROWS, 4 * ROWS), rng.normal(size=(3 * ROWS, 64)))


@swallowed_interrupts
def test_an_interrupt_at_any_line_of_a_transaction(db: vecdb.Database, two: tuple[vecdb.Table, vecdb.Table]) -> None:
    """Raise KeyboardInterrupt at each traced event in turn of the code that begins, commits and rolls back."""
    watched = ("gate.py", "writer.py", "transaction.py", "versions.py", "environment.py", "view.py")
    events = 0
    stop_at = 0
    place: tuple[object, ...] = ()

    def trace(frame: FrameType, event: str, argument: object) -> object:
        nonlocal events, place
        if not frame.f_code.co_filename.endswith(watched) or "vecdb" not in frame.f_code.co_filename:
            return None
        if frame.f_code.co_name in ("__del__", "release", "writer"):
            return None  # the last resort
        if event in ("line", "return"):
            events += 1
            if events == stop_at:
                place = frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno, event
                raise KeyboardInterrupt
        return trace

    before = state(db)[1:]
    number = 0
    finished = 0
    while finished < 3:
        events = 0
        stop_at = number + 1
        number += 7
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            with db.transaction():
                two[1].insert("x", [1, 2, 3, 4])
                with db.transaction():
                    two[1].insert("y", [1, 2, 3, 4])
            sys.settrace(None)
            finished += 1
        except KeyboardInterrupt:
            sys.settrace(None)
        # Whatever happened: both rows are there or none, the turn is free, nothing is left open.
        assert db._transactions.writer is None, place
        assert len(two[1]) in (10, 12), place
        two[1].delete(["x", "y"])
        assert state(db)[1:] == before
    assert number > 300
