"""Versions of a database in memory: which one a reader gets, how a commit makes the next, how another process's
commits are followed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count, islice
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from vecdb.errors import CorruptionError, InternalError
from vecdb.mirror.column import ColumnMirror, ColumnVersion
from vecdb.mirror.ids import Ids, SlotIds, Slots, read_ids
from vecdb.mirror.load import (
    Stored,
    follow,
    load_column,
    load_vectors,
    memory_of,
    read_vector,
    stored_column,
    used_slots,
)
from vecdb.mirror.view import Item, Kept, Place, View
from vecdb.storage import keys
from vecdb.storage.catalog import Column, Table, read_tables
from vecdb.storage.changes import BlockChanges, read_block_changes
from vecdb.storage.environment import Environment
from vecdb.storage.header import State, read_state, seal_state
from vecdb.storage.keys import Space
from vecdb.storage.reader import ReadTransaction, SharedReadTransaction

Reader = TypeVar("Reader", bound=ReadTransaction)

_MOST_RETRIES = 100
_SHARE_KEPT = 8  # of the memory, an eighth may be for what is kept of a version


@dataclass(frozen=True, eq=False)
class Version:
    """What one commit left. `columns` holds those that somebody has asked for; others are loaded when needed."""

    state: State
    tables: Mapping[int, Table]
    columns: dict[Place, ColumnVersion] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)

    @cached_property
    def sealed_state(self) -> bytes:
        return seal_state(self.state)


class CommittedView(View):
    """A committed version, held until it is closed."""

    def __init__(self, mirror: Mirror, reader: ReadTransaction, version: Version) -> None:
        self.version = version
        self.reader = reader
        self._mirror = mirror

    def __enter__(self) -> CommittedView:
        return self

    @property
    def records(self) -> ReadTransaction:
        return self.reader

    @property
    def tables(self) -> Mapping[int, Table]:
        return self.version.tables

    @property
    def version_number(self) -> int:
        return self.version.state.version

    @property
    def kept(self) -> Kept:
        return self.version.kept

    @property
    def damaged(self) -> Mapping[Place, str]:
        return self._mirror.damaged

    def keep(self, key: Any, item: Any, nbytes: int) -> None:
        self._mirror.keep(self.version, key, item, nbytes)

    def column(self, table: Table, column: Column) -> ColumnVersion:
        return self._mirror.column(self.reader, self.version, table, column)

    def column_in_file(self, table: Table, column: Column) -> ColumnVersion:
        state = table.state.columns[column.number]
        return stored_column(self.reader, table.schema, column, state, table.state.slots)

    def ids(self, table: Table, slots: Slots) -> Ids:
        return self._mirror.ids(self.reader, table, slots)

    def vector(self, table: Table, column: Column, slot: int) -> Stored:
        return read_vector(self.reader, table.schema, column, slot)

    def in_parts(self, items: Callable[[View], Iterator[Item]], at_once: int) -> Iterator[Item]:
        """Between two parts nothing waits for this reader, and `close` cuts it off."""
        try:
            source = items(self)
            part = list(islice(source, at_once))
            if len(part) == at_once:
                self._hold()
            else:
                self.close()
            yield from part
            while len(part) == at_once:
                with self.reader.working():
                    part = list(islice(source, at_once))
                yield from part
        finally:
            self.close()

    def _hold(self) -> None:
        self.reader.hold(self.version_number)

    def close(self) -> None:
        self.reader.close()

    def __exit__(self, *exception: object) -> None:
        self.close()


class SnapshotView(CommittedView):
    """A snapshot's version as one call sees it. It stays when the call is over."""

    reader: SharedReadTransaction

    def __enter__(self) -> SnapshotView:
        self.reader.begin_call(self)
        return self

    def __exit__(self, *exception: object) -> None:
        self.reader.end_call(self)

    def in_parts(self, items: Callable[[View], Iterator[Item]], at_once: int) -> Iterator[Item]:
        source = items(self)
        part: list[Item] | None = None
        while part is None or len(part) == at_once:
            with self.reader.working():
                part = list(islice(source, at_once))
            yield from part


