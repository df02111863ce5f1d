"""Whatever the text, a result or an error of vecdb comes of it.

`VECDB_FUZZ=100000` makes it that many executions.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

import vecdb
from tests.sql.mutations import Mutations

EXECUTIONS = int(os.environ.get("VECDB_FUZZ", "1500"))


def test_mutated_statements(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counts: Counter[str] = Counter()
    mutations = Mutations(20240607)
    with vecdb.connect(path) as db:
        db.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, lang TEXT, year INTEGER, tags TEXT[], vector VECTOR(3))")
        db.execute("CREATE TABLE docs (id TEXT PRIMARY KEY, lang TEXT, year INTEGER)")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, x REAL, y REAL, s TEXT, u TEXT)")
        db.execute("CREATE TABLE o (id INTEGER PRIMARY KEY, k INTEGER, w INTEGER, name TEXT)")
        db.execute("INSERT INTO t VALUES (1, 2, 3, 0.5, 1.5, 'abc', 'b'), (2, NULL, 1, NULL, 2.0, 'x', NULL)")
        db.execute("INSERT INTO o VALUES (1, 2, 3, 'abc')")
        db.execute("INSERT INTO notes VALUES ('a', 'en', 2020, ?, '[1,2,3]')", (["x"],))
        while sum(counts.values()) < EXECUTIONS:
            # What was done is undone, so that tables stay as they are.
            if not db._session().steering.in_transaction:
                db.execute("BEGIN")
            sql = mutations.statement()
            try:
                db.execute(sql, ("[1,2,3]",) * sql.count("?"))
            except vecdb.Error as error:
                assert "sqlglot" not in str(error)
                counts[type(error).__name__] += 1
            else:
                counts["result"] += 1
            if db._session().steering.in_transaction:
                db.execute("ROLLBACK")
    print(dict(counts))
    assert not caplog.records  # sqlglot logs what it does not know
    assert counts["result"] > EXECUTIONS / 10
    assert counts["SqlError"] > EXECUTIONS / 10
