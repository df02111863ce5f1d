"""`vecdb compact`."""

from __future__ import annotations

from pathlib import Path

import click

from vecdb.cli.arguments import file_argument, open_to_write
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress


@click.command("compact")
@file_argument
@progress_option
@json_option
def command(file: Path, progress: bool | None, as_json: bool) -> None:
    """Replace the file by a packed copy of itself, without deleted rows and free pages.

    No other process may have it open. Cut off at any moment, the file is the old one or the new.
    """
    with open_to_write(file) as db:
        won = db.compact(progress=wants_progress(progress))
    if as_json:
        print_json({"bytes": won})
    else:
        click.echo(f"{won:,} bytes smaller")
