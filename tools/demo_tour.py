"""The tour that demo.py gives, in vecdb's environment: load, search, roll back, reopen, measure."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import vecdb
from tools.demo_docstrings import Docstring, read_docstrings
from tools.demo_vectors import DIM, Float32, Vectoriser

WIDTH = 100
HITS = 5
DELETED = 500
WARM_UP_ROWS = 2000  # enough for vecdb to build a graph
TABLE = "docstrings"

# What a text is about stands in its name and its first lines; the rest is about details.
NAME_WEIGHT = 6
FIRST_LINE_WEIGHT = 3
OPENING = 160


class ChangedMindError(Exception):
    """Raised in a transaction, to have it rolled back."""


def give_tour(questions: Sequence[str], keep: Path | None) -> None:
    """Load the docstrings into `keep`, or into a temporary file, and ask the questions."""
    print(f"\nvecdb {vecdb.__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    docstrings, vectoriser, vectors = _read()
    queries = vectoriser.vectors(questions)
    known = next((query for query in queries if query.any()), vectors[0])
    with tempfile.TemporaryDirectory(prefix="vecdb-demo-") as name:
        folder = Path(name)
        _compile_kernels(folder / "warm-up.vecdb")
        path = folder / "stdlib.vecdb" if keep is None else keep
        with vecdb.connect(path) as db:
            table = _load(db, docstrings, vectors)
            _search(table, questions, queries)
            _roll_back(db, table, known)
        _reopen(path, known)
        _measure(path, len(docstrings))
    if keep is not None:
        print(f"\nThe database is kept in {keep}.")


def _read() -> tuple[list[Docstring], Vectoriser, Float32]:
    _headline("Real text: the docstrings of this Python's standard library")
    start = time.perf_counter()
    docstrings = read_docstrings()
    modules = len({docstring.module for docstring in docstrings})
    print(f"{len(docstrings):,} docstrings of {modules} modules, read in {time.perf_counter() - start:.1f} s.")
    start = time.perf_counter()
    texts = [_text_of(docstring) for docstring in docstrings]
    vectoriser = Vectoriser(texts)
    vectors = vectoriser.vectors(texts)
    seconds = time.perf_counter() - start
    print(f"As vectors of {DIM} numbers, by hashed TF-IDF and a truncated SVD: {seconds:.1f} s. It knows words, not")
    print("their meaning: a model would find better, and vecdb would be as fast.")
    return docstrings, vectoriser, vectors


def _text_of(docstring: Docstring) -> str:
    """The text that a vector is made of; what stands in it more than once weighs more."""
    parts = [docstring.name] * NAME_WEIGHT + [docstring.first_line] * FIRST_LINE_WEIGHT + [docstring.text[:OPENING]]
    return "\n".join(parts)


def _compile_kernels(path: Path) -> None:
    """Have every kernel of the tour compiled, so that its times are vecdb's and not the compiler's."""
    _headline("Compile")
    print("vecdb's kernels are compiled at their first use, once after an installation: that may take half")
    print("a minute ...", end="", flush=True)
    start = time.perf_counter()
    vectors = np.random.default_rng(0).standard_normal((WARM_UP_ROWS, 8), np.float32)
    with vecdb.connect(path, durability="normal") as db:
        table = db.create_table("warm_up", dim=8)
        table.insert(None, vectors)
        table.search(vectors[0])
        with db.transaction():
            table.delete([0])
            table.insert(None, vectors[:1])
            table.search(vectors[0])
    print(f" {time.perf_counter() - start:.1f} s.")


def _load(db: vecdb.Database, docstrings: Sequence[Docstring], vectors: Float32) -> vecdb.Table:
    _headline(f"Load, into one file: {db.path}")
    fields = {
        "module": [docstring.module for docstring in docstrings],
        "kind": [docstring.kind for docstring in docstrings],
        "length": [len(docstring.text) for docstring in docstrings],
        "first_line": [docstring.first_line for docstring in docstrings],  # undeclared: it rides along
    }
    start = time.perf_counter()
    table = db.create_table(TABLE, dim=DIM, metric="cosine", fields={"module": str, "kind": str, "length": int})
    table.insert([docstring.name for docstring in docstrings], vectors, fields, progress=True)
    seconds = time.perf_counter() - start
    print(f"{len(table):,} rows in {seconds:.1f} s, {len(table) / seconds:,.0f} a second, in one durable transaction.")
    return table


def _search(table: vecdb.Table, questions: Sequence[str], queries: Float32) -> None:
    _headline("Search")
    for question, query in zip(questions, queries, strict=True):
        print(f"\n{question}?")
        if query.any():
            _print_hits(table.search(query, HITS))
        else:
            print("  No word of this occurs in the standard library.")


def _print_hits(hits: vecdb.Hits) -> None:
    widest = max(len(str(hit.id)) for hit in hits)
    for hit in hits:
        print(f"  {hit.distance:.2f}  {hit.id:<{widest}}  {hit.fields['first_line']}"[:WIDTH].rstrip())
    print(f"  {hits.plan}")


def _roll_back(db: vecdb.Database, table: vecdb.Table, query: Float32) -> None:
    _headline("Roll back")
    before = _observe("before the transaction", table, query)
    nearest = table.search(query, DELETED, fields=False).ids
    try:
        with db.transaction():
            table.delete(nearest)
            table.insert("made.up", query, {"module": "made", "kind": "function"})
            inside = _observe(f"{DELETED} deleted, 1 inserted", table, query)
            raise ChangedMindError
    except ChangedMindError:
        after = _observe("after an exception", table, query)
    if after != before or inside == before or "made.up" in table:
        raise SystemExit("This is a bug in vecdb: the transaction was not rolled back as a whole.")
    print("The hits are those of before, at the same distances.")


def _observe(when: str, table: vecdb.Table, query: Float32) -> tuple[int, list[str | int], list[float]]:
    hits = table.search(query, HITS)
    print(f"  {when:<23}  {len(table):,} rows; nearest is {hits[0].id} at {hits[0].distance:.2f}")
    return len(table), hits.ids, hits.distances.tolist()


def _reopen(path: Path, query: Float32) -> None:
    _headline("Close and reopen")
    start = time.perf_counter()
    with vecdb.connect(path, create=False, readonly=True) as db:
        opened = time.perf_counter()
        table = db.table(TABLE)
        hit = table.search(query, 1)[0]
        answered = time.perf_counter()
        table.search(query, 1)
        again = time.perf_counter()
    print(f"  opened            {1000 * (opened - start):6.1f} ms")
    print(f"  first answer      {1000 * (answered - opened):6.1f} ms   {hit.id}")
    print(f"  the same again    {1000 * (again - answered):6.1f} ms")


def _measure(path: Path, rows: int) -> None:
    _headline("Size")
    size = path.stat().st_size
    raw = rows * DIM * np.dtype(np.float32).itemsize
    print(f"  the file     {size / 1e6:6.1f} MB   {size / rows:7,.0f} bytes a row: vectors, graph, fields, ids")
    print(f"  raw vectors  {raw / 1e6:6.1f} MB   {raw / rows:7,.0f} bytes a row: {DIM} float32")


def _headline(text: str) -> None:
    print(f"\n{text}\n{'-' * min(len(text), WIDTH)}")
