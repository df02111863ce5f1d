"""A SELECT's tree read into a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sqlglot import exp

from vecdb.filters.tokens import Parameter
from vecdb.query.order import By
from vecdb.sql.access import Access
from vecdb.sql.conditions import Conditions
from vecdb.sql.expressions import Compiler, aggregate_name, is_constant
from vecdb.sql.groups import find_aggregates, read_groups
from vecdb.sql.parse import Node, Statement
from vecdb.sql.scope import METRICS, Scope, Side
from vecdb.sql.select import Inner, OrderBy, Output, Select
from vecdb.storage.catalog import Schema

_COMMON: Final = "with_ with from_ from"
_SELECT: Final = f"{_COMMON} expressions distinct joins where group having order limit offset"
_HINT: Final = "vecdb has SELECT ... FROM ... JOIN ... WHERE ... GROUP BY ... HAVING ... ORDER BY ... LIMIT ... OFFSET"


class Planner:
    """Plans the SELECTs of one statement, the sub-selects among them."""

    def __init__(self, statement: Statement, schema: Callable[[Statement, Node], Schema]) -> None:
        self.statement = statement
        self._schema = schema
        self._outer: list[Scope] = []
        self.schemas: dict[int, Schema] = {}  # that the plan is made for

    def select(self, node: Node, ctes: Mapping[str, Node] | None = None) -> Select:
        """The plan of a SELECT; `ctes` are what WITH names."""
        if not isinstance(node, exp.Select):
            raise self.statement.refuse(node, f"there is no {type(node).__name__.upper()}", _HINT)
        self.statement.check(node, _SELECT, _HINT)
        if not node.expressions:
            raise self.statement.refuse(node, "this SELECT selects nothing", "name columns, or write *")
        named = self._read_with(node, dict(ctes or {}))
        plan = Select()
        sides = []
        for source in self._sources(node):
            access, side = self._source(source, named)
            plan.accesses.append(access)
            sides.append(side)
        scope = Scope(self.statement, sides, self._outer)
        if len(sides) == 2 and sides[0].name.casefold() == sides[1].name.casefold():
            raise self.statement.refuse(
                node, f"both tables are called {sides[0].name}", "give one another name: table AS t"
            )
        _SelectReader(self, node, scope, plan, named).read()
        return plan

    def side(self, node: Node) -> Side:
        """A table of the statement."""
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise self.statement.refuse(node, "the name of a table is needed here", "write FROM table")
        self.statement.check(node, "this alias joins", "a table is named by its name alone, or name AS alias")
        alias = node.args.get("alias")
        if alias is not None:
            self.statement.check(alias, "this", "an alias has no columns")
        schema = self._schema(self.statement, node)
        self.schemas[schema.table] = schema
        return Side(alias.name if alias is not None else schema.name, schema, columns_of(schema))

    def inner(self, node: Node, kind: str, plan: Select, scope: Scope, ctes: Mapping[str, Node]) -> Node:
        """The parameter that stands for a sub-select's result."""
        select = node.this if isinstance(node, exp.Subquery) else node
        self._outer.append(scope)
        made = self.select(select, ctes)
        self._outer.pop()
        if kind != "exists" and len(made.outputs) != 1:
            raise self.statement.refuse(
                select, f"this sub-select has {len(made.outputs)} columns", "one is needed here"
            )
        number = self.add_parameter("sub-select", node)
        plan.inner.append(Inner(made, kind, number))
        return exp.Placeholder(this=str(number))

    def add_parameter(self, what: str, node: Node) -> int:
        """The number of a parameter that no caller gives, but the statement's own running."""
        number = len(self.statement.parameters)
        self.statement.parameters.append(Parameter(f"{what} {number}", self.statement.place(node)))
        return number

    def _read_with(self, node: Node, named: dict[str, Node]) -> dict[str, Node]:
        clause = node.args.get("with_") or node.args.get("with")
        if clause is None:
            return named
        self.statement.check(clause, "expressions", "WITH is not recursive in vecdb")
        for item in clause.expressions:
            self.statement.check(item, "this alias", "write WITH name AS (SELECT ...)")
            self.statement.check(item.args["alias"], "this", "name the columns within the SELECT, by AS")
            named[item.alias.casefold()] = item.this
        return named

    def _sources(self, node: Node) -> Iterator[Node]:
        origin = node.args.get("from_") or node.args.get("from")
        joins = node.args.get("joins") or []
        if origin is None:
            if joins:
                raise self.statement.refuse(joins[0], "JOIN without FROM", "write FROM table JOIN table ON ...")
            return
        yield origin.this
        if origin.this.args.get("joins"):
            joins = [*origin.this.args["joins"], *joins]
        if len(joins) > 1:
            raise self.statement.refuse(
                joins[1], "there are three tables or more", "join two; a third by IN (SELECT ...)"
            )
        for join in joins:
            yield join.this

    def _source(self, node: Node, named: dict[str, Node]) -> tuple[Access | Select, Side]:
        if isinstance(node, exp.Table) and (query := named.get(node.name.casefold())) is not None:
            self.statement.check(node, "this alias joins")
            # What WITH names can be used by those after it, not by itself.
            before = {name: other for name, other in named.items() if name != node.name.casefold()}
            return self._derived(self.select(query.copy(), before), node.alias or node.name)
        if isinstance(node, exp.Subquery):
            self.statement.check(node, "this alias", "write FROM (SELECT ...) AS name")
            return self._derived(self.select(node.this, named), node.alias or "sub-select")
        side = self.side(node)
        return Access(side), side

    def _derived(self, select: Select, name: str) -> tuple[Select, Side]:
        return select, Side(name, None, tuple(output.name for output in select.outputs))


