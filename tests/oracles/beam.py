"""Algorithm 2 of the HNSW paper on plain lists: what the compiled beam search must find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence


def beam(
    lists: Mapping[int, Sequence[int]],
    distance: Callable[[int], float],
    live: Callable[[int], bool],
    start: int,
    ef: int,
) -> list[int]:
    """The nodes that a walk from `start` meets, nearest first, up to the `ef`-th live one. Dead ones conduct.

    It expands 1 + ef // 32 nodes together, at most 4.
    """
    expanded: set[int] = set()
    met = [start]
    while True:
        found = [node for node in met if live(node)][:ef]
        pool = met[: met.index(found[-1]) + 1] if len(found) == ef else met
        fresh = [node for node in pool if node not in expanded][: min(1 + ef // 32, 4)]
        if not fresh:
            return pool
        expanded.update(fresh)
        met = sorted({*met, *(other for node in fresh for other in lists[node])}, key=distance)
