"""INSERT, UPDATE and DELETE: read from their trees, and run by what `Table` writes with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from sqlglot import exp

from vecdb.errors import IntegrityError
from vecdb.sql.access import Access, Running
from vecdb.sql.assign import converters
from vecdb.sql.cursor import Result
from vecdb.sql.expressions import Compiler, aggregate_name
from vecdb.sql.parse import Node
from vecdb.sql.plan import Planner, columns_of
from vecdb.sql.scope import Evaluate, Need, Row, Scope, Side
from vecdb.sql.select import Select
from vecdb.storage.catalog import Schema
from vecdb.storage.rows import Id
from vecdb.table import Table

if TYPE_CHECKING:
    from vecdb.database import Database

_INSERT = "INSERT INTO table (id, field, vector) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING, or DO UPDATE SET ..."


class Returning:
    """What RETURNING gives of rows that were written: a SELECT of them, by ids that are as a parameter to it."""

    def __init__(self, planner: Planner, clause: Node, table: Node) -> None:
        planner.statement.check(clause, "expressions", "write RETURNING columns")
        self.select = planner.select(exp.Select(expressions=clause.expressions, from_=exp.From(this=table.copy())))
        number = self._number = planner.add_parameter("RETURNING", clause)
        access = self.select.accesses[0]
        assert isinstance(access, Access)
        access.ids = lambda row, given: given[number]

    def result(self, database: Database, given: list[Any], changed: int, ids: Sequence[Id]) -> Result:
        values = given.copy()
        values[self._number] = ids
        with database._view() as view:
            rows = self.select.run(Running(view, values))
        outputs = self.select.outputs
        return Result(
            [item.name for item in outputs], rows, [item.type for item in outputs], changed, ids[-1] if ids else None
        )


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
        self.vectors = frozenset(column.name for column in self.schema.columns)
        self.converters = converters(self.schema)
        clause = node.args.get("returning")
        self.returning = None if clause is None else Returning(planner, clause, table)

    def run(self, database: Database, runs: Iterable[list[Any]], ef: int | None) -> Result:
        raise NotImplementedError

    def _finish(self, database: Database, given: list[Any], changed: int, ids: Sequence[Id]) -> Result:
        if self.returning is None:
            return Result(changed=changed, last_id=ids[-1] if ids else None)
        return self.returning.result(database, given, changed, ids)

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

    def _rows(self, values: Sequence[Node] = ()) -> Select:
        """The ids of the rows that WHERE is about, with values of each."""
        where = self.node.args.get("where")
        return self.planner.select(
            exp.Select(
                expressions=[exp.Column(this=exp.Identifier(this="id", quoted=True)), *values],
                from_=exp.From(this=self.table.copy()),
                **({} if where is None else {"where": where}),
            )
        )

    def _assignment(self, item: Node) -> tuple[str, Node]:
        """`column = value` of SET."""
        if not isinstance(item, exp.EQ):
            raise self.statement.refuse(item, "SET is followed by column = value", "separate several by commas")
        name, value = self._target(item.this), self._value(item.this, item.expression)
        if name == "id":
            raise self.statement.refuse(
                item, "an id does not change", "insert the row under another id, and delete this one"
            )
        for part in value.find_all(exp.Anonymous):
            if aggregate_name(part) is not None and part.find_ancestor(exp.Select) is None:
                raise self.statement.refuse(part, "an aggregate can't stand here", "write (SELECT MAX(a) FROM b)")
        return name, value

    def _value(self, target: Node, value: Node) -> Node:
        """What is to be written into a column; DEFAULT is its default."""
        word = value.this if isinstance(value, exp.Column) and not value.args.get("table") else value
        if not isinstance(word, (exp.Identifier, exp.Var)) or str(word.this).upper() != "DEFAULT":
            return value
        if word.args.get("quoted"):
            return value
        position = self.schema.positions.get(self._target(target))
        default = None if position is None else self.schema.fields[position].default
        # A time is written as its text, which becomes one again.
        constant: Any = exp.convert(default.isoformat() if isinstance(default, datetime) else default)
        return cast(Node, constant)

    def _write(self, table: Table, ids: list[Id], changes: list[dict[str, Any]]) -> None:
        """Change fields and vectors of rows."""
        if not ids:
            return
        for change in changes:
            self._convert(change)
        fields = [{name: value for name, value in change.items() if name not in self.vectors} for change in changes]
        given = {name: [change[name] for change in changes] for name in changes[0] if name in self.vectors}
        table.update(ids, fields=fields, vectors=given or None)

    def _convert(self, row: dict[str, Any]) -> None:
        for name in row.keys() & self.converters.keys():
            if row[name] is not None:
                row[name] = self.converters[name](row[name])


class Insert(Change):
    """INSERT, with what to do about ids that exist."""

    def __init__(self, planner: Planner, node: Node) -> None:
        target = node.this.this if isinstance(node.this, exp.Schema) else node.this
        super().__init__(planner, node, target)
        self.statement.check(node, "this expression conflict returning alternative", _INSERT)
        alternative = str(node.args.get("alternative") or "").upper()
        if alternative not in ("", "REPLACE", "IGNORE"):
            raise self.statement.refuse(
                node, f"there is no INSERT OR {alternative}", "there are INSERT OR REPLACE and INSERT OR IGNORE"
            )
        self.replaces, self.ignores = alternative == "REPLACE", alternative == "IGNORE"
        self.select: Select | None = None
        self.rows: list[list[Evaluate]] = []
        self.columns: list[str] = []
        self._read_rows()
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
            self.rows.append(
                [
                    compiler.compile(self._value(exp.Identifier(this=name, quoted=True), item))
                    for name, item in zip(self.columns, items, strict=True)
                ]
            )

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
            name, value = self._assignment(item)
            self.changes.append((name, compiler.compile(value)))
        if conflict.args.get("where") is not None:
            self.condition = compiler.condition(conflict.args["where"].this)

    def run(self, database: Database, runs: Iterable[list[Any]], ef: int | None) -> Result:
        """Insert the rows of all runs as one batch."""
        rows: list[Sequence[Any]] = []
        origins: list[list[Any]] = []  # the arguments that each row came with
        given: list[Any] = []
        with database.transaction():
            for given in runs:
                if self.select is not None:
                    with database._view() as view:
                        rows += self.select.run(Running(view, given, ef))
                else:
                    rows += [[value((), given) for value in row] for row in self.rows]
                origins += [given] * (len(rows) - len(origins))
            table = Table(database, self.schema.name, self.schema.table)
            if self.ignores or self.changes:
                changed, ids = self._merge(table, rows, origins)
            else:
                ids = self._insert(table, rows, table.upsert if self.replaces else table.insert)
                changed = len(rows)
            return self._finish(database, given, changed, ids)

    def _insert(self, table: Table, rows: list[Sequence[Any]], write: Callable[..., Any]) -> list[Id]:
        if not rows:
            return []
        columns: dict[str, Sequence[Any]] = dict(zip(self.columns, zip(*rows, strict=True), strict=True))
        for name in columns.keys() & self.converters.keys():
            convert = self.converters[name]
            columns[name] = [value if value is None else convert(value) for value in columns[name]]
        ids = columns.pop("id", None)
        if ids is not None and all(identifier is None for identifier in ids):
            ids = None
        if ids is not None and None in ids:
            raise IntegrityError("some rows have an id and some have null; give ids to all of them, or to none")
        vectors = {name: list(columns.pop(name)) for name in self.vectors & columns.keys()}
        names = list(columns)
        undeclared = [name for name in names if name not in self.schema.positions]
        fields = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)] if names else None
        for row in fields if fields and undeclared else ():
            for name in undeclared:
                if row[name] is None:
                    del row[name]
        if ids is None and not vectors and fields is None:
            fields = [{}] * len(rows)  # so that they are counted
        made = write(None if ids is None else list(ids), vectors or None, fields)
        return made if isinstance(made, list) else [made]

    def _merge(self, table: Table, rows: list[Sequence[Any]], origins: Sequence[list[Any]]) -> tuple[int, list[Id]]:
        """Insert the rows whose ids are new; leave or change those that are there."""
        if "id" not in self.columns:
            return len(rows), self._insert(table, rows, table.insert)
        place = self.columns.index("id")
        known = [row[place] for row in rows if row[place] is not None]
        seen = {row.id for row in table.get(known, fields=False) if row is not None}
        fresh: list[Sequence[Any]] = []
        others: list[tuple[Sequence[Any], list[Any]]] = []
        for row, given in zip(rows, origins, strict=True):
            if row[place] in seen:
                others.append((row, given))
            else:
                fresh.append(row)
            if row[place] is not None:
                seen.add(row[place])
        written = self._insert(table, fresh, table.insert)
        if not self.ignores:
            written += [row[place] for row, given in others if self._change(table, row, row[place], given)]
        return len(written), written

    def _change(self, table: Table, row: Sequence[Any], identifier: Id, given: list[Any]) -> bool:
        old = table.get(identifier, vectors=True)
        assert old is not None
        known = dict(zip(self.columns, row, strict=True))
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
        self._write(table, [identifier], [{name: value(pair, given) for name, value in self.changes}])
        return True


class Update(Change):
    """UPDATE ... SET ... WHERE."""

    def __init__(self, planner: Planner, node: Node) -> None:
        super().__init__(planner, node, node.this)
        self.statement.check(
            node, "this expressions where returning", "write UPDATE table SET column = value WHERE ..."
        )
        changes = [self._assignment(item) for item in node.expressions]
        self.names = [name for name, _ in changes]
        self.select = self._rows([value for _, value in changes])

    def run(self, database: Database, runs: Iterable[list[Any]], ef: int | None) -> Result:
        table = Table(database, self.schema.name, self.schema.table)
        changed, written, given = 0, list[Id](), list[Any]()
        with database.transaction():
            for given in runs:
                with database._view() as view:
                    found = self.select.run(Running(view, given, ef))
                written = [row[0] for row in found]
                self._write(table, written, [dict(zip(self.names, row[1:], strict=True)) for row in found])
                changed += len(written)
            return self._finish(database, given, changed, written)


class Delete(Change):
    """DELETE FROM ... WHERE."""

    def __init__(self, planner: Planner, node: Node) -> None:
        super().__init__(planner, node, node.this)
        self.statement.check(node, "this where returning", "write DELETE FROM table WHERE ...")
        self.select = self._rows()

    def run(self, database: Database, runs: Iterable[list[Any]], ef: int | None) -> Result:
        table = Table(database, self.schema.name, self.schema.table)
        changed, result = 0, Result()
        with database.transaction():
            for given in runs:
                with database._view() as view:
                    found = [row[0] for row in self.select.run(Running(view, given, ef))]
                result = self._finish(database, given, len(found), found)  # before they are gone
                changed += table.delete(found)
        result.changed, result.last_id = changed, None
        return result


def _inner(fields: Mapping[str, Any], need: Need) -> Any:
    value: Any = fields
    for name in need.path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
