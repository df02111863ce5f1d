"""Filtered searches: right answers on every route, the route that is chosen, and what they see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import nearest, recall

ROWS, DIM = 12_000, 24
K = 10


class Filled:
    """A clustered table: `part` is the cluster's number, `share` a number from 0 to 99 that no vector knows of."""

    def __init__(self, db: vecdb.Database, rng: np.random.Generator) -> None:
        centres = 3 * rng.normal(size=(8, DIM))
        self.part = rng.integers(8, size=ROWS)
        self.share = rng.integers(100, size=ROWS)
        self.vectors = (centres[self.part] + rng.normal(size=(ROWS, DIM))).astype(np.float32)
        self.table = db.create_table(
            "t", dim=DIM, metric="l2", fields={"part": int, "share": int, "plain": int}, indexes=["part", "share"]
        )
        self.table.insert(
            range(ROWS), self.vectors, {"part": self.part, "share": self.share, "plain": self.share, "late": self.part}
        )
        self.queries = (centres[rng.integers(8, size=40)] + rng.normal(size=(40, DIM))).astype(np.float32)
        self.alive = np.ones(ROWS, np.bool_)

    def right(self, mask: np.ndarray, query: np.ndarray, k: int = K) -> list[int]:
        rows = np.flatnonzero(mask & self.alive)
        return rows[nearest(self.vectors[rows], query, "l2", k)].tolist()

    def recall(self, where: Any, mask: np.ndarray, strategy: str) -> float:
        found, right = [], []
        assert self.table.explain(K, where=where).strategy == strategy
        for query in self.queries:
            hits = self.table.search(query, K, where=where)
            # A walk gives up where nothing near the query matches.
            assert hits.plan.strategy in {strategy, "codes" if strategy == "graph" else strategy}, hits.plan
            assert hits.plan.matching == (mask & self.alive).sum()
            assert mask[np.array(hits.ids, np.intp)].all()
            assert self.alive[np.array(hits.ids, np.intp)].all()
            assert hits.distances.tolist() == sorted(hits.distances)
            found.append(hits.ids)
            right.append(self.right(mask, query))
        return recall(found, right)


@pytest.fixture
def filled(db: vecdb.Database, rng: np.random.Generator) -> Filled:
    return Filled(db, rng)


def cases(filled: Filled) -> list[tuple[str, np.ndarray, str, float]]:
    share, part = filled.share, filled.part
    return [
        ("share < 60", share < 60, "graph", 0.95),
        ("part <= 5", part <= 5, "graph", 0.95),
        ("part <= 5 AND share >= 20", (part <= 5) & (share >= 20), "graph", 0.95),
        ("plain >= 30", share >= 30, "graph", 0.95),
        ("share < 10", share < 10, "codes", 0.999),
        ("part = 3", part == 3, "codes", 0.999),
        ("share = 7", share == 7, "scan", 1.0),
        ("part = 3 AND share < 5", (part == 3) & (share < 5), "scan", 1.0),
        ("share = 7 AND part > 8", np.zeros(ROWS, np.bool_), "scan", 1.0),
    ]


def test_each_route_is_chosen_where_it_pays_and_finds_what_there_is(filled: Filled) -> None:
    for where, mask, strategy, floor in cases(filled):
        if mask.any():
            assert filled.recall(where, mask, strategy) >= floor, where
        else:
            assert filled.table.search(filled.queries[0], where=where).ids == []


def test_a_filter_that_excludes_all_that_is_near_costs_no_answer(filled: Filled) -> None:
    """Queries lie in clusters that do not match."""
    far = ~np.isin(filled.part, [0, 1])
    queries = filled.vectors[np.flatnonzero(~far)[:40]]
    hits = [filled.table.search(query, K, where="part NOT IN (0, 1)") for query in queries]
    found = [hit.ids for hit in hits]
    assert {hit.plan.strategy for hit in hits} == {"codes"}
    assert recall(found, [filled.right(far, query) for query in queries]) >= 0.95


def test_exact_compares_every_row_that_matches(filled: Filled) -> None:
    for where, mask, _, _ in cases(filled):
        for query in filled.queries[:5]:
            hits = filled.table.search(query, K, where=where, exact=True)
            assert hits.ids == filled.right(mask, query)
            assert (hits.plan.strategy, hits.plan.compared) == ("scan", mask.sum())


@pytest.mark.parametrize("k", [1, 50, 700, ROWS, 10**9, 2**70])
def test_k_rows_come_where_k_match(filled: Filled, k: int) -> None:
    for where, mask, _, _ in cases(filled):
        hits = filled.table.search(filled.queries[0], k, where=where, fields=False)
        assert len(set(hits.ids)) == len(hits.ids) == min(k, mask.sum())
        assert mask[np.array(hits.ids, np.intp)].all()


