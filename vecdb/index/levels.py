"""The highest layer of each slot, drawn from a seed: floor(-ln(U) / ln(m)), Malkov and Yashunin, Algorithm 1."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vecdb.options import MAX_LAYER

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


_CHUNK = 1024  # slots whose levels are drawn together where few are asked for, and kept


def draw_levels(seed: int, first: int, stop: int, m: int) -> NDArray[np.int64]:
    """Levels of the slots `first` to `stop`, not to be changed. They depend on the seed and the slot alone, so that a
    graph is the same however its rows were batched. The uniform numbers are SplitMix64's (Steele, Lea and Flood, 2014).
    """
    chunk = first // _CHUNK
    if (stop - 1) // _CHUNK == chunk:
        return _draw_chunk(seed, chunk, m)[first - chunk * _CHUNK : stop - chunk * _CHUNK]
    return _draw(seed, first, stop, m)


@lru_cache(maxsize=64)
def _draw_chunk(seed: int, number: int, m: int) -> NDArray[np.int64]:
    return _draw(seed, number * _CHUNK, (number + 1) * _CHUNK, m)


def _draw(seed: int, first: int, stop: int, m: int) -> NDArray[np.int64]:
    state = np.arange(first + 1, stop + 1, dtype=np.uint64)
    state = np.uint64(seed) + state * _GAMMA
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    uniform = ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return np.minimum(np.floor(-np.log(uniform) / math.log(m)), MAX_LAYER).astype(np.int64)
