"""Rows by slot or id, as calls give them back."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import FieldError
from vecdb.fields.schema import join_fields
from vecdb.mirror.view import View
from vecdb.query.matching import Matching
from vecdb.query.order import By, sort_rows
from vecdb.query.results import Parts, Row, Vectors
from vecdb.storage import keys
from vecdb.storage.catalog import Table
from vecdb.storage.keys import Space
from vecdb.storage.rows import ROWS_AT_ONCE, Id, RowRecord, decode_row, existing_rows, find_row

Wanted: TypeAlias = Collection[str] | bool | None  # fields: None and True are all, False is none


def get(view: View, table: Table, identifier: Id, wanted: Wanted, vectors: bool) -> Row | None:
    """The row of an id."""
    found = find_row(view.records, table.schema, identifier)
    return None if found is None else Row(*_parts(view, table, *found, wanted, vectors))


def fetch(view: View, table: Table, slots: NDArray[np.int32], wanted: Wanted, vectors: bool) -> list[Parts]:
    """The rows in slots that have one."""
    schema = table.schema
    rows = existing_rows(view.records, schema, slots.tolist(), at_first=ROWS_AT_ONCE)
    if wanted is None and not vectors:  # as most ask
        return [(identifier, join_fields(schema, values, extra), None) for _, (identifier, _, _, values, extra) in rows]
    return [_parts(view, table, slot, record, wanted, vectors) for slot, record in rows]


def fetch_ids(view: View, table: Table, slots: NDArray[np.int32]) -> NDArray[Any]:
    """Ids of slots, in an array of the same shape; -1 or None where the slot is -1."""
    found = slots >= 0
    ids = view.ids(table, slots[found])
    if table.state.text_ids:
        ids = ids.astype(object, copy=False)
    elif ids.dtype == object and all(isinstance(identifier, int) for identifier in ids):
        ids = ids.astype(np.int64)  # the strs are deleted
    if len(ids) == slots.size:
        return ids.reshape(slots.shape)
    filled = np.full(slots.shape, None if ids.dtype == object else -1, ids.dtype)
    filled[found] = ids
    return filled


def scan(view: View, table: Table, wanted: Wanted, vectors: bool, matching: Matching | None = None) -> Iterator[Row]:
    """The rows that match, or all, in the order of insertion."""
    for slot, record in _records(view, table, matching):
        yield Row(*_parts(view, table, slot, record, wanted, vectors))


def scan_ordered(
    view: View, table: Table, wanted: Wanted, vectors: bool, matching: Matching | None, order: list[By]
) -> Iterator[Row]:
    """The same, ordered by fields: the values of these are in memory for all rows meanwhile."""
    names = {by.path[0] for by in order}
    found = []
    for slot, record in _records(view, table, matching):
        fields = join_fields(table.schema, record.values, record.extra)
        found.append(({name: fields.get(name) for name in names}, slot))
    for slot, record in existing_rows(view.records, table.schema, sort_rows(found, order)):
        yield Row(*_parts(view, table, slot, record, wanted, vectors))


def check_wanted(wanted: object) -> Wanted:
    """A `fields=` argument: None, a bool, or names, which need not be declared."""
    if wanted is None or isinstance(wanted, bool):
        return wanted
    if isinstance(wanted, str) or not isinstance(wanted, Collection) or not all(isinstance(n, str) for n in wanted):
        raise FieldError(f"fields is None, False or a list of names, not {wanted!r}")
    return wanted


def _records(view: View, table: Table, matching: Matching | None) -> Iterator[tuple[int, RowRecord]]:
    """The rows that match, or all, with their slots, ascending."""
    if matching is not None:
        yield from existing_rows(view.records, table.schema, matching.slots.tolist())
        return
    for key, payload in view.records.scan(Space.ROWS, keys.table_prefix(table.schema.table)):
        slot = keys.slot_of_row(key)
        yield slot, decode_row(payload, table.schema, slot)


def _parts(view: View, table: Table, slot: int, record: RowRecord, wanted: Wanted, vectors: bool) -> Parts:
    if wanted is False:
        fields = {}
    else:
        fields = join_fields(table.schema, record.values, record.extra)
        if wanted is not None and wanted is not True:
            fields = {name: fields.get(name) for name in wanted}
    return record.id, fields, _read_vectors(view, table, slot, record.vectors) if vectors else None


def _read_vectors(view: View, table: Table, slot: int, mask: int) -> Vectors:
    return {
        column.name: view.vector(table, column, slot)
        for place, column in enumerate(table.schema.columns)
        if mask >> place & 1
    }
