"""Distances in SQL: against brute force, and the same plan and rows as the calls of Python."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import vecdb

DIM, ROWS = 8, 2000
METRICS = {"<->": "l2", "<=>": "cosine", "<#>": "ip"}


def brute_force(op: str, vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    wide, point = vectors.astype(np.float64), query.astype(np.float64)
    if op == "<->":
        return np.sqrt(((wide - point) ** 2).sum(axis=1))
    dots = wide @ point
    return -dots if op == "<#>" else 1 - dots / np.sqrt((wide**2).sum(axis=1) * (point @ point))


class Filled:
    """A table with one row in ten without a vector, and what is in it."""

    def __init__(self, db: vecdb.Database) -> None:
        rng = np.random.default_rng(5)
        self.db = db
        self.vectors = rng.standard_normal((ROWS, DIM)).astype(np.float32)
        self.years = rng.integers(1990, 2025, ROWS)
        self.langs = rng.choice(["en", "de", "fr"], ROWS)
        self.has = np.arange(ROWS) % 10 != 0
        self.table = db.create_table(
            "notes", dim=DIM, metric="l2", fields={"year": int, "lang": str, "score": float}, indexes=["lang"]
        )
        fields = {
            "year": self.years.tolist(),
            "lang": self.langs.tolist(),
            "score": [None if n % 7 == 0 else n / 4 for n in range(ROWS)],
            "title": [f"t{n % 50}" for n in range(ROWS)],
        }
        given = [vector if there else None for vector, there in zip(self.vectors, self.has, strict=True)]
        self.table.insert(list(range(ROWS)), given, fields)

    def query(self, rng: random.Random) -> np.ndarray:
        return np.array([rng.gauss(0, 1) for _ in range(DIM)], np.float32)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with vecdb.connect(tmp_path_factory.mktemp("sql") / "vectors.vecdb") as db:
        yield Filled(db)


@pytest.fixture
def exact(filled: Filled) -> Iterator[Filled]:
    """With a beam as wide as the table, a search is exact."""
    filled.db.execute(f"SET ef_search = {ROWS}")
    yield filled
    filled.db.execute("RESET ef_search")


@pytest.mark.parametrize("op", METRICS)
def test_nearest_rows_by_every_operator(exact: Filled, op: str) -> None:
    """The column's metric is searched; others are computed of each matching row."""
    filled = exact
    rng = random.Random(op)
    for _ in range(40):
        query, k, offset, year = filled.query(rng), rng.randint(1, 20), rng.choice([0, 0, 3]), rng.randint(1995, 2024)
        matching = np.flatnonzero(filled.has & (filled.years >= year))
        distances = brute_force(op, filled.vectors[matching], query)
        order = np.argsort(distances, kind="stable")[offset : offset + k]
        where = "year >= ? AND vector IS NOT NULL"
        sql = f"SELECT id, vector {op} ? AS d FROM notes WHERE {where} ORDER BY d LIMIT ? OFFSET ?"
        found = filled.db.execute(sql, (query, year, k, offset)).fetchall()
        np.testing.assert_allclose([row[1] for row in found], distances[order], atol=1e-5)
        assert [row[0] for row in found] == matching[order].tolist()


