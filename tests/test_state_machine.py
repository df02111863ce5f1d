"""Random sequences of calls against a dictionary and brute force."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import vecdb
from tests.oracles.brute_force import distances, nearest
from tests.oracles.invariants import check_database, check_file
from vecdb import options
from vecdb.mirror.column import ColumnVersion
from vecdb.query.matching import Matching
from vecdb.query.route import Route, choose_route

DIM = 4
Id = int | str


@dataclass
class Expected:
    """A row as the dictionary has it."""

    vector: np.ndarray | None
    fields: dict[str, Any] = field(default_factory=dict)


ids: st.SearchStrategy[Id] = st.integers(0, 60) | st.sampled_from(["a", "é", "0", "x" * 480])
batches = st.lists(ids, max_size=12, unique=True)
seeds = st.integers(0, 2**32 - 1)
extras = st.dictionaries(st.sampled_from(["x", "lang", "n"]), st.none() | st.text(max_size=5), max_size=3)


class DatabaseMachine(RuleBasedStateMachine):
    """One table in a file. `rows` is in the order of slots; `saved` holds what open transactions would restore."""

    metric = "l2"
    dtype = "float32"

    @initialize(rows=st.sampled_from([0, 30, 70]))
    def connect(self, rows: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "machine.vecdb"
        self.db = vecdb.connect(self.path)
        self.table = self.db.create_table(
            "t",
            dim=DIM,
            metric=self.metric,
            dtype=self.dtype,
            m=4,
            ef_construction=24,
            fields={"lang": str, "n": str},
            indexes=["lang"],
        )
        self.rows: dict[Id, Expected] = {}
        self.saved: list[tuple[vecdb.Transaction, dict[Id, Expected]]] = []
        self.insert([100 + number for number in range(rows)], 7, {})

    def vectors(self, count: int, seed: int) -> np.ndarray:
        """Few distinct vectors now and then, so that ties happen."""
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(count, DIM)) if seed % 3 else rng.integers(-2, 3, size=(count, DIM)) + 0.25
        return vectors.astype(self.dtype)

    @rule(batch=batches, seed=seeds, extra=extras)
    def insert(self, batch: list[Id], seed: int, extra: dict[str, Any]) -> None:
        vectors = self.vectors(len(batch), seed)
        if any(identifier in self.rows for identifier in batch):
            with pytest.raises(vecdb.DuplicateIdError):
                self.table.insert(batch, vectors, [extra] * len(batch))
            return
        assert self.table.insert(batch, vectors, [extra] * len(batch)) == batch
        self.rows |= {identifier: Expected(vectors[place], extra) for place, identifier in enumerate(batch)}

    @rule(batch=batches, seed=seeds, extra=extras, lacking=st.booleans())
    def upsert(self, batch: list[Id], seed: int, extra: dict[str, Any], lacking: bool) -> None:
        vectors: list[np.ndarray | None] = list(self.vectors(len(batch), seed))
        if lacking and vectors:
            vectors[0] = None
        self.table.upsert(batch, vectors, [extra] * len(batch))
        for identifier, vector in zip(batch, vectors, strict=True):
            self.replace(identifier, Expected(vector, extra))

    @rule(identifier=ids, seed=st.none() | seeds, extra=extras)
    def update(self, identifier: Id, seed: int | None, extra: dict[str, Any]) -> None:
        vector = None if seed is None else self.vectors(1, seed)[0]
        arguments: dict[str, Any] = {} if vector is None else {"vectors": vector}
        if identifier not in self.rows:
            with pytest.raises(vecdb.RowNotFoundError):
                self.table.update(identifier, fields=extra, **arguments)
            return
        self.table.update(identifier, fields=extra, **arguments)
        old = self.rows[identifier]
        self.replace(identifier, Expected(old.vector if vector is None else vector, {**old.fields, **extra}))

    def replace(self, identifier: Id, row: Expected) -> None:
        """A row whose vector stays the same keeps its slot."""
        old = self.rows.get(identifier)
        if old is None or _bytes(old.vector) != _bytes(row.vector):
            self.rows.pop(identifier, None)
        self.rows[identifier] = row

    @rule(batch=batches)
    def delete(self, batch: list[Id]) -> None:
        assert self.table.delete(batch) == sum(identifier in self.rows for identifier in batch)
        for identifier in batch:
            self.rows.pop(identifier, None)

    @precondition(lambda self: len(self.saved) < 3)
    @rule()
    def begin(self) -> None:
        transaction = self.db.transaction()
        transaction.__enter__()
        self.saved.append((transaction, dict(self.rows)))

    @precondition(lambda self: self.saved)
    @rule(commit=st.booleans())
    def end(self, commit: bool) -> None:
        transaction, rows = self.saved.pop()
        if commit:
            transaction.__exit__(None, None, None)
        else:
            transaction.__exit__(KeyError, KeyError(), None)
            self.rows = rows

    @rule()
    def reopen(self) -> None:
        if self.saved:
            self.rows = self.saved[0][1]
            self.saved = []
        self.db.close()
        check_file(self.path)
        self.db = vecdb.connect(self.path, create=False)
        self.table = self.db.table("t")

    @rule()
    def vacuum(self) -> None:
        self.table.vacuum()
        assert self.table.vacuum() == 0

    @rule(name=st.sampled_from(["lang", "n", "x"]), text=st.none() | st.text(max_size=1))
    def count(self, name: str, text: str | None) -> None:
        where = vecdb.col(name) == text
        assert self.table.count(where) == sum(row.fields.get(name) == text for row in self.rows.values())

    @rule(name=st.sampled_from(["lang", "n"]))
    def create_or_drop_index(self, name: str) -> None:
        there = name in self.table.indexes
        (self.table.drop_index if there else self.table.create_index)(name)
        assert (name in self.table.indexes) is not there

    @rule(seed=seeds, k=st.integers(1, 40))
    def search(self, seed: int, k: int) -> None:
        query = self.vectors(1, seed)[0].astype(np.float32)
        searchable = [identifier for identifier, row in self.rows.items() if row.vector is not None]
        vectors = np.array([self.rows[identifier].vector for identifier in searchable]).reshape(-1, DIM)
        right = [searchable[place] for place in nearest(vectors, query, self.metric, k)] if searchable else []
        exact = self.table.search(query, k=k, exact=True)
        expected = np.sort(distances(vectors, query, self.metric))[:k]
        np.testing.assert_allclose(exact.distances, expected, atol=1e-6)
        if len(np.unique(expected.round(5))) == len(expected):
            assert exact.ids == right
        graph = self.table.search(query, k=k, ef=200)
        assert len(graph) == len(right)
        assert set(graph.ids) <= set(searchable)
        np.testing.assert_allclose(graph.distances, expected, atol=1e-6)
        batch = self.table.search_batch(query[None], k=k, ef=200)
        assert batch.ids[0, : batch.counts[0]].tolist() == graph.ids

    @invariant()
    def rows_agree(self) -> None:
        if not hasattr(self, "rows"):
            return
        assert len(self.table) == len(self.rows)
        found = list(self.table.scan(vectors=True))
        assert [row.id for row in found] == list(self.rows)
        for row in found:
            expected = self.rows[row.id]
            assert row.fields == {"lang": None, "n": None, **expected.fields}
            assert _bytes(row.vector) == _bytes(expected.vector)

    def teardown(self) -> None:
        if not hasattr(self, "db"):
            return
        if not self.saved:
            check_database(self.db)
        self.db.close()
        check_file(self.path)
        shutil.rmtree(self.folder)


def _bytes(vector: np.ndarray | None) -> bytes | None:
    return None if vector is None else vector.tobytes()


def always_a_graph(version: ColumnVersion, k: int, ef: int | None, exact: bool, matching: Matching | None) -> Route:
    if exact or matching is not None or not version.state.linked or not version.state.live:
        return choose_route(version, k, ef, exact, matching)
    return Route("graph", max(ef or options.DEFAULT_EF, k), 0)


class CosineMachine(DatabaseMachine):
    metric = "cosine"
    dtype = "float16"


class MaintainedMachine(DatabaseMachine):
    """With backups, increments, restored ones, and packed files between the calls."""

    @initialize()
    def begin_chain(self) -> None:
        self.chain: list[Path] = []

    @precondition(lambda self: not self.saved)
    @rule()
    def back_up_and_restore(self) -> None:
        backup, restored = self.folder / f"backup{len(self.chain)}", self.folder / "restored"
        made = self.db.backup(backup, since=self.chain[-1] if self.chain else None)
        assert made.version == self.db.version
        self.chain.append(backup)
        vecdb.restore(backup, restored)
        with vecdb.connect(restored) as db:
            assert db.version == self.db.version
            assert [
                (row.id, row.fields, {name: vector.tobytes() for name, vector in (row.vectors or {}).items()})
                for row in db.table("t").scan(vectors=True)
            ] == [
                (row.id, row.fields, {name: vector.tobytes() for name, vector in (row.vectors or {}).items()})
                for row in self.table.scan(vectors=True)
            ]
        for file in self.folder.glob("restored*"):
            file.unlink()

    @precondition(lambda self: not self.saved)
    @rule()
    def pack(self) -> None:
        self.db.compact()
        if self.chain:  # increments do not follow across it
            with pytest.raises(vecdb.BackupError):
                self.db.backup(self.folder / "never", since=self.chain[-1])
        for file in self.chain:
            file.unlink()
        self.chain.clear()


def run_machine(machine: type[DatabaseMachine], examples: int, steps: int) -> None:
    """Graphs from the first rows on, so that short runs reach them too. A beam wider than the table must find all of
    it, since every row of a graph can be reached from every other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vecdb.mirror.column.GRAPH_FROM", 40)
        patch.setattr("vecdb.query.search.choose_route", always_a_graph)
        if machine is CosineMachine:  # signs, that as a rule only wide rows have
            patch.setattr("vecdb.index.signs._FEWEST_CODES", 0)
            patch.setattr("vecdb.index.quantizer.signs_tell", lambda steps: True)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )


@pytest.mark.parametrize("machine", [DatabaseMachine, CosineMachine])
def test_random_calls(machine: type[DatabaseMachine]) -> None:
    run_machine(machine, 100, 50)


def test_random_calls_between_backups() -> None:
    run_machine(MaintainedMachine, 5, 30)
