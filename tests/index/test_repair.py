"""Repair: dead rows leave the graph, and the living stay as well connected as in a new one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.kernels.test_hnsw import build
from tests.oracles.brute_force import nearest, recall
from tests.oracles.invariants import check_graph
from vecdb.mirror.column import ColumnMirror
from vecdb.options import Vector

ROWS, DIM = 1500, 8


def vacuum(mirror: ColumnMirror) -> None:
    dead = mirror.waiting()
    for first in range(0, mirror.slots, 400):
        mirror.mend(first, first + 400)
    for first in range(0, len(dead), 300):
        mirror.take_out(dead[first : first + 300])


def check_repaired(mirror: ColumnMirror) -> None:
    """No link goes from or to a dead slot, on any layer."""
    version = mirror.present()
    live = set(version.live_slots.tolist())
    check_graph(version, live)
    assert len(mirror.waiting()) == 0
    lists = version.links.gather().reshape(-1, 2 + mirror.column.options.capacity)[:, 2:]
    upper = version.upper.gather().reshape(-1, 2 + mirror.column.options.m)[: mirror.state.upper]
    for slot, neighbours in enumerate(lists[: mirror.slots]):
        linked = set(neighbours[neighbours >= 0].tolist())
        assert linked <= live
        assert slot in live or not linked
    for entry in upper:
        owners = upper[entry[2:][entry[2:] >= 0], 0]
        assert set(owners.tolist()) <= live
        assert int(entry[0]) in live or len(owners) == 0


def clusters(rng: np.random.Generator, rows: int) -> np.ndarray:
    centres = rng.normal(size=(12, DIM)) * 4
    return (centres[rng.integers(12, size=rows)] + rng.normal(size=(rows, DIM))).astype(np.float32)


def whole_clusters(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half of the rows: the nearest to a few of them."""
    far = np.linalg.norm(vectors[:, None] - vectors[rng.choice(len(vectors), 3)], axis=2).min(axis=1)
    return np.sort(np.argsort(far)[: len(vectors) // 2])


DEATHS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "a tenth": lambda vectors, rng: np.flatnonzero(rng.random(len(vectors)) < 0.1),
    "nine tenths": lambda vectors, rng: np.flatnonzero(rng.random(len(vectors)) < 0.9),
    "neighbourhoods": whole_clusters,
    "the oldest": lambda vectors, rng: np.arange(len(vectors) * 3 // 4),
    "the newest": lambda vectors, rng: np.arange(len(vectors) // 4, len(vectors)),
    "all but one": lambda vectors, rng: np.delete(np.arange(len(vectors)), 700),
    "all": lambda vectors, rng: np.arange(len(vectors)),
}


@pytest.mark.parametrize("options", [Vector(DIM, "l2"), Vector(DIM, "l2", m=2, ef_construction=12)], ids=["m16", "m2"])
@pytest.mark.parametrize("deaths", DEATHS)
def test_the_dead_are_taken_out_and_the_rest_is_found(rng: np.random.Generator, deaths: str, options: Vector) -> None:
    vectors = clusters(rng, ROWS)
    mirror = build(vectors, options)
    dead = DEATHS[deaths](vectors, rng)
    mirror.remove(dead)
    vacuum(mirror)
    check_repaired(mirror)
    live = mirror.present().live_slots
    if options.m < 16 or len(live) == 0:
        return
    queries = clusters(rng, 50)
    found = mirror.present().graph.search(queries, min(10, len(live)), 40)
    right = [live[nearest(vectors[live], query, "l2", 10)].tolist() for query in queries]
    fresh = build(vectors[live], options).present().graph.search(queries, 10, 40) if len(live) > 1023 else None
    floor = 0.95 if fresh is None else recall(live[fresh.slots].tolist(), right) - 0.02
    assert recall(found.slots.tolist(), right) >= floor


@pytest.mark.parametrize("m", [2, 16])
def test_repair_in_steps_keeps_every_row_reachable(rng: np.random.Generator, m: int) -> None:
    """Rows die and come, some of the dead are repaired each time; walks through the rest find what lives."""
    vectors = clusters(rng, 4 * ROWS)
    mirror = build(vectors[:ROWS], Vector(DIM, "l2", m=m, ef_construction=24))
    for turn in range(10):
        live = mirror.present().live_slots
        mirror.remove(live[rng.random(len(live)) < 0.3] if turn % 2 else live[: len(live) // 3])
        come = vectors[mirror.slots : mirror.slots + 350]
        mirror.append(come, np.ones(len(come), np.bool_), lambda done: None)
        mirror.repair(100 * turn)
        check_graph(mirror.present(), set(mirror.present().live_slots.tolist()))
    vacuum(mirror)
    check_repaired(mirror)


def test_deleting_the_entry_point_finds_another(rng: np.random.Generator) -> None:
    mirror = build(clusters(rng, ROWS), Vector(DIM, "l2", m=4))
    while mirror.state.entry_layer > 0:
        version = mirror.present()
        owners = version.upper.gather().reshape(-1, 6)[:, 0]
        mirror.remove(owners[[mirror.state.entry_node]].astype(np.int64))
        check_graph(mirror.present(), set(mirror.present().live_slots.tolist()))
    assert mirror.state.live > ROWS // 2


def test_a_graph_begins_anew_when_all_have_died(rng: np.random.Generator) -> None:
    """Its rows have no link to the dead, which wait for repair in trees of their own."""
    vectors = clusters(rng, 3 * ROWS)
    mirror = build(vectors[:ROWS], Vector(DIM, "l2"))
    for turn in (1, 2):
        mirror.remove(mirror.present().live_slots)
        assert (mirror.state.entry_layer, mirror.state.entry_node) == (-1, -1)
        mirror.append(vectors[turn * ROWS : (turn + 1) * ROWS], np.ones(ROWS, np.bool_), lambda done: None)
    assert len(mirror.waiting()) == 2 * ROWS
    live = set(mirror.present().live_slots.tolist())
    check_graph(mirror.present(), live)
    mirror.repair(700)
    check_graph(mirror.present(), live)
    vacuum(mirror)
    check_repaired(mirror)


def test_what_waits_follows_from_the_graph(rng: np.random.Generator) -> None:
    mirror = build(clusters(rng, ROWS), Vector(DIM, "l2"))
    mirror.remove(np.arange(10, 400))
    mirror.repair(100)
    mirror.mark()
    mirror.remove(np.arange(500, 600))
    mirror.repair(300)
    assert mirror.waiting().tolist() == list(range(510, 600))
    mirror.roll_back()
    assert mirror.waiting().tolist() == list(range(110, 400))
