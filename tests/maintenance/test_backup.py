"""Backups: what is restored is what was committed, whatever went on meanwhile; and nothing is overwritten."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vecdb
from tests.maintenance.vandals import fill, row_fields
from tests.oracles.invariants import check_file
from vecdb.storage.header import read_header


def content(place: Path | vecdb.Database) -> dict[str, Any]:
    """Every row of every table, to the bit."""
    if isinstance(place, Path):
        with vecdb.connect(place, create=False) as db:
            return content(db)
    return {
        name: sorted(
            (str(row.id), repr(row.fields), {key: value.tobytes() for key, value in (row.vectors or {}).items()})
            for row in place.table(name).scan(vectors=True)
        )
        for name in place.tables()
    }


def header(place: Path) -> Any:
    with vecdb.connect(place, create=False) as db, db._view() as view:
        return read_header(view.records, str(place))


def test_a_full_backup_is_a_database(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    shown: list[float] = []
    with vecdb.connect(tmp_path / "a") as db:
        made = db.backup(tmp_path / "b", progress=lambda done, total: shown.append(done / total))
        assert made.version == db.version
        assert made.since is None
        expected = content(db)
    assert shown[-1] == 1
    assert made.bytes == (tmp_path / "b").stat().st_size <= (tmp_path / "a").stat().st_size
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert content(tmp_path / "b") == expected
    assert vecdb.restore(tmp_path / "b", tmp_path / "c") == str(tmp_path / "c")
    assert content(tmp_path / "c") == expected
    check_file(tmp_path / "c")
    assert sorted(os.listdir(tmp_path)) == ["a", "a-lock", "b", "b-lock", "c", "c-lock"]


def test_a_restored_database_is_another_one(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with vecdb.connect(tmp_path / "a") as db:
        db.backup(tmp_path / "b")
    for name in "cd":
        vecdb.restore(tmp_path / "b", tmp_path / name)
    headers = [header(tmp_path / name) for name in "abcd"]
    assert len({item.uuid for item in headers}) == 1
    assert headers[0] == headers[1]
    assert len({item.incarnation for item in headers}) == 3
    with vecdb.connect(tmp_path / "c") as db, pytest.raises(vecdb.BackupError, match="another database"):
        db.backup(tmp_path / "e", since=tmp_path / "b")
    assert not (tmp_path / "e").exists()


def test_a_chain_is_restored_to_any_of_its_links(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    fill(tmp_path / "a")
    expected = []
    with vecdb.connect(tmp_path / "a") as db:
        notes = db.table("notes")
        db.backup(tmp_path / "0")
        expected.append(content(db))
        for number in range(1, 5):
            notes.insert(f"x{number}", rng.normal(size=16), row_fields(number))
            notes.delete(f"late{number}")
            notes.update(f"late{number + 5}", fields={"year": 1900, "other": number})
            if number == 2:
                notes.create_index("score")
                db.drop_table("photos")
            if number == 3:
                notes.vacuum()
            made = db.backup(tmp_path / str(number), since=tmp_path / str(number - 1))
            assert made.since == str(tmp_path / str(number - 1))
            assert made.bytes < 0.6 * (tmp_path / "0").stat().st_size
            expected.append(content(db))
        unchanged = db.backup(tmp_path / "5", since=tmp_path / "4")
        assert unchanged.bytes < 500
    for number in range(5):
        vecdb.restore(tmp_path / str(number), tmp_path / f"r{number}")
        assert content(tmp_path / f"r{number}") == expected[number]
        check_file(tmp_path / f"r{number}")
    with pytest.raises(vecdb.NotAVecdbError):
        vecdb.connect(tmp_path / "3")


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    with vecdb.connect(tmp_path / "a") as db:
        table = db.create_table("t", dim=2)
        db.backup(tmp_path / "0")
        table.insert(range(50), np.ones((50, 2)), [{"text": "x" * 300}] * 50)
        db.backup(tmp_path / "1", since=tmp_path / "0")
        table.delete(3)
        db.backup(tmp_path / "2", since=tmp_path / "1")
    return tmp_path


def test_a_chain_with_a_gap_is_refused(chain: Path) -> None:
    (chain / "1").rename(chain / "away")
    with pytest.raises(vecdb.DatabaseNotFoundError, match=r"which .*2 follows"):
        vecdb.restore(chain / "2", chain / "r")
    shutil.copy(chain / "0", chain / "1")  # another backup under the name
    with pytest.raises(vecdb.BackupError, match="does not follow"):
        vecdb.restore(chain / "2", chain / "r")
    (chain / "0").unlink()
    with vecdb.connect(chain / "b") as db:
        db.backup(chain / "0")
    (chain / "1").unlink()
    (chain / "away").rename(chain / "1")
    with pytest.raises(vecdb.BackupError, match="does not follow"):
        vecdb.restore(chain / "1", chain / "r")
    assert not list(chain.glob("r*"))


def test_every_byte_of_an_increment_is_guarded(chain: Path) -> None:
    whole = (chain / "1").read_bytes()
    rng = np.random.default_rng(0)
    places = rng.integers(len(whole), size=6).tolist()
    for place in places:
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << int(rng.integers(8))
        (chain / "1").write_bytes(spoilt)
        with pytest.raises(vecdb.Error):
            vecdb.restore(chain / "1", chain / "r")
    (chain / "1").write_bytes(whole[:-7])
    with pytest.raises(vecdb.BackupError, match="cut off"):
        vecdb.restore(chain / "1", chain / "r")
    assert not list(chain.glob("r*"))


def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with vecdb.connect(tmp_path / "a") as db:
        db.backup(tmp_path / "b")
    spoilt = bytearray((tmp_path / "b").read_bytes())
    spoilt[spoilt.index(b"rides along 500")] ^= 1
    (tmp_path / "b").write_bytes(spoilt)
    with pytest.raises(vecdb.BackupError, match=r"row in slot 500.*checksum"):
        vecdb.restore(tmp_path / "b", tmp_path / "c")
    for other in (tmp_path, tmp_path / "none", __file__, 5):
        with pytest.raises(vecdb.Error):
            vecdb.restore(other, tmp_path / "c")  # type: ignore[arg-type]
    assert not list(tmp_path.glob("c*"))


def test_a_damaged_database_is_not_backed_up(tmp_path: Path) -> None:
    """A backup of damage would push a sound one out of the rotation."""
    fill(tmp_path / "a")
    spoilt = bytearray((tmp_path / "a").read_bytes())
    spoilt[spoilt.index(b"rides along 500")] ^= 1
    (tmp_path / "a").write_bytes(spoilt)
    with vecdb.connect(tmp_path / "a") as db, pytest.raises(vecdb.BackupError, match="not sound"):
        db.backup(tmp_path / "b")
    assert not list(tmp_path.glob("b*"))


def test_an_interrupted_backup_leaves_nothing(tmp_path: Path) -> None:
    """However far it was; the engine's copy, under way in a thread, is ended too."""
    with vecdb.connect(tmp_path / "a") as db:
        table = db.create_table("t", dim=64)
        table.insert(list(range(4000)), np.random.default_rng(0).random((4000, 64), dtype=np.float32))
        for share in (0.01, 0.4, 0.6, 0.9):

            def interrupt(done: int, total: int, share: float = share) -> None:
                if done >= share * total:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                db.backup(tmp_path / "b", progress=interrupt)
            assert not any("vecdb-backup" in thread.name for thread in threading.enumerate())
            assert not list(tmp_path.glob("b*"))
        db.backup(tmp_path / "b")
        assert content(tmp_path / "b") == content(db)


