"""Crash images: what a power cut may leave of a recorded workload. Writes before a sync are on the disk; of those after
the last one, any may be, whole or by sectors of 512 bytes."""

from __future__ import annotations

import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np

from tools.reliability import tracing
from tools.reliability.judge import Count, judge, remove, run_in_children, scratch_folder, tell
from tools.reliability.tracing import Acknowledged, Event, Sync, Write
from tools.reliability.workload import references
from vecdb.options import Durability

_SECTOR = 512


def crash(
    count: int, *, graph: bool = True, syncs: bool = True, durability: Durability = "full", seed: int = 0
) -> Count:
    """Judge so many images. Without `syncs`, the positive control, writes are held back across syncs as well, as on a
    disk that lies: commits must be found lost or broken. With the durability "normal", none is counted as lost."""
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as scratch:
        known = references(str(Path(scratch, "reference")), graph=graph)
        recorded = tracing.record(Path(scratch, "recorded"), graph=graph, durability=durability)
        Path(scratch, "recording").write_bytes(pickle.dumps((known, recorded)))
        arguments = [scratch, "syncs" if syncs else "lies", durability, str(seed)]
        return run_in_children("tools.reliability.images", arguments, count)


def _main(first: str, stop: str, scratch: str, mode: str, durability: str, seed: str) -> None:
    known, (created, events) = pickle.loads(Path(scratch, "recording").read_bytes())  # of our own, a moment ago
    starts = _starts(created, events)
    path = Path(scratch, f"image{first}-")
    for number in range(int(first), int(stop)):
        rng = np.random.default_rng([int(seed), number])
        place = number if number < len(events) else int(rng.integers(len(events)))
        image, acknowledged = _image(starts, events, place, rng, whole=number < len(events), syncs=mode == "syncs")
        path.write_bytes(image)
        one = Count(landed=1)
        judge(path, acknowledged if durability == "full" else 0, known, one)
        remove(path)
        tell(number, one)


Start = tuple[int, bytes, int]  # an event's number, what is on the disk before it for certain, the last acknowledged


def _starts(created: bytes, events: list[Event]) -> list[Start]:
    """The places after a sync."""
    content, pending, acknowledged = bytearray(created), list[Write](), 0
    found = [(0, bytes(content), 0)]
    for number, event in enumerate(events):
        if isinstance(event, Write):
            pending.append(event)
        elif isinstance(event, Acknowledged):
            acknowledged = event.version
        else:
            for write in pending:
                _apply(content, write.offset, write.data)
            pending.clear()
            found.append((number + 1, bytes(content), acknowledged))
    return found


def _image(
    starts: list[Start], events: list[Event], place: int, rng: np.random.Generator, *, whole: bool, syncs: bool
) -> tuple[bytes, int]:
    """The file after a cut before the event at `place`: with all writes so far, or with some."""
    usable = [start for start in starts if start[0] <= place]
    start = usable[-1] if syncs else usable[max(0, len(usable) - 6)]
    content, acknowledged = bytearray(start[1]), start[2]
    for event in events[start[0] : place]:
        if isinstance(event, Acknowledged):
            acknowledged = event.version
        elif isinstance(event, Sync) or not isinstance(event, Write):
            continue
        elif whole and syncs:
            _apply(content, event.offset, event.data)
        else:
            _apply_some(content, event, rng)
    return bytes(content), acknowledged


def _apply(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset + len(data):
        content.extend(bytes(offset + len(data) - len(content)))
    content[offset : offset + len(data)] = data


def _apply_some(content: bytearray, write: Write, rng: np.random.Generator) -> None:
    """All of a write, nothing, or some of its pages or sectors."""
    how = rng.integers(4)
    if how == 0:
        return
    if how == 1:
        _apply(content, write.offset, write.data)
        return
    step = _SECTOR if how == 2 else 4096
    for first in range(0, len(write.data), step):
        if rng.random() < 0.5:
            _apply(content, write.offset + first, write.data[first : first + step])


if __name__ == "__main__":
    _main(*sys.argv[1:])
