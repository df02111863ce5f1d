"""A file that nobody else has open yet: a draft, to be written record by record before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Final

import lmdb

from vecdb.errors import CorruptionError, StorageFullError, StorageIOError
from vecdb.options import MIN_MAP
from vecdb.storage import preflight
from vecdb.storage.environment import NO_SPACE
from vecdb.storage.keys import Space
from vecdb.storage.records import unseal, verify
from vecdb.storage.view import Sealed

Value = Callable[[bytes | None], bytes | None]  # a record's new value, sealed, by its old one; None deletes it

_REPORTED: Final = 1024  # records between two reports


class PrivateFile(Sealed):
    """A draft, opened for reading and writing."""

    __slots__ = ("_environment", "_spaces", "path")

    def __init__(self, path: str, growth: int = 0) -> None:
        """`growth` is how many bytes may be written to it."""
        preflight.inspect(path)
        self.path = path
        size = os.path.getsize(path)
        try:
            self._environment = lmdb.open(
                path,
                map_size=(2 * (size + growth) + MIN_MAP) // 4096 * 4096,
                subdir=False,
                max_dbs=len(Space),
                sync=False,
                mode=0o600,
                lib_version=0,
            )
            self._spaces = {space: self._environment.open_db(space.value, create=False) for space in Space}
        except lmdb.Error as error:
            raise CorruptionError(f"{path} can't be opened: {error}") from error

    def __enter__(self) -> PrivateFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._environment.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path + "-lock")

    def write(self, changes: Iterable[tuple[Space, bytes, Value]]) -> None:
        """Change records in one transaction, and sync it."""
        try:
            with self._environment.begin(write=True) as transaction:
                for space, key, new in changes:
                    value = new(transaction.get(key, db=self._spaces[space]))
                    if value is None:
                        transaction.delete(key, db=self._spaces[space])
                    else:
                        transaction.put(key, value, db=self._spaces[space])
            self._environment.sync(True)
        except lmdb.Error as error:
            if isinstance(error, lmdb.MapFullError) or getattr(error, "code", 0) in NO_SPACE:
                raise StorageFullError(f"{self.path}: no space left on the disk") from error
            raise StorageIOError(f"{self.path} can't be written: {error}") from error

    def get(self, space: Space, key: bytes) -> bytes | None:
        with self._environment.begin() as transaction:
            value = transaction.get(key, db=self._spaces[space])
        return None if value is None else bytes(unseal(space, key, value))

    def scan(self, space: Space, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        for key, value in self.sealed(space, prefix):
            if key >= start:
                yield key, unseal(space, key, value)

    def sealed(self, space: Space, prefix: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        with self._environment.begin(buffers=True) as transaction:
            cursor = transaction.cursor(self._spaces[space])
            if cursor.set_range(prefix):
                for found, value in cursor:
                    key = bytes(found)
                    if not key.startswith(prefix):
                        return
                    yield key, value

    def verify_all(self, report: Callable[[int], None]) -> None:
        """Compare every record with its checksum, and tell how many were. Raises CorruptionError."""
        done = 0
        with self._environment.begin(buffers=True) as transaction:
            for space, tree in self._spaces.items():
                for key, value in transaction.cursor(tree):
                    verify(space, key, value)
                    done += 1
                    if done % _REPORTED == 0:
                        report(done)

    def count(self, space: Space) -> int:
        with self._environment.begin() as transaction:
            return int(transaction.stat(self._spaces[space])["entries"])
