"""`vecdb demo`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Final

import click

from vecdb.cli.arguments import FILE
from vecdb.cli.output import json_option, print_json, progress_option, wants_progress

_QUESTIONS: Final = (
    "how do I copy a directory tree",
    "compress data with gzip",
    "parse command line options",
    "run a program and capture its output",
    "compare two sequences and show the differences",
)


@click.command("demo")
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
@click.option("--keep", type=FILE, metavar="FILE", help="Keep the database in this file, which must not exist yet.")
@click.option("--rows", type=click.IntRange(100), metavar="N", help="About so many docstrings (default: all).")
@progress_option
@json_option
def command(
    questions: tuple[str, ...], keep: Path | None, rows: int | None, progress: bool | None, as_json: bool
) -> None:
    """A tour of a minute: loads the documentation of this Python's standard library, answers questions from it, rolls a
    transaction back, reopens the file.

    \b
    vecdb demo "how do I sort a list" "open a zip file"
    """
    from vecdb.cli.tour.steps import give_tour

    if keep is not None and keep.exists():
        raise click.UsageError(f"{keep} is there already")
    # To a program, the figures are the answer; what is for people goes where errors go.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        figures = give_tour(questions or _QUESTIONS, keep, most=rows, progress=wants_progress(progress))
    if as_json:
        print_json(figures)
