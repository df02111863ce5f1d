"""Kernels loaded ahead or, where this machine has not run them before, compiled: by calls that do nothing.

Numba compiles one function at a time, whatever the number of cores, and takes as long for what links rows as for what
searches. So a process that has to compile the former has another one compile the latter meanwhile. They meet in the
cache on disk; where there is none, or the other process fails, the caller compiles everything itself.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from numba.core import event

from vecdb.kernels import build
from vecdb.kernels.graph import walk
from vecdb.kernels.memory import PLAIN, empty_struct
from vecdb.kernels.search import search
from vecdb.kernels.signs import sign

_RUN: Final = "import sys; sys.path[:] = {path!r}; from vecdb.kernels.ahead import load_walks; load_walks()"
_SECONDS: Final = 60  # that the other process may take


def load_search() -> None:
    """What searches need, by answering no queries."""
    load_walks()
    sign(0, 0, 0, 0, 0, 0, 0)


def load_walks() -> None:
    """What the other process compiles."""
    nothing = empty_struct()
    none = nothing.address
    _ = walk.address
    search(none, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, none)


def load_linking(*, beside: bool) -> None:
    """What linking rows needs, by linking none. Another process may compile `beside` this one."""
    nothing = empty_struct()
    none = nothing.address
    helper = _Helper(wanted=beside and not PLAIN)
    with event.install_listener("numba:compile", helper):
        build.choose(none, 0, 0, none, 0, 0, none, none)
        build.settle(none, none, none, 0)
        build.attach(none, 0, 0, 0, 0, 0, 0, none, none)
        sign(0, 0, 0, 0, 0, 0, 0)
    helper.wait()
    _ = walk.address


class _Helper(event.Listener):
    """The other process, which begins, where it is `wanted`, as soon as this one has to compile something."""

    def __init__(self, *, wanted: bool) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = wanted

    def on_start(self, event: Any) -> None:
        # An application that Python is a part of may name itself here: it must not be started again.
        if self._wanted and Path(sys.executable or "").stem.lower().startswith("python"):
            with suppress(OSError):
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _RUN.format(path=sys.path)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        self._wanted = False

    def on_end(self, event: Any) -> None:
        pass

    def wait(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
