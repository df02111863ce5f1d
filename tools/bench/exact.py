"""The judge of every contender: exact neighbours by brute force, in NumPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.bench.datasets import Dataset, Float32

Rows = NDArray[np.int64]
Float64 = NDArray[np.float64]

_ROWS_AT_ONCE = 16_384
_SPARE = 32  # candidates beyond k that float32 scores hand on to float64 distances
_TOLERANCE = 1e-9


class Truth:
    """The k nearest distances of each query of a data set.

    All rows are scored in float32, in chunks; the distances of the best k + 32 are computed in float64.
    """

    def __init__(self, dataset: Dataset, k: int) -> None:
        self.k = min(k, len(dataset))
        self._dataset = dataset
        candidates = _candidates(dataset, self.k + _SPARE)
        self._limits = np.sort(_distances(dataset, candidates), axis=1)[:, self.k - 1]

    def recall(self, found: Rows) -> float:
        """Recall@k: the share of the true k that was found, (queries, k) row numbers with -1 where there is none.

        A row counts when it is as near as the k-th nearest, so that it does not matter which of several equal
        vectors was returned; a row returned twice counts once.
        """
        found = np.sort(found, axis=1)
        repeated = np.zeros(found.shape, np.bool_)
        repeated[:, 1:] = found[:, 1:] == found[:, :-1]
        near = _distances(self._dataset, found) <= self._limits[:, None] + _TOLERANCE
        hits = (near & ~repeated & (found >= 0)).sum(axis=1)
        return float(np.minimum(hits, self.k).mean() / self.k)


def _candidates(dataset: Dataset, most: int) -> Rows:
    """The rows with the best float32 scores, unordered: (queries, most)."""
    queries = len(dataset.queries)
    scores = np.empty((queries, 0), np.float32)
    rows = np.empty((queries, 0), np.int64)
    for start in range(0, len(dataset), _ROWS_AT_ONCE):
        part = _scores(dataset, dataset.vectors[start : start + _ROWS_AT_ONCE])
        numbers = np.broadcast_to(np.arange(start, start + part.shape[1]), part.shape)
        scores, rows = np.hstack([scores, part]), np.hstack([rows, numbers])
        if scores.shape[1] > most:
            best = np.argpartition(scores, most - 1, axis=1)[:, :most]
            scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
    return rows


def _scores(dataset: Dataset, vectors: Float32) -> Float32:
    """Numbers that order rows as their distances do: (queries, rows)."""
    dots: Float32 = dataset.queries @ vectors.T
    squares = np.einsum("ij,ij->i", vectors, vectors)
    scores: Float32 = squares - 2 * dots if dataset.metric == "l2" else -dots / np.sqrt(squares)
    return scores


def _distances(dataset: Dataset, rows: Rows) -> Float64:
    """Distances of each query to its rows (queries, n), in float64 and on vecdb's scale."""
    result = np.empty(rows.shape)
    for number, query in enumerate(dataset.queries.astype(np.float64)):
        vectors = dataset.vectors[rows[number]].astype(np.float64)
        if dataset.metric == "l2":
            result[number] = np.linalg.norm(vectors - query, axis=1)
        else:
            result[number] = 1 - vectors @ query / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
    return result
