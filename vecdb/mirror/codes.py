"""The codes of a column in memory, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecdb.index.quantizer import CODE_BLOCK, Quantizer
from vecdb.index.signs import WORD, groups_shape, words_of
from vecdb.mirror.vectors import Float32, Ranges, flat


@dataclass(eq=False)
class Codes:
    """What walks of the graph compare, by slot: flat arrays, appended to as vectors are.

    Without a quantizer walks compare the vectors; there are no codes, and under cosine the weight is 1 / length.
    """

    quantizer: Quantizer | None
    codes: NDArray[np.uint8]  # (capacity, dim padded); (0, any) without a quantizer
    weights: Float32  # (capacity,)
    signs: NDArray[np.int64]  # (capacity, words); no words where it pays to compare the codes at once
    groups: NDArray[np.uint8]  # the signs of 64 slots side by side, (groups, bytes)
    signed: int = 0  # slots whose signs are made: when a graph is walked that has them
    grouped: int = 0  # slots whose signs are in groups: when many of these are scanned

    @classmethod
    def empty(cls, quantizer: Quantizer | None, dim: int, capacity: int) -> Codes:
        """Of zeros, for `capacity` slots."""
        width = -(-dim // CODE_BLOCK) * CODE_BLOCK
        rows = capacity if quantizer is not None else 0
        words = words_of(width) if quantizer is not None and quantizer.signs else 0
        signs = flat((capacity, words), np.int64)
        groups = flat(groups_shape(len(signs), words), np.uint8)
        return cls(quantizer, flat((rows, width), np.uint8), flat((capacity,), np.float32), signs, groups)

    def grown(self, used: Ranges, capacity: int) -> Codes:
        """A copy of the slots that are used, with room for more."""
        larger = Codes.empty(self.quantizer, self.codes.shape[1], capacity)
        larger.signed, larger.grouped = self.signed, self.grouped
        for first, stop in used:
            larger.codes[first:stop] = self.codes[first:stop]
            larger.weights[first:stop] = self.weights[first:stop]
            larger.signs[first:stop] = self.signs[first:stop]
            if larger.grouped:
                groups = slice(first // WORD, -(-stop // WORD))
                larger.groups[groups] = self.groups[groups]
        return larger

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.weights.nbytes + self.signs.nbytes + self.groups.nbytes

    def sign(self, slots: int) -> None:
        """Make the signs of so many slots, where they are not made. Several threads may do so at once: they write the
        same."""
        if self.quantizer is not None and self.signed < slots and self.signs.shape[1]:
            from vecdb.index.graph import fill_signs

            fill_signs(self.codes, self.weights, self.signs, self.signed, slots, len(self.quantizer.mean))
            self.signed = slots

    def group(self, slots: int) -> None:
        """Lay the signs of so many slots side by side, as `sign` makes them."""
        self.sign(slots)
        if self.grouped < slots:
            from vecdb.index.filtered import fill_groups

            fill_groups(self.codes, self.signs, self.groups, self.grouped, slots)
            self.grouped = slots

    def forget(self, first: int) -> None:
        """The slots from `first` on get other codes."""
        self.signed, self.grouped = min(self.signed, first), min(self.grouped, first)