def test_distances_in_conditions_and_expressions(exact: Filled) -> None:
    filled = exact
    rng = random.Random(3)
    for _ in range(20):
        query, other, most = filled.query(rng), filled.query(rng), rng.uniform(1.5, 3)
        near = brute_force("<->", filled.vectors, query)
        within = np.flatnonzero(filled.has & (near < most))
        sql = "SELECT id FROM notes WHERE vector <-> ? < ? ORDER BY vector <-> ?"
        found = [row[0] for row in filled.db.execute(sql, (query, most, query)).fetchall()]
        assert found == within[np.argsort(near[within], kind="stable")].tolist()
        assert filled.db.execute(sql + " LIMIT 3", (query, most, query)).fetchall() == [(n,) for n in found[:3]]
        # The end is of another query than the order: it ends nothing, and holds nevertheless.
        apart = brute_force("<->", filled.vectors, other)
        both = filled.db.execute(sql + " LIMIT 5", (other, 3, query)).fetchall()
        rows = np.flatnonzero(filled.has & (apart < 3))
        assert [row[0] for row in both] == rows[np.argsort(near[rows], kind="stable")][:5].tolist()
        counted = filled.db.execute("SELECT count(*) FROM notes WHERE vector <-> ? <= ?", (query, most)).fetchall()
        assert counted == [(len(within),)]
        total = filled.db.execute("SELECT sum(1 - (vector <=> ?)) FROM notes WHERE lang = 'en'", (query,)).fetchall()
        english = filled.has & (filled.langs == "en")
        assert total[0][0] == pytest.approx((1 - brute_force("<=>", filled.vectors[english], query)).sum(), rel=1e-6)


def test_every_way_to_write_a_vector(filled: Filled) -> None:
    query = filled.vectors[11]
    text = "[" + ", ".join(str(float(item)) for item in query) + "]"
    sql = "SELECT id FROM notes ORDER BY vector <-> ? LIMIT 3"
    for given in (query, query.astype(np.float64), query.tolist(), tuple(query.tolist()), text):
        assert filled.db.execute(sql, (given,)).fetchall()[0] == (11,)
    assert filled.db.execute(f"SELECT id FROM notes ORDER BY vector <-> '{text}' LIMIT 1").fetchall() == [(11,)]
    assert filled.db.execute("SELECT id FROM notes ORDER BY :q <-> vector LIMIT 1", {"q": text}).fetchall() == [(11,)]
    for bad in ("1,2", "[1,x]", "[]", [1, 2], 5, None, [float("nan")] * DIM, {"a": 1}):
        with pytest.raises(vecdb.VectorError):
            filled.db.execute(sql, (bad,))


def test_rest_conditions_lose_no_row(exact: Filled) -> None:
    """What filters can't do is looked at row by row, as far as the limit needs."""
    filled = exact
    query = filled.query(random.Random(1))
    near = brute_force("<->", filled.vectors, query)
    rows = np.flatnonzero(filled.has & (filled.years % 2 == 1) & (np.arange(ROWS) != 7))
    expected = rows[np.argsort(near[rows], kind="stable")]
    sql = "SELECT id FROM notes WHERE year % 2 = 1 AND id != 7 ORDER BY vector <-> ?"
    assert [row[0] for row in filled.db.execute(sql + " LIMIT 30", (query,)).fetchall()] == expected[:30].tolist()
    assert [row[0] for row in filled.db.execute(sql, (query,)).fetchall()] == expected.tolist()


def test_vector_functions(filled: Filled) -> None:
    one, other = filled.vectors[1], filled.vectors[2]
    row = filled.db.execute(
        "SELECT l2_distance(vector, ?), cosine_distance(vector, ?), inner_product(vector, ?), vector_dims(vector), "
        "vector_norm(vector), vector <-> ? * 2 FROM notes WHERE id = 1",
        [other] * 4,
    ).fetchall()[0]
    expected = [float(brute_force(op, one[None], other)[0]) for op in ("<->", "<=>", "<#>")]
    expected[2] *= -1
    assert row == pytest.approx((*expected, DIM, float(np.linalg.norm(one)), expected[0] * 2), rel=1e-6)


CONDITIONS: tuple[tuple[str, Callable[[random.Random], Any]], ...] = (
    ("lang = ?", lambda rng: rng.choice(["en", "de", "fr", "xx"])),
    ("year >= ?", lambda rng: rng.randint(1985, 2026)),
    ("year BETWEEN 2000 AND ?", lambda rng: rng.randint(1999, 2026)),
    ("lang IN ('en', ?)", lambda rng: rng.choice(["de", "fr"])),
    ("NOT (score > ? OR lang = 'fr')", lambda rng: rng.uniform(0, 500)),
    ("title LIKE ?", lambda rng: rng.choice(["t1%", "%7", "t_"])),
    ("(score IS NULL OR year = ?)", lambda rng: rng.randint(1990, 2024)),
)


