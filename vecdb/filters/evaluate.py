"""Filters evaluated on one row at a time: for fields that are not declared, and as what faster ways must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isnan
from typing import Any, TypeAlias

from vecdb.filters.like import matcher
from vecdb.filters.path import Path
from vecdb.filters.tree import And, Comparison, Connective, Constant, Contains, Field, Filter, In, IsNull, Like
from vecdb.filters.values import OPERATORS, compare_scalars, kind

Row: TypeAlias = Mapping[str, Any]
Test: TypeAlias = Callable[[Row], bool | None]
Getter: TypeAlias = Callable[[Row], Any]


def matches(filter: Filter, fields: Row) -> bool | None:
    """Whether a filter is true, false or unknown (None) for a row's fields, by name."""
    return compile_filter(filter)(fields)


def compile_filter(filter: Filter) -> Test:
    """The filter as a function of a row's fields by name: true, false or unknown (None). True is a match."""
    if isinstance(filter, Connective):
        tests = [compile_filter(term) for term in filter.terms]
        return _all(tests) if isinstance(filter, And) else _any(tests)
    if isinstance(filter, Constant):
        constant = filter.value
        return lambda row: constant
    assert isinstance(filter, (Comparison, In, Like, IsNull, Contains))
    get = _getter(filter.field.path)
    if isinstance(filter, Comparison):
        return _comparison(get, filter)
    if isinstance(filter, IsNull):
        return _is_null(get, filter.negated)
    if isinstance(filter, In):
        return _in(get, filter)
    if isinstance(filter, Like):
        return _like(get, filter)
    return _contains(get, filter)


def _all(tests: Iterable[Test]) -> Test:
    def test(row: Row) -> bool | None:
        result: bool | None = True
        for term in tests:
            found = term(row)
            if found is False:
                return False
            if found is None:
                result = None
        return result

    return test


def _any(tests: Iterable[Test]) -> Test:
    def test(row: Row) -> bool | None:
        result: bool | None = False
        for term in tests:
            found = term(row)
            if found:
                return True
            if found is None:
                result = None
        return result

    return test


def _getter(path: Path) -> Getter:
    """What a path leads to; None where it leads nowhere."""
    name, *inner = path

    def get(row: Row) -> Any:
        value = row.get(name)
        for key in inner:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    return get if inner else lambda row: row.get(name)


def _comparison(get: Getter, condition: Comparison) -> Test:
    if isinstance(condition.operand, Field):
        op, other = condition.operator, _getter(condition.operand.path)
        return lambda row: compare_scalars(op, get(row), other(row))
    compare, operand = OPERATORS[condition.operator], condition.operand.value
    known = kind(operand)

    def test(row: Row) -> bool | None:
        value = get(row)
        return compare(value, operand) if kind(value) == known else None

    return test


def _in(get: Getter, condition: In) -> Test:
    members, known, negated = frozenset(condition.values), condition.kind, condition.negated

    def test(row: Row) -> bool | None:
        value = get(row)
        return (value in members) is not negated if kind(value) == known else None

    return test


def _like(get: Getter, condition: Like) -> Test:
    matches, negated = matcher(condition.pattern, condition.ignore_case), condition.negated

    def test(row: Row) -> bool | None:
        value = get(row)
        return matches(value) is not negated if type(value) is str else None

    return test


def _is_null(get: Getter, negated: bool) -> Test:
    def test(row: Row) -> bool:
        value = get(row)
        return (value is None or (type(value) is float and isnan(value))) is not negated

    return test


def _contains(get: Getter, condition: Contains) -> Test:
    item, known, negated = condition.item.value, kind(condition.item.value), condition.negated

    def test(row: Row) -> bool | None:
        value = get(row)
        if not isinstance(value, (list, tuple)):
            return None
        return any(other == item and kind(other) == known for other in value) is not negated

    return test
