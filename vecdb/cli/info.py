"""`vecdb info`."""

from __future__ import annotations

from pathlib import Path

import click

from vecdb.cli.arguments import file_argument, open_to_read
from vecdb.cli.output import json_option, print_facts, print_json


@click.command("info")
@file_argument
@json_option
def command(file: Path, as_json: bool) -> None:
    """What a file is: its version, size and tables."""
    with open_to_read(file) as db:
        stats = db.stats()
        facts = {
            "file": db.path,
            "version": stats.version,
            "bytes": stats.file_bytes,
            "free bytes": stats.free_bytes,
            "tables": len(stats.tables),
            "rows": sum(table.rows for table in stats.tables.values()),
        }
    if as_json:
        print_json({name.replace(" ", "_"): value for name, value in facts.items()})
    else:
        print_facts({name: f"{value:,}" if isinstance(value, int) else value for name, value in facts.items()})
