"""A file with everything in it, and ways to spoil it that leave every checksum right."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

import vecdb
from vecdb.storage import keys
from vecdb.storage.keys import Space
from vecdb.storage.records import pack, seal, unpack

DIM, ROWS = 16, 1500
Rng = np.random.Generator


def fill(place: Path) -> None:
    """Graph, codes, journal, deleted rows, indexes, two columns, missing vectors, float16, every type of field."""
    rng = np.random.default_rng(5)
    with vecdb.connect(place) as db:
        fields: dict[str, object] = {
            "lang": str, "year": int, "score": float, "done": bool, "at": datetime, "tags": list[str],
        }  # fmt: skip
        table = db.create_table("notes", dim=DIM, fields=fields, indexes=["lang", "year", "tags"])
        table.insert(
            [f"n{number}" if number % 3 else number for number in range(ROWS)],
            rng.normal(size=(ROWS, DIM)),
            [row_fields(number) for number in range(ROWS)],
        )
        for number in range(20):  # small commits: they write the journal
            table.insert(f"late{number}", rng.normal(size=DIM), row_fields(number))
        table.delete([f"n{number}" for number in range(1, 300, 7)])
        photos = db.create_table(
            "photos",
            vectors={"a": vecdb.Vector(4, metric="l2", dtype="float16"), "b": vecdb.Vector(8, metric="ip")},
            fields={"album": str},
        )
        photos.insert(range(40), {"a": rng.normal(size=(40, 4)), "b": [None, rng.normal(size=8)] * 20})
        photos.delete(range(5))


def row_fields(number: int) -> dict[str, Any]:
    zone = timezone(timedelta(hours=number % 5)) if number % 2 else None
    return {
        "lang": ["en", "de", None, "fr"][number % 4],
        "year": 1990 + number % 40,
        "score": [number / 7, None, float("nan")][number % 3],
        "done": number % 5 == 0,
        "at": datetime(2020, 1, 1, tzinfo=zone) + timedelta(days=number),
        "tags": [f"t{tag}" for tag in range(number % 4)],
        "title": f"rides along {number}",
    }


class Vandal:
    """An open file whose records can be replaced."""

    def __init__(self, place: Path) -> None:
        self.environment = lmdb.open(str(place), subdir=False, max_dbs=32, map_size=1 << 28, lib_version=0)
        self.spaces = {space: self.environment.open_db(space.value, create=False) for space in Space}

    def __enter__(self) -> Vandal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.environment.close()

    def keys(self, space: Space, prefix: bytes = b"") -> list[bytes]:
        with self.environment.begin() as transaction:
            return [key for key, _ in transaction.cursor(self.spaces[space]) if key.startswith(prefix)]

    def get(self, space: Space, key: bytes) -> bytes:
        with self.environment.begin() as transaction:
            return bytes(transaction.get(key, db=self.spaces[space]) or b"")[:-4]

    def put(self, space: Space, key: bytes, payload: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            transaction.put(key, seal(key, payload), db=self.spaces[space])

    def delete(self, space: Space, key: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            assert transaction.delete(key, db=self.spaces[space])

    def change_numbers(self, space: Space, key: bytes, kind: str, change: Callable[[np.ndarray], object]) -> None:
        numbers = np.frombuffer(self.get(space, key), kind).copy()
        change(numbers)
        self.put(space, key, numbers.tobytes())

    def change_record(self, slot: int, change: Callable[[np.ndarray], object]) -> None:
        """Of the base layer of notes: in its block, with the journal's entries gone."""
        width, per_block = 2 + 5 * 16 // 2, 24
        for entry in self.keys(Space.JOURNAL, keys.table_prefix(1)):
            self.delete(Space.JOURNAL, entry)
        key = keys.block(1, 1, slot // per_block)
        payload = bytearray(self.get(Space.LINKS, key))
        record = np.frombuffer(payload, "<i4", offset=8)[(slot % per_block) * width :][:width]
        change(record)
        self.put(Space.LINKS, key, bytes(payload))

    def change_counters(self, change: Callable[[list[Any]], object], table: int = 1) -> None:
        key = keys.counters(table)
        counters = unpack(self.get(Space.CATALOG, key), "counters")
        change(counters)
        self.put(Space.CATALOG, key, pack(counters))

    def change_row(self, slot: int, change: Callable[[list[Any]], object]) -> None:
        key = keys.row(1, slot)
        row = unpack(self.get(Space.ROWS, key), "row")
        change(row)
        self.put(Space.ROWS, key, pack(row))


def _swap(vandal: Vandal, space: Space, first: bytes, second: bytes) -> None:
    one, two = vandal.get(space, first), vandal.get(space, second)
    vandal.put(space, first, two)
    vandal.put(space, second, one)


def _flip(place: int) -> Callable[[np.ndarray], object]:
    return lambda numbers: numbers.__setitem__(place, numbers[place] ^ 1)


def _set(place: int, value: int) -> Callable[[np.ndarray], object]:
    return lambda numbers: numbers.__setitem__(place, value)


def _unlink(record: np.ndarray) -> None:
    record[2:] = -1


def _isolate_with_parent(record: np.ndarray) -> None:
    record[0] = -1


ID0 = keys.row_id(1, 0)
ID3 = keys.row_id(1, 3)
LIVE_ROWS = keys.block(1, keys.ROWS_LIVE, 0)
LIVE = keys.block(1, 1, 0)

# What spoils a file: its name, and the kind of problem that is told of it. None of them is seen by a checksum.
DEEDS: dict[str, tuple[str, Callable[[Vandal], object]]] = {
    "an id is gone": ("id", lambda v: v.delete(Space.IDS, ID0)),
    "two ids are swapped": ("id", lambda v: _swap(v, Space.IDS, ID0, ID3)),
    "an id of no row": ("id", lambda v: v.put(Space.IDS, keys.row_id(1, "none"), struct.pack(">I", 7))),
    "a row is gone": ("live", lambda v: v.delete(Space.ROWS, keys.row(1, 4))),
    "two rows are swapped": ("id", lambda v: _swap(v, Space.ROWS, keys.row(1, 3), keys.row(1, 4))),
    "a row past the slots": ("row", lambda v: v.put(Space.ROWS, keys.row(1, 10**6), v.get(Space.ROWS, keys.row(1, 3)))),
    "a row of nonsense": ("row", lambda v: v.put(Space.ROWS, keys.row(1, 4), b"\xc1")),
    "a row of another field's type": ("term", lambda v: v.change_row(4, lambda row: row[3].__setitem__(1, 1700))),
    "a field differs from its column": ("column", lambda v: v.change_row(6, lambda row: row[3].__setitem__(3, True))),
    "a row that lacks its vector": ("live", lambda v: v.change_row(4, lambda row: row.__setitem__(2, 0))),
    "a live bit of rows": ("live", lambda v: v.change_numbers(Space.LIVE, LIVE_ROWS, "u1", _flip(2))),
    "a live bit of a column": ("blocks", lambda v: v.change_numbers(Space.LIVE, LIVE, "u1", _flip(2))),
    "live bits are gone": ("live", lambda v: v.delete(Space.LIVE, LIVE_ROWS)),
    "a posting is gone": ("term", lambda v: v.delete(Space.TERMS, v.keys(Space.TERMS, keys.terms_prefix(1, 1))[3])),
    "a posting too many": (
        "term",
        lambda v: v.put(Space.TERMS, keys.term(keys.terms_prefix(1, 0), b"\x06xx\0\0", 0), b"\0\1\0"),
    ),
    "a block of a field is gone": ("column", lambda v: v.delete(Space.COLUMNS, keys.column_block(1, 1, 0))),
    "a block of a field is another's": (
        "column",
        lambda v: v.put(Space.COLUMNS, keys.column_block(1, 1, 0), v.get(Space.COLUMNS, keys.column_block(1, 3, 0))),
    ),
    "the counter of rows": ("catalog", lambda v: v.change_counters(lambda c: c.__setitem__(1, c[1] - 1))),
    "the counter of ids": ("catalog", lambda v: v.change_counters(lambda c: c.__setitem__(2, 1))),
    "the counter of texts": ("catalog", lambda v: v.change_counters(lambda c: c.__setitem__(3, c[3] - 1))),
    "the counter of the dead": ("blocks", lambda v: v.change_counters(lambda c: c[4]["1"].__setitem__(8, 0))),
    "the entry point": ("links", lambda v: v.change_counters(lambda c: c[4]["1"].__setitem__(4, c[4]["1"][4] ^ 1))),
    "the layer of the entry point": ("links", lambda v: v.change_counters(lambda c: c[4]["1"].__setitem__(3, 40))),
    "no entry point": ("links", lambda v: v.change_counters(lambda c: c[4]["1"].__setitem__(slice(3, 5), [-1, -1]))),
    "a counter of nonsense": ("catalog", lambda v: v.change_counters(lambda c: c.__setitem__(0, "x"))),
    "counters are gone": ("catalog", lambda v: v.delete(Space.CATALOG, keys.counters(2))),
    "a definition is gone": ("structure", lambda v: v.delete(Space.CATALOG, keys.definition(2))),
    "a link to itself": ("links", lambda v: v.change_record(700, _set(2, 700))),
    "a link to nowhere": ("blocks", lambda v: v.change_record(700, _set(2, 10**6))),
    "a link twice": ("links", lambda v: v.change_record(700, lambda record: record.__setitem__(3, record[2]))),
    "a list with a gap": ("links", lambda v: v.change_record(700, _set(2, -1))),
    "a node without links": ("links", lambda v: v.change_record(700, _unlink)),
    "a parent above": ("links", lambda v: v.change_record(700, _set(0, 900))),
    "a parent that is no neighbour": ("links", lambda v: v.change_record(700, _set(0, 0))),
    "a tree of its own": ("links", lambda v: v.change_record(700, _isolate_with_parent)),
    "an upper entry of another": ("links", lambda v: v.change_record(700, _set(1, 0))),
    "an upper entry without a layer below": (
        "blocks",
        lambda v: v.change_numbers(Space.UPPER, keys.block(1, 1, 0), "<i4", _set(1, 9)),
    ),
    "upper entries are gone": ("blocks", lambda v: v.delete(Space.UPPER, keys.block(1, 1, 0))),
    "links are gone": ("blocks", lambda v: v.delete(Space.LINKS, keys.block(1, 1, 2))),
    "a record of no table": ("structure", lambda v: v.put(Space.ROWS, keys.row(9, 1), b"x")),
}

# The slow oracle does not look at these: what it does not read, and what it does not compare.
UNSEEN_BY_THE_ORACLE: dict[str, tuple[str, Callable[[Vandal], object]]] = {
    "codes of another vector": (
        "codes",
        lambda v: v.change_numbers(Space.CODES, keys.block(1, 1, 0), "u1", lambda codes: codes.__iadd__(77)),
    ),
    "vectors are gone": ("blocks", lambda v: v.delete(Space.VECTORS, keys.block(1, 1, 1))),
    "vectors of the wrong length": ("blocks", lambda v: v.put(Space.VECTORS, keys.block(1, 1, 1), b"x")),
    "a vector that is none": (
        "vector",
        lambda v: v.change_numbers(Space.VECTORS, keys.block(1, 1, 0), "<f4", lambda x: x.__setitem__(5, np.nan)),
    ),
    "a gap in the log": ("changes", lambda v: v.delete(Space.CHANGES, keys.change(5))),
    "the state of nonsense": ("header", lambda v: v.put(Space.HEADER, keys.STATE, b"\xc1")),
}
