"""Files that can only be read: by permission, by `readonly=True`, and beside a writer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.concurrency.test_processes import Peer

NOBODY = 65534
# Who may do everything is somebody who may not, for a test.
READER = """
import os, sys
sys.path[:0] = eval(sys.argv[3])
import vecdb, tempfile
with tempfile.TemporaryDirectory() as folder, vecdb.connect(folder + "/warm") as db:  # imports what is needed
    db.create_table("t", dim=4).insert(1, [1, 0, 0, 0])
    db.table("t").search([1, 0, 0, 0])
if os.getuid() == 0:
    os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
try:
    vecdb.connect(sys.argv[1])
    print("opened for writing")
except vecdb.ReadOnlyError as error:
    print("ReadOnlyError", "readonly=True" in str(error))
with vecdb.connect(sys.argv[1], readonly=True) as db:
    table = db.table("t")
    with db.snapshot() as snap:
        print(table.search([1, 0, 0, 0], k=1).ids, len(snap.table("t")), db.stats().other_processes)
    for line in sys.stdin:
        print(len(table), table.search([1, 0, 0, 0], k=1).ids, flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that somebody else may look into."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
        os.chmod(name, 0o755)


def fill(path: Path) -> None:
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=4)
        table.insert(range(10), np.eye(4)[np.arange(10) % 4])


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no permissions of users on this system")
@pytest.mark.parametrize("lock_file", [True, False], ids=["with a lock file", "without"])
def test_a_file_in_a_folder_that_may_not_be_written(folder: Path, lock_file: bool) -> None:
    path = folder / "test.vecdb"
    fill(path)
    if not lock_file:
        Path(f"{path}-lock").unlink()
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path), str(NOBODY), repr(sys.path)],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["ReadOnlyError True", "[0] 10 {}"], done.stderr
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_reader_follows_a_writer_elsewhere(path: Path) -> None:
    fill(path)
    with vecdb.connect(path, readonly=True) as db, Peer(path) as peer:
        table = db.table("t")
        for step in range(5):
            assert peer(f"db.table('t').insert('new {step}', [1, {step}, 0, 0])") == f"'new {step}'"
            assert len(table) == 11 + step
            assert f"new {step}" in table.search([1, step, 0, 0], k=5).ids
        with db.snapshot() as snap:
            peer("db.table('t').delete(range(10))")
            assert len(snap.table("t")) == 15
            assert len(table) == 5
        with pytest.raises(vecdb.ReadOnlyError):
            table.insert("x", [1, 0, 0, 0])
