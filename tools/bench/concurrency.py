"""The subject `concurrency`: what readers notice of writers, and writers of each other, in other processes."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

import vecdb
from tools.bench import report
from tools.bench.arguments import positive
from tools.bench.datasets import Dataset, Float32
from tools.bench.fill import TABLE, fill, warm_up
from vecdb.index.threads import usable_cores

HELP: Final = "readers beside writers in other processes: catching up, speed, latency; two writers that take turns"
ROWS: Final[Mapping[str, int]] = {}
_CHILD: Final = Path(__file__).parent / "children" / "writer.py"
_CATCH_UPS: Final = {1: 21, 1000: 9}  # commits of so many rows
_ROUNDS: Final = 3
_READERS: Final = 2
_SEARCH_SECONDS: Final = 0.3


@dataclass(frozen=True)
class Flood:
    """Reader threads beside a writer of single rows, durable, at full speed in another process.

    `ratio` is their speed over that without, `fair_ratio` the same over the share of the processor that the writer
    left them: it would be 1 if they lost nothing but the time that the writer computed.
    """

    alone: float  # searches a second
    beside: float
    writer_rows: float  # a second
    writer_cpu: float  # cores

    @property
    def ratio(self) -> float:
        return self.beside / self.alone

    @property
    def fair_ratio(self) -> float:
        cores = min(_READERS, usable_cores())
        left = min(cores, usable_cores() - self.writer_cpu)
        return self.ratio * cores / left


@dataclass(frozen=True)
class Latencies:
    """Seconds of single searches, one thread, by percentile."""

    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, taken: list[float]) -> Latencies:
        return cls(*np.percentile(taken, [50, 99, 100]).tolist())

    def __str__(self) -> str:
        seconds = report.seconds
        return f"p50 {seconds(self.p50)}, p99 {seconds(self.p99)}, longest {seconds(self.longest)}"


@dataclass(frozen=True)
class Result:
    rows: int
    dim: int
    catch_up: dict[str, float]  # median seconds, by rows of the commit
    flood: Flood
    idle: Latencies
    beside_load: Latencies
    load_rows: int
    load_seconds: float
    one_writer: float  # durable rows a second
    two_writers: list[float]
    search: dict[str, float]  # median seconds of a search: in a table, in a snapshot

    def __str__(self) -> str:
        seconds, flood = report.seconds, self.flood
        both = sum(self.two_writers)
        return report.facts(
            f"{self.rows:,} rows, {self.dim} dimensions",
            {
                **{f"catch-up of {rows} rows": seconds(taken) for rows, taken in self.catch_up.items()},
                f"{_READERS} reading threads": f"{flood.alone:,.0f} searches/s",
                "beside a writer": (
                    f"{flood.beside:,.0f} searches/s, {flood.ratio:.2f}; writer {flood.writer_rows:,.0f} rows/s on "
                    f"{flood.writer_cpu:.2f} cores; {flood.fair_ratio:.2f} of what it left"
                ),
                "search, idle": str(self.idle),
                f"beside a load of {self.load_rows:,}": (
                    f"{self.beside_load}; p99 {self.beside_load.p99 / self.idle.p99:.2f} times; "
                    f"the load took {seconds(self.load_seconds)}"
                ),
                "one writer": f"{self.one_writer:,.0f} rows/s",
                "two writers": (
                    f"{both:,.0f} rows/s ({' + '.join(f'{rate:,.0f}' for rate in self.two_writers)}), "
                    f"{both / self.one_writer:.2f} of one"
                ),
                **{f"search() in a {kind}": seconds(taken) for kind, taken in self.search.items()},
            },
        )


class Writer:
    """Another process that writes."""

    def __init__(self, file: Path, vectors: Path, who: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_CHILD), str(file), TABLE, str(vectors), who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(vecdb.__file__).parents[1])},
            text=True,
        )
        self.wait()

    def begin(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()

    def wait(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def __call__(self, what: str) -> dict[str, Any]:
        self.begin(what)
        return self.wait()

    def close(self) -> int:
        """How many rows it made."""
        return int(json.loads(self._process.communicate()[0]))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bulk", type=positive, metavar="N", default=50_000, help="rows of the bulk load")
    parser.add_argument("--seconds", type=float, metavar="S", default=3.0, help="of each part of each round")


def measure(dataset: Dataset, folder: Path, options: argparse.Namespace) -> Result:
    report.progress(f"{dataset.name}: filling")
    warm_up(folder / "warm.vecdb", dataset)
    file, vectors = folder / "concurrency.vecdb", folder / "vectors.npy"
    fill(file, dataset, len(dataset))
    np.save(vectors, dataset.vectors)
    with vecdb.connect(file, create=False) as db:
        table = db.table(TABLE)
        table.search_batch(dataset.queries)
        writer = Writer(file, vectors, "first")
        report.progress(f"{dataset.name}: catching up")
        catch_up = {str(rows): _catch_up(table, writer, rows, times) for rows, times in _CATCH_UPS.items()}
        search = _search(db, table, dataset.queries)
        report.progress(f"{dataset.name}: readers beside a writer")
        flood = _flood(table, dataset.queries, writer, options.seconds)
        report.progress(f"{dataset.name}: readers beside a load")
        idle = Latencies.of(_latencies(table, dataset.queries, options.seconds))
        loaded: list[dict[str, Any]] = []
        bulk = min(options.bulk, len(dataset))
        thread = threading.Thread(target=lambda: loaded.append(writer(f"bulk {bulk}")))
        thread.start()
        beside = Latencies.of(_latencies(table, dataset.queries, math.inf, lambda: bool(loaded)))
        thread.join()
        report.progress(f"{dataset.name}: two writers")
        one = writer(f"flood {options.seconds}")
        second = Writer(file, vectors, "second")
        second.begin(f"flood {options.seconds}")
        both = [writer(f"flood {options.seconds}"), second.wait()]
        rows = len(table)
        made = {"first": writer.close(), "second": second.close()}
        assert rows == len(dataset) + sum(made.values()), f"{rows} rows after {made}"
    return Result(
        len(dataset), dataset.dim, catch_up, flood, idle, beside, bulk, loaded[0]["seconds"],
        one["rows"] / one["seconds"], [each["rows"] / each["seconds"] for each in both], search,
    )  # fmt: skip


def _catch_up(table: vecdb.Table, writer: Writer, rows: int, times: int) -> float:
    """Median seconds of the first call after a commit in the other process, which does nothing but catch up."""
    taken = []
    for _ in range(times):
        writer(f"rows {rows}")
        start = time.perf_counter()
        table.count()
        taken.append(time.perf_counter() - start)
    return median(taken)


def _search(db: vecdb.Database, table: vecdb.Table, queries: Float32) -> dict[str, float]:
    """Taking turns, the best of the medians of some rounds."""
    best = {"table": float("inf"), "snapshot": float("inf")}
    with db.snapshot() as snap:
        for _ in range(_ROUNDS):
            for name, asked in {"table": table, "snapshot": snap.table(TABLE)}.items():
                best[name] = min(best[name], median(_latencies(asked, queries, _SEARCH_SECONDS)))
    return best


def _flood(table: vecdb.Table, queries: Float32, writer: Writer, seconds: float) -> Flood:
    """Rounds without and with the writer, in turn; the medians."""
    alone, beside, rows, cpu = [], [], [], []
    for _ in range(_ROUNDS):
        alone.append(_searches(table, queries, seconds))
        writer.begin(f"flood {seconds}")
        beside.append(_searches(table, queries, seconds))
        done = writer.wait()
        rows.append(done["rows"] / done["seconds"])
        cpu.append(done["cpu"] / done["seconds"])
    return Flood(median(alone), median(beside), median(rows), median(cpu))


def _searches(table: vecdb.Table, queries: Float32, seconds: float) -> float:
    """Searches a second of some threads."""
    counts: list[int] = []

    def read() -> None:
        counts.append(len(_latencies(table, queries, seconds)))

    threads = [threading.Thread(target=read) for _ in range(_READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def _latencies(
    table: vecdb.TableView, queries: Float32, seconds: float, done: Callable[[], bool] = lambda: False
) -> list[float]:
    """Seconds of single searches for ids, one after the other, for so long or until `done`."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and not done():
        query = queries[len(taken) % len(queries)]
        start = time.perf_counter()
        table.search(query, fields=False)
        taken.append(time.perf_counter() - start)
    return taken
