"""Searches: right answers, their order, plans, and arguments that make no sense."""

from __future__ import annotations

import pickle
from typing import Any, cast

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import distances, nearest, recall

METRICS = ["cosine", "l2", "ip"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_a_small_table_is_scanned_exactly(db: vecdb.Database, rng: np.random.Generator, metric: str, rows: int) -> None:
    table = db.create_table("t", dim=12, metric=metric)
    vectors = rng.normal(size=(rows, 12)).astype(np.float32)
    table.insert(range(rows), vectors)
    for query in rng.normal(size=(20, 12)).astype(np.float32):
        hits = table.search(query, k=10)
        expected = nearest(vectors, query, metric, 10)
        assert hits.ids == expected
        assert hits.plan.strategy == "scan"
        assert hits.plan.compared == rows
        np.testing.assert_allclose(hits.distances, distances(vectors[expected], query, metric), atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_large_table_is_searched_by_its_graph(
    db: vecdb.Database, rng: np.random.Generator, metric: str, dtype: str
) -> None:
    table = db.create_table("t", dim=16, metric=metric, dtype=dtype)
    vectors = rng.normal(size=(4000, 16)).astype(dtype)
    table.insert(range(4000), vectors)
    queries = rng.normal(size=(100, 16)).astype(np.float32)
    found = []
    for query in queries:
        hits = table.search(query, k=10)
        assert hits.plan.strategy == "graph"
        assert hits.plan.compared < 4000
        np.testing.assert_allclose(hits.distances, distances(vectors[np.array(hits.ids)], query, metric), atol=1e-5)
        assert hits.distances.tolist() == sorted(hits.distances)
        found.append(hits.ids)
    right = [nearest(vectors, query, metric, 10) for query in queries]
    assert recall(found, right) >= 0.95
    exact = [table.search(query, k=10, exact=True) for query in queries]
    assert [hits.ids for hits in exact] == right
    assert {hits.plan.strategy for hits in exact} == {"scan"}
    assert recall([table.search(query, ef=400).ids for query in queries], right) >= 0.999


def test_graph_and_scan_give_the_same_distances(db: vecdb.Database, rng: np.random.Generator) -> None:
    table = db.create_table("t", dim=24)
    table.insert(range(2000), rng.normal(size=(2000, 24)))
    for query in rng.normal(size=(20, 24)):
        graph, scan = table.search(query, ef=500), table.search(query, exact=True)
        assert graph.ids == scan.ids
        np.testing.assert_allclose(graph.distances, scan.distances, rtol=0, atol=1e-15)


@pytest.mark.parametrize("rows", [200, 3000])
def test_ties_come_in_the_order_of_insertion(db: vecdb.Database, rng: np.random.Generator, rows: int) -> None:
    table = db.create_table("t", dim=2, metric="l2")
    ids = rng.permutation(rows).tolist()
    vectors = rng.integers(-20, 20, size=(rows, 2)).astype(np.float32)
    vectors[rows // 2 :] = vectors[: rows - rows // 2]
    table.insert(ids, vectors)
    query = vectors[3]
    hits = table.search(query, k=20, ef=rows, exact=rows > 1024)
    assert hits.ids == [ids[place] for place in nearest(vectors, query, "l2", 20)]
    graph = table.search(query, k=20, ef=300)
    keys = [(distance, ids.index(identifier)) for distance, identifier in zip(graph.distances, graph.ids, strict=True)]
    assert keys == sorted(keys)


def test_all_rows_equal(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=4)
    table.insert(range(3000), np.ones((3000, 4)))
    assert len(table.search([1, 1, 1, 1], k=50)) == 50
    assert table.search([1, 1, 1, 1], k=50, exact=True).ids == list(range(50))
    assert len(table.search([1, 1, 1, 1], k=5000)) == 3000


def test_extreme_lengths_keep_their_order(db: vecdb.Database, rng: np.random.Generator) -> None:
    directions = rng.normal(size=(2000, 8))
    scales = 10.0 ** rng.uniform(-15, 15, size=(2000, 1))
    table = db.create_table("t", dim=8)
    vectors = (directions * scales).astype(np.float32)
    table.insert(range(2000), vectors)
    query = (rng.normal(size=8) * 1e15).astype(np.float32)
    assert table.search(query, ef=1000).ids == nearest(vectors, query, "cosine", 10)
    assert table.search(query, exact=True).ids == nearest(vectors, query, "cosine", 10)


@pytest.mark.parametrize("rows", [50, 2000])
def test_k_beyond_the_table(db: vecdb.Database, rng: np.random.Generator, rows: int) -> None:
    table = db.create_table("t", dim=4)
    assert len(table.search([1, 0, 0, 0], k=3)) == 0
    table.insert(range(rows), rng.normal(size=(rows, 4)))
    assert len(table.search([1, 0, 0, 0], k=rows * 2)) == rows
    batch = table.search_batch(np.eye(4), k=rows + 5)
    assert batch.ids.shape == (4, rows + 5)
    assert batch.counts.tolist() == [rows] * 4
    assert (batch.ids[:, rows:] == -1).all()
    assert np.isinf(batch.distances[:, rows:]).all()
    table.delete(range(rows))
    assert len(table.search([1, 0, 0, 0])) == 0
    assert table.search_batch(np.eye(4)).counts.tolist() == [0] * 4


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_deleted_rows_are_never_found(db: vecdb.Database, rng: np.random.Generator, share: float) -> None:
    table = db.create_table("t", dim=8)
    vectors = rng.normal(size=(4000, 8)).astype(np.float32)
    table.insert(range(4000), vectors)
    dead = set(rng.permutation(4000)[: int(4000 * share)].tolist())
    assert table.delete(dead) == len(dead)
    alive = np.array(sorted(set(range(4000)) - dead))
    queries = vectors[list(dead)[:100]]
    found = table.search_batch(queries, k=10)
    assert (found.counts == 10).all()
    assert not dead & set(found.ids.ravel().tolist())
    right = [alive[nearest(vectors[alive], query, "cosine", 10)].tolist() for query in queries]
    assert recall(found.ids.tolist(), right) >= 0.95
    table.insert(range(5000, 5500), rng.normal(size=(500, 8)))
    assert len(table.search(queries[0], k=400)) == 400 if share < 0.9 else True


def test_a_region_of_dead_rows_does_not_cut_answers_short(db: vecdb.Database, rng: np.random.Generator) -> None:
    table = db.create_table("t", dim=6, metric="l2")
    near, far = rng.normal(size=(3000, 6)), rng.normal(size=(1500, 6)) + 50
    table.insert(range(4500), np.concatenate([near, far]))
    table.delete(range(3000))
    hits = table.search(np.zeros(6), k=10)
    assert hits.ids == table.search(np.zeros(6), k=10, exact=True).ids


def test_batch_equals_single_calls(db: vecdb.Database, rng: np.random.Generator) -> None:
    table = db.create_table("t", dim=8, metric="l2")
    table.insert([f"row {number}" for number in range(3000)], rng.normal(size=(3000, 8)))
    queries = rng.normal(size=(200, 8)).astype(np.float32)
    batches = [table.search_batch(queries, k=5, threads=threads) for threads in (None, 1, 2, 5)]
    for batch in batches:
        assert batch.ids.dtype == object
        assert batch.distances.dtype == np.float32
        assert batch.ids.tolist() == batches[0].ids.tolist()
    for number in range(0, 200, 17):
        hits = table.search(queries[number], k=5)
        assert hits.ids == batches[0].ids[number].tolist()
    assert len(batches[0]) == 200
    assert table.search_batch(np.zeros((0, 8)), k=3).ids.shape == (0, 3)
    ints = db.create_table("ints", dim=8)
    ints.insert(range(10), rng.normal(size=(10, 8)))
    assert ints.search_batch(queries, k=3).ids.dtype == np.int64


def test_a_small_batch_needs_no_other_threads(db: vecdb.Database, rng: np.random.Generator) -> None:
    table = db.create_table("t", dim=8)
    table.insert(range(2000), rng.normal(size=(2000, 8)))
    queries = rng.normal(size=(500, 8))
    few = table.search_batch(queries[:4])
    assert db._executors == {}
    for threads in (1, 2, 3, 60):
        many = table.search_batch(queries, threads=threads)
        assert many.ids[:4].tolist() == few.ids.tolist()
        assert [table.search(query, fields=False).ids for query in queries[::50]] == many.ids[::50].tolist()
    assert set(db._executors) == {1, 2, 59}  # the caller's thread works too


def test_what_hits_hold(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=2, metric="l2", fields={"a": int})
    table.insert(["x", "y"], [[0, 0], [3, 4]], [{"a": 1, "b": 2}, {}])
    hits = table.search([0, 0], vectors=True)
    assert len(hits) == 2
    assert hits[1].distance == 5.0
    assert hits[0].fields == {"a": 1, "b": 2}
    assert hits[1].vector is not None
    assert hits[1].vector.tolist() == [3, 4]
    assert [hit.id for hit in hits] == hits.ids == ["x", "y"]
    assert table.search([0, 0], fields=["b"])[0].fields == {"b": 2}
    assert table.search([0, 0], fields=False)[0].fields == {}
    assert table.search([0, 0], radius=4.9).ids == ["x"]
    assert table.search([0, 0], radius=5).ids == ["x", "y"]
    assert "exact scan" in str(hits.plan)
    assert "'x'" in repr(hits)
    with pytest.raises(vecdb.VectorError, match="without vectors"):
        _ = table.search([0, 0])[0].vector


def test_hits_are_values(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=2, metric="l2", fields={"a": int})
    table.insert(["x", "y"], [[0, 0], [3, 4]], [{"a": 1}, {}])
    hits = table.search([0, 0])
    assert hits[1] == vecdb.Hit("y", {"a": None}, distance=5.0)
    assert hits[1] != vecdb.Hit("y", {"a": None}, distance=4.0)
    assert repr(hits[1]) == "Hit(id='y', fields={'a': None}, vectors=None, distance=5.0)"
    assert repr(table.get("x")) == "Row(id='x', fields={'a': 1}, vectors=None)"
    assert table.get("x") == vecdb.Row("x", {"a": 1})
    again = pickle.loads(pickle.dumps(hits))
    assert list(again) == list(hits) == hits[:]
    assert again.plan == hits.plan
    assert pickle.loads(pickle.dumps(table.get("x"))) == vecdb.Row("x", {"a": 1})
    hits.ids.clear()
    hits.distances[0] = 7
    assert (hits.ids, hits.distances.tolist(), len(hits)) == (["x", "y"], [0, 5], 2)


def test_queries_of_every_layout(db: vecdb.Database, rng: np.random.Generator) -> None:
    table = db.create_table("t", dim=8)
    table.insert(range(1500), rng.normal(size=(1500, 8)))
    query = rng.normal(size=8).astype(np.float32)
    right = table.search(query.tolist(), fields=False).ids
    frozen = query.copy()
    frozen.flags.writeable = False
    for given in (query, frozen, query.astype(">f4"), np.repeat(query, 2)[::2], query.astype(np.float64)):
        assert table.search(given).ids == right
        assert table.search_batch(given[None]).ids.tolist() == [right]
        matrix = np.stack([given, -given, given])
        for layout in (matrix, np.asfortranarray(matrix), np.repeat(matrix, 2, axis=1)[:, ::2]):
            assert table.search_batch(layout).ids[[0, 2]].tolist() == [right, right]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"k": 0}, vecdb.ProgrammingError),
        ({"k": -1}, vecdb.ProgrammingError),
        ({"k": 1.5}, vecdb.ProgrammingError),
        ({"k": True}, vecdb.ProgrammingError),
        ({"k": None}, vecdb.ProgrammingError),
        ({"ef": 0}, vecdb.ProgrammingError),
        ({"ef": "9"}, vecdb.ProgrammingError),
        ({"ef": 10**9}, vecdb.LimitError),
        ({"radius": "near"}, vecdb.ProgrammingError),
        ({"radius": float("nan")}, vecdb.ProgrammingError),
        ({"fields": "lang"}, vecdb.FieldError),
        ({"fields": [1]}, vecdb.FieldError),
        ({"column": "nope"}, vecdb.VectorError),
    ],
)
def test_bad_arguments(db: vecdb.Database, arguments: dict[str, Any], error: type[Exception]) -> None:
    table = db.create_table("t", dim=2)
    table.insert(1, [1, 0])
    with pytest.raises(error):
        table.search([1, 0], **arguments)
    batch = {name: value for name, value in arguments.items() if name not in ("radius", "fields")}
    if batch:
        with pytest.raises(error):
            table.search_batch([[1, 0]], **batch)
    with pytest.raises(vecdb.ProgrammingError):
        table.search_batch([[1, 0]], threads=0)
    with pytest.raises(vecdb.VectorError):
        table.search(None)
    assert table.search([1, 0], k=cast(int, np.int64(1)), ef=cast(int, np.int64(5))).ids == [1]


