"""What a file is after a crash: a version that is whole, no older than what was acknowledged, or lost, or damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import vecdb
from tools.reliability.workload import digest
from vecdb.index.threads import usable_cores

_WORTH_A_PROCESS: Final = 20  # cases


@dataclass
class Count:
    """Outcomes of many crashes."""

    runs: int = 0
    landed: int = 0  # where the fault came before the work was done
    lost: int = 0  # an acknowledged commit is not there
    half: int = 0  # a version that is not what was committed
    broken: int = 0  # the file can't be opened or read
    signals: int = 0
    others: Counter[str] = field(default_factory=Counter)

    @property
    def failures(self) -> int:
        return self.lost + self.half + self.broken + self.signals

    def add(self, other: Count) -> None:
        for name in ("runs", "landed", "lost", "half", "broken", "signals"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.others.update(other.others)


def judge(path: Path, acknowledged: int | None, references: dict[int, str], count: Count) -> None:
    """Open what a crash left, and count what it is. `acknowledged` is the last version that returned, None where not
    even the creation did."""
    count.runs += 1
    try:
        if not path.exists():
            count.lost += acknowledged is not None
            return
        with vecdb.connect(path, create=False) as db:
            version = db.version
            if acknowledged is not None and version < acknowledged:
                count.lost += 1
            elif references.get(version) != digest(db):
                count.half += 1
    except vecdb.Error as error:
        if acknowledged is None and isinstance(error, vecdb.DatabaseNotFoundError):
            return
        count.broken += 1
        count.others[f"{type(error).__name__}: {str(error).replace(str(path), 'FILE')[:80]}"] += 1


def run_in_children(module: str, arguments: Sequence[str], count: int) -> Count:
    """Have `python -m module FIRST STOP ...` judge the cases of these numbers, in a process for each core."""
    parts = min(usable_cores(), -(-count // _WORTH_A_PROCESS))
    bounds = [count * part // parts for part in range(parts + 1)]
    total = Count()
    with ThreadPoolExecutor(parts) as pool:
        for found in pool.map(partial(_run_in_child, module, arguments), bounds, bounds[1:]):
            total.add(found)
    return total


def _run_in_child(module: str, arguments: Sequence[str], first: int, stop: int) -> Count:
    """The process prints a line of JSON for each case: its number and what was counted. Where it dies, it is started
    anew with the next."""
    total = Count()
    root = Path(__file__).resolve().parents[2]
    while first < stop:
        command = [sys.executable, "-m", module, str(first), str(stop), *arguments]
        with subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                number, counted = json.loads(line)
                first = number + 1
                total.add(Count(**{**counted, "others": Counter(counted["others"])}))
        if process.returncode != 0:
            died = Count(runs=1, landed=1, signals=int(process.returncode < 0), broken=int(process.returncode > 0))
            died.others[f"a process that ended by {process.returncode} at case {first}"] += 1
            total.add(died)
            first += 1
    return total


def tell(number: int, count: Count) -> None:
    """The line that `run_in_children` reads."""
    print(json.dumps([number, vars(count)]), flush=True)


def remove(path: Path) -> None:
    for file in path.parent.glob(path.name + "*"):
        os.unlink(file)


def scratch_folder() -> Path | None:
    """In memory, where there is such a folder: what is judged is what was written, not a disk's speed."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else None
