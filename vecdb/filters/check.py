"""Filters checked against the fields that a table declares, and put into the types of these fields."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from vecdb.filters import tree
from vecdb.filters.place import failure
from vecdb.filters.tree import NULL, Comparison, Constant, Contains, Field, Filter, In, IsNull, Like, Value
from vecdb.filters.values import Operator, Scalar, to_scalar, write_scalar

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_NUMBERS: Final = ("int", "float")
# Types of values that a field can be compared with; a datetime also with text.
_COMPARABLE: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int, float),
    "float": (int, float),
    "bool": (bool,),
    "datetime": (datetime,),
}
# The operators by which a field compares with the number beside as it would with the given one, which lies between two
# numbers of the field's type.
_TO_NEXT_ABOVE: Final[Mapping[Operator, Operator]] = {"<": "<", "<=": "<", ">": ">=", ">=": ">="}
_TO_NEXT_BELOW: Final[Mapping[Operator, Operator]] = {"<": "<=", "<=": "<=", ">": ">", ">=": ">"}
_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?:(:\d\d)(?:\.(\d{1,6}))?)?(?: ?(?:Z|([+-]\d\d):?(\d\d)?))?)?", re.ASCII
)


def check_filter(filter: Filter, types: Mapping[str, str]) -> Filter:
    """The filter with every value in the type of the declared field that it is compared with.

    `types` has the types of the declared fields by name: "str", "int", "float", "bool", "datetime" or a list of one,
    such as "list[str]". Then ints compare with ints of 64 bits, floats with floats, datetimes with datetimes, and the
    same rows match: numbers are compared exactly, whatever their size. Fields that are not declared may be compared
    with values of any type; for rows in which they have another, the comparison is unknown.

    Raises FilterError for what could never match because of its type, with the place.
    """
    return tree.rewrite(filter, lambda condition: _check(condition, types))


def _check(condition: Filter, types: Mapping[str, str]) -> Filter:
    if isinstance(condition, Constant):
        return condition
    assert isinstance(condition, (Comparison, In, Like, IsNull, Contains))
    field = condition.field
    declared = _declared(field, types)
    if isinstance(condition, Comparison) and isinstance(condition.operand, Field):
        _check_comparable(field, declared, condition.operand, _declared(condition.operand, types))
        return condition
    if declared is None or isinstance(condition, IsNull):
        return condition
    if isinstance(condition, Contains):
        return _check_contains(condition, declared)
    if declared.startswith("list["):
        raise failure(f"{field} is {declared}: ask for an item by {field} CONTAINS value", field.place)
    if isinstance(condition, Like):
        if declared != "str":
            raise failure(f"{field} is {declared}, and LIKE is for str", field.place)
        return condition
    if isinstance(condition, In):
        return _check_in(condition, declared)
    assert isinstance(condition.operand, Value)
    return _check_comparison(field, condition.operator, condition.operand, declared)


def _declared(field: Field, types: Mapping[str, str]) -> str | None:
    """The declared type of a field."""
    declared = types.get(field.path[0])
    if declared is not None and len(field.path) > 1:
        raise failure(f"{field.path[0]} is {declared}, and has no field in it: {field}", field.place)
    return declared


def _check_comparable(left: Field, left_type: str | None, right: Field, right_type: str | None) -> None:
    for field, declared in ((left, left_type), (right, right_type)):
        if declared is not None and declared.startswith("list["):
            raise failure(f"{field} is {declared}, which can't be compared with another field", field.place)
    numbers = left_type in _NUMBERS and right_type in _NUMBERS
    if not (left_type is None or right_type is None or left_type == right_type or numbers):
        raise failure(f"{left} is {left_type} and {right} is {right_type}: they can't be compared", left.place)


def _check_comparison(field: Field, op: Operator, operand: Value, declared: str) -> Filter:
    value = _convert(field, operand.value, declared, declared)
    near = _round(value, declared)
    if near != value:
        if op in ("=", "!="):
            return _never(field) if op == "=" else ~_never(field)
        op = (_TO_NEXT_ABOVE if near > value else _TO_NEXT_BELOW)[op]
    return Comparison(field, op, Value(near))


def _check_in(condition: In, declared: str) -> Filter:
    field = condition.field
    if condition.kind == declared or (declared == "int" and _are_int64(condition.values)):
        return condition
    values = [_convert(field, value, declared, declared) for value in condition.values]
    near = [_round(value, declared) for value in values]
    exact = [rounded for rounded, value in zip(near, values, strict=True) if rounded == value]
    present = tree.is_in(field, exact) if exact else _never(field)
    return ~present if condition.negated else present


def _are_int64(values: Collection[Any]) -> bool:
    return set(map(type, values)) == {int} and _INT_MIN <= min(values) <= max(values) <= _INT_MAX


def _check_contains(condition: Contains, declared: str) -> Filter:
    field = condition.field
    if not declared.startswith("list["):
        raise failure(f"{field} is {declared}, and CONTAINS is for lists", field.place)
    kind = declared[5:-1]
    value = _convert(field, condition.item.value, kind, declared)
    near = _round(value, kind)
    if near == value:
        return Contains(field, Value(near), condition.negated)
    return ~_never(field) if condition.negated else _never(field)


def _never(field: Field) -> Filter:
    """False, but unknown where the field is null, as any comparison is."""
    return tree.is_null(field) & NULL


def _convert(field: Field, value: Scalar, kind: str, declared: str) -> Any:
    """A value that can be compared with values of the kind; `declared` is the field's type, a list of them perhaps."""
    if kind == "datetime" and isinstance(value, str):
        return _read_datetime(field, value)
    if type(value) not in _COMPARABLE[kind]:
        shown = write_scalar(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise failure(f"{field} is {declared}, not {type(value).__name__}: {shown}", field.place)
    return value


def _round(value: Any, kind: str) -> Any:
    """The value itself, or a number of the kind beside it: none of the kind lies between the two."""
    if kind == "float":
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if kind == "int":
        return _INT_MAX if value > _INT_MAX else _INT_MIN if value < _INT_MIN else math.floor(value)
    return value


def _read_datetime(field: Field, text: str) -> Scalar:
    """A datetime of ISO 8601: a date, or a date and a time, with a time zone or without."""
    try:
        found = _ISO.fullmatch(text)
        if found is None:
            raise ValueError("it has not the form 2024-05-17 10:30:00.25 +02:00, of which the date alone must be there")
        date, minute, second, fraction, hours, minutes = found.groups("")
        zone = f"{hours or '+00'}:{minutes or '00'}" if hours or text.endswith("Z") else ""
        read = datetime.fromisoformat(f"{date}T{minute or '00:00'}{second or ':00'}.{fraction:0<6}{zone}")
    except ValueError as error:
        raise failure(f"{field} is datetime, not {write_scalar(text[:60])}: {error}", field.place) from None
    return to_scalar(read, field.place)
