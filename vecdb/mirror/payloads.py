"""Payloads of a column's blocks in the file, and what to say where one is not as it should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.storage import keys
from vecdb.storage.catalog import Column, Schema
from vecdb.storage.keys import Space
from vecdb.storage.view import Records

Numbers: TypeAlias = NDArray[np.int64]  # of blocks, ascending

_BLOCKS_AT_ONCE: Final = 16  # that are read and verified before the first is given out
_BYTES_AT_ONCE: Final = 1 << 20  # of blocks that are decoded together


class Place:
    """Where a column's blocks belong, for messages and keys."""

    def __init__(self, schema: Schema, column: Column) -> None:
        self.table = schema.table
        self.column = column
        self._name = f"table {schema.name!r}, column {column.name!r}"

    def key(self, number: int) -> bytes:
        return keys.block(self.table, self.column.number, number)

    def error(self, space: Space, number: int, problem: str) -> CorruptionError:
        return CorruptionError(f"{self._name}: block {number} of {space.value.decode()} {problem}")


def read_payload(records: Records, where: Place, space: Space, number: int, size: int) -> memoryview | bytes:
    """The payload of a block, which has `size` bytes."""
    return next(read_each(records, where, space, (number,), size))


def read_each(
    records: Records, where: Place, space: Space, numbers: Iterable[int], size: int
) -> Iterator[memoryview | bytes]:
    """Payloads of blocks, of `size` bytes each."""
    remaining = iter(numbers)
    while part := tuple(islice(remaining, _BLOCKS_AT_ONCE)):
        payloads = records.get_each(space, [where.key(number) for number in part])
        for number, payload in zip(part, payloads, strict=True):
            if payload is None or len(payload) != size:
                raise where.error(space, number, "is missing" if payload is None else "has the wrong length")
            yield payload


def read_payloads(
    records: Records, where: Place, space: Space, numbers: Numbers, size: int
) -> Iterator[tuple[Numbers, bytes]]:
    """Payloads of blocks, of `size` bytes each: some of the numbers at a time, with their payloads joined."""
    at_once = max(1, _BYTES_AT_ONCE // size)
    for start in range(0, len(numbers), at_once):
        part = numbers[start : start + at_once]
        yield part, b"".join(read_each(records, where, space, part.tolist(), size))


def without(numbers: Numbers, others: Numbers) -> Numbers:
    """The numbers that are not among others, as a rule none."""
    return numbers if len(others) == 0 else np.setdiff1d(numbers, others)
