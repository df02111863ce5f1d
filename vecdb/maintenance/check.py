"""Check a file: in a process of its own, so that no file, however damaged, can hurt the one that asks."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final, Literal

from vecdb.errors import ProgrammingError
from vecdb.maintenance.report import Findings, Report
from vecdb.progress import Progress, reporting

Level = Literal["full", "quick"]

_LEVELS: Final = ("full", "quick")
_RUN: Final = "import sys; sys.path[:] = {path!r}; from vecdb.maintenance.check import _child; _child({args!r})"
_STEPS: Final = 1000  # in which progress is told


def check(path: str | os.PathLike[str], level: Level = "full", *, progress: Progress = None) -> Report:
    """Look for damage in a database file, which may be open and written meanwhile: the newest commit is checked.

    "full" verifies the pages of the file, the checksum of every record, and that rows, ids, indexes, vectors and graph
    agree, as FORMAT.md lists it; "quick" the pages and the counters. It works in a process of its own and never raises
    for a file, whatever that holds: what is wrong is in the report.
    """
    if level not in _LEVELS:
        raise ProgrammingError(f"level is one of {', '.join(_LEVELS)}, not {level!r}")
    if not isinstance(path, (str, os.PathLike)):
        raise ProgrammingError(f"path is the path of a file, not {path!r}")
    place = os.path.realpath(os.fsdecode(path)) if "\0" not in os.fsdecode(path) else os.fsdecode(path)
    began = time.perf_counter()
    findings = Findings()
    with reporting(progress, _STEPS, f"check of {Path(place).name}") as report:
        if not os.path.isfile(place):
            findings.add(None, "file", place, "there is no such file")
        else:
            _run_child(place, level, findings, report)
        report(_STEPS)
    return Report(
        place, level, findings.problems, dict(findings.counts), time.perf_counter() - began, findings.unlisted
    )


def _run_child(place: str, level: str, findings: Findings, report: Any) -> None:
    import subprocess

    code = _RUN.format(path=sys.path, args=(place, level))
    with subprocess.Popen(
        [sys.executable, "-I", "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        finished = False
        try:
            for line in child.stdout:
                finished = _read_line(line, findings, report) or finished
            said = child.stderr.read().decode(errors="replace").strip()
        except BaseException:
            child.kill()
            raise
    if child.returncode or not finished:
        reason = f"signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
        last = said.splitlines()[-1] if said else "nothing was said"
        findings.add(None, "process", "check", f"reading the file ended the process that did it, by {reason}: {last}")


def _read_line(line: bytes, findings: Findings, report: Any) -> bool:
    """Take what the child tells; whether it was the last."""
    told: dict[str, Any] = json.loads(line)
    if "done" in told:
        report(told["done"])
        return False
    for problem in told["problems"]:
        findings.add(*problem)
    findings.counts.update(told["counts"])
    findings.unlisted += told["unlisted"]
    return bool(told["last"])


def _child(args: tuple[str, str]) -> None:
    """What the process does: tell findings as lines of JSON."""
    from vecdb.maintenance.examine import examine

    place, level = args
    findings, told = Findings(), Findings()
    shown = 0

    def write(message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    def report(done: int, total: int) -> None:
        nonlocal shown
        step = _STEPS * min(done, total) // max(total, 1)
        if step > shown:
            shown = step
            write({"done": step})

    def flush(*, last: bool = False) -> None:
        new = findings.problems[len(told.problems) :]
        counts = {what: count - told.counts[what] for what, count in findings.counts.items()}
        write(
            {
                "problems": [[item.table, item.kind, item.place, item.message] for item in new],
                "counts": counts,
                "unlisted": findings.unlisted - told.unlisted,
                "last": last,
            }
        )
        told.problems.extend(new)
        told.counts.update(counts)
        told.unlisted = findings.unlisted

    examine(place, level, findings, report, flush)
    flush(last=True)
