"""HNSW on copy-on-write blocks, compiled: search and insert.

Source: Y. Malkov and D. Yashunin, "Efficient and robust approximate nearest neighbor search using
Hierarchical Navigable Small World graphs", arXiv:1603.09320; the numbers of algorithms below are theirs.

Three things differ from the paper, each with its reason:

* Layers above the base live in numbered *entries*, one for each (slot, layer); an entry's neighbours are
  entries of the same layer, and the entry before it is the same slot one layer down. So both kinds of layers
  are fixed-size records in blocks, and one beam search serves both.
* Base-layer links hold a spanning tree: a row's *parent* is the first neighbour that took it in, and pruning
  never drops the link between a row and its parent in either direction. So every row stays reachable from
  every other at layer 0, which the paper's pruning does not promise.
* Rows that are not live conduct a search but are never results, and are chosen as neighbours only where no live
  row was found.

Everything is in one file because numba's on-disk cache notices edits of a kernel's own file only. Kernels do not
check bounds: whoever fills the arrays has validated them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.kernels.jit import Kernel, jit

Float32: TypeAlias = NDArray[np.float32]
Int32: TypeAlias = NDArray[np.int32]
Int64: TypeAlias = NDArray[np.int64]

# Metric numbers, as kernels see them.
L2, IP, COSINE = 0, 1, 2

# A base-layer record: [parent, first upper entry, neighbours...]; an upper record: [slot, layer, neighbours...].
# Both end their neighbours at the first -1.
PARENT, UPPER = 0, 1
SLOT, LAYER = 0, 1
HEAD = 2

# A pool entry is node * 4 + flags.
EXPANDED, DEAD = 1, 2

# Flags of a candidate.
KEPT, CHOSEN = 1, 2


class Graph(NamedTuple):
    """What a search reads of one version of a vector column.

    `links` and `upper` are (place, record of the block, HEAD + degree) int32, `live` is (place, byte) uint8 with
    slot 0 in bit 0; each table gives a block's place.
    """

    vectors: Float32  # (slots or more, dim)
    links: Int32
    links_table: Int32
    upper: Int32
    upper_table: Int32
    live: NDArray[np.uint8]
    live_table: Int32
    metric: int


class Ownership(NamedTuple):
    """What a writer needs to change blocks of one kind: a block placed before `state[EPOCH]` is not its own."""

    epochs: Int64  # by place
    free: Int32  # a stack of free places, its height in state[FREE]
    state: Int64


EPOCH, FREE = 0, 1


class Scratch(NamedTuple):
    """Working memory of one thread."""

    visited: NDArray[np.uint16]  # (slots, ) tag of the last beam that met a slot
    visited_upper: NDArray[np.uint16]  # the same by upper entry
    tag: Int64  # (1,)
    pool_distance: Float32
    pool_node: Int64
    fresh: Int64  # neighbours met for the first time
    query: Float32  # (dim,) scaled to unit length under cosine
    candidate_distance: Float32
    candidate_node: Int64
    candidate_scale: Float32
    candidate_kept: NDArray[np.uint8]
    chosen: Int64
    hosts: Int64  # the neighbours chosen for a new row, while their own lists are pruned


def new_scratch(slots: int, entries: int, pool: int, degree: int, dim: int) -> Scratch:
    """Working memory for that many slots and upper entries, a pool that long, and lists of that degree."""
    return Scratch(
        visited=np.zeros(slots, np.uint16),
        visited_upper=np.zeros(entries, np.uint16),
        tag=np.zeros(1, np.int64),
        pool_distance=np.zeros(pool, np.float32),
        pool_node=np.zeros(pool, np.int64),
        fresh=np.zeros(degree, np.int64),
        query=np.zeros(dim, np.float32),
        candidate_distance=np.zeros(pool, np.float32),
        candidate_node=np.zeros(pool, np.int64),
        candidate_scale=np.zeros(pool, np.float32),
        candidate_kept=np.zeros(pool, np.uint8),
        chosen=np.zeros(pool, np.int64),
        hosts=np.zeros(degree, np.int64),
    )


class Build(NamedTuple):
    """How a graph is built."""

    m: int  # neighbours chosen for a new row, and the most on a layer above the base
    m0: int  # the most on the base layer
    ef: int  # beam width
    alpha: float  # pruning slack: a candidate is pruned when alpha * d(chosen, candidate) <= d(row, candidate)
    extend: bool  # Algorithm 4's extendCandidates
    keep_pruned: bool  # Algorithm 4's keepPrunedConnections


@jit
def _dot(a: Any, b: Any) -> Any:
    total = np.float32(0.0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@jit
def _squared(a: Any, b: Any) -> Any:
    total = np.float32(0.0)
    for i in range(a.shape[0]):
        step = a[i] - b[i]
        total += step * step
    return total


@jit
def _near(metric: Any, query: Any, row: Any) -> Any:
    """A float32 number that orders rows as their distances do; under cosine the query has unit length."""
    if metric == L2:
        return _squared(query, row)
    if metric == IP:
        return -_dot(query, row)
    dot = np.float32(0.0)
    norm = np.float32(0.0)
    for i in range(query.shape[0]):
        dot += query[i] * row[i]
        norm += row[i] * row[i]
    return np.float32(1.0) - dot / np.sqrt(norm)


@jit
def _exact(metric: Any, query: Any, row: Any) -> Any:
    """The distance on the public scale, accumulated in float64."""
    dot = 0.0
    if metric == L2:
        for i in range(query.shape[0]):
            step = np.float64(query[i]) - np.float64(row[i])
            dot += step * step
        return math.sqrt(dot)
    if metric == IP:
        for i in range(query.shape[0]):
            dot += np.float64(query[i]) * np.float64(row[i])
        return -dot
    a = 0.0
    b = 0.0
    for i in range(query.shape[0]):
        x = np.float64(query[i])
        y = np.float64(row[i])
        dot += x * y
        a += x * x
        b += y * y
    return max(0.0, 1.0 - dot / math.sqrt(a * b))


@jit
def _load_query(metric: Any, vector: Any, out: Any) -> None:
    scale = 1.0
    if metric == COSINE:
        total = 0.0
        for i in range(vector.shape[0]):
            total += np.float64(vector[i]) * np.float64(vector[i])
        scale = 1.0 / math.sqrt(total)
    for i in range(vector.shape[0]):
        out[i] = np.float32(vector[i] * scale)


@jit
def _record(arena: Any, table: Any, number: Any) -> Any:
    size = arena.shape[1]
    block = number // size
    return arena[table[block], number - block * size]


@jit
def _is_live(graph: Any, slot: Any) -> Any:
    slots = graph.live.shape[1] * 8
    block = slot // slots
    within = slot - block * slots
    return (graph.live[graph.live_table[block], within >> 3] >> (within & 7)) & 1


@jit
def _new_tag(scratch: Any) -> Any:
    tag = scratch.tag[0] + 1
    if tag > 65535:
        scratch.visited[:] = 0
        scratch.visited_upper[:] = 0
        tag = 1
    scratch.tag[0] = tag
    return np.uint16(tag)


@jit
def _record_of(graph: Any, layer: Any, node: Any) -> Any:
    if layer > 0:
        return _record(graph.upper, graph.upper_table, node)
    return _record(graph.links, graph.links_table, node)


@jit
def _slot_of(graph: Any, layer: Any, node: Any) -> Any:
    if layer > 0:
        return np.int64(_record(graph.upper, graph.upper_table, node)[SLOT])
    return np.int64(node)


@jit
def _meet(graph: Any, layer: Any, node: Any, tag: Any, scratch: Any) -> Any:
    """Gather the neighbours of a node that this beam has not met; their number."""
    visited = scratch.visited_upper if layer > 0 else scratch.visited
    record = _record_of(graph, layer, node)
    count = 0
    for i in range(HEAD, record.shape[0]):
        other = np.int64(record[i])
        if other < 0:
            break
        if visited[other] != tag:
            visited[other] = tag
            scratch.fresh[count] = other
            count += 1
    return count


@jit
def _pool(scratch: Any, size: Any, distance: Any, entry: Any) -> Any:
    """Put an entry into the sorted pool, which has room for it; its place."""
    distances = scratch.pool_distance
    nodes = scratch.pool_node
    low = 0
    high = size
    while low < high:
        middle = (low + high) >> 1
        if distances[middle] <= distance:
            low = middle + 1
        else:
            high = middle
    for i in range(size, low, -1):
        distances[i] = distances[i - 1]
        nodes[i] = nodes[i - 1]
    distances[low] = distance
    nodes[low] = entry
    return low


@jit
def _beam(graph: Any, layer: Any, size: Any, ef: Any, scratch: Any) -> Any:
    """Algorithm 2: the nearest to `scratch.query` on one layer, from the first `size` entries of the pool.

    The pool is sorted by distance and ends at its `ef`-th live entry; dead entries conduct and are dropped from
    its far end only. Returns (entries in the pool, distances computed).
    """
    distances = scratch.pool_distance
    nodes = scratch.pool_node
    fresh = scratch.fresh
    visited = scratch.visited_upper if layer > 0 else scratch.visited
    tag = _new_tag(scratch)
    capacity = nodes.shape[0]
    live = 0
    for i in range(size):
        nodes[i] &= ~EXPANDED
        visited[nodes[i] >> 2] = tag
        live += (nodes[i] & DEAD) == 0
    compared = 0
    at = 0
    while at < size:
        if nodes[at] & EXPANDED:
            at += 1
            continue
        nodes[at] |= EXPANDED
        count = _meet(graph, layer, nodes[at] >> 2, tag, scratch)
        compared += count
        lowest = at + 1
        for i in range(count):
            node = fresh[i]
            slot = _slot_of(graph, layer, node)
            distance = _near(graph.metric, scratch.query, graph.vectors[slot])
            if live >= ef and distance >= distances[size - 1]:
                continue
            if size == capacity:
                if distance >= distances[size - 1]:
                    continue
                size -= 1
                live -= (nodes[size] & DEAD) == 0
            alive = _is_live(graph, slot)
            place = _pool(scratch, size, distance, node * 4 + (0 if alive else DEAD))
            size += 1
            live += alive
            while live >= ef and (live > ef or nodes[size - 1] & DEAD):
                size -= 1
                live -= (nodes[size] & DEAD) == 0
            lowest = min(lowest, place)
        at = lowest
    return size, compared


@jit
def _start(graph: Any, layer: Any, node: Any, scratch: Any) -> Any:
    """Make the entry point the pool's only entry; returns their number."""
    slot = _slot_of(graph, layer, node)
    scratch.pool_distance[0] = _near(graph.metric, scratch.query, graph.vectors[slot])
    scratch.pool_node[0] = node * 4 + (0 if _is_live(graph, slot) else DEAD)
    return np.int64(1)


