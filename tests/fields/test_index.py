"""Indexes: made with a table or later, kept by every write, dropped."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from random import Random
from typing import Any

import pytest

import vecdb
from tests.fields.random_tables import FIELDS, random_row
from tests.fields.test_lookup import assert_found_all
from tests.oracles.invariants import check_database
from vecdb.fields.columns import BLOCK, STEP
from vecdb.fields.encode import encode
from vecdb.filters.check import check_filter
from vecdb.filters.read import read_filter
from vecdb.storage import keys
from vecdb.storage.keys import Space

ROWS = 20_000  # of more than two chunks


def rows_of(count: int) -> list[dict[str, Any]]:
    return [
        {
            "lang": ["en", "de", None][number % 3],
            "year": 1900 + number % 150,
            "score": number * 0.5,
            "key": f"key {number}",
            "tags": ["a", "b", "c"][: number % 4],
            "rides": number % 1000,
        }
        for number in range(count)
    ]


DECLARED = {"lang": str, "year": int, "score": float, "key": str, "tags": list[str]}


def terms_of(db: vecdb.Database) -> dict[bytes, bytes]:
    with db._view() as view:
        return {bytes(key): bytes(payload) for key, payload in view.records.scan(Space.TERMS, b"")}


def means_of(db: vecdb.Database, where: object) -> tuple[str, ...]:
    """What was read to find the rows of a filter, which are checked."""
    with db._view() as view:
        return assert_found_all(view, check_filter(read_filter(where), view.find_table("t").schema.field_types)).means


@pytest.fixture
def large(db: vecdb.Database) -> vecdb.Table:
    table = db.create_table("t", fields=DECLARED, indexes=["lang", "key", "tags"])
    table.insert(range(ROWS), None, rows_of(ROWS))
    table.delete(range(0, ROWS, 7))
    table.update([1, 9000, 19_000], fields=[{"lang": "fr", "year": -5, "tags": None}] * 3)
    return table


def test_an_index_made_later_is_the_same_as_one_made_first(tmp_path: Path) -> None:
    terms = []
    for first in (True, False):
        random = Random(5)
        with vecdb.connect(tmp_path / f"{first}.vecdb") as db:
            table = db.create_table("t", fields=FIELDS, indexes=FIELDS if first else ())
            table.insert(range(9000), None, [random_row(random) for _ in range(9000)])
            table.delete(random.sample(range(9000), 500))
            ids = random.sample([int(row.id) for row in table.scan(fields=False)], 500)
            table.update(ids, fields=[random_row(random) for _ in ids])
            if not first:
                assert terms_of(db) == {}
                for name in reversed(FIELDS):
                    table.create_index(name)
            assert table.indexes == list(FIELDS)
            terms.append(terms_of(db))
            check_database(db)
    assert terms[0] == terms[1]


@pytest.mark.parametrize(
    ("where", "means"),
    [
        ("lang = 'en'", "index lang"),
        ("lang != 'en'", "index lang"),
        ("lang IN ('de', 'fr')", "index lang"),
        ("lang IS NULL", "index lang"),
        ("lang IS NOT NULL AND NOT lang LIKE 'e%'", "index lang"),
        ("key LIKE 'key 190%'", "index key"),
        ("key > 'key 2'", "column key"),  # too many terms
        ("key > 'key 2' AND key <= 'key 2001'", "index key"),
        ("key > 'key 2' AND lang = 'en' AND key < 'key 5'", "index lang, column key"),
        ("key LIKE '%77%'", "column key"),
        ("tags CONTAINS 'c'", "index tags"),
        ("NOT tags CONTAINS 'b'", "index tags"),
        ("tags IS NULL", "index tags"),
        ("year BETWEEN 1950 AND 1960", "column year"),
        ("year IN (1950, -5)", "column year"),
        ("score < year", "column score, column year"),
        ("rides = 7", "rows"),
        ("year = 1950 AND lang = 'en'", "index lang, column year"),
        ("rides = 7 AND year < 1950 AND lang = 'en'", "index lang, column year, rows"),
        ("key = 'key 5' AND score < 7 AND rides = 5", "index key, rows"),  # so few that their rows are read
        ("lang = 'fr' OR year = 2000 OR rides = 3 OR rides = 4", "index lang, column year, rows"),
        ("lang = 'xx' AND year = 3", "index lang"),
    ],
)
def test_the_cheapest_means_are_taken_first(db: vecdb.Database, large: vecdb.Table, where: str, means: str) -> None:
    assert large.indexes == ["lang", "key", "tags"]
    assert ", ".join(means_of(db, where)) == means


def test_filters_of_every_notation_are_counted(large: vecdb.Table) -> None:
    found = large.count("lang = ? AND year < ?", ("en", 1950))
    assert found > 0
    assert large.count({"lang": "en", "year": {"$lt": 1950}}) == found
    assert large.count((vecdb.col("lang") == "en") & (vecdb.col("year") < 1950)) == found
    assert large.count("TRUE") == large.count() == len(large)
    assert large.count("1 = 2") == 0
    with pytest.raises(vecdb.FilterError, match="year is int"):
        large.count("year = 'x'")


class Repeating(tzinfo):
    """A zone in the hour that it repeats when summer ends."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(hours=1 if when is not None and when.fold else 2)

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> None:
        return None


