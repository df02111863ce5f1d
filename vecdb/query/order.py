"""The order of a scan's rows: `order="year"`, `"-year"`, `"year DESC"`, or several of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from vecdb.errors import FieldError, ProgrammingError
from vecdb.filters.path import Path, read_path
from vecdb.filters.values import kind

Key: TypeAlias = tuple[int, Any]

_KINDS: Final = ("bool", "number", "str", "bytes", "naive datetime", "aware datetime")
_DIRECTIONS: Final = {"asc": False, "desc": True}


class By(NamedTuple):
    """A field to order by."""

    path: Path
    descending: bool

    def key(self, fields: Mapping[str, Any]) -> Key:
        """What rows are sorted by: nulls and NaN first, as in SQLite, values kind by kind, what has no order last."""
        value: Any = fields
        for name in self.path:
            value = value.get(name) if isinstance(value, Mapping) else None
        known = kind(value)
        if known is None:
            return (-1, 0) if value is None or isinstance(value, float) else (len(_KINDS), 0)
        return _KINDS.index(known), value


def read_order(order: object) -> list[By]:
    """An `order=` argument, the first field counting most; FieldError for what is none."""
    if order is None:
        return []
    given = [order] if isinstance(order, str) else order
    if not isinstance(given, Iterable):
        raise FieldError(f"order is the name of a field, or a list of them, not {order!r}")
    return [_read(item) for item in given]


def _read(item: object) -> By:
    if not isinstance(item, str) or not item.strip():
        raise FieldError(f"order names fields, as 'year', '-year' or 'year DESC'; {item!r} is none")
    name, _, direction = item.strip().rpartition(" ")
    if name and direction.lower() in _DIRECTIONS:
        return By(read_path(name.strip()), _DIRECTIONS[direction.lower()])
    text = item.strip()
    return By(read_path(text.removeprefix("-")), text.startswith("-"))


def check_range(limit: object, offset: object) -> tuple[int, int | None]:
    """`limit=` and `offset=` as the first place and the one to stop before."""
    first = _check_number(offset, "offset")
    return first, None if limit is None else first + _check_number(limit, "limit")


def sort_rows(rows: Sequence[tuple[Mapping[str, Any], int]], order: list[By]) -> list[int]:
    """Slots of rows (fields, slot) in the order; rows that are equal in it stay as they come."""
    for by in reversed(order):
        # Sorting is stable, backwards too.
        rows = sorted(rows, key=lambda row, by=by: by.key(row[0]), reverse=by.descending)  # type: ignore[misc]
    return [slot for _, slot in rows]


def _check_number(value: object, name: str) -> int:
    if isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProgrammingError(f"{name} must be an int of 0 or more, not {value!r}")
    return value
