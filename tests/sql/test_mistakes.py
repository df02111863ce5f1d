"""Mistakes are told with line, column and a hint."""

from __future__ import annotations

import re

import pytest

import vecdb

# Each: the statement, the column at which the mistake is shown, a word of the message.
MISTAKES = [
    ("", 1, "no statement"),
    ("   -- nothing", 1, "no statement"),
    ("FOO bar", 1, "no statement begins"),
    ("SELEC id FROM notes", 1, "no statement begins"),
    ("SELECT", 1, "selects nothing"),
    ("SELECT FROM notes", 13, "selects nothing"),
    ("SELECT id FROM", 11, "can't be read"),
    ("SELECT id id2 id3 FROM notes", 15, "can't be read"),
    ("SELECT id FROM notes WHERE", 22, "can't be read"),
    ("SELECT id FROM notes; SELECT 1", 23, "second statement"),
    ("SELECT (1 + 2", 8, "never closed"),
    ("SELECT 1 + 2)", 13, "unexpected"),
    ("SELECT 'abc", 8, "never closed"),
    ("SELECT /* abc", 8, "never closed"),
    ("SELECT CASE WHEN 1 THEN 2", 8, "never closed"),
    ("SELECT id FROM notes WHERE year = $1", 35, "unexpected"),
    ("SELECT id FROM notes WHERE meta->>'a' = 'x'", 32, "unexpected"),
    ("SELECT `id` FROM notes", 8, "unexpected"),
    ("SELECT id FROM notes WHERE title ~ 'a'", 34, "unexpected"),
    ("SELECT id FROM notes WHERE year = : x", 35, "name of a parameter"),
    ("SELECT ? FROM notes WHERE year = :x", 34, "can't be mixed"),
    ("SELECT id FROM nope", 16, "no table"),
    ("SELECT id FROM main.notes", 16, "name alone"),
    ("SELECT nope(id) FROM notes", 8, "no function"),
    ("SELECT abs(1, 2)", 8, "abs takes"),
    ("SELECT typeof()", 8, "typeof takes"),
    ("SELECT substr('a')", 8, "substr takes"),
    ("SELECT year, id FROM notes GROUP BY year", 14, "no one value"),
    ("SELECT id, count(*) FROM notes", 8, "no one value"),
    ("SELECT id FROM notes WHERE count(*) > 1", 28, "can't stand here"),
    ("SELECT sum(max(year)) FROM notes", 12, "can't stand here"),
    ("SELECT sum(*) FROM notes", 8, "is no count"),
    ("SELECT id FROM notes HAVING year > 1", 29, "HAVING without"),
    ("SELECT id FROM notes ORDER BY 2", 31, "no such column"),
    ("SELECT count(*) FROM notes GROUP BY 0", 37, "no such column"),
    ("SELECT *", 8, "without FROM"),
    ("SELECT 1 JOIN docs USING (id)", 15, "JOIN without FROM"),
    ("SELECT x.* FROM notes", 8, "no table x"),
    ("SELECT id FROM notes UNION SELECT id FROM notes", 8, "UNION"),
    ("SELECT id FROM notes JOIN docs ON notes.year > docs.year", 27, "no equality"),
    ("SELECT notes.id FROM notes JOIN docs ON notes.year = docs.year WHERE lang = 'x' AND name = 1", 70, "in both"),
    ("SELECT notes.id FROM notes JOIN docs ON notes.year = docs.year WHERE nothing = 1", 70, "declared in no table"),
    ("SELECT id FROM notes RIGHT JOIN docs ON notes.year = docs.year", 33, "RIGHT JOIN"),
    ("SELECT 1 FROM notes JOIN notes ON notes.id = notes.id", 8, "both tables"),
    ("SELECT 1 FROM notes a JOIN docs b ON a.id = b.id JOIN docs c ON c.id = a.id", 55, "three tables"),
    ("SELECT id FROM notes WHERE year IN (SELECT year, id FROM docs)", 44, "2 columns"),
    ("SELECT id FROM notes WHERE year IN (SELECT year FROM docs WHERE docs.lang = notes.lang)", 77, "outside"),
    ("SELECT q.nothing FROM (SELECT id FROM notes) AS q", 8, "no column"),
    ("SELECT id.x FROM notes", 8, "no field in it"),
    ("SELECT id FROM notes ORDER BY lang <=> '[1,2]' LIMIT 3", 31, "no vector column"),
    ("SELECT id FROM notes LIMIT year", 28, "LIMIT is a number"),
    ("SELECT id FROM notes FETCH FIRST 3 ROWS ONLY", 34, "FETCH"),
    ("SELECT row_number() OVER (ORDER BY id) FROM notes", 8, "no such expression"),
    ("SELECT DISTINCT ON (year) id FROM notes", 21, "DISTINCT"),
    ("SELECT CAST(year AS UUID) FROM notes", 13, "no CAST"),
    ("SELECT id FROM notes WHERE year IS 5", 36, "IS is followed"),
    ("SELECT id FROM notes WHERE year > ANY(tags)", 28, "ANY goes with ="),
    ("SELECT id FROM notes WHERE lang = 5", 28, "lang is str"),
    ("SELECT id FROM notes WHERE lang.x = 5", 28, "no field in it"),
    ("INSERT INTO notes (id, year)", 13, "no VALUES"),
    ("INSERT INTO notes (id, year) VALUES (1)", 38, "1 values for 2"),
    ("INSERT INTO notes (id, id) VALUES (1, 2)", 24, "stands twice"),
    ("INSERT INTO notes (id) VALUES (year)", 32, "declared in no table"),
    ("INSERT INTO notes (id) VALUES (1) ON CONFLICT (year) DO NOTHING", 48, "by their id alone"),
    ("INSERT INTO notes (id) SELECT id, year FROM docs", 31, "2 columns for 1"),
    ("UPDATE notes SET id = 5", 18, "does not change"),
    ("UPDATE notes SET year", 18, "SET is followed"),
    ("UPDATE notes SET year = count(*)", 25, "can't stand here"),
    ("DELETE FROM notes USING docs WHERE notes.id = docs.id", 25, "USING"),
    ("CREATE TABLE t (id TEXT PRIMARY KEY, a NUMERIC(3))", 38, "no type"),
    ("CREATE TABLE t (name TEXT PRIMARY KEY)", 17, "can't be the primary key"),
    ("CREATE TABLE t (id TEXT PRIMARY KEY, v VECTOR)", 38, "needs its length"),
    ("CREATE TABLE t (a TEXT UNIQUE)", 17, "no UNIQUE"),
    ("CREATE TABLE t (a TEXT CHECK (a > 'b'))", 17, "no CHECK"),
    ("CREATE TABLE t (a TEXT, a TEXT)", 25, "already"),
    ("CREATE TABLE t (a TEXT, PRIMARY KEY (a))", 38, "constraints of a table"),
    ("CREATE TABLE t (id REAL PRIMARY KEY)", 17, "ids are INTEGER or TEXT"),
    ("CREATE TABLE t (v VECTOR(3) NOT NULL)", 17, "no constraint"),
    ("CREATE TABLE t AS SELECT 1", 14, "by its columns"),
    ("CREATE VIEW v AS SELECT 1", 13, "no CREATE VIEW"),
    ("CREATE UNIQUE INDEX ON notes (year)", 24, "no UNIQUE"),
    ("CREATE INDEX ON notes USING ivfflat (vector)", 17, "no index USING"),
    ("CREATE INDEX ON notes USING hnsw (vector vector_l1_ops)", 35, "no vector_l1_ops"),
    ("CREATE INDEX ON notes USING hnsw (vector) WITH (lists = 5)", 57, "no option"),
    ("CREATE INDEX ON notes (upper(lang))", 17, "of fields"),
    ("ALTER TABLE notes DROP COLUMN year", 31, "only altered by ADD"),
    ("ALTER TABLE notes ADD COLUMN v VECTOR(3)", 30, "can't be added"),
    ("DROP INDEX some_index", 12, "no names of their own"),
    ("DROP VIEW v", 11, "no DROP VIEW"),
    ("BEGIN NOW", 7, "unexpected"),
    ("SAVEPOINT", 10, "name is needed"),
    ("ROLLBACK TO", 12, "name is needed"),
    ("SET shared_buffers = 5", 5, "no such setting"),
    ("SHOW DATABASES", 6, "nothing of this name"),
    ("EXPLAIN INSERT INTO notes (id) VALUES (1)", 9, "EXPLAIN is of a SELECT"),
    ("EXPLAIN QUERY PLAN SELECT 1", 9, "QUERY PLAN"),
]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> vecdb.Database:
    db = vecdb.connect(tmp_path_factory.mktemp("sql") / "mistakes.vecdb")
    db.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, lang TEXT, year INTEGER, tags TEXT[], vector VECTOR(3))")
    db.execute("CREATE TABLE docs (id TEXT PRIMARY KEY, lang TEXT, year INTEGER)")
    return db