def condition(rng: random.Random) -> tuple[str, list[Any]]:
    """A condition that filters have too, and its parameters."""
    chosen = rng.sample(CONDITIONS, rng.randint(1, 3))
    return rng.choice([" AND ", " OR "]).join(text for text, _ in chosen), [make(rng) for _, make in chosen]


def _without_time(plan: str) -> str:
    return re.sub(r", in [\d.]+ ms$", "", plan.strip())


def test_the_same_plan_and_rows_as_search(filled: Filled) -> None:
    rng, table = random.Random(11), filled.table
    strategies = set()
    for _ in range(300):
        text, params = condition(rng)
        query, k, ef = filled.query(rng), rng.randint(1, 30), rng.choice([None, 10, 400])
        filled.db.execute(f"SET ef_search = {ef or 'DEFAULT'}")
        hits = table.search(query, k, where=text, params=params, fields=["year", "title"], ef=ef)
        sql = f"SELECT id, vector <-> ? AS d, year, title FROM notes WHERE {text} ORDER BY vector <-> ? LIMIT {k}"
        rows = filled.db.execute(sql, (query, *params, query)).fetchall()
        assert rows == [(hit.id, hit.distance, hit.fields["year"], hit.fields["title"]) for hit in hits]
        plan = filled.db.execute(f"EXPLAIN ANALYZE {sql}", (query, *params, query)).fetchall()
        assert _without_time(plan[1][0]) == _without_time(str(hits.plan))
        explained = filled.db.execute(f"EXPLAIN {sql}", (query, *params, query)).fetchall()
        assert _without_time(explained[1][0]) == _without_time(str(table.explain(k, where=text, params=params, ef=ef)))
        strategies.add(hits.plan.strategy)
    filled.db.execute("RESET ef_search")
    assert len(strategies) > 1


def test_the_same_rows_as_scan_and_count(filled: Filled) -> None:
    rng, table = random.Random(12), filled.table
    for _ in range(150):
        text, params = condition(rng)
        order = rng.choice([None, "year", "-score", "lang"])
        limit, offset = rng.randint(0, 40), rng.randint(0, 10)
        clause = "" if order is None else f" ORDER BY {order.lstrip('-')}{' DESC' if order[0] == '-' else ''}"
        sql = f"SELECT id, score FROM notes WHERE {text}{clause} LIMIT ? OFFSET ?"
        rows = filled.db.execute(sql, (*params, limit, offset)).fetchall()
        scanned = table.scan(where=text, params=params, order=order, limit=limit, offset=offset)
        assert rows == [(row.id, row.fields["score"]) for row in scanned]
        counted = filled.db.execute(f"SELECT count(*) FROM notes WHERE {text}", params).fetchall()
        assert counted == [(table.count(text, params),)]


@pytest.mark.parametrize("op", METRICS)
def test_rows_without_a_vector_are_not_near(exact: Filled, op: str) -> None:
    """Whether a search finds them or distances are computed; NULLS LAST has them after the others."""
    query = exact.query(random.Random(9))
    rows = exact.db.execute(f"SELECT id, vector {op} ? AS d FROM notes ORDER BY d", (query,)).fetchall()
    assert len(rows) == exact.has.sum()
    joined = "SELECT a.id FROM notes a JOIN notes b ON a.id = b.id ORDER BY b.vector <=> ?"
    assert len(exact.db.execute(joined, (query,)).fetchall()) == exact.has.sum()
    every = exact.db.execute(f"SELECT vector {op} ? AS d FROM notes ORDER BY d NULLS LAST", (query,)).fetchall()
    assert len(every) == ROWS
    assert every[-1] == (None,)
