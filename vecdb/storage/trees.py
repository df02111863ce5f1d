"""The tree of a sub-database looked at before the engine scans it or writes to it: where the page after a leaf is none,
LMDB ends the process, and where it changes a page it trusts what that says of its nodes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.storage.keys import Space
from vecdb.storage.pages import NO_PAGE, PageFile
from vecdb.storage.preflight import HINT

_WORD: Final = 2  # bytes: nodes begin at even offsets
_HEAD: Final = 8  # words: the page's number (4), padding, flags, the lower and the upper bound of what is free
_FLAGS, _LOWER, _UPPER = 5, 6, 7
_BRANCH, _LEAF = 1, 2
_NODE_HEAD: Final = 8  # bytes
_BIG: Final = 1  # a node's flag: in the place of data is the number of their first page
_PAGE_NUMBER: Final = 8  # bytes
_AT_ONCE: Final = 1024  # leaves

Pages = NDArray[np.uint16]  # (pages, words)
Numbers = NDArray[np.int64]


def check_tree(path: str, transaction: int, space: Space | None) -> bool:
    """Raise CorruptionError where a sub-database, or for None the list of them, has a page that is none of a tree.

    `transaction` is the commit that a reader reads; False where newer ones have already overwritten its meta page, so
    that its trees can't be found.
    """
    with PageFile(path) as file:
        meta = next((meta for meta in file.metas if meta.transaction == transaction), None)
        if meta is None or file.pages < 2:
            return False
        root = meta.main.root
        if space is not None:
            tree = file.trees(root, []).get(space)
            if tree is None:
                return True  # the engine does not find it either
            root = tree.root
        if root != NO_PAGE and not file.is_whole_leaf(root):
            _check(path, file.words(), root)
    return True


def _check(path: str, pages: Pages, root: int) -> None:
    level = np.array([root], np.int64) if root < len(pages) else np.zeros(0, np.int64)
    while True:
        heads = pages[level, :_HEAD]
        wrong = heads[:, :4].copy().view(np.uint64)[:, 0] != level
        lower, upper = heads[:, _LOWER].astype(np.int64), heads[:, _UPPER].astype(np.int64)
        size = pages.shape[1] * _WORD
        wrong |= (lower < _HEAD * _WORD) | (lower > upper) | (upper > size)
        kinds = heads[:, _FLAGS] & 0xF
        kind = int(kinds[0]) if len(kinds) else 0
        wrong |= (kinds != kind) | (kind not in (_BRANCH, _LEAF))
        counts = (lower - _HEAD * _WORD) // _WORD
        # A branch leads to two pages or more, and an empty leaf is the whole tree.
        wrong |= counts < (2 if kind == _BRANCH else len(level) > 1)
        if len(level) == 0 or wrong.any():
            number = int(level[wrong.argmax()]) if len(level) else root
            raise CorruptionError(f"{path} is damaged: page {number} is not the page of a tree that it must be; {HINT}")
        if kind == _LEAF:
            for first in range(0, len(level), _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                _check_nodes(path, pages, level[part], counts[part], upper[part])
            return
        level = _children(pages, level, counts)
        inside = (level > 1) & (level < len(pages))
        if not inside.all() or len(np.unique(level)) < len(level):
            raise CorruptionError(
                f"{path} is damaged: a branch leads to a page that is not there, or that another leads to; {HINT}"
            )


def _check_nodes(path: str, pages: Pages, level: Numbers, counts: Numbers, upper: Numbers) -> None:
    """The nodes of leaves lie in them, as wholes."""
    size = pages.shape[1] * _WORD
    places = np.arange(int(counts.max()))
    offsets = pages[level, _HEAD : _HEAD + len(places)].astype(np.int64)
    there = places < counts[:, None]
    inside = (offsets >= upper[:, None]) & (offsets <= size - _NODE_HEAD) & (offsets % _WORD == 0)
    start = np.where(there & inside, offsets, size - _NODE_HEAD) // _WORD
    low, high, flags, key = (pages[level[:, None], start + word].astype(np.int64) for word in range(4))
    data = np.where(flags & _BIG, _PAGE_NUMBER, low | high << 16)
    wrong = there & ~(inside & (offsets + _NODE_HEAD + key + data <= size))
    if wrong.any():
        number = int(level[wrong.any(axis=1).argmax()])
        raise CorruptionError(f"{path} is damaged: page {number} has a node that is not in it; {HINT}")


def _children(pages: Pages, level: Numbers, counts: Numbers) -> Numbers:
    """The pages that branches lead to, in order; -1 for a place outside of the page."""
    words, found = pages.shape[1], []
    for number, count in zip(level.tolist(), counts.tolist(), strict=True):
        page = pages[number]
        offsets = page[_HEAD : _HEAD + count] // _WORD
        inside = offsets < words - 3
        nodes = np.where(inside, offsets, 0).astype(np.int64)
        low, middle, high = (page[nodes + word].astype(np.int64) for word in range(3))
        found.append(np.where(inside, low | middle << 16 | high << 32, -1))
    return np.concatenate(found)
