"""Threads and processes on one file: each sees whole commits, at once, and nothing else."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from weakref import ref

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import nearest
from tests.oracles.invariants import check_database
from vecdb import options

# A process that runs statements it is sent, one a line, and prints what they are.
PEER = """
import sys, numpy as np, vecdb
db = vecdb.connect(sys.argv[1], timeout=0.3)
for line in sys.stdin:
    try:
        print(repr(eval(line)), flush=True)
    except vecdb.Error as error:
        print(type(error).__name__, flush=True)
"""


class Peer:
    """Another process with the file open."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PEER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, expression: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()


@pytest.mark.parametrize("logged", [options.CHANGE_LOG_VERSIONS, 1], ids=["log", "log trimmed"])
def test_each_process_sees_the_others_commits(
    path: Path, rng: np.random.Generator, logged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecdb.storage.changes.CHANGE_LOG_VERSIONS", logged)
    monkeypatch.setattr("vecdb.storage.changes._TRIM_EVERY", 1)
    vectors = rng.normal(size=(1500, 4)).astype(np.float32)
    with vecdb.connect(path) as db, Peer(path) as peer:
        table = db.create_table("t", dim=4, metric="l2")
        assert peer("len(db.table('t'))") == "0"
        table.insert(range(1500), vectors)
        for step in range(5):
            query = [10.0 + step] * 4
            ask = f"db.table('t').search({query}, k=2).ids"
            table.insert(f"mine {step}", query)
            assert peer(ask).startswith(f"['mine {step}'")
            assert peer(f"db.table('t').insert('theirs {step}', {query})") == f"'theirs {step}'"
            assert table.search(query, k=2).ids == [f"mine {step}", f"theirs {step}"]
            assert peer(f"db.table('t').delete(['mine {step}', {step}])") == "2"
            assert table.get(f"mine {step}") is None
            assert table.search(query, k=2).ids[0] == f"theirs {step}"
            for number in range(3):  # several commits between two looks
                table.upsert(10_000 + number, [step, number, 0, 0])
            assert peer("db.version") == str(db.version)
        right = nearest(vectors[5:], vectors[7], "l2", 5)
        for exact in (True, False):
            ask = f"db.table('t').search({vectors[7].tolist()}, k=5, exact={exact}, ef=300).ids"
            assert peer(ask) == str([place + 5 for place in right])
        check_database(db)
        peer("db.drop_table('t')")
        with pytest.raises(vecdb.TableNotFoundError):
            len(table)
        peer("db.create_table('t', dim=2).insert(1, [1, 0])")
        assert db.table("t").search([1, 0]).ids == [1]


def test_a_commit_during_a_scan_is_not_seen_by_it(path: Path, rng: np.random.Generator) -> None:
    with vecdb.connect(path) as db, Peer(path) as peer:
        table = db.create_table("t", dim=4)
        table.insert(range(1500), rng.normal(size=(1500, 4)))
        rows = table.scan()
        seen = [next(rows).id for _ in range(10)]
        peer("db.table('t').delete(range(1000))")
        table.insert("new", [1, 0, 0, 0])
        seen += [row.id for row in rows]
        assert seen == list(range(1500))
        assert len(table) == 501


def test_the_turn_passes_between_processes(path: Path) -> None:
    with vecdb.connect(path, timeout=0.3) as db, Peer(path) as peer:
        table = db.create_table("t", dim=2)
        with db.transaction():
            table.insert(1, [1, 0])
            assert peer("db.table('t').insert(2, [1, 0])") == "LockTimeoutError"
        assert peer("db.table('t').insert(2, [1, 0])") == "2"
        assert peer("globals().update(transaction=db.transaction()) or transaction.__enter__() and None") == "None"
        with pytest.raises(vecdb.LockTimeoutError, match="another process"):
            table.insert(3, [1, 0])
        peer.kill()  # with the turn in its hands
        table.insert(3, [1, 0])
        assert [row.id for row in table.scan()] == [1, 2, 3]


def test_readers_see_whole_commits_while_a_writer_works(db: vecdb.Database) -> None:
    """Each batch moves all rows to another place and numbers them anew: a mixture would show."""
    table = db.create_table("t", dim=3, metric="l2", fields={"batch": int})
    rows = 1200
    table.insert(range(rows), np.random.default_rng(0).normal(size=(rows, 3)), {"batch": [0] * rows})
    stop = threading.Event()
    problems: list[str] = []

    def read(exact: bool) -> None:
        last = 0
        while not stop.is_set():
            hits = table.search([0.0, 0.0, 0.0], k=20, exact=exact)
            batches = {hit.fields["batch"] for hit in hits}
            if len(batches) != 1 or len(hits) != 20:
                problems.append(f"{len(hits)} hits of the batches {batches}")
            number = batches.pop()
            if number < last:
                problems.append(f"{number} after {last}")
            last = number

    threads = [threading.Thread(target=read, args=(exact,)) for exact in (True, False)]
    for thread in threads:
        thread.start()
    for number in range(1, 6):
        vectors = np.random.default_rng(number).normal(size=(rows, 3))
        table.upsert(range(rows), vectors, {"batch": [number] * rows})
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []


def test_two_handles_share_one_environment(path: Path, tmp_path: Path) -> None:
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=2)
        link = tmp_path / "link.vecdb"
        os.link(path, link)
        with vecdb.connect(link) as other:
            assert other._environment is db._environment
            other.table("t").insert(1, [1, 0])
        assert table.search([1, 0]).ids == [1]
        link.unlink()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_closes_what_a_thread_was_loading_when_it_was_forked(path: Path) -> None:
    with vecdb.connect(path) as db:
        db.create_table("t", dim=2).insert(1, [1, 0])

        def fork() -> int:
            child = os.fork()
            if child == 0:
                db.close()
                os._exit(0)
            return child

        with db._mirror._lock, ThreadPoolExecutor(1) as other:
            child = other.submit(fork).result()  # from that thread, so that this one's lock is another's in the child
            deadline = time.monotonic() + 20
            while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.01)
            if ended == (0, 0):
                os.kill(child, signal.SIGKILL)
            assert ended == (child, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_handle_is_stale_after_fork(path: Path, tmp_path: Path) -> None:
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=2)
        table.insert(1, [1, 0])
        transaction = db.transaction()
        transaction.__enter__()
        table.insert(2, [0, 1])
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for call in (
                    lambda: len(table),
                    lambda: table.insert(3, [1, 1]),
                    lambda: transaction.__exit__(None, None, None),
                ):
                    try:
                        call()
                    except vecdb.StaleHandleError:
                        continue
                    os._exit(2)
                db.close()
                try:
                    vecdb.connect(path)
                except vecdb.StaleHandleError:
                    with vecdb.connect(tmp_path / "childs.vecdb") as own:
                        status = 0 if own.tables() == [] else 3
            except BaseException:
                status = 4
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        transaction.__exit__(None, None, None)
        assert len(table) == 2
        table.insert(3, [1, 1])


