"""The shell of `vecdb sql`: what is typed, piped in or given is split into statements, and their rows are shown."""

from __future__ import annotations

import csv
import io
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, Literal, TypeAlias

import click

from vecdb import Database, Error
from vecdb.cli.output import print_json, print_table
from vecdb.maintenance.plain import to_plain
from vecdb.sql.cursor import Cursor
from vecdb.sql.values import to_text

Mode: TypeAlias = Literal["table", "csv", "json"]

_HELP: Final = """\
Statements of SQL end with ; and may take several lines.
.tables           the tables
.schema [TABLE]   the columns of a table, or of all
.explain SELECT   what a SELECT would do
.timer on|off     how long each statement takes
.mode table|csv|json
.help             this
.quit             leave (also Ctrl-D)"""
_WORDS: Final = """
    SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET DISTINCT JOIN LEFT ON AS AND OR NOT IN BETWEEN LIKE ILIKE IS
    NULL CONTAINS INSERT INTO VALUES CONFLICT DO NOTHING UPDATE SET DELETE RETURNING CREATE TABLE INDEX USING hnsw WITH
    DROP ALTER ADD COLUMN BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE EXPLAIN ANALYZE SHOW TABLES DESCRIBE COUNT SUM AVG MIN
    MAX CASE WHEN THEN ELSE END COALESCE VECTOR HALFVEC TEXT INTEGER REAL BOOLEAN TIMESTAMP JSON PRIMARY KEY"""


class Shell:
    """Runs statements and shows their results."""

    def __init__(self, database: Database, mode: Mode) -> None:
        self._database = database
        self._mode = mode
        self._timer = False

    def run_script(self, lines: Iterable[str]) -> None:
        """Statements of lines, until one fails."""
        for statement in statements_of(lines):
            self._run(statement)

    def run_typed(self) -> None:
        """What is typed, until the end."""
        self._timer = True
        click.echo(f"vecdb, {self._database.path}: statements end with ;  .help tells more")
        read = _typing(self._names)
        lines: list[str] = []
        while True:
            try:
                line = read("vecdb> " if not lines else "  ...> ")
            except KeyboardInterrupt:
                lines.clear()
                click.echo()
                continue
            except EOFError:
                click.echo()
                return
            if not lines and line.strip().lower() in (".quit", ".exit"):
                return
            lines.append(line)
            text = "\n".join(lines)
            if is_whole(text):
                lines.clear()
                for statement in statements_of([text]):
                    try:
                        self._run(statement)
                    except Error as error:
                        click.echo(f"{type(error).__name__}: {error}", err=True)
                    except KeyboardInterrupt:
                        click.echo("interrupted", err=True)

    def _run(self, text: str) -> None:
        if text.startswith("."):
            self._command(text)
            return
        start = time.perf_counter()
        self._show(self._database.execute(text))
        if self._timer:
            click.echo(f"{1000 * (time.perf_counter() - start):.1f} ms")

    def _command(self, text: str) -> None:
        """A word for the shell."""
        word, _, rest = text.partition(" ")
        rest = rest.strip().rstrip(";")
        if word == ".tables":
            self._show(self._database.execute("SHOW TABLES"))
        elif word == ".schema":
            for name in [rest] if rest else self._database.tables():
                quoted = '"' + name.replace('"', '""') + '"'
                if self._mode == "table":
                    click.echo(f"{name}:")
                self._show(self._database.execute(f"DESCRIBE {quoted}"))
        elif word == ".explain":
            self._show(self._database.execute(f"EXPLAIN {rest}"))
        elif word == ".timer":
            self._timer = rest != "off"
        elif word == ".mode" and rest in ("table", "csv", "json"):
            self._mode = rest  # type: ignore[assignment]
        else:
            click.echo(_HELP)

    def _show(self, cursor: Cursor) -> None:
        """Rows in the mode chosen; of a statement without rows, how many it changed."""
        if cursor.description is None:
            if self._mode == "table" and cursor.rowcount >= 0:
                click.echo(f"{cursor.rowcount:,} {'row' if cursor.rowcount == 1 else 'rows'} changed")
            return
        names, rows = [column[0] for column in cursor.description], cursor.fetchall()
        if self._mode == "table":
            print_table(names, ([_readable(value) for value in row] for row in rows))
        elif self._mode == "json":
            for row in rows:
                print_json({name: to_plain(_listed(value)) for name, value in zip(names, row, strict=True)})
        else:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([["" if value is None else to_text(value) for value in row] for row in rows])
            click.echo(text.getvalue(), nl=False)

    def _names(self) -> list[str]:
        """Words to complete: of the language, of the tables."""
        words = _WORDS.split()
        with suppress(Error):
            for name in self._database.tables():
                table = self._database.table(name)
                words += [name, *table.fields, *table.vectors]
        return sorted(set(words))


def is_whole(text: str) -> bool:
    """Whether nothing is to follow: a word with a dot, or statements that have their `;`."""
    return text.lstrip().startswith(".") or _is_blank(_split(text)[1])


def statements_of(lines: Iterable[str]) -> Iterator[str]:
    """The statements in lines, without their `;`; what stands last needs none."""
    text = ""
    for line in lines:
        if _is_blank(text) and line.lstrip().startswith("."):
            yield line.strip()
            continue
        text += line if line.endswith("\n") else line + "\n"
        if ";" in line:
            whole, text = _split(text)
            yield from (part.strip() for part in whole if not _is_blank(part))
    if not _is_blank(text):
        yield text.strip()


# What stands in quotes or comments, of which the last may never be closed, or else a `;`.
_APART: Final = re.compile(r"""'[^']*'?|"[^"]*"?|--[^\n]*|/\*.*?(?:\*/|$(?!\n))|;""", re.DOTALL)


def _split(text: str) -> tuple[list[str], str]:
    """The parts that end with a `;` that stands in no quotes or comments, and what follows the last."""
    parts, begin = [], 0
    for found in _APART.finditer(text):
        if found[0] == ";":
            parts.append(text[begin : found.start()])
            begin = found.end()
    return parts, text[begin:]


def _is_blank(text: str) -> bool:
    """Whether there is nothing in a text but comments that are closed."""
    return not re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).strip()


def _typing(words: Callable[[], list[str]]) -> Callable[[str], str]:
    """What reads a line: prompt_toolkit's prompt where there is one, or input() with readline."""
    history = os.path.expanduser("~/.vecdb_history")
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory
    except ImportError:
        return _typing_by_readline(words, history)
    session: Any = PromptSession(
        history=FileHistory(history), completer=WordCompleter(words, ignore_case=True), complete_while_typing=False
    )
    prompt: Callable[[str], str] = session.prompt
    return prompt


def _typing_by_readline(words: Callable[[], list[str]], history: str) -> Callable[[str], str]:
    try:
        import atexit
        import readline
    except ImportError:  # Windows has none
        return input
    with suppress(OSError):
        readline.read_history_file(history)

    def complete(text: str, state: int) -> str | None:
        found = [word for word in words() if word.lower().startswith(text.lower())]
        return found[state] if state < len(found) else None

    def save() -> None:
        with suppress(OSError):
            readline.write_history_file(history)

    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
    atexit.register(save)
    return input


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _readable(value: Any) -> Any:
    return to_text(value) if hasattr(value, "tolist") or isinstance(value, (list, dict)) else value
