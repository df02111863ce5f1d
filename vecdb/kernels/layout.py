"""What kernels share: a graph and a scratch, as structs of addresses and numbers, and what records look like."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.kernels.memory import Struct
from vecdb.kernels.simd import CODE_BLOCK, QUERY_BITS, ROWS_TOGETHER, TABLE_SIZE, WORD_BLOCK

# Metric numbers, as kernels see them.
L2, IP, COSINE = 0, 1, 2

# A base-layer record: [parent, first upper entry, neighbours...]; an upper record: [slot, layer, neighbours...].
# Both end their neighbours at the first -1.
PARENT, UPPER = 0, 1
SLOT, LAYER = 0, 1
HEAD = 2

ZERO_CODE: Final = 128  # the code of the mean


# Fields of a graph.
METRIC, CODED, DIM, WIDTH, CODES, WEIGHTS, GRID, VECTORS, LIVE, LIVE_TABLE, LIVE_SHIFT = range(11)
BASE, UPPERS = 11, 15  # where the fields of either kind of records begin:
RECORDS, TABLE, PER_BLOCK, RECORD_WIDTH = range(4)
SIGNS, SIGN_WORDS = 19, 20

# Fields of a scratch.
VISITED, VISITED_WORDS, POOL, POOL_SIZE, FRESH, CODE, POINT, TERMS, CANDIDATES, FLAGS, CHOSEN = range(11)
PLANES, SIGN_TERMS, WALK, TABLES = 11, 12, 13, 14

SIGN_NUMBERS: Final = 2  # words of a row that come after its signs: see `index/signs.py`


def new_graph(
    *,
    metric: int,
    codes: NDArray[np.uint8] | None,
    weights: NDArray[np.float32],
    signs: NDArray[np.int64],
    grid: NDArray[np.float32],
    vectors: NDArray[np.float32],
    live: tuple[NDArray[np.uint8], NDArray[np.int32]],
    links: tuple[NDArray[np.int32], NDArray[np.int32]],
    upper: tuple[NDArray[np.int32], NDArray[np.int32]],
) -> Struct:
    """What a search reads of one version of a vector column.

    `codes` (slots or more, dim padded to CODE_BLOCK) are what walks compare, None where they compare the vectors;
    `weights` (slots or more,) what a row's distances begin from, under cosine without codes 1 / the row's length;
    `signs` (slots or more, words) what tells rows that are far, no words where nothing does;
    `grid` (dim + 1,) the vector whose codes are ZERO_CODE, and the step between two codes; `vectors` (slots or more,
    dim). `live` (place, a power of 2 bytes) with slot 0 in bit 0, `links` and `upper` (place, record of the block,
    HEAD + capacity) come with tables that give a block's place.
    """
    return Struct(
        metric,
        int(codes is not None),
        vectors.shape[1],
        0 if codes is None else codes.shape[1],
        np.empty(0, np.uint8) if codes is None else codes,
        weights,
        grid,
        vectors,
        *live,
        live[0].shape[1].bit_length() - 1,
        *links,
        *links[0].shape[1:],
        *upper,
        *upper[0].shape[1:],
        signs,
        signs.shape[1],
    )


def plane_words(words: int) -> int:
    """Words of a plane of the query, where a row has so many with its numbers: whole blocks."""
    return -(-words // WORD_BLOCK) * WORD_BLOCK


def with_live(graph: Struct, live: NDArray[np.uint8], table: NDArray[np.int32]) -> Struct:
    """The same graph with other live bits."""
    return graph.replaced({LIVE: live, LIVE_TABLE: table, LIVE_SHIFT: live.shape[1].bit_length() - 1})


def new_scratch(nodes: int, pool: int, fresh: int, dim: int, walk: Any) -> Struct:
    """Working memory of one thread for that many nodes, a pool and candidates that long, so many neighbours met; and
    the address of `graph.walk`, for those who call it."""
    words = nodes // 64 + 1
    return Struct(
        np.zeros(words, np.int64),  # visited: a bit for each node
        words,
        np.zeros(pool, np.int64),  # keys, sorted
        pool,
        np.zeros(fresh + ROWS_TOGETHER, np.int64),  # neighbours met for the first time
        np.zeros(-(-dim // CODE_BLOCK) * CODE_BLOCK, np.uint8),  # the query as codes less ZERO_CODE, as s8
        np.zeros(dim, np.float32),  # the query; of unit length under cosine
        np.zeros(
            3, np.float32
        ),  # under codes a distance is a row's weight - term 0 * dot + term 1; + term 2 its square
        np.zeros(pool, np.int64),  # candidates: keys, sorted
        np.zeros(pool, np.uint8),  # flags of candidates
        np.zeros(pool, np.int64),  # chosen
        np.zeros(QUERY_BITS * plane_words(-(-dim // 64) + SIGN_NUMBERS), np.int64),  # the query as planes of bits
        np.zeros(4, np.float32),  # what comes to the bits that are counted
        walk,
        np.zeros(-(-dim // 64) * 16 * TABLE_SIZE, np.uint8),  # what to look up by each four signs of a row
    )
