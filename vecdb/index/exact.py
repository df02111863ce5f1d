"""Exact nearest neighbours by comparing every row, in NumPy alone: small tables, `exact=True`, and the judge of the
graph's answers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vecdb.options import Metric

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Slots = NDArray[np.int64]

_BLOCK_BYTES = 1 << 24  # of vectors, or of their scores, at once


class Nearest(NamedTuple):
    """Results of a batch of queries; what lies past a query's count is padding."""

    slots: NDArray[np.int32]  # (queries, k)
    distances: Float64  # (queries, k) ascending
    counts: NDArray[np.int64]  # (queries,)
    compared: int

    @classmethod
    def empty(cls, queries: int, k: int) -> Nearest:
        result = cls.unfilled(queries, k)
        result.slots.fill(-1)
        result.distances.fill(np.inf)
        result.counts.fill(0)
        return result

    @classmethod
    def unfilled(cls, queries: int, k: int) -> Nearest:
        """For a kernel, which writes all."""
        return cls(np.empty((queries, k), np.int32), np.empty((queries, k)), np.empty(queries, np.int64), 0)


class Rows(Protocol):
    """Vectors by slot: an array (slots, dim), or something that is read like one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, slots: slice | Slots, /) -> Float32: ...


def scan(vectors: Rows, slots: Slots, queries: Float32, k: int, metric: Metric) -> Nearest:
    """The k nearest of the rows `slots` of `vectors` to each query, ascending by (distance, slot).

    A float32 pass through BLAS finds the candidates: all rows whose score lies within its rounding error of the
    k-th best. Their distances are then computed in float64.
    """
    result = Nearest.empty(len(queries), k)
    if len(slots) == 0:
        return result
    whole = len(slots) == slots[-1] + 1 and slots[0] == 0
    rows_at_once = max(1, _BLOCK_BYTES // (4 * max(vectors.shape[1], len(queries))))
    most = min(k, len(slots))
    kept: list[tuple[Slots, Float64]] = [(np.empty(0, np.int64), np.empty(0))] * len(queries)
    for start in range(0, len(slots), rows_at_once):
        part = slots[start : start + rows_at_once]
        rows = vectors[start : start + len(part)] if whole else vectors[part]
        scores, errors = _scores(rows, queries, metric)
        for number, query in enumerate(queries):
            score = scores[number]
            if len(part) > most:
                bound = np.partition(score, most - 1)[most - 1]
                near = np.flatnonzero(score <= bound + 2 * errors[number])
            else:
                near = np.arange(len(part))
            exact = distances(rows[near], query, metric)
            old_slots, old_distances = kept[number]
            kept[number] = _best(np.concatenate([old_slots, part[near]]), np.concatenate([old_distances, exact]), most)
    for number, (found, exact) in enumerate(kept):
        result.slots[number, : len(found)] = found
        result.distances[number, : len(found)] = exact
        result.counts[number] = len(found)
    return result._replace(compared=len(slots) * len(queries))


def rank(walked: Nearest, vectors: Rows, queries: Float32, k: int, metric: Metric) -> Nearest:
    """The k nearest to each query of those that a walk found, ascending by (distance, slot)."""
    result = Nearest.empty(len(queries), k)
    for number, query in enumerate(queries):
        slots = np.sort(walked.slots[number, : walked.counts[number]]).astype(np.int64)
        found, exact = _best(slots, distances(vectors[slots], query, metric), k)
        result.slots[number, : len(found)] = found
        result.distances[number, : len(found)] = exact
        result.counts[number] = len(found)
    return result._replace(compared=walked.compared)


def distances(rows: Float32, query: Float32, metric: Metric) -> Float64:
    """Distances on the public scale of each row to the query, in float64."""
    wide = rows.astype(np.float64)
    point = query.astype(np.float64)
    result: Float64
    if metric == "l2":
        wide -= point
        result = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        return result
    # Not through BLAS, whose sums depend on a row's place: equal rows have equal distances.
    dots: Float64 = np.einsum("ij,j->i", wide, point)
    if metric == "ip":
        result = -dots
        return result
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide) * (point @ point))
    result = np.maximum(0.0, 1.0 - dots / lengths)
    return result


def _scores(rows: Float32, queries: Float32, metric: Metric) -> tuple[Float32, Float32]:
    """Numbers that order rows as their distances do, (queries, rows), and a bound of their rounding error."""
    unit = np.float32(rows.shape[1] * 2.0**-23)
    underflow = np.float32(8 * rows.shape[1]) * np.finfo(np.float32).smallest_subnormal
    if metric == "cosine":
        queries = (queries / np.linalg.norm(queries.astype(np.float64), axis=1)[:, None]).astype(np.float32)
    dots = queries @ rows.T
    squares = np.einsum("ij,ij->i", rows, rows)
    lengths = np.linalg.norm(queries, axis=1)
    longest = np.sqrt(squares.max())
    if metric == "cosine":
        return -dots / np.sqrt(squares), np.full(len(queries), 4 * unit, np.float32)
    if metric == "ip":
        return -dots, unit * lengths * longest + underflow
    return squares - 2 * dots, unit * (longest + 2 * lengths) * longest + underflow


def _best(slots: Slots, exact: Float64, most: int) -> tuple[Slots, Float64]:
    order = np.lexsort((slots, exact))[:most]
    return slots[order], exact[order]
