"""Another process that writes, told what on its standard input; it answers each line with one of JSON.

`rows N`: N new rows in one transaction. `flood S`: single rows for S seconds. `bulk N`: N rows into a table of their
own, in one transaction.
"""

import json
import sys
import time

import numpy as np

import vecdb

file, name, vectors_file, who = sys.argv[1:]
vectors = np.load(vectors_file, mmap_mode="r")
rng = np.random.default_rng(abs(hash(who)) % 2**32)


def insert(table: vecdb.Table, count: int) -> None:
    """Rows near those of the data set."""
    made = len(ids)
    chosen = vectors[rng.integers(len(vectors), size=count)] + rng.normal(0, 0.01, (count, vectors.shape[1]))
    ids.extend(f"{who} {number}" for number in range(made, made + count))
    table.insert(ids[made:], chosen.astype(np.float32))


with vecdb.connect(file, create=False, timeout=60) as db:
    table = db.table(name)
    ids: list[str] = []
    insert(table, 1)  # loads the column and the kernels
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        what, amount = line.split()
        before, start, cpu = len(ids), time.perf_counter(), time.process_time()
        if what == "rows":
            insert(table, int(amount))
        elif what == "flood":
            while time.perf_counter() < start + float(amount):
                insert(table, 1)
        else:
            bulk = db.create_table(f"bulk of {who}", dim=vectors.shape[1], metric=table.vectors["vector"].metric)
            bulk.insert(None, vectors[: int(amount)].astype(np.float32))
        seconds = time.perf_counter() - start
        answer = {"rows": len(ids) - before, "seconds": seconds, "cpu": time.process_time() - cpu}
        print(json.dumps(answer), flush=True)
    print(json.dumps(len(ids)), flush=True)
