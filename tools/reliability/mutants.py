"""Mutated files: bytes, fields and pages changed at random, opened, read and checked in a process of its own."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import vecdb
from tools.reliability.judge import Count, remove, run_in_children, scratch_folder, tell
from tools.reliability.workload import DIM, run
from vecdb.maintenance.examine import examine
from vecdb.maintenance.report import Findings

_PAGE = 4096


def mutants(count: int, use: str, *, graph: bool = True, seed: int = 0) -> Count:
    """Judge so many. `landed` counts those in which something was found, `signals` the processes that died of one."""
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as scratch:
        original = Path(scratch, "original")
        run(str(original), lambda db: None, graph=graph)
        arguments = [str(original), str(seed), use]
        return run_in_children("tools.reliability.mutants", arguments, count)


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to four changes."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        pages = len(changed) // _PAGE
        page = int(rng.integers(pages)) * _PAGE if rng.random() < 0.8 else int(rng.integers(min(pages, 2))) * _PAGE
        how = rng.integers(8)
        if how == 0:
            changed[page : page + _PAGE] = bytes(_PAGE)
        elif how == 1:
            changed[page : page + _PAGE] = rng.bytes(_PAGE)
        elif how == 2:  # another page in its place
            other = int(rng.integers(pages)) * _PAGE
            changed[page : page + _PAGE] = changed[other : other + _PAGE]
        elif how == 3:  # the head of a page, or an offset of a node
            place = page + int(rng.integers(64))
            changed[place] = int(rng.integers(256))
        elif how == 4:
            changed[page + int(rng.integers(_PAGE))] ^= 1 << int(rng.integers(8))
        elif how == 5:  # a number: small, large, or negative
            place = page + int(rng.integers(_PAGE // 8)) * 8
            number = int(rng.choice([0, 1, 2, 255, 65535, 2**31, 2**63 - 1]))
            changed[place : place + 8] = number.to_bytes(8, "little")
        elif how == 6:
            place = page + int(rng.integers(_PAGE))
            changed[place : place + 40] = rng.bytes(40)[: len(changed) - place]
        else:
            del changed[max(2 * _PAGE, page) :]
    return bytes(changed)


def _main(first: str, stop: str, original: str, seed: str, use: str) -> None:
    content = Path(original).read_bytes()
    path = Path(original).with_name(f"mutant{first}-")
    work = {"check": _check, "recover": _recover, "open": _open}[use]
    for number in range(int(first), int(stop)):
        path.write_bytes(mutate(content, np.random.default_rng([int(seed), number])))
        found = work(path)
        remove(path)
        tell(number, Count(runs=1, landed=int(bool(found)), others=Counter(found)))


def _check(path: Path) -> set[str]:
    """The kinds of problems."""
    findings = Findings()
    examine(str(path), "full", findings, lambda done, total: None, lambda: None)
    return {problem.kind for problem in findings.problems}


def _recover(path: Path) -> set[str]:
    try:
        recovery = vecdb.recover(path, path.with_name(path.name + "-recovered"))
    except vecdb.BackupError:
        return {"nothing to save"}
    return {"saved"} if sum(table.rows for table in recovery.tables.values()) else {"nothing saved"}


def _open(path: Path) -> set[str]:
    """The errors that a user meets."""
    met: set[str] = set()

    def attempt(work: Callable[[], object]) -> None:
        try:
            work()
        except vecdb.Error as error:
            met.add(type(error).__name__)

    def use() -> None:
        with vecdb.connect(path) as db:
            for name in db.tables():
                table = db.table(name)
                attempt(lambda table=table: table.search(np.ones(DIM), k=5))  # type: ignore[misc]
                attempt(lambda table=table: list(table.scan(vectors=True)))  # type: ignore[misc]
                attempt(lambda table=table: table.count("year > 10 OR lang = 'de'"))  # type: ignore[misc]
                attempt(lambda table=table: table.insert("new", np.ones(DIM)))  # type: ignore[misc]

    attempt(use)
    return met


if __name__ == "__main__":
    _main(*sys.argv[1:])