def columns_of(schema: Schema) -> tuple[str, ...]:
    """What `*` is of a table: its id, declared fields and vectors."""
    return ("id", *schema.field_names, *schema.json, *(column.name for column in schema.columns))


class _SelectReader:
    def __init__(self, planner: Planner, node: Node, scope: Scope, plan: Select, ctes: Mapping[str, Node]) -> None:
        self.planner = planner
        self.statement = planner.statement
        self.node = node
        self.scope = scope
        self.plan = plan
        self.ctes = ctes
        self.compiler = Compiler(scope)
        self.aliases: dict[str, Node] = {}
        self.outputs: list[tuple[str, Node]] = []

    def read(self) -> None:
        plan, node = self.plan, self.node
        self._run_inner()
        self._read_outputs()
        where = node.args.get("where")
        conditions = Conditions(node, self.scope, plan, self.compiler)
        only_ends = conditions.read(None if where is None else self._named(where.this))
        group, having, order = node.args.get("group"), node.args.get("having"), node.args.get("order")
        if group is not None:
            self.statement.check(group, "expressions", "write GROUP BY column, ...")
        keys = [self._named(self._ordinal(key, "GROUP BY")) for key in (group.expressions if group else [])]
        having_node = None if having is None else self._named(having.this)
        orders = [self._order(item) for item in (order.expressions if order is not None else [])]
        trees = [tree for _, tree in self.outputs] + [tree for tree, _, _ in orders]
        if having_node is not None:
            trees.append(having_node)
        aggregates = find_aggregates(trees)
        compiler = self.compiler
        if keys or aggregates:
            compiler = read_groups(plan, compiler, keys, aggregates)
        elif having is not None:
            raise self.statement.refuse(having, "HAVING without GROUP BY", "conditions on rows: WHERE")
        if having_node is not None:
            plan.having = compiler.condition(having_node)
        plan.outputs = [Output(name, compiler.compile(tree), self._type(tree)) for name, tree in self.outputs]
        distinct = node.args.get("distinct")
        if distinct is not None:
            self.statement.check(distinct, "expressions", "write SELECT DISTINCT columns")
            plan.distinct = True
        self._read_order(orders, compiler)
        first = plan.accesses[0] if plan.accesses else None
        searched = isinstance(first, Access) and first.search is not None
        plan.ends_within = not plan.rest or (only_ends and searched)
        for name in ("limit", "offset"):
            clause = node.args.get(name)
            if clause is not None:
                self.statement.check(clause, "this expression", f"write {name.upper()} number")
                if not is_constant(clause.expression):
                    raise self.statement.refuse(clause.expression, f"{name.upper()} is a number", "or a parameter")
                setattr(plan, name, Compiler(Scope(self.statement, [])).compile(clause.expression))
        self._finish()

    def _finish(self) -> None:
        """Which outputs of a sub-select in FROM are needed is known at last."""
        sides = self.scope.sides
        self.plan.needs = [
            [side.columns.index(need.path[0]) for need in side.needs] if side.schema is None else [] for side in sides
        ]
        self.plan.widths = [lambda side=side: len(side.needs) for side in sides]  # type: ignore[misc]
        plan = self.plan
        if len(sides) == 1 and sides[0].schema and not (plan.rest or plan.grouping or plan.order or plan.distinct):
            places = [self.compiler.place(tree) for _, tree in self.outputs]
            plan.places = None if None in places else [place for place in places if place is not None]

    def _run_inner(self) -> None:
        """Put parameters in the place of sub-selects."""
        for part in list(self.node.find_all(exp.Subquery, exp.Exists, exp.In, bfs=True)):
            if part.find_ancestor(exp.Select) is not self.node or isinstance(part.parent, (exp.From, exp.Join)):
                continue
            if isinstance(part, exp.In):
                query = part.args.get("query")
                if query is not None:
                    part.set("query", None)
                    part.set("field", self.planner.inner(query, "values", self.plan, self.scope, self.ctes))
            elif isinstance(part, exp.Exists):
                part.replace(self.planner.inner(part.this, "exists", self.plan, self.scope, self.ctes))
            elif not isinstance(part.parent, exp.In):
                part.replace(self.planner.inner(part, "value", self.plan, self.scope, self.ctes))

    def _read_outputs(self) -> None:
        for item in self.node.expressions:
            if isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star)):
                self._read_star(item)
                continue
            tree = item.this if isinstance(item, exp.Alias) else item
            if isinstance(item, exp.Alias):
                self.aliases[item.alias.casefold()] = tree
            self.outputs.append((item.alias if isinstance(item, exp.Alias) else _name_of(tree), tree))

    def _read_star(self, item: Node) -> None:
        sides = self.scope.sides
        if isinstance(item, exp.Column):
            number = self.scope.find(item.table)
            if number is None:
                raise self.statement.refuse(item, f"there is no table {item.table} here", "write alias.*, or *")
            sides = [sides[number]]
        elif item.args.get("except_") or item.args.get("except") or item.args.get("replace"):
            raise self.statement.refuse(item, "* has no EXCEPT", "name the columns")
        if not sides:
            raise self.statement.refuse(item, "* without FROM", "write FROM table")
        for side in sides:
            for name in side.columns:
                column = exp.Column(
                    this=exp.Identifier(this=name, quoted=True), table=exp.Identifier(this=side.name, quoted=True)
                )
                self.outputs.append((name, column))

    def _order(self, item: Node) -> tuple[Node, bool, bool]:
        if not isinstance(item, exp.Ordered):
            raise self.statement.refuse(item, "ORDER BY can't be read", "write ORDER BY column DESC, ...")
        self.statement.check(item, "this desc nulls_first", "write ORDER BY column DESC NULLS LAST, ...")
        node = self._ordinal(item.this, "ORDER BY")
        if isinstance(node, exp.Column) and not node.args.get("table") and node.name.casefold() in self.aliases:
            node = self.aliases[node.name.casefold()]
        return self._named(node), bool(item.args.get("desc")), bool(item.args.get("nulls_first"))

    def _read_order(self, orders: list[tuple[Node, bool, bool]], compiler: Compiler) -> None:
        plan = self.plan
        access = plan.accesses[0] if len(plan.accesses) == 1 else None
        plain = isinstance(access, Access) and plan.grouping is None and not plan.distinct
        if plain and isinstance(access, Access) and access.ids is None and orders:
            if len(orders) == 1 and not orders[0][1] and orders[0][2] and self._search(access, orders[0][0]):
                return
            fields = [self._field_order(*item) for item in orders]
            if all(item is not None for item in fields):
                access.order = [item for item in fields if item is not None]
                return
        if orders and plan.grouping is None:
            self._leave_out(*orders[0])
        plan.order = [OrderBy(compiler.compile(node), down, first) for node, down, first in orders]

    def _leave_out(self, node: Node, descending: bool, nulls_first: bool) -> None:
        """Rows without a vector, where they are ordered by its distance: a search would not find them."""
        if not descending and nulls_first and self.compiler.distance(node) is not None:
            value = self.compiler.compile(node)
            self.plan.rest.append(lambda row, given: value(row, given) is not None)

    def _search(self, access: Access, node: Node) -> bool:
        """ORDER BY a distance of the column's own metric is a search."""
        need = self.compiler.distance(node)
        schema = access.side.schema
        if need is None or schema is None:
            return False
        column = schema.column(need.path[0])
        if column is None or column.options.metric != need.metric:
            return False
        access.search = need
        return True

    def _field_order(self, node: Node, descending: bool, nulls_first: bool) -> By | None:
        if not isinstance(node, (exp.Column, exp.Dot)) or nulls_first is descending:
            return None
        found = self.scope.resolve(node)
        return By(found.path, descending) if found.kind == "field" else None

    def _ordinal(self, node: Node, clause: str) -> Node:
        """A number stands for the output in that place."""
        if not isinstance(node, exp.Literal) or node.args.get("is_string"):
            return node
        number = int(node.this) if node.this.isdigit() else 0
        if not 1 <= number <= len(self.outputs):
            raise self.statement.refuse(
                node, f"{clause} {node.this}: there is no such column", f"1 to {len(self.outputs)}"
            )
        return self.outputs[number - 1][1]

    def _named(self, node: Node) -> Node:
        """With aliases replaced by what they stand for, where no column has the name."""
        if not self.aliases:
            return node

        def replace(part: Any) -> Any:
            if isinstance(part, exp.Column) and not part.args.get("table") and isinstance(part.this, exp.Identifier):
                name, quoted = part.name, bool(part.this.args.get("quoted"))
                if name.casefold() in self.aliases and not self.scope.is_declared(name, quoted):
                    return self.aliases[name.casefold()].copy()
            return part

        named: Node = node.transform(replace)
        return named

    def _type(self, node: Node) -> str | None:
        if isinstance(node, exp.Column):
            found = self.scope.resolve(node)
            side = self.scope.sides[found.side]
            if side.schema is None:
                return None
            declared = side.schema.field_types.get(found.path[0]) if len(found.path) == 1 else None
            return declared if found.kind == "field" else found.kind
        if isinstance(node, tuple(METRICS)) or aggregate_name(node) in ("sum", "avg", "total"):
            return "float"
        if aggregate_name(node) == "count":
            return "int"
        return None


def _name_of(node: Node) -> str:
    if isinstance(node, exp.Column):
        return node.name
    if isinstance(node, exp.Dot):
        return str(node.expression.name)
    if isinstance(node, tuple(METRICS)):
        return "distance"
    text: str = node.sql(dialect="postgres")
    return text
