"""`vecdb restore`."""

from __future__ import annotations

from pathlib import Path

import click

import vecdb
from vecdb.cli.arguments import FILE
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress


@click.command("restore")
@click.argument("backup", type=FILE)
@click.argument("file", type=FILE)
@progress_option
@json_option
def command(backup: Path, file: Path, progress: bool | None, as_json: bool) -> None:
    """Make a new database FILE of a BACKUP, full or incremental.

    An incremental one needs those that it follows in its folder. The result is checked in full before it appears, and
    nothing is overwritten."""
    made = vecdb.restore(backup, file, progress=wants_progress(progress))
    if as_json:
        print_json({"path": made})
    else:
        click.echo(f"made {made}")
