"""A snapshot: one version of a database, for as long as it is wanted."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from vecdb.mirror.versions import HeldVersion, SnapshotView
from vecdb.table_view import TableView

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class Handle(Protocol):
    """The database that a snapshot is of."""

    @property
    def path(self) -> str: ...

    def _check_open(self) -> None:
        """Raise StaleHandleError if it is not, or in a forked child."""

    def _executor(self, threads: int) -> ThreadPoolExecutor:
        """A pool of that many threads."""


class Snapshot:
    """A frozen view of a database, made by `Database.snapshot`: what is read through it is of one commit, whatever is
    written meanwhile, in this or another process. Any number of threads may read at once.

    It keeps what later commits replace, in the file and in memory. So it ends with its `with` block, or by `close`; at
    the latest after an hour, or when it keeps more of the file than a gigabyte and than all that the database holds.
    Then calls raise StaleHandleError.
    """

    def __init__(self, database: Handle, held: HeldVersion) -> None:
        self._database = database
        self._held = held

    @property
    def version(self) -> int:
        """`Database.version` as it was when the snapshot was made."""
        return self._held.number

    @property
    def path(self) -> str:
        """Of the database's file."""
        return self._database.path

    def table(self, name: str) -> TableView:
        """The table of that name, for reading; TableNotFoundError if there was none."""
        with self._view() as view:
            return TableView(self, name, view.find_table(name).schema.table)

    def tables(self) -> list[str]:
        """The names of all tables, sorted."""
        with self._view() as view:
            return sorted(view.table_names())

    def __contains__(self, name: object) -> bool:
        return name in self.tables()

    def close(self) -> None:
        """Let go of the version; calls of other threads that are under way go on to their end. May be called twice."""
        self._held.end("this snapshot was closed; make another one")

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<vecdb.Snapshot of version {self.version} of {self.path!r}>"

    def __reduce__(self) -> Any:
        raise TypeError("a snapshot can't be pickled; it is of one process")

    # For tables

    def _view(self) -> SnapshotView:
        self._database._check_open()
        return self._held.view()

    def _executor(self, threads: int) -> ThreadPoolExecutor:
        return self._database._executor(threads)
