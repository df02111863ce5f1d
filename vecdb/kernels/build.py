"""Linking rows into the graph, compiled: a batch at a time, without locks.

A batch is linked in three phases, as in ParlayANN (Manohar et al., arXiv:2305.04359):

1. `choose`: each row searches the graph as it was before the batch, adds the other rows of the batch to what it found,
   and chooses its neighbours (Algorithm 4). Rows are independent of each other.
2. `settle`: rows take the lists they chose, and each finds its parent. Cheap; one thread.
3. `attach`: every node that was chosen adds those who chose it, and prunes its list where it overflows. Nodes are
   independent of each other.

So the graph does not depend on how many threads share the phases. A single row is a batch of one. `graph`, `batch`,
`build` and `scratch` are addresses of a Struct.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.kernels.distance import distance_to, fetch_row, load_row
from vecdb.kernels.graph import (
    DEAD,
    EXPANDED,
    beam,
    capacity,
    descend,
    enter,
    is_live,
    key_of,
    node_of,
    put,
    record,
    slot_of,
    visit,
)
from vecdb.kernels.jit import Kernel, inline, jit, paste
from vecdb.kernels.layout import CANDIDATES, CHOSEN, FLAGS, FRESH, HEAD, LAYER, PARENT, POOL
from vecdb.kernels.memory import (
    Struct,
    field,
    get_f32,
    get_i32,
    get_i64,
    get_u8,
    prefetch,
    set_i32,
    set_i64,
    set_u8,
    shift,
)
from vecdb.kernels.simd import number_of, sort_key

TAKEN: Final = 2  # a candidate's flag once it is chosen; before, 1 where it is kept in any case, or 0

# Fields of a build; those of LIMIT are for the base layer, then for the layers above.
EF, SLACK, EXTEND, LIMIT, FILL = 0, 1, 2, 3, 5

# Fields of a batch.
FIRST, STOP, FIRST_ENTRY, STOP_ENTRY, LEVELS, ENTRIES, LISTS, UPPER_LISTS = range(8)
NO_NODE: Final = -1


def new_build(ef: int, slack: float, extend: bool, limits: tuple[int, int], fill: bool) -> Struct:
    """How a graph is built: by a beam of `ef`; a candidate is pruned when slack * d(chosen, candidate) <=
    d(row, candidate), as walks measure it; with Algorithm 4's extendCandidates; for the base layer and for those
    above, how many neighbours pruning leaves a node; whether the nearest pruned are taken back up to there."""
    return Struct(ef, np.array([slack], np.float32), int(extend), *limits, int(fill))


def new_batch(
    slots: tuple[int, int],
    entries: tuple[int, int],
    levels: NDArray[np.int64],
    first_entries: NDArray[np.int64],
    lists: NDArray[np.int32],
    upper_lists: NDArray[np.int32],
) -> Struct:
    """Rows to link together: the slots and the upper entries from the first to before the second number, which have
    their records. By slot, `levels` is its highest layer, `first_entries` its first entry. `lists` (slots, LIMIT) and
    `upper_lists` (entries, LIMIT) take the neighbours that they choose, ended by the first -1."""
    return Struct(*slots, *entries, levels, first_entries, lists, upper_lists)


@jit
def select(graph: Any, layer: Any, count: Any, limit: Any, build: Any, scratch: Any) -> Any:
    """Algorithm 4 on the first `count` candidates, nearest first; how many nodes it chose, at most `limit`.

    A candidate marked as kept is always chosen; others when no chosen one is nearer to them (by the slack) than the
    row is, while there is room. The nearest of the pruned then take the places left.
    """
    fill = limit if field(build, FILL) else np.int64(0)
    slack = get_f32(field(build, SLACK), 0)
    candidates = field(scratch, CANDIDATES)
    flags = field(scratch, FLAGS)
    chosen = field(scratch, CHOSEN)
    room = limit
    for i in range(count):
        room -= get_u8(flags, i)  # 1 where it is kept
    total = np.int64(0)
    for i in range(count):
        if total == limit:
            break
        kept = get_u8(flags, i)
        if not kept and room <= 0:
            continue
        key = get_i64(candidates, i)
        take = True
        if not kept:
            load_row(graph, slot_of(graph, layer, node_of(key)), scratch)
            bound = number_of(key)
            for j in range(total):
                other = slot_of(graph, layer, get_i64(chosen, j))
                if slack * distance_to(graph, other, scratch) <= bound:
                    take = False
                    break
        if take:
            room -= 1 - kept
            set_u8(flags, i, np.int64(TAKEN))
            set_i64(chosen, total, node_of(key))
            total += 1
    for i in range(count):
        if total >= fill:
            break
        if get_u8(flags, i) != TAKEN:
            set_i64(chosen, total, node_of(get_i64(candidates, i)))
            total += 1
    return total


@inline
def _add(graph: Any, layer: Any, node: Any, count: Any, limit: Any, scratch: Any) -> Any:
    """Put a node among the candidates, if it is live and near enough; how many there are."""
    candidates = field(scratch, CANDIDATES)
    slot = slot_of(graph, layer, node)
    key = sort_key(distance_to(graph, slot, scratch)) | (node << 2)
    if (count == limit and key >= get_i64(candidates, count - 1)) or not is_live(graph, slot):
        return count
    if count == limit:
        count -= 1
    put(candidates, count, key)
    return count + 1


@paste
def _add_neighbours(graph: Any, layer: Any, count: Any, limit: Any, scratch: Any) -> Any:
    """Algorithm 4's extendCandidates: the neighbours of candidates become candidates."""
    known = field(scratch, CHOSEN)
    for i in range(count):
        node = node_of(get_i64(field(scratch, CANDIDATES), i))
        visit(layer, node, scratch)
        set_i64(known, i, node)
    total = count
    for i in range(count):
        here = record(graph, layer, get_i64(known, i))
        for j in range(HEAD, HEAD + capacity(graph, layer)):
            other = get_i32(here, j)
            if other < 0:
                break
            if visit(layer, other, scratch):
                total = _add(graph, layer, other, total, limit, scratch)
    return total


