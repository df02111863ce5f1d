"""A process that replaces the oldest rows, repairs the graph and packs the file, until it is killed; it prints the
oldest row's id."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import vecdb

DIM, ROWS, ROUND = 8, 3000, 500


def vectors(first: int, count: int) -> np.ndarray:
    return np.random.default_rng(first).normal(size=(count, DIM)).astype(np.float32)


def churn(path: Path) -> None:
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=DIM, metric="l2", exist_ok=True)
        if not len(table):
            table.insert(range(ROWS), vectors(0, ROWS))
        oldest = next(int(row.id) for row in table.scan(fields=False, limit=1))
        while True:
            print(oldest, flush=True)
            with db.transaction():
                table.insert(range(oldest + ROWS, oldest + ROWS + ROUND), vectors(oldest + ROWS, ROUND))
                table.delete(range(oldest, oldest + ROUND))
            oldest += ROUND
            table.vacuum()
            if oldest // ROUND % 2:
                db.compact()


if __name__ == "__main__":
    churn(Path(sys.argv[1]))
