"""Algorithm 2 of the HNSW paper on plain lists: what the compiled beam search must find."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence


def beam(
    lists: Mapping[int, Sequence[int]],
    distance: Callable[[int], float],
    live: Callable[[int], bool],
    start: int,
    ef: int,
    k: int = 0,
    power: int = 1,
) -> list[int]:
    """The nodes that a walk from `start` meets, nearest first, up to the `ef`-th live one. Dead ones conduct.

    It expands 1 + ef // 32 nodes together, at most 4. With `k`, it neither keeps nor expands a node farther than
    the k-th live one, times 1 + 0.007 * the root of ef to the `power` of the distances.
    """
    expanded: set[int] = set()
    met = [start]
    bound = math.inf
    while True:
        found = [node for node in met if live(node)][:ef]
        pool = met[: met.index(found[-1]) + 1] if len(found) == ef else met
        if k and len(found) >= k:
            bound = (1 + 0.007 * math.sqrt(ef)) ** power * distance(found[k - 1])
        fresh = [node for node in pool if node not in expanded and distance(node) < bound][: min(1 + ef // 32, 4)]
        if not fresh:
            return pool
        expanded.update(fresh)
        near = {other for node in fresh for other in lists[node] if distance(other) < bound}
        met = sorted({*met, *near}, key=distance)
