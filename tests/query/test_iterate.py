"""search_iter: nearest first without end. scan: filters, order, limit. Writes by filter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import distances, nearest

ROWS, DIM = 5000, 16


@pytest.fixture
def vectors(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(ROWS, DIM)).astype(np.float32)


@pytest.fixture
def table(db: vecdb.Database, vectors: np.ndarray) -> vecdb.Table:
    table = db.create_table("t", dim=DIM, metric="l2", fields={"n": int, "name": str}, indexes=["n"])
    table.insert(range(ROWS), vectors, {"n": np.arange(ROWS) % 10, "name": [f"row {i % 7}" for i in range(ROWS)]})
    return table


@pytest.mark.parametrize(("where", "matching"), [(None, range(ROWS)), ("n = 3", range(3, ROWS, 10)), ("n > 20", [])])
def test_every_row_that_matches_comes_once(
    table: vecdb.Table, vectors: np.ndarray, where: str | None, matching: Any
) -> None:
    hits = list(table.search_iter(vectors[7], where=where, fields=False))
    assert sorted(hit.id for hit in hits) == list(matching)
    rows = np.array([hit.id for hit in hits], np.intp)
    found = np.array([hit.distance for hit in hits])
    np.testing.assert_allclose(found, distances(vectors[rows], vectors[7], "l2"), atol=1e-6)


def test_the_nearest_come_first(table: vecdb.Table, vectors: np.ndarray) -> None:
    for query in vectors[:10]:
        hits = list(islice(table.search_iter(query, where="n <> 5"), 200))
        rows = np.flatnonzero(np.arange(ROWS) % 10 != 5)
        assert [hit.id for hit in hits[:50]] == rows[nearest(vectors[rows], query, "l2", 50)].tolist()
        assert hits[0].fields["name"] == f"row {hits[0].id % 7}"


def test_exact_ones_ascend_to_the_end(table: vecdb.Table, vectors: np.ndarray) -> None:
    found = [hit.distance for hit in table.search_iter(vectors[3], exact=True, fields=False)]
    assert len(found) == ROWS
    assert found == sorted(found)


def test_radius_ends_it(table: vecdb.Table, vectors: np.ndarray) -> None:
    reach = np.sort(distances(vectors, vectors[0], "l2"))
    for count in (1, 5, 40, 300):
        limit = float(reach[count - 1]) + 1e-9
        assert len(list(table.search_iter(vectors[0], radius=limit, fields=False))) == count


def test_it_stays_in_its_version_and_can_rest(db: vecdb.Database, table: vecdb.Table, vectors: np.ndarray) -> None:
    hits = table.search_iter(vectors[0], fields=["n"])
    first = [next(hits).id for _ in range(3)]
    table.delete(where="n >= 0")
    rest = [hit.id for hit in hits]
    assert sorted(first + rest) == list(range(ROWS))
    assert list(table.search_iter(vectors[0])) == []


def test_in_a_transaction_it_sees_its_rows(db: vecdb.Database, table: vecdb.Table, vectors: np.ndarray) -> None:
    with db.transaction():
        table.insert("new", vectors[0])
        assert {hit.id for hit in islice(table.search_iter(vectors[0]), 2)} == {0, "new"}


def test_closing_ends_it(db: vecdb.Database, table: vecdb.Table, vectors: np.ndarray) -> None:
    hits = table.search_iter(vectors[0])
    next(hits)
    db.close()
    with pytest.raises(vecdb.Error):
        list(hits)


# scan


def ids(rows: Iterator[vecdb.Row]) -> list[Any]:
    return [row.id for row in rows]


def test_a_scan_filters_in_the_order_of_insertion(table: vecdb.Table) -> None:
    assert ids(table.scan(where="n = 4")) == list(range(4, ROWS, 10))
    assert ids(table.scan(where="n = ? AND name = ?", params=(4, "row 4"))) == [
        i for i in range(4, ROWS, 10) if i % 7 == 4
    ]
    assert ids(table.scan(where="n = 4", limit=2, offset=1)) == [14, 24]
    assert ids(table.scan(limit=0)) == []
    assert ids(table.scan(offset=ROWS - 2)) == [ROWS - 2, ROWS - 1]
    assert ids(table.scan(offset=ROWS + 2)) == []


def test_a_scan_orders_as_it_is_told(table: vecdb.Table) -> None:
    rows = list(range(ROWS))
    assert ids(table.scan(order="n")) == sorted(rows, key=lambda i: i % 10)
    assert ids(table.scan(order="-n")) == sorted(rows, key=lambda i: -(i % 10))
    assert ids(table.scan(order="n DESC")) == ids(table.scan(order="-n"))
    assert ids(table.scan(order=["name", "n desc"], limit=20)) == sorted(rows, key=lambda i: (i % 7, -(i % 10)))[:20]


def test_an_order_puts_nulls_first_and_kinds_apart(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=2, fields={"n": float})
    given = [3.0, None, float("nan"), -1.0, None, float("inf")]
    table.insert(range(6), None, [{"n": value, "any": other} for value, other in zip(given, "ab1cde", strict=True)])
    assert ids(table.scan(order="n")) == [1, 2, 4, 3, 0, 5]
    assert ids(table.scan(order="n DESC")) == [5, 0, 3, 1, 2, 4]
    table.update([0, 1, 2], fields=[{"any": 5}, {"any": {"deep": 2}}, {"any": True}])
    assert ids(table.scan(order="any")) == [2, 0, 3, 4, 5, 1]
    assert ids(table.scan(order=["any.deep DESC"], limit=1)) == [1]


@pytest.mark.parametrize(
    "wrong", [{"order": 5}, {"order": ["n", 3]}, {"order": ""}, {"limit": -1}, {"limit": "2"}, {"offset": True}]
)
def test_nonsense_is_refused_at_once(table: vecdb.Table, wrong: Any) -> None:
    with pytest.raises((vecdb.ProgrammingError, vecdb.FieldError)):
        table.scan(**wrong)


# Writes by filter


def test_rows_are_updated_and_deleted_by_filter(table: vecdb.Table, vectors: np.ndarray) -> None:
    assert table.update(where="n = 3", fields={"n": 33, "late": "x"}) == ROWS // 10
    assert (table.count("n = 3"), table.count("n = 33 AND late = 'x'")) == (0, ROWS // 10)
    assert table.delete(where="n = ?", params=(33,)) == ROWS // 10
    assert table.delete(where="n = 33") == 0
    assert len(table) == ROWS - ROWS // 10
    assert table.search(vectors[3], 1).ids != [3]
    assert table.delete(where={}) == ROWS - ROWS // 10
    assert len(table) == 0


def test_writes_by_filter_roll_back(db: vecdb.Database, table: vecdb.Table) -> None:
    with pytest.raises(KeyError), db.transaction():
        table.delete(where="n < 5")
        table.update(where="n > 7", fields={"n": None})
        assert table.count("n IS NULL") == ROWS // 5
        raise KeyError
    assert len(table) == ROWS
    assert table.count("n IS NULL") == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda table: table.delete(1, where="n = 1"),
        lambda table: table.update(1, where="n = 1", fields={"n": 1}),
        lambda table: table.update(where="n = 1"),
        lambda table: table.update(where="n = 1", fields={"n": 1}, vectors=np.ones(DIM)),
    ],
)
def test_ids_and_filters_exclude_each_other(table: vecdb.Table, call: Any) -> None:
    with pytest.raises(vecdb.ProgrammingError):
        call(table)
    assert len(table) == ROWS
