"""Nearest-neighbour search of one column: plan, then scan or graph, then rows."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import LimitError, ProgrammingError
from vecdb.filters.tree import Filter
from vecdb.index import exact
from vecdb.index.exact import Nearest, Rows
from vecdb.index.readiness import KERNELS
from vecdb.index.threads import share, usable_cores
from vecdb.mirror.column import ColumnVersion
from vecdb.mirror.view import View
from vecdb.options import MAX_BATCH_HITS, MAX_EF
from vecdb.query.fetch import Wanted, fetch, fetch_ids
from vecdb.query.matching import Matching, find_matching
from vecdb.query.results import BatchHits, Hits, Plan
from vecdb.query.route import Route, choose_route, least_matching
from vecdb.storage.catalog import Column, Table

if TYPE_CHECKING:
    from concurrent.futures import Executor

Float32 = NDArray[np.float32]

# Queries of one part of a batch: fewer are answered before another thread has woken up; between parts Ctrl-C is heeded.
_LEAST_AT_ONCE, _MOST_AT_ONCE = 8, 256
_MOST_SORTED_IN = 256  # hits that a kernel sorts in one by one; for more NumPy is faster
_SCANNED_WITHOUT_KERNELS = 1 << 28  # bytes of vectors; of more, a scan takes longer than loading kernels does


class Ask(NamedTuple):
    """What is asked of a search, but for the vectors."""

    k: int
    ef: int | None = None
    exact: bool = False
    where: Filter | None = None


class _Source(NamedTuple):
    """Where a search goes: its column, the vectors by slot, how, and among which rows."""

    version: ColumnVersion
    vectors: Rows
    route: Route
    matching: Matching | None

    @property
    def found(self) -> int:
        """How many rows may be found."""
        return self.version.state.live if self.matching is None else len(self.matching)


def search(
    view: View,
    table: Table,
    column: Column,
    query: Float32,
    ask: Ask,
    *,
    radius: float | None,
    wanted: Wanted,
    vectors: bool,
) -> Hits:
    """At most k hits of one query (1, dim)."""
    start = time.perf_counter()
    source = _open(view, table, column, ask, 1)
    nearest, route = _nearest(source, query, ask.k)
    count = int(nearest.counts[0])
    distances = nearest.distances[0, :count]
    if radius is not None:
        distances = distances[: np.searchsorted(distances, radius, side="right")]
    slots = nearest.slots[0, : len(distances)]
    rows = None if wanted is False and not vectors else fetch(view, table, slots, wanted, vectors)
    ids = view.ids(table, slots).tolist() if rows is None else [row[0] for row in rows]
    _load_kernels_behind(source.version)
    return Hits(ids, distances, rows, _plan(source, route, ask, nearest.compared, time.perf_counter() - start))


def find_nearest(
    view: View, table: Table, column: Column, query: Float32, ask: Ask
) -> tuple[NDArray[np.int32], NDArray[np.float64], int]:
    """Slots of the nearest rows to one query (1, dim), their distances, and how many rows there are to be found."""
    source = _open(view, table, column, ask, 1)
    nearest, _ = _nearest(source, query, ask.k)
    count = int(nearest.counts[0])
    _load_kernels_behind(source.version)
    return nearest.slots[0, :count], nearest.distances[0, :count], source.found


def search_batch(
    view: View,
    table: Table,
    column: Column,
    queries: Float32,
    ask: Ask,
    *,
    threads: int,
    executor: Executor | None,
) -> BatchHits:
    """At most k hits of each query (n, dim), on so many threads: this one, and those of the executor."""
    k = ask.k
    if len(queries) * k > MAX_BATCH_HITS:
        raise LimitError(
            f"{len(queries)} queries of k = {k} are more than {MAX_BATCH_HITS} hits; ask for fewer at once"
        )
    slots = np.full((len(queries), k), -1, np.int32)
    distances = np.full((len(queries), k), np.inf, np.float32)
    counts = np.zeros(len(queries), np.int64)
    source = _open(view, table, column, ask, len(queries))

    parts = _parts(len(queries), threads)
    ids: dict[int, NDArray[Any]] = {}  # by the first query of a part
    reading = threading.Lock()  # of the view, by one thread at a time

    def answer(part: slice) -> None:
        nearest, _ = _nearest(source, queries[part], k)
        width = nearest.slots.shape[1]
        slots[part, :width] = nearest.slots
        distances[part, :width] = nearest.distances
        counts[part] = nearest.counts
        with reading:
            ids[part.start] = fetch_ids(view, table, slots[part])

    if executor is None or not isinstance(source.vectors, np.ndarray):  # or vectors are read from the view as well
        for part in parts:
            answer(part)
    else:
        share(answer, parts, executor, threads - 1)
    _load_kernels_behind(source.version)
    found = [ids[part.start] for part in parts] or [fetch_ids(view, table, slots)]
    return BatchHits(np.concatenate(found), distances, counts)


def _parts(queries: int, threads: int) -> list[slice]:
    """A batch in parts. For several threads they become smaller and smaller, so that all end at about the same time,
    though one be held up or on a slower core."""
    parts, first = [], 0
    while first < queries:
        size = (queries - first) // (2 * threads) if threads > 1 else queries
        stop = min(first + min(max(size, _LEAST_AT_ONCE), _MOST_AT_ONCE), queries)
        parts.append(slice(first, stop))
        first = stop
    return parts


def explain(view: View, table: Table, column: Column, ask: Ask) -> Plan:
    """What a search would do."""
    start = time.perf_counter()
    source = _open(view, table, column, ask, 1)
    return _plan(source, source.route, ask, 0, time.perf_counter() - start)


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


def _open(view: View, table: Table, column: Column, ask: Ask, queries: int) -> _Source:
    version = _column(view, table, column, ask, queries)
    matching = None if ask.where is None else find_matching(view, table, version, ask.where)
    route = choose_route(version, ask.k, ask.ef, ask.exact, matching)
    whole = queries > _LEAST_AT_ONCE or (matching is None and route.strategy == "scan")
    return _Source(version, view.vectors(table, version, whole=whole), route, matching)


def _column(view: View, table: Table, column: Column, ask: Ask, queries: int) -> ColumnVersion:
    """The column to search. The first answers of a process, while kernels are not loaded, are scans of the file."""
    ready = bool(KERNELS) if ask.where is None else KERNELS.for_filters
    if ready or ask.exact or queries > _LEAST_AT_ONCE or not table.state.columns[column.number].linked:
        return view.column(table, column)
    if 4 * column.options.dim * table.state.slots > _SCANNED_WITHOUT_KERNELS:
        return view.column(table, column)
    return view.column_in_file(table, column)


def _load_kernels_behind(version: ColumnVersion) -> None:
    if version.vectors is None and not KERNELS:
        KERNELS.count_answer()


def _nearest(source: _Source, queries: Float32, k: int) -> tuple[Nearest, Route]:
    """Hits by slot, at most as many as there are rows, and the route that found them."""
    route = source.route
    most = min(k, source.found)
    if most == 0:
        return Nearest.empty(len(queries), 0), route._replace(strategy="scan", ef=None)
    if route.ef is None:
        return _scan(source, queries, most), route
    found = _by_codes(source, queries, most, route)
    if min(found.counts.tolist()) == most:
        return found, route
    # The walk ended among dead rows, or found nothing near that matches: it alone would answer short.
    short = np.flatnonzero(found.counts < most)
    sure = route.surer(source.version, most, source.matching is not None)
    again = _scan(source, queries[short], most) if sure.ef is None else _by_codes(source, queries[short], most, sure)
    found.slots[short], found.distances[short], found.counts[short] = again[:3]
    return found._replace(compared=found.compared + again.compared), sure


def _by_codes(source: _Source, queries: Float32, k: int, route: Route) -> Nearest:
    """By the graph, or by all codes. What these take for the nearest is measured by the vectors, wherever they are."""
    version, vectors, _, matching = source
    ef = route.ef
    assert ef is not None
    measured = isinstance(vectors, np.ndarray)
    most = k if measured else ef
    if route.strategy == "graph":
        graph = version.graph if matching is None else version.graph.among(matching.bits, len(matching))
        found = graph.search(queries, most, ef, least=least_matching(k, ef), measured=measured)
    else:
        from vecdb.index import filtered

        assert matching is not None
        graph, codes = version.graph, version.codes
        if route.together and codes is not None:
            codes.group(version.slots)
            among = codes.groups, matching.bits, len(matching)
            found = filtered.scan_groups(graph, *among, queries, most, ef, measured=measured)
        else:
            found = filtered.scan(graph, matching.slots, queries, most, ef, measured=measured)
    return found if measured else exact.rank(found, vectors, queries, k, version.column.options.metric)


def _scan(source: _Source, queries: Float32, k: int) -> Nearest:
    version, vectors, _, matching = source
    if matching is not None and version.state.linked and isinstance(vectors, np.ndarray) and k <= _MOST_SORTED_IN:
        from vecdb.index import filtered

        return filtered.scan(version.graph, matching.slots, queries, k)
    slots = version.live_slots if matching is None else matching.slots
    return exact.scan(vectors, slots, queries, k, version.column.options.metric)


def _plan(source: _Source, route: Route, ask: Ask, compared: int, seconds: float) -> Plan:
    return Plan(
        strategy=route.strategy,
        rows=source.version.state.live,
        matching=source.found,
        means=() if source.matching is None else source.matching.means,
        estimate=source.route.estimate,
        compared=compared,
        ef=route.ef,
        seconds=seconds,
        where=ask.where,
        damage=source.version.damage,
    )
