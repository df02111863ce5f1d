"""What is measured of vecdb and hnswlib only: single calls, opening a file, memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import vecdb
from tools.bench import report
from tools.bench.calls import best_medians, medians
from tools.bench.contenders import VECDB
from tools.bench.curves import Beam
from tools.bench.datasets import Dataset, Float32
from tools.bench.fill import TABLE
from tools.bench.fresh_process import Memory, measure_memory
from tools.bench.peers import HNSWLIB, Hnswlib, load_hnswlib

CALL_RECALL: Final = 0.95
_WITH_FIELDS: Final = "vecdb with all fields"
_LOADED: Final = "vecdb with all vectors"
_LOADS_ALL: Final = 16  # so many queries at once have all vectors read into memory
_OPENINGS: Final = 7
_MEMORY_QUERIES: Final = 100


@dataclass(frozen=True)
class Beside:
    """Times in seconds and memory in bytes, of `vecdb` and, where it is installed, of `hnswlib`."""

    beams: dict[str, Beam | None]  # the narrowest of recall 0.95, None where that is not reached
    call_seconds: dict[str, float]  # median of a search of one query with that beam
    open_seconds: dict[str, float]  # median from a file that is not open to its first answer, kernels loaded
    memory: dict[str, Memory]

    def table(self, rows: int) -> str:
        beams = [beam and f"ef {beam.ef} ({beam.recall:.4f})" for beam in map(self.beams.get, (VECDB, HNSWLIB))]
        calls, opening = self.call_seconds, self.open_seconds
        memory = {name: used.own / rows for name, used in self.memory.items()}
        lines = [
            [f"beam for recall {CALL_RECALL}", *(beam or report.ABSENT for beam in beams), ""],
            _line("one query, fields=False", report.seconds, calls.get(VECDB), calls.get(HNSWLIB)),
            _line("one query, all fields", report.seconds, calls.get(_WITH_FIELDS), calls.get(HNSWLIB)),
            _line("open to first answer", report.seconds, opening[VECDB], opening.get(HNSWLIB)),
            _line("the same, and all in memory", report.seconds, opening[_LOADED], opening.get(HNSWLIB)),
            _line("own memory, bytes a row", report.whole, memory.get(VECDB), memory.get(HNSWLIB)),
        ]
        return report.grid("Beside hnswlib", ["", VECDB, HNSWLIB, f"{HNSWLIB}'s / {VECDB}'s"], lines)


def measure_calls(
    table: vecdb.Table, hnswlib: Hnswlib | None, queries: Float32, k: int, beams: Mapping[str, Beam | None]
) -> dict[str, float]:
    """Each with its own beam, so that they are compared at equal recall; one call after another, on one thread."""
    calls: dict[str, Callable[[Any], object]] = {}
    own, theirs = beams.get(VECDB), beams.get(HNSWLIB)
    if own is not None:
        calls[VECDB] = lambda query: table.search(query, k, fields=False, ef=own.ef)
        calls[_WITH_FIELDS] = lambda query: table.search(query, k, ef=own.ef)
    if hnswlib is not None and theirs is not None:
        calls[HNSWLIB] = lambda query: hnswlib.search(query, k, theirs.ef, 1)
    return best_medians(calls, queries)


def measure_opening(dataset: Dataset, k: int, file: Path, hnswlib_file: Path | None) -> dict[str, float]:
    query = dataset.queries[0]

    def open_vecdb() -> None:
        with vecdb.connect(file, create=False) as db:
            db.table(TABLE).search(query, k, fields=False)

    def load_vecdb() -> None:
        with vecdb.connect(file, create=False) as db:
            db.table(TABLE).search(query, k, fields=False)
            db.table(TABLE).search_batch(dataset.queries[:_LOADS_ALL], k, threads=1)

    calls: dict[str, Callable[[], object]] = {VECDB: open_vecdb, _LOADED: load_vecdb}
    if hnswlib_file is not None:
        calls[HNSWLIB] = lambda: load_hnswlib(hnswlib_file, dataset).search(query, k, k, 1)
    return medians(calls, _OPENINGS)


def measure_memories(dataset: Dataset, warm_file: Path, file: Path, hnswlib_file: Path | None) -> dict[str, Memory]:
    """Of each in a process of its own that opens the file and searches it; nothing where that can't be told."""
    queries = dataset.queries[:_MEMORY_QUERIES]
    memories = {VECDB: measure_memory(VECDB, TABLE, [warm_file, file], queries)}
    if hnswlib_file is not None:
        memories[HNSWLIB] = measure_memory(HNSWLIB, dataset.metric, [hnswlib_file], queries)
    return {name: memory for name, memory in memories.items() if memory is not None}


def _line(label: str, show: Callable[[float], str], own: float | None, theirs: float | None) -> list[str]:
    cells = [report.ABSENT if figure is None else show(figure) for figure in (own, theirs)]
    return [label, *cells, report.times(None if own is None or theirs is None else theirs / own)]
