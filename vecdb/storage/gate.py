"""The writer's turn: one writer at a time over all threads and processes, with a timeout that Ctrl-C can cut short.

LMDB has a lock of its own, but waiting for it can neither time out nor be interrupted. So writers queue here, and
take LMDB's lock only for the moment of a commit. The lock lies on the data file itself: it holds between two
writers even if somebody deletes the lock file, and the system drops it when its process dies.
"""

from __future__ import annotations

import os
import sys
import threading
import time
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


_FIRST_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.02


class WriterGate:
    """The right to write to one file.

    It belongs to an object, its *holder*, rather than to a thread, and giving it back for an object that does not have
    it does nothing. So whoever asks for it gives it back in any case, and an interrupt between getting it and knowing
    so loses nothing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._condition = threading.Condition()
        self._holder: object = None
        self._descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))

    def acquire(self, holder: object, timeout: float) -> None:
        """Wait for the turn at most `timeout` seconds, then raise LockTimeoutError."""
        deadline = time.monotonic() + timeout
        with self._condition:
            if not self._condition.wait_for(lambda: self._holder is None, timeout):
                raise self._timed_out(timeout, "another thread of this process")
            self._holder = holder
        pause = _FIRST_PAUSE
        while not self._try_lock():
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._timed_out(timeout, "another process")
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _try_lock(self) -> bool:
        with self._condition:
            if self._descriptor < 0:
                raise StaleHandleError(f"{self._path} was closed; connect again")
            return _try_lock(self._descriptor)

    def release(self, holder: object) -> None:
        """Let the next writer in, if `holder` has the turn. Any thread may call it."""
        with self._condition:
            if self._holder is not holder:
                return
            if self._descriptor >= 0:
                _unlock(self._descriptor)
            self._holder = None
            self._condition.notify()

    def close(self) -> None:
        """Close the descriptor, which ends the turn of whoever had it; in a forked child, the parent's turn goes on."""
        with self._condition:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def _timed_out(self, timeout: float, holder: str) -> LockTimeoutError:
        return LockTimeoutError(
            f"{self._path}: {holder} has been writing for {timeout:g} s; try again, or connect with a longer timeout"
        )
