"""The subject `filters`: searches under filters of many kinds, beside an exact scan and an index of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import vecdb
from tools.bench import report
from tools.bench.calls import best_medians, medians
from tools.bench.datasets import Dataset, DatasetError, Float32
from tools.bench.exact import Truth
from tools.bench.fill import TABLE, fill, warm_up
from tools.bench.peers import HNSWLIB, Hnswlib, find_peer

HELP: Final = "search under filters: recall, time and plan of each, beside an exact scan and an index of its own"
ROWS: Final[Mapping[str, int]] = {"passages": 60_000}
INDEXES: Final = ("source", "kind", "doc", "year")
K: Final = 10
_QUERIES: Final = 200
_TENANTS: Final = (10, 30, 100, 300, 600)  # rows of a doc
_ROUNDS: Final = 5  # of a batch
_EFS: Final = (10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 512)

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Filter:
    """A filter of SQL text, what it lets through, and the queries that are asked under it."""

    name: str
    where: str | None
    rows: Rows
    queries: Float32


@dataclass(frozen=True)
class Case:
    """Figures of one filter; medians of single calls, in seconds."""

    name: str
    where: str | None
    matching: int
    recall: float
    seconds: float
    scan_seconds: float  # of an exact scan of just the matching vectors, in NumPy
    own_index_seconds: float | None  # of hnswlib on just those, at a recall that is no less
    batch_seconds: float  # a query, of a batch of all on one thread
    own_batch_seconds: float | None
    compared: float
    strategy: str

    @property
    def ratio(self) -> float:
        """To the better of the two that it is beside."""
        return self.seconds / min(self.scan_seconds, self.own_index_seconds or self.scan_seconds)


@dataclass(frozen=True)
class Result:
    rows: int
    dim: int
    metric: str
    load_seconds: float
    unindexed_load_seconds: float
    cases: list[Case]

    def __str__(self) -> str:
        unfiltered = self.cases[0].seconds
        lines = [
            [
                case.name,
                f"{case.matching:,}",
                f"{case.recall:.4f}",
                report.seconds(case.seconds),
                report.times(case.seconds / unfiltered),
                f"{case.compared:,.0f}",
                case.strategy,
                report.seconds(case.scan_seconds),
                report.ABSENT if case.own_index_seconds is None else report.seconds(case.own_index_seconds),
                report.times(case.ratio),
                report.seconds(case.batch_seconds),
                report.ABSENT if case.own_batch_seconds is None else report.seconds(case.own_batch_seconds),
            ]
            for case in self.cases
        ]
        head = ["filter", "rows", "recall", "time", "/ none", "compared", "plan"]
        head += ["NumPy scan", "own hnswlib", "ratio", "in a batch", "own in a batch"]
        title = f"{self.rows:,} rows, {self.dim} dimensions, {self.metric}: single calls, ids and distances, default ef"
        load = (
            f"load with {len(INDEXES)} indexes {report.seconds(self.load_seconds)}, "
            f"without {report.seconds(self.unindexed_load_seconds)}"
        )
        return f"{report.grid(title, head, lines)}\n{load}"


def add_options(parser: argparse.ArgumentParser) -> None:
    pass


def measure(dataset: Dataset, folder: Path, options: argparse.Namespace) -> Result:
    """Fill a table with four indexes, then ask single queries under each filter, by SQL text, at the default beam."""
    if dataset.fields is None:
        raise DatasetError(f"{dataset.name} has no fields to filter by; --datasets passages")
    warm_file, file = folder / "warm.vecdb", folder / f"{dataset.name}.vecdb"
    report.progress(f"{dataset.name}: compiling kernels")
    warm_up(warm_file, dataset)
    report.progress(f"{dataset.name}: loading {len(dataset):,} rows, without indexes and with them")
    unindexed = fill(folder / "unindexed.vecdb", dataset, len(dataset))
    loaded = fill(file, dataset, len(dataset), INDEXES)
    cases = []
    with vecdb.connect(file, create=False) as db:
        for item in _filters(dataset):
            report.progress(f"{dataset.name}: {item.name}")
            cases.append(_measure(db.table(TABLE), dataset, item))
    return Result(len(dataset), dataset.dim, dataset.metric, loaded, unindexed, cases)


def _filters(dataset: Dataset) -> list[Filter]:
    columns = {name: [row[name] for row in dataset.fields or ()] for name in (*INDEXES, "status", "words")}
    source, kind, doc = (np.array(columns[name]) for name in ("source", "kind", "doc"))
    year = np.array([value or 0 for value in columns["year"]])
    everything = _spread(dataset.queries)

    def case(name: str, where: str | None, mask: NDArray[np.bool_], queries: Float32 = everything) -> Filter:
        return Filter(name, where, np.flatnonzero(mask), queries)

    filters = [case("none", None, np.ones(len(dataset), np.bool_))]
    filters += [case(f"source {value}", f"source = '{value}'", source == value) for value in np.unique(source)]
    for value in np.unique(source).tolist():
        others = dataset.queries[[row["source"] != value for row in dataset.query_fields or ()]]
        filters.append(case(f"source {value}, from others", f"source = '{value}'", source == value, _spread(others)))
    kinds, counts = np.unique(kind, return_counts=True)
    for place in np.argsort(-counts):
        filters.append(case(f"kind {kinds[place]}", f"kind = '{kinds[place]}'", kind == kinds[place]))
    docs, counts = np.unique(doc, return_counts=True)
    for size in _TENANTS:
        value = docs[np.argmin(np.abs(counts - size))]
        filters.append(case(f"a doc of {(doc == value).sum()}", f"doc = '{value}'", doc == value))
    status, words = np.array(columns["status"]), np.array(columns["words"])
    return [
        *filters,
        case("year >= 2020", "year >= 2020", year >= 2020),
        case("3 years", "year BETWEEN 2012 AND 2014", (year >= 2012) & (year <= 2014)),
        case("a year", "year = 1999", year == 1999),
        case("no year", "year IS NULL", year == 0),
        case("not a year", "year <> 2012", (year != 2012) & (year > 0)),
        case("kind and years", "kind = 'Process' AND year >= 2012", (kind == "Process") & (year >= 2012)),
        case("kinds", "kind IN ('linux', 'osx', 'windows')", np.isin(kind, ["linux", "osx", "windows"])),
        case("unindexed text", "status = 'Rejected'", status == "Rejected"),
        case("unindexed range", "words BETWEEN 10 AND 12", (words >= 10) & (words <= 12)),
    ]


def _spread(queries: Float32) -> Float32:
    chosen = np.linspace(0, len(queries), min(_QUERIES, len(queries)), endpoint=False).astype(np.int64)
    return np.ascontiguousarray(queries[chosen])


def _measure(table: vecdb.Table, dataset: Dataset, item: Filter) -> Case:
    matching = replace(
        dataset,
        ids=[dataset.ids[row] for row in item.rows.tolist()],
        vectors=dataset.vectors[item.rows],
        queries=item.queries,
        fields=None,
    )
    truth = Truth(matching, K)

    def search(query: Any) -> vecdb.Hits:
        return table.search(query, K, where=item.where, fields=False)

    places = {identifier: place for place, identifier in enumerate(matching.ids)}
    hits = [search(query) for query in item.queries]
    recall = truth.recall(_table([[places[found] for found in hit.ids] for hit in hits]))
    calls: dict[str, Callable[[Any], object]] = {"search": search, "scan": lambda query: _scan(matching, query)}
    own = _own_index(matching, truth, recall)
    if own is not None:
        index, ef = own
        calls["own"] = lambda query: index.search(query, K, ef, 1)
    seconds = best_medians(calls, item.queries)
    batches: dict[str, Callable[[], object]] = {
        "search": lambda: table.search_batch(item.queries, K, where=item.where, threads=1)
    }
    if own is not None:
        batches["own"] = lambda: index.search(item.queries, K, ef, 1)
    batch_seconds = {name: taken / len(item.queries) for name, taken in medians(batches, _ROUNDS).items()}
    strategies = [hit.plan.strategy for hit in hits]
    return Case(
        item.name,
        item.where,
        len(item.rows),
        recall,
        seconds["search"],
        seconds["scan"],
        seconds.get("own"),
        batch_seconds["search"],
        batch_seconds.get("own"),
        float(np.mean([hit.plan.compared for hit in hits])),
        max(set(strategies), key=strategies.count),
    )


def _own_index(matching: Dataset, truth: Truth, recall: float) -> tuple[Hnswlib, int] | None:
    """An index of hnswlib of just these rows, and its narrowest beam with that recall; None where it has none."""
    peer = find_peer(HNSWLIB)
    if peer is None:
        return None
    index, _ = peer.build(matching, 1)
    assert isinstance(index, Hnswlib)
    for ef in _EFS:
        if truth.recall(index.search(matching.queries, K, ef, 1).astype(np.int64)) >= recall:
            return index, ef
    return None


def _scan(matching: Dataset, query: Float32) -> Rows:
    """The exact nearest, as one would write it; rows under cosine are of length 1 in the data sets."""
    scores = -(matching.vectors @ query)
    most = min(K, len(scores))
    nearest = np.argpartition(scores, most - 1)[:most]
    return nearest[np.argsort(scores[nearest])]


def _table(found: Sequence[Sequence[int]]) -> Rows:
    rows = np.full((len(found), K), -1, np.int64)
    for number, places in enumerate(found):
        rows[number, : len(places)] = places
    return rows
