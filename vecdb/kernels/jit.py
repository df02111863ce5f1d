"""The one place that decides how kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered, so that they run on vector registers. NaN and infinity keep their meaning.
_FAST_MATH: Final = {"reassoc", "contract", "nsz", "arcp"}


def jit(function: Function) -> Function:
    """Compile on first use, without the GIL, and keep the machine code on disk where that is possible."""
    try:
        return _compile(function, cache=True)
    except RuntimeError:  # numba found no folder that it may write its cache to
        return _compile(function, cache=False)


def _compile(function: Function, *, cache: bool) -> Function:
    compile_ = numba.njit(nogil=True, fastmath=_FAST_MATH, error_model="numpy", cache=cache)
    return cast(Function, compile_(function))
