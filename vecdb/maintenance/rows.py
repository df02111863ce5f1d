"""Rows, and what follows from them: ids, live bits, terms of indexes, columns of fields, counters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError, Error
from vecdb.fields import columns
from vecdb.fields.encode import encode
from vecdb.fields.live import read_live
from vecdb.fields.postings import CHUNK, write_posting
from vecdb.maintenance.records import describe, read_whole
from vecdb.maintenance.report import Findings
from vecdb.storage import keys
from vecdb.storage.catalog import Table
from vecdb.storage.keys import Space
from vecdb.storage.records import unseal
from vecdb.storage.rows import RowRecord, decode_row
from vecdb.storage.view import Sealed

_NONE: Final = object()
_REPORT_EVERY: Final = 1024


class RowsCheck:
    """The rows of a table, read once, and all that the file has of them elsewhere."""

    def __init__(self, reader: Sealed, table: Table, findings: Findings) -> None:
        self._reader = reader
        self._table = table
        self._findings = findings
        self.slots: list[int] = []  # of the rows that can be read
        self.unreadable: set[int] = set()
        self._ids: list[Any] = []
        self.vectors: NDArray[np.uint64] = np.zeros(0, np.uint64)  # which vectors each has
        schema = table.schema
        self._terms: dict[int, defaultdict[bytes, list[int]]] = {field: defaultdict(list) for field in schema.indexes}
        self._fields = [
            (position, field.type) for position, field in enumerate(schema.fields) if columns.has_column(field.type)
        ]

    def run(self, report: Callable[[int], None]) -> None:
        self._read_rows(report)
        self._check_counters()
        self._check_ids()
        self._check_live()
        self._check_terms()
        self._findings.counts["rows"] += len(self.slots)

    def _add(self, kind: str, place: str, message: str) -> None:
        self._findings.add(self._table.schema.name, kind, place, message)

    def _read_rows(self, report: Callable[[int], None]) -> None:
        schema, state = self._table.schema, self._table.state
        masks: list[int] = []
        block: list[tuple[int, RowRecord]] = []
        number = 0
        for key, value in self._reader.sealed(Space.ROWS, keys.table_prefix(schema.table)):
            if len(self.slots) % _REPORT_EVERY == 0:
                report(len(self.slots))
            if len(key) != 8:
                self._add("row", key.hex(), "is no key of a row")
                continue
            slot = keys.slot_of_row(key)
            row = self._row(slot, key, value)
            if row is None:
                self.unreadable.add(slot)
                continue
            if slot >= state.slots:
                self._add("row", f"slot {slot}", f"lies past the {state.slots} slots of the table")
            if row.vectors >> len(schema.columns):
                self._add("row", f"slot {slot}", "names vector columns that the table does not have")
            if slot // columns.BLOCK != number:
                self._check_columns(number, block)
                block, number = [], slot // columns.BLOCK
            block.append((slot, row))
            self.slots.append(slot)
            self._ids.append(row.id)
            masks.append(row.vectors & (2**64 - 1))
            self._collect_terms(slot, row)
        self._check_columns(number, block)
        self.vectors = np.array(masks, np.uint64)

    def _row(self, slot: int, key: bytes, value: memoryview) -> RowRecord | None:
        try:
            payload = unseal(Space.ROWS, key, value)
        except CorruptionError:
            return None  # told with the other checksums
        try:
            return decode_row(payload, self._table.schema, slot)
        except CorruptionError as error:
            self._add("row", f"slot {slot}", str(error))
            return None

    def _collect_terms(self, slot: int, row: RowRecord) -> None:
        for field, terms in self._terms.items():
            value = row.values[field] if field < len(row.values) else None
            try:
                if isinstance(value, list):
                    for term in {encode(item) for item in value if item == item}:  # noqa: PLR0124
                        terms[term].append(slot)
                else:
                    terms[encode(value)].append(slot)
            except (Error, AttributeError, ValueError, OverflowError) as error:
                self._add("row", f"slot {slot}", f"has a value that can't be indexed: {error}")

    # What the file has of the rows elsewhere

    def _check_counters(self) -> None:
        state = self._table.state
        ids, rows = self._ids, len(self.slots) + len(self.unreadable)
        texts = sum(type(identifier) is str for identifier in ids)
        if rows != state.rows:
            self._add("catalog", "counters", f"there are {rows} rows; the counter says {state.rows}")
        if not self.unreadable and texts != state.text_ids:
            self._add("catalog", "counters", f"{texts} ids are str; the counter says {state.text_ids}")
        highest = max((identifier for identifier in ids if type(identifier) is not str), default=0)
        if highest >= state.next_id and highest < 2**63 - 1:
            self._add("catalog", "counters", f"the next id, {state.next_id}, is not above {highest}, which a row has")

    def _check_ids(self) -> None:
        number = self._table.schema.table
        expected = dict(zip((keys.row_id(number, item) for item in self._ids), self.slots, strict=True))
        if len(expected) < len(self.slots):
            self._add("id", "rows", f"{len(self.slots) - len(expected)} rows have an id that another has too")
        tables = {number: self._table}
        for key, payload in read_whole(self._reader, Space.IDS, keys.table_prefix(number)):
            slot = expected.pop(key, _NONE)
            if payload is None:
                continue
            stored = int.from_bytes(payload, "big")
            if (slot is _NONE and stored not in self.unreadable) or (slot is not _NONE and slot != stored):
                self._add("id", describe(tables, Space.IDS, key)[1], f"names slot {stored}, which has another row")
            self._findings.counts["ids"] += 1
        for key in expected:
            self._add("id", describe(tables, Space.IDS, key)[1], "is missing, though its row is there")

    def _check_live(self) -> None:
        try:
            live = set(read_live(self._reader, self._table).slots.tolist())
        except CorruptionError as error:
            self._add("live", "rows", str(error))
            return
        rows = {*self.slots, *self.unreadable}
        for slot in sorted(live ^ rows):
            message = "has a live bit and no row" if slot in live else "has a row and no live bit"
            self._add("live", f"slot {slot}", message)

    def _check_terms(self) -> None:
        schema = self._table.schema
        expected: dict[bytes, bytes] = {}
        for field, terms in self._terms.items():
            prefix = keys.terms_prefix(schema.table, field)
            for term, slots in terms.items():
                for chunk, members in _chunks(slots):
                    expected[keys.term(prefix, term, chunk)] = write_posting(members)
        tables = {schema.table: self._table}
        for key, payload in read_whole(self._reader, Space.TERMS, keys.table_prefix(schema.table)):
            self._findings.counts["postings"] += 1
            wanted = expected.pop(key, None)
            # What rows that can't be read have is not known.
            if payload is not None and bytes(payload) != wanted and not self.unreadable:
                self._add("term", describe(tables, Space.TERMS, key)[1], "does not name the slots whose rows have it")
        for key in expected:
            self._add("term", describe(tables, Space.TERMS, key)[1], "is missing, though rows have it")

    def _check_columns(self, number: int, rows: list[tuple[int, RowRecord]]) -> None:
        """A block of each field has what the rows have; one without a row need not be there."""
        first, stop = number * columns.BLOCK, columns.covered(self._table.state.slots)
        rows = [(slot, row) for slot, row in rows if slot < stop]
        if not rows:
            return
        name, table = self._table.schema.field_names, self._table.schema.table
        for field, kind in self._fields:
            place = f"block {number} of field {name[field]!r}"
            try:
                block = columns.read_block(self._reader, table, field, kind, number)
                self._findings.counts["blocks of fields"] += 1
                if block is None:
                    continue
                scalars = block.scalars(kind)
                for slot, row in rows:
                    stored = row.values[field] if field < len(row.values) else None
                    value = scalars[slot - first]
                    if value is not stored and value != stored and encode(value) != encode(stored):
                        self._add("column", place, f"has {value!r} for slot {slot}, whose row has {stored!r}")
                        break
            except (CorruptionError, AttributeError, OverflowError) as error:
                self._add("column", place, str(error))


def _chunks(slots: list[int]) -> list[tuple[int, list[int]]]:
    """Ascending slots by chunk, counted from its first."""
    if slots[-1] < CHUNK:
        return [(0, slots)]
    array = np.array(slots)
    numbers, starts = np.unique(array // CHUNK, return_index=True)
    parts = np.split(array % CHUNK, starts[1:])
    return [(int(number), part.tolist()) for number, part in zip(numbers, parts, strict=True)]
