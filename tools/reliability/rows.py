"""The rows that `concurrency` moves about, and what must hold of them in every version.

Each of the ids 0 to ROWS - 1 is in exactly one of two tables. A row's vector follows from its id and its `stamp`; the
`amount`s of all rows sum up to the same; and each commit counts itself in one row of the table "log", so that the
version of the database is the sum of these counts.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import vecdb

TABLES: Final = ("left", "right")
ROWS: Final = 2400  # so that both tables have graphs
DIM: Final = 8
GROUPS: Final = 7
AMOUNT: Final = 100  # of each row at first
_FIELDS: Final = {"stamp": int, "amount": int, "group": int}


def vector(identifier: int, stamp: int) -> NDArray[np.float32]:
    return np.random.default_rng((identifier, stamp)).normal(size=DIM).astype(np.float32)


def create(path: str, writers: int) -> int:
    """A file with all rows; the version that it has then."""
    with vecdb.connect(path) as db, db.transaction():
        for place, name in enumerate(TABLES):
            table = db.create_table(name, dim=DIM, metric="l2", fields=_FIELDS, indexes=["group"])
            ids = range(place, ROWS, len(TABLES))
            fields = {"stamp": [0] * len(ids), "amount": [AMOUNT] * len(ids), "group": [i % GROUPS for i in ids]}
            table.insert(ids, [vector(identifier, 0) for identifier in ids], fields)
        log = db.create_table("log", fields={"count": int})
        log.insert(range(writers), None, {"count": [0] * writers})
        return db.version


def write(db: vecdb.Database, writer: int, rng: np.random.Generator) -> int:
    """One commit: rows go to the other table or get new vectors, and amounts from row to row. Returns its number among
    this writer's."""
    with db.transaction():
        chosen = rng.choice(ROWS, int(rng.integers(2, 12)), replace=False).tolist()
        taken = 0
        for number, identifier in enumerate(chosen):
            here, there = (db.table(name) for name in TABLES)
            if identifier not in here:
                here, there = there, here
            row = here.get(identifier)
            assert row is not None, f"row {identifier} is in neither table"
            stamp = row.fields["stamp"] + 1
            if number < len(chosen) - 1:
                given = int(rng.integers(0, 10))
                taken += given
                amount = row.fields["amount"] - given
            else:
                amount = row.fields["amount"] + taken
            fields = {"stamp": stamp, "amount": amount, "group": int(rng.integers(GROUPS))}
            if rng.random() < 0.5:
                here.update(identifier, fields=fields, vectors=vector(identifier, stamp))
            else:
                here.delete(identifier)
                there.insert(identifier, vector(identifier, stamp), fields)
        log = db.table("log")
        mine = log.get(writer)
        assert mine is not None
        count = int(mine.fields["count"]) + 1
        log.update(writer, fields={"count": count})
    return count


def check(snap: vecdb.Snapshot, first: int, seen: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Raise AssertionError unless everything that can be asked of a snapshot agrees. `first` is the version without any
    of the commits; `seen` are counts that writers had been told of before it was made. Returns the counts."""
    counts = np.array([row.fields["count"] for row in snap.table("log").scan()])
    assert (counts >= seen).all(), f"commits that returned are missing: {counts} after {seen}"
    assert snap.version == first + counts.sum(), f"version {snap.version} has {counts.sum()} commits after {first}"
    stored: dict[int, Any] = {}
    for name in TABLES:
        _check_table(snap.table(name), stored, rng)
    assert sorted(stored) == list(range(ROWS)), "rows are missing"
    total = sum(fields["amount"] for fields in stored.values())
    assert total == AMOUNT * ROWS, f"the amounts sum up to {total}"
    return counts


def _check_table(table: vecdb.TableView, stored: dict[int, Any], rng: np.random.Generator) -> None:
    rows = list(table.scan(vectors=True))
    assert len(rows) == len(table)
    vectors = np.empty((len(rows), DIM), np.float32)
    for place, row in enumerate(rows):
        assert isinstance(row.id, int)
        assert row.id not in stored, f"row {row.id} is in both tables"
        stored[row.id] = row.fields
        vectors[place] = vector(row.id, row.fields["stamp"])
        assert row.vector is not None
        assert row.vector.tobytes() == vectors[place].tobytes(), f"row {row.id} has the vector of another time"
    group = int(rng.integers(GROUPS))
    members = {row.id for row in rows if row.fields["group"] == group}
    assert table.count(where="group = ?", params=(group,)) == len(members)
    ids = np.array([row.id for row in rows])
    for query in rng.normal(size=(3, DIM)).astype(np.float32):
        distances = np.sqrt(((vectors.astype(np.float64) - query) ** 2).sum(axis=1))
        nearest = ids[np.argsort(distances, kind="stable")[:10]].tolist()
        assert table.search(query, exact=True, fields=False).ids == nearest
        found = table.search(query, ef=200)
        assert len(set(found.ids) & set(nearest)) >= 8, f"{found.ids} for {nearest}"
        for hit in found:
            assert stored[hit.id] == hit.fields  # type: ignore[index]
            assert abs(hit.distance - distances[np.flatnonzero(ids == hit.id)[0]]) < 1e-5
        among = table.search(query, where="group = ?", params=(group,), fields=False).ids
        assert len(among) == min(10, len(members))
        assert members.issuperset(among)
    chosen = int(rng.integers(len(rows)))
    assert table.search(vectors[chosen], k=1, fields=False).ids == [rows[chosen].id], "a row does not find itself"
