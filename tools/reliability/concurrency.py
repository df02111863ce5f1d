"""The subject `concurrency`: writers in some processes, readers in others, and what no version may lack.

Writers move rows between tables, and change vectors and fields together; readers check each snapshot for everything
that can be asked of it, and that commits are there as soon as they have returned. Now and then a process is killed,
and another one begins.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import vecdb
from tools.reliability.actor import PLANTS, Board
from tools.reliability.rows import check, create

HELP: Final = "writers and readers in threads and processes; every snapshot is checked"
_ACTOR: Final = Path(__file__).with_name("actor.py")


@dataclass(frozen=True)
class Result:
    commits: int
    checks: int
    kills: int
    problems: list[str]

    @property
    def passed(self) -> bool:
        return not self.problems and self.commits > 0 and self.checks > 0

    def __str__(self) -> str:
        counts = f"{self.commits:,} commits, {self.checks:,} snapshots checked, {self.kills:,} processes killed"
        return "\n".join([counts, *[f"PROBLEM {problem}" for problem in self.problems]])


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--writers", type=int, default=2, metavar="N", help="processes that write (default: 2)")
    parser.add_argument("--readers", type=int, default=2, metavar="N", help="processes that read (default: 2)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of each (default: 2)")
    parser.add_argument("--kill-every", type=float, default=5.0, metavar="S", help="seconds between kills (default: 5)")
    parser.add_argument("--plant", choices=PLANTS, default="", help="a bug, to see that it is noticed")


def run(folder: Path, seconds: float, options: argparse.Namespace) -> Result:
    path, board_file = folder / "concurrency.vecdb", folder / "board"
    writers = options.writers * options.threads
    first = create(str(path), writers)
    board = Board(board_file, writers)
    counts: Counter[str] = Counter()
    problems: list[str] = []
    listeners: list[threading.Thread] = []

    def listen(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                word, _, rest = line.strip().partition(" ")
                counts[word] += 1
                if word == "problem":
                    problems.append(rest)

    def begin(role: str, number: int) -> subprocess.Popen[str]:
        names = ",".join(str(number * options.threads + thread) for thread in range(options.threads))
        command = [sys.executable, str(_ACTOR), role, str(path), str(board_file), str(first), names, options.plant]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        listeners.append(threading.Thread(target=listen, args=(process,)))
        listeners[-1].start()
        return process

    roles = [("write", number) for number in range(options.writers)] + [("read", n) for n in range(options.readers)]
    processes = [begin(*role) for role in roles]
    kills = 0
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not problems:
        time.sleep(min(left, options.kill_every * random.uniform(0.5, 1.5)))
        if end - time.monotonic() > options.kill_every:
            victim = random.randrange(len(processes))
            _end(processes[victim], kill=True)
            processes[victim] = begin(*roles[victim])
            kills += 1
    for process in processes:
        if _end(process, kill=False) and not problems:
            problems.append("a process ended with an error")
    for listener in listeners:
        listener.join()
    if not options.plant:
        with vecdb.connect(path, create=False) as db, db.snapshot() as snap:
            check(snap, first, board.read(), np.random.default_rng())
    return Result(counts["commit"], counts["check"], kills, problems)


def _end(process: subprocess.Popen[str], *, kill: bool) -> int:
    """Its exit code."""
    if kill:
        process.kill()
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        return process.wait(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
