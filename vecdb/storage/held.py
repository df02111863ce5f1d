"""Readers that go on after their call: what they cost, and the end of those that do so for too long."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from vecdb.errors import Error
from vecdb.options import MAX_HELD_BYTES, MAX_HELD_SECONDS
from vecdb.storage.header import read_state

if TYPE_CHECKING:
    from vecdb.storage.environment import Environment
    from vecdb.storage.reader import ReadTransaction

_WATCH_SECONDS: Final = 1.0  # between two looks


class Held(NamedTuple):
    """A snapshot, or a scan that was begun, and what it costs."""

    version: int
    seconds: float
    behind: int  # commits
    kept_bytes: int  # of the file, that later commits would have used again


class HeldReaders:
    """Those of an environment in this process."""

    def __init__(self, environment: Environment, lock: threading.RLock) -> None:
        """`lock` is the environment's: with another, the watcher would have one of two, and wait, with whoever comes
        for it, for an environment's lock that an interrupted thread never gave back."""
        self._environment = environment
        self._lock = lock
        self._watcher: threading.Thread | None = None
        self._ending = threading.Event()

    def look(self) -> list[Held]:
        return [what for _, what in self._look()[0]]

    def watch(self) -> None:
        """Have a thread look at them, as long as there are any."""
        with self._lock:
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="vecdb-watch", daemon=True)
                with suppress(RuntimeError):  # no threads are to be had, as while Python exits
                    self._watcher.start()

    def stop(self) -> None:
        """The environment is closed."""
        self._ending.set()

    def _watch(self) -> None:
        while not self._ending.wait(_WATCH_SECONDS):
            with self._lock:
                if not self._environment.readers_held():
                    self._watcher = None
                    return
            with suppress(Error):  # which is told to those who read
                self._end_the_long()

    def _end_the_long(self) -> None:
        """A reader keeps what was there when it began: of the file, and in memory. None does so without end."""
        readers, used = self._look()
        for reader, (version, seconds, _, kept) in readers:
            most = max(MAX_HELD_BYTES, used)
            if seconds > MAX_HELD_SECONDS:
                why = f"for longer than {MAX_HELD_SECONDS:g} s"
            elif kept > most:
                why = f"while {kept} bytes of the file could not be used again, more than {most}"
            else:
                continue
            reader.end(f"the snapshot or scan of version {version} was ended, since it was open {why}; begin anew")

    def _look(self) -> tuple[list[tuple[ReadTransaction, Held]], int]:
        """The readers, and the bytes that the newest commit uses."""
        with self._environment.read() as now:
            used, newest, file_bytes = now.used_bytes(), read_state(now).version, self._environment.size()[1]
        found = []
        for reader, hold in self._environment.readers_held():
            behind = newest - hold.version
            kept = max(0, file_bytes - used - hold.free_bytes) if behind else 0
            found.append((reader, Held(hold.version, time.monotonic() - hold.began, behind, kept)))
        return found, used
