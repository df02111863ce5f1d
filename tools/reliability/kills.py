"""Kill sweep and I/O errors: at every system call by which the workload writes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from tools.reliability.judge import Count, judge, remove, scratch_folder
from tools.reliability.tracing import Forge
from tools.reliability.workload import references

_AT_ONCE = 2


def sweep(faults: Iterable[str], bug: str = "none") -> Count:
    """Run the workload with each fault, and judge what is left. `bug` is one to be planted."""
    total = Count()
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as scratch, ExitStack() as stack:
        known = references(str(Path(scratch, "reference")), graph=False)
        forges: SimpleQueue[Forge] = SimpleQueue()
        for _ in range(_AT_ONCE):
            forges.put(stack.enter_context(Forge()))
        pool = stack.enter_context(ThreadPoolExecutor(_AT_ONCE))

        def run(number: int, fault: str) -> tuple[int, list[str], Path]:
            path, forge = Path(scratch, f"run{number}-"), forges.get()
            try:
                return *forge.run(path, fault, bug=bug), path
            finally:
                forges.put(forge)

        for status, words, path in pool.map(run, *zip(*enumerate(faults), strict=True)):
            count = Count()
            versions = [int(word) for word in words if word.isdigit()]
            count.landed += status != 0
            if status < 0 and status != -9:
                count.signals += 1
            for word in words:
                if not word.isdigit():
                    count.others[word] += 1
            judge(path, versions[-1] if versions else None, known, count)
            remove(path)
            total.add(count)
    return total


def kills(count: int) -> list[str]:
    """Faults spread over all calls; each call several times where there are fewer."""
    return [f"{name}:signal=SIGKILL:when={number}" for name, number in _calls(count)]


def errors(count: int, *, once: bool = False) -> list[str]:
    """EIO or ENOSPC, once or for ever."""
    kinds = ["error=EIO:when={}", "error=ENOSPC:when={}"]
    kinds += [] if once else [f"{kind}+" for kind in kinds]
    return [f"{name}:{kinds[place % len(kinds)].format(number)}" for place, (name, number) in enumerate(_calls(count))]


def _calls(count: int) -> list[tuple[str, int]]:
    """Calls of the workload, each by its name and its number among those of the name."""
    with tempfile.TemporaryDirectory() as folder, Forge() as forge:
        made = forge.count_calls(Path(folder, "counted"))
    calls = [(name, number) for name, most in sorted(made.items()) for number in range(1, most + 1)]
    if count <= len(calls):
        return [calls[place * len(calls) // count] for place in range(count)]
    return [calls[place % len(calls)] for place in range(count)]