@jit
def _descend(graph: Any, layer: Any, size: Any, scratch: Any) -> None:
    """Turn the pool's entries of `layer` into the same slots one layer down."""
    for i in range(size):
        node = scratch.pool_node[i] >> 2
        below = node - 1 if layer > 1 else _slot_of(graph, layer, node)
        scratch.pool_node[i] = below * 4 + (scratch.pool_node[i] & DEAD)


@jit
def _greedy(graph: Any, layer: Any, scratch: Any) -> Any:
    """Algorithm 2 with ef = 1 from the pool's first entry, on a layer above the base."""
    best = scratch.pool_node[0] >> 2
    best_distance = scratch.pool_distance[0]
    compared = 0
    moved = True
    while moved:
        moved = False
        record = _record(graph.upper, graph.upper_table, best)
        for i in range(HEAD, record.shape[0]):
            node = np.int64(record[i])
            if node < 0:
                break
            slot = _slot_of(graph, layer, node)
            distance = _near(graph.metric, scratch.query, graph.vectors[slot])
            compared += 1
            if distance < best_distance:
                best_distance = distance
                best = node
                moved = True
    dead = 0 if _is_live(graph, _slot_of(graph, layer, best)) else DEAD
    scratch.pool_distance[0] = best_distance
    scratch.pool_node[0] = best * 4 + dead
    return compared


