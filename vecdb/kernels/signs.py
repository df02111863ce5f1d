"""At least how far rows are, by their signs: see `index/signs.py`.

The query is rounded to 4 bits a dimension, u of 0 to 15 standing for (u - 7.5) steps, which are kept as 4 planes of
bits. So an inner product with signs is a few words' bits that are counted.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from vecdb.kernels.distance import fetch_row
from vecdb.kernels.jit import inline, paste
from vecdb.kernels.layout import (
    CODE,
    DIM,
    FRESH,
    PLANES,
    QUERY_BITS,
    SIGN_NUMBERS,
    SIGN_TERMS,
    SIGN_WORDS,
    SIGNS,
    TERMS,
)
from vecdb.kernels.memory import (
    CACHE_LINE,
    field,
    get_f32,
    get_i64,
    get_u8,
    popcount,
    prefetch,
    set_f32,
    set_i64,
    shift,
)
from vecdb.kernels.simd import number_of

# How much nearer than it seems a row may be: so many standard deviations, one of the signs and one of the query's
# rounding. Twice as many find no more; with half of them, a beam of 20 on passages finds 0.5 % less.
_ERRORS: Final = np.float32(1.5)
_LARGEST: Final = np.float32(7.5)
_GOLDEN: Final = 40503  # 2**16 times the golden ratio less 1
_LOWER: Final = 0xFFFFFFFF


@paste
def has_signs(graph: Any) -> Any:
    """Whether a graph's rows have signs."""
    return field(graph, SIGN_WORDS) > 0


@paste
def _dither(i: Any) -> Any:
    """From 0 to 1, for rounding that is right on average: many numbers may be the same, as zeros are."""
    return np.float32((i * _GOLDEN) & 0xFFFF) / np.float32(0x10000)


@paste
def load_signs(graph: Any, scratch: Any) -> None:
    """Make ready to ask how far rows are at least from the query that was loaded."""
    dim = field(graph, DIM)
    code = field(scratch, CODE)
    top = np.int64(1)
    for i in range(dim):
        top = max(top, abs((get_u8(code, i) ^ 128) - 128))
    scale = _LARGEST / np.float32(top)
    planes = field(scratch, PLANES)
    total = np.int64(0)
    for first in range(0, dim, 64):
        bits0 = np.int64(0)
        bits1 = np.int64(0)
        bits2 = np.int64(0)
        bits3 = np.int64(0)
        for i in range(min(dim - first, 64)):
            number = (get_u8(code, first + i) ^ 128) - 128
            number = np.int64(np.float32(number) * scale + _LARGEST + _dither(first + i))
            total += number
            bits0 |= (number & 1) << i
            bits1 |= ((number >> 1) & 1) << i
            bits2 |= ((number >> 2) & 1) << i
            bits3 |= ((number >> 3) & 1) << i
        at = QUERY_BITS * (first >> 6)
        set_i64(planes, at, bits0)
        set_i64(planes, at + 1, bits1)
        set_i64(planes, at + 2, bits2)
        set_i64(planes, at + 3, bits3)
    # Twice the sum of (u - 7.5) * (2 bit - 1), in steps of the rows, and what it may be more.
    twice = get_f32(field(scratch, TERMS), 0) / scale
    rounding = np.float32(math.sqrt(dim / 12.0))
    terms = field(scratch, SIGN_TERMS)
    set_f32(terms, 0, np.float32(2.0) * twice)
    set_f32(terms, 1, np.float32(-2.0) * _LARGEST * twice)
    set_f32(terms, 2, twice * (_LARGEST * np.float32(dim) - np.float32(total) + _ERRORS * rounding))
    set_f32(terms, 3, np.float32(2.0) * _ERRORS * np.float32(math.sqrt(get_f32(field(scratch, TERMS), 2))))


@inline
def least_distance(graph: Any, slot: Any, scratch: Any) -> Any:
    """At least so much, but for rare errors, `distance_to` is."""
    words = field(graph, SIGN_WORDS) - SIGN_NUMBERS
    here = shift(field(graph, SIGNS), slot * field(graph, SIGN_WORDS), 8)
    planes = field(scratch, PLANES)
    low = np.int64(0)
    high = np.int64(0)
    for i in range(words):
        bits = get_i64(here, i)
        low += popcount(bits & get_i64(planes, 4 * i)) + 2 * popcount(bits & get_i64(planes, 4 * i + 1))
        high += popcount(bits & get_i64(planes, 4 * i + 2)) + 2 * popcount(bits & get_i64(planes, 4 * i + 3))
    terms = field(scratch, SIGN_TERMS)
    ratio, weight = get_i64(here, words), get_i64(here, words + 1)  # each a word of two numbers
    error, ones = number_of((ratio & _LOWER) << 32), number_of((weight & _LOWER) << 32)
    product = get_f32(terms, 0) * np.float32(low + 4 * high) + get_f32(terms, 1) * ones + get_f32(terms, 2)
    return number_of(weight) - number_of(ratio) * product - error * get_f32(terms, 3)


@paste
def fetch_signs(graph: Any, slot: Any) -> None:
    """Have a row's signs brought into the cache."""
    size = field(graph, SIGN_WORDS) << 3
    here = shift(field(graph, SIGNS), slot * field(graph, SIGN_WORDS), 8)
    for line in range(0, size, CACHE_LINE):
        prefetch(here, line)


@paste
def sift(graph: Any, count: Any, far: Any, scratch: Any) -> Any:
    """Keep of so many slots those that may be nearer than the key `far`, and have their rows fetched; how many."""
    fresh = field(scratch, FRESH)
    limit = number_of(far)
    kept = np.int64(0)
    for i in range(count):
        slot = get_i64(fresh, i)
        near = least_distance(graph, slot, scratch) <= limit
        set_i64(fresh, kept, slot)
        if near:
            fetch_row(graph, slot)
            kept += 1
    return kept
