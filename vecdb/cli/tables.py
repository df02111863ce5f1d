"""`vecdb tables`."""

from __future__ import annotations

from pathlib import Path

import click

from vecdb.cli.arguments import file_argument, open_to_read
from vecdb.cli.output import json_option, print_json, print_table


@click.command("tables")
@file_argument
@json_option
def command(file: Path, as_json: bool) -> None:
    """The tables, with their rows and vector columns."""
    with open_to_read(file) as db:
        tables = [db.table(name) for name in db.tables()]
        found = [
            {
                "name": table.name,
                "rows": len(table),
                "vectors": {name: f"{item.dim} {item.metric} {item.dtype}" for name, item in table.vectors.items()},
                "fields": len(table.fields),
            }
            for table in tables
        ]
    if as_json:
        print_json(found)
        return
    rows = [
        [item["name"], item["rows"], ", ".join(f"{n} ({v})" for n, v in item["vectors"].items()), item["fields"]]  # type: ignore[attr-defined]
        for item in found
    ]
    print_table(["table", "rows", "vectors", "fields"], rows)
