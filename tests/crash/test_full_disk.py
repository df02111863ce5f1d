"""A disk without space: what a commit needs is not there, and everything else goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vecdb

# Fills a disk by inserts and by a transaction over two tables, looks at what is left, then makes room. `MORE` and
# `LESS` change how much fits.
SCRIPT = """
import os, sys, numpy as np, vecdb
folder = sys.argv[1]
rng = np.random.default_rng(1)
db = vecdb.connect(os.path.join(folder, "full.vecdb"))
first, second = db.create_table("first", dim=64, fields={"n": int}, indexes=["n"]), db.create_table("second", dim=8)
first.insert(range(1100), rng.normal(size=(1100, 64)), {"n": list(range(1100))})
second.insert(0, np.ones(8))
LESS
rows, refused = len(first), 0
while refused < 5:
    try:
        with db.transaction():
            second.upsert(0, np.full(8, rows), {"of": rows})
            first.insert(range(rows, rows + 40), rng.normal(size=(40, 64)), {"n": list(range(rows, rows + 40))})
        rows += 40
    except vecdb.StorageFullError as error:
        assert "no space left" in str(error), error
        refused += 1
    assert len(first) == rows
    assert first.search(np.ones(64), k=3, fields=False).ids
    assert rows == 1100 or second.get(0).fields["of"] == rows - 40
    assert first.count("n >= 0") == rows
try:
    db.backup(os.path.join(folder, "backup.vecdb"))
except vecdb.StorageFullError:
    refused += 1
assert refused == 6
assert sorted(os.listdir(folder)) == sorted(EXPECTED)
with db.snapshot() as snap:
    assert len(list(snap.table("first").scan(vectors=True))) == rows
MORE
first.insert(range(rows, rows + 40), rng.normal(size=(40, 64)))
assert len(first) == rows + 40
db.close()
assert vecdb.check(os.path.join(folder, "full.vecdb")).ok
print(rows)
"""


FILES = ["full.vecdb", "full.vecdb-lock"]


def run(command: list[str], script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )


def test_no_space_on_a_small_disk(tmp_path: Path) -> None:
    """A file system in memory of 3 MB, in a namespace of the test's own; a ballast goes when it is full."""
    in_namespace = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=3m none "$0" && exec "$@"',
    ]
    probe = ["true"] if shutil.which("unshare") is None else [*in_namespace, str(tmp_path), "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems can't be mounted here: the test with a limit on the size of files stands alone")
    less = 'ballast = os.path.join(folder, "ballast"); open(ballast, "wb").write(bytes(500_000))'
    script = SCRIPT.replace("LESS", less).replace("MORE", "os.unlink(ballast)")
    script = script.replace("EXPECTED", str([*FILES, "ballast"]))
    result = run([*in_namespace, str(tmp_path)], script, tmp_path)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 1100


def test_no_space_as_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """A limit of the process's: a write past it fails, or is cut short, as on a full disk. It needs no rights."""
    less = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))"
    )
    more = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
    script = SCRIPT.replace("LESS", less).replace("MORE", more)
    # A packed copy is smaller: it still fits.
    script = script.replace("refused == 6", "refused == 5").replace("EXPECTED", str([*FILES, "backup.vecdb"]))
    result = run([], script, tmp_path)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 1100
    with vecdb.connect(tmp_path / "full.vecdb") as db:
        assert len(db.table("first")) == int(result.stdout) + 40
