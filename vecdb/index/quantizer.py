"""Codes of 8 bits a dimension: what walks of the graph compare instead of vectors.

A code is the distance from the mean of the column, in steps: round((x - mean) / step) + 128, from 1 to 255. One step
serves all dimensions, so that the squared distance of two vectors is that of their codes times step². What lies
outside the range is clipped; distances that are returned come from the vectors themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vecdb.index.signs import PROBED_ROWS, signs_tell
from vecdb.options import Metric

Float32 = NDArray[np.float32]

TRAINING_ROWS = 10_000
CODE_BLOCK = 64  # codes of a row are padded to a multiple of it, as kernels want it
_CLIPPED = 0.0005  # share of the numbers that training leaves outside the range
_TAIL = 4.0  # times what 95 % of the numbers reach is the farthest range: a few rows far off must not coarsen all codes
_TOP = 127
ZERO_CODE = 128  # of the mean; padding too, which so adds nothing to any distance
_MOST_CLIPPED = 0.05  # share of a row's numbers outside the range, above which the row is an outlier


@dataclass(frozen=True, eq=False)
class Quantizer:
    """How a column's vectors are rounded."""

    mean: Float32  # (dim,)
    step: float
    signs: bool = False  # whether signs of rows tell their distances

    @classmethod
    def train(cls, vectors: Float32, metric: Metric) -> Quantizer:
        """From some vectors (rows, dim): all of them, or a sample."""
        sample = _directions(vectors, metric)
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = np.abs(sample - mean).ravel()
        most, tail = (min(len(spread) - 1, int(len(spread) * share)) for share in (1 - _CLIPPED, 0.95))
        spread.partition((tail, most))
        top = float(spread[most])
        if metric != "ip":  # where the longest rows are the nearest
            top = min(top, _TAIL * float(spread[tail]))
        top = top or float(spread.max())
        step = max(top / _TOP, float(np.finfo(np.float32).tiny))
        some = sample[:: max(1, len(sample) // PROBED_ROWS)][:PROBED_ROWS]
        return cls(mean, step, signs_tell((some - mean) / np.float32(step)))

    @cached_property
    def grid(self) -> Float32:
        """(dim + 1,): the mean, then the step."""
        return np.append(self.mean, np.float32(self.step))

    def serves_as(self, other: Quantizer) -> bool:
        """Whether it rounds about as well as the other does what the other was trained for."""
        moved = float(np.abs(self.mean - other.mean).max())
        near = 0.7 <= self.step / other.step <= 1.4 and moved <= 0.3 * _TOP * other.step
        return bool(near and self.signs == other.signs)

    def encode(self, vectors: Float32, metric: Metric, codes: NDArray[np.uint8], weights: Float32) -> NDArray[np.bool_]:
        """Fill codes (rows, dim or more) and weights (rows,) of vectors (rows, dim); which rows (rows,) are outliers.

        A row's weight is what its distances begin from, in step².
        """
        steps = _directions(vectors, metric) - self.mean
        steps /= np.float32(self.step)
        np.rint(steps, out=steps)
        outside = np.add.reduce(np.abs(steps) > _TOP, axis=1)
        steps.clip(-_TOP, _TOP, out=steps)
        if metric == "ip":
            # -2 x.y is -2 (x - mean).y but for what is the same for all x; where y is given less the mean, too, what
            # that leaves out is a weight of x.
            weights[:] = steps @ (self.mean * np.float32(-2.0 / self.step))
        else:
            weights[:] = np.einsum("ij,ij->i", steps, steps)
        steps += ZERO_CODE
        codes[:, : steps.shape[1]] = steps
        codes[:, steps.shape[1] :] = ZERO_CODE
        outliers: NDArray[np.bool_] = outside > max(2.0, _MOST_CLIPPED * steps.shape[1])
        return outliers

    def decode(self, codes: NDArray[np.uint8]) -> Float32:
        """About the vectors of codes (rows, dim); under cosine their directions."""
        vectors: Float32 = self.mean + (codes.astype(np.float32) - ZERO_CODE) * np.float32(self.step)
        return vectors


def inverse_lengths(vectors: Float32) -> Float32:
    """1 / the Euclidean length of each vector (rows, dim); 0 of a zero vector."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    inverse: Float32 = np.divide(1.0, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
    return inverse


def _directions(vectors: Float32, metric: Metric) -> Float32:
    return vectors * inverse_lengths(vectors)[:, None] if metric == "cosine" else vectors.astype(np.float32)
