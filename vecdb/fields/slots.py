"""Sets of slots: what a filter finds, as a list where they are few, as bits where they are many."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.storage.geometry import LIVE_BYTES

Slots = NDArray[np.int64]  # ascending, without repetition
Bits = NDArray[np.uint8]  # slot 0 in bit 0 of byte 0, as live bits are

_BIT: Final = np.uint8(1) << np.arange(8, dtype=np.uint8)


class SlotSet:
    """Slots of a table. Immutable; `&`, `|` and `-` are those of sets, `len` counts.

    Invariant: either `_list` or `_bits` is there.
    """

    def __init__(self, slots: Slots | None, bits: Bits | None) -> None:
        self._list = slots
        self._bits = bits

    @classmethod
    def of_slots(cls, slots: Slots) -> SlotSet:
        """Of slots in ascending order."""
        return cls(slots, None)

    @classmethod
    def of_bits(cls, bits: Bits) -> SlotSet:
        """Of packed bits; those of slots past the end of the array are not set."""
        return cls(None, bits)

    @cached_property
    def _count(self) -> int:
        if self._list is not None:
            return len(self._list)
        return int.from_bytes(self._packed.tobytes(), "little").bit_count()

    def __len__(self) -> int:
        return self._count

    @cached_property
    def slots(self) -> Slots:
        """The slots, ascending."""
        if self._list is not None:
            return self._list
        return np.flatnonzero(np.unpackbits(self._packed, bitorder="little"))

    def bits(self, slots: int) -> Bits:
        """The set of a table of so many slots as (blocks, 1024) bytes, as live bits are."""
        blocks = -(-slots // (8 * LIVE_BYTES))
        return self._spread(blocks * LIVE_BYTES).reshape(blocks, LIVE_BYTES)

    def __and__(self, other: SlotSet) -> SlotSet:
        if self._list is not None and (other._list is None or len(self._list) <= len(other._list)):
            return SlotSet(self._list[other._holds(self._list)], None)
        if other._list is not None:
            return SlotSet(other._list[self._holds(other._list)], None)
        size = min(len(self._packed), len(other._packed))
        return SlotSet(None, self._packed[:size] & other._packed[:size])

    def __or__(self, other: SlotSet) -> SlotSet:
        size = max(self._size, other._size)
        if self._list is not None and other._list is not None and 8 * (len(self) + len(other)) <= size:
            return SlotSet(np.union1d(self._list, other._list), None)
        return SlotSet(None, self._spread(size) | other._spread(size))

    def __sub__(self, other: SlotSet) -> SlotSet:
        if self._list is not None:
            return SlotSet(self._list[~other._holds(self._list)], None)
        size = len(self._packed)
        return SlotSet(None, self._packed & ~other._spread(size))

    @property
    def _packed(self) -> Bits:
        assert self._bits is not None, "a set is a list or bits"
        return self._bits

    @property
    def _size(self) -> int:
        """Bytes that its bits take."""
        if self._bits is not None:
            return len(self._bits)
        assert self._list is not None
        return int(self._list[-1]) // 8 + 1 if len(self._list) else 0

    def _holds(self, slots: Slots) -> NDArray[np.bool_]:
        """Which of the slots are in the set."""
        if self._bits is not None:
            held = np.zeros(len(slots), np.bool_)
            inside = slots < 8 * len(self._bits)
            within = slots[inside]
            held[inside] = (self._bits[within >> 3] & _BIT[within & 7]) != 0
            return held
        mine = self.slots
        if not len(mine):
            return np.zeros(len(slots), np.bool_)
        places = np.minimum(mine.searchsorted(slots), len(mine) - 1)
        return np.equal(mine[places], slots)

    def _spread(self, size: int) -> Bits:
        """The set's bits in so many bytes; slots past them are left out."""
        bits = np.zeros(size, np.uint8)
        if self._bits is not None:
            size = min(size, len(self._bits))
            bits[:size] = self._bits[:size]
        elif self._list is not None:
            within = self._list[: self._list.searchsorted(8 * size)]
            if 8 * len(within) >= size:
                members = np.zeros(8 * size, np.bool_)
                members[within] = True
                return np.packbits(members, bitorder="little")
            np.bitwise_or.at(bits, within >> 3, _BIT[within & 7])
        return bits

    def check_below(self, slots: int) -> SlotSet:
        """The set itself; CorruptionError where a slot is not one of a table that has so many."""
        if self._list is not None:
            most = int(self._list[-1]) if len(self._list) else -1
        else:
            past = int.from_bytes(self._packed[slots // 8 :].tobytes(), "little") >> slots % 8
            most = slots + past.bit_length() - 1
        if most >= slots:
            raise CorruptionError(f"an index names slot {most} of a table that has {slots}")
        return self


NO_SLOTS: Final = SlotSet.of_slots(np.zeros(0, np.int64))
