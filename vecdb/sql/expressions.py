"""Expressions compiled to functions of a row and the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from sqlglot import exp

from vecdb.filters.like import check_pattern, matcher
from vecdb.filters.place import TextPlace
from vecdb.filters.sql import COMPARISONS
from vecdb.sql import values
from vecdb.sql.functions import AGGREGATES, ALIASES, FUNCTIONS, Function
from vecdb.sql.parse import Node, Statement
from vecdb.sql.scope import METRICS, Evaluate, Need, Row, Scope
from vecdb.sql.vectors import distance, read_vector

_ARITHMETIC: Final[Mapping[type[Node], str]] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
_CASTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "INT": values.to_integer,
    "BIGINT": values.to_integer,
    "SMALLINT": values.to_integer,
    "FLOAT": values.to_real,
    "DOUBLE": values.to_real,
    "TEXT": values.to_text,
    "VARCHAR": values.to_text,
    "BOOLEAN": values.to_bool,
    "TIMESTAMP": values.to_datetime,
    "TIMESTAMPTZ": values.to_datetime,
    "VECTOR": lambda value: None if value is None else read_vector(value),
    "HALFVEC": lambda value: None if value is None else read_vector(value).astype(np.float16),
}
# Functions with a syntax of their own, with their arguments in order; all others are Anonymous.
_KNOWN: Final[Mapping[type[Node], tuple[str, tuple[str, ...]]]] = {
    exp.Substring: ("substr", ("this", "start", "length")),
    exp.StrPosition: ("instr", ("this", "substr")),
}


def aggregate_name(node: object) -> str | None:
    """The name of an aggregate function, if a node is one. Of several arguments, min and max are not."""
    if not isinstance(node, exp.Anonymous):
        return None
    name = str(node.this).lower()
    if name == "string_agg":
        return "group_concat"
    return name if name in AGGREGATES and not (name in ("min", "max") and len(node.expressions) > 1) else None


class Compiler:
    """Compiles the expressions of a statement. `known` are nodes that have a value already, as a group's key has."""

    def __init__(self, scope: Scope, known: Mapping[Node, Evaluate] | None = None) -> None:
        self.scope = scope
        self.statement: Statement = scope.statement
        self._known = known
        self._distances: dict[Node, tuple[int, int]] = {}

    def compile(self, node: Node) -> Evaluate:
        """The value of a node. Raises SqlError for what vecdb does not know."""
        if self._known is not None and (done := self._known.get(node)) is not None:
            return done
        if isinstance(node, exp.Paren):
            return self.compile(node.this)
        for kinds, method in _METHODS:
            if isinstance(node, kinds):
                return method(self, node)
        if isinstance(node, exp.Func):
            return self._function(node)
        raise self.statement.refuse(
            node, "vecdb's SQL has no such expression", "see the README for what there is; nested metadata is a.b.c"
        )

    def condition(self, node: Node) -> Callable[[Row, Any], bool | None]:
        evaluate = self.compile(node)
        return lambda row, given: values.truth(evaluate(row, given))

    def _column(self, node: Node) -> Evaluate:
        if self._known is not None:
            raise self.statement.refuse(
                node,
                f"{node.name} has no one value for a group of rows",
                f"name it in GROUP BY, or take MIN({node.name}), MAX, COUNT, ...",
            )
        side, kind, path = self.scope.resolve(node)
        place = self.scope.sides[side].need(Need(kind, path))
        return lambda row, given: row[side][place]

    def place(self, node: Node) -> int | None:
        """Where the value of a node stands in a row of its table, if it is a column or a distance of one."""
        if isinstance(node, (exp.Column, exp.Dot)):
            side, kind, path = self.scope.resolve(node)
            return self.scope.sides[side].need(Need(kind, path))
        found = self._find_distance(node) if isinstance(node, tuple(METRICS)) else None
        return None if found is None else found[1]

    def distance(self, node: Node) -> Need | None:
        """The distance that a node is: of a vector column to a query."""
        while isinstance(node, exp.Paren):
            node = node.this
        if not isinstance(node, tuple(METRICS)) or not self.scope.sides:
            return None
        found = self._find_distance(node)
        return None if found is None else self.scope.sides[found[0]].needs[found[1]]

    def _literal(self, node: Node) -> Evaluate:
        value: Any = node.this
        if not node.args.get("is_string"):
            try:
                value = int(value) if value.isdigit() else float(value)
            except ValueError:
                raise self.statement.refuse(node, "a number has too many digits", "give it as a parameter") from None
            if isinstance(value, int) and value >= 2**63:
                value = float(value)
        return lambda row, given: value

    def _boolean(self, node: Node) -> Evaluate:
        value = bool(node.this)
        return lambda row, given: value

    def _null(self, node: Node) -> Evaluate:
        return lambda row, given: None

    def _parameter(self, node: Node) -> Evaluate:
        number = int(node.this)
        return lambda row, given: given[number]

    def _connective(self, node: Node) -> Evaluate:
        """A chain leans to the left, and is walked rather than recursed into."""
        terms: list[Node] = [node.expression]
        inner = node.this
        while type(inner) is type(node):
            terms.append(inner.expression)
            inner = inner.this
        tests = [self.condition(term) for term in (inner, *reversed(terms))]
        decisive = isinstance(node, exp.Or)

        def connect(row: Row, given: Any) -> bool | None:
            result: bool | None = not decisive
            for test in tests:
                found = test(row, given)
                if found is decisive:
                    return decisive
                if found is None:
                    result = None
            return result

        return connect

    def _not(self, node: Node) -> Evaluate:
        test = self.condition(node.this)

        def complement(row: Row, given: Any) -> bool | None:
            found = test(row, given)
            return None if found is None else not found

        return complement

    def _comparison(self, node: Node) -> Evaluate:
        op = COMPARISONS[type(node)]
        if isinstance(node.expression, exp.Any):
            if op != "=":
                raise self.statement.refuse(node, "ANY goes with =", "for its opposite write NOT (... = ANY(...))")
            return self._membership(self.compile(node.this), self.compile(node.expression.this))
        left, right = self.compile(node.this), self.compile(node.expression)
        compare = values.compare
        return lambda row, given: compare(op, left(row, given), right(row, given))

    def _membership(self, item: Evaluate, members: Evaluate) -> Evaluate:
        def is_in(row: Row, given: Any) -> bool | None:
            found, among = item(row, given), members(row, given)
            if found is None or not (isinstance(among, (list, tuple, set, frozenset)) or hasattr(among, "tolist")):
                return None
            listed = among.tolist() if hasattr(among, "tolist") else among
            results = [values.compare("=", found, member) for member in listed]
            return True if True in results else None if any(member is None for member in listed) else False

        return is_in

    def _in(self, node: Node) -> Evaluate:
        self.statement.check(node, "this expressions field", "write IN (values), or IN ? for a list")
        item = self.compile(node.this)
        if node.args.get("field") is not None:
            return self._membership(item, self.compile(node.args["field"]))
        members = [self.compile(member) for member in node.expressions]
        return self._membership(item, lambda row, given: [member(row, given) for member in members])

    def _contains(self, node: Node) -> Evaluate:
        return self._membership(self.compile(node.expression), self.compile(node.this))

    def _between(self, node: Node) -> Evaluate:
        self.statement.check(node, "this low high")
        low = exp.GTE(this=node.this, expression=node.args["low"])
        high = exp.LTE(this=node.this, expression=node.args["high"])
        return self.compile(exp.And(this=low, expression=high))

    def _is(self, node: Node) -> Evaluate:
        left, right = self.compile(node.this), node.expression
        negated = bool(node.args.get("negate"))
        if isinstance(right, exp.Null):
            return lambda row, given: values.is_null(left(row, given)) is not negated
        if isinstance(right, exp.Boolean):
            wanted = bool(right.this)
            return lambda row, given: (values.truth(left(row, given)) is wanted) is not negated
        raise self.statement.refuse(right, "IS is followed by NULL, TRUE or FALSE", "compare values by =")

    def _like(self, node: Node) -> Evaluate:
        escape = "\\"
        if isinstance(node, exp.Escape):
            if not isinstance(node.expression, exp.Literal) or not node.expression.is_string:
                raise self.statement.refuse(node, "ESCAPE is followed by one character in quotes", "as ESCAPE '!'")
            escape, node = node.expression.this, node.this
        if not isinstance(node, (exp.Like, exp.ILike)):
            raise self.statement.refuse(node, "ESCAPE goes with LIKE", "leave it out")
        left, right = self.compile(node.this), self.compile(node.expression)
        ignore_case, negated = isinstance(node, exp.ILike), bool(node.args.get("negate"))
        place: TextPlace = self.statement.place(node.expression)

        def like(row: Row, given: Any) -> bool | None:
            text, pattern = left(row, given), right(row, given)
            if not isinstance(text, str) or not isinstance(pattern, str):
                return None
            return matcher(check_pattern(pattern, escape, place), ignore_case)(text) is not negated

        return like

    def _arithmetic(self, node: Node) -> Evaluate:
        op = _ARITHMETIC[type(node)]
        left, right = self.compile(node.this), self.compile(node.expression)
        calculate = values.arithmetic
        return lambda row, given: calculate(op, left(row, given), right(row, given))

    def _negation(self, node: Node) -> Evaluate:
        inner = self.compile(node.this)
        return lambda row, given: values.negate(inner(row, given))

    def _concatenation(self, node: Node) -> Evaluate:
        left, right = self.compile(node.this), self.compile(node.expression)

        def concatenate(row: Row, given: Any) -> str | None:
            one, other = values.to_text(left(row, given)), values.to_text(right(row, given))
            return None if one is None or other is None else one + other

        return concatenate

    def _distance(self, node: Node) -> Evaluate:
        metric = METRICS[type(node)]
        if self._known is None and (measured := self._find_distance(node)) is not None:
            side, place = measured
            return lambda row, given: row[side][place]
        left, right = self.compile(node.this), self.compile(node.expression)

        def between(row: Row, given: Any) -> float | None:
            one, other = left(row, given), right(row, given)
            return None if one is None or other is None else distance(metric, one, other)

        return between

    def _find_distance(self, node: Node) -> tuple[int, int] | None:
        """The side and place of the distance of a vector column to a query, if a node is one."""
        if node in self._distances:
            return self._distances[node]
        for one, other in ((node.this, node.expression), (node.expression, node.this)):
            if is_constant(other) and isinstance(one, (exp.Column, exp.Dot)):
                side, kind, path = self.scope.resolve(one)
                if kind == "vector":
                    wanted = Need("distance", path, METRICS[type(node)], self.compile(other))
                    self._distances[node] = side, self.scope.sides[side].need(wanted)
                    return self._distances[node]
                if self.scope.sides[side].schema is not None:
                    raise self.statement.refuse(
                        one, f"{'.'.join(path)} is no vector column", "distances are between vectors"
                    )
        return None

    def _case(self, node: Node) -> Evaluate:
        self.statement.check(node, "this ifs default")
        branches: list[tuple[Callable[[Row, Any], bool | None], Evaluate]] = []
        for branch in node.args["ifs"]:
            test = branch.this if node.this is None else exp.EQ(this=node.this, expression=branch.this)
            branches.append((self.condition(test), self.compile(branch.args["true"])))
        otherwise = self._null(node) if node.args.get("default") is None else self.compile(node.args["default"])

        def choose(row: Row, given: Any) -> Any:
            for test, value in branches:
                if test(row, given):
                    return value(row, given)
            return otherwise(row, given)

        return choose

    def _cast(self, node: Node) -> Evaluate:
        self.statement.check(node, "this to _type")
        inner, target = self.compile(node.this), node.args["to"]
        convert = _CASTS.get(type_name(target))
        if convert is None:
            raise self.statement.refuse(
                node,
                f"no CAST to {target.sql()}",
                "there are INTEGER, REAL, TEXT, BOOLEAN, TIMESTAMP, VECTOR and HALFVEC",
            )
        return lambda row, given: convert(inner(row, given))

    def _array(self, node: Node) -> Evaluate:
        items = [self.compile(item) for item in node.expressions]
        return lambda row, given: [item(row, given) for item in items]

    def _trim(self, node: Node) -> Evaluate:
        self.statement.check(node, "this expression position")
        name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or ""), "trim")
        return self._call(node, name, [node.this, *([node.expression] if node.args.get("expression") else [])])

    def _function(self, node: Node) -> Evaluate:
        if (aggregate := aggregate_name(node)) is not None:
            raise self.statement.refuse(
                node,
                f"{aggregate.upper()} counts over rows, and can't stand here",
                "aggregates stand in SELECT, HAVING and ORDER BY, not within each other; conditions on them: HAVING",
            )
        if isinstance(node, exp.Anonymous):
            name = str(node.this).lower()
            return self._call(node, ALIASES.get(name, name), node.expressions)
        name, order = _KNOWN.get(type(node), (node.key, ()))
        self.statement.check(node, " ".join(order))
        return self._call(node, name, [node.args[part] for part in order if node.args.get(part) is not None])

    def _call(self, node: Node, name: str, arguments: list[Node]) -> Evaluate:
        function: Function | None = FUNCTIONS.get(name)
        if function is None:
            raise self.statement.refuse(
                node, f"there is no function {name}", f"there are {', '.join(sorted(FUNCTIONS))}"
            )
        if not function.least <= len(arguments) <= function.most:
            least, most = function.least, function.most
            takes = f"{least} to {most} arguments" if least < most else f"{most} argument{'s' * (most > 1)}"
            raise self.statement.refuse(node, f"{name} takes {takes}, not {len(arguments)}", "add or leave out some")
        compiled, call, nulls = [self.compile(argument) for argument in arguments], function.call, function.nulls

        def evaluate(row: Row, given: Any) -> Any:
            found = [argument(row, given) for argument in compiled]
            return None if not nulls and any(item is None for item in found) else call(*found)

        return evaluate


