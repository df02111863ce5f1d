"""Kernels on several threads: they hold no lock of Python's while they run."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor, ThreadPoolExecutor

Item = TypeVar("Item")

_NICE: Final = 10  # a tenth of the time of a core that somebody else wants


def usable_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _step_back() -> None:
    """Let searches go before: this thread works on a long job. Only Linux knows priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def share(work: Callable[[Item], object], items: Iterable[Item], executor: Executor, helpers: int) -> None:
    """Call `work` with each item, in their order, on so many threads of the executor and on this one, which begins at
    once.

    Returns when no call is running any more, also where it raises, as Ctrl-C may make it.
    """
    remaining, errors = deque(items), list[BaseException]()
    at_work = [threading.Lock() for _ in range(helpers)]  # each held while a thread works

    def run() -> None:
        while True:
            try:
                item = remaining.popleft()
            except IndexError:
                return
            work(item)

    def help_out(lock: threading.Lock) -> None:
        if lock.acquire(blocking=False):  # or nothing is left to do
            try:
                run()
            except BaseException as error:
                errors.append(error)
                remaining.clear()
            finally:
                lock.release()

    try:
        for lock in at_work:
            with suppress(RuntimeError):  # no more threads are to be had: those that there are go on
                executor.submit(help_out, lock)
        run()
        for lock in at_work:
            with lock:
                pass
    finally:
        remaining.clear()
        _wait_for(at_work)
    if errors:
        raise errors[0]


def _wait_for(locks: Iterable[threading.Lock]) -> None:
    """Wait until each was free; an interrupt is on its way already, and what runs ends within milliseconds."""
    for lock in locks:
        free = False
        while not free:
            try:
                with lock:
                    free = True
            except KeyboardInterrupt:
                pass


class Workers:
    """Threads for the parts of one job; with one thread, the caller's."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        if threads > 1:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(threads, initializer=_step_back)

    def run(self, work: Callable[[int, int], object], first: int, stop: int, at_once: int) -> None:
        """Call `work` with ranges of at most `at_once` numbers that make up `first` to `stop`.

        Returns when no call is running any more, also where it raises, as Ctrl-C may make it.
        """
        at_once = min(at_once, -(-(stop - first) // self._threads))
        if self._pool is None or stop - first <= at_once:
            if stop > first:
                work(first, stop)
            return
        from concurrent.futures import wait

        futures = [self._pool.submit(work, at, min(at + at_once, stop)) for at in range(first, stop, at_once)]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()
            interrupted = True
            while interrupted:
                try:
                    wait(futures)
                    interrupted = False
                except KeyboardInterrupt:
                    pass  # an interrupt is on its way already; what runs ends within milliseconds

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()
