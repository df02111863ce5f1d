"""What follows the rows in their own transaction: live bits, terms of indexed fields, columns of all declared ones."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from itertools import groupby
from typing import Any, TypeAlias

from vecdb.errors import CorruptionError
from vecdb.fields.columns import BLOCK, covered, has_column, read_block, read_values, write_block
from vecdb.fields.encode import NULL, encode
from vecdb.fields.live import change_live, has_rows, read_live
from vecdb.fields.postings import CHUNK, change_posting, write_posting
from vecdb.fields.schema import Values
from vecdb.storage import keys
from vecdb.storage.catalog import Schema, Table
from vecdb.storage.keys import Space
from vecdb.storage.rows import decode_row
from vecdb.storage.view import PendingWrites

Rows: TypeAlias = Mapping[int, Values]  # declared values of rows, by slot
Terms: TypeAlias = dict[bytes, list[int]]  # slots of a chunk, counted from its first, by term


def change_rows(writes: PendingWrites, table: Table, old: Rows, new: Rows) -> None:
    """Follow a statement that took the rows `old` away and put `new` into their slots or into new ones.

    The rows are among the writes already; the counters of `table` are those from before.
    """
    schema = table.schema
    change_live(writes, schema.table, old.keys() - new.keys(), new.keys() - old.keys())
    kept = old.keys() & new.keys()
    for field in schema.indexes:
        same = {slot for slot in kept if _value(old[slot], field) == _value(new[slot], field)}
        gone, come = (_terms_by_chunk(schema, field, rows, same) for rows in (old, new))
        _change_terms(writes, table, field, gone, come)
    _change_columns(writes, table, old, new)
    filled = _fill_columns(writes, table, new)
    _drop_columns(writes, table, {*filled, *(slot // BLOCK for slot in old.keys() - new.keys())}, new)


def build_index(writes: PendingWrites, table: Table, field: int, report: Callable[[int], None]) -> None:
    """The terms of a field of every row, a chunk of slots at a time; `report` is told of the rows done."""
    kind, prefix = table.schema.fields[field].type, keys.terms_prefix(table.schema.table, field)
    live, done = read_live(writes, table).slots, 0
    for chunk in range(-(-table.state.slots // CHUNK)):
        slots = live[slice(*live.searchsorted([chunk * CHUNK, (chunk + 1) * CHUNK]))].tolist()
        values = read_values(writes, table, field, slots)
        for term, members in _terms_of(slots, values, kind, chunk).items():
            writes.put(Space.TERMS, keys.term(prefix, term, chunk), write_posting(members))
        done += len(slots)
        report(done)


def drop_index(writes: PendingWrites, table: int, field: int) -> None:
    """Delete the terms of a field."""
    for key, _ in list(writes.scan(Space.TERMS, keys.terms_prefix(table, field))):
        writes.delete(Space.TERMS, key)


def add_column(writes: PendingWrites, table: Table, field: int, values: Mapping[int, Any]) -> None:
    """The column of a field that was declared just now, null in all slots but those of `values`."""
    kind = table.schema.fields[field].type
    if has_column(kind):
        stop = covered(table.state.slots)
        for first in range(0, stop, BLOCK):
            if first + BLOCK <= stop and not has_rows(writes, table.schema.table, first, first + BLOCK):
                continue
            block = [values.get(slot) for slot in range(first, min(first + BLOCK, stop))]
            write_block(writes, table.schema.table, field, kind, first // BLOCK, block)


def _value(values: Values, field: int) -> Any:
    return values[field] if field < len(values) else None


def _change_terms(
    writes: PendingWrites, table: Table, field: int, gone: Mapping[int, Terms], come: Mapping[int, Terms]
) -> None:
    prefix = keys.terms_prefix(table.schema.table, field)
    for chunk in gone.keys() | come.keys():
        removed, added = gone.get(chunk, {}), come.get(chunk, {})
        is_new = chunk * CHUNK >= table.state.slots
        for term in removed.keys() | added.keys():
            key = keys.term(prefix, term, chunk)
            payload = None if is_new else writes.get(Space.TERMS, key)
            if payload is None and term in removed:
                name = table.schema.fields[field].name
                raise CorruptionError(f"table {table.schema.name!r}: the index of {name!r} lacks slots of rows")
            changed = change_posting(payload, removed.get(term, ()), added.get(term, ()))
            if changed is None:
                writes.delete(Space.TERMS, key)
            else:
                writes.put(Space.TERMS, key, changed)


def _terms_by_chunk(schema: Schema, field: int, rows: Rows, without: Set[int]) -> dict[int, Terms]:
    """The terms of a field of rows, but for those in some slots, for each chunk."""
    slots = sorted(rows.keys() - without if without else rows)
    chunks, start = {}, 0
    while start < len(slots):
        chunk = slots[start] // CHUNK
        stop = bisect_left(slots, (chunk + 1) * CHUNK, start)
        part = slots[start:stop]
        values = [row[field] if field < len(row) else None for row in map(rows.__getitem__, part)]
        chunks[chunk] = _terms_of(part, values, schema.fields[field].type, chunk)
        start = stop
    return chunks


def _terms_of(slots: Iterable[int], values: Iterable[Any], kind: str, chunk: int) -> Terms:
    """The terms of values with their slots, ascending. A list has one for each different item, null one of its own."""
    first = chunk * CHUNK
    slots_of: defaultdict[Any, list[int]] = defaultdict(list)
    if has_column(kind):
        for slot, value in zip(slots, values, strict=True):
            slots_of[value].append(slot - first)
    else:
        for slot, items in zip(slots, values, strict=True):
            for item in (None,) if items is None else {*items}:
                slots_of[item].append(slot - first)
    terms: Terms = {}
    for value, members in slots_of.items():
        term = encode(value)
        if term == NULL and value is not None and not has_column(kind):
            continue  # NaN in a list: nothing equals it
        # Texts that are cut share terms, NaN and null do.
        terms[term] = sorted({*terms[term], *members}) if term in terms else members
    return terms


def _change_columns(writes: PendingWrites, table: Table, old: Rows, new: Rows) -> None:
    """Rewrite the blocks in which rows were replaced, for each field that changed."""
    kept = sorted(slot for slot in old.keys() & new.keys() if slot < covered(table.state.slots))
    for number, run in groupby(kept, lambda slot: slot // BLOCK):
        slots = list(run)
        for field, declared in enumerate(table.schema.fields):
            changed = {slot: _value(new[slot], field) for slot in slots}
            if not has_column(declared.type) or all(_value(old[slot], field) == changed[slot] for slot in slots):
                continue
            block = read_block(writes, table.schema.table, field, declared.type, number)
            if block is None:
                continue  # it stays in the rows
            values = block.scalars(declared.type)
            for slot, value in changed.items():
                values[slot - number * BLOCK] = value
            write_block(writes, table.schema.table, field, declared.type, number, values)


def _fill_columns(writes: PendingWrites, table: Table, new: Rows) -> range:
    """Write the blocks that cover more slots with the new rows; their numbers."""
    schema, slots = table.schema, table.state.slots
    before, after = covered(slots), covered(max(slots, max(new, default=-1) + 1))
    numbers = range(before // BLOCK, -(-after // BLOCK)) if after > before else range(0)
    for number in numbers:
        first, stop = number * BLOCK, min((number + 1) * BLOCK, after)
        start = max(first, before)
        rows = [new[slot] if slot in new else _stored_values(writes, schema, slot) for slot in range(start, stop)]
        for field, declared in enumerate(schema.fields):
            if not has_column(declared.type):
                continue
            values: list[Any] = []
            if start > first:
                block = read_block(writes, schema.table, field, declared.type, number)
                if block is None:
                    continue  # it stays in the rows
                values = block.scalars(declared.type)[: start - first]
            values += [row[field] if field < len(row) else None for row in rows]
            write_block(writes, schema.table, field, declared.type, number, values)
    return numbers


def _drop_columns(writes: PendingWrites, table: Table, numbers: Set[int], new: Rows) -> None:
    """Delete those of the blocks that are full and have no slot with a row any more."""
    schema = table.schema
    stop = covered(max(table.state.slots, max(new, default=-1) + 1))
    for number in numbers:
        first, end = number * BLOCK, (number + 1) * BLOCK
        if end <= stop and not has_rows(writes, schema.table, first, end):
            for field, declared in enumerate(schema.fields):
                if has_column(declared.type):
                    writes.delete(Space.COLUMNS, keys.column_block(schema.table, field, number))


def _stored_values(writes: PendingWrites, schema: Schema, slot: int) -> Values:
    """The declared values of the row in a slot; all null where there is none."""
    payload = writes.get(Space.ROWS, keys.row(schema.table, slot))
    return [] if payload is None else decode_row(payload, schema, slot).values
