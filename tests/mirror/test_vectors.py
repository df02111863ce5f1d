"""A column answers before its vectors are in memory, and they follow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import nearest
from vecdb.mirror import view
from vecdb.mirror.vectors import Vectors
from vecdb.options import Quantization

ROWS, DIM = 3000, 16


@pytest.fixture
def matrix(path: Path, rng: np.random.Generator) -> np.ndarray:
    matrix = rng.normal(size=(ROWS, DIM)).astype(np.float32)
    with vecdb.connect(path) as db:
        db.create_table("t", dim=DIM).insert(range(ROWS), matrix)
    return matrix


@pytest.fixture
def table(path: Path, matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Iterator[vecdb.Table]:
    """Each search reads one block of vectors into memory."""
    monkeypatch.setattr(view, "_BLOCKS_AT_ONCE", 1)
    with vecdb.connect(path) as db:
        yield db.table("t")


def in_memory(table: vecdb.Table) -> Vectors:
    (mirror,) = table._database._mirror.columns.values()
    assert mirror.vectors is not None
    return mirror.vectors


def ask(table: vecdb.Table, matrix: np.ndarray, number: int) -> None:
    hits = table.search(matrix[number], k=5, ef=150)
    assert hits.ids == nearest(matrix, matrix[number], "cosine", 5)
    assert hits.plan.strategy == "graph"


def test_every_search_brings_some_until_all_are_there(table: vecdb.Table, matrix: np.ndarray) -> None:
    ask(table, matrix, 0)
    missing = int(in_memory(table).absent.sum())
    assert missing > 5
    for number in range(1, missing + 1):
        assert not in_memory(table).whole
        ask(table, matrix, number)
    assert in_memory(table).whole
    np.testing.assert_array_equal(in_memory(table).array[:ROWS], matrix)
    ask(table, matrix, 7)


@pytest.mark.parametrize("call", ["batch", "exact", "insert"])
def test_calls_that_want_all_read_all(table: vecdb.Table, matrix: np.ndarray, call: str) -> None:
    ask(table, matrix, 0)
    if call == "batch":
        assert table.search_batch(matrix[:100], k=1, ef=100).ids[:, 0].tolist() == list(range(100))
    elif call == "exact":
        assert table.search(matrix[9], k=1, exact=True).ids == [9]
    else:
        table.insert(ROWS, -matrix[0])
        assert table.search(-matrix[0], k=1).ids == [ROWS]
    assert in_memory(table).whole
    np.testing.assert_array_equal(in_memory(table).array[:ROWS], matrix)


def test_a_small_batch_reads_no_more_than_a_search(table: vecdb.Table, matrix: np.ndarray) -> None:
    assert table.search_batch(matrix[:3], k=1, ef=100).ids[:, 0].tolist() == [0, 1, 2]
    assert not in_memory(table).whole


def test_commits_of_others_are_followed_while_vectors_are_missing(
    path: Path, table: vecdb.Table, matrix: np.ndarray
) -> None:
    """Rows that come later share a block with those that were there, and a block that is missing."""
    ask(table, matrix, 0)
    insert = """
import sys, numpy as np, vecdb
with vecdb.connect(sys.argv[1]) as db:
    rows = np.load(sys.argv[2])
    db.table("t").insert(range(3000, 3000 + len(rows)), rows)
    db.table("t").delete([1])
"""
    rows = np.random.default_rng(1).normal(size=(700, DIM)).astype(np.float32)
    np.save(path.with_suffix(".npy"), rows)
    subprocess.run([sys.executable, "-c", insert, str(path), str(path.with_suffix(".npy"))], check=True)
    everything = np.concatenate([matrix, rows])
    right = np.delete(np.arange(len(everything)), 1)
    for number in (0, 2998, 3001, 3699, 5):
        found = table.search(everything[number], k=5, ef=150).ids
        assert found == right[nearest(everything[right], everything[number], "cosine", 5)].tolist()
    assert not in_memory(table).whole
    table.search_batch(matrix[:20])
    np.testing.assert_array_equal(in_memory(table).array[: len(everything)], everything)


@pytest.mark.parametrize("quantization", ["none", "u8"])
def test_columns_that_need_them_have_them_at_once(
    path: Path, rng: np.random.Generator, quantization: Quantization
) -> None:
    """Those whose walks compare vectors, and those without a graph."""
    matrix = rng.normal(size=(1500, DIM)).astype(np.float32)
    count = 1500 if quantization == "none" else 500
    with vecdb.connect(path) as db:
        db.create_table("t", dim=DIM, quantization=quantization).insert(range(count), matrix[:count])
    with vecdb.connect(path) as db:
        table = db.table("t")
        assert table.search(matrix[5], k=1).ids == [5]
        assert in_memory(table).whole


FIRST_ANSWERS = """
import sys, time, numpy as np, vecdb
db = vecdb.connect(sys.argv[1])
table, queries = db.table("t"), np.load(sys.argv[2])
answers = []
assert table.get(3).id == 3 and len(table) == 3000
for number, query in enumerate(queries):
    hits = table.search(query, k=5, ef=150)
    answers.append(hits.ids)
    if number == 0:
        assert hits.plan.strategy == "scan", hits.plan
        assert "numba" not in sys.modules
while hits.plan.strategy == "scan":
    time.sleep(0.05)
    hits = table.search(queries[0], k=5, ef=150)
assert hits.ids == answers[0]
print(answers)
"""


def test_first_answers_do_not_wait_for_kernels_which_then_take_over(path: Path, matrix: np.ndarray) -> None:
    queries = path.with_suffix(".npy")
    np.save(queries, matrix[:6])
    command = [sys.executable, "-c", FIRST_ANSWERS, str(path), str(queries)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    assert done.stdout.strip() == str([nearest(matrix, query, "cosine", 5) for query in matrix[:6]])


FORKED = """
import os, signal, sys, numpy as np, vecdb
def ask(times):
    with vecdb.connect(sys.argv[1]) as db:
        for _ in range(times):
            db.table("t").search(np.ones(16))
ask(2)
child = os.fork()
if child == 0:
    signal.alarm(30)
    from vecdb.index import graph
    graph.load_kernels()
    ask(2)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_process_forked_while_kernels_load_can_use_them(path: Path, matrix: np.ndarray) -> None:
    subprocess.run([sys.executable, "-c", FORKED, str(path)], check=True, timeout=120)
