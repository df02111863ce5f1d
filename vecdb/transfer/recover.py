"""What is whole in a damaged file, in a new one: rows and vectors are read, indexes and graphs are made anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.database import Database, connect
from vecdb.errors import BackupError, CorruptionError, DatabaseNotFoundError, Error
from vecdb.fields.schema import declare_table, join_fields
from vecdb.maintenance.backup import check_destination, draft_for, finish_draft
from vecdb.maintenance.salvage import Salvage, salvage
from vecdb.mirror.load import vector_dtype, vectors_per_block
from vecdb.progress import Progress, reporting
from vecdb.storage import keys
from vecdb.storage.catalog import Schema
from vecdb.storage.damaged import DamagedRecords
from vecdb.storage.keys import Space
from vecdb.storage.pages import PageFile
from vecdb.storage.rows import Id, RowRecord, decode_row
from vecdb.table import Table

_AT_ONCE: Final = 8192  # rows of a transaction
_NAMED: Final = 1000  # lost rows that are named
_Given: TypeAlias = tuple[Id, dict[str, NDArray[Any]], Mapping[str, Any]]  # a row's id, vectors and fields
_UNPROVEN: Final = " (unproven)"


@dataclass
class TableRecovery:
    """What became of a table. `expected` rows are those whose ids or places are known; `lost` names some of the ids."""

    rows: int = 0
    expected: int = 0
    without_vectors: int = 0  # rows that are saved, and lack a vector that they had
    unproven: int = 0  # rows in the table `name (unproven)`
    lost: list[Id] = field(default_factory=list)


@dataclass(frozen=True)
class Recovery:
    """What `recover` saved, and what it could not."""

    path: str
    tables: dict[str, TableRecovery]
    notes: list[str]

    def __str__(self) -> str:
        lines = [f"recovered into {self.path}:"]
        for name, table in self.tables.items():
            lines.append(f"  {name}: {table.rows:,} rows of {max(table.rows, table.expected):,} known")
            if table.without_vectors:
                lines.append(f"    {table.without_vectors:,} of them lack a vector that they had")
            if table.unproven:
                lines.append(
                    f"    {table.unproven:,} rows are in {name + _UNPROVEN!r}: they may be older, or deleted ones"
                )
            if table.lost:
                lines.append(f"    lost: {', '.join(map(repr, table.lost[:10]))}{', …' * (len(table.lost) > 10)}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def recover(damaged: str | os.PathLike[str], dst: str | os.PathLike[str], *, progress: Progress = None) -> Recovery:
    """Save every row whose bytes are whole into a new database at `dst`, where nothing is; the damaged file, which must
    not be written meanwhile, is left as it is.

    No row is taken that does not match its checksum, or that may have been changed or deleted later: where that can't
    be told, it goes into a table of its own, named as the table with " (unproven)". Rows whose vectors are lost are
    saved without them. Raises BackupError where there is nothing to save.
    """
    source, place = os.path.realpath(os.fsdecode(damaged)), check_destination(dst)
    if not os.path.isfile(source):
        raise DatabaseNotFoundError(f"there is no file {source}")
    with draft_for(place) as draft, PageFile(source) as file:
        found = salvage(file)
        sources = [_Rows(found, number, found.records, None) for number in _tables_of(found)]
        total = sum(len(rows) for rows in sources)
        tables: dict[str, TableRecovery] = {}
        if not sources:
            raise BackupError(f"nothing of {source} can be saved: no page of it holds a table of vecdb")
        with (
            reporting(progress, total, f"recovery of {Path(source).name}") as report,
            connect(draft, durability="normal") as db,
        ):
            done = 0
            for rows in sources:
                tables[rows.schema.name] = _save(db, found, rows, done, report)
                done += len(rows)
            report(total)
        finish_draft(draft, place)
    return Recovery(place, tables, found.notes)


def _tables_of(found: Salvage) -> list[int]:
    return sorted(found.schemas)


def _save(db: Database, found: Salvage, rows: _Rows, done: int, report: Callable[[int], None]) -> TableRecovery:
    schema, result = rows.schema, TableRecovery()
    table = _create(db, schema, schema.name)
    _insert_all(table, rows, result, lambda count: report(done + count))
    result.rows = len(table)
    known = _known_ids(found.records, schema.table)
    saved = {row.id for row in rows.found.values()}
    result.expected = max(len(known), len(rows.found))
    result.lost = [identifier for identifier in known if identifier not in saved][:_NAMED]
    if found.unproven is not None:
        others = _Rows(found, schema.table, found.unproven, rows)
        if len(others):
            second = _create(db, schema, schema.name + _UNPROVEN)
            _insert_all(second, others, TableRecovery(), lambda count: None)
            result.unproven = len(second)
    return result


def _create(db: Database, schema: Schema, name: str) -> Table:
    vectors = {column.name: column.options for column in schema.columns}
    indexes = [schema.fields[number].name for number in schema.indexes]
    return db._create(declare_table(name, vectors, schema.fields, indexes, schema.json), exist_ok=False)


def _known_ids(records: DamagedRecords, table: int) -> list[Id]:
    """The ids of which the file tells."""
    found: list[Id] = []
    for key, _ in records.whole(Space.IDS, keys.table_prefix(table)):
        if key[4:5] == b"\x02":
            found.append(key[5:].decode(errors="replace"))
        elif len(key) == 13:
            found.append(int.from_bytes(key[5:], "big") - 2**63)
    return found


class _Rows:
    """The rows of a table that are whole, by slot, and their vectors."""

    def __init__(self, found: Salvage, table: int, records: DamagedRecords, better: _Rows | None) -> None:
        """Of rows that `better` has, by slot or id, none is taken."""
        self.schema = found.schemas[table]
        self.found: dict[int, RowRecord] = {}
        self._records = records
        self._blocks: dict[tuple[int, int], NDArray[Any] | None] = {}
        ids: dict[Id, int] = {}
        taken = set() if better is None else {row.id for row in better.found.values()}
        for key, payload in records.whole(Space.ROWS, keys.table_prefix(table)):
            slot = keys.slot_of_row(key)
            try:
                row = decode_row(payload, self.schema, slot)
            except CorruptionError:
                continue
            if better is not None and (slot in better.found or row.id in taken):
                continue
            other = ids.get(row.id)
            if other is not None:  # one of them replaced the other
                if (self.found[other].version, other) > (row.version, slot):
                    continue
                del self.found[other]
            ids[row.id] = slot
            self.found[slot] = row

    def __len__(self) -> int:
        return len(self.found)

    def batches(self) -> Iterator[list[tuple[int, RowRecord]]]:
        rows = sorted(self.found.items())
        for first in range(0, len(rows), _AT_ONCE):
            yield rows[first : first + _AT_ONCE]

    def vectors(self, slot: int, row: RowRecord) -> tuple[dict[str, NDArray[Any]], bool]:
        """Those of a row that are whole, and whether that is all of them."""
        found, whole = {}, True
        for place, column in enumerate(self.schema.columns):
            if not row.vectors >> place & 1:
                continue
            per_block, dtype = vectors_per_block(column), vector_dtype(column)
            where = (column.number, slot // per_block)
            if where not in self._blocks:
                if len(self._blocks) > 64:
                    self._blocks.clear()
                self._blocks[where] = self._block(where, (per_block, column.options.dim), dtype)
            block = self._blocks[where]
            if block is None:
                whole = False
            else:
                found[column.name] = block[slot % per_block]
        return found, whole

    def _block(self, where: tuple[int, int], shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any] | None:
        try:
            payload = self._records.get(Space.VECTORS, keys.block(self.schema.table, *where))
        except CorruptionError:
            return None
        if payload is None or len(payload) != shape[0] * shape[1] * dtype.itemsize:
            return None
        return np.frombuffer(bytes(payload), dtype).reshape(shape)


def _insert_all(table: Table, rows: _Rows, result: TableRecovery, report: Callable[[int], None]) -> None:
    done = 0
    for batch in rows.batches():
        given: list[_Given] = []
        for slot, row in batch:
            vectors, whole = rows.vectors(slot, row)
            result.without_vectors += not whole
            given.append((row.id, vectors, join_fields(rows.schema, row.values, row.extra)))
        try:
            _insert(table, rows.schema, given)
        except Error:  # a row that no longer can be stored as it is: the others must not go with it
            for one in given:
                _insert_one(table, rows.schema, one, result)
        done += len(batch)
        report(done)


def _insert(table: Table, schema: Schema, rows: list[_Given]) -> None:
    vectors: dict[str, Any] = {}
    for column in schema.columns:
        found = [row[1].get(column.name) for row in rows]
        vectors[column.name] = np.array(found) if all(vector is not None for vector in found) else found
    table.insert([row[0] for row in rows], vectors or None, [row[2] for row in rows])


def _insert_one(table: Table, schema: Schema, row: _Given, result: TableRecovery) -> None:
    try:
        _insert(table, schema, [row])
    except Error:
        try:
            _insert(table, schema, [(row[0], {}, row[2])])
            result.without_vectors += 1
        except Error:
            result.lost.append(row[0])
