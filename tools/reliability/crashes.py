"""Crashes, I/O errors and damage on purpose, with bugs planted to see that they are noticed; prints a table.

python tools/reliability crashes --share 0.1        a tenth of the long run: about an hour on two cores
"""

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
# By default, and in the long run.
_COUNTS: Final = {
    "kills": (300, 20_000),
    "errors": (100, 5_000),
    "images": (2_000, 1_000_000),
    "mutants": (1_000, 500_000),
    "states": (0, 10_000),
}
_STEPS: Final = 100  # of a state machine's example
# What is done with how many of the mutants.
_USES: Final = {"check": 0.6, "open": 0.3, "recover": 0.1}
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
    parser.add_argument("--share", type=float, metavar="S", help="so much of each count of the long run")
    for name, (default, long) in _COUNTS.items():
        told = f"how many (default: {default}; in the long run {long})"
        parser.add_argument(f"--{name}", type=int, metavar="N", help=told)
    parser.add_argument("--seed", type=int, default=0)


def _normal_images(options: argparse.Namespace) -> Count:
    return images.crash(options.images // 4, durability="normal", seed=options.seed)


def _states(examples: int) -> Count:
    """Random calls against a dictionary and brute force: an example that fails ends them."""
    from tests.test_state_machine import CosineMachine, DatabaseMachine, run_machine

    count = Count(runs=examples)
    for machine in (DatabaseMachine, CosineMachine):
        try:
            run_machine(machine, -(-examples // 2), _STEPS)
        except Exception as error:
            count.half += 1
            count.others[f"{type(error).__name__}: {error}"[:200]] += 1
    return count


def run(folder: Path, seconds: float, options: argparse.Namespace) -> Result:
    """It takes as long as the counts do, not `seconds`."""
    for name, (default, long) in _COUNTS.items():
        if getattr(options, name) is None:
            setattr(options, name, default if options.share is None else round(options.share * long))
    failed = 0
    print("  ".join(f"{name:>16}" for name in _HEAD))
    subjects: list[tuple[str, int, Callable[[], Count], bool]] = [
        ("kills", options.kills, lambda: kills.sweep(kills.kills(options.kills)), True),
        ("I/O errors", options.errors, lambda: kills.sweep(kills.errors(options.errors)), True),
        ("images", options.images, lambda: images.crash(options.images, seed=options.seed), True),
        ("images, normal", options.images // 4, lambda: _normal_images(options), True),
        ("split commit", options.kills and 60, lambda: kills.sweep(kills.kills(60), "two transactions"), False),
        ("early word", options.kills and 60, lambda: kills.sweep(kills.kills(60), "early word"), False),
        ("lying disk", options.images and 300, lambda: images.crash(300, syncs=False, seed=options.seed), False),
    ]
    for use, part in _USES.items():
        count = round(part * options.mutants)
        subjects.append((f"mutants, {use}", count, partial(mutants.mutants, count, use, seed=options.seed), True))
    subjects.append((f"states of {_STEPS}", options.states, lambda: _states(options.states), True))
    for name, count, work, must_pass in subjects:
        if not count:
            continue
        if not name.startswith(("mutants", "states")) and (reason := tracing.missing()):
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
