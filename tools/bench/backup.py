"""The subject `backup`: backups beside a plain copy of the file, and beside a writer; increments, check, restore."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

import vecdb
from tools.bench import report
from tools.bench.datasets import Dataset
from tools.bench.fill import TABLE, fill

HELP: Final = "make backups beside a plain copy and beside a writer, and restore and check them"
ROWS: Final[Mapping[str, int]] = {"passages": 60_000}
_ROUNDS: Final = 5
_COMMITS_A_SECOND: Final = 100
_SECONDS: Final = 4.0  # of writing, each time
_CHANGED: Final = 0.01  # of the rows, for the increment


@dataclass(frozen=True)
class Result:
    """Figures of one data set; speeds in bytes a second, times in seconds."""

    rows: int
    file_bytes: int
    backup_speed: float
    copy_speed: float
    check_seconds: float
    problems: int
    restore_seconds: float
    commit_alone: float
    commit_beside: float
    backups_beside: int
    full_bytes: int
    increment_bytes: int
    increment_seconds: float

    def __str__(self) -> str:
        facts = {
            "file": f"{self.file_bytes / 1e6:.0f} MB",
            "full backup": f"{self.backup_speed / 1e6:.0f} MB/s",
            "plain copy, synced": f"{self.copy_speed / 1e6:.0f} MB/s",
            "full check": f"{self.check_seconds:.1f} s, {self.problems} problems",
            "restore": f"{self.restore_seconds:.1f} s",
            "commit of a row, median": f"{1000 * self.commit_alone:.2f} ms alone, {1000 * self.commit_beside:.2f} ms "
            f"beside {self.backups_beside} backups: {self.commit_beside / self.commit_alone:.2f} times",
            "increment after 1 % of the rows": f"{self.increment_bytes / 1e6:.2f} MB, "
            f"{self.increment_bytes / self.full_bytes:.1%} of the full one, in {self.increment_seconds:.1f} s",
        }
        return report.facts(f"{self.rows:,} rows", facts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def measure(dataset: Dataset, folder: Path, options: argparse.Namespace) -> Result:
    place = folder / "data.vecdb"
    fill(place, dataset, len(dataset))
    with vecdb.connect(place) as db:
        copies, backups = [], []
        for number in range(_ROUNDS):
            copies.append(_plain_copy(place, folder / f"copy{number}"))
            made = db.backup(folder / f"full{number}")
            backups.append(made.bytes / made.seconds)
        file_bytes, checked = place.stat().st_size, db.check()
        began = time.perf_counter()
        vecdb.restore(folder / "full0", folder / "restored")
        restored = time.perf_counter() - began
        alone, beside, count = _beside_a_writer(db, folder, dataset)
        full = db.backup(folder / "before")
        changed = np.random.default_rng(0).choice(len(dataset), round(_CHANGED * len(dataset)), replace=False)
        fields = None if dataset.fields is None else [dataset.fields[row] for row in changed]
        table = db.table(TABLE)
        table.upsert([dataset.ids[row] for row in changed], dataset.vectors[changed[::-1]], fields)
        increment = db.backup(folder / "increment", since=folder / "before")
    return Result(
        len(dataset),
        file_bytes,
        statistics.median(backups),
        statistics.median(copies),
        checked.seconds,
        len(checked.problems),
        restored,
        alone,
        beside,
        count,
        full.bytes,
        increment.bytes,
        increment.seconds,
    )


def _plain_copy(source: Path, place: Path) -> float:
    began = time.perf_counter()
    shutil.copyfile(source, place)
    with place.open("rb+") as file:
        os.fsync(file.fileno())
    return place.stat().st_size / (time.perf_counter() - began)


def _beside_a_writer(db: vecdb.Database, folder: Path, dataset: Dataset) -> tuple[float, float, int]:
    """Medians of the seconds of a commit alone and beside backups, in turn; and how many backups those were."""
    alone: list[float] = []
    beside: list[float] = []
    count = 0
    for turn in range(2 * 2):
        stop = threading.Event()
        thread = threading.Thread(target=_write, args=(db, dataset, stop, beside if turn % 2 else alone))
        thread.start()
        end = time.perf_counter() + _SECONDS
        while time.perf_counter() < end:
            if turn % 2:
                place = folder / f"beside{count}"
                db.backup(place)
                place.unlink()
                count += 1
            else:
                time.sleep(0.01)
        stop.set()
        thread.join()
    return statistics.median(alone), statistics.median(beside), count


def _write(db: vecdb.Database, dataset: Dataset, stop: threading.Event, times: list[float]) -> None:
    """A row 100 times a second."""
    table = db.table(TABLE)
    due = time.perf_counter()
    while not stop.is_set():
        row = len(times) % len(dataset)
        began = time.perf_counter()
        table.upsert(dataset.ids[row], dataset.vectors[row], None if dataset.fields is None else dataset.fields[row])
        times.append(time.perf_counter() - began)
        due = max(due + 1 / _COMMITS_A_SECOND, time.perf_counter() - 1)
        time.sleep(max(0.0, due - time.perf_counter()))
