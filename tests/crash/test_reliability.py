"""What vecdb survives, in the numbers of every run; `python tools/reliability crashes` does the same for longer.

Kills and images need strace, which a test that finds none says.
"""

from __future__ import annotations

import pytest

from tools.reliability import images, kills, tracing
from tools.reliability.judge import Count
from tools.reliability.mutants import mutants

NO_STRACE = tracing.missing()
needs_strace = pytest.mark.skipif(NO_STRACE is not None, reason=NO_STRACE or "")


def check(found: Count, runs: int) -> None:
    print(found)
    assert found.runs == runs
    assert found.failures == 0, found


@needs_strace
def test_a_kill_at_any_write_loses_nothing() -> None:
    """SIGKILL at each call by which the workload, from creation on, writes."""
    found = kills.sweep(kills.kills(300))
    check(found, 300)
    assert found.landed == 300


@needs_strace
def test_a_disk_that_fails_at_any_write_loses_nothing() -> None:
    found = kills.sweep(kills.errors(100))
    check(found, 100)
    assert found.landed >= 95
    assert set(found.others) <= {"StorageIOError", "StorageFullError"}


@needs_strace
def test_a_disk_that_fails_once_stops_nobody() -> None:
    """The commit that met the error left nothing; the same process reads on, and its second try succeeds."""
    found = kills.sweep(kills.errors(100, once=True), "insist")
    check(found, 100)
    assert found.landed == 0, found  # each process ended well
    assert sum(found.others.values()) >= 95
    assert set(found.others) <= {"StorageIOError", "StorageFullError"}


@needs_strace
def test_a_power_cut_at_any_moment_loses_nothing() -> None:
    check(images.crash(2000), 2000)


@needs_strace
def test_a_power_cut_with_durability_normal_leaves_a_whole_version() -> None:
    """The last commits may be missing."""
    check(images.crash(300, durability="normal"), 300)


@needs_strace
@pytest.mark.parametrize("bug", ["two transactions", "early word"])
def test_planted_bugs_are_caught(bug: str) -> None:
    assert kills.sweep(kills.kills(40), bug).failures > 0


@needs_strace
def test_a_disk_that_lies_is_caught() -> None:
    """The positive control: writes held back across syncs."""
    found = images.crash(300, syncs=False)
    assert found.lost > 0
    assert found.broken > 0


def test_no_mutated_file_hurts_a_check() -> None:
    found = mutants(1000, "check")
    check(found, 1000)
    assert found.landed > 700


def test_no_mutated_file_hurts_who_opens_it() -> None:
    """Reads, searches and writes end well, or in an error of vecdb's."""
    found = mutants(300, "open")
    check(found, 300)
    assert found.landed > 150
    assert set(found.others) <= {"CorruptionError", "NotAVecdbError", "FormatVersionError"}


def test_no_mutated_file_hurts_a_recovery() -> None:
    check(mutants(60, "recover"), 60)
