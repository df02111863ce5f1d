"""`vecdb get`."""

from __future__ import annotations

from pathlib import Path

import click

from vecdb import RowNotFoundError
from vecdb.cli.arguments import file_argument, find_row, open_to_read, table_argument
from vecdb.cli.output import json_option, print_facts, print_json, row_as_json


@click.command("get")
@file_argument
@table_argument
@click.argument("ids", nargs=-1, required=True)
@click.option("--vectors", is_flag=True, help="With the vectors.")
@json_option
def command(file: Path, table: str, ids: tuple[str, ...], vectors: bool, as_json: bool) -> None:
    """Rows by their ids. A number is an int id where there is such a row, else a str."""
    with open_to_read(file) as db:
        for number, identifier in enumerate(ids):
            row = find_row(db.table(table), identifier, vectors=vectors)
            if row is None:
                raise RowNotFoundError(f"table {table!r} has no row {identifier!r}")
            if as_json:
                print_json(row_as_json(row))
                continue
            if number:
                click.echo()
            shown = {name: vector.tolist() for name, vector in (row.vectors or {}).items()}
            print_facts({"id": row.id, **row.fields, **shown})
