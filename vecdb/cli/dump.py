"""`vecdb dump`."""

from __future__ import annotations

from pathlib import Path

import click

import vecdb
from vecdb.cli.arguments import FILE
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress


@click.command("dump")
@click.argument("file", type=FILE)
@click.argument("folder", type=FILE)
@progress_option
@json_option
def command(file: Path, folder: Path, progress: bool | None, as_json: bool) -> None:
    """Write a database into a new FOLDER of JSON Lines and .npy files, readable without vecdb."""
    made = vecdb.dump(file, folder, progress=wants_progress(progress))
    if as_json:
        print_json({"path": made})
    else:
        click.echo(f"made {made}")