def test_a_graph_does_not_depend_on_threads(
    db: vecdb.Database, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = rng.normal(size=(4000, 24)).astype(np.float32)
    versions = []
    for threads in (1, 2, 5):
        monkeypatch.setattr("vecdb.mirror.column.usable_cores", lambda threads=threads: threads)
        table = db.create_table(f"threads {threads}", dim=24)
        for start, stop in [(0, 1500), (1500, 1501), (1501, 1510), (1510, 4000)]:
            table.insert(range(start, stop), vectors[start:stop])
        with db._view() as view:
            found = view.find_table(table.name)
            versions.append(view.column(found, found.schema.columns[0]))
    for version in versions[1:]:
        assert version.state == versions[0].state
        np.testing.assert_array_equal(version.links.gather(), versions[0].links.gather())
        np.testing.assert_array_equal(version.upper.gather(), versions[0].upper.gather())


@pytest.mark.parametrize("metric", METRICS)
def test_equal_rows_have_equal_distances_wherever_they_lie(
    db: vecdb.Database, rng: np.random.Generator, metric: str
) -> None:
    table = db.create_table("t", dim=100, metric=metric)
    table.insert(range(7), np.tile(rng.normal(size=100), (7, 1)))
    for query in rng.normal(size=(20, 100)):
        assert table.search(query, exact=True).ids == list(range(7))


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_tiny_numbers_keep_their_order(db: vecdb.Database, rng: np.random.Generator, metric: str) -> None:
    table = db.create_table("t", dim=4, metric=metric)
    vectors = (rng.normal(size=(300, 4)) * 1e-22).astype(np.float32)
    table.insert(range(300), vectors)
    for query in (rng.normal(size=(20, 4)) * 1e-22).astype(np.float32):
        assert table.search(query, k=5, exact=True).ids == nearest(vectors, query, metric, 5)


def test_a_giant_k_costs_nothing(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=2)
    table.insert(range(3), np.ones((3, 2)))
    assert table.search([1, 1], k=2**70).ids == [0, 1, 2]
    with pytest.raises(vecdb.LimitError, match="hits"):
        table.search_batch([[1, 1]], k=10**12)
