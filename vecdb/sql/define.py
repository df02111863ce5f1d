"""CREATE, ALTER and DROP: read from their trees, and done by what `Database` and `Table` offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from vecdb.errors import FieldError, IntegrityError, TableNotFoundError
from vecdb.fields.schema import constrain_field, declare_fields, declare_table
from vecdb.filters.column import col
from vecdb.options import Metric, Vector
from vecdb.sql.assign import OF_TYPES
from vecdb.sql.cursor import Result
from vecdb.sql.expressions import Compiler, is_constant, type_name
from vecdb.sql.parse import Node, Statement
from vecdb.sql.scope import Scope
from vecdb.storage.catalog import Column, Field, Schema

if TYPE_CHECKING:
    from vecdb.database import Database

Action = Callable[["Database"], Result]

_TYPES: Final[Mapping[str, type]] = {
    "INT": int, "BIGINT": int, "SMALLINT": int, "SERIAL": int, "BIGSERIAL": int,
    "FLOAT": float, "DOUBLE": float,
    "TEXT": str, "VARCHAR": str,
    "BOOLEAN": bool,
    "TIMESTAMP": datetime, "TIMESTAMPTZ": datetime, "DATETIME": datetime,
}  # fmt: skip
_TYPE_HINT: Final = (
    "there are INTEGER, REAL, TEXT, BOOLEAN, TIMESTAMP, lists of them as TEXT[], JSON, VECTOR(n), HALFVEC(n)"
)
_METRICS: Final[Mapping[str, Metric]] = {"cosine": "cosine", "l2": "l2", "ip": "ip"}
_OPCLASSES: Final[Mapping[str, Metric]] = {
    f"{kind}_{ops}_ops": metric for kind in ("vector", "halfvec") for ops, metric in _METRICS.items()
}
_INDEX_HINT: Final = "write CREATE INDEX ON table (field), or USING hnsw (vector vector_cosine_ops) WITH (m = 16)"


def read_definition(statement: Statement) -> Action:
    """What a CREATE, ALTER or DROP does. Raises SqlError."""
    node = statement.tree
    kind = str(node.args.get("kind") or "").upper()
    if isinstance(node, exp.Create) and kind == "TABLE":
        return _create_table(statement, node)
    if isinstance(node, exp.Create) and kind == "INDEX":
        return _create_index(statement, node)
    if isinstance(node, exp.Alter) and kind == "TABLE":
        return _alter_table(statement, node)
    if isinstance(node, exp.Drop) and kind in ("TABLE", "INDEX"):
        return _drop(statement, node, kind)
    word = type(node).__name__.upper()
    raise statement.refuse(node, f"there is no {word} {kind}".rstrip(), "there are tables and indexes")


def _table_name(statement: Statement, node: Node | None) -> str:
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        raise statement.refuse(
            node or statement.tree, "the name of a table is needed here", "write it without a schema"
        )
    statement.check(node, "this", "a table is named by its name alone")
    return str(node.this.this)


def find_table(database: Database, name: str) -> str:
    """The table that a name means: as it is written, or else in other case."""
    names = database.tables()
    alike = [other for other in names if other.casefold() == name.casefold()]
    return alike[0] if name not in names and len(alike) == 1 else name


def _create_table(statement: Statement, node: Node) -> Action:
    if not isinstance(node.this, exp.Schema):
        raise statement.refuse(
            node, "a table is created by its columns", "write CREATE TABLE name (id TEXT PRIMARY KEY, ...)"
        )
    statement.check(node, "this kind exists", "write CREATE TABLE name (column TYPE, ...)")
    name, exist_ok = _table_name(statement, node.this.this), bool(node.args.get("exists"))
    reader = _ColumnReader(statement)
    for item in node.this.expressions:
        reader.read(item)
    fields = [_field(name, *declared) for name, declared in reader.fields.items()]
    schema = declare_table(name, reader.vectors, fields, json=reader.json)

    def create(database: Database) -> Result:
        if exist_ok and name in database:
            return Result()
        database._create(schema, exist_ok=False)
        return Result()

    return create


def _field(name: str, kind: object, required: bool, default: Any) -> Field:
    (field,) = declare_fields({name: kind})
    convert = OF_TYPES.get(field.type)
    value = default if convert is None or default is None else convert(default)
    return constrain_field(field, required=required, default=value)


class _ColumnReader:
    """The columns of a CREATE TABLE."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.fields: dict[str, tuple[object, bool, Any]] = {}  # type, NOT NULL, DEFAULT
        self.vectors: dict[str, Vector] = {}
        self.json: list[str] = []
        self._names: set[str] = set()

    def read(self, item: Node) -> None:
        statement = self.statement
        if not isinstance(item, exp.ColumnDef):
            raise statement.refuse(
                item, "constraints of a table are not there", "PRIMARY KEY, NOT NULL and DEFAULT stand at a column"
            )
        statement.check(item, "this kind constraints")
        name = item.name
        if name.casefold() in self._names:
            raise statement.refuse(item, f"there is a column {name} already", "name it once")
        self._names.add(name.casefold())
        if item.args.get("kind") is None:
            raise statement.refuse(item, f"column {name} has no type", _TYPE_HINT)
        key, required, default = self._constraints(item)
        kind, vector = read_type(statement, item)
        if key or name == "id":
            if name != "id":
                raise statement.refuse(item, f"{name} can't be the primary key", "a table's primary key is called id")
            if kind not in (int, str) or default is not None:
                raise statement.refuse(item, "ids are INTEGER or TEXT, without a DEFAULT", "write id TEXT PRIMARY KEY")
            return
        if vector is not None or kind is None:
            if required or default is not None:
                raise statement.refuse(
                    item, f"column {name} can have no constraint", "NOT NULL and DEFAULT are for fields"
                )
            if vector is not None:
                self.vectors[name] = vector
            else:
                self.json.append(name)
            return
        if type_name(item.args["kind"]).endswith("SERIAL"):
            raise statement.refuse(item, f"column {name} can't count rows", "ids do; others are INTEGER")
        self.fields[name] = kind, required, default

    def _constraints(self, item: Node) -> tuple[bool, bool, Any]:
        statement, key, required, default = self.statement, False, False, None
        for constraint in item.args.get("constraints") or []:
            kind = constraint.args.get("kind")
            if isinstance(kind, exp.PrimaryKeyColumnConstraint):
                key = True
            elif isinstance(kind, exp.AutoIncrementColumnConstraint) and item.name == "id":
                pass  # as ids are anyhow
            elif isinstance(kind, exp.NotNullColumnConstraint):
                required = not kind.args.get("allow_null")
            elif isinstance(kind, exp.DefaultColumnConstraint):
                if not is_constant(kind.this) or isinstance(kind.this, exp.Placeholder):
                    raise statement.refuse(kind.this, "a DEFAULT is a value", "write it out")
                default = Compiler(Scope(statement, [])).compile(kind.this)((), [])
            else:
                what = constraint.sql(dialect="postgres").split("(")[0]
                raise statement.refuse(
                    item, f"column {item.name}: no {what}", "there are PRIMARY KEY, NOT NULL and DEFAULT"
                )
        return key, required, default


