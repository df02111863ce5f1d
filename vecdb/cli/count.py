"""`vecdb count`."""

from __future__ import annotations

from pathlib import Path

import click

from vecdb.cli.arguments import file_argument, open_to_read, read_params, table_argument, where_options
from vecdb.cli.output import json_option, print_json


@click.command("count")
@file_argument
@table_argument
@where_options
@json_option
def command(file: Path, table: str, where: str | None, params: tuple[str, ...], as_json: bool) -> None:
    """How many rows there are, or match a filter."""
    with open_to_read(file) as db:
        count = db.table(table).count(where, read_params(params))
    if as_json:
        print_json({"count": count})
    else:
        click.echo(count)
