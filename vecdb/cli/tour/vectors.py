"""Texts to vectors by a small classical method: hashed TF-IDF, then a truncated SVD. NumPy only, and seeded.

A stand-in for an embedding model, which a demo shouldn't download: texts that share words, parts of words, or words
that go together come out near one another. Sources: K. Weinberger et al., "Feature Hashing for Large Scale Multitask
Learning", arXiv:0902.2206; S. Deerwester et al., "Indexing by Latent Semantic Analysis", 1990; N. Halko,
P. Martinsson and J. Tropp, "Finding Structure with Randomness", arXiv:0909.4061, Algorithm 4.4.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

DIM = 128
BUCKETS = 1 << 15
GRAM = 3  # letters of a part of a word
GRAM_WEIGHT = 0.5  # of a part of a word, beside 1 for the word
OVERSAMPLING = 32
POWER_ITERATIONS = 2
SEED = 0

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")  # also the words of camelCase and snake_case
_STOP_WORDS = frozenset(
    _WORD.findall(
        "about after all also an and any are as at be been but by can could did do does each for from get had has "
        "have how if in into is it its itself may me more my no not of on or other our should so some such than "
        "that the their them then there these they this those to up us use used using was we were what when where "
        "which who will with would you your"
    )
)


class SparseRows(NamedTuple):
    """A matrix by rows: row r has `values[starts[r] : starts[r + 1]]` in the columns of the same places."""

    starts: Int64
    columns: Int64
    values: Float32

    def times(self, dense: Float32) -> Float32:
        product = np.empty((len(self.starts) - 1, dense.shape[1]), np.float32)
        for row, (start, stop) in enumerate(pairwise(self.starts)):
            product[row] = self.values[start:stop] @ dense[self.columns[start:stop]]
        return product

    def transposed(self, columns: int) -> SparseRows:
        order = np.argsort(self.columns, kind="stable")
        rows = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        sizes = np.bincount(self.columns, minlength=columns)
        return SparseRows(np.concatenate([[0], np.cumsum(sizes)]), rows[order], self.values[order])


class Vectoriser:
    """Learns from texts which words matter and which go together, and turns texts into vectors."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = _count(texts)
        documents = np.bincount(counts.columns, minlength=BUCKETS)
        self._rarity: Float32 = np.log((1 + len(texts)) / (1 + documents)).astype(np.float32)
        self._projection = _find_projection(_to_unit_rows(self._weigh(counts)))

    def vectors(self, texts: Sequence[str]) -> Float32:
        """(texts, DIM) float32; zeros for a text of which no word is known."""
        return self._weigh(_count(texts)).times(self._projection)

    def _weigh(self, counts: SparseRows) -> SparseRows:
        return counts._replace(values=np.log1p(counts.values) * self._rarity[counts.columns])


def _count(texts: Sequence[str]) -> SparseRows:
    """How often each bucket occurs in each text."""
    starts = [0]
    columns: list[int] = []
    values: list[float] = []
    for text in texts:
        found: defaultdict[int, float] = defaultdict(float)
        for word, count in Counter(map(str.lower, _WORD.findall(text))).items():
            for bucket, weight in _features(word):
                found[bucket] += count * weight
        columns += found.keys()
        values += found.values()
        starts.append(len(columns))
    return SparseRows(np.array(starts, np.int64), np.array(columns, np.int64), np.array(values, np.float32))


@cache
def _features(word: str) -> list[tuple[int, float]]:
    """The buckets of a word and of its parts, which its other forms share."""
    if len(word) == 1 or word in _STOP_WORDS:
        return []
    framed = f"<{word}>"
    parts = (framed[start : start + GRAM] for start in range(len(framed) - GRAM + 1))
    return [(_bucket(framed), 1.0), *((_bucket(part), GRAM_WEIGHT) for part in parts)]


def _bucket(feature: str) -> int:
    return zlib.crc32(feature.encode()) % BUCKETS  # Python's own hash differs from run to run


def _to_unit_rows(rows: SparseRows) -> SparseRows:
    numbers = np.repeat(np.arange(len(rows.starts) - 1), np.diff(rows.starts))
    norms = np.sqrt(np.bincount(numbers, rows.values**2)).astype(np.float32)
    return rows._replace(values=rows.values / norms[numbers])


def _find_projection(rows: SparseRows) -> Float32:
    """(BUCKETS, DIM): the leading right singular vectors, each divided by the root of its singular value.

    Undivided, the commonest topics outweigh all others.
    """
    columns = rows.transposed(BUCKETS)
    random = np.random.default_rng(SEED)
    basis = rows.times(random.standard_normal((BUCKETS, DIM + OVERSAMPLING), np.float32))
    for _ in range(POWER_ITERATIONS):
        basis = rows.times(columns.times(np.linalg.qr(basis).Q))
    small = columns.times(np.linalg.qr(basis).Q)
    # By the small Gram matrix: `small` is tall, and its own decomposition would take most of the time.
    squares, right = np.linalg.eigh(small.T @ small)  # ascending
    left = small @ (right[:, -DIM:] / np.sqrt(squares[-DIM:]))
    projection: Float32 = left / squares[-DIM:] ** 0.25
    return projection
