"""`vecdb vacuum`."""

from __future__ import annotations

from pathlib import Path

import click

from vecdb.cli.arguments import file_argument, open_to_write
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress


@click.command("vacuum")
@file_argument
@click.option(
    "--secure", is_flag=True, help="Then replace the file and overwrite the old one: nothing deleted is left."
)
@progress_option
@json_option
def command(file: Path, secure: bool, progress: bool | None, as_json: bool) -> None:
    """Repair the search graphs where rows were deleted, while others read and write."""
    with open_to_write(file) as db:
        repaired = db.vacuum(secure=secure, progress=wants_progress(progress))
    if as_json:
        print_json({"repaired": repaired})
    else:
        click.echo(f"{repaired:,} deleted rows were taken out of the graphs")
