"""Random tables with every type of field, and random filters on them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from math import inf, isnan, nan
from random import Random
from typing import Any, get_args

import vecdb
from vecdb.errors import FilterError
from vecdb.filters import tree
from vecdb.filters.check import check_filter
from vecdb.filters.tree import Field, Filter, Value
from vecdb.filters.values import OPERATORS, to_scalar

LONG = "x" * 239
ZONES = [timezone.utc, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=11))]
DAYS = [datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2024, 2, 29), datetime(2024, 3, 1, 12), datetime(1, 1, 2)]
POOLS: dict[str, list[Any]] = {
    "str": ["", "a", "ab", "abc", "b", "B", "é", "\0", "a\0", "a\0b", "10%", "a_c", "%", LONG, LONG + "yz", LONG + "y",
            LONG + "éa", LONG + "éb", LONG + "xx", LONG + "xy" * 99],
    "int": [0, 1, -1, 2, 3, 4, 127, 128, -129, 40_000, 2**40, 2**53 + 1, 2**63 - 1, -(2**63)],
    "float": [0.0, -0.0, 1.0, 1.5, -1.5, 3.0, 1e300, -1e300, inf, -inf, nan, 5e-324, 2.0**53],
    "bool": [True, False],
    "datetime": [*DAYS, *(day.replace(tzinfo=zone) for day in DAYS for zone in ZONES)],
}  # fmt: skip
PATTERNS = ["%", "a%", "%a", "a_c", "_", "%b%", "abc", "", "x%", "%\\%", "A%", "é", LONG + "%", LONG + "x%",
            LONG + "é%"]  # fmt: skip
FIELDS: dict[str, Any] = {
    "s": str, "i": int, "f": float, "b": bool, "d": datetime, "ls": list[str], "li": list[int], "lf": list[float],
    "ld": list[datetime], "s2": str, "i2": int, "f2": float, "d2": datetime, "b2": bool,
}  # fmt: skip
METADATA = ["m", "x", "x.y", "none"]


def random_row(random: Random) -> dict[str, Any]:
    """Fields of a row; many are null or missing."""
    row = {}
    for name, kind in FIELDS.items():
        if random.random() < 0.2:
            continue
        items = get_args(kind)
        pool = POOLS[(*items, kind)[0].__name__]
        row[name] = random.choices(pool, k=random.randrange(4)) if items else random.choice(pool)
    if random.random() < 0.5:
        row["m"] = random.choice([None, *random.choice(list(POOLS.values())), [1, "a"]])
    if random.random() < 0.5:
        row["x"] = {"y": random.choice([None, *POOLS["str"], *POOLS["int"]])}
    return row


def change_at_random(db: vecdb.Database, table: vecdb.Table, random: Random) -> None:
    """Insert, upsert, update and delete rows of ids below 200, in transactions that may be rolled back in part."""
    try:
        with db.transaction():
            _change(table, random)
            try:
                with db.transaction():
                    _change(table, random)
                    _one_in(3, random)
            except KeyError:
                pass
            _change(table, random)
            _one_in(5, random)
    except KeyError:
        pass


def _one_in(cases: int, random: Random) -> None:
    if random.randrange(cases) == 0:
        raise KeyError


def _change(table: vecdb.Table, random: Random) -> None:
    ids = random.sample(range(200), random.randrange(1, 60))
    match random.randrange(5):
        case 0 | 1:
            table.upsert(ids, None, [random_row(random) for _ in ids])
        case 2:
            table.delete(ids[:20])
        case 3:
            there = [row.id for row in table.scan(fields=False) if row.id in set(ids)]
            table.update(there, fields=[random_row(random) for _ in there])
        case 4:
            table.insert(None, None, [random_row(random) for _ in ids[:5]])


def random_filter(random: Random, types: dict[str, str], depth: int = 2) -> Filter:
    """A checked filter, with AND, OR and NOT in any order."""
    if depth and random.random() < 0.5:
        inner = [random_filter(random, types, depth - 1) for _ in range(random.randrange(1, 4))]
        made = tree.conjunction(inner) if random.random() < 0.5 else tree.disjunction(inner)
        return ~made if random.random() < 0.3 else made
    while True:
        try:
            made = check_filter(_random_condition(random), types)
        except FilterError:
            continue
        return ~made if random.random() < 0.4 else made


def _random_condition(random: Random) -> Filter:
    name = random.choice([*FIELDS, *METADATA])
    field = Field(tuple(name.split(".")))
    kind = FIELDS.get(name, random.choice([str, int, float, bool, datetime]))
    pool = [
        value for value in POOLS[(*get_args(kind), kind)[0].__name__] if not (type(value) is float and isnan(value))
    ]
    value = _utc(random.choice(pool))
    make: list[Callable[[], Filter]] = [
        lambda: tree.compare(field, random.choice(list(OPERATORS)), Value(value)),
        lambda: tree.compare(field, random.choice(list(OPERATORS)), Field((random.choice(list(FIELDS)),))),
        lambda: tree.between(field, Value(value), Value(_utc(random.choice(pool)))),
        lambda: tree.is_in(field, [_utc(item) for item in random.choices(pool, k=random.randrange(4))]),
        lambda: tree.like(field, Value(random.choice(PATTERNS)), random.random() < 0.3),
        lambda: tree.contains(field, Value(value)),
        lambda: tree.is_null(field),
    ]
    return random.choice(make)()


def _utc(value: Any) -> Any:
    try:
        return to_scalar(value)
    except FilterError:  # its time in UTC is beyond the years 1 to 9999
        return to_scalar(DAYS[1])
