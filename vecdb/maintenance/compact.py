"""A packed copy of a version: rows in their order in consecutive slots, without those that are gone, in full pages.

Numbers keep their order: a slot's new one is that of the slots with rows below it, an upper entry's likewise. So
parents in the tree stay below their children, rows in the order of insertion, and links are translated number by
number; nothing is linked anew. Rows keep their bytes, vectors every bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.fields.columns import BLOCK, covered, has_column, read_values, write_block
from vecdb.fields.live import read_live
from vecdb.fields.postings import CHUNK, gather, write_posting
from vecdb.mirror.column import RECORD_HEAD, ColumnMirror
from vecdb.mirror.load import load_column, pack_flat, stored_column
from vecdb.mirror.versions import CommittedView, Mirror
from vecdb.progress import Progress, reporting
from vecdb.storage import keys
from vecdb.storage.catalog import Column, ColumnState, Table, TableState, write_counters, write_schema
from vecdb.storage.changes import write_changes
from vecdb.storage.draft import Draft, keep_old, remove_leftovers
from vecdb.storage.geometry import LIVE_BYTES
from vecdb.storage.header import State, write_packed_header
from vecdb.storage.keys import ROWS_LIVE, Space
from vecdb.storage.registry import REGISTRY
from vecdb.storage.view import PendingWrites

Slots = NDArray[np.int64]

_RECORDS_AT_ONCE: Final = 4096
_SPARE: Final = 1 << 30  # bytes of address space for a copy, beyond what the file has
_UPPER, _SLOT, _LAYER = 1, 0, 1  # places in records; see FORMAT.md


def compact(mirror: Mirror, timeout: float, progress: Progress, *, secure: bool) -> bool:
    """Put a packed copy in the place of the file; False where a graph has deleted rows that wait for `vacuum`.

    Nobody writes meanwhile; others read, but at the end. With `secure`, the bytes of the file before are overwritten.
    """
    environment = mirror.environment
    gate = environment.gate
    assert gate is not None
    turn = object()
    try:
        gate.acquire(turn, timeout)
        environment.check_in_place()
        environment.check_alone()
        remove_leftovers(environment.path, secure=secure)
        with mirror.view() as view:
            tables = view.tables.values()
            if any(column.waiting for table in tables for column in table.state.columns.values()):
                return False
            before = view.version.state
            draft = Draft(environment.path, environment.size()[1] + _SPARE)
            try:
                rows = sum(table.state.rows for table in tables)
                with reporting(progress, rows, "compact") as report:
                    copy_packed(view, draft, State(before.version + 1, os.urandom(8), before.next_table), report)
                if [draft.count(space) for space in (Space.ROWS, Space.IDS)] != [rows, rows]:
                    raise CorruptionError(f"{environment.path}: its tables do not have the rows that they count")
                draft.finish()
                view.close()
                if secure:
                    keep_old(environment.path)
                REGISTRY.replace(environment, draft.path, timeout)
            finally:
                draft.discard()
        remove_leftovers(environment.path, secure=secure)
        return True
    finally:
        gate.release(turn)


def copy_packed(view: CommittedView, draft: Draft, state: State, report: Callable[[int], None]) -> None:
    """Write what a version holds into a new file, whose state will be `state`. `report` is told of the rows done.

    Graphs have no dead rows that wait.
    """
    header = PendingWrites.on_nothing()
    write_packed_header(view.records, header, state)
    write_changes(header, state.version)  # nothing: who knows an older version has another incarnation
    draft.write(header.changes)
    done = 0
    for number in sorted(view.tables):
        table = view.tables[number]
        _Packing(view, table, draft).run()
        done += table.state.rows
        report(done)


class _Packing:
    """One table on its way."""

    def __init__(self, view: CommittedView, table: Table, draft: Draft) -> None:
        self._records = view.records
        self._table = table
        self._draft = draft
        self._number = table.schema.table
        self._slots = read_live(view.records, table).slots  # with rows, ascending: the new numbers are their places
        self._new = np.full(table.state.slots + 1, -1, np.int32)  # the last place is that of -1
        self._new[self._slots] = np.arange(len(self._slots))

    def run(self) -> None:
        state = self._table.state
        if len(self._slots) != state.rows:
            raise CorruptionError(f"table {self._table.schema.name!r}: live bits and the number of rows disagree")
        columns = {}
        self._copy_rows()
        self._copy_ids()
        self._write_live(ROWS_LIVE, np.ones(state.rows, np.bool_))
        for column in self._table.schema.columns:
            columns[column.number] = self._copy_column(column)
        self._copy_terms()
        self._copy_columns_of_fields()
        writes = PendingWrites.on_nothing()
        write_schema(writes, self._table.schema)
        packed = TableState(state.rows, state.rows, state.next_id, state.text_ids, columns)
        write_counters(writes, self._number, packed)
        self._draft.write(writes.changes)

    def _copy_rows(self) -> None:
        records = self._records.scan(Space.ROWS, keys.table_prefix(self._number))
        rows = ((keys.row(self._number, self._place(keys.slot_of_row(key))), bytes(row)) for key, row in records)
        self._put(Space.ROWS, rows)

    def _copy_ids(self) -> None:
        records = self._records.scan(Space.IDS, keys.table_prefix(self._number))
        ids = ((key, self._place(int.from_bytes(slot, "big")).to_bytes(4, "big")) for key, slot in records)
        self._put(Space.IDS, ids)

    def _place(self, slot: int) -> int:
        new = int(self._new[slot]) if slot < self._table.state.slots else -1
        if new < 0:
            raise CorruptionError(f"table {self._table.schema.name!r}: slot {slot} has no live bit for its row")
        return new

    def _write_live(self, column: int, live: NDArray[np.bool_]) -> None:
        size = 8 * LIVE_BYTES
        padded = np.zeros(-(-len(live) // size) * size, np.bool_)
        padded[: len(live)] = live
        blocks = np.packbits(padded, bitorder="little").reshape(-1, LIVE_BYTES)
        bits = ((keys.block(self._number, column, number), block.tobytes()) for number, block in enumerate(blocks))
        self._put(Space.LIVE, bits)

    def _copy_column(self, column: Column) -> ColumnState:
        table, state = self._table, self._table.state.columns[column.number]
        live = np.zeros(table.state.slots, np.bool_)
        if state.linked:
            vectors = column.options.quantization == "none"
            mirror = load_column(self._records, table.schema, column, state, table.state.slots, vectors=vectors)
            live[mirror.version.live_slots] = True
            packed = self._pack_graph(mirror, state)
            codes = mirror.codes
        else:
            stored = stored_column(self._records, table.schema, column, state, table.state.slots)
            live[stored.live_slots] = True
            packed, codes = state, None
        self._write_live(column.number, live[self._slots])
        for space, records in pack_flat(self._records, table.schema, column, codes, self._slots, live):
            self._put(space, records)
        return packed

    def _pack_graph(self, mirror: ColumnMirror, state: ColumnState) -> ColumnState:
        """Write the links of a column; its counters."""
        links = mirror.links.view().gather().reshape(-1, RECORD_HEAD + mirror.column.options.capacity)[self._slots]
        upper = mirror.upper.view().gather().reshape(-1, RECORD_HEAD + mirror.column.options.m)[: state.upper]
        stay = np.flatnonzero(self._new[upper[:, _SLOT]] >= 0)
        entries = np.full(state.upper + 1, -1, np.int32)
        entries[stay] = np.arange(len(stay))
        links[:, :_UPPER] = self._new[links[:, :_UPPER]]
        links[:, _UPPER] = entries[links[:, _UPPER]]
        links[:, RECORD_HEAD:] = _translated(links[:, RECORD_HEAD:], self._new)
        upper = upper[stay]
        upper[:, _SLOT] = self._new[upper[:, _SLOT]]
        upper[:, RECORD_HEAD:] = _translated(upper[:, RECORD_HEAD:], entries)
        number, version = mirror.column.number, np.zeros(1, "<u8").tobytes()
        for space, records, per_block, head in (
            (Space.LINKS, links, mirror.links.per_block, version),
            (Space.UPPER, upper, mirror.upper.per_block, b""),
        ):
            self._put(space, self._blocks(space, number, records, per_block, head))
        node = entries[state.entry_node] if state.entry_layer > 0 else self._new[state.entry_node]
        return replace(state, upper=len(stay), entry_node=int(node), waiting=0, journal=0)

    def _blocks(
        self, space: Space, column: int, records: NDArray[np.int32], per_block: int, head: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        for number in range(-(-len(records) // per_block)):
            block = np.full((per_block, records.shape[1]), -1, "<i4")
            part = records[number * per_block : (number + 1) * per_block]
            if space is Space.LINKS and (part == -1).all() and (number + 1) * per_block < len(records):
                continue  # of rows without a vector
            block[: len(part)] = part
            yield keys.block(self._number, column, number), head + block.tobytes()

    def _copy_terms(self) -> None:
        slots = self._table.state.slots
        records = self._records.scan(Space.TERMS, keys.table_prefix(self._number))

        def postings() -> Iterator[tuple[bytes, bytes]]:
            for term, group in groupby(records, lambda record: keys.without_chunk(record[0])):
                found = gather(((keys.chunk_of_term(key), payload) for key, payload in group), slots).slots
                new = self._new[found].astype(np.int64)
                for chunk in np.unique(new // CHUNK).tolist():
                    members = new[new // CHUNK == chunk] - chunk * CHUNK
                    yield keys.with_chunk(term, chunk), write_posting(members.tolist())

        self._put(Space.TERMS, postings())

    def _copy_columns_of_fields(self) -> None:
        stop = covered(len(self._slots))
        for field, declared in enumerate(self._table.schema.fields):
            if not has_column(declared.type):
                continue
            for number in range(-(-stop // BLOCK)):
                slots = self._slots[number * BLOCK : min((number + 1) * BLOCK, stop)].tolist()
                values = list(read_values(self._records, self._table, field, slots))
                writes = PendingWrites.on_nothing()
                write_block(writes, self._number, field, declared.type, number, values)
                self._draft.write(writes.changes)

    def _put(self, space: Space, records: Iterator[tuple[bytes, bytes]]) -> None:
        """Write records, some at a time."""
        part: dict[bytes, bytes | None] = {}
        for key, payload in records:
            part[key] = payload
            if len(part) == _RECORDS_AT_ONCE:
                self._draft.write({space: part})
                part = {}
        self._draft.write({space: part})


def _translated(lists: NDArray[np.int32], new: NDArray[Any]) -> NDArray[np.int32]:
    """Lists (nodes, neighbours) in new numbers, without those that have none, ended by the first -1."""
    lists = new[lists]
    order = np.argsort(lists < 0, axis=1, kind="stable")
    translated: NDArray[np.int32] = np.take_along_axis(lists, order, axis=1)
    return translated
