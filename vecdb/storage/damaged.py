"""Records of a file that the engine must not open, as far as they are whole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from vecdb.storage.keys import Space
from vecdb.storage.pages import PageFile, Tree
from vecdb.storage.records import unseal
from vecdb.storage.view import Sealed


class DamagedRecords(Sealed):
    """What the trees of a file still lead to. It is in memory: damage is rare, and may be anywhere."""

    __slots__ = ("_entries", "_keys", "_values", "lost", "seen")

    def __init__(self, file: PageFile, trees: dict[Space, Tree]) -> None:
        self._values: dict[Space, dict[bytes, bytes]] = {space: {} for space in Space}
        self._entries = {space: tree.entries for space, tree in trees.items()}
        self.lost: dict[Space, list[int]] = {space: [] for space in Space}  # pages that could not be read
        self.seen: set[int] = set()
        for space, tree in trees.items():
            for node in file.walk(tree.root, self.seen, self.lost[space]):
                if node.data is None:
                    self.lost[space].append(node.pages.start)
                else:
                    self._values[space][node.key] = node.data
        self._keys = {space: sorted(values) for space, values in self._values.items()}

    def get(self, space: Space, key: bytes) -> memoryview | None:
        value = self._values[space].get(key)
        return None if value is None else unseal(space, key, value)

    def scan(self, space: Space, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        for key, value in self.sealed(space, prefix):
            if key >= start:
                yield key, unseal(space, key, value)

    def sealed(self, space: Space, prefix: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        keys = self._keys[space]
        for place in range(bisect_left(keys, prefix), len(keys)):
            if not keys[place].startswith(prefix):
                return
            yield keys[place], memoryview(self._values[space][keys[place]])

    def count(self, space: Space) -> int:
        """How many there were."""
        return self._entries.get(space, 0)
