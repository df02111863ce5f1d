"""The graph of a column: the compiled kernels behind calls that own their memory and their steps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import ProgrammingError
from vecdb.index.exact import Nearest
from vecdb.index.levels import draw_levels
from vecdb.index.quantizer import Quantizer
from vecdb.index.threads import Workers, usable_cores
from vecdb.options import Metric, Vector
from vecdb.storage.catalog import ColumnState

try:
    from vecdb.kernels import ahead, build, layout
    from vecdb.kernels.graph import MOST_TOGETHER, walk
    from vecdb.kernels.layout import LAYER, SLOT, UPPER
    from vecdb.kernels.memory import Struct, address_of
    from vecdb.kernels.search import search as search_kernel
    from vecdb.kernels.signs import sign
except ValueError as error:  # VECDB_SIMD names what this machine lacks
    raise ProgrammingError(str(error)) from error

_METRICS: Final = {"l2": layout.L2, "ip": layout.IP, "cosine": layout.COSINE}
_BATCH: Final = 1024  # rows linked together: they are compared with each other, so that more would cost more
_ROWS_AT_ONCE: Final = 16  # of a task of a thread
_TARGETS_AT_ONCE: Final = 512
# Where a filter lets less than this of its share of all rows through near a query, a walk goes twice as far; where less
# than half of this, it would overlook what matches elsewhere, and gives up.
_SHARE_HOPED: Final = 0.9
_WHOLE: Final = 8  # times the beam: of fewer rows, a search does not end early
_NARROW: Final = 16  # up to this beam, searches hardly ever end early
_NEAREST: Final = 10  # at the least, that are found before a search ends early: fewer may all be in a corner
_LOCAL = threading.local()


class BlocksView(Protocol):
    """Copy-on-write blocks of one version."""

    @property
    def arena(self) -> NDArray[Any]: ...
    @property
    def table(self) -> NDArray[np.int32]: ...


class Blocks(BlocksView, Protocol):
    """Copy-on-write blocks that the writer changes."""

    @property
    def per_block(self) -> int: ...
    @property
    def count(self) -> int: ...
    def own_records(self, records: NDArray[np.int64], /) -> None: ...


@dataclass(frozen=True, eq=False)
class Graph:
    """A version's graph, ready for kernels, and what is asked about it before they run."""

    struct: Struct
    metric: Metric
    state: ColumnState
    slots: int
    dim: int
    degree: int  # the most neighbours of a node
    share: float | None = None  # of its nodes, those that may be found, where a filter decides which

    def among(self, matches: NDArray[np.uint8], matching: int) -> Graph:
        """The same graph, of which only some live slots may be found: `matching` of them, those whose bits are set in
        `matches`, (blocks, bytes) as live bits are."""
        struct = layout.with_live(self.struct, matches, np.arange(len(matches), dtype=np.int32))
        return replace(self, struct=struct, share=matching / max(self.state.live + self.state.waiting, 1))

    def search(
        self, queries: NDArray[np.float32], k: int, ef: int, *, least: int | None = None, measured: bool = True
    ) -> Nearest:
        """The k nearest live slots to each query (n, dim), by a beam of `ef` on the base layer; what the walk took for
        the nearest, in its order and without distances, where they are not `measured` by their vectors.

        Where only some rows may be found, the beam goes on until it has `least` of them. Queries near which they are
        much fewer than elsewhere are not answered: a walk might overlook what lies there.
        """
        state = self.state
        queries = np.ascontiguousarray(queries)
        plan = _plan_walk(self.metric, state.live, state.waiting, self.share, k, ef, least)
        scratch = scratch_for(self, self.slots + state.upper, plan.pool)
        found = Nearest.unfilled(len(queries), k)
        compared = search_kernel(
            self.struct.address,
            state.entry_layer,
            state.entry_node,
            address_of(queries),
            len(queries),
            k,
            plan.near,
            plan.ef,
            plan.least,
            plan.hoped,
            plan.reranked if measured else 0,
            address_of(found.slots),
            address_of(found.distances),
            address_of(found.counts),
            scratch.address,
        )
        return found._replace(compared=int(compared))


