"""Columns of declared fields: typed values of blocks of slots, so that filters need not decode rows.

The last block grows by 128 slots at a time, so that not every insert of a row rewrites it: slots after those are read
from their rows. A block keeps what deleted rows had; live bits tell. Lists have no columns. Stored: never change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.fields.encode import from_microseconds, to_microseconds
from vecdb.filters.values import Scalar
from vecdb.storage import keys
from vecdb.storage.catalog import Table
from vecdb.storage.keys import Space
from vecdb.storage.records import pack, unpack
from vecdb.storage.rows import existing_rows
from vecdb.storage.view import PendingWrites, Records

Mask: TypeAlias = NDArray[np.bool_]  # (BLOCK,)

BLOCK: Final = 984  # slots: of 8 bytes each, with two bits for each, they fill two pages
STEP: Final = 128  # slots by which the last block grows
_BITS: Final = BLOCK // 8  # bytes
_MAX_CHARACTERS: Final = 1 << 16  # of the different texts of a block; where they have more, they are in the rows alone

# The forms of a block, its first byte. Known bits are set where there is a value that is not null.
_NULLS: Final = 0  # nothing follows: all are null
_IN_ROWS: Final = 1  # nothing follows: the values are to be read from the rows
_INTS: Final = (2, 3, 4, 5)  # known bits, numbers in the narrowest form that holds all; bools are numbers
_FLOATS: Final = 6  # known bits, numbers
_DATETIMES: Final = 7  # known bits, bits of those that are aware, microseconds since 1970
_NUMBERS: Final = {2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", _FLOATS: "<f8", _DATETIMES: "<i8"}
_TEXTS: Final = {8: "<u1", 9: "<u2"}  # codes, then the different texts as msgpack: code 1 is the first, 0 is null
_FORMS: Final = {"bool": _INTS, "int": _INTS, "float": (_FLOATS,), "datetime": (_DATETIMES,)}


class Block(NamedTuple):
    """The values of a block's slots."""

    values: NDArray[Any]  # (BLOCK,) numbers, microseconds, or codes of texts
    known: Mask
    aware: Mask | None = None  # of datetimes
    texts: list[str] | None = None  # of texts

    def scalars(self, kind: str) -> list[Scalar]:
        """As Python's values of the field's type; aware datetimes in UTC."""
        if self.texts is not None:
            texts = [None, *self.texts]
            return [texts[code] for code in self.values.tolist()]
        values: list[Any] = self.values.tolist()
        if kind == "bool":
            values = [value != 0 for value in values]
        if self.aware is not None:
            values = [
                from_microseconds(value, aware=aware) if known else None
                for value, aware, known in zip(values, self.aware.tolist(), self.known.tolist(), strict=True)
            ]
        if self.known.all():
            return values
        return [value if known else None for value, known in zip(values, self.known.tolist(), strict=True)]


def has_column(kind: str) -> bool:
    """Whether a field of the type has a column: lists have none."""
    return not kind.startswith("list[")


def covered(slots: int) -> int:
    """The slots that columns cover in a table of so many: those after them are in their rows alone."""
    return slots // STEP * STEP


def read_block(records: Records, table: int, field: int, kind: str, number: int) -> Block | None:
    """A block of a field, null past the slots covered; None where its values are in the rows alone. Raises
    CorruptionError."""
    payload = records.get(Space.COLUMNS, keys.column_block(table, field, number))
    try:
        if payload is None:
            raise ValueError("it is missing")
        return _decode(payload, kind)
    except ValueError as error:
        raise CorruptionError(f"block {number} of field {field} of table {table} is malformed: {error}") from error


def write_block(
    writes: PendingWrites, table: int, field: int, kind: str, number: int, values: Sequence[Scalar]
) -> None:
    """A block of a field, by the values in the slots that are covered."""
    padded = [*values, *[None] * (BLOCK - len(values))]
    writes.put(Space.COLUMNS, keys.column_block(table, field, number), _encode(kind, padded))


