"""CREATE, ALTER, DROP, DESCRIBE: tables of SQL are tables of Python."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import vecdb

TABLE = """
CREATE TABLE notes (
    id TEXT PRIMARY KEY, lang TEXT NOT NULL DEFAULT 'en', year INTEGER DEFAULT 2000, score REAL,
    done BOOLEAN DEFAULT FALSE, created TIMESTAMP, tags TEXT[], counts INTEGER[], meta JSON, v VECTOR(3), h HALFVEC(2)
)
"""


def test_every_type(db: vecdb.Database) -> None:
    db.execute(TABLE)
    notes = db.table("notes")
    assert notes.fields == {
        "lang": "str",
        "year": "int",
        "score": "float",
        "done": "bool",
        "created": "datetime",
        "tags": "list[str]",
        "counts": "list[int]",
    }
    assert notes.vectors == {"v": vecdb.Vector(3), "h": vecdb.Vector(2, dtype="float16")}
    db.execute(
        "INSERT INTO notes (id, created, meta) VALUES (1, CAST('2024-05-17 10:30:00' AS TIMESTAMP), ?)", ({"a": 1},)
    )
    cursor = db.execute("SELECT * FROM notes")
    assert [item[0] for item in cursor.description or ()] == [
        "id", "lang", "year", "score", "done", "created", "tags", "counts", "meta", "v", "h",
    ]  # fmt: skip
    created = datetime(2024, 5, 17, 10, 30)
    assert cursor.fetchall() == [(1, "en", 2000, None, False, created, None, None, {"a": 1}, None, None)]


def test_constraints_hold_for_python_too_and_after_reopening(path: Path) -> None:
    with vecdb.connect(path) as db:
        db.execute(TABLE)
    with vecdb.connect(path) as db:
        notes = db.table("notes")
        notes.insert("a", None, {"year": None})
        row = notes.get("a")
        assert row is not None and (row.fields["lang"], row.fields["year"], row.fields["done"]) == ("en", None, False)
        with pytest.raises(vecdb.IntegrityError, match="'b': field 'lang' is NOT NULL"):
            notes.insert(["c", "b"], None, [{}, {"lang": None}])
        with pytest.raises(vecdb.IntegrityError):
            notes.update("a", fields={"lang": None})
        with pytest.raises(vecdb.IntegrityError):
            db.execute("UPDATE notes SET lang = NULL")
        notes.update("a", fields={"year": 5})
        assert len(notes) == 1


def test_create_index_on_fields(db: vecdb.Database) -> None:
    db.execute(TABLE)
    db.execute("CREATE INDEX ON notes (lang, Year)")
    db.execute("CREATE INDEX IF NOT EXISTS some_name ON notes (lang)")
    assert db.table("notes").indexes == ["lang", "year"]
    with pytest.raises(vecdb.FieldError, match="already"):
        db.execute("CREATE INDEX ON notes (lang)")
    db.execute("DROP INDEX notes.lang")
    db.execute("DROP INDEX IF EXISTS notes.lang")
    assert db.table("notes").indexes == ["year"]


def test_an_hnsw_index_builds_the_graph_anew(db: vecdb.Database, rng: np.random.Generator) -> None:
    db.execute(TABLE)
    db.execute("CREATE INDEX ON notes (lang)")
    vectors = rng.standard_normal((50, 3))
    db.executemany("INSERT INTO notes (id, v, extra) VALUES (?, ?, ?)", [(n, v, n) for n, v in enumerate(vectors)])
    before = db.version
    db.execute("CREATE INDEX ON notes USING hnsw (v vector_cosine_ops)")  # as it is already
    assert db.version == before
    db.execute("CREATE INDEX ON notes USING hnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 64)")
    notes = db.table("notes")
    assert notes.vectors["v"] == vecdb.Vector(3, metric="l2", m=8, ef_construction=64)
    assert (len(notes), notes.indexes) == (50, ["lang"])
    nearest = np.argsort(np.linalg.norm(vectors - vectors[7], axis=1), kind="stable")[:5]
    assert notes.search(vectors[7], k=5, column="v").ids == nearest.tolist()
    row = notes.get(3)
    assert row is not None and row.fields["extra"] == 3
    with pytest.raises(vecdb.IntegrityError):
        notes.update(3, fields={"lang": None})


def test_create_alter_and_drop_of_tables(db: vecdb.Database) -> None:
    db.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT)")
    db.execute("CREATE TABLE IF NOT EXISTS plain (id INTEGER PRIMARY KEY)")
    with pytest.raises(vecdb.TableExistsError):
        db.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY)")
    db.execute("INSERT INTO plain (name) VALUES ('x')")
    db.execute("ALTER TABLE plain ADD COLUMN size INTEGER")
    assert db.execute("SELECT * FROM Plain").fetchall() == [(1, "x", None)]
    assert db.execute("SHOW TABLES").fetchall() == [("plain",)]
    db.execute("DROP TABLE PLAIN")
    db.execute("DROP TABLE IF EXISTS plain")
    with pytest.raises(vecdb.TableNotFoundError):
        db.execute("DROP TABLE plain")


def test_describe(db: vecdb.Database) -> None:
    db.execute("CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT[] NOT NULL, b REAL DEFAULT 0.5, v HALFVEC(8))")
    db.execute("CREATE INDEX ON t (b)")
    assert db.execute("DESCRIBE t").fetchall() == [
        ("id", "INTEGER or TEXT", False, None, "PRIMARY KEY"),
        ("a", "TEXT[]", False, None, ""),
        ("b", "REAL", True, 0.5, "INDEX"),
        ("v", "HALFVEC(8)", True, None, "hnsw cosine, m = 16, ef_construction = 128"),
    ]


def test_a_prepared_statement_follows_its_table(db: vecdb.Database) -> None:
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)")
    db.execute("INSERT INTO t (id, a, b) VALUES (1, 'x', 5)")
    assert db.execute("SELECT * FROM t").fetchall() == [(1, "x")]
    db.execute("ALTER TABLE t ADD COLUMN b INTEGER")
    assert db.execute("SELECT * FROM t").fetchall() == [(1, "x", 5)]
    db.execute("DROP TABLE t")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, c TEXT)")
    assert db.execute("SELECT * FROM t").fetchall() == []


def test_added_columns_fill_rows_with_their_default(db: vecdb.Database) -> None:
    db.execute("CREATE TABLE t (id BIGSERIAL PRIMARY KEY, a TEXT)")
    db.execute("INSERT INTO t (a) VALUES ('x'), ('y')")
    db.execute("ALTER TABLE t ADD COLUMN n INTEGER NOT NULL DEFAULT 7")
    db.execute("ALTER TABLE t ADD COLUMN IF NOT EXISTS n TEXT")
    db.execute("INSERT INTO t (a) VALUES ('z')")
    db.execute("UPDATE t SET n = 8 WHERE a = 'z'")
    assert db.execute("SELECT n FROM t ORDER BY id").fetchall() == [(7,), (7,), (8,)]
    assert db.execute("UPDATE t SET n = DEFAULT RETURNING n").fetchall() == [(7,)] * 3
    with pytest.raises(vecdb.IntegrityError, match="NOT NULL"):
        db.execute("INSERT INTO t (n) VALUES (NULL)")
    with pytest.raises(vecdb.IntegrityError, match="give it a DEFAULT"):
        db.execute("ALTER TABLE t ADD COLUMN m INTEGER NOT NULL")
    assert "m" not in db.table("t").fields


def test_texts_of_times_booleans_and_json_are_read(db: vecdb.Database) -> None:
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at TIMESTAMP DEFAULT '2020-01-02', ok BOOLEAN, data JSON)")
    db.execute("""INSERT INTO t VALUES (1, '2024-01-02 03:04:05', 1, '{"a": {"b": [1]}}')""")
    db.execute("INSERT INTO t (id, at) VALUES (2, DEFAULT), (3, NULL)")
    rows = db.execute("SELECT at, ok, data, data.a.b FROM t ORDER BY id").fetchall()
    assert rows[0] == (datetime(2024, 1, 2, 3, 4, 5), True, {"a": {"b": [1]}}, [1])
    assert rows[1:] == [(datetime(2020, 1, 2), None, None, None), (None, None, None, None)]
    db.execute("UPDATE t SET at = DEFAULT, ok = 0, data = '5' WHERE id = 1")
    assert db.execute("SELECT at, ok, data FROM t WHERE id = 1").fetchall() == [(datetime(2020, 1, 2), False, 5)]
    for sql in ("UPDATE t SET at = 'soon'", "UPDATE t SET ok = 2", "UPDATE t SET data = 'no'"):
        with pytest.raises(vecdb.FieldError):
            db.execute(sql)
