"""What is stored keeps its form: these numbers are in users' files, so a change of one needs a new format version."""

from __future__ import annotations

import subprocess
import sys
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vecdb
from vecdb.fields import columns, postings
from vecdb.index import quantizer, signs
from vecdb.index.levels import draw_levels
from vecdb.kernels import layout, simd
from vecdb.mirror.column import RECORD_HEAD
from vecdb.storage import changes, header, keys
from vecdb.storage.catalog import FIELD_TYPES
from vecdb.storage.geometry import LIVE_BYTES, records_per_block
from vecdb.storage.keys import Space
from vecdb.storage.records import pack, seal, unpack, unseal

ids = st.integers(-(2**63), 2**63 - 1) | st.text(min_size=1, max_size=100).filter(lambda text: text.isprintable())


def test_stored_numbers() -> None:
    assert [space.value for space in Space] == [
        b"header", b"catalog", b"rows", b"ids", b"vectors", b"codes", b"links", b"journal", b"upper", b"live", b"terms",
        b"columns", b"changes",
    ]  # fmt: skip
    assert keys.row_id(1, -(2**63)).hex() == "00000001010000000000000000"
    assert keys.row_id(1, 5).hex() == "00000001018000000000000005"
    assert keys.row_id(258, "é").hex() == "0000010202c3a9"
    assert keys.row(1, 2).hex() == "0000000100000002"
    assert keys.block(1, 2, 3).hex() == "00000001000200000003"
    assert keys.definition(7).hex() == "0000000700"
    assert keys.counters(7).hex() == "0000000701"
    assert keys.term(keys.terms_prefix(1, 2), b"\x03", 4).hex() == "000000010002" + "03" + "00000004"
    assert keys.column_block(1, 2, 3).hex() == "00000001000200000003"
    assert keys.ROWS_LIVE == 0
    assert (postings.CHUNK, columns.BLOCK, columns.STEP) == (8192, 984, 128)
    assert keys.change(9).hex() == "0000000000000009"
    assert seal(b"key", b"value").hex() == (b"value" + zlib.crc32(b"keyvalue").to_bytes(4, "little")).hex()
    # Microseconds since 1970, little-endian; an aware one is followed by its zone's offset.
    assert pack(datetime(2024, 2, 29, 1, 2, 3, 4)) == b"\xd7\x01" + (1709168523 * 10**6 + 4).to_bytes(8, "little")
    aware = datetime(1960, 1, 1, tzinfo=timezone(timedelta(minutes=-90)))
    stamp = (-315619200 * 10**6).to_bytes(8, "little", signed=True)
    assert pack(aware) == b"\xd8\x02" + stamp + (-5400 * 10**6).to_bytes(8, "little", signed=True)
    assert (header.APPLICATION, header.FORMAT_MAJOR, header.FORMAT_MINOR) == ("vecdb", 5, 0)
    assert [records_per_block(4 * dim) for dim in (2, 128, 384, 768, 1536, 65_536)] == [509, 31, 13, 9, 9, 1]
    assert (LIVE_BYTES, RECORD_HEAD) == (1024, layout.HEAD)
    assert signs.NUMBERS == layout.SIGN_NUMBERS
    assert (quantizer.ZERO_CODE, quantizer.CODE_BLOCK) == (layout.ZERO_CODE, simd.CODE_BLOCK) == (128, 64)
    assert keys.QUANTIZER == 2**32 - 1
    assert sorted(FIELD_TYPES) == sorted(
        [*(base := ["str", "int", "float", "bool", "datetime"]), *(f"list[{b}]" for b in base)]
    )
    assert np.flatnonzero(draw_levels(0, 0, 60, 16)).tolist() == [2, 32, 33, 42, 53]