def read_values(records: Records, table: Table, field: int, slots: Iterable[int]) -> Iterator[Any]:
    """The values of a field in slots that have rows, ascending: from its column where that has them."""
    schema, kind = table.schema, table.schema.fields[field].type
    stop = covered(table.state.slots) if has_column(kind) else 0
    for number, run in groupby(slots, lambda slot: slot // BLOCK if slot < stop else -1):
        block = read_block(records, schema.table, field, kind, number) if number >= 0 else None
        if block is None:
            for _, row in existing_rows(records, schema, run):
                yield row.values[field] if field < len(row.values) else None
        else:
            scalars = block.scalars(kind)
            for slot in run:
                yield scalars[slot - number * BLOCK]


def _encode(kind: str, values: Sequence[Any]) -> bytes:
    if kind == "str":
        return _encode_texts(values)
    known = np.ones(len(values), np.bool_)
    if None in values:
        known = np.array([value is not None for value in values])
        if not known.any():
            return bytes((_NULLS,))
    if kind == "datetime":
        pairs = [(0, False) if value is None else to_microseconds(value) for value in values]
        stamps, aware = zip(*pairs, strict=True)
        bits = np.packbits(np.array([known, aware]), axis=1, bitorder="little")
        return bytes((_DATETIMES,)) + bits.tobytes() + np.array(stamps, "<i8").tobytes()
    numbers = np.array(values if known.all() else [0 if value is None else value for value in values])
    if kind == "float":
        known &= ~np.isnan(numbers)
        form = _FLOATS
    else:
        form = next(form for form in _INTS if np.array_equal(numbers.astype(_NUMBERS[form]), numbers))
    return bytes((form,)) + np.packbits(known, bitorder="little").tobytes() + numbers.astype(_NUMBERS[form]).tobytes()


def _encode_texts(values: Sequence[str | None]) -> bytes:
    codes: dict[str | None, int] = {None: 0}
    coded = [codes.setdefault(value, len(codes)) for value in values]
    texts = [text for text in codes if text is not None]
    if not texts:
        return bytes((_NULLS,))
    if sum(map(len, texts)) > _MAX_CHARACTERS:
        return bytes((_IN_ROWS,))
    form = 8 if len(texts) < 256 else 9
    return bytes((form,)) + np.array(coded, _TEXTS[form]).tobytes() + pack(texts)


def _decode(payload: bytes | memoryview, kind: str) -> Block | None:
    form = payload[0] if len(payload) else -1
    if form == _NULLS:
        if len(payload) > 1:
            raise ValueError("values follow where all are null")
        return Block(np.zeros(BLOCK, np.int8), np.zeros(BLOCK, np.bool_), texts=[] if kind == "str" else None)
    if kind == "str":
        return None if bytes(payload) == bytes((_IN_ROWS,)) else _decode_texts(form, payload)
    if form not in _FORMS[kind]:
        raise ValueError(f"form {form} is none of a field of {kind}")
    bits = 2 if form == _DATETIMES else 1  # of each slot
    known, *aware = np.unpackbits(
        np.frombuffer(payload, np.uint8, bits * _BITS, 1).reshape(bits, _BITS), axis=1, bitorder="little"
    ).view(np.bool_)
    values = np.frombuffer(payload, _NUMBERS[form], offset=1 + bits * _BITS)
    if len(values) != BLOCK:
        raise ValueError(f"it has {len(values)} values")
    return Block(values, known, *aware)


def _decode_texts(form: int, payload: bytes | memoryview) -> Block:
    if form not in _TEXTS:
        raise ValueError(f"form {form} is none of a field of str")
    codes = np.frombuffer(payload, _TEXTS[form], BLOCK, 1)
    texts = unpack(payload[1 + codes.nbytes :], "the texts of a column")
    if type(texts) is not list or not all(type(text) is str for text in texts) or codes.max() > len(texts):
        raise ValueError("a code names no text")
    return Block(codes, codes > 0, texts=texts)
