"""Signs: what they say of a row's distance, that they follow its codes, and that searches find with them what they find
without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.index.test_quantizer import column
from tests.oracles.brute_force import nearest, recall
from tests.oracles.invariants import check_database
from vecdb.index import signs
from vecdb.index.graph import fill_signs
from vecdb.index.quantizer import Quantizer
from vecdb.kernels import simd
from vecdb.options import Metric

DIM, ROWS = 384, 3000


def gaussian(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.normal(size=(rows, DIM))


def clustered(rng: np.random.Generator, rows: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(40, DIM))[rng.integers(40, size=rows)] + 0.4 * gaussian(rng, rows)


def sparse(rng: np.random.Generator, rows: int) -> np.ndarray:
    return np.where(rng.random((rows, DIM)) < 0.05, rng.random((rows, DIM)), 0)


def skewed(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.exponential(size=(rows, DIM))


def steep(rng: np.random.Generator, rows: int) -> np.ndarray:
    """A few dimensions have most of it."""
    return gaussian(rng, rows) * 0.97 ** np.arange(DIM)


def outlying(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Two dimensions have most of it, as in some models."""
    return gaussian(rng, rows) * np.where(np.arange(DIM) < 2, 30, 1)


def test_a_row_s_signs_and_numbers(rng: np.random.Generator) -> None:
    vectors = gaussian(rng, 50).astype(np.float32)
    quantizer = Quantizer.train(vectors, "l2")
    codes, weights = np.empty((50, 384), np.uint8), np.empty(50, np.float32)
    quantizer.encode(vectors, "l2", codes, weights)
    filled = np.zeros((50, 6 + signs.NUMBERS), np.int64)
    fill_signs(codes, weights, filled, 0, 50, DIM)
    steps = codes.astype(np.int64) - 128
    bits = np.unpackbits(filled[:, :6].copy().view(np.uint8), axis=1, bitorder="little") > 0
    np.testing.assert_array_equal(bits[steps != 0], steps[steps != 0] > 0)
    assert abs(bits[steps == 0].mean() - 0.5) < 0.1
    numbers = filled[:, 6:].copy().view(np.float32)
    np.testing.assert_array_equal(numbers[:, 0], weights)
    np.testing.assert_array_equal(numbers[:, 1], bits.sum(axis=1))
    query = rng.normal(size=(1000, DIM)) * np.abs(steps).mean()
    products = query @ steps.T
    estimates = numbers[:, 2] * (query @ np.where(bits, 1, -1).T)
    off = (products - estimates) / (numbers[:, 3] * np.linalg.norm(query, axis=1)[:, None])
    assert abs(off.mean()) < 0.02
    assert abs(off.std() - 1) < 0.05


def test_only_wide_rows_have_signs(db: vecdb.Database, rng: np.random.Generator) -> None:
    for dim, words in ((256, 0), (257, 7), (384, 8), (700, 13), (4097, 67)):
        table = db.create_table(f"{dim}", dim=dim)
        table.insert(range(1500), rng.normal(size=(1500, dim)))
        codes = column(db, f"{dim}").codes
        assert codes is not None
        assert codes.signs.shape[1] == words
        assert (len(codes.groups) > 0) == (0 < words <= 66)  # sums of more would not fit 16 bits
    plain = db.create_table("plain", dim=384, quantization="none")
    plain.insert(range(1500), rng.normal(size=(1500, 384)))
    assert plain.search(rng.normal(size=384)).plan.strategy == "graph"


