"""The result of a statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from vecdb.errors import InterfaceError

# PEP 249: name, type code, then what vecdb has nothing to say about.
Description: TypeAlias = tuple[str, "TypeCode | None", None, None, None, None, None]


class TypeCode:
    """What a column holds; equal to the names of the types of fields that it stands for."""

    def __init__(self, name: str, *types: str) -> None:
        self.name = name
        self.types = frozenset(types)

    def __eq__(self, other: object) -> bool:
        return other is self or (isinstance(other, str) and other in self.types)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name


STRING: Final = TypeCode(
    "STRING", "str", "json", *(f"list[{kind}]" for kind in ("str", "int", "float", "bool", "datetime"))
)
BINARY: Final = TypeCode("BINARY", "bytes", "vector")
NUMBER: Final = TypeCode("NUMBER", "int", "float", "bool")
DATETIME: Final = TypeCode("DATETIME", "datetime")
ROWID: Final = TypeCode("ROWID", "id")
_CODES: Final = (STRING, BINARY, NUMBER, DATETIME, ROWID)
_NAMES: Final = {bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes", list: "list[str]", dict: "json"}


class Result:
    """What a statement left: rows under names, or how many rows it changed."""

    __slots__ = ("changed", "last_id", "names", "rows", "types")

    def __init__(
        self,
        names: list[str] | None = None,
        rows: list[tuple[Any, ...]] | None = None,
        types: list[str | None] | None = None,
        changed: int = -1,
        last_id: Any = None,
    ) -> None:
        self.names = names
        self.rows = [] if rows is None else rows
        self.types = types
        self.changed = changed
        self.last_id = last_id

    @property
    def description(self) -> tuple[Description, ...] | None:
        if self.names is None:
            return None
        types = self.types or [None] * len(self.names)
        return tuple(
            (name, _code(types[place] or self._type_of(place)), None, None, None, None, None)
            for place, name in enumerate(self.names)
        )

    def _type_of(self, place: int) -> str | None:
        """By the first value that is not null."""
        value = next((row[place] for row in self.rows if row[place] is not None), None)
        if value is None:
            return None
        return _NAMES.get(type(value), "vector" if hasattr(value, "dtype") else "datetime")


class Cursor:
    """The rows of one statement, in order, as tuples."""

    arraysize = 1

    def __init__(self, result: Result) -> None:
        self._hold(result)

    def _hold(self, result: Result) -> None:
        self._result = result
        self._next = 0

    @property
    def description(self) -> tuple[Description, ...] | None:
        """A tuple for each column: its name, its type code, and five times None; None where there are no rows."""
        return self._result.description

    @property
    def rowcount(self) -> int:
        """How many rows were written, or found."""
        result = self._result
        return result.changed if result.names is None or result.changed >= 0 else len(result.rows)

    @property
    def lastrowid(self) -> Any:
        """The id of the last row that was inserted."""
        return self._result.last_id

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; None after the last."""
        rows = self._rows()
        if self._next >= len(rows):
            return None
        self._next += 1
        return rows[self._next - 1]

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows, `arraysize` unless `size` is given."""
        rows, first = self._rows(), self._next
        found = rows[first : first + (self.arraysize if size is None else size)]
        self._next += len(found)
        return found

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        rows, first = self._rows(), self._next
        self._next = len(rows)
        return rows[first:]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def _rows(self) -> list[tuple[Any, ...]]:
        if self._result.names is None:
            raise InterfaceError("the statement has no rows; SELECT has, and RETURNING")
        return self._result.rows


def _code(kind: str | None) -> TypeCode | None:
    return next((code for code in _CODES if kind in code.types), None)