@given(st.lists(ids, min_size=2, max_size=20, unique=True))
def test_id_keys_sort_as_their_ids_do(values: list[int | str]) -> None:
    by_key = sorted(values, key=lambda value: keys.row_id(1, value))
    ints = sorted(value for value in values if isinstance(value, int))
    texts = sorted((value for value in values if isinstance(value, str)), key=str.encode)
    assert by_key == [*ints, *texts]
    assert len({keys.row_id(1, value) for value in values}) == len(values)


@given(st.binary(max_size=50), st.binary(min_size=1, max_size=30), st.integers(0, 10_000))
def test_a_changed_or_moved_record_is_noticed(payload: bytes, key: bytes, place: int) -> None:
    value = seal(key, payload)
    assert bytes(unseal(Space.ROWS, key, value)) == payload
    changed = bytearray(value)
    changed[place % len(value)] ^= 1 << place % 8
    for wrong_key, wrong in [(key, bytes(changed)), (key + b"\0", value), (key, value[:-1]), (key, b"")]:
        with pytest.raises(vecdb.CorruptionError, match="rows"):
            unseal(Space.ROWS, wrong_key, wrong)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xc1", b"\x92\x01", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000, b"\x81\x01\x02", b"\xa1\xff", b"\x01\x02", b"\xd4\x07\x00",
        b"\xd7\x01" + b"\xff" * 7 + b"\x7f",
        b"\xd8\x02" + bytes(8) + b"\xff" * 7 + b"\x7f",
    ],
    ids=range(13),
)  # fmt: skip
def test_hostile_msgpack_is_corruption(payload: bytes) -> None:
    with pytest.raises(vecdb.CorruptionError, match="thing"):
        unpack(payload, "thing")


def test_a_golden_file_of_this_format_is_read(tmp_path: Path) -> None:
    """The records of a small file, as text: what a later version must still read."""
    path = tmp_path / "golden.vecdb"
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=2, metric="l2", fields={"n": int}, indexes=["n"])
        table.insert(["a", 5], [[1, 2], [3, 4]], [{"n": 7}, {"x": [None]}])
        table.delete("a")
        with db._view() as view:
            found = {
                space.value.decode(): [
                    (key.hex(), bytes(payload).hex()) for key, payload in view.records.scan(space, b"")
                ]
                for space in (Space.ROWS, Space.IDS, Space.CHANGES, Space.TERMS, Space.COLUMNS)
            }
            live_rows, live = (bytes(payload) for _, payload in view.records.scan(Space.LIVE, b""))
            vectors = next(bytes(payload) for _, payload in view.records.scan(Space.VECTORS, b""))
            counters = unpack(view.records.get(Space.CATALOG, keys.counters(1)) or b"", "counters")
            assert view.records.get(Space.CATALOG, keys.definition(1)) is not None
            assert list(view.records.scan(Space.LINKS, b"")) == []
    assert found["rows"] == [("0000000100000001", "9505020190" + "81a17891c0")]
    assert found["ids"] == [("00000001018000000000000005", "00000001")]
    assert [key for key, _ in found["changes"]] == ["0000000000000001", "0000000000000002", "0000000000000003"]
    assert found["terms"] == [("000000010000" + "00" + "00000000", "00" + "0100")]  # null, in slot 1
    assert found["columns"] == []
    assert live == live_rows == b"\x02" + bytes(1023)
    assert np.frombuffer(vectors, "<f4", 4).tolist() == [1, 2, 3, 4]
    assert counters == [2, 1, 6, 0, {"1": [1, False, 0, -1, -1, 0, 0, 0, 0, 0]}]