@pytest.mark.parametrize(
    ("make", "metric", "used"),
    [
        (gaussian, "cosine", True),
        (gaussian, "l2", True),
        (gaussian, "ip", True),
        (clustered, "cosine", True),
        (skewed, "l2", True),
        (steep, "cosine", True),
        (sparse, "cosine", True),
        (outlying, "cosine", False),
    ],
)
def test_searches_find_what_they_find_without(
    db: vecdb.Database,
    rng: np.random.Generator,
    make: Callable[[np.random.Generator, int], np.ndarray],
    metric: Metric,
    used: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors, queries = make(rng, ROWS).astype(np.float32), make(rng, 60).astype(np.float32)
    found: dict[tuple[str, object], float] = {}
    for name, words in (("with", signs.words_of), ("without", lambda width: 0)):
        monkeypatch.setattr("vecdb.mirror.codes.words_of", words)
        table = db.create_table(name, dim=DIM, metric=metric, fields={"n": int, "m": int}, indexes=["n", "m"])
        table.insert(None, vectors, {"n": list(range(ROWS)), "m": [number % 5 for number in range(ROWS)]})
        version = column(db, name)
        assert version.codes is not None
        assert (version.codes.signs.shape[1] > 0) == (used and name == "with")
        for ef in (10, 64):
            hits = table.search_batch(queries, ef=ef)
            found[name, ef] = recall(
                (hits.ids - 1).tolist(), [nearest(vectors, query, metric, 10) for query in queries]
            )
        # Rows that lie together, and such as do not.
        for where, rows in (("n < 900", np.arange(900)), ("m = 3", np.arange(3, ROWS, 5))):
            among = table.search_batch(queries, where=where)
            right = [rows[nearest(vectors[rows], query, metric, 10)].tolist() for query in queries]
            found[name, where] = recall((among.ids - 1).tolist(), right)
            assert table.search(queries[0], where=where).plan.strategy == "codes"
        assert (version.codes.grouped > 0) == (used and name == "with" and simd.LOOKS_UP)
    for case in (10, 64, "n < 900", "m = 3"):
        # Of 600 neighbours: as far as two graphs of other seeds are apart.
        assert found["with", case] >= found["without", case] - 0.03, (case, found)


def test_rows_with_more_words_than_are_counted_at_once(
    db: vecdb.Database, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, queries = rng.normal(size=(2000, 700)).astype(np.float32), rng.normal(size=(60, 700)).astype(np.float32)
    found = {}
    for name, words in (("with", signs.words_of), ("without", lambda width: 0)):
        monkeypatch.setattr("vecdb.mirror.codes.words_of", words)
        table = db.create_table(name, dim=700, metric="l2")
        table.insert(None, vectors)
        ids = table.search_batch(queries, ef=64).ids
        found[name] = recall((ids - 1).tolist(), [nearest(vectors, query, "l2", 10) for query in queries])
    assert found["with"] >= found["without"] - 0.03, found


def test_they_follow_the_codes(path: Path, rng: np.random.Generator) -> None:
    """Rows that come, go, are rolled back and make the quantizer be trained anew: `check_database` compares them."""
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=DIM, metric="l2", fields={"n": int})
        table.insert(range(1500), gaussian(rng, 1500))

        def scan() -> None:
            """By signs that lie side by side, where there are such."""
            assert table.search(gaussian(rng, 1)[0], where="n IS NULL").plan.strategy == "codes"
            codes = column(db).codes
            assert codes is not None
            assert not simd.LOOKS_UP or db._transactions.writer or codes.grouped == column(db).slots

        scan()
        with pytest.raises(ZeroDivisionError), db.transaction():
            table.insert(range(1500, 1600), gaussian(rng, 100))
            scan()
            raise ZeroDivisionError
        table.insert(range(1600, 1700), gaussian(rng, 100))
        scan()
        check_database(db)
        table.delete(range(100, 700))
        trained = column(db).state.trainings
        table.insert(range(2000, 3000), 20 * gaussian(rng, 1000))
        assert column(db).state.trainings > trained
        scan()
        check_database(db)
        table.insert(range(3000, 6000), gaussian(rng, 3000))  # in larger arrays
        scan()
        check_database(db)
    with vecdb.connect(path) as db:
        db.table("t").insert("late", gaussian(rng, 1)[0])
        check_database(db)


def test_of_the_widest_rows_that_lie_together_the_nearest_are_found(
    db: vecdb.Database, rng: np.random.Generator
) -> None:
    """Whose sums are the largest."""
    vectors = rng.normal(size=(1400, 4096)).astype(np.float32)
    table = db.create_table("wide", dim=4096, metric="l2", fields={"n": int})
    table.insert(range(1400), vectors, [{"n": number} for number in range(1400)])
    for row in range(0, 1300, 100):
        hits = table.search(1.02 * vectors[row], where="n < 1300")
        assert hits.plan.strategy == "codes"
        assert hits.ids[0] == row


def test_rows_that_are_gone_take_no_memory_side_by_side(db: vecdb.Database, rng: np.random.Generator) -> None:
    table = db.create_table("t", dim=DIM, fields={"n": int})
    for start in range(0, 12000, 1500):
        table.insert(range(start, start + 1500), gaussian(rng, 1500), [{"n": 1}] * 1500)
        table.delete(range(start - 1500, start))
    table.vacuum()
    with db.transaction():  # the column is made anew, and leaves out what is gone
        table.insert(20_000, gaussian(rng, 1)[0], {"n": 1})
    db._mirror.clear()
    assert table.search(gaussian(rng, 1)[0], where="n = 1").plan.strategy == "codes"
    codes = column(db).codes
    assert codes is not None
    used = np.flatnonzero(codes.codes[: column(db).slots, 0])
    assert len(used) < 4000
    if simd.LOOKS_UP:
        touched = np.flatnonzero(codes.groups.any(axis=1))
        assert set(touched) == set(used // 64)
