"""Print, as JSON, what a process holds before and after it opens a database and searches it:
`memory.py WARM_FILE FILE TABLE QUERIES.npy`.

The small file WARM_FILE is searched first, so that Python, the libraries and the compiled kernels are in memory
before the first reading; what comes after is the database's own.
"""

import gc
import json
import sys
from pathlib import Path

import numpy as np

import vecdb


def main(warm_file: str, file: str, table: str, queries_file: str) -> None:
    queries = np.load(queries_file)
    with vecdb.connect(warm_file, create=False) as warm:
        for query in queries:
            warm.table(table).search(query)
    before = resident()
    with vecdb.connect(file, create=False) as db:
        for query in queries:
            db.table(table).search(query)
        after = resident()
    print(json.dumps({"before": before, "after": after}))


def resident() -> dict[str, int]:
    """Bytes in memory: the process's own (anonymous) ones, and the mapped pages of files, which processes share."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: 1024 * int(size.split()[0]) for name, size in (line.split(":") for line in lines)}
    return {"own": sizes["Anonymous"], "mapped": sizes["Rss"] - sizes["Anonymous"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
