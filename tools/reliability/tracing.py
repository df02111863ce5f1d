"""strace: to kill or fail a process at its n-th write, and to record what it writes."""

from __future__ import annotations

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


def run(path: Path, fault: str, *, bug: str = "none") -> tuple[int, list[str]]:
    """Run the workload on a new file with a fault such as "writev:signal=SIGKILL:when=3"; its status and what it
    printed. `bug` is one to be planted."""
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={CALLS}", "-e", f"inject={fault}"]
    return _run([*command, *_workload(path, graph=False, bug=bug)])


def count_calls(path: Path) -> Counter[str]:
    """How many such calls the workload makes, by name: strace counts each for itself."""
    log = path.with_suffix(".trace")
    _run(["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={CALLS}", *_workload(path, graph=False)])
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
    log.unlink()
    return calls


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


def record(path: Path, *, graph: bool) -> tuple[bytes, list[Event]]:
    """The file as it was created, and everything that the workload then did to it."""
    import vecdb

    vecdb.connect(path).close()
    created = path.read_bytes()
    log = path.with_suffix(".trace")
    traced = "trace=pwrite64,pwritev,writev,lseek,fdatasync,fsync,write,openat"
    command = ["strace", "-f", "-qq", "-xx", "-y", "-s", str(1 << 28), "-o", str(log), "-e", traced]
    status, _ = _run([*command, *_workload(path, graph=graph)])
    assert status == 0, "the workload failed"
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


def _workload(path: Path, *, graph: bool, bug: str = "none") -> list[str]:
    return [sys.executable, "-m", "tools.reliability.workload", str(path), "graph" if graph else "plain", bug]


def _run(command: Sequence[str]) -> tuple[int, list[str]]:
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    return result.returncode, result.stdout.split()
