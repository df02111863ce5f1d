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

import vecdb
from tools.bench.datasets import Dataset, Float32
from tools.bench.fill import TABLE

_ROUNDS = 3
_INSERTS = 200
_FIRST_INSERTS = 5  # not counted: the first loads the column
_SYNC_BYTES = 4096


@dataclass(frozen=True)
class Searches:
    """Median seconds of `search(query)`, k = 10 and the default ef, over all queries; the best of three rounds."""

    with_fields: float
    without_fields: float


@dataclass(frozen=True)
class Inserts:
    """Median seconds of a durable insert of one row, of the time that the processor worked in it, and of a sync."""

    insert: float
    cpu: float
    sync: float
    outside_sync: float  # `insert` less the two syncs of a commit: of its pages, then of the page that names them


def measure_searches(table: vecdb.Table, dataset: Dataset) -> Searches:
    """One call after another in this process, the kernels compiled, the column in memory."""
    seconds = best_medians(
        {"with fields": table.search, "without fields": lambda query: table.search(query, fields=False)},
        dataset.queries,
    )
    return Searches(seconds["with fields"], seconds["without fields"])


def measure_inserts(file: Path, dataset: Dataset) -> Inserts:
    """Insert 200 rows under new ids, each in a commit of its own, and after each time the sync of the same disk.

    The vectors are queries, the fields those of stored rows.
    """
    walls, cpus, syncs = [], [], []
    with vecdb.connect(file, create=False, durability="full") as db, page_file(file.parent) as sync_page:
        table = db.table(TABLE)
        for number, query in enumerate(islice(dataset.queries, _FIRST_INSERTS + _INSERTS)):
            fields = None if dataset.fields is None else dataset.fields[number % len(dataset)]
            cpu = time.thread_time()
            walls.append(_seconds(table.insert, f"a new row {number}", query, fields))
            cpus.append(time.thread_time() - cpu)
            syncs.append(_seconds(sync_page))
    insert, sync = median(walls[_FIRST_INSERTS:]), median(syncs[_FIRST_INSERTS:])
    return Inserts(insert, median(cpus[_FIRST_INSERTS:]), sync, insert - 2 * sync)


@contextmanager
def page_file(folder: Path) -> Iterator[Callable[[], None]]:
    """A function that writes 4 KB in place and waits for the disk to have them: the least that a commit can take."""
    page = b"\1" * _SYNC_BYTES
    sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
    with (folder / "page").open("wb", buffering=0) as file:

        def sync_page() -> None:
            os.pwrite(file.fileno(), page, 0)
            sync(file.fileno())

        sync_page()  # the first gives the file its length
        yield sync_page


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
