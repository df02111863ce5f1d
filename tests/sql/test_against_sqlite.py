"""SQLite is asked the same, of the same rows."""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vecdb
from tests.sql.grammar import Grammar

COLUMNS = "id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, x REAL, y REAL, s TEXT, u TEXT"
WRITTEN = Path(__file__).with_name("selects.sql").read_text().splitlines()
GENERATED = 900


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[vecdb.Database, sqlite3.Connection]]:
    rng = random.Random(7)

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.15 else value

    texts = ["abc", "b", "xa", "a", "", "Abc", " ab ", "bcd", "日a", "zz"]
    rows = [
        (
            number,
            maybe(rng.randint(-2, 6)),
            maybe(rng.randint(0, 9)),
            maybe(rng.randint(-12, 12) / 4),
            maybe(rng.choice([0.5, 1.0, -1.5, 2.25, 3.0])),
            maybe(rng.choice(texts)),
            maybe(rng.choice(texts)),
        )
        for number in range(1, 61)
    ]
    others = [(n, maybe(rng.randint(-2, 6)), rng.randint(0, 3), maybe(rng.choice(texts))) for n in range(1, 13)]
    lite = sqlite3.connect(":memory:")
    lite.execute("PRAGMA case_sensitive_like = ON")
    with vecdb.connect(tmp_path_factory.mktemp("sql") / "both.vecdb") as db:
        for place in (db, lite):
            place.execute(f"CREATE TABLE t ({COLUMNS})")
            place.execute("CREATE TABLE o (id INTEGER PRIMARY KEY, k INTEGER, w INTEGER, name TEXT)")
            place.execute("CREATE INDEX by_b ON t (b)")
            place.executemany("INSERT INTO t (id, a, b, x, y, s, u) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            place.executemany("INSERT INTO o (id, k, w, name) VALUES (?, ?, ?, ?)", others)
        yield db, lite
    lite.close()


def normal(value: Any) -> tuple[int, Any]:
    """A value so that equal ones of both are near, and rows can be sorted."""
    if value is None:
        return (0, 0)
    if isinstance(value, (int, float)):
        return (1, float(f"{value:.9g}"))
    return (2, value)


def typed(value: Any) -> str:
    """Integers and reals are told apart; SQLite's truth is an integer."""
    return "int" if isinstance(value, bool) else type(value).__name__


def check(both: tuple[vecdb.Database, sqlite3.Connection], sql: str) -> int:
    """That both say the same; how many rows."""
    db, lite = both
    expected = lite.execute(sql).fetchall()
    found = db.execute(sql).fetchall()
    wanted, got = ([[normal(value) for value in row] for row in rows] for rows in (expected, found))
    if "ORDER BY" not in sql:
        wanted, got = sorted(wanted), sorted(got)
        assert sorted([typed(v) for v in row] for row in found) == sorted(
            [typed(v) for v in row] for row in expected
        ), sql
    else:
        assert [[typed(v) for v in row] for row in found] == [[typed(v) for v in row] for row in expected], sql
    assert got == wanted, sql
    return len(found)


@pytest.mark.parametrize("sql", [line for line in WRITTEN if line and not line.startswith("--")])
def test_written_statements(both: tuple[vecdb.Database, sqlite3.Connection], sql: str) -> None:
    check(both, sql)


def test_generated_statements(both: tuple[vecdb.Database, sqlite3.Connection]) -> None:
    grammar = Grammar(20240607)
    rows = [check(both, grammar.statement()) for _ in range(GENERATED)]
    assert sum(count > 0 for count in rows) > GENERATED * 0.6
    assert math.fsum(rows) > 5000
