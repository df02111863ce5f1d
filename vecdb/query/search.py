"""Nearest-neighbour search of one column: plan, then scan or graph, then rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import LimitError, ProgrammingError
from vecdb.index import exact
from vecdb.index.exact import Nearest
from vecdb.mirror.column import ColumnVersion
from vecdb.mirror.versions import View
from vecdb.options import DEFAULT_EF, MAX_BATCH_HITS, MAX_EF
from vecdb.query.fetch import Wanted, fetch, fetch_ids
from vecdb.query.results import BatchHits, Hit, Hits, Plan
from vecdb.storage.catalog import Column, Table

if TYPE_CHECKING:
    from concurrent.futures import Executor

Float32 = NDArray[np.float32]

_QUERIES_AT_ONCE = 64  # of one task of a batch
# Distances that a graph search computes for each place in its beam where all rows live; as many times more as there
# are dead rows for each live one. Measured at ef = 64 and 128: 14 to 16 on passages, 12 to 14 on patches.
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
    version = view.column(table, column)
    beam = None if use_exact else choose_beam(version, k, ef)
    nearest, beam = _nearest(version, query, k, beam)
    hits = []
    for slot, distance in zip(nearest.slots[0, : nearest.counts[0]], nearest.distances[0], strict=False):
        if radius is not None and distance > radius:
            break
        row = fetch(view, table, int(slot), wanted, vectors)
        hits.append(Hit(row.id, row.fields, row.vectors, distance=float(distance)))
    strategy = "scan" if beam is None else "graph"
    plan = Plan(strategy, version.state.live, nearest.compared, beam, time.perf_counter() - start)
    return Hits(hits, plan)


def search_batch(
    view: View,
    table: Table,
    column: Column,
    queries: Float32,
    k: int,
    *,
    ef: int | None,
    use_exact: bool,
    executor: Executor | None,
) -> BatchHits:
    """At most k hits of each query (n, dim), on the executor's threads."""
    if len(queries) * k > MAX_BATCH_HITS:
        raise LimitError(
            f"{len(queries)} queries of k = {k} are more than {MAX_BATCH_HITS} hits; ask for fewer at once"
        )
    version = view.column(table, column)
    beam = None if use_exact else choose_beam(version, k, ef)
    parts = [queries[start : start + _QUERIES_AT_ONCE] for start in range(0, len(queries), _QUERIES_AT_ONCE)]
    # Vectors left in the file are read through one transaction, which threads may not share.
    run = map if executor is None or not isinstance(version.vectors, np.ndarray) else executor.map
    found = [_widen(nearest, k) for nearest, _ in run(lambda part: _nearest(version, part, k, beam), parts)]
    found = found or [Nearest.empty(0, k)]
    slots = np.concatenate([nearest.slots for nearest in found])
    distances = np.concatenate([nearest.distances for nearest in found]).astype(np.float32)
    return BatchHits(fetch_ids(view, table, slots), distances, np.concatenate([nearest.counts for nearest in found]))


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


def _nearest(version: ColumnVersion, queries: Float32, k: int, beam: int | None) -> tuple[Nearest, int | None]:
    """Hits by slot, at most as many as there are rows, and the beam that found them: None after a scan."""
    compared = 0
    most = min(k, version.state.live)
    if most == 0:
        return Nearest.empty(len(queries), 0), None
    if beam is not None:
        from vecdb.index import graph

        found = graph.search(version.graph, queries, most, beam)
        if (found.counts == most).all():
            return found, beam
        # The beam ended among dead rows: the graph alone would answer short.
        compared = found.compared
    scanned = exact.scan(version.vectors, version.live_slots, queries, most, version.column.options.metric)
    return scanned._replace(compared=scanned.compared + compared), None


def _widen(nearest: Nearest, k: int) -> Nearest:
    """Pad to k columns."""
    missing = ((0, 0), (0, k - nearest.slots.shape[1]))
    return nearest._replace(
        slots=np.pad(nearest.slots, missing, constant_values=-1),
        distances=np.pad(nearest.distances, missing, constant_values=np.inf),
    )
