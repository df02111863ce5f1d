"""Opening: what is there, what is not, what is something else, what is damaged."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

import vecdb
from vecdb.storage import keys
from vecdb.storage.environment import Environment
from vecdb.storage.header import FORMAT_MAJOR
from vecdb.storage.keys import Space
from vecdb.storage.records import pack, seal, unpack

PAGE = 4096


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A file with a graph; tests damage it, so it is not checked at the end."""
    place = tmp_path / "filled.vecdb"
    with vecdb.connect(place) as db:
        table = db.create_table("t", dim=16)
        table.insert(range(1200), np.random.default_rng(0).normal(size=(1200, 16)), [{"text": "x" * 50}] * 1200)
    return place


def test_create(path: Path, tmp_path: Path) -> None:
    with pytest.raises(vecdb.DatabaseNotFoundError):
        vecdb.connect(path, create=False)
    with pytest.raises(vecdb.DatabaseNotFoundError):
        vecdb.connect(path, readonly=True)
    with pytest.raises(vecdb.DatabaseNotFoundError, match="no folder"):
        vecdb.connect(tmp_path / "none" / "x.vecdb")
    assert list(tmp_path.iterdir()) == []
    path.touch()
    with pytest.raises(vecdb.DatabaseNotFoundError):
        vecdb.connect(path, create=False)
    vecdb.connect(path).close()
    vecdb.connect(str(path), create=False).close()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["test.vecdb", "test.vecdb-lock"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_many_processes_may_create_one_file(path: Path) -> None:
    script = (
        "import sys, vecdb; db = vecdb.connect(sys.argv[1]);"
        "db.create_table('t', dim=2, exist_ok=True).insert(None, [1, 0])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    with vecdb.connect(path) as db:
        assert len(db.table("t")) == 4


@pytest.mark.parametrize(
    "content", [b"x", b"SQLite format 3\0" + bytes(8192), bytes(8192), os.urandom(20_000)], ids=range(4)
)
def test_another_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "other"
    place.write_bytes(content)
    with pytest.raises(vecdb.NotAVecdbError):
        vecdb.connect(place)
    assert place.read_bytes() == content
    assert list(tmp_path.iterdir()) == [place]


def test_a_foreign_lmdb_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "foreign"
    with (
        lmdb.open(str(place), subdir=False, lib_version=0) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"a", b"b")
    content = place.read_bytes()
    with pytest.raises(vecdb.NotAVecdbError):
        vecdb.connect(place)
    assert place.read_bytes() == content


def change_record(place: Path, space: Space, key: bytes, payload: bytes) -> None:
    with lmdb.open(str(place), subdir=False, max_dbs=32, map_size=1 << 24, lib_version=0) as environment:
        name = environment.open_db(space.value)
        with environment.begin(write=True, db=name) as transaction:
            transaction.put(key, seal(key, payload))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"minimum_reader": 99, "major": 99}, vecdb.FormatVersionError, "format 99"),
        ({"minimum_reader": 3, "major": 3}, vecdb.FormatVersionError, "has format 3.*Read its rows"),
        ({"features": ["magic"]}, vecdb.FormatVersionError, "magic"),
        ({"application": "other"}, vecdb.NotAVecdbError, "other"),
        ({"byte_order": "middle"}, vecdb.FormatVersionError, "middle-endian"),
        ({"uuid": None}, vecdb.CorruptionError, "header"),
        ({"features": 5}, vecdb.CorruptionError, "header"),
    ],
)
def test_a_header_that_this_version_can_not_read(
    tmp_path: Path, change: dict[str, object], error: type[Exception], message: str
) -> None:
    place = tmp_path / "x.vecdb"
    vecdb.connect(place).close()
    with lmdb.open(str(place), subdir=False, max_dbs=32, lib_version=0) as environment:
        name = environment.open_db(b"header")
        with environment.begin(db=name) as transaction:
            header = unpack((transaction.get(keys.FORMAT) or b"")[:-4], "header")
    change_record(place, Space.HEADER, keys.FORMAT, pack({**header, **change}))
    for _ in range(2):  # the second time finds no environment left open
        with pytest.raises(error, match=message):
            vecdb.connect(place)


