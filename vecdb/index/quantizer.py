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
# Ranges that training tries, on some of the rows. A few rows far off must not coarsen all codes; but where what is far
# off tells rows apart, it must not be clipped.
_CLIPPED = 0.0005  # share of the numbers that are left outside of the second; outside of the third none are, and ...
_TAIL = 4.0  # ... the first is at most so many times what 95 % of them reach
_AS_GOOD = 0.005  # of the neighbours, that a finer range may miss
_COMPARED_ROWS, _ASKED_ROWS, _NEAREST = 4096, 128, 10
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
        top = _choose_range(sample - mean, mean, metric)
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


def _choose_range(centred: Float32, mean: Float32, metric: Metric) -> float:
    """How far codes reach from the mean, of rows less it: the least that finds about as many neighbours as any."""
    spread = np.abs(centred).ravel()
    tail, most = (min(len(spread) - 1, int(len(spread) * share)) for share in (0.95, 1 - _CLIPPED))
    spread.partition((tail, most))
    usual, all_ = float(spread[most]), float(spread[most:].max())
    # Those of inner products whose numbers are large are the nearest.
    ranges = [usual, all_] if metric == "ip" else [min(usual, _TAIL * float(spread[tail])), usual, all_]
    ranges = sorted({reach for reach in ranges if reach > 0}) or [all_]
    if len(ranges) == 1:
        return ranges[0]
    rows = centred[:: max(1, len(centred) // _COMPARED_ROWS)][:_COMPARED_ROWS]
    queries = rows[:: max(1, len(rows) // _ASKED_ROWS)] + (mean if metric == "ip" else 0)
    right = _nearest(rows, queries, metric)
    found = []
    for reach in ranges:
        step = np.float32(reach / _TOP)
        rounded = np.rint(rows / step).clip(-_TOP, _TOP) * step
        near = _nearest(rounded, queries, metric)
        # Of rows that a coarse range makes alike, too many are near.
        found.append(np.count_nonzero(near & right) / max(np.count_nonzero(near), np.count_nonzero(right)))
    return next(reach for reach, share in zip(ranges, found, strict=True) if share >= max(found) - _AS_GOOD)


def _nearest(rows: Float32, queries: Float32, metric: Metric) -> NDArray[np.bool_]:
    """(rows, queries): which rows are the ten nearest of each query."""
    scores = -2 * (rows @ queries.T)
    if metric != "ip":
        scores += np.einsum("ij,ij->i", rows, rows)[:, None]
    last = min(_NEAREST, len(rows)) - 1
    return np.asarray(scores <= np.partition(scores, last, axis=0)[last])


def inverse_lengths(vectors: Float32) -> Float32:
    """1 / the Euclidean length of each vector (rows, dim); 0 of a zero vector."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    inverse: Float32 = np.divide(1.0, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
    return inverse


def _directions(vectors: Float32, metric: Metric) -> Float32:
    return vectors * inverse_lengths(vectors)[:, None] if metric == "cosine" else vectors.astype(np.float32)
