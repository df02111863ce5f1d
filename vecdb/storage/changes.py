"""The change log: which blocks and rows each commit changed, so that a mirror or a backup can follow.

A version's entry is written in the transaction that it describes. Old entries are trimmed; who is behind the
oldest one reads everything anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain
from operator import add
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.options import CHANGE_LOG_VERSIONS
from vecdb.storage import keys
from vecdb.storage.keys import BLOCK_SPACES, Space
from vecdb.storage.records import pack, unpack
from vecdb.storage.view import PendingWrites, Records

Numbers: TypeAlias = NDArray[np.int64]
# (table, column) → numbers of changed blocks by space.
BlockChanges: TypeAlias = dict[tuple[int, int], dict[Space, Numbers]]

_TRIM_EVERY = 64  # versions: to do it with each would cost each a page


def write_changes(writes: PendingWrites, version: int) -> None:
    """Log what `writes` changes, and trim the log."""
    tables: dict[int, list[int]] = {}
    for table, slot in keys.parts_of_rows(writes.changes[Space.ROWS]):
        tables.setdefault(table, []).append(slot)
    blocks: dict[tuple[int, int, str], list[int]] = {}
    for space in BLOCK_SPACES:
        name = space.value.decode()
        for table, column, number in keys.parts_of_blocks(writes.changes[space]):
            blocks.setdefault((table, column, name), []).append(number)
    entry = [
        [[table, _encode_ranges(slots)] for table, slots in sorted(tables.items())],
        [[*place, _encode_ranges(numbers)] for place, numbers in sorted(blocks.items())],
    ]
    writes.put(Space.CHANGES, keys.change(version), pack(entry))
    if version % _TRIM_EVERY:
        return
    for key, _ in writes.scan(Space.CHANGES, b""):
        if keys.version_of_change(key) > version - CHANGE_LOG_VERSIONS:
            break
        writes.delete(Space.CHANGES, key)


def read_block_changes(records: Records, versions: range) -> BlockChanges | None:
    """The blocks changed by the versions, of which `records` reads the last; None where the log no longer reaches back
    to the first."""
    found: dict[tuple[int, int], dict[Space, list[Numbers]]] = {}
    for version in versions:
        payload = records.get(Space.CHANGES, keys.change(version))
        if payload is None:
            return None
        for table, column, space, numbers in _blocks_of(payload, version):
            found.setdefault((table, column), {}).setdefault(space, []).append(numbers)
    return {
        place: {
            space: parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts)) for space, parts in spaces.items()
        }
        for place, spaces in found.items()
    }


def _blocks_of(payload: bytes | memoryview, version: int) -> Iterator[tuple[int, int, Space, Numbers]]:
    what = f"the change log of version {version}"
    entry = unpack(payload, what)
    try:
        for table, column, space, ranges in entry[1]:
            yield int(table), int(column), Space(space.encode()), _decode_ranges(ranges)
    except (TypeError, ValueError, struct.error, IndexError, AttributeError) as error:
        raise CorruptionError(f"{what} is malformed: {error}") from error


def _encode_ranges(numbers: list[int]) -> bytes:
    """Sorted numbers as (first, length) pairs of their runs."""
    runs: list[int] = []
    expected = -1
    for number in sorted(numbers):
        if number == expected:
            runs[-1] += 1
        else:
            runs += [number, 1]
        expected = number + 1
    return struct.pack(f">{len(runs)}I", *runs)


def _decode_ranges(ranges: bytes) -> Numbers:
    runs = struct.unpack(f">{len(ranges) // 4}I", ranges)
    firsts, lengths = runs[::2], runs[1::2]
    if not runs or len(firsts) != len(lengths) or sum(lengths) > 2**32 or max(map(add, firsts, lengths)) > 2**32:
        raise ValueError("impossible ranges")
    if len(runs) == 2:
        return np.arange(runs[0], runs[0] + runs[1])
    numbers = chain.from_iterable(range(first, first + length) for first, length in zip(firsts, lengths, strict=True))
    return np.fromiter(numbers, np.int64, sum(lengths))