def test_the_two_times_of_a_repeated_hour_are_two_terms(db: vecdb.Database) -> None:
    """Python takes them for equal where they are of the same zone."""
    table = db.create_table("t", fields={"at": datetime, "all": list[datetime]}, indexes=["at", "all"])
    zone = Repeating()
    times = [datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=fold) for fold in (0, 1)]
    table.insert([0, 1], None, [{"at": time, "all": times} for time in times])
    for number, hour in enumerate((0, 1)):
        utc = datetime(2024, 10, 27, hour, 30, tzinfo=timezone.utc)
        assert [row.id for row in table.scan(where=vecdb.col("at") == utc)] == [number]
        assert table.count(vecdb.col("all").contains(utc)) == 2
    table.delete([0, 1])
    check_database(db)


def test_a_transaction_finds_its_own_rows_and_leaves_none_when_it_is_rolled_back(db: vecdb.Database) -> None:
    table = db.create_table("t", fields={"lang": str}, indexes=["lang"])
    table.insert(range(300), None, {"lang": ["en"] * 300})
    with pytest.raises(KeyError), db.transaction():
        table.insert(range(300, 600), None, {"lang": ["de"] * 300})
        with pytest.raises(ZeroDivisionError), db.transaction():
            table.update(list(range(200)), fields=[{"lang": "de"}] * 200)
            assert table.count("lang = 'de'") == 500
            raise ZeroDivisionError
        assert (table.count("lang = 'de'"), table.count("lang = 'en'")) == (300, 300)
        table.drop_index("lang")
        assert means_of(db, "lang = 'de'") == ("column lang",)
        raise KeyError
    assert (table.count("lang = 'de'"), table.count("lang = 'en'")) == (0, 300)
    assert table.indexes == ["lang"]


def test_an_index_in_a_transaction_is_rolled_back_with_it(db: vecdb.Database, large: vecdb.Table) -> None:
    before = terms_of(db)
    with pytest.raises(KeyError), db.transaction():
        large.create_index("year")
        assert means_of(db, "year = 1950") == ("index year",)
        raise KeyError
    assert "year" not in large.indexes
    assert terms_of(db) == before


def test_progress_of_a_new_index(large: vecdb.Table) -> None:
    told: list[tuple[int, int]] = []
    large.create_index("year", progress=lambda done, total: told.append((done, total)))
    assert [total for _, total in told] == [len(large)] * 3
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == len(large)
    assert large.indexes == ["lang", "year", "key", "tags"]


def test_a_dropped_index_leaves_nothing(db: vecdb.Database, large: vecdb.Table) -> None:
    other = db.create_table("other", fields={"n": int}, indexes=["n"])
    other.insert(1, None, {"n": 5})
    for name in large.indexes:
        large.drop_index(name)
    assert large.indexes == []
    assert len(terms_of(db)) == 1
    assert means_of(db, "lang = 'en'") == ("column lang",)
    db.drop_table("other")
    assert terms_of(db) == {}


