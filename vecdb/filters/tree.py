"""Filters as trees. The three notations make them, the planner and the evaluation take them apart.

A tree is made by the functions below, by `&`, `|` and `~`, never by its classes, and so is always in normal form:

* A condition compares a field, never two values: what can be decided without a row is a Constant.
* There is no NOT: it is pushed down to the conditions, each of which has a complement that is unknown for the same
  rows. So AND and OR are all that stands above conditions, and a row for which a condition is unknown may be taken for
  one that fails it: it makes no difference to the rows that match.
* AND holds no AND, OR no OR, neither holds a condition twice; BETWEEN is two comparisons; IN has two values or more,
  all of one kind.

Trees are immutable. Equal ones have equal hashes and match the same rows, so that they can be keys of a cache; `str` is
their SQL text. Unknown is what SQL calls NULL: the result of comparing with null, or of comparing values of
different kinds, such as a number with a text.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from vecdb.errors import FilterError, LimitError
from vecdb.filters.like import check_pattern
from vecdb.filters.path import Path, write_path
from vecdb.filters.place import Place, failure
from vecdb.filters.values import COMPLEMENT, MIRRORED, Operator, Scalar, compare_scalars, kind, write_scalar
from vecdb.options import MAX_FILTER_DEPTH, MAX_FILTER_TERMS, MAX_FILTER_VALUES


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the row, or what is nested in one. `place` is where the filter names it."""

    path: Path
    place: Place | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return write_path(self.path)


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A scalar. Unlike in Python 1, 1.0 and True are three values."""

    value: Scalar

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return write_scalar(self.value)


Operand: TypeAlias = Field | Value


class Filter:
    """A condition on rows, to be combined with `&`, `|` and `~`, and given as `where=`."""

    __slots__ = ()

    def __and__(self, other: Filter) -> Filter:
        return conjunction((self, other)) if isinstance(other, Filter) else NotImplemented

    def __or__(self, other: Filter) -> Filter:
        return disjunction((self, other)) if isinstance(other, Filter) else NotImplemented

    def __invert__(self) -> Filter:
        """The filter that is true where this one is false, and unknown where this one is."""
        raise NotImplementedError

    def __bool__(self) -> NoReturn:
        raise FilterError(
            f"a condition has no truth of its own: {self}. Combine conditions with & | ~ in parentheses, not with "
            "and, or, not; write a < x < b as col(...).between or with &"
        )


@dataclass(frozen=True, slots=True)
class Constant(Filter):
    """True, false or unknown (None) for every row."""

    value: bool | None

    def __invert__(self) -> Filter:
        return NULL if self.value is None else FALSE if self.value else TRUE

    def __str__(self) -> str:
        return write_scalar(self.value)


TRUE, FALSE, NULL = Constant(True), Constant(False), Constant(None)


@dataclass(frozen=True, slots=True)
class Comparison(Filter):
    """A field compared with a value, never null, or with another field."""

    field: Field
    operator: Operator
    operand: Operand

    def __invert__(self) -> Filter:
        return Comparison(self.field, COMPLEMENT[self.operator], self.operand)

    def __str__(self) -> str:
        return f"{self.field} {self.operator} {self.operand}"


@dataclass(frozen=True, slots=True)
class In(Filter):
    """A field that equals one of several different values of a kind, or with `negated` none of them."""

    field: Field
    values: tuple[Scalar, ...]
    kind: str
    negated: bool = False

    def __invert__(self) -> Filter:
        return In(self.field, self.values, self.kind, not self.negated)

    def __str__(self) -> str:
        return f"{self.field} {_not(self)}IN ({', '.join(map(write_scalar, self.values))})"


@dataclass(frozen=True, slots=True)
class Like(Filter):
    """A text that matches a pattern, whose escape is a backslash."""

    field: Field
    pattern: str
    ignore_case: bool = False
    negated: bool = False

    def __invert__(self) -> Filter:
        return Like(self.field, self.pattern, self.ignore_case, not self.negated)

    def __str__(self) -> str:
        return f"{self.field} {_not(self)}{'ILIKE' if self.ignore_case else 'LIKE'} {write_scalar(self.pattern)}"


@dataclass(frozen=True, slots=True)
class IsNull(Filter):
    """A field that the row lacks, or that is null or NaN. Never unknown."""

    field: Field
    negated: bool = False

    def __invert__(self) -> Filter:
        return IsNull(self.field, not self.negated)

    def __str__(self) -> str:
        return f"{self.field} IS {_not(self)}NULL"


@dataclass(frozen=True, slots=True)
class Contains(Filter):
    """A list that has an item. Unknown only where the field is no list."""

    field: Field
    item: Value
    negated: bool = False

    def __invert__(self) -> Filter:
        return Contains(self.field, self.item, not self.negated)

    def __str__(self) -> str:
        return f"{self.field} {_not(self)}CONTAINS {self.item}"


@dataclass(frozen=True, slots=True)
class Connective(Filter):
    """Two or more filters, joined: what And and Or have in common. `depth` and `size` count what stands in them;
    `members` are the terms with their hashes, so that one more is added without hashing all again."""

    terms: tuple[Filter, ...]
    depth: int = field(compare=False, repr=False)
    size: int = field(compare=False, repr=False)
    members: dict[Filter, None] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class And(Connective):
    """False where a term is; else unknown where a term is; else true."""

    def __invert__(self) -> Filter:
        return disjunction(~term for term in self.terms)

    def __str__(self) -> str:
        return " AND ".join(map(_in_parentheses, self.terms))


@dataclass(frozen=True, slots=True)
class Or(Connective):
    """True where a term is; else unknown where a term is; else false."""

    def __invert__(self) -> Filter:
        return conjunction(~term for term in self.terms)

    def __str__(self) -> str:
        return " OR ".join(map(_in_parentheses, self.terms))


def conjunction(filters: Iterable[Filter]) -> Filter:
    """All of the filters. Raises LimitError where there are too many, or too deep in each other."""
    return _connect(And, filters, neutral=TRUE, absorbing=FALSE)


def disjunction(filters: Iterable[Filter]) -> Filter:
    """Any of the filters. Raises LimitError where there are too many, or too deep in each other."""
    return _connect(Or, filters, neutral=FALSE, absorbing=TRUE)


def compare(left: Operand, op: Operator, right: Operand) -> Filter:
    """A comparison, either way round. With null it is unknown."""
    if isinstance(right, Value) and isinstance(left, Value):
        return Constant(compare_scalars(op, left.value, right.value))
    if isinstance(left, Value):
        left, op, right = right, MIRRORED[op], left
    assert isinstance(left, Field)
    return NULL if isinstance(right, Value) and right.value is None else Comparison(left, op, right)


def between(operand: Operand, low: Operand, high: Operand) -> Filter:
    """A comparison with both ends of a range, which belong to it."""
    return conjunction((compare(operand, ">=", low), compare(operand, "<=", high)))


def is_in(operand: Operand, values: Collection[Scalar]) -> Filter:
    """The operand equals one of the values: unknown rather than false where one is null, false where there are none."""
    if len(values) > MAX_FILTER_VALUES:
        raise LimitError(f"IN has {len(values)} values; the most is {MAX_FILTER_VALUES}")
    by_kind: dict[str | None, dict[Scalar, None]] = {}
    for value in values:
        by_kind.setdefault(kind(value), {})[value] = None
    alternatives: list[Filter] = []
    for same, members in by_kind.items():
        if isinstance(operand, Field) and same is not None and len(members) > 1:
            alternatives.append(In(operand, tuple(members), same))
        else:
            alternatives += [compare(operand, "=", Value(member)) for member in members]
    return disjunction(alternatives)


def is_null(operand: Operand) -> Filter:
    """The operand is null."""
    return IsNull(operand) if isinstance(operand, Field) else Constant(operand.value is None)


def like(
    operand: Operand, pattern: Value, ignore_case: bool = False, escape: str = "\\", place: Place | None = None
) -> Filter:
    """A text that matches a pattern. `place` is the pattern's. Raises FilterError and LimitError."""
    if not isinstance(operand, Field):
        raise failure(f"LIKE is for a field, not for {operand}", place)
    if pattern.value is None:
        return NULL
    if not isinstance(pattern.value, str):
        raise failure(f"the pattern of LIKE is a text, not {pattern}", place)
    return Like(operand, check_pattern(pattern.value, escape, place), ignore_case)


