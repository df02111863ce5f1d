"""INSERT, UPDATE and DELETE: read from their trees, and run by what `Table` writes with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from vecdb.errors import IntegrityError
from vecdb.sql.access import Access, Running
from vecdb.sql.cursor import Result
from vecdb.sql.expressions import Compiler
from vecdb.sql.parse import Node, Statement
from vecdb.sql.plan import Planner, columns_of
from vecdb.sql.scope import Evaluate, Need, Row, Scope, Side
from vecdb.sql.select import Select
from vecdb.sql.vectors import read_vector
from vecdb.storage.catalog import Schema
from vecdb.storage.rows import Id
from vecdb.table import Table

if TYPE_CHECKING:
    from vecdb.database import Database

_INSERT = "INSERT INTO table (id, field, vector) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING, or DO UPDATE SET ..."


class Returning:
    """What RETURNING gives of rows that were written."""

    def __init__(self, planner: Planner, side: Side, node: Node) -> None:
        """`node` is a SELECT of the outputs from the table."""
        self.select = planner.select(node)
        self._access = self.select.accesses[0]

    def rows(self, running: Running, ids: Sequence[Id]) -> list[tuple[Any, ...]]:
        assert isinstance(self._access, Access)
        self._access.ids = lambda row, given: list(ids)
        return self.select.run(running)


class Change:
    """A statement that writes: how it is read, and what it does, for each of many lists of arguments."""

    def __init__(self, planner: Planner, node: Node, table: Node) -> None:
        self.planner = planner
        self.statement = planner.statement
        self.node = node
        self.table = table
        self.side = planner.side(table)
        assert self.side.schema is not None
        self.schema: Schema = self.side.schema
        self.returning = self._read_returning()

    def run(self, database: Database, runs: Iterable[list[Any]], ef: int | None) -> Result:
        raise NotImplementedError

    def _read_returning(self) -> Returning | None:
        clause = self.node.args.get("returning")
        if clause is None:
            return None
        self.statement.check(clause, "expressions", "write RETURNING columns")
        select = exp.Select(
            expressions=[item.copy() for item in clause.expressions], from_=exp.From(this=self.table.copy())
        )
        return Returning(self.planner, self.side, select)

    def _finish(self, database: Database, given: list[Any], changed: int, ids: Sequence[Id]) -> Result:
        last = ids[-1] if ids else None
        if self.returning is None:
            return Result(changed=changed, last_id=last)
        outputs = self.returning.select.outputs
        with database._view() as view:
            rows = self.returning.rows(Running(view, given), ids)
        return Result([item.name for item in outputs], rows, [item.type for item in outputs], changed, last)

    def _target(self, node: Node) -> str:
        """The column that a name in an INSERT or SET is."""
        names = [part for part in (node.args.get("table"), node.args.get("db")) if part]
        if (
            isinstance(node, exp.Column)
            and names
            and (len(names) > 1 or node.table.casefold() != self.side.name.casefold())
        ):
            raise self.statement.refuse(
                node, "a column of the table is needed here", "nested metadata is written as a whole"
            )
        identifier = node.this if isinstance(node, exp.Column) else node
        if not isinstance(identifier, exp.Identifier):
            raise self.statement.refuse(node, "the name of a column is needed here", "write column = value")
        declared = self.side.declared(identifier.this, bool(identifier.args.get("quoted")))
        return declared or identifier.this

    def _where(self, where: Node | None) -> Select:
        """The rows that WHERE is about."""
        clause = {} if where is None else {"where": where}
        star = [exp.Column(this=exp.Identifier(this="id", quoted=True))]
        return self.planner.select(exp.Select(expressions=star, from_=exp.From(this=self.table.copy()), **clause))


class Insert(Change):
    """INSERT, with what to do about ids that exist."""

    def __init__(self, planner: Planner, node: Node) -> None:
        target = node.this.this if isinstance(node.this, exp.Schema) else node.this
        super().__init__(planner, node, target)
        self.statement.check(node, "this expression conflict returning alternative with_ by_name_", _INSERT)
        self.replaces = str(node.args.get("alternative") or "").upper() == "REPLACE"
        if node.args.get("alternative") and not self.replaces:
            raise self.statement.refuse(
                node, f"there is no INSERT OR {node.args['alternative']}", "write ON CONFLICT DO NOTHING"
            )
        self.select: Select | None = None
        self.rows: list[list[Evaluate]] = []
        self.columns: list[str] = []
        self._read_rows()
        self.ignores = False
        self.changes: list[tuple[str, Evaluate]] = []
        self.condition: Callable[[Row, Any], bool | None] | None = None
        self._old = Side(self.side.name, self.schema, self.side.columns)
        self._new = Side("excluded", self.schema, self.side.columns)
        if node.args.get("conflict") is not None:
            self._read_conflict(node.args["conflict"])

    def _read_columns(self, width: int) -> list[str]:
        """The columns that so many values are for."""
        if not isinstance(self.node.this, exp.Schema):
            names = list(columns_of(self.schema))
            return names[1:] if width == len(names) - 1 else names  # without ids, which are given to rows then
        names = [self._target(item) for item in self.node.this.expressions]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise self.statement.refuse(self.node.this.expressions[number], f"{name} stands twice", "name it once")
        return names

    def _read_rows(self) -> None:
        values = self.node.expression
        if isinstance(values, (exp.Select, exp.Subquery)):
            self.select = self.planner.select(values.this if isinstance(values, exp.Subquery) else values)
            width = len(self.select.outputs)
            self.columns = self._read_columns(width)
            if width != len(self.columns):
                raise self.statement.refuse(
                    values, f"{width} columns for {len(self.columns)}", "select a value for each column"
                )
            return
        if not isinstance(values, exp.Values):
            raise self.statement.refuse(self.node, "this INSERT has no VALUES", _INSERT)
        rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in values.expressions]
        self.columns = self._read_columns(len(rows[0]))
        compiler = Compiler(Scope(self.statement, []))
        for row, items in zip(values.expressions, rows, strict=True):
            if len(items) != len(self.columns):
                raise self.statement.refuse(
                    row, f"{len(items)} values for {len(self.columns)} columns", f"give {', '.join(self.columns)[:200]}"
                )
            self.rows.append([compiler.compile(item) for item in items])

    def _read_conflict(self, conflict: Node) -> None:
        self.statement.check(conflict, "conflict_keys action expressions where", _INSERT)
        for key in conflict.args.get("conflict_keys") or []:
            name = key.this if isinstance(key, exp.Ordered) else key
            if self._target(name) != "id":
                raise self.statement.refuse(key, "rows are in conflict by their id alone", "write ON CONFLICT (id)")
        action = str(conflict.args.get("action") or "").upper()
        if action == "DO NOTHING":
            self.ignores = True
            return
        if action != "DO UPDATE":
            raise self.statement.refuse(conflict, "ON CONFLICT without DO", "write DO NOTHING, or DO UPDATE SET ...")
        compiler = Compiler(Scope(self.statement, [self._old, self._new], first=True))
        for item in conflict.expressions:
            self.changes.append(read_assignment(self, item, compiler))
        if conflict.args.get("where") is not None:
            self.condition = compiler.condition(conflict.args["where"].this)

    def run(self, database: Database, runs: Iterable[list[Any]], ef: int | None) -> Result:
        """Insert the rows of all runs as one batch."""
        rows: list[list[Any]] = []
        given: list[Any] = []
        with database.transaction():
            for given in runs:
                if self.select is not None:
                    with database._view() as view:
                        rows += [list(row) for row in self.select.run(Running(view, given, ef))]
                else:
                    rows += [[value((), given) for value in row] for row in self.rows]
            table = Table(database, self.schema.name, self.schema.table)
            if self.ignores or self.changes:
                changed, ids = self._merge(database, table, rows, given)
            else:
                ids = self._insert(table, rows, table.upsert if self.replaces else table.insert)
                changed = len(rows)
            return self._finish(database, given, changed, ids)

    def _insert(self, table: Table, rows: list[list[Any]], write: Callable[..., Any]) -> list[Id]:
        if not rows:
            return []
        columns = dict(zip(self.columns, zip(*rows, strict=True), strict=True))
        ids = columns.pop("id", None)
        if ids is not None and all(identifier is None for identifier in ids):
            ids = None
        if ids is not None and None in ids:
            raise IntegrityError("some rows have an id and some have null; give ids to all of them, or to none")
        vectors: dict[str, Any] = {}
        for column in self.schema.columns:
            given = columns.pop(column.name, None)
            if given is not None:
                vectors[column.name] = [item if item is None else read_vector(item) for item in given]
        names = list(columns)
        fields = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)] if names else None
        if fields is not None:
            undeclared = [name for name in names if name not in self.schema.positions]
            for row in fields if undeclared else ():
                for name in undeclared:
                    if row[name] is None:
                        del row[name]
        if ids is None:
            # Rows are counted by their vectors, or else by their fields.
            made = write(None, vectors or None, fields if fields is not None or vectors else [{}] * len(rows))
        else:
            made = write(list(ids), vectors or None, fields)
        return made if isinstance(made, list) else [made]

    def _merge(self, database: Database, table: Table, rows: list[list[Any]], given: list[Any]) -> tuple[int, list[Id]]:
        """Insert the rows whose ids are new; leave or change those that are there."""
        if "id" not in self.columns:
            return len(rows), self._insert(table, rows, table.insert)
        place = self.columns.index("id")
        ids = [row[place] for row in rows]
        there = {
            row.id
            for row in table.get([identifier for identifier in ids if identifier is not None], fields=False)
            if row is not None
        }
        fresh: list[list[Any]] = []
        others: list[list[Any]] = []
        seen = set(there)
        for row in rows:
            (others if row[place] in seen else fresh).append(row)
            if row[place] is not None:
                seen.add(row[place])
        written = self._insert(table, fresh, table.insert)
        if self.ignores:
            return len(fresh), written
        for row in others:
            if self._change(table, row, row[place], given):
                written.append(row[place])
        return len(written), written

    def _change(self, table: Table, row: list[Any], identifier: Id, given: list[Any]) -> bool:
        old = table.get(identifier, vectors=True)
        assert old is not None
        known = dict(zip(self.columns, row, strict=True))
        vectors = {column.name for column in self.schema.columns}
        before = [
            identifier
            if need.kind == "id"
            else (old.vectors or {}).get(need.path[0])
            if need.kind == "vector"
            else _inner(old.fields, need)
            for need in self._old.needs
        ]
        after = [_inner(known, need) for need in self._new.needs]
        pair = (before, after)
        if self.condition is not None and self.condition(pair, given) is not True:
            return False
        changes = {name: value(pair, given) for name, value in self.changes}
        write_changes(table, [identifier], [changes], vectors)
        return True


class Update(Change):
    """UPDATE ... SET ... WHERE."""

    def __init__(self, planner: Planner, node: Node) -> None:
        super().__init__(planner, node, node.this)
        self.statement.check(
            node, "this expressions where returning", "write UPDATE table SET column = value WHERE ..."
        )
        self.select = self._where(node.args.get("where"))
        access = self.select.accesses[0]
        assert isinstance(access, Access)
        self.access = access
        compiler = Compiler(Scope(self.statement, [access.side]))
        self.changes = [read_assignment(self, item, compiler) for item in node.expressions]
        self.id_place = access.side.need(Need("id", ("id",)))

    def run(self, database: Database, runs: Iterable[list[Any]], ef: int | None) -> Result:
        vectors = {column.name for column in self.schema.columns}
        table = Table(database, self.schema.name, self.schema.table)
        changed, written, given = 0, list[Id](), list[Any]()
        with database.transaction():
            for given in runs:
                with database._view() as view:
                    running = self.select.prepare(Running(view, given, ef))
                    found = [(row[0][self.id_place], row) for row in self.select.matching(running)]
                changes = [{name: value(row, running.given) for name, value in self.changes} for _, row in found]
                written = [identifier for identifier, _ in found]
                write_changes(table, written, changes, vectors)
                changed += len(written)
            return self._finish(database, given, changed, written)


class Delete(Change):
    """DELETE FROM ... WHERE."""

    def __init__(self, planner: Planner, node: Node) -> None:
        super().__init__(planner, node, node.this)
        self.statement.check(node, "this where returning", "write DELETE FROM table WHERE ...")
        self.select = self._where(node.args.get("where"))
        access = self.select.accesses[0]
        assert isinstance(access, Access)
        self.access = access
        self.id_place = access.side.need(Need("id", ("id",)))

    def run(self, database: Database, runs: Iterable[list[Any]], ef: int | None) -> Result:
        table = Table(database, self.schema.name, self.schema.table)
        changed, rows, last, given = 0, list[tuple[Any, ...]](), Result(), list[Any]()
        with database.transaction():
            for given in runs:
                with database._view() as view:
                    running = self.select.prepare(Running(view, given, ef))
                    found = [row[0][self.id_place] for row in self.select.matching(running)]
                last = self._finish(database, given, len(found), found) if self.returning else last
                rows += last.rows
                changed += table.delete(found)
        if self.returning is None:
            return Result(changed=changed)
        outputs = self.returning.select.outputs
        return Result([item.name for item in outputs], rows, [item.type for item in outputs], changed)


def read_assignment(change: Change, item: Node, compiler: Compiler) -> tuple[str, Evaluate]:
    """`column = value` of SET."""
    statement: Statement = change.statement
    if not isinstance(item, exp.EQ):
        raise statement.refuse(item, "SET is followed by column = value", "separate several by commas")
    name = change._target(item.this)
    if name == "id":
        raise statement.refuse(item, "an id does not change", "insert the row under another id, and delete this one")
    return name, compiler.compile(item.expression)


def write_changes(table: Table, ids: list[Id], changes: list[dict[str, Any]], vectors: set[str]) -> None:
    """Change fields and vectors of rows."""
    if not ids:
        return
    fields = [{name: value for name, value in change.items() if name not in vectors} for change in changes]
    given = {
        name: [None if change[name] is None else read_vector(change[name]) for change in changes]
        for name in changes[0]
        if name in vectors
    }
    table.update(ids, fields=fields, vectors=given or None)


def _inner(fields: Mapping[str, Any], need: Need) -> Any:
    value: Any = fields
    for name in need.path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
