"""Copy-on-write blocks in memory: the one mechanism behind commit, rollback, savepoints and versions.

Blocks lie in the places of an arena; a table gives each block's place. A version is an arena and a table, and
neither its table nor the places in it ever change. A writer works on a copy of the table and puts its own copy of a
block into a free place the first time it changes it. Which blocks are its own follows from the epoch in which their
place was filled, so there is no dirty set to keep: rolling back is taking the old table, a savepoint is an old
table and a new epoch.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

BLANK = 0  # the place of a block of the fill value that is shared by all blocks which were cleared
_NO_EPOCH = -1
_MANY = 16  # records for each block: to remember which they are is not worth it any more
_NO_RECORDS = np.zeros(0, np.int64)


class BlocksView(NamedTuple):
    """Blocks of one version."""

    arena: NDArray[Any]  # (place, *shape of a block)
    table: Int32  # block → place
    blocks: int

    def gather(self) -> NDArray[Any]:
        """All blocks in order, copied: (count, *shape)."""
        result: NDArray[Any] = self.arena[self.table[: self.blocks]]
        return result


class _Mark(NamedTuple):
    table: Int32
    blocks: int
    epoch: int


class Blocks:
    """The blocks of one kind of one column; written by the holder of the writer's turn only."""

    def __init__(self, shape: tuple[int, ...], dtype: type, fill: int, count: int = 0) -> None:
        """`count` blocks of undefined content, for a loader to fill through `arena`."""
        places = count + 9
        self._fill = fill
        self._marks: list[_Mark] = []
        # Places that a transaction replaced, and the epoch that it began with; ...
        self._retired: list[tuple[Int32, int]] = []
        # ... versions before the newest and the last epochs that they have blocks of, oldest first.
        self._versions: list[tuple[ReferenceType[Any], int]] = []
        self._kept = 0  # how many of the retired, the first ones, are kept for ...
        self._kept_for: list[int] = []  # ... versions of these epochs
        self.arena: NDArray[Any] = np.empty((places, *shape), dtype)
        self.table: Int32 = np.zeros(max(count, 8), np.int32)
        self.arena[BLANK] = fill
        self.table[:count] = np.arange(1, count + 1)
        self.count = count
        self.epochs: Int64 = np.full(places, _NO_EPOCH, np.int64)
        self.epochs[: count + 1] = 0
        self.free: Int32 = np.zeros(places, np.int32)
        self.free_places = 0
        self._epoch = 0
        # Records that this transaction made ready to be changed, and how many times; None of many, or of all.
        self._owned: list[Int64] | None = None
        self._owned_records = 0
        self._give_back(np.arange(count + 1, places))

    @property
    def per_block(self) -> int:
        return int(self.arena.shape[1])

    def view(self) -> BlocksView:
        return BlocksView(self.arena, self.table, self.count)

    # Transactions

    def mark(self) -> None:
        """Begin a transaction or a savepoint."""
        if not self._marks:
            self._recycle()
            self._owned, self._owned_records = [], 0
        self._epoch += 1
        self._marks.append(_Mark(self.table, self.count, self._epoch))
        self.table = self.table.copy()

    def roll_back(self) -> None:
        """Forget everything since the last mark."""
        self.table, self.count, epoch = self._marks.pop()
        self._give_back(np.flatnonzero(self.epochs >= epoch))

    def release(self) -> None:
        """End a savepoint; what it changed belongs to the transaction around it."""
        self._marks.pop()
        self._drop_unused(self._marks[-1].epoch)

    def changed(self) -> NDArray[np.int64]:
        """Numbers of the blocks changed since the transaction began: those that are new, or in another place."""
        first, old = self._marks[0], self._marks[0].blocks
        moved: NDArray[np.int64] = (self.table[:old] != first.table[:old]).nonzero()[0]
        return moved if old == self.count else np.concatenate([moved, np.arange(old, self.count)])

    @property
    def published(self) -> int:
        """How many blocks there were when the transaction began."""
        return self._marks[0].blocks

    def changed_records(self) -> NDArray[np.int64] | None:
        """Numbers of the records that may have changed since the transaction began, of blocks that there were then,
        ascending; None where they are many."""
        if self._owned is None:
            return None
        records = np.unique(np.concatenate([_NO_RECORDS, *self._owned]))
        return records[: np.searchsorted(records, self.published * self.per_block)]

    def publish(self, previous: object) -> None:
        """End the transaction. Places it replaced are free again once no version that has them is in use:
        `previous`, the version before, or one before that."""
        first = self._marks[0]
        changed = self.changed()
        replaced = first.table[changed[changed < first.blocks]]
        replaced = replaced[replaced != BLANK]
        if len(replaced):
            self._retired.append((replaced, first.epoch))
        self._versions.append((ref(previous), first.epoch - 1))
        self._drop_unused(first.epoch)
        self._marks.clear()

    def _drop_unused(self, epoch: int) -> None:
        """Free the places filled since `epoch` that the table no longer names; no version ever saw them."""
        if self._epoch == epoch:
            return  # a block is copied once in an epoch
        candidates = self.epochs >= epoch
        candidates[self.table[: self.count]] = False
        self._give_back(np.flatnonzero(candidates))

    def _recycle(self) -> None:
        """Free the replaced places that no version in use has: one that was filled in one epoch and replaced in a
        later one is in all versions between."""
        self._versions = [known for known in self._versions if known[0]() is not None]
        if not self._retired:
            return
        if not self._versions:
            for places, _ in self._retired:
                self._give_back(places)
            self._retired, self._kept, self._kept_for = [], 0, []
            return
        in_use = np.array([epoch for _, epoch in self._versions], np.int64)
        if in_use.tolist() == self._kept_for:  # what was kept for them before is kept still
            retired, self._retired = self._retired[self._kept :], self._retired[: self._kept]
        else:
            retired, self._retired = self._retired, []
        for places, replaced in retired:
            births = self.epochs[places]
            kept = np.searchsorted(in_use, births) < np.searchsorted(in_use, replaced)
            self._give_back(places[~kept])
            if kept.any():
                self._retired.append((places[kept], replaced))
        self._kept, self._kept_for = len(self._retired), in_use.tolist()

    def _give_back(self, places: NDArray[Any]) -> None:
        height = self.free_places
        self.free[height : height + len(places)] = places
        self.epochs[places] = _NO_EPOCH
        self.free_places = height + len(places)

    # Changing blocks

    def reserve(self, places: int) -> None:
        """Make sure that many places are free. A larger arena is a new array: versions keep the old one."""
        missing = places - self.free_places
        if missing <= 0:
            return
        old = len(self.arena)
        size = old + max(missing, old // 2)
        arena = np.empty((size, *self.arena.shape[1:]), self.arena.dtype)
        arena[:old] = self.arena
        # The arena last: an interrupt in between must not leave it longer than what describes it.
        self.epochs = np.concatenate([self.epochs[:old], np.full(size - old, _NO_EPOCH, np.int64)])
        self.free = np.concatenate([self.free, np.zeros(size - len(self.free), np.int32)])
        self.arena = arena
        self._give_back(np.arange(old, size))

    def extend(self, count: int) -> None:
        """Have `count` blocks; new ones hold the fill value."""
        new = count - self.count
        if new <= 0:
            return
        self.reserve(new)
        if count > len(self.table):
            self.table = np.concatenate([self.table, np.zeros(max(count, 2 * len(self.table)), np.int32)])
        for number in range(self.count, count):
            self.table[number] = self._take()
            self.arena[self.table[number]] = self._fill
        self.count = count

    def clear(self, numbers: Int64) -> None:
        """Have blocks hold the fill value, in no place of their own."""
        own = self.table[numbers]
        own = own[self.epochs[own] >= self._marks[-1].epoch] if self._marks else own
        self.table[numbers] = BLANK
        self._give_back(own[own != BLANK])

    def is_cleared(self, numbers: Int64) -> NDArray[np.bool_]:
        """Which of the blocks have no place of their own."""
        cleared: NDArray[np.bool_] = self.table[numbers] == BLANK
        return cleared

    def own(self, number: int) -> NDArray[Any]:
        """The block, ready to be changed."""
        place = self.table[number]
        if self.epochs[place] < self._epoch:
            self.reserve(1)
            clone = self._take()
            self.arena[clone] = self.arena[place]
            self.table[number] = place = clone
        block: NDArray[Any] = self.arena[place]
        return block

    def own_records(self, records: Int64) -> None:
        """Make records, ascending, ready to be changed, and no others of their blocks."""
        if len(records) == 0:
            return
        if self._owned is not None:
            self._owned.append(records)
            self._owned_records += len(records)
            if self._owned_records > _MANY * self.count:
                self._owned = None
        numbers = records // self.per_block
        first = np.ones(len(numbers), np.bool_)  # of those of the same block
        np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
        self._clone(numbers[first])

    def own_all(self, numbers: Int64) -> None:
        """Make blocks (distinct ones) ready to be changed."""
        self._owned = None
        self._clone(numbers)

    def replace_all(self, numbers: Int64) -> None:
        """Make blocks (distinct ones) ready to be written whole: their content is undefined."""
        self._owned = None
        self._clone(numbers, copy=False)

    def _clone(self, numbers: Int64, *, copy: bool = True) -> None:
        places = self.table[numbers]
        foreign = self.epochs[places] < self._epoch
        count = int(np.count_nonzero(foreign))
        if count == 0:
            return
        self.reserve(count)
        height = self.free_places
        clones = self.free[height - count : height].copy()
        self.free_places = height - count
        self.epochs[clones] = self._epoch
        if count < len(places):
            numbers, places = numbers[foreign], places[foreign]
        if copy:
            self.arena[clones] = self.arena[places]
        self.table[numbers] = clones

    def _take(self) -> int:
        self.free_places -= 1
        place = int(self.free[self.free_places])
        self.epochs[place] = self._epoch
        return place

    @property
    def nbytes(self) -> int:
        """Without the free places: most were never filled, and so take no memory."""
        places = len(self.arena)
        filled = self.arena.nbytes // places * (places - self.free_places)
        return filled + self.table.nbytes + self.epochs.nbytes + self.free.nbytes