def test_nothing_is_overwritten(chain: Path) -> None:
    before = (chain / "0").read_bytes()
    with vecdb.connect(chain / "a") as db:
        for taken in ("0", "1", "a"):
            with pytest.raises(vecdb.BackupError, match="exists already"):
                db.backup(chain / taken)
            with pytest.raises(vecdb.BackupError, match="exists already"):
                vecdb.restore(chain / "0", chain / taken)
        with pytest.raises(vecdb.DatabaseNotFoundError, match="no folder"):
            db.backup(chain / "none" / "b")
        with pytest.raises(vecdb.DatabaseNotFoundError, match="no backup"):
            db.backup(chain / "b", since=chain / "none")
        (chain / "sub").mkdir()
        with pytest.raises(vecdb.BackupError, match="folder of the one it follows"):
            db.backup(chain / "sub" / "b", since=chain / "1")
        with pytest.raises(vecdb.BackupError):
            db.backup(5)  # type: ignore[arg-type]
    assert (chain / "0").read_bytes() == before


def test_a_backup_beside_a_writer_is_one_commit(tmp_path: Path) -> None:
    """The writer keeps the sum of all numbers at zero: in every backup it is."""
    with vecdb.connect(tmp_path / "a") as db:
        table = db.create_table("t", dim=2, fields={"number": int})
        stop = threading.Event()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                with db.transaction():
                    table.upsert(number % 50, [1, number], {"number": number})
                    table.upsert(1000 + number % 50, [1, number], {"number": -number})

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for name in range(3):
                db.backup(tmp_path / str(name))
            db.backup(tmp_path / "3", since=tmp_path / "2")
        finally:
            stop.set()
            thread.join()
    versions = []
    for name in range(4):
        vecdb.restore(tmp_path / str(name), tmp_path / f"r{name}")
        with vecdb.connect(tmp_path / f"r{name}") as db:
            assert sum(int(row.fields["number"]) for row in db.table("t").scan()) == 0
            versions.append(db.version)
        check_file(tmp_path / f"r{name}")
    assert versions == sorted(set(versions))


@pytest.mark.parametrize("what", ["backup", "increment", "restore"])
def test_a_full_disk_leaves_nothing(chain: Path, what: str) -> None:
    code = (
        "import resource, sys, vecdb\n"
        "db = vecdb.connect(sys.argv[1] + '/a')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n"
        "    if sys.argv[3] == 'restore': vecdb.restore(sys.argv[1] + '/2', sys.argv[1] + '/r')\n"
        "    else: db.backup(sys.argv[1] + '/r', since=sys.argv[1] + '/0' if sys.argv[3] == 'increment' else None)\n"
        "except vecdb.Error as error: print(type(error).__name__)\n"
    )
    size = 300 if what == "increment" else 20_000
    result = subprocess.run(
        [sys.executable, "-c", code, str(chain), str(size), what], capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "StorageFullError", result
    assert not list(chain.glob("r*"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != size
    vecdb.restore(chain / "2", chain / "r")
