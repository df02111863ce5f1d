"""A database: one file, its tables, its transactions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from vecdb.errors import (
    DatabaseNotFoundError,
    LockTimeoutError,
    NotAVecdbError,
    ProgrammingError,
    ReadOnlyError,
    StaleHandleError,
    TableExistsError,
    TransactionError,
    VectorError,
)
from vecdb.fields.schema import declare_fields, declare_table
from vecdb.maintenance.backup import Backup, backup
from vecdb.maintenance.check import Level, check
from vecdb.maintenance.compact import compact
from vecdb.maintenance.report import Report
from vecdb.mirror.versions import Mirror
from vecdb.mirror.view import View
from vecdb.mirror.writer import Writer
from vecdb.options import (
    DEFAULT_TIMEOUT,
    DURABILITIES,
    Durability,
    Quantization,
    Vector,
    is_int,
)
from vecdb.progress import Progress
from vecdb.query.stats import DatabaseStats, ReaderStats, spare_bytes, table_stats
from vecdb.snapshot import Snapshot
from vecdb.storage.catalog import ColumnState, Schema, TableState
from vecdb.storage.creation import create_database
from vecdb.storage.header import read_header
from vecdb.storage.registry import REGISTRY
from vecdb.table import Table
from vecdb.transaction import Transaction, TransactionStack
from vecdb.write.heal import Healer

_MOST_VACUUMS: Final = 10  # before a compaction, while others go on deleting

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from vecdb.sql.cursor import Cursor
    from vecdb.sql.session import Session

Result = TypeVar("Result")


def connect(
    path: str | os.PathLike[str],
    *,
    create: bool = True,
    readonly: bool = False,
    durability: Durability = "full",
    timeout: float = DEFAULT_TIMEOUT,
    max_size: int | None = None,
    memory: int | None = None,
) -> Database:
    """Open the database in the file `path`, and create it if it is not there, unless `create` is False.

    `durability="full"`: a commit that returned survives a power cut; `"normal"`: the file is never damaged, but the
    last commits may be lost in one. `timeout`: seconds to wait for the writer's turn. `max_size`: most bytes that
    the file may grow to. `memory`: most bytes of vector columns, and of ids, to keep in memory, by default half of the
    machine's; a column that does not fit is searched exactly in the file, and is in memory only while it is written.
    Handles on one file in a process share the `max_size` and the `memory` that the first one set.

    Raises DatabaseNotFoundError, NotAVecdbError, FormatVersionError, CorruptionError, ReadOnlyError or
    StorageFullError.
    """
    return Database(
        path,
        create=create,
        readonly=readonly,
        durability=durability,
        timeout=timeout,
        max_size=max_size,
        memory=memory,
    )


class Database:
    """An open database, made by `connect`. Threads may share it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool,
        readonly: bool,
        durability: Durability,
        timeout: float,
        max_size: int | None,
        memory: int | None,
    ) -> None:
        if durability not in DURABILITIES:
            raise ProgrammingError(f"durability is one of {', '.join(DURABILITIES)}, not {durability!r}")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 <= timeout < 1e9:
            raise ProgrammingError(f"timeout is a number of seconds of 0 or more, not {timeout!r}")
        if max_size is not None and (not is_int(max_size) or max_size < 1):
            raise ProgrammingError(f"max_size is None or a number of bytes, not {max_size!r}")
        if memory is not None and (not is_int(memory) or memory < 0):
            raise ProgrammingError(f"memory is None or a number of bytes, not {memory!r}")
        self.path = _check_path(path)
        self.readonly = readonly
        self._timeout = float(timeout)
        self._sync = durability == "full"
        self._closed = False
        self._executors: dict[int, ThreadPoolExecutor] = {}
        self._transactions = TransactionStack(self._begin)
        self._sql: Session | None = None
        self._snapshots: WeakSet[Snapshot] = WeakSet()
        if not os.path.exists(self.path) or os.path.getsize(self.path) == 0:
            if not create or readonly:
                raise DatabaseNotFoundError(f"there is no database at {self.path}")
            create_database(self.path)
        self._environment = REGISTRY.acquire(self.path, readonly=readonly, sync_meta=self._sync, max_size=max_size)
        try:
            with self._environment.read() as reader:
                read_header(reader, self.path)
            self._mirror = Mirror.of(self._environment, _half_of_memory() if memory is None else memory)
            self._healer = Healer(self._mirror, self._timeout, sync=self._sync)
        except BaseException:
            self._closed = True
            REGISTRY.release(self._environment)
            raise

    # Tables

    def create_table(
        self,
        name: str,
        *,
        dim: int | None = None,
        metric: str | None = None,
        dtype: str | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        quantization: Quantization | None = None,
        vectors: Mapping[str, Vector] | None = None,
        fields: Mapping[str, object] | None = None,
        indexes: Collection[str] = (),
        exist_ok: bool = False,
    ) -> Table:
        """Create a table with one vector column, named "vector", of length `dim`, or with those of `vectors`.

        `fields` declares typed fields: str, int, float, bool, datetime, or a list of one of them; any other
        metadata may ride along in a row. `indexes` names those of them to be indexed, as `Table.create_index` does.
        With `exist_ok`, a table that is there with the same columns and fields is returned, whatever its indexes.
        Raises TableExistsError, VectorError, FieldError or LimitError.
        """
        options = {
            "metric": metric,
            "dtype": dtype,
            "m": m,
            "ef_construction": ef_construction,
            "quantization": quantization,
        }
        columns = _declare_vectors(dim, {key: value for key, value in options.items() if value is not None}, vectors)
        declared = declare_fields({} if fields is None else fields)
        return self._create(declare_table(name, columns, declared, indexes), exist_ok=exist_ok)

    def _create(self, schema: Schema, *, exist_ok: bool) -> Table:
        """Create a table, whose number is yet to be found."""
        name, columns, declared = schema.name, schema.columns, schema.fields
        state = TableState(columns={column.number: ColumnState() for column in columns})

        def create(writer: Writer) -> int:
            for table in writer.tables.values():
                if table.schema.name != name:
                    continue
                if not exist_ok:
                    raise TableExistsError(
                        f"there is a table {name!r} already; exist_ok=True, or IF NOT EXISTS, accepts it"
                    )
                if (table.schema.columns, table.schema.fields) != (columns, declared):
                    raise TableExistsError(f"there is a table {name!r} already, with other columns or fields")
                return table.schema.table
            with writer.changing():
                return writer.add_table(schema, state).schema.table

        return Table(self, name, self._write(create))

    def table(self, name: str) -> Table:
        """The table of that name; TableNotFoundError if there is none."""
        with self._view() as view:
            return Table(self, name, view.find_table(name).schema.table)

    def tables(self) -> list[str]:
        """The names of all tables, sorted."""
        with self._view() as view:
            return sorted(view.table_names())

    def drop_table(self, name: str) -> None:
        """Delete a table and its rows; TableNotFoundError if there is none."""

        def drop(writer: Writer) -> None:
            table = writer.find_table(name)
            with writer.changing():
                writer.drop_table(table)

        self._write(drop)

    def __contains__(self, name: object) -> bool:
        return name in self.tables()

    def vacuum(self, *, secure: bool = False, progress: Progress = None) -> int:
        """`Table.vacuum` of every table; returns how many deleted rows their graphs were rid of.

        With `secure`, `compact` follows, and every byte that the file had before is overwritten: what was deleted or
        replaced is nowhere in it any more. What the system, the disk or a backup keep elsewhere is out of reach.
        """
        if secure:
            self._check_replaceable()
        repaired = sum(self.table(name).vacuum(progress=progress) for name in self.tables())
        if secure:
            self._compact(progress, secure=True)
        return repaired

    def compact(self, *, progress: Progress = None) -> int:
        """Replace the file by a packed copy of itself: no deleted rows, no free pages. Returns the bytes that it won.

        Rows keep their order, and graphs their links. Other threads read meanwhile and wait at the end, when snapshots
        and scans that are open for long are ended; nobody writes. Cut off at any moment, the file is the old one or the
        new. It needs as much room on the disk as the rows take. Raises LockTimeoutError where another process has the
        file open, StorageFullError, TransactionError in a transaction.
        """
        before = os.path.getsize(self.path)
        self._compact(progress, secure=False)
        return before - os.path.getsize(self.path)

    def _check_replaceable(self) -> None:
        self._check_open()
        if self.readonly:
            raise ReadOnlyError(f"{self.path} was opened with readonly=True")
        if self._transactions.writer is not None:
            raise TransactionError("a file can't be replaced in a transaction; end it first")

    def _compact(self, progress: Progress, *, secure: bool) -> None:
        self._check_replaceable()
        for _ in range(_MOST_VACUUMS):
            for name in self.tables():
                self.table(name).vacuum()
            if compact(self._mirror, self._timeout, progress, secure=secure):
                return
        raise LockTimeoutError(f"{self.path}: others go on deleting rows; try again")

    def stats(self) -> DatabaseStats:
        """What the newest commit holds, and the file with it."""
        self._check_open()
        with self._mirror.view() as view:
            file_bytes = os.path.getsize(self.path)
            free_bytes = max(0, file_bytes - view.records.used_bytes())
            return DatabaseStats(
                view.version_number,
                file_bytes,
                free_bytes,
                free_bytes + spare_bytes(view.records, view.tables.values()),
                {table.schema.name: table_stats(table, view) for table in view.tables.values()},
                tuple(ReaderStats(*held) for held in self._environment.held.look()),
                self._environment.others_behind(),
            )

    # SQL

    def execute(self, sql: str, params: object = None) -> Cursor:
        """Run one statement of SQL, with `params` for its `?` (a list or tuple) or `:name` (a dict).

        Vectors are arrays, lists, or text as '[1,2,3]'; distances pgvector's `<->` (l2), `<=>` (cosine) and `<#>`
        (negative inner product). BEGIN opens a transaction of this thread, until COMMIT or ROLLBACK. The cursor holds
        the rows of the result, all of one version. Raises SqlError, with line, column and a hint, or what the call of
        Python would.
        """
        return self._session().execute(sql, params)

    def executemany(self, sql: str, params: Iterable[object]) -> Cursor:
        """Run one statement with each of many values of its parameters, all or nothing; an INSERT as one batch."""
        return self._session().executemany(sql, params)

    def _session(self) -> Session:
        if self._sql is None:
            from vecdb.sql.session import Session

            self._sql = Session(self)
        return self._sql

    # Maintenance

    def check(self, level: Level = "full", *, progress: Progress = None) -> Report:
        """`vecdb.check` of this file: its newest commit, while others read and write."""
        self._check_open()
        return check(self.path, level, progress=progress)

    def backup(
        self, dst: str | os.PathLike[str], *, since: str | os.PathLike[str] | None = None, progress: Progress = None
    ) -> Backup:
        """Put a backup of the newest commit at `dst`, where nothing may be, while others read and write.

        It is a database file without free pages, verified, synced, and under its name only when it is whole. With
        `since`, an earlier backup in the same folder, it is an increment: what has changed since then, of which
        `vecdb.restore` makes a database together with those that it follows. Raises BackupError, StorageFullError.
        """
        self._check_open()
        return backup(self._environment, dst, since, progress)

    # Transactions

    def transaction(self) -> Transaction:
        """A context in which every write of this thread to this database is one transaction; nested, a savepoint."""
        return Transaction(self._transactions)

    def snapshot(self) -> Snapshot:
        """The newest commit, to be read for as long as it is wanted: searches, counts and scans agree with each other.

        Use it in a `with` block, or close it. It sees nothing of a transaction under way, this thread's neither.
        """
        self._check_open()
        snapshot = Snapshot(self, self._mirror.hold())
        self._snapshots.add(snapshot)
        return snapshot

    @property
    def version(self) -> int:
        """A number that grows with each commit, of this process or another."""
        with self._view() as view:
            return view.version_number

    # Ending

    def close(self) -> None:
        """Release every file handle; a transaction of this thread is rolled back. May be called twice."""
        with self._environment.lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._healer.stop()
            for snapshot in list(self._snapshots):
                snapshot.close()
            self._transactions.roll_back_all()
            REGISTRY.release(self._environment)
            if self._environment.users == 0:
                self._mirror.clear()
        except BaseException:
            self._closed = False
            raise
        self._executors.clear()  # a call that still uses one keeps it; its threads end when nobody does

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_mirror"):
            self.close()

    def __repr__(self) -> str:
        return f"<vecdb.Database {self.path!r}{' closed' if self._closed else ''}>"

    def __reduce__(self) -> Any:
        raise TypeError("a database handle can't be pickled; connect again where it is needed")

    # For tables

    def _check_open(self) -> None:
        if self._closed:
            raise StaleHandleError(f"the database {self.path} is closed; connect again")
        self._environment.check_usable()

    def _begin(self) -> Writer:
        self._check_open()
        if self.readonly:
            raise ReadOnlyError(f"{self.path} was opened with readonly=True")
        return Writer(self._mirror, self._timeout, sync=self._sync)

    def _view(self) -> View:
        """What this thread reads, for a `with` block: its own transaction, or the newest commit."""
        self._check_open()
        writer = self._transactions.writer
        if writer is None:
            if self._mirror.damaged and not self.readonly:
                self._healer.look()
            return self._mirror.view()
        writer.check_whole()
        return writer

    def _write(self, statement: Callable[[Writer], Result]) -> Result:
        """Run a statement in this thread's transaction, or in one of its own."""
        self._check_open()
        writer = self._transactions.writer
        if writer is not None:
            return statement(writer)
        with self.transaction():
            writer = self._transactions.writer
            if writer is None:
                raise TransactionError("the transaction was ended by its own statement")
            return statement(writer)

    def _executor(self, threads: int) -> ThreadPoolExecutor:
        """A pool of that many threads, kept until the database is closed."""
        from concurrent.futures import ThreadPoolExecutor

        with self._environment.lock:
            self._check_open()
            if threads not in self._executors:
                self._executors[threads] = ThreadPoolExecutor(threads, thread_name_prefix="vecdb")
            return self._executors[threads]


