"""Scans of the rows that match a filter, compiled: by codes and by vectors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vecdb.kernels.graph import (
    DIM,
    METRIC,
    POOL,
    VECTORS,
    distance_to,
    fetch_row,
    fetch_vector,
    load_query,
    put,
)
from vecdb.kernels.jit import Kernel, inline
from vecdb.kernels.memory import field, get_i64, set_i64, shift
from vecdb.kernels.search import answer, exact_distance, keep
from vecdb.kernels.simd import sort_key

_AHEAD: Final = 12  # rows fetched ahead in a scan


@inline
def _admit(graph: Any, slot: Any, size: Any, ef: Any, scratch: Any) -> Any:
    """Put a row into the pool of at most `ef` if it is near enough; (keys in the pool, its place or the pool's end)."""
    pool = field(scratch, POOL)
    key = sort_key(distance_to(graph, slot, scratch)) | (slot << 2)
    if size == ef:
        if key >= get_i64(pool, size - 1):
            return size, size
        size -= 1
    place = put(pool, size, key)
    return size + 1, place


@Kernel
def scan_codes(
    graph: Any,
    listed: Any,
    length: Any,
    queries: Any,
    count: Any,
    k: Any,
    ef: Any,
    rerank: Any,
    slots: Any,
    distances: Any,
    counts: Any,
    scratch: Any,
) -> None:
    """As `search`, but of `length` slots, all live: `listed` is the address of int64. Each is compared by its codes."""
    for number in range(count):
        query = shift(queries, number * field(graph, DIM), 4)
        load_query(graph, query, scratch)
        size = np.int64(0)
        for i in range(min(length, _AHEAD)):
            fetch_row(graph, get_i64(listed, i))
        for i in range(length):
            if i + _AHEAD < length:
                fetch_row(graph, get_i64(listed, i + _AHEAD))
            size, _ = _admit(graph, get_i64(listed, i), size, ef, scratch)
        answer(graph, query, number, size, k, rerank, slots, distances, counts, scratch)


@Kernel
def scan_vectors(
    graph: Any, listed: Any, length: Any, queries: Any, count: Any, k: Any, slots: Any, distances: Any, counts: Any
) -> None:
    """As `scan_codes`, but exact: each is measured by its vector."""
    dim = field(graph, DIM)
    metric = field(graph, METRIC)
    vectors = field(graph, VECTORS)
    for number in range(count):
        query = shift(queries, number * dim, 4)
        nearest = shift(slots, number * k, 4)
        exact = shift(distances, number * k, 8)
        found = np.int64(0)
        for i in range(min(length, _AHEAD)):
            fetch_vector(graph, get_i64(listed, i))
        for i in range(length):
            if i + _AHEAD < length:
                fetch_vector(graph, get_i64(listed, i + _AHEAD))
            slot = get_i64(listed, i)
            distance = exact_distance(metric, query, shift(vectors, slot * dim, 4), dim)
            found = keep(nearest, exact, k, found, slot, distance)
        set_i64(counts, number, found)