@Kernel
def search(
    graph: Any,
    entry_layer: Any,
    entry_node: Any,
    queries: Any,
    k: Any,
    ef: Any,
    scratch: Any,
    slots: Any,
    distances: Any,
    counts: Any,
) -> Any:
    """Algorithm 5 for each row of `queries` (n, dim) float32.

    Fills `slots` (n, k) int32, `distances` (n, k) float64 on the public scale, ascending by (distance, slot), and
    `counts` (n,) int64. Only live slots are returned. Returns the number of distances computed.
    """
    compared = 0
    for number in range(queries.shape[0]):
        vector = queries[number]
        _load_query(graph.metric, vector, scratch.query)
        layer = entry_layer
        size = _start(graph, layer, entry_node, scratch)
        while layer > 0:
            compared += _greedy(graph, layer, scratch)
            _descend(graph, layer, size, scratch)
            layer -= 1
        size, steps = _beam(graph, layer, size, ef, scratch)
        compared += steps + 1
        found = 0
        for i in range(size):
            node = scratch.pool_node[i]
            if node & DEAD:
                continue
            slot = node >> 2
            distance = _exact(graph.metric, vector, graph.vectors[slot])
            if found == k:
                last = distances[number, k - 1]
                if distance > last or (distance == last and slot > slots[number, k - 1]):
                    continue
            else:
                found += 1
            at = found - 1
            while at > 0 and (
                distances[number, at - 1] > distance
                or (distances[number, at - 1] == distance and slots[number, at - 1] > slot)
            ):
                distances[number, at] = distances[number, at - 1]
                slots[number, at] = slots[number, at - 1]
                at -= 1
            distances[number, at] = distance
            slots[number, at] = slot
        counts[number] = found
    return compared


