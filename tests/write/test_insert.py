"""insert, upsert, update and delete do what they say, and refuse what can't be stored."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import numpy as np
import pytest

import vecdb


@pytest.fixture
def notes(db: vecdb.Database) -> vecdb.Table:
    fields = {"lang": str, "year": int, "score": float, "done": bool, "created": datetime, "tags": list[str]}
    return db.create_table("notes", dim=3, fields=fields)


@pytest.fixture
def photos(db: vecdb.Database) -> vecdb.Table:
    vectors = {"caption": vecdb.Vector(4), "pixels": vecdb.Vector(2, metric="l2", dtype="float16")}
    return db.create_table("photos", vectors=vectors, fields={"album": str})


NAIVE = datetime(2024, 2, 29, 12, 30, 15, 123456)
AWARE = datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))


def test_one_row(notes: vecdb.Table) -> None:
    assert notes.insert("a", [1, 2, 3], {"lang": "en", "title": "rides along"}) == "a"
    row = notes.get("a", vectors=True)
    assert row is not None
    assert row.id == "a"
    nulls = dict.fromkeys(["year", "score", "done", "created", "tags"])
    assert row.fields == {"lang": "en", "title": "rides along", **nulls}
    assert row.vector is not None
    assert row.vector.dtype == np.float32
    assert row.vector.tolist() == [1, 2, 3]
    assert notes.get("b") is None
    assert len(notes) == notes.count() == 1


def test_many_rows_by_row_and_by_column(notes: vecdb.Table, rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(4, 3))
    assert notes.insert(["a", "b"], vectors[:2], [{"lang": "en"}, {"lang": "de", "x": 1}]) == ["a", "b"]
    assert notes.insert([7, "7"], vectors[2:], {"lang": ["fr", None], "year": np.array([1, 2])}) == [7, "7"]
    rows = notes.get(["7", 7, "none", "b"], vectors=True)
    assert [row and row.id for row in rows] == ["7", 7, None, "b"]
    assert rows[0] is not None
    assert rows[0].fields["year"] == 2
    assert rows[1] is not None
    assert rows[1].fields["lang"] == "fr"
    assert rows[1].vector is not None
    np.testing.assert_array_equal(rows[1].vector, vectors[2].astype(np.float32))


def test_ids_are_assigned_upwards(notes: vecdb.Table) -> None:
    assert notes.insert(None, [1, 0, 0]) == 1
    assert notes.insert(None, [[1, 0, 0], [0, 1, 0]]) == [2, 3]
    notes.insert(10, [1, 1, 1])
    assert notes.insert(None, [1, 0, 0]) == 11
    notes.delete(11)
    assert notes.insert(None, [1, 0, 0], {"lang": "en"}) == 12
    notes.insert(2**63 - 1, [1, 0, 0])
    with pytest.raises(vecdb.IdError, match="64 bits"):
        notes.insert(None, [1, 0, 0])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_vectors_come_back_bit_for_bit(db: vecdb.Database, rng: np.random.Generator, dtype: str) -> None:
    table = db.create_table("t", dim=65, metric="l2", dtype=dtype)
    exponents = rng.integers(-6, 4, size=(300, 65)).astype(np.float64)
    vectors = (rng.normal(size=(300, 65)) * 10.0**exponents).astype(dtype)
    vectors[0, :4] = [0.0, -0.0, np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal]
    table.insert(range(300), vectors)
    for row in table.scan(vectors=True):
        assert row.vector is not None
        assert row.vector.dtype == dtype
        assert row.vector.tobytes() == vectors[row.id].tobytes()


def test_rows_may_lack_vectors(photos: vecdb.Table) -> None:
    photos.insert("both", {"caption": [1, 0, 0, 0], "pixels": [5, 5]}, {"album": "x"})
    photos.insert("one", {"caption": [0, 1, 0, 0]})
    photos.insert("none")
    photos.insert(["p", "q"], {"pixels": [None, [1, 2]], "caption": np.eye(4)[:2]})
    assert photos.search([0, 1, 0, 0], column="caption").ids == ["one", "q", "both", "p"]
    assert photos.search([0, 0], column="pixels").ids == ["q", "both"]
    rows = photos.get(["both", "one", "none", "p"], vectors=True)
    assert [sorted(row.vectors or {}) for row in rows if row] == [["caption", "pixels"], ["caption"], [], ["caption"]]
    with pytest.raises(vecdb.VectorError, match="caption"):
        photos.search([0, 0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lang", "日本語 \N{GRINNING FACE}"),
        ("lang", ""),
        ("year", -(2**63)),
        ("year", np.int32(7)),
        ("score", 1),
        ("score", float("inf")),
        ("score", np.float32(0.5)),
        ("done", True),
        ("done", np.bool_(False)),
        ("created", NAIVE),
        ("created", AWARE),
        ("tags", ["a", "b"]),
        ("tags", []),
        ("other", {"deep": [1, {"er": None}], "f": 1.5, "t": True}),
        ("other", b"\x00\xff"),
        ("other", [AWARE, NAIVE]),
        ("other", 2**63 - 1),
        ("other", (1, 2)),
        ("other", np.arange(3)),
    ],
)
def test_fields_come_back(notes: vecdb.Table, field: str, value: Any) -> None:
    notes.insert(1, [1, 0, 0], {field: value})
    row = notes.get(1)
    assert row is not None
    found = row.fields[field]
    if isinstance(value, np.ndarray | tuple):
        value = list(value)
    assert found == value
    assert type(found) is not np.generic
    if isinstance(value, datetime):
        assert found.tzinfo is None if value.tzinfo is None else found.utcoffset() == value.utcoffset()


DEEP: dict[str, Any] = {}
for _ in range(40):
    DEEP = {"x": DEEP}


class _OddZone(timezone.utc.__class__.__base__):  # type: ignore[name-defined, misc]
    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise RuntimeError("no such zone")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lang": 1}, "field 'lang' is str, not int"),
        ({"year": "1999"}, "field 'year' is int, not str"),
        ({"year": True}, "not bool"),
        ({"year": 1.0}, "not float"),
        ({"year": 2**63}, "beyond 64 bits"),
        ({"score": "x"}, "field 'score' is float"),
        ({"score": 10**400}, "field 'score' is float"),
        ({"done": 1}, "field 'done' is bool"),
        ({"created": "2024-01-01"}, "field 'created' is datetime"),
        ({"created": datetime(2024, 1, 1, tzinfo=_OddZone())}, "time zone"),
        ({"tags": "abc"}, "list"),
        ({"tags": ["a", 1]}, "field 'tags'"),
        ({"tags": [None]}, "field 'tags'"),
        ({"lang": "\ud800"}, "not valid Unicode"),
        ({"x": {"y": "\udfff"}}, "x.y is not valid Unicode"),
        ({"x": 2**64}, "beyond 64 bits"),
        ({"x": [1, -(2**63) - 1]}, r"x\[1\] is an int beyond 64 bits"),
        ({"x": {1: 2}}, "must be str, not 1"),
        ({3: 2}, "must be str, not 3"),
        ({"\ud800": 2}, "not valid Unicode"),
        ({"x": DEEP}, "nested more than 32"),
        ({"x": object()}, "type that can't be stored: object"),
        ({"x": {1, 2}}, "type that can't be stored: set"),
        ({"x": 1j}, "type that can't be stored: complex"),
        ({"x": "y" * (1 << 20)}, "1048576"),
        ([("lang", "en")], "must be a dict"),
    ],
)
def test_bad_fields_are_refused(notes: vecdb.Table, fields: Any, message: str) -> None:
    notes.insert("good", [1, 0, 0])
    with pytest.raises(vecdb.FieldError, match=message) as caught:
        notes.insert("bad", [1, 0, 0], fields)
    assert "bad" in str(caught.value) or "fields" in str(caught.value)
    with pytest.raises(vecdb.FieldError):
        notes.upsert(["x", "bad"], [[1, 0, 0], [0, 1, 0]], [{}, fields])
    plain = {"lang": "en", "year": 1999, "score": 0.5, "done": True, "other": "é"}
    with pytest.raises(vecdb.FieldError, match=message) as caught:
        notes.insert(["x", "bad", "y"], np.eye(3), [plain, fields, plain])
    assert "bad" in str(caught.value)
    with pytest.raises(vecdb.FieldError):
        notes.update("good", fields=fields)
    assert [row.id for row in notes.scan()] == ["good"]


@pytest.mark.parametrize(
    "identifier",
    ["", "x" * 481, "é" * 241, "\ud800", True, False, 2**63, -(2**63) - 1, 1.0, b"x", np.float64(1)],
    ids=repr,
)
def test_bad_ids_are_refused(notes: vecdb.Table, identifier: Any) -> None:
    with pytest.raises(vecdb.IdError):
        notes.insert(identifier, [1, 0, 0])
    with pytest.raises(vecdb.IdError):
        notes.insert(["fine", identifier], [[1, 0, 0], [1, 0, 0]])
    with pytest.raises(vecdb.IdError):
        notes.insert([1, identifier], [[1, 0, 0], [1, 0, 0]])
    with pytest.raises(vecdb.IdError):
        notes.get(identifier)
    assert len(notes) == 0


@pytest.mark.parametrize("identifier", ["x" * 480, "é" * 240, "\x00", " ", 0, -1, 2**63 - 1, -(2**63), "1"], ids=repr)
def test_unusual_ids_are_kept(notes: vecdb.Table, identifier: Any) -> None:
    notes.insert([identifier, "other", 5], np.eye(3))
    row = notes.get(identifier)
    assert row is not None
    assert row.id == identifier
    assert type(row.id) is type(identifier)


def test_ids_of_different_types_are_different_rows(notes: vecdb.Table) -> None:
    notes.insert([1, "1", "é", "e\u0301"], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    assert notes.delete("1") == 1
    assert [row.id for row in notes.scan()] == [1, "é", "e\u0301"]


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1, 2], r"shape \(3,\), not \(2,\)"),
        ([[1, 2, 3]], r"shape \(3,\)"),
        ([1, 2, float("nan")], "NaN or infinity"),
        ([1, 2, float("inf")], "NaN or infinity"),
        ([1, 2, 1e39], "overflows float32"),
        ([0, 0, 0], "zero"),
        ([1e-30, 0, 0], "zero"),
        ([1e19, 0, 0], "longer than"),
        (["a", "b", "c"], "real numbers"),
        ([1j, 0, 0], "real numbers"),
        ([1, [2], 3], "not a vector"),
        ([True, False, True], "real numbers"),
        ("abc", "real numbers"),
        (5, "shape"),
        (np.array([1, 2, 3], object), "real numbers"),
    ],
)
def test_bad_vectors_are_refused(notes: vecdb.Table, vector: Any, message: str) -> None:
    with pytest.raises(vecdb.VectorError, match=message) as caught:
        notes.insert("bad", vector)
    assert "'bad'" in str(caught.value)
    with pytest.raises(vecdb.VectorError) as caught:
        notes.insert(["fine", "bad"], [[1, 2, 3], vector])
    assert "'bad'" in str(caught.value)
    with pytest.raises(vecdb.VectorError):
        notes.search(vector)
    with pytest.raises(vecdb.VectorError):
        notes.search_batch([[1, 2, 3], vector])
    assert len(notes) == 0
    notes.insert("good", [1, 0, 0])
    with pytest.raises(vecdb.VectorError):
        notes.update("good", vectors=vector)


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", "float64"])
@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1, 2], r"shape \(3,\), not \(2,\)"),
        ([[1, 2, 3]], r"shape \(3,\)"),
        ([1, 2, float("nan")], "NaN or infinity"),
        ([1, 2, float("-inf")], "NaN or infinity"),
        ([0, 0, 0], "zero"),
        ([3e-19, 0, 0], "zero"),
        ([2e18, 0, 0], "longer than|infinity"),
        ([3e38, 3e38, 0], "longer than|infinity"),
        ([1e200, 0, 0], "overflows float32|infinity"),
    ],
)
def test_arrays_are_looked_at_as_closely_as_lists(notes: vecdb.Table, vector: Any, message: str, dtype: str) -> None:
    with np.errstate(over="ignore"):
        array = np.array(vector).astype(dtype)
    for call in (notes.search, lambda bad: notes.insert("bad", bad), lambda bad: notes.upsert("bad", bad)):
        with pytest.raises(vecdb.VectorError, match=message):
            call(array)
    assert len(notes) == 0


def test_lengths_at_the_limits_are_taken(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=2, metric="cosine")
    for number, length in enumerate([1.01e-18, 1e-15, 1, 1e15, 0.99e18]):
        for dtype in (np.float32, np.float64):
            vector = np.array([length, 0], dtype)
            table.upsert(number, vector)
            vector[:] = 0  # the caller's array is the caller's
            assert table.search(np.array([length, 0], dtype), k=9).distances.tolist() == [0.0] * (number + 1)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("shape", ["matrix", "fortran", "reversed", "strided", "read-only", "big-endian", "double"])
def test_matrices_of_every_kind(db: vecdb.Database, rng: np.random.Generator, shape: str) -> None:
    plain = rng.normal(size=(200, 8)).astype(np.float32)
    given: Any = {
        "matrix": lambda: np.matrix(plain),  # type: ignore[no-untyped-call]
        "fortran": lambda: np.asfortranarray(plain),
        "reversed": lambda: plain[::-1].copy()[::-1],
        "strided": lambda: np.repeat(plain, 2, axis=1)[:, ::2],
        "read-only": lambda: np.frombuffer(plain.tobytes(), np.float32).reshape(plain.shape),
        "big-endian": lambda: plain.astype(">f4"),
        "double": lambda: plain.astype(np.float64),
    }[shape]()
    table = db.create_table("t", dim=8, metric="l2")
    table.insert(range(200), given)
    queries = given.copy(order="K")
    if given.flags.writeable:
        given[:] = 7  # the caller's array is the caller's
    stored = [table.get(row, vectors=True) for row in range(200)]
    np.testing.assert_array_equal([row.vector for row in stored if row is not None], plain)
    for exact in (False, True):
        assert table.search_batch(queries, k=1, exact=exact).ids[:, 0].tolist() == list(range(200))


def test_the_bad_row_of_a_matrix_is_named(notes: vecdb.Table) -> None:
    matrix = np.ones((5, 3), np.float32)
    matrix[3, 1] = np.nan
    with pytest.raises(vecdb.VectorError, match="row 'd'"):
        notes.insert(list("abcde"), matrix)
    with pytest.raises(vecdb.VectorError, match="query 3"):
        notes.search_batch(matrix)
    with pytest.raises(vecdb.VectorError, match="5 vectors for 2 ids"):
        notes.insert(["a", "b"], np.ones((5, 3)))
    with pytest.raises(vecdb.VectorError, match="complex"):
        notes.insert(["a"], np.ones((1, 3), complex))
    with pytest.raises(vecdb.VectorError, match="no vector column 'nope'"):
        notes.insert("a", {"nope": [1, 2, 3]})
    assert len(notes) == 0


def test_float16_overflow_is_refused(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=2, metric="l2", dtype="float16")
    with pytest.raises(vecdb.VectorError, match="overflows float16"):
        table.insert(1, [1, 70_000])
    table.insert(1, [0, 0])


def test_lists_of_another_length_are_refused(notes: vecdb.Table) -> None:
    with pytest.raises(vecdb.FieldError, match="1 values for 2 rows"):
        notes.insert([1, 2], np.ones((2, 3)), {"lang": ["en"]})
    with pytest.raises(vecdb.FieldError, match="list of values"):
        notes.insert([1, 2], np.ones((2, 3)), {"lang": "en"})
    with pytest.raises(vecdb.FieldError, match="3 dicts of fields for 2 rows"):
        notes.insert([1, 2], np.ones((2, 3)), [{}, {}, {}])
    assert len(notes) == 0


def test_existing_and_repeated_ids_are_refused(notes: vecdb.Table) -> None:
    notes.insert("a", [1, 0, 0])
    with pytest.raises(vecdb.DuplicateIdError, match="'a' already"):
        notes.insert(["b", "a"], [[1, 0, 0], [0, 1, 0]])
    with pytest.raises(vecdb.DuplicateIdError, match="twice"):
        notes.insert(["b", "b"], [[1, 0, 0], [0, 1, 0]])
    assert [row.id for row in notes.scan()] == ["a"]


def test_upsert_replaces_the_whole_row(notes: vecdb.Table) -> None:
    notes.insert("a", [1, 0, 0], {"lang": "en", "year": 1, "x": 1})
    notes.upsert(["a", "b", "b"], [[0, 1, 0], [1, 1, 0], [0, 0, 1]], [{"year": 2}, {"year": 3}, {"year": 4}])
    rows = notes.get(["a", "b"], vectors=True)
    assert rows[0] is not None
    assert rows[0].fields == {**dict.fromkeys(notes.fields), "year": 2}
    assert rows[1] is not None
    assert rows[1].fields["year"] == 4
    assert rows[1].vector is not None
    assert rows[1].vector.tolist() == [0, 0, 1]
    assert notes.search([1, 0, 0]).ids == ["a", "b"]


def test_upsert_of_the_same_vector_keeps_the_slot(db: vecdb.Database, notes: vecdb.Table) -> None:
    notes.insert(["a", "b"], [[1, 0, 0], [0, 1, 0]])
    notes.upsert("a", [1, 0, 0], {"lang": "de"})
    assert [(row.id, row.fields["lang"]) for row in notes.scan()] == [("a", "de"), ("b", None)]
    notes.upsert("a", [1, 0, 0.5], {"lang": "de"})
    assert [row.id for row in notes.scan()] == ["b", "a"]


def test_update_changes_what_is_given(notes: vecdb.Table, photos: vecdb.Table) -> None:
    notes.insert(["a", "b"], [[1, 0, 0], [0, 1, 0]], {"lang": ["en", "de"], "x": [1, 2]})
    assert notes.update("a", fields={"year": 2025, "lang": None}) == 1
    row = notes.get("a", vectors=True)
    assert row is not None
    assert (row.fields["year"], row.fields["lang"], row.fields["x"]) == (2025, None, 1)
    assert row.vector is not None
    assert row.vector.tolist() == [1, 0, 0]
    assert notes.update(["a", "b"], fields={"year": [1, 2]}, vectors=[[0, 0, 1], None]) == 2
    assert notes.search([0, 0, 1]).ids == ["a"]
    photos.insert("p", {"caption": [1, 0, 0, 0], "pixels": [3, 4]})
    photos.update("p", vectors={"pixels": [6, 8]})
    photos.update("p", vectors={"caption": None})
    found = photos.get("p", vectors=True)
    assert found is not None
    assert found.vectors is not None
    assert list(found.vectors) == ["pixels"]
    assert found.vectors["pixels"].tolist() == [6, 8]
    assert len(photos.search([1, 0, 0, 0], column="caption")) == 0
    with pytest.raises(vecdb.RowNotFoundError, match="'c'"):
        notes.update(["a", "c"], fields=[{"year": 9}, {"year": 9}])
    with pytest.raises(vecdb.DuplicateIdError):
        notes.update(["a", "a"], fields=[{"year": 9}, {"year": 9}])
    unchanged = notes.get("a")
    assert unchanged is not None
    assert unchanged.fields["year"] == 1


def test_delete_counts_rows(notes: vecdb.Table) -> None:
    notes.insert(["a", "b", "c"], np.eye(3))
    assert notes.delete("nope") == 0
    assert notes.delete(["a", "a", "nope", "c"]) == 2
    assert [row.id for row in notes.scan()] == ["b"]
    assert notes.search([1, 0, 0]).ids == ["b"]
    notes.insert("a", [1, 0, 0])
    assert notes.search([1, 0, 0]).ids == ["a", "b"]


def test_an_empty_batch_writes_nothing(db: vecdb.Database, notes: vecdb.Table) -> None:
    before = db.version
    assert notes.insert([], np.zeros((0, 3))) == []
    assert notes.insert([], []) == []
    assert notes.upsert([], []) == []
    assert notes.delete([]) == 0
    assert db.version == before


def test_progress(notes: vecdb.Table, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[int, int]] = []
    notes.insert(range(2000), rng.normal(size=(2000, 3)), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2000, 2000)
    assert seen == sorted(seen)
    assert len(seen) > 3
    notes.insert(range(2000, 2010), rng.normal(size=(10, 3)), progress=True)
    assert "10/10" in capsys.readouterr().err
    with pytest.raises(vecdb.ProgrammingError):
        notes.insert(3000, [1, 0, 0], progress="yes")  # type: ignore[arg-type]


def test_a_field_can_be_added(notes: vecdb.Table) -> None:
    notes.insert(["a", "b"], [[1, 0, 0], [0, 1, 0]], [{"author": "Ada"}, {}])
    notes.add_field("author", str)
    assert [row.fields["author"] for row in notes.scan()] == ["Ada", None]
    with pytest.raises(vecdb.FieldError, match="field 'author' is str"):
        notes.insert("c", [1, 0, 0], {"author": 1})
    notes.insert("c", [1, 0, 0], {"pages": "many"})
    with pytest.raises(vecdb.FieldError, match="field 'pages' is int"):
        notes.add_field("pages", int)
    with pytest.raises(vecdb.FieldError, match="already"):
        notes.add_field("lang", str)
    assert notes.fields["author"] == "str"
    assert "pages" not in notes.fields


def test_strings_and_numbers_of_other_classes(db: vecdb.Database, notes: vecdb.Table) -> None:
    class Word(str, enum.Enum):
        EN = "en"

    class Number(enum.IntEnum):
        FIVE = 5

    notes.insert("en", [1, 0, 0])
    notes.upsert(Word.EN, [0, 1, 0])
    notes.upsert([Number.FIVE, np.int8(5), np.str_("en")], np.eye(3))
    assert [row.id for row in notes.scan()] == [5, "en"]
    table = db.create_table(
        np.str_("table"), dim=cast(int, np.int64(2)), metric=Word.EN and "l2", fields={Word.EN: str}
    )
    assert table.vectors == {"vector": vecdb.Vector(2, "l2")}
    assert table.fields == {"en": "str"}


@pytest.mark.parametrize("ids", [bytearray(b"ab"), memoryview(b"ab"), np.array(5), {"a": 1}, 5.5, object()], ids=type)
def test_what_is_no_list_of_ids(notes: vecdb.Table, ids: Any) -> None:
    for call in (lambda: notes.insert(ids, np.eye(3)), lambda: notes.get(ids), lambda: notes.delete(ids)):
        with pytest.raises(vecdb.IdError):
            call()


def test_arrays_of_every_layout(notes: vecdb.Table) -> None:
    matrix = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    frozen = matrix.copy()
    frozen.flags.writeable = False
    for number, given in enumerate(
        [
            matrix.astype(">f4"),
            np.asfortranarray(matrix),
            frozen,
            matrix.astype(np.int16),
            matrix.tolist(),
            iter(matrix),
        ]
    ):
        notes.upsert([f"{number} {row}" for row in range(4)], given)
    for row in notes.scan(vectors=True):
        assert row.vector is not None
        assert row.vector.tolist() == matrix[int(str(row.id).split()[1])].tolist()
    with pytest.raises(vecdb.VectorError, match="masked"):
        notes.insert(range(4), np.ma.masked_less(matrix, 3))


def test_a_last_report_that_raises_undoes_the_write(notes: vecdb.Table) -> None:
    def raise_at_the_end(done: int, total: int) -> None:
        if done == total:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        notes.insert(["a", "b"], np.eye(3)[:2], progress=raise_at_the_end)
    assert len(notes) == 0


def test_a_large_table_without_a_vector_gets_its_graph_with_the_first(db: vecdb.Database) -> None:
    table = db.create_table("t", dim=16)
    table.insert(range(2000))
    assert table.search(np.ones(16)).ids == []
    assert not table.stats().columns["vector"].graph
    table.insert("first", np.ones(16))
    assert table.search(np.ones(16)).ids == ["first"]
    assert table.stats().columns["vector"].graph
