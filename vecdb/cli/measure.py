"""What `vecdb bench` measures: loading, opening, searching, beside hnswlib where that is installed."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

import vecdb
from vecdb.index.threads import usable_cores

Float32 = NDArray[np.float32]
Ids = Sequence[Sequence[Any]]  # of hits, for each query

_EFS: Final = (10, 20, 40, 80, 160, 320)
_SECONDS: Final = 0.5  # at least, of each measurement
_GOAL: Final = 0.95
_INTRINSIC: Final = 24  # dimensions that made-up vectors really have: embeddings have few
_COMMITS: Final = 30
_TABLE: Final = "rows"


class _Questions(NamedTuple):
    """Queries, the ids of the truly nearest rows of each, and whether each query is a row itself, which then comes
    first in vain."""

    vectors: Float32
    k: int
    truth: Ids
    own: Sequence[Any] | None  # the ids of the queries, where they are rows

    @property
    def asked(self) -> int:
        """How many hits to ask for."""
        return self.k + (self.own is not None)

    def recall(self, found: Ids) -> float:
        right = sum(len(set(ids) & set(true)) for ids, true in zip(found, self.truth, strict=True))
        return right / max(1, sum(map(len, self.truth)))


def made_up(path: Path, rows: int, dim: int, queries: int, k: int, progress: bool, peer: bool) -> dict[str, Any]:
    """Load made-up vectors into a new database, and search it."""
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(_INTRINSIC, dim))
    vectors, asked = (
        (rng.normal(size=(count, _INTRINSIC)) @ shape + rng.normal(size=(count, dim))).astype(np.float32)
        for count in (rows, queries)
    )
    figures: dict[str, Any] = {"rows": rows, "dim": dim, "metric": "cosine"}
    with vecdb.connect(path) as db:
        table = db.create_table(_TABLE, dim=dim)
        start = time.perf_counter()
        table.insert(range(rows), vectors, progress=progress)
        seconds = time.perf_counter() - start
        figures |= {"load_seconds": _round(seconds), "rows_per_second": _round(rows / seconds)}
        figures["bytes_per_row"] = _round(path.stat().st_size / rows)
    figures |= _first_answer(path, _TABLE, "vector", asked[0], k)
    with vecdb.connect(path) as db:
        table = db.table(_TABLE)
        questions = _Questions(asked, k, _true(table, "vector", asked, k, None), None)
        searched = _search(table, "vector", questions, (list(range(rows)), vectors) if peer else None)
        commits = [_seconds(partial(table.insert, None, vector)) for vector in asked[:_COMMITS]]
        figures["durable_insert_of_one_row_ms"] = _round(1000 * float(np.median(commits)))
    return figures | searched


def existing(path: Path, name: str, column: str, queries: int, k: int, peer: bool) -> dict[str, Any]:
    """Search a table by some of its own rows."""
    with vecdb.connect(path, create=False, readonly=True) as db:
        table = db.table(name)
        if column not in table.vectors:
            raise vecdb.ProgrammingError(f"table {name!r} has no vector column {column!r}")
        ids, vectors = _rows(table, column)
        if not ids:
            raise vecdb.ProgrammingError(f"table {name!r} has no row with a vector in column {column!r}")
        options = table.vectors[column]
        figures: dict[str, Any] = {"rows": len(ids), "dim": options.dim, "metric": options.metric}
        chosen = np.random.default_rng(0).permutation(len(ids))[:queries]
        asked, own = vectors[chosen], [ids[place] for place in chosen.tolist()]
        truth = _true(table, column, asked, k, own)
        searched = _search(table, column, _Questions(asked, k, truth, own), (ids, vectors) if peer else None)
    return figures | _first_answer(path, name, column, asked[0], k) | searched


def _rows(table: vecdb.Table, column: str) -> tuple[list[Any], Float32]:
    found = [
        (row.id, row.vectors[column])
        for row in table.scan(fields=[], vectors=True)
        if row.vectors is not None and column in row.vectors
    ]
    vectors = np.array([vector for _, vector in found], np.float32)
    return [identifier for identifier, _ in found], vectors


def _true(table: vecdb.Table, column: str, asked: Float32, k: int, own: Sequence[Any] | None) -> Ids:
    """The nearest rows by brute force, without the query's own."""
    found = table.search_batch(asked, k=k + (own is not None), column=column, exact=True)
    hits = [ids[:count].tolist() for ids, count in zip(found.ids, found.counts, strict=True)]
    if own is None:
        return hits
    return [[hit for hit in ids if hit != itself][:k] for ids, itself in zip(hits, own, strict=True)]


