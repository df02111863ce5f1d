"""A vector column in memory: its versions, and the one writer's changes to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.index.live import are_live
from vecdb.index.quantizer import TRAINING_ROWS, Quantizer, inverse_lengths
from vecdb.index.reach import reachable_from
from vecdb.index.threads import Workers, usable_cores
from vecdb.mirror.blocks import Blocks, BlocksView
from vecdb.mirror.codes import Codes
from vecdb.mirror.vectors import Ranges, Vectors
from vecdb.options import GRAPH_FROM, Vector
from vecdb.storage.catalog import Column, ColumnState
from vecdb.storage.geometry import LIVE_BYTES, records_per_block
from vecdb.storage.keys import Space

if TYPE_CHECKING:
    from vecdb.index.graph import Graph
    from vecdb.index.repair import Repairer

Float32 = NDArray[np.float32]
Slots = NDArray[np.int64]

LIVE_SLOTS = LIVE_BYTES * 8
# A base-layer record begins with [parent, first upper entry], an upper one with [slot, layer]. Never change: stored.
RECORD_HEAD = 2
LINKS_HEAD = 8  # bytes: the version of a block of base-layer records

# The mask of each bit of a byte of live bits.
_BITS: Final = np.left_shift(1, np.arange(8)).astype(np.uint8)
_NONE_ABSENT: Final = np.zeros(0, np.bool_)
_NO_SLOTS: Final = np.zeros(0, np.int64)
USED_TOGETHER: Final = 1024  # slots that are copied together where one is of use
_FEWEST_SPARE: Final = 64  # slots
_PARALLEL_FROM: Final = 64  # rows for which threads are started
_ENCODED_AT_ONCE: Final = 4096
# The quantizer is trained anew when so many rows since the last time lie outside its range, and ...
_FEWEST_OUTLIERS: Final = 64
_MOST_OUTLIERS: Final = 0.02  # ... of the live rows
_LOOK_AGAIN: Final = 4  # times the rows that it was trained with


@dataclass(frozen=True, eq=False)
class ColumnVersion:
    """A vector column as one version of the database has it; its arrays never change below `slots`."""

    column: Column
    state: ColumnState
    slots: int
    vectors: Vectors | None  # None where they are left in the file
    codes: Codes | None  # of a column with a graph
    links: BlocksView
    upper: BlocksView
    live: BlocksView
    damage: str | None = None  # why it has no graph in memory, though the file has one

    @cached_property
    def live_slots(self) -> Slots:
        """The slots that may be found, ascending."""
        bits = np.unpackbits(self.live.gather().reshape(-1), bitorder="little")
        return np.flatnonzero(bits[: self.slots])

    def count_reachable(self) -> int | None:
        """How many live slots links of the base layer lead to from the entry point; None without links in memory."""
        if not self.state.linked:
            return None
        layer, node = self.state.entry_layer, self.state.entry_node
        if node < 0:
            return 0
        start = node if layer == 0 else int(_items(self.upper, np.array([node]), 0)[0])
        found = reachable_from(start, self.links.arena, self.links.table, self.slots, RECORD_HEAD)
        return int(np.count_nonzero(found[self.live_slots]))

    @cached_property
    def graph(self) -> Graph:
        """What kernels read."""
        from vecdb.index.graph import make_graph

        assert self.codes is not None, "a column without a graph is scanned"
        codes = self.codes
        codes.sign(self.slots)
        dim = self.column.options.dim
        return make_graph(
            self.column.options.metric,
            self.state,
            self.slots,
            codes.quantizer,
            codes.codes,
            codes.weights,
            codes.signs,
            np.empty((0, dim), np.float32) if self.vectors is None else self.vectors.array,
            self.links,
            self.upper,
            self.live,
        )


class ColumnMirror:
    """The newest version of a column, and what the holder of the writer's turn makes of it."""

    def __init__(
        self,
        column: Column,
        state: ColumnState,
        slots: int,
        quantizer: Quantizer | None = None,
        absent: NDArray[np.bool_] | None = _NONE_ABSENT,
    ) -> None:
        """Blocks, vectors and codes of undefined content, for the loader to fill. `absent` are the blocks of vectors
        to be loaded later; None leaves all vectors in the file, and the column can't be written."""
        options = column.options
        capacity = max(slots + slots // 16, 64)
        self.column = column
        self.state = state
        self.slots = slots
        self.vectors = None if absent is None else Vectors(options.dim, capacity, absent)
        self.codes = Codes.empty(quantizer, options.dim, capacity) if state.linked else None
        links = (links_per_block(options), RECORD_HEAD + options.capacity)
        upper = (upper_per_block(options), RECORD_HEAD + options.m)
        linked = slots if state.linked else 0
        self.links = Blocks(links, np.int32, -1, _blocks(linked, links[0]))
        self.upper = Blocks(upper, np.int32, -1, _blocks(state.upper, upper[0]))
        self.live = Blocks((LIVE_BYTES,), np.uint8, 0, _blocks(slots, LIVE_SLOTS))
        self._marks: list[tuple[ColumnState, int, Codes | None]] = []
        self._waiting: Slots | None = None
        self._left_out = 0  # slots that were gone when the flat arrays were made
        self._gone: list[Slots] = []  # that this transaction made of no use, and may have
        self.version = self.present()

    @property
    def blocks(self) -> dict[Space, Blocks]:
        """The copy-on-write blocks by the sub-database that stores them."""
        return {Space.LINKS: self.links, **self.plain_blocks}

    @property
    def plain_blocks(self) -> dict[Space, Blocks]:
        """Those that are stored as they are; `links.py` has its own way."""
        return {Space.UPPER: self.upper, Space.LIVE: self.live}

    @property
    def nbytes(self) -> int:
        """Memory that is taken, or soon may be; flat arrays take none for slots that were left out."""
        vectors = 0 if self.vectors is None else self.vectors.array.nbytes
        codes = 0 if self.codes is None else self.codes.nbytes
        lengths = [self.slots, 1]
        lengths += [] if self.vectors is None else [len(self.vectors.array)]
        lengths += [] if self.codes is None else [len(self.codes.weights)]
        capacity = max(lengths)
        flat_ = (vectors + codes) * (capacity - self._left_out) // capacity
        return flat_ + sum(blocks.nbytes for blocks in self.blocks.values())

    @property
    def array(self) -> Float32:
        """The vectors by slot, for a writer: all of those that it reads are there."""
        assert self.vectors is not None and self.vectors.whole, "a writer's column is in memory"
        return self.vectors.array

    def present(self) -> ColumnVersion:
        """What the writer's own reads see, changes included; valid until its next change."""
        return ColumnVersion(
            self.column,
            self.state,
            self.slots,
            self.vectors,
            self.codes,
            self.links.view(),
            self.upper.view(),
            self.live.view(),
        )

    # Transactions

    def mark(self) -> None:
        if not self._marks:
            self._gone = []
        self._marks.append((self.state, self.slots, self.codes))
        for blocks in self.blocks.values():
            blocks.mark()

    def roll_back(self) -> None:
        self.state, self.slots, self.codes = self._marks.pop()
        self._waiting = None
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

    @property
    def published_codes(self) -> int:
        """Slots whose codes are stored: none where this transaction trained the quantizer."""
        state, slots, _ = self._marks[0]
        return slots if state.linked and state.trainings == self.state.trainings else 0

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
            self.array[first:stop] = 0
        else:
            self.array[first:stop] = vectors
        self.live.extend(_blocks(stop, LIVE_SLOTS))
        self.slots = stop
        self._set_live(first + np.flatnonzero(present), alive=True)
        if not present.all():
            self._gone.append(first + np.flatnonzero(~present))
        with Workers(usable_cores() if len(present) >= _PARALLEL_FROM else 1) as workers:
            if self.state.linked:
                self._encode(first, present, workers)
                self._link(first, present, workers, progress)
            elif stop >= GRAPH_FROM and self.state.live:
                self._begin_graph(self._live(), workers, progress)

    def rebuild(self, journal: int, progress: Callable[[int], None]) -> None:
        """Make the graph of a column that has none, since what the file has of it is damaged, out of its vectors. Its
        journal begins at a position."""
        self.state = replace(self.state, journal=journal)
        live = self._live()
        self._gone.append(np.flatnonzero(~live))  # links of theirs may have been all that kept a block of use
        with Workers(usable_cores()) as workers:
            self._begin_graph(live, workers, progress)

    def _live(self) -> NDArray[np.bool_]:
        """By slot, which may be found."""
        live = np.zeros(self.slots, np.bool_)
        live[self.present().live_slots] = True
        return live

    def _begin_graph(self, live: NDArray[np.bool_], workers: Workers, progress: Callable[[int], None]) -> None:
        self._train(workers)
        self._link(0, live, workers, progress)

    def remove(self, slots: Slots) -> None:
        """Make slots not live; their nodes still conduct searches, until they are repaired."""
        self._set_live(slots, alive=False)
        self._gone.append(slots)
        if not self.state.linked:
            return
        self._set_waiting(np.union1d(self.waiting(), self._linked(slots)))
        if self._entry_slot() in slots:
            layer, node = self._find_entry_point()
            self.state = replace(self.state, entry_layer=layer, entry_node=node)

    def waiting(self) -> Slots:
        """The dead slots that have links still, ascending: they wait for repair."""
        if self._waiting is None:
            dead = np.zeros(0, np.int64)
            if self.state.waiting:
                bits = np.unpackbits(self.live.view().gather().reshape(-1), bitorder="little")
                dead = np.flatnonzero(bits[: self.slots] == 0)
            self._waiting = self._linked(dead)
        return self._waiting

    def _set_waiting(self, slots: Slots) -> None:
        self._waiting = slots
        self.state = replace(self.state, waiting=len(slots))

    def _linked(self, slots: Slots) -> Slots:
        """Those of the slots that have links."""
        return slots[_items(self.links, slots, RECORD_HEAD) >= 0]

    def repair(self, most: int) -> None:
        """Repair some of the slots that wait, those of the lowest numbers."""
        waiting = self.waiting()
        if len(waiting):
            self._repair(lambda repairer: repairer.repair(waiting[:most]))
            self._set_waiting(self._linked(waiting))
            self._gone.append(waiting[:most])

    def mend(self, first: int, stop: int) -> None:
        """Turn the links of a range of slots away from those that wait: the first step of a complete repair."""
        if self.state.linked and first < self.slots:
            self._repair(lambda repairer: repairer.mend_range(first, min(stop, self.slots)))

    def take_out(self, slots: Slots) -> int:
        """Take those of the slots that wait out of the graph, after all others were mended: the last step of a complete
        repair. Returns how many they were."""
        slots = np.intersect1d(slots, self.waiting())
        if len(slots):
            self._repair(lambda repairer: repairer.remove(slots))
            self._set_waiting(self._linked(self.waiting()))
            self._gone.append(slots)
        return len(slots)

    def _repair(self, work: Callable[[Repairer], None]) -> None:
        from vecdb.index.repair import Repairer

        with Workers(usable_cores()) as workers:
            work(
                Repairer(
                    self.column.options,
                    self.slots,
                    lambda: self.present().graph,
                    self.live.view(),
                    self.links,
                    self.upper,
                    workers,
                )
            )

    # Slots that are gone: not live, and without links

    def conducts(self, space: Space) -> bool:
        """Whether walks through dead slots read blocks of that kind: vectors only where there are no codes."""
        return space is not Space.VECTORS or self.codes is None or self.codes.quantizer is None

    def gone_blocks(self, space: Space, per_block: int) -> Slots:
        """Blocks of so many slots that this transaction may have left without one of any use: they are not stored."""
        if not self._gone:
            return _NO_SLOTS
        numbers = np.unique(np.concatenate(self._gone) // per_block)
        return numbers[~self.are_stored(space, numbers, per_block)]

    def are_stored(self, space: Space, numbers: Slots, per_block: int) -> NDArray[np.bool_]:
        """Which blocks of so many slots are stored: those that have one of use, and the last."""
        conducts = self.conducts(space)
        if self.state.live + conducts * self.state.waiting == self.slots:
            return np.ones(len(numbers), np.bool_)
        gone = self.are_gone(numbers, per_block, by_links=conducts)
        return ~gone | ((numbers + 1) * per_block >= self.slots)

    def are_gone(self, numbers: Slots, per_block: int, *, by_links: bool = True) -> NDArray[np.bool_]:
        """Which blocks of so many slots have none of any use; without links, as far as live bits tell."""
        return _are_gone(self.present(), numbers, per_block, by_links=by_links)

    def leave_out(self) -> Ranges:
        """The slots that may be of use, in ranges of whole groups: those that are not gone in the version before, to
        which a roll back leads, and all that came since. The others take no memory in new flat arrays."""
        before = self.version
        groups = np.arange(_blocks(self.slots, USED_TOGETHER))
        new = (groups + 1) * USED_TOGETHER > before.slots
        used = new.copy()
        used[~new] = ~_are_gone(before, groups[~new], USED_TOGETHER)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], used, [False]]))) * USED_TOGETHER
        ranges = [(first, min(stop, self.slots)) for first, stop in edges.reshape(-1, 2).tolist()]
        self._left_out = self.slots - sum(stop - first for first, stop in ranges)
        return ranges

    def _entry_slot(self) -> int:
        """The slot of the entry point; -1 where there is none."""
        layer, node = self.state.entry_layer, self.state.entry_node
        return node if layer <= 0 else int(_items(self.upper, np.array([node]), 0)[0])

    def _find_entry_point(self) -> tuple[int, int]:
        """The first live node of the highest layer that has one."""
        live = self.present().live_slots
        if len(live) == 0:
            return -1, -1
        entries = np.arange(self.state.upper)
        alive = entries[np.isin(_items(self.upper, entries, 0), live)]
        if len(alive) == 0:
            return 0, int(live[0])
        layers = _items(self.upper, alive, 1)
        highest = int(layers.argmax())
        return int(layers[highest]), int(alive[highest])

    def resize(self, state: ColumnState, slots: int) -> None:
        """Have the counters and the blocks of a later version, for the loader to fill."""
        self._waiting = None
        self._grow(slots)
        self.state, self.slots = state, slots
        self.links.extend(_blocks(slots if state.linked else 0, self.links.per_block))
        self.upper.extend(_blocks(state.upper, self.upper.per_block))
        self.live.extend(_blocks(slots, LIVE_SLOTS))

    def _grow(self, slots: int) -> None:
        """Room for vectors and codes. A larger array is a new one: versions keep the old."""
        vectors = self.vectors is not None and slots > len(self.vectors.array)
        codes = self.codes is not None and slots > len(self.codes.weights)
        if not (vectors or codes):
            return
        used = self.leave_out()
        # By half of what is used, however many slots there ever were: so what is gone leaves memory in time.
        spare = max(_FEWEST_SPARE, (self.slots - self._left_out) // 2)
        if self.vectors is not None and vectors:
            self.vectors = self.vectors.grown(used, max(slots, len(self.vectors.array) + spare))
        if self.codes is not None and codes:
            self.codes = self.codes.grown(used, max(slots, len(self.codes.weights) + spare))

    def _set_live(self, slots: Slots, *, alive: bool) -> None:
        numbers = slots // LIVE_SLOTS
        for number in set(numbers.tolist()):
            within = slots[numbers == number] - number * LIVE_SLOTS
            bits = _BITS[within & 7]
            block = self.live.own(number)
            if alive:
                np.bitwise_or.at(block, within >> 3, bits)
            else:
                np.bitwise_and.at(block, within >> 3, ~bits)
        change = len(slots) if alive else -len(slots)
        self.state = replace(self.state, live=self.state.live + change)

    def _train(self, workers: Workers) -> None:
        """Make the quantizer out of the vectors there are, and the codes of all."""
        options, before = self.column.options, self.codes
        quantizer = None
        if options.quantization == "u8":
            quantizer = self._trained()
        self.codes = Codes.empty(quantizer, options.dim, len(self.array))
        self._fill_codes(0, workers)
        if before is not None and quantizer is not None:
            self._translate_codes(before, self.codes, self.waiting())
        self.state = replace(self.state, trainings=self.state.trainings + 1, trained_rows=self.state.live, outliers=0)

    def _trained(self) -> Quantizer:
        live = self.present().live_slots
        sample = live[:: max(1, len(live) // TRAINING_ROWS)]
        return Quantizer.train(self.array[sample], self.column.options.metric)

    def _fill_codes(self, first: int, workers: Workers) -> NDArray[np.bool_]:
        """Encode the slots from `first` on; which of them lie outside the quantizer's range."""
        assert self.codes is not None
        metric, slots, codes, vectors = self.column.options.metric, self.slots, self.codes, self.array
        outliers = np.zeros(slots - first, np.bool_)
        codes.forget(first)

        def encode(start: int, stop: int) -> None:
            if codes.quantizer is not None:
                outliers[start - first : stop - first] = codes.quantizer.encode(
                    vectors[start:stop], metric, codes.codes[start:stop], codes.weights[start:stop]
                )
            else:
                codes.weights[start:stop] = inverse_lengths(vectors[start:stop])

        workers.run(encode, first, slots, _ENCODED_AT_ONCE)
        return outliers

    def _translate_codes(self, before: Codes, codes: Codes, dead: Slots) -> None:
        """Give dead slots, which conduct but may have no vector any more, codes of what their old ones stand for."""
        assert before.quantizer is not None and codes.quantizer is not None
        width, metric = self.column.options.dim, self.column.options.metric
        bytes_, weights = codes.codes[dead], codes.weights[dead]
        codes.quantizer.encode(before.quantizer.decode(before.codes[dead, :width]), metric, bytes_, weights)
        codes.codes[dead], codes.weights[dead] = bytes_, weights

    def _encode(self, first: int, present: NDArray[np.bool_], workers: Workers) -> None:
        """Encode new rows. The quantizer is trained anew where too many do not fit it, and looked at again when the
        rows have become several times as many."""
        outliers = self.state.outliers + int(np.count_nonzero(self._fill_codes(first, workers) & present))
        self.state = replace(self.state, outliers=outliers)
        assert self.codes is not None
        if self.codes.quantizer is None:
            return
        drifted = outliers > max(_FEWEST_OUTLIERS, _MOST_OUTLIERS * self.state.live)
        if not drifted and self.state.live >= _LOOK_AGAIN * self.state.trained_rows:
            drifted = not self.codes.quantizer.serves_as(self._trained())
            self.state = replace(self.state, trained_rows=self.state.live)
        if drifted:
            self._train(workers)

    def _link(self, first: int, live: NDArray[np.bool_], workers: Workers, progress: Callable[[int], None]) -> None:
        """Link the slots from `first` on, those that are `live`."""
        from vecdb.index.graph import Linker

        stop = first + len(live)
        self.links.extend(_blocks(stop, self.links.per_block))
        linker = Linker(
            self.column.options,
            self.state,
            first,
            live,
            lambda: self.present().graph,
            self.links,
            self.upper,
            workers,
        )
        self.upper.extend(_blocks(linker.entries, self.upper.per_block))
        while not linker.done:
            linker.step()
            progress(linker.next_slot - first)
        layer, node = linker.entry_point
        self.state = replace(self.state, linked=True, upper=linker.entries, entry_layer=layer, entry_node=node)


def _are_gone(version: ColumnVersion, numbers: Slots, per_block: int, *, by_links: bool = True) -> NDArray[np.bool_]:
    slots = (numbers[:, None] * per_block + np.arange(per_block)).ravel()
    inside = slots < version.slots
    used = inside.copy()
    used[inside] = are_live(version.live.arena, version.live.table, slots[inside])
    if by_links and version.state.linked:
        used[inside] |= _items(version.links, slots[inside], RECORD_HEAD) >= 0
    gone: NDArray[np.bool_] = np.logical_not(used.reshape(-1, per_block).any(axis=1))
    return gone


def _items(blocks: Blocks | BlocksView, nodes: Slots, item: int) -> NDArray[np.int32]:
    """An item of nodes' records."""
    place, within = np.divmod(nodes, blocks.arena.shape[1])
    items: NDArray[np.int32] = blocks.arena[blocks.table[place], within, item]
    return items


def links_per_block(options: Vector) -> int:
    return records_per_block(4 * (RECORD_HEAD + options.capacity), head=LINKS_HEAD)


def upper_per_block(options: Vector) -> int:
    return records_per_block(4 * (RECORD_HEAD + options.m))


def _blocks(records: int, per_block: int) -> int:
    return -(-records // per_block)
