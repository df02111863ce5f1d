"""Pages of the file that a commit gave up are used again by the next that needs many."""

from __future__ import annotations

from pathlib import Path

import vecdb

ROWS = 2000


def texts(turn: int) -> dict[str, list[str]]:
    return {"text": [f"{turn} {number} ".ljust(1000, "x") for number in range(ROWS)]}


def test_a_file_whose_rows_are_all_replaced_again_and_again_is_twice_its_rows(path: Path) -> None:
    """The old rows and the new ones: LMDB by itself would need room for those before the old ones, too."""
    with vecdb.connect(path) as db:
        table = db.create_table("t")
        table.insert(range(ROWS), None, texts(0))
        first = path.stat().st_size
        for turn in range(1, 7):
            version = db.version
            table.upsert(range(ROWS), None, texts(turn))
            assert db.version == version + 1
        assert path.stat().st_size <= 2.1 * first
        assert [row.fields["text"][0] for row in table.scan(limit=3)] == ["6"] * 3


def test_a_small_commit_after_a_large_one_uses_what_that_gave_up(path: Path) -> None:
    with vecdb.connect(path) as db:
        table = db.create_table("t")
        table.insert(range(ROWS), None, texts(0))
        table.upsert(range(ROWS), None, texts(1))
        before = path.stat().st_size
        for number in range(20):
            table.update(number, fields={"text": "small"})
        assert path.stat().st_size == before
