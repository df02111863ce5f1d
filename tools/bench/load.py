"""The subject `load`: how fast a table is filled, how large it is, how well and how fast it answers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgpack
import numpy as np

import vecdb
from tools.bench import report
from tools.bench.arguments import positive
from tools.bench.calls import Inserts, Searches, measure_inserts, measure_searches
from tools.bench.comparison import Comparison, compare
from tools.bench.contenders import peer_contender, rows_of, vecdb_contender
from tools.bench.curves import Contender, measure_curves
from tools.bench.datasets import Dataset
from tools.bench.exact import Truth
from tools.bench.fill import TABLE, fill, warm_up
from tools.bench.fresh_process import Memory, Start, measure_memory, measure_start
from tools.bench.peers import HNSWLIB, find_peer
from vecdb.index.threads import usable_cores
from vecdb.options import DEFAULT_EF

HELP: Final = "fill a table with a data set, then measure size, memory, recall, speed and start"
ROWS: Final[Mapping[str, int]] = {}
K: Final = 10
_MOST_RATIO: Final = 1.2
_MEMORY_QUERIES: Final = 100


@dataclass(frozen=True)
class Size:
    """Bytes per row: of the whole file, and of what a row needs at the least."""

    file: float
    vector: float  # 4 bytes a dimension
    codes: float  # a byte a dimension, 4 of the weight
    links: float  # room for 5M / 2 neighbours on the base layer, 4 bytes each
    row: float  # msgpack of [id, [values of the fields]]
    ratio: float  # of the file to the sum of the others


@dataclass(frozen=True)
class Result:
    """All figures of one data set; times in seconds, sizes in bytes."""

    rows: int
    dim: int
    metric: str
    load_seconds: float
    rows_per_second: float
    peer_build_seconds: dict[str, float]  # by threads; empty where hnswlib is not installed
    size: Size
    memory: Memory | None
    default_recall: float
    speed: Comparison
    searches: Searches
    start: Start
    inserts: Inserts

    @property
    def title(self) -> str:
        return f"{self.rows:,} rows, {self.dim} dimensions, {self.metric}"

    def __str__(self) -> str:
        sections = [
            report.facts(self.title, self._facts()),
            self.speed.at_equal_recall("One thread"),
            self.speed.by_beam_width("One thread"),
        ]
        return "\n\n".join(sections)

    def _facts(self) -> dict[str, str]:
        seconds, whole = report.seconds, report.whole
        size, start, inserts = self.size, self.start, self.inserts
        builds = {f"hnswlib build, {label}": seconds(taken) for label, taken in self.peer_build_seconds.items()}
        return {
            "vecdb load": f"{seconds(self.load_seconds)}, {whole(self.rows_per_second)} rows/s",
            **(builds or {"hnswlib": "not installed: left out"}),
            "file, bytes a row": f"{size.file:,.0f}, {size.ratio:.3f} times what is needed (at most {_MOST_RATIO})",
            "needed, bytes a row": (
                f"{size.vector:,.0f} vector + {size.codes:,.0f} codes + {size.links:,.0f} links + {size.row:,.0f} row"
            ),
            **self._memory_facts(),
            f"recall@{K}, default ef {DEFAULT_EF}": f"{self.default_recall:.4f}",
            "search()": f"{seconds(self.searches.with_fields)}, fields=False {seconds(self.searches.without_fields)}",
            "process to first answer": (
                f"{seconds(start.first_answer)}, of it imports {seconds(start.imports)}, "
                f"connect {seconds(start.open)}, search {seconds(start.search)}"
            ),
            "import vecdb": f"{seconds(start.import_vecdb)}; NumPy alone {seconds(start.import_numpy)}",
            "durable insert of a row": f"{seconds(inserts.insert)}, of it processor {seconds(inserts.cpu)}",
            "the disk's sync of as much": (
                f"{seconds(inserts.sync)} for {inserts.written / 1000:.0f} KB in two steps; the insert without it "
                f"{seconds(inserts.outside_sync)}"
            ),
        }

    def _memory_facts(self) -> dict[str, str]:
        if self.memory is None:
            return {"memory": "not measured on this system"}
        own, mapped = self.memory.own, self.memory.mapped
        return {
            "memory of the open file": (
                f"{report.megabytes(own)} own ({own / self.rows:,.0f} bytes a row), {report.megabytes(mapped)} mapped"
            ),
            "memory before opening": f"{report.megabytes(self.memory.before)} (Python, libraries, compiled kernels)",
        }


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="insert N rows at once (default: all, in one transaction)"
    )


def measure(dataset: Dataset, folder: Path, options: argparse.Namespace) -> Result:
    """Measure everything, with database files in `folder`, filled by inserts of `--batch` rows or by a single one."""
    file, warm_file = folder / f"{dataset.name}.vecdb", folder / f"{dataset.name}-warm.vecdb"
    report.progress(f"{dataset.name}: compiling kernels")
    warm_up(warm_file, dataset)
    report.progress(f"{dataset.name}: loading {len(dataset):,} rows")
    load_seconds = fill(file, dataset, options.batch or len(dataset))
    size = measure_size(file, dataset)
    contenders, builds = _build_peers(dataset)
    report.progress(f"{dataset.name}: exact neighbours")
    truth = Truth(dataset, K)
    with vecdb.connect(file, create=False) as db:
        table = db.table(TABLE)
        default_recall = truth.recall(rows_of(table.search_batch(dataset.queries, K), dataset))
        report.progress(f"{dataset.name}: recall and speed")
        contenders = [vecdb_contender(table, dataset, K), *contenders]
        curves = measure_curves(contenders, truth, len(dataset.queries))
        searches = measure_searches(table, dataset)
    report.progress(f"{dataset.name}: fresh processes")
    memory = measure_memory("vecdb", TABLE, [warm_file, file], dataset.queries[:_MEMORY_QUERIES])
    start = measure_start(file, dataset.queries[0])
    report.progress(f"{dataset.name}: durable inserts")
    return Result(
        rows=len(dataset),
        dim=dataset.dim,
        metric=dataset.metric,
        load_seconds=load_seconds,
        rows_per_second=len(dataset) / load_seconds,
        peer_build_seconds=builds,
        size=size,
        memory=memory,
        default_recall=default_recall,
        speed=compare(curves),
        searches=searches,
        start=start,
        inserts=measure_inserts(file, dataset),
    )


def measure_size(file: Path, dataset: Dataset) -> Size:
    """The file as the load left it, free pages included, against what its rows need; the lock file is not counted."""
    fields = dataset.fields or [{}] * len(dataset)
    packed = sum(
        len(msgpack.packb([identifier, [row[name] for name in dataset.declared]]))
        for identifier, row in zip(dataset.ids, fields, strict=True)
    )
    file_bytes, row = file.stat().st_size / len(dataset), packed / len(dataset)
    vector = dataset.dim * np.dtype(np.float32).itemsize
    codes = dataset.dim + np.dtype(np.float32).itemsize
    links = vecdb.Vector(dataset.dim).capacity * np.dtype(np.int32).itemsize
    return Size(file_bytes, vector, codes, links, row, file_bytes / (vector + codes + links + row))


def _build_peers(dataset: Dataset) -> tuple[list[Contender], dict[str, float]]:
    """The peers that are installed, and the time of their builds on 1 and 2 threads; the one of 1 thread answers."""
    hnswlib = find_peer(HNSWLIB)
    if hnswlib is None:
        report.progress("hnswlib is not installed: left out")
        return [], {}
    builds = {}
    for threads in range(min(2, usable_cores()), 0, -1):
        label = f"{threads} thread{'s' if threads > 1 else ''}"
        report.progress(f"{dataset.name}: building hnswlib on {label}")
        index, builds[label] = hnswlib.build(dataset, threads)
    return [peer_contender(HNSWLIB, index, dataset, K)], builds
