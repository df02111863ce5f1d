"""An interactive shell, and a reader of scripts. Statements end with `;`, words with a dot are for the shell."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

from vecdb.errors import Error
from vecdb.sql.values import to_text

if TYPE_CHECKING:
    from vecdb.database import Database
    from vecdb.sql.cursor import Cursor

_HELP: Final = """\
Statements of SQL end with ; and may take several lines.
.tables           the tables
.schema [TABLE]   the columns of a table, or of all
.explain SELECT   what a SELECT would do
.timer on|off     how long each statement takes
.mode table|csv|json
.help             this
.quit             leave (also Ctrl-D)"""
_WIDEST: Final = 60  # characters of a cell in a table
_WORDS: Final = (
    "SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET DISTINCT JOIN LEFT ON AS AND OR NOT IN BETWEEN LIKE ILIKE IS "
    "NULL CONTAINS INSERT INTO VALUES CONFLICT DO NOTHING UPDATE SET DELETE RETURNING CREATE TABLE INDEX USING "
    "hnsw WITH DROP ALTER ADD COLUMN BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE EXPLAIN ANALYZE SHOW TABLES DESCRIBE "
    "COUNT SUM AVG MIN MAX CASE WHEN THEN ELSE END COALESCE VECTOR HALFVEC TEXT INTEGER REAL BOOLEAN TIMESTAMP JSON PRIMARY KEY"
).split()


def main(
    path: str,
    commands: Iterable[str] | None = None,
    *,
    mode: str = "table",
    readonly: bool = False,
    out: TextIO | None = None,
) -> int:
    """Run the statements of `commands`, or what is typed or piped in, on the database at `path`; 1 where one failed.

    `mode` is "table", "csv" or "json". What is typed has history and completion, by prompt_toolkit where that is
    installed, or else by readline. A script ends at its first error.
    """
    from vecdb.database import connect

    output = sys.stdout if out is None else out
    try:
        with connect(path, readonly=readonly) as database:
            shell = Shell(database, output, mode)
            if commands is not None:
                return shell.run_script(commands)
            if not sys.stdin.isatty():
                return shell.run_script(sys.stdin)
            return shell.run_typed(path)
    except Error as error:
        print(f"vecdb: {error}", file=sys.stderr)
        return 1


class Shell:
    """Reads statements and shows their results."""

    def __init__(self, database: Database, out: TextIO, mode: str = "table") -> None:
        self._database = database
        self._out = out
        self._mode = mode
        self._timer = False

    def run_script(self, lines: Iterable[str]) -> int:
        """Statements of lines, until one fails."""
        for statement in statements_of(lines):
            if not self._run(statement):
                return 1
        return 0

    def run_typed(self, path: str) -> int:
        """What is typed, until the end."""
        self._timer = True
        print(f"vecdb, {path}: statements end with ;  .help tells more", file=self._out)
        read = _typing(self._names)
        lines: list[str] = []
        while True:
            try:
                line = read("vecdb> " if not lines else "  ...> ")
            except KeyboardInterrupt:
                lines.clear()
                print(file=self._out)
                continue
            except EOFError:
                print(file=self._out)
                return 0
            if not lines and line.strip().lower() in (".quit", ".exit"):
                return 0
            lines.append(line)
            if is_whole("\n".join(lines)):
                text = "\n".join(lines)
                lines.clear()
                for statement in statements_of([text]):
                    try:
                        self._run(statement)
                    except KeyboardInterrupt:
                        print("interrupted", file=self._out)

    def _run(self, text: str) -> bool:
        """Run a statement or a word with a dot; whether it went well."""
        start = time.perf_counter()
        try:
            if text.startswith("."):
                self._command(text)
            else:
                self._show(self._database.execute(text))
        except Error as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return False
        if self._timer and not text.startswith("."):
            print(f"{1000 * (time.perf_counter() - start):.1f} ms", file=self._out)
        return True

    def _command(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        rest = rest.strip().rstrip(";")
        if word == ".tables":
            self._show(self._database.execute("SHOW TABLES"))
        elif word == ".schema":
            for name in [rest] if rest else self._database.tables():
                quoted = '"' + name.replace('"', '""') + '"'
                print(f"{name}:", file=self._out)
                self._show(self._database.execute(f"DESCRIBE {quoted}"))
        elif word == ".explain":
            self._show(self._database.execute(f"EXPLAIN {rest}"))
        elif word == ".timer":
            self._timer = rest != "off"
        elif word == ".mode" and rest in ("table", "csv", "json"):
            self._mode = rest
        else:
            print(_HELP, file=self._out)

    def _show(self, cursor: Cursor) -> None:
        """Rows in the mode chosen; of a statement without rows, how many it changed."""
        if cursor.description is None:
            if self._mode == "table" and cursor.rowcount >= 0:
                print(f"{cursor.rowcount:,} rows changed", file=self._out)
            return
        names, rows = [column[0] for column in cursor.description], cursor.fetchall()
        if self._mode == "json":
            for row in rows:
                line = json.dumps(dict(zip(names, row, strict=True)), default=_plain, ensure_ascii=False)
                print(line, file=self._out)
        elif self._mode == "csv":
            writer = csv.writer(self._out, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([["" if value is None else to_text(value) for value in row] for row in rows])
        else:
            _print_table(names, rows, self._out)

    def _names(self) -> list[str]:
        """Words to complete: of the language, of the tables."""
        words = list(_WORDS)
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


def _print_table(names: list[str], rows: list[tuple[Any, ...]], out: TextIO) -> None:
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    numbers = [
        bool(rows) and all(isinstance(row[place], (int, float, type(None))) for row in rows)
        for place in range(len(names))
    ]

    def line(row: list[str]) -> str:
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numbers, strict=True)
        ]
        return " | ".join(padded).rstrip()

    print(line(names), file=out)
    print("-+-".join("-" * width for width in widths), file=out)
    for row in cells:
        print(line(row), file=out)
    print(f"({len(rows):,} {'row' if len(rows) == 1 else 'rows'})", file=out)


def _cell(value: Any) -> str:
    text = "NULL" if value is None else f"{value:.6g}" if isinstance(value, float) else to_text(value) or ""
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else to_text(value)
