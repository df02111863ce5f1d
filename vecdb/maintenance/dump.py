"""A database as files that anything can read: JSON Lines, NumPy's arrays, and a page that says what they are."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import BackupError, DatabaseNotFoundError, StorageFullError, StorageIOError
from vecdb.fields.schema import join_fields
from vecdb.maintenance.plain import to_plain
from vecdb.mirror.load import Stored, vector_dtype, vectors_per_block
from vecdb.mirror.payloads import Place, read_payload
from vecdb.progress import Progress, reporting
from vecdb.storage import keys
from vecdb.storage.catalog import Column, Schema, Table, read_tables
from vecdb.storage.environment import NO_SPACE, sync_folder
from vecdb.storage.header import read_header, read_state
from vecdb.storage.keys import Space
from vecdb.storage.registry import REGISTRY
from vecdb.storage.rows import decode_row
from vecdb.storage.view import Records

# Never change: what dumps are known by.
FORMAT: Final = "vecdb dump"
FORMAT_VERSION: Final = 1
SCHEMA_FILE: Final = "schema.json"
ROWS_FILE: Final = "rows.jsonl"

_READ_ME: Final = """A dump of a vecdb database.

schema.json   the tables: their vector columns, fields and indexes, and in which folder each is
rows.jsonl    a row a line, in the order of insertion: id, fields, and for each vector it has, the number of its line in
              the column's array, from 0
*.npy         the vectors of a column, for numpy.load

Values that JSON lacks are {"$datetime": ISO 8601}, {"$bytes": base64}, {"$float": "nan"}; {"$dict": it} is a dict of
one name that begins with a dollar. `vecdb load` makes a database of this folder.
"""
_REPORT_EVERY: Final = 256


def dump(path: str | os.PathLike[str], out: str | os.PathLike[str], *, progress: Progress = None) -> str:
    """Write the newest commit of a database into a new folder `out`, readable without vecdb; returns its path.

    Others may write meanwhile. The folder appears under its name when it is whole. Raises BackupError where
    something is there already.
    """
    source, place = os.path.realpath(path), os.path.abspath(out)
    if os.path.lexists(place):
        raise BackupError(f"{place} exists already; nothing was overwritten: choose another name, or move it away")
    if not os.path.isdir(os.path.dirname(place)):
        raise DatabaseNotFoundError(f"there is no folder {os.path.dirname(place)} to write {Path(place).name} in")
    if not os.path.isfile(source) or os.path.getsize(source) == 0:
        raise DatabaseNotFoundError(f"there is no database at {source}")
    environment = REGISTRY.acquire(source, readonly=True, sync_meta=False, max_size=None)
    try:
        with _draft(place) as draft, environment.read() as records:
            read_header(records, source)
            tables = list(read_tables(records).values())
            total = sum(table.state.rows for table in tables)
            with reporting(progress, total, f"dump of {Path(source).name}") as report:
                done = 0
                described = []
                for table in tables:
                    described.append(_dump_table(records, table, draft, done, report))
                    done += table.state.rows
                report(total)
            page = {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "database_version": read_state(records).version,
                "tables": described,
            }
            (draft / SCHEMA_FILE).write_text(json.dumps(page, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            (draft / "README.txt").write_text(_READ_ME, encoding="utf-8")
            _sync_all(draft)
            if os.path.lexists(place):
                raise BackupError(f"{place} was made by somebody else meanwhile; nothing was overwritten")
            os.rename(draft, place)
            sync_folder(os.path.dirname(place))
    finally:
        REGISTRY.release(environment)
    return place


@contextmanager
def _draft(place: str) -> Iterator[Path]:
    draft = Path(f"{place}.new-{os.urandom(8).hex()}")
    try:
        draft.mkdir(mode=0o700)
        yield draft
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StorageFullError(f"{place} could not be written: no space left on the disk") from error
        raise StorageIOError(f"{place} could not be written: {error}") from error
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(draft)


def _dump_table(records: Records, table: Table, out: Path, done: int, report: Callable[[int], None]) -> dict[str, Any]:
    """Write a table into a folder of its own; how the schema describes it."""
    schema = table.schema
    folder = f"{schema.table:03}-{_file_name(schema.name)}"
    (out / folder).mkdir()
    columns = [_ColumnFile(records, schema, place, out / folder) for place in range(len(schema.columns))]
    count = 0
    try:
        with (out / folder / ROWS_FILE).open("w", encoding="utf-8", newline="\n") as file:
            for key, payload in records.scan(Space.ROWS, keys.table_prefix(schema.table)):
                slot = keys.slot_of_row(key)
                row = decode_row(payload, schema, slot)
                fields = {name: to_plain(value) for name, value in join_fields(schema, row.values, row.extra).items()}
                vectors = {column.name: column.add(slot) for column in columns if row.vectors >> column.place & 1}
                line = {"id": row.id, "fields": fields, "vectors": vectors}
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
                count += 1
                if count % _REPORT_EVERY == 0:
                    report(done + count)
    finally:
        for column in columns:
            column.close()
    return {
        "name": schema.name,
        "folder": folder,
        "rows": count,
        "next_id": table.state.next_id,
        "columns": [column.describe() for column in columns],
        "fields": {field.name: field.type for field in schema.fields},
        "indexes": [schema.fields[number].name for number in schema.indexes],
        "required": [field.name for field in schema.fields if field.required],
        "defaults": {field.name: to_plain(field.default) for field in schema.fields if field.default is not None},
        "json": list(schema.json),
    }


class _ColumnFile:
    """A column's vectors, one after the other, behind a header that is written when their number is known."""

    def __init__(self, records: Records, schema: Schema, place: int, folder: Path) -> None:
        self._records = records
        self._column: Column = schema.columns[place]
        self._where = Place(schema, self._column)
        self._block: tuple[int, Stored] | None = None
        self._count = 0
        self.place = place
        self.name = self._column.name
        self._path = folder / f"{place + 1:02}-{_file_name(self.name)}.npy"
        self._file: BinaryIO = self._path.open("wb")
        self._write_header()

    def add(self, slot: int) -> int:
        """Append the vector of a slot; its number in the file."""
        number, within = divmod(slot, vectors_per_block(self._column))
        if self._block is None or self._block[0] != number:
            self._block = number, self._read(number)
        self._file.write(self._block[1][within].tobytes())
        self._count += 1
        return self._count - 1

    def _read(self, number: int) -> NDArray[Any]:
        shape, dtype = (vectors_per_block(self._column), self._column.options.dim), vector_dtype(self._column)
        size = shape[0] * shape[1] * dtype.itemsize
        payload = read_payload(self._records, self._where, Space.VECTORS, number, size)
        return np.frombuffer(payload, dtype).reshape(shape)

    def _write_header(self) -> None:
        """NumPy leaves room in it for a larger first number."""
        shape = (self._count, self._column.options.dim)
        description = {"descr": vector_dtype(self._column).str, "fortran_order": False, "shape": shape}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, description)

    def close(self) -> None:
        self._write_header()
        self._file.close()

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "file": self._path.name, "vectors": self._count, **asdict(self._column.options)}


def _file_name(name: str) -> str:
    """A name as every file system takes it; the number before it tells two of them apart."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:40]


def _sync_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(str(path))
    sync_folder(str(folder))