def test_a_file_of_a_format_with_fewer_sub_databases(tmp_path: Path) -> None:
    place = tmp_path / "x.vecdb"
    with lmdb.open(str(place), subdir=False, max_dbs=32, map_size=1 << 24, lib_version=0) as environment:
        for name in (b"header", b"catalog", b"rows", b"ids", b"vectors", b"links", b"upper", b"live", b"changes"):
            environment.open_db(name)
    with pytest.raises(vecdb.NotAVecdbError, match="no vecdb header"):
        vecdb.connect(place)
    header = {
        "application": "vecdb", "major": 2, "minor": 0, "minimum_reader": 2, "byte_order": "little", "features": [],
        "uuid": bytes(16), "incarnation": 1,
    }  # fmt: skip
    for major, error in ((2, vecdb.FormatVersionError), (FORMAT_MAJOR, vecdb.CorruptionError)):
        change_record(place, Space.HEADER, keys.FORMAT, pack({**header, "major": major}))
        for _ in range(2):
            with pytest.raises(error, match="has format 2" if major == 2 else "lacks .*terms"):
                vecdb.connect(place)


@pytest.mark.parametrize("page", [0, 1])
def test_a_zeroed_meta_page(filled: Path, page: int) -> None:
    with filled.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(bytes(PAGE))
    with pytest.raises(vecdb.CorruptionError, match="recover"):
        vecdb.connect(filled)


@pytest.mark.parametrize("tree", ["free", "main", "rows"])
def test_a_tree_of_another_kind(filled: Path, tree: str) -> None:
    """Of several values for a key, by a flipped bit: LMDB itself ends the process that writes to one."""
    content = bytearray(filled.read_bytes())
    duplicates, head, of_flags = 4, 16 + 24, 4
    places = {"free": [0, PAGE], "main": [48, PAGE + 48]}.get(tree)
    if places is None:  # in all versions of the leaf that names the sub-databases
        places = [
            found.end() - head for found in re.finditer(rb"rows(?=.{6}[\x00-\x0f]\x00)", bytes(content), re.DOTALL)
        ]
    assert places
    for place in places:
        content[place + head + of_flags] ^= duplicates
    filled.write_bytes(content)
    with pytest.raises(vecdb.CorruptionError, match=r"recover"):
        vecdb.connect(filled)


def test_a_truncated_file(filled: Path) -> None:
    size = filled.stat().st_size
    content = filled.read_bytes()
    for share in np.linspace(0.02, 0.99, 25):
        filled.write_bytes(content[: int(size * share)])
        with pytest.raises((vecdb.CorruptionError, vecdb.NotAVecdbError)):
            vecdb.connect(filled)
    filled.write_bytes(content)
    with vecdb.connect(filled) as db:
        assert len(db.table("t")) == 1200


