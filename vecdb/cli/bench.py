"""`vecdb bench`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from vecdb import ProgrammingError, Table
from vecdb.cli.arguments import FILE, open_to_read
from vecdb.cli.output import json_option, print_facts, print_json, print_table, progress_option, wants_progress


@click.command("bench")
@click.argument("file", type=FILE, required=False)
@click.argument("table", required=False)
@click.option("--column", help="The vector column, where there are several.")
@click.option("--rows", type=click.IntRange(1), default=20_000, show_default=True, help="Of made-up vectors.")
@click.option("--dim", type=click.IntRange(1), default=128, show_default=True, help="Of made-up vectors.")
@click.option("--queries", type=click.IntRange(1), default=1000, show_default=True, help="How many to ask.")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="Hits of each.")
@click.option("--peer/--no-peer", default=True, help="Measure hnswlib too, where it is installed (the default).")
@progress_option
@json_option
def command(
    file: Path | None,
    table: str | None,
    column: str | None,
    rows: int,
    dim: int,
    queries: int,
    k: int,
    peer: bool,
    progress: bool | None,
    as_json: bool,
) -> None:
    """How fast and how right searches are: of a table of yours, which is only read, or of made-up vectors, which are
    also loaded.

    \b
    vecdb bench
    vecdb bench notes.vecdb notes

    Queries are rows of the table, which then don't count as hits themselves, or made up as the rows are. recall@k is
    the share of the truly nearest that a search finds; ef trades it for speed.
    """
    from vecdb.cli import measure
    from vecdb.cli.kernels import compile_kernels

    with tempfile.TemporaryDirectory(prefix="vecdb-bench-") as name:
        compile_kernels(Path(name, "warm-up.vecdb"))
        if file is None:
            figures = measure.made_up(Path(name, "bench.vecdb"), rows, dim, queries, k, wants_progress(progress), peer)
        else:
            with open_to_read(file) as db:
                found = _the_table(db.tables(), table)
                figures = measure.existing(file, found, _the_column(db.table(found), column), queries, k, peer)
    if as_json:
        print_json(figures)
        return
    curves = figures.pop("curves")
    print_facts(figures)
    for name, curve in curves.items():
        click.echo(f"\n{name}, one thread")
        print_table(["ef", f"recall@{k}", "queries/s"], [list(point.values()) for point in curve])


def _the_table(names: list[str], given: str | None) -> str:
    if given is None and len(names) != 1:
        raise ProgrammingError(f"the database has the tables {sorted(names)}: name one")
    return names[0] if given is None else given


def _the_column(table: Table, given: str | None) -> str:
    if given is None and len(table.vectors) != 1:
        raise ProgrammingError(f"table {table.name!r} has the vector columns {sorted(table.vectors)}: name one")
    return next(iter(table.vectors)) if given is None else given
