"""The graph as kernels see it: records in copy-on-write blocks, and the walk that search and build share.

Source: Y. Malkov and D. Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs", arXiv:1603.09320; the numbers of algorithms are theirs.

Three things differ from the paper, each with its reason:

* Layers above the base live in numbered *entries*, one for each (slot, layer); an entry's neighbours are
  entries of the same layer, and the entry before it is the same slot one layer down. So both kinds of layers
  are fixed-size records in blocks, and one beam search serves both.
* Base-layer links hold a spanning tree: a row's *parent* is a neighbour that was in the graph before it, and pruning
  never drops the link between a row and its parent in either direction. So every row stays reachable from
  every other at layer 0, which the paper's pruning does not promise.
* Rows that are not live conduct a search until they are repaired, but are never results, and are chosen as neighbours
  only where no live row was found.

Kernels do not check bounds: whoever fills the arrays has validated them. `graph` and `scratch` are addresses of a
Struct.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from vecdb.kernels.distance import distance_to, fetch_row
from vecdb.kernels.jit import Shared, inline, paste
from vecdb.kernels.layout import (
    BASE,
    FRESH,
    HEAD,
    LIVE,
    LIVE_SHIFT,
    LIVE_TABLE,
    PER_BLOCK,
    POOL,
    POOL_SIZE,
    RECORD_WIDTH,
    RECORDS,
    SLOT,
    TABLE,
    TERMS,
    UPPERS,
    VISITED,
    VISITED_WORDS,
    WALK,
)
from vecdb.kernels.memory import CACHE_LINE, call, field, get_f32, get_i32, get_i64, get_u8, prefetch, set_i64, shift
from vecdb.kernels.signs import fetch_signs, has_signs, sift_fresh
from vecdb.kernels.simd import number_of, sort_key

# A key of the pool: the distance's sort key, node * 4, flags. So node numbers have 30 bits.
EXPANDED, DEAD = 1, 2
NODE_MASK: Final = 0xFFFFFFFF

# A walk expands the nearest node, and one more for so many places in its beam, so that the rows of all their neighbours
# are on their way from memory at once: with a large beam they would be expanded anyway.
_PLACES_PER_NODE: Final = 32
MOST_TOGETHER: Final = 4
# Live keys that a walk hopes for among those which tell, for the first time, whether it goes on: the nearest of so many
# times as many that it has met.
_ENOUGH: Final = 16
_MET: Final = 4
# How much farther than the k-th a walk goes on to look, by the root of its beam.
_REACH: Final = np.float32(0.007)
ANYWHERE: Final = 0x7F800000 << 32  # of an infinite distance
# Rows whose distances by codes are so many standard deviations of the rounding apart, their vectors order alike.
_SIGMAS: Final = np.float32(4.0)
_ROUNDING: Final = np.float32(8.0 / 12.0)  # see `doubtful`


@paste
def is_live(graph: Any, slot: Any) -> Any:
    byte = slot >> 3
    bits = field(graph, LIVE_SHIFT)
    block = byte >> bits
    place = get_i32(field(graph, LIVE_TABLE), block)
    return (get_u8(field(graph, LIVE), byte + ((place - block) << bits)) >> (slot & 7)) & 1


@inline
def record(graph: Any, layer: Any, node: Any) -> Any:
    """The address of a node's record: of an entry on an upper layer, of a slot on the base layer."""
    kind = BASE if layer == 0 else UPPERS
    per_block = field(graph, kind + PER_BLOCK)
    block = node // per_block
    place = get_i32(field(graph, kind + TABLE), block)
    number = place * per_block + node - block * per_block
    return shift(field(graph, kind + RECORDS), number * field(graph, kind + RECORD_WIDTH), 4)


@paste
def fetch_record(graph: Any, layer: Any, node: Any) -> None:
    """Have the beginning of a node's record brought into the cache."""
    here = record(graph, layer, node)
    prefetch(here, 0)
    prefetch(here, CACHE_LINE)
    prefetch(here, 2 * CACHE_LINE)


@paste
def capacity(graph: Any, layer: Any) -> Any:
    """The most neighbours of a node."""
    return field(graph, (BASE if layer == 0 else UPPERS) + RECORD_WIDTH) - HEAD


@inline
def slot_of(graph: Any, layer: Any, node: Any) -> Any:
    """The slot of a node: an entry on an upper layer, itself a slot on the base layer."""
    return node if layer == 0 else get_i32(record(graph, layer, node), SLOT)


@paste
def node_of(key: Any) -> Any:
    """The node of a key of the pool."""
    return (key & NODE_MASK) >> 2


@inline
def key_of(graph: Any, slot: Any, node: Any, scratch: Any) -> Any:
    """A node's key: its distance to the query, itself, and whether its slot is dead."""
    dead = np.int64(0) if is_live(graph, slot) else np.int64(DEAD)
    return sort_key(distance_to(graph, slot, scratch)) | (node << 2) | dead


# The walk


