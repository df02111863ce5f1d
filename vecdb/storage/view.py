"""What reads records: a transaction of LMDB, or one with writes laid over it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, TypeAlias

from vecdb.storage.keys import Space

Changes: TypeAlias = dict[Space, dict[bytes, bytes | None]]

_FEW_ADDED: Final = 16  # keys that are put in their places one by one


class Records(ABC):
    """Payloads of records, their checksums verified."""

    __slots__ = ()

    @abstractmethod
    def get(self, space: Space, key: bytes) -> memoryview | bytes | None:
        """The payload at `key`; valid while the reader is open."""

    def get_each(self, space: Space, keys: Sequence[bytes]) -> Sequence[memoryview | bytes | None]:
        """The payloads at some keys, in their order: at once, which is faster."""
        return [self.get(space, key) for key in keys]

    @abstractmethod
    def scan(self, space: Space, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, memoryview | bytes]]:
        """The records whose keys begin with `prefix`, from `start` on, in key order."""


class Sealed(Records):
    """Records of a file, to be had as they are stored too: for those who look for damage, or copy."""

    __slots__ = ()

    @abstractmethod
    def sealed(self, space: Space, prefix: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        """As `scan`, with the checksums, and these not verified."""

    @abstractmethod
    def count(self, space: Space) -> int:
        """How many records a sub-database has."""


class PendingWrites(Records):
    """The writes of a transaction, over the records it began from.

    They stay here until the commit, so that LMDB sees one short write transaction: a full map can grow and have
    them written again, a savepoint is what its writes replaced, and no lock of the engine is held meanwhile.
    """

    __slots__ = ("_base", "_replaced", "_sorted", "changes")

    def __init__(self, base: Records) -> None:
        self._base = base
        # Of each savepoint what was there before it: the change to a key, None where it had none.
        self._replaced: list[dict[tuple[Space, bytes], tuple[bytes | None] | None]] = []
        self.changes: Changes = {space: {} for space in Space}
        # The keys of changes in order, for scans; what was added since the last one, at the end of changes, is missing.
        self._sorted: dict[Space, list[bytes]] = {space: [] for space in Space}

    @classmethod
    def on_nothing(cls) -> PendingWrites:
        """The writes of a file that does not exist yet."""
        return cls(_Nothing())

    def get(self, space: Space, key: bytes) -> memoryview | bytes | None:
        changed = self.changes[space]
        return changed[key] if key in changed else self._base.get(space, key)

    def get_each(self, space: Space, keys: Sequence[bytes]) -> Sequence[memoryview | bytes | None]:
        changed = self.changes[space]
        if changed.keys().isdisjoint(keys):
            return self._base.get_each(space, keys)
        return super().get_each(space, keys)

    def scan(self, space: Space, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, memoryview | bytes]]:
        changed = self.changes[space]
        mine = self._keys(space, prefix, max(prefix, start))
        at = 0
        for key, payload in self._base.scan(space, prefix, start):
            while at < len(mine) and mine[at] < key:
                value = changed[mine[at]]
                if value is not None:
                    yield mine[at], value
                at += 1
            if key not in changed:
                yield key, payload
        for other in mine[at:]:
            value = changed[other]
            if value is not None:
                yield other, value

    def _keys(self, space: Space, prefix: bytes, first: bytes) -> list[bytes]:
        """The changed keys that begin with a prefix, from `first` on, in order."""
        changed, ordered = self.changes[space], self._sorted[space]
        added = list(islice(reversed(changed), len(changed) - len(ordered)))
        if len(added) <= _FEW_ADDED:
            for key in reversed(added):  # the first first, so that an interrupt leaves the last ones missing
                insort(ordered, key)
        else:
            ordered = self._sorted[space] = sorted([*ordered, *added])
        begin = end = bisect_left(ordered, first)
        if begin < len(ordered) and ordered[begin].startswith(prefix):
            end = bisect_left(ordered, True, begin, key=lambda key: not key.startswith(prefix))
        return ordered[begin:end]

    def put(self, space: Space, key: bytes, payload: bytes) -> None:
        self.put_all(space, {key: payload})

    def put_all(self, space: Space, payloads: Mapping[bytes, bytes | None]) -> None:
        """Put payloads by key; None deletes a record."""
        changed = self.changes[space]
        if self._replaced:
            replaced = self._replaced[-1]
            for key in payloads:
                replaced.setdefault((space, key), (changed[key],) if key in changed else None)
        changed.update(payloads)

    def delete(self, space: Space, key: bytes) -> None:
        self.put_all(space, {key: None})

    def mark(self) -> int:
        """The present state, for `roll_back`."""
        self._replaced.append({})
        return len(self._replaced) - 1

    def roll_back(self, mark: int) -> None:
        """Undo what was written since `mark`."""
        while len(self._replaced) > mark:
            for (space, key), before in self._replaced[-1].items():
                if before is not None:
                    self.changes[space][key] = before[0]
                else:
                    self.changes[space].pop(key, None)  # an interrupt may have come before it was set
            self._replaced.pop()
        for ordered in self._sorted.values():
            ordered.clear()


class _Nothing(Records):
    __slots__ = ()

    def get(self, space: Space, key: bytes) -> None:
        return None

    def scan(self, space: Space, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return iter(())
