"""A process of `concurrency`: some threads that write or read until its standard input ends, or it is killed."""

from __future__ import annotations

import mmap
import sys
import threading
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import vecdb
from tools.reliability.rows import check, write
from vecdb.mirror.versions import Mirror

PLANTS: Final = ("stale", "torn")


class Board:
    """Shared memory in which each writer tells how many of its commits have returned."""

    def __init__(self, file: Path, writers: int) -> None:
        if not file.exists():
            file.write_bytes(bytes(8 * writers))
        with file.open("r+b") as opened:
            self._counts: NDArray[np.int64] = np.frombuffer(mmap.mmap(opened.fileno(), 8 * writers), np.int64)

    def tell(self, writer: int, count: int) -> None:
        self._counts[writer] = count

    def read(self) -> NDArray[np.int64]:
        return self._counts.copy()


def plant(bug: str) -> None:
    """Break vecdb, to see that it is noticed: a mirror that does not follow, one that follows by half."""
    if bug == "stale":
        follow = Mirror._match
        Mirror._match = lambda self, reader, retries: self.newest if self.columns else follow(self, reader, retries)  # type: ignore[method-assign]
    elif bug == "torn":
        Mirror._changes = lambda self, reader, versions: {}  # type: ignore[method-assign]


def main() -> None:
    role, path, board_file, first, names, bug = sys.argv[1:]
    numbers = [int(name) for name in names.split(",")]
    plant(bug)
    db = vecdb.connect(path, create=False, timeout=60)
    board = Board(Path(board_file), Path(board_file).stat().st_size // 8)
    stop = threading.Event()

    def act(number: int) -> None:
        rng = np.random.default_rng()
        seen, version = board.read(), 0
        try:
            while not stop.is_set():
                if role == "write":
                    board.tell(number, write(db, number, rng))
                    print("commit", flush=True)
                    continue
                seen = np.maximum(seen, board.read())
                with db.snapshot() as snap:
                    assert snap.version >= version, f"version {snap.version} after {version}"
                    version = snap.version
                    seen = check(snap, int(first), seen, rng)
                print("check", flush=True)
        except BaseException as error:
            print(f"problem {type(error).__name__}: {error}".replace("\n", " ")[:400], flush=True)

    threads = [threading.Thread(target=act, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    db.close()


if __name__ == "__main__":
    main()
