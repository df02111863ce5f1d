"""Crashes, I/O errors and damage on purpose, with bugs planted to see that they are noticed; prints a table."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tools.reliability import images, kills, mutants, tracing
from tools.reliability.judge import Count

HELP: Final = "kills, I/O errors, crash images and mutated files, as many as are asked for"
_COUNTS: Final = (("kills", 300), ("errors", 100), ("images", 2000), ("mutants", 1000))
_HEAD: Final = ("", "runs", "landed", "lost commits", "half commits", "unreadable", "signals", "seconds")


@dataclass(frozen=True)
class Result:
    """How many subjects did not come out as they must: with losses only where a bug was planted."""

    failed: int

    @property
    def passed(self) -> bool:
        return not self.failed

    def __str__(self) -> str:
        return f"{self.failed} not as it must be" if self.failed else "all as it must be"


def add_options(parser: argparse.ArgumentParser) -> None:
    for name, default in _COUNTS:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"how many (default: {default})")
    parser.add_argument("--seed", type=int, default=0)


def run(folder: Path, seconds: float, options: argparse.Namespace) -> Result:
    """It takes as long as the counts do, not `seconds`."""
    failed = 0
    print("  ".join(f"{name:>16}" for name in _HEAD))
    subjects: list[tuple[str, int, Callable[[], Count], bool]] = [
        ("kills", options.kills, lambda: kills.sweep(kills.kills(options.kills)), True),
        ("I/O errors", options.errors, lambda: kills.sweep(kills.errors(options.errors)), True),
        ("images", options.images, lambda: images.crash(options.images, seed=options.seed), True),
        ("split commit", options.kills and 60, lambda: kills.sweep(kills.kills(60), "two transactions"), False),
        ("early word", options.kills and 60, lambda: kills.sweep(kills.kills(60), "early word"), False),
        ("lying disk", options.images and 300, lambda: images.crash(300, syncs=False, seed=options.seed), False),
    ]
    for use in mutants.USES:
        mutate = partial(mutants.mutants, options.mutants, use, seed=options.seed)
        subjects.append((f"mutants, {use}", options.mutants, mutate, True))
    for name, count, work, must_pass in subjects:
        if not count:
            continue
        if not name.startswith("mutants") and (reason := tracing.missing()):
            print(f"{name:>16}  {reason}")
            continue
        began = time.perf_counter()
        found = work()
        numbers = (found.runs, found.landed, found.lost, found.half, found.broken, found.signals)
        print("  ".join(f"{item:>16}" for item in (name, *numbers, f"{time.perf_counter() - began:.1f}")), flush=True)
        for what, times in found.others.most_common(8):
            print(f"{'':>18}{times} times {what}")
        failed += (found.failures > 0) is must_pass
    return Result(failed)
