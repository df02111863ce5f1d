"""Vectors as SQL has them: NumPy arrays, lists, and pgvector's text `'[1,2,3]'`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import VectorError
from vecdb.index import exact
from vecdb.options import Metric


def read_vector(value: Any) -> NDArray[Any]:
    """A vector of any notation. Raises VectorError."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, str):
        inner = value.strip()
        if not (inner.startswith("[") and inner.endswith("]")):
            raise VectorError(f"a vector as text is written '[1, 2.5, 3]', not {value[:60]!r}")
        try:
            return np.array([float(item) for item in inner[1:-1].split(",")], np.float32)
        except ValueError:
            raise VectorError(f"a vector as text holds numbers with commas between them, not {value[:60]!r}") from None
    if isinstance(value, (list, tuple)):
        try:
            found = np.asarray(value)
        except (ValueError, OverflowError) as error:
            raise VectorError(f"not a vector: {error}") from error
        if found.dtype.kind in "fiu" and found.ndim == 1:
            return found
    raise VectorError(
        f"a vector is an array, a list of numbers or a text such as '[1,2,3]', not {type(value).__name__}"
    )


def distance(metric: Metric, left: Any, right: Any) -> float:
    """The distance between two vectors, as a search computes it. Raises VectorError."""
    one, other = read_vector(left), read_vector(right)
    if one.ndim != 1 or one.shape != other.shape:
        raise VectorError(f"vectors of shapes {one.shape} and {other.shape} have no distance")
    with np.errstate(all="ignore"):
        found = exact.distances(one[None].astype(np.float32), other.astype(np.float32), metric)
    return float(found[0])


def combine(op: str, left: Any, right: Any) -> NDArray[Any]:
    """Two vectors, item by item. Raises VectorError."""
    calculate = {"+": np.add, "-": np.subtract, "*": np.multiply}.get(op)
    one, other = read_vector(left), read_vector(right)
    if calculate is None or one.shape != other.shape:
        raise VectorError(f"vectors of shapes {one.shape} and {other.shape} can't be combined by {op}")
    with np.errstate(all="ignore"):
        result: NDArray[Any] = calculate(one, other)
    return result


def norm(value: Any) -> float:
    vector = read_vector(value).astype(np.float64)
    return float(np.sqrt(vector @ vector))
