"""`vecdb check`."""

from __future__ import annotations

from pathlib import Path

import click

import vecdb
from vecdb.cli.arguments import file_argument
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress

_PROBLEMS = 3  # the exit code


@click.command("check")
@file_argument
@click.option("--quick", is_flag=True, help="Only the structure of the file and the counters.")
@progress_option
@json_option
def command(file: Path, quick: bool, progress: bool | None, as_json: bool) -> None:
    """Look for damage. Exits with 3 where there is some."""
    report = vecdb.check(file, "quick" if quick else "full", progress=wants_progress(progress))
    if as_json:
        print_json(report.as_dict())
    else:
        click.echo(str(report))
    if not report.ok:
        raise SystemExit(_PROBLEMS)
