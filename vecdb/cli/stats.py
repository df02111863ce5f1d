"""`vecdb stats`."""

from __future__ import annotations

from pathlib import Path

import click

from vecdb.cli.arguments import file_argument, open_to_read
from vecdb.cli.output import json_option, print_json, print_table


@click.command("stats")
@file_argument
@json_option
def command(file: Path, as_json: bool) -> None:
    """Rows, tombstones and graphs of every table, and what vacuum would win."""
    with open_to_read(file) as db:
        stats = db.stats()
    if as_json:
        tables = {
            name: {
                "rows": table.rows,
                "slots": table.slots,
                "tombstones": table.tombstones,
                "columns": {column: vars(state) for column, state in table.columns.items()},
            }
            for name, table in stats.tables.items()
        }
        print_json(
            {
                "version": stats.version,
                "file_bytes": stats.file_bytes,
                "free_bytes": stats.free_bytes,
                "tables": tables,
            }
        )
        return
    click.echo(f"version {stats.version}, {stats.file_bytes:,} bytes, {stats.free_bytes:,} of them free")
    print_table(
        ["table", "column", "rows", "tombstones", "graph", "waiting for vacuum"],
        [
            [name, column, state.rows, table.tombstones, "yes" if state.graph else "no", state.waiting]
            for name, table in stats.tables.items()
            for column, state in table.columns.items()
        ],
    )
