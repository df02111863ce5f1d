"""What is dumped can be read without vecdb, and comes back as it was, to the bit."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vecdb
from tests.maintenance.vandals import fill
from tests.oracles.invariants import check_file
from vecdb.maintenance.plain import from_plain, to_plain

CONSTRAINED = """CREATE TABLE constrained (
    id TEXT PRIMARY KEY, lang TEXT NOT NULL DEFAULT 'en', year INTEGER DEFAULT 5, at TIMESTAMP DEFAULT '2020-01-01',
    data JSON, vector VECTOR(2))"""


def rows_of(place: Path) -> dict[str, Any]:
    with vecdb.connect(place, create=False) as db:
        return {
            name: (
                db.table(name).fields,
                db.table(name).vectors,
                db.table(name).indexes,
                db.execute(f'DESCRIBE "{name}"').fetchall(),
                [
                    (row.id, repr(row.fields), {key: value.tobytes() for key, value in (row.vectors or {}).items()})
                    for row in db.table(name).scan(vectors=True)
                ],
            )
            for name in db.tables()
        }


def test_everything_comes_back(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with vecdb.connect(tmp_path / "a") as db:
        db.execute(CONSTRAINED)
        db.execute("INSERT INTO constrained (id, data) VALUES ('a', ?)", ({"x": 1},))
        odd = db.create_table("odd name/..", vectors={"a/b": vecdb.Vector(2)})
        zone = timezone(timedelta(hours=-3, minutes=-30, seconds=7))
        fields = {
            "nan": float("nan"),
            "inf": [-float("inf"), {"deep": b"\0\xff"}],
            "at": datetime(1, 1, 1, 0, 0, 0, 1),
            "aware": datetime(9999, 12, 31, tzinfo=zone),
            "$bytes": 5,
            "dict": {"$float": "nan"},
            "text": "\u2028 \0 \U0001f600",
            "large": 2**63 - 1,
            "zero": -0.0,
        }
        odd.insert(["1", 1, -(2**63)], {"a/b": [[1, 2], None, [3, 4]]}, [fields, {"$x": 1}, {}])
    shown: list[int] = []
    vecdb.dump(tmp_path / "a", tmp_path / "out", progress=lambda done, total: shown.append(done))
    assert shown[-1] == 1526 + 35 - 35 + 3 + 1
    vecdb.load(tmp_path / "out", tmp_path / "b", progress=lambda done, total: shown.append(total))
    assert rows_of(tmp_path / "b") == rows_of(tmp_path / "a")
    check_file(tmp_path / "b")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a", "a-lock", "b", "b-lock", "out"]


def test_a_dump_is_read_without_vecdb(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    vecdb.dump(tmp_path / "a", tmp_path / "out")
    page = json.loads((tmp_path / "out" / "schema.json").read_text())
    table = next(table for table in page["tables"] if table["name"] == "photos")
    lines = (tmp_path / "out" / table["folder"] / "rows.jsonl").read_text().splitlines()
    arrays = {
        column["name"]: np.load(tmp_path / "out" / table["folder"] / column["file"]) for column in table["columns"]
    }
    assert [array.dtype for array in arrays.values()] == [np.float16, np.float32]
    with vecdb.connect(tmp_path / "a") as db:
        for line, row in zip(lines, db.table("photos").scan(vectors=True), strict=True):
            read = json.loads(line)
            assert (read["id"], read["fields"]) == (row.id, row.fields)
            assert read["vectors"].keys() == (row.vectors or {}).keys()
            for name, vector in (row.vectors or {}).items():
                np.testing.assert_array_equal(arrays[name][read["vectors"][name]], vector)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc)).map(lambda value: value.replace(fold=0)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["$bytes", "$dict", "$x"]), inner),
)  # fmt: skip


@settings(deadline=None)
@given(values)
def test_values_come_back_through_json(value: object) -> None:
    assert repr(from_plain(json.loads(json.dumps(to_plain(value), allow_nan=False)))) == repr(value)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    with vecdb.connect(tmp_path / "a") as db:
        table = db.create_table("t", dim=2, fields={"n": int})
        table.insert(range(5), np.arange(10).reshape(5, 2) + 1, {"n": list(range(5))})
    return Path(vecdb.dump(tmp_path / "a", tmp_path / "out"))


def change_rows(out: Path, old: str, new: str) -> None:
    file = out / "001-t" / "rows.jsonl"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def change_schema(out: Path, old: str, new: str) -> None:
    text = (out / "schema.json").read_text()
    assert old in text
    (out / "schema.json").write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: change_rows(out, '{"id": 1,', '{"id": 0,'), "twice"),
        (lambda out: change_rows(out, '{"id": 1,', '{"id": 1.5,'), "rows.jsonl, lines 1 to 5.*id"),
        (lambda out: change_rows(out, '{"id": 1,', '{"id": 1'), "line 2 is not JSON"),
        (lambda out: change_rows(out, '"n": 1', '"n": "1"'), "field 'n'"),
        (lambda out: change_rows(out, '"n": 1', '"n": {"$x": 1}'), "no value of a dump"),
        (lambda out: change_rows(out, '"vector": 1', '"vector": 3'), "do not follow"),
        (lambda out: change_rows(out, '"vector": 1', '"other": 1'), "do not follow|no columns"),
        (lambda out: change_rows(out, '"fields"', '"field"'), "not made of"),
        (lambda out: change_rows(out, '{"id": 4, "fields": {"n": 4}, "vectors": {"vector": 4}}\n', ""), "has 4 rows"),
        (lambda out: change_schema(out, '"dim": 2', '"dim": 3'), "was expected"),
        (lambda out: change_schema(out, '"int"', '"integer"'), "no type of field"),
        (lambda out: change_schema(out, "001-t", "../001-t"), "no name of a folder"),
        (lambda out: change_schema(out, '"next_id": 5', '"next_id": -5'), "next_id is -5"),
        (lambda out: change_schema(out, '"next_id": 5', '"next": 5'), "not described by"),
        (lambda out: change_schema(out, "vecdb dump", "other"), "not of a dump"),
        (lambda out: change_schema(out, '"format_version": 1', '"format_version": 2'), "has format 2"),
        (lambda out: np.save(out / "001-t" / "01-vector.npy", np.full((5, 2), np.nan, np.float32)), "lines 1 to 5"),
        (lambda out: np.save(out / "001-t" / "01-vector.npy", np.array([None])), "can't be read"),
        (lambda out: (out / "001-t" / "01-vector.npy").write_bytes(b"x"), "can't be read"),
        (lambda out: (out / "001-t" / "rows.jsonl").unlink(), "can't be read"),
        (lambda out: (out / "schema.json").unlink(), "no dump"),
        (lambda out: (out / "schema.json").write_text("[]"), "not of a dump"),
    ],
)
def test_a_load_checks_everything(out: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    spoil(out)
    with pytest.raises((vecdb.BackupError, vecdb.DatabaseNotFoundError), match=message):
        vecdb.load(out, tmp_path / "b")
    assert not list(tmp_path.glob("b*"))


def test_nothing_is_overwritten(out: Path, tmp_path: Path) -> None:
    with pytest.raises(vecdb.BackupError, match="exists already"):
        vecdb.dump(tmp_path / "a", out)
    with pytest.raises(vecdb.BackupError, match="exists already"):
        vecdb.load(out, tmp_path / "a")
    with pytest.raises(vecdb.DatabaseNotFoundError):
        vecdb.dump(tmp_path / "none", tmp_path / "b")
    with pytest.raises(vecdb.DatabaseNotFoundError):
        vecdb.load(tmp_path / "none", tmp_path / "b")
    shutil.rmtree(out)
    vecdb.dump(tmp_path / "a", out)


def test_ids_of_deleted_rows_are_not_given_again(tmp_path: Path) -> None:
    with vecdb.connect(tmp_path / "a") as db:
        table = db.create_table("t", dim=2)
        assert table.insert(None, np.ones((5, 2))) == [1, 2, 3, 4, 5]
        table.delete([3, 4, 5])
    vecdb.dump(tmp_path / "a", tmp_path / "out")
    vecdb.load(tmp_path / "out", tmp_path / "b")
    with vecdb.connect(tmp_path / "b") as db:
        assert db.table("t").insert(None, [1, 1]) == 6
    assert vecdb.check(tmp_path / "b").ok
