"""A packed copy takes the place of a file under the handles of its process, with the same rows, order and graph."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecdb
from tests.concurrency.test_processes import Peer
from tests.oracles.brute_force import nearest, recall
from tests.oracles.invariants import check_database, check_file

DIM = 16
FIELDS = {"lang": str, "year": int, "score": float, "done": bool, "at": datetime, "tags": list[str], "text": str}


def fields_of(number: int) -> dict[str, Any]:
    zone = timezone.utc if number % 2 else None
    return {
        "lang": ["en", "de", None, "fr"][number % 4], "year": 2000 + number % 30, "score": number / 7,
        "done": number % 3 == 0, "at": datetime(2024, 1, 1 + number % 28, tzinfo=zone),
        "tags": [f"t{number % 5}", "all"], "text": f"{number} " * 40, "rides": {"along": number},
    }  # fmt: skip


def churned(db: vecdb.Database, rng: np.random.Generator, rows: int = 3000) -> np.ndarray:
    """A table whose rows came and went, with holes everywhere; the vectors by id."""
    table = db.create_table("t", dim=DIM, metric="l2", fields=FIELDS, indexes=["lang", "year", "tags"])
    vectors = rng.normal(size=(2 * rows, DIM)).astype(np.float32)
    table.insert(range(rows), vectors[:rows], [fields_of(number) for number in range(rows)])
    table.delete(range(0, rows, 3))
    table.insert(range(rows, 2 * rows), vectors[rows:], [fields_of(number) for number in range(rows, 2 * rows)])
    table.delete(where="year < 2010")
    moved = range(20, rows, 90)
    vectors[moved] *= 1.5
    table.update(moved, vectors=vectors[moved], fields=[{"lang": "xx"}] * len(moved))
    return vectors


def contents(db: vecdb.Database) -> dict[str, Any]:
    return {name: [(row.id, row.fields) for row in db.table(name).scan()] for name in db.tables()}


def test_rows_order_indexes_and_answers_stay(path: Path, rng: np.random.Generator) -> None:
    with vecdb.connect(path) as db:
        vectors = churned(db, rng)
        small = db.create_table("small", dim=3, fields={"n": int})
        small.insert(["a", 5, "b"], [[1, 2, 3], None, [3, 2, 1]], {"n": [1, 2, 3]})
        small.delete("a")
        db.create_table("empty", fields={"n": int})
        several = db.create_table("two", vectors={"a": vecdb.Vector(4, dtype="float16"), "b": vecdb.Vector(5, "ip")})
        parts = rng.normal(size=(1500, 4)), rng.normal(size=(1500, 5))
        several.insert(range(1500), {"a": list(parts[0]), "b": [*parts[1][:500], *[None] * 1000]})
        several.delete(range(200, 600))
        wheres = ["lang = 'en'", "year > 2020 AND done", "'t3' = ANY(tags)", "score IS NOT NULL", "text LIKE '17%'"]
        before, version = contents(db), db.version
        found = {where: [row.id for row in db.table("t").scan(where=where)] for where in wheres}
        hits = [db.table("t").search(query, ef=100).ids for query in vectors[::500]]
        table = db.table("t")
        promised = db.stats().compact_bytes
        won = db.compact()
        assert won > 0
        assert 0.6 * won <= promised <= 1.4 * won
        assert db.stats().compact_bytes < 0.1 * os.path.getsize(path)
        assert db.version > version
        assert contents(db) == before
        assert {where: [row.id for row in table.scan(where=where)] for where in wheres} == found
        assert [table.search(query, ef=100).ids for query in vectors[::500]] == hits
        assert table.stats().tombstones == table.stats().waiting == 0
        row = table.get(next(iter(table.scan())).id, vectors=True)
        assert row is not None
        np.testing.assert_array_equal(row.vector, vectors[int(row.id)])
        check_database(db)
        table.insert("new", vectors[0], fields_of(1))  # the turn, the indexes and the graph go on
        assert table.search(vectors[0], k=1, ef=100).distances[0] == 0
        assert db.compact() >= -(1 << 20)
        assert small.get("b", vectors=True) is not None
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + "-lock"]


def test_the_graph_is_as_good_as_before(path: Path, rng: np.random.Generator) -> None:
    with vecdb.connect(path) as db:
        vectors = churned(db, rng)
        table = db.table("t")
        live = np.array([row.id for row in table.scan()], np.int64)
        queries = rng.normal(size=(100, DIM)).astype(np.float32)
        right = [live[nearest(vectors[live], query, "l2", 10)].tolist() for query in queries]
        table.vacuum()
        before = recall(table.search_batch(queries, ef=40).ids.tolist(), right)
        db.compact()
        assert recall(table.search_batch(queries, ef=40).ids.tolist(), right) == pytest.approx(before, abs=0.003)


def test_all_handles_threads_and_tables_go_on(path: Path, rng: np.random.Generator) -> None:
    with vecdb.connect(path) as db, vecdb.connect(path) as other:
        vectors = churned(db, rng)
        table, seen = other.table("t"), []
        expected = table.search(vectors[-1], k=3, ef=100).ids
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                seen.append(table.search(vectors[-1], k=3, ef=100).ids == expected)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            db.compact()
        stop.set()
        for thread in threads:
            thread.join()
        assert len(seen) > 10
        assert all(seen)
        other.table("t").insert("x", vectors[0])
        assert "x" in db.table("t")


def test_it_is_refused_while_another_process_has_the_file(path: Path, rng: np.random.Generator) -> None:
    with vecdb.connect(path) as db:
        churned(db, rng)
        with Peer(path) as peer:
            assert peer("len(db.table('t'))").isdecimal()
            inode = os.stat(path).st_ino
            with pytest.raises(vecdb.LockTimeoutError, match="another process"):
                db.compact()
            assert os.stat(path).st_ino == inode
            assert peer("db.table('t').insert('peer', [1.0] * 16)") == "'peer'"
        assert "peer" in db.table("t")
        db.compact()
        assert os.stat(path).st_ino != inode
        with Peer(path) as peer:
            assert peer("db.table('t').insert('again', [1.0] * 16)") == "'again'"
            assert "again" in db.table("t")
            assert peer("db.compact()") == "LockTimeoutError"


def test_where_it_can_not_be(path: Path, rng: np.random.Generator) -> None:
    with vecdb.connect(path, timeout=0.2) as db:
        churned(db, rng)
        for replace in (db.compact, partial(db.vacuum, secure=True)):
            with pytest.raises(vecdb.TransactionError), db.transaction():
                replace()
        assert db.table("t").stats().waiting > 0  # it was refused before it did anything
        scan, short = db.table("t").scan(), db.table("t").scan(limit=5)
        next(scan), next(short)
        db.compact()
        assert len(list(short)) == 4  # it had read all
        with pytest.raises(vecdb.StaleHandleError, match="packed copy"):
            list(scan)
    with vecdb.connect(path, readonly=True) as db:
        for replace in (db.compact, partial(db.vacuum, secure=True)):
            with pytest.raises(vecdb.ReadOnlyError):
                replace()


def test_a_full_disk_leaves_the_file_as_it_was(path: Path, rng: np.random.Generator) -> None:
    script = """
