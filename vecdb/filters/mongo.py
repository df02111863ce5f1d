"""Filters as dicts, with MongoDB's operators: `{"lang": "en", "year": {"$gte": 2019}}`.

One tree for three notations means SQL's logic: `{"year": {"$ne": 2019}}` does not match rows without a year, and
`{"tags": "x"}` does not look into lists: `{"tags": {"$contains": "x"}}` does. None is null: `{"year": None}` is
`year IS NULL`, which also holds where the field is not there, and `$exists` is its opposite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from vecdb.errors import LimitError
from vecdb.filters import tree
from vecdb.filters.column import Column
from vecdb.filters.path import Path, read_path
from vecdb.filters.place import failure
from vecdb.filters.tree import Field, Filter
from vecdb.options import MAX_FILTER_DEPTH

_OPERATORS: Final[Mapping[str, Callable[[Column, Any], Filter]]] = {
    "$eq": Column.__eq__,
    "$ne": Column.__ne__,
    "$gt": Column.__gt__,
    "$gte": Column.__ge__,
    "$lt": Column.__lt__,
    "$lte": Column.__le__,
    "$in": Column.isin,
    "$nin": Column.not_in,
    "$contains": Column.contains,
    "$like": Column.like,
    "$ilike": Column.ilike,
}


def read_dict(where: Mapping[Any, Any], place: str = "", depth: int = 0) -> Filter:
    """The filter of a dict: every entry must hold. `place` is the path to it.

    Raises FilterError with the path of what is wrong, and LimitError.
    """
    _check_depth(depth)
    return tree.conjunction(
        _read_entry(key, value, f"{place}.{key}" if place else str(key), depth) for key, value in where.items()
    )


def _read_entry(key: object, value: Any, place: str, depth: int) -> Filter:
    if key in ("$and", "$or"):
        if not isinstance(value, (list, tuple)):
            raise failure(f"{key} takes a list of filters, not {type(value).__name__}", place)
        filters = (_read_part(part, f"{place}[{number}]", depth) for number, part in enumerate(value))
        return tree.conjunction(filters) if key == "$and" else tree.disjunction(filters)
    if key == "$not":
        return ~_read_part(value, place, depth)
    if isinstance(key, str) and key.startswith("$"):
        raise failure(f"there is no operator {key} here; there are $and, $or and $not, and names of fields", place)
    return _read_field(read_path(key, place), value, place, depth)


def _read_part(part: object, place: str, depth: int) -> Filter:
    if not isinstance(part, Mapping):
        raise failure(f"a filter is a dict, not {type(part).__name__}", place)
    return read_dict(part, place, depth + 1)


def _read_field(path: Path, condition: Any, place: str, depth: int) -> Filter:
    """What holds for a field: a value that it equals, or a dict of operators."""
    _check_depth(depth)
    if not isinstance(condition, Mapping):
        condition = {"$eq": condition}
    if not condition:
        raise failure("{} has no operator", place)
    return tree.conjunction(_apply(path, name, value, f"{place}.{name}", depth) for name, value in condition.items())


def _apply(path: Path, name: object, value: Any, place: str, depth: int) -> Filter:
    column = Column(Field(path, place))
    if name == "$not":
        if not isinstance(value, Mapping):
            raise failure(f"$not takes a dict of operators, not {type(value).__name__}", place)
        return ~_read_field(path, value, place, depth + 1)
    if name == "$exists":
        if not isinstance(value, bool):
            raise failure(f"$exists takes True or False, not {value!r}", place)
        return column.is_not_null() if value else column.is_null()
    operator = _OPERATORS.get(name) if isinstance(name, str) else None
    if operator is None:
        known = " ".join((*_OPERATORS, "$exists", "$not"))
        raise failure(f"there is no operator {name!r}; there are {known}; nested fields have dotted names", place)
    return operator(column, value)


def _check_depth(depth: int) -> None:
    if depth > MAX_FILTER_DEPTH:
        raise LimitError(f"a filter is more than {MAX_FILTER_DEPTH} dicts deep")
