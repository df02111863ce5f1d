"""Which slots a walk on the base layer can come to: plainly, by one step after the other from the entry point."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_NODES_AT_ONCE: Final = 1 << 16


def reachable_from(
    start: int, arena: NDArray[np.int32], table: NDArray[np.int32], slots: int, head: int
) -> NDArray[np.bool_]:
    """A flag for each of `slots`: those that links lead to from `start`.

    Records are in blocks (place, records, numbers) with the places of their numbers; neighbours come after `head`
    numbers, ended by a -1.
    """
    per_block = arena.shape[1]
    found = np.zeros(slots, np.bool_)
    found[start] = True
    nodes: NDArray[Any] = np.array([start])
    while len(nodes):
        step = np.zeros(slots, np.bool_)
        for first in range(0, len(nodes), _NODES_AT_ONCE):
            part = nodes[first : first + _NODES_AT_ONCE]
            lists = arena[table[part // per_block], part % per_block, head:]
            step[lists[lists >= 0]] = True
        step &= ~found
        found |= step
        nodes = np.flatnonzero(step)
    return found
