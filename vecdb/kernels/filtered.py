"""Search among the rows that match a filter, compiled: a walk over them, and scans by codes and by vectors.

The walk is that of ACORN-1 (Patel et al., arXiv:2403.04871) with changes: where few neighbours of a node match, those
that do not are bridges, whose neighbours are looked at too, without a distance being computed; it begins at matching
rows spread over the table beside the node nearest to the query; and it gives up where hardly anything near the query
matches. `matches` is the address of packed bits by slot, slot 0 in bit 0, in whole 64-bit words.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vecdb.kernels.graph import (
    CANDIDATES,
    DIM,
    EXPANDED,
    FRESH,
    HEAD,
    METRIC,
    POOL,
    VECTORS,
    beam,
    capacity,
    descend,
    distance_to,
    enter,
    fetch_record,
    fetch_row,
    fetch_vector,
    load_query,
    node_of,
    put,
    record,
    visit,
)
from vecdb.kernels.jit import Kernel, inline, paste
from vecdb.kernels.memory import field, get_i32, get_i64, get_u8, set_i64, shift
from vecdb.kernels.search import answer, exact_distance, keep
from vecdb.kernels.simd import sort_key

_SEEDS: Final = 64
_FEW_NEAR: Final = 4  # times the matching rows near a query are fewer than a node's neighbours may be: hardly any match
_AHEAD: Final = 12  # rows fetched ahead in a scan


@inline
def _does_match(matches: Any, slot: Any) -> Any:
    return (get_u8(matches, slot >> 3) >> (slot & 7)) & 1


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


@paste
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
        if visit(np.int64(0), slot, scratch):
            size, _ = _admit(graph, slot, size, ef, scratch)
    return size


@paste
def _gather(graph: Any, matches: Any, node: Any, scratch: Any) -> Any:
    """Gather matching rows that this walk has not met: neighbours of the node, and where they are fewer than a node
    usually has, neighbours of those that do not match; their number."""
    base = np.int64(0)
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
        if visit(base, other, scratch):
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
            if _does_match(matches, other) and visit(base, other, scratch):
                set_i64(fresh, count, other)
                fetch_row(graph, other)
                count += 1
    return count


@paste
def _walk(graph: Any, matches: Any, words: Any, ef: Any, scratch: Any) -> Any:
    """The nearest matching rows to the query, from the node in the pool; (keys in the pool, distances computed).

    No keys where hardly anything near the query matches."""
    pool = field(scratch, POOL)
    fresh = field(scratch, FRESH)
    node = node_of(get_i64(pool, 0))
    visit(np.int64(0), node, scratch)
    size = np.int64(0)
    compared = np.int64(0)
    at = np.int64(0)
    count = _gather(graph, matches, node, scratch)
    if _FEW_NEAR * count < capacity(graph, np.int64(0)):
        return size, compared
    if _does_match(matches, node):
        size, _ = _admit(graph, node, size, ef, scratch)
        set_i64(pool, 0, get_i64(pool, 0) | EXPANDED)
    size = _sow(graph, matches, words, size, ef, scratch)
    compared += _SEEDS
    while True:
        compared += count
        for i in range(count):
            size, place = _admit(graph, get_i64(fresh, i), size, ef, scratch)
            at = min(at, place)
        while at < size and get_i64(pool, at) & EXPANDED:
            at += 1
        if at == size:
            break
        key = get_i64(pool, at)
        set_i64(pool, at, key | EXPANDED)
        count = _gather(graph, matches, node_of(key), scratch)
    return size, compared


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
    rerank: Any,
    slots: Any,
    distances: Any,
    counts: Any,
    scratch: Any,
) -> Any:
    """As `search`, among the rows whose bits in `matches`, so many 64-bit words, are set; all of them live.

    A query near which hardly anything matches is not answered: a walk would end in whatever corner it met first."""
    compared = np.int64(0)
    for number in range(count):
        query = shift(queries, number * field(graph, DIM), 4)
        load_query(graph, query, scratch)
        enter(graph, entry_layer, entry_node, scratch)
        layer = entry_layer
        while layer > 0:
            _, steps = beam(graph, layer, np.int64(1), np.int64(1), np.int64(0), scratch)
            compared += steps
            descend(graph, layer, np.int64(1), scratch)
            layer -= 1
        size, steps = _walk(graph, matches, words, ef, scratch)
        compared += steps
        answer(graph, query, number, size, k, rerank, slots, distances, counts, scratch)
    return compared


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
