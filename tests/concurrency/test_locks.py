"""Whoever dies or stops, with whichever lock, at whichever step: the others go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.concurrency.test_processes import Peer
from tests.oracles.invariants import check_database
from vecdb.mirror.versions import Mirror, Version
from vecdb.storage.environment import Environment
from vecdb.storage.header import State

ROWS = 1200

# A process that replaces a function of vecdb by one that kills it, before or after the function did its work.
VICTIM = """
import importlib, os, signal, sys
import numpy as np, vecdb
path, target, when, call = sys.argv[1:]
module, _, name = target.partition(":")
place = importlib.import_module(module)
*owners, name = name.split(".")
for owner in owners:
    place = getattr(place, owner)
db = vecdb.connect(path); table = db.table("t")
table.search([0] * 4); table.search_batch(np.zeros((20, 4)))
print("ready", flush=True); sys.stdin.readline()
original = getattr(place, name)
def deadly(*arguments, **options):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    original(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(place, name, deadly)
table.insert("victim", [1, 1, 1, 1]) if call == "insert" else table.search([0] * 4)
"""

COMMIT = [
    "vecdb.storage.gate:_try_lock",  # `after`: it is the next one
    "vecdb.storage.gate:WriterGate._leave_queue",  # both locks
    "vecdb.mirror.versions:Mirror.view",  # the turn
    "vecdb.mirror.writer:Writer._gather",
    "vecdb.mirror.versions:Mirror.offer",
    "vecdb.storage.environment:seal",  # LMDB's own lock, in the middle of its transaction
    "vecdb.storage.environment:Environment._write_once",
    "vecdb.mirror.versions:Mirror.publish",
    "vecdb.storage.gate:WriterGate.release",
]
CATCH_UP = [
    "vecdb.mirror.versions:Mirror._follow",
    "vecdb.mirror.versions:read_block_changes",
    "vecdb.mirror.versions:follow",
    "vecdb.mirror.load:follow_links",
    "vecdb.storage.environment:Environment._forget",
]


@pytest.fixture
def table(db: vecdb.Database, rng: np.random.Generator) -> vecdb.Table:
    table = db.create_table("t", dim=4, metric="l2", fields={"n": int})
    table.insert(range(ROWS), rng.normal(size=(ROWS, 4)))
    return table


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("call", "target"), [*(("insert", target) for target in COMMIT), *(("search", target) for target in CATCH_UP)]
)
def test_a_process_that_is_killed_at_a_step(
    path: Path, db: vecdb.Database, table: vecdb.Table, call: str, target: str, when: str
) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(path), target, when, call],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "ready\n"
    table.insert("before", [2, 2, 2, 2])  # so that there is something to catch up with
    victim.communicate("\n")
    assert victim.returncode == -signal.SIGKILL, "the step was never reached"
    began = time.monotonic()
    table.insert("after", [3, 3, 3, 3])
    assert time.monotonic() - began < 2
    committed = "victim" in table
    if call == "insert":
        places = [place.partition(":")[2] for place in COMMIT]
        place, last = places.index(target.partition(":")[2]), places.index("Environment._write_once")
        assert committed == (place > last or (place == last and when == "after"))
    assert len(table) == ROWS + 2 + committed
    assert table.search([3, 3, 3, 3], k=1).ids == ["after"]
    assert db.stats().other_processes == {}, "a dead reader is counted"
    check_database(db)


WRITER = """
import sys, vecdb
table = vecdb.connect(sys.argv[1]).table("t")
print("ready", flush=True)
while True:
    table.insert(None, [[1, 1, 1, 1]])
"""


def test_a_process_that_is_killed_before_it_told_readers(path: Path, db: vecdb.Database, table: vecdb.Table) -> None:
    """LMDB writes the last page of a commit, waits for the disk, and then tells readers: who is killed in between
    leaves a commit that nobody sees. The next writer goes on from it."""

    def seen() -> bool:
        with db._mirror.environment.read() as reader:
            return reader.is_newest()

    for attempt in range(30):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            while seen():
                pass
            writer.kill()
        met, version, rows = not seen(), db.version, len(table)
        table.insert(f"after {attempt}", [3, 3, 3, 3])
        assert (db.version, len(table)) == (version + met + 1, rows + met + 1)
        if met and attempt >= 3:  # as a rule at the first attempt; never where a disk need not be waited for
            break
    check_database(db)


def test_a_reader_that_was_killed_keeps_nothing(
    path: Path, db: vecdb.Database, table: vecdb.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits go on, and with them the file does not grow."""
    monkeypatch.setattr("vecdb.storage.environment._REAP_SECONDS", 0.0)
    sizes = []
    with Peer(path) as peer:
        assert peer("globals().update(theirs=db.snapshot())") == "None"
        peer.kill()
    for step in range(30):
        table.update(where="n IS NULL OR n >= 0", fields={"n": step})
        sizes.append(path.stat().st_size)
    assert sizes[-1] == sizes[5]


def test_a_process_that_is_stopped_while_it_is_the_next_one(path: Path, db: vecdb.Database, table: vecdb.Table) -> None:
    code = VICTIM.partition("original =")[0] + 'table.insert("victim", [1, 1, 1, 1]); print("done", flush=True)'
    waiting = subprocess.Popen(
        [sys.executable, "-c", code, str(path), "vecdb:connect", "", ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdin is not None
    assert waiting.stdout is not None
    waiting.stdout.readline()
    with db.transaction():
        table.insert("mine", [2, 2, 2, 2])
        waiting.stdin.write("\n")
        waiting.stdin.flush()
        time.sleep(0.5)
        os.kill(waiting.pid, signal.SIGSTOP)
    began = time.monotonic()
    table.insert("more", [2, 2, 2, 2])
    assert time.monotonic() - began < 2
    os.kill(waiting.pid, signal.SIGCONT)
    assert waiting.stdout.readline() == "done\n"
    waiting.communicate()
    assert len(table) == ROWS + 3


def test_a_writer_that_is_stopped_makes_others_time_out(path: Path, table: vecdb.Table) -> None:
    with vecdb.connect(path, timeout=0.3) as other, Peer(path) as peer:
        peer("globals().update(transaction=db.transaction()) or transaction.__enter__() and None")
        os.kill(peer._process.pid, signal.SIGSTOP)
        with pytest.raises(vecdb.LockTimeoutError, match="another process"):
            other.table("t").insert("x", [0, 0, 0, 0])
        assert len(other.table("t").search([0] * 4)) == 10
        os.kill(peer._process.pid, signal.SIGCONT)


def test_writers_take_turns(path: Path, db: vecdb.Database, table: vecdb.Table) -> None:
    """Threads of this process and two others insert rows as fast as they can: each gets its share."""
    loop = (
        "[0] + [table.insert(None, [0, 0, 0, 0]) for table in [db.table('t')] "
        "for end in [__import__('time').monotonic() + 1.5] "
        "for _ in iter(lambda: __import__('time').monotonic() < end, False)]"
    )
    counts = {}

    def write(name: str) -> None:
        end, count = time.monotonic() + 1.5, 0
        while time.monotonic() < end:
            table.insert(f"{name} {count}", [0, 0, 0, 0])
            count += 1
        counts[name] = count

    with Peer(path) as first, Peer(path) as second:
        peers = {"first": first, "second": second}
        for peer in peers.values():
            peer("db.__setattr__('_timeout', 5.0)")
            peer("db.table('t').insert(None, [0, 0, 0, 0])")

        def ask(name: str) -> None:
            counts[name] = peers[name](f"len({loop})")  # type: ignore[assignment]

        threads = [threading.Thread(target=write, args=(f"thread {number}",)) for number in range(2)]
        threads += [threading.Thread(target=ask, args=(name,)) for name in peers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    done = [int(count) for count in counts.values()]
    assert len(table) == ROWS + sum(done)  # the one that warmed up, for the 0 at the beginning
    own = [done[place] for place, name in enumerate(counts) if name.startswith("thread")]
    shares = [sum(own), *(done[place] for place, name in enumerate(counts) if not name.startswith("thread"))]
    assert min(shares) > max(shares) / 5, counts
    assert min(own) > max(own) / 3, counts


def test_no_reader_waits_for_a_commit(
    path: Path, db: vecdb.Database, table: vecdb.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither here nor in another process, while LMDB writes and syncs for a second."""
    table.search([0] * 4)
    original = Environment._write_once
    entered, leave = threading.Event(), threading.Event()

    def slow(self: Environment, *arguments: object) -> None:
        with self._while_writing(), self._lmdb.begin(write=True):
            entered.set()
            leave.wait(20)
        original(self, *arguments)  # type: ignore[arg-type]
        time.sleep(0.3)  # committed, but not published

    monkeypatch.setattr(Environment, "_write_once", slow)
    with Peer(path) as peer:
        peer("db.table('t').search([0] * 4)")
        writer = threading.Thread(target=table.insert, args=("new", [9, 9, 9, 9]))
        writer.start()
        entered.wait()
        began = time.monotonic()
        for _ in range(20):
            assert table.search([9] * 4, k=1).ids != ["new"]
            with db.snapshot() as snap:
                assert len(snap.table("t")) == ROWS
            assert peer("len(db.table('t'))") == str(ROWS)
        assert time.monotonic() - began < 2
        leave.set()
        while "new" not in table:  # as soon as the file has it
            pass
        assert peer("db.table('t').search([9] * 4, k=1).ids") == "['new']"
        assert writer.is_alive()
        writer.join()


def test_python_exits_in_a_transaction(path: Path, table: vecdb.Table) -> None:
    code = (
        "import sys, vecdb\n"
        "db = vecdb.connect(sys.argv[1]); transaction = db.transaction(); transaction.__enter__()\n"
        "db.table('t').insert('never', [1, 1, 1, 1]); snap = db.snapshot(); rows = db.table('t').scan(); next(rows)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    table.insert("next", [1, 1, 1, 1])
    assert "never" not in table


def test_threads_that_come_out_of_order_get_the_newest_version(
    path: Path, db: vecdb.Database, table: vecdb.Table
) -> None:
    """One began to read before another followed two commits: it does not take the mirror back."""
    table.search([0] * 4)
    mirror = db._mirror
    with Peer(path) as peer:
        with db._environment.read() as early:
            for number in range(2):
                peer(f"db.table('t').insert('theirs {number}', [5, 5, 5, 5])")
            assert table.search([5] * 4, k=1).ids == ["theirs 0"]
            newest = mirror.newest
            assert mirror._match(early, 0) is None
            assert mirror.newest is newest
        followed = []
        follow = Mirror._follow

        def count(self: Mirror, *arguments: object) -> None:
            followed.append(arguments)
            time.sleep(0.05)
            follow(self, *arguments)  # type: ignore[arg-type]

        peer("db.table('t').insert('theirs 3', [6, 6, 6, 6])")
        Mirror._follow = count  # type: ignore[method-assign, assignment]
        try:
            answers: list[object] = []
            threads = [
                threading.Thread(target=lambda: answers.append(table.search([6] * 4, k=1).ids)) for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            Mirror._follow = follow  # type: ignore[method-assign]
        assert answers == [["theirs 3"]] * 8
        assert len(followed) == 1, "one thread follows, the others take what it found"


@pytest.mark.parametrize("number", [-1, 0, 5], ids=["older", "of the same number", "newer"])
def test_a_file_that_something_was_copied_over_is_read_anew(
    db: vecdb.Database, table: vecdb.Table, number: int
) -> None:
    """A copy of the file as it was, or went on to be, elsewhere: the mirror knows versions that it does not have."""
    table.search([0] * 4)
    mirror = db._mirror
    stale = mirror.columns[1, 1]
    state = replace_state(mirror.newest, mirror.newest.state.version - number)
    mirror.newest = Version(state, {}, dict(mirror.newest.columns))
    if number == 5:
        mirror._header = b"another file"
    assert len(table) == ROWS
    assert len(table.search([0] * 4, k=5)) == 5
    assert mirror.columns.get((1, 1)) is not stale


def replace_state(version: Version, number: int) -> State:
    return version.state._replace(version=number, nonce=b"another.")
