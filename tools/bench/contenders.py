"""The contenders of the curves: vecdb and its peers, asked for the same neighbours of the same queries."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

import vecdb
from tools.bench.curves import Contender
from tools.bench.datasets import Dataset
from tools.bench.exact import Rows
from tools.bench.peers import Index

VECDB: Final = "vecdb"


def vecdb_contender(table: vecdb.Table, dataset: Dataset, k: int, threads: int = 1) -> Contender:
    """`search_batch`; the time includes turning slots into ids."""
    return Contender(
        name_on(VECDB, threads),
        lambda ef: table.search_batch(dataset.queries, k, ef=ef, threads=threads),
        lambda found: rows_of(found, dataset),
    )


def peer_contender(name: str, index: Index, dataset: Dataset, k: int, threads: int = 1) -> Contender:
    return Contender(
        name_on(name, threads),
        lambda ef: index.search(dataset.queries, k, ef, threads),
        lambda labels: labels.astype(np.int64),
    )


def name_on(name: str, threads: int) -> str:
    """
    >>> name_on("vecdb", 1), name_on("vecdb", 2)
    ('vecdb', 'vecdb, 2 threads')
    """
    return name if threads == 1 else f"{name}, {threads} threads"


def rows_of(found: vecdb.BatchHits, dataset: Dataset) -> Rows:
    """Row numbers in the data set of what was found, -1 for padding."""
    numbers: dict[Any, int] = {identifier: row for row, identifier in enumerate(dataset.ids)}
    rows = np.array([[numbers.get(identifier, -1) for identifier in hits] for hits in found.ids], np.int64)
    rows[np.arange(rows.shape[1]) >= found.counts[:, None]] = -1
    return rows