def test_a_flipped_bit_in_a_record_is_named(filled: Path) -> None:
    """Damage of one row leaves the others readable. Some places in the file are of free pages."""
    content = filled.read_bytes()
    places = [match.start() for match in re.finditer(b"x" * 50, content)]
    hit = 0
    for place in places[:: len(places) // 8]:
        damaged = bytearray(content)
        damaged[place] ^= 4
        filled.write_bytes(damaged)
        with vecdb.connect(filled) as db:
            table = db.table("t")
            broken = 0
            for number in range(1200):
                try:
                    assert table.get(number) is not None
                except vecdb.CorruptionError as error:
                    assert "rows" in str(error)
                    broken += 1
            assert broken <= 1
            hit += broken
    assert hit >= 4


@pytest.mark.parametrize(
    ("space", "payload", "message"),
    [
        (Space.LINKS, bytes(8) + struct.pack("<42i", *[2**31 - 1] * 42) * 24, "link to nowhere"),
        (Space.LINKS, bytes(8) + struct.pack("<42i", *[-2] * 42) * 24, "link to nowhere"),
        (Space.LINKS, b"short", "wrong length"),
        (Space.UPPER, struct.pack("<18i", *[1000] * 18) * 56, "link to nowhere"),
        (Space.UPPER, struct.pack("<18i", *[-1] * 18) * 56, "layer below"),
        (Space.LIVE, bytes(1024), "counters"),
        (Space.LIVE, b"\xff" * 1024, "counters"),
        (Space.VECTORS, b"", "wrong length"),
        (Space.CODES, b"", "wrong length"),
        ("quantizer", b"", "wrong length"),
        ("quantizer", struct.pack("<d16f?", 0.0, *[1.0] * 16, True), "numbers"),
        ("quantizer", struct.pack("<d16f?", 1.0, *[float("nan")] * 16, True), "numbers"),
        ("quantizer", struct.pack("<d16fB", 1.0, *[1.0] * 16, 2), "numbers"),
    ],
    ids=range(13),
)
def test_hostile_blocks_never_reach_a_kernel(filled: Path, space: Space | str, payload: bytes, message: str) -> None:
    if isinstance(space, Space):
        change_record(filled, space, keys.block(1, 1, 0), payload)
    else:
        change_record(filled, Space.CODES, keys.block(1, 1, keys.QUANTIZER), payload)
    heals = space not in (Space.LIVE, Space.VECTORS)
    with vecdb.connect(filled, readonly=heals) as db:
        table = db.table("t")
        assert table.get(3) is not None
        if heals:  # it follows from the vectors, which are scanned instead
            plan = table.search(np.ones(16)).plan
            assert plan.strategy == "scan"
            told = plan.damage or ""
        else:
            with pytest.raises(vecdb.CorruptionError) as caught:
                table.search(np.ones(16))
            told = str(caught.value)
            with pytest.raises(vecdb.CorruptionError):
                table.insert("x", np.ones(16))
        assert message in told
        assert "table 't', column 'vector'" in told


@pytest.mark.parametrize(
    "counters",
    [
        [10**12, 1, 1, 0, {"1": [0, False, 0, -1, -1, 0, 0, 0]}],
        [1200, 1200, 1, 0, {"1": [1200, True, 80, 1, 10**9, 1, 1200, 0]}],
        [1200, 1200, 1, 0, {"1": [1200, True, 80, 50, -7, 1, 1200, 0]}],
        [1200, 1201, 1, 0, {"1": [1200, True, 80, 0, 5, 1, 1200, 0]}],
        [1200, 1200, 1, 0, {"1": [1200, True, 80, 1, 5, 0, 1200, 0]}],
        [1200, 1200, 1, 0, {}],
        [1200, 1200, 1, 0, {"1": ["x"] * 8}],
        {"a": 1},
        [],
    ],
    ids=range(9),
)
def test_hostile_counters(filled: Path, counters: object) -> None:
    change_record(filled, Space.CATALOG, keys.counters(1), pack(counters))
    with pytest.raises(vecdb.CorruptionError, match="'t'"):
        vecdb.connect(filled)


@pytest.mark.parametrize("slots", [2**30 - 1, 5000])
def test_counters_that_claim_more_than_there_is(filled: Path, slots: int) -> None:
    change_record(
        filled, Space.CATALOG, keys.counters(1), pack([slots, 1200, 1200, 0, {"1": [1200, True, 80, 1, 5, 1, 1200, 0]}])
    )
    with vecdb.connect(filled) as db, pytest.raises(vecdb.CorruptionError, match="missing"):
        db.table("t").search(np.ones(16))


def test_an_id_that_points_to_another_row(filled: Path) -> None:
    change_record(filled, Space.IDS, keys.row_id(1, 7), (8).to_bytes(4, "big"))
    with vecdb.connect(filled) as db:
        table = db.table("t")
        for call in (lambda: table.get(7), lambda: table.delete(7), lambda: table.upsert(7, np.ones(16))):
            with pytest.raises(vecdb.CorruptionError, match="another row"):
                call()


def test_an_index_that_points_to_no_row(filled: Path) -> None:
    with lmdb.open(str(filled), subdir=False, max_dbs=32, map_size=1 << 24, lib_version=0) as environment:
        rows = environment.open_db(Space.ROWS.value)
        with environment.begin(write=True, db=rows) as transaction:
            assert transaction.delete(keys.row(1, 7))
    with vecdb.connect(filled) as db:
        table = db.table("t")
        query = np.random.default_rng(0).normal(size=(1200, 16))[7]
        for call in (
            lambda: table.search(query, fields=False),
            lambda: table.search(query),
            lambda: table.search_batch([query]),
        ):
            for _ in range(2):
                with pytest.raises(vecdb.CorruptionError, match="no row in slot 7"):
                    call()
        assert table.search(-query, fields=False).ids == table.search(-query).ids


def test_readonly(filled: Path, tmp_path: Path) -> None:
    with vecdb.connect(filled, readonly=True) as db:
        table = db.table("t")
        assert len(table.search(np.ones(16))) == 10
        for write in (
            lambda: table.insert("x", np.ones(16)),
            lambda: table.delete(3),
            lambda: db.create_table("u", dim=2),
            lambda: db.transaction().__enter__(),
        ):
            with pytest.raises(vecdb.ReadOnlyError):
                write()
        with pytest.raises(vecdb.ReadOnlyError, match="close that handle"):
            vecdb.connect(filled)
    with vecdb.connect(filled) as db, vecdb.connect(filled, readonly=True) as reader:
        db.table("t").insert("x", np.ones(16))
        assert reader.table("t").search(np.ones(16), k=1).ids == ["x"]
        with pytest.raises(vecdb.ReadOnlyError):
            reader.table("t").delete("x")


def test_bad_options(path: Path) -> None:
    for arguments in (
        {"durability": "none"}, {"timeout": -1}, {"timeout": "x"}, {"max_size": 0}, {"max_size": 1.5},
    ):  # fmt: skip
        with pytest.raises(vecdb.ProgrammingError):
            vecdb.connect(path, **arguments)
    assert not path.exists()


@pytest.mark.parametrize("readers", [0, 3])
def test_the_map_grows_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch, readers: int) -> None:
    monkeypatch.setattr("vecdb.storage.environment.MAP_RESERVE", 1 << 18)
    monkeypatch.setattr("vecdb.storage.environment.MIN_MAP", 1 << 18)
    peer = (
        "import sys, vecdb; db = vecdb.connect(sys.argv[1]); t = db.table('t')\n"
        "for line in sys.stdin: print(len(t), flush=True)"
    )
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=64)
        other = subprocess.Popen(
            [sys.executable, "-c", peer, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert other.stdin is not None
        assert other.stdout is not None
        rng = np.random.default_rng(1)
        scans = [table.scan() for _ in range(readers)]
        for number in range(12):
            table.insert(range(number * 500, (number + 1) * 500), rng.normal(size=(500, 64)))
            assert len(table.search(np.ones(64))) == 10
            other.stdin.write("\n")
            other.stdin.flush()
            assert int(other.stdout.readline()) == (number + 1) * 500
        other.communicate()
        for scan in scans:
            assert len(list(scan)) == 6000
    assert path.stat().st_size > 1 << 20


@pytest.mark.parametrize("call", ["read", "write"])
def test_a_peer_grew_the_map(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """The next call maps more of the file, and its user does not notice."""
    with monkeypatch.context() as small:
        small.setattr("vecdb.storage.environment.MAP_RESERVE", 1 << 18)
        small.setattr("vecdb.storage.environment.MIN_MAP", 1 << 18)
        db = vecdb.connect(path)
    table = db.create_table("t", dim=64)
    peer = (
        "import sys, numpy as np, vecdb\n"
        "with vecdb.connect(sys.argv[1]) as db:\n"
        "    db.table('t').insert(range(2000), np.random.default_rng(1).normal(size=(2000, 64)))"
    )
    subprocess.run([sys.executable, "-c", peer, str(path)], check=True)
    maps: list[int] = []
    remap = Environment._remap

    def count(self: Environment, wish: Callable[[int], int], timeout: float) -> None:
        remap(self, wish, timeout)
        maps.append(self._map_size)

    monkeypatch.setattr(Environment, "_remap", count)
    with db:
        if call == "write":
            table.insert("new", np.ones(64))
        hits = table.search(np.ones(64))
        assert len(hits) == 10
        assert (hits.ids[0] == "new") == (call == "write")
        assert len(maps) == 1
        assert maps[0] > 1 << 18


def test_an_open_scan_holds_up_growth_no_longer_than_the_timeout(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecdb.storage.environment.MAP_RESERVE", 1 << 18)
    monkeypatch.setattr("vecdb.storage.environment.MIN_MAP", 1 << 18)
    with vecdb.connect(path, timeout=0.2) as db:
        table = db.create_table("t", dim=64)
        table.insert(range(400), np.ones((400, 64)))
        rows = table.scan()
        next(rows)
        table.insert(range(400, 5000), np.ones((4600, 64)))
        with pytest.raises(vecdb.StaleHandleError, match="mapped anew"):
            list(rows)
        assert len(table) == 5000


def test_places_for_readers_run_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecdb.storage.environment.MAX_READERS", 5)
    monkeypatch.setattr("vecdb.storage.environment.DEFAULT_TIMEOUT", 0.1)
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=2)
        table.insert(range(1000), np.ones((1000, 2)))
        scans = []  # of more rows than are read at once: others need no reader any more
        with pytest.raises(vecdb.LockTimeoutError, match="readers"):
            for _ in range(10):
                scans.append(table.scan())
                next(scans[-1])
        scans.clear()
        assert len(table) == 1000