@paste
def _choose(graph: Any, layer: Any, node: Any, size: Any, batch: Any, build: Any, scratch: Any) -> None:
    """Choose the neighbours of a new node on a layer, out of the pool's first `size` keys and of the batch."""
    ef = field(build, EF)
    pool = field(scratch, POOL)
    candidates = field(scratch, CANDIDATES)
    first = field(batch, FIRST)
    count = np.int64(0)
    for i in range(size):
        key = get_i64(pool, i)
        if key & DEAD == 0 and count < ef:
            set_i64(candidates, count, key & ~EXPANDED)
            count += 1
    nearest = node_of(get_i64(candidates if count > 0 else pool, 0))
    low, high = first, field(batch, STOP)
    if layer > 0:
        low, high = field(batch, FIRST_ENTRY), field(batch, STOP_ENTRY)
    for other in range(low, high):
        if other != node and (layer == 0 or get_i32(record(graph, layer, other), LAYER) == layer):
            count = _add(graph, layer, other, count, ef, scratch)
    if count == 0:
        # Nothing lives: the nearest of the dead, lest the row be cut off.
        count = min(size, field(build, LIMIT))
        for i in range(count):
            set_i64(candidates, i, get_i64(pool, i) & ~EXPANDED)
    if field(build, EXTEND):
        count = _add_neighbours(graph, layer, count, ef, scratch)
    for i in range(count):
        set_u8(field(scratch, FLAGS), i, np.int64(0))
    limit = field(build, LIMIT + np.int64(layer > 0))
    count = select(graph, layer, count, limit, build, scratch)
    chosen = field(scratch, CHOSEN)
    if layer == 0:
        # A parent is needed, and the rows of the batch are not in the graph yet.
        known = False
        for i in range(count):
            known |= get_i64(chosen, i) < first
        if not known:
            set_i64(chosen, count - 1, nearest)
        out = shift(field(batch, LISTS), (node - first) * limit, 4)
    else:
        out = shift(field(batch, UPPER_LISTS), (node - low) * limit, 4)
    for i in range(limit):
        set_i32(out, i, get_i64(chosen, i) if i < count else np.int64(NO_NODE))


@Kernel
def choose(
    graph: Any, entry_layer: Any, entry_node: Any, batch: Any, start: Any, stop: Any, build: Any, scratch: Any
) -> None:
    """Phase 1 for the slots `start` to `stop` of the batch; those without a vector choose nothing.

    The graph has the entry point (entry_layer, entry_node).
    """
    for slot in range(start, stop):
        if not is_live(graph, slot):
            continue
        number = slot - field(batch, FIRST)
        level = get_i64(field(batch, LEVELS), number)
        load_row(graph, slot, scratch)
        enter(graph, entry_layer, entry_node, scratch)
        size = np.int64(1)
        layer = max(level, entry_layer)
        while layer >= 0:
            known = layer <= entry_layer
            if known:
                none = np.int64(0)
                ef = field(build, EF) if layer <= level else np.int64(1)
                size, _ = beam(graph, layer, size, none, ef, none, none, none, scratch)
            if layer <= level:
                node = get_i64(field(batch, ENTRIES), number) + layer - 1 if layer > 0 else slot
                _choose(graph, layer, node, size if known else np.int64(0), batch, build, scratch)
                load_row(graph, slot, scratch)  # it has compared others
            else:
                size = np.int64(1)
            if known and layer > 0:
                descend(graph, layer, size, scratch)
            layer -= 1


@jit
def tree_links(graph: Any, node: Any) -> Any:
    """How many links at a node belong to the tree."""
    here = record(graph, np.int64(0), node)
    count = np.int64(get_i32(here, PARENT) >= 0)
    for i in range(HEAD, HEAD + capacity(graph, np.int64(0))):
        other = get_i32(here, i)
        if other < 0:
            break
        count += get_i32(record(graph, np.int64(0), other), PARENT) == node
    return count


@jit
def root_of(graph: Any, slot: Any) -> Any:
    """The root, and lowest slot, of the tree that a slot is in."""
    parent: Any = np.int64(slot)
    while parent >= 0:
        slot = parent
        parent = get_i32(record(graph, np.int64(0), slot), PARENT)
    return slot


