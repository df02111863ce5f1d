"""Signs: a bit for each dimension of a row, by which most rows are known to be too far without reading their codes.

With x a row less the quantizer's mean, its bits say which numbers of x are positive. From them and the lengths of x,
the inner product with a query q follows up to an error: q.x is about q.s * |x|² / |x|₁, where s has the signs of x, and
off by |q| * sqrt(D |x|⁴ / |x|₁² - |x|²) / sqrt(D - 1) as a standard deviation over random directions. So says RaBitQ
(J. Gao and C. Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
Neighbor Search", arXiv:2405.12497), which turns the space at random first; what comes out of models is spread over its
dimensions well enough.

Signs are made of codes and live in memory only.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

WORD: Final = 64  # bits
NUMBERS: Final = 2  # words of a row that come after its bits: |x|² / |x|₁ and the error; its weight and the bits set
_FEWEST_CODES: Final = 320  # bytes of a row, from which on it takes less time to look at signs first
_ZERO_CODE: Final = 128


def words_of(width: int) -> int:
    """Words of a row's signs where it has `width` bytes of codes; 0 where signs would win nothing."""
    return width // WORD + NUMBERS if width >= _FEWEST_CODES else 0


def fill_signs(codes: NDArray[np.uint8], weights: NDArray[np.float32], dim: int, signs: NDArray[np.int64]) -> None:
    """Fill signs (rows, words) of rows with codes (rows, width) and weights (rows,)."""
    words = signs.shape[1] - NUMBERS
    positive = codes > _ZERO_CODE
    signs[:, :words] = np.packbits(positive, axis=1, bitorder="little").view("<i8")
    steps = codes[:, :dim].astype(np.float32)
    steps -= _ZERO_CODE
    squares = np.einsum("ij,ij->i", steps, steps)
    np.abs(steps, out=steps)
    ratio = squares / np.maximum(steps.sum(axis=1), 1)
    error = np.sqrt(np.maximum(dim * ratio * ratio - squares, 0) / max(dim - 1, 1))
    signs[:, words] = _pair(ratio, error)
    signs[:, words + 1] = _pair(weights, np.count_nonzero(positive, axis=1).astype(np.float32))


def _pair(high: NDArray[np.float32], low: NDArray[np.float32]) -> NDArray[np.int64]:
    """Two float32 numbers in a word, each as an int of the same order, which kernels turn back."""
    return _ordered(high) << 32 | _ordered(low) & 0xFFFFFFFF


def _ordered(numbers: NDArray[np.float32]) -> NDArray[np.int64]:
    bits = numbers.astype(np.float32).view(np.int32)
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
