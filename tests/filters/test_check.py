"""Filters checked against declared fields: types are told apart, and the same rows match."""

from __future__ import annotations

import math
import re
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb import FilterError, col
from vecdb.filters import tree
from vecdb.filters.check import check_filter
from vecdb.filters.evaluate import matches
from vecdb.filters.read import read_filter
from vecdb.filters.tree import Comparison, Contains, Field, Filter, In, Value
from vecdb.filters.values import OPERATORS

TYPES = {
    "lang": "str",
    "year": "int",
    "score": "float",
    "done": "bool",
    "created": "datetime",
    "tags": "list[str]",
    "counts": "list[int]",
    "scores": "list[float]",
    "dates": "list[datetime]",
}
INT_MAX = 2**63 - 1
INT_MIN = -(2**63)
NEVER = "year IS NULL AND NULL"
ALWAYS = "year IS NOT NULL OR NULL"


@pytest.mark.parametrize(
    ("text", "checked"),
    [
        ("lang = 'en' AND year = 2024 AND done", "lang = 'en' AND year = 2024 AND done = TRUE"),
        ("year > 2019.0", "year > 2019"),
        ("year > 2019.5", "year > 2019"),
        ("year >= 2019.5", "year > 2019"),
        ("year < 2019.5", "year <= 2019"),
        ("year <= -2019.5", "year <= -2020"),
        ("year = 2019.5", NEVER),
        ("year != 2019.5", ALWAYS),
        ("year IN (1, 2.0, 2.5, 3.5)", "year IN (1, 2)"),
        ("year IN (1.0, 2.5)", "year = 1"),
        ("year IN (1.5, 2.5)", NEVER),
        ("year NOT IN (1.5, 2.5)", ALWAYS),
        ("year < 1e30", f"year <= {INT_MAX}"),
        ("year > 9223372036854775808", f"year > {INT_MAX}"),
        ("year >= -1e999", f"year >= {INT_MIN}"),
        ("year <= -9223372036854775809", f"year < {INT_MIN}"),
        ("year = 1e999", NEVER),
        ("score > 1", "score > 1.0"),
        ("score < 9007199254740993", "score <= 9007199254740992.0"),
        ("score >= 9007199254740993", "score > 9007199254740992.0"),
        ("score > 9007199254740995", "score >= 9007199254740996.0"),
        ("score = 9007199254740993", "score IS NULL AND NULL"),
        ("score IN (1, 9007199254740993)", "score = 1.0"),
        ("score < 1" + "0" * 400, "score < 1e999"),
        ("score > 1" + "0" * 400, "score >= 1e999"),
        ("tags CONTAINS 'a'", "tags CONTAINS 'a'"),
        ("counts CONTAINS 2.0", "counts CONTAINS 2"),
        ("counts CONTAINS 2.5", "counts IS NULL AND NULL"),
        ("counts NOT CONTAINS 2.5", "counts IS NOT NULL OR NULL"),
        ("scores CONTAINS 2", "scores CONTAINS 2.0"),
        ("tags IS NULL", "tags IS NULL"),
        ("score > year", "score > year"),
        ("lang > other.field", "lang > other.field"),
        ("other.field = 'x' OR other.field = 5", "other.field = 'x' OR other.field = 5"),
    ],
)  # fmt: skip
def test_values_take_the_type_of_the_field(text: str, checked: str) -> None:
    made = check_filter(read_filter(text), TYPES)
    assert str(made) == checked
    for part in made.terms if isinstance(made, tree.Connective) else [made]:
        if (
            isinstance(part, Comparison)
            and isinstance(part.operand, Value)
            and part.field.path in (("year",), ("score",))
        ):
            assert type(part.operand.value) is (int if part.field.path == ("year",) else float)
    assert check_filter(made, TYPES) == made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-17", datetime(2024, 5, 17)),
        ("2024-05-17T10:30", datetime(2024, 5, 17, 10, 30)),
        ("2024-05-17 10:30:05", datetime(2024, 5, 17, 10, 30, 5)),
        ("2024-05-17 10:30:05.25", datetime(2024, 5, 17, 10, 30, 5, 250_000)),
        ("2024-05-17T10:30:05.000001Z", datetime(2024, 5, 17, 10, 30, 5, 1, tzinfo=timezone.utc)),
        ("2024-05-17 10:30+02", datetime(2024, 5, 17, 8, 30, tzinfo=timezone.utc)),
        ("2024-05-17 10:30 +02:30", datetime(2024, 5, 17, 8, tzinfo=timezone.utc)),
        ("2024-05-17 10:30:00-0230", datetime(2024, 5, 17, 13, tzinfo=timezone.utc)),
    ],
)
def test_text_is_read_as_a_datetime(text: str, expected: datetime) -> None:
    checked = check_filter(col("created") >= text, TYPES)
    assert checked == (col("created") >= expected)
    assert check_filter(col("created").isin([text, "1999-01-01"]), TYPES) == check_filter(
        col("created").isin([expected, datetime(1999, 1, 1)]), TYPES
    )
    assert check_filter(col("dates").contains(text), TYPES) == col("dates").contains(expected)


