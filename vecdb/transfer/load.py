"""A database of a dump. Every line and every array is checked before the database gets its name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.database import Database, connect
from vecdb.errors import BackupError, DatabaseError, DatabaseNotFoundError, Error
from vecdb.fields.schema import constrain_field, declare_fields, declare_table
from vecdb.maintenance.backup import check_destination, draft_for, finish_draft
from vecdb.maintenance.dump import FORMAT, FORMAT_VERSION, ROWS_FILE, SCHEMA_FILE
from vecdb.maintenance.plain import from_plain
from vecdb.mirror.writer import Writer
from vecdb.options import Vector
from vecdb.progress import Progress, reporting
from vecdb.table import Table
from vecdb.transfer.kinds import python_type

_AT_ONCE: Final = 16_384  # rows of a transaction


def load(src: str | os.PathLike[str], path: str | os.PathLike[str], *, progress: Progress = None) -> str:
    """Make a database at `path`, where nothing is, of a dump's folder; returns the path.

    Everything is checked as an insert would: a value, vector or id that does not fit is named with its file and
    line, and then there is no database. Raises BackupError.
    """
    folder, place = Path(os.fsdecode(src)), check_destination(path)
    tables = _read_schema(folder)
    total = sum(table["rows"] for table in tables)
    with draft_for(place) as draft:
        with (
            reporting(progress, total, f"load of {Path(place).name}") as report,
            connect(draft, durability="normal") as db,
        ):
            done = 0
            for table in tables:
                _load_table(db, folder, table, done, report)
                done += table["rows"]
            report(total)
        finish_draft(draft, place)
    return place


def _read_schema(folder: Path) -> list[dict[str, Any]]:
    file = folder / SCHEMA_FILE
    try:
        page = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatabaseNotFoundError(f"{folder} is no dump of vecdb: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BackupError(f"{file} is not JSON: {error}") from error
    if not isinstance(page, dict) or page.get("format") != FORMAT:
        raise BackupError(f"{file} is not of a dump of vecdb")
    if page.get("format_version") != FORMAT_VERSION:
        raise BackupError(f"{file} has format {page.get('format_version')!r}; this vecdb reads {FORMAT_VERSION}")
    tables = page.get("tables")
    wanted = {"name": str, "folder": str, "rows": int, "next_id": int, "columns": list, "fields": dict, "indexes": list}
    wanted |= {"required": list, "defaults": dict, "json": list}
    for table in tables if isinstance(tables, list) else [None]:
        if not isinstance(table, dict) or any(type(table.get(name)) is not kind for name, kind in wanted.items()):
            raise BackupError(f"{file}: a table is not described by {', '.join(wanted)}")
        if os.path.basename(table["folder"]) != table["folder"]:
            raise BackupError(f"{file}: {table['folder']!r} is no name of a folder")
        if not 1 <= table["next_id"] <= 2**63:
            raise BackupError(f"{file}: next_id is {table['next_id']}, and must be 1 to 2^63")
    return list(tables or [])


def _load_table(
    db: Database, root: Path, described: Mapping[str, Any], done: int, report: Callable[[int], None]
) -> None:
    folder = root / described["folder"]
    where = str(root / SCHEMA_FILE)
    try:
        arrays, columns = {}, {}
        for column in described["columns"]:
            options = {key: value for key, value in column.items() if key not in ("name", "file", "vectors")}
            columns[column["name"]] = Vector(**options)
            arrays[column["name"]] = _Array(folder / os.path.basename(column["file"]), column, options["dtype"])
        fields = [
            constrain_field(
                field,
                required=field.name in described["required"],
                default=from_plain(described["defaults"].get(field.name)),
            )
            for field in declare_fields({name: python_type(kind) for name, kind in described["fields"].items()})
        ]
        schema = declare_table(described["name"], columns, fields, described["indexes"], described["json"])
        with db.transaction():
            table = db._create(schema, exist_ok=False)
            db._write(lambda writer: _begin_ids(writer, schema.name, described["next_id"]))
    except (KeyError, TypeError, DatabaseError) as error:
        if isinstance(error, BackupError):
            raise
        raise BackupError(f"{where}: table {described['name']!r} can't be made: {error!r}") from error
    rows = 0
    lines = _read_lines(folder / ROWS_FILE)
    while batch := list(islice(lines, _AT_ONCE)):
        _insert(table, batch, arrays, folder / ROWS_FILE, rows)
        rows += len(batch)
        report(done + rows)
    if rows != described["rows"]:
        raise BackupError(f"{folder / ROWS_FILE} has {rows} rows; {where} says {described['rows']}")
    for array in arrays.values():
        array.finish()


def _begin_ids(writer: Writer, name: str, next_id: int) -> None:
    """Ids that deleted rows had are not given again."""
    table = writer.find_table(name)
    with writer.changing():
        writer.set_state(table.schema.table, replace(table.state, next_id=next_id))


def _insert(table: Table, batch: list[dict[str, Any]], arrays: dict[str, _Array], file: Path, first: int) -> None:
    where = f"{file}, lines {first + 1} to {first + len(batch)}"
    try:
        vectors = {name: array.take([line["vectors"].get(name) for line in batch]) for name, array in arrays.items()}
        unknown = {name for line in batch for name in line["vectors"]} - arrays.keys()
        if unknown:
            raise BackupError(f"{where}: there are no columns {sorted(unknown)}")
        fields = [{name: from_plain(value) for name, value in line["fields"].items()} for line in batch]
        table.insert([line["id"] for line in batch], vectors or None, fields)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BackupError(f"{where}: a row is not made of id, fields and vectors: {error!r}") from error
    except Error as error:
        raise error if isinstance(error, BackupError) else BackupError(f"{where}: {error}") from error


def _read_lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise BackupError(f"{file}, line {number} is not JSON: {error}") from error
                if not isinstance(row, dict) or row.keys() != {"id", "fields", "vectors"}:
                    raise BackupError(f"{file}, line {number} is not made of id, fields and vectors")
                yield row
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{file} can't be read: {error}") from error


class _Array:
    """A column's vectors, each of which is taken once, in order."""

    def __init__(self, file: Path, described: Mapping[str, Any], dtype: str) -> None:
        self._file = file
        self._next = 0
        try:
            self._array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BackupError(f"{file} can't be read: {error}") from error
        shape = (described["vectors"], described["dim"])
        if self._array.shape != shape or self._array.dtype != np.dtype(dtype):
            raise BackupError(f"{file} has {self._array.dtype} {self._array.shape}; {dtype} {shape} was expected")

    def take(self, numbers: list[int | None]) -> Any:
        """The vectors of rows; None for those that have none."""
        wanted = [number for number in numbers if number is not None]
        if wanted != list(range(self._next, self._next + len(wanted))):
            raise BackupError(f"{self._file}: rows name vectors that do not follow each other from {self._next} on")
        self._next += len(wanted)
        if self._next > len(self._array):
            raise BackupError(f"{self._file} has {len(self._array)} vectors, and rows name {self._next}")
        found = self._array[self._next - len(wanted) : self._next]
        if len(wanted) == len(numbers):
            return found
        vectors = iter(found)
        return [None if number is None else next(vectors) for number in numbers]

    def finish(self) -> None:
        if self._next != len(self._array):
            raise BackupError(f"{self._file} has {len(self._array)} vectors, and rows name {self._next}")
