"""A vector column in memory: its versions, and the one writer's changes to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vecdb.index.exact import Rows
from vecdb.mirror.blocks import Blocks, BlocksView
from vecdb.options import GRAPH_FROM
from vecdb.storage.catalog import Column, ColumnState
from vecdb.storage.geometry import LIVE_BYTES, records_per_block
from vecdb.storage.keys import Space

if TYPE_CHECKING:
    from vecdb.kernels.hnsw import Graph

Float32 = NDArray[np.float32]
Slots = NDArray[np.int64]

LIVE_SLOTS = LIVE_BYTES * 8
# A base-layer record begins with [parent, first upper entry], an upper one with [slot, layer]. Never change: stored.
RECORD_HEAD = 2


@dataclass(frozen=True, eq=False)
class ColumnVersion:
    """A vector column as one version of the database has it; its arrays never change below `slots`."""

    column: Column
    state: ColumnState
    slots: int
    vectors: Rows  # an array; vectors left in the file where the column is not in memory
    links: BlocksView
    upper: BlocksView
    live: BlocksView

    @cached_property
    def live_slots(self) -> Slots:
        """The slots that may be found, ascending."""
        bits = np.unpackbits(self.live.gather().reshape(-1), bitorder="little")
        return np.flatnonzero(bits[: self.slots])

    @cached_property
    def graph(self) -> Graph:
        """What kernels read."""
        from vecdb.index.graph import make_graph

        assert isinstance(self.vectors, np.ndarray), "a column left in the file is scanned"
        return make_graph(self.column.options.metric, self.vectors, self.links, self.upper, self.live)


class ColumnMirror:
    """The newest version of a column, and what the holder of the writer's turn makes of it."""

    def __init__(self, column: Column, state: ColumnState, slots: int) -> None:
        """Blocks and vectors of undefined content, for the loader to fill."""
        options = column.options
        self.column = column
        self.state = state
        self.slots = slots
        self.vectors: Float32 = np.empty((max(slots + slots // 16, 64), options.dim), np.float32)
        links = (records_per_block(4 * (RECORD_HEAD + options.m0)), RECORD_HEAD + options.m0)
        upper = (records_per_block(4 * (RECORD_HEAD + options.m)), RECORD_HEAD + options.m)
        linked = slots if state.linked else 0
        self.links = Blocks(links, np.int32, -1, _blocks(linked, links[0]))
        self.upper = Blocks(upper, np.int32, -1, _blocks(state.upper, upper[0]))
        self.live = Blocks((LIVE_BYTES,), np.uint8, 0, _blocks(slots, LIVE_SLOTS))
        self._marks: list[tuple[ColumnState, int]] = []
        self.version = self.present()

    @property
    def blocks(self) -> dict[Space, Blocks]:
        """The copy-on-write blocks by the sub-database that stores them."""
        return {Space.LINKS: self.links, Space.UPPER: self.upper, Space.LIVE: self.live}

    @property
    def nbytes(self) -> int:
        return self.vectors.nbytes + sum(blocks.nbytes for blocks in self.blocks.values())

    def present(self) -> ColumnVersion:
        """What the writer's own reads see, changes included; valid until its next change."""
        return ColumnVersion(
            self.column,
            self.state,
            self.slots,
            self.vectors,
            self.links.view(),
            self.upper.view(),
            self.live.view(),
        )

    # Transactions

    def mark(self) -> None:
        self._marks.append((self.state, self.slots))
        for blocks in self.blocks.values():
            blocks.mark()

    def roll_back(self) -> None:
        self.state, self.slots = self._marks.pop()
        for blocks in self.blocks.values():
            blocks.roll_back()

    def release(self) -> None:
        self._marks.pop()
        for blocks in self.blocks.values():
            blocks.release()

    @property
    def marked(self) -> bool:
        """Whether a transaction is under way."""
        return bool(self._marks)

    @property
    def published_slots(self) -> int:
        """Slots that the version before this transaction has: their vectors are stored."""
        return self._marks[0][1]

    def publish(self, version: ColumnVersion) -> None:
        """End the transaction. `version` is what it made: the one object by which readers hold on to its blocks."""
        for blocks in self.blocks.values():
            blocks.publish(self.version)
        self._marks.clear()
        self.version = version

    # Changes

    def append(self, vectors: Float32 | None, present: NDArray[np.bool_], progress: Callable[[int], None]) -> None:
        """Assign the next slots: `vectors` (rows, dim) where `present`; other slots have no vector here."""
        first = self.slots
        stop = first + len(present)
        self._grow(stop)
        if vectors is None:
            self.vectors[first:stop] = 0
        else:
            self.vectors[first:stop] = vectors
        self.live.extend(_blocks(stop, LIVE_SLOTS))
        self.slots = stop
        self._set_live(first + np.flatnonzero(present), alive=True)
        if self.state.linked:
            self._link(first, present, progress)
        elif stop >= GRAPH_FROM:
            live = np.zeros(stop, np.bool_)
            live[self.present().live_slots] = True
            self._link(0, live, progress)

    def remove(self, slots: Slots) -> None:
        """Make slots not live; their nodes still conduct searches."""
        self._set_live(slots, alive=False)

    def resize(self, state: ColumnState, slots: int) -> None:
        """Have the counters and the blocks of a later version, for the loader to fill."""
        self._grow(slots)
        self.state, self.slots = state, slots
        self.links.extend(_blocks(slots if state.linked else 0, self.links.per_block))
        self.upper.extend(_blocks(state.upper, self.upper.per_block))
        self.live.extend(_blocks(slots, LIVE_SLOTS))

    def _grow(self, slots: int) -> None:
        """Room for vectors. A larger array is a new one: versions keep the old."""
        if slots > len(self.vectors):
            larger = np.empty((max(slots, len(self.vectors) * 3 // 2), self.vectors.shape[1]), np.float32)
            larger[: self.slots] = self.vectors[: self.slots]
            self.vectors = larger

    def _set_live(self, slots: Slots, *, alive: bool) -> None:
        for number in np.unique(slots // LIVE_SLOTS):
            within = slots[slots // LIVE_SLOTS == number] - number * LIVE_SLOTS
            bits = np.zeros(LIVE_SLOTS, np.uint8)
            bits[within] = 1
            mask = np.packbits(bits, bitorder="little")
            block = self.live.own(int(number))
            if alive:
                block |= mask
            else:
                block &= ~mask
        change = len(slots) if alive else -len(slots)
        self.state = replace(self.state, live=self.state.live + change)

    def _link(self, first: int, live: NDArray[np.bool_], progress: Callable[[int], None]) -> None:
        """Link the slots from `first` on, those that are `live`."""
        from vecdb.index.graph import Linker

        stop = first + len(live)
        self.links.extend(_blocks(stop, self.links.per_block))
        linker = Linker(self.column.options, self.state, first, live)
        self.upper.extend(_blocks(linker.state.upper, self.upper.per_block))
        while not linker.done:
            self.links.reserve(linker.links_wanted(self.links.count))
            self.upper.reserve(linker.upper_wanted(self.upper.count))
            version = self.present()
            linker.step(version.graph, self.links, self.upper)
            progress(linker.next_slot - first)
        self.state = replace(linker.state, live=self.state.live)


def _blocks(records: int, per_block: int) -> int:
    return -(-records // per_block)
