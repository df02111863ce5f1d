"""Nearest-neighbour search of one column: plan, then scan or graph, then rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import LimitError, ProgrammingError
from vecdb.index import exact
from vecdb.index.exact import Nearest, Rows
from vecdb.index.readiness import KERNELS
from vecdb.index.threads import usable_cores
from vecdb.mirror.column import ColumnVersion
from vecdb.mirror.versions import View
from vecdb.options import DEFAULT_EF, MAX_BATCH_HITS, MAX_EF
from vecdb.query.fetch import Wanted, fetch, fetch_ids
from vecdb.query.results import BatchHits, Hits, Plan
from vecdb.storage.catalog import Column, Table

if TYPE_CHECKING:
    from concurrent.futures import Executor

Float32 = NDArray[np.float32]

# Queries of one part of a batch: fewer are answered before another thread has woken up; between parts Ctrl-C is heeded.
_LEAST_AT_ONCE, _MOST_AT_ONCE = 8, 256
_PARTS_OF_A_THREAD = 4  # so that a thread that was held up does not keep the others waiting
_SCANNED_WITHOUT_KERNELS = 1 << 28  # bytes of vectors; of more, a scan takes longer than loading kernels does
# Distances that a graph search computes for each place in its beam where all rows live; as many times more as there
# are dead rows for each live one. Measured at ef = 40 and 80: 23 and 19 on passages, 21 and 17 on patches.
_COMPARED_PER_EF = 16


def search(
    view: View,
    table: Table,
    column: Column,
    query: Float32,
    k: int,
    *,
    ef: int | None,
    use_exact: bool,
    radius: float | None,
    wanted: Wanted,
    vectors: bool,
) -> Hits:
    """At most k hits of one query (1, dim)."""
    start = time.perf_counter()
    version = _column(view, table, column, 1, use_exact=use_exact)
    beam = None if use_exact else choose_beam(version, k, ef)
    rows = view.vectors(table, version, whole=beam is None)
    nearest, beam = _nearest(version, rows, query, k, beam)
    count = nearest.counts[0]
    if radius is not None:
        count = np.searchsorted(nearest.distances[0, :count], radius, side="right")
    slots = nearest.slots[0, :count]
    found = None if wanted is False and not vectors else fetch(view, table, slots, wanted, vectors)
    ids = view.ids(table, slots).tolist() if found is None else [row[0] for row in found]
    strategy = "scan" if beam is None else "graph"
    _load_kernels_behind(version)
    plan = Plan(strategy, version.state.live, nearest.compared, beam, time.perf_counter() - start)
    return Hits(ids, nearest.distances[0, :count], found, plan)


def search_batch(
    view: View,
    table: Table,
    column: Column,
    queries: Float32,
    k: int,
    *,
    ef: int | None,
    use_exact: bool,
    threads: int,
    executor: Executor | None,
) -> BatchHits:
    """At most k hits of each query (n, dim), on so many threads of the executor, or on this one."""
    if len(queries) * k > MAX_BATCH_HITS:
        raise LimitError(
            f"{len(queries)} queries of k = {k} are more than {MAX_BATCH_HITS} hits; ask for fewer at once"
        )
    slots = np.full((len(queries), k), -1, np.int32)
    distances = np.full((len(queries), k), np.inf, np.float32)
    counts = np.zeros(len(queries), np.int64)
    at_once = min(max(_LEAST_AT_ONCE, -(-len(queries) // (threads * _PARTS_OF_A_THREAD))), _MOST_AT_ONCE)

    version = _column(view, table, column, len(queries), use_exact=use_exact)
    beam = None if use_exact else choose_beam(version, k, ef)
    rows = view.vectors(table, version, whole=beam is None or len(queries) > _LEAST_AT_ONCE)

    def answer(first: int) -> None:
        part = slice(first, first + at_once)
        nearest, _ = _nearest(version, rows, queries[part], k, beam)
        width = nearest.slots.shape[1]
        slots[part, :width] = nearest.slots
        distances[part, :width] = nearest.distances
        counts[part] = nearest.counts

    # Vectors left in the file are read through one transaction, which threads may not share.
    run = map if executor is None or not isinstance(rows, np.ndarray) else executor.map
    for _ in run(answer, range(0, len(queries), at_once)):
        pass
    _load_kernels_behind(version)
    return BatchHits(fetch_ids(view, table, slots), distances, counts)


def choose_beam(version: ColumnVersion, k: int, ef: int | None) -> int | None:
    """The beam width of a graph search; None where comparing all rows is as fast, and right."""
    beam = max(DEFAULT_EF if ef is None else ef, k)
    live = version.state.live
    if not version.state.linked or live * live <= _COMPARED_PER_EF * beam * version.slots:
        return None
    return beam


def check_k(k: object) -> int:
    return check_count(k, "k")


def check_ef(ef: object) -> int | None:
    if ef is None:
        return None
    beam = check_count(ef, "ef")
    if beam > MAX_EF:
        raise LimitError(f"ef is {beam}; the most is {MAX_EF}; exact=True compares every row")
    return beam


def check_count(value: object, name: str) -> int:
    if isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ProgrammingError(f"{name} must be an int of 1 or more, not {value!r}")
    return int(value)


def choose_threads(threads: int | None, queries: int) -> int:
    """Threads for a batch: as many as were asked for, by default all cores where it has many queries."""
    if threads is not None:
        return check_count(threads, "threads")
    return 1 if queries <= _LEAST_AT_ONCE else usable_cores()


def _column(view: View, table: Table, column: Column, queries: int, *, use_exact: bool) -> ColumnVersion:
    """The column to search. The first answers of a process, while kernels are not loaded, are scans of the file."""
    if KERNELS or use_exact or queries > _LEAST_AT_ONCE or not table.state.columns[column.number].linked:
        return view.column(table, column)
    if 4 * column.options.dim * table.state.slots > _SCANNED_WITHOUT_KERNELS:
        return view.column(table, column)
    return view.column_in_file(table, column)


def _load_kernels_behind(version: ColumnVersion) -> None:
    if version.vectors is None and not KERNELS:
        KERNELS.count_answer()


def _nearest(
    version: ColumnVersion, vectors: Rows, queries: Float32, k: int, beam: int | None
) -> tuple[Nearest, int | None]:
    """Hits by slot, at most as many as there are rows, and the beam that found them: None after a scan."""
    compared = 0
    metric = version.column.options.metric
    most = min(k, version.state.live)
    if most == 0:
        return Nearest.empty(len(queries), 0), None
    if beam is not None:
        from vecdb.index import graph

        if isinstance(vectors, np.ndarray):
            found = graph.search(version.graph, queries, most, beam)
        else:
            walked = graph.search(version.graph, queries, beam, beam, measured=False)
            found = exact.rank(walked, vectors, queries, most, metric)
        if min(found.counts.tolist()) == most:
            return found, beam
        # The beam ended among dead rows: the graph alone would answer short.
        compared = found.compared
    scanned = exact.scan(vectors, version.live_slots, queries, most, metric)
    return scanned._replace(compared=scanned.compared + compared), None