def test_stored_blocks_of_columns(db: vecdb.Database) -> None:
    kinds = {"i": int, "b": bool, "f": float, "d": datetime, "s": str, "none": int, "long": str, "tags": list[str]}
    table = db.create_table("t", fields=kinds)
    zone = timezone(timedelta(hours=1))
    given: dict[str, list[Any]] = {
        "i": [-300, None, 5], "b": [True, False, None], "f": [0.5, float("nan"), None], "s": ["é", None, "é"],
        "d": [datetime(1970, 1, 1, 0, 0, 1), None, datetime(1970, 1, 1, tzinfo=zone)], "long": ["x" * 70_000] * 3,
    }  # fmt: skip
    table.insert(range(3), None, given)
    table.insert(range(3, 130), None, [{}] * 127)
    with db._view() as view:
        found = [(key.hex(), bytes(payload)) for key, payload in view.records.scan(Space.COLUMNS, b"")]
    assert [key for key, _ in found] == [f"00000001{field:04x}00000000" for field in range(7)]

    def known(first: int) -> bytes:
        return bytes((first,)) + bytes(122)

    hour = (-3600 * 10**6).to_bytes(8, "little", signed=True)
    assert [payload for _, payload in found] == [
        b"\x03" + known(0b101) + b"\xd4\xfe\0\0\5\0" + bytes(2 * 981),
        b"\x02" + known(0b011) + b"\1" + bytes(983),
        b"\x06" + known(0b001) + np.array([0.5, np.nan], "<f8").tobytes() + bytes(8 * 982),
        b"\x07" + known(0b101) + known(0b100) + (10**6).to_bytes(8, "little") + bytes(8) + hour + bytes(8 * 981),
        b"\x08" + b"\1\0\1" + bytes(981) + b"\x91\xa2\xc3\xa9",
        b"\x00",
        b"\x01",
    ]


@pytest.mark.parametrize("block", range(9))
def test_malformed_blocks_of_columns_are_corruption(db: vecdb.Database, block: int) -> None:
    table = db.create_table("t", fields={"n": int, "s": str})
    table.insert(range(200), None, {"n": [1] * 200, "s": ["a"] * 200})
    payload = [
        b"", b"\x00\x00", b"\x09" + bytes(2000), b"\x02" + bytes(123 + 983), b"\x02" + bytes(50), b"\x06" + bytes(3000),
        b"\x08" + b"\2" * 984 + b"\x91\xa1a", b"\x08" + bytes(984) + b"\x91\x01", b"\x08" + bytes(984) + b"\xc1",
    ][block]  # fmt: skip
    with pytest.raises(vecdb.CorruptionError), db.transaction():
        writer = db._transactions.writer
        assert writer is not None
        writer.records.put(Space.COLUMNS, keys.column_block(1, int(block > 5), 0), payload)
        table.count("n = 1" if block <= 5 else "s = 'a'")


def test_import_is_light() -> None:
    script = (
        "import sys, vecdb; print([m for m in ('numba', 'llvmlite', 'sqlglot', 'pyarrow', 'tqdm', 'concurrent.futures')"
        " if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_small_tables_need_no_compiler(tmp_path: Path) -> None:
    script = (
        "import sys, vecdb; db = vecdb.connect(sys.argv[1]); t = db.create_table('t', dim=2);"
        "t.insert(range(1000), [[n, 1] for n in range(1000)]); t.search([1, 1]); t.delete(5);"
        "t.update(6, fields={'a': 1}); t.search_batch([[1, 1]]); print('numba' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "x")], capture_output=True, text=True, check=True
    )
    assert output.stdout == "False\n"


def test_the_change_log_reaches_back_as_far_as_promised(db: vecdb.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vecdb.storage.changes.CHANGE_LOG_VERSIONS", 10)
    monkeypatch.setattr("vecdb.storage.changes._TRIM_EVERY", 4)
    table = db.create_table("t")
    for number in range(30):
        table.insert(number)
        with db._view() as view:
            logged = [keys.version_of_change(key) for key, _ in view.records.scan(Space.CHANGES, b"")]
        assert logged == list(range(logged[0], db.version + 1))
        assert min(db.version, 10) <= len(logged) < 14


def test_changes_of_every_second_block_are_read_back() -> None:
    numbers = list(range(0, 300_000, 2))
    assert changes._decode_ranges(changes._encode_ranges(numbers)).tolist() == numbers