class HeldVersion:
    """A committed version, for many calls of many threads, until it is closed."""

    def __init__(self, mirror: Mirror, reader: SharedReadTransaction, version: Version) -> None:
        self._mirror = mirror
        self._reader = reader
        self._version = version

    @property
    def number(self) -> int:
        return self._version.state.version

    def view(self) -> SnapshotView:
        """For one call, in a `with` block."""
        return SnapshotView(self._mirror, self._reader, self._version)

    def end(self, why: str) -> None:
        """Calls of other threads that are under way go on to their end."""
        self._reader.end(why)


class Mirror:
    """The newest version of one open file, shared by all handles on it.

    A reader takes the version that matches its own LMDB transaction, so that what it finds in memory and what it
    reads from the file are of one commit. A commit offers its version before LMDB commits and makes it the newest
    after: a reader that already sees the commit takes the offered one, and never waits.

    `_lock` guards loading and following; the holder of the writer's turn changes columns without it, which is safe
    since there is nothing to follow while this process has the turn. A column whose change was cut off between the
    commit and its publication is forgotten, and loaded again from the file.
    """

    def __init__(self, environment: Environment, memory: int) -> None:
        """`memory` is the most bytes of columns and ids to keep."""
        self.environment = environment
        self.memory = memory
        self.columns: dict[Place, ColumnMirror] = {}
        self.damaged: dict[Place, str] = {}  # columns of the newest version whose graphs can't be loaded, and why
        self._ids: dict[int, SlotIds] = {}  # of tables that have a column in memory
        # What versions in use, but no longer the newest, have in memory of columns that are not in `columns`.
        self._older: WeakKeyDictionary[ColumnVersion, int] = WeakKeyDictionary()
        self._used: dict[Place, int] = {}  # when a column was last asked for, by a count of such calls
        self._calls = count()
        self._lock = threading.RLock()
        self._offered: Version | None = None
        with environment.read() as reader:
            self.newest = Version(read_state(reader), read_tables(reader))
            self._header = self._read_header(reader)

    @classmethod
    def of(cls, environment: Environment, memory: int) -> Mirror:
        """The mirror of an environment, made on the first call; handles that share a file share its memory."""
        with environment.lock:
            if not isinstance(environment.companion, cls):
                environment.companion = cls(environment, memory)
            return environment.companion

    # Reading

    def view(self) -> CommittedView:
        """The newest committed version, for one call."""
        return CommittedView(self, *self._begin(self.environment.read))

    def hold(self) -> HeldVersion:
        """The newest committed version, for a snapshot."""
        reader, version = self._begin(self.environment.read_shared)
        reader.hold(version.state.version)
        return HeldVersion(self, reader, version)

    def _begin(self, read: Callable[[], Reader]) -> tuple[Reader, Version]:
        for retries in range(_MOST_RETRIES):
            reader = read()
            try:
                version = self._match(reader, retries)
            except BaseException:
                reader.close()
                raise
            if version is not None:
                return reader, version
            reader.close()
        raise InternalError("the versions in memory and in the file never met")

    def _match(self, reader: ReadTransaction, retries: int) -> Version | None:
        """The version that `reader` reads; None when a newer one was published since the reader began. Where that is so
        again and again, the file went back."""
        for version in (self.newest, self._offered, self.newest):
            if version is not None and reader.holds(Space.HEADER, keys.STATE, version.sealed_state):
                return version
        state = read_state(reader)
        with self._lock:
            if state == self.newest.state:
                return self.newest
            if state.version < self.newest.state.version and retries < _MOST_RETRIES - 1:
                return None
            self._follow(reader, state)
            return self.newest

    def _read_header(self, reader: ReadTransaction) -> bytes:
        return bytes(reader.get(Space.HEADER, keys.FORMAT) or b"")

    def _changes(self, reader: ReadTransaction, versions: range) -> BlockChanges | None:
        """The blocks that `versions` of others changed; None where that can't be known, since the log was trimmed, or
        something else was copied over the open file."""
        if not versions or self._read_header(reader) != self._header:
            return None
        return read_block_changes(reader, versions)

    def _follow(self, reader: ReadTransaction, state: State) -> None:
        """Another process committed: take over what it changed, or start anew where the log does not reach."""
        tables = read_tables(reader)
        versions = range(self.newest.state.version + 1, state.version + 1)
        changes = self._changes(reader, versions)
        if changes is None:
            self._ids.clear()
            self._header = self._read_header(reader)
        version = Version(state, tables)
        for place, mirror in list(self.columns.items()):
            table = tables.get(place[0])
            if changes is None or table is None:
                self._drop(place)
                continue
            column_state = table.state.columns[place[1]]
            changed = changes.get(place, {})
            if changed or (column_state, table.state.slots) != (mirror.state, mirror.slots):
                if column_state.upper < mirror.state.upper:  # another graph, made anew
                    self._drop(place)
                    continue
                try:
                    follow(reader, table.schema, mirror, column_state, table.state.slots, changed, versions)
                except CorruptionError:
                    self._drop(place)  # who asks for it loads it anew, and meets the damage
                    continue
                except BaseException:
                    self._drop(place)
                    raise
            version.columns[place] = mirror.version
        self.newest = version
        self._make_room(0)

    def ids(self, reader: ReadTransaction, table: Table, slots: Slots) -> Ids:
        """Ids of rows that `reader` reads, kept where a column of the table is in memory and there is room."""
        number = table.schema.table
        known = self._ids.get(number)
        if known is None:
            with self._lock:
                if all(place[0] != number for place in self.columns):
                    return read_ids(reader, table, slots)
                known = self._ids.setdefault(number, SlotIds())
        ids = known.find(slots)
        if ids is None:
            ids = known.read(reader, table, slots)
            with self._lock:
                self._make_room(0)
        return ids

    def keep(self, version: Version, key: Any, item: Any, nbytes: int) -> None:
        """Keep something made of a version's records."""
        with self._lock:
            version.kept.add(key, item, nbytes, self.memory // _SHARE_KEPT)
            self._make_room(0)

    def column(self, reader: ReadTransaction, version: Version, table: Table, column: Column) -> ColumnVersion:
        """The column of `version`, which `reader` reads. One too large for the memory is left in the file."""
        place = (table.schema.table, column.number)
        self._used[place] = next(self._calls)
        found = version.columns.get(place)
        if found is not None:
            return found
        with self._lock:
            if place in version.columns:
                return version.columns[place]
            state, slots = table.state.columns[column.number], table.state.slots
            has_codes = state.linked and column.options.quantization != "none"
            used = used_slots(reader, table.schema, column, state, slots)
            for vectors in (True, False) if has_codes else (True,):
                if self._make_room(memory_of(column, state, used, vectors=vectors)):
                    try:
                        return self._load(reader, version, table, column, vectors=vectors).version
                    except CorruptionError as error:
                        return self._without_graph(reader, version, table, column, error)
            return stored_column(reader, table.schema, column, state, slots)

    def _without_graph(
        self, reader: ReadTransaction, version: Version, table: Table, column: Column, error: CorruptionError
    ) -> ColumnVersion:
        """A column whose graph is damaged, if that is all: it is scanned, exactly, until its graph is made anew."""
        place, state = (table.schema.table, column.number), table.state.columns[column.number]
        if not state.linked:
            raise error
        found = stored_column(reader, table.schema, column, state, table.state.slots)
        version.columns[place] = found = replace(found, damage=str(error))
        if version is self.newest or version is self._offered:
            self.damaged[place] = str(error)
        return found

    def writable(self, reader: ReadTransaction, version: Version, table: Table, column: Column) -> ColumnMirror:
        """The column for the holder of the writer's turn, who reads the newest version; in memory, however large."""
        place = (table.schema.table, column.number)
        with self._lock:
            mirror = self.columns.get(place)
            if mirror is None or mirror.vectors is None:
                mirror = self._load(reader, version, table, column, vectors=True)
            load_vectors(reader, table.schema, mirror.version)
            return mirror

    def _load(
        self, reader: ReadTransaction, version: Version, table: Table, column: Column, *, vectors: bool
    ) -> ColumnMirror:
        """Load a column, and keep it for others if the version is still the newest."""
        place = (table.schema.table, column.number)
        state, slots = table.state.columns[column.number], table.state.slots
        mirror = load_column(reader, table.schema, column, state, slots, vectors=vectors)
        if version is self.newest or version is self._offered:
            self.columns[place] = mirror
        else:
            self._older[mirror.version] = mirror.nbytes
        version.columns[place] = mirror.version
        if version is self.newest:
            self.damaged.pop(place, None)
        return mirror

    def _make_room(self, size: int) -> bool:
        """Make `size` more bytes fit; False if they can't. What is kept of filters goes first, then ids, which are read
        again sooner than a column, then the columns that were not asked for longest."""
        if size > self.memory:
            return False
        if self._nbytes() + size <= self.memory:
            return True
        self.newest.kept.clear()
        if self._nbytes() + size > self.memory:
            self._ids.clear()
        for place in sorted(self.columns, key=lambda place: self._used.get(place, -1)):
            if self._nbytes() + size <= self.memory:
                break
            self._drop(place)
            self.newest.columns.pop(place, None)
        return self._nbytes() + size <= self.memory

    def _nbytes(self) -> int:
        columns = sum(mirror.nbytes for mirror in self.columns.values()) + sum(self._older.values())
        return columns + sum(ids.nbytes for ids in self._ids.values()) + self.newest.kept.nbytes

    def _drop(self, place: Place) -> None:
        """Drop a column, and with a table's last one the ids of its rows."""
        if all(other == place or other[0] != place[0] for other in self.columns):
            self._ids.pop(place[0], None)
        mirror = self.columns.pop(place, None)
        if mirror is not None:
            self._older[mirror.version] = mirror.nbytes  # until nobody uses it

    def clear(self) -> None:
        """The file is closed: give the memory back, though somebody keeps the handle. No call is under way, but in a
        forked child, whose lock may never come free."""
        self.newest, self._offered = Version(self.newest.state, self.newest.tables), None
        self.columns.clear()
        self._ids.clear()

    # Writing

    def offer(self, version: Version) -> None:
        """Let readers who already see the commit in the file use its version."""
        self._take_over_columns(version)
        self._offered = version

    def forget(self, places: Iterable[Place]) -> None:
        """Withdraw an offered version and drop its columns: what is in memory of them may be half of a commit."""
        with self._lock:
            self._offered = None
            for place in places:
                self._drop(place)
                self.newest.columns.pop(place, None)

    def publish(self, version: Version, written: Mapping[Place, ColumnMirror]) -> None:
        """Make the committed version the newest."""
        with self._lock:
            for place, mirror in written.items():
                if place in version.columns:
                    self.damaged.pop(place, None)
                    mirror.publish(version.columns[place])
                    self.columns[place] = mirror
            self._take_over_columns(version)
            for place in [place for place in self.columns if place[0] not in version.tables]:
                self._drop(place)
            self.newest = version
            self._offered = None
            self._make_room(0)

    def _take_over_columns(self, version: Version) -> None:
        """Columns that the commit did not change are the next version's too."""
        for place, column in self.newest.columns.copy().items():
            if place[0] in version.tables:
                version.columns.setdefault(place, column)
