"""The shell splits statements where they end, and shows rows in each mode."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import vecdb
from vecdb.cli import shell
from vecdb.cli.main import main
from vecdb.cli.shell import is_whole, statements_of

SCRIPT = """
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, v VECTOR(2)); -- a comment; with a semicolon
INSERT INTO t VALUES (1, 'a;b', '[1,0]'),
  (2, NULL, NULL);
SELECT id, name,
  v FROM t ORDER BY id
"""


def run(path: Path, script: str, *options: str) -> str:
    result = CliRunner().invoke(main, ["sql", str(path), *options], input=script)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_statements_end_where_no_quote_or_comment_is_open() -> None:
    assert list(statements_of(["SELECT 1; SELECT ';'", "; .x", ".tables"])) == ["SELECT 1", "SELECT ';'", ".x\n.tables"]
    assert list(statements_of([".tables", "SELECT /* ; */ 1;", "", "-- nothing"])) == [".tables", "SELECT /* ; */ 1"]
    assert is_whole("SELECT 1;")
    assert is_whole(".tables")
    assert not is_whole("SELECT ';")
    assert not is_whole("SELECT 1 -- ;")


def test_every_mode(path: Path) -> None:
    run(path, SCRIPT)
    rows = [json.loads(line) for line in run(path, "SELECT id, name, v FROM t ORDER BY id", "--json").splitlines()]
    assert rows == [{"id": 1, "name": "a;b", "v": [1.0, 0.0]}, {"id": 2, "name": None, "v": None}]
    assert run(path, "SELECT id, name FROM t ORDER BY id", "--csv") == "id,name\n1,a;b\n2,\n"
    assert run(path, "SELECT id, v FROM t ORDER BY name") == "id  v\n--  -----\n 2  -\n 1  [1,0]\n"
    assert run(path, "UPDATE t SET name = 'x' WHERE id = 1") == "1 row changed\n"
    result = CliRunner().invoke(main, ["sql", str(path), "SELECT 1 AS x", "SELECT 2 AS y", "--csv"])
    assert result.stdout == "x\n1\ny\n2\n"


def test_words_of_the_shell(path: Path) -> None:
    run(path, SCRIPT)
    shown = run(path, ".tables\n.schema t\n.explain SELECT id FROM t\n.mode csv\nSELECT 1 AS x;\n.what")
    for part in ("VECTOR(2)", "scan of all 2 rows of t", "x\n1\n", ".schema [TABLE]"):
        assert part in shown


def test_a_script_ends_at_its_first_error(path: Path) -> None:
    result = CliRunner().invoke(main, ["sql", str(path)], input="SELECT 1 AS x;\nSELECT nope(1);\nSELECT 2 AS y;")
    assert result.exit_code == 1
    assert "y" not in result.stdout
    assert "line 1, column 8" in result.stderr


def test_what_is_typed(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors and interrupts end no session; statements take several lines."""
    typed: Iterator[str | type[BaseException]] = iter(
        ["SELECT 1 +", "  1 AS two; SELECT nope();", "SELECT (", KeyboardInterrupt, ".timer off", "SELECT 5 AS five;"]
    )
    asked: list[str] = []

    def read(prompt: str) -> str:
        asked.append(prompt.strip())
        line = next(typed, EOFError)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr(shell, "_typing", lambda words: read)
    with vecdb.connect(path) as db:
        shell.Shell(db, "csv").run_typed()
    out, err = capsys.readouterr()
    assert re.sub(r"[\d.]+ ms", "ms", out).splitlines()[1:] == ["two", "2", "ms", "", "five", "5", ""]
    assert "no function nope" in err
    assert asked == ["vecdb>", "...>", "vecdb>", "...>", "vecdb>", "vecdb>", "vecdb>"]
    assert {"SELECT", "VECTOR"} <= set(shell.Shell(db, "csv")._names())
