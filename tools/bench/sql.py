"""The subject `sql`: a repeated search as a prepared statement, beside the same call of Python."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import vecdb
from tools.bench import report
from tools.bench.datasets import Dataset, Float32
from tools.bench.fill import TABLE, fill

HELP: Final = "search by prepared statements of SQL beside the same calls of Python"
ROWS: Final[Mapping[str, int]] = {"passages": 20_000}
_K: Final = 10
_ROUNDS: Final = 5
_OPERATORS: Final = {"cosine": "<=>", "l2": "<->"}

Call = Callable[[Any], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Pair:
    """Median seconds of the same search both ways, and the median of what SQL took more, query by query."""

    name: str
    python: float
    sql: float
    more: float


@dataclass(frozen=True)
class Result:
    """Figures of one data set."""

    rows: int
    pairs: tuple[Pair, ...]

    def __str__(self) -> str:
        shown = [
            [pair.name, *(f"{1e6 * seconds:.0f} µs" for seconds in (pair.python, pair.sql, pair.more))]
            for pair in self.pairs
        ]
        return report.grid(f"{self.rows:,} rows, k = {_K}", ["", "Python", "SQL", "more"], shown)


def add_options(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def measure(dataset: Dataset, folder: Path, options: argparse.Namespace) -> Result:
    place, field = folder / "data.vecdb", next(iter(dataset.declared), None)
    fill(place, dataset, len(dataset), [field] if field else [])
    with vecdb.connect(place) as db:
        table, near = db.table(TABLE), f"vector {_OPERATORS[dataset.metric]} ?"
        ids = f"SELECT id FROM {TABLE} ORDER BY {near} LIMIT {_K}"

        def searched(query: Any) -> list[tuple[Any, ...]]:
            return [(identifier,) for identifier in table.search(query, _K, fields=False).ids]

        pairs = [_compare("ids", searched, lambda query: db.execute(ids, (query,)).fetchall(), dataset.queries)]
        if field is not None and dataset.fields is not None:
            values = [row.get(field) for row in dataset.fields]
            value = statistics.mode(item for item in values if item is not None)
            columns = f"SELECT id, {near}, {field} FROM {TABLE}"
            for name, where, params in (
                ("ids, distances, a field", None, ()),
                ("the same under a filter", f"{field} = ?", (value,)),
            ):
                text = f"{columns} {f'WHERE {where}' if where else ''} ORDER BY {near} LIMIT {_K}"
                by_python, by_sql = _both(db, field, where, params, text)
                pairs.append(_compare(name, by_python, by_sql, dataset.queries))
    return Result(len(dataset), tuple(pairs))


def _both(db: vecdb.Database, field: str, where: str | None, params: tuple[Any, ...], sql: str) -> tuple[Call, Call]:
    table = db.table(TABLE)

    def by_python(query: Any) -> list[tuple[Any, ...]]:
        hits = table.search(query, _K, where=where, params=params or None, fields=[field])
        return [(hit.id, hit.distance, hit.fields[field]) for hit in hits]

    return by_python, lambda query: db.execute(sql, (query, *params, query)).fetchall()


def _compare(name: str, by_python: Call, by_sql: Call, queries: Float32) -> Pair:
    """Both take turns in going first, after a call that is not counted: the first has the row's pages to wait for."""
    times: dict[Call, list[float]] = {by_python: [], by_sql: []}
    for _ in range(_ROUNDS):
        for number, query in enumerate(queries):
            if by_python(query) != by_sql(query):
                raise AssertionError(f"{name}: SQL and Python differ")
            for call in (by_python, by_sql) if number % 2 else (by_sql, by_python):
                start = time.perf_counter()
                call(query)
                times[call].append(time.perf_counter() - start)
    python, sql = times.values()
    more = statistics.median(other - one for one, other in zip(python, sql, strict=True))
    return Pair(name, statistics.median(python), statistics.median(sql), more)
