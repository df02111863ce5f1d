"""The subject `churn`: rows come and go, and the graph is compared with a new one of the rows that are left."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

import vecdb
from tools.bench import report
from tools.bench.arguments import names_of, positive
from tools.bench.contenders import rows_of
from tools.bench.datasets import Dataset
from tools.bench.exact import Truth
from tools.bench.fill import TABLE, fill, insert, warm_up
from vecdb.index.levels import draw_levels

HELP: Final = "delete and insert rows for many rounds, beside a graph that is built fresh from those that are left"
ROWS: Final[Mapping[str, int]] = {"passages": 60_000, "patches": 60_000}
K: Final = 10
_SEED: Final = 5
_ROUNDS: Final = 3  # of timing, in which the two take turns
_CALLS: Final = 100
_BULK: Final = 10_000
_INDEXES: Final = ("source", "kind", "doc", "year")
_CENTRES: Final = 40
_STEPS_OF_K_MEANS: Final = 8

Rows = NDArray[np.int64]
Plan = Callable[[Dataset, Rows], Iterator[tuple[Rows, Rows]]]


@dataclass(frozen=True)
class Moment:
    """The churned table and a fresh one of the same rows, at equal ef."""

    rows: int
    recall: float
    fresh_recall: float
    qps: float
    fresh_qps: float
    file_bytes: int
    fresh_file_bytes: int
    waiting: int  # deleted rows that the graph still links
    unreachable: int  # rows that no walk on the base layer comes to

    def cells(self, name: str, first_bytes: int) -> list[str]:
        return [
            name,
            f"{self.rows:,}",
            f"{self.recall:.4f}",
            f"{self.recall - self.fresh_recall:+.4f}",
            report.times(self.qps / self.fresh_qps),
            f"{self.waiting:,}",
            f"{self.unreachable:,}",
            report.times(self.file_bytes / first_bytes),
            report.times(self.file_bytes / self.fresh_file_bytes),
        ]


@dataclass(frozen=True)
class Churn:
    """One run: a moment after the deletes of each round, one after its inserts; at the end one after a vacuum and one
    after a compaction."""

    moments: dict[str, Moment]
    first_file_bytes: int
    churn_seconds: float
    vacuum_seconds: float
    compact_seconds: float


@dataclass(frozen=True)
class Bulk:
    """One `delete(where=)` of many rows: all but the commit, and the commit with its sync."""

    rows: int
    indexes: int
    seconds: float
    commit_seconds: float

    def __str__(self) -> str:
        rate = self.rows / self.seconds
        facts = {
            "before the commit": f"{report.seconds(self.seconds)}, {report.whole(rate)} rows/s",
            "its commit, durable": report.seconds(self.commit_seconds),
        }
        return report.facts(f"delete(where=) of {self.rows:,} rows, {self.indexes} indexes", facts)


@dataclass(frozen=True)
class Result:
    rows: int  # at any time, about
    dim: int
    metric: str
    ef: int
    churns: dict[str, Churn]
    calls: dict[str, float]
    bulk: Bulk | None

    def __str__(self) -> str:
        head = ["after", "rows", "recall", "- fresh", "q/s / fresh", "waiting", "lost", "file / first", "file / fresh"]
        title = f"{self.rows:,} of {2 * self.rows:,} rows, {self.dim} dimensions, {self.metric}, ef {self.ef}"
        tables = [
            report.grid(
                f"{name}: churn {report.seconds(churn.churn_seconds)}, vacuum {report.seconds(churn.vacuum_seconds)}, "
                f"compact {report.seconds(churn.compact_seconds)}",
                head,
                [moment.cells(label, churn.first_file_bytes) for label, moment in churn.moments.items()],
            )
            for name, churn in self.churns.items()
        ]
        if self.calls:
            measured = {name: report.seconds(taken) for name, taken in self.calls.items()}
            tables.append(report.facts("Durable calls of one row, medians", measured))
        if self.bulk is not None:
            tables.append(str(self.bulk))
        return "\n\n".join([title, *tables])


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parts",
        type=names_of([*PLANS, CALLS]),
        metavar="NAMES",
        default=[*PLANS, CALLS],
        help=f"of {', '.join([*PLANS, CALLS])}, separated by commas (default: all)",
    )
    parser.add_argument("--ef", type=positive, metavar="N", default=32, help="the beam of all searches (default: 32)")


def measure(dataset: Dataset, folder: Path, options: argparse.Namespace) -> Result:
    """Half of the data set's rows are in the table at any time; each run begins with a new file."""
    report.progress(f"{dataset.name}: compiling kernels")
    warm_up(folder / "warm.vecdb", dataset)
    half = len(dataset) // 2
    churns = {}
    for name in options.parts:
        report.progress(f"{dataset.name}: {name}")
        if name in PLANS:
            churns[name] = _churn(dataset, half, PLANS[name], folder, options.ef)
    calls, bulk = {}, None
    if CALLS in options.parts:
        calls = _measure_calls(dataset, half, folder / "calls.vecdb")
        bulk = _measure_bulk(dataset, half, folder / "bulk.vecdb")
    return Result(half, dataset.dim, dataset.metric, options.ef, churns, calls, bulk)


