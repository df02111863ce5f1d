"""Row records: id, version, which vector columns the row has, declared fields in their order, everything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from vecdb.errors import CorruptionError
from vecdb.options import MAX_SLOTS
from vecdb.storage import keys
from vecdb.storage.catalog import Schema
from vecdb.storage.keys import Space
from vecdb.storage.records import packer, unpack
from vecdb.storage.view import PendingWrites, Records

Id = int | str

ROWS_AT_ONCE: Final = 16  # that are read and decoded together, at most
_ROW_NAME: Final = "the row in slot %d of table %r"


class RowRecord(NamedTuple):
    """A stored row. Declared fields past the end of `values` are null; bit i of `vectors` is column i of the schema."""

    id: Id
    version: int
    vectors: int
    values: list[Any]
    extra: dict[str, Any]


def find_slot(records: Records, table: int, identifier: Id) -> int | None:
    """The slot of the row with the id."""
    payload = records.get(Space.IDS, keys.row_id(table, identifier))
    if payload is None:
        return None
    slot = int.from_bytes(payload, "big")
    if len(payload) != 4 or slot > MAX_SLOTS:
        raise CorruptionError(f"the slot of id {identifier!r} in table {table} is malformed")
    return slot


def find_row(records: Records, schema: Schema, identifier: Id) -> tuple[int, RowRecord] | None:
    """The slot and the row of an id."""
    slot = find_slot(records, schema.table, identifier)
    if slot is None:
        return None
    ((_, row),) = read_rows(records, schema, (slot,))
    if row.id != identifier or type(row.id) is not type(identifier):
        raise CorruptionError(
            f"table {schema.name!r}: the id {identifier!r} points to slot {slot}, which has another row"
        )
    return slot, row


def existing_rows(
    records: Records, schema: Schema, slots: Iterable[int], *, at_first: int = 1
) -> Iterator[tuple[int, RowRecord]]:
    """Slots that have rows, and these, in the order of the slots. So many are read `at_first`: some want no more."""
    remaining, at_once = iter(slots), at_first
    while part := tuple(islice(remaining, at_once)):
        yield from read_rows(records, schema, part)
        at_once = min(2 * at_once, ROWS_AT_ONCE)


def read_rows(records: Records, schema: Schema, slots: Sequence[int]) -> Iterable[tuple[int, RowRecord]]:
    """The same of a few, read at once. Where one is damaged, that is told when its turn comes."""
    try:
        payloads = records.get_each(Space.ROWS, [keys.row(schema.table, slot) for slot in slots])
        rows = []  # all are decoded before the first is given out: who takes it may close the reader
        for slot, payload in zip(slots, payloads, strict=True):
            if payload is None:
                raise CorruptionError(f"table {schema.name!r} has no row in slot {slot}, to which an index points")
            rows.append((slot, decode_row(payload, schema, slot)))
        return rows
    except CorruptionError:
        if len(slots) == 1:
            raise
    return (row for slot in slots for row in read_rows(records, schema, (slot,)))


def decode_row(payload: bytes | memoryview, schema: Schema, slot: int) -> RowRecord:
    row = unpack(payload, _ROW_NAME, slot, schema.name)
    if type(row) is list and len(row) == len(RowRecord._fields):
        identifier, _, vectors, values, extra = row
        if (
            (type(identifier) is str or (type(identifier) is int and -(2**63) <= identifier < 2**63))
            and type(vectors) is int
            and type(values) is list
            and type(extra) is dict
            and len(values) <= len(schema.fields)
        ):
            return RowRecord._make(row)
    raise CorruptionError(f"{_ROW_NAME % (slot, schema.name)} is malformed")


def put_rows(writes: PendingWrites, table: int, payloads: Iterable[tuple[int, bytes]]) -> None:
    """Store encoded rows, each with its slot."""
    writes.put_all(Space.ROWS, {keys.row(table, slot): payload for slot, payload in payloads})


def put_ids(writes: PendingWrites, table: int, slots: Iterable[tuple[Id, int]]) -> None:
    """Store the slots of ids."""
    writes.put_all(Space.IDS, {keys.row_id(table, identifier): slot.to_bytes(4, "big") for identifier, slot in slots})


def delete_rows(writes: PendingWrites, table: int, ids: Mapping[int, Id]) -> None:
    """Delete rows and their ids, by slot."""
    writes.put_all(Space.ROWS, {keys.row(table, slot): None for slot in ids})
    writes.put_all(Space.IDS, {keys.row_id(table, identifier): None for identifier in ids.values()})


def encode_rows(rows: Iterable[RowRecord]) -> list[bytes]:
    """The payloads of rows."""
    pack = packer()
    return [pack(list(row)) for row in rows]
