"""`vecdb load`."""

from __future__ import annotations

from pathlib import Path

import click

import vecdb
from vecdb.cli.arguments import FILE
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress


@click.command("load")
@click.argument("folder", type=FILE)
@click.argument("file", type=FILE)
@progress_option
@json_option
def command(folder: Path, file: Path, progress: bool | None, as_json: bool) -> None:
    """Make a new database FILE of a dump's FOLDER."""
    made = vecdb.load(folder, file, progress=wants_progress(progress))
    if as_json:
        print_json({"path": made})
    else:
        click.echo(f"made {made}")
