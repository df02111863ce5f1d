"""Writes that change no vector leave the graph as it is: no record of it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.oracles.invariants import check_database
from vecdb.storage.keys import Space

ROWS, DIM = 1500, 8
OF_THE_GRAPH = (Space.VECTORS, Space.CODES, Space.LINKS, Space.JOURNAL, Space.UPPER)


def graph_of(db: vecdb.Database) -> dict[Space, list[tuple[bytes, bytes]]]:
    with db._view() as view:
        return {
            space: [(bytes(key), bytes(payload)) for key, payload in view.records.scan(space, b"")]
            for space in (*OF_THE_GRAPH, Space.LIVE)
        }


WRITES: dict[str, Callable[[vecdb.Table, np.ndarray], object]] = {
    "fields of a row": lambda table, vectors: table.update(5, fields={"n": -1, "more": "text"}),
    "fields of many rows": lambda table, vectors: table.update(where="n < 700", fields={"n": 9}),
    "an upsert of the same vector": lambda table, vectors: table.upsert(5, vectors[5], {"n": -5}),
    "an upsert of all": lambda table, vectors: table.upsert(range(ROWS), vectors, {"n": [0] * ROWS}),
    "an update with the same vectors": lambda table, vectors: table.update([3, 4], vectors=vectors[3:5]),
    "a new field": lambda table, vectors: table.add_field("more", str),
    "an index": lambda table, vectors: table.create_index("n"),
}


@pytest.mark.parametrize("write", WRITES)
def test_the_graph_is_not_written(path: Path, rng: np.random.Generator, write: str) -> None:
    vectors = rng.normal(size=(ROWS, DIM)).astype(np.float32)
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=DIM, metric="l2", fields={"n": int})
        table.insert(range(ROWS), vectors, {"n": list(range(ROWS))})
        before, version = graph_of(db), db.version
        WRITES[write](table, vectors)
        assert db.version == version + 1
        assert graph_of(db) == before
        check_database(db)
        table.upsert(5, vectors[6], {"n": 1})
        assert all(graph_of(db)[space] != before[space] for space in (Space.VECTORS, Space.LIVE))