def _churn(dataset: Dataset, half: int, plan: Plan, folder: Path, ef: int) -> Churn:
    file = folder / "churned.vecdb"
    order = np.random.default_rng(_SEED).permutation(len(dataset))
    living = order[:half]
    fill(file, _take(dataset, living), half)
    first_bytes = file.stat().st_size
    moments = {}
    seconds = 0.0
    with vecdb.connect(file, create=False) as db:
        table = db.table(TABLE)
        for number, (gone, come) in enumerate(plan(dataset, order), start=1):
            start = time.perf_counter()
            table.delete([dataset.ids[row] for row in gone])
            seconds += time.perf_counter() - start
            living = living[~np.isin(living, gone)]
            if len(living):
                moments[f"{number}: deletes"] = _look(table, file, _take(dataset, living), folder, ef)
            start = time.perf_counter()
            insert(table, _take(dataset, come), 0, len(come), len(come))
            seconds += time.perf_counter() - start
            living = np.concatenate([living, come])
            moments[f"{number}: inserts"] = _look(table, file, _take(dataset, living), folder, ef)
            _check(db)
        start = time.perf_counter()
        table.vacuum()
        vacuumed = time.perf_counter() - start
        moments["vacuum"] = _look(table, file, _take(dataset, living), folder, ef)
        start = time.perf_counter()
        db.compact()
        compacted = time.perf_counter() - start
        moments["compact"] = _look(table, file, _take(dataset, living), folder, ef)
        _check(db)
    file.unlink()
    return Churn(moments, first_bytes, seconds, vacuumed, compacted)


def _check(db: vecdb.Database) -> None:
    """Every invariant holds, that all live rows can be reached on the base layer among them."""
    found = db.check()
    if not found.ok:
        raise AssertionError(str(found))


def _look(table: vecdb.Table, file: Path, dataset: Dataset, folder: Path, ef: int) -> Moment:
    fresh_file = folder / "fresh.vecdb"
    fill(fresh_file, dataset, len(dataset))
    with vecdb.connect(fresh_file, create=False) as db:
        truth = Truth(dataset, K)
        tables = {"churned": table, "fresh": db.table(TABLE)}
        best = dict.fromkeys(tables, math.inf)
        recalls = {}
        for _ in range(_ROUNDS):
            for name, asked in tables.items():
                start = time.perf_counter()
                found = asked.search_batch(dataset.queries, K, ef=ef, threads=1)
                best[name] = min(best[name], time.perf_counter() - start)
                recalls[name] = truth.recall(rows_of(found, dataset))
    stats = table.stats(reachability=True)
    reachable = stats.columns["vector"].reachable
    moment = Moment(
        rows=len(dataset),
        recall=recalls["churned"],
        fresh_recall=recalls["fresh"],
        qps=len(dataset.queries) / best["churned"],
        fresh_qps=len(dataset.queries) / best["fresh"],
        file_bytes=file.stat().st_size,
        fresh_file_bytes=fresh_file.stat().st_size,
        waiting=stats.waiting,
        unreachable=0 if reachable is None else len(dataset) - reachable,
    )
    fresh_file.unlink()
    return moment


