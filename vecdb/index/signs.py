"""Signs: a bit for each dimension of a row, by which most rows are known to be too far without reading their codes.

With x a row less the quantizer's mean, its bits say which numbers of x are positive. From them and the lengths of x,
the inner product with a query q follows up to an error: q.x is about q.s * |x|² / |x|₁, where s has the signs of x, and
off by |q| * sqrt(D |x|⁴ / |x|₁² - |x|²) / sqrt(D - 1) as a standard deviation over random directions. So says RaBitQ
(J. Gao and C. Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
Neighbor Search", arXiv:2405.12497), which turns the space at random first; what comes out of models is spread over its
dimensions well enough as a rule. Where a few dimensions have most of it the error is another, and signs are not used:
`signs_tell` looks at some rows.

Signs are made of codes, by `kernels/signs.py: sign`, when a graph is first walked, and live in memory only. For scans
of many rows that lie together they are laid side by side as well, by `kernels/signs.py: group`, when such a scan comes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

WORD: Final = 64  # bits
NUMBERS: Final = 2  # words of a row that come after its bits: its weight, the bits set, |x|² / |x|₁ and the error
_FEWEST_CODES: Final = 320  # bytes of a row, from which on it takes less time to look at signs first
_MOST_GROUPED: Final = 64  # words of bits, of which the sums that are looked up, of 15 at most for each, fit 16 bits
PROBED_ROWS: Final = 256  # whose products are looked at
_MOST_SPREAD, _MOST_BIAS = 1.25, 0.5  # of their errors, in those that are expected


def words_of(width: int) -> int:
    """Words of a row's signs where it has `width` bytes of codes; 0 where signs would win nothing."""
    return width // WORD + NUMBERS if width >= _FEWEST_CODES else 0


def groups_shape(slots: int, words: int) -> tuple[int, int]:
    """Of the array in which the signs of so many slots lie side by side, in groups of as many slots as a word has
    bits."""
    return (-(-slots // WORD), 8 * words * WORD) if 0 < words <= _MOST_GROUPED + NUMBERS else (0, 0)


def signs_tell(steps: NDArray[np.float32]) -> bool:
    """Whether products of rows (some, dim), less the mean, are off from what signs say as is expected."""
    if len(steps) < 2:
        return False
    ratio, error = _numbers(steps)
    products = steps @ (steps - ratio[:, None] * np.where(steps > 0, 1, -1).astype(np.float32)).T
    expected = np.linalg.norm(steps, axis=1)[:, None] * error
    others = ~np.eye(len(steps), dtype=bool) & (expected > 0)
    off = products[others] / expected[others]
    return bool(len(off) and off.std() <= _MOST_SPREAD and abs(off.mean()) <= _MOST_BIAS)


def _numbers(steps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """By row, |x|² / |x|₁ and the error, for a query of length 1."""
    dim = steps.shape[1]
    squares = np.einsum("ij,ij->i", steps, steps)
    ratio = squares / np.maximum(np.abs(steps).sum(axis=1), np.float32(np.finfo(np.float32).tiny))
    return ratio, np.sqrt(np.maximum(dim * ratio * ratio - squares, 0) / max(dim - 1, 1))