def test_where_every_match_is_to_be_measured_it_is_by_a_scan(filled: Filled) -> None:
    assert filled.table.explain(K, where="share < 10").strategy == "codes"
    assert filled.table.explain(400, where="share < 10").strategy == "scan"


def test_a_batch_finds_what_single_searches_find(filled: Filled) -> None:
    for where, _, _, _ in cases(filled):
        batch = filled.table.search_batch(filled.queries, K, where=where, threads=2)
        for query, ids, count in zip(filled.queries, batch.ids, batch.counts, strict=True):
            assert ids[:count].tolist() == filled.table.search(query, K, where=where, fields=False).ids


def test_deleted_rows_are_not_found_and_do_not_cut_off_others(filled: Filled) -> None:
    dead = np.flatnonzero((filled.share % 3 == 0) | (filled.part == 2))
    filled.table.delete(dead.tolist())
    filled.alive[dead] = False
    assert filled.recall("share < 90", filled.share < 90, "graph") >= 0.95
    assert filled.recall("part <> 3", filled.part != 3, "graph") >= 0.95
    assert filled.recall("share < 60", filled.share < 60, "codes") >= 0.999
    assert filled.table.search(filled.queries[0], where="part = 2").ids == []


def test_notations_and_parameters_mean_the_same(filled: Filled) -> None:
    query, table = filled.queries[0], filled.table
    expected = table.search(query, where="part = 3 AND share < 50").ids
    assert table.search(query, where="part = ? AND share < ?", params=(3, 50)).ids == expected
    assert table.search(query, where="part = :p AND share < :s", params={"p": 3, "s": 50}).ids == expected
    assert table.search(query, where=(vecdb.col("part") == 3) & (vecdb.col("share") < 50)).ids == expected
    assert table.search(query, where={"part": 3, "share": {"$lt": 50}}).ids == expected
    assert table.search(query, where="late = 3 AND plain < 50").ids == expected


def test_radius_and_filter_together(filled: Filled) -> None:
    query = filled.queries[0]
    near = filled.table.search(query, 100, where="part <= 5", exact=True)
    limit = float(near.distances[30])
    assert filled.table.search(query, 100, where="part <= 5", exact=True, radius=limit).ids == near.ids[:31]


def test_plans_read_well(filled: Filled) -> None:
    plan = filled.table.search(filled.queries[0], where="share = 7 AND plain < 90").plan
    assert plan.indexes == ("share",)
    assert "exact scan" in str(plan)
    assert "share = 7 AND plain < 90" in str(plan)
    assert "index share" in str(plan)
    plan = filled.table.explain(where="share < 60 AND late = 3")
    assert (plan.strategy, plan.compared) == ("codes", 0)
    assert "rows" in plan.means
    assert "to be compared" in str(plan)
    assert "graph" in str(filled.table.explain())


def test_a_filter_sees_the_latest_commit_and_ones_own_transaction(db: vecdb.Database, filled: Filled) -> None:
    table, query = filled.table, filled.vectors[0]
    first = int(table.search(query, 1, where="share < 60").ids[0])
    table.update(first, fields={"share": 99})
    assert table.search(query, 1, where="share < 60").ids[0] != first
    with pytest.raises(KeyError), db.transaction():
        table.update(first, fields={"share": 1})
        table.insert("new", query, {"share": 2})
        assert set(table.search(query, 2, where="share < 60").ids) == {first, "new"}
        assert table.count("id IS NULL AND share = 2") == (filled.share == 2).sum() - (filled.share[first] == 2) + 1
        raise KeyError
    assert not {first, "new"} & set(table.search(query, 2, where="share < 60").ids)


def test_a_filter_sees_what_another_process_committed(path: Path, filled: Filled) -> None:
    table, query = filled.table, filled.vectors[0]
    nearest_ids = table.search(query, 3, where="part IS NOT NULL").ids
    script = "import sys, vecdb; vecdb.connect(sys.argv[1]).table('t').update(int(sys.argv[2]), fields={'part': None})"
    subprocess.run([sys.executable, "-c", script, str(path), str(nearest_ids[0])], check=True)
    assert table.search(query, 2, where="part IS NOT NULL").ids == nearest_ids[1:]


@pytest.mark.parametrize("memory", [0, 2_500_000, None])
def test_answers_do_not_depend_on_what_is_in_memory(
    path: Path, db: vecdb.Database, filled: Filled, memory: int | None
) -> None:
    db.close()
    with vecdb.connect(path, memory=memory) as again:
        filled.table = again.table("t")
        for where, mask, _, floor in cases(filled)[:-1]:
            found = [filled.table.search(query, K, where=where).ids for query in filled.queries[:10]]
            assert recall(found, [filled.right(mask, query) for query in filled.queries[:10]]) >= floor - 0.02


