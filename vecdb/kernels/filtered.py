"""Scans of the rows that match a filter, compiled: by codes and by vectors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vecdb.kernels.distance import distance_to, fetch_row, load_query
from vecdb.kernels.graph import ANYWHERE, put
from vecdb.kernels.jit import Kernel, inline, paste
from vecdb.kernels.layout import DIM, FRESH, POOL
from vecdb.kernels.memory import field, get_i64, set_i64, shift
from vecdb.kernels.search import answer, measure
from vecdb.kernels.signs import fetch_signs, has_signs, load_signs, sift
from vecdb.kernels.simd import sort_key

_AHEAD: Final = 12  # rows fetched ahead in a scan
_TOGETHER: Final = 32  # rows whose signs are looked at before the codes of those that are left


@inline
def _keep(graph: Any, slot: Any, size: Any, ef: Any, scratch: Any) -> Any:
    """Put the key of a slot into the pool if it is among the `ef` nearest by codes; how many there are."""
    pool = field(scratch, POOL)
    key = sort_key(distance_to(graph, slot, scratch)) | (slot << 2)
    if size == ef:
        if key >= get_i64(pool, size - 1):
            return size
        size -= 1
    put(pool, size, key)
    return size + 1


@paste
def _sift_all(graph: Any, listed: Any, length: Any, ef: Any, scratch: Any) -> Any:
    """The same, without the codes of rows that are too far by their signs."""
    pool = field(scratch, POOL)
    fresh = field(scratch, FRESH)
    size = np.int64(0)
    for i in range(min(length, _TOGETHER)):
        fetch_signs(graph, get_i64(listed, i))
    for first in range(0, length, _TOGETHER):
        stop = min(first + _TOGETHER, length)
        for i in range(stop, min(stop + _TOGETHER, length)):
            fetch_signs(graph, get_i64(listed, i))
        for i in range(first, stop):
            set_i64(fresh, i - first, get_i64(listed, i))
        far: Any = get_i64(pool, size - 1) if size == ef else np.int64(ANYWHERE)
        count = sift(graph, stop - first, far, scratch)
        for i in range(count):
            size = _keep(graph, get_i64(fresh, i), size, ef, scratch)
    return size


@paste
def _compare(graph: Any, listed: Any, length: Any, ef: Any, scratch: Any) -> Any:
    """Fill the pool with the keys of the `ef` nearest of so many slots by their codes; how many they are."""
    size = np.int64(0)
    if has_signs(graph):
        return _sift_all(graph, listed, length, ef, scratch)
    for i in range(min(length, _AHEAD)):
        fetch_row(graph, get_i64(listed, i))
    for i in range(length):
        if i + _AHEAD < length:
            fetch_row(graph, get_i64(listed, i + _AHEAD))
        size = _keep(graph, get_i64(listed, i), size, ef, scratch)
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
            if has_signs(graph):
                load_signs(graph, scratch)
            size = _compare(graph, listed, length, ef, scratch)
            answer(graph, query, number, size, k, rerank, slots, distances, counts, scratch)
        else:
            nearest, exact = shift(slots, number * k, 4), shift(distances, number * k, 8)
            set_i64(counts, number, measure(graph, query, listed, length, np.int64(_AHEAD), k, nearest, exact))
