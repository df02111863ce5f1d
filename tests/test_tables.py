"""Tables: making, finding and dropping them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

import vecdb


def test_making_and_finding(db: vecdb.Database) -> None:
    assert db.tables() == []
    notes = db.create_table("notes", dim=3, metric="l2", dtype="float16", m=8, ef_construction=50, fields={"n": int})
    db.create_table("a table", vectors={"x": vecdb.Vector(2), "y": vecdb.Vector(4, metric="ip", m=24)})
    plain = db.create_table("plain", fields={"tags": list[str], "when": datetime})
    assert db.tables() == ["a table", "notes", "plain"]
    assert "notes" in db
    assert "nope" not in db
    assert notes.vectors == {"vector": vecdb.Vector(3, "l2", "float16", 8, 50)}
    assert list(db.table("a table").vectors) == ["x", "y"]
    assert plain.fields == {"tags": "list[str]", "when": "datetime"}
    plain.insert(None, None, {"tags": ["a"]})
    plain.insert([None for _ in range(0)], None, [])
    assert [row.id for row in plain.scan()] == [1]
    with pytest.raises(vecdb.VectorError, match="none"):
        plain.search([1, 2])
    with pytest.raises(vecdb.TableNotFoundError, match="nope"):
        db.table("nope")
    with pytest.raises(vecdb.TableExistsError, match="notes"):
        db.create_table("notes", dim=3)
    with pytest.raises(vecdb.TableExistsError, match="other columns"):
        db.create_table("notes", dim=3, exist_ok=True)
    same = db.create_table(
        "notes", dim=3, metric="l2", dtype="float16", m=8, ef_construction=50, fields={"n": int}, exist_ok=True
    )
    same.insert(1, [1, 2, 3])
    assert len(notes) == 1


def test_dropping(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=2)
    table.insert(range(1500), [[number, 1] for number in range(1500)])
    db.drop_table("t")
    assert db.tables() == []
    with pytest.raises(vecdb.TableNotFoundError):
        table.search([1, 1])
    with pytest.raises(vecdb.TableNotFoundError):
        db.drop_table("t")
    again = db.create_table("t", dim=2)
    assert len(again) == 0
    again.insert("x", [1, 1])
    assert again.search([1, 1]).ids == ["x"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"dim": 0}, vecdb.VectorError),
        ({"dim": "3"}, vecdb.VectorError),
        ({"dim": True}, vecdb.VectorError),
        ({"dim": 10**6}, vecdb.LimitError),
        ({"dim": 3, "metric": "manhattan"}, vecdb.VectorError),
        ({"dim": 3, "dtype": "int8"}, vecdb.VectorError),
        ({"dim": 3, "m": 1}, vecdb.VectorError),
        ({"dim": 3, "m": 1000}, vecdb.VectorError),
        ({"dim": 3, "ef_construction": 3}, vecdb.VectorError),
        ({"metric": "l2"}, vecdb.VectorError),
        ({"dim": 3, "vectors": {"a": vecdb.Vector(2)}}, vecdb.VectorError),
        ({"vectors": {"a": 3}}, vecdb.VectorError),
        ({"vectors": {"": vecdb.Vector(2)}}, vecdb.FieldError),
        ({"vectors": {str(n): vecdb.Vector(2) for n in range(65)}}, vecdb.LimitError),
        ({"dim": 3, "fields": {"a": complex}}, vecdb.FieldError),
        ({"dim": 3, "fields": {"a": list}}, vecdb.FieldError),
        ({"dim": 3, "fields": {"a": list[list[int]]}}, vecdb.FieldError),
        ({"dim": 3, "fields": {"a": "str"}}, vecdb.FieldError),
        ({"dim": 3, "fields": {1: str}}, vecdb.FieldError),
        ({"dim": 3, "fields": {str(n): int for n in range(1001)}}, vecdb.LimitError),
    ],
)
def test_bad_declarations(db: vecdb.Database, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        db.create_table("t", **arguments)
    assert db.tables() == []


@pytest.mark.parametrize("name", ["", None, 5, "\ud800", "x" * 256])
def test_bad_names(db: vecdb.Database, name: Any) -> None:
    with pytest.raises((vecdb.FieldError, vecdb.LimitError)):
        db.create_table(name, dim=2)


def test_many_fields_and_columns(db: vecdb.Database) -> None:
    table = db.create_table(
        "wide", vectors={f"v{n}": vecdb.Vector(2) for n in range(64)}, fields={f"f{n}": int for n in range(1000)}
    )
    table.insert(1, {"v63": [1, 2]}, {"f999": 1})
    row = table.get(1, vectors=True)
    assert row is not None
    assert row.fields["f999"] == 1
    assert row.vectors is not None
    assert list(row.vectors) == ["v63"]
    with pytest.raises(vecdb.LimitError):
        table.add_field("one more", int)
