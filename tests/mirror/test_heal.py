"""Damage to links or codes heals by making them anew from the vectors; searches are exact meanwhile."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.concurrency.test_processes import Peer
from tests.maintenance.vandals import Vandal, fill
from tests.oracles.brute_force import nearest
from tests.oracles.brute_force import recall as share_found
from vecdb.storage import keys
from vecdb.storage.keys import Space

# Each spoils records of the first column of the first table so that checksums, lengths or numbers are wrong.
DEEDS: dict[str, Callable[[Vandal], object]] = {
    "a block of links": lambda v: spoil(v, Space.LINKS, keys.block(1, 1, 3)),
    "all blocks of links": lambda v: spoil(v, Space.LINKS, *v.keys(Space.LINKS, keys.table_prefix(1))),
    "the journal": lambda v: spoil(v, Space.JOURNAL, *v.keys(Space.JOURNAL, keys.table_prefix(1))),
    "a block of upper layers": lambda v: spoil(v, Space.UPPER, keys.block(1, 1, 0)),
    "a block of codes": lambda v: spoil(v, Space.CODES, keys.block(1, 1, 2)),
    "the quantizer": lambda v: spoil(v, Space.CODES, keys.block(1, 1, keys.QUANTIZER)),
    "a block of links is gone": lambda v: v.delete(Space.LINKS, keys.block(1, 1, 2)),
    "the last block of codes is gone": lambda v: v.delete(Space.CODES, v.keys(Space.CODES, keys.table_prefix(1))[-2]),
    "a link to nowhere": lambda v: v.change_record(700, lambda record: record.__setitem__(2, 10**6)),
}


def spoil(vandal: Vandal, space: Space, *keys_: bytes) -> None:
    """Flip a bit of records, whose checksums then do not hold."""
    assert keys_
    with vandal.environment.begin(write=True) as transaction:
        for key in keys_:
            value = bytearray(transaction.get(key, db=vandal.spaces[space]) or b"")
            value[len(value) // 2] ^= 4
            transaction.put(key, bytes(value), db=vandal.spaces[space])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("heal") / "notes.vecdb"
    fill(place)
    return place


@pytest.fixture
def whole(filled: Path, path: Path) -> Path:
    return Path(shutil.copy(filled, path))


@pytest.fixture
def damaged(whole: Path) -> Path:
    """With a block of links that does not match its checksum."""
    with Vandal(whole) as vandal:
        DEEDS["a block of links"](vandal)
    return whole


def load_kernels() -> None:
    """Until they are loaded, readers do not look at graphs."""
    from vecdb.index import graph

    graph.load_kernels()


def all_rows(table: vecdb.Table) -> tuple[list[object], np.ndarray]:
    rows = list(table.scan(vectors=True))
    return [row.id for row in rows], np.array([row.vector for row in rows])


def is_exact(table: vecdb.Table, query: np.ndarray) -> bool:
    ids, vectors = all_rows(table)
    return table.search(query, k=5).ids == [ids[place] for place in nearest(vectors, query, "cosine", 5)]


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


@pytest.mark.parametrize("deed", DEEDS)
def test_searches_are_exact_until_the_graph_is_made_anew(whole: Path, rng: np.random.Generator, deed: str) -> None:
    load_kernels()
    query = rng.normal(size=16)
    with Vandal(whole) as vandal:
        DEEDS[deed](vandal)
    with vecdb.connect(whole) as db:
        table = db.table("notes")
        before, version = all_rows(table), db.version
        hits = table.search(query, k=5)
        assert hits.plan.strategy == "scan"
        assert hits.plan.damage is not None
        assert "the graph is damaged: " in str(hits.plan)
        assert is_exact(table, query)
        wait_until(lambda: table.stats().columns["vector"].damage is None)
        assert table.search(query, k=5).plan.strategy == "graph"
        assert db.version == version + 1
        ids, vectors = all_rows(table)
        assert ids == before[0]
        assert (vectors == before[1]).all()
        assert recall(table, before, rng) > 0.95
    assert vecdb.check(whole).ok


def recall(table: vecdb.Table, rows: tuple[list[object], np.ndarray], rng: np.random.Generator) -> float:
    queries = rng.normal(size=(50, 16))
    found = table.search_batch(queries, k=10).ids
    true = [[rows[0][place] for place in nearest(rows[1], query, "cosine", 10)] for query in queries]
    return share_found(found.tolist(), true)


def test_a_reader_scans_and_tells(damaged: Path, rng: np.random.Generator) -> None:
    load_kernels()
    content, query = damaged.read_bytes(), rng.normal(size=16)
    with vecdb.connect(damaged, readonly=True) as db:
        table = db.table("notes")
        for _ in range(3):
            hits = table.search(query, k=5)
            assert (hits.plan.strategy, hits.plan.damage is None) == ("scan", False)
        ids, vectors = all_rows(table)
        assert hits.ids == [ids[place] for place in nearest(vectors, query, "cosine", 5)]
        assert table.stats().columns["vector"].damage == hits.plan.damage
    assert damaged.read_bytes() == content
    damaged.unlink()  # the fixture would look for damage


@pytest.mark.parametrize("write", ["insert", "delete", "vacuum"])
def test_a_write_makes_the_graph_anew(damaged: Path, rng: np.random.Generator, write: str) -> None:
    with vecdb.connect(damaged) as db:
        table = db.table("notes")
        rows = len(table)
        if write == "insert":
            table.insert("new", rng.normal(size=16))
        elif write == "delete":
            assert table.delete(3) == 1
        else:
            table.vacuum()
        assert len(table) == rows + {"insert": 1, "delete": -1, "vacuum": 0}[write]
        assert table.search(rng.normal(size=16)).plan.strategy == "graph"
    assert vecdb.check(damaged).ok


def test_a_roll_back_leaves_the_damage(damaged: Path, rng: np.random.Generator) -> None:
    load_kernels()
    with vecdb.connect(damaged) as db:
        table = db.table("notes")
        with pytest.raises(KeyError), db.transaction():
            with pytest.raises(ZeroDivisionError), db.transaction():
                table.insert("new", rng.normal(size=16))
                raise ZeroDivisionError
            table.insert("other", rng.normal(size=16))
            assert table.search(rng.normal(size=16)).plan.strategy == "graph"
            raise KeyError
        assert table.search(rng.normal(size=16)).plan.damage is not None
        table.insert("new", rng.normal(size=16))
        assert table.search(rng.normal(size=16)).plan.strategy == "graph"


def test_others_follow_a_graph_that_was_made_anew(whole: Path, rng: np.random.Generator) -> None:
    """One that has the old graph in memory, and never met the damage."""
    query = rng.normal(size=16).tolist()
    with Peer(whole) as other:
        other(f"db.table('notes').search_batch([{query}] * 20).counts.sum()")
        assert other(f"db.table('notes').search({query}).plan.strategy") == "'graph'"
        with Vandal(whole) as vandal:
            DEEDS["all blocks of links"](vandal)
        with vecdb.connect(whole) as db:
            db.table("notes").vacuum()
            expected = db.table("notes").search(query, k=5, exact=True).ids
        assert other(f"db.table('notes').search({query}, k=5).ids") == str(expected)
        assert other(f"db.table('notes').search({query}, k=5).plan.strategy") == "'graph'"


def test_damaged_vectors_are_not_healed_over(whole: Path, rng: np.random.Generator) -> None:
    load_kernels()
    with Vandal(whole) as vandal:
        spoil(vandal, Space.LINKS, keys.block(1, 1, 3))
        spoil(vandal, Space.VECTORS, keys.block(1, 1, 1))
    content = whole.read_bytes()
    with vecdb.connect(whole) as db:
        table = db.table("notes")
        with pytest.raises(vecdb.CorruptionError, match="vectors"):
            table.search(rng.normal(size=16))
        with pytest.raises(vecdb.CorruptionError, match="vectors"):
            table.insert("new", rng.normal(size=16))
        assert table.get("n2") is not None
    assert whole.read_bytes() == content
    whole.unlink()


def test_a_database_is_closed_while_it_heals(damaged: Path, rng: np.random.Generator) -> None:
    """The file is left as it was, and is healed the next time."""
    load_kernels()
    with vecdb.connect(damaged) as db:
        table = db.table("notes")
        assert table.search(rng.normal(size=16)).plan.damage is not None
        version = db.version  # a call: healing begins
    with vecdb.connect(damaged) as db:
        assert db.version - version in (0, 1)
        db.vacuum()
        assert db.table("notes").search(rng.normal(size=16)).plan.strategy == "graph"
    assert not [thread for thread in threading.enumerate() if thread.name == "vecdb-healer"]
