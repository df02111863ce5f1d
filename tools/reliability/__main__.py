"""The command line: `python tools/reliability --kills 300 --errors 100 --images 2000 --mutants 1000`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.reliability import images, kills, mutants, tracing
from tools.reliability.judge import Count

_HEAD = ("", "runs", "landed", "lost commits", "half commits", "unreadable", "signals", "seconds")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/reliability", description=__doc__)
    for name, default in (("kills", 300), ("errors", 100), ("images", 2000), ("mutants", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"how many (default: {default})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
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
    print("all as it must be" if not failed else f"{failed} not as it must be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
