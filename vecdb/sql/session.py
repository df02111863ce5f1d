"""A session of SQL on a database: statements prepared by their text and run; EXPLAIN. `steer.py` has the rest."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from vecdb.errors import LimitError, ProgrammingError, SqlError, TableNotFoundError
from vecdb.mirror.view import View
from vecdb.sql.access import Running
from vecdb.sql.change import Change, Delete, Insert, Update
from vecdb.sql.cursor import Cursor, Result
from vecdb.sql.define import find_table, read_definition
from vecdb.sql.mistake import mistake
from vecdb.sql.parse import Node, Statement, parse
from vecdb.sql.plan import Planner
from vecdb.sql.select import Select
from vecdb.sql.steer import WORDS, Steering, word_at
from vecdb.sql.tokens import Tokens, read_tokens
from vecdb.storage.catalog import Schema

if TYPE_CHECKING:
    from vecdb.database import Database

_KEPT: Final = 256  # prepared statements
_CHANGES: Final = {exp.Insert: Insert, exp.Update: Update, exp.Delete: Delete}


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


class Session:
    """Runs statements on a database; threads may share it, each with settings and a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self.steering = Steering(database)
        self._lock = threading.Lock()

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
        return Cursor(prepared.plan.run(self._database, runs, self.steering.ef))

    def _run(self, sql: str, params: object) -> Result:
        known = self._prepared.get(sql) if isinstance(sql, str) else None
        if known is not None and isinstance(known.plan, Select):
            given = self._bind(known.statement, params)
            with self._database._view() as view:  # one for both, since to open one takes longer than the rest
                if known.is_current(view):
                    return self._select(known, view, given)
        prepared = self._prepare(_check_text(sql))
        if prepared is None:
            tokens = read_tokens(sql)
            if word_at(tokens, 0) == "EXPLAIN":
                return self._explain(tokens, params)
            Statement(sql, list(tokens.parameters), len(tokens.parameters), exp.Null()).bind(params)
            return self.steering.run(tokens)
        given, plan = self._bind(prepared.statement, params), prepared.plan
        if isinstance(plan, Select):
            with self._database._view() as view:
                return self._select(prepared, view, given)
        if isinstance(plan, Change):
            return plan.run(self._database, [given], self.steering.ef)
        return plan(self._database)

    def _select(self, prepared: Prepared, view: View, given: list[Any]) -> Result:
        assert isinstance(prepared.plan, Select)
        rows = prepared.plan.run(Running(view, given, self.steering.ef))
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
        if word_at(tokens, 0) in WORDS | {"EXPLAIN"}:
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

    def _explain(self, tokens: Tokens, params: object) -> Result:
        analyze = word_at(tokens, 1) == "ANALYZE"
        rest = tokens.tokens[2 if analyze else 1 :]
        if word_at(tokens, 1) == "QUERY":
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
            running = Running(view, given, self.steering.ef, trace)
            if not analyze:
                trace = select.describe(running)
            else:
                start = time.perf_counter()
                rows = select.run(running)
                trace.append(f"{len(rows):,} rows in {1000 * (time.perf_counter() - start):.2f} ms")
        return Result(["plan"], [(part,) for line in trace for part in line.split("\n")], ["str"])


def _check_text(sql: object) -> str:
    if not isinstance(sql, str):
        raise SqlError(f"a statement is a str, not {type(sql).__name__}")
    return sql
