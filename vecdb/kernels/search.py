"""Search, compiled: the walk, then exact distances of the best it found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vecdb.kernels.distance import fetch_vector, load_query
from vecdb.kernels.graph import ANYWHERE, DEAD, beam, descend, doubtful, enter, node_of
from vecdb.kernels.jit import Kernel, jit, paste
from vecdb.kernels.layout import CHOSEN, CODED, DIM, IP, L2, METRIC, POOL, VECTORS
from vecdb.kernels.memory import field, get_f32, get_f64, get_i32, get_i64, set_f64, set_i32, set_i64, shift
from vecdb.kernels.signs import has_signs, load_signs


@paste
def exact_distance(metric: Any, query: Any, vector: Any, dim: Any) -> Any:
    """The distance on the public scale, accumulated in float64."""
    dot = 0.0
    if metric == L2:
        for i in range(dim):
            step = np.float64(get_f32(query, i)) - np.float64(get_f32(vector, i))
            dot += step * step
        return math.sqrt(dot)
    if metric == IP:
        for i in range(dim):
            dot += np.float64(get_f32(query, i)) * np.float64(get_f32(vector, i))
        return -dot
    a = 0.0
    b = 0.0
    for i in range(dim):
        x = np.float64(get_f32(query, i))
        y = np.float64(get_f32(vector, i))
        dot += x * y
        a += x * x
        b += y * y
    return max(0.0, 1.0 - dot / math.sqrt(a * b))


@paste
def keep(slots: Any, distances: Any, k: Any, found: Any, slot: Any, distance: Any) -> Any:
    """Insert into at most k results, ascending by (distance, slot), if it is near enough; how many there are."""
    if found == k:
        last = get_f64(distances, k - 1)
        if distance > last or (distance == last and slot > get_i32(slots, k - 1)):
            return found
    else:
        found += 1
    at = found - 1
    while at > 0:
        before, slot_before = get_f64(distances, at - 1), get_i32(slots, at - 1)
        if before < distance or (before == distance and slot_before < slot):
            break
        set_f64(distances, at, before)
        set_i32(slots, at, slot_before)
        at -= 1
    set_f64(distances, at, distance)
    set_i32(slots, at, slot)
    return found


@jit
def measure(graph: Any, query: Any, listed: Any, length: Any, ahead: Any, k: Any, slots: Any, distances: Any) -> Any:
    """Write the k nearest by their vectors of `length` slots, the address of int64; how many they are. So many vectors
    are fetched `ahead`: 0 where they have been."""
    dim = field(graph, DIM)
    metric = field(graph, METRIC)
    vectors = field(graph, VECTORS)
    found = np.int64(0)
    for i in range(min(length, ahead)):
        fetch_vector(graph, get_i64(listed, i))
    for i in range(length):
        if ahead > 0 and i + ahead < length:
            fetch_vector(graph, get_i64(listed, i + ahead))
        slot = get_i64(listed, i)
        distance = exact_distance(metric, query, shift(vectors, slot * dim, 4), dim)
        found = keep(slots, distances, k, found, slot, distance)
    return found


@paste
def conclude(slots: Any, distances: Any, k: Any, found: Any, counts: Any, number: Any) -> None:
    """Count what the query of that number `found`, and fill up to k what lies beyond it."""
    set_i64(counts, number, found)
    for i in range(found, k):
        set_i32(slots, i, np.int32(-1))
        set_f64(distances, i, math.inf)


@paste
def answer(
    graph: Any,
    query: Any,
    number: Any,
    size: Any,
    k: Any,
    rerank: Any,
    slots: Any,
    distances: Any,
    counts: Any,
    scratch: Any,
) -> None:
    """Write the results of the query of that number: of the first `rerank` live keys of the pool's first `size` the k
    nearest by their vectors; where `rerank` is 0, the first k keys, in their order and with 0 as distances."""
    pool = field(scratch, POOL)
    chosen = field(scratch, CHOSEN)
    nearest = shift(slots, number * k, 4)
    most = rerank if rerank > 0 else k
    taken = np.int64(0)
    far: Any = np.int64(ANYWHERE)
    for i in range(size):
        key = get_i64(pool, i)
        if taken == most or key >= far:
            break
        if key & DEAD:
            continue
        if rerank == 0:
            set_i32(nearest, taken, node_of(key))
            set_f64(distances, number * k + taken, 0.0)
        else:
            set_i64(chosen, taken, node_of(key))
            fetch_vector(graph, node_of(key))
            if taken == k - 1 and field(graph, CODED) and field(graph, METRIC) != IP:
                far = doubtful(key, scratch)
        taken += 1
    if rerank > 0:
        taken = measure(graph, query, chosen, taken, np.int64(0), k, nearest, shift(distances, number * k, 8))
    conclude(nearest, shift(distances, number * k, 8), k, taken, counts, number)


@Kernel
def search(
    graph: Any,
    entry_layer: Any,
    entry_node: Any,
    queries: Any,
    count: Any,
    k: Any,
    near: Any,
    ef: Any,
    least: Any,
    hoped: Any,
    rerank: Any,
    slots: Any,
    distances: Any,
    counts: Any,
    scratch: Any,
) -> Any:
    """Algorithm 5 for `queries`, the address of (count, dim) float32, by a beam that ends as `beam` says; its `k` there
    is `near`.

    Fills `slots` (count, k) int32, `distances` (count, k) float64, ascending by (distance, slot), and `counts`
    (count,) int64; past a count, slots are -1, distances infinite. Only live slots are returned: of the `rerank`
    nearest of the walk those that are nearest by their vectors, with exact distances on the public scale; where
    `rerank` is 0, the k nearest of the walk, in its order and with 0 as distances. Returns the number of distances that
    the walks computed.
    """
    compared = np.int64(0)
    none = np.int64(0)
    # Upper layers only lead to the base: where few nodes may be found, they need not lead to one of these.
    above = min(ef, np.int64(1))
    for number in range(count):
        query = shift(queries, number * field(graph, DIM), 4)
        load_query(graph, query, scratch)
        if has_signs(graph):
            load_signs(graph, scratch)
        enter(graph, entry_layer, entry_node, scratch)
        size = np.int64(1)
        layer = entry_layer
        while layer > 0:
            size, steps = beam(graph, layer, size, above, np.int64(1) - above, none, none, none, scratch)
            compared += steps
            size = np.int64(1)
            descend(graph, layer, size, scratch)
            layer -= 1
        if layer == 0:
            size, steps = beam(graph, layer, size, ef, least, hoped, near, np.int64(1), scratch)
            compared += steps
        answer(graph, query, number, size, k, rerank, slots, distances, counts, scratch)
    return compared
