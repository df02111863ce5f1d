"""Filters as Python expressions and as dicts."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone, tzinfo
from enum import IntEnum
from operator import and_, or_
from typing import Any, cast

import numpy as np
import pytest

import vecdb
from vecdb import FilterError, LimitError, col
from vecdb.filters.read import read_filter
from vecdb.filters.tree import FALSE, NULL, TRUE, Filter
from vecdb.options import MAX_FILTER_TERMS

x: Any = col("x")
y: Any = col("y")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ((x == 1) & (y != 2) | ~(x < 3), "(x = 1 AND y != 2) OR x >= 3"),
        ((x <= 1) & (x > 2) & (x >= 3), "x <= 1 AND x > 2 AND x >= 3"),
        (x.between(1, 2), "x >= 1 AND x <= 2"),
        (x.isin(["a", "b"]), "x IN ('a', 'b')"),
        (x.isin({"a"}), "x = 'a'"),
        (x.isin(np.array([1, 2])), "x IN (1, 2)"),
        (x.isin(["a", None]), "x = 'a' OR x IS NULL"),
        (x.not_in([1, 2]), "x NOT IN (1, 2)"),
        (x.not_in([1, None]), "x != 1 AND x IS NOT NULL"),
        (x.isin([]), "FALSE"),
        (x.like("a%"), "x LIKE 'a%'"),
        (x.ilike("a%"), "x ILIKE 'a%'"),
        (x.contains("a"), "x CONTAINS 'a'"),
        (x.is_null(), "x IS NULL"),
        (x.is_not_null(), "x IS NOT NULL"),
        (x == None, "x IS NULL"),  # noqa: E711
        (x != None, "x IS NOT NULL"),  # noqa: E711
        (x == y, "x = y"),
        (x < col("extra.y"), "x < extra.y"),
        (5 < x, "x > 5"),  # noqa: SIM300
        (np.int64(5) < x, "x > 5"),
        (np.float64(0.5) == x, "x = 0.5"),
        (x & ~y, "x = TRUE AND y != TRUE"),
        ((x == 1) & y | x, "(x = 1 AND y = TRUE) OR x = TRUE"),
        (x | (y == 1), "x = TRUE OR y = 1"),
    ],
)
def test_python(expression: Filter, text: str) -> None:
    assert str(expression) == text
    assert read_filter(expression) == expression
    assert read_filter(text) == expression


def test_a_column_is_a_filter_by_itself() -> None:
    assert read_filter(x) == x.is_true()
    assert repr(col("a.b")) == "col('a.b')"


class Color(IntEnum):
    RED = 1


class Broken(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        raise RuntimeError("no clock")

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        return "broken"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (Color.RED, 1),
        (date(2024, 5, 17), datetime(2024, 5, 17)),
        (np.datetime64("2024-05-17T01:02:03.000000004"), datetime(2024, 5, 17, 1, 2, 3)),
        (
            datetime(2024, 5, 17, 12, tzinfo=timezone(timedelta(hours=2))),
            datetime(2024, 5, 17, 10, tzinfo=timezone.utc),
        ),
        (b"\x00", b"\x00"),
    ],
)
def test_values_are_made_plain(given: object, kept: object) -> None:
    made = x == given
    assert made == (x == kept)
    value = made.operand.value
    assert type(value) is type(kept)
    assert x.isin([given, given]) == made


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: x == [1], "list is no type of value"),
        (lambda: x == {"a": 1}, "dict is no type of value"),
        (lambda: (y == 1) == (x == (y == 1)), "Comparison is no type of value"),
        (lambda: x < object(), "object is no type of value"),
        (lambda: x > np.float64("nan"), "NaN can't be compared"),
        (lambda: x.isin([1, float("nan")]), "NaN can't be compared"),
        (lambda: x == "\ud800", "not valid Unicode"),
        (lambda: x == datetime(2024, 1, 1, tzinfo=Broken()), "no time in UTC: no clock"),
        (lambda: x == datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=9))), "no time in UTC"),
        (lambda: x.isin("abc"), "isin takes a list of values, not 'abc'"),
        (lambda: x.isin(5), "isin takes a list of values, not 5"),
        (lambda: x.like(5), "the pattern of LIKE is a text, not 5"),
        (lambda: x.like("a\\"), "ends with its escape"),
        (lambda: x.contains(y), "what is looked for in a list is a value"),
        (lambda: col(cast(Any, 5)), "the name of a field is a str, not 5"),
        (lambda: col(""), "no path of names"),
        (lambda: col("a..b"), "no path of names"),
        (lambda: col("a."), "no path of names"),
        (lambda: col(".a"), "no path of names"),
        (lambda: col('a"b'), "no path of names"),
        (lambda: col('"a'), "no path of names"),
        (lambda: col('"a"b'), "no path of names"),
        (lambda: read_filter(5), "a filter is SQL text"),
        (lambda: read_filter(None), "a filter is SQL text"),
        (lambda: read_filter(x == 1, (1,)), "params goes with"),
        (lambda: read_filter({}, {"a": 1}), "params goes with"),
    ],
)
def test_errors_of_python(make: Any, message: str) -> None:
    with pytest.raises(FilterError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("other", [5, "x", None, True])
def test_a_condition_goes_with_conditions_only(other: Any) -> None:
    for operator in (and_, or_):
        for sides in ((x == 1, other), (other, x == 1), (x, other)):
            with pytest.raises(TypeError):
                operator(*sides)


def test_patterns_and_paths_are_bounded() -> None:
    with pytest.raises(LimitError, match="1001 characters"):
        x.like("a" * 1001)
    with pytest.raises(LimitError, match="33 names"):
        col(".".join("a" * 33))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, TRUE),
        ({"x": 1}, x == 1),
        ({"x": None}, x.is_null()),
        ({"x": {"$eq": None}}, x.is_null()),
        ({"x": {"$ne": None}}, x.is_not_null()),
        ({"x": {"$gt": None}}, NULL),
        ({"x": {"$in": [1, None]}}, (x == 1) | x.is_null()),
        ({"x": 1, "y": "a"}, (x == 1) & (y == "a")),
        ({"x": {"$gte": 1, "$lt": 5}}, (x >= 1) & (x < 5)),
        ({"x": {"$eq": 1}, "y": {"$ne": 2}}, (x == 1) & (y != 2)),
        ({"x": {"$gt": 1}, "y": {"$lte": 2}}, (x > 1) & (y <= 2)),
        ({"x": {"$in": [1, 2]}, "y": {"$nin": ["a", "b"]}}, x.isin([1, 2]) & y.not_in(["a", "b"])),
        ({"$or": [{"x": 1}, {"y": 2, "x": 3}]}, (x == 1) | ((y == 2) & (x == 3))),
        ({"$and": [{"x": 1}, {"$or": [{"y": 2}]}]}, (x == 1) & (y == 2)),
        ({"$or": []}, FALSE),
        ({"$not": {"x": 1, "y": 2}}, (x != 1) | (y != 2)),
        ({"x": {"$not": {"$gte": 1, "$lt": 5}}}, (x < 1) | (x >= 5)),
        ({"x": {"$exists": True}, "y": {"$exists": False}}, x.is_not_null() & y.is_null()),
        ({"x": {"$contains": "a"}}, x.contains("a")),
        ({"x": {"$like": "a%"}, "y": {"$ilike": "b%"}}, x.like("a%") & y.ilike("b%")),
        ({"extra.author.name": "A", '"x.y"': 1}, (col("extra.author.name") == "A") & (col('"x.y"') == 1)),
    ],
)
def test_dicts(where: dict[str, Any], expected: Filter) -> None:
    assert read_filter(where) == expected


@pytest.mark.parametrize(
    ("where", "message", "place"),
    [
        ({"$nor": []}, "no operator $nor", "$nor"),
        ({"x": {"$regex": "a"}}, "no operator '$regex'", "x.$regex"),
        ({"x": {"gte": 1}}, "no operator 'gte'", "x.gte"),
        ({"x": {"$gte": 1, "y": 2}}, "no operator 'y'", "x.y"),
        ({"x": {5: 1}}, "no operator 5", "x.5"),
        ({"x": {}}, "{} has no operator", "x"),
        ({"x": ["a"]}, "list is no type of value", "x.$eq"),
        ({"x": {"$in": 5}}, "takes a list", "x.$in"),
        ({"x": {"$in": [[1]]}}, "list is no type of value", "x.$in"),
        ({"x": {"$exists": 1}}, "$exists takes True or False", "x.$exists"),
        ({"x": {"$like": 5}}, "a text, not 5", "x.$like"),
        ({"x": {"$not": 5}}, "$not takes a dict", "x.$not"),
        ({"x": {"$not": {"$foo": 5}}}, "no operator '$foo'", "x.$not.$foo"),
        ({"$and": {"x": 1}}, "$and takes a list", "$and"),
        ({"$or": [{"x": 1}, 5]}, "a filter is a dict, not int", "$or[1]"),
        ({"$and": [{"x": 1}, {"$or": [{"y": {"$gt": float("nan")}}]}]}, "NaN", "$and[1].$or[0].y.$gt"),
        ({"$not": 5}, "a filter is a dict", "$not"),
        ({5: 1}, "the name of a field is a str, not 5", "5"),
        ({"a..b": 1}, "no path of names", "a..b"),
    ],
)
def test_an_error_in_a_dict_has_its_path(where: dict[Any, Any], message: str, place: str) -> None:
    with pytest.raises(FilterError) as caught:
        read_filter(where)
    assert message in str(caught.value)
    assert str(caught.value).endswith(f", at {place}")


def test_a_dict_in_itself_passes_a_limit() -> None:
    where: dict[str, Any] = {}
    where["$and"] = [where]
    with pytest.raises(LimitError):
        read_filter(where)
    inner: dict[str, Any] = {}
    inner["$not"] = inner
    for recursive in (inner, {"x": inner}):
        with pytest.raises(LimitError):
            read_filter(recursive)


def test_too_long_a_dict_is_not_read_to_its_end() -> None:
    conditions: list[Any] = [{"a": number} for number in range(MAX_FILTER_TERMS + 1)]
    for where in (
        {"$or": [*conditions, "no filter"]},
        {"$and": [*conditions, "no filter"]},
        {**{str(number): 1 for number in range(MAX_FILTER_TERMS + 1)}, "$no": "operator"},
    ):
        with pytest.raises(LimitError, match=f"{MAX_FILTER_TERMS + 1} conditions"):
            read_filter(where)


def test_sqlglot_is_imported_with_the_first_text() -> None:
    code = """
import sys, vecdb
from vecdb.filters.check import check_filter
from vecdb.filters.evaluate import matches
from vecdb.filters.read import read_filter
from vecdb.options import MAX_FILTER_TERMS
assert matches(check_filter(read_filter(vecdb.col("x") == 1), {"x": "int"}), {"x": 1})
assert matches(read_filter({"x": 1}), {"x": 1})
assert "sqlglot" not in sys.modules
read_filter("x = 1")
assert "sqlglot" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_col_is_public() -> None:
    assert isinstance(vecdb.col("x"), vecdb.Column)
    assert isinstance(vecdb.col("x") == 1, vecdb.Filter)
