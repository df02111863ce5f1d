"""Healing: a graph that is damaged in the file is made anew from the vectors, behind the searches that met it.

Until then these compare every row, exactly. Vectors are read and never touched; where one of them is damaged too, all
stays as it is.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from vecdb.errors import Error
from vecdb.mirror.load import memory_of
from vecdb.mirror.versions import Mirror
from vecdb.mirror.view import Place
from vecdb.mirror.writer import Writer

_AGAIN_AFTER: Final = 60.0  # seconds since an attempt that failed


class _StoppedError(Exception):
    """The database is being closed."""


class Healer:
    """A thread that takes the writer's turn where there is something to heal."""

    def __init__(self, mirror: Mirror, timeout: float, *, sync: bool) -> None:
        self._mirror = mirror
        self._timeout = timeout
        self._sync = sync
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._not_before = 0.0
        self._stopping = False

    def look(self) -> None:
        """Begin to heal what is damaged, if that is not being done."""
        with self._lock:
            running = self._thread is not None and self._thread.is_alive()
            if running or self._stopping or time.monotonic() < self._not_before:
                return
            # Python does not wait for it at its exit: cut off, it leaves the file as it was.
            self._thread = threading.Thread(target=self._run, name="vecdb-healer", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Return once nothing is being healed."""
        with self._lock:
            self._stopping = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        self._not_before = time.monotonic() + _AGAIN_AFTER
        for place in list(self._mirror.damaged):
            try:
                self._heal(place)
            except (Error, _StoppedError):
                continue  # what it is shows in stats and plans; a write, or vacuum, raises it

    def _heal(self, place: Place) -> None:
        writer = Writer(self._mirror, self._timeout, sync=self._sync)
        try:
            table = writer.tables.get(place[0])
            columns = () if table is None else table.schema.columns
            for column in columns:
                if table is None or column.number != place[1] or writer.column(table, column).damage is None:
                    continue
                state = table.state.columns[column.number]
                if memory_of(column, state, table.state.slots, vectors=True) <= self._mirror.memory:
                    writer.writable(table, column, self._progress)
            writer.commit()
        finally:
            writer.roll_back()

    def _progress(self, done: int) -> None:
        if self._stopping:
            raise _StoppedError
