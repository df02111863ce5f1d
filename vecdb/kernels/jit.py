"""The one place that decides how kernels are compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from zlib import crc32

import numba
from numba import types
from numba.core import event

from vecdb.kernels.memory import PLAIN
from vecdb.kernels.simd import LEVEL

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered, so that they run on vector registers. NaN and infinity keep their meaning.
_NOT_FROM_PYTHON: Final = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_OPTIONS: Final[dict[str, Any]] = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "error_model": "numpy"}


def _sources() -> int:
    """A checksum of the source of all kernels."""
    checksum = 0
    try:
        for file in sorted(Path(__file__).parent.glob("*.py")):
            checksum = crc32(file.read_bytes(), checksum)
    except OSError:
        pass  # read from an archive, which does not change under its cache
    return checksum


_SOURCES: Final = _sources()


def jit(function: Function) -> Function:
    """Compile a part of a kernel, on first use."""
    return _compile(function, **_NOT_FROM_PYTHON)


def inline(function: Function) -> Function:
    """As `jit`, for what is called for each row or neighbour: machine code without a call, at every place of use."""
    return _compile(function, forceinline=True, **_NOT_FROM_PYTHON)


def paste(function: Function) -> Function:
    """As `jit`, for what is short or used once: it becomes part of its callers before they are compiled, which saves
    the time to compile it by itself."""
    return _compile(function, inline="always", **_NOT_FROM_PYTHON)


class _Notice(event.Listener):
    """Tells on a terminal, once, that the first use takes its time."""

    told = False

    def on_start(self, event: Any) -> None:
        if not _Notice.told and sys.stderr is not None and sys.stderr.isatty():
            print("vecdb: compiling for this machine, once; this takes some seconds ...", file=sys.stderr, flush=True)
        _Notice.told = True

    def on_end(self, event: Any) -> None:
        pass


class Kernel:
    """A compiled function that is called from Python: without the GIL, its machine code kept on disk.

    A cache that can't be written or read must not fail a call: then the kernel is compiled in memory. Kernels raise
    nothing themselves, so whatever is raised comes from the cache or the compiler, before the kernel ran.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._called = False
        _name_by_sources(function)
        try:
            self._compiled = _compile(function, cache=True)
        except RuntimeError:  # numba found no folder that it may write to
            self._compiled = _compile(function)

    def __call__(self, *arguments: Any) -> Any:
        try:
            if self._called:
                return self._compiled(*arguments)
            with event.install_listener("numba:compile", _Notice()):
                result = self._compiled(*arguments)
            self._called = True
            return result
        except Exception:
            self._compiled = _compile(self._function)
            return self._compiled(*arguments)


class Shared:
    """A compiled function of 64-bit numbers that kernels call by its address (`memory.call`), so that it is compiled
    once and not in each of them. Its machine code is kept on disk as a kernel's is."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        _name_by_sources(function)

    @cached_property
    def address(self) -> Any:
        """Compiles it, on first use."""
        if PLAIN:
            return self._function
        signature = types.int64(*[types.int64] * self._function.__code__.co_argcount)
        with event.install_listener("numba:compile", _Notice()):
            try:
                self._compiled = numba.cfunc(signature, cache=True, **_OPTIONS)(self._function)
            except Exception:
                self._compiled = numba.cfunc(signature, **_OPTIONS)(self._function)
        return self._compiled.address


def _name_by_sources(function: Callable[..., Any]) -> None:
    """numba tells cached code by the function's name and its own file; it depends on all files here, and the level."""
    function.__qualname__ += f"-{LEVEL}-{_SOURCES:08x}"


def _compile(function: Function, **options: Any) -> Function:
    compile_ = numba.njit(nogil=True, **_OPTIONS, **options)
    return cast(Function, compile_(function))
