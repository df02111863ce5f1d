"""The right answer to a search, by comparing everything in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def distances(rows: NDArray[Any], query: NDArray[Any], metric: str) -> NDArray[Any]:
    rows, query = np.asarray(rows, np.float64), np.asarray(query, np.float64)
    if metric == "l2":
        return np.sqrt(((rows - query) ** 2).sum(axis=1))
    dots = (rows * query).sum(axis=1)
    if metric == "ip":
        return -dots
    return 1 - dots / np.sqrt((rows**2).sum(axis=1) * (query**2).sum())


def nearest(rows: NDArray[Any], query: NDArray[Any], metric: str, k: int) -> list[int]:
    """Places of the k nearest rows, ascending by (distance, place)."""
    return np.argsort(distances(rows, query, metric), kind="stable")[:k].tolist()


def recall(found: Sequence[Sequence[object]], right: Sequence[Sequence[object]]) -> float:
    """The share of the right answers that were found."""
    return sum(len(set(a) & set(b)) for a, b in zip(found, right, strict=True)) / sum(map(len, right))
