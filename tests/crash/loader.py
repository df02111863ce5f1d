"""A process that loads batches into a file until it is killed; it reports each batch whose insert returned."""

from __future__ import annotations

import sys

import numpy as np

import vecdb

DIM = 16
ROWS = 1000  # of a batch


def batch(number: int) -> np.ndarray:
    """The vectors of a batch: clustered a little, like real ones."""
    rng = np.random.default_rng(number)
    centres = np.random.default_rng(0).normal(size=(64, DIM))
    return (centres[rng.integers(64, size=ROWS)] + rng.normal(size=(ROWS, DIM)) / 2).astype(np.float32)


def main(path: str) -> None:
    with vecdb.connect(path) as db:
        table = db.create_table("t", dim=DIM, fields={"batch": int}, exist_ok=True)
        for number in range(len(table) // ROWS, 10**6):
            ids = range(number * ROWS, (number + 1) * ROWS)
            table.insert(ids, batch(number), {"batch": [number] * ROWS})
            print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
