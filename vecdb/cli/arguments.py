"""Arguments that several commands take."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import numpy as np
from numpy.typing import NDArray

import vecdb

Command = TypeVar("Command", bound=Callable[..., Any])

FILE: Final = click.Path(path_type=Path)


def file_argument(command: Command) -> Command:
    return click.argument("file", type=FILE)(command)


def table_argument(command: Command) -> Command:
    return click.argument("table")(command)


def where_options(command: Command) -> Command:
    command = click.option(
        "--param", "params", multiple=True, help="A value for a ? in the filter, as JSON or else as text. Repeatable."
    )(command)
    return click.option("--where", help="A filter, such as \"lang = 'en' AND year > 2019\".")(command)


def open_to_read(file: Path) -> vecdb.Database:
    return vecdb.connect(file, create=False, readonly=True)


def open_to_write(file: Path, *, create: bool = False) -> vecdb.Database:
    return vecdb.connect(file, create=create)


def read_params(params: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Values for a filter; None where there are none."""
    return tuple(_value(text) for text in params) or None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def find_row(table: vecdb.Table, text: str, *, vectors: bool = False) -> vecdb.Row | None:
    """The row of an id that was typed: an int where there is such a row, else a str."""
    if text.lstrip("-").isdecimal():
        row = table.get(int(text), vectors=vectors) if abs(int(text)) < 2**63 else None
        if row is not None:
            return row
    return table.get(text, vectors=vectors)


def names_of(text: str | None) -> list[str] | None:
    return None if text is None else [name for name in text.split(",") if name]


def read_vector(text: str) -> NDArray[Any]:
    """A vector as a .npy or .json file, as `-` for JSON on the standard input, or as JSON itself."""
    if text.endswith(".npy"):
        try:
            array: NDArray[Any] = np.load(text, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise vecdb.VectorError(f"{text} can't be read: {error}") from error
        return array[0] if array.ndim == 2 and len(array) == 1 else array
    try:
        source = sys.stdin.read() if text == "-" else Path(text).read_text() if text.endswith(".json") else text
        return np.asarray(json.loads(source), np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise vecdb.VectorError(f"{text[:60]!r} is no vector, as JSON or as a file .npy or .json: {error}") from error
