"""Hits without end: nearest first, for as long as the caller goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vecdb.mirror.view import View
from vecdb.query.fetch import Wanted, fetch
from vecdb.query.results import Hit
from vecdb.query.search import Ask, find_nearest
from vecdb.storage.catalog import Column, Table

_FIRST: Final = 32  # hits that the first search is for; each further one is for several times as many
_FACTOR: Final = 4
_MOST: Final = 2048  # beyond, everything is measured once
_SPARE: Final = 4  # beam for each hit: what a search misses comes late
_FETCHED_AT_ONCE: Final = 16


def iterate(
    view: View,
    table: Table,
    column: Column,
    query: NDArray[np.float32],
    ask: Ask,
    *,
    radius: float | None,
    wanted: Wanted,
    vectors: bool,
) -> Iterator[Hit]:
    """Every row that a search of one query (1, dim) may find, each once.

    They come by searches for more and more, at last by an exact scan; each yields what is new, nearest first. A row
    that the graph overlooked comes with a later search, never not at all.
    """
    given = np.zeros(0, np.int32)
    k, last = _FIRST, ask.exact
    while True:
        beam = max(_SPARE * k, ask.ef or 0)
        slots, distances, total = find_nearest(
            view, table, column, query, ask._replace(k=table.state.slots if last else k, ef=beam, exact=last)
        )
        new = ~np.isin(slots, given)
        slots, distances = slots[new], distances[new]
        within = len(slots) if radius is None else int(np.searchsorted(distances, radius, side="right"))
        for start in range(0, within, _FETCHED_AT_ONCE):
            part = slice(start, min(start + _FETCHED_AT_ONCE, within))
            rows = fetch(view, table, slots[part], wanted, vectors)
            for row, distance in zip(rows, distances[part].tolist(), strict=True):
                yield Hit(*row, distance=distance)
        given = np.concatenate([given, slots])
        if last or len(given) >= total:
            return
        k *= _FACTOR
        last = k > _MOST or within < len(slots)
