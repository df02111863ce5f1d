"""The one place that opens LMDB: one environment for a file in a process, its readers, its map, its writer's gate."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from weakref import WeakSet

import lmdb

from vecdb.errors import (
    CorruptionError,
    DatabaseError,
    LockTimeoutError,
    NotAVecdbError,
    ReadOnlyError,
    StaleHandleError,
    StorageFullError,
    StorageIOError,
    TransactionError,
)
from vecdb.options import DEFAULT_TIMEOUT, MAP_RESERVE, MAX_READERS, MIN_MAP
from vecdb.storage import keys, preflight
from vecdb.storage.gate import WriterGate
from vecdb.storage.header import State, read_header, seal_state
from vecdb.storage.keys import Space
from vecdb.storage.records import seal, unseal
from vecdb.storage.view import Changes, Sealed

_FileKey = tuple[int, int]
NO_SPACE: Final = frozenset(
    number for name in ("EFBIG", "ENOSPC", "EDQUOT") if (number := getattr(errno, name, None)) is not None
)
_SHORT_WRITE: Final = errno.EIO  # LMDB reports a short write, as of a full disk, as a plain I/O error
_MOST_SPACES: Final = 32
_FORKED: Final = "start processes by spawn or forkserver, or close the database before a fork and connect after it"


class Environment:
    """An open file, shared by all handles on it in this process."""

    def __init__(self, path: str, *, readonly: bool, sync_meta: bool, max_size: int | None) -> None:
        self.path = path
        self.readonly = readonly
        self.sync_meta = sync_meta
        self.max_size = max_size
        self.users = 0
        self.lock = threading.RLock()  # for whoever sets the companion
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)  # the same lock, which is entered faster by itself
        # Weak, so that a reader lost to an interrupt does not count for ever.
        self._readers: WeakSet[ReadTransaction] = WeakSet()
        self._closed = False
        self._remapping = False
        self._writing = False
        self.companion: object = None  # what the mirror keeps for all handles on this file
        self._identity = _identity(path)
        self._lmdb, self._map_size = self._open()
        self._lock_identity = _identity(path + "-lock")
        self._spaces: dict[Space, lmdb._Database] = {}
        self._open_spaces()
        self.gate = None if readonly else WriterGate(path)

    # Opening

    def _open(self) -> tuple[lmdb.Environment, int]:
        """Map as much address space as the system grants, up to the reserve."""
        size = os.path.getsize(self.path)
        wish = max(MAP_RESERVE if sys.maxsize > 2**32 and sys.platform != "win32" else MIN_MAP, 4 * size)
        if self.max_size is not None:
            wish = min(wish, max(self.max_size, size))
        least = min(wish, max(MIN_MAP, size))
        while True:
            try:
                return self._open_map(_whole_pages(wish)), _whole_pages(wish)
            except lmdb.Error as error:
                # ENOMEM: the process may not have that much address space.
                if _code(error) == errno.ENOMEM and wish > least:
                    wish = max(least, wish // 4)
                    continue
                raise self._open_error(error) from error

    def _open_map(self, map_size: int) -> lmdb.Environment:
        return lmdb.open(
            self.path,
            map_size=map_size,
            subdir=False,
            readonly=self.readonly,
            metasync=self.sync_meta,
            create=not self.readonly,
            mode=0o600,
            max_readers=MAX_READERS,
            max_dbs=_MOST_SPACES,
            max_spare_txns=1,
            lib_version=0,
        )

    def _open_error(self, error: lmdb.Error) -> DatabaseError:
        if _code(error) in (errno.EACCES, errno.EPERM, errno.EROFS):
            return ReadOnlyError(f"{self.path} or its lock file may not be written; connect with readonly=True")
        if isinstance(error, (lmdb.CorruptedError, lmdb.VersionMismatchError, lmdb.PageNotFoundError)):
            return CorruptionError(f"{self.path} is damaged: {error}")
        if isinstance(error, lmdb.InvalidError):
            return NotAVecdbError(f"{self.path} is not a vecdb database: {error}")
        return StorageIOError(f"{self.path} can't be opened: {error}")

    def _open_spaces(self) -> None:
        try:
            if not self.readonly:
                self._lmdb.reader_check()
            with self._lmdb.begin() as transaction:
                found = {bytes(name) for name, _ in transaction.cursor()}
            if Space.HEADER.value not in found:
                raise NotAVecdbError(f"{self.path} is an LMDB file, but not a vecdb database; it was left as it is")
            self._spaces.update(
                (space, self._lmdb.open_db(space.value, create=False)) for space in Space if space.value in found
            )
            if missing := [space.value.decode() for space in Space if space not in self._spaces]:
                with self.read() as reader:
                    read_header(reader, self.path)  # refuses older formats, which had fewer
                raise CorruptionError(f"{self.path} lacks the sub-databases {', '.join(missing)}")
        except lmdb.Error as error:
            self._lmdb.close()
            raise self._open_error(error) from error
        except BaseException:
            self._lmdb.close()
            raise

    # Reading

    def check_usable(self) -> None:
        """Raise StaleHandleError in a forked child and after the last close."""
        if os.getpid() != self._pid:
            raise StaleHandleError(f"{self.path} was opened before this process was forked; {_FORKED}")
        if self._closed:
            raise StaleHandleError(f"{self.path} is closed; connect again")

    def read(self) -> ReadTransaction:
        """Begin to read the newest commit; busy until told otherwise. After a fork the lock may never come free: the
        caller has asked `check_usable`."""
        deadline = None
        while True:
            with self._lock:
                # A scan that rests may hold the map for long: then nothing is won by waiting for it too.
                while self._remapping and not self._closed and all(reader.busy for reader in self._readers):
                    self._condition.wait()
                self.check_usable()
                try:
                    reader = ReadTransaction(self, self._lmdb.begin(buffers=True))
                    self._readers.add(reader)
                    return reader
                except lmdb.MapResizedError:
                    grown = True
                except lmdb.ReadersFullError as error:
                    grown = False
                    self._lmdb.reader_check()
                    now = time.monotonic()
                    deadline = deadline or now + DEFAULT_TIMEOUT
                    if now > deadline:
                        raise LockTimeoutError(
                            f"{self.path}: all {MAX_READERS} places for readers are taken; close snapshots and scans"
                        ) from error
                except lmdb.Error as error:
                    raise self._io_error(error) from error
            if grown:
                self._remap(lambda size: max(size, 2 * os.path.getsize(self.path)), DEFAULT_TIMEOUT)
            else:
                time.sleep(0.001)

    def _forget(self, reader: ReadTransaction) -> None:
        with self._lock:
            self._readers.discard(reader)
            if self._remapping or self._closed:  # only then does anybody wait for readers
                self._condition.notify_all()

    def _wait_for(self, done: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait, under the condition, until `done`."""
        if not self._condition.wait_for(done, timeout):
            raise LockTimeoutError(f"{self.path}: {what} for {timeout:g} s")

    # Writing

    def check_in_place(self) -> None:
        """Raise StaleHandleError when the file or its lock file is not the one that was opened."""
        if _identity(self.path) != self._identity or _identity(self.path + "-lock") != self._lock_identity:
            raise StaleHandleError(
                f"{self.path} or its lock file was replaced or deleted while it was open; nothing was written; "
                "close all handles and connect again"
            )

    def write(self, changes: Changes, base: State, timeout: float, *, sync: bool) -> None:
        """Commit `changes`, made on top of the commit `base`, in one LMDB transaction; the caller holds the gate.

        A full map grows and the changes, which are still in memory, are written again.
        """
        self.check_usable()
        self.check_in_place()
        while True:
            try:
                self._write_once(changes, base)
                if sync and not self.sync_meta:
                    self._lmdb.sync(True)
                return
            except lmdb.MapFullError as error:
                if self.max_size is not None and self._map_size >= _whole_pages(self.max_size):
                    raise StorageFullError(
                        f"{self.path} would outgrow max_size = {self.max_size} bytes; the transaction was rolled back"
                    ) from error
                self._remap(lambda size: 2 * size, timeout)
            except lmdb.MapResizedError:
                self._remap(lambda size: max(size, 2 * os.path.getsize(self.path)), timeout)
            except lmdb.Error as error:
                raise self._io_error(error) from error

    @contextmanager
    def _while_writing(self) -> Iterator[None]:
        """Keep `close` and a new map waiting, which LMDB does not allow beside a write transaction."""
        with self._condition:
            self.check_usable()
            self._writing = True
        try:
            yield
        finally:
            with self._condition:
                self._writing = False
                self._condition.notify_all()

    def _write_once(self, changes: Changes, base: State) -> None:
        with self._while_writing(), self._lmdb.begin(write=True) as transaction:
            if transaction.get(keys.STATE, db=self._spaces[Space.HEADER]) != seal_state(base):
                raise TransactionError(
                    f"{self.path} was written by something that did not wait for its turn; nothing was written"
                )
            for space, records in changes.items():
                if not records:
                    continue
                cursor = transaction.cursor(self._spaces[space])
                puts = []
                for key in sorted(records):
                    value = records[key]
                    if value is not None:
                        puts.append((key, seal(key, value)))
                    elif cursor.set_key(key):
                        cursor.delete()
                cursor.putmulti(puts)
                cursor.close()

    def _remap(self, wish: Callable[[int], int], timeout: float) -> None:
        """Map more of the file, which LMDB allows only while nothing of this process reads it."""
        with self._condition:
            self._wait_for(lambda: not self._remapping, timeout, "the map has been growing")
            self._remapping = True
            try:
                self._wait_for(
                    lambda: not self._readers and not self._writing,
                    timeout,
                    "the file must be mapped anew, but a scan has been reading it",
                )
                self.check_usable()
                size = wish(self._map_size)
                if self.max_size is not None:
                    size = min(size, max(self.max_size, os.path.getsize(self.path)))
                self._lmdb.set_mapsize(_whole_pages(size))
                self._map_size = _whole_pages(size)
            except lmdb.Error as error:
                raise self._io_error(error) from error
            finally:
                self._remapping = False
                self._condition.notify_all()

    def read_error(self, error: lmdb.Error) -> DatabaseError:
        """What an error of the engine means to somebody who reads."""
        if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.BadValsizeError)):
            return CorruptionError(f"{self.path} is damaged: {error}")
        return StorageIOError(f"{self.path} can't be read: {error}; close all handles and connect again")

    def _io_error(self, error: lmdb.Error) -> DatabaseError:
        code = _code(error)
        if code in NO_SPACE or (code == _SHORT_WRITE and self._disk_is_full()):
            return StorageFullError(f"{self.path}: no space left on the disk; the transaction was rolled back")
        if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError)):
            return self.read_error(error)
        if isinstance(error, lmdb.ReadonlyError) or code in (errno.EACCES, errno.EROFS):
            return ReadOnlyError(f"{self.path} may not be written: {error}")
        return StorageIOError(f"{self.path}: the disk reported an error: {error}; close all handles and connect again")

    def _disk_is_full(self) -> bool:
        if not hasattr(os, "statvfs"):
            return False
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize < 1 << 20

    # Closing

    def close(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Wait until no call is reading, then release every file handle. Idle scans are cut off."""
        if os.getpid() != self._pid:
            return  # a fork's copy: the files are the parent's
        with self._condition:
            if self._closed:
                return
            self._closed = True
            self._condition.notify_all()
            try:
                self._wait_for(
                    lambda: not self._writing and not any(reader.busy for reader in self._readers),
                    timeout,
                    "a call has been using it",
                )
            except LockTimeoutError:
                self._closed = False
                raise
            for reader in list(self._readers):
                reader.abort()
            self._readers.clear()
            self._lmdb.close()
            if self.gate is not None:
                self.gate.close()

    def leave_to_parent(self) -> None:
        """In a forked child: let go of the writer's descriptor, so that a dead parent's turn ends."""
        if self.gate is not None:
            self.gate.close()


class ReadTransaction(Sealed):
    """One version of the file, as LMDB sees it. Buffers it gives are valid until it is closed."""

    __slots__ = ("__weakref__", "_environment", "_spaces", "_transaction", "busy")

    def __init__(self, environment: Environment, transaction: lmdb.Transaction[memoryview]) -> None:
        self._environment = environment
        self._spaces = environment._spaces
        self._transaction: lmdb.Transaction[memoryview] | None = transaction
        self.busy = True

    def get(self, space: Space, key: bytes) -> memoryview | None:
        value = self._get(space, key)
        return None if value is None else unseal(space, key, value)

    def holds(self, space: Space, key: bytes, sealed: bytes) -> bool:
        """Whether a record is stored as exactly these bytes: known ones need not be verified and decoded again."""
        value = self._get(space, key)
        return value is not None and bytes(value) == sealed

    def _get(self, space: Space, key: bytes) -> memoryview | None:
        try:
            return (self._transaction or self._lmdb()).get(key, None, self._spaces[space])
        except lmdb.Error as error:
            raise self._environment.read_error(error) from error

    def scan(self, space: Space, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        first = max(prefix, start)
        try:
            cursor = self._lmdb().cursor(self._spaces[space])
            found = cursor.set_range(first) if first else cursor.first()
            while found:
                key = bytes(cursor.key())
                if not key.startswith(prefix):
                    return
                yield key, unseal(space, key, cursor.value())
                self._lmdb()  # it may have been cut off meanwhile
                found = cursor.next()
        except lmdb.Error as error:
            raise self._environment.read_error(error) from error

    def sealed(self, space: Space, prefix: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        try:
            cursor = self._lmdb().cursor(self._spaces[space])
            found = cursor.set_range(prefix) if prefix else cursor.first()
            while found:
                key = bytes(cursor.key())
                if not key.startswith(prefix):
                    return
                yield key, cursor.value()
                found = cursor.next()
        except lmdb.Error as error:
            raise self._environment.read_error(error) from error

    def count(self, space: Space) -> int:
        try:
            return int(self._lmdb().stat(self._spaces[space])["entries"])
        except lmdb.Error as error:
            raise self._environment.read_error(error) from error

    def copy_to(self, descriptor: int) -> None:
        """Write what this transaction reads into an empty file, without free pages. Threads run on meanwhile."""
        try:
            self._environment._lmdb.copyfd(descriptor, compact=True, txn=self._lmdb())
        except lmdb.Error as error:
            raise self._environment._io_error(error) from error

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

    def _lmdb(self) -> lmdb.Transaction[memoryview]:
        if self._transaction is None:
            self._environment.check_usable()
            raise StaleHandleError(f"{self._environment.path}: the read was cut off when its database was closed")
        return self._transaction

    @contextmanager
    def working(self) -> Iterator[None]:
        """Mark a reader that rests between calls as busy, so that `close` waits for it."""
        with self._environment._condition:
            self._environment.check_usable()
            self.busy = True
        try:
            yield
        finally:
            self.rest()

    def rest(self) -> None:
        """Between calls: `close` need not wait for this reader, but cuts it off."""
        with self._environment._condition:
            self.busy = False
            self._environment._condition.notify_all()

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


class Registry:
    """The environments open in this process, by file: LMDB forbids opening a file twice."""

    def __init__(self) -> None:
        # Reentrant, since the garbage collector may close a forgotten handle in the middle of an `acquire`.
        self._lock = threading.RLock()
        self._open: dict[_FileKey, Environment] = {}
        self._inherited: set[_FileKey] = set()  # open in the parent when this process was forked from it
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def acquire(self, path: str, *, readonly: bool, sync_meta: bool, max_size: int | None) -> Environment:
        """The environment of an existing file, opened unless it is open already."""
        with self._lock:
            identity = _identity(path)
            if identity in self._inherited:
                raise StaleHandleError(f"{path} was open when this process was forked; {_FORKED}")
            environment = self._open.get(identity) if identity else None
            if environment is None:
                self._refuse_a_shared_lock_file(path)
                preflight.inspect(path)
                environment = Environment(path, readonly=readonly, sync_meta=sync_meta, max_size=max_size)
                self._open[environment._identity or (0, 0)] = environment
            elif environment.readonly and not readonly:
                raise ReadOnlyError(f"{path} is open in this process with readonly=True; close that handle first")
            environment.users += 1
            return environment

    def release(self, environment: Environment) -> None:
        """One user less; the last one closes the environment."""
        with self._lock:
            if environment.users == 1:
                environment.close()
                self._open = {key: value for key, value in self._open.items() if value is not environment}
            environment.users -= 1

    def _refuse_a_shared_lock_file(self, path: str) -> None:
        """The file at `path` was replaced while it was open: two files must not share one lock file."""
        lock = _identity(path + "-lock")
        if lock and any(environment._lock_identity == lock for environment in self._open.values()):
            raise StaleHandleError(
                f"{path} was replaced while it was open in this process; close all handles on the old file first"
            )

    def _after_fork(self) -> None:
        for environment in self._open.values():
            environment.leave_to_parent()
        self._lock = threading.RLock()
        self._inherited |= self._open.keys()
        self._open = {}


def _identity(path: str) -> _FileKey | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageIOError(f"{path} can't be looked at: {error}") from error
    return status.st_dev, status.st_ino


def _whole_pages(size: int) -> int:
    return max(size, 1 << 16) // 4096 * 4096


def _code(error: lmdb.Error) -> int:
    return int(getattr(error, "code", 0) or 0)


REGISTRY: Final = Registry()
