"""Tables for readers, JSON for programs, progress for the impatient."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ABSENT = "-"


@dataclass(frozen=True)
class Run:
    """What was run, when, and on which machine."""

    subject: str
    command: str
    date: str
    machine: dict[str, str]


def progress(message: str) -> None:
    print(f"... {message}", file=sys.stderr, flush=True)


def facts(title: str, rows: Mapping[str, str]) -> str:
    """A title, and lines of a label and a value.

    >>> print(facts("A file", {"rows": "12", "bytes a row": "30"}))
    A file
      rows         12
      bytes a row  30
    """
    width = max(map(len, rows), default=0)
    return "\n".join([title, *(f"  {label:<{width}}  {value}" for label, value in rows.items())])


def grid(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A title and a table, its columns aligned to the right.

    >>> print(grid("Speed", ["ef", "q/s"], [["10", "1,000"], ["100", "200"]]))
    Speed
       ef    q/s
       10  1,000
      100    200
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def whole(number: float | None) -> str:
    return ABSENT if number is None else f"{number:,.0f}"


def times(ratio: float | None) -> str:
    return ABSENT if ratio is None else f"{ratio:.2f}"


def seconds(value: float) -> str:
    """
    >>> seconds(12.34), seconds(0.0123), seconds(0.0000345)
    ('12.3 s', '12.30 ms', '34.5 µs')
    """
    if value >= 1:
        return f"{value:.1f} s"
    return f"{1e3 * value:.2f} ms" if value >= 1e-3 else f"{1e6 * value:.1f} µs"


def megabytes(value: int) -> str:
    return f"{value / 2**20:,.1f} MiB"


def write_json(path: Path, run: Run, results: Mapping[str, Any]) -> None:
    """Every figure, unrounded, in seconds and bytes."""
    document = asdict(run) | {"datasets": {name: asdict(result) for name, result in results.items()}}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