def contains(operand: Operand, item: Operand, place: Place | None = None) -> Filter:
    """A list that has an item. `place` is the expression's. Raises FilterError."""
    if not isinstance(operand, Field) or not isinstance(item, Value):
        raise failure("what is looked for in a list is a value, and the list is a field", place)
    return NULL if item.value is None else Contains(operand, item)


def rewrite(tree: Filter, condition: Callable[[Filter], Filter]) -> Filter:
    """The tree with another filter, or the same, in the place of each of its conditions."""
    if not isinstance(tree, Connective):
        return condition(tree)
    terms = [rewrite(term, condition) for term in tree.terms]
    if all(map(operator.is_, terms, tree.terms)):
        return tree
    return conjunction(terms) if isinstance(tree, And) else disjunction(terms)


def _connect(connective: type[Connective], filters: Iterable[Filter], neutral: Constant, absorbing: Constant) -> Filter:
    terms = dict[Filter, None]()
    absorbed = nested = False
    for item in filters:
        if isinstance(item, Connective):
            nested |= item.depth > 1 or not isinstance(item, connective)
        if isinstance(item, connective):
            terms.update(item.members)
        elif item == absorbing:
            absorbed = True
        elif item != neutral:
            terms[item] = None
        if len(terms) > MAX_FILTER_TERMS:
            raise too_many(len(terms))
    if absorbed or not terms:
        return absorbing if absorbed else neutral
    if len(terms) == 1:
        return next(iter(terms))
    inner = [term for term in terms if isinstance(term, Connective)] if nested else []
    depth = 1 + max((term.depth for term in inner), default=0)
    size = len(terms) - len(inner) + sum(term.size for term in inner)
    if size > MAX_FILTER_TERMS:
        raise too_many(size)
    if depth > MAX_FILTER_DEPTH:
        raise LimitError(f"AND and OR are {depth} deep in each other; the most is {MAX_FILTER_DEPTH}")
    return connective(tuple(terms), depth, size, terms)


def too_many(conditions: int) -> LimitError:
    """The error of a filter of so many conditions, or more."""
    return LimitError(
        f"a filter has {conditions} conditions or more; the most is {MAX_FILTER_TERMS}. Many values: IN or isin"
    )


def _in_parentheses(term: Filter) -> str:
    return f"({term})" if isinstance(term, Connective) else str(term)


def _not(condition: In | Like | IsNull | Contains) -> str:
    return "NOT " if condition.negated else ""
