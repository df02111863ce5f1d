"""`vecdb`: finds the command, and says errors in a line."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import click

from vecdb import Error, __version__

# Command → module, in the order of `vecdb --help`.
_COMMANDS: Final = {
    "info": "info",
    "tables": "tables",
    "schema": "schema",
    "count": "count",
    "get": "get",
    "scan": "scan",
    "search": "search",
    "sql": "sql",
    "import": "import_rows",
    "dump": "dump",
    "load": "load",
    "backup": "backup",
    "restore": "restore",
    "check": "check",
    "recover": "recover",
    "vacuum": "vacuum",
    "compact": "compact",
    "stats": "stats",
    "bench": "bench",
    "demo": "demo",
}
_EPILOG: Final = """\b
Back up, and restore what was backed up:
  vecdb backup notes.vecdb monday.vecdb
  vecdb backup notes.vecdb tuesday.increment --since monday.vecdb
  vecdb restore tuesday.increment restored.vecdb

\b
Exit codes: 0 done, 1 an error, which is told in a line, 2 a wrong command line, 3 the check found problems.

\b
Completion of commands and options, for bash (or zsh, fish):
  eval "$(_VECDB_COMPLETE=bash_source vecdb)"
"""


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"vecdb.cli.{module}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Error as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            sys.stdout = None  # so that nothing is written to it at the end
            raise SystemExit(1) from None


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vecdb")
def main() -> None:
    """Look into, search, fill and care for vecdb databases: a file each, of vectors with their metadata.

    Commands take the database's file first; load, restore and recover what it is to be made of. `vecdb COMMAND --help`
    tells the rest. With --json the answer is JSON, a row a line where there are many.
    """
