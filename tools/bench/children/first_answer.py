"""Open a database and answer one query: `first_answer.py FILE TABLE QUERY.npy`.

Prints the id of the nearest row, at which the parent stops its clock, then the seconds of each step as JSON.
"""

import json
import sys
import time


def main(file: str, table: str, query: str) -> None:
    start = time.perf_counter()
    import numpy as np

    import vecdb

    imported = time.perf_counter()
    db = vecdb.connect(file, create=False)
    opened = time.perf_counter()
    hits = db.table(table).search(np.load(query))
    answered = time.perf_counter()
    print(hits[0].id, flush=True)
    print(json.dumps({"imports": imported - start, "open": opened - imported, "search": answered - opened}))
    db.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
