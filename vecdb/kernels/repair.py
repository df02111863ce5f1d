"""Taking dead rows out of the graph, compiled.

1. `mend`: each live node that points at dead ones is offered their neighbours, through chains of dead ones too, and
   chooses among them (Algorithm 4) for the places of the dead. Nodes are independent of each other. FreshDiskANN
   (Singh et al., arXiv:2105.09613) lets a node choose among its own neighbours anew, too: then lists grow shorter, and
   recall on patches was 0.02 below that of a fresh graph after eight rounds of a tenth.
2. `adopt`: slots whose parents are to go are found new ones, so that the tree goes on to span the graph. Nothing is
   written. Cheap; one thread.
3. `graft`: they take them.

`graph`, `build` and `scratch` are addresses of a Struct.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vecdb.kernels.build import EF, LIMIT, NO_NODE, root_of, select, tree_links
from vecdb.kernels.distance import distance_to, load_row
from vecdb.kernels.graph import EXPANDED, capacity, is_live, put, record, slot_of, visit
from vecdb.kernels.jit import Kernel, inline, jit, paste
from vecdb.kernels.layout import CANDIDATES, CHOSEN, FLAGS, FRESH, HEAD, PARENT, POOL_SIZE, VISITED, VISITED_WORDS
from vecdb.kernels.memory import field, get_i32, get_i64, get_u8, set_i32, set_i64, set_u8
from vecdb.kernels.simd import sort_key


@paste
def _unvisit(layer: Any, node: Any, scratch: Any) -> None:
    """Take back the marks of a node and its neighbours in number."""
    place = node if layer == 0 else (field(scratch, VISITED_WORDS) << 6) - 1 - node
    set_i64(field(scratch, VISITED), place >> 6, np.int64(0))


@paste
def _list(graph: Any, layer: Any, node: Any, count: Any, scratch: Any) -> Any:
    """Gather the neighbours of a node that were not met before, after `count` others, as far as there is room."""
    here = record(graph, layer, node)
    fresh = field(scratch, FRESH)
    room = field(scratch, POOL_SIZE)
    for i in range(HEAD, HEAD + capacity(graph, layer)):
        other = get_i32(here, i)
        if other < 0 or count == room:
            break
        set_i64(fresh, count, other)
        count += visit(layer, other, scratch)
    return count


@inline
def _key(graph: Any, layer: Any, node: Any, scratch: Any) -> Any:
    return sort_key(distance_to(graph, slot_of(graph, layer, node), scratch)) | (node << 2)


@Kernel
def mend(graph: Any, layer: Any, nodes: Any, start: Any, stop: Any, build: Any, scratch: Any) -> None:
    """Fill the places of dead neighbours of live nodes: nodes[i], `start` <= i < `stop`, the address of int64 numbers.

    `layer` is 0 where nodes are slots, 1 where they are entries of layers above. Live neighbours stay, and so do links
    of the tree to dead ones. The writer owns the nodes' blocks.
    """
    fresh = field(scratch, FRESH)
    candidates = field(scratch, CANDIDATES)
    chosen = field(scratch, CHOSEN)
    flags = field(scratch, FLAGS)
    most = field(build, EF)
    room = capacity(graph, layer)
    for i in range(field(scratch, VISITED_WORDS)):
        set_i64(field(scratch, VISITED), i, np.int64(0))
    for number in range(start, stop):
        node = get_i64(nodes, number)
        here = record(graph, layer, node)
        load_row(graph, slot_of(graph, layer, node), scratch)
        parent = get_i32(here, PARENT) if layer == 0 else np.int64(NO_NODE)
        visit(layer, node, scratch)
        own = _list(graph, layer, node, np.int64(0), scratch)
        met = own
        count = np.int64(0)
        kept = np.int64(0)
        at = np.int64(0)
        while at < met:
            other = get_i64(fresh, at)
            live = is_live(graph, slot_of(graph, layer, other))
            if not live:
                met = _list(graph, layer, other, met, scratch)
            # The parent of a candidate is not looked at: its record may be far from any cache.
            held = at < own and live
            if at < own and not live and layer == 0:
                held = other == parent or get_i32(record(graph, layer, other), PARENT) == node
            if held:
                set_i64(chosen, kept, other)
                kept += 1
            elif live:
                key = _key(graph, layer, other, scratch)
                if count < most or key < get_i64(candidates, count - 1):
                    count -= count == most
                    put(candidates, count, key)
                    count += 1
            at += 1
        for i in range(kept):
            # Keys are moved as they are sorted: the bit of an expanded one marks a kept one meanwhile.
            put(candidates, count, _key(graph, layer, get_i64(chosen, i), scratch) | EXPANDED)
            count += 1
        for i in range(count):
            set_u8(flags, i, get_i64(candidates, i) & EXPANDED)
        _unvisit(layer, node, scratch)
        for i in range(met):
            _unvisit(layer, get_i64(fresh, i), scratch)
        limit = max(field(build, LIMIT + np.int64(layer > 0)), own)
        count = select(graph, layer, count, limit, build, scratch)
        for i in range(room):
            set_i32(here, HEAD + i, get_i64(chosen, i) if i < count else np.int64(NO_NODE))


@jit
def _has_room(graph: Any, node: Any, doomed: Any, adopted: Any, limit: Any) -> Any:
    """Whether a slot stays in the graph and has a link to spare for the tree."""
    here = record(graph, np.int64(0), node)
    if get_u8(doomed, node) or get_i32(here, HEAD) < 0:
        return False
    return tree_links(graph, node) + get_i32(adopted, node) < limit


@jit
def _child_above(graph: Any, node: Any, slot: Any, orphans: Any, count: Any) -> Any:
    """A child of `node` with a higher number than `slot`, that is no orphan yet; -1 where there is none."""
    here = record(graph, np.int64(0), node)
    for i in range(HEAD, HEAD + capacity(graph, np.int64(0))):
        other = get_i32(here, i)
        if other < 0:
            break
        if other > slot and get_i32(record(graph, np.int64(0), other), PARENT) == node:
            known = False
            for j in range(count):
                known |= get_i64(orphans, j) == other
            if not known:
                return other
    return np.int64(NO_NODE)


@jit
def _find_foster(graph: Any, slot: Any, doomed: Any, adopted: Any, limit: Any) -> Any:
    """A slot of a lower number and the same tree with a link to spare: a live neighbour or else one near in number."""
    here = record(graph, np.int64(0), slot)
    for i in range(HEAD, HEAD + capacity(graph, np.int64(0))):
        other = get_i32(here, i)
        if other < 0:
            break
        if other < slot and is_live(graph, other) and _has_room(graph, other, doomed, adopted, limit):
            return other
    for other in range(slot - 1, root_of(graph, slot) - 1, -1):
        if _has_room(graph, other, doomed, adopted, limit):
            return other
    return np.int64(NO_NODE)


@Kernel
def adopt(graph: Any, orphans: Any, parents: Any, count: Any, doomed: Any, adopted: Any, build: Any) -> Any:
    """Find each of the first `count` orphans a parent that stays, -1 for who becomes a root. Returns their number.

    All are addresses: of ascending int64 slots, with room for as many more as there are slots; of their int64 parents,
    to be filled; of a byte for each slot that tells whether it goes; of an int32 for each slot, all 0.

    Where every lower slot has all the children that it can have, an orphan takes the place of a child of one of them
    that is higher than itself, which becomes an orphan. So orphans are served in ascending order: of n lower slots,
    the places that lower ones hold are then fewer than there are, and the highest slot always finds one.
    """
    limit = field(build, LIMIT)
    number = np.int64(0)
    while number < count:
        slot = get_i64(orphans, number)
        parent = _find_foster(graph, slot, doomed, adopted, limit)
        if parent >= 0:
            set_i32(adopted, parent, get_i32(adopted, parent) + 1)
        else:
            root = root_of(graph, slot)
            other = slot - 1
            while parent < 0 and other >= root:
                if not get_u8(doomed, other) and get_i32(record(graph, np.int64(0), other), HEAD) >= 0:
                    child = _child_above(graph, other, slot, orphans, count)
                    if child >= 0:
                        parent = other
                        if not get_u8(doomed, child):
                            put(orphans, count, child)
                            count += 1
                other -= 1
        set_i64(parents, number, parent)
        number += 1
    return count


@jit
def _replace(graph: Any, slot: Any, old: Any, new: Any) -> None:
    """Put `new` in the place of a neighbour that a slot has; take that out where `new` is -1 or known."""
    here = record(graph, np.int64(0), slot)
    last = np.int64(0)
    place = np.int64(NO_NODE)
    known = new < 0
    while last < capacity(graph, np.int64(0)) and get_i32(here, HEAD + last) >= 0:
        other = get_i32(here, HEAD + last)
        known |= other == new
        if other == old:
            place = last
        last += 1
    if place < 0:
        return
    set_i32(here, HEAD + place, get_i32(here, HEAD + last - 1) if known else new)
    if known:
        set_i32(here, HEAD + last - 1, np.int64(NO_NODE))


@Kernel
def graft(graph: Any, orphans: Any, parents: Any, count: Any) -> None:
    """Give orphans their parents, in the place of the old ones. The writer owns the blocks of both."""
    for number in range(count):
        slot = get_i64(orphans, number)
        parent = get_i64(parents, number)
        here = record(graph, np.int64(0), slot)
        old = get_i32(here, PARENT)
        set_i32(here, PARENT, parent)
        _replace(graph, slot, old, parent)
        _replace(graph, old, slot, np.int64(NO_NODE))
