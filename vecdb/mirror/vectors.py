"""The vectors of a column in memory.

Walks of the graph compare codes; vectors are wanted for the few rows that are measured at the end. So a column answers
as soon as its codes and links are in memory, and its vectors follow, some with each search.
"""

from __future__ import annotations

import math
import mmap
import platform
import sys
from contextlib import suppress
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Ranges: TypeAlias = list[tuple[int, int]]  # of slots, each from the first to before the second

_CACHE_LINE: Final = 64
_SPARSE_FROM: Final = 1 << 30  # bytes
# Linux' flag, of its processors that matter; Python has no name for it.
_NO_RESERVE: Final = 0x4000 if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else 0


class Vectors:
    """A flat array by slot: appended to, never changed below the number of slots that a version has.

    Of the slots that were stored when the column was loaded, those in `absent` blocks are not in the array yet. Only
    blocks that are full are ever absent, so that whoever reads one, of whatever version, reads the same.
    """

    def __init__(self, dim: int, capacity: int, absent: NDArray[np.bool_]) -> None:
        self.array: Float32 = flat((capacity, dim), np.float32)
        self.absent = absent
        self.since = 0  # the version from which on the array will do: others need what was gone before it was read
        self._whole = False

    @property
    def whole(self) -> bool:
        """Whether all vectors are in the array."""
        self._whole = self._whole or not self.absent.any()
        return self._whole

    def grown(self, used: Ranges, capacity: int) -> Vectors:
        """A copy of the slots that are used, with room for more."""
        # The flags first: a block that a reader fills meanwhile may miss in the copy.
        absent = self.absent.copy()
        larger = Vectors(self.array.shape[1], capacity, absent)
        larger.since = self.since
        for first, stop in used:
            larger.array[first:stop] = self.array[first:stop]
        return larger

    def forget(self, blocks: NDArray[np.int64], version: int) -> None:
        """Blocks are gone from the file, from `version` on: those that were not read will not be."""
        lost = blocks[blocks < len(self.absent)]
        if self.absent[lost].any():
            self.since = version
            self.absent[lost] = False


def flat(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """An array of zeros whose rows begin at cache lines where their length allows it. It takes memory as it is filled.
    A cache line behind the last row may be read.

    NumPy asks for huge pages for large arrays by itself.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    whole = size + 2 * _CACHE_LINE
    memory = np.zeros(whole, np.uint8) if whole < _SPARSE_FROM else _sparse(whole)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def _sparse(size: int) -> NDArray[np.uint8]:
    """Zeros that may be more than the machine's memory, as most of them are never touched: where rows came and went for
    long, what is left of them is a small part of all slots. Linux refuses that where it is not told so."""
    if not _NO_RESERVE:
        return np.zeros(size, np.uint8)
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    except OSError as error:
        raise MemoryError(f"no address space for {size} bytes") from error
    with suppress(OSError, AttributeError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)