def test_filtered_answers_before_the_kernels_are_there(path: Path, db: vecdb.Database, filled: Filled) -> None:
    np.save(path.with_suffix(".npy"), filled.queries[:1])
    script = """
import sys, numpy as np, vecdb
hits = vecdb.connect(sys.argv[1]).table("t").search(np.load(sys.argv[2])[0], where="share < 60")
assert "numba" not in sys.modules
print(hits.ids)
"""
    command = [sys.executable, "-c", script, str(path), str(path.with_suffix(".npy"))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == str(filled.right(filled.share < 60, filled.queries[0]))


def test_rows_without_a_vector_match_but_are_not_hits(db: vecdb.Database, rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(3000, DIM)).astype(np.float32)
    table = db.create_table(
        "t", vectors={"a": vecdb.Vector(DIM), "b": vecdb.Vector(DIM)}, fields={"n": int}, indexes=["n"]
    )
    given: list[Any] = [vector if number % 3 else None for number, vector in enumerate(vectors)]
    table.insert(range(3000), {"a": vectors, "b": given}, {"n": np.arange(3000) % 2})
    assert table.count("n = 1") == 1500
    hits = table.search(vectors[0], 3000, where="n = 1", column="b")
    assert sorted(hits.ids) == [number for number in range(3000) if number % 2 and number % 3]
    assert table.search(vectors[9], 1, where="n = 1", column="a").ids == [9]


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
@pytest.mark.parametrize("quantization", ["none", "u8"])
def test_every_kind_of_column_is_searched_with_filters(
    db: vecdb.Database, rng: np.random.Generator, metric: Any, quantization: Any
) -> None:
    vectors = rng.normal(size=(5000, 16)).astype(np.float32)
    table = db.create_table("t", dim=16, metric=metric, quantization=quantization, fields={"n": int}, indexes=["n"])
    numbers = rng.integers(10, size=5000)
    table.insert(range(5000), vectors, {"n": numbers})
    for where, mask in (("n < 7", numbers < 7), ("n < 3", numbers < 3), ("n = 1 OR n = 5", np.isin(numbers, [1, 5]))):
        rows = np.flatnonzero(mask)
        found, right = [], []
        for query in rng.normal(size=(30, 16)).astype(np.float32):
            found.append(table.search(query, K, where=where).ids)
            right.append(rows[nearest(vectors[rows], query, metric, K)].tolist())
        assert recall(found, right) >= 0.95


@pytest.mark.parametrize("where", ["part =", "nothing here", 5, {"part": {"$what": 1}}, "part = ?", "part = 'x'"])
def test_a_bad_filter_is_refused_by_every_call(filled: Filled, where: Any) -> None:
    table, query = filled.table, filled.queries[0]
    calls: list[Callable[[], Any]] = [
        lambda: table.search(query, where=where),
        lambda: table.search_batch(query[None], where=where),
        lambda: list(table.search_iter(query, where=where)),
        lambda: table.explain(where=where),
        lambda: table.count(where),
        lambda: list(table.scan(where=where)),
        lambda: table.delete(where=where),
        lambda: table.update(where=where, fields={"part": 1}),
    ]
    for call in calls:
        with pytest.raises(vecdb.FilterError):
            call()
    assert len(table) == ROWS


def test_params_without_a_filter_are_refused(filled: Filled) -> None:
    with pytest.raises(vecdb.FilterError):
        filled.table.count(params=(1,))


def test_what_is_kept_of_filters_is_within_the_memory(path: Path, db: vecdb.Database, filled: Filled) -> None:
    db.close()
    memory = 6_000_000
    with vecdb.connect(path, memory=memory) as again:
        table = again.table("t")
        for number in range(300):
            where = f"share <> {number % 100} AND plain <> {number // 3}"
            expected = ((filled.share != number % 100) & (filled.share != number // 3)).sum()
            assert table.search(filled.queries[0], where=where).plan.matching == expected
            assert table.count(where) == expected
            assert again._mirror.newest.kept.nbytes <= memory // 8
            assert again._mirror._nbytes() <= memory


def test_parameters_of_other_types_are_other_filters(db: vecdb.Database) -> None:
    """1 equals True and 1.0, but a filter tells them apart."""
    table = db.create_table("t", fields={"n": int})
    table.insert(range(4), None, [{"n": 1, "m": 1}, {"n": 1, "m": True}, {"n": 2, "m": 1.0}, {"n": 3}])
    for _ in range(2):
        assert table.count("m = ?", (1,)) == table.count("m = ?", (1.0,)) == 2
        assert table.count("m = ?", (True,)) == 1
        assert table.count("n = ? AND n = 1", (1,)) == 2
        assert table.count("n = ? AND n = 1", [1]) == 2
        with pytest.raises(vecdb.FilterError):
            table.count("n = ?", (True,))
        table.insert(None, None, {"n": 9})
