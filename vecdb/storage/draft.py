"""A new file that is written whole under another name before it takes the place of one: nobody sees half of it.

What a process that died leaves beside the file has a name that begins with the file's and `.compact-`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

import lmdb

from vecdb.errors import DatabaseError, InternalError, StorageFullError, StorageIOError
from vecdb.storage.environment import NO_SPACE, SHORT_WRITE, sync_folder
from vecdb.storage.keys import Space
from vecdb.storage.records import seal
from vecdb.storage.view import Changes

_MARK: Final = ".compact-"
_ZEROS: Final = bytes(1 << 20)


class Draft:
    """Records in the making, of the file that will be at `path`; written in the order of their keys in each
    sub-database, so that its pages are full."""

    def __init__(self, path: str, size: int) -> None:
        """`size` is more than it will need, in bytes: address space, not disk."""
        self.path = f"{path}{_MARK}{os.urandom(8).hex()}"
        self._name = path
        try:
            self._lmdb = lmdb.open(
                self.path,
                map_size=size,
                subdir=False,
                mode=0o600,
                sync=False,
                lock=False,  # nobody knows its name
                max_dbs=len(Space),
                lib_version=0,
            )
            self._spaces = {space: self._lmdb.open_db(space.value) for space in Space}
        except lmdb.Error as error:
            self.discard()
            raise self._error(error) from error

    def write(self, changes: Changes) -> None:
        """Append records, whose keys come after those that are there."""
        try:
            with self._lmdb.begin(write=True) as transaction:
                for space, records in changes.items():
                    if not records:
                        continue
                    puts = [(key, seal(key, value)) for key, value in sorted(records.items()) if value is not None]
                    with transaction.cursor(self._spaces[space]) as cursor:
                        _, added = cursor.putmulti(puts, append=True)
                    if added != len(puts):
                        raise InternalError(f"records of {space.value.decode()} were written out of their order")
        except lmdb.Error as error:
            raise self._error(error) from error

    def count(self, space: Space) -> int:
        with self._lmdb.begin() as transaction:
            return int(transaction.stat(self._spaces[space])["entries"])

    def finish(self) -> None:
        """Have everything reach the disk, and close it."""
        try:
            self._lmdb.sync(True)
        except lmdb.Error as error:
            raise self._error(error) from error
        self._lmdb.close()

    def discard(self) -> None:
        """Remove it, unless it has taken its place."""
        if hasattr(self, "_lmdb"):
            self._lmdb.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def _error(self, error: lmdb.Error) -> DatabaseError:
        code = getattr(error, "code", 0)
        if code in NO_SPACE or isinstance(error, lmdb.MapFullError) or (code == SHORT_WRITE and self._is_cut_off()):
            return StorageFullError(f"{self._name}: no space left on the disk for a packed copy; nothing was changed")
        return StorageIOError(f"{self._name}: a packed copy could not be written: {error}; nothing was changed")

    def _is_cut_off(self) -> bool:
        """Whether nothing more can be written at its end."""
        try:
            with open(self.path, "ab", buffering=0) as file:
                return file.write(_ZEROS) < len(_ZEROS)
        except OSError as error:
            return error.errno in NO_SPACE


def keep_old(path: str) -> str:
    """A second name of the file, under which it is there when another takes its place."""
    old = f"{path}{_MARK}{os.urandom(8).hex()}"
    try:
        os.link(path, old)
    except OSError as error:
        raise StorageIOError(f"{path}: this file system can't give it a second name: {error}") from error
    return old


def remove_leftovers(path: str, *, secure: bool) -> None:
    """Remove what lies beside the file of this or an earlier replacement, overwritten where that is to be `secure`; the
    caller has the writer's turn."""
    folder, name = os.path.split(path)
    for entry in os.listdir(folder):
        if entry.startswith(name + _MARK):
            leftover = os.path.join(folder, entry)
            try:
                if secure and not os.path.samestat(os.stat(leftover), os.stat(path)):
                    _overwrite(leftover)
                os.unlink(leftover)
            except OSError as error:
                raise StorageIOError(f"{leftover} could not be removed: {error}") from error
    sync_folder(folder)


def _overwrite(path: str) -> None:
    with open(path, "r+b", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for start in range(0, size, len(_ZEROS)):
            file.write(_ZEROS[: size - start])
        os.fsync(file.fileno())
