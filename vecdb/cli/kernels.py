"""Kernels before what is timed, so that times are vecdb's and not the compiler's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

import vecdb

_ROWS: Final = 2000  # enough for a graph


def compile_kernels(path: Path) -> None:
    """Use every kernel of inserts and searches, in a new database at `path`."""
    vectors = np.random.default_rng(0).standard_normal((_ROWS, 8), np.float32)
    with vecdb.connect(path, durability="normal") as db:
        table = db.create_table("warm_up", dim=8)
        table.insert(None, vectors)
        table.search(vectors[0])
        with db.transaction():
            table.delete([0])
            table.insert(None, vectors[:1])
            table.search(vectors[0])
