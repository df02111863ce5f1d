"""Rows that are read several at once come as if they were read one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.maintenance.vandals import Vandal
from vecdb.storage import keys
from vecdb.storage.keys import Space

ROWS, DAMAGED = 100, 37


@pytest.mark.parametrize("deed", ["changed", "deleted"])
def test_a_damaged_row_is_told_when_its_turn_comes(tmp_path: Path, deed: str) -> None:
    path = tmp_path / "damaged.vecdb"
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=2, fields={"n": int, "m": int}, indexes=["n"])
        table.insert(range(ROWS), np.arange(1, 2 * ROWS + 1).reshape(ROWS, 2), [{"n": 0, "m": i} for i in range(ROWS)])
        number = table._number
    with Vandal(path) as vandal:
        if deed == "changed":
            vandal.put(Space.ROWS, keys.row(number, DAMAGED), b"\xc1")
        else:
            vandal.delete(Space.ROWS, keys.row(number, DAMAGED))
    with vecdb.connect(path) as db:
        table = db.table("t")
        for limit in (1, 2, 16, DAMAGED):
            assert [row.id for row in table.scan(where="n = 0", limit=limit)] == list(range(limit))
        with pytest.raises(vecdb.CorruptionError, match=str(DAMAGED)):
            list(table.scan(where="n = 0"))
        assert db.execute("SELECT id FROM t WHERE n = 0 LIMIT 3").fetchall() == [(0,), (1,), (2,)]
        with pytest.raises(vecdb.CorruptionError, match=str(DAMAGED)):
            table.search([1, 2], k=ROWS, exact=True)
