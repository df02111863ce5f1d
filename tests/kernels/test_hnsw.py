"""The compiled kernels against slow, plain ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.oracles.beam import beam
from tests.oracles.brute_force import distances, nearest, recall
from vecdb.index.levels import draw_levels
from vecdb.mirror.column import ColumnMirror
from vecdb.options import Metric, Vector
from vecdb.storage.catalog import Column, ColumnState


def build(vectors: np.ndarray, options: Vector) -> ColumnMirror:
    """A column with a graph, outside any file."""
    mirror = ColumnMirror(Column(1, "v", options), ColumnState(), 0)
    mirror.mark()
    mirror.append(vectors, np.ones(len(vectors), np.bool_), lambda done: None)
    assert mirror.state.linked
    return mirror


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
@pytest.mark.parametrize("dead", [0, 0.3, 0.9])
def test_a_beam_finds_what_the_plain_one_finds(rng: np.random.Generator, metric: Metric, dead: float) -> None:
    vectors = rng.normal(size=(1500, 8)).astype(np.float32)
    mirror = build(vectors, Vector(8, metric, m=6, ef_construction=40))
    mirror.remove(np.flatnonzero(rng.random(1500) < dead))
    version = mirror.present()
    live = set(version.live_slots.tolist())
    lists = {slot: links(record) for slot, record in enumerate(version.links.gather().reshape(-1, 17))}
    upper = version.upper.gather().reshape(-1, 8)
    owners = upper[:, 0]
    live_entries = {entry for entry, slot in enumerate(owners.tolist()) if slot in live}
    upper_lists = {entry: links(record) for entry, record in enumerate(upper)}
    for query in rng.normal(size=(30, 8)).astype(np.float32):
        far = distances(vectors, query, metric)
        layer, node = version.state.entry_layer, version.state.entry_node
        while layer > 0:
            entry = beam(upper_lists, far[owners].__getitem__, live_entries.__contains__, node, 1)[0]
            node = entry - 1 if layer > 1 else int(owners[entry])
            layer -= 1
        for k, ef in ((1, 1), (5, 5), (40, 40), (4, 5), (4, 40), (4, 100)):
            early = metric != "ip" and 8 * ef < len(live)
            wide = ef + max(0, ef - 16) // 2 if early else ef
            power = 2 if metric == "cosine" else 1
            walked = beam(lists, far.__getitem__, live.__contains__, node, wide, max(k, 10) if early else 0, power)
            found = version.graph.search(query[None], k, ef)
            assert found.slots[0, : found.counts[0]].tolist() == [slot for slot in walked if slot in live][:k]


def test_a_walk_ends_where_only_what_is_much_farther_is_left(rng: np.random.Generator) -> None:
    """Sooner the more the nearest stand out, and hardly where they do not."""
    crowd = rng.normal(size=(3000, 24)).astype(np.float32)
    few = 5 + rng.normal(size=(20, 24), scale=0.1).astype(np.float32)
    version = build(np.concatenate([crowd, few]), Vector(24, "l2")).present()
    standing_out = version.graph.search(few, 10, 200)
    in_the_crowd = version.graph.search(crowd[:20], 10, 200)
    assert standing_out.compared < in_the_crowd.compared / 2
    right = [nearest(np.concatenate([crowd, few]), query, "l2", 10) for query in few]
    assert recall(standing_out.slots.tolist(), right) == 1.0


@pytest.mark.parametrize("dim", [8, 24])
def test_the_nearest_is_found_whatever_k_is(rng: np.random.Generator, dim: int) -> None:
    """A walk that asks for one must not end beside the first that nobody near is nearer than."""
    vectors, queries = rng.normal(size=(4000, dim)).astype(np.float32), rng.normal(size=(300, dim)).astype(np.float32)
    version = build(vectors, Vector(dim, "l2")).present()
    many = version.graph.search(queries, 10, 64)
    for k in (1, 2, 5):
        few = version.graph.search(queries, k, 64)
        assert few.compared == many.compared
        assert np.mean(few.slots == many.slots[:, :k]) > 0.99, "fewer are measured by their vectors, that is all"


def links(record: np.ndarray) -> list[int]:
    return [node for node in record[2:].tolist() if node >= 0]


def test_every_option_of_the_heuristic_builds_a_good_graph(rng: np.random.Generator) -> None:
    centres = rng.normal(size=(40, 12)) * 3
    vectors = (centres[rng.integers(40, size=2000)] + rng.normal(size=(2000, 12))).astype(np.float32)
    queries = (centres[rng.integers(40, size=50)] + rng.normal(size=(50, 12))).astype(np.float32)
    right = [nearest(vectors, query, "l2", 10) for query in queries]
    for options in (
        Vector(12, "l2"),
        Vector(12, "l2", keep_pruned=False),
        Vector(12, "l2", extend_candidates=True),
        Vector(12, "l2", alpha=1.2),
        Vector(12, "l2", m=4, ef_construction=32, seed=5),
        Vector(12, "l2", m=64),
    ):
        version = build(vectors, options).present()
        found = version.graph.search(queries, 10, 100)
        assert recall(found.slots.tolist(), right) >= 0.95, options


def test_the_seed_decides_the_graph(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(1200, 6)).astype(np.float32)
    first, same, other = (build(vectors, Vector(6, seed=seed)).present() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.links.gather(), same.links.gather())
    np.testing.assert_array_equal(first.upper.gather(), same.upper.gather())
    assert first.state == same.state != other.state


def test_levels_follow_the_papers_distribution() -> None:
    levels = draw_levels(3, 0, 200_000, 16)
    assert (levels == np.concatenate([draw_levels(3, 0, 777, 16), draw_levels(3, 777, 200_000, 16)])).all()
    for layer in range(1, 4):
        assert np.mean(levels >= layer) == pytest.approx(16.0**-layer, rel=0.25)


@pytest.mark.parametrize("setting", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_kernels_without_the_compiler_and_with_bounds_checked(setting: str) -> None:
    """The same graph as the plain Python that the kernels are written in gives; no index out of bounds."""
    script = (
        "import numpy as np; from tests.kernels.test_hnsw import build; from vecdb.options import Vector;"
        "import warnings; warnings.simplefilter('ignore');"
        "v = np.random.default_rng(4).integers(-9, 9, size=(1030, 3)).astype('f4') + 0.5;"
        "c = build(v, Vector(3, 'l2', m=3, ef_construction=8)); c.remove(np.arange(0, 1030, 3)); c.repair(200);"
        "c.mend(0, 1030); c.take_out(c.waiting()[:99]); p = c.present();"
        "f = p.graph.search(v[:20], 5, 12);"
        "print(p.links.gather().tolist(), p.upper.gather().tolist(), f.slots.tolist(), f.distances.round(9).tolist())"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "NUMBA_CACHE_DIR": "", **environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for environment in ({}, {setting: "1"})
    ]
    assert outputs[0] == outputs[1]


def test_a_broken_cache_does_not_fail_a_call(tmp_path: Path) -> None:
    script = (
        "import numpy as np; from tests.kernels.test_hnsw import build; from vecdb.options import Vector;"
        "print(build(np.random.default_rng(0).normal(size=(1030, 2)).astype('f4'), Vector(2)).state)"
    )

    def run() -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", script]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    first = run()
    indexes = list(tmp_path.rglob("*.nbi"))
    assert indexes
    for index in indexes:
        index.write_bytes(index.read_bytes()[:100])
    assert run() == first
