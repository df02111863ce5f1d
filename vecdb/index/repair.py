"""Taking dead rows out of the graph of a column, so that the living stay as near to each other as in a new one.

A dead slot *waits* as long as it has links; until it is repaired, it conducts. Repaired, it has no links, and no walk
goes on from a link to it that may be left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.index.graph import Blocks, BlocksView, Editor, Graph, write_items
from vecdb.index.live import are_live
from vecdb.index.threads import Workers
from vecdb.kernels import repair as kernel
from vecdb.kernels.layout import HEAD, PARENT, SLOT, UPPER
from vecdb.kernels.memory import address_of
from vecdb.options import Vector

Nodes = NDArray[np.int64]

_NODES_AT_ONCE: Final = 128  # of a task of a thread
_DEAD_AT_ONCE: Final = 1024  # whose surroundings are looked through together


class Repairer(Editor):
    """Repairs dead slots: those that point at them are mended, then they are removed."""

    def __init__(
        self,
        options: Vector,
        slots: int,
        make: Callable[[], Graph],
        live: BlocksView,
        links: Blocks,
        upper: Blocks,
        workers: Workers,
    ) -> None:
        """A graph of so many `slots`; `live` are its live bits. For the rest, see `Editor`."""
        super().__init__(options, slots, make, links, upper, workers)
        self._live = live

    def repair(self, dead: Nodes) -> None:
        """Repair dead slots, ascending. Who points at them is looked for within two links of them, which finds nine out
        of ten; the links of others to them are left."""
        for start in range(0, len(dead), _DEAD_AT_ONCE):
            part = dead[start : start + _DEAD_AT_ONCE]
            self._mend(0, self._pointing_near(0, part))
            self._mend(1, self._pointing_near(1, self._entries_of(part)))
            self.remove(part)

    def mend_range(self, first: int, stop: int) -> None:
        """Mend all live slots of a range that point at dead ones, and their upper entries."""
        owners = _read(self._upper, np.arange(self._upper.count * self._upper.per_block), SLOT)
        entries = ((owners >= first) & (owners < stop)).nonzero()[0]
        for layer, nodes in ((0, np.arange(first, stop)), (1, entries)):
            live = nodes[self._is_live(layer, nodes)]
            lists = _read_lists(self._blocks(layer), live)
            links = lists >= 0
            links[links] = ~self._is_live(layer, lists[links])
            self._mend(layer, live[links.any(axis=1)])

    def remove(self, dead: Nodes) -> None:
        """Take dead slots, ascending, out of the graph. The tree is kept: each of their children that stay gets another
        parent."""
        doomed = np.zeros(self._slots, np.bool_)
        doomed[dead] = True
        lists = _read_lists(self._links, dead)
        rows, places = (lists >= 0).nonzero()
        neighbours = lists[rows, places]
        orphans = neighbours[(_read(self._links, neighbours, PARENT) == dead[rows]) & ~doomed[neighbours]]
        orphans, parents = self._adopt(np.sort(orphans), doomed)
        self._links.own_records(np.union1d(orphans, _read(self._links, orphans, PARENT).astype(np.int64)))
        struct = self._present().struct.address
        kernel.graft(struct, address_of(orphans), address_of(parents), len(orphans))
        self._clear(0, dead, doomed)
        self._attach(0, parents[parents >= 0], orphans[parents >= 0])
        entries = self._entries_of(dead)
        if len(entries):
            gone = np.zeros(self._upper.count * self._upper.per_block, np.bool_)
            gone[entries] = True
            self._clear(1, entries, gone)

    def _adopt(self, orphans: Nodes, doomed: NDArray[np.bool_]) -> tuple[Nodes, Nodes]:
        """The orphans, those that others displace among them, and their new parents."""
        room = np.empty(self._slots, np.int64)
        room[: len(orphans)] = orphans
        parents = np.empty(self._slots, np.int64)
        adopted = np.zeros(self._slots, np.int32)
        count = kernel.adopt(
            self._present().struct.address,
            address_of(room),
            address_of(parents),
            len(orphans),
            address_of(doomed.view(np.uint8)),
            address_of(adopted),
            self._build.address,
        )
        return room[:count], parents[:count]

    def _clear(self, layer: int, nodes: Nodes, gone: NDArray[np.bool_]) -> None:
        """Take all links from nodes, and those to them from their neighbours; `gone` has a flag for each node."""
        blocks = self._blocks(layer)
        lists = _read_lists(blocks, nodes)
        others = np.unique(lists[lists >= 0]).astype(np.int64)
        others = others[~gone[others]]
        lists = _read_lists(blocks, others)
        stay = (lists >= 0) & ~gone[lists]
        changed = (~stay & (lists >= 0)).any(axis=1)
        others, lists, stay = others[changed], lists[changed], stay[changed]
        order = np.argsort(~stay, axis=1, kind="stable")
        lists = np.take_along_axis(np.where(stay, lists, -1), order, axis=1)
        blocks.own_records(others)
        write_items(blocks, others, slice(HEAD, None), lists)
        blocks.own_records(nodes)
        write_items(blocks, nodes, slice(HEAD, None), -1)
        if layer == 0:
            write_items(blocks, nodes, PARENT, -1)

    def _mend(self, layer: int, nodes: Nodes) -> None:
        """Have live nodes fill the places of their dead neighbours, and those whom they chose link back."""
        blocks = self._blocks(layer)
        blocks.own_records(nodes)
        before = _read_lists(blocks, nodes)
        address = address_of(nodes)

        def mend(struct: Any, scratch: Any, start: int, stop: int) -> None:
            kernel.mend(struct, layer, address, start, stop, self._build.address, scratch)

        self._run(mend, 0, len(nodes), _NODES_AT_ONCE)
        after = _read_lists(blocks, nodes)
        rows, places = ((after >= 0) & ~(after[:, :, None] == before[:, None, :]).any(axis=2)).nonzero()
        self._attach(layer, after[rows, places], nodes[rows])

    def _pointing_near(self, layer: int, dead: Nodes) -> Nodes:
        """Live nodes within two links of dead ones that point at one of them."""
        blocks = self._blocks(layer)
        near: Nodes = dead
        for _ in range(2):
            lists = _read_lists(blocks, near)
            near = np.union1d(near, lists[lists >= 0].astype(np.int64))
        near = near[self._is_live(layer, near)]
        pointing: Nodes = near[np.isin(_read_lists(blocks, near), dead).any(axis=1)]
        return pointing

    def _is_live(self, layer: int, nodes: NDArray[Any]) -> NDArray[np.bool_]:
        slots = nodes if layer == 0 else _read(self._upper, nodes, SLOT)
        return are_live(self._live.arena, self._live.table, slots)

    def _entries_of(self, slots: Nodes) -> Nodes:
        """The upper entries of slots, ascending."""
        first = _read(self._links, slots, UPPER)
        entries = first[first >= 0].astype(np.int64)
        owners = slots[first >= 0]
        found = [entries]
        while len(entries):
            entries = entries + 1
            inside = entries < self._upper.count * self._upper.per_block
            entries, owners = entries[inside], owners[inside]
            same = _read(self._upper, entries, SLOT) == owners
            entries, owners = entries[same], owners[same]
            found.append(entries)
        return np.sort(np.concatenate(found))

    def _blocks(self, layer: int) -> Blocks:
        return self._links if layer == 0 else self._upper


def _read(blocks: Blocks, nodes: NDArray[Any], item: int) -> NDArray[np.int32]:
    """An item of nodes' records."""
    items: NDArray[np.int32] = blocks.arena[blocks.table[nodes // blocks.per_block], nodes % blocks.per_block, item]
    return items


def _read_lists(blocks: Blocks, nodes: Nodes) -> NDArray[np.int32]:
    """The neighbours of nodes, (nodes, capacity), ended by the first -1."""
    lists: NDArray[np.int32] = blocks.arena[blocks.table[nodes // blocks.per_block], nodes % blocks.per_block, HEAD:]
    return lists
