"""Live bits: which slots have a vector that may be found."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def are_live(arena: NDArray[np.uint8], table: NDArray[np.int32], slots: NDArray[Any]) -> NDArray[np.bool_]:
    """Which slots have their bit set, in blocks (place, bytes) with the places of their numbers."""
    block, byte = np.divmod(slots >> 3, arena.shape[1])
    return (arena[table[block], byte] >> (slots & 7).astype(np.uint8) & 1).view(np.bool_)
