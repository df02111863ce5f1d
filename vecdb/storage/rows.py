"""Row records: id, version, which vector columns the row has, declared fields in their order, everything else."""

from __future__ import annotations

from typing import Any, NamedTuple

from vecdb.errors import CorruptionError
from vecdb.options import MAX_SLOTS
from vecdb.storage import keys
from vecdb.storage.catalog import Schema
from vecdb.storage.keys import Space
from vecdb.storage.records import pack, unpack
from vecdb.storage.view import PendingWrites, Records

Id = int | str


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
    row = read_row(records, schema, slot)
    if row is None or row.id != identifier or type(row.id) is not type(identifier):
        raise CorruptionError(
            f"table {schema.name!r}: the id {identifier!r} points to slot {slot}, which has another row"
        )
    return slot, row


def read_row(records: Records, schema: Schema, slot: int) -> RowRecord | None:
    payload = records.get(Space.ROWS, keys.row(schema.table, slot))
    return None if payload is None else decode_row(payload, schema, slot)


def decode_row(payload: bytes | memoryview, schema: Schema, slot: int) -> RowRecord:
    what = f"the row in slot {slot} of table {schema.name!r}"
    row = unpack(payload, what)
    if not isinstance(row, list) or len(row) != len(RowRecord._fields):
        raise CorruptionError(f"{what} is malformed")
    record = RowRecord(*row)
    if (
        type(record.id) not in (int, str)
        or (isinstance(record.id, int) and not -(2**63) <= record.id < 2**63)
        or type(record.vectors) is not int
        or type(record.values) is not list
        or type(record.extra) is not dict
        or len(record.values) > len(schema.fields)
    ):
        raise CorruptionError(f"{what} is malformed")
    return record


def put_row(writes: PendingWrites, table: int, slot: int, payload: bytes) -> None:
    """Store an encoded row in its slot."""
    writes.put(Space.ROWS, keys.row(table, slot), payload)


def put_id(writes: PendingWrites, table: int, identifier: Id, slot: int) -> None:
    writes.put(Space.IDS, keys.row_id(table, identifier), slot.to_bytes(4, "big"))


def delete_row(writes: PendingWrites, table: int, slot: int, identifier: Id) -> None:
    writes.delete(Space.ROWS, keys.row(table, slot))
    writes.delete(Space.IDS, keys.row_id(table, identifier))


def encode_row(record: RowRecord) -> bytes:
    return pack(list(record))
