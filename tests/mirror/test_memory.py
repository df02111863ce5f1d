"""A cap on memory: columns make room for each other, and one that does not fit is answered from the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.oracles.brute_force import nearest
from vecdb.mirror.load import memory_of

ROWS, DIM = 3000, 16


@pytest.fixture
def filled(path: Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    vectors = {name: rng.normal(size=(ROWS, DIM)).astype(np.float32) for name in ("a", "b", "c")}
    with vecdb.connect(path) as db:
        for name, matrix in vectors.items():
            table = db.create_table(name, dim=DIM)
            table.insert(range(ROWS), matrix)
            table.delete(range(0, ROWS, 7))
    return vectors


@pytest.mark.parametrize(
    ("memory", "kept", "vectors_in_file"),
    [(0, 0, False), (900_000, 1, True), (1_300_000, 1, False), (2_300_000, 2, False), (None, 3, False)],
)
def test_answers_do_not_depend_on_memory(
    path: Path, filled: dict[str, np.ndarray], memory: int | None, kept: int, vectors_in_file: bool
) -> None:
    alive = np.array([number for number in range(ROWS) if number % 7])
    with vecdb.connect(path, memory=memory) as db:
        for name in [*filled, *filled]:
            query = filled[name][5]
            right = alive[nearest(filled[name][alive], query, "cosine", 10)].tolist()
            hits = db.table(name).search(query, ef=120)
            assert hits.ids == right
            assert hits.plan.strategy == ("graph" if kept else "scan")
            batch = db.table(name).search_batch(np.stack([query] * 100), ef=120)
            assert batch.ids.tolist() == [right] * 100
            row = db.table(name).get(right[0], vectors=True)
            assert row is not None
            assert row.vector is not None
            np.testing.assert_array_equal(row.vector, filled[name][right[0]])
        assert len(db._mirror.columns) == kept
        assert all((mirror.vectors is None) == vectors_in_file for mirror in db._mirror.columns.values())


@pytest.mark.parametrize("memory", [1000, 900_000])
def test_writes_load_what_they_need_and_let_it_go(path: Path, filled: dict[str, np.ndarray], memory: int) -> None:
    with vecdb.connect(path, memory=memory) as db:
        table = db.table("a")
        with db.transaction():
            table.insert("new", filled["a"][0])
            assert table.search(filled["a"][0], k=1, ef=500).ids == ["new"]
        assert db._mirror.columns == {}
        assert table.search(filled["a"][0], k=1, ef=500).ids == ["new"]
        with pytest.raises(KeyError), db.transaction():
            table.delete("new")
            raise KeyError
        assert table.search(filled["a"][0], k=1).ids == ["new"]


def test_what_a_search_makes_is_counted_before_a_column_is_loaded(path: Path, rng: np.random.Generator) -> None:
    """So that it is not loaded anew for each search, where it fits but for that."""
    rows, dim = 3000, 384
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=dim, fields={"n": int}, indexes=["n"])
        table.insert(range(rows), rng.normal(size=(rows, dim)), {"n": list(range(rows))})
    with vecdb.connect(path) as db:
        table = db.table("t")
        table.search_batch(rng.normal(size=(20, dim)), where="n < 2000")
        (mirror,) = db._mirror.columns.values()
        version, schema = mirror.version, db._mirror.newest.tables[table._number].schema
        estimate = memory_of(schema.columns[0], version.state, version.slots, vectors=True)
        assert 0.99 * mirror.nbytes <= estimate <= 1.01 * mirror.nbytes


def test_memory_must_be_a_number(path: Path) -> None:
    with pytest.raises(vecdb.ProgrammingError, match="memory"):
        vecdb.connect(path, memory="1GB")  # type: ignore[arg-type]