def _check_path(path: object) -> str:
    """The real path, since LMDB puts the lock file beside the name it is given: two names would be two locks."""
    if not isinstance(path, (str, bytes, os.PathLike)) or not path or "\0" in os.fsdecode(path):
        raise ProgrammingError(f"path is the path of a file, not {path!r}")
    real = os.path.realpath(os.fsdecode(path))
    if os.path.isdir(real):
        raise NotAVecdbError(f"{real} is a folder, not a vecdb database")
    return real


def _half_of_memory() -> int:
    """Half of the machine's memory; no cap where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def _declare_vectors(
    dim: int | None, options: Mapping[str, Any], vectors: Mapping[str, Vector] | None
) -> Mapping[str, Vector]:
    if vectors is None:
        if dim is None:
            if options:
                raise VectorError(f"{', '.join(options)} without dim: give the length of the vectors")
            return {}
        return {"vector": Vector(dim, **options)}
    if dim is not None or options:
        raise VectorError("give either dim and its options, or vectors, not both")
    if not isinstance(vectors, Mapping):
        raise VectorError(f"vectors is a dict of names and vecdb.Vector, not {type(vectors).__name__}")
    for name, vector in vectors.items():
        if not isinstance(vector, Vector):
            raise VectorError(f"column {name!r} must be a vecdb.Vector, not {type(vector).__name__}")
    return vectors
