"""The steps of the tour: load, search, roll back, reopen, measure."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import vecdb
from vecdb.cli.kernels import compile_kernels
from vecdb.cli.tour.docstrings import Docstring, read_docstrings
from vecdb.cli.tour.vectors import DIM, Float32, Vectoriser

WIDTH = 100
HITS = 5
DELETED = 500
TABLE = "docstrings"

# What a text is about stands in its name and its first lines; the rest is about details.
NAME_WEIGHT = 6
FIRST_LINE_WEIGHT = 3
OPENING = 160


class ChangedMindError(Exception):
    """Raised in a transaction, to have it rolled back."""


def give_tour(questions: Sequence[str], keep: Path | None, *, most: int | None, progress: bool) -> dict[str, Any]:
    """Load the docstrings, or the first `most`, into `keep` or a temporary file, and ask the questions: the figures."""
    click.echo(f"\nvecdb {vecdb.__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    docstrings, vectoriser, vectors = _read(most)
    queries = vectoriser.vectors(questions)
    known = next((query for query in queries if query.any()), vectors[0])
    figures: dict[str, Any] = {"rows": len(docstrings), "dim": DIM}
    with tempfile.TemporaryDirectory(prefix="vecdb-demo-") as name:
        folder = Path(name)
        _compile(folder / "warm-up.vecdb")
        path = folder / "stdlib.vecdb" if keep is None else keep
        with vecdb.connect(path) as db:
            table, figures["load_seconds"] = _load(db, docstrings, vectors, progress)
            figures["answers"] = _search(table, questions, queries)
            _roll_back(db, table, known)
        figures |= _reopen(path, known)
        figures["file_bytes"] = _measure(path, len(docstrings))
    if keep is not None:
        click.echo(f"\nThe database is kept in {keep}.")
    return figures


def _read(most: int | None) -> tuple[list[Docstring], Vectoriser, Float32]:
    _headline("Real text: the docstrings of this Python's standard library")
    start = time.perf_counter()
    docstrings = read_docstrings(most)
    if not docstrings:
        raise click.ClickException("this Python came without the sources of its standard library")
    modules = len({docstring.module for docstring in docstrings})
    click.echo(f"{len(docstrings):,} docstrings of {modules} modules, read in {time.perf_counter() - start:.1f} s.")
    start = time.perf_counter()
    texts = [_text_of(docstring) for docstring in docstrings]
    vectoriser = Vectoriser(texts)
    vectors = vectoriser.vectors(texts)
    seconds = time.perf_counter() - start
    click.echo(f"As vectors of {DIM} numbers, by hashed TF-IDF and a truncated SVD: {seconds:.1f} s. It knows words,")
    click.echo("not their meaning: a model would find better, and vecdb would be as fast.")
    return docstrings, vectoriser, vectors


def _text_of(docstring: Docstring) -> str:
    """The text that a vector is made of; what stands in it more than once weighs more."""
    parts = [docstring.name] * NAME_WEIGHT + [docstring.first_line] * FIRST_LINE_WEIGHT + [docstring.text[:OPENING]]
    return "\n".join(parts)


def _compile(path: Path) -> None:
    _headline("Compile")
    click.echo("vecdb's kernels are compiled at their first use, once after an installation: that may take half")
    click.echo("a minute ...", nl=False)
    start = time.perf_counter()
    compile_kernels(path)
    click.echo(f" {time.perf_counter() - start:.1f} s.")


def _load(
    db: vecdb.Database, docstrings: Sequence[Docstring], vectors: Float32, progress: bool
) -> tuple[vecdb.Table, float]:
    _headline(f"Load, into one file: {db.path}")
    fields = {
        "module": [docstring.module for docstring in docstrings],
        "kind": [docstring.kind for docstring in docstrings],
        "length": [len(docstring.text) for docstring in docstrings],
        "first_line": [docstring.first_line for docstring in docstrings],  # undeclared: it rides along
    }
    start = time.perf_counter()
    table = db.create_table(TABLE, dim=DIM, metric="cosine", fields={"module": str, "kind": str, "length": int})
    table.insert([docstring.name for docstring in docstrings], vectors, fields, progress=progress)
    seconds = time.perf_counter() - start
    click.echo(
        f"{len(table):,} rows in {seconds:.1f} s, {len(table) / seconds:,.0f} a second, in one durable transaction."
    )
    return table, seconds


def _search(table: vecdb.Table, questions: Sequence[str], queries: Float32) -> dict[str, list[Any]]:
    _headline("Search")
    answers: dict[str, list[Any]] = {}
    for question, query in zip(questions, queries, strict=True):
        click.echo(f"\n{question}?")
        if query.any():
            hits = table.search(query, HITS)
            answers[question] = hits.ids
            _print_hits(hits)
        else:
            answers[question] = []
            click.echo("  No word of this occurs in the standard library.")
    return answers


def _print_hits(hits: vecdb.Hits) -> None:
    widest = max(len(str(hit.id)) for hit in hits)
    for hit in hits:
        click.echo(f"  {hit.distance:.2f}  {hit.id:<{widest}}  {hit.fields['first_line']}"[:WIDTH].rstrip())
    click.echo(f"  {hits.plan}")


def _roll_back(db: vecdb.Database, table: vecdb.Table, query: Float32) -> None:
    _headline("Roll back")
    before = _observe("before the transaction", table, query)
    nearest = table.search(query, min(DELETED, len(table) // 2), fields=False).ids
    try:
        with db.transaction():
            table.delete(nearest)
            table.insert("made.up", query, {"module": "made", "kind": "function"})
            inside = _observe(f"{len(nearest)} deleted, 1 inserted", table, query)
            raise ChangedMindError
    except ChangedMindError:
        after = _observe("after an exception", table, query)
    if after != before or inside == before or "made.up" in table:
        raise click.ClickException("This is a bug in vecdb: the transaction was not rolled back as a whole.")
    click.echo("The hits are those of before, at the same distances.")


def _observe(when: str, table: vecdb.Table, query: Float32) -> tuple[int, list[str | int], list[float]]:
    hits = table.search(query, HITS)
    click.echo(f"  {when:<23}  {len(table):,} rows; nearest is {hits[0].id} at {hits[0].distance:.2f}")
    return len(table), hits.ids, hits.distances.tolist()


def _reopen(path: Path, query: Float32) -> dict[str, float]:
    _headline("Close and reopen")
    start = time.perf_counter()
    with vecdb.connect(path, create=False, readonly=True) as db:
        opened = time.perf_counter()
        table = db.table(TABLE)
        hit = table.search(query, 1)[0]
        answered = time.perf_counter()
        table.search(query, 1)
        again = time.perf_counter()
    click.echo(f"  opened            {1000 * (opened - start):6.1f} ms")
    click.echo(f"  first answer      {1000 * (answered - opened):6.1f} ms   {hit.id}")
    click.echo(f"  the same again    {1000 * (again - answered):6.1f} ms")
    return {"open_seconds": opened - start, "first_answer_seconds": answered - opened}


def _measure(path: Path, rows: int) -> int:
    _headline("Size")
    size = path.stat().st_size
    raw = rows * DIM * np.dtype(np.float32).itemsize
    click.echo(f"  the file     {size / 1e6:6.1f} MB   {size / rows:7,.0f} bytes a row: vectors, graph, fields, ids")
    click.echo(f"  raw vectors  {raw / 1e6:6.1f} MB   {raw / rows:7,.0f} bytes a row: {DIM} float32")
    return size


def _headline(text: str) -> None:
    click.echo(f"\n{text}\n{'-' * min(len(text), WIDTH)}")
