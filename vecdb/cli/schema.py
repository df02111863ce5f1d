"""`vecdb schema`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from vecdb.cli.arguments import file_argument, open_to_read, table_argument
from vecdb.cli.output import json_option, print_json, print_table


@click.command("schema")
@file_argument
@table_argument
@json_option
def command(file: Path, table: str, as_json: bool) -> None:
    """A table's vector columns, fields and indexes."""
    with open_to_read(file) as db:
        found = db.table(table)
        vectors, fields, indexes = found.vectors, found.fields, found.indexes
    if as_json:
        described = {name: asdict(vector) for name, vector in vectors.items()}
        print_json({"name": table, "vectors": described, "fields": fields, "indexes": indexes})
        return
    rows = [[name, f"vector of {item.dim}", f"{item.metric}, {item.dtype}"] for name, item in vectors.items()]
    rows += [[name, kind, "indexed" if name in indexes else ""] for name, kind in fields.items()]
    print_table(["name", "type", ""], rows)
