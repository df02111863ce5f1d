"""Insert, upsert, update, delete: what each asks of the table, and the one funnel through which rows are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vecdb.errors import DuplicateIdError, FieldError, LimitError, RowNotFoundError
from vecdb.fields.schema import join_fields, split_fields
from vecdb.mirror.writer import Writer
from vecdb.options import MAX_ROW_BYTES, MAX_SLOTS
from vecdb.storage import keys
from vecdb.storage.catalog import Field, Schema, Table
from vecdb.storage.keys import Space
from vecdb.storage.rows import (
    Id,
    RowRecord,
    decode_row,
    delete_row,
    encode_row,
    find_slot,
    put_id,
    put_row,
    read_row,
)
from vecdb.write.batch import Batch, ColumnVectors, absent, read_vectors

Progress = Callable[[int], None]


def insert(writer: Writer, table: Table, batch: Batch, progress: Progress) -> None:
    """Write rows whose ids are new; DuplicateIdError for one that is not."""
    seen: set[Id] = set()
    for identifier in batch.ids:
        if identifier in seen:
            raise DuplicateIdError(f"table {table.schema.name!r}: the id {identifier!r} stands twice in this insert")
        seen.add(identifier)
        if find_slot(writer.records, table.schema.table, identifier) is not None:
            raise DuplicateIdError(f"table {table.schema.name!r} has a row {identifier!r} already; upsert replaces it")
    _write(writer, table, batch, [None] * len(batch), progress)


def upsert(writer: Writer, table: Table, batch: Batch, progress: Progress) -> None:
    """Write rows, replacing those that have the same ids. Where an id stands twice, the last one counts."""
    last = {identifier: row for row, identifier in enumerate(batch.ids)}
    if len(last) < len(batch):
        batch = batch.take(sorted(last.values()))
    slots = [find_slot(writer.records, table.schema.table, identifier) for identifier in batch.ids]
    _write(writer, table, batch, slots, progress)


def update(
    writer: Writer,
    table: Table,
    ids: list[Id],
    fields: Sequence[Mapping[str, Any] | None],
    vectors: object,
    *,
    single: bool,
) -> int:
    """Change some fields and vectors of rows; RowNotFoundError for an id without one."""
    schema = table.schema
    slots: list[int] = []
    old_rows: list[RowRecord] = []
    values, extras = [], []
    for identifier, changed in zip(ids, fields, strict=True):
        slot = find_slot(writer.records, schema.table, identifier)
        row = None if slot is None else read_row(writer.records, schema, slot)
        if slot is None or row is None:
            raise RowNotFoundError(f"table {schema.name!r} has no row {identifier!r}")
        merged = join_fields(schema, row.values, row.extra)
        if changed is not None:
            if not isinstance(changed, Mapping):
                raise FieldError(f"row {identifier!r}: fields must be a dict, not {type(changed).__name__}")
            merged.update(changed)
        declared, extra = split_fields(schema, merged, identifier)
        slots.append(slot)
        old_rows.append(row)
        values.append(declared)
        extras.append(extra)
    if len(set(ids)) < len(ids):
        raise DuplicateIdError(f"table {schema.name!r}: an id stands twice in this update")
    given = read_vectors(schema, vectors, ids, single=single)
    for place, column in enumerate(schema.columns):
        if column.number not in given:
            given[column.number] = kept = absent(column, len(ids))
            for number, (slot, old) in enumerate(zip(slots, old_rows, strict=True)):
                if old.vectors >> place & 1:
                    kept.values[number] = writer.vector(table, column, slot)
                    kept.present[number] = True
    _write(writer, table, Batch(ids, given, values, extras), slots, lambda done: None)
    return len(ids)


def delete(writer: Writer, table: Table, ids: Sequence[Id]) -> int:
    """Delete the rows that exist; how many there were."""
    slots = [find_slot(writer.records, table.schema.table, identifier) for identifier in dict.fromkeys(ids)]
    found = [slot for slot in slots if slot is not None]
    with writer.changing():
        _remove(writer, table, found)
    return len(found)


def add_field(writer: Writer, table: Table, field: Field) -> None:
    """Declare a field. Values that rode along under its name move into it; FieldError for one that does not fit."""
    wider = replace(table.schema, fields=(*table.schema.fields, field))
    moved = []
    for key, payload in writer.records.scan(Space.ROWS, keys.table_prefix(wider.table)):
        slot = keys.slot_of_row(key)
        row = decode_row(payload, wider, slot)
        if field.name in row.extra:
            values, extra = split_fields(wider, join_fields(table.schema, row.values, row.extra), row.id)
            moved.append((slot, encode_row(row._replace(version=writer.version_number, values=values, extra=extra))))
    with writer.changing():
        writer.change_schema(wider)
        for slot, row_payload in moved:
            put_row(writer.records, wider.table, slot, row_payload)


def _write(writer: Writer, table: Table, batch: Batch, old_slots: Sequence[int | None], progress: Progress) -> None:
    """Write every row of a batch. `old_slots` are those of the rows that are replaced.

    A row whose vectors stay as they are keeps its slot, and the graph is not touched; any other gets a new slot,
    and the old one becomes a tombstone.
    """
    schema = table.schema
    keeps = [slot is not None and _same_vectors(writer, table, batch, row, slot) for row, slot in enumerate(old_slots)]
    appended = [row for row, keep in enumerate(keeps) if not keep]
    first = table.state.slots
    if first + len(appended) > MAX_SLOTS:
        raise LimitError(f"table {schema.name!r} would need more than {MAX_SLOTS} slots")
    new_slots = iter(range(first, first + len(appended)))
    slots = [
        slot if keep and slot is not None else next(new_slots) for keep, slot in zip(keeps, old_slots, strict=True)
    ]
    payloads = [_encode(writer, schema, batch, row) for row in range(len(batch))]
    with writer.changing():
        _remove(writer, table, [slot for row in appended if (slot := old_slots[row]) is not None])
        for row, (identifier, slot) in enumerate(zip(batch.ids, slots, strict=True)):
            put_row(writer.records, schema.table, slot, payloads[row])
            if not keeps[row]:
                put_id(writer.records, schema.table, identifier, slot)
        _append(writer, table, batch.take(appended) if len(appended) < len(batch) else batch, progress)


def _append(writer: Writer, table: Table, batch: Batch, progress: Progress) -> None:
    """Give new slots their vectors and the table its counters."""
    if not len(batch):
        return
    schema = table.schema
    state = writer.tables[schema.table].state
    columns = max(1, len(schema.columns))
    for number, column in enumerate(schema.columns):
        vectors: ColumnVectors = batch.vectors[column.number]

        def report(done: int, before: int = number) -> None:
            progress((before * len(batch) + done) // columns)

        writer.writable(table, column).append(vectors.values, vectors.present, report)
    ints = [identifier for identifier in batch.ids if isinstance(identifier, int)]
    writer.set_state(
        schema.table,
        replace(
            state,
            slots=state.slots + len(batch),
            rows=state.rows + len(batch),
            next_id=min(max(state.next_id, max(ints, default=0) + 1), 2**63),
            text_ids=state.text_ids + len(batch) - len(ints),
        ),
    )


def _remove(writer: Writer, table: Table, slots: Sequence[int]) -> None:
    """Turn the rows in `slots` into tombstones."""
    if not slots:
        return
    schema = table.schema
    state = writer.tables[schema.table].state
    dead: dict[int, list[int]] = {}
    text_ids = 0
    for slot in slots:
        row = read_row(writer.records, schema, slot)
        assert row is not None, "an id names a slot without a row"
        delete_row(writer.records, schema.table, slot, row.id)
        text_ids += isinstance(row.id, str)
        for place in range(len(schema.columns)):
            if row.vectors >> place & 1:
                dead.setdefault(place, []).append(slot)
    for place, column_slots in dead.items():
        writer.writable(table, schema.columns[place]).remove(np.array(column_slots, np.int64))
    writer.set_state(schema.table, replace(state, rows=state.rows - len(slots), text_ids=state.text_ids - text_ids))


def _same_vectors(writer: Writer, table: Table, batch: Batch, row: int, slot: int) -> bool:
    """Whether the stored row in `slot` has the vectors of the batch's row, bit for bit."""
    old = read_row(writer.records, table.schema, slot)
    if old is None or old.vectors != batch.columns_mask(table.schema, row):
        return False
    for place, column in enumerate(table.schema.columns):
        if old.vectors >> place & 1:
            stored = writer.vector(table, column, slot).astype(np.float32)
            if stored.tobytes() != batch.vectors[column.number].values[row].tobytes():
                return False
    return True


def _encode(writer: Writer, schema: Schema, batch: Batch, row: int) -> bytes:
    record = RowRecord(
        batch.ids[row], writer.version_number, batch.columns_mask(schema, row), batch.values[row], batch.extras[row]
    )
    payload = encode_row(record)
    if len(payload) > MAX_ROW_BYTES:
        raise FieldError(f"row {record.id!r}: its fields take {len(payload)} bytes; the most is {MAX_ROW_BYTES}")
    return payload
