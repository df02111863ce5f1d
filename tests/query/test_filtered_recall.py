"""Recall of filtered searches at default settings, whatever a filter has to do with the query."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import distances, recall

ROWS, QUERIES, K = 20_000, 40, 10
FLOOR = 0.95  # or what an unfiltered search finds, where that is less ...
CHANCE = 0.02  # ... but for what so few queries tell of it


class Space:
    """Rows in clusters of so many dimensions, `apart` from each other by so many of their own deviations, and queries
    from the first quarter of the clusters."""

    def __init__(self, db: vecdb.Database, clusters: int, dim: int, apart: float, **options: Any) -> None:
        rng = np.random.default_rng(clusters * dim)
        centres = apart * rng.normal(size=(clusters, dim))
        self.part = rng.integers(clusters, size=ROWS)
        self.vectors = (centres[self.part] + rng.normal(size=(ROWS, dim))).astype(np.float32)
        near = rng.integers(max(clusters // 4, 1), size=QUERIES)
        self.queries = (centres[near] + rng.normal(size=(QUERIES, dim))).astype(np.float32)
        self.near = self.part < max(clusters // 4, 1)
        self.ahead = self.vectors @ self.queries.mean(axis=0)
        self.chance = rng.random(ROWS)
        self.far = [distances(self.vectors, query, "l2") for query in self.queries]
        self.alive = np.ones(ROWS, np.bool_)
        self.filters = {name: mask for name, mask in self._filters().items() if mask.sum() >= K}
        self.table = db.create_table("t", dim=dim, metric="l2", fields=dict.fromkeys(self.filters, bool), **options)
        self.table.insert(range(ROWS), self.vectors, self.filters)

    def _filters(self) -> dict[str, np.ndarray]:
        """Which rows match, by the filter's correlation with the queries and how many of a thousand rows pass it."""
        found = {f"none {1000 * share:.0f}": self.chance < share for share in (0.9, 0.5, 0.2, 0.05, 0.01, 0.001)}
        for share in (1, 0.5, 0.1):
            found[f"positive {1000 * share:.0f}"] = self.near & (self.chance < share)
            found[f"negative {1000 * share:.0f}"] = ~self.near & (self.chance < share)
        for share in (0.1, 0.02):
            found[f"partly {1000 * share:.0f}"] = ~self.near | (self.chance < share)
        for share in (0.7, 0.5, 0.2, 0.02):
            found[f"behind {1000 * share:.0f}"] = self.ahead < np.quantile(self.ahead, share)
            found[f"ahead {1000 * share:.0f}"] = self.ahead > np.quantile(self.ahead, 1 - share)
        return found

    def delete(self, rows: np.ndarray) -> None:
        self.table.delete(rows.tolist())
        self.alive[rows] = False
        self.filters = {name: mask for name, mask in self.filters.items() if (mask & self.alive).sum() >= K}

    def recall(self, name: str | None) -> float:
        """Under the filter of that name, or none."""
        rows = np.flatnonzero(self.alive if name is None else self.filters[name] & self.alive)
        where = None if name is None else {name: True}
        found = self.table.search_batch(self.queries, K, where=where, threads=1)
        right = [rows[np.argsort(far[rows])[:K]].tolist() for far in self.far]
        return recall([ids[:count].tolist() for ids, count in zip(found.ids, found.counts, strict=True)], right)

    def check(self) -> None:
        floor = min(FLOOR, self.recall(None) - CHANCE)
        found = {name: self.recall(name) for name in self.filters}
        assert not {name: value for name, value in found.items() if value < floor}, f"the floor is {floor:.3f}"


# Of one cluster, few, many, and more than rows in one; well apart, so that walks do not lead from one to another, and
# hardly, so that the nearest matches of a query lie all around it.
SPACES = [
    (1, 16, 0.0),
    (8, 32, 3.0),
    (8, 96, 0.3),
    (8, 96, 1.0),
    (64, 64, 0.7),
    (64, 384, 0.2),
    (500, 24, 1.5),
    (500, 128, 0.5),
]


@pytest.mark.parametrize(("clusters", "dim", "apart"), SPACES)
def test_no_filter_costs_an_answer(db: vecdb.Database, clusters: int, dim: int, apart: float) -> None:
    Space(db, clusters, dim, apart).check()


@pytest.mark.parametrize(("clusters", "dim", "apart"), [(8, 96, 1.0), (64, 64, 0.7)])
def test_nor_does_one_where_rows_were_deleted(db: vecdb.Database, clusters: int, dim: int, apart: float) -> None:
    """A third of all, and most of what is near the queries."""
    space = Space(db, clusters, dim, apart)
    space.delete(np.flatnonzero((np.random.default_rng(5).random(ROWS) < 0.33) | (space.near & (space.chance < 0.8))))
    space.check()


@pytest.mark.parametrize(("clusters", "dim", "apart"), [(8, 24, 1.5), (64, 48, 0.7)])
def test_nor_where_vectors_are_compared(db: vecdb.Database, clusters: int, dim: int, apart: float) -> None:
    Space(db, clusters, dim, apart, quantization="none").check()
