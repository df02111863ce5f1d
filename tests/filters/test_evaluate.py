"""Filters on rows: SQL's logic, as SQLite has it, and what SQLite has not."""

from __future__ import annotations

import math
import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecdb import col
from vecdb.filters.evaluate import matches
from vecdb.filters.like import matcher
from vecdb.filters.read import read_filter
from vecdb.filters.tree import Filter

INTS = st.sampled_from([-(2**63), -1, 0, 1, 2, 2**53, 2**53 + 1, 2**63 - 1])
REALS = st.sampled_from([-1.5, -0.0, 0.5, 1.0, 2.0, 2.0**53, 1e300, math.inf])
TEXTS = st.sampled_from(["", "a", "A", "ab", "b", "a%", "é", "it's", "_", "\\", "a\nb", "😀"])
PATTERNS = st.lists(st.sampled_from(["%", "_", r"\%", r"\_", r"\\", "a", "b", "é"]), max_size=4).map("".join)

rows = st.fixed_dictionaries(
    {},
    optional={
        "i": INTS | st.none(),
        "j": INTS | st.none(),
        "r": REALS | st.just(math.nan) | st.none(),
        "t": TEXTS | st.none(),
        "u": TEXTS | st.none(),
        "b": st.booleans() | st.none(),
        "c": st.booleans() | st.none(),
    },
)


@st.composite
def sql_conditions(draw: st.DrawFn) -> str:
    """A condition that both SQLite and filters read, comparing values of one kind."""
    kind = draw(st.sampled_from(["number", "text", "bool"]))
    fields = {"number": ["i", "j", "r"], "text": ["t", "u"], "bool": ["b", "c"]}[kind]
    field = st.sampled_from(fields)
    literal = {
        "number": INTS.map(str) | REALS.map(lambda real: "1e999" if math.isinf(real) else repr(real)),
        "text": TEXTS.map(lambda text: "'" + text.replace("'", "''") + "'"),
        "bool": st.sampled_from(["TRUE", "FALSE"]),
    }[kind] | st.just("NULL")
    operand = field | literal
    negation = draw(st.sampled_from(["", "NOT "]))
    name = draw(field)
    match draw(st.integers(0, 6)):
        case 0 | 1:
            operator = draw(st.sampled_from(["=", "==", "!=", "<>", "<", "<=", ">", ">="]))
            return f"{draw(operand)} {operator} {draw(operand)}"
        case 2:
            return f"{draw(operand)} {negation}BETWEEN {draw(operand)} AND {draw(operand)}"
        case 3:
            return f"{draw(operand)} {negation}IN ({', '.join(draw(st.lists(literal, max_size=3)))})"
        case 4:
            return f"{draw(operand)} IS {negation}NULL"
        case 5 if kind == "text":
            return f"{name} {negation}LIKE '{draw(PATTERNS)}' ESCAPE '\\'"
        case 5 if kind == "bool":
            return f"{name} IS {negation}{draw(st.sampled_from(['TRUE', 'FALSE']))}"
        case _:
            return name if kind == "bool" else draw(st.sampled_from(["TRUE", "FALSE", "NULL"]))


