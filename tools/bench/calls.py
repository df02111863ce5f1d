"""Times of single calls: searches, a durable insert, and the disk's own sync beside it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import vecdb
from tools.bench.datasets import Dataset, Float32
from tools.bench.fill import TABLE

_ROUNDS = 3
_INSERTS = 200
_FIRST_INSERTS = 5  # not counted: the first loads the column
_PAGE_BYTES = 4096
_SHADOW_PAGES = 8192


@dataclass(frozen=True)
class Searches:
    """Median seconds of `search(query)`, k = 10 and the default ef, over all queries; the best of three rounds."""

    with_fields: float
    without_fields: float


@dataclass(frozen=True)
class Inserts:
    """Medians of durable inserts of one row; times in seconds."""

    insert: float
    cpu: float  # that the processor worked in it
    written: float  # bytes
    sync: float  # what the disk takes for so many: first pages, then the page that names them
    outside_sync: float  # `insert` less `sync`


def measure_searches(table: vecdb.Table, dataset: Dataset) -> Searches:
    """One call after another in this process, the kernels compiled, the column in memory."""
    seconds = best_medians(
        {"with fields": table.search, "without fields": lambda query: table.search(query, fields=False)},
        dataset.queries,
    )
    return Searches(seconds["with fields"], seconds["without fields"])


def measure_inserts(file: Path, dataset: Dataset) -> Inserts:
    """Insert 200 rows under new ids, each in a commit of its own, and after each time have the same disk take as much.

    The vectors are queries, the fields those of stored rows.
    """
    walls, cpus, syncs, sizes = [], [], [], []
    with vecdb.connect(file, create=False, durability="full") as db, shadow_file(file.parent) as sync:
        table = db.table(TABLE)
        for number, query in enumerate(islice(dataset.queries, _FIRST_INSERTS + _INSERTS)):
            fields = None if dataset.fields is None else dataset.fields[number % len(dataset)]
            cpu, written = time.thread_time(), _written()
            walls.append(_seconds(table.insert, f"a new row {number}", query, fields))
            cpus.append(time.thread_time() - cpu)
            sizes.append(_written() - written)
            syncs.append(sync(sizes[-1]))
    insert, cpu, taken = (median(seconds[_FIRST_INSERTS:]) for seconds in (walls, cpus, syncs))
    return Inserts(insert, cpu, median(sizes[_FIRST_INSERTS:]), taken, insert - taken)


@contextmanager
def shadow_file(folder: Path) -> Iterator[Callable[[int], float]]:
    """A function that has the disk take so many bytes as a commit does, and returns the seconds that it waited: pages
    all over a file, which are written before, then a page that names them."""
    sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
    page, places = b"\1" * _PAGE_BYTES, np.random.default_rng(0)
    with (folder / "shadow").open("wb", buffering=0) as file:
        file.write(page * _SHADOW_PAGES)
        os.fsync(file.fileno())

        def take(written: int) -> float:
            for place in places.choice(_SHADOW_PAGES, max(written // _PAGE_BYTES - 1, 1), replace=False):
                os.pwrite(file.fileno(), page, int(place) * _PAGE_BYTES)
            seconds = _seconds(sync, file.fileno())
            os.pwrite(file.fileno(), page, 0)
            return seconds + _seconds(sync, file.fileno())

        yield take


def _written() -> int:
    """Bytes that this process has written; 0 where the system does not tell."""
    try:
        with open("/proc/self/io", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
    except OSError:
        return 0


def best_medians(calls: Mapping[str, Callable[[Any], object]], queries: Float32) -> dict[str, float]:
    """Median seconds of each call over all queries: the best of three rounds, in which the calls take turns."""
    best = dict.fromkeys(calls, math.inf)
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            best[name] = min(best[name], _median_seconds(call, queries))
    return best


def medians(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call over the rounds, in which they take turns, after one that is not counted."""
    taken = [{name: _seconds(call) for name, call in calls.items()} for _ in range(1 + rounds)]
    return {name: median(turn[name] for turn in taken[1:]) for name in calls}


def _median_seconds(call: Callable[[Any], object], arguments: Iterable[Any]) -> float:
    return median(_seconds(call, argument) for argument in arguments)


def _seconds(call: Callable[..., object], *arguments: Any) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start