ERRORS = [
    ("year = 'abc'", 1, "year is int, not str: 'abc'"),
    ("lang = 'en' AND year = TRUE", 17, "year is int, not bool: TRUE"),
    ("lang = 5", 1, "lang is str, not int: 5"),
    ("lang IN ('en', 5)", 1, "lang is str, not int: 5"),
    ("done = 1", 1, "done is bool, not int: 1"),
    ("done > 'x'", 1, "done is bool, not str: 'x'"),
    ("score = '0.5'", 1, "score is float, not str: '0.5'"),
    ("year", 1, "year is int, not bool: TRUE"),
    ("created > 2024", 1, "created is datetime, not int: 2024"),
    ("created > 'soon'", 1, "created is datetime, not 'soon'"),
    ("created > '2024-02-30'", 1, "created is datetime, not '2024-02-30'"),
    ("created > '2024-02-03 10'", 1, "created is datetime, not '2024-02-03 10'"),
    ("created > '2024-02-03Z'", 1, "created is datetime"),
    ("created > '2024-02-03 10:00:60'", 1, "created is datetime"),
    ("created > '2024-02-03 10:00+99:00'", 1, "created is datetime"),
    ("created > '0001-01-01 00:00+01:00'", 1, "no time in UTC"),
    ("tags = 'a'", 1, "tags is list[str]: ask for an item by tags CONTAINS value"),
    ("tags IN ('a', 'b')", 1, "tags is list[str]: ask for an item"),
    ("tags LIKE 'a%'", 1, "tags is list[str]: ask for an item"),
    ("tags CONTAINS 5", 1, "tags is list[str], not int: 5"),
    ("5 = ANY(tags)", 9, "tags is list[str], not int: 5"),
    ("counts CONTAINS TRUE", 1, "counts is list[int], not bool: TRUE"),
    ("dates CONTAINS 'x'", 1, "dates is datetime, not 'x'"),
    ("lang CONTAINS 'a'", 1, "lang is str, and CONTAINS is for lists"),
    ("year LIKE '2%'", 1, "year is int, and LIKE is for str"),
    ("lang.x = 'a'", 1, "lang is str, and has no field in it: lang.x"),
    ("lang.x IS NULL", 1, "lang is str, and has no field in it: lang.x"),
    ("other = lang.x", None, "lang is str, and has no field in it: lang.x"),
    ("lang = year", 1, "lang is str and year is int: they can't be compared"),
    ("done < score", 1, "done is bool and score is float: they can't be compared"),
    ("tags = other", 1, "tags is list[str], which can't be compared with another field"),
    ("other = tags", 9, "tags is list[str], which can't be compared with another field"),
]


