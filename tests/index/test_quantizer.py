"""Codes: how well they round, and when the quantizer is trained anew."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import nearest, recall
from vecdb.index.quantizer import Quantizer
from vecdb.mirror.column import ColumnVersion
from vecdb.options import Metric


def column(db: vecdb.Database, name: str = "t") -> ColumnVersion:
    with db._view() as view:
        table = view.find_table(name)
        return view.column(table, table.schema.columns[0])


def check_recall(table: vecdb.Table, vectors: np.ndarray, queries: np.ndarray, metric: Metric) -> None:
    found = table.search_batch(queries, k=10, ef=64)
    right = [nearest(vectors, query, metric, 10) for query in queries]
    assert recall(found.ids.tolist(), right) >= 0.95


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
def test_codes_order_rows_as_their_vectors_do(rng: np.random.Generator, metric: Metric) -> None:
    vectors = (rng.normal(size=(500, 48)) + rng.normal(size=48) * 3).astype(np.float32)
    directions = vectors / np.linalg.norm(vectors, axis=1)[:, None] if metric == "cosine" else vectors
    quantizer = Quantizer.train(vectors, metric)
    codes, weights = np.empty((500, 64), np.uint8), np.empty(500, np.float32)
    assert not quantizer.encode(vectors, metric, codes, weights).any()
    steps = codes[:, :48].astype(np.float64) - 128
    rounded = steps * quantizer.step + quantizer.mean
    assert np.quantile(np.abs(rounded - directions), 0.999) <= 0.51 * quantizer.step
    # What a walk computes of a pair of rows is, from either side, the distance of the rounded ones, in step².
    walked = weights[:, None] + weights[None] - 2 * steps @ steps.T
    products = rounded @ rounded.T / quantizer.step**2
    lengths = np.diag(products)
    expected = lengths[:, None] + lengths[None] - 2 * products
    if metric == "ip":
        expected = -2 * products + 2 * (quantizer.mean.astype(np.float64) ** 2).sum() / quantizer.step**2
    np.testing.assert_allclose(walked, expected, atol=1e-4 * np.abs(products).max())


@pytest.mark.parametrize("vectors", [np.zeros((5, 20), np.float32), np.full((1, 20), 7, np.float32)])
def test_vectors_without_any_spread(vectors: np.ndarray) -> None:
    codes, weights = np.empty((len(vectors), 64), np.uint8), np.empty(len(vectors), np.float32)
    quantizer = Quantizer.train(vectors, "l2")
    quantizer.encode(vectors, "l2", codes, weights)
    assert quantizer.step > 0
    assert (weights == 0).all()


def test_rows_of_another_range_train_it_anew(db: vecdb.Database, path: Path, rng: np.random.Generator) -> None:
    near = rng.normal(size=(1500, 24)).astype(np.float32)
    far = (rng.normal(size=(1500, 24)) * 300 + 1000).astype(np.float32)
    table = db.create_table("t", dim=24, metric="l2")
    table.insert(range(1500), near)
    before = column(db)
    assert before.state.trainings == 1
    with pytest.raises(ZeroDivisionError), db.transaction():
        table.insert(range(1500, 3000), far)
        assert table.search(far[7], k=1).ids == [1507]
        raise ZeroDivisionError
    assert column(db).codes is before.codes
    check_recall(table, near, near[:20] + np.float32(0.1), "l2")
    with vecdb.connect(path) as other:
        check_recall(other.table("t"), near, near[:20], "l2")
        table.insert(range(1500, 3000), far)
        assert column(db).state.trainings == 2
        both = np.concatenate([near, far])
        for database in (db, other):
            check_recall(database.table("t"), both, far[:20] + np.float32(1), "l2")
    db.close()
    with vecdb.connect(path) as again:
        loaded = column(again)
        assert loaded.codes is not None
        assert before.codes is not None
        assert loaded.codes.quantizer is not None
        check_recall(again.table("t"), both, far[:20] + np.float32(1), "l2")


def test_single_rows_of_another_range_train_it_anew(db: vecdb.Database, rng: np.random.Generator) -> None:
    table = db.create_table("t", dim=16, metric="l2")
    table.insert(range(1100), rng.normal(size=(1100, 16)))
    with db.transaction():
        for number in range(200):
            table.insert(f"far {number}", rng.normal(size=16) + 50)
    assert column(db).state.trainings == 2


def test_a_column_that_outgrew_its_training_is_looked_at_again(db: vecdb.Database, rng: np.random.Generator) -> None:
    """The first rows were of a wide range; rows that came after them all look alike to their codes."""
    table = db.create_table("t", dim=32, metric="l2")
    wide = (rng.normal(size=(1100, 32)) * 1000).astype(np.float32)
    tight = rng.normal(size=(40_000, 32)).astype(np.float32)
    table.insert(range(1100), wide)
    table.insert(range(1100, 41_100), tight)
    assert column(db).state.trainings == 2
    check_recall(table, np.concatenate([wide, tight]), tight[:20] + np.float32(0.01), "l2")


@pytest.mark.parametrize("quantization", ["u8", "none", None])
@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
def test_distances_are_exact_whatever_is_compared(
    db: vecdb.Database, rng: np.random.Generator, metric: Metric, quantization: str | None
) -> None:
    vectors = rng.normal(size=(1500, 20)).astype(np.float32)
    table = db.create_table("t", vectors={"v": vecdb.Vector(20, metric, quantization=quantization)})  # type: ignore[arg-type]
    assert table.vectors["v"].quantization == (quantization or "u8")
    table.insert(range(1500), vectors)
    codes = column(db).codes
    assert codes is not None
    assert (codes.quantizer is None) == (quantization == "none")
    for query in rng.normal(size=(10, 20)).astype(np.float32):
        hits, exact = table.search(query, ef=40), table.search(query, exact=True)
        assert hits.plan.strategy == "graph"
        found = dict(zip(hits.ids, hits.distances, strict=True))
        for hit in exact:
            if hit.id in found:
                assert found[hit.id] == pytest.approx(hit.distance, rel=1e-12)
    check_recall(table, vectors, vectors[:30] * np.float32(1.1), metric)


def test_dimensions_that_are_not_coded() -> None:
    assert vecdb.Vector(8).quantization == "none"
    assert vecdb.Vector(16).quantization == "u8"
    assert vecdb.Vector(16_385).quantization == "none"
    assert vecdb.Vector(8, quantization="u8").quantization == "u8"
    with pytest.raises(vecdb.LimitError, match=r"16385.*u8"):
        vecdb.Vector(16_385, quantization="u8")
    with pytest.raises(vecdb.VectorError, match=r"quantization must be one of u8, none, not 'pq'"):
        vecdb.Vector(8, quantization="pq")  # type: ignore[arg-type]


def test_files_hold_codes_only_where_they_are_used(tmp_path: Path, rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(2000, 384)).astype(np.float32)
    sizes = {}
    for quantization in ("u8", "none"):
        place = tmp_path / quantization
        with vecdb.connect(place) as db:
            table = db.create_table("t", vectors={"v": vecdb.Vector(384, quantization=quantization)})
            table.insert(range(2000), vectors)
        sizes[quantization] = os.path.getsize(place)
    assert 380 <= (sizes["u8"] - sizes["none"]) / 2000 <= 440


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("make", ["cubes of exponentials", "log-normal", "Student's t"])
def test_what_is_far_off_is_not_clipped_where_it_tells_rows_apart(
    db: vecdb.Database, rng: np.random.Generator, make: str, metric: Metric
) -> None:
    def draw(rows: int) -> np.ndarray:
        if make == "cubes of exponentials":
            return rng.exponential(size=(rows, 256)) ** 3
        return rng.lognormal(sigma=1.5, size=(rows, 256)) if make == "log-normal" else rng.standard_t(3, (rows, 256))

    vectors, queries = draw(4000).astype(np.float32), draw(60).astype(np.float32)
    found = {}
    for quantization in ("u8", "none"):
        table = db.create_table(quantization, dim=256, metric=metric, quantization=quantization)
        table.insert(range(4000), vectors)
        ids = table.search_batch(queries, ef=100).ids
        found[quantization] = recall(ids.tolist(), [nearest(vectors, query, metric, 10) for query in queries])
    assert found["u8"] >= found["none"] - 0.06, found
