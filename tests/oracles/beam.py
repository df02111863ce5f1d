"""Algorithm 2 of the HNSW paper on plain lists: what the compiled beam search must find."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence


def beam(
    lists: Sequence[Sequence[int]],
    distance: Callable[[int], float],
    live: Callable[[int], bool],
    start: int,
    ef: int,
) -> list[tuple[float, int]]:
    """The `ef` nearest live nodes that a best-first walk from `start` meets, nearest first. Dead nodes conduct."""
    visited = {start}
    candidates = [(distance(start), start)]
    best = [(-candidates[0][0], start)] if live(start) else []
    while candidates:
        near, node = heapq.heappop(candidates)
        if len(best) == ef and near > -best[0][0]:
            break
        for other in lists[node]:
            if other in visited:
                continue
            visited.add(other)
            far = distance(other)
            if len(best) < ef or far < -best[0][0]:
                heapq.heappush(candidates, (far, other))
                if live(other):
                    heapq.heappush(best, (-far, other))
                    if len(best) > ef:
                        heapq.heappop(best)
    return sorted((-far, node) for far, node in best)