@jit
def _own(arena: Any, table: Any, owner: Any, number: Any) -> Any:
    """The record `number`, in a block that the writer may change: cloned the first time it is asked for."""
    size = arena.shape[1]
    block = number // size
    place = table[block]
    if owner.epochs[place] < owner.state[EPOCH]:
        owner.state[FREE] -= 1
        clone = owner.free[owner.state[FREE]]
        for i in range(size):
            for j in range(arena.shape[2]):
                arena[clone, i, j] = arena[place, i, j]
        owner.epochs[clone] = owner.state[EPOCH]
        table[block] = clone
        place = clone
    return arena[place, number - block * size]


@jit
def _own_of(graph: Any, owners: Any, layer: Any, node: Any) -> Any:
    if layer > 0:
        return _own(graph.upper, graph.upper_table, owners[1], node)
    return _own(graph.links, graph.links_table, owners[0], node)


@jit
def _pair(graph: Any, a: Any, b: Any, scale: Any) -> Any:
    """As `_near`, between two stored rows; `scale` is the product of their inverse lengths under cosine."""
    if graph.metric == L2:
        return _squared(graph.vectors[a], graph.vectors[b])
    if graph.metric == IP:
        return -_dot(graph.vectors[a], graph.vectors[b])
    return np.float32(1.0) - _dot(graph.vectors[a], graph.vectors[b]) * scale


@jit
def _inverse_length(graph: Any, slot: Any) -> Any:
    if graph.metric != COSINE:
        return np.float32(1.0)
    return np.float32(1.0) / np.sqrt(_dot(graph.vectors[slot], graph.vectors[slot]))


@jit
def _select(graph: Any, layer: Any, count: Any, limit: Any, alpha: Any, scratch: Any) -> Any:
    """Algorithm 4 on the first `count` candidates, nearest first: places at most `limit` of them in `scratch.chosen`.

    A candidate marked as kept is always chosen. Others are chosen when no chosen one is nearer to them (by the
    factor alpha) than the row is.
    """
    distances = scratch.candidate_distance
    nodes = scratch.candidate_node
    scales = scratch.candidate_scale
    kept = scratch.candidate_kept
    chosen = scratch.chosen
    room = limit
    for i in range(count):
        room -= kept[i] == KEPT
        scales[i] = 0.0
    total = 0
    for i in range(count):
        if total == limit:
            break
        if kept[i] != KEPT and room <= 0:
            continue
        slot = _slot_of(graph, layer, nodes[i])
        scales[i] = _inverse_length(graph, slot)
        take = True
        if kept[i] != KEPT:
            for j in range(total):
                other = chosen[j]
                between = _pair(graph, slot, _slot_of(graph, layer, nodes[other]), scales[i] * scales[other])
                if alpha * between <= distances[i]:
                    take = False
                    break
        if take:
            room -= kept[i] != KEPT
            kept[i] |= CHOSEN
            chosen[total] = i
            total += 1
    for i in range(total):
        chosen[i] = nodes[chosen[i]]
    return total