def read_type(statement: Statement, item: Node) -> tuple[object, Vector | None]:
    """The type of a column: of a field, or a vector column, or None and None for JSON."""
    node = item.args["kind"]
    name = type_name(node)
    if name in ("VECTOR", "HALFVEC"):
        sizes = [size.this.this if isinstance(size, exp.DataTypeParam) else "" for size in node.expressions]
        if len(sizes) != 1 or not str(sizes[0]).isdigit():
            raise statement.refuse(item, "a vector column needs its length", f"write {name}(384)")
        return None, Vector(int(sizes[0]), dtype="float32" if name == "VECTOR" else "float16")
    if name == "ARRAY":
        inner = node.expressions[0] if node.expressions else node
        member = _TYPES.get(type_name(inner))
        if member is None:
            raise statement.refuse(item, "there are no lists of this type", _TYPE_HINT)
        return list[member], None  # type: ignore[valid-type]
    if name in ("JSON", "JSONB"):
        return None, None
    if name not in _TYPES:
        raise statement.refuse(item, f"there is no type {node.sql(dialect='postgres')}", _TYPE_HINT)
    return _TYPES[name], None


def _create_index(statement: Statement, node: Node) -> Action:
    statement.check(
        node,
        "this kind exists concurrently",
        "indexes are not unique; ids are" if node.args.get("unique") else _INDEX_HINT,
    )
    index, exist_ok = node.this, bool(node.args.get("exists"))
    if not isinstance(index, exp.Index):
        raise statement.refuse(node, "the index can't be read", _INDEX_HINT)
    statement.check(index, "this table params", _INDEX_HINT)
    table = _table_name(statement, index.args.get("table"))
    params = index.args.get("params") or exp.IndexParameters()
    statement.check(params, "using columns with_storage", _INDEX_HINT)
    using = "" if params.args.get("using") is None else str(params.args["using"].name).lower()
    items: list[Node] = [
        item.this if isinstance(item, exp.Ordered) else item for item in params.args.get("columns") or []
    ]
    if not items:
        raise statement.refuse(node, "the index names no column", _INDEX_HINT)
    if using == "hnsw":
        return _create_graph(statement, table, items, params)
    if using not in ("", "btree"):
        raise statement.refuse(node, f"there is no index USING {using}", "fields have one kind of index; vectors: hnsw")
    if params.args.get("with_storage"):
        raise statement.refuse(node, "an index of a field has no options", "leave out WITH")
    names = []
    for item in items:
        if not isinstance(item, exp.Column):
            raise statement.refuse(node, "an index is of fields", _INDEX_HINT)
        names.append(item.name)

    def create(database: Database) -> Result:
        found = database.table(find_table(database, table))
        with database.transaction():
            for name in names:
                if not (exist_ok and name in found.indexes):
                    found.create_index(_field_of(found.fields, name))
        return Result()

    return create


