"""At least how far rows are, by their signs: see `index/signs.py`.

The query is rounded to 4 bits a dimension, u of 0 to 15 standing for (u - 7.5) steps, which are kept as 4 planes of
bits. So an inner product with signs is a few words' bits that are counted.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from vecdb.kernels.distance import fetch_row
from vecdb.kernels.jit import Kernel, inline, paste
from vecdb.kernels.layout import (
    CODE,
    DIM,
    FRESH,
    PLANES,
    SIGN_NUMBERS,
    SIGN_TERMS,
    SIGN_WORDS,
    SIGNS,
    TABLES,
    TERMS,
    ZERO_CODE,
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
    set_u8,
    shift,
)
from vecdb.kernels.simd import (
    COUNTS_BLOCKS,
    GROUP,
    QUERY_BITS,
    ROWS_TOGETHER,
    TABLE_SIZE,
    WORD_BLOCK,
    near_in_group,
    near_rows,
    number_of,
    trailing_zeros,
)

# How much nearer than it seems a row may be: so many standard deviations, one of the signs and one of the query's
# rounding. Twice as many find no more; with half of them, a beam of 20 on passages finds 0.5 % less.
_ERRORS: Final = np.float32(1.5)
_LARGEST: Final = np.float32(7.5)
_GOLDEN: Final = 40503  # 2**16 times the golden ratio less 1


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
    words = _plane_words(graph)
    for i in range(QUERY_BITS * words):
        set_i64(planes, i, np.int64(0))
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
        at = first >> 6
        set_i64(planes, at, bits0)
        set_i64(planes, at + words, bits1)
        set_i64(planes, at + 2 * words, bits2)
        set_i64(planes, at + 3 * words, bits3)
    # Twice the sum of (u - 7.5) * (2 bit - 1), in steps of the rows, and what it may be more.
    twice = get_f32(field(scratch, TERMS), 0) / scale
    rounding = np.float32(math.sqrt(dim / 12.0))
    terms = field(scratch, SIGN_TERMS)
    set_f32(terms, 0, np.float32(2.0) * twice)
    set_f32(terms, 1, np.float32(-2.0) * _LARGEST * twice)
    set_f32(terms, 2, twice * (_LARGEST * np.float32(dim) - np.float32(total) + _ERRORS * rounding))
    set_f32(terms, 3, np.float32(2.0) * _ERRORS * np.float32(math.sqrt(get_f32(field(scratch, TERMS), 2))))


@paste
def _plane_words(graph: Any) -> Any:
    return (field(graph, SIGN_WORDS) + WORD_BLOCK - 1) & -WORD_BLOCK


@inline
def least_distance(graph: Any, slot: Any, scratch: Any) -> Any:
    """At least so much, but for rare errors, `distance_to` is."""
    words = field(graph, SIGN_WORDS) - SIGN_NUMBERS
    here = shift(field(graph, SIGNS), slot * field(graph, SIGN_WORDS), 8)
    planes = field(scratch, PLANES)
    plane = _plane_words(graph)
    low = np.int64(0)
    high = np.int64(0)
    for i in range(words):
        bits = get_i64(here, i)
        low += popcount(bits & get_i64(planes, i)) + 2 * popcount(bits & get_i64(planes, plane + i))
        high += popcount(bits & get_i64(planes, 2 * plane + i)) + 2 * popcount(bits & get_i64(planes, 3 * plane + i))
    terms = field(scratch, SIGN_TERMS)
    numbers = shift(here, words, 8)
    product = (
        get_f32(terms, 0) * np.float32(low + 4 * high) + get_f32(terms, 1) * get_f32(numbers, 1) + get_f32(terms, 2)
    )
    return get_f32(numbers, 0) - get_f32(numbers, 2) * product - get_f32(numbers, 3) * get_f32(terms, 3)


@paste
def fetch_signs(graph: Any, slot: Any) -> None:
    """Have a row's signs brought into the cache."""
    size = field(graph, SIGN_WORDS) << 3
    here = shift(field(graph, SIGNS), slot * field(graph, SIGN_WORDS), 8)
    for line in range(0, size, CACHE_LINE):
        prefetch(here, line)


@paste
def _sift_each(graph: Any, listed: Any, count: Any, limit: Any, scratch: Any) -> Any:
    """`sift`, row by row."""
    fresh = field(scratch, FRESH)
    kept = np.int64(0)
    for i in range(count):
        slot = get_i64(listed, i)
        near = least_distance(graph, slot, scratch) <= limit
        set_i64(fresh, kept, slot)
        if near:
            fetch_row(graph, slot)
            kept += 1
    return kept


@paste
def _sift_together(graph: Any, listed: Any, count: Any, limit: Any, scratch: Any) -> Any:
    """`sift`, some rows at a time."""
    fresh = field(scratch, FRESH)
    stride = field(graph, SIGN_WORDS)
    blocks = _plane_words(graph) // WORD_BLOCK
    kept = np.int64(0)
    for first in range(0, count, ROWS_TOGETHER):
        near = near_rows(
            shift(listed, first, 8),
            field(graph, SIGNS),
            stride,
            field(scratch, PLANES),
            blocks,
            stride - SIGN_NUMBERS,
            field(scratch, SIGN_TERMS),
            limit,
        )
        if count - first < ROWS_TOGETHER:
            near &= (np.int64(1) << (count - first)) - 1
        while near != 0:
            slot = get_i64(listed, first + trailing_zeros(near))
            set_i64(fresh, kept, slot)
            fetch_row(graph, slot)
            kept += 1
            near &= near - 1
    return kept