def _random(dataset: Dataset, order: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Ten times a random tenth."""
    rng = np.random.default_rng(_SEED)
    living, others = np.split(order, 2)
    for _ in range(10):
        gone = rng.choice(living, len(living) // 10, replace=False)
        come = others[: len(gone)]
        living = np.concatenate([living[~np.isin(living, gone)], come])
        others = np.concatenate([others[len(gone) :], gone])
        yield gone, come


def _neighbourhoods(dataset: Dataset, order: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Five times half of the rows, by whole neighbourhoods that k-means finds."""
    rng = np.random.default_rng(_SEED)
    living, others = np.split(order, 2)
    for _ in range(5):
        nearest = _k_means(dataset.vectors[living], rng)
        gone = living[:0]
        for centre in rng.permutation(_CENTRES):
            members = living[nearest == centre]
            if len(gone) + len(members) <= len(living) // 2:
                gone = np.concatenate([gone, members])
        come = others[: len(gone)]
        living = np.concatenate([living[~np.isin(living, gone)], come])
        others = np.concatenate([others[len(gone) :], gone])
        yield gone, come


def _window(dataset: Dataset, order: Rows) -> Iterator[tuple[Rows, Rows]]:
    """First in, first out, by quarters, until all rows have been replaced three times."""
    half = len(order) // 2
    for number in range(12):
        places = number * half // 4 + np.arange(half // 4)
        yield order[places % (2 * half)], order[(places + half) % (2 * half)]


def _extremes(dataset: Dataset, order: Rows) -> Iterator[tuple[Rows, Rows]]:
    """All rows of the upper layers, so that every entry point goes; then all rows but one; then all."""
    living, others = np.split(order, 2)
    options = vecdb.Vector(dataset.dim)
    high = draw_levels(options.seed, 0, len(living), options.m) > 0
    yield living[high], others[: np.count_nonzero(high)]
    living = np.concatenate([living[~high], others[: np.count_nonzero(high)]])
    others = np.setdiff1d(order, living)
    yield living[:-1], others[:-1]
    living, others = np.append(living[-1], others[:-1]), np.append(living[:-1], others[-1])
    yield living, others[: len(living)]


PLANS: Final[Mapping[str, Plan]] = {
    "random": _random,
    "neighbourhoods": _neighbourhoods,
    "window": _window,
    "extremes": _extremes,
}
CALLS: Final = "calls"  # the part that times them


def _k_means(vectors: NDArray[np.float32], rng: np.random.Generator) -> Rows:
    """The number of the nearest of some centres, of each row."""
    centres = vectors[rng.choice(len(vectors), _CENTRES, replace=False)]
    nearest: Rows = np.zeros(len(vectors), np.int64)
    for _ in range(_STEPS_OF_K_MEANS):
        nearest = np.argmin(np.einsum("ij,ij->i", centres, centres) - 2 * (vectors @ centres.T), axis=1)
        for centre in set(nearest.tolist()):
            centres[centre] = vectors[nearest == centre].mean(axis=0)
    return nearest


def _take(dataset: Dataset, rows: Rows) -> Dataset:
    return replace(
        dataset,
        ids=[dataset.ids[row] for row in rows],
        vectors=dataset.vectors[rows],
        fields=None if dataset.fields is None else [dataset.fields[row] for row in rows],
    )


def _measure_bulk(dataset: Dataset, half: int, file: Path) -> Bulk | None:
    """A filter takes a third of the rows, up to 10,000; None where the data set has no fields."""
    if dataset.fields is None:
        return None
    fill(file, _take(dataset, np.arange(half)), half, _INDEXES)
    words = np.sort([row["words"] for row in dataset.fields[:half]])
    limit = int(words[min(_BULK, half // 3)])
    with vecdb.connect(file, create=False) as db:
        table = db.table(TABLE)
        table.search(dataset.queries[0])
        table.count(where="words < 0")  # the parser is loaded
        with db.transaction():
            table.insert(dataset.ids[half], dataset.vectors[half], dataset.fields[half])  # the vectors are in memory
            start = time.perf_counter()
            rows = table.delete(where="words <= ?", params=(limit,))
            deleted = time.perf_counter()
        return Bulk(rows, len(_INDEXES), deleted - start, time.perf_counter() - deleted)


def _measure_calls(dataset: Dataset, half: int, file: Path) -> dict[str, float]:
    """Inserts and deletes of one row, durable, in turns."""
    fill(file, _take(dataset, np.arange(half)), half)
    taken: dict[str, list[float]] = {"insert": [], "delete": []}
    with vecdb.connect(file, create=False) as db:
        table = db.table(TABLE)
        for number in range(_CALLS):
            new = _take(dataset, np.array([half + number]))
            start = time.perf_counter()
            insert(table, new, 0, 1, 1)
            between = time.perf_counter()
            table.delete(dataset.ids[number])
            taken["insert"].append(between - start)
            taken["delete"].append(time.perf_counter() - between)
    return {name: median(seconds) for name, seconds in taken.items()}
