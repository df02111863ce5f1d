"""The scalars that filters compare: which they are, how they compare, how they are written."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timezone
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from vecdb.filters.place import Place, failure

Scalar: TypeAlias = bool | int | float | str | bytes | datetime | None
Operator = Literal["=", "!=", "<", "<=", ">", ">="]

OPERATORS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
COMPLEMENT: Final[Mapping[Operator, Operator]] = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
MIRRORED: Final[Mapping[Operator, Operator]] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

_KINDS: Final = {bool: "bool", int: "number", float: "number", str: "str", bytes: "bytes"}


def kind(value: object) -> str | None:
    """What a value can be compared with: values of the same kind.

    None for what can't be compared: null, lists, dicts, and NaN, which is null to a filter.
    """
    if type(value) is float and math.isnan(value):
        return None
    if isinstance(value, datetime):
        return "naive datetime" if value.utcoffset() is None else "aware datetime"
    return _KINDS.get(type(value))


def compare_scalars(op: Operator, left: object, right: object) -> bool | None:
    """SQL's comparison: unknown where a side is null or the sides are of different kinds. Numbers compare exactly."""
    known = kind(left)
    return OPERATORS[op](left, right) if known is not None and known == kind(right) else None


def to_scalar(value: object, place: Place | None = None) -> Scalar:
    """A value as it was given, as a plain one. Raises FilterError, with the place, for what can't be compared.

    NumPy's scalars become Python's, dates midnights, and datetimes with a time zone are carried to UTC.
    """
    if type(value) is int or (type(value) is str and value.isascii()):
        return value
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise failure("NaN can't be compared with anything", place)
        return float(value)
    if isinstance(value, str):
        return _plain_str(value, place)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, datetime):
        return _in_utc(value, place)
    if isinstance(value, date):
        return datetime.combine(value, time())
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    raise failure(f"{type(value).__name__} is no type of value that a filter compares: {shown}", place)


def to_scalars(values: Iterable[object], place: Place | None = None) -> list[Scalar]:
    """Values as `to_scalar` takes each. Raises FilterError."""
    if isinstance(values, np.ndarray) and values.dtype.kind != "M":  # tolist would make ints of nanoseconds
        values = values.tolist()
    members: list[Any] = list(values)
    if set(map(type, members)) <= {int, bool}:
        return members
    return [to_scalar(member, place) for member in members]


def write_scalar(value: Scalar) -> str:
    """A scalar in SQL. Datetimes are written as text."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    text = value if isinstance(value, str) else value.isoformat(" ")
    return "'" + text.replace("'", "''") + "'"


def _plain_str(value: str, place: Place | None) -> str:
    text = str.__str__(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise failure(f"a text is not valid Unicode: {text[:40]!r}", place) from None
    return text


def _in_utc(value: datetime, place: Place | None) -> datetime:
    """Aware datetimes in one zone: Python compares those of different zones by other rules where clocks change."""
    try:
        return value if value.utcoffset() is None else value.astimezone(timezone.utc)
    except Exception as error:  # a tzinfo may raise anything, and UTC may be beyond the years 1 to 9999
        raise failure(f"the datetime {value!r} has no time in UTC: {error}", place) from None
