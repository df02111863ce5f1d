"""A check finds what is wrong, says where, and is never hurt by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.maintenance.vandals import DEEDS, UNSEEN_BY_THE_ORACLE, Vandal, fill
from tests.oracles.invariants import check_file
from vecdb.maintenance.check import Level
from vecdb.maintenance.examine import examine
from vecdb.maintenance.report import Findings, Problem
from vecdb.storage.keys import Space

LEVELS: tuple[Level, ...] = ("quick", "full")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("check") / "sound.vecdb"
    fill(place)
    return place


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "copy.vecdb"))


def problems(place: Path, level: str = "full") -> list[Problem]:
    """What a check finds, without the process of its own, which takes its time to start."""
    findings = Findings()
    examine(str(place), level, findings, lambda done, total: None, lambda: None)
    return findings.problems


def test_a_sound_file(sound: Path) -> None:
    shown: list[tuple[int, int]] = []
    report = vecdb.check(sound, progress=lambda done, total: shown.append((done, total)))
    assert report.ok, str(report)
    assert report.counts["rows"] == 1500 + 20 - 29 + 35
    assert report.counts["vectors"] == 1500 + 20 - 29 + 35 + 18
    assert report.counts["tables"] == 2
    assert "is sound (full check: " in str(report)
    assert shown[-1][0] == shown[-1][1]
    assert len(shown) > 5
    quick = vecdb.check(sound, "quick")
    assert quick.ok, str(quick)
    assert quick.level == "quick"
    check_file(sound)


def test_an_open_database(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=2)
    with db.transaction():
        table.insert(1, [1, 0])
        assert db.check().counts["rows"] == 0  # what is committed is checked
    assert db.check().ok
    assert db.check().counts["rows"] == 1
    with pytest.raises(vecdb.ProgrammingError, match="full, quick"):
        db.check("deep")  # type: ignore[arg-type]
    db.close()
    with pytest.raises(vecdb.StaleHandleError):
        db.check()


@pytest.mark.parametrize("deed", DEEDS)
def test_what_vandals_do_is_found_by_both_checks(copy: Path, deed: str) -> None:
    kind, do = DEEDS[deed]
    with Vandal(copy) as vandal:
        do(vandal)
    found = problems(copy)
    assert kind in {problem.kind for problem in found}, found
    with pytest.raises((AssertionError, vecdb.Error, KeyError, IndexError, TypeError)):
        check_file(copy)


@pytest.mark.parametrize("deed", UNSEEN_BY_THE_ORACLE)
def test_what_vandals_do_is_found(copy: Path, deed: str) -> None:
    kind, do = UNSEEN_BY_THE_ORACLE[deed]
    with Vandal(copy) as vandal:
        do(vandal)
    assert kind in {problem.kind for problem in problems(copy)}


def test_a_report_names_table_kind_and_place(copy: Path) -> None:
    with Vandal(copy) as vandal:
        DEEDS["a link to itself"][1](vandal)
    report = vecdb.check(copy)
    assert not report.ok
    assert Problem("notes", "links", "column 'vector', slot 700", "links to itself") in report.problems
    assert "links: table 'notes', column 'vector', slot 700: links to itself" in str(report)
    assert report.as_dict()["problems"][0]["table"] == "notes"


def test_a_flipped_bit_of_any_record_is_found_and_named(copy: Path) -> None:
    content = bytearray(copy.read_bytes())
    place = content.index(b"rides along 779")
    content[place] ^= 1
    copy.write_bytes(content)
    report = vecdb.check(copy)
    assert [str(problem) for problem in report.problems] == [
        "checksum: table 'notes', row in slot 779: does not match its checksum"
    ]


@pytest.mark.parametrize("size", [0, 1, 4096, 10_000, 100_000])
def test_a_truncated_file(copy: Path, size: int) -> None:
    with copy.open("r+b") as file:
        file.truncate(size)
    for level in LEVELS:
        assert not vecdb.check(copy, level).ok


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no database" * 1000)
    for place in (tmp_path, tmp_path / "none", tmp_path / "text", "/dev/null", "a\0b"):
        report = vecdb.check(place)
        assert [problem.kind for problem in report.problems] == ["file"]
    with pytest.raises(vecdb.ProgrammingError):
        vecdb.check(5)  # type: ignore[arg-type]


def test_pages_of_noise_are_survived(copy: Path) -> None:
    """Whole pages replaced: neither a signal nor an exception, and each is found unless the page was free."""
    content = copy.read_bytes()
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(12):
        spoilt = bytearray(content)
        page = int(rng.integers(len(content) // 4096)) * 4096
        spoilt[page : page + 4096] = rng.bytes(4096) if rng.random() < 0.5 else bytes(4096)
        copy.write_bytes(spoilt)
        report = vecdb.check(copy)
        assert "process" not in {problem.kind for problem in report.problems}, str(report)
        found += not report.ok
    assert found >= 6


def test_a_record_under_a_key_of_nonsense_is_told(copy: Path) -> None:
    """A page of another tree in the place of the header's: found by a long run of mutants."""
    with Vandal(copy) as vandal:
        for space in Space:
            vandal.put(space, b"\x80" * 19, b"x")
    found = problems(copy)
    assert {"header", "structure"} & {problem.kind for problem in found}
    assert "process" not in {problem.kind for problem in found}
    with Vandal(copy) as vandal, vandal.environment.begin(write=True) as transaction:
        for space in Space:
            transaction.put(b"\x80" * 19, b"no checksum", db=vandal.spaces[space])
    assert "process" not in {problem.kind for problem in problems(copy)}
