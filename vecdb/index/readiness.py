"""Whether graph searches can begin at once.

Importing numba takes about half a second, compiling the kernels on a new machine several. Until then the first searches
of a process that only reads are answered without them, and the kernels load behind those.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Final

_LOADS_WITH: Final = 2  # answers: a program that asks once is not kept from exiting


class Readiness:
    """Of the kernels, which belong to the process, as modules do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers = 0
        self._loader: threading.Thread | None = None
        self._walks = False  # what the loader has loaded first

    def __bool__(self) -> bool:
        """Whether the kernels of walks are loaded; they are too where something was linked in this process."""
        return "vecdb.index.graph" in sys.modules and (self._loader is None or self._walks)

    @property
    def for_filters(self) -> bool:
        """Whether those of scans under a filter are as well."""
        return bool(self) and (self._loader is None or not self._loader.is_alive())

    @property
    def sift(self) -> bool:
        """Whether they tell rows as too far by their signs faster than by their codes, many at a time."""
        simd = sys.modules.get("vecdb.kernels.simd")
        return simd is not None and bool(simd.COUNTS_BLOCKS)

    @property
    def look_up(self) -> bool:
        """Whether they do so of rows that lie together, many more at a time."""
        simd = sys.modules.get("vecdb.kernels.simd")
        return simd is not None and bool(simd.LOOKS_UP)

    def count_answer(self) -> None:
        """An answer was given without kernels: let them load behind the next ones."""
        with self._lock:
            self._answers += 1
            if self._answers == _LOADS_WITH:
                # Python waits for it at its exit, so that what is compiled is there for the next process.
                self._loader = threading.Thread(target=self._load, name="vecdb-kernels")
                # A child forked meanwhile would find locks of Python and numba held by a thread that it does not have.
                if sys.platform != "win32":
                    os.register_at_fork(before=self._finish)
                self._loader.start()

    def _finish(self) -> None:
        if self._loader is not None and self._loader is not threading.current_thread():
            self._loader.join()

    def _load(self) -> None:
        from vecdb.index import graph

        graph.load_kernels()
        self._walks = True
        from vecdb.index import filtered

        filtered.load_kernels()


KERNELS: Final = Readiness()