@inline
def put(keys: Any, size: Any, key: Any) -> Any:
    """Insert into sorted keys, which have room for one more; its place."""
    low = np.int64(0)
    high = size
    while low < high:
        middle = (low + high) >> 1
        if get_i64(keys, middle) <= key:
            low = middle + 1
        else:
            high = middle
    for i in range(size, low, -1):
        set_i64(keys, i, get_i64(keys, i - 1))
    set_i64(keys, low, key)
    return low


@paste
def visit(layer: Any, node: Any, scratch: Any) -> Any:
    """Mark a node; 1 where this walk meets it for the first time."""
    visited = field(scratch, VISITED)
    # Upper entries are counted from the end, out of the way of slots.
    place = node if layer == 0 else (field(scratch, VISITED_WORDS) << 6) - 1 - node
    word = get_i64(visited, place >> 6)
    bit = np.int64(1) << (place & 63)
    set_i64(visited, place >> 6, word | bit)
    return np.int64((word & bit) == 0)


@paste
def _meet(graph: Any, layer: Any, node: Any, count: Any, signs: Any, scratch: Any) -> Any:
    """Gather the neighbours of a node that this walk has not met, after `count` others, and have their rows fetched, or
    their `signs`; their number."""
    here = record(graph, layer, node)
    fresh = field(scratch, FRESH)
    first = count
    for i in range(HEAD, HEAD + capacity(graph, layer)):
        other = get_i32(here, i)
        if other < 0:
            break
        set_i64(fresh, count, other)
        count += visit(layer, other, scratch)
    if layer > 0:
        for i in range(first, count):
            prefetch(record(graph, layer, get_i64(fresh, i)), 0)
    for i in range(first, count):
        if signs:
            fetch_signs(graph, get_i64(fresh, i))
        else:
            fetch_row(graph, slot_of(graph, layer, get_i64(fresh, i)))
    return count


@paste
def enter(graph: Any, layer: Any, node: Any, scratch: Any) -> None:
    """Begin a walk: the entry point (layer, node) becomes the pool's only key."""
    visited = field(scratch, VISITED)
    for i in range(field(scratch, VISITED_WORDS)):
        set_i64(visited, i, np.int64(0))
    set_i64(field(scratch, POOL), 0, key_of(graph, slot_of(graph, layer, node), node, scratch))


@paste
def _bound(pool: Any, k: Any, ef: Any, scratch: Any) -> Any:
    """The key from which on nothing is looked at: of a distance (1 + reach) times that of the k-th live key."""
    at = np.int64(-1)
    while k > 0:
        at += 1
        k -= (get_i64(pool, at) & DEAD) == 0
    offset = get_f32(field(scratch, TERMS), 2)
    reach = np.float32(1.0) + _REACH * np.float32(math.sqrt(ef))
    return sort_key(reach * reach * (number_of(get_i64(pool, at)) + offset) - offset)


@paste
def doubtful(key: Any, scratch: Any) -> Any:
    """Up to which key rows may be nearer by their vectors than that of `key`, as codes are rounded.

    Rounding moves each number of a row and of the query by 1/12 of their steps² (variance), and so a square distance by
    4/12 of it times (row's step² + query's step²); two rows are compared.
    """
    terms = field(scratch, TERMS)
    offset = get_f32(terms, 2)
    square = max(number_of(key) + offset, np.float32(0.0))
    step = get_f32(terms, 0) / np.float32(2.0)  # of the query, in those of the rows
    variance = _ROUNDING * (np.float32(1.0) + step * step) * square
    return sort_key(square + _SIGMAS * np.float32(math.sqrt(variance)) - offset)


@paste
def _count_live(pool: Any, keys: Any) -> Any:
    """How many of the pool's first keys are live."""
    live = np.int64(0)
    for i in range(keys):
        live += (get_i64(pool, i) & DEAD) == 0
    return live


@paste
def _begin(layer: Any, size: Any, scratch: Any) -> Any:
    """Make the pool's first keys a walk's beginning; how many are live."""
    pool = field(scratch, POOL)
    for i in range(size):
        key = get_i64(pool, i) & ~EXPANDED
        set_i64(pool, i, key)
        visit(layer, node_of(key), scratch)
    return _count_live(pool, size)


@paste
def _look(pool: Any, at: Any, look: Any, ef: Any, least: Any, hoped: Any) -> Any:
    """What becomes of (ef, least, hoped). Where the first `ef` keys, once a walk is `at` them, have fewer live than is
    hoped, it may overlook some, and goes twice as far; where they have fewer than half, most, and it had better give
    up: `ef` is 0. So it is before, where the first `look` have fewer than a quarter of their share."""
    if at < ef:
        return ef if 4 * _count_live(pool, look) * ef >= look * hoped else np.int64(0), least, hoped
    many = _count_live(pool, ef)
    times = 1 if many >= hoped else 2 if 2 * many >= hoped else 0
    return times * ef, times * least, np.int64(0)


