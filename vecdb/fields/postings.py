"""Postings: the slots of a term, in chunks of as many as a block of live bits has. Stored: never change the form.

A chunk is a byte for its form, then either the slots in it as u16, ascending, or 1024 bytes of bits, whichever is
smaller; an empty one is not stored.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.fields.slots import NO_SLOTS, Bits, Slots, SlotSet
from vecdb.storage.geometry import LIVE_BYTES

Payload: TypeAlias = bytes | memoryview

CHUNK: Final = 8 * LIVE_BYTES  # slots
_LIST: Final = 0
_BITS: Final = 1
_AS_LIST: Final = b"\x00"
_AS_BITS: Final = b"\x01"
_LISTED_BYTES: Final = 8  # that a slot takes in the list of a SlotSet


def write_posting(slots: Sequence[int]) -> bytes:
    """The posting of slots of a chunk, counted from its first one, ascending."""
    if 2 * len(slots) < LIVE_BYTES:
        return _AS_LIST + struct.pack(f"<{len(slots)}H", *slots)
    members = np.zeros(CHUNK, np.bool_)
    members[slots] = True
    return _AS_BITS + np.packbits(members, bitorder="little").tobytes()


def change_posting(payload: Payload | None, removed: Collection[int], added: Sequence[int]) -> bytes | None:
    """The posting after slots of the chunk were removed and others added; None where none is left."""
    if payload is not None and _form(payload) == _BITS:
        changed = change_bits(payload[1:], removed, added)
        if not removed or 2 * int.from_bytes(changed, "little").bit_count() >= LIVE_BYTES:
            return _AS_BITS + changed
        slots: list[int] = np.flatnonzero(_read(_AS_BITS + changed)).tolist()
    else:
        slots = [] if payload is None else _listed(payload)
        if removed or (slots and added and added[0] <= slots[-1]):
            slots = sorted(({*slots} - {*removed}) | {*added})
        else:
            slots.extend(added)
    return write_posting(slots) if slots else None


def change_bits(bits: Payload, cleared: Iterable[int], set_: Iterable[int]) -> bytes:
    """Packed bits after some were cleared and then others set."""
    changed = bytearray(bits)
    for place in cleared:
        changed[place >> 3] &= ~(1 << (place & 7))
    for place in set_:
        changed[place >> 3] |= 1 << (place & 7)
    return bytes(changed)


def gather(postings: Iterable[tuple[int, Payload]], slots: int) -> SlotSet:
    """All slots of postings, given with the numbers of their chunks, in a table of so many slots.

    Terms may follow each other and have slots in common. Raises CorruptionError for what is no posting of the table.
    """
    lists: list[Payload] = []
    chunks: list[int] = []
    bitmaps: list[tuple[int, Payload]] = []
    for chunk, payload in postings:
        if _form(payload) == _LIST:
            lists.append(payload[1:])
            chunks.append(chunk)
        else:
            bitmaps.append((chunk, payload))
    if not lists and not bitmaps:
        return NO_SLOTS
    last = max(max(chunks, default=0), max((chunk for chunk, _ in bitmaps), default=0))
    if last * CHUNK >= slots:
        raise CorruptionError(f"an index names slots from {last * CHUNK} on, of a table that has {slots}")
    listed = _join(lists, chunks)
    size = (last + 1) * LIVE_BYTES
    if size < _LISTED_BYTES * (len(listed) + CHUNK * len(bitmaps)):
        return SlotSet.of_bits(_to_bits(listed, bitmaps, size)).check_below(slots)
    return SlotSet.of_slots(_to_list(listed, bitmaps)).check_below(slots)


def _to_bits(listed: Slots, bitmaps: Iterable[tuple[int, Payload]], size: int) -> Bits:
    members = np.zeros(8 * size, np.bool_)
    members[listed] = True
    bits = np.packbits(members, bitorder="little")
    for chunk, payload in bitmaps:
        bits[chunk * LIVE_BYTES : (chunk + 1) * LIVE_BYTES] |= np.frombuffer(payload, np.uint8, offset=1)
    return bits


def _to_list(listed: Slots, bitmaps: Iterable[tuple[int, Payload]]) -> Slots:
    parts = [chunk * CHUNK + np.flatnonzero(_read(payload)) for chunk, payload in bitmaps]
    return _ascending(np.concatenate([listed, *parts]) if parts else listed)


def _ascending(slots: Slots) -> Slots:
    return slots if (slots[1:] > slots[:-1]).all() else np.unique(slots)


def _join(lists: Sequence[Payload], chunks: Sequence[int]) -> Slots:
    """Slots of the table from lists of slots of chunks."""
    within = np.frombuffer(b"".join(lists), "<u2").astype(np.int64)
    if len(within) and within.max() >= CHUNK:
        raise CorruptionError(f"an index names slot {within.max()} of a chunk, which has {CHUNK}")
    return within + np.repeat(np.array(chunks, np.int64) * CHUNK, [len(part) // 2 for part in lists])


def _listed(payload: Payload) -> list[int]:
    """The slots of one posting that is a list: as a rule few, for which arrays would take longer."""
    slots = list(struct.unpack(f"<{len(payload) // 2}H", payload[1:]))
    if max(slots) >= CHUNK:
        raise CorruptionError(f"an index names slot {max(slots)} of a chunk, which has {CHUNK}")
    return slots


def _read(payload: Payload) -> NDArray[np.bool_]:
    """Which slots of a chunk are in a posting."""
    if _form(payload) == _BITS:
        return np.unpackbits(np.frombuffer(payload, np.uint8, offset=1), bitorder="little").view(np.bool_)
    members = np.zeros(CHUNK, np.bool_)
    members[_join([payload[1:]], [0])] = True
    return members


def _form(payload: Payload) -> int:
    form = payload[0] if len(payload) else None
    if (form == _LIST and len(payload) % 2 and 1 < len(payload) <= LIVE_BYTES) or (
        form == _BITS and len(payload) == 1 + LIVE_BYTES
    ):
        return form
    raise CorruptionError(f"a posting of an index is malformed: {bytes(payload[:20]).hex()}")
