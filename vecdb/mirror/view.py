"""What a call reads: one version of the database, or a transaction's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from vecdb.errors import TableNotFoundError
from vecdb.index.exact import Rows
from vecdb.mirror.column import ColumnVersion
from vecdb.mirror.ids import Ids, Slots
from vecdb.mirror.load import Stored, VectorsInFile, load_vectors
from vecdb.storage.catalog import Column, Table
from vecdb.storage.view import Records

Item = TypeVar("Item")
Place = tuple[int, int]  # (table, column)

_KEPT = 128  # of one version
_BLOCKS_AT_ONCE = 64  # of vectors, read into memory by each search until all are there


class Kept:
    """What was made of one version's records and may be asked for again, within so many entries and bytes."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._items: dict[Any, Any] = {}
        self.get = self._items.get

    def add(self, key: Any, item: Any, nbytes: int, most: int) -> None:
        """Keep an item of about so many bytes, where all may have `most`; what was kept before may go for it."""
        if nbytes > most:
            return
        if self.nbytes + nbytes > most or len(self._items) >= _KEPT:
            self.clear()
        self._items[key] = item
        self.nbytes += nbytes

    def clear(self) -> None:
        self._items.clear()
        self.nbytes = 0


class View(ABC):
    """One version as a call sees it, in a `with` block: records from the file, vector columns from the mirror."""

    def __enter__(self) -> View:
        return self

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """The call is over."""

    @property
    @abstractmethod
    def records(self) -> Records: ...

    @property
    @abstractmethod
    def tables(self) -> Mapping[int, Table]: ...

    @property
    @abstractmethod
    def version_number(self) -> int:
        """The number of the commit that this version is of; of the commit to come in a transaction."""

    @property
    @abstractmethod
    def kept(self) -> Kept | None:
        """What was made of this version's records, for who may ask for it again; None while they change."""

    @property
    @abstractmethod
    def damaged(self) -> Mapping[Place, str]:
        """The columns whose graphs were found damaged in the newest version, and what was found."""

    def keep(self, key: Any, item: Any, nbytes: int) -> None:  # noqa: B027 - while records change, nothing is kept
        """Keep an item of about so many bytes for who may ask for it again."""

    @abstractmethod
    def column(self, table: Table, column: Column) -> ColumnVersion:
        """The column as this version has it, loaded if it is not in memory."""

    @abstractmethod
    def column_in_file(self, table: Table, column: Column) -> ColumnVersion:
        """The column without anything loaded; the writer's own where this is one."""

    def vectors(self, table: Table, version: ColumnVersion, *, whole: bool) -> Rows:
        """A column's vectors by slot: an array where all are in memory, else something that reads them from the file.

        Those missing in memory are read into it where the `whole` column is wanted, otherwise some of them."""
        memory = version.vectors
        if memory is not None:
            load_vectors(self.records, table.schema, version, None if whole else _BLOCKS_AT_ONCE)
            if memory.whole and self.version_number >= memory.since:
                return memory.array
        return VectorsInFile(self.records, table.schema, version)

    @abstractmethod
    def ids(self, table: Table, slots: Slots) -> Ids:
        """The ids of slots that have rows."""

    @abstractmethod
    def vector(self, table: Table, column: Column, slot: int) -> Stored:
        """One vector of this version, bit for bit."""

    def in_parts(self, items: Callable[[View], Iterator[Item]], at_once: int) -> Iterator[Item]:
        """Items for a caller who takes them when it likes, made `at_once` at a time. Not within a `with` block."""
        return items(self)

    def find_table(self, name: str) -> Table:
        for table in self.tables.values():
            if table.schema.name == name:
                return table
        raise TableNotFoundError(f"there is no table {name!r}; there are {sorted(self.table_names()) or 'none'}")

    def table_names(self) -> list[str]:
        return [table.schema.name for table in self.tables.values()]
