"""The contenders: vecdb, and the peers that are installed."""

from __future__ import annotations

import time
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

import vecdb
from tools.bench.curves import Contender
from tools.bench.datasets import Dataset
from tools.bench.exact import Rows
from vecdb.options import DEFAULT_EF_CONSTRUCTION, DEFAULT_M

VECDB = "vecdb"
HNSWLIB = "hnswlib"


def find_peer(name: str) -> ModuleType | None:
    """A peer's module, None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


def vecdb_contender(table: vecdb.Table, dataset: Dataset, k: int) -> Contender:
    """`search_batch` with one thread; the time includes turning slots into ids."""
    return Contender(
        VECDB,
        lambda ef: table.search_batch(dataset.queries, k, ef=ef, threads=1),
        lambda found: rows_of(found, dataset),
    )


def rows_of(found: vecdb.BatchHits, dataset: Dataset) -> Rows:
    """Row numbers in the data set of what was found, -1 for padding."""
    numbers: dict[Any, int] = {identifier: row for row, identifier in enumerate(dataset.ids)}
    rows = np.array([[numbers.get(identifier, -1) for identifier in hits] for hits in found.ids], np.int64)
    rows[np.arange(rows.shape[1]) >= found.counts[:, None]] = -1
    return rows


def build_hnswlib(hnswlib: Any, dataset: Dataset, threads: int) -> tuple[Any, float]:
    """An index of the same vectors, in memory, without ids, fields or a file; and the seconds it took."""
    start = time.perf_counter()
    index = hnswlib.Index(space=dataset.metric, dim=dataset.dim)
    index.init_index(len(dataset), M=DEFAULT_M, ef_construction=DEFAULT_EF_CONSTRUCTION)
    index.add_items(dataset.vectors, num_threads=threads)
    return index, time.perf_counter() - start


def hnswlib_contender(index: Any, dataset: Dataset, k: int) -> Contender:
    def search(ef: int) -> Any:
        index.set_ef(ef)
        return index.knn_query(dataset.queries, k, num_threads=1)[0]

    return Contender(HNSWLIB, search, lambda found: found.astype(np.int64))