def test_a_replaced_file_is_noticed(path: Path, tmp_path: Path) -> None:
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=2)
        table.insert(1, [1, 0])
        kept = tmp_path / "kept"
        path.rename(kept)
        with pytest.raises(vecdb.StaleHandleError, match="close all handles"):
            vecdb.connect(path)
        with pytest.raises(vecdb.StaleHandleError, match="replaced"):
            table.insert(2, [1, 0])
        assert table.search([1, 0]).ids == [1]
    with vecdb.connect(path) as db:
        db.create_table("t", dim=2)
        Path(f"{path}-lock").unlink()
        with pytest.raises(vecdb.StaleHandleError, match="lock file"):
            db.table("t").insert(1, [1, 0])


def test_close_waits_for_calls_and_cuts_scans_off(path: Path, rng: np.random.Generator) -> None:
    db = vecdb.connect(path)
    table = db.create_table("t", dim=4)
    table.insert(range(1500), rng.normal(size=(1500, 4)))
    results: list[object] = []

    def search() -> None:
        try:
            while True:
                results.append(len(table.search_batch(rng.normal(size=(50, 4)))))
        except vecdb.StaleHandleError as error:
            results.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    rows = table.scan()
    next(rows)
    while len(results) < 10:
        pass
    db.close()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, vecdb.StaleHandleError) for result in results) == 3
    with pytest.raises(vecdb.StaleHandleError):
        for _ in rows:
            pass