@jit
def _fill(count: Any, total: Any, limit: Any, scratch: Any) -> Any:
    """Algorithm 4's keepPrunedConnections: the nearest of the pruned candidates take the places left."""
    for i in range(count):
        if total == limit:
            break
        if scratch.candidate_kept[i] < CHOSEN:
            scratch.chosen[total] = scratch.candidate_node[i]
            total += 1
    return total


@jit
def _add_candidate(count: Any, distance: Any, node: Any, kept: Any, scratch: Any) -> Any:
    """Insert into the sorted candidates; the farthest falls off when they are full."""
    distances = scratch.candidate_distance
    nodes = scratch.candidate_node
    if count == nodes.shape[0]:
        if distance >= distances[count - 1]:
            return count
        count -= 1
    at = count
    while at > 0 and distances[at - 1] > distance:
        distances[at] = distances[at - 1]
        nodes[at] = nodes[at - 1]
        scratch.candidate_kept[at] = scratch.candidate_kept[at - 1]
        at -= 1
    distances[at] = distance
    nodes[at] = node
    scratch.candidate_kept[at] = kept
    return count + 1


@jit
def _candidates(graph: Any, layer: Any, size: Any, extend: Any, scratch: Any) -> Any:
    """The pool's live entries as candidates, all of them where none is live; with their neighbours if `extend`."""
    live = 0
    for i in range(size):
        live += (scratch.pool_node[i] & DEAD) == 0
    count = 0
    for i in range(size):
        if live == 0 or (scratch.pool_node[i] & DEAD) == 0:
            scratch.candidate_distance[count] = scratch.pool_distance[i]
            scratch.candidate_node[count] = scratch.pool_node[i] >> 2
            scratch.candidate_kept[count] = 0
            count += 1
            if count == scratch.candidate_node.shape[0]:
                break
    if extend:
        tag = _new_tag(scratch)
        visited = scratch.visited_upper if layer > 0 else scratch.visited
        for i in range(size):
            visited[scratch.pool_node[i] >> 2] = tag
        for i in range(size):
            record = _record_of(graph, layer, scratch.pool_node[i] >> 2)
            for j in range(HEAD, record.shape[0]):
                node = np.int64(record[j])
                if node < 0:
                    break
                if visited[node] == tag:
                    continue
                visited[node] = tag
                slot = _slot_of(graph, layer, node)
                if live == 0 or _is_live(graph, slot):
                    distance = _near(graph.metric, scratch.query, graph.vectors[slot])
                    count = _add_candidate(count, distance, node, 0, scratch)
    return count


@jit
def _attach(
    graph: Any, owners: Any, layer: Any, host: Any, node: Any, distance: Any, adopt: Any, build: Any, scratch: Any
) -> Any:
    """Add `node` to the neighbours of `host`, pruning them where they overflow (Algorithm 1, lines 11 to 16).

    With `adopt`, on the base layer, `host` is to become the parent of `node` and keep it; returns False when all its
    links are links of the tree, so that it has no room for a child.
    """
    record = _record_of(graph, layer, host)
    limit = record.shape[0] - HEAD
    degree = 0
    while degree < limit and record[HEAD + degree] >= 0:
        degree += 1
    if degree < limit:
        _own_of(graph, owners, layer, host)[HEAD + degree] = node
        return True
    host_slot = _slot_of(graph, layer, host)
    host_scale = _inverse_length(graph, host_slot)
    count = 0
    tree = 0
    for i in range(degree):
        other = np.int64(record[HEAD + i])
        slot = _slot_of(graph, layer, other)
        kept = 0
        if layer == 0:
            parent = _record(graph.links, graph.links_table, other)[PARENT]
            kept = KEPT if (parent == host or record[PARENT] == other) else 0
        tree += kept
        near = _pair(graph, host_slot, slot, host_scale * _inverse_length(graph, slot))
        count = _add_candidate(count, near, other, kept, scratch)
    if tree >= limit:
        return False
    count = _add_candidate(count, distance, node, KEPT if adopt else 0, scratch)
    total = _select(graph, layer, count, limit, build.alpha, scratch)
    record = _own_of(graph, owners, layer, host)
    for i in range(limit):
        record[HEAD + i] = scratch.chosen[i] if i < total else -1
    return True