@paste
def _find_parent(graph: Any, chosen: Any, first: Any, limit: Any, adopted: Any) -> Any:
    """The first of a row's chosen neighbours that was in the graph before the batch and has a link to spare for the
    tree; where none has, another node, which takes the place of the last chosen."""
    last: Any = np.int64(0)
    known: Any = np.int64(NO_NODE)
    for i in range(limit):
        other = get_i32(chosen, i)
        if other < 0:
            break
        last = i
        if other < first:
            known = other
            if tree_links(graph, other) + get_i32(adopted, other) < limit:
                return other
    # Most nodes have no children at all, so one that has room is near in number. Below the root are trees of the dead.
    root = root_of(graph, known)
    while True:
        known = known - 1 if known > root else first - 1
        in_graph = get_i32(record(graph, np.int64(0), known), HEAD) >= 0
        if in_graph and tree_links(graph, known) + get_i32(adopted, known) < limit:
            set_i32(chosen, last, known)
            return known


@Kernel
def settle(graph: Any, batch: Any, build: Any, adopted: Any) -> None:
    """Phase 2: write the lists of a batch, in blocks that the writer owns, and find each row a parent.

    `adopted`, the address of (slots,) int32, all 0 before and after, counts the children that nodes get in this batch.
    """
    first = field(batch, FIRST)
    limit = field(build, LIMIT)
    for slot in range(first, field(batch, STOP)):
        chosen = shift(field(batch, LISTS), (slot - first) * limit, 4)
        if get_i32(chosen, 0) < 0:
            continue
        parent = _find_parent(graph, chosen, first, limit, adopted)
        set_i32(adopted, parent, get_i32(adopted, parent) + 1)
        here = record(graph, np.int64(0), slot)
        set_i32(here, PARENT, parent)
        for i in range(limit):
            set_i32(here, HEAD + i, get_i32(chosen, i))
    for slot in range(first, field(batch, STOP)):
        parent = get_i32(record(graph, np.int64(0), slot), PARENT)
        if parent >= 0:
            set_i32(adopted, parent, np.int64(0))
    first = field(batch, FIRST_ENTRY)
    limit = field(build, LIMIT + 1)
    for entry in range(first, field(batch, STOP_ENTRY)):
        chosen = shift(field(batch, UPPER_LISTS), (entry - first) * limit, 4)
        here = record(graph, np.int64(1), entry)
        for i in range(limit):
            set_i32(here, HEAD + i, get_i32(chosen, i))


@Kernel
def attach(
    graph: Any,
    layer: Any,
    targets: Any,
    starts: Any,
    sources: Any,
    first: Any,
    stop: Any,
    build: Any,
    scratch: Any,
) -> None:
    """Phase 3: give each node `targets[i]`, `first` <= i < `stop`, the neighbours sources[starts[i] : starts[i + 1]].

    `layer` is 0 where nodes are slots, 1 where they are entries of layers above. All three are addresses of int64
    numbers. The writer owns the targets' blocks.
    """
    room = capacity(graph, layer)
    fresh = field(scratch, FRESH)
    candidates = field(scratch, CANDIDATES)
    for number in range(first, stop):
        target = get_i64(targets, number)
        here = record(graph, layer, target)
        have = np.int64(0)
        while have < room and get_i32(here, HEAD + have) >= 0:
            have += 1
        # Who chose each other in one batch know each other already.
        new = np.int64(0)
        for i in range(get_i64(starts, number), get_i64(starts, number + 1)):
            source = get_i64(sources, i)
            known = False
            for j in range(have):
                known |= get_i32(here, HEAD + j) == source
            if not known:
                set_i64(fresh, new, source)
                new += 1
        if have + new <= room:
            for i in range(new):
                set_i32(here, HEAD + have + i, get_i64(fresh, i))
            continue
        for i in range(have):
            other = get_i32(here, HEAD + i)
            set_i64(fresh, new + i, other)
            prefetch(record(graph, layer, other), 0)
            fetch_row(graph, slot_of(graph, layer, other))
        load_row(graph, slot_of(graph, layer, target), scratch)
        parent = get_i32(here, PARENT) if layer == 0 else np.int64(NO_NODE)
        count = np.int64(0)
        for i in range(have + new):
            other = get_i64(fresh, i)
            key = key_of(graph, slot_of(graph, layer, other), other, scratch)
            kept = layer == 0 and (other == parent or get_i32(record(graph, layer, other), PARENT) == target)
            if kept or key & DEAD == 0:
                # Keys are moved as they are sorted: the bit of an expanded one marks a kept one meanwhile.
                put(candidates, count, (key & ~DEAD) | (EXPANDED if kept else 0))
                count += 1
        for i in range(count):
            set_u8(field(scratch, FLAGS), i, get_i64(candidates, i) & EXPANDED)
        count = select(graph, layer, count, field(build, LIMIT + np.int64(layer > 0)), build, scratch)
        for i in range(room):
            set_i32(here, HEAD + i, get_i64(field(scratch, CHOSEN), i) if i < count else np.int64(NO_NODE))
