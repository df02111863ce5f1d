"""The shell splits statements where they end, and shows rows in each mode."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from vecdb.sql.shell import is_whole, main, statements_of

SCRIPT = """
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, v VECTOR(2)); -- a comment; with a semicolon
INSERT INTO t VALUES (1, 'a;b', '[1,0]'),
  (2, NULL, NULL);
SELECT id, name,
  v FROM t ORDER BY id
"""


def run(path: Path, script: str, mode: str) -> tuple[int, str]:
    out = io.StringIO()
    return main(str(path), script.splitlines(), mode=mode, out=out), out.getvalue()


def test_statements_end_where_no_quote_or_comment_is_open() -> None:
    assert list(statements_of(["SELECT 1; SELECT ';'", "; .x", ".tables"])) == ["SELECT 1", "SELECT ';'", ".x\n.tables"]
    assert list(statements_of([".tables", "SELECT /* ; */ 1;", "", "-- nothing"])) == [".tables", "SELECT /* ; */ 1"]
    assert is_whole("SELECT 1;")
    assert is_whole(".tables")
    assert not is_whole("SELECT ';")
    assert not is_whole("SELECT 1 -- ;")


def test_every_mode(path: Path) -> None:
    assert run(path, SCRIPT, "json")[0] == 0
    code, shown = run(path, "SELECT id, name, v FROM t ORDER BY id", "json")
    rows = [json.loads(line) for line in shown.splitlines()]
    assert (code, rows) == (0, [{"id": 1, "name": "a;b", "v": [1.0, 0.0]}, {"id": 2, "name": None, "v": None}])
    assert run(path, "SELECT id, name FROM t ORDER BY id", "csv") == (0, "id,name\n1,a;b\n2,\n")
    code, shown = run(path, "SELECT id, name FROM t ORDER BY name", "table")
    assert shown == "id | name\n---+-----\n 2 | NULL\n 1 | a;b\n(2 rows)\n"


def test_words_of_the_shell(path: Path) -> None:
    run(path, SCRIPT, "table")
    code, shown = run(path, ".tables\n.schema t\n.explain SELECT id FROM t\n.mode csv\nSELECT 1 AS x;\n.what", "table")
    assert code == 0
    for part in ("VECTOR(2)", "scan of all 2 rows of t", "x\n1\n", ".schema [TABLE]"):
        assert part in shown


def test_a_script_ends_at_its_first_error(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = run(path, "SELECT nope(1);\nSELECT 2;", "csv")
    assert (code, shown) == (1, "")
    assert "line 1, column 8" in capsys.readouterr().err
