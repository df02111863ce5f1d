"""A session of SQL on a database: prepared statements by their text, this thread's transaction, settings.

Words that only steer (BEGIN, SET, SHOW, EXPLAIN, ...) are read here, from their tokens; anything else is parsed.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlglot import Token, exp

from vecdb.errors import LimitError, ProgrammingError, SqlError, TableNotFoundError, TransactionError
from vecdb.mirror.versions import View
from vecdb.query.search import check_ef
from vecdb.sql.access import Running
from vecdb.sql.change import Change, Delete, Insert, Update
from vecdb.sql.cursor import Cursor, Result
from vecdb.sql.define import find_table, read_definition
from vecdb.sql.mistake import mistake
from vecdb.sql.parse import Node, Statement, parse
from vecdb.sql.plan import Planner
from vecdb.sql.select import Select
from vecdb.sql.tokens import Tokens, read_tokens
from vecdb.storage.catalog import Schema
from vecdb.transaction import Transaction

if TYPE_CHECKING:
    from vecdb.database import Database

_KEPT: Final = 256  # prepared statements
_CHANGES: Final = {exp.Insert: Insert, exp.Update: Update, exp.Delete: Delete}
_STEERING: Final = ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET", "RESET", "SHOW")
_TELLING: Final = ("DESCRIBE", "DESC", "EXPLAIN")


@dataclass
class Prepared:
    """A text that was read, for the tables as they were."""

    statement: Statement
    schemas: dict[int, Schema]
    plan: Select | Change | Callable[[Database], Result]
    names: list[str] = field(default_factory=list)
    types: list[str | None] = field(default_factory=list)

    @property
    def writes(self) -> bool:
        return not isinstance(self.plan, Select)

    def is_current(self, view: View) -> bool:
        """Whether the tables are as they were."""
        for number, schema in self.schemas.items():
            table = view.tables.get(number)
            if table is None or (table.schema is not schema and table.schema != schema):
                return False
        return True


class _OfThread(threading.local):
    """What a thread has set and begun."""

    def __init__(self) -> None:
        self.ef: int | None = None
        self.open: list[tuple[str | None, Transaction]] = []  # BEGIN's, then savepoints with their names


class Session:
    """Runs statements on a database; threads may share it, each with settings and a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self._thread = _OfThread()
        self._lock = threading.Lock()

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was said in this thread, and not yet COMMIT or ROLLBACK."""
        return bool(self._thread.open)

    def execute(self, sql: str, params: object = None) -> Cursor:
        """Run a statement."""
        try:
            return Cursor(self._run(sql, params))
        except RecursionError:
            raise LimitError("there is no room left on Python's stack to run a statement") from None

    def executemany(self, sql: str, params: Iterable[object]) -> Cursor:
        """Run a statement that writes with many values."""
        prepared = self._prepare(_check_text(sql))
        if prepared is None or not isinstance(prepared.plan, Change):
            raise ProgrammingError("executemany is for INSERT, UPDATE and DELETE; use execute")
        statement = prepared.statement
        if prepared.plan.returning is not None:
            raise ProgrammingError("executemany gives no rows; leave out RETURNING, or use execute")
        runs = (self._bind(statement, given) for given in params)
        return Cursor(prepared.plan.run(self._database, runs, self._thread.ef))

    def _run(self, sql: str, params: object) -> Result:
        known = self._prepared.get(sql) if isinstance(sql, str) else None
        if known is not None and isinstance(known.plan, Select):
            given = self._bind(known.statement, params)
            with self._database._view() as view:  # one for both, since to open one takes longer than the rest
                if known.is_current(view):
                    return self._select(known, view, given)
        prepared = self._prepare(_check_text(sql))
        if prepared is None:
            return self._steer(read_tokens(sql), params)
        given, plan = self._bind(prepared.statement, params), prepared.plan
        if isinstance(plan, Select):
            with self._database._view() as view:
                return self._select(prepared, view, given)
        if isinstance(plan, Change):
            return plan.run(self._database, [given], self._thread.ef)
        return plan(self._database)

    def _select(self, prepared: Prepared, view: View, given: list[Any]) -> Result:
        assert isinstance(prepared.plan, Select)
        rows = prepared.plan.run(Running(view, given, self._thread.ef))
        return Result(prepared.names, rows, prepared.types)

    def is_write(self, sql: str) -> bool:
        """Whether a statement changes rows or tables; Savepoints and the like do not."""
        prepared = self._prepare(_check_text(sql))
        return prepared is not None and prepared.writes

    def _bind(self, statement: Statement, params: object) -> list[Any]:
        given = statement.bind(params)
        missing = len(statement.parameters) - len(given)
        return given + [None] * missing if missing else given

    # Preparing

    def _prepare(self, sql: str) -> Prepared | None:
        """The plan of a text; None where it only steers."""
        known = self._prepared.get(sql)
        if known is not None:
            with self._database._view() as view:
                if known.is_current(view):
                    return known
        tokens = read_tokens(sql)
        if _word(tokens, 0) in (*_STEERING, *_TELLING):
            return None
        made = self._plan(parse(tokens))
        with self._lock:
            self._prepared[sql] = made
            while len(self._prepared) > _KEPT:
                self._prepared.popitem(last=False)
        return made

    def _plan(self, statement: Statement) -> Prepared:
        tree = statement.tree
        try:
            if isinstance(tree, (exp.Create, exp.Drop, exp.Alter)):
                return Prepared(statement, {}, read_definition(statement))
            planner = Planner(statement, self._schema)
            kind = _CHANGES.get(type(tree))
            plan: Select | Change = planner.select(tree) if kind is None else kind(planner, tree)
        except RecursionError:
            raise LimitError("there is no room left on Python's stack to plan a statement") from None
        prepared = Prepared(statement, planner.schemas, plan)
        if isinstance(plan, Select):
            prepared.names = [output.name for output in plan.outputs]
            prepared.types = [output.type for output in plan.outputs]
        return prepared

    def _schema(self, statement: Statement, node: Node) -> Schema:
        """The schema of the table that a node names. Raises TableNotFoundError, with the place."""
        name = find_table(self._database, node.name)
        with self._database._view() as view:
            try:
                return view.find_table(name).schema
            except TableNotFoundError:
                names = ", ".join(sorted(view.table_names())) or "none yet"
                place = statement.place(node)
                raise TableNotFoundError(f"there is no table {name!r}, at {place}\n  hint: there are {names}") from None

    # Steering

    def _steer(self, tokens: Tokens, params: object) -> Result:
        word = _word(tokens, 0)
        if word == "EXPLAIN":
            return self._explain(tokens, params)
        Statement(tokens.text, list(tokens.parameters), len(tokens.parameters), exp.Null()).bind(params)
        if word in ("BEGIN", "START"):
            self._end(tokens, 1, "TRANSACTION WORK DEFERRED IMMEDIATE EXCLUSIVE", "write BEGIN")
            self.begin()
        elif word in ("COMMIT", "END"):
            self._end(tokens, 1, "TRANSACTION WORK", "write COMMIT")
            self.commit()
        elif word == "ROLLBACK":
            self._roll_back(tokens)
        elif word == "SAVEPOINT":
            self._savepoint(self._name(tokens, 1, "write SAVEPOINT name"))
        elif word == "RELEASE":
            at = 2 if _word(tokens, 1) == "SAVEPOINT" else 1
            self._release(self._name(tokens, at, "write RELEASE name"))
        elif word in ("SET", "RESET"):
            self._set(tokens, word)
        elif word == "SHOW":
            return self._show(tokens)
        else:
            return self._describe(self._name(tokens, 1, "write DESCRIBE table"))
        return Result()

    def begin(self) -> None:
        """Open a transaction of this thread."""
        if self._thread.open:
            raise TransactionError("a transaction is open already; SAVEPOINT name is for one within it")
        if self._database._transactions.writer is not None:
            raise TransactionError("this thread is in a transaction of db.transaction() already")
        self._push(None)

    def commit(self) -> None:
        """Commit what this thread has written since BEGIN."""
        self._check_begun("COMMIT")
        while self._thread.open:
            self._thread.open.pop()[1].__exit__(None, None, None)

    def roll_back(self) -> None:
        """Undo what this thread has written since BEGIN."""
        self._check_begun("ROLLBACK")
        while self._thread.open:
            _undo(self._thread.open.pop()[1])

    def _push(self, name: str | None) -> None:
        transaction = self._database.transaction()
        transaction.__enter__()
        self._thread.open.append((name, transaction))

    def _roll_back(self, tokens: Tokens) -> None:
        at = 2 if _word(tokens, 1) in ("TRANSACTION", "WORK") else 1
        if _word(tokens, at) != "TO":
            self._end(tokens, at, "", "write ROLLBACK, or ROLLBACK TO name")
            self.roll_back()
            return
        at += 2 if _word(tokens, at + 1) == "SAVEPOINT" else 1
        name = self._name(tokens, at, "write ROLLBACK TO name")
        place = self._place_of(name)
        while len(self._thread.open) > place:
            _undo(self._thread.open.pop()[1])
        self._push(name)  # the savepoint itself stays

    def _savepoint(self, name: str) -> None:
        self._check_begun("SAVEPOINT")
        self._push(name)

    def _release(self, name: str) -> None:
        place = self._place_of(name)
        while len(self._thread.open) > place:
            self._thread.open.pop()[1].__exit__(None, None, None)

    def _place_of(self, name: str) -> int:
        places = [place for place, (known, _) in enumerate(self._thread.open) if known == name]
        if not places:
            raise TransactionError(f"there is no savepoint {name}; SAVEPOINT {name} sets one")
        return places[-1]

    def _check_begun(self, what: str) -> None:
        if not self._thread.open:
            raise TransactionError(f"{what} without BEGIN: each statement outside of a transaction is its own")

    def _set(self, tokens: Tokens, word: str) -> None:
        texts = [token.text for token in tokens.tokens[1:]]
        if texts[:1] and texts[0].lower() == "hnsw" and texts[1:2] == ["."]:
            texts = texts[2:]
        if texts[:1] and texts[0].lower() == "ef_search":
            if word == "RESET" and len(texts) == 1:
                self._thread.ef = None
                return
            if (
                len(texts) == 3
                and texts[1].upper() in ("=", "TO")
                and (texts[2].isdigit() or texts[2].upper() == "DEFAULT")
            ):
                self._thread.ef = check_ef(int(texts[2])) if texts[2].isdigit() else None
                return
        raise mistake("there is no such setting", tokens.place(1), "write SET ef_search = 100, or RESET ef_search")

    def _show(self, tokens: Tokens) -> Result:
        what = _word(tokens, 1)
        if what == "TABLES" and len(tokens.tokens) == 2:
            return Result(["name"], [(name,) for name in self._database.tables()], ["str"])
        if what == "EF_SEARCH" and len(tokens.tokens) == 2:
            return Result(["ef_search"], [(self._thread.ef,)], ["int"])
        raise mistake("there is nothing of this name to show", tokens.place(1), "write SHOW TABLES, or DESCRIBE table")

    def _describe(self, name: str) -> Result:
        table = find_table(self._database, name)
        with self._database._view() as view:
            schema = view.find_table(table).schema
        rows: list[tuple[Any, ...]] = [("id", "INTEGER or TEXT", False, None, "PRIMARY KEY")]
        for number, item in enumerate(schema.fields):
            indexed = "INDEX" if number in schema.indexes else ""
            rows.append((item.name, sql_type(item.type), not item.required, item.default, indexed))
        rows += [(name, "JSON", True, None, "") for name in schema.json]
        for column in schema.columns:
            options = column.options
            kind = f"{'VECTOR' if options.dtype == 'float32' else 'HALFVEC'}({options.dim})"
            graph = f"hnsw {options.metric}, m = {options.m}, ef_construction = {options.ef_construction}"
            rows.append((column.name, kind, True, None, graph))
        return Result(["column", "type", "nullable", "default", "index"], rows, ["str", "str", "bool", None, "str"])

    def _explain(self, tokens: Tokens, params: object) -> Result:
        analyze = _word(tokens, 1) == "ANALYZE"
        rest = tokens.tokens[2 if analyze else 1 :]
        if _word(tokens, 1) == "QUERY":
            raise mistake("there is no EXPLAIN QUERY PLAN", tokens.place(1), "write EXPLAIN SELECT, or EXPLAIN ANALYZE")
        if not rest or rest[0].text.upper() not in ("SELECT", "WITH", "UPDATE", "DELETE"):
            raise mistake(
                "EXPLAIN is of a SELECT", tokens.place(2 if analyze else 1), "write EXPLAIN [ANALYZE] SELECT ..."
            )
        prepared = self._plan(parse(tokens._replace(tokens=rest)))
        given, plan = self._bind(prepared.statement, params), prepared.plan
        select = plan if isinstance(plan, Select) else plan.select if isinstance(plan, (Update, Delete)) else None
        assert select is not None
        if analyze and not isinstance(plan, Select):
            raise mistake("EXPLAIN ANALYZE runs a statement, and this one writes", tokens.place(2), "leave out ANALYZE")
        with self._database._view() as view:
            trace: list[str] = []
            running = Running(view, given, self._thread.ef, trace)
            if not analyze:
                trace = select.describe(running)
            else:
                start = time.perf_counter()
                rows = select.run(running)
                trace.append(f"{len(rows):,} rows in {1000 * (time.perf_counter() - start):.2f} ms")
        return Result(["plan"], [(part,) for line in trace for part in line.split("\n")], ["str"])

    def _name(self, tokens: Tokens, at: int, hint: str) -> str:
        if len(tokens.tokens) <= at or not _is_name(tokens.tokens[at]):
            raise mistake("a name is needed here", tokens.place(at), hint)
        self._end(tokens, at + 1, "", hint)
        return tokens.tokens[at].text

    def _end(self, tokens: Tokens, at: int, optional: str, hint: str) -> None:
        """That nothing follows but a word that means nothing."""
        if _word(tokens, at) and _word(tokens, at) in optional.split():
            at += 1
        if len(tokens.tokens) > at:
            raise mistake(f"unexpected {tokens.tokens[at].text[:40]!r}", tokens.place(at), hint)


def sql_type(kind: str) -> str:
    """The type of a field as CREATE TABLE writes it."""
    if kind.startswith("list["):
        return f"{sql_type(kind[5:-1])}[]"
    return {"str": "TEXT", "int": "INTEGER", "float": "REAL", "bool": "BOOLEAN", "datetime": "TIMESTAMP"}[kind]


def _undo(transaction: Transaction) -> None:
    transaction.__exit__(TransactionError, None, None)


def _word(tokens: Tokens, at: int) -> str:
    return tokens.tokens[at].text.upper() if at < len(tokens.tokens) else ""


def _is_name(token: Token) -> bool:
    return token.text.isidentifier() or token.token_type.name == "IDENTIFIER"


def _check_text(sql: object) -> str:
    if not isinstance(sql, str):
        raise SqlError(f"a statement is a str, not {type(sql).__name__}")
    return sql