def test_what_can_not_be_indexed(db: vecdb.Database) -> None:
    for indexes, message in [(["x"], "'x'"), (["n", "n"], "twice"), ("n", "list of names"), ([5], "5"), (None, "None")]:
        with pytest.raises(vecdb.FieldError, match=message):
            db.create_table("t", fields={"n": int}, indexes=indexes)  # type: ignore[arg-type]
    table = db.create_table("t", fields={"n": int}, indexes=["n"])
    for name in ("n", "x", None):
        with pytest.raises(vecdb.FieldError):
            table.create_index(name)  # type: ignore[arg-type]
    table.drop_index("n")
    for name in ("n", "x"):
        with pytest.raises(vecdb.FieldError):
            table.drop_index(name)
    assert db.create_table("t", fields={"n": int}, indexes=["n"], exist_ok=True).indexes == []


@pytest.mark.parametrize("kind", [str, int, float, bool, datetime, list[str], list[int], list[float], list[datetime]])
def test_a_field_declared_later_has_a_column_and_may_be_indexed(db: vecdb.Database, kind: Any) -> None:
    random = Random(3)
    (name,) = [name for name, declared in FIELDS.items() if declared == kind][:1]
    rows = [{name: random_row(random).get(name)} for _ in range(2 * BLOCK + 50)]
    table = db.create_table("t", fields={"first": int})
    table.insert(range(len(rows)), None, rows)
    table.add_field(name, kind)
    table.add_field("empty", kind)
    column = f"column {name}" if kind in (str, int, float, bool, datetime) else "rows"
    assert means_of(db, {name: {"$exists": True}}) == (column,)
    table.create_index(name)
    table.create_index("empty")
    assert means_of(db, {name: {"$exists": True}}) == (f"index {name}",)
    assert table.count({"empty": {"$exists": False}}) == len(rows)


def test_columns_grow_with_rows_that_come_one_by_one(db: vecdb.Database) -> None:
    table = db.create_table("t", fields={"n": int, "s": str}, indexes=["n"])
    for number in range(BLOCK + 2 * STEP):
        with db.transaction():
            table.insert(number, None, {"n": number % 10, "s": "x" * (number % 300)})
            if number % 3 == 0:
                table.delete(number // 2)
            if number % 5 == 0:
                table.upsert(number // 5, None, {"n": -1})
    assert means_of(db, "s = 'xxxx'") == ("column s",)
    assert table.count("n = -1") > 0


def test_long_texts_are_left_in_the_rows(db: vecdb.Database) -> None:
    table = db.create_table("t", fields={"text": str, "n": int})
    table.insert(range(BLOCK), None, [{"text": f"{number} {'x' * 200}", "n": number} for number in range(BLOCK)])
    assert means_of(db, "text LIKE '5%'") == ("column text", "rows")
    table.update(5, fields={"text": "short"})
    assert table.count("text = 'short'") == 1
    with db._view() as view:
        assert sum(len(payload) for _, payload in view.records.scan(Space.COLUMNS, b"")) < 4 * BLOCK


def test_damaged_terms_are_named(db: vecdb.Database, large: vecdb.Table) -> None:
    prefix = keys.terms_prefix(1, list(DECLARED).index("lang"))
    for key, payload, where in [
        (keys.term(prefix, b"\x06\xff\x00\x00", 0), b"\x00\x01\x00", "lang LIKE '%x%'"),
        (keys.term(prefix, encode("en"), 9), b"\x00\x01\x00", "lang = 'en'"),
        (keys.term(prefix, encode("en"), 0), b"\x07", "lang = 'en'"),
    ]:
        with pytest.raises(vecdb.CorruptionError, match="index"), db.transaction():
            writer = db._transactions.writer
            assert writer is not None
            writer.records.put(Space.TERMS, key, payload)
            large.count(where)
    with pytest.raises(vecdb.CorruptionError, match="index of 'lang'"), db.transaction():
        writer = db._transactions.writer
        assert writer is not None
        writer.records.delete(Space.TERMS, keys.term(prefix, encode("fr"), 0))
        large.delete(1)
