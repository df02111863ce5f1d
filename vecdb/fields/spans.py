"""Conditions as spans of terms of an index."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from vecdb.fields.encode import AWARE, MAX_TEXT_BYTES, NAIVE, NULL, begin_text, encode, is_cut
from vecdb.filters.like import ESCAPE, matcher
from vecdb.filters.tree import And, Comparison, Contains, Field, Filter, In, IsNull, Like, Value
from vecdb.filters.values import Operator, Scalar

# Follows a term, and the chunk after it, in no key: so a term's own span ends there. No text has a byte 255 but for the
# one after a zero.
_PAST: Final = b"\xff" * 5


class Spans(NamedTuple):
    """Terms whose slots match a condition: those from `start` on and below `stop`, for each span."""

    spans: Collection[tuple[bytes, bytes]]
    test: Callable[[str], bool] | None = None  # that the text of a term must pass; cut ones are doubtful
    doubtful: frozenset[bytes] = frozenset()  # cut terms in the spans, of texts of which some match and some don't


def spans_of(condition: Filter) -> Spans:
    """The terms for which a condition is true that is not negated, on one declared field, or an AND of its ranges."""
    if isinstance(condition, And):
        parts = [spans_of(term) for term in condition.terms]
        starts, stops = zip(*(span for part in parts for span in part.spans), strict=True)
        return Spans([(max(starts), min(stops))], doubtful=frozenset().union(*(part.doubtful for part in parts)))
    if isinstance(condition, Like):
        return _spans_of_like(condition)
    if isinstance(condition, IsNull):
        return Spans([span_of(NULL)])
    if isinstance(condition, In):
        return _spans_of_values(condition.values)
    if isinstance(condition, Contains):
        return _spans_of_values([condition.item.value])
    assert isinstance(condition, Comparison)
    assert isinstance(condition.operand, Value)
    return _spans_of_comparison(condition.operator, condition.operand.value)


def range_of(condition: Filter) -> Field | None:
    """The field of which a condition is a range, open at one end, or an AND of such."""
    if isinstance(condition, And):
        fields = {range_of(term) for term in condition.terms}
        return fields.pop() if len(fields) == 1 else None
    if isinstance(condition, Comparison) and isinstance(condition.operand, Value):
        return condition.field if condition.operator in ("<", "<=", ">", ">=") else None
    return None


def span_of_other_kind(condition: Filter) -> tuple[bytes, bytes] | None:
    """The terms of values that can't be compared with a condition's, but are not null: datetimes of the other kind."""
    if isinstance(condition, In):
        value = condition.values[0]
    elif isinstance(condition, Comparison) and not isinstance(condition.operand, Field):
        value = condition.operand.value
    else:
        return None
    tag = encode(value)[:1]
    if tag not in (NAIVE, AWARE):
        return None
    return _span_of_kind(AWARE if tag == NAIVE else NAIVE)


def _spans_of_values(values: Collection[Scalar]) -> Spans:
    terms = {encode(value) for value in values}
    return Spans([span_of(term) for term in sorted(terms)], doubtful=frozenset(filter(is_cut, terms)))


def _spans_of_comparison(op: Operator, value: Scalar) -> Spans:
    if op == "=":
        return _spans_of_values([value])
    term = encode(value)
    of_kind = _span_of_kind(term)
    among = op in ("<=", ">=") or is_cut(term)  # whether the span holds the value's own term
    doubtful = frozenset([term] if is_cut(term) else ())
    if op in ("<", "<="):
        return Spans([(of_kind[0], term + _PAST if among else term)], doubtful=doubtful)
    return Spans([(term if among else term + _PAST, of_kind[1])], doubtful=doubtful)


def _spans_of_like(condition: Like) -> Spans:
    begin, rest = ("", condition.pattern) if condition.ignore_case else _split(condition.pattern)
    text = begin.encode()
    start = begin_text(text[:MAX_TEXT_BYTES])
    if rest == "%" and len(text) <= MAX_TEXT_BYTES:
        return Spans([span_of(start)])
    return Spans([span_of(start)], test=matcher(condition.pattern, condition.ignore_case))


def _split(pattern: str) -> tuple[str, str]:
    """What a pattern begins with, literally, and the rest of it."""
    begin, at = [], 0
    while at < len(pattern) and pattern[at] not in "%_":
        at += pattern[at] == ESCAPE
        begin.append(pattern[at])
        at += 1
    return "".join(begin), pattern[at:]


def span_of(beginning: bytes) -> tuple[bytes, bytes]:
    """A term by itself, or the texts that begin so."""
    return beginning, beginning + _PAST


def _span_of_kind(term: bytes) -> tuple[bytes, bytes]:
    """The terms of all values that a term's value can be compared with."""
    return term[:1], bytes((term[0] + 1,))
