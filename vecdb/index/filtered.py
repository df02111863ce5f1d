"""Searches among some rows of a graph: the compiled kernels behind calls that own their memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecdb.index.exact import Nearest
from vecdb.index.graph import Graph, scratch_for
from vecdb.kernels import filtered as kernel
from vecdb.kernels.memory import address_of

Float32 = NDArray[np.float32]
Slots = NDArray[np.int64]


def scan_codes(graph: Graph, among: Slots, queries: Float32, k: int, ef: int, *, measured: bool) -> Nearest:
    """The k nearest of some live slots to each query (n, dim): by their vectors, of the `ef` nearest by their codes."""
    queries = np.ascontiguousarray(queries)
    scratch = scratch_for(graph, graph.slots, ef + 1)
    slots, distances, counts, _ = Nearest.empty(len(queries), k)
    kernel.scan_codes(
        graph.struct.address,
        address_of(among),
        len(among),
        address_of(queries),
        len(queries),
        k,
        ef,
        ef if measured else 0,
        address_of(slots),
        address_of(distances),
        address_of(counts),
        scratch.address,
    )
    return Nearest(slots, distances, counts, len(among) * len(queries))


def scan_vectors(graph: Graph, among: Slots, queries: Float32, k: int) -> Nearest:
    """The k nearest of some slots to each query (n, dim), ascending by (distance, slot): exact."""
    queries = np.ascontiguousarray(queries)
    slots, distances, counts, _ = Nearest.empty(len(queries), k)
    kernel.scan_vectors(
        graph.struct.address,
        address_of(among),
        len(among),
        address_of(queries),
        len(queries),
        k,
        address_of(slots),
        address_of(distances),
        address_of(counts),
    )
    return Nearest(slots, distances, counts, len(among) * len(queries))