@pytest.mark.parametrize(("sql", "column", "word"), MISTAKES)
def test_a_mistake(tables: vecdb.Database, sql: str, column: int, word: str) -> None:
    with pytest.raises(vecdb.ProgrammingError) as raised:
        tables.execute(sql, {"x": 1} if ":x" in sql else None)
    text = str(raised.value)
    assert word in text
    found = re.search(r"line (\d+), column (\d+):", text)
    assert found is not None, text
    assert (int(found[1]), int(found[2])) == (1, column), text
    if isinstance(raised.value, (vecdb.SqlError, vecdb.TableNotFoundError)):
        assert "hint: " in text


def test_lines_are_counted(tables: vecdb.Database) -> None:
    with pytest.raises(vecdb.SqlError, match=r"line 3, column 8:\n   WHERE nope\(id\)\n"):
        tables.execute("SELECT id\n  FROM notes\n WHERE nope(id)")


@pytest.mark.parametrize(
    ("params", "word"),
    [
        (None, "are a list or tuple"),
        ((1,), "2 parameters, but there are 1"),
        ((1, 2, 3), "2 parameters, but there are 3"),
        ("ab", "are a list or tuple"),
        ({"a": 1}, "are a list or tuple"),
    ],
)
def test_values_that_do_not_fit(tables: vecdb.Database, params: object, word: str) -> None:
    with pytest.raises(vecdb.SqlError, match=word):
        tables.execute("SELECT ?, ?", params)


