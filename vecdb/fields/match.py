"""Conditions on declared fields, evaluated on a block of a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.fields.columns import Block, Mask
from vecdb.fields.encode import to_microseconds
from vecdb.filters.like import matcher
from vecdb.filters.tree import Comparison, Contains, Field, Filter, In, IsNull, Like, Value
from vecdb.filters.values import OPERATORS, Scalar

Match: TypeAlias = Callable[[list[Block]], Mask]  # the blocks of the condition's fields, in the order of `fields_of`


def fields_of(condition: Filter) -> list[Field]:
    """The fields that a condition is on."""
    assert isinstance(condition, (Comparison, In, Like, IsNull, Contains))
    if isinstance(condition, Comparison) and isinstance(condition.operand, Field):
        return [condition.field, condition.operand]
    return [condition.field]


def compile_match(condition: Filter, kinds: list[str]) -> Match:
    """For which slots of a block a condition on fields of the kinds is true: not false and not unknown."""
    if isinstance(condition, IsNull):
        negated = condition.negated
        return lambda blocks: blocks[0].known if negated else ~blocks[0].known
    if len(kinds) == 2:
        assert isinstance(condition, Comparison)
        return _compare_fields(condition, kinds)
    if kinds == ["str"]:
        return _match_texts(condition)
    assert isinstance(condition, (Comparison, In))
    if isinstance(condition, In):
        return _match_numbers(condition.values, _among(condition))
    assert not isinstance(condition.operand, Field)
    compare: Callable[..., Mask]
    compare, (number,) = OPERATORS[condition.operator], _numbers([condition.operand.value])  # type: ignore[assignment]
    return _match_numbers([condition.operand.value], lambda values: compare(values, number))


def _compare_fields(condition: Comparison, kinds: list[str]) -> Match:
    """By Python's comparison of the values, which is exact between ints and floats."""
    compare = OPERATORS[condition.operator]

    def match(blocks: list[Block]) -> Mask:
        left, right = blocks
        comparable = left.known & right.known
        if left.aware is not None and right.aware is not None:
            comparable &= left.aware == right.aware
        chosen = np.flatnonzero(comparable)
        sides = [_objects(block, kind)[chosen] for block, kind in zip(blocks, kinds, strict=True)]
        comparable[chosen] = compare(*sides)
        return comparable

    return match


def _objects(block: Block, kind: str) -> NDArray[Any]:
    """Values as Python has them; datetimes by their microseconds."""
    values = block.values.tolist() if block.texts is None else block.scalars(kind)
    objects = np.empty(len(values), object)
    objects[:] = values
    return objects


def _match_texts(condition: Filter) -> Match:
    """By the different texts of a block."""
    test = _test_of_text(condition)

    def match(blocks: list[Block]) -> Mask:
        found: Mask = np.array([False, *map(test, blocks[0].texts or ())])[blocks[0].values]
        return found

    return match


def _test_of_text(condition: Filter) -> Callable[[str], bool]:
    if isinstance(condition, Like):
        matches, negated = matcher(condition.pattern, condition.ignore_case), condition.negated
        return lambda text: matches(text) is not negated
    if isinstance(condition, In):
        members, negated = frozenset(condition.values), condition.negated
        return lambda text: (text in members) is not negated
    assert isinstance(condition, Comparison)
    assert isinstance(condition.operand, Value)
    compare, operand = OPERATORS[condition.operator], condition.operand.value
    return lambda text: compare(text, operand)


def _match_numbers(operands: Collection[Scalar], test: Callable[[NDArray[Any]], Mask]) -> Match:
    """By numbers; datetimes by their microseconds, where they are of the operands' kind."""
    first = next(iter(operands))
    aware = isinstance(first, datetime) and first.utcoffset() is not None

    def match(blocks: list[Block]) -> Mask:
        (block,) = blocks
        comparable = block.known if block.aware is None else block.known & (block.aware == aware)
        found: Mask = test(block.values) & comparable
        return found

    return match


def _among(condition: In) -> Callable[[NDArray[Any]], Mask]:
    members, negated = np.unique(np.array(_numbers(condition.values))), condition.negated

    def test(values: NDArray[Any]) -> Mask:
        places = np.minimum(members.searchsorted(values), len(members) - 1)
        found: Mask = members[places] == values
        return ~found if negated else found

    return test


def _numbers(values: Collection[Any]) -> list[int | float]:
    """Values as columns hold them."""
    return [to_microseconds(value)[0] if isinstance(value, datetime) else value for value in values]
