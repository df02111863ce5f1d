"""Distances of rows to a query that steer walks and scans: by codes, else by vectors.

They are float32 and need only be right in their order; under codes they are those between rounded vectors, in squared
steps of the codes.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from vecdb.kernels.jit import inline, jit, paste
from vecdb.kernels.layout import (
    CODE,
    CODED,
    CODES,
    COSINE,
    DIM,
    GRID,
    IP,
    L2,
    METRIC,
    POINT,
    TERMS,
    VECTORS,
    WEIGHTS,
    WIDTH,
    ZERO_CODE,
)
from vecdb.kernels.memory import CACHE_LINE, field, get_f32, get_u8, prefetch, set_f32, set_u8, shift
from vecdb.kernels.simd import dot

_MOST_LINES: Final = 8  # of a float32 vector; what comes after, the processor fetches by itself


@paste
def load_query(graph: Any, vector: Any, scratch: Any) -> None:
    """Make a vector, the address of float32 numbers, the query."""
    dim = field(graph, DIM)
    point = field(scratch, POINT)
    scale = np.float32(1.0)
    if field(graph, METRIC) == COSINE:
        total = 0.0
        for i in range(dim):
            total += np.float64(get_f32(vector, i)) * np.float64(get_f32(vector, i))
        scale = np.float32(1.0 / math.sqrt(total))
    for i in range(dim):
        set_f32(point, i, get_f32(vector, i) * scale)
    if field(graph, CODED):
        _encode_query(graph, dim, point, scratch)


@paste
def _encode_query(graph: Any, dim: Any, point: Any, scratch: Any) -> None:
    """The query in codes of its own steps: it may lie outside the range of the rows, or use little of it."""
    grid = field(graph, GRID)
    code = field(scratch, CODE)
    top = np.float32(0.0)
    for i in range(dim):
        top = max(top, abs(get_f32(point, i) - get_f32(grid, i)))
    row_step = get_f32(grid, dim)
    step = top / np.float32(127.0) if top > np.float32(0.0) else row_step
    total = np.int64(0)
    for i in range(dim):
        number = np.int64(math.floor((get_f32(point, i) - get_f32(grid, i)) / step + np.float32(0.5)))
        set_u8(code, i, number)
        total += number
    for i in range(dim, field(graph, WIDTH)):
        set_u8(code, i, np.int64(0))
    _set_terms(np.float32(2.0) * step / row_step, total, np.float32(0.0), scratch)
    squares = np.float32(0.0)
    for i in range(dim):
        offset = (get_f32(point, i) - get_f32(grid, i)) / row_step
        squares += offset * offset
    set_f32(field(scratch, TERMS), 2, squares)


@jit
def load_row(graph: Any, slot: Any, scratch: Any) -> None:
    """Make a stored row the query."""
    if field(graph, CODED):
        width = field(graph, WIDTH)
        codes = shift(field(graph, CODES), slot * width, 1)
        code = field(scratch, CODE)
        total = np.int64(0)
        for i in range(width):
            number = get_u8(codes, i) - ZERO_CODE
            set_u8(code, i, number & 255)
            total += number
        _set_terms(np.float32(2.0), total, get_f32(field(graph, WEIGHTS), slot), scratch)
    else:
        dim = field(graph, DIM)
        vector = shift(field(graph, VECTORS), slot * dim, 4)
        point = field(scratch, POINT)
        scale = get_f32(field(graph, WEIGHTS), slot) if field(graph, METRIC) == COSINE else np.float32(1.0)
        for i in range(dim):
            set_f32(point, i, get_f32(vector, i) * scale)


@paste
def _set_terms(scale: Any, total: Any, weight: Any, scratch: Any) -> None:
    # (codes - ZERO_CODE) * query = codes * query - ZERO_CODE * (sum of query)
    terms = field(scratch, TERMS)
    set_f32(terms, 0, scale)
    set_f32(terms, 1, scale * np.float32(ZERO_CODE * total) + weight)


@inline
def distance_to(graph: Any, slot: Any, scratch: Any) -> Any:
    """A float32 number that orders rows as their distances to the query do."""
    weight = get_f32(field(graph, WEIGHTS), slot)
    if field(graph, CODED):
        width = field(graph, WIDTH)
        product = dot(shift(field(graph, CODES), slot * width, 1), field(scratch, CODE), width)
        terms = field(scratch, TERMS)
        return weight - get_f32(terms, 0) * np.float32(product) + get_f32(terms, 1)
    dim = field(graph, DIM)
    vector = shift(field(graph, VECTORS), slot * dim, 4)
    return _between(field(graph, METRIC), field(scratch, POINT), vector, dim, weight)


@jit
def _between(metric: Any, point: Any, vector: Any, dim: Any, weight: Any) -> Any:
    """`distance_to` without codes."""
    total = np.float32(0.0)
    if metric == L2:
        for i in range(dim):
            step = get_f32(point, i) - get_f32(vector, i)
            total += step * step
        return total
    for i in range(dim):
        total += get_f32(point, i) * get_f32(vector, i)
    if metric == IP:
        return -total
    return np.float32(1.0) - total * weight


@inline
def fetch_row(graph: Any, slot: Any) -> None:
    """Have a row brought into the cache."""
    if field(graph, CODED):
        width = field(graph, WIDTH)
        codes = shift(field(graph, CODES), slot * width, 1)
        for line in range(0, width, CACHE_LINE):
            prefetch(codes, line)
    else:
        fetch_vector(graph, slot)


@paste
def fetch_vector(graph: Any, slot: Any) -> None:
    """Have the beginning of a vector brought into the cache."""
    dim = field(graph, DIM)
    vector = shift(field(graph, VECTORS), slot * dim, 4)
    for line in range(0, min(4 * dim, _MOST_LINES * CACHE_LINE), CACHE_LINE):
        prefetch(vector, line)
