"""Searches among some rows of a graph: the compiled kernels behind calls that own their memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vecdb.index.exact import Nearest
from vecdb.index.graph import Graph, scratch_for
from vecdb.kernels import filtered as kernel
from vecdb.kernels.memory import address_of, empty_struct
from vecdb.kernels.signs import group
from vecdb.kernels.simd import GROUP, LOOKS_UP

Float32 = NDArray[np.float32]
Slots = NDArray[np.int64]


def scan(
    graph: Graph, among: Slots, queries: Float32, k: int, ef: int | None = None, *, measured: bool = True
) -> Nearest:
    """The k nearest of some live slots to each query (n, dim), ascending by (distance, slot): of all by their vectors;
    with `ef` of so many that are the nearest by their codes. These in their order and without distances, where they are
    not `measured`."""
    queries = np.ascontiguousarray(queries)
    beam = ef or 0
    scratch = scratch_for(graph, 1, max(beam + 1, kernel.TOGETHER))
    found = Nearest.unfilled(len(queries), k)
    kernel.scan(
        graph.struct.address,
        address_of(among),
        len(among),
        address_of(queries),
        len(queries),
        k,
        beam,
        beam if measured else 0,
        address_of(found.slots),
        address_of(found.distances),
        address_of(found.counts),
        scratch.address,
    )
    return found._replace(compared=len(among) * len(queries))


def scan_groups(
    graph: Graph,
    groups: NDArray[np.uint8],
    matches: NDArray[np.uint8],
    matching: int,
    queries: Float32,
    k: int,
    ef: int,
    *,
    measured: bool = True,
) -> Nearest:
    """The same by codes, of the `matching` slots whose bits are set in `matches`, as live bits are; `groups` has the
    signs of all slots, as `fill_groups` lays them. It takes a third of the time, where all slots match."""
    queries = np.ascontiguousarray(queries)
    scratch = scratch_for(graph, 1, max(ef + 1, kernel.TOGETHER))
    found = Nearest.unfilled(len(queries), k)
    kernel.scan_groups(
        graph.struct.address,
        address_of(groups),
        address_of(matches),
        -(-graph.slots // GROUP),
        address_of(queries),
        len(queries),
        k,
        ef,
        ef if measured else 0,
        address_of(found.slots),
        address_of(found.distances),
        address_of(found.counts),
        scratch.address,
    )
    return found._replace(compared=matching * len(queries))


def fill_groups(
    codes: NDArray[np.uint8], signs: NDArray[np.int64], groups: NDArray[np.uint8], first: int, stop: int
) -> None:
    """Lay signs (slots, words) of the slots `first` to `stop`, whose codes are (slots, width), side by side in `groups`
    (groups, bytes)."""
    group(address_of(codes), codes.shape[1], address_of(signs), signs.shape[1], address_of(groups), first, stop)


def load_kernels() -> None:
    """Load or compile what scans need, by answering no queries."""
    nothing = empty_struct()
    kernel.scan(nothing.address, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, nothing.address)
    if LOOKS_UP:
        kernel.scan_groups(nothing.address, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, nothing.address)
        group(0, 0, 0, 0, 0, 0, 0)
