"""Check a file: in a process of its own, so that no file, however damaged, can hurt the one that asks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from vecdb.errors import ProgrammingError
from vecdb.maintenance.child import Child, ChildDiedError, Teller
from vecdb.maintenance.report import Findings, Report
from vecdb.progress import Progress, reporting

Level = Literal["full", "quick"]

_LEVELS: Final = ("full", "quick")
_STEPS: Final = 1000


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


def _run_child(place: str, level: str, findings: Findings, report: Callable[[int], None]) -> None:
    with Child(run_check) as child:
        try:
            child.run(place, level, report=lambda done, total: report(done), say=findings.take)
        except ChildDiedError as died:
            findings.add(None, "process", "check", f"reading the file ended the process that did it, {died}")


def run_check(teller: Teller, place: str, level: str) -> None:
    """What the process does: tell findings as they come."""
    from vecdb.maintenance.examine import examine

    findings = Findings()
    examine(place, level, findings, teller.report, lambda: teller.say(findings.hand_over()))
    teller.say(findings.hand_over())
