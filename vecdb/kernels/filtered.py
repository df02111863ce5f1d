"""Scans of the rows that match a filter, compiled: by codes and by vectors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vecdb.kernels.distance import distance_to, fetch_row, load_query
from vecdb.kernels.graph import put
from vecdb.kernels.jit import Kernel, paste
from vecdb.kernels.layout import DIM, POOL
from vecdb.kernels.memory import field, get_i64, set_i64, shift
from vecdb.kernels.search import answer, measure
from vecdb.kernels.simd import sort_key

_AHEAD: Final = 12  # rows fetched ahead in a scan


@paste
def _compare(graph: Any, listed: Any, length: Any, ef: Any, scratch: Any) -> Any:
    """Fill the pool with the keys of the `ef` nearest of so many slots by their codes; how many they are."""
    pool = field(scratch, POOL)
    size = np.int64(0)
    for i in range(min(length, _AHEAD)):
        fetch_row(graph, get_i64(listed, i))
    for i in range(length):
        if i + _AHEAD < length:
            fetch_row(graph, get_i64(listed, i + _AHEAD))
        slot = get_i64(listed, i)
        key = sort_key(distance_to(graph, slot, scratch)) | (slot << 2)
        if size == ef:
            if key >= get_i64(pool, size - 1):
                continue
            size -= 1
        put(pool, size, key)
        size += 1
    return size


@Kernel
def scan(
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
    """As `search`, but of `length` slots, all live: `listed` is the address of int64. Each is compared by its codes,
    and the `ef` nearest measured as after a walk; where `ef` is 0, each is measured by its vector."""
    for number in range(count):
        query = shift(queries, number * field(graph, DIM), 4)
        if ef > 0:
            load_query(graph, query, scratch)
            size = _compare(graph, listed, length, ef, scratch)
            answer(graph, query, number, size, k, rerank, slots, distances, counts, scratch)
        else:
            nearest, exact = shift(slots, number * k, 4), shift(distances, number * k, 8)
            set_i64(counts, number, measure(graph, query, listed, length, np.int64(_AHEAD), k, nearest, exact))