sql_filters = st.recursive(
    sql_conditions(),
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def sqlite() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA case_sensitive_like = ON")
    connection.execute("CREATE TABLE rows (i, j, r, t, u, b, c)")  # without types: SQLite converts nothing
    yield connection
    connection.close()


@settings(max_examples=1000)
@given(sql_filters, st.lists(rows, min_size=1, max_size=8))
def test_sqlite_answers_alike(sqlite: sqlite3.Connection, text: str, rows: list[dict[str, Any]]) -> None:
    sqlite.execute("DELETE FROM rows")
    sqlite.executemany(
        "INSERT INTO rows VALUES (:i, :j, :r, :t, :u, :b, :c)", [{**dict.fromkeys("ijrtubc"), **row} for row in rows]
    )
    expected = [None if value is None else bool(value) for (value,) in sqlite.execute(f"SELECT {text} FROM rows")]
    filter = read_filter(text)
    assert [matches(filter, row) for row in rows] == expected
    opposite = [None if value is None else not value for value in expected]
    assert [matches(~filter, row) for row in rows] == opposite


@pytest.mark.parametrize(
    ("filter", "row", "expected"),
    [
        (col("x") == 1, {}, None),
        (col("x") == 1, {"x": True}, None),
        (col("x") == True, {"x": 1}, None),  # noqa: E712
        (col("x") == "1", {"x": 1}, None),
        (col("x") != "1", {"x": 1}, None),
        (col("x") < 2, {"x": 1.5}, True),
        (col("x") == 2**53 + 1, {"x": 2.0**53}, False),
        (col("x") != 1, {"x": math.nan}, None),
        (col("x").is_null(), {"x": math.nan}, True),
        (col("x").is_null(), {"x": []}, False),
        (col("x").is_null(), {"x": {}}, False),
        (col("x") == b"\x00", {"x": b"\x00"}, True),
        (col("x") == "a", {"x": ["a"]}, None),
        (col("x") == datetime(2024, 1, 1), {"x": datetime(2024, 1, 1)}, True),
        (col("x") == datetime(2024, 1, 1), {"x": "2024-01-01"}, None),
        (col("x").isin([1, "a"]), {"x": 1.0}, True),
        (col("x").isin([1, "a"]), {"x": "b"}, None),
        (col("x").isin([1, 2]), {"x": True}, None),
        (col("x").isin([1, 2]), {"x": [1]}, None),
        (col("x").not_in([1, 2]), {"x": 3}, True),
        (col("x").not_in([1, 2]), {}, None),
        (col("x") == col("y"), {"x": 1, "y": 1.0}, True),
        (col("x") == col("y"), {"x": 1, "y": True}, None),
        (col("x") == col("y"), {"x": 1}, None),
        (col("x").contains("a"), {"x": ["b", "a"]}, True),
        (col("x").contains("a"), {"x": ["b", None, 1]}, False),
        (col("x").contains(1), {"x": [True, "1"]}, False),
        (col("x").contains(1), {"x": [1.0]}, True),
        (col("x").contains("a"), {"x": "abc"}, None),
        (~col("x").contains("a"), {"x": []}, True),
        (~col("x").contains("a"), {}, None),
        (col("x").like("1%"), {"x": 12}, None),
        (~col("x").like("1%"), {"x": 12}, None),
        (col("a.b.c") == 1, {"a": {"b": {"c": 1}}}, True),
        (col("a.b.c") == 1, {"a": {"b": 1}}, None),
        (col("a.b.c") == 1, {"a": None}, None),
        (col("a.b") == 1, {"a.b": 1}, None),
        (col('"a.b"') == 1, {"a.b": 1}, True),
        (col("a.b").is_null(), {"a": [1]}, True),
    ],
)
def test_values_of_several_kinds(filter: Filter, row: dict[str, Any], expected: bool | None) -> None:
    assert matches(filter, row) is expected


@pytest.mark.parametrize("ignore_case", [False, True])
@given(
    text=st.text("aAbBß%_\\\n", max_size=12),
    pattern=st.lists(st.sampled_from(["%", "_", r"\%", r"\_", r"\\", "a", "B", "ß", "\n"]), max_size=8).map("".join),
)
def test_like_agrees_with_a_regular_expression(text: str, pattern: str, ignore_case: bool) -> None:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    plain = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
    expected = re.fullmatch(plain, text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None
    assert matcher(pattern, ignore_case)(text) is expected


def test_like_of_letters_beyond_ascii() -> None:
    assert matches(col("x").ilike("größe"), {"x": "GRÖSSE"}) is False
    assert matches(col("x").ilike("éA_"), {"x": "Éa😀"}) is True
    assert matches(col("x").like("é"), {"x": "É"}) is False


def test_like_does_not_backtrack() -> None:
    text, start = "a" * 100_000, time.perf_counter()
    assert not matcher("%a" * 400 + "%b", False)(text)
    assert not matcher("%a_" * 300 + "%b%", True)(text)
    assert matcher("%a" * 400 + "%", False)(text)
    assert time.perf_counter() - start < 5