def make_graph(
    metric: Metric,
    state: ColumnState,
    slots: int,
    quantizer: Quantizer | None,
    codes: NDArray[np.uint8],
    weights: NDArray[np.float32],
    signs: NDArray[np.int64],
    vectors: NDArray[np.float32],
    links: BlocksView,
    upper: BlocksView,
    live: BlocksView,
) -> Graph:
    struct = layout.new_graph(
        metric=_METRICS[metric],
        codes=None if quantizer is None else codes,
        weights=weights,
        signs=signs,
        grid=np.zeros(1, np.float32) if quantizer is None else quantizer.grid,
        vectors=vectors,
        live=(live.arena, live.table),
        links=(links.arena, links.table),
        upper=(upper.arena, upper.table),
    )
    return Graph(struct, metric, state, slots, vectors.shape[1], links.arena.shape[2])


def fill_signs(
    codes: NDArray[np.uint8],
    weights: NDArray[np.float32],
    signs: NDArray[np.int64],
    first: int,
    stop: int,
    dim: int,
) -> None:
    """Make signs (slots, words) of the slots `first` to `stop`, of their codes (slots, width) and weights (slots,)."""
    sign(address_of(codes), address_of(weights), address_of(signs), first, stop, codes.shape[1], dim)


class _Walk(NamedTuple):
    """What the kernel is told besides the queries."""

    near: int  # how many must be found before the walk ends early; 0 where it does not
    ef: int
    least: int
    hoped: int
    reranked: int  # how many are measured by their vectors
    pool: int  # the places that it needs


@lru_cache
def _plan_walk(
    metric: Metric, live: int, waiting: int, share: float | None, k: int, ef: int, least: int | None
) -> _Walk:
    """For a search as `Graph.search` has it, of a graph with so many nodes that live and that wait for repair."""
    beam = max(ef, k)
    # Inner products are no distances; and a beam that holds a good part of all rows is to find whatever there is.
    adaptive = metric != "ip" and _WHOLE * beam < live
    if adaptive:
        beam = _widened(beam)
    near, measured = max(k, _NEAREST) if adaptive else 0, _reranked(k, beam)
    if share is None:
        # Dead rows take places in the pool, so that it must be longer where many are dead.
        return _Walk(near, 0, beam, 0, measured, int(1.25 * beam * (live + waiting) / max(live, 1)) + 64)
    width = beam + beam // 8
    matching = max(_widened(least or 0) if adaptive else least or 0, k)
    pool = int(2 * max(width, matching / share)) + 64
    return _Walk(near, width, matching, int(width * share * _SHARE_HOPED), measured, pool)


def _widened(beam: int) -> int:
    """A beam that ends early and finds as much as one of `beam` that does not."""
    return beam + max(0, beam - _NARROW) // 2


