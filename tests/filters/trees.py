"""Random filters, and filters written in the notations that they are not printed in."""

from __future__ import annotations

import functools
import operator
from typing import Any

from hypothesis import strategies as st

import vecdb
from vecdb.filters import tree
from vecdb.filters.tree import (
    NULL,
    TRUE,
    And,
    Comparison,
    Constant,
    Contains,
    Field,
    Filter,
    In,
    IsNull,
    Like,
    Or,
    Value,
)
from vecdb.filters.values import OPERATORS

NAMES = ("year", "extra.author.name", "in", 'odd."quoted', "größe", "order", "a b.c")
PATHS = [*((name,) for name in NAMES), ("extra", "author", "name"), ("a", "or", "x.y"), ("contains",), ("any", "date")]

fields = st.sampled_from(PATHS).map(Field)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6) | st.sampled_from(
    ["it's", "\\", "--"]
)
numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False)
scalars = st.booleans() | numbers | texts
patterns = st.lists(st.sampled_from(["%", "_", "\\%", "\\_", "\\\\", "a", "B", "é", "'", "\n"]), max_size=6).map(
    "".join
)
operators = st.sampled_from(list(OPERATORS))
values = scalars.map(Value)

conditions = st.one_of(
    st.builds(tree.compare, fields, operators, values),
    st.builds(tree.is_in, fields, st.lists(scalars, max_size=4)),
    st.builds(tree.between, fields, values, values),
    st.builds(tree.like, fields, patterns.map(Value), st.booleans()),
    st.builds(tree.contains, fields, values),
    st.builds(tree.is_null, fields),
    st.builds(Constant, st.sampled_from([True, False, None])),
)


def filters(leaves: st.SearchStrategy[Filter] = conditions) -> st.SearchStrategy[Filter]:
    """Filters of conditions, with AND, OR and NOT in any order."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(tree.conjunction),
            st.lists(inner, max_size=3).map(tree.disjunction),
            inner.map(operator.invert),
        ),
        max_leaves=8,
    )


def to_dict(filter: Filter) -> dict[str, Any]:
    """A filter, without comparisons of two fields, in MongoDB's notation."""
    names: dict[Any, str] = dict(zip(OPERATORS, ("$eq", "$ne", "$lt", "$lte", "$gt", "$gte"), strict=True))
    match filter:
        case And(terms) | Or(terms):
            return {"$and" if isinstance(filter, And) else "$or": [to_dict(term) for term in terms]}
        case Constant(value):
            return {"x": {"$lt": None}} if value is None else {} if value else {"$or": []}
        case Comparison(field, op, Value(value)):
            return {str(field): {names[op]: value}}
        case In(field, members, _, negated):
            return {str(field): {"$nin" if negated else "$in": list(members)}}
        case IsNull(field, negated):
            return {str(field): {"$exists": negated}}
        case Like(field, pattern, ignore_case, negated):
            return _negated(negated, str(field), {"$ilike" if ignore_case else "$like": pattern})
        case Contains(field, Value(item), negated):
            return _negated(negated, str(field), {"$contains": item})
    raise AssertionError(filter)


def _negated(negated: bool, name: str, condition: dict[str, Any]) -> dict[str, Any]:
    return {name: {"$not": condition}} if negated else {name: condition}


def to_expression(filter: Filter) -> Filter:
    """A filter, made by the operators of Python."""
    match filter:
        case And(terms):
            return functools.reduce(operator.and_, map(to_expression, terms))
        case Or(terms):
            return functools.reduce(operator.or_, map(to_expression, terms))
        case Constant(value):
            return NULL if value is None else TRUE if value else ~TRUE
        case Comparison(field, op, operand):
            other = operand.value if isinstance(operand, Value) else vecdb.col(str(operand))
            made: Filter = OPERATORS[op](vecdb.col(str(field)), other)  # type: ignore[assignment]
            return made
        case In(field, members, _, negated):
            column = vecdb.col(str(field))
            return column.not_in(members) if negated else column.isin(members)
        case IsNull(field, negated):
            column = vecdb.col(str(field))
            return column.is_not_null() if negated else column.is_null()
        case Like(field, pattern, ignore_case, negated):
            column = vecdb.col(str(field))
            like = column.ilike(pattern) if ignore_case else column.like(pattern)
            return ~like if negated else like
        case Contains(field, Value(item), negated):
            contains = vecdb.col(str(field)).contains(item)
            return ~contains if negated else contains
    raise AssertionError(filter)
