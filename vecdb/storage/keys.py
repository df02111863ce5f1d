"""The sub-databases and their keys: the only code that makes a key. FORMAT.md has the byte table.

Integers in keys are big-endian and unsigned, so that the order of keys is the order of numbers. All of this is
stored: never change a name, a tag or a width.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from enum import Enum
from typing import Final

from vecdb.errors import CorruptionError


class Space(Enum):
    """The sub-databases."""

    HEADER = b"header"
    CATALOG = b"catalog"
    ROWS = b"rows"
    IDS = b"ids"
    VECTORS = b"vectors"
    CODES = b"codes"
    LINKS = b"links"
    JOURNAL = b"journal"
    UPPER = b"upper"
    LIVE = b"live"
    TERMS = b"terms"
    COLUMNS = b"columns"
    CHANGES = b"changes"

    # Members are singletons: hash them as such, not by name, as they are hashed on every read.
    __hash__ = object.__hash__


BLOCK_SPACES: Final = (Space.VECTORS, Space.CODES, Space.LINKS, Space.UPPER, Space.LIVE)
GRAPH_SPACES: Final = (Space.CODES, Space.LINKS, Space.JOURNAL, Space.UPPER)  # what follows from the vectors
TABLE_SPACES: Final = (Space.CATALOG, Space.ROWS, Space.IDS, *BLOCK_SPACES, Space.JOURNAL, Space.TERMS, Space.COLUMNS)

FORMAT: Final = b"format"
STATE: Final = b"state"

ROWS_LIVE: Final = 0  # the column number of the live bits of rows; vector columns have numbers from 1
QUANTIZER: Final = 2**32 - 1  # the number under which the codes' quantizer is stored, after all their blocks

_DEFINITION: Final = 0
_COUNTERS: Final = 1
_INT_ID: Final = b"\x01"
_STR_ID: Final = b"\x02"

_TABLE: Final = struct.Struct(">I")
_CATALOG: Final = struct.Struct(">IB")
_ROW: Final = struct.Struct(">II")
_BLOCK: Final = struct.Struct(">IHI")
_PREFIX: Final = struct.Struct(">IH")
_CHUNK: Final = struct.Struct(">I")
_CHANGE: Final = struct.Struct(">Q")
_JOURNAL: Final = struct.Struct(">IHQ")
_INT: Final = struct.Struct(">Q")


def table_prefix(table: int) -> bytes:
    """What every key of a table begins with, in each of TABLE_SPACES."""
    return _TABLE.pack(table)


def definition(table: int) -> bytes:
    return _CATALOG.pack(table, _DEFINITION)


def counters(table: int) -> bytes:
    return _CATALOG.pack(table, _COUNTERS)


def table_of_definition(key: bytes) -> int | None:
    """The table whose definition the catalog key names; None for its counters."""
    table, kind = _unpack(_CATALOG, key)
    return table if kind == _DEFINITION else None


def row(table: int, slot: int) -> bytes:
    return _ROW.pack(table, slot)


def parts_of_rows(keys: Collection[bytes]) -> Iterator[tuple[int, ...]]:
    """(table, slot) of each."""
    return _unpack_all(_ROW, keys)


def slot_of_row(key: bytes) -> int:
    return _unpack(_ROW, key)[1]


def row_id(table: int, identifier: int | str) -> bytes:
    """Ints in numeric order, then strings in the order of their UTF-8 bytes."""
    if isinstance(identifier, str):
        return _TABLE.pack(table) + _STR_ID + identifier.encode()
    return _TABLE.pack(table) + _INT_ID + _INT.pack(identifier + 2**63)


def block(table: int, column: int, number: int) -> bytes:
    return _BLOCK.pack(table, column, number)


def parts_of_blocks(keys: Collection[bytes]) -> Iterator[tuple[int, ...]]:
    """(table, column, block number) of each."""
    return _unpack_all(_BLOCK, keys)


def column_prefix(table: int, column: int) -> bytes:
    """What the keys of a vector column begin with, in each of BLOCK_SPACES and the journal."""
    return _PREFIX.pack(table, column)


def journal(table: int, column: int, position: int) -> bytes:
    return _JOURNAL.pack(table, column, position)


def position_of_entry(key: bytes) -> int:
    return _unpack(_JOURNAL, key)[2]


def terms_prefix(table: int, field: int) -> bytes:
    """What the keys of all terms of a field begin with."""
    return _PREFIX.pack(table, field)


def term(prefix: bytes, value: bytes, chunk: int) -> bytes:
    """A chunk of the slots that have an encoded value, in the field of `terms_prefix`."""
    return prefix + value + _CHUNK.pack(chunk)


def value_of_term(key: bytes) -> bytes:
    return key[_PREFIX.size : -_CHUNK.size]


def chunk_of_term(key: bytes) -> int:
    return int.from_bytes(key[-_CHUNK.size :], "big")


def without_chunk(key: bytes) -> bytes:
    """What the keys of all chunks of a term have in common."""
    return key[: -_CHUNK.size]


def with_chunk(term: bytes, chunk: int) -> bytes:
    """The key of a chunk, of what `without_chunk` gives."""
    return term + _CHUNK.pack(chunk)


def column_block(table: int, field: int, number: int) -> bytes:
    return _BLOCK.pack(table, field, number)


def change(version: int) -> bytes:
    return _CHANGE.pack(version)


def version_of_change(key: bytes) -> int:
    return _unpack(_CHANGE, key)[0]


def _unpack(layout: struct.Struct, key: bytes) -> tuple[int, ...]:
    if len(key) != layout.size:
        raise CorruptionError(f"the key {key.hex()} has {len(key)} bytes instead of {layout.size}")
    return layout.unpack(key)


def _unpack_all(layout: struct.Struct, keys: Collection[bytes]) -> Iterator[tuple[int, ...]]:
    """As `_unpack` of each, many times as fast."""
    if set(map(len, keys)) <= {layout.size}:
        return layout.iter_unpack(b"".join(keys))
    return iter([_unpack(layout, key) for key in keys])
