"""Which columns a statement's names are: of which table, and where their values stand in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from sqlglot import exp

from vecdb.filters.path import Path, check_path
from vecdb.options import Metric
from vecdb.sql.parse import Node, Statement
from vecdb.storage.catalog import Schema

Row: TypeAlias = Sequence[Sequence[Any]]  # the values of each side
Evaluate: TypeAlias = Callable[[Row, Sequence[Any]], Any]
Kind: TypeAlias = Literal["id", "field", "vector", "distance"]

METRICS: Final[Mapping[type[Node], Metric]] = {exp.Distance: "l2", exp.NullSafeEQ: "cosine", exp.IntDiv: "ip"}
OPERATORS: Final[Mapping[Metric, str]] = {"l2": "<->", "cosine": "<=>", "ip": "<#>"}


class Need(NamedTuple):
    """A value that a statement wants of each row: an id, a field, a vector, or the distance of one to a query."""

    kind: Kind
    path: Path
    metric: Metric | None = None
    query: Evaluate | None = None  # of a distance; its own for each place in the text


@dataclass
class Side:
    """A table of a statement, or the rows of a sub-select; and what is needed of its rows, in this order."""

    name: str
    schema: Schema | None
    columns: tuple[str, ...]  # what `*` is, in order
    needs: list[Need] = field(default_factory=list)

    def need(self, wanted: Need) -> int:
        if wanted not in self.needs:
            self.needs.append(wanted)
        return self.needs.index(wanted)

    def kind_of(self, name: str) -> Kind:
        if self.schema is None:
            return "field"
        return "vector" if self.schema.column(name) else "id" if name == "id" else "field"

    def declared(self, name: str, quoted: bool) -> str | None:
        """The column that a name means: as it is written, else in other case where it is not quoted."""
        if name in self.columns:
            return name
        alike = [column for column in self.columns if not quoted and column.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else None


class Found(NamedTuple):
    """What a name in a statement is."""

    side: int
    kind: Kind
    path: Path


class Scope:
    """The tables of a statement."""

    def __init__(
        self, statement: Statement, sides: list[Side], outer: Sequence[Scope] = (), *, first: bool = False
    ) -> None:
        """With `first`, a name without a table is of the first one."""
        self.statement = statement
        self.sides = sides
        self._first = first
        self._outer = tuple(outer)  # of the statements around this one

    def resolve(self, node: Node) -> Found:
        """A column of the statement. Raises SqlError for one that is in no table, or could be in two."""
        names = list(self._names(node))
        number, rest = self._side(node, names)
        side, first = self.sides[number], rest[0]
        known = side.declared(first.this, bool(first.args.get("quoted")))
        if side.schema is None and known is None:
            raise self.statement.refuse(
                node, f"{side.name} has no column {first.this}", f"it has {', '.join(side.columns) or 'none'}"
            )
        if known is None and any(
            scope.is_declared(first.this, bool(first.args.get("quoted"))) for scope in self._outer
        ):
            raise self.statement.refuse(
                node, f"{first.this} is a column outside of this sub-select", "write a JOIN; sub-selects stand alone"
            )
        path = check_path((known or first.this, *(name.this for name in rest[1:])))
        kind = side.kind_of(path[0])
        if kind in ("id", "vector") and len(path) > 1:
            raise self.statement.refuse(
                node, f"{path[0]} is a column, and has no field in it", f"write {path[0]} alone"
            )
        return Found(number, kind, path)

    def is_declared(self, name: str, quoted: bool) -> bool:
        return any(side.declared(name, quoted) for side in self.sides)

    def find(self, name: str) -> int | None:
        """The side of a table's name or alias."""
        found = [number for number, side in enumerate(self.sides) if side.name.casefold() == name.casefold()]
        return found[0] if found else None

    def _names(self, node: Node) -> Iterator[Node]:
        inner, after = node, []
        while isinstance(inner, exp.Dot):
            after.append(inner.expression)
            inner = inner.this
        if not isinstance(inner, exp.Column):
            raise self.statement.refuse(node, "the name of a column is needed here", "write it as name, or table.name")
        parts = [inner.args[part] for part in ("catalog", "db", "table", "this") if inner.args.get(part)]
        for name in (*parts, *reversed(after)):
            if not isinstance(name, exp.Identifier):
                raise self.statement.refuse(
                    node, "the name of a column is needed here", "write it as name, or table.name"
                )
            yield name

    def _side(self, node: Node, names: list[Node]) -> tuple[int, list[Node]]:
        if len(names) > 1 and (number := self.find(names[0].this)) is not None:
            return number, names[1:]
        if len(names) > 1 and any(scope.find(names[0].this) is not None for scope in self._outer):
            raise self.statement.refuse(
                node, f"{names[0].this} is a table outside of this sub-select", "write a JOIN; sub-selects stand alone"
            )
        if len(self.sides) == 1 or self._first:
            return 0, names
        first = names[0]
        having = [
            number
            for number, side in enumerate(self.sides)
            if side.declared(first.this, bool(first.args.get("quoted"))) is not None
        ]
        if len(having) == 1:
            return having[0], names
        shown = ".".join(name.this for name in names)
        hint = (
            f"write it with its table, as {' or '.join(f'{side.name}.{shown}' for side in self.sides) or 'table.name'}"
        )
        if not self.sides:
            hint = "this part of the statement has no table"
        raise self.statement.refuse(node, f"{shown} is {'in both tables' if having else 'declared in no table'}", hint)
