"""strace: to kill or fail a process at its n-th write, and to record what it writes."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# What LMDB and vecdb write with.
CALLS: Final = "pwrite64,pwritev,writev,fdatasync,fsync,ftruncate"


def missing() -> str | None:
    """Why it can't be used here; None where it can."""
    if sys.platform != "linux":
        return "strace is of Linux"
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = subprocess.run(["strace", "-e", "trace=none", "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else "strace is not allowed to trace here"


class Forge:
    """A process that has everything imported, and forks one for each run of the workload: half a second sooner than to
    start it."""

    def __init__(self) -> None:
        self._process = _start([sys.executable, "-m", "tools.reliability.tracing"], stdin=subprocess.PIPE)

    def __enter__(self) -> Forge:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def run(self, path: Path, fault: str, *, bug: str = "none") -> tuple[int, list[str]]:
        """Run the workload on a new file with a fault such as "writev:signal=SIGKILL:when=3"; its status and what it
        printed. `bug` is one to be planted."""
        return self._ask(path, bug, ["-o", os.devnull, "-e", f"inject={fault}"])

    def count_calls(self, path: Path) -> Counter[str]:
        """How many calls that write the workload makes, by name: strace counts each for itself."""
        log = path.with_suffix(".trace")
        self._ask(path, "none", ["-o", str(log)])
        calls = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
        log.unlink()
        return calls

    def _ask(self, path: Path, bug: str, options: list[str]) -> tuple[int, list[str]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(path), bug, options]) + "\n")
        self._process.stdin.flush()
        status, words = json.loads(self._process.stdout.readline())
        return status, words


def _serve() -> None:
    """What the process of a `Forge` does."""
    from tools.reliability import workload  # noqa: F401  # for those that are forked

    for line in sys.stdin:
        path, bug, options = json.loads(line)
        print(json.dumps(_run_forked(path, bug, options)), flush=True)


def _run_forked(path: str, bug: str, options: list[str]) -> tuple[int, list[str]]:
    go_reader, go = os.pipe()
    output, said = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(output)
        _be_the_workload(path, bug, go_reader, said)
    os.close(go_reader)
    os.close(said)
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(child), "-e", f"trace={CALLS}", *options], stderr=subprocess.PIPE
    )
    assert tracer.stderr is not None
    attached = b"attached" in tracer.stderr.readline()
    with contextlib.suppress(BrokenPipeError):
        os.write(go, b"+" if attached else b"-")
    os.close(go)
    with os.fdopen(output) as text:
        words = text.read().split()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    tracer.stderr.close()
    tracer.wait()
    assert attached, "strace could not attach"
    return status, words


def _be_the_workload(path: str, bug: str, go: int, said: int) -> None:
    from tools.reliability import workload

    status = 1
    try:
        ctypes.CDLL(None).prctl(0x59616D61, -1, 0, 0, 0)  # PR_SET_PTRACER: where Yama lets only a parent trace
        os.dup2(said, 1)
        os.close(said)
        if os.read(go, 1) == b"+":
            status = workload.main(path, "plain", bug)
    finally:
        os._exit(status)


@dataclass(frozen=True)
class Write:
    offset: int
    data: bytes


@dataclass(frozen=True)
class Sync:
    """All writes before are on the disk when the next is made."""


@dataclass(frozen=True)
class Acknowledged:
    version: int


Event = Write | Sync | Acknowledged


def record(path: Path, *, graph: bool, durability: str) -> tuple[bytes, list[Event]]:
    """The file as it was created, and everything that the workload then did to it."""
    import vecdb

    vecdb.connect(path).close()
    created = path.read_bytes()
    log = path.with_suffix(".trace")
    traced = "trace=pwrite64,pwritev,writev,lseek,fdatasync,fsync,write,openat"
    command = ["strace", "-f", "-qq", "-xx", "-y", "-s", str(1 << 28), "-o", str(log), "-e", traced]
    workload = [str(path), "graph" if graph else "plain", "none", durability]
    process = _start([*command, sys.executable, "-m", "tools.reliability.workload", *workload])
    process.communicate()
    assert process.returncode == 0, "the workload failed"
    events = list(_parse(log, path))
    log.unlink()
    return created, events


def _parse(log: Path, path: Path) -> list[Event]:
    name = "".join(f"\\x{byte:02x}" for byte in str(path).encode())
    of_file = f"<{path}>", f"<{name}>"
    events: list[Event] = []
    places: dict[str, int] = {}  # of descriptors, where the next write goes
    synced_writes: set[str] = set()  # descriptors that sync each write, as LMDB writes meta pages with
    with log.open() as lines:
        for line in lines:
            call = re.match(r"\d+ +(\w+)\((.*)\) += (-?\w+)", line)
            if call is None:
                continue
            what, rest, result = call.groups()
            if what == "openat" and "O_DSYNC" in rest and any(item in line for item in of_file):
                synced_writes.add(result)
            elif what == "write" and rest.startswith("1<"):
                text = _bytes(rest.split('"')[1]).strip()
                if text.isdigit():
                    events.append(Acknowledged(int(text)))
            elif any(item in rest for item in of_file):
                descriptor = rest.split("<")[0]
                if what in ("fdatasync", "fsync"):
                    events.append(Sync())
                elif what == "lseek":
                    places[descriptor] = int(result)
                elif what in ("pwrite64", "pwritev", "writev"):
                    data = b"".join(_bytes(part) for part in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', rest))
                    offset = places[descriptor] if what == "writev" else int(rest.rsplit(", ", 1)[1], 0)
                    assert len(data) == int(result), "a write was cut short"
                    places[descriptor] = offset + len(data)
                    events.append(Write(offset, data))
                    if descriptor in synced_writes:
                        events.append(Sync())
    return events


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _start(command: Sequence[str], stdin: int | None = None) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        command, cwd=root, env=environment, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


if __name__ == "__main__":
    _serve()