def _search(
    table: vecdb.Table, column: str, questions: _Questions, rows: tuple[list[Any], Float32] | None
) -> dict[str, Any]:
    """Speed and recall at several `ef`; `rows` are for the peer."""
    figures: dict[str, Any] = {}
    asked = questions.asked
    search = partial(table.search, k=asked, column=column, fields=False)
    times = [_seconds(partial(search, query)) for query in questions.vectors]
    figures["search_us"], figures["search_p99_us"] = (_round(1e6 * float(np.quantile(times, q))) for q in (0.5, 0.99))
    batch = table.search_batch(questions.vectors, k=asked, column=column)
    figures["recall"] = round(questions.recall(_lists(batch)), 4)
    figures["batch_queries_per_second"] = _round(
        _rate(len(times), lambda: table.search_batch(questions.vectors, k=asked, column=column))
    )
    figures["batch_threads"] = usable_cores()

    def own(ef: int) -> tuple[float, float]:
        def work() -> vecdb.BatchHits:
            return table.search_batch(questions.vectors, k=asked, column=column, ef=ef, threads=1)

        return questions.recall(_lists(work())), _rate(len(times), work)

    curves = {"vecdb": _curve(own)}
    if rows is not None and importlib.util.find_spec("hnswlib") is not None:
        index, seconds = _build_peer(rows[1], table.vectors[column].metric)
        figures["hnswlib_build_seconds"] = _round(seconds)

        def peers(ef: int) -> tuple[float, float]:
            index.set_ef(max(ef, asked))

            def work() -> NDArray[Any]:
                labels: NDArray[Any] = index.knn_query(questions.vectors, min(asked, len(rows[0])), num_threads=1)[0]
                return labels

            found = [[rows[0][place] for place in line] for line in work().tolist()]
            return questions.recall(found), _rate(len(times), work)

        curves["hnswlib"] = _curve(peers)
    for name, curve in curves.items():
        reached = [point["queries_per_second"] for point in curve if point["recall"] >= _GOAL]
        figures[f"{name}_queries_per_second_at_recall_{_GOAL}"] = max(reached, default=None)
    return {**figures, "curves": curves}


def _curve(measure: Callable[[int], tuple[float, float]]) -> list[dict[str, float]]:
    points = []
    for ef in _EFS:
        recall, speed = measure(ef)
        points.append({"ef": ef, "recall": round(recall, 4), "queries_per_second": _round(speed)})
    return points


def _build_peer(vectors: Float32, metric: str) -> tuple[Any, float]:
    import hnswlib

    start = time.perf_counter()
    index = hnswlib.Index(space=metric, dim=vectors.shape[1])
    index.init_index(len(vectors), M=16, ef_construction=200)
    index.add_items(vectors, num_threads=usable_cores())
    return index, time.perf_counter() - start


def _first_answer(path: Path, name: str, column: str, query: Float32, k: int) -> dict[str, Any]:
    """From a closed file to the first hits, in a process that has its kernels."""
    start = time.perf_counter()
    with vecdb.connect(path, create=False, readonly=True) as db:
        db.table(name).search(query, k=k, column=column)
        seconds = time.perf_counter() - start
    return {"open_and_answer_ms": _round(1000 * seconds)}


def _lists(batch: vecdb.BatchHits) -> Ids:
    return [ids[:count].tolist() for ids, count in zip(batch.ids, batch.counts, strict=True)]


def _rate(count: int, work: Callable[[], object]) -> float:
    """How many of `count` queries a second, in the best of some turns."""
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        best = min(best, _seconds(work))
    return count / best


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _round(value: float) -> float:
    """To three digits."""
    return float(f"{value:.3g}")
