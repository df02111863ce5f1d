"""Search among the rows that match a filter, compiled: a walk over them, and a scan by codes.

The walk is that of ACORN-1 (Patel et al., arXiv:2403.04871) with changes: where few neighbours of a node match, those
that do not are bridges, whose neighbours are looked at too, without a distance being computed; and it begins at several
matching rows spread over the table beside the node nearest to the query, so that it finds its way where nothing
near the query matches. `matches` is the address of packed bits by slot, slot 0 in bit 0, in whole 64-bit words.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vecdb.kernels.graph import (
    CANDIDATES,
    EXPANDED,
    FRESH,
    HEAD,
    POOL,
    VISITED,
    approach,
    capacity,
    clear_visited,
    distance_to,
    fetch_record,
    fetch_row,
    load_query,
    node_of,
    put,
    record,
    visit,
)
from vecdb.kernels.jit import Kernel, jit
from vecdb.kernels.memory import field, get_i32, get_i64, get_u8, set_i64, shift
from vecdb.kernels.search import measure
from vecdb.kernels.simd import sort_key

_SEEDS: Final = 16
_BASE_LAYER: Final = 0
_AHEAD: Final = 12  # rows fetched ahead in a scan


@jit
def _does_match(matches: Any, slot: Any) -> Any:
    return (get_u8(matches, slot >> 3) >> (slot & 7)) & 1


@jit
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


@jit
def _sow(graph: Any, matches: Any, words: Any, size: Any, ef: Any, scratch: Any) -> Any:
    """Put matching rows from all over the table into the pool; the keys in it."""
    for seed in range(_SEEDS):
        word = seed * words // _SEEDS
        while word < words and get_i64(matches, word) == 0:
            word += 1
        if word == words:
            break
        slot = word << 6
        while not _does_match(matches, slot):
            slot += 1
        if visit(field(scratch, VISITED), slot):
            size, _ = _admit(graph, slot, size, ef, scratch)
    return size


@jit
def _gather(graph: Any, matches: Any, node: Any, scratch: Any) -> Any:
    """Gather matching rows that this walk has not met: neighbours of the node, and where they are fewer than a node
    usually has, neighbours of those that do not match; their number."""
    base = np.int64(_BASE_LAYER)
    visited = field(scratch, VISITED)
    fresh = field(scratch, FRESH)
    bridges = field(scratch, CANDIDATES)
    room = capacity(graph, base)
    here = record(graph, base, node)
    count = np.int64(0)
    bridged = np.int64(0)
    for i in range(HEAD, HEAD + room):
        other = get_i32(here, i)
        if other < 0:
            break
        if visit(visited, other):
            if _does_match(matches, other):
                set_i64(fresh, count, other)
                fetch_row(graph, other)
                count += 1
            else:
                set_i64(bridges, bridged, other)
                fetch_record(graph, base, other)
                bridged += 1
    enough = room * 4 // 5
    for bridge in range(bridged):
        if count >= enough:
            break
        there = record(graph, base, get_i64(bridges, bridge))
        for i in range(HEAD, HEAD + room):
            other = get_i32(there, i)
            if other < 0:
                break
            # What does not match stays unvisited, as it may be a bridge yet.
            if _does_match(matches, other) and visit(visited, other):
                set_i64(fresh, count, other)
                fetch_row(graph, other)
                count += 1
    return count


@jit
def _walk(graph: Any, matches: Any, words: Any, ef: Any, scratch: Any) -> Any:
    """The nearest matching rows to the query, from the node in the pool; (keys in the pool, distances computed)."""
    pool = field(scratch, POOL)
    fresh = field(scratch, FRESH)
    node = node_of(get_i64(pool, 0))
    clear_visited(scratch)
    visit(field(scratch, VISITED), node)
    size = np.int64(0)
    if _does_match(matches, node):
        size, _ = _admit(graph, node, size, ef, scratch)
        set_i64(pool, 0, get_i64(pool, 0) | EXPANDED)
    size = _sow(graph, matches, words, size, ef, scratch)
    compared = np.int64(_SEEDS)
    at = np.int64(0)
    while True:
        count = _gather(graph, matches, node, scratch)
        compared += count
        for i in range(count):
            size, place = _admit(graph, get_i64(fresh, i), size, ef, scratch)
            at = min(at, place)
        while at < size and get_i64(pool, at) & EXPANDED:
            at += 1
        if at == size:
            return size, compared
        key = get_i64(pool, at)
        set_i64(pool, at, key | EXPANDED)
        node = node_of(key)


@Kernel
def search_matching(
    graph: Any,
    entry_layer: Any,
    entry_node: Any,
    matches: Any,
    words: Any,
    queries: Any,
    count: Any,
    k: Any,
    ef: Any,
    slots: Any,
    distances: Any,
    counts: Any,
    scratch: Any,
) -> Any:
    """As `search`, among the rows whose bits in `matches`, so many 64-bit words, are set; all of them live."""
    compared = np.int64(0)
    for number in range(count):
        load_query(graph, queries, number, scratch)
        compared += approach(graph, entry_layer, entry_node, np.int64(0), scratch)
        size, steps = _walk(graph, matches, words, ef, scratch)
        compared += steps
        measure(graph, queries, number, size, size, k, slots, distances, counts, scratch)
    return compared


@Kernel
def scan_matching(
    graph: Any,
    listed: Any,
    length: Any,
    queries: Any,
    count: Any,
    k: Any,
    ef: Any,
    slots: Any,
    distances: Any,
    counts: Any,
    scratch: Any,
) -> None:
    """The nearest of the `length` slots `listed`, the address of int64: by codes the `ef` nearest, of which `search`
    tells how they are measured."""
    for number in range(count):
        load_query(graph, queries, number, scratch)
        size = np.int64(0)
        for i in range(min(length, _AHEAD)):
            fetch_row(graph, get_i64(listed, i))
        for i in range(length):
            if i + _AHEAD < length:
                fetch_row(graph, get_i64(listed, i + _AHEAD))
            size, _ = _admit(graph, get_i64(listed, i), size, ef, scratch)
        measure(graph, queries, number, size, size, k, slots, distances, counts, scratch)
