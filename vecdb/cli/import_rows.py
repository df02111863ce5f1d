"""`vecdb import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from vecdb import Database, Table, Vector, VectorError
from vecdb.cli.arguments import FILE, file_argument, names_of, open_to_write, table_argument
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress
from vecdb.transfer.files import Mapped, import_rows
from vecdb.transfer.kinds import python_type


@click.command("import")
@file_argument
@table_argument
@click.argument("rows", type=FILE, required=False)
@click.option("--vectors", "arrays", multiple=True, metavar="[COLUMN=]FILE.npy", help="A matrix, a line for each row.")
@click.option("--vector-from", "from_rows", multiple=True, metavar="[COLUMN=]NAME", help="Vectors are in the rows.")
@click.option("--id", "identifier", default="id", show_default=True, help="Where the ids are; without any, ints.")
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="A field under another name. Repeatable.")
@click.option("--only", metavar="NAMES", help="Take these of the file's fields, separated by commas.")
@click.option("--type", "types", multiple=True, metavar="FIELD:TYPE", help="For a new table: declare a field.")
@click.option("--index", "indexes", multiple=True, metavar="FIELD", help="For a new table: index a declared field.")
@click.option("--metric", type=click.Choice(["cosine", "l2", "ip"]), help="For a new table (default: cosine).")
@click.option("--dim", type=click.IntRange(1), help="For a new table, where no .npy tells it.")
@click.option("--replace", is_flag=True, help="Replace rows that have the same ids.")
@progress_option
@json_option
def command(
    file: Path,
    table: str,
    rows: Path | None,
    arrays: tuple[str, ...],
    from_rows: tuple[str, ...],
    identifier: str,
    rename: tuple[str, ...],
    only: str | None,
    types: tuple[str, ...],
    indexes: tuple[str, ...],
    metric: str | None,
    dim: int | None,
    replace: bool,
    progress: bool | None,
    as_json: bool,
) -> None:
    """Insert the rows of a .csv, .tsv, .jsonl or .json file, with vectors in them or in .npy files beside.

    The database and the table are created if they are not there.

    \b
    vecdb import notes.vecdb notes rows.csv --vectors vectors.npy --type year:int --index year
    vecdb import notes.vecdb notes rows.jsonl --vector-from embedding --dim 384
    """
    with open_to_write(file, create=True) as db:
        given, inside = dict(_pair(text) for text in arrays), dict(_pair(text) for text in from_rows)
        found = db.table(table) if table in db else _create(db, table, given, inside, types, indexes, metric, dim)
        first = next(iter(found.vectors), "vector")
        names = names_of(only)
        mapped = Mapped(
            id=identifier,
            vectors={column or first: name for column, name in inside.items()},
            rename=dict(_rename(text) for text in rename),
            only=None if names is None else frozenset(names),
        )
        count = import_rows(
            found,
            rows,
            arrays={column or first: path for column, path in given.items()},
            mapped=mapped,
            replace=replace,
            progress=wants_progress(progress),
        )
        total = len(found)
    if as_json:
        print_json({"imported": count, "rows": total})
    else:
        click.echo(f"{count:,} rows imported; {table} has {total:,}")


def _pair(text: str) -> tuple[str, str]:
    column, _, name = text.rpartition("=")
    return column, name


def _rename(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not equals or not old or not new:
        raise click.UsageError(f"--rename takes OLD=NEW, not {text!r}")
    return old, new


def _create(
    db: Database,
    name: str,
    arrays: dict[str, str],
    inside: dict[str, str],
    types: tuple[str, ...],
    indexes: tuple[str, ...],
    metric: str | None,
    dim: int | None,
) -> Table:
    fields: dict[str, Any] = {}
    for text in types:
        field, _, kind = text.rpartition(":")
        fields[field] = python_type(kind)
    options: dict[str, Any] = {} if metric is None else {"metric": metric}
    columns = {}
    for column, path in arrays.items():
        try:
            columns[column or "vector"] = Vector(
                int(np.load(path, mmap_mode="r", allow_pickle=False).shape[1]), **options
            )
        except (OSError, ValueError, EOFError, IndexError) as error:
            raise VectorError(f"{path} can't be read as a matrix: {error}") from error
    for column in inside:
        if dim is None:
            raise click.UsageError("--dim is needed for a new table whose vectors are in the rows")
        columns[column or "vector"] = Vector(dim, **options)
    return db.create_table(name, vectors=columns, fields=fields, indexes=list(indexes))
