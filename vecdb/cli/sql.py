"""`vecdb sql`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import vecdb
from vecdb.cli.arguments import file_argument
from vecdb.cli.output import json_option


@click.command("sql")
@file_argument
@click.argument("statements", nargs=-1)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--readonly", is_flag=True, help="Only read; the file must be there.")
def command(file: Path, statements: tuple[str, ...], as_json: bool, as_csv: bool, readonly: bool) -> None:
    """Run statements of SQL, given, piped in or typed; on a terminal a shell, with history and completion.

    The database is created if it is not there. A script ends at its first error; BEGIN and COMMIT make it one
    transaction.

    \b
    vecdb sql notes.vecdb
    vecdb sql notes.vecdb "SELECT lang, count(*) FROM notes GROUP BY lang" --csv
    vecdb sql notes.vecdb < script.sql
    """
    from vecdb.cli.shell import Shell

    if as_json and as_csv:
        raise click.UsageError("give --json or --csv, and not both")
    with vecdb.connect(file, create=not readonly, readonly=readonly) as db:
        shell = Shell(db, "json" if as_json else "csv" if as_csv else "table")
        if statements:
            shell.run_script(f"{statement};" for statement in statements)
        elif sys.stdin.isatty():
            shell.run_typed()
        else:
            shell.run_script(sys.stdin)