import resource, sys, vecdb
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
db = vecdb.connect(sys.argv[1])
try:
    db.compact()
except vecdb.StorageFullError as error:
    print("full", len(db.table("t")), db.table("t").search([0.0] * 16, k=1).ids)
"""
    with vecdb.connect(path) as db:
        churned(db, rng)
        db.vacuum()
        rows = len(db.table("t"))
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"full {rows} "), done.stderr
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + "-lock"]


@pytest.mark.parametrize("secure", [False, True])
def test_killed_at_any_moment_the_file_is_whole(path: Path, rng: np.random.Generator, secure: bool) -> None:
    script = f"""
import sys, vecdb
db = vecdb.connect(sys.argv[1])
print("go", flush=True)
while True:
    db.vacuum(secure=True) if {secure} else db.compact()
    print(".", flush=True)
"""
    with vecdb.connect(path) as db:
        churned(db, rng)
        expected = contents(db)
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        time.sleep(rng.random() * 0.8)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with vecdb.connect(path) as db:
            assert contents(db) == expected
    check_file(path)
    with vecdb.connect(path) as db:
        db.compact()
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + "-lock"]


@pytest.mark.parametrize("secure", [False, True])
def test_killed_at_each_step_of_the_replacement_the_file_is_whole(
    path: Path, rng: np.random.Generator, secure: bool
) -> None:
    """Before each call that changes a name or waits for the disk; the last process is not killed."""
    script = f"""
import os, signal, sys, vecdb
left = int(sys.argv[2])
def counted(function):
    def call(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call
db = vecdb.connect(sys.argv[1])
for name in ("replace", "link", "unlink", "fsync", "listdir", "close"):
    setattr(os, name, counted(getattr(os, name)))
db.vacuum(secure=True) if {secure} else db.compact()
"""
    with vecdb.connect(path) as db:
        churned(db, rng, 600)
        expected = contents(db)
    kills = 0
    while True:
        command = [sys.executable, "-c", script, str(path), str(kills)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        with vecdb.connect(path) as db:
            assert contents(db) == expected
            check_database(db)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
    assert kills >= (7 if secure else 4)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + "-lock"]


def test_nothing_that_was_deleted_is_left_in_the_file(path: Path, rng: np.random.Generator) -> None:
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=DIM, metric="l2", fields={"secret": str}, indexes=["secret"])
        vectors = rng.normal(size=(1500, DIM)).astype(np.float32)
        table.insert(range(1500), vectors, {"secret": [f"kept {number}" for number in range(1500)]})
        hidden = rng.normal(size=(60, DIM)).astype(np.float32)
        names = [f"SECRET-{number:03d}-SECRET" for number in range(60)]
        table.insert(names, hidden, [{"secret": name, "more": name} for name in names])
        with db._view() as view:
            stored = view.find_table("t")
            codes = view.column(stored, stored.schema.columns[0]).codes
            assert codes is not None
            patterns = [row.tobytes() for row in hidden] + [row[:DIM].tobytes() for row in codes.codes[1500:1560]]
        table.update(names[:10], fields=[{"secret": "changed", "more": None}] * 10)
        table.update(names[:20], vectors=vectors[:20])
        table.delete(names)
        db.create_table("SECRET-table", fields={"SECRET-field": str})
        db.drop_table("SECRET-table")
        with pytest.raises(ZeroDivisionError), db.transaction():
            table.insert("SECRET-rolled-back", hidden[0])
            raise ZeroDivisionError
        before = [file.read_bytes() for file in path.parent.iterdir()]
        assert any(b"SECRET" in content for content in before)
        assert any(pattern in content for content in before for pattern in patterns)
        old = path.parent / "old"
        os.link(path, old)  # where the bytes of the file before are now
        table.vacuum()
        db.vacuum(secure=True)
        assert not any(old.read_bytes())
        old.unlink()
        for file in path.parent.iterdir():
            content = file.read_bytes()
            assert b"SECRET" not in content, file
            assert not any(pattern in content for pattern in patterns), file
        assert len(table) == 1500