def type_name(node: Node) -> str:
    """The name of a type, as sqlglot has it; of one that it does not know, as it is written."""
    if not isinstance(node, exp.DataType) or not isinstance(node.this, exp.DataType.Type):
        return ""
    return str(node.args.get("kind") or "").upper() if node.this.name == "USERDEFINED" else node.this.name


def is_constant(node: Node) -> bool:
    """Whether a node has one value for all rows."""
    return not any(
        isinstance(part, (exp.Column, exp.Star, exp.Subquery)) or aggregate_name(part) is not None
        for part in node.walk()
    )


_METHODS: Final[tuple[tuple[Any, Callable[[Compiler, Node], Evaluate]], ...]] = (
    ((exp.Column, exp.Dot), Compiler._column),
    (exp.Literal, Compiler._literal),
    (exp.Boolean, Compiler._boolean),
    (exp.Null, Compiler._null),
    (exp.Placeholder, Compiler._parameter),
    ((exp.And, exp.Or), Compiler._connective),
    (exp.Not, Compiler._not),
    (tuple(COMPARISONS), Compiler._comparison),
    (exp.In, Compiler._in),
    (exp.ArrayContainsAll, Compiler._contains),
    (exp.Between, Compiler._between),
    (exp.Is, Compiler._is),
    ((exp.Like, exp.ILike, exp.Escape), Compiler._like),
    (tuple(METRICS), Compiler._distance),
    (tuple(_ARITHMETIC), Compiler._arithmetic),
    (exp.Neg, Compiler._negation),
    (exp.DPipe, Compiler._concatenation),
    (exp.Case, Compiler._case),
    (exp.Cast, Compiler._cast),
    (exp.Array, Compiler._array),
    (exp.Trim, Compiler._trim),
)