@pytest.mark.parametrize(("text", "column", "message"), ERRORS, ids=[error[0] for error in ERRORS])
def test_a_value_of_another_type_is_an_error_with_its_place(text: str, column: int | None, message: str) -> None:
    with pytest.raises(FilterError, match=re.escape(message)) as caught:
        check_filter(read_filter(text), TYPES)
    if column is not None:
        assert f", at line 1, column {column}:\n" in str(caught.value)


def test_errors_in_expressions_and_dicts() -> None:
    with pytest.raises(FilterError, match=r"^year is int, not str: 'x'$"):
        check_filter((col("lang") == "a") & (col("year") == "x"), TYPES)
    with pytest.raises(FilterError, match=r"^year is int, not str: 'x', at \$or\[1\]\.year\.\$gt$"):
        check_filter(read_filter({"$or": [{"lang": "a"}, {"year": {"$gt": "x"}}]}), TYPES)


int64 = (
    st.integers(-3, 3)
    | st.integers(INT_MIN, INT_MAX)
    | st.sampled_from([2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2, INT_MAX, INT_MAX - 1, INT_MIN])
)
float64 = (
    st.integers(-6, 6).map(lambda number: number / 2)
    | st.floats(allow_nan=False)
    | st.sampled_from([2.0**53, 2.0**53 + 2, 2.0**63, -(2.0**63), math.inf, -math.inf, sys.float_info.max])
)
beyond = st.sampled_from([INT_MAX + 1, INT_MAX + 2, INT_MIN - 1, 2**1023, 2**1024, -(2**1024), 10**400])
numbers = int64 | float64 | beyond


@st.composite
def conditions(draw: st.DrawFn) -> Filter:
    name = draw(st.sampled_from(["year", "score", "counts", "scores"]))
    value = draw(numbers)
    if name in ("counts", "scores"):
        made = tree.contains(Field((name,)), Value(value))
    elif draw(st.booleans()):
        made = tree.is_in(Field((name,)), draw(st.lists(numbers, min_size=1, max_size=4)))
    else:
        made = tree.compare(Field((name,)), draw(st.sampled_from(list(OPERATORS))), Value(value))
    return ~made if draw(st.booleans()) else made


@given(
    filter=conditions(),
    year=int64 | st.none(),
    score=float64 | st.just(math.nan) | st.none(),
    counts=st.lists(int64, max_size=3) | st.none(),
    scores=st.lists(float64, max_size=3) | st.none(),
)
def test_the_same_rows_match_with_checked_numbers(filter: Filter, **row: Any) -> None:
    checked = check_filter(filter, TYPES)
    assert matches(checked, row) is matches(filter, row)
    for part in checked.terms if isinstance(checked, tree.Connective) else [checked]:
        kind = float if str(part).startswith("score") else int
        if isinstance(part, Comparison) and isinstance(part.operand, Value):
            assert type(part.operand.value) is kind
        if isinstance(part, Contains):
            assert type(part.item.value) is kind
        if isinstance(part, In):
            assert set(map(type, part.values)) == {kind}


def test_a_checked_filter_is_the_same_object_where_nothing_changes() -> None:
    filter = col("other").isin([1, 2]) & col("lang").isin(["a", "b"]) & col("year").isin([1, 2])
    assert check_filter(filter, TYPES) is filter


def test_naive_and_aware_datetimes_are_told_apart() -> None:
    naive, aware = datetime(2024, 5, 17), datetime(2024, 5, 17, tzinfo=timezone(timedelta(hours=2)))
    for other in (naive, aware):
        for filter in (
            col("created") == naive,
            col("created") != naive,
            col("created").isin([naive, datetime(2025, 1, 1)]),
        ):
            found = matches(check_filter(filter, TYPES), {"created": other})
            assert (found is None) == (other is aware)
    assert matches(col("created") == aware, {"created": aware.astimezone(timezone.utc)}) is True
