"""Rows by slot or id: decoded here and nowhere else."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError, FieldError
from vecdb.fields.schema import join_fields
from vecdb.mirror.versions import View
from vecdb.query.results import Row, Vectors
from vecdb.storage import keys
from vecdb.storage.catalog import Table
from vecdb.storage.keys import Space
from vecdb.storage.rows import Id, RowRecord, decode_row, find_row, read_row

Wanted = Collection[str] | bool | None  # fields: None and True are all, False is none


def get(view: View, table: Table, identifier: Id, wanted: Wanted, vectors: bool) -> Row | None:
    """The row of an id."""
    found = find_row(view.records, table.schema, identifier)
    return None if found is None else _make_row(view, table, *found, wanted, vectors)


def fetch(view: View, table: Table, slot: int, wanted: Wanted, vectors: bool) -> Row:
    """The row in a slot that has one."""
    record = read_row(view.records, table.schema, slot)
    if record is None:
        raise CorruptionError(f"table {table.schema.name!r} has no row in slot {slot}, to which an index points")
    return _make_row(view, table, slot, record, wanted, vectors)


def scan(view: View, table: Table, wanted: Wanted, vectors: bool) -> Iterator[Row]:
    """Every row, in the order of insertion."""
    for key, payload in view.records.scan(Space.ROWS, keys.table_prefix(table.schema.table)):
        slot = keys.slot_of_row(key)
        yield _make_row(view, table, slot, decode_row(payload, table.schema, slot), wanted, vectors)


def fetch_ids(view: View, table: Table, slots: NDArray[np.int32]) -> NDArray[Any]:
    """Ids of slots, in an array of the same shape; -1 or None where the slot is -1."""
    distinct, inverse = np.unique(slots, return_inverse=True)
    ids: list[Id | None] = [None if slot < 0 else fetch(view, table, int(slot), False, False).id for slot in distinct]
    if not any(isinstance(identifier, str) for identifier in ids) and table.state.text_ids == 0:
        values: NDArray[Any] = np.array([-1 if identifier is None else identifier for identifier in ids], np.int64)
    else:
        values = np.empty(len(ids), object)
        values[:] = ids
    return values[inverse].reshape(slots.shape)


def check_wanted(wanted: object) -> Wanted:
    """A `fields=` argument: None, a bool, or names, which need not be declared."""
    if wanted is None or isinstance(wanted, bool):
        return wanted
    if isinstance(wanted, str) or not isinstance(wanted, Collection) or not all(isinstance(n, str) for n in wanted):
        raise FieldError(f"fields is None, False or a list of names, not {wanted!r}")
    return wanted


def _make_row(view: View, table: Table, slot: int, record: RowRecord, wanted: Wanted, vectors: bool) -> Row:
    if wanted is False:
        fields = {}
    else:
        fields = join_fields(table.schema, record.values, record.extra)
        if wanted is not None and wanted is not True:
            fields = {name: fields.get(name) for name in wanted}
    return Row(record.id, fields, _read_vectors(view, table, slot, record.vectors) if vectors else None)


def _read_vectors(view: View, table: Table, slot: int, mask: int) -> Vectors:
    return {
        column.name: view.vector(table, column, slot)
        for place, column in enumerate(table.schema.columns)
        if mask >> place & 1
    }