def test_named_values_that_do_not_fit(tables: vecdb.Database) -> None:
    assert tables.execute("SELECT :a, :b, :a", {"a": 1, "b": 2}).fetchall() == [(1, 2, 1)]
    for params, word in (((1,), "are a dict"), ({"a": 1}, "no value for :b")):
        with pytest.raises(vecdb.SqlError, match=word):
            tables.execute("SELECT :a, :b", params)
    with pytest.raises(vecdb.SqlError, match="no parameters"):
        tables.execute("SELECT 1", (1,))
    with pytest.raises(vecdb.SqlError, match="is a str"):
        tables.execute(5)  # type: ignore[arg-type]


def test_more_than_there_is_room_for(tables: vecdb.Database) -> None:
    for sql in (
        "SELECT " + "(" * 100 + "1" + ")" * 100,
        "SELECT " + "NOT " * 500 + "1",
        "SELECT " + "-" + " -" * 500 + "1",
        "SELECT 1" + " + 1" * 5000,
        "SELECT " + "CASE WHEN 1 THEN " * 200 + "1" + " END" * 200,
        "SELECT '" + "x" * (1 << 20) + "'",
        "SELECT 1 WHERE " + " AND ".join(["1 = 1"] * 5000),
    ):
        try:
            tables.execute(sql)
        except vecdb.Error as error:
            assert isinstance(error, (vecdb.LimitError, vecdb.SqlError))


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELECT id FROM notes WHERE " + "(" * 10_000 + "1" + ")" * 10_000, "24 levels deep, at line 1, column 52"),
        ("SELECT id FROM notes WHERE " + " AND ".join(["year = 1"] * 10_000), "9999 AND and OR; the most is 2000"),
        ("SELECT id FROM notes WHERE " + " or ".join(["year = 1"] * 10_000), "9999 AND and OR"),
    ],
)
def test_too_much_is_refused_before_it_is_parsed(
    tables: vecdb.Database, sql: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vecdb.sql.tokens._Reader", None)
    with pytest.raises(vecdb.LimitError, match=re.escape(word)):
        tables.execute(sql)


def test_what_only_looks_like_too_much(tables: vecdb.Database) -> None:
    assert tables.execute("SELECT '" + "(" * 3000 + "', 1 -- " + "(" * 3000).fetchall() == [("(" * 3000, 1)]
    assert tables.execute("SELECT '" + " and or" * 3000 + "'").fetchall() == [(" and or" * 3000,)]
    years = " OR ".join(f"year BETWEEN {year} AND {year}" for year in range(450))
    assert tables.execute(f"SELECT id FROM notes WHERE {years}").fetchall() == []
