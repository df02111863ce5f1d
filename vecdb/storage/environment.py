"""The one place that opens LMDB: one environment for a file in a process, its readers, its map, its writer's gate."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, TypeVar
from weakref import WeakSet

import lmdb

from vecdb.errors import (
    CorruptionError,
    DatabaseError,
    LockTimeoutError,
    NotAVecdbError,
    NotSupportedError,
    ReadOnlyError,
    StaleHandleError,
    StorageFullError,
    StorageIOError,
    TransactionError,
)
from vecdb.options import DEFAULT_TIMEOUT, MAP_RESERVE, MAX_READERS, MIN_MAP
from vecdb.storage import keys
from vecdb.storage.gate import WriterGate
from vecdb.storage.header import State, encode_state, read_header, seal_state
from vecdb.storage.held import HeldReaders
from vecdb.storage.keys import Space
from vecdb.storage.preflight import HINT
from vecdb.storage.reader import Hold, ReadTransaction, SharedReadTransaction
from vecdb.storage.records import seal
from vecdb.storage.trees import check_tree
from vecdb.storage.view import Changes

FileKey = tuple[int, int]
Reader = TypeVar("Reader", bound=ReadTransaction)
NO_SPACE: Final = frozenset(
    number for name in ("EFBIG", "ENOSPC", "EDQUOT") if (number := getattr(errno, name, None)) is not None
)
_MOST_LEAVES: Final = 1 << 14  # pages, of a tree that is looked at before it is scanned or written
# The last is what a transaction says that has met one of the others.
_DAMAGED: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.BadValsizeError,
    lmdb.BadTxnError,
)
_NEARLY: Final = 1 << 20  # bytes that are left where there is no space
SHORT_WRITE: Final = errno.EIO  # LMDB reports a short write, as of a full disk, as a plain I/O error
_MOST_SPACES: Final = 32
_REAP_SECONDS: Final = 1.0  # between two looks, at commits, for readers that died
_LARGE_COMMIT: Final = 1 << 20  # bytes
FORKED: Final = "start processes by spawn or forkserver, or close the database before a fork and connect after it"


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
        self.held = HeldReaders(self, self._lock)
        self._closed = False
        self._remapping = False
        self._writing = False
        self.companion: object = None  # what the mirror keeps for all handles on this file
        self._identity = identity_of(path)
        self._locking = True
        self._reaped = 0.0
        self._large = False  # whether the last commit was
        self._lmdb, self._map_size = self._open()
        self._lock_identity = identity_of(path + "-lock")
        self._spaces: dict[Space, lmdb._Database] = {}
        self.sound: set[Space] = set()  # whose trees were looked at
        self._open_spaces()
        self.gate = None if readonly else WriterGate(path)
        if identity_of(path) != self._identity:
            self.close()
            raise StaleHandleError(f"{path} was replaced while it was being opened; connect again")

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
                # On read-only media LMDB does without its lock file by itself, but not where it lacks the permission.
                if self.readonly and self._locking and _code(error) in (errno.EACCES, errno.EPERM):
                    self._locking = False
                    continue
                raise self._open_error(error) from error

    def _open_map(self, map_size: int) -> lmdb.Environment:
        return lmdb.open(
            self.path,
            map_size=map_size,
            subdir=False,
            readonly=self.readonly,
            lock=self._locking,
            metasync=self.sync_meta,
            create=not self.readonly,
            mode=0o600,
            max_readers=MAX_READERS,
            max_dbs=_MOST_SPACES,
            max_spare_txns=1,
            lib_version=0,
        )

    def _open_error(self, error: lmdb.Error) -> DatabaseError:
        if _code(error) in (errno.EACCES, errno.EPERM, errno.EROFS) and not self.readonly:
            return ReadOnlyError(f"{self.path} or its lock file may not be written; connect with readonly=True")
        if isinstance(error, (lmdb.CorruptedError, lmdb.VersionMismatchError, lmdb.PageNotFoundError)):
            return CorruptionError(f"{self.path} is damaged: {error}")
        if isinstance(error, lmdb.InvalidError):
            return NotAVecdbError(f"{self.path} is not a vecdb database: {error}")
        return StorageIOError(f"{self.path} can't be opened: {error}")

    def _open_spaces(self) -> None:
        try:
            if not self.readonly:
                self._reap()
            with self._lmdb.begin() as transaction:
                check_tree(self.path, transaction.id(), None)
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
            if other := [
                space.value.decode() for space, opened in self._spaces.items() if any(opened.flags().values())
            ]:
                raise CorruptionError(f"{self.path} is damaged: {', '.join(other)} are of another kind; {HINT}")
        except lmdb.Error as error:
            self._lmdb.close()
            raise self._open_error(error) from error
        except BaseException:
            self._lmdb.close()
            raise

    def check_tree(
        self, space: Space, commit: int, transaction: lmdb.Transaction[memoryview] | lmdb.Transaction[bytes]
    ) -> None:
        """Raise CorruptionError where a scan of a sub-database, as a commit has it, or a write to it could end the
        process. Giant trees, of which to read every page would take longer than many a call, are not looked at."""
        leaves = transaction.stat(self._spaces[space])["leaf_pages"]
        if leaves > _MOST_LEAVES or check_tree(self.path, commit, space):
            self.sound.add(space)  # what is written from now on is

    # Reading

    def check_usable(self) -> None:
        """Raise StaleHandleError in a forked child and after the last close."""
        if os.getpid() != self._pid:
            raise StaleHandleError(f"{self.path} was opened before this process was forked; {FORKED}")
        if self._closed:
            raise StaleHandleError(f"{self.path} is closed; connect again")

    def read(self) -> ReadTransaction:
        """Begin to read the newest commit; busy until told otherwise. After a fork the lock may never come free: the
        caller has asked `check_usable`."""
        return self._begin(ReadTransaction)

    def read_shared(self) -> SharedReadTransaction:
        """The same for many threads."""
        return self._begin(SharedReadTransaction)

    def _begin(self, kind: type[Reader]) -> Reader:
        deadline = None
        while True:
            with self._lock:
                # A scan that rests may hold the map for long: then nothing is won by waiting for it too.
                while self._remapping and not self._closed and all(reader.busy for reader in self._readers):
                    self._condition.wait()
                self.check_usable()
                try:
                    reader = kind(self, self._lmdb.begin(buffers=True))
                    self._readers.add(reader)
                    return reader
                except lmdb.MapResizedError:
                    mend = partial(self._remap, lambda size: max(size, 2 * os.path.getsize(self.path)))
                except lmdb.PanicError:
                    mend = partial(self._open_again, self._lmdb)
                except lmdb.ReadersFullError as error:
                    mend = None
                    self._lmdb.reader_check()
                    now = time.monotonic()
                    deadline = deadline or now + DEFAULT_TIMEOUT
                    if now > deadline:
                        raise LockTimeoutError(
                            f"{self.path}: all {MAX_READERS} places for readers are taken; close snapshots and scans"
                        ) from error
                except lmdb.Error as error:
                    raise self._io_error(error) from error
            if mend is not None:
                mend(DEFAULT_TIMEOUT)
            else:
                time.sleep(0.001)

    def copy(self, transaction: lmdb.Transaction[memoryview], descriptor: int) -> None:
        """Write what a transaction reads into an empty file, without free pages."""
        try:
            self._lmdb.copyfd(descriptor, compact=True, txn=transaction)
        except lmdb.Error as error:
            raise self._io_error(error) from error

    def _forget(self, reader: ReadTransaction) -> None:
        with self._lock:
            self._readers.discard(reader)
            if self._remapping or self._closed:  # only then does anybody wait for readers
                self._condition.notify_all()

    def _wait_for(self, done: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait, under the condition, until `done`."""
        if not self._condition.wait_for(done, timeout):
            raise LockTimeoutError(f"{self.path}: {what} for {timeout:g} s")

    # Readers that are held

    def size(self) -> tuple[int, int]:
        """LMDB's number of the newest commit, and the bytes of all pages that were ever used."""
        with self._lock:
            known = self._lmdb.info()
            return known["last_txnid"], (known["last_pgno"] + 1) * self._lmdb.stat()["psize"]

    def others_behind(self) -> dict[int, int]:
        """How many commits, of LMDB's, the oldest reader of each other process is behind, by process id."""
        self._reap()
        newest = self.size()[0]
        behind: dict[int, int] = {}
        with self._lock:
            readers = self._lmdb.readers()
        for line in readers.splitlines():
            process, *_, commit = line.split()
            if process.isdecimal() and commit.isdecimal() and int(process) != self._pid:
                behind[int(process)] = max(behind.get(int(process), 0), newest - int(commit))
        return behind

    def _reap(self) -> None:
        """Clear away the readers of processes that died: what they read could not be used again."""
        self._reaped = time.monotonic()
        self._lmdb.reader_check()

    def readers_held(self) -> list[tuple[ReadTransaction, Hold]]:
        """The readers that go on after their call, with what they hold."""
        with self._lock:
            return [(reader, reader.held) for reader in self._readers if reader.held is not None]

    # Writing

    def check_in_place(self) -> None:
        """Raise StaleHandleError when the file or its lock file is not the one that was opened."""
        if identity_of(self.path) != self._identity or identity_of(self.path + "-lock") != self._lock_identity:
            raise StaleHandleError(
                f"{self.path} or its lock file was replaced or deleted while it was open; nothing was written; "
                "close all handles and connect again"
            )

    def write(self, changes: Changes, base: State, timeout: float, *, sync: bool) -> None:
        """Commit `changes`, made on top of the commit `base`, in one LMDB transaction; the caller holds the gate.

        A full map grows and the changes, which are still in memory, are written again.

        After an error of the disk the file tells whether it has the commit: an error on its last page leaves that open.

        LMDB uses the pages that a commit gave up in the second commit after it. So that nothing waits for long, one of
        nothing but the state comes before each that is large, or follows a large one.
        """
        self.check_usable()
        self.check_in_place()
        if time.monotonic() > self._reaped + _REAP_SECONDS:
            self._reap()
        follows_large, self._large = self._large, _size(changes) >= _LARGE_COMMIT
        while True:
            try:
                if follows_large or self._large:
                    self._write_once(_nothing_but(base), base)
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
            except lmdb.PanicError:
                self._open_again(self._lmdb, timeout)
            except lmdb.Error as error:
                failure = self._io_error(error, "the transaction was rolled back")
                if self._is_durable(changes, failure):
                    return
                raise failure from error

    def last_commit(self) -> int:
        """LMDB's number of the file's newest commit, whether readers see it or not."""
        return int(self._lmdb.info()["last_txnid"])

    def show_last_commit(self) -> None:
        """Have readers see the newest commit, whose writer may have died between writing it and telling them: LMDB
        makes up for that where it finds that its lock's owner is dead. The caller holds the gate."""
        with suppress(lmdb.Error), self._while_writing():  # an error is met again by who writes
            self._lmdb.begin(write=True).abort()

    def _is_durable(self, changes: Changes, failure: DatabaseError) -> bool:
        """Whether a commit that failed is in the file all the same, and will stay."""
        try:
            with self.read() as reader:
                there = reader.holds(
                    Space.HEADER, keys.STATE, seal(keys.STATE, changes[Space.HEADER][keys.STATE] or b"")
                )
            if there:
                self._lmdb.sync(True)
            return there
        except (lmdb.Error, DatabaseError) as error:
            raise StorageIOError(
                f"{failure}; then {error}: whether the transaction is in the file is not known; connect again and look"
            ) from failure

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
                if space not in self.sound:
                    self.check_tree(space, transaction.id() - 1, transaction)
                cursor = transaction.cursor(self._spaces[space])
                puts = []
                for key in sorted(records):
                    value = records[key]
                    if value is not None:
                        puts.append((key, seal(key, value)))
                    elif cursor.set_key(key):
                        _delete(cursor)
                cursor.putmulti(puts)
                cursor.close()

    def _remap(self, wish: Callable[[int], int], timeout: float) -> None:
        """Map more of the file, which LMDB allows only while nothing of this process reads it."""
        with self._while_unused(timeout, "the file must be mapped anew"):
            size = wish(self._map_size)
            if self.max_size is not None:
                size = min(size, max(self.max_size, os.path.getsize(self.path)))
            self._lmdb.set_mapsize(_whole_pages(size))
            self._map_size = _whole_pages(size)

    @contextmanager
    def _while_unused(self, timeout: float, why: str) -> Iterator[None]:
        """While nothing of this process reads or writes; snapshots and scans that do for long are ended."""
        with self._condition:
            self._wait_for(lambda: not self._remapping, timeout, "the map has been growing")
            self._remapping = True
            try:

                def unused() -> bool:
                    return not self._readers and not self._writing

                if not self._condition.wait_for(unused, timeout):
                    for reader, _ in self.readers_held():
                        reader.end(f"the snapshot or scan was ended, since {why}; begin anew")
                    self._wait_for(unused, timeout, f"{why}, but a call has been reading it")
                self.check_usable()
                yield
            except lmdb.Error as error:
                raise self._io_error(error) from error
            finally:
                self._remapping = False
                self._condition.notify_all()

    # Another file

    def check_alone(self) -> None:
        """Raise where other processes have the file open, so that it can't be replaced."""
        others = None if self.gate is None else self.gate.others
        if others is None:
            raise NotSupportedError(
                f"{self.path}: on this system it can't be told whether other processes have the file open; "
                "dump it and load it into a new file instead"
            )
        if others:
            raise LockTimeoutError(
                f"{self.path} is open in another process, so that it can't be replaced by a packed copy; nothing was "
                "changed; close it there first"
            )

    def replace(self, draft: str, timeout: float) -> None:
        """Put a finished file in the place of this one, under all handles of this process; the caller has the turn."""
        assert self.gate is not None
        with self._while_unused(timeout, "the file is replaced by a packed copy"):
            self.check_in_place()
            self.check_alone()
            self._lmdb.close()
            try:
                with self.gate.alone() as alone:
                    if not alone:
                        self.check_alone()
                        raise LockTimeoutError(f"{self.path} is being opened by another process; nothing was changed")
                    self.gate.move(draft)
                    os.replace(draft, self.path)
                    sync_folder(os.path.dirname(self.path))
            finally:
                self._identity = identity_of(self.path)
                self._reopen()

    def _open_again(self, failed: lmdb.Environment, timeout: float) -> None:
        """Give up an environment that refuses everything, as LMDB's do after an error on a meta page, for a new one."""
        with self._while_unused(timeout, "the file must be opened again after an error of the disk"):
            if self._lmdb is failed:
                self._lmdb.close()
                self._reopen()

    def _reopen(self) -> None:
        self._lmdb, self._map_size = self._open()
        self._lock_identity = identity_of(self.path + "-lock")
        self._spaces.clear()
        self._open_spaces()

    def read_error(self, error: lmdb.Error) -> DatabaseError:
        """What an error of the engine means to somebody who reads."""
        if isinstance(error, _DAMAGED):
            return CorruptionError(f"{self.path} is damaged: {error}")
        return StorageIOError(f"{self.path} can't be read: {error}; close all handles and connect again")

    def _io_error(self, error: lmdb.Error, then: str = "close all handles and connect again") -> DatabaseError:
        code = _code(error)
        if code in NO_SPACE or (code == SHORT_WRITE and self._disk_is_full()):
            return StorageFullError(f"{self.path}: no space left on the disk; the transaction was rolled back")
        if isinstance(error, _DAMAGED):
            return self.read_error(error)
        if isinstance(error, lmdb.ReadonlyError) or code in (errno.EACCES, errno.EROFS):
            return ReadOnlyError(f"{self.path} may not be written: {error}")
        return StorageIOError(f"{self.path}: the disk reported an error: {error}; {then}")

    def _disk_is_full(self) -> bool:
        """Or the process may not make the file any larger."""
        if sys.platform == "win32":
            return False
        import resource

        disk, (limit, _) = os.statvfs(self.path), resource.getrlimit(resource.RLIMIT_FSIZE)
        limited = limit != resource.RLIM_INFINITY and os.path.getsize(self.path) + _NEARLY > limit
        return limited or disk.f_bavail * disk.f_frsize < _NEARLY

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
            self.held.stop()
            self._lmdb.close()
            if self.gate is not None:
                self.gate.close()

    def leave_to_parent(self) -> None:
        """In a forked child: let go of the writer's descriptor, so that a dead parent's turn ends."""
        if self.gate is not None:
            self.gate.close()


def sync_folder(folder: str) -> None:
    """Make a new name in `folder` survive a power cut; LMDB does not."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(cursor: lmdb.Cursor[bytes]) -> None:
    """Delete the record at a cursor. Where the one after it can't be read, lmdb says so by a SystemError."""
    try:
        cursor.delete()
    except SystemError as error:
        if isinstance(error.__cause__, lmdb.Error):
            raise error.__cause__ from None
        raise


def _size(changes: Changes) -> int:
    """About how many bytes there are to write."""
    return sum(len(value) for records in changes.values() for value in records.values() if value is not None)


def _nothing_but(state: State) -> Changes:
    return {Space.HEADER: {keys.STATE: encode_state(state)}}


def identity_of(path: str) -> FileKey | None:
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
