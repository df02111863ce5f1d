"""Users' own rows out of CSV, JSON Lines, JSON or NumPy's arrays, into a table."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import DatabaseNotFoundError, Error, FieldError, VectorError
from vecdb.progress import Progress, reporting
from vecdb.table import Table

_AT_ONCE: Final = 8192  # rows of a transaction
_TRUE: Final = frozenset(("true", "t", "yes", "y", "1"))
_FALSE: Final = frozenset(("false", "f", "no", "n", "0"))


@dataclass(frozen=True)
class Mapped:
    """Where in a file's rows things are."""

    id: str | None = "id"  # None: rows get ascending ints
    vectors: Mapping[str, str] = field(default_factory=dict)  # columns of vectors, by the file's names
    rename: Mapping[str, str] = field(default_factory=dict)  # fields, by the file's names
    only: frozenset[str] | None = None  # the file's names that are taken; None takes all


def import_rows(
    table: Table,
    rows: str | os.PathLike[str] | None,
    *,
    arrays: Mapping[str, str | os.PathLike[str]] | None = None,
    mapped: Mapped | None = None,
    replace: bool = False,
    progress: Progress = None,
) -> int:
    """Insert the rows of a file into a table; with `replace`, upsert them. Returns how many they were.

    `rows` is .csv, .tsv, .jsonl (or .ndjson) or .json, with names in its first line or in each object; None where there
    are vectors alone. `arrays` are .npy files by vector column, a line for each row. CSV has text only: it is read in
    the type of the declared field; an empty one is null. A row that does not fit is named by its number; no row of the
    batch it was in, of 8,192, is written then. Raises FieldError, VectorError, IdError or DuplicateIdError.
    """
    mapped = mapped or Mapped()
    loaded = {name: _load_array(file) for name, file in (arrays or {}).items()}
    lengths = {len(array) for array in loaded.values()}
    if len(lengths) > 1 or (rows is None and not lengths):
        raise VectorError("the arrays have different numbers of rows" if lengths else "there is nothing to import")
    source = Path(os.fsdecode(rows)) if rows is not None else None
    lines = iter([(number, {}) for number in range(max(lengths))]) if source is None else read_file(source)
    types = table.fields if source is not None and source.suffix.lower() in (".csv", ".tsv") else None
    done = 0
    with reporting(progress, max(lengths, default=0), f"import into {table.name}") as report:
        while batch := list(islice(lines, _AT_ONCE)):
            where = f"{source or 'the arrays'}, rows {batch[0][0]} to {batch[-1][0]}"
            taken = {name: array[done : done + len(batch)] for name, array in loaded.items()}
            if any(len(part) < len(batch) for part in taken.values()):
                raise VectorError(f"{where}: the arrays have {max(lengths)} rows only")
            _insert(table, batch, taken, mapped, types, where, replace=replace)
            done += len(batch)
            report(done)
    if lengths and done != max(lengths):
        raise VectorError(f"{source} has {done} rows, which are imported; the arrays have {max(lengths)}")
    return done


def _insert(
    table: Table,
    batch: list[tuple[int, dict[str, Any]]],
    arrays: dict[str, NDArray[Any]],
    mapped: Mapped,
    types: Mapping[str, str] | None,
    where: str,
    *,
    replace: bool,
) -> None:
    write = table.upsert if replace else table.insert
    try:
        ids = None
        if mapped.id is not None and any(mapped.id in row for _, row in batch):
            ids = [_take_id(row, mapped.id, number) for number, row in batch]
        vectors: dict[str, Any] = dict(arrays)
        for column, name in mapped.vectors.items():
            vectors[column] = [_vector(row.pop(name, None), name, number) for number, row in batch]
        fields = [_fields(row, mapped, types, number) for number, row in batch]
        if ids is None and not vectors and len(batch):
            write(None, None, fields)
        else:
            write(ids, vectors or None, fields)
    except Error as error:
        raise type(error)(f"{where}: {error}") from error


def _take_id(row: dict[str, Any], name: str, number: int) -> Any:
    if row.get(name) is None:
        raise FieldError(f"row {number} has no {name!r}")
    return row.pop(name)


def _vector(value: Any, name: str, number: int) -> Any:
    """Numbers as a list, or as text, in brackets or not, separated by commas or spaces; None where there are none."""
    if isinstance(value, str):
        text = value.strip().strip("[]").replace(",", " ")
        try:
            return [float(part) for part in text.split()] or None
        except ValueError as error:
            raise VectorError(f"row {number}: {name!r} is not a list of numbers: {error}") from error
    return value


def _fields(row: dict[str, Any], mapped: Mapped, types: Mapping[str, str] | None, number: int) -> dict[str, Any]:
    fields = {}
    for name, value in row.items():
        if mapped.only is not None and name not in mapped.only:
            continue
        target = mapped.rename.get(name, name)
        fields[target] = value if types is None else _of_text(value, types.get(target, "str"), target, number)
    return fields


def _of_text(text: str | None, kind: str, name: str, number: int) -> Any:
    """A CSV's text as a value of the type."""
    if text is None or (text == "" and kind != "str"):
        return None
    try:
        if kind.startswith("list["):
            return [_READERS[kind[5:-1]](part.strip()) for part in text.split("|")]
        return _READERS[kind](text)
    except ValueError as error:
        raise FieldError(f"row {number}: field {name!r} is {kind}, not {text[:60]!r}") from error


def _bool(text: str) -> bool:
    lower = text.lower()
    if lower not in _TRUE | _FALSE:
        raise ValueError(text)
    return lower in _TRUE


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _bool,
    "datetime": datetime.fromisoformat,
}


def read_file(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file, numbered from 1. Raises FieldError for what can't be read."""
    kind = source.suffix.lower()
    readers: dict[str, Callable[[Iterable[str]], Iterator[Any]]] = {
        ".csv": csv.DictReader,
        ".tsv": lambda lines: csv.DictReader(lines, delimiter="\t"),
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
        ".json": lambda lines: iter(json.loads("".join(lines))),
    }
    if kind not in readers:
        raise FieldError(f"{source} is of a kind that can't be imported; there are {', '.join(readers)}")
    try:
        with source.open(encoding="utf-8-sig", newline="" if kind in (".csv", ".tsv") else None) as lines:
            for number, row in enumerate(readers[kind](lines), start=1):
                if not isinstance(row, dict):
                    raise FieldError(f"{source}, row {number} is not an object: {str(row)[:60]}")
                if None in row:
                    raise FieldError(f"{source}, row {number} has more values than there are names")
                yield number, row
    except OSError as error:
        raise DatabaseNotFoundError(f"{source} can't be read: {error}") from error
    except (ValueError, TypeError, RecursionError, csv.Error) as error:
        raise FieldError(f"{source} can't be read as {kind}: {error}") from error


def _read_json_lines(lines: Iterable[str]) -> Iterator[Any]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error


def _load_array(file: str | os.PathLike[str]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DatabaseNotFoundError(f"there is no file {os.fsdecode(file)}") from error
    except (OSError, ValueError, EOFError) as error:
        raise VectorError(f"{os.fsdecode(file)} can't be read as an array: {error}") from error
    if array.ndim != 2:
        raise VectorError(f"{os.fsdecode(file)} has the shape {array.shape}; a matrix is needed, a line for each row")
    return array
