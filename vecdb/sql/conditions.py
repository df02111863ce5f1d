"""JOIN and WHERE taken apart: into filters, ids, ends of a search, keys of a join, and conditions on each row."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from vecdb.sql.access import Access, Radius, read_template
from vecdb.sql.expressions import Compiler, is_constant
from vecdb.sql.parse import Node
from vecdb.sql.scope import Evaluate, Scope
from vecdb.sql.select import Joined, Select


class Conditions:
    """Those of one SELECT."""

    def __init__(self, node: Node, scope: Scope, plan: Select, compiler: Compiler) -> None:
        self.statement = scope.statement
        self.node = node
        self.scope = scope
        self.plan = plan
        self.compiler = compiler

    def read(self, where: Node | None) -> bool:
        """Take the conditions apart; whether what is left to be looked at row by row only ends a search."""
        terms = [] if where is None else _terms(where)
        joins = [*((self._origin() or exp.Null()).args.get("joins") or []), *(self.node.args.get("joins") or [])]
        if joins:
            terms = self._read_join(joins[0], terms)
        return self._read_where(terms)

    def _read_join(self, join: Node, where: list[Node]) -> list[Node]:
        """Take the keys of a join from ON, USING and WHERE; the conditions that are left for all rows."""
        self.statement.check(join, "this on using side kind", "there are JOIN, INNER JOIN and LEFT JOIN, ON equality")
        side = str(join.args.get("side") or "").upper()
        kind = str(join.args.get("kind") or "").upper()
        if side not in ("", "LEFT") or kind not in ("", "INNER", "OUTER", "CROSS"):
            raise self.statement.refuse(join, f"there is no {side or kind} JOIN", "there are JOIN and LEFT JOIN")
        terms = [] if join.args.get("on") is None else _terms(join.args["on"])
        for name in join.args.get("using") or []:
            left, right = (
                exp.Column(this=name.copy(), table=exp.Identifier(this=table.name, quoted=True))
                for table in self.scope.sides
            )
            terms.append(exp.EQ(this=left, expression=right))
        joined = Joined([], [], [], bool(side))
        terms = [term for term in terms if not self._read_key(term, joined)]
        if joined.outer:
            for term in terms:
                if self._sides(term) != {1} or not self._template(1, term):
                    joined.on.append(self.compiler.condition(term))
            terms = where
        else:
            terms += [term for term in where if not self._read_key(term, joined)]
        if not joined.left:
            raise self.statement.refuse(join, "this join has no equality", "write JOIN table ON a.field = b.field")
        self.plan.joined = joined
        return terms

    def _read_key(self, term: Node, joined: Joined) -> bool:
        """Take an equality between the two tables for a key of the join."""
        if not isinstance(term, exp.EQ) or isinstance(term.expression, exp.Any):
            return False
        sides = self._sides(term.this), self._sides(term.expression)
        if sides == ({0}, {1}):
            left, right = term.this, term.expression
        elif sides == ({1}, {0}):
            left, right = term.expression, term.this
        else:
            return False
        joined.left.append(self.compiler.compile(left))
        joined.right.append(self.compiler.compile(right))
        return True

    def _read_where(self, terms: list[Node]) -> bool:
        only_ends = True
        outer = self.plan.joined is not None and self.plan.joined.outer
        for term in terms:
            sides = self._sides(term)
            side = min(sides, default=0)
            if len(sides) <= 1 and not (outer and side == 1) and self.scope.sides:
                if self._template(side, term) or self._ids(side, term):
                    continue
                only_ends &= self._end(side, term)
            else:
                only_ends = False
            self.plan.rest.append(self.compiler.condition(term))
        return only_ends

    def _template(self, side: int, term: Node) -> bool:
        """Leave a condition to the filter of its table."""
        access = self.plan.accesses[side]
        if not isinstance(access, Access):
            return False
        template = read_template(self.scope, side, term)
        if template is None:
            return False
        access.where.append(template)
        access.parameters += [int(part.this) for part in term.find_all(exp.Placeholder)]
        return True

    def _ids(self, side: int, term: Node) -> bool:
        """`id = value` and `id IN (values)`: rows are read by their ids."""
        access = self.plan.accesses[side]
        if not isinstance(access, Access) or access.ids is not None:
            return False
        if isinstance(term, exp.EQ):
            pairs = ((term.this, term.expression), (term.expression, term.this))
            for one, other in pairs:
                if self._is_id(one) and is_constant(other) and not isinstance(other, exp.Any):
                    access.ids = _one_id(self.compiler.compile(other))
                    return True
        if isinstance(term, exp.In) and self._is_id(term.this):
            if term.args.get("field") is not None:
                if not isinstance(term.args["field"], exp.Placeholder):
                    return False
                members = self.compiler.compile(term.args["field"])
                access.ids = lambda row, given: [_plain_id(item) for item in _listed(members(row, given))]
                return True
            if all(is_constant(item) for item in term.expressions):
                items = [self.compiler.compile(item) for item in term.expressions]
                access.ids = lambda row, given: [_plain_id(item(row, given)) for item in items]
                return True
        return False

    def _is_id(self, node: Node) -> bool:
        return isinstance(node, exp.Column) and self.scope.resolve(node).kind == "id"

    def _end(self, side: int, term: Node) -> bool:
        """`vector <=> query < number`: where a search may end."""
        access = self.plan.accesses[side]
        if not isinstance(access, Access):
            return False
        if isinstance(term, (exp.GT, exp.GTE)):
            near, most = term.expression, term.this
        elif isinstance(term, (exp.LT, exp.LTE)):
            near, most = term.this, term.expression
        else:
            return False
        need = self.compiler.distance(near)
        if need is None or not is_constant(most):
            return False
        access.radii.append(Radius(need, self.compiler.compile(most)))
        return True

    def _sides(self, node: Node) -> set[int]:
        return {self.scope.resolve(column).side for column in node.find_all(exp.Column)}

    def _origin(self) -> Node | None:
        origin = self.node.args.get("from_") or self.node.args.get("from")
        return None if origin is None else origin.this


def _terms(node: Node) -> list[Node]:
    """What AND joins, in order."""
    terms: list[Node] = []
    rest = [node]
    while rest:
        part = rest.pop()
        while isinstance(part, exp.Paren) and isinstance(part.this, exp.And):
            part = part.this
        if isinstance(part, exp.And):
            rest += [part.expression, part.this]
        else:
            terms.append(part)
    return terms


def _one_id(value: Evaluate) -> Evaluate:
    return lambda row, given: [_plain_id(value(row, given))]


def _plain_id(value: Any) -> Any:
    """NumPy's integers are ints; a real that is whole is the int that it equals."""
    if hasattr(value, "item"):
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _listed(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    return value.tolist() if hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1 else []
