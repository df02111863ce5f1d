"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import click

from vecdb.maintenance.plain import to_plain
from vecdb.query.results import Row

Command = TypeVar("Command", bound=Callable[..., Any])

_WIDEST: Final = 60  # characters of a cell
_FEWEST_ROWS: Final = 50  # whose widths decide a table's columns, so that the rest can stream


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def progress_option(command: Command) -> Command:
    return click.option("--progress/--no-progress", default=None, help="Show a bar (the default on a terminal).")(
        command
    )


def wants_progress(given: bool | None) -> bool:
    return sys.stderr.isatty() if given is None else given


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


def print_facts(facts: dict[str, Any]) -> None:
    """A line for each."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {_cell(value)}")


def print_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows below the names of their columns; numbers are set to the right."""
    waiting: list[list[str]] = []
    widths: list[int] | None = None
    right = [True] * len(head)

    def line(cells: Sequence[str]) -> str:
        assert widths is not None
        parts = (
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, right, strict=True)
        )
        return "  ".join(parts).rstrip()

    def begin() -> None:
        nonlocal widths
        widths = [max(map(len, column)) for column in zip(head, *waiting, strict=True)]
        for cells in (head, ["-" * width for width in widths], *waiting):
            click.echo(line(cells))

    for row in rows:
        cells = [_cell(value) for value in row]
        if widths is not None:
            click.echo(line(cells))
            continue
        right = [
            was and isinstance(value, (int, float)) and not isinstance(value, bool)
            for was, value in zip(right, row, strict=True)
        ]
        waiting.append(cells)
        if len(waiting) == _FEWEST_ROWS:
            begin()
    if widths is None:
        begin()


def row_as_json(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {"id": row.id}
    if hasattr(row, "distance"):
        found["distance"] = row.distance
    found["fields"] = {name: to_plain(value) for name, value in row.fields.items()}
    if row.vectors is not None:
        found["vectors"] = {name: vector.tolist() for name, vector in row.vectors.items()}
    return found


def print_rows(rows: Iterable[Row], names: Sequence[str], *, as_json: bool, before: Sequence[str] = ()) -> None:
    """Rows with the fields of these names; `before` are attributes of a row that come between id and fields."""
    if as_json:
        for row in rows:
            print_json(row_as_json(row))
        return
    print_table(
        ["id", *before, *names],
        ([row.id, *(getattr(row, name) for name in before), *(row.fields.get(name) for name in names)] for row in rows),
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else str(value)
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
