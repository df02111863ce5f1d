"""Scans of the rows that match a filter, compiled: by codes and by vectors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vecdb.kernels.distance import distance_to, fetch_row, load_query
from vecdb.kernels.graph import put
from vecdb.kernels.jit import Kernel, paste
from vecdb.kernels.layout import DIM, FRESH, POOL
from vecdb.kernels.memory import field, get_i64, set_i64, shift
from vecdb.kernels.search import answer, conclude, measure
from vecdb.kernels.signs import fetch_signs, has_signs, load_signs, load_tables, pad, sift, sift_group
from vecdb.kernels.simd import COUNTS_BLOCKS, GROUP, sort_key, trailing_zeros

_AHEAD: Final = 12  # rows fetched ahead in a scan
TOGETHER: Final = 128  # rows that are looked at by their signs before those are compared that may be near


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
def _compare_each(graph: Any, listed: Any, length: Any, size: Any, ef: Any, scratch: Any) -> Any:
    """Fill the pool, which has `size` keys, with those of the `ef` nearest of so many slots by their codes; how many it
    has then."""
    for i in range(min(length, _AHEAD)):
        fetch_row(graph, get_i64(listed, i))
    for i in range(length):
        if i + _AHEAD < length:
            fetch_row(graph, get_i64(listed, i + _AHEAD))
        size = _put_nearer(graph, get_i64(listed, i), size, ef, scratch)
    return size


@paste
def _compare_near(graph: Any, listed: Any, length: Any, size: Any, ef: Any, scratch: Any) -> Any:
    """The same; of rows that have signs, once the pool is full, only those that may be near by them are compared."""
    pool, fresh = field(scratch, POOL), field(scratch, FRESH)
    if has_signs(graph):
        load_signs(graph, scratch)
    for start in range(0, length, TOGETHER):
        count = min(length - start, TOGETHER)
        here = shift(listed, start, 8)
        if size == ef and has_signs(graph):
            for i in range(start + TOGETHER, min(start + 2 * TOGETHER, length)):
                fetch_signs(graph, get_i64(listed, i))
            if count < TOGETHER:
                for i in range(count):
                    set_i64(fresh, i, get_i64(here, i))
                pad(fresh, count)
                here = fresh
            count = sift(graph, here, count, get_i64(pool, ef - 1), scratch)
            here = fresh
        size = _compare_each(graph, here, count, size, ef, scratch)
    return size


@paste
def _compare_groups(graph: Any, groups: Any, matches: Any, count: Any, ef: Any, scratch: Any) -> Any:
    """The same of rows in so many groups, of which a word of `matches` has a bit for each that is meant."""
    pool, fresh = field(scratch, POOL), field(scratch, FRESH)
    load_signs(graph, scratch)
    load_tables(graph, scratch)
    size, kept = np.int64(0), np.int64(0)
    for number in range(count):
        near = get_i64(matches, number)
        if near != 0 and size == ef:
            near &= sift_group(graph, groups, number, get_i64(pool, ef - 1), scratch)
        while near != 0:
            slot = GROUP * number + trailing_zeros(near)
            set_i64(fresh, kept, slot)
            fetch_row(graph, slot)
            kept += 1
            near &= near - 1
        if kept >= GROUP or number == count - 1:
            size = _compare_each(graph, fresh, kept, size, ef, scratch)
            kept = np.int64(0)
    return size


_compare: Any = _compare_near if COUNTS_BLOCKS else _compare_each


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
            size = _compare(graph, listed, length, np.int64(0), ef, scratch)
            answer(graph, query, number, size, k, rerank, slots, distances, counts, scratch)
        else:
            nearest, exact = shift(slots, number * k, 4), shift(distances, number * k, 8)
            found = measure(graph, query, listed, length, np.int64(_AHEAD), k, nearest, exact)
            conclude(nearest, exact, k, found, counts, number)


@Kernel
def scan_groups(
    graph: Any,
    groups: Any,
    matches: Any,
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
    """As `scan` by codes, of the rows whose bits are set in `matches`, so many words: the signs of all slots beside
    these are looked at, as they lie in `groups` (`signs.group`)."""
    for number in range(count):
        query = shift(queries, number * field(graph, DIM), 4)
        load_query(graph, query, scratch)
        size = _compare_groups(graph, groups, matches, length, ef, scratch)
        answer(graph, query, number, size, k, rerank, slots, distances, counts, scratch)
