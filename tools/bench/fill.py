"""A data set in a database file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import vecdb
from tools.bench.datasets import Dataset

TABLE = "bench"
_WARM_ROWS = 2048  # enough for a graph


def fill(file: Path, dataset: Dataset, batch: int, indexes: Sequence[str] = ()) -> float:
    """Create the file and insert every row, with its fields, so many at once. Returns the seconds of it all.

    Each batch is a commit that is synced to the disk before the next begins, as `durability="full"` has it.
    """
    start = time.perf_counter()
    with vecdb.connect(file) as db:
        table = db.create_table(TABLE, dim=dataset.dim, metric=dataset.metric, fields=dataset.declared, indexes=indexes)
        insert(table, dataset, 0, len(dataset), batch)
    return time.perf_counter() - start


def insert(table: vecdb.Table, dataset: Dataset, first: int, stop: int, batch: int) -> None:
    """Insert the rows `first` to `stop`, so many at once."""
    for start in range(first, stop, batch):
        part = slice(start, min(start + batch, stop))
        fields = None if dataset.fields is None else dataset.fields[part]
        table.insert(dataset.ids[part], dataset.vectors[part], fields)


def warm_up(file: Path, dataset: Dataset) -> None:
    """Compile every kernel that is timed later, or load it from the cache, on a small file of the same kind."""
    rows = min(_WARM_ROWS, len(dataset))
    with vecdb.connect(file) as db:
        table = db.create_table(TABLE, dim=dataset.dim, metric=dataset.metric, fields=dataset.declared)
        insert(table, dataset, 0, rows - 1, rows)
        insert(table, dataset, rows - 1, rows, 1)
        table.search(dataset.queries[0])
        table.search_batch(dataset.queries, threads=1)
