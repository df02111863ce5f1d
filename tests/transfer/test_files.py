"""Users' own files become rows, in the declared types; what does not fit is named."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import vecdb
from vecdb.transfer.files import Mapped, import_rows


@pytest.fixture
def table(db: vecdb.Database) -> vecdb.Table:
    fields: dict[str, object] = {"year": int, "score": float, "done": bool, "at": datetime, "tags": list[str]}
    return db.create_table("t", dim=2, fields=fields)


def test_a_csv_is_read_in_the_types_of_the_fields(table: vecdb.Table, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "key,jahr,score,done,at,tags,title,embedding\n"
        'a,2020,0.5,yes,2020-01-02T03:04:05,x|y,"one, two","[1, 2]"\n'
        "b,,,,,,,3 4\n"
    )
    mapped = Mapped(id="key", vectors={"vector": "embedding"}, rename={"jahr": "year"})
    assert import_rows(table, tmp_path / "rows.csv", mapped=mapped) == 2
    row = table.get("a", vectors=True)
    assert row is not None
    assert row.fields == {
        "year": 2020, "score": 0.5, "done": True, "at": datetime(2020, 1, 2, 3, 4, 5), "tags": ["x", "y"],
        "title": "one, two",
    }  # fmt: skip
    np.testing.assert_array_equal(row.vector, [1, 2])
    other = table.get("b")
    assert other is not None
    assert [other.fields[name] for name in ("year", "score", "done", "at", "tags", "title")] == [*[None] * 5, ""]


def test_json_lines_beside_an_array(table: vecdb.Table, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"id": 7, "year": 1}\n\n{"id": 8, "more": {"a": [1]}, "left": 1}\n')
    np.save(tmp_path / "v.npy", np.ones((2, 2), np.float16))
    shown: list[tuple[int, int]] = []
    count = import_rows(
        table,
        tmp_path / "rows.jsonl",
        arrays={"vector": tmp_path / "v.npy"},
        mapped=Mapped(only=frozenset({"year", "more"})),
        progress=lambda done, total: shown.append((done, total)),
    )
    assert count == 2
    assert shown == [(2, 2)]
    row = table.get(8)
    assert row is not None
    assert row.fields["more"] == {"a": [1]}
    assert "left" not in row.fields
    with pytest.raises(vecdb.DuplicateIdError, match=r"rows\.jsonl, rows 1 to 2"):
        import_rows(table, tmp_path / "rows.jsonl")
    assert import_rows(table, tmp_path / "rows.jsonl", replace=True) == 2


def test_an_array_alone_and_json(table: vecdb.Table, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((3, 2)))
    assert import_rows(table, None, arrays={"vector": tmp_path / "v.npy"}) == 3
    (tmp_path / "rows.json").write_text('[{"year": 5}, {"year": 6}]')
    assert import_rows(table, tmp_path / "rows.json") == 2
    assert [row.id for row in table.scan()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("a.csv", "id,year\na,x\n", vecdb.FieldError, "row 1: field 'year' is int"),
        ("a.csv", "id,year\na,1,2\n", vecdb.FieldError, "more values"),
        ("a.csv", "id,done\na,maybe\n", vecdb.FieldError, "'maybe'"),
        ("a.jsonl", '{"id": 1}\n{"id": \n', vecdb.FieldError, "line 2"),
        ("a.jsonl", "5\n", vecdb.FieldError, "not an object"),
        ("a.jsonl", '{"id": 1}\n{"year": 1}\n', vecdb.FieldError, "row 2 has no 'id'"),
        ("a.jsonl", '{"id": 1, "e": "1 x"}\n', vecdb.VectorError, "not a list of numbers"),
        ("a.jsonl", '{"id": 1, "e": [1, 2, 3]}\n', vecdb.VectorError, "rows 1 to 1"),
        ("a.json", "{", vecdb.FieldError, "can't be read"),
        ("a.parquet", "", vecdb.FieldError, "kind"),
        ("none/a.csv", None, vecdb.DatabaseNotFoundError, "can't be read"),
    ],
)
def test_what_does_not_fit_is_named(
    table: vecdb.Table, tmp_path: Path, name: str, text: str | None, error: type[vecdb.Error], message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=message):
        import_rows(table, tmp_path / name, mapped=Mapped(vectors={"vector": "e"}))
    assert len(table) == 0


def test_arrays_that_do_not_fit(table: vecdb.Table, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"id": 7}\n')
    np.save(tmp_path / "v.npy", np.ones((2, 2)))
    np.save(tmp_path / "flat.npy", np.ones(2))
    with pytest.raises(vecdb.VectorError, match="which are imported; the arrays have 2"):
        import_rows(table, tmp_path / "rows.jsonl", arrays={"vector": tmp_path / "v.npy"})
    for file, error in (("flat.npy", vecdb.VectorError), ("none.npy", vecdb.DatabaseNotFoundError)):
        with pytest.raises(error):
            import_rows(table, None, arrays={"vector": tmp_path / file})
    with pytest.raises(vecdb.VectorError, match="nothing"):
        import_rows(table, None)
