"""Print, as JSON, what a process holds before and after it opens a file and searches it:
`memory.py LIBRARY NAME QUERIES.npy [WARM_FILE ...] FILE`, where NAME is vecdb's table or hnswlib's space.

Small files WARM_FILE are searched first, so that Python, the library and its compiled kernels are in memory before the
first reading; what comes after is the file's own.
"""

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def main(library: str, name: str, queries_file: str, *files: str) -> None:
    import_module(library)
    queries = np.load(queries_file)
    for warm_file in files[:-1]:
        with SEARCHED[library](warm_file, name, queries):
            pass
    before = resident()
    with SEARCHED[library](files[-1], name, queries):
        after = resident()
    print(json.dumps({"before": before, "after": after}))


@contextmanager
def searched_by_vecdb(file: str, table: str, queries: Any) -> Iterator[None]:
    import vecdb

    with vecdb.connect(file, create=False) as db:
        for query in queries:
            db.table(table).search(query)
        yield


@contextmanager
def searched_by_hnswlib(file: str, space: str, queries: Any) -> Iterator[None]:
    import hnswlib

    index = hnswlib.Index(space=space, dim=queries.shape[1])
    index.load_index(file)
    for query in queries:
        index.knn_query(query, 10, num_threads=1)
    yield


SEARCHED = {"vecdb": searched_by_vecdb, "hnswlib": searched_by_hnswlib}


def resident() -> dict[str, int]:
    """Bytes in memory: the process's own (anonymous) ones, and the mapped pages of files, which processes share."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: 1024 * int(size.split()[0]) for name, size in (line.split(":") for line in lines)}
    return {"own": sizes["Anonymous"], "mapped": sizes["Rss"] - sizes["Anonymous"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