_sift: Any = _sift_together if COUNTS_BLOCKS else _sift_each


@paste
def sift(graph: Any, listed: Any, count: Any, far: Any, scratch: Any) -> Any:
    """Keep of `count` slots, at the address `listed` of int64, those that may be nearer than the key `far`: they come
    into the scratch's FRESH, where they may have been, and their rows are fetched. Returns how many.

    Slots up to the next multiple of ROWS_TOGETHER are read as well, and must exist.
    """
    return _sift(graph, listed, count, number_of(far), scratch)


@paste
def load_tables(graph: Any, scratch: Any) -> None:
    """Make ready for `sift_group`, once the query's signs are loaded: for each four dimensions the sum of u where
    bits are set, by the bits."""
    planes, tables = field(scratch, PLANES), field(scratch, TABLES)
    plane = _plane_words(graph)
    for word in range(field(graph, SIGN_WORDS) - SIGN_NUMBERS):
        for first in range(0, 64, 4):
            table = shift(tables, (16 * word + (first >> 2)) * TABLE_SIZE, 1)
            set_u8(table, 0, np.int64(0))
            for i in range(4):
                number = np.int64(0)
                for bit in range(QUERY_BITS):
                    number |= ((get_i64(planes, bit * plane + word) >> (first + i)) & 1) << bit
                for bits in range(1 << i):
                    set_u8(table, bits | (1 << i), get_u8(table, bits) + number)


@paste
def group_bytes(words: Any) -> Any:
    """Of a group whose rows have so many words with their numbers."""
    return words * 8 * GROUP


@paste
def sift_group(graph: Any, groups: Any, number: Any, far: Any, scratch: Any) -> Any:
    """A bit for each row of the group of that number, set where it may be nearer than the key `far`."""
    words = field(graph, SIGN_WORDS)
    here = shift(groups, number * group_bytes(words), 1)
    size = (words - SIGN_NUMBERS) * 8
    return near_in_group(here, size, field(scratch, TABLES), field(scratch, SIGN_TERMS), number_of(far))


@Kernel
def group(codes: Any, width: Any, signs: Any, words: Any, groups: Any, first: Any, stop: Any) -> None:
    """Lay the signs of the slots `first` to `stop`, of so many words with their numbers, side by side in groups: the
    first byte of each row of a group comes first, their numbers last. Slots that `sign` leaves out are left out."""
    size = (words - SIGN_NUMBERS) * 8
    for slot in range(first, stop):
        if get_u8(codes, slot * width) == 0:
            continue
        here = shift(groups, slot // GROUP * group_bytes(words), 1)
        row = shift(signs, slot * words, 8)
        for word in range(words - SIGN_NUMBERS):
            bits = get_i64(row, word)
            for i in range(8):
                set_u8(here, (8 * word + i) * GROUP + slot % GROUP, (bits >> (8 * i)) & 255)
        numbers, own = shift(here, size * GROUP, 1), shift(row, words - SIGN_NUMBERS, 8)
        for i in range(2 * SIGN_NUMBERS):
            set_f32(numbers, i * GROUP + slot % GROUP, get_f32(own, i))


@paste
def pad(listed: Any, count: Any) -> None:
    """Have any slots up to the next multiple of ROWS_TOGETHER, for `sift`."""
    for i in range(count, (count + ROWS_TOGETHER - 1) & -ROWS_TOGETHER):
        set_i64(listed, i, get_i64(listed, 0))


@paste
def sift_fresh(graph: Any, count: Any, far: Any, scratch: Any) -> Any:
    """`sift` of the first `count` slots in FRESH, which has room for more."""
    fresh = field(scratch, FRESH)
    pad(fresh, count)
    return sift(graph, fresh, count, far, scratch)


@Kernel
def sign(codes: Any, weights: Any, signs: Any, first: Any, stop: Any, width: Any, dim: Any) -> None:
    """Make the signs of the slots `first` to `stop` of their codes, which are of `width` bytes, and their weights; see
    `index/signs.py`. Slots whose codes are all 0, as none is of a row, are left out."""
    words = width >> 6
    for slot in range(first, stop):
        row = shift(codes, slot * width, 1)
        if get_u8(row, 0) == 0:
            continue
        here = shift(signs, slot * (words + SIGN_NUMBERS), 8)
        count = np.int64(0)
        total = np.int64(0)
        squares = np.int64(0)
        for word in range(words):
            bits = np.int64(0)
            for i in range(64):
                step = get_u8(row, 64 * word + i) - ZERO_CODE
                total += abs(step)
                squares += step * step
                # Of zeros, which may be most of a row, every second.
                bits |= np.int64(step + (i & 1) > 0) << i
            left = dim - 64 * word
            if left < 64:
                bits &= (np.int64(1) << left) - 1
            set_i64(here, word, bits)
            count += popcount(bits)
        ratio = squares / np.float64(max(total, np.int64(1)))
        error = math.sqrt(max(dim * ratio * ratio - squares, 0.0) / max(dim - 1, 1))
        numbers = shift(here, words, 8)
        set_f32(numbers, 0, get_f32(weights, slot))
        set_f32(numbers, 1, np.float32(count))
        set_f32(numbers, 2, np.float32(ratio))
        set_f32(numbers, 3, np.float32(error))
