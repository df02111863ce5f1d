"""Filters find what one row after another would, whatever the indexes."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import vecdb
from tests.fields.random_tables import FIELDS, change_at_random, random_filter
from tests.oracles.invariants import check_database
from vecdb.fields.lookup import Found, evaluate
from vecdb.fields.schema import join_fields
from vecdb.filters.evaluate import compile_filter
from vecdb.filters.tree import Filter
from vecdb.mirror.view import View
from vecdb.storage import keys
from vecdb.storage.keys import Space
from vecdb.storage.rows import decode_row

CASES = 10_000
TABLES = 40


@pytest.mark.parametrize("seed", range(TABLES))
def test_random_filters_on_random_tables(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)
    # Small blocks, so that small tables have full ones; with and without what spares a look at few rows or many terms.
    for module in ("columns", "index", "lookup"):
        monkeypatch.setattr(f"vecdb.fields.{module}.BLOCK", 24)
    monkeypatch.setattr("vecdb.fields.columns.STEP", 8)
    monkeypatch.setattr("vecdb.fields.columns._BITS", 3)
    monkeypatch.setattr("vecdb.fields.columns._MAX_CHARACTERS", random.choice([300, 10_000]))
    monkeypatch.setattr("vecdb.fields.lookup._FEW", random.choice([0, 2, 16]))
    if random.random() < 0.5:
        for name in ("_TERMS_FOR_A_COLUMN", "_TERMS_FOR_A_BLOCK", "_TERMS_FOR_A_BLOCK_OF_TEXTS"):
            monkeypatch.setattr(f"vecdb.fields.lookup.{name}", 0)
    path = tmp_path / "random.vecdb"
    db = vecdb.connect(path, durability="normal")
    table = db.create_table("t", fields=FIELDS, indexes=[name for name in FIELDS if random.random() < 0.5])
    for round_number in range(4):
        for _ in range(3):
            change_at_random(db, table, random)
        if random.random() < 0.5:
            db.close()
            db = vecdb.connect(path, durability="normal")
            table = db.table("t")
        name = random.choice(list(FIELDS))
        (table.drop_index if name in table.indexes else table.create_index)(name)
        with db.transaction():
            if round_number % 2:
                change_at_random(db, table, random)
            with db._view() as view:
                for _ in range(CASES // TABLES // 4):
                    filter = random_filter(random, table.fields)
                    assert_found_all(view, filter)
    check_database(db)
    db.close()


def assert_found_all(view: View, filter: Filter) -> Found:
    """A filter finds just the slots whose rows it is true for."""
    table = view.find_table("t")
    test = compile_filter(filter)
    expected = []
    for key, payload in view.records.scan(Space.ROWS, keys.table_prefix(table.schema.table)):
        slot = keys.slot_of_row(key)
        row = decode_row(payload, table.schema, slot)
        if test(join_fields(table.schema, row.values, row.extra)) is True:
            expected.append(slot)
    found = evaluate(view.records, table, filter)
    assert found.slots.slots.tolist() == expected, f"{filter} by {found.means}"
    assert len(found.slots) == len(expected)
    return found
