"""Commits that are the same in every run, so that the content of each version is known. A program of its own: it prints
the version after each commit that returned."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np

import vecdb
from vecdb.options import Durability
from vecdb.storage.environment import Environment
from vecdb.storage.header import State
from vecdb.storage.keys import Space
from vecdb.storage.view import Changes

DIM = 4
Result = TypeVar("Result")


def digest(db: vecdb.Database) -> str:
    """Of every record of the newest commit but the header, which has random numbers; all checksums are verified."""
    whole = hashlib.blake2b(digest_size=16)
    with db._view() as view:
        for space in Space:
            if space is not Space.HEADER:
                whole.update(space.value)
                for key, payload in view.records.scan(space, b""):
                    whole.update(key)
                    whole.update(payload)
    return whole.hexdigest()


def commits(db: vecdb.Database, *, graph: bool) -> Iterator[Callable[[], object]]:
    """What to do, a commit each."""
    rng = np.random.default_rng(1)
    fields: dict[str, object] = {"lang": str, "year": int}
    yield lambda: db.create_table("notes", dim=DIM, fields=fields, indexes=["lang"])
    yield lambda: db.create_table("pages", dim=DIM, metric="l2")
    notes, pages = db.table("notes"), db.table("pages")
    rows = 1100 if graph else 60
    vectors = rng.normal(size=(rows, DIM))
    yield lambda: notes.insert(range(rows), vectors, {"lang": ["en", "de"] * (rows // 2), "year": list(range(rows))})
    for number in range(6):
        vector = rng.normal(size=DIM)
        text = "x" * (1000 * number)

        def both(number: int = number, vector: np.ndarray = vector, text: str = text) -> None:
            with db.transaction():
                notes.upsert(f"n{number}", vector, {"lang": "fr", "text": text})
                pages.insert(None, [vector, vector + 1], [{"of": number}, {"of": number}])

        yield both
        yield lambda number=number: notes.delete([number, number + 10])  # type: ignore[misc]
        yield lambda number=number: notes.update(20 + number, fields={"year": -number})  # type: ignore[misc]
    yield lambda: notes.create_index("year")
    yield lambda: db.drop_table("pages")


def run(path: str, done: Callable[[vecdb.Database], None], *, graph: bool, durability: Durability = "full") -> None:
    with vecdb.connect(path, durability=durability) as db:
        for commit in commits(db, graph=graph):
            commit()
            done(db)


def insist(path: str, done: Callable[[vecdb.Database], None]) -> None:
    """The same by a program that does what failed once more, and looks at the file in between."""
    with _again(lambda: vecdb.connect(path)) as db:
        for commit in commits(db, graph=False):
            _again(commit, partial(_check_whole, db, db.version))
            done(db)


def _again(call: Callable[[], Result], between: Callable[[], None] = lambda: None) -> Result:
    try:
        return call()
    except (vecdb.StorageIOError, vecdb.StorageFullError) as error:
        print(type(error).__name__, flush=True)
    between()
    return call()


def _check_whole(db: vecdb.Database, version: int) -> None:
    """Nothing is left of the commit that failed, and what was there before it can be read."""
    assert db.version == version
    digest(db)
    for name in db.tables():
        table = db.table(name)
        assert len(table) == 0 or table.search(np.ones(DIM), k=1)[0].id is not None


def references(path: str, *, graph: bool) -> dict[int, str]:
    """The digest of each version."""
    found: dict[int, str] = {}
    with vecdb.connect(path) as db:
        found[0] = digest(db)
    run(path, lambda db: found.update({db.version: digest(db)}), graph=graph)
    return found


def plant(bug: str) -> None:
    """Make vecdb break a promise, to see that the harness notices."""
    if bug == "two transactions":
        write = Environment._write_once

        def write_twice(self: Environment, changes: Changes, base: State) -> None:
            write(self, {Space.ROWS: changes[Space.ROWS]}, base)
            write(self, {space: records for space, records in changes.items() if space is not Space.ROWS}, base)

        Environment._write_once = write_twice  # type: ignore[method-assign]


def main(path: str, graph: str, bug: str, durability: Durability = "full") -> int:
    """The workload, which tells each version that was committed."""
    plant(bug)
    try:
        if bug == "early word":
            with vecdb.connect(path) as db:
                for version, commit in enumerate(commits(db, graph=False), start=1):
                    print(version, flush=True)
                    commit()
            return 0
        if bug == "insist":
            insist(path, lambda db: print(db.version, flush=True))
            return 0
        run(path, lambda db: print(db.version, flush=True), graph=graph == "graph", durability=durability)
    except vecdb.Error as error:
        print(type(error).__name__, flush=True)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))  # type: ignore[arg-type]
