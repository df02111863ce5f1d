"""Which slots have rows: live bits of a whole table, in blocks as those of its vector columns.

They are read from the file each time: a filter needs them only to take a complement, or for a column.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vecdb.errors import CorruptionError
from vecdb.fields.postings import CHUNK, change_bits
from vecdb.fields.slots import SlotSet
from vecdb.storage import keys
from vecdb.storage.catalog import Table
from vecdb.storage.geometry import LIVE_BYTES
from vecdb.storage.keys import ROWS_LIVE, Space
from vecdb.storage.view import PendingWrites, Records


def read_live(records: Records, table: Table) -> SlotSet:
    """The slots that have rows."""
    number, slots = table.schema.table, table.state.slots
    blocks = [_read_block(records, number, block) for block in range(-(-slots // CHUNK))]
    return SlotSet.of_bits(np.frombuffer(b"".join(blocks), np.uint8)).check_below(slots)


def change_live(writes: PendingWrites, table: int, removed: Iterable[int], added: Iterable[int]) -> None:
    """Clear the bits of slots whose rows are gone, and set those of slots that got one."""
    changes: dict[int, tuple[list[int], list[int]]] = {}
    for place, slots in enumerate((removed, added)):
        for slot in slots:
            changes.setdefault(slot // CHUNK, ([], []))[place].append(slot % CHUNK)
    for block, (cleared, set_) in changes.items():
        bits = change_bits(_read_block(writes, table, block), cleared, set_)
        writes.put(Space.LIVE, keys.block(table, ROWS_LIVE, block), bits)


def has_rows(records: Records, table: int, first: int, stop: int) -> bool:
    """Whether a slot from `first` to before `stop`, whole bytes of live bits, has a row."""
    blocks = range(first // CHUNK, -(-stop // CHUNK))
    bits = b"".join([_read_block(records, table, block) for block in blocks])
    start = blocks.start * LIVE_BYTES
    return any(bits[first // 8 - start : stop // 8 - start])


def _read_block(records: Records, table: int, block: int) -> bytes | memoryview:
    payload = records.get(Space.LIVE, keys.block(table, ROWS_LIVE, block))
    if payload is None:
        return bytes(LIVE_BYTES)
    if len(payload) != LIVE_BYTES:
        raise CorruptionError(f"block {block} of the live bits of table {table} has {len(payload)} bytes")
    return payload
