"""The graph of a column: the compiled kernels behind calls that own their memory and their steps."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vecdb.index.exact import Nearest
from vecdb.index.levels import draw_levels
from vecdb.kernels import hnsw
from vecdb.kernels.hnsw import Graph
from vecdb.options import Metric, Vector
from vecdb.storage.catalog import ColumnState

_METRICS = {"l2": hnsw.L2, "ip": hnsw.IP, "cosine": hnsw.COSINE}
_STEP = 256  # rows linked before the caller hears of it, and Ctrl-C is heeded
_LOCAL = threading.local()


class Blocks(Protocol):
    """Copy-on-write blocks as kernels change them."""

    epochs: NDArray[np.int64]
    free: NDArray[np.int32]
    state: NDArray[np.int64]


class BlocksView(Protocol):
    """Copy-on-write blocks of one version."""

    @property
    def arena(self) -> NDArray[Any]: ...
    @property
    def table(self) -> NDArray[np.int32]: ...


def make_graph(
    metric: Metric, vectors: NDArray[np.float32], links: BlocksView, upper: BlocksView, live: BlocksView
) -> Graph:
    return Graph(vectors, links.arena, links.table, upper.arena, upper.table, live.arena, live.table, _METRICS[metric])


def search(graph: Graph, state: ColumnState, slots: int, queries: NDArray[np.float32], k: int, ef: int) -> Nearest:
    """The k nearest live slots to each query (n, dim), by a beam of `ef` on the base layer."""
    beam = max(ef, k)
    # Dead rows take places in the pool, so that it must be longer where many are dead.
    pool = int(1.25 * beam * slots / max(state.live, 1)) + 64
    scratch = _scratch(graph, slots, state.upper, pool)
    result = Nearest.empty(len(queries), k)
    compared = hnsw.search(
        graph,
        state.entry_layer,
        state.entry_node,
        queries,
        k,
        beam,
        scratch,
        result.slots,
        result.distances,
        result.counts,
    )
    return result._replace(compared=int(compared))


class Linker:
    """Links slots into a graph, some at a time."""

    def __init__(self, options: Vector, state: ColumnState, first: int, live: NDArray[np.bool_]) -> None:
        """`live` (slots,) tells which of the slots from `first` on have a vector; others get no links."""
        stop = first + len(live)
        self.next_slot = first
        self._first = first
        self._stop = stop
        self._levels = np.where(live, draw_levels(options.seed, first, stop, options.m), 0)
        ends = np.cumsum(self._levels)
        self._entries = state.upper + ends - self._levels
        self._entry = np.array([state.entry_layer, state.entry_node], np.int64)
        self._build = hnsw.Build(
            options.m,
            options.m0,
            options.ef_construction,
            float(options.alpha),
            options.extend_candidates,
            options.keep_pruned,
        )
        self._upper = state.upper + int(ends[-1])
        self._live = state.live

    @property
    def done(self) -> bool:
        return self.next_slot >= self._stop

    @property
    def state(self) -> ColumnState:
        """The column's state once all are linked."""
        return ColumnState(self._live, True, self._upper, int(self._entry[0]), int(self._entry[1]))

    def links_wanted(self, blocks: int) -> int:
        """Free places that a step can use: a row changes its own block and those of its neighbours."""
        return self._wanted(self._build.m + 2, blocks)

    def upper_wanted(self, blocks: int) -> int:
        return self._wanted((self._build.m + 1) * int(self._levels.max()) + 1, blocks)

    def _wanted(self, per_row: int, blocks: int) -> int:
        rows = min(_STEP, self._stop - self.next_slot)
        return min(blocks + per_row, per_row * rows)

    def step(self, graph: Graph, links: Blocks, upper: Blocks) -> None:
        """Link the next rows; fewer where free places run out."""
        first = self.next_slot
        stop = min(first + _STEP, self._stop)
        # A pool of twice the beam lets dead rows conduct without crowding out the living.
        scratch = _scratch(graph, self._stop, self._upper, 2 * self._build.ef + 32)
        self.next_slot = int(
            hnsw.insert(
                graph,
                hnsw.Ownership(links.epochs, links.free, links.state),
                hnsw.Ownership(upper.epochs, upper.free, upper.state),
                first,
                stop,
                self._levels[first - self._first :],
                self._entries[first - self._first :],
                self._entry,
                self._build,
                scratch,
            )
        )


def _scratch(graph: Graph, slots: int, entries: int, pool: int) -> hnsw.Scratch:
    """This thread's working memory, large enough."""
    dim = graph.vectors.shape[1]
    degree = max(graph.links.shape[2], graph.upper.shape[2])
    pool = max(pool, 2 * degree)
    needed = np.array([slots, entries, pool, degree])
    sizes = getattr(_LOCAL, "sizes", np.zeros_like(needed))
    if (needed > sizes).any():
        _LOCAL.sizes = sizes = np.maximum(sizes, needed + needed // 8 + 1)
        slots, entries, pool_size, degree = sizes.tolist()
        _LOCAL.scratch = hnsw.new_scratch(slots, entries, pool_size, degree, dim)
    scratch: hnsw.Scratch = _LOCAL.scratch
    if len(scratch.query) != dim:
        scratch = _LOCAL.scratch = scratch._replace(query=np.zeros(dim, np.float32))
    return scratch._replace(pool_distance=scratch.pool_distance[:pool], pool_node=scratch.pool_node[:pool])
