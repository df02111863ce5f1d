"""Scans of the rows that match a filter, compiled: by codes and by vectors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vecdb.kernels.distance import distance_to, fetch_row, load_query
from vecdb.kernels.graph import put
from vecdb.kernels.jit import Kernel, paste
from vecdb.kernels.layout import DIM, FRESH, POOL
from vecdb.kernels.memory import field, get_i64, set_i64, shift
from vecdb.kernels.search import answer, measure
from vecdb.kernels.signs import fetch_signs, has_signs, load_signs, sift, sift_fresh
from vecdb.kernels.simd import COUNTS_BLOCKS, sort_key

_AHEAD: Final = 12  # rows fetched ahead in a scan
SIFTED: Final = 128  # rows that are looked at by their signs before those are compared that may be near


@paste
def _put_nearer(graph: Any, slot: Any, size: Any, ef: Any, scratch: Any) -> Any:
    """Put a slot's key into the pool, if it is among the `ef` nearest; how many are there."""
    pool = field(scratch, POOL)
    key = sort_key(distance_to(graph, slot, scratch)) | (slot << 2)
    if size == ef:
        if key >= get_i64(pool, size - 1):
            return size
        size -= 1
    put(pool, size, key)
    return size + 1


@paste
def _compare(graph: Any, listed: Any, length: Any, ef: Any, scratch: Any) -> Any:
    """Fill the pool with the keys of the `ef` nearest of so many slots by their codes; how many they are."""
    size = np.int64(0)
    for i in range(min(length, _AHEAD)):
        fetch_row(graph, get_i64(listed, i))
    for i in range(length):
        if i + _AHEAD < length:
            fetch_row(graph, get_i64(listed, i + _AHEAD))
        size = _put_nearer(graph, get_i64(listed, i), size, ef, scratch)
    return size


@paste
def _compare_sifted(graph: Any, listed: Any, first: Any, length: Any, ef: Any, scratch: Any) -> None:
    """The same of the slots from `first` on, with a pool that is full: most are too far by their signs."""
    pool = field(scratch, POOL)
    fresh = field(scratch, FRESH)
    for start in range(first, length, SIFTED):
        here = shift(listed, start, 8)
        for i in range(SIFTED, min(2 * SIFTED, length - start)):
            fetch_signs(graph, get_i64(here, i))
        far = get_i64(pool, ef - 1)
        count = length - start
        if count >= SIFTED:
            count = sift(graph, here, np.int64(SIFTED), far, scratch)
        else:
            for i in range(count):
                set_i64(fresh, i, get_i64(here, i))
            count = sift_fresh(graph, count, far, scratch)
        for i in range(count):
            _put_nearer(graph, get_i64(fresh, i), ef, ef, scratch)


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
            sifts = COUNTS_BLOCKS and has_signs(graph)
            first = min(ef, length) if sifts else length
            size = _compare(graph, listed, first, ef, scratch)
            if sifts:
                load_signs(graph, scratch)
                _compare_sifted(graph, listed, first, length, ef, scratch)
            answer(graph, query, number, size, k, rerank, slots, distances, counts, scratch)
        else:
            nearest, exact = shift(slots, number * k, 4), shift(distances, number * k, 8)
            set_i64(counts, number, measure(graph, query, listed, length, np.int64(_AHEAD), k, nearest, exact))