@jit
def _link(graph: Any, owners: Any, layer: Any, node: Any, size: Any, build: Any, scratch: Any) -> None:
    """Give `node` its neighbours on a layer out of the pool, and it to them; on the base layer, find it a parent."""
    count = _candidates(graph, layer, size, build.extend, scratch)
    total = _select(graph, layer, count, build.m, build.alpha, scratch)
    if build.keep_pruned:
        total = _fill(count, total, build.m, scratch)
    hosts = scratch.hosts
    record = _own_of(graph, owners, layer, node)
    for i in range(total):
        hosts[i] = scratch.chosen[i]
        record[HEAD + i] = hosts[i]
    orphan = layer == 0
    other_host = np.int64(node)
    i = 0
    while i < total or (orphan and other_host > 0):
        if i < total:
            host = hosts[i]
        else:
            # Every chosen neighbour's links are tree links: any row of the graph that has room will do.
            other_host -= 1
            host = other_host
            other = _record(graph.links, graph.links_table, host)
            if other[HEAD] < 0 and other[PARENT] < 0:
                i += 1
                continue
        near = _near(graph.metric, scratch.query, graph.vectors[_slot_of(graph, layer, host)])
        if _attach(graph, owners, layer, host, node, near, orphan, build, scratch) and orphan:
            orphan = False
            record = _own_of(graph, owners, layer, node)
            record[PARENT] = host
            if i >= total:
                record[HEAD + max(total - 1, 0)] = host
        i += 1


@Kernel
def insert(
    graph: Any,
    links_owner: Any,
    upper_owner: Any,
    first: Any,
    stop: Any,
    levels: Any,
    entries: Any,
    entry: Any,
    build: Any,
    scratch: Any,
) -> Any:
    """Algorithm 1 for the slots `first` to `stop`, in order; a slot that is not live gets no links.

    `levels[slot - first]` is a slot's highest layer, `entries[slot - first]` its first upper entry, whose records
    exist already. `entry` is (layer, node) of the entry point, (-1, -1) in an empty graph, and is updated.
    Stops early when a row might need more blocks than are free; returns the first slot not inserted.
    """
    owners = (links_owner, upper_owner)
    for slot in range(first, stop):
        if not _is_live(graph, slot):
            continue
        level = np.int64(levels[slot - first])
        if links_owner.state[FREE] < build.m + 2 or upper_owner.state[FREE] < (build.m + 1) * level + 1:
            return slot
        base = np.int64(entries[slot - first])
        for layer in range(level, -1, -1):
            record = _own_of(graph, owners, layer, base + layer - 1 if layer > 0 else slot)
            for i in range(record.shape[0]):
                record[i] = -1
            if layer > 0:
                record[SLOT] = slot
                record[LAYER] = layer
            elif level > 0:
                record[UPPER] = base
        if entry[1] >= 0:
            _load_query(graph.metric, graph.vectors[slot], scratch.query)
            layer = entry[0]
            size = _start(graph, layer, entry[1], scratch)
            while layer > level:
                _greedy(graph, layer, scratch)
                _descend(graph, layer, size, scratch)
                layer -= 1
            while layer >= 0:
                size, _ = _beam(graph, layer, size, build.ef, scratch)
                _link(graph, owners, layer, base + layer - 1 if layer > 0 else slot, size, build, scratch)
                if layer > 0:
                    _descend(graph, layer, size, scratch)
                layer -= 1
        if level > entry[0] or entry[1] < 0:
            entry[0] = level
            entry[1] = base + level - 1 if level > 0 else slot
    return stop
