"""`vecdb backup`."""

from __future__ import annotations

from pathlib import Path

import click

from vecdb.cli.arguments import FILE, file_argument, open_to_read
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress


@click.command("backup")
@file_argument
@click.argument("destination", type=FILE)
@click.option("--since", type=FILE, help="Only what has changed since this backup, which is in the same folder.")
@progress_option
@json_option
def command(file: Path, destination: Path, since: Path | None, progress: bool | None, as_json: bool) -> None:
    """Make a verified backup at DESTINATION, where nothing is, while others read and write.

    A full one is a database file. `vecdb restore` makes a database of either kind.
    """
    with open_to_read(file) as db:
        made = db.backup(destination, since=since, progress=wants_progress(progress))
    if as_json:
        print_json(vars(made))
    else:
        kind = "full backup" if made.since is None else "increment"
        click.echo(f"{kind} of version {made.version}: {made.path}, {made.bytes:,} bytes in {made.seconds:.1f} s")
