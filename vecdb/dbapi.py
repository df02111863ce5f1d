"""PEP 249 (DB-API 2.0) on vecdb: `connect`, connections, cursors, the names of exceptions and types.

A connection has a database handle of its own. It begins a transaction with its first write; `commit` and `rollback`
end it; with `autocommit=True` each statement is its own. A connection is for the thread that made it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from datetime import time as clock_time
from types import TracebackType
from typing import Any, Final

from vecdb.database import Database
from vecdb.database import connect as open_database
from vecdb.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from vecdb.sql.cursor import BINARY, DATETIME, NUMBER, ROWID, STRING, Result
from vecdb.sql.cursor import Cursor as ResultCursor

apilevel: Final = "2.0"
threadsafety: Final = 1  # threads may share the module, not connections
paramstyle: Final = "qmark"

Date: Final = date
Time: Final = clock_time
Timestamp: Final = datetime
Binary: Final = bytes


class Warning(Exception):  # noqa: N818  # PEP 249 gives it this name
    """PEP 249: important warnings; vecdb has none."""


def DateFromTicks(ticks: float) -> date:  # noqa: N802  # PEP 249 gives it this name
    """The date of a number of seconds since 1970, in local time."""
    return date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> clock_time:  # noqa: N802
    """The time of day of a number of seconds since 1970, in local time."""
    return clock_time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime:  # noqa: N802
    """The date and time of a number of seconds since 1970, in local time."""
    return datetime(*time.localtime(ticks)[:6])


def connect(database: str | os.PathLike[str], *, autocommit: bool = False, **options: Any) -> Connection:
    """Open a database file, with the options of `vecdb.connect`."""
    return Connection(open_database(database, **options), autocommit=autocommit)


class Connection:
    """A database file, and one transaction at a time."""

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    def __init__(self, database: Database, *, autocommit: bool = False) -> None:
        self._database: Database | None = database
        self._thread = threading.get_ident()
        self.autocommit = autocommit

    @property
    def database(self) -> Database:
        """The handle, for what SQL has no words for. Raises ProgrammingError once the connection is closed."""
        if self._database is None:
            raise ProgrammingError("the connection is closed; connect again")
        if threading.get_ident() != self._thread:
            raise ProgrammingError("a connection is used by the thread that made it; connect in each thread")
        return self._database

    @property
    def in_transaction(self) -> bool:
        """Whether something was written, or BEGIN said, since the last commit or rollback."""
        return self.database._session().steering.in_transaction

    def cursor(self) -> Cursor:
        """A new cursor."""
        _ = self.database
        return Cursor(self)

    def execute(self, sql: str, params: object = None) -> Cursor:
        """Run a statement by a new cursor, as sqlite3 offers it too."""
        return self.cursor().execute(sql, params)

    def executemany(self, sql: str, params: Iterable[object]) -> Cursor:
        """Run a statement with many values, by a new cursor."""
        return self.cursor().executemany(sql, params)

    def commit(self) -> None:
        """Commit what was written since the last commit."""
        if self.in_transaction:
            self.database._session().steering.commit()

    def rollback(self) -> None:
        """Undo what was written since the last commit."""
        if self.in_transaction:
            self.database._session().steering.roll_back()

    def close(self) -> None:
        """Close the file; what was not committed is undone. May be called twice."""
        if self._database is None:
            return
        self.rollback()
        self.database.close()
        self._database = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back where an exception is on its way; the connection stays open, as sqlite3's does."""
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def _run(self, sql: str, work: Callable[[Database], ResultCursor]) -> ResultCursor:
        """Do something in the transaction of this connection, which a write begins."""
        database = self.database
        session = database._session()
        if not self.autocommit and not session.steering.in_transaction and session.is_write(sql):
            session.steering.begin()
        return work(database)


class Cursor(ResultCursor):
    """Runs statements of a connection, and holds the rows of the last one."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(Result())
        self.connection = connection
        self._closed = False

    def execute(self, sql: str, params: object = None) -> Cursor:
        """Run a statement, with `params` for its `?`."""
        return self._run(sql, lambda database: database.execute(sql, params))

    def executemany(self, sql: str, params: Iterable[object]) -> Cursor:
        """Run an INSERT, UPDATE or DELETE with each of many values, all or nothing; an INSERT as one batch."""
        return self._run(sql, lambda database: database.executemany(sql, params))

    def _run(self, sql: str, work: Callable[[Database], ResultCursor]) -> Cursor:
        self._check()
        self._hold(Result())
        self._hold(self.connection._run(sql, work)._result)
        return self

    def _rows(self) -> list[tuple[Any, ...]]:
        self._check()
        return super()._rows()

    def setinputsizes(self, sizes: Sequence[object]) -> None:
        """PEP 249 asks for it; nothing is to be done."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """PEP 249 asks for it; nothing is to be done."""

    def close(self) -> None:
        """Forget the rows; nothing can be run afterwards."""
        self._closed = True
        self._hold(Result())

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check(self) -> None:
        if self._closed:
            raise ProgrammingError("the cursor is closed; take a new one from the connection")
        _ = self.connection.database


__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]
