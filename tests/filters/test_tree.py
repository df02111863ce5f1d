"""Filters are in normal form, equal where they are the same, and bounded."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given

from tests.filters.trees import conditions, filters, to_dict, to_expression
from vecdb import FilterError, LimitError, col
from vecdb.filters import tree
from vecdb.filters.read import read_filter
from vecdb.filters.tree import FALSE, NULL, TRUE, And, Connective, Constant, Field, Filter, In, Or, Value
from vecdb.options import MAX_FILTER_DEPTH, MAX_FILTER_TERMS

A, B, C = (col(name) == 1 for name in "abc")


@given(filters())
def test_each_notation_reads_back_what_was_written_in_it(filter: Filter) -> None:
    assert read_filter(str(filter)) == filter
    assert read_filter(to_dict(filter)) == filter
    assert read_filter(to_expression(filter)) == filter


@given(filters())
def test_the_normal_form(filter: Filter) -> None:
    def check(part: Filter) -> None:
        if isinstance(part, In):
            assert len(part.values) > 1
        if isinstance(part, Connective):
            assert len(set(part.terms)) == len(part.terms) > 1
            assert TRUE not in part.terms
            assert FALSE not in part.terms
            assert not any(isinstance(term, type(part)) for term in part.terms)
            for term in part.terms:
                check(term)

    check(filter)


@given(filters())
def test_a_filter_is_its_complements_complement(filter: Filter) -> None:
    assert ~~filter == filter


@given(filters(conditions), filters(conditions))
def test_equal_filters_are_one_key_and_print_alike(one: Filter, other: Filter) -> None:
    same = pickle.loads(pickle.dumps(one))
    assert (same, hash(same), str(same)) == (one, hash(one), str(one))
    if one == other:
        assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (col("x") == 1, col("x") == True),  # noqa: E712
        (col("x").isin([0, 1]), col("x").isin([False, True])),
        (col("x") == 1, col("x") == "1"),
        (col("x").like("a"), col("x").ilike("a")),
        (col("x").contains(1), col("x").contains(True)),
        (col("a.b") == 1, col('"a.b"') == 1),
        (A & B, A | B),
    ],
)
def test_what_matches_other_rows_is_another_filter(one: Filter, other: Filter) -> None:
    assert one != other


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (A & TRUE, A),
        (A & FALSE, FALSE),
        (A | TRUE, TRUE),
        (A | FALSE, A),
        (A & A, A),
        (~NULL, NULL),
        (NULL & NULL, NULL),
        (tree.conjunction([]), TRUE),
        (tree.disjunction([]), FALSE),
        (tree.compare(Value(5), "<", Field(("x",))), col("x") > 5),
        (tree.compare(Value(1), "<", Value(1.5)), TRUE),
        (tree.compare(Value(1), "=", Value("1")), NULL),
        (tree.compare(Value(1), "=", Value(True)), NULL),
        (col("x") < None, NULL),
        (tree.is_null(Value(None)), TRUE),
        (tree.is_in(Field(("x",)), []), FALSE),
        (tree.is_in(Field(("x",)), [7, 7]), col("x") == 7),
        (tree.is_in(Value(5), [5, None]), TRUE),
        (tree.is_in(Value(5), [6, None]), NULL),
        (col("x").like(None), NULL),  # type: ignore[arg-type]
        (col("x").contains(None), NULL),
    ],
)
def test_what_needs_no_row_is_decided_at_once(made: Filter, expected: Filter) -> None:
    assert made == expected


def test_unknown_stays_where_a_negation_could_show_it() -> None:
    assert isinstance(A & NULL, And)
    assert ~(A & NULL) == ~A | NULL


def test_not_is_pushed_down_to_conditions() -> None:
    assert str(
        ~((A & ~B) | col("t").like("x%") | col("n").is_null() | col("l").contains(1) | col("i").isin([1, 2]))
    ) == ("(a != 1 OR b = 1) AND t NOT LIKE 'x%' AND n IS NOT NULL AND l NOT CONTAINS 1 AND i NOT IN (1, 2)")


def test_in_holds_values_of_one_kind() -> None:
    assert str(col("x").isin([1, "a", 2.5, "b"])) == "x IN (1, 2.5) OR x IN ('a', 'b')"


@pytest.mark.parametrize(
    "used",
    [
        lambda: A and B,
        lambda: A or B,
        lambda: not A,
        lambda: 1 < col("a") < 5,
        lambda: bool(col("a")),
        lambda: not col("a"),
    ],
)
def test_a_condition_has_no_truth(used: Callable[[], object]) -> None:
    with pytest.raises(FilterError, match=r"& \| ~"):
        used()


def test_size_and_depth_are_bounded() -> None:
    most = tree.disjunction(col("a") == number for number in range(MAX_FILTER_TERMS))
    assert isinstance(most, Or)
    with pytest.raises(LimitError, match="1001 conditions"):
        most | B
    with pytest.raises(LimitError, match="1001 conditions"):
        C & (most & B)
    deep: Filter = A
    for number in range(MAX_FILTER_DEPTH):
        deep = (deep | (col("x") == number)) if number % 2 else (deep & (col("x") != number))
    assert ~~deep == deep
    with pytest.raises(LimitError, match="deep"):
        deep & (col("y") == 1)


def test_a_limit_of_values() -> None:
    with pytest.raises(LimitError, match="1000001 values"):
        col("x").isin(range(1_000_001))


def test_constants_are_equal_by_value() -> None:
    assert Constant(True) == TRUE
    assert A & Constant(True) == A
