"""A damaged file read page by page, without the engine: no byte of it is trusted.

LMDB 0.9 on 64 bits: a page begins with its number (u64), two bytes of padding, flags and two bounds (u16 each). Branch
and leaf pages have offsets of nodes up to the lower bound. A node is its size or its child (48 bits with the flags),
the length of its key, the key, and in leaves the data, or the number of the first of the pages that hold them.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import StorageIOError
from vecdb.storage.keys import Space

_DEFAULT_PAGE: Final = 4096
_HEAD: Final = struct.Struct("=QHHHH")
_NODE: Final = struct.Struct("=HHHH")
_TREE: Final = struct.Struct("=IHHQQQQQ")
_META: Final = struct.Struct("=16xIIQQ48s48sQQ")
_MAGIC: Final = 0xBEEFC0DE
NO_PAGE: Final = 2**64 - 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG = 1  # a node's flag: its data are in pages of their own
_DEEPEST: Final = 32

Freed = set[int]


class Tree(NamedTuple):
    root: int
    entries: int


class Meta(NamedTuple):
    """What one of the two meta pages says."""

    transaction: int
    last_page: int
    free: Tree
    main: Tree


class Node(NamedTuple):
    """Of a leaf. `data` are None where they are in pages of their own: `PageFile.data` reads them."""

    key: bytes
    data: bytes | None
    size: int
    pages: range  # that hold the data, where they are not in the leaf; empty where there can be none such

    @property
    def subtree(self) -> Tree | None:
        """The tree that the data may be."""
        return None if self.data is None or self.size != _TREE.size else _tree(self.data)


class PageFile:
    """The pages of a file."""

    def __init__(self, path: str) -> None:
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed by `close`
            self.size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise StorageIOError(f"{path} can't be read: {error}") from error
        self.path = path
        self.page_size = _DEFAULT_PAGE
        found = [meta for meta in (self._meta(0), self._meta(_DEFAULT_PAGE)) if meta is not None]
        self.metas = sorted(found, reverse=True)  # the newest first

    def __enter__(self) -> PageFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def pages(self) -> int:
        """How many there are, a last one that is cut off among them."""
        return -(-self.size // self.page_size)

    def words(self) -> NDArray[np.uint16]:
        """All whole pages, mapped: (pages, words)."""
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        whole = self.size // self.page_size
        words = np.frombuffer(mapped, np.uint16, whole * self.page_size // 2)
        return words.reshape(whole, self.page_size // 2)

    def _read(self, offset: int, size: int) -> bytes:
        """As many of the bytes as can be read."""
        try:
            return os.pread(self._file.fileno(), size, offset) if hasattr(os, "pread") else self._seek(offset, size)
        except OSError:
            return b""

    def _seek(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size) or b""

    def _meta(self, offset: int) -> Meta | None:
        data = self._read(offset, _META.size)
        if len(data) < _META.size:
            return None
        magic, version, _, _, free, main, last_page, transaction = _META.unpack(data)
        if magic != _MAGIC or version != 1 or last_page >= 1 << 48 or _TREE.unpack(free)[0] != _DEFAULT_PAGE:
            return None
        return Meta(transaction, last_page, _tree(free), _tree(main))

    def children(self, number: int) -> list[int] | None:
        """Those of a branch page; None where it is none."""
        page = self._page(number, _BRANCH)
        if page is None:
            return None
        found = []
        for offset in _offsets(page):
            if offset + _NODE.size > len(page):
                return None
            low, high, flags, _ = _NODE.unpack_from(page, offset)
            found.append(low | high << 16 | flags << 32)
        return found

    def nodes(self, number: int) -> list[Node] | None:
        """Those of a leaf; None where it is none."""
        page = self._page(number, _LEAF)
        if page is None:
            return None
        found = []
        for offset in _offsets(page):
            if offset + _NODE.size > len(page):
                continue
            low, high, flags, key_size = _NODE.unpack_from(page, offset)
            key_end = offset + _NODE.size + key_size
            size = low | high << 16
            if key_end > len(page):
                continue
            key = page[offset + _NODE.size : key_end]
            if flags & _BIG:
                found.append(Node(key, None, size, self._span(page[key_end : key_end + 8], size)))
            elif key_end + size <= len(page):
                found.append(Node(key, page[key_end : key_end + size], size, range(0)))
        return found

    def is_whole_leaf(self, number: int) -> bool:
        """Whether a page is a leaf, with all of its nodes."""
        page = self._page(number, _LEAF)
        return page is not None and len(self.nodes(number) or ()) == len(_offsets(page))

    def _page(self, number: int, kind: int) -> bytes | None:
        page = self._read(number * self.page_size, self.page_size) if 0 <= number < self.pages else b""
        if len(page) < self.page_size:
            return None
        stored, _, flags, lower, upper = _HEAD.unpack_from(page)
        if stored != number or flags & 0xF != kind or not _HEAD.size <= lower <= upper <= len(page):
            return None
        return page

    def _span(self, place: bytes, size: int) -> range:
        """The pages of a value that has its own. What they hold is for its checksum to say."""
        number = int.from_bytes(place, "little")
        count = (_HEAD.size + size + self.page_size - 1) // self.page_size
        if not 1 < number < self.pages or number * self.page_size + _HEAD.size + size > self.size:
            return range(0)
        return range(number, number + count)

    def data(self, node: Node) -> bytes | None:
        """A node's data; None where they can't be read."""
        if node.data is not None or not node.pages:
            return node.data
        data = self._read(node.pages.start * self.page_size, _HEAD.size + node.size)
        return data[_HEAD.size :] if len(data) == _HEAD.size + node.size else None

    def walk(self, root: int, seen: set[int], lost: list[int]) -> Iterator[Node]:
        """The nodes of a tree in the order of keys, as far as its pages are whole. `seen` gathers the numbers of pages,
        `lost` those that are no page of a tree."""
        stack = [(root, 0)] if root != NO_PAGE else []
        while stack:
            number, depth = stack.pop()
            if number in seen or depth > _DEEPEST:
                lost.append(number)
                continue
            seen.add(number)
            children = self.children(number)
            if children is not None:
                stack += [(child, depth + 1) for child in reversed(children)]
                continue
            nodes = self.nodes(number)
            if nodes is None:
                lost.append(number)
                continue
            for node in nodes:
                seen.update(node.pages)
                yield node

    def freed(self, meta: Meta) -> Freed | None:
        """The pages that hold nothing any more; None where the list of them is damaged."""
        lost: list[int] = []
        found: set[int] = set()
        for node in self.walk(meta.free.root, set(), lost):
            data = self.data(node)
            if data is None or len(data) % 8 or not data:
                return None
            count, *numbers = struct.unpack(f"={len(data) // 8}Q", data)
            if count > len(numbers):
                return None
            found.update(numbers[:count])
        return None if lost else found

    def trees(self, root: int, lost: list[int]) -> dict[Space, Tree]:
        """The sub-databases that a main tree names."""
        names = {space.value: space for space in Space}
        return {
            names[node.key]: node.subtree
            for node in self.walk(root, set(), lost)
            if node.subtree is not None and node.key in names
        }

    def names_trees(self, number: int) -> bool:
        """Whether a page is a leaf that names sub-databases of a vecdb file, as a main tree has them."""
        names = {space.value for space in Space}
        return any(node.key in names and node.subtree is not None for node in self.nodes(number) or ())


def _tree(data: bytes) -> Tree:
    *_, entries, root = _TREE.unpack(data)
    return Tree(root, entries)


def _offsets(page: bytes) -> tuple[int, ...]:
    lower = _HEAD.unpack_from(page)[3]
    count = (lower - _HEAD.size) // 2
    return struct.unpack_from(f"={count}H", page, _HEAD.size)
