"""Insert, upsert, update, delete: what each asks of the table, and the one place in which rows are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any, Final

import numpy as np

from vecdb.errors import DuplicateIdError, FieldError, LimitError, RowNotFoundError
from vecdb.fields import index
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
    delete_rows,
    encode_rows,
    existing_rows,
    find_row,
    find_slot,
    put_ids,
    put_rows,
)
from vecdb.write.batch import Batch, ColumnVectors, absent, read_vectors

Progress = Callable[[int], None]
_REPAIRED: Final = 2  # tombstones repaired with each new row: more than the one that an update leaves
OldRow = tuple[int, RowRecord]  # with its slot


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
    repeated = len(batch) - len(last)
    if repeated:
        batch = batch.take(sorted(last.values()))
    rows = [find_row(writer.records, table.schema, identifier) for identifier in batch.ids]
    _write(writer, table, batch, rows, lambda done: progress(done + repeated))


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
    old: list[OldRow] = []
    for identifier in ids:
        found = find_row(writer.records, schema, identifier)
        if found is None:
            raise RowNotFoundError(f"table {schema.name!r} has no row {identifier!r}")
        old.append(found)
    values, extras = _merge_fields(schema, old, fields)
    if len(set(ids)) < len(ids):
        raise DuplicateIdError(f"table {schema.name!r}: an id stands twice in this update")
    if vectors is None:
        _write_fields(writer, table, old, values, extras)
        return len(ids)
    given = read_vectors(schema, vectors, ids, single=single)
    for place, column in enumerate(schema.columns):
        if column.number not in given:
            given[column.number] = kept = absent(column, len(ids))
            for number, (slot, row) in enumerate(old):
                if row.vectors >> place & 1:
                    kept.values[number] = writer.vector(table, column, slot)
                    kept.present[number] = True
    _write(writer, table, Batch(ids, given, values, extras), old, lambda done: None)
    return len(ids)


def delete(writer: Writer, table: Table, ids: Sequence[Id]) -> int:
    """Delete the rows that exist; how many there were."""
    found = [find_row(writer.records, table.schema, identifier) for identifier in dict.fromkeys(ids)]
    return _delete(writer, table, dict(place for place in found if place is not None))


def delete_slots(writer: Writer, table: Table, slots: Sequence[int]) -> int:
    """Delete the rows in slots that have one; how many they are."""
    return _delete(writer, table, dict(existing_rows(writer.records, table.schema, slots)))


def _delete(writer: Writer, table: Table, rows: Mapping[int, RowRecord]) -> int:
    with writer.changing():
        _remove(writer, table, rows)
        index.change_rows(writer.records, table, {slot: row.values for slot, row in rows.items()}, {})
    return len(rows)


def update_slots(writer: Writer, table: Table, slots: Sequence[int], fields: Mapping[str, Any]) -> int:
    """Give the rows in these slots the same fields; how many they are."""
    old = list(existing_rows(writer.records, table.schema, slots))
    _write_fields(writer, table, old, *_merge_fields(table.schema, old, [fields] * len(old)))
    return len(old)


def _merge_fields(
    schema: Schema, old: Sequence[OldRow], fields: Sequence[Mapping[str, Any] | None]
) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    """Values and extras of rows after some of their fields are changed."""
    rows = []
    for (_, row), changed in zip(old, fields, strict=True):
        merged = join_fields(schema, row.values, row.extra)
        if changed is not None:
            if not isinstance(changed, Mapping):
                raise FieldError(f"row {row.id!r}: fields must be a dict, not {type(changed).__name__}")
            merged.update(changed)
        rows.append(merged)
    return split_fields(schema, rows, [row.id for _, row in old])


def add_field(writer: Writer, table: Table, field: Field) -> None:
    """Declare a field. Values that rode along under its name move into it; FieldError for one that does not fit."""
    wider = replace(table.schema, fields=(*table.schema.fields, field))
    moved: dict[int, RowRecord] = {}
    for key, payload in writer.records.scan(Space.ROWS, keys.table_prefix(wider.table)):
        slot = keys.slot_of_row(key)
        row = decode_row(payload, wider, slot)
        if field.name in row.extra:
            (values,), (extra,) = split_fields(wider, [join_fields(table.schema, row.values, row.extra)], [row.id])
            moved[slot] = row._replace(version=writer.version_number, values=values, extra=extra)
    with writer.changing():
        writer.change_schema(wider)
        put_rows(writer.records, wider.table, zip(moved, encode_rows(moved.values()), strict=True))
        position = len(table.schema.fields)
        column = {slot: row.values[position] for slot, row in moved.items() if len(row.values) > position}
        index.add_column(writer.records, writer.tables[wider.table], position, column)


def create_index(writer: Writer, table: Table, field: int, progress: Progress) -> None:
    """Index a field that has no index, by its position."""
    schema = table.schema
    with writer.changing():
        writer.change_schema(replace(schema, indexes=tuple(sorted((*schema.indexes, field)))))
        index.build_index(writer.records, table, field, progress)


def drop_index(writer: Writer, table: Table, field: int) -> None:
    """Drop the index of a field, by its position."""
    schema = table.schema
    with writer.changing():
        writer.change_schema(replace(schema, indexes=tuple(other for other in schema.indexes if other != field)))
        index.drop_index(writer.records, schema.table, field)


def _write(writer: Writer, table: Table, batch: Batch, old: Sequence[OldRow | None], progress: Progress) -> None:
    """Write every row of a batch. `old` are the rows that are replaced, None for those that are new.

    A row whose vectors stay as they are keeps its slot, and the graph is not touched; any other gets a new slot,
    and the old one becomes a tombstone.
    """
    schema = table.schema
    masks = batch.columns_masks(schema)
    keeps = [
        found is not None and found[1].vectors == masks[row] and _same_vectors(writer, table, batch, row, *found)
        for row, found in enumerate(old)
    ]
    appended = [row for row, keep in enumerate(keeps) if not keep]
    first = writer.tables[schema.table].state.slots
    if first + len(appended) > MAX_SLOTS:
        raise LimitError(f"table {schema.name!r} would need more than {MAX_SLOTS} slots")
    new_slots = iter(range(first, first + len(appended)))
    slots = [found[0] if keep and found else next(new_slots) for keep, found in zip(keeps, old, strict=True)]
    payloads = _encode(batch, masks, writer.version_number)
    with writer.changing():
        _remove(writer, table, dict(found for row in appended if (found := old[row]) is not None))
        put_rows(writer.records, schema.table, zip(slots, payloads, strict=True))
        put_ids(writer.records, schema.table, [(batch.ids[row], slots[row]) for row in appended])
        replaced = {found[0]: found[1].values for found in old if found is not None}
        index.change_rows(
            writer.records, writer.tables[schema.table], replaced, dict(zip(slots, batch.values, strict=True))
        )
        _append(writer, table, batch.take(appended) if len(appended) < len(batch) else batch, progress)
        progress(len(batch))


def _write_fields(
    writer: Writer, table: Table, old: Sequence[OldRow], values: list[list[Any]], extras: list[dict[str, Any]]
) -> None:
    """Write rows whose vectors stay, and so their slots and ids."""
    schema = table.schema
    masks = [row.vectors for _, row in old]
    payloads = _encode(Batch([row.id for _, row in old], {}, values, extras), masks, writer.version_number)
    slots = [slot for slot, _ in old]
    with writer.changing():
        put_rows(writer.records, schema.table, zip(slots, payloads, strict=True))
        index.change_rows(
            writer.records,
            writer.tables[schema.table],
            {slot: row.values for slot, row in old},
            dict(zip(slots, values, strict=True)),
        )


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

        mirror = writer.writable(table, column)
        mirror.append(vectors.values, vectors.present, report)
        mirror.repair(_REPAIRED * len(batch))
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


def _remove(writer: Writer, table: Table, rows: Mapping[int, RowRecord]) -> None:
    """Turn rows, by slot, into tombstones."""
    if not rows:
        return
    schema = table.schema
    delete_rows(writer.records, schema.table, {slot: row.id for slot, row in rows.items()})
    for place, column in enumerate(schema.columns):
        dead = [slot for slot, row in rows.items() if row.vectors >> place & 1]
        if dead:
            writer.writable(table, column).remove(np.array(dead, np.int64))
    state = writer.tables[schema.table].state
    text_ids = sum(isinstance(row.id, str) for row in rows.values())
    writer.set_state(schema.table, replace(state, rows=state.rows - len(rows), text_ids=state.text_ids - text_ids))


def _same_vectors(writer: Writer, table: Table, batch: Batch, row: int, slot: int, old: RowRecord) -> bool:
    """Whether the stored row in `slot` has the vectors of the batch's row, in the same columns, bit for bit."""
    for place, column in enumerate(table.schema.columns):
        if old.vectors >> place & 1:
            stored = writer.vector(table, column, slot).astype(np.float32)
            if stored.tobytes() != batch.vectors[column.number].values[row].tobytes():
                return False
    return True


def _encode(batch: Batch, masks: list[int], version: int) -> list[bytes]:
    """Row records of the batch; `masks` tell which vectors each has."""
    payloads = encode_rows(map(RowRecord, batch.ids, repeat(version), masks, batch.values, batch.extras))
    sizes = list(map(len, payloads))
    if max(sizes, default=0) > MAX_ROW_BYTES:
        row = next(row for row, size in enumerate(sizes) if size > MAX_ROW_BYTES)
        raise FieldError(f"row {batch.ids[row]!r}: its fields take {sizes[row]} bytes; the most is {MAX_ROW_BYTES}")
    return payloads
