"""INSERT, UPDATE, DELETE and RETURNING do what SQLite's would, and what the calls of Python do."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

import vecdb

COLUMNS = "(id TEXT PRIMARY KEY, lang TEXT, year INTEGER, score REAL, tags TEXT[], vector VECTOR(3))"


@pytest.fixture
def notes(db: vecdb.Database) -> vecdb.Table:
    db.execute(f"CREATE TABLE notes {COLUMNS}")
    return db.table("notes")


def test_insert_of_many_rows(db: vecdb.Database, notes: vecdb.Table) -> None:
    cursor = db.execute(
        "INSERT INTO notes (id, lang, year, vector, title) "
        "VALUES ('a', 'en', 1 + 2, '[1, 0, 0]', ?), (?, NULL, ?, ?, ?)",
        ("hello", "b", 5, np.array([0.0, 1, 0]), None),
    )
    assert (cursor.rowcount, cursor.lastrowid, cursor.description) == (2, "b", None)
    row = notes.get("a", vectors=True)
    assert row is not None and row.vector is not None
    assert (row.fields["year"], row.fields["title"], row.vector.tolist()) == (3, "hello", [1.0, 0.0, 0.0])
    other = notes.get("b")
    assert other is not None and "title" not in other.fields and other.fields["lang"] is None


def test_insert_numbers_rows_without_ids(db: vecdb.Database, notes: vecdb.Table) -> None:
    assert db.execute("INSERT INTO notes (lang) VALUES ('en'), ('de') RETURNING id").fetchall() == [(1,), (2,)]
    assert db.execute("INSERT INTO notes (id, lang) VALUES (NULL, 'en') RETURNING id").fetchall() == [(3,)]
    with pytest.raises(vecdb.IntegrityError, match="some rows have an id"):
        db.execute("INSERT INTO notes (id) VALUES (NULL), (9)")
    assert len(notes) == 3


def test_insert_of_all_columns_and_of_a_select(db: vecdb.Database, notes: vecdb.Table) -> None:
    db.execute("INSERT INTO notes VALUES ('a', 'en', 1, 0.5, ?, ?)", (["x"], [1, 2, 3]))
    db.execute("INSERT INTO notes (id, lang, vector) SELECT id || '2', upper(lang), vector FROM notes")
    assert db.execute("SELECT id, lang FROM notes ORDER BY lang").fetchall() == [("a2", "EN"), ("a", "en")]
    row = notes.get("a2", vectors=True)
    assert row is not None and row.vector is not None and row.vector.tolist() == [1, 2, 3]


def test_an_existing_id(db: vecdb.Database, notes: vecdb.Table) -> None:
    db.execute("INSERT INTO notes (id, year) VALUES ('a', 1)")
    with pytest.raises(vecdb.DuplicateIdError):
        db.execute("INSERT INTO notes (id, year) VALUES ('b', 1), ('a', 2)")
    assert len(notes) == 1
    cursor = db.execute("INSERT INTO notes (id, year) VALUES ('a', 5), ('b', 2) ON CONFLICT DO NOTHING")
    assert cursor.rowcount == 1
    db.execute("INSERT OR REPLACE INTO notes (id, lang) VALUES ('b', 'en')")
    assert db.execute("SELECT id, lang, year FROM notes ORDER BY year").fetchall() == [
        ("b", "en", None),
        ("a", None, 1),
    ]


def test_on_conflict_do_update_as_in_sqlite(db: vecdb.Database, notes: vecdb.Table) -> None:
    lite = sqlite3.connect(":memory:")
    lite.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, lang TEXT, year INTEGER)")
    for sql in (
        "INSERT INTO notes (id, lang, year) VALUES ('a', 'en', 1), ('b', 'de', 2)",
        "INSERT INTO notes (id, year) VALUES ('a', 10), ('c', 3), ('c', 4) ON CONFLICT (id) DO UPDATE SET "
        "year = excluded.year + notes.year, lang = coalesce(lang, 'none')",
        "INSERT INTO notes (id, year) VALUES ('a', 1), ('b', 9) ON CONFLICT (id) DO UPDATE SET year = excluded.year "
        "WHERE excluded.year > notes.year",
        "UPDATE notes SET year = year * 2, lang = upper(lang) WHERE year > 8 OR lang IS NULL",
        "UPDATE notes SET year = NULL WHERE id IN (SELECT id FROM notes WHERE lang = 'none')",
        "DELETE FROM notes WHERE year % 2 = 1 OR id = 'zzz'",
        "DELETE FROM notes WHERE year IS NULL",
    ):
        assert db.execute(sql).rowcount == lite.execute(sql).rowcount, sql
        asked = "SELECT id, lang, year FROM notes ORDER BY id"
        assert (
            db.execute("SELECT id, lang, year FROM notes ORDER BY upper(id)").fetchall()
            == lite.execute(asked).fetchall()
        )
    lite.close()


def test_update_of_fields_metadata_and_vectors(db: vecdb.Database, notes: vecdb.Table) -> None:
    notes.insert(["a", "b"], np.eye(3)[:2], {"lang": ["en", "de"], "year": [1, 2]})
    assert (
        db.execute(
            "UPDATE notes SET year = year + 1, vector = ?, note = lang || '!' WHERE lang = 'en'", ([1, 1, 1],)
        ).rowcount
        == 1
    )
    row = notes.get("a", vectors=True)
    assert row is not None and row.vector is not None
    assert (row.fields["year"], row.fields["note"], row.vector.tolist()) == (2, "en!", [1, 1, 1])
    assert notes.search([1, 1, 1], k=1).ids == ["a"]
    assert db.execute("UPDATE notes SET vector = NULL WHERE id = 'a' RETURNING id, vector").fetchall() == [("a", None)]
    assert notes.search([1, 1, 1], k=2).ids == ["b"]
    assert db.execute("UPDATE notes SET year = 0 WHERE id = 'none'").rowcount == 0
    assert db.execute("UPDATE notes SET year = 0").rowcount == 2


def test_a_failed_statement_leaves_nothing(db: vecdb.Database, notes: vecdb.Table) -> None:
    notes.insert(["a", "b"], None, {"lang": ["en", "de"], "year": [1, 2]})
    before = db.version
    for sql in (
        "UPDATE notes SET year = lang",
        "INSERT INTO notes (id, vector) VALUES ('c', '[1,2,3]'), ('d', '[1,2]')",
    ):
        with pytest.raises((vecdb.FieldError, vecdb.VectorError)):
            db.execute(sql)
    assert db.version == before


def test_delete_returns_what_was_there(db: vecdb.Database, notes: vecdb.Table) -> None:
    notes.insert(["a", "b"], None, {"lang": ["en", "de"]})
    assert db.execute("DELETE FROM notes WHERE lang = 'de' RETURNING id, lang").fetchall() == [("b", "de")]
    assert db.execute("DELETE FROM notes").rowcount == 1
    assert len(notes) == 0


def test_executemany_is_one_transaction(db: vecdb.Database, notes: vecdb.Table) -> None:
    before = db.version
    rows = [(f"r{number}", number, np.ones(3) * number) for number in range(1, 50)]
    assert db.executemany("INSERT INTO notes (id, year, vector) VALUES (?, ?, ?)", rows).rowcount == 49
    assert db.version == before + 1
    with pytest.raises(vecdb.DuplicateIdError):
        db.executemany("INSERT INTO notes (id) VALUES (?)", [("new",), ("r1",)])
    assert len(notes) == 49
    assert db.executemany("UPDATE notes SET year = ? WHERE id = ?", [(0, "r1"), (0, "r2")]).rowcount == 2
    assert db.executemany("DELETE FROM notes WHERE id = ?", [("r1",), ("r2",), ("none",)]).rowcount == 2
    with pytest.raises(vecdb.ProgrammingError):
        db.executemany("SELECT ?", [(1,)])


def test_insert_or_ignore_and_values_of_conflicts_by_row(db: vecdb.Database, notes: vecdb.Table) -> None:
    db.execute("INSERT INTO notes (id, year) VALUES ('a', 1)")
    assert db.execute("INSERT OR IGNORE INTO notes (id, year) VALUES ('a', 2), ('b', 2)").rowcount == 1
    sql = "INSERT INTO notes (id, year) VALUES (?, 0) ON CONFLICT (id) DO UPDATE SET year = ?"
    assert db.executemany(sql, [("a", 10), ("b", 20), ("c", 30), ("c", 40)]).rowcount == 4
    assert db.execute("SELECT id, year FROM notes ORDER BY year").fetchall() == [("a", 10), ("b", 20), ("c", 40)]
    with pytest.raises(vecdb.ProgrammingError, match="RETURNING"):
        db.executemany("DELETE FROM notes WHERE id = ? RETURNING id", [("a",)])


def test_set_to_a_sub_select_and_to_vectors(db: vecdb.Database, notes: vecdb.Table) -> None:
    db.execute("INSERT INTO notes (id, year, vector) VALUES ('a', 1, '[1,2,3]'), ('b', 5, '[3,2,1]')")
    db.execute("UPDATE notes SET year = (SELECT max(year) FROM notes) + 1, vector = vector + '[1,1,1]' WHERE id = 'a'")
    row = notes.get("a", vectors=True)
    assert row is not None and row.vector is not None and (row.fields["year"], row.vector.tolist()) == (6, [2, 3, 4])
    total, mean = db.execute("SELECT sum(vector), avg(vector) FROM notes").fetchall()[0]
    assert (total.tolist(), mean.tolist()) == ([5, 5, 5], [2.5, 2.5, 2.5])
    with pytest.raises(vecdb.VectorError, match="shapes"):
        db.execute("SELECT vector + '[1,2]' FROM notes")


def test_insert_without_names_may_leave_out_ids(db: vecdb.Database) -> None:
    db.execute("CREATE TABLE t (a INTEGER, b TEXT)")
    db.execute("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    db.execute("INSERT INTO t SELECT a + 2, b FROM t")
    db.execute("INSERT INTO t VALUES (9, 5, 'z')")
    assert db.execute("SELECT id, a FROM t ORDER BY a").fetchall() == [(1, 1), (2, 2), (3, 3), (4, 4), (9, 5)]