def _reranked(k: int, ef: int) -> int:
    """How many of the nearest by their codes are measured by their vectors: more than k, as codes may order rows
    wrongly, and the more the wider the search."""
    return min(ef, 2 * k + ef // 4)


def load_kernels() -> None:
    """Load or compile what a search needs."""
    ahead.load_search()


@cache
def _load_linking_kernels() -> None:
    ahead.load_linking(beside=usable_cores() > 1)


class Editor:
    """Changes a column's graph: what linking and repair have in common."""

    def __init__(
        self, options: Vector, slots: int, make: Callable[[], Graph], links: Blocks, upper: Blocks, workers: Workers
    ) -> None:
        """`make` gives the graph as it is at the time; `links` and `upper` have blocks for all that is to be written,
        of so many `slots`."""
        self._slots = slots
        self._make = make
        self._made: tuple[Graph, NDArray[Any], NDArray[Any]] | None = None
        self._links = links
        self._upper = upper
        self._workers = workers
        self._ef = options.ef_construction
        self._limits = options.m0, options.m
        self._build = build.new_build(
            ef=self._ef,
            # Walks measure squared distances; inner products are no distances, and have no slack.
            slack=1.0 if options.metric == "ip" else options.alpha**2,
            extend=options.extend_candidates,
            limits=self._limits,
            fill=options.keep_pruned,
        )

    def _attach(self, layer: int, targets: NDArray[Any], sources: NDArray[Any]) -> None:
        """Give each target the link to the source beside it."""
        if len(targets) == 0:
            return
        pairs = targets.astype(np.int64) << 32 | sources
        pairs.sort()
        targets, sources = pairs >> 32, pairs & 0xFFFFFFFF
        starts = _starts(targets)
        targets = targets[starts]
        starts = np.append(starts, len(pairs))
        blocks = self._links if layer == 0 else self._upper
        blocks.own_records(targets)
        groups = address_of(targets), address_of(starts), address_of(sources)

        def attach(struct: Any, scratch: Any, start: int, end: int) -> None:
            build.attach(struct, layer, *groups, start, end, self._build.address, scratch)

        self._run(attach, 0, len(targets), _TARGETS_AT_ONCE)

    def _run(self, work: Callable[[Any, Any, int, int], None], first: int, stop: int, at_once: int) -> None:
        """Have all workers do parts of `first` to `stop`; `work` also gets the graph's address and a scratch's."""
        graph = self._present()

        def part(start: int, end: int) -> None:
            work(graph.struct.address, self._scratch(graph).address, start, end)

        self._workers.run(part, first, stop, at_once)

    def _present(self) -> Graph:
        """The graph as it is, made anew only where blocks have moved to a larger arena; their tables stay meanwhile."""
        links, upper = self._links.arena, self._upper.arena
        if self._made is None or self._made[1] is not links or self._made[2] is not upper:
            self._made = self._make(), links, upper
        return self._made[0]

    def _scratch(self, graph: Graph) -> Struct:
        # A pool of twice the beam lets dead rows conduct without crowding out the living. A node may be chosen by a
        # whole batch.
        pool = max(2 * self._ef + 32, _BATCH + graph.degree)
        return scratch_for(graph, self._slots + self._upper.count * self._upper.per_block, pool)


class Linker(Editor):
    """Links slots into a graph, a batch at a time."""

    def __init__(
        self,
        options: Vector,
        state: ColumnState,
        first: int,
        live: NDArray[np.bool_],
        make: Callable[[], Graph],
        links: Blocks,
        upper: Blocks,
        workers: Workers,
    ) -> None:
        """`live` (slots,) tells which of the slots from `first` on have a vector; others get no links. For the rest,
        see `Editor`."""
        _load_linking_kernels()
        stop = first + len(live)
        super().__init__(options, stop, make, links, upper, workers)
        self.next_slot = first
        self._first = first
        self._stop = stop
        self._live = live
        self._levels = np.where(live, draw_levels(options.seed, first, stop, options.m), 0)
        ends = np.cumsum(self._levels)
        self._entries = state.upper + ends - self._levels
        self.entries = state.upper + int(ends[-1])  # of upper layers, once all are linked
        self.entry_point = state.entry_layer, state.entry_node
        self._linked = state.live - int(np.count_nonzero(live)) if state.linked else 0

    @property
    def done(self) -> bool:
        return self.next_slot >= self._stop

    def step(self) -> None:
        """Link the next batch: at most as many rows as the graph has, so that they find neighbours in it."""
        first = self.next_slot
        if self.entry_point[1] < 0:
            # Nothing to link the first row to.
            live = np.flatnonzero(self._live[first - self._first :])
            stop = first + int(live[0]) + 1 if len(live) else self._stop
            if len(live):
                self._write_heads(stop - 1, stop)
                self._rise(stop - 1, stop)
                self._linked = 1
            self.next_slot = stop
            return
        stop = min(first + _BATCH, first + max(self._linked, 1), self._stop)
        self._write_heads(first, stop)
        within = slice(first - self._first, stop - self._first)
        levels, entries = self._levels[within], self._entries[within]
        first_entry, stop_entry = int(entries[0]), int(entries[-1] + levels[-1])
        lists = np.full((stop - first, self._limits[0]), -1, np.int32)
        upper_lists = np.full((stop_entry - first_entry, self._limits[1]), -1, np.int32)
        batch = build.new_batch((first, stop), (first_entry, stop_entry), levels, entries, lists, upper_lists)
        layer, node = self.entry_point

        def choose(struct: Any, scratch: Any, start: int, end: int) -> None:
            build.choose(struct, layer, node, batch.address, start, end, self._build.address, scratch)

        self._run(choose, first, stop, _ROWS_AT_ONCE)
        struct = self._present().struct.address
        build.settle(struct, batch.address, self._build.address, address_of(_no_children(self._stop)))
        for layer, chosen, start in ((0, lists, first), (1, upper_lists, first_entry)):
            rows, places = (chosen >= 0).nonzero()
            self._attach(layer, chosen[rows, places], rows + start)
        self._rise(first, stop)
        self._linked += int(np.count_nonzero(self._live[within]))
        self.next_slot = stop

    def _write_heads(self, first: int, stop: int) -> None:
        """Make the slots' records ready, and those of their upper entries."""
        self._links.own_records(np.arange(first, stop))
        within = slice(first - self._first, stop - self._first)
        levels, entries = self._levels[within], self._entries[within]
        slots = np.flatnonzero(levels) + first
        if len(slots) == 0:
            return
        high = levels[slots - first]
        write_items(self._links, slots, UPPER, entries[slots - first])
        numbers = np.arange(entries[0], entries[-1] + levels[-1])
        self._upper.own_records(numbers)
        owners = np.repeat(slots, high)
        write_items(self._upper, numbers, SLOT, owners)
        write_items(self._upper, numbers, LAYER, numbers - np.repeat(entries[slots - first], high) + 1)

    def _rise(self, first: int, stop: int) -> None:
        """Move the entry point to the first of the highest of these slots, if that is higher than it."""
        levels = np.where(self._live, self._levels, -1)[first - self._first : stop - self._first]
        highest = int(np.argmax(levels))
        level = int(levels[highest])
        if level > self.entry_point[0] or self.entry_point[1] < 0:
            entry = int(self._entries[first - self._first + highest])
            self.entry_point = level, entry + level - 1 if level > 0 else first + highest


def _no_children(slots: int) -> NDArray[np.int32]:
    """This thread's counts of children, (slots or more,): all 0, and left so by whoever uses them."""
    counts: NDArray[np.int32] = getattr(_LOCAL, "children", np.zeros(0, np.int32))
    if len(counts) < slots:
        _LOCAL.children = counts = np.zeros(slots + slots // 8, np.int32)
    return counts


def _starts(numbers: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where the runs of equal ones begin in sorted numbers, of which there are some."""
    return np.append(0, (numbers[1:] != numbers[:-1]).nonzero()[0] + 1)


def write_items(blocks: Blocks, nodes: NDArray[np.int64], item: int | slice, values: Any) -> None:
    """Set an item, or some, of nodes' records, in blocks that the writer owns."""
    blocks.arena[blocks.table[nodes // blocks.per_block], nodes % blocks.per_block, item] = values


def scratch_for(graph: Graph, nodes: int, pool: int) -> Struct:
    """This thread's working memory, large enough."""
    needed = nodes, max(pool, MOST_TOGETHER * graph.degree + 1), graph.dim
    sizes = getattr(_LOCAL, "sizes", (0, 0, 0))
    if needed[0] > sizes[0] or needed[1] > sizes[1] or needed[2] != sizes[2]:
        _LOCAL.sizes = sizes = max(sizes[0], nodes + nodes // 8), max(sizes[1], needed[1]), graph.dim
        _LOCAL.scratch = layout.new_scratch(sizes[0], sizes[1], sizes[1], graph.dim, walk.address)
    scratch: Struct = _LOCAL.scratch
    # No more than was asked for, or what is found among dead rows would depend on what the thread did before.
    scratch.set(layout.VISITED_WORDS, nodes // 64 + 1)
    scratch.set(layout.POOL_SIZE, needed[1])
    return scratch
