"""BEGIN, COMMIT, ROLLBACK, SAVEPOINT: the transactions of Python under SQL's names."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import vecdb


@pytest.fixture
def counted(db: vecdb.Database) -> vecdb.Database:
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, v VECTOR(2))")
    return db


def count(db: vecdb.Database) -> int:
    found: int = db.execute("SELECT count(*) FROM t").fetchall()[0][0]
    return found


def test_commit_and_rollback(counted: vecdb.Database) -> None:
    counted.execute("BEGIN")
    counted.execute("INSERT INTO t (id, v) VALUES (1, '[1,0]'), (2, '[0,1]')")
    counted.table("t").insert(3)
    assert count(counted) == 3
    assert counted.execute("SELECT id FROM t ORDER BY v <=> '[0,1]' LIMIT 1").fetchall() == [(2,)]
    counted.execute("ROLLBACK")
    assert count(counted) == 0
    before = counted.version
    counted.execute("BEGIN TRANSACTION")
    counted.execute("INSERT INTO t (id) VALUES (1)")
    counted.execute("INSERT INTO t (id) VALUES (2)")
    counted.execute("COMMIT")
    assert (count(counted), counted.version) == (2, before + 1)


def test_savepoints(counted: vecdb.Database) -> None:
    counted.execute("BEGIN")
    counted.execute("INSERT INTO t (id) VALUES (1)")
    counted.execute("SAVEPOINT one")
    counted.execute("INSERT INTO t (id) VALUES (2)")
    counted.execute("SAVEPOINT two")
    counted.execute("INSERT INTO t (id) VALUES (3)")
    counted.execute("ROLLBACK TO one")
    assert count(counted) == 1
    counted.execute("INSERT INTO t (id) VALUES (4)")
    counted.execute("ROLLBACK TO SAVEPOINT one")  # it is still there
    counted.execute("INSERT INTO t (id) VALUES (5)")
    counted.execute("RELEASE one")
    with pytest.raises(vecdb.TransactionError, match="there is no savepoint one"):
        counted.execute("ROLLBACK TO one")
    counted.execute("END")
    assert counted.execute("SELECT id FROM t ORDER BY id").fetchall() == [(1,), (5,)]


def test_words_out_of_order(counted: vecdb.Database) -> None:
    for sql in ("COMMIT", "ROLLBACK", "SAVEPOINT s"):
        with pytest.raises(vecdb.TransactionError, match="without BEGIN"):
            counted.execute(sql)
    counted.execute("BEGIN")
    with pytest.raises(vecdb.TransactionError, match="already"):
        counted.execute("BEGIN")
    counted.execute("COMMIT")
    with counted.transaction(), pytest.raises(vecdb.TransactionError, match="already"):
        counted.execute("BEGIN")


def test_a_failed_statement_leaves_the_transaction_open(counted: vecdb.Database) -> None:
    counted.execute("BEGIN")
    counted.execute("INSERT INTO t (id) VALUES (1)")
    with pytest.raises(vecdb.DuplicateIdError):
        counted.execute("INSERT INTO t (id) VALUES (2), (1)")
    counted.execute("COMMIT")
    assert count(counted) == 1


def test_each_thread_has_its_own(counted: vecdb.Database) -> None:
    counted.execute("BEGIN")
    counted.execute("INSERT INTO t (id) VALUES (1)")
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.append(count(counted)))
    reader.start()
    reader.join()
    assert seen == [0]
    counted.execute("COMMIT")


def test_ef_search(counted: vecdb.Database, rng: np.random.Generator) -> None:
    table = counted.table("t")
    table.insert(range(3000), rng.standard_normal((3000, 2)))
    sql = "EXPLAIN SELECT id FROM t ORDER BY v <=> '[1,1]' LIMIT 5"
    counted.execute("SET ef_search = 77")
    assert counted.execute("SHOW ef_search").fetchall() == [(77,)]
    assert "ef = 77" in str(counted.execute(sql).fetchall())
    counted.execute("SET hnsw.ef_search TO DEFAULT")
    assert "ef = 64" in str(counted.execute(sql).fetchall())
    with pytest.raises(vecdb.LimitError):
        counted.execute("SET ef_search = 10000000")
