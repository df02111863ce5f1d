"""Defaults, limits and the options a user may set, in one place."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Final, Literal

from vecdb.errors import LimitError, VectorError

Metric = Literal["cosine", "l2", "ip"]
Dtype = Literal["float32", "float16"]
Quantization = Literal["u8", "none"]
Durability = Literal["full", "normal"]

METRICS: Final = ("cosine", "l2", "ip")
DTYPES: Final = ("float32", "float16")
QUANTIZATIONS: Final = ("u8", "none")
DURABILITIES: Final = ("full", "normal")

# Rows and names.
MAX_ID_BYTES: Final = 480  # an LMDB key holds 511; the table and a tag come before the id
MAX_NAME_BYTES: Final = 255
MAX_ROW_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_FIELDS: Final = 1000
MAX_VECTORS: Final = 64
MAX_SLOTS: Final = 2**30 - 1  # rows a table can ever have had: kernels keep two flags beside a slot in 32 bits

# Vectors.
MAX_DIM: Final = 65_536
MAX_NORM: Final = 1e18  # squares and products of longer vectors leave float32
MIN_NORM: Final = 1e-18  # under cosine a shorter vector has no direction in float32

MIN_CODED_DIM: Final = 16  # below, codes save little and round away much
MAX_CODED_DIM: Final = 16_384  # sums of products of codes fit 32 bits

# The graph.
DEFAULT_M: Final = 16
MIN_M: Final = 2
MAX_M: Final = 128
DEFAULT_EF_CONSTRUCTION: Final = 128
DEFAULT_ALPHA: Final = 1.05
MAX_EF: Final = 100_000
DEFAULT_EF: Final = 64
MAX_LAYER: Final = 15
MAX_BATCH_HITS: Final = 100_000_000
GRAPH_FROM: Final = 1024  # slots from which a column gets a graph; below, a scan is as fast and needs no compiler

# Filters. What these bound is read, checked and compiled by recursion, once a term.
MAX_FILTER_TEXT: Final = 1 << 14  # characters
MAX_FILTER_DEPTH: Final = 24  # parentheses, NOT, AND and OR within each other; sqlglot calls 21 functions for one
MAX_FILTER_TERMS: Final = 1000  # conditions joined by AND and OR; an IN is one, however many values it has
MAX_FILTER_VALUES: Final = 1_000_000  # of an IN
MAX_LIKE_PATTERN: Final = 1000  # characters

# SQL.
MAX_SQL_TEXT: Final = 1 << 20  # characters
MAX_SQL_TERMS: Final = 2000  # AND and OR in a statement, in all its filters; an IN is one condition

# Storage.
DEFAULT_TIMEOUT: Final = 5.0
MAX_READERS: Final = 1024
MAP_RESERVE: Final = 1 << 36  # address space, not disk: 64 GiB; doubled where a file outgrows it
MIN_MAP: Final = 1 << 24
CHANGE_LOG_VERSIONS: Final = 1000
# A snapshot, or a scan that was begun, is ended when it is older, or when it keeps more bytes of the file from being
# used again, and more than the database holds.
MAX_HELD_SECONDS: Final = 3600.0
MAX_HELD_BYTES: Final = 1 << 30


@dataclass(frozen=True)
class Vector:
    """A vector column: its length, its metric, and how its graph is built.

    `m` neighbours are chosen for a row (twice as many on the base layer), out of a beam of `ef_construction`.
    `alpha`, `extend_candidates` and `keep_pruned` are the options of the neighbour selection (Malkov and Yashunin,
    Algorithm 4; alpha as in Vamana, on distances). `seed` draws the layers of the rows. With `quantization` "u8"
    searches compare codes of one byte a dimension first, and vectors for the last step only; "none" compares vectors
    throughout, for data whose neighbours are nearer than codes can tell: rows of lengths of several orders under l2, or
    clusters ten thousand times as far apart as they are wide. None takes "u8" from 16 to 16,384 dimensions.
    """

    dim: int
    metric: Metric = "cosine"
    dtype: Dtype = "float32"
    m: int = DEFAULT_M
    ef_construction: int = DEFAULT_EF_CONSTRUCTION
    alpha: float = DEFAULT_ALPHA
    extend_candidates: bool = False
    keep_pruned: bool = True
    seed: int = 0
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        for name in ("dim", "m", "ef_construction", "seed"):
            object.__setattr__(self, name, _plain_int(getattr(self, name)))
        if self.quantization is None:
            coded = is_int(self.dim) and MIN_CODED_DIM <= self.dim <= MAX_CODED_DIM
            object.__setattr__(self, "quantization", "u8" if coded else "none")
        for name in ("metric", "dtype", "quantization"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, str.__str__(getattr(self, name)))
        if not is_int(self.dim) or self.dim < 1:
            raise VectorError(f"dim must be an int of 1 or more, not {self.dim!r}")
        if self.dim > MAX_DIM:
            raise LimitError(f"dim is {self.dim}; the most is {MAX_DIM}")
        if self.metric not in METRICS:
            raise VectorError(f"metric must be one of {', '.join(METRICS)}, not {self.metric!r}")
        if self.dtype not in DTYPES:
            raise VectorError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if not is_int(self.m) or not MIN_M <= self.m <= MAX_M:
            raise VectorError(f"m must be an int from {MIN_M} to {MAX_M}, not {self.m!r}")
        if not is_int(self.ef_construction) or not self.m <= self.ef_construction <= MAX_EF:
            raise VectorError(f"ef_construction must be an int from m to {MAX_EF}, not {self.ef_construction!r}")
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, (int, float)) or not 1.0 <= self.alpha <= 2.0:
            raise VectorError(f"alpha must be a number from 1 to 2, not {self.alpha!r}")
        object.__setattr__(self, "alpha", float(self.alpha))
        for name in ("extend_candidates", "keep_pruned"):
            if not isinstance(getattr(self, name), bool):
                raise VectorError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if self.quantization not in QUANTIZATIONS:
            raise VectorError(f"quantization must be one of {', '.join(QUANTIZATIONS)}, not {self.quantization!r}")
        if self.quantization == "u8" and self.dim > MAX_CODED_DIM:
            raise LimitError(f"dim is {self.dim}; with quantization 'u8' the most is {MAX_CODED_DIM}")
        if not is_int(self.seed) or not 0 <= self.seed < 2**63:
            raise VectorError(f"seed must be an int of 0 or more and below 2**63, not {self.seed!r}")

    @property
    def m0(self) -> int:
        """Neighbours that a row chooses on the base layer, and that pruning leaves it."""
        return 2 * self.m

    @property
    def capacity(self) -> int:
        """The most neighbours of a row on the base layer; only then are they pruned."""
        return 5 * self.m // 2


def _plain_int(value: object) -> object:
    """An int for what is one of another class, such as NumPy's; anything else as it is."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return value
    try:
        return operator.index(value)
    except TypeError:
        return value


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
