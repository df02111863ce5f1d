"""kill -9 in the middle of a load, or of deletes and vacuums: what returned is there, and nothing in part."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.crash import churner
from tests.crash.loader import DIM, ROWS, batch
from tests.oracles.brute_force import nearest, recall
from tests.oracles.invariants import check_file

KILLS = 30
FILES = 3


@pytest.mark.parametrize("file", range(FILES))
def test_killed_while_loading(path: Path, file: int) -> None:
    moments = random.Random(file)
    acknowledged = -1
    for _ in range(KILLS // FILES):
        numbers = _killed("tests.crash.loader", path, moments.uniform(0, 0.5))
        assert numbers[0] <= acknowledged + 2
        acknowledged = numbers[-1]
        _check(path, acknowledged)


def test_killed_while_rows_come_and_go_the_graph_is_repaired_and_the_file_packed(path: Path) -> None:
    """The file is sound each time, every row is found, and the next ends what the killed one began."""
    moments = random.Random(0)
    for _ in range(KILLS // FILES):
        oldest = _killed("tests.crash.churner", path, moments.uniform(0, 0.5))[-1]
        check_file(path)
        with vecdb.connect(path, create=False) as db:
            table = db.table("t")
            ids = [row.id for row in table.scan(fields=False)]
            assert ids in ([*range(first, first + churner.ROWS)] for first in (oldest, oldest + churner.ROUND))
            assert table.stats(reachability=True).columns["vector"].reachable == churner.ROWS
            queries = np.random.default_rng(99).normal(size=(50, churner.DIM)).astype(np.float32)
            right = table.search_batch(queries, exact=True).ids.tolist()
            assert recall(table.search_batch(queries).ids.tolist(), right) >= 0.95
    with vecdb.connect(path) as db:
        db.compact()
        assert db.stats().tables["t"].tombstones == 0
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, path.name + "-lock"]


def _killed(module: str, path: Path, seconds: float) -> list[int]:
    """The numbers that a process printed before it was killed, so long after the first."""
    process = subprocess.Popen([sys.executable, "-m", module, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first, "the process failed"
    time.sleep(seconds)
    process.kill()
    rest = process.stdout.read()
    process.stdout.close()
    process.wait()
    # A line cut off by the kill names nothing.
    return [int(line) for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


def _check(path: Path, acknowledged: int) -> None:
    with vecdb.connect(path, create=False) as db:
        table = db.table("t")
        batches, part = divmod(len(table), ROWS)
        assert part == 0, "a batch is there in part"
        assert batches in (acknowledged + 1, acknowledged + 2), "a batch that returned is missing"
        vectors = np.concatenate([batch(number) for number in range(batches)])
        for row in table.scan(vectors=True):
            assert isinstance(row.id, int)
            assert row.fields == {"batch": row.id // ROWS}
            assert row.vector is not None
            assert row.vector.tobytes() == vectors[row.id].tobytes()
        queries = np.random.default_rng(99).normal(size=(50, DIM)).astype(np.float32)
        right = [nearest(vectors, query, "cosine", 10) for query in queries]
        # The default beam for as many rows as it is meant for; the loader may reach tens of thousands.
        ef = None if batches <= 10 else 256
        assert recall(table.search_batch(queries, ef=ef).ids.tolist(), right) >= 0.95
