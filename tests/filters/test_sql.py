"""Filters as SQL text: what it means, and where errors are."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

from vecdb import FilterError, LimitError, col
from vecdb.filters.read import read_filter
from vecdb.filters.tree import FALSE, NULL, TRUE, Filter
from vecdb.options import MAX_FILTER_DEPTH

x: Any = col("x")
y: Any = col("y")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", x == 1),
        ("x == 1", x == 1),
        ("x != 1", x != 1),
        ("x <> 1", x != 1),
        ("x < 1 AND x <= 2 AND y > 3 AND y >= 4", (x < 1) & (x <= 2) & (y > 3) & (y >= 4)),
        ("1 < x", x > 1),
        ("1 >= x", x <= 1),
        ("x = y", x == y),
        ("x=-5and(y>.5)", (x == -5) & (y > 0.5)),
        ("x<-1 or x>=-1e3", (x < -1) | (x >= -1000.0)),
        ("x = 9223372036854775808", x == 2**63),
        ("x = 5. OR x = 2.5E-3", (x == 5.0) | (x == 0.0025)),
        ("x = 'it''s'", x == "it's"),
        (r"x = 'C:\no\escapes'", x == r"C:\no\escapes"),
        ("x = ''", x == ""),
        ("x = TRUE", x == True),  # noqa: E712
        ("x = NULL", NULL),
        ("x", x == True),  # noqa: E712
        ("NOT x", x != True),  # noqa: E712
        ("x IS NULL", x.is_null()),
        ("x IS NOT NULL", x.is_not_null()),
        ("NOT x IS NULL", x.is_not_null()),
        ("x IS TRUE", (x == True) & x.is_not_null()),  # noqa: E712
        ("x IS NOT FALSE", (x != False) | x.is_null()),  # noqa: E712
        ("x IN (1, 2)", x.isin([1, 2])),
        ("x NOT IN (1, 2)", x.not_in([1, 2])),
        ("x IN ('a')", x == "a"),
        ("x IN ()", FALSE),
        ("x IN (1, NULL)", (x == 1) | NULL),
        ("x BETWEEN 1 AND 2 AND y = 3", x.between(1, 2) & (y == 3)),
        ("x NOT BETWEEN 1 AND 2", (x < 1) | (x > 2)),
        ("5 BETWEEN x AND y", (x <= 5) & (y >= 5)),
        ("x LIKE 'a%'", x.like("a%")),
        ("x NOT LIKE 'a%'", ~x.like("a%")),
        ("x ILIKE 'a%'", x.ilike("a%")),
        ("NOT x NOT ILIKE 'a%'", x.ilike("a%")),
        ("x LIKE '50!%' ESCAPE '!'", x.like(r"50\%")),
        ("x NOT LIKE '50!%' ESCAPE '!'", ~x.like(r"50\%")),
        (r"x LIKE 'a\b%' ESCAPE ''", x.like(r"a\\b%")),
        ("'a' = ANY(x)", x.contains("a")),
        ("NOT ('a' = ANY(x))", ~x.contains("a")),
        ("x CONTAINS 'a'", x.contains("a")),
        ("x NOT CONTAINS 'a' AND contains CONTAINS 1", ~x.contains("a") & col("contains").contains(1)),
        ("x = 1 OR y = 2 AND x = 3", (x == 1) | ((y == 2) & (x == 3))),
        ("NOT (x = 1 OR NOT y = 2)", (x != 1) & (y == 2)),
        ("((x)) = ((1))", x == 1),
        ("1 = 1 AND x = 1", x == 1),
        ("TRUE", TRUE),
        ("x = 1 -- why\n/* and\nhow */ AND y = 2", (x == 1) & (y == 2)),
        ("extra.author.name = 'A'", col("extra.author.name") == "A"),
        ("a.b.c.d.e.f.g = 1", col("a.b.c.d.e.f.g") == 1),
        ('"odd "" name"."x.y" = 1', col('"odd "" name"."x.y"') == 1),
        (
            'date = 1 AND order = 2 AND "select".case = 3',
            (col("date") == 1) & (col("order") == 2) & (col("select.case") == 3),
        ),
        ('"in" = 1 AND a.in = 2', (col("in") == 1) & (col("a.in") == 2)),
        ("Größe = 1", col("Größe") == 1),
    ],
)
def test_meaning(text: str, expected: Filter) -> None:
    assert read_filter(text) == expected
    assert read_filter(text.replace("AND", "And").replace("LIKE", "like").replace("IN ", "in ")) == expected


@pytest.mark.parametrize(
    ("text", "params", "expected"),
    [
        ("x = ? AND y = ?", (1, "a"), (x == 1) & (y == "a")),
        ("x=?and y=?", [1, "a"], (x == 1) & (y == "a")),
        ("x = :one AND y >= :two AND x<:one", {"one": 1, "two": 2}, (x == 1) & (y >= 2) & (x < 1)),
        ("x BETWEEN ? AND ? OR y IN (?, 7)", (1, 2, 3), x.between(1, 2) | y.isin([3, 7])),
        ("x IN ?", ([1, 2],), x.isin([1, 2])),
        ("x NOT IN ?", ({"a"},), x != "a"),
        ("x = ANY(?)", (np.array([1, 2]),), x.isin([1, 2])),
        ("? = ANY(x)", ("a",), x.contains("a")),
        ("x CONTAINS ?", ("a",), x.contains("a")),
        ("x LIKE ? ESCAPE '!'", ("!%%",), x.like(r"\%%")),
        ("x = ?", (None,), NULL),
        ("x = ?", (np.float32(0.5),), x == 0.5),
        ("x = ?", ("' OR 1 = 1 --",), x == "' OR 1 = 1 --"),
        (":lang IS NULL OR lang = :lang", {"lang": None}, TRUE),
        (":lang IS NULL OR lang = :lang", {"lang": "en"}, col("lang") == "en"),
        ("x = 1", (), x == 1),
        ("x = 1", {}, x == 1),
    ],
)
def test_parameters(text: str, params: Any, expected: Filter) -> None:
    assert read_filter(text, params) == expected


ERRORS = [
    ("", 1, 1, "more is needed"),
    ("   ", 1, 4, "more is needed"),
    ("-- only a comment", 1, 18, "more is needed"),
    ("x =", 1, 4, "more is needed"),
    ("x = 1 AND", 1, 10, "more is needed"),
    ("NOT", 1, 4, "more is needed"),
    ("AND x = 1", 1, 1, "unexpected 'AND'"),
    ("x = 1 AND OR y = 2", 1, 11, "unexpected 'OR'"),
    ("x = 1 OR (= 2)", 1, 11, "unexpected '='"),
    ("x IN (1,, 2)", 1, 9, "unexpected ','"),
    ("x - 1 = 2", 1, 3, "unexpected '-'"),
    ("x = 1 y = 2", 1, 7, "unexpected 'y'"),
    ("x = 1\nAND y ~ 'a'", 2, 7, "unexpected '~'"),
    ("x = 1; DROP TABLE notes", 1, 6, "unexpected ';'"),
    ("x + 1 = 2", 1, 3, "unexpected '+'"),
    ("x || 'a' = 'b'", 1, 3, "unexpected '||'"),
    ("x::int = 1", 1, 2, "unexpected '::'"),
    ("x[1] = 1", 1, 2, "unexpected '['"),
    ("x -> 'a' = 1", 1, 3, "unexpected '->'"),
    ("x @> 'a'", 1, 3, "unexpected '@>'"),
    ("x = $1", 1, 5, "unexpected '$'"),
    ("x = @name", 1, 5, "unexpected '@'"),
    ("x = `y`", 1, 5, "unexpected '`'"),
    ("x = {y}", 1, 5, "unexpected '{'"),
    ("x.* = 1", 1, 3, "unexpected '*'"),
    ("lower(x) = 'a'", 1, 6, "no functions"),
    ("x = now()", 1, 8, "no functions"),
    ("x IN (SELECT y FROM z)", 1, 14, "unexpected 'y'"),
    ("EXISTS (x)", 1, 8, "no functions"),
    ("x < ALL (y)", 1, 9, "no functions"),
    ("CASE WHEN x THEN 1 END", 1, 6, "unexpected 'WHEN'"),
    ("CAST(x AS int) = 1", 1, 5, "no functions"),
    ("x = DATE '2024-01-01'", 1, 10, "unexpected"),
    ("x = E'a'", 1, 5, "unexpected"),
    ("x = X'00'", 1, 5, "unexpected"),
    ("x = $$a$$", 1, 5, "unexpected"),
    ("x = 0x10", 1, 5, "unexpected"),
    ("x = 1_000", 1, 6, "unexpected '_000'"),
    ("x = 'a' 'b'", 1, 9, "unexpected"),
    ("x = 'a", 1, 5, "never closed"),
    ('y = 1 AND "x = 1', 1, 11, "never closed"),
    ("x = 'a' /* b", 1, 9, "never closed"),
    ("(x = 1", 1, 1, "( is never closed"),
    ("y = 1 OR (x = 1 AND (y = 2)", 1, 10, "( is never closed"),
    ("x = 1)", 1, 6, "unexpected ')'"),
    ("x = 1 = 2", 1, 1, "a value is needed"),
    ("1 < x < 2", 1, 1, "a value is needed"),
    ("x = (y = 1)", 1, 6, "a value is needed"),
    ("x = -y", 1, 6, "a value is needed"),
    ("x = -?", 1, 6, "a value is needed"),
    ("x = - -1", 1, 8, "a value is needed"),
    ("(x, y) = (1, 2)", 1, 2, "no such expression"),
    ("x IN (1, (2, 3))", 1, 11, "no such expression"),
    ("x IN y", 1, 6, "IN is followed by"),
    ("x IN (y)", 1, 7, "a value is needed"),
    ("x IS 5", 1, 6, "IS is followed by"),
    ("x IS y", 1, 6, "IS is followed by"),
    ("x LIKE 5", 1, 8, "a text, not 5"),
    ("x LIKE y", 1, 8, "a value is needed"),
    ("'a' LIKE 'b'", 1, 10, "LIKE is for a field"),
    (r"x LIKE 'a\'", 1, 8, "ends with its escape"),
    ("x LIKE 'a' ESCAPE 'bc'", 1, 8, "one character"),
    ("x LIKE 'a' ESCAPE NULL", 1, 1, "one character in quotes"),
    ("x = ANY(y)", 1, 9, "what is looked for in a list is a value"),
    ("'a' != ANY(x)", 1, 12, "ANY goes with ="),
    ("x BETWEEN 1", 1, 11, "can't be read"),
    ("x AND 5", 1, 7, "a condition is needed"),
    ("'a'", 1, 1, "a condition is needed"),
    ("?", 1, 1, "a condition is needed"),
    ("x = :", 1, 5, "name of a parameter"),
    ("x = : y", 1, 5, "name of a parameter"),
    ("x = ? AND y = :y", 1, 15, "can't be mixed"),
    ("y = 1 AND\n x = " + "9" * 5000, 2, 6, "too many digits"),
    (" " * 500 + "~ x", 1, 501, "unexpected '~'"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), ERRORS, ids=[error[0][:30] for error in ERRORS])
def test_an_error_has_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        read_filter(text)
    shown = str(caught.value)
    assert message in shown
    assert f"at line {line}, column {column}:\n" in shown
    excerpt, caret = shown.splitlines()[-2:]
    assert caret.strip() == "^"
    pointed = text.split("\n")[line - 1][column - 1 : column]
    assert excerpt[len(caret) - 1 : len(caret)] == pointed


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("x = 1 AND y = ?", None, "params of ? is a list or tuple, not None, at line 1, column 15"),
        ("x = ? AND y = ?", (1,), "2 parameters, but params has 1, at line 1, column 15"),
        ("x = ?", (1, 2), "1 parameters, but params has 2"),
        ("x = ?", "a", "list or tuple, not 'a'"),
        ("x = ?", {"a": 1}, "list or tuple, not {'a': 1}"),
        ("x = 1", (1,), "no parameters, but params is (1,)"),
        ("x = 1", 5, "no parameters, but params is 5"),
        ("x = :a", (1,), "params of :name is a dict, not (1,), at line 1, column 5"),
        ("x = 1 OR x = :b", {"a": 1}, "params has no 'b', at line 1, column 14"),
        ("x = :a", {"a": 1, "c": 2}, "params names 'c'"),
        ("x = ?", ([1],), "list is no type of value that a filter compares: [1], at line 1, column 5"),
        ("x = ?", (float("nan"),), "NaN can't be compared with anything, at line 1, column 5"),
        ("x = ?", ("\ud800",), "not valid Unicode"),
        ("x IN ?", (5,), "a list of values, not 5, at line 1, column 6"),
        ("x IN ?", ("abc",), "a list of values, not 'abc', at line 1, column 6"),
        ("x IN ?", ([1, {}],), "dict is no type of value"),
        ("x LIKE ?", (5,), "a text, not 5, at line 1, column 8"),
    ],
)
def test_parameters_that_do_not_fit(text: str, params: Any, message: str) -> None:
    with pytest.raises(FilterError, match=re.escape(message)):
        read_filter(text, params)


@pytest.mark.parametrize(
    "text",
    [
        " OR ".join(["x = 1"] * 10_000),
        " OR ".join(f"x = {number}" for number in range(1100)),
        "(" * 10_000 + "x = 1" + ")" * 10_000,
        "(" * 5000 + "x = 1" + ")" * 5000,
        "NOT " * 4000 + "x",
        "NOT (" * (MAX_FILTER_DEPTH // 2 + 1) + "x" + ")" * (MAX_FILTER_DEPTH // 2 + 1),
        "x = " + "- " * 5000 + "1",
        ".".join("a" * 2000) + " = 1",
    ],
    ids=lambda text: text[:12] + str(len(text)),
)
def test_long_and_deep_text_passes_a_limit(text: str) -> None:
    with pytest.raises(LimitError):
        read_filter(text)


def test_the_deepest_text_is_read() -> None:
    assert read_filter("(" * MAX_FILTER_DEPTH + "x = 1" + ")" * MAX_FILTER_DEPTH) == (x == 1)
    assert read_filter("NOT (" * (MAX_FILTER_DEPTH // 2) + "x = 1" + ")" * (MAX_FILTER_DEPTH // 2)) == (x == 1)
    assert read_filter("NOT " * MAX_FILTER_DEPTH + "x = 1") == (x == 1)


def test_a_full_stack_passes_a_limit_too() -> None:
    def descend(frames: int) -> Filter:
        return read_filter("(((((((((x = 4711)))))))))") if frames == 0 else descend(frames - 1)

    depth = 0
    frame = sys._getframe()
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    with pytest.raises(LimitError, match="stack"):
        descend(sys.getrecursionlimit() - depth - 100)
