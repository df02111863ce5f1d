"""Records of a file that the engine must not open, as far as they are whole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from vecdb.errors import CorruptionError
from vecdb.storage.keys import Space
from vecdb.storage.pages import Node, PageFile, Tree
from vecdb.storage.records import unseal
from vecdb.storage.view import Sealed


class DamagedRecords(Sealed):
    """What the trees of a file still lead to. Keys are in memory: damage is rare, and may be anywhere."""

    __slots__ = ("_entries", "_file", "_keys", "_nodes", "lost", "seen")

    def __init__(self, file: PageFile, trees: dict[Space, Tree]) -> None:
        """`file` stays open as long as these are read."""
        self._file = file
        self._nodes: dict[Space, dict[bytes, Node]] = {space: {} for space in Space}
        self._entries = {space: tree.entries for space, tree in trees.items()}
        self.lost: dict[Space, list[int]] = {space: [] for space in Space}  # pages that could not be read
        self.seen: set[int] = set()
        for space, tree in trees.items():
            for node in file.walk(tree.root, self.seen, self.lost[space]):
                if node.data is None and not node.pages:
                    self.lost[space].append(-1)
                else:
                    self._nodes[space][node.key] = node
        self._keys: dict[Space, list[bytes]] = {}

    def add(self, space: Space, node: Node) -> None:
        """A record that no tree leads to."""
        self._nodes[space].setdefault(node.key, node)
        self._keys.pop(space, None)

    def get(self, space: Space, key: bytes) -> memoryview | None:
        node = self._nodes[space].get(key)
        value = None if node is None else self._file.data(node)
        return None if value is None else unseal(space, key, value)

    def scan(self, space: Space, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        for key, value in self.sealed(space, prefix):
            if key >= start:
                yield key, unseal(space, key, value)

    def sealed(self, space: Space, prefix: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        if space not in self._keys:
            self._keys[space] = sorted(self._nodes[space])
        keys = self._keys[space]
        for place in range(bisect_left(keys, prefix), len(keys)):
            key = keys[place]
            if not key.startswith(prefix):
                return
            value = self._file.data(self._nodes[space][key])
            if value is not None:
                yield key, memoryview(value)

    def whole(self, space: Space, prefix: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        """Those whose checksums hold."""
        for key, value in self.sealed(space, prefix):
            try:
                payload = unseal(space, key, value)
            except CorruptionError:
                continue
            yield key, payload

    def count(self, space: Space) -> int:
        """How many there were."""
        return self._entries.get(space, 0)

    def complete(self, space: Space) -> bool:
        """Whether all that there were are found."""
        return not self.lost[space] and space in self._entries and len(self._nodes[space]) == self._entries[space]
