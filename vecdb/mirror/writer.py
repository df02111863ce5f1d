"""The one writer: changes to records and columns that become the next version together, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from vecdb.errors import CorruptionError, InternalError, TransactionError
from vecdb.mirror.column import ColumnMirror, ColumnVersion
from vecdb.mirror.ids import Ids, Slots, read_ids
from vecdb.mirror.links import next_lap
from vecdb.mirror.load import Stored, load_vectors_alone, vector_dtype, write_blocks
from vecdb.mirror.versions import CommittedView, Mirror, Version
from vecdb.mirror.view import Place, View
from vecdb.storage import header, keys
from vecdb.storage.catalog import Column, Schema, Table, TableState, delete_table, write_counters, write_schema
from vecdb.storage.changes import write_changes
from vecdb.storage.header import State
from vecdb.storage.keys import GRAPH_SPACES
from vecdb.storage.view import PendingWrites


class Writer(View):
    """What the holder of the writer's turn has changed so far. Begins with the turn, ends by commit or roll back.

    Invariant: `_tables[t].state` and the states of the columns in `_columns` describe the same rows; a column's own
    state counts until the commit copies it into its table's.
    """

    def __init__(self, mirror: Mirror, timeout: float, *, sync: bool) -> None:
        """Wait for the turn, then catch up with the file."""
        gate = mirror.environment.gate
        if gate is None:
            raise InternalError("a writer on a file that was opened for reading")
        self._mirror = mirror
        self._timeout = timeout
        self._sync = sync
        self._gate = gate
        self._turn = object()  # not the writer itself, so that a lost writer is collected and gives its turn back
        self.broken = False  # a statement was cut off in its middle
        self._moving_marks = False
        self._columns: dict[Place, ColumnMirror] = {}
        self._marks: list[tuple[int, dict[int, Table], int, set[Place]]] = []
        try:
            gate.acquire(self._turn, timeout)
            self._base: CommittedView = mirror.view()
            if not self._base.reader.is_newest():
                self._base.close()
                mirror.environment.show_last_commit()
                self._base = mirror.view()
            self._tables: dict[int, Table] = dict(self._base.tables)
            self._next_table = self._base.version.state.next_table
            self._records = PendingWrites(self._base.records)
        except BaseException:
            gate.release(self._turn)
            raise

    # Reading one's own writes

    def __exit__(self, *exception: object) -> None:
        """The transaction goes on after a call that reads in it."""

    @property
    def records(self) -> PendingWrites:
        return self._records

    @property
    def tables(self) -> Mapping[int, Table]:
        return self._tables

    @property
    def version_number(self) -> int:
        """The number of the version that the commit will make."""
        return self._base.version.state.version + 1

    @property
    def kept(self) -> None:
        return None

    @property
    def damaged(self) -> Mapping[Place, str]:
        return self._mirror.damaged

    def column(self, table: Table, column: Column) -> ColumnVersion:
        place = (table.schema.table, column.number)
        if place in self._columns:
            return self._columns[place].present()
        if place[0] not in self._base.tables:
            return self.writable(table, column).present()
        return self._base.column(self._base.tables[place[0]], column)

    def column_in_file(self, table: Table, column: Column) -> ColumnVersion:
        return self.column(table, column)

    def ids(self, table: Table, slots: Slots) -> Ids:
        return read_ids(self._records, table, slots)

    def vector(self, table: Table, column: Column, slot: int) -> Stored:
        mirror = self._columns.get((table.schema.table, column.number))
        if mirror is not None and slot >= mirror.published_slots:
            pending: Stored = mirror.array[slot].astype(vector_dtype(column))
            return pending
        return self._base.vector(table, column, slot)

    # Changing tables

    def add_table(self, schema: Schema, state: TableState) -> Table:
        """A new table; its number in `schema` is replaced by the next one."""
        schema = replace(schema, table=self._next_table)
        self._next_table += 1
        table = Table(schema, state)
        self._tables[schema.table] = table
        write_schema(self._records, schema)
        return table

    def change_schema(self, schema: Schema) -> None:
        self._tables[schema.table] = Table(schema, self._tables[schema.table].state)
        write_schema(self._records, schema)

    def drop_table(self, table: Table) -> None:
        del self._tables[table.schema.table]
        delete_table(self._records, table.schema.table)

    def set_state(self, table: int, state: TableState) -> None:
        """New counters of a table; those of its columns are kept by the columns."""
        self._tables[table] = Table(self._tables[table].schema, state)

    def writable(
        self, table: Table, column: Column, progress: Callable[[int], None] = lambda done: None
    ) -> ColumnMirror:
        """The column, ready to be changed. A graph that is damaged is made anew first, which `progress` tells of."""
        place = (table.schema.table, column.number)
        if place not in self._columns:
            if place[0] in self._base.tables:
                before = self._base.tables[place[0]]
                try:
                    mirror = self._mirror.writable(self._base.reader, self._base.version, before, column)
                except CorruptionError:
                    if not before.state.columns[column.number].linked:
                        raise
                    return self._rebuilt(before, column, progress)
            else:
                mirror = ColumnMirror(column, table.state.columns[column.number], table.state.slots)
            mirror.mark()
            self._columns[place] = mirror
        return self._columns[place]

    def _rebuilt(self, table: Table, column: Column, progress: Callable[[int], None]) -> ColumnMirror:
        """The column with another graph, made out of its vectors; what the file has of the damaged one goes."""
        number, state = table.schema.table, table.state.columns[column.number]
        mirror = load_vectors_alone(self._base.reader, table.schema, column, state, table.state.slots)
        mirror.mark()
        mirror.rebuild(next_lap(state.journal), progress)
        broken, self.broken = self.broken, True
        for space in GRAPH_SPACES:
            for key in [
                bytes(key) for key, _ in self._base.reader.sealed(space, keys.column_prefix(number, column.number))
            ]:
                self._records.delete(space, key)
        self._columns[number, column.number] = mirror
        self.broken = broken
        return mirror

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Around the changes of one statement, after its checks. One that is cut off in the middle leaves nothing
        that could be committed: only a roll back, to a savepoint or of all, goes on from there."""
        self.check_whole()
        self.broken = True
        yield
        self.broken = False

    def check_whole(self) -> None:
        if self.broken:
            raise TransactionError("a write of this transaction was cut off in the middle; it can only be rolled back")

    # Savepoints

    def mark(self) -> None:
        """Begin a savepoint."""
        with self._moving():
            self._marks.append((self._records.mark(), dict(self._tables), self._next_table, set(self._columns)))
            for mirror in self._columns.values():
                mirror.mark()

    def roll_back_to_mark(self) -> None:
        """Forget what was done since the last savepoint began."""
        with self._moving():
            records, self._tables, self._next_table, columns = self._marks.pop()
            self._records.roll_back(records)
            for place in list(self._columns):
                self._columns[place].roll_back()
                if place not in columns:
                    del self._columns[place]
            self.broken = False

    def release_mark(self) -> None:
        """End a savepoint, keeping what was done since."""
        with self._moving():
            *_, columns = self._marks.pop()
            for place, mirror in self._columns.items():
                if place in columns:
                    mirror.release()

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Around the steps that move every column's marks together: cut off between them, all is to be forgotten."""
        self.broken, broken = True, self.broken
        self._moving_marks = True
        yield
        self._moving_marks = False
        self.broken = self.broken and broken

    # Ending

    def commit(self) -> None:
        """Write everything in one transaction of the file, then publish it.

        After an error nothing of it remains, in the file or in memory, unless the error came when the file had it
        already, as an interrupt may: then it is committed.
        """
        try:
            self.check_whole()
            if any(self._records.changes.values()) or self._columns:
                self._commit()
        finally:
            self.roll_back()

    def _commit(self) -> None:
        version = self._gather()
        self._base.close()
        places = list(self._columns)
        try:
            self._mirror.offer(version)
            self._mirror.environment.write(
                self._records.changes, self._base.version.state, self._timeout, sync=self._sync
            )
            self._mirror.publish(version, self._columns)
            self._columns = {}
        except BaseException:
            # Whether the file has the commit or not, readers find out from it.
            self._columns = {}
            self._mirror.forget(places)
            raise

    def roll_back(self) -> None:
        """Forget everything that was not committed, and give the turn back.

        It may be called again, as after an interrupt in the middle of it: what is done already is not done twice.
        """
        try:
            if self._moving_marks:
                raise InternalError("a savepoint was cut off while it was made or undone")
            for mirror in self._columns.values():
                while mirror.marked:
                    mirror.roll_back()
        except BaseException as error:
            self._mirror.forget(self._columns)
            if not isinstance(error, InternalError):
                raise
        finally:
            self._columns = {}
            try:
                self._base.close()
            finally:
                self._gate.release(self._turn)

    def __del__(self) -> None:
        # A transaction whose thread died, or that nobody ended.
        if hasattr(self, "_records"):
            self.roll_back()

    def _gather(self) -> Version:
        """Put the changed blocks, the counters and the log among the records; the version they make."""
        state = State(self.version_number, os.urandom(8), self._next_table)
        columns = {}
        for place, mirror in self._columns.items():
            table = self._tables.get(place[0])
            if table is None:
                continue
            write_blocks(self._records, place[0], mirror, state.version)
            self.set_state(place[0], table.state.with_column(place[1], mirror.state))
            columns[place] = mirror.present()
        for number, table in self._tables.items():
            before = self._base.tables.get(number)
            if before is None or before.state != table.state:
                write_counters(self._records, number, table.state)
        header.write_state(self._records, state)
        write_changes(self._records, state.version)
        return Version(state, self._tables, columns)