def _create_graph(statement: Statement, table: str, items: list[Node], params: Node) -> Action:
    """The graph of a vector column is there from the beginning: other options mean to build it anew."""
    if len(items) != 1:
        raise statement.refuse(items[1], "an hnsw index is of one column", _INDEX_HINT)
    item = items[0]
    opclass = None
    if isinstance(item, exp.Opclass):
        opclass = item.expression.name.lower()
        item = item.this
        if opclass not in _OPCLASSES:
            raise statement.refuse(item, f"there is no {opclass}", f"there are {', '.join(_OPCLASSES)}")
    if not isinstance(item, exp.Column):
        raise statement.refuse(item, "an hnsw index is of one column", _INDEX_HINT)
    name = item.name
    options: dict[str, Any] = {} if opclass is None else {"metric": _OPCLASSES[opclass]}
    for prop in params.args.get("with_storage") or []:
        key, value = str(prop.this.name).lower(), prop.args.get("value")
        if key not in ("m", "ef_construction") or not isinstance(value, exp.Literal) or not value.this.isdigit():
            raise statement.refuse(
                prop, f"there is no option {key} of this form", "there are m = 16 and ef_construction = 128"
            )
        options[key] = int(value.this)
    place = statement.place(item)

    def create(database: Database) -> Result:
        found = find_table(database, table)
        with database._view() as view:
            schema = view.find_table(found).schema
        column = schema.column(name)
        if column is None:
            raise FieldError(f"table {found!r} has no vector column {name!r}, at {place}")
        wanted = replace(column.options, **options)
        if wanted != column.options:
            _rebuild(database, schema, replace(column, options=wanted))
        return Result()

    return create


def _rebuild(database: Database, schema: Schema, column: Column) -> None:
    """Write a table again with another graph, in one transaction; its rows are in memory meanwhile."""
    with database.transaction():
        rows = list(database.table(schema.name).scan(vectors=True))
        database.drop_table(schema.name)
        columns = tuple(column if other.number == column.number else other for other in schema.columns)
        table = database._create(replace(schema, table=0, columns=columns), exist_ok=False)
        if rows:
            vectors = {other.name: [(row.vectors or {}).get(other.name) for row in rows] for other in columns}
            table.insert([row.id for row in rows], vectors, [row.fields for row in rows])


def _field_of(fields: Mapping[str, str], name: str) -> str:
    alike = [field for field in fields if field.casefold() == name.casefold()]
    return alike[0] if name not in fields and len(alike) == 1 else name


def _alter_table(statement: Statement, node: Node) -> Action:
    statement.check(node, "this kind actions", "write ALTER TABLE name ADD COLUMN field TYPE")
    table = _table_name(statement, node.this)
    reader, skipped = _ColumnReader(statement), set[str]()
    for action in node.args.get("actions") or []:
        if not isinstance(action, exp.ColumnDef):
            raise statement.refuse(
                action, "a table is only altered by ADD COLUMN", "write ALTER TABLE name ADD COLUMN field TYPE"
            )
        if action.args.get("exists"):
            action.set("exists", None)
            skipped.add(action.name)
        reader.read(action)
        if action.name not in reader.fields:
            raise statement.refuse(
                action, f"column {action.name} can't be added", "vectors and JSON are declared by CREATE TABLE"
            )
    if not reader.fields:
        raise statement.refuse(node, "nothing is altered", "write ALTER TABLE name ADD COLUMN field TYPE")
    added = [_field(name, *declared) for name, declared in reader.fields.items()]

    def alter(database: Database) -> Result:
        found = database.table(find_table(database, table))
        with database.transaction():
            for field in added:
                if field.name in skipped and field.name in found.fields:
                    continue
                if field.required and field.default is None and len(found):
                    raise IntegrityError(
                        f"field {field.name!r} is NOT NULL, and there are rows that would lack it; give it a DEFAULT"
                    )
                found._add_field(field)
                if field.default is not None:
                    found.update(where=col(field.name).is_null(), fields={field.name: field.default})
        return Result()

    return alter


def _drop(statement: Statement, node: Node, kind: str) -> Action:
    statement.check(node, "tables this kind exists", f"write DROP {kind} name")
    exist_ok = bool(node.args.get("exists"))
    names = node.args.get("tables") or [node.this]
    if len(names) != 1 or not isinstance(names[0], exp.Table):
        raise statement.refuse(node, f"one {kind.lower()} is dropped at a time", f"write DROP {kind} name")
    target = names[0]
    if kind == "INDEX":
        if target.args.get("db") is None or target.args.get("catalog"):
            raise statement.refuse(target, "indexes have no names of their own", "write DROP INDEX table.field")
        field = target.name

        def drop_index(database: Database) -> Result:
            found = database.table(find_table(database, target.db))
            name = _field_of(found.fields, field)
            if not (exist_ok and name not in found.indexes):
                found.drop_index(name)
            return Result()

        return drop_index
    name = _table_name(statement, target)

    def drop_table(database: Database) -> Result:
        try:
            database.drop_table(find_table(database, name))
        except TableNotFoundError:
            if not exist_ok:
                raise
        return Result()

    return drop_table
