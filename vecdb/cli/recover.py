"""`vecdb recover`."""

from __future__ import annotations

from pathlib import Path

import click

import vecdb
from vecdb.cli.arguments import FILE
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress


@click.command("recover")
@click.argument("damaged", type=FILE)
@click.argument("file", type=FILE)
@progress_option
@json_option
def command(damaged: Path, file: Path, progress: bool | None, as_json: bool) -> None:
    """Save all that is whole in a DAMAGED file into a new database FILE.

    Rows that may be older than the newest commit, or deleted, go into tables named "... (unproven)".
    """
    recovery = vecdb.recover(damaged, file, progress=wants_progress(progress))
    if as_json:
        tables = {name: vars(table) for name, table in recovery.tables.items()}
        print_json({"path": recovery.path, "tables": tables, "notes": recovery.notes})
    else:
        click.echo(str(recovery))
