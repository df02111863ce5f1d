"""`vecdb search`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vecdb import Hit, ProgrammingError, RowNotFoundError, Table, VectorError
from vecdb.cli.arguments import (
    file_argument,
    find_row,
    names_of,
    open_to_read,
    read_params,
    read_vector,
    table_argument,
    where_options,
)
from vecdb.cli.output import json_option, print_rows


@click.command("search")
@file_argument
@table_argument
@click.option("--vector", help="The query: a file .npy or .json, - for JSON on the standard input, or JSON itself.")
@click.option("--like", metavar="ID", help="More like this row, which is left out itself.")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="The most hits.")
@where_options
@click.option("--column", help="The vector column, where there are several.")
@click.option("--fields", help="Names of fields, separated by commas (default: those declared; in JSON all).")
@click.option("--ef", type=click.IntRange(1), help="Trades speed for recall.")
@click.option("--radius", type=float, help="Only hits within this distance.")
@click.option("--exact", is_flag=True, help="Compare every row.")
@click.option("--plan", is_flag=True, help="Say what was done, on the standard error.")
@json_option
def command(
    file: Path,
    table: str,
    vector: str | None,
    like: str | None,
    k: int,
    where: str | None,
    params: tuple[str, ...],
    column: str | None,
    fields: str | None,
    ef: int | None,
    radius: float | None,
    exact: bool,
    plan: bool,
    as_json: bool,
) -> None:
    """The rows nearest to a vector, or to another row."""
    if (vector is None) is (like is None):
        raise click.UsageError("give --vector or --like, and not both")
    with open_to_read(file) as db:
        found = db.table(table)
        chosen = names_of(fields)
        query, itself = (read_vector(vector), None) if vector is not None else _row_vector(found, like or "", column)
        hits = found.search(
            query,
            k=k + (itself is not None),
            where=where,
            params=read_params(params),
            column=column,
            fields=chosen,
            ef=ef,
            radius=radius,
            exact=exact,
        )
        rows: list[Hit] = [hit for hit in hits if itself is None or (hit.id, type(hit.id)) != itself][:k]
        print_rows(rows, list(found.fields) if chosen is None else chosen, as_json=as_json, before=["distance"])
        if plan:
            click.echo(str(hits.plan), err=True)


def _row_vector(table: Table, identifier: str, column: str | None) -> tuple[Any, tuple[Any, type]]:
    row = find_row(table, identifier, vectors=True)
    if row is None:
        raise RowNotFoundError(f"table {table.name!r} has no row {identifier!r}")
    if column is None and len(table.vectors) != 1:
        raise ProgrammingError(f"table {table.name!r} has the vector columns {sorted(table.vectors)}: name one")
    name = column or next(iter(table.vectors))
    if name not in (row.vectors or {}):
        raise VectorError(f"row {identifier!r} of table {table.name!r} has no vector in column {name!r}")
    return (row.vectors or {})[name], (row.id, type(row.id))
