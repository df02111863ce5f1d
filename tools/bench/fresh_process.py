"""What can only be measured in a process of its own: start, import, memory.

Each figure is the median of several processes, after one that is not counted: it fills the cache of compiled kernels
and the operating system's cache of files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import vecdb
from tools.bench.fill import TABLE

_CHILDREN = Path(__file__).parent / "children"
_PROCESSES = 5


@dataclass(frozen=True)
class Start:
    """Seconds."""

    first_answer: float  # from the start of the process until the answer was read
    imports: float  # of it, vecdb and NumPy
    open: float  # of it, connect
    search: float  # of it, table() and search(), which need no kernels yet
    import_vecdb: float  # in a process that imports nothing else, NumPy included
    import_numpy: float


@dataclass(frozen=True)
class Memory:
    """Bytes in memory after opening the file and searching it, less those before. `own` is anonymous memory."""

    own: int
    mapped: int  # pages of files: they are shared between processes, and given back when memory is short
    before: int  # all of the process's memory before: Python, libraries, compiled kernels


def measure_start(file: Path, query: NDArray[np.float32]) -> Start:
    """Until the first answer on an existing file, measured from outside; imports are measured from inside."""
    query_file = file.with_suffix(".query.npy")
    np.save(query_file, query)
    answers = _repeat(lambda: _first_answer(file, query_file))
    return Start(
        first_answer=median(seconds for seconds, _ in answers),
        imports=median(steps["imports"] for _, steps in answers),
        open=median(steps["open"] for _, steps in answers),
        search=median(steps["search"] for _, steps in answers),
        import_vecdb=median(_repeat(lambda: float(_run("import_time.py", "vecdb")))),
        import_numpy=median(_repeat(lambda: float(_run("import_time.py", "numpy")))),
    )


def measure_memory(library: str, name: str, files: Sequence[Path], queries: NDArray[np.float32]) -> Memory | None:
    """Of the last file, in a process that has searched the ones before it; `children/memory.py` knows the libraries.

    None where the system does not tell a process's own memory from mapped files (all but Linux).
    """
    if not Path("/proc/self/smaps_rollup").exists():
        return None
    queries_file = files[-1].with_suffix(".queries.npy")
    np.save(queries_file, queries)
    readings = json.loads(_run("memory.py", library, name, queries_file, *files))
    before, after = readings["before"], readings["after"]
    return Memory(after["own"] - before["own"], after["mapped"] - before["mapped"], sum(before.values()))


def _first_answer(file: Path, query_file: Path) -> tuple[float, dict[str, float]]:
    start = time.perf_counter()
    with subprocess.Popen(
        _command("first_answer.py", file, TABLE, query_file), stdout=subprocess.PIPE, env=_environment(), text=True
    ) as child:
        assert child.stdout is not None
        answer = child.stdout.readline()
        seconds = time.perf_counter() - start
        rest = child.stdout.read()
    if child.returncode or not answer:
        raise RuntimeError("the process that should give a first answer failed; its message is above")
    return seconds, json.loads(rest)


def _run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        _command(script, *arguments), stdout=subprocess.PIPE, env=_environment(), text=True, check=True
    )
    return done.stdout


def _command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(_CHILDREN / script), *map(str, arguments)]


def _environment() -> dict[str, str]:
    """This process's, with the vecdb that it imported and, as an installed package has them, compiled modules."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return own | {"PYTHONPATH": str(Path(vecdb.__file__).parents[1])}


def _repeat(measure: Callable[[], Any]) -> list[Any]:
    measure()
    return [measure() for _ in range(_PROCESSES)]
