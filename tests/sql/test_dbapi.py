"""PEP 249, by the checks of the well-known dbapi20 suite, and what its tools rely on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas
import pytest

import vecdb
from vecdb import dbapi

NAMES = ["Boags", "Carlton Cold", "Cooper's", "Redback", "Victoria Bitter", "XXXX"]


@pytest.fixture
def connection(path: Path) -> Iterator[dbapi.Connection]:
    opened = dbapi.connect(path)
    yield opened
    opened.close()


@pytest.fixture
def filled(connection: dbapi.Connection) -> dbapi.Cursor:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE booze (id INTEGER PRIMARY KEY, name TEXT)")
    cursor.executemany("INSERT INTO booze (name) VALUES (?)", [(name,) for name in NAMES])
    return cursor


def test_the_module() -> None:
    assert dbapi.apilevel == "2.0"
    assert dbapi.threadsafety in (0, 1, 2, 3)
    assert dbapi.paramstyle == "qmark"


def test_the_exceptions_are_vecdbs(connection: dbapi.Connection) -> None:
    assert issubclass(dbapi.Warning, Exception)
    assert dbapi.Error is vecdb.Error
    for name in ("InterfaceError", "DatabaseError"):
        assert issubclass(getattr(dbapi, name), dbapi.Error)
    for kind in ("Operational", "Integrity", "Internal", "Programming", "NotSupported", "Data"):
        name = f"{kind}Error"
        assert issubclass(getattr(dbapi, name), dbapi.DatabaseError)
        assert getattr(connection, name) is getattr(dbapi, name)


def test_constructors_of_types() -> None:
    assert dbapi.Date(2002, 12, 25) == dbapi.DateFromTicks(time.mktime((2002, 12, 25, 0, 0, 0, 0, 0, 0)))
    assert dbapi.Time(13, 45, 30) == dbapi.TimeFromTicks(time.mktime((2001, 1, 1, 13, 45, 30, 0, 0, 0)))
    stamp = time.mktime((2002, 12, 25, 13, 45, 30, 0, 0, 0))
    assert dbapi.Timestamp(2002, 12, 25, 13, 45, 30) == dbapi.TimestampFromTicks(stamp)
    assert dbapi.Binary(b"x") == b"x"


def test_description_and_type_codes(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    assert cursor.description is None
    columns = "id TEXT PRIMARY KEY, a TEXT, b INTEGER, c REAL, d BOOLEAN, e TIMESTAMP, v VECTOR(2)"
    cursor.execute(f"CREATE TABLE t ({columns})")
    assert cursor.description is None
    cursor.execute("SELECT id, a, b, c, d, e, v, v <=> '[1,0]' AS distance, count FROM t")
    described = cursor.description
    assert described is not None
    assert [len(column) for column in described] == [7] * 9
    assert [column[0] for column in described] == ["id", "a", "b", "c", "d", "e", "v", "distance", "count"]
    codes = [dbapi.ROWID, dbapi.STRING, *[dbapi.NUMBER] * 3, dbapi.DATETIME, dbapi.BINARY, dbapi.NUMBER, None]
    assert [column[1] for column in described] == codes
    assert dbapi.STRING != dbapi.NUMBER


def test_rowcount(filled: dbapi.Cursor) -> None:
    assert filled.rowcount == 6
    filled.execute("SELECT name FROM booze")
    assert filled.rowcount in (-1, 6)
    filled.execute("UPDATE booze SET name = 'x' WHERE id < 3")
    assert filled.rowcount == 2
    filled.execute("DELETE FROM booze WHERE id = 900")
    assert filled.rowcount == 0
    filled.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    assert filled.rowcount == -1


def test_fetchone(connection: dbapi.Connection, filled: dbapi.Cursor) -> None:
    fresh = connection.cursor()
    with pytest.raises(dbapi.Error):
        fresh.fetchone()
    with pytest.raises(dbapi.Error):
        filled.fetchone()  # after an INSERT
    filled.execute("SELECT name FROM booze WHERE id < 0")
    assert filled.fetchone() is None
    filled.execute("SELECT name FROM booze ORDER BY name LIMIT 1")
    assert filled.fetchone() == ("Boags",)
    assert filled.fetchone() is None


def test_fetchmany(connection: dbapi.Connection, filled: dbapi.Cursor) -> None:
    with pytest.raises(dbapi.Error):
        connection.cursor().fetchmany(4)
    filled.execute("SELECT name FROM booze ORDER BY name")
    assert len(filled.fetchmany()) == 1
    assert [len(filled.fetchmany(size)) for size in (3, 4, 4)] == [3, 2, 0]
    filled.arraysize = 4
    filled.execute("SELECT name FROM booze ORDER BY name")
    assert [len(filled.fetchmany()) for _ in range(3)] == [4, 2, 0]


def test_fetchall_and_iteration(connection: dbapi.Connection, filled: dbapi.Cursor) -> None:
    with pytest.raises(dbapi.Error):
        connection.cursor().fetchall()
    filled.execute("SELECT name FROM booze ORDER BY name")
    assert filled.fetchone() == (NAMES[0],)
    assert [row[0] for row in filled.fetchall()] == NAMES[1:]
    assert filled.fetchall() == []
    assert [row[0] for row in filled.execute("SELECT name FROM booze ORDER BY name")] == NAMES


def test_none_comes_back(filled: dbapi.Cursor) -> None:
    filled.execute("INSERT INTO booze (name) VALUES (?)", (None,))
    assert filled.execute("SELECT name FROM booze WHERE name IS NULL").fetchall() == [(None,)]


def test_sizes_are_taken(filled: dbapi.Cursor) -> None:
    filled.setinputsizes((25,))
    filled.setoutputsize(1000)
    filled.setoutputsize(2000, 0)


def test_commit_and_rollback(path: Path, connection: dbapi.Connection, filled: dbapi.Cursor) -> None:
    connection.commit()
    connection.commit()  # nothing to do
    connection.rollback()
    other = dbapi.connect(path)
    filled.execute("DELETE FROM booze")
    assert connection.in_transaction
    assert other.execute("SELECT count(*) FROM booze").fetchall() == [(6,)]
    connection.rollback()
    assert filled.execute("SELECT count(*) FROM booze").fetchall() == [(6,)]
    filled.execute("DELETE FROM booze WHERE id = 1")
    connection.commit()
    assert other.execute("SELECT count(*) FROM booze").fetchall() == [(5,)]
    other.close()


def test_closing_undoes_what_was_not_committed(path: Path) -> None:
    first = dbapi.connect(path)
    first.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    first.commit()
    first.execute("INSERT INTO t (id) VALUES (1)")
    cursor = first.cursor()
    first.close()
    first.close()
    for call in (first.commit, first.rollback, first.cursor, lambda: cursor.execute("SELECT 1")):
        with pytest.raises(dbapi.ProgrammingError, match="closed"):
            call()
    second = dbapi.connect(path)
    assert second.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
    second.close()


def test_a_closed_cursor(filled: dbapi.Cursor) -> None:
    filled.close()
    filled.close()
    for call in (filled.fetchall, lambda: filled.execute("SELECT 1")):
        with pytest.raises(dbapi.ProgrammingError, match="closed"):
            call()


def test_with_commits_or_rolls_back(connection: dbapi.Connection, filled: dbapi.Cursor) -> None:
    with connection:
        filled.execute("DELETE FROM booze WHERE id = 1")
    assert not connection.in_transaction
    with pytest.raises(ZeroDivisionError), connection:
        filled.execute("DELETE FROM booze")
        raise ZeroDivisionError
    assert filled.execute("SELECT count(*) FROM booze").fetchall() == [(5,)]


def test_autocommit(path: Path) -> None:
    first, second = dbapi.connect(path, autocommit=True), dbapi.connect(path)
    first.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    first.execute("INSERT INTO t (id) VALUES (1)")
    assert second.execute("SELECT * FROM t").fetchall() == [(1,)]
    first.close()
    second.close()


def test_executemany_is_one_batch(connection: dbapi.Connection) -> None:
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v VECTOR(3))")
    connection.commit()
    before = connection.database.version
    rows = [(number, np.ones(3) * (number + 1)) for number in range(500)]
    assert connection.executemany("INSERT INTO t (id, v) VALUES (?, ?)", rows).rowcount == 500
    connection.commit()
    assert connection.database.version == before + 1


def test_errors_have_their_names(connection: dbapi.Connection, filled: dbapi.Cursor) -> None:
    for sql, kind in (
        ("SELEKT 1", dbapi.ProgrammingError),
        ("SELECT 1 FROM nope", dbapi.ProgrammingError),
        ("INSERT INTO booze (id) VALUES (1)", dbapi.IntegrityError),
        ("UPDATE booze SET name = 5", dbapi.DataError),
    ):
        with pytest.raises(kind):
            connection.execute(sql)


def test_a_connection_stays_in_its_thread(connection: dbapi.Connection) -> None:
    raised: list[Exception] = []

    def use() -> None:
        try:
            connection.cursor()
        except dbapi.ProgrammingError as error:
            raised.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "thread" in str(raised[0])


def test_pandas_reads(filled: dbapi.Cursor) -> None:
    with pytest.warns(UserWarning, match="SQLAlchemy"):
        frame = pandas.read_sql("SELECT id, name FROM booze WHERE id > ? ORDER BY name", filled.connection, params=(1,))
    assert frame["name"].tolist() == NAMES[1:]
