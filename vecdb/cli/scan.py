"""`vecdb scan`."""

from __future__ import annotations

from pathlib import Path

import click

from vecdb.cli.arguments import file_argument, names_of, open_to_read, read_params, table_argument, where_options
from vecdb.cli.output import json_option, print_rows


@click.command("scan")
@file_argument
@table_argument
@where_options
@click.option("--fields", help="Names of fields, separated by commas (default: those declared; in JSON all).")
@click.option("--order", help="A field, or -field, or 'field DESC'.")
@click.option("--limit", type=click.IntRange(0), help="The most rows.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Rows to leave out first.")
@click.option("--vectors", is_flag=True, help="With the vectors, in JSON.")
@json_option
def command(
    file: Path,
    table: str,
    where: str | None,
    params: tuple[str, ...],
    fields: str | None,
    order: str | None,
    limit: int | None,
    offset: int,
    vectors: bool,
    as_json: bool,
) -> None:
    """Rows one after the other, all or those that match a filter."""
    with open_to_read(file) as db:
        found = db.table(table)
        chosen = names_of(fields)
        names = list(found.fields) if chosen is None else chosen
        rows = found.scan(
            where=where,
            params=read_params(params),
            fields=chosen,
            vectors=vectors,
            order=order,
            limit=limit,
            offset=offset,
        )
        print_rows(rows, names, as_json=as_json)