def test_handles_are_not_pickled(db: vecdb.Database) -> None:
    for handle in (db, db.create_table("t", dim=2)):
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(handle)


def test_close_waits_for_a_commit(path: Path) -> None:
    for delay in (0.0, 0.005, 0.01, 0.02, 0.04):
        db = vecdb.connect(path)
        table = db.create_table("t", dim=2, exist_ok=True)
        results: list[object] = []

        def write(table: vecdb.Table = table, results: list[object] = results) -> None:
            try:
                rows = [{"x": "y" * 20_000}] * 500
                results.append(table.insert(None, np.ones((500, 2)), rows))
            except vecdb.StaleHandleError as error:
                results.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(delay)
        db.close()
        thread.join(timeout=20)
        assert not thread.is_alive()
        with vecdb.connect(path) as again:
            assert len(again.table("t")) % 500 == 0
            if isinstance(results[0], list):
                assert results[0][-1] in again.table("t")


def test_a_forgotten_handle_does_not_block_the_next(tmp_path: Path) -> None:
    gc.disable()
    for number in range(3):
        vecdb.connect(tmp_path / f"{number}.vecdb")
    gc.enable()
    old = gc.get_threshold()
    gc.set_threshold(20)
    try:
        for number in range(30):
            vecdb.connect(tmp_path / f"{number}.vecdb")
    finally:
        gc.set_threshold(*old)


def test_a_closed_database_gives_its_memory_back(path: Path) -> None:
    for _ in range(2):
        with vecdb.connect(path) as db:
            db.create_table("t", dim=2, exist_ok=True).upsert(range(2000), np.ones((2000, 2)))
            environment = ref(db._environment)
            mirror = ref(db._mirror)
        del db
        gc.collect()
        assert environment() is None
        assert mirror() is None


def test_a_closed_database_gives_its_memory_back_though_somebody_keeps_it(path: Path) -> None:
    gc.disable()
    try:
        with vecdb.connect(path) as db, vecdb.connect(path) as other:
            table = db.create_table("t", dim=2)
            table.insert(map(str, range(2000)), np.random.default_rng(0).normal(size=(2000, 2)))
            hits = other.table("t").search([1, 2], fields=False)
            (column,) = db._mirror.newest.columns.values()
            assert column.vectors is not None
            held = [ref(item) for item in (column, column.vectors.array, column.links.arena, *db._mirror._ids.values())]
            del column
            db.close()
            assert [item() is None for item in held] == [False] * 4
            assert other.table("t").search([1, 2]).ids == hits.ids
        assert [item() is None for item in held] == [True] * 4
        with pytest.raises(vecdb.StaleHandleError):
            table.search([1, 2])
    finally:
        gc.enable()


def test_a_file_under_two_names_has_one_lock_file(path: Path, tmp_path: Path) -> None:
    vecdb.connect(path).close()
    link = tmp_path / "link.vecdb"
    link.symlink_to(path)
    with vecdb.connect(link) as db, Peer(path) as peer:
        table = db.create_table("t", dim=2)
        table.insert(range(900), np.ones((900, 2)), [{"x": "y" * 500}] * 900)
        rows = table.scan()
        next(rows)
        for step in range(5):
            assert peer(f"len(db.table('t').upsert(range(900), np.full((900, 2), {step} + 2)))") == "900"
        assert len(list(rows)) == 899
    link.unlink()
    assert not Path(f"{link}-lock").exists()
