"""Recovery saves what is whole, and never a row that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecdb
from tests.maintenance.vandals import DEEDS, Vandal, fill
from tests.oracles.invariants import check_file

PAGE = 4096
Content = dict[str, dict[Any, tuple[str, dict[str, bytes]]]]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recover") / "sound.vecdb"
    fill(place)
    return place


def content(place: Path) -> Content:
    with vecdb.connect(place, create=False) as db:
        return {
            name: {
                row.id: (repr(row.fields), {key: value.tobytes() for key, value in (row.vectors or {}).items()})
                for row in db.table(name).scan(vectors=True)
            }
            for name in db.tables()
        }


def check_recovered(place: Path, expected: Content) -> tuple[int, int]:
    """No row is wrong; how many rows are there, and how many of them with all their vectors. The proven ones first."""
    check_file(place)
    rows = whole = 0
    for name, found in content(place).items():
        for identifier, (fields, vectors) in found.items():
            right = expected[name.removesuffix(" (unproven)")].get(identifier)
            if name.endswith(" (unproven)") and (right is None or right[0] != fields):
                continue  # an older row: it says of itself that it may be
            assert right is not None, f"{identifier!r} was deleted, or never there"
            assert fields == right[0]
            assert vectors.items() <= right[1].items()
            rows += 1
            whole += vectors == right[1]
    return rows, whole


def test_a_sound_file_is_recovered_whole(sound: Path, tmp_path: Path) -> None:
    expected = content(sound)
    shown: list[tuple[int, int]] = []
    recovery = vecdb.recover(sound, tmp_path / "r", progress=lambda done, total: shown.append((done, total)))
    assert content(tmp_path / "r") == expected
    assert check_recovered(tmp_path / "r", expected) == (1526, 1526)
    assert recovery.tables["notes"].rows == recovery.tables["notes"].expected == 1491
    assert recovery.tables["notes"].lost == []
    assert shown[-1] == (1526, 1526)
    assert "notes: 1,491 rows of 1,491 known" in str(recovery)
    with vecdb.connect(tmp_path / "r") as db:
        assert db.table("notes").indexes == ["lang", "year", "tags"]
        assert db.table("notes").vectors["vector"].dim == 16


def test_any_page_zeroed(sound: Path, tmp_path: Path) -> None:
    """Of a zeroed page only what was on it is lost."""
    expected = content(sound)
    original = sound.read_bytes()
    pages = len(original) // PAGE
    damaged, result = tmp_path / "d", tmp_path / "r"
    rng = np.random.default_rng(2)
    least = 1526
    for page in [0, 1, *rng.choice(np.arange(2, pages), 28, replace=False).tolist()]:
        damaged.write_bytes(original[: page * PAGE] + bytes(PAGE) + original[(page + 1) * PAGE :])
        recovery = vecdb.recover(damaged, result)
        rows, whole = check_recovered(result, expected)
        assert rows >= 1526 - 60, f"page {page}: {recovery}"
        assert whole >= 1526 - 300, f"page {page}: {recovery}"
        least = min(least, rows)
        for file in tmp_path.glob("r*"):
            file.unlink()
    assert least < 1526  # a page of rows was among them


def test_both_meta_pages_damaged(sound: Path, tmp_path: Path) -> None:
    expected = content(sound)
    original = sound.read_bytes()
    (tmp_path / "d").write_bytes(bytes(2 * PAGE) + original[2 * PAGE :])
    recovery = vecdb.recover(tmp_path / "d", tmp_path / "r")
    assert check_recovered(tmp_path / "r", expected) == (1526, 1526), str(recovery)
    assert "both meta pages" in str(recovery)
    assert list(content(tmp_path / "r")) == ["notes", "photos"]  # all of it is proven


@pytest.mark.parametrize("part", [0.2, 0.4, 0.6, 0.8, 0.95])
def test_a_truncated_file(sound: Path, tmp_path: Path, part: float) -> None:
    expected = content(sound)
    original = sound.read_bytes()
    kept = original[: int(part * len(original))]
    (tmp_path / "d").write_bytes(kept)
    survived = sum(
        kept.count(f"rides along {number}".encode()) > 0 for number in range(1500)
    )  # at most: some are stale, or end in another's number
    try:
        recovery = vecdb.recover(tmp_path / "d", tmp_path / "r")
    except vecdb.BackupError:
        assert survived == 0
        return
    rows, _ = check_recovered(tmp_path / "r", expected)
    assert rows >= 0.9 * survived, str(recovery)


@pytest.mark.parametrize("deed", ["a row of nonsense", "vectors", "a row past the slots", "a definition is gone"])
def test_records_that_are_wrong(sound: Path, tmp_path: Path, deed: str) -> None:
    damaged = Path(shutil.copy(sound, tmp_path / "d"))
    if deed == "vectors":
        spoilt = bytearray(damaged.read_bytes())
        with vecdb.connect(sound) as db:
            row = db.table("notes").get("n700", vectors=True)
            assert row is not None and row.vector is not None
            spoilt[spoilt.index(row.vector.tobytes())] ^= 1
        damaged.write_bytes(spoilt)
    else:
        with Vandal(damaged) as vandal:
            DEEDS[deed][1](vandal)
    recovery = vecdb.recover(damaged, tmp_path / "r")
    with vecdb.connect(tmp_path / "r") as db:
        assert len(db.table("notes")) >= 1490
        assert db.check().ok
    if deed == "vectors":
        assert recovery.tables["notes"].without_vectors > 0
        assert "lack a vector" in str(recovery)


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"no database" * 1000)
    with pytest.raises(vecdb.BackupError, match="nothing of"):
        vecdb.recover(tmp_path / "d", tmp_path / "r")
    with pytest.raises(vecdb.DatabaseNotFoundError):
        vecdb.recover(tmp_path / "none", tmp_path / "r")
    with pytest.raises(vecdb.BackupError, match="exists already"):
        vecdb.recover(tmp_path / "d", tmp_path / "d")
    assert [item.name for item in tmp_path.iterdir()] == ["d"]
