"""The writer's turn: one writer at a time over all threads and processes, with a timeout that Ctrl-C can cut short.

LMDB has a lock of its own, but waiting for it can neither time out nor be interrupted. So writers queue here, and
take LMDB's lock only for the moment of a commit. The lock lies on the data file itself: it holds between two
writers even if somebody deletes the lock file, and the system drops it when its process dies.

Threads of a process have their turns in the order in which they came. Of the processes, one is *next*: it has a second
lock, on the lock file, and only it asks for the turn. So who just had the turn does not get it again before those who
waited; all others ask to be the next at random moments, and have the same chance. Without it, of two processes one
wrote seven times as much as the other, which once waited 5 s. Nothing depends on it but fairness: where the next one
seems to be stopped, the turn is asked for without.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from vecdb.errors import LockTimeoutError, StaleHandleError

if sys.platform == "win32":
    import msvcrt

    _FAR: Final = 2**62  # a byte that no file has, so that the lock hides no data

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


# LMDB has locks of another kind on the lock file. Where the two kinds may be one, nobody is next.
_BESIDE: Final = "-lock" if sys.platform == "linux" else None
_PAUSE_OF_NEXT: Final = 0.0002  # seconds between two tries
_PAUSE_OF_OTHERS: Final = 0.0005  # on average ...
_LONG_PAUSE: Final = 0.01  # ... and of all, when the turn has been taken for a second
_STOPPED: Final = 0.25  # seconds after which the next one may be a process that is stopped


class WriterGate:
    """The right to write to one file.

    It belongs to an object, its *holder*, rather than to a thread, and giving it back for an object that does not have
    it does nothing. So whoever asks for it gives it back in any case, and an interrupt between getting it and knowing
    so loses nothing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._condition = threading.Condition()
        self._queue: deque[object] = deque()  # of those who asked in this process: the first one has the turn, or tries
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags)
        self._next = -1
        if _BESIDE is not None:
            with suppress(FileNotFoundError):  # a file that is being created is nobody else's
                self._next = os.open(path + _BESIDE, flags)
        self._is_next = False

    def acquire(self, holder: object, timeout: float) -> None:
        """Wait for the turn at most `timeout` seconds, then raise LockTimeoutError. Either way `release` it."""
        began = time.monotonic()
        with self._condition:
            self._queue.append(holder)
            if not self._condition.wait_for(lambda: self._queue[0] is holder, timeout):
                raise self._timed_out(timeout, "another thread of this process")
        while not self._try(time.monotonic() - began):
            waited = time.monotonic() - began
            if waited >= timeout:
                raise self._timed_out(timeout, "another process")
            if waited > 1:
                pause = _LONG_PAUSE
            else:
                pause = _PAUSE_OF_NEXT if self._is_next else random.uniform(0, 2 * _PAUSE_OF_OTHERS)
            time.sleep(min(pause, timeout - waited))

    def _try(self, waited: float) -> bool:
        with self._condition:
            if self._descriptor < 0:
                raise StaleHandleError(f"{self._path} was closed; connect again")
            if self._next >= 0 and not self._is_next:
                self._is_next = _try_lock(self._next)
                if not self._is_next and waited < _STOPPED:
                    return False
            if not _try_lock(self._descriptor):
                return False
            self._leave_queue()
            return True

    def _leave_queue(self) -> None:
        if self._is_next:
            _unlock(self._next)
            self._is_next = False

    def release(self, holder: object) -> None:
        """Let the next writer in, if `holder` has the turn or waits for it. Any thread may call it."""
        with self._condition:
            if holder not in self._queue:
                return
            if self._queue[0] is holder and self._descriptor >= 0:
                self._leave_queue()
                _unlock(self._descriptor)
            self._queue.remove(holder)
            self._condition.notify_all()

    def move(self, path: str) -> None:
        """Have the lock, with the turn of whoever has it, on another file, which is about to take this one's name."""
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        if not _try_lock(descriptor):
            os.close(descriptor)
            raise LockTimeoutError(f"{self._path}: another process has locked {path}")
        with self._condition:
            before, self._descriptor = self._descriptor, descriptor
        os.close(before)

    @property
    def others(self) -> bool | None:
        """Whether other processes have the file open, by LMDB's lock on the lock file; None where nothing tells."""
        if sys.platform != "linux" or self._next < 0:
            return None
        # A lock of this process is not told. No other descriptor may be used: closing it would end LMDB's lock.
        found = fcntl.fcntl(self._next, fcntl.F_GETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        return int(struct.unpack("hhqqi", found)[0]) != fcntl.F_UNLCK

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other process has the file open; until the end, those that are about to open it wait. This one has
        let go of LMDB's lock."""
        if sys.platform != "linux" or self._next < 0:
            yield False
            return
        try:
            fcntl.lockf(self._next, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except (BlockingIOError, PermissionError):
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._next, fcntl.LOCK_UN, 1)

    def close(self) -> None:
        """Close the descriptor, which ends the turn of whoever had it; in a forked child, the parent's turn goes on."""
        with self._condition:
            for descriptor in (self._descriptor, self._next):
                if descriptor >= 0:
                    os.close(descriptor)
            self._descriptor = self._next = -1
            self._is_next = False

    def _timed_out(self, timeout: float, holder: str) -> LockTimeoutError:
        return LockTimeoutError(
            f"{self._path}: {holder} has been writing for {timeout:g} s; try again, or connect with a longer timeout"
        )
