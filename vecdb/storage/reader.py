"""Reading one version of the file: for one call, for a scan that goes on as its caller does, for a snapshot."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import lmdb

from vecdb.errors import StaleHandleError
from vecdb.storage.keys import Space
from vecdb.storage.records import unseal
from vecdb.storage.view import Sealed

if TYPE_CHECKING:
    from vecdb.storage.environment import Environment

_SCANNED_AT_ONCE: Final = 16  # records that a thread reads before it lets others read


@dataclass(frozen=True)
class Hold:
    """Since when a reader keeps a version from being forgotten, and what the file was like then."""

    version: int
    began: float  # time.monotonic()
    free_bytes: int


class ReadTransaction(Sealed):
    """One version of the file, as LMDB sees it, for one thread at a time. Buffers are valid until it is closed.

    It begins within a call. A scan then *holds* it, while its caller does other things.
    """

    __slots__ = ("__weakref__", "_ended", "_environment", "_resting", "_spaces", "_transaction", "held")

    def __init__(self, environment: Environment, transaction: lmdb.Transaction[memoryview]) -> None:
        self._environment = environment
        self._spaces = environment._spaces
        self._transaction: lmdb.Transaction[memoryview] | None = transaction
        self._resting = False
        self._ended: str | None = None  # why nothing can be read any more
        self.held: Hold | None = None

    # Records

    def get(self, space: Space, key: bytes) -> memoryview | None:
        value = self._get(space, key)
        return None if value is None else unseal(space, key, value)

    def get_each(self, space: Space, keys: Sequence[bytes]) -> list[memoryview | None]:
        values = self._get_each(space, keys)
        return [None if value is None else unseal(space, key, value) for key, value in zip(keys, values, strict=True)]

    def holds(self, space: Space, key: bytes, sealed: bytes) -> bool:
        """Whether a record is stored as exactly these bytes: known ones need not be verified and decoded again."""
        value = self._get(space, key)
        return value is not None and bytes(value) == sealed

    def _get(self, space: Space, key: bytes) -> memoryview | None:
        try:
            return (self._transaction or self._lmdb()).get(key, None, self._spaces[space])
        except lmdb.Error as error:
            raise self._environment.read_error(error) from error

    def _get_each(self, space: Space, keys: Sequence[bytes]) -> list[memoryview | None]:
        try:
            get, tree = (self._transaction or self._lmdb()).get, self._spaces[space]
            return [get(key, None, tree) for key in keys]
        except lmdb.Error as error:
            raise self._environment.read_error(error) from error

    def scan(self, space: Space, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        for key, value in self._stored(space, prefix, max(prefix, start)):
            yield key, unseal(space, key, value)

    def sealed(self, space: Space, prefix: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        return self._stored(space, prefix, prefix)

    def _stored(self, space: Space, prefix: bytes, first: bytes) -> Iterator[tuple[bytes, memoryview]]:
        try:
            transaction = self._lmdb()
            if space not in self._environment.sound:
                self._environment.check_tree(space, transaction.id(), transaction)
            cursor = transaction.cursor(self._spaces[space])
            found = cursor.set_range(first) if first else cursor.first()
            while found:
                key = bytes(cursor.key())
                if not key.startswith(prefix):
                    return
                yield key, cursor.value()
                self._lmdb()  # it may have been cut off meanwhile
                found = cursor.next()
        except lmdb.Error as error:
            raise self._environment.read_error(error) from error

    def count(self, space: Space) -> int:
        return self.size_of(space)[0]

    def is_newest(self) -> bool:
        """Whether the file has no later commit. One whose writer died before it told readers is not seen by them."""
        return self._lmdb().id() == self._environment.last_commit()

    def copy_to(self, descriptor: int) -> None:
        """Write what this transaction reads into an empty file, without free pages. Threads run on meanwhile."""
        self._environment.copy(self._lmdb(), descriptor)

    def used_bytes(self) -> int:
        """The bytes of the pages that hold something, but for the list of free ones."""
        meta_pages = 2
        try:
            transaction = self._lmdb()
            trees = [transaction.stat(space) for space in self._spaces.values()]
            used = sum(tree["branch_pages"] + tree["leaf_pages"] + tree["overflow_pages"] for tree in trees)
            return (meta_pages + 1 + used) * trees[0]["psize"]  # a page more for the names of the sub-databases
        except lmdb.Error as error:
            raise self._environment.read_error(error) from error

    def size_of(self, space: Space) -> tuple[int, int]:
        """How many records a sub-database has, and the bytes of its pages."""
        try:
            tree = self._lmdb().stat(self._spaces[space])
            pages = tree["branch_pages"] + tree["leaf_pages"] + tree["overflow_pages"]
            return tree["entries"], pages * tree["psize"]
        except lmdb.Error as error:
            raise self._environment.read_error(error) from error

    def _lmdb(self) -> lmdb.Transaction[memoryview]:
        if self._transaction is None:
            self._environment.check_usable()
            raise self._stale()
        return self._transaction

    def _stale(self) -> StaleHandleError:
        why = self._ended or "the read was cut off when its database was closed"
        return StaleHandleError(f"{self._environment.path}: {why}")

    # From call to call

    @property
    def busy(self) -> bool:
        """Whether a call is reading; others wait for it."""
        return not self._resting

    def hold(self, version: int) -> None:
        """Go on after this call, and so keep the version that was read. Readers that do are watched."""
        file_bytes = self._environment.size()[1]
        self.held = Hold(version, time.monotonic(), file_bytes - self.used_bytes())
        self._environment.held.watch()
        self._rest()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around a call, or a part of a scan, that reads what is held: others wait for it."""
        with self._environment._condition:
            self._environment.check_usable()
            self._lmdb()
            self._resting = False
        try:
            yield
        finally:
            self._rest()

    def _rest(self) -> None:
        with self._environment._condition:
            self._resting = True
            self._environment._condition.notify_all()

    # Ending

    def end(self, why: str) -> None:
        """Let nobody begin to read any more; calls under way go on, and the last one closes."""
        if os.getpid() != self._environment._pid:
            return
        with self._environment._condition:
            self._ended = self._ended or why
            if not self.busy:
                self.close()

    def abort(self) -> None:
        if self._transaction is not None:
            self._transaction.abort()
            self._transaction = None

    def close(self) -> None:
        if os.getpid() == self._environment._pid:
            self.abort()
            self._environment._forget(self)

    def __enter__(self) -> ReadTransaction:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class SharedReadTransaction(ReadTransaction):
    """For a snapshot, which any number of threads read at once.

    LMDB lets one thread at a time read in a transaction, and none begin one of an older version. So they take turns
    for each look-up, which takes microseconds; what it found is verified and decoded outside.

    A call is a member of `calls` and nothing else, so that one lost to an interrupt does not count for ever.
    """

    __slots__ = ("_turn", "calls")

    def __init__(self, environment: Environment, transaction: lmdb.Transaction[memoryview]) -> None:
        super().__init__(environment, transaction)
        self._turn = threading.Lock()
        self.calls: WeakSet[object] = WeakSet()

    def _get(self, space: Space, key: bytes) -> memoryview | None:
        with self._turn:
            return super()._get(space, key)

    def _get_each(self, space: Space, keys: Sequence[bytes]) -> list[memoryview | None]:
        with self._turn:
            return super()._get_each(space, keys)

    def scan(self, space: Space, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        records = super().scan(space, prefix, start)
        while True:
            with self._turn:
                part = list(islice(records, _SCANNED_AT_ONCE))
            yield from part
            if len(part) < _SCANNED_AT_ONCE:
                return

    def used_bytes(self) -> int:
        with self._turn:
            return super().used_bytes()

    @property
    def busy(self) -> bool:
        return not self._resting or len(self.calls) > 0

    def begin_call(self, call: object) -> None:
        with self._environment._condition:
            self._environment.check_usable()
            if self._ended is not None:
                raise self._stale()
            self._lmdb()
            self.calls.add(call)

    def end_call(self, call: object) -> None:
        with self._environment._condition:
            self.calls.discard(call)
            if self._ended is not None and not self.busy:
                self.close()
            if self._environment._remapping or self._environment._closed:
                self._environment._condition.notify_all()

    @contextmanager
    def working(self) -> Iterator[None]:
        call = _Call()
        self.begin_call(call)
        try:
            yield
        finally:
            self.end_call(call)


class _Call:
    """A part of a scan."""