@paste
def _edge(pool: Any, size: Any, whole: Any, bound: Any) -> Any:
    """The key from which on a row does not come into the pool: of the last in it where it is `whole`."""
    return min(bound, get_i64(pool, size - 1)) if whole else bound


@paste
def _compare(graph: Any, layer: Any, count: Any, scratch: Any) -> None:
    """Turn so many nodes that were met into their keys."""
    fresh = field(scratch, FRESH)
    for i in range(count):
        node = get_i64(fresh, i)
        slot = slot_of(graph, layer, node)
        set_i64(fresh, i, sort_key(distance_to(graph, slot, scratch)) | (node << 2))


@Shared
def walk(graph: Any, layer: Any, size: Any, ef: Any, least: Any, hoped: Any, k: Any, signs: Any, scratch: Any) -> Any:
    """Algorithm 2: the nearest to the query on one layer, from the first `size` keys of the pool.

    The pool is sorted and ends where it has `ef` keys, `least` of them live; dead ones conduct and are dropped from its
    far end only. Where `k` is not 0, it ends before what is much farther than the k-th: adaptive beam search
    (Al-Jazzazi et al., "Distance Adaptive Beam Search for Provably Accurate Graph-Based Nearest Neighbor Search",
    arXiv:2505.15636). A walk that finds too few live keys beside what is `hoped` goes on farther or gives up, as it
    does where the scratch has no room for it. Where the query's `signs` are loaded, rows that are too far by theirs are
    not compared further. Returns the number of keys in the pool, 0 where it gave up, and 2^32 times that of the rows
    that were compared.
    """
    pool, room = field(scratch, POOL), field(scratch, POOL_SIZE)
    fresh = field(scratch, FRESH)
    together = min(1 + max(ef, least) // _PLACES_PER_NODE, MOST_TOGETHER)
    look = _ENOUGH * ef // max(hoped, np.int64(1))
    live = _begin(layer, size, scratch)
    at, compared = np.int64(0), np.int64(0)
    bound: Any = np.int64(ANYWHERE)
    by_signs = signs and layer == 0 and has_signs(graph)
    while at < size:
        if hoped > 0 and (at >= ef or size >= _MET * look):
            ef, least, hoped = _look(pool, at, look, ef, least, hoped)
            if ef == 0:
                return compared << 32
            look = 2 * look
        if k > 0 and live >= k:
            bound = _bound(pool, k, max(ef, least), scratch)
        far = _edge(pool, size, size == room or (size >= ef and live >= least), bound)
        sifted = by_signs and far < ANYWHERE
        count, expanded = np.int64(0), np.int64(0)
        while at < size and expanded < together:
            key = get_i64(pool, at)
            if key >= bound:
                at = size
                break
            if key & EXPANDED == 0:
                set_i64(pool, at, key | EXPANDED)
                count = _meet(graph, layer, node_of(key), count, sifted, scratch)
                expanded += 1
            at += 1
        compared += count
        for i in range(at, min(at + together, size)):
            fetch_record(graph, layer, node_of(get_i64(pool, i)))
        if sifted:
            count = sift_fresh(graph, count, far, scratch)
        # First all distances, then all insertions: a branch that goes another way than guessed holds up no distance.
        _compare(graph, layer, count, scratch)
        for i in range(count):
            near = get_i64(fresh, i)
            if near >= _edge(pool, size, size == room or (size >= ef and live >= least), bound):
                continue
            if not is_live(graph, slot_of(graph, layer, node_of(near))):
                if get_i32(record(graph, layer, node_of(near)), HEAD) < 0:
                    continue  # repaired: a link to it is left, none leads on
                near |= DEAD
            if size == room:
                size -= 1
                live -= (get_i64(pool, size) & DEAD) == 0
            at = min(at, put(pool, size, near))
            size += 1
            live += (near & DEAD) == 0
            while size > ef and live >= least and (live > least or get_i64(pool, size - 1) & DEAD):
                size -= 1
                live -= (get_i64(pool, size) & DEAD) == 0
    return (compared << 32) | (np.int64(0) if ef > 0 and size == room and live < least else size)


@paste
def beam(graph: Any, layer: Any, size: Any, ef: Any, least: Any, hoped: Any, k: Any, signs: Any, scratch: Any) -> Any:
    """`walk`, by its address in the scratch: (keys in the pool, 0 where it gave up; rows compared)."""
    found = call(field(scratch, WALK), graph, layer, size, ef, least, hoped, k, signs, scratch)
    return found & 0xFFFFFFFF, found >> 32


@paste
def descend(graph: Any, layer: Any, size: Any, scratch: Any) -> None:
    """Turn the pool's keys of `layer` into those of the same slots one layer down."""
    pool = field(scratch, POOL)
    for i in range(size):
        key = get_i64(pool, i)
        node = node_of(key)
        below = node - 1 if layer > 1 else slot_of(graph, layer, node)
        set_i64(pool, i, (key & ~NODE_MASK) | (below << 2) | (key & DEAD))
