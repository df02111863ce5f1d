"""How the rows of one table are found: by ids, a search, a filter, or all; by the functions that `Table` calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlglot import exp

from vecdb.errors import FilterError
from vecdb.filters import tree
from vecdb.filters.sql import SyntaxReader, Template
from vecdb.filters.tree import Field, Filter
from vecdb.mirror.view import View
from vecdb.query import fetch
from vecdb.query.iterate import iterate
from vecdb.query.matching import find_rows, keep_filter, key_of
from vecdb.query.order import By
from vecdb.query.results import Hit, Row
from vecdb.query.search import Ask, explain, search
from vecdb.sql.parse import Arguments, Node
from vecdb.sql.scope import OPERATORS, Evaluate, Need, Scope, Side
from vecdb.sql.vectors import distance, read_vector
from vecdb.storage import catalog
from vecdb.storage.rows import Id
from vecdb.write.batch import check_query, find_column

Values: TypeAlias = tuple[Any, ...]
Getter: TypeAlias = Callable[[Any], Any]


class Running(NamedTuple):
    """What a statement runs with: one version of the database for all of it."""

    view: View
    given: Arguments
    ef: int | None = None
    trace: list[str] | None = None  # where EXPLAIN wants to be told what is done

    def tell(self, line: str) -> None:
        if self.trace is not None:
            self.trace.append(line)


class Radius(NamedTuple):
    """`vector <=> query < most`: an end of a search where the query is the same."""

    need: Need
    most: Evaluate


@dataclass(eq=False)
class Access:
    """The rows of a side that its part of WHERE lets through, in the order of a search or of fields, if it has one."""

    side: Side
    where: list[Template] = field(default_factory=list)
    parameters: list[int] = field(default_factory=list)  # of `where`
    ids: Evaluate | None = None
    search: Need | None = None
    radii: list[Radius] = field(default_factory=list)
    order: list[By] = field(default_factory=list)

    @cached_property
    def _wanted(self) -> list[str] | bool:
        """The fields that are needed, once the statement is planned."""
        return list(dict.fromkeys(need.path[0] for need in self.side.needs if need.kind == "field")) or False

    def table(self, view: View) -> catalog.Table:
        assert self.side.schema is not None
        return view.tables[self.side.schema.table]

    def rows(self, running: Running, most: int | None, places: Sequence[int] | None = None) -> Iterator[Values]:
        """The needed values of each row, or those in some places of them; `most`: so many are enough, if the caller
        drops none."""
        table = self.table(running.view)
        searched, query = self._query(table, running.given)
        getters, vectors = self._getters(running.given, query)
        if places is not None:
            getters = [getters[place] for place in places]
        if self.radii and any(not self._is_searched(radius.need, running.given) for radius in self.radii):
            most = None
        wanted = self._wanted
        found: Iterator[Row] = (
            iter(self._by_ids(running, table, wanted, vectors))
            if self.ids is not None
            else self._by_scan(running, table, wanted, vectors, most)
            if searched is None or query is None
            else self._by_search(running, table, searched, query, wanted, vectors, most)
        )
        return (tuple([get(row) for get in getters]) for row in found)

    def count(self, running: Running) -> int:
        """How many rows there are, without reading one."""
        table = self.table(running.view)
        where = self._where(running, table)
        if running.trace is not None:
            running.tell(f"count of {table.schema.name}" + ("" if where is None else f" where {where}"))
        return table.state.rows if where is None else len(find_rows(running.view, table, where))

    def _where(self, running: Running, table: catalog.Table) -> Filter | None:
        """The tree that `where=` would be, kept with the version for the same arguments as that of a text is."""
        if not self.where:
            return None
        given = running.given

        def make() -> Filter:
            found = [template(given) for template in self.where]
            return found[0] if len(found) == 1 else tree.conjunction(found)

        key = key_of([given[number] for number in self.parameters])
        return keep_filter(running.view, table, None if key is None else (self, *key), make)

    def _query(self, table: catalog.Table, given: Arguments) -> tuple[catalog.Column | None, NDArray[Any] | None]:
        if self.search is None or self.search.query is None:
            return None, None
        column = find_column(table.schema, self.search.path[0])
        value = self.search.query((), given)
        return column, check_query(column, value if value is None else read_vector(value))

    def _getters(self, given: Arguments, query: NDArray[Any] | None) -> tuple[list[Getter], bool]:
        """What takes each needed value out of a row, and whether any needs its vectors."""
        getters: list[Getter] = []
        vectors = False
        for need in self.side.needs:
            if query is not None and need.kind == "distance" and self._is_searched(need, given):
                getters.append(_distance_of)
                continue
            vectors |= need.kind in ("vector", "distance")
            getters.append(_getter(need, given))
        return getters, vectors

    def _is_searched(self, need: Need, given: Arguments) -> bool:
        """Whether a distance is the one that the search is for."""
        search = self.search
        if search is None or need[:3] != search[:3] or need.query is None or search.query is None:
            return False
        if need is search:
            return True
        one, other = need.query((), given), search.query((), given)
        return one is other or (one is not None and np.array_equal(read_vector(one), read_vector(other)))

    def _by_ids(self, running: Running, table: catalog.Table, wanted: Any, vectors: bool) -> list[Row]:
        assert self.ids is not None
        ids: list[Id] = [item for item in self.ids((), running.given) if type(item) in (int, str)]
        running.tell(f"{len(ids)} ids of {table.schema.name}")
        rows = [fetch.get(running.view, table, identifier, wanted, vectors) for identifier in dict.fromkeys(ids)]
        found = [row for row in rows if row is not None]
        where = self._where(running, table)
        if where is None or not found:
            return found
        kept = set(
            fetch.fetch_ids(running.view, table, find_rows(running.view, table, where).slots.astype(np.int32)).tolist()
        )
        return [row for row in found if row.id in kept]

    def _by_scan(
        self, running: Running, table: catalog.Table, wanted: Any, vectors: bool, most: int | None
    ) -> Iterator[Row]:
        where = self._where(running, table)
        matching = None if where is None else find_rows(running.view, table, where)
        if running.trace is not None:
            among = ""
            if matching is not None:
                means = ", ".join(matching.means) or "no reading"
                among = f": {len(matching):,} of {table.state.rows:,} rows match {where} ({means})"
            running.tell(f"scan of {table.schema.name}{among}")
        if self.order:
            rows = fetch.scan_ordered(running.view, table, wanted, vectors, matching, self.order)
        else:
            rows = fetch.scan(running.view, table, wanted, vectors, matching)
        return islice(rows, most)

    def _by_search(
        self,
        running: Running,
        table: catalog.Table,
        column: catalog.Column,
        query: NDArray[Any],
        wanted: Any,
        vectors: bool,
        most: int | None,
    ) -> Iterator[Hit]:
        ask = Ask(most or 1, running.ef, False, self._where(running, table))
        radius = self._radius(running.given) if self.radii else None
        if running.trace is not None:
            how = "nearest first, as far as needed" if most is None else f"k = {most}"
            running.tell(f"search of {table.schema.name} by {_shown(column)}, {how}")
        if most is None:
            return iterate(running.view, table, column, query, ask, radius=radius, wanted=wanted, vectors=vectors)
        hits = search(running.view, table, column, query, ask, radius=radius, wanted=wanted, vectors=vectors)
        if running.trace is not None:
            running.tell(f"  {hits.plan}")
        return iter(hits)

    def _radius(self, given: Arguments) -> float | None:
        """The least of the ends of this search."""
        ends = [radius.most((), given) for radius in self.radii if self._is_searched(radius.need, given)]
        return min((float(end) for end in ends if isinstance(end, (int, float))), default=None)

    def describe(self, running: Running, most: int | None) -> str:
        """What `rows` would do."""
        table = self.table(running.view)
        name = table.schema.name
        if self.ids is not None:
            return f"rows of {name} by their ids"
        where = self._where(running, table)
        if self.search is not None:
            column = find_column(table.schema, self.search.path[0])
            plan = explain(running.view, table, column, Ask(most or 1, running.ef, False, where))
            how = "nearest first, as far as needed" if most is None else f"k = {most}"
            return f"search of {name} by {_shown(column)}, {how}\n  {plan}"
        ordered = f", ordered by {', '.join(by.path[0] for by in self.order)}" if self.order else ""
        if where is None:
            return f"scan of all {table.state.rows:,} rows of {name}{ordered}"
        matching = find_rows(running.view, table, where)
        means = ", ".join(matching.means) or "no reading"
        return f"scan of {name}{ordered}: {len(matching):,} of {table.state.rows:,} rows match {where} ({means})"


def _shown(column: catalog.Column) -> str:
    return f"{column.name} {OPERATORS[column.options.metric]} query"


def read_template(scope: Scope, side: int, node: Node) -> Template | None:
    """A condition on one table's fields as what `where=` makes of it; None where it is more than filters have."""
    try:
        return _SideReader(scope, side).condition(node)
    except FilterError:
        return None


class _SideReader(SyntaxReader):
    """Reads conditions whose names are columns of a statement."""

    def __init__(self, scope: Scope, side: int) -> None:
        super().__init__(scope.statement.text, tuple(scope.statement.parameters))
        self._scope = scope
        self._side = side

    def condition(self, node: exp.Expression) -> Template:
        schema = self._scope.sides[self._side].schema
        if isinstance(node, exp.Column) and schema is not None:
            declared = schema.field_types.get(self._scope.resolve(node).path[0], "bool")
            if declared != "bool":
                raise FilterError("a number as a condition is SQL's, and not one of filters")
        return super().condition(node)

    def field(self, node: exp.Column | exp.Dot) -> Field:
        found = self._scope.resolve(node)
        if found.side != self._side or found.kind != "field" or self._scope.sides[found.side].schema is None:
            raise FilterError("not a field of this table")
        return Field(found.path, self.place(node))


def _getter(need: Need, given: Sequence[Any]) -> Getter:
    name = need.path[0]
    if need.kind == "id":
        return _id_of
    if need.kind == "vector":
        return lambda row: row.vectors.get(name)
    if need.kind == "distance":
        assert need.metric is not None and need.query is not None
        metric, query = need.metric, need.query((), given)
        point = None if query is None else read_vector(query)

        def measure(row: Row) -> float | None:
            vector = None if row.vectors is None else row.vectors.get(name)
            return None if vector is None or point is None else distance(metric, vector, point)

        return measure
    if len(need.path) == 1:
        return lambda row: row.fields.get(name)
    inner = need.path[1:]

    def nested(row: Row) -> Any:
        value = row.fields.get(name)
        for part in inner:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    return nested


def _id_of(row: Row) -> Id:
    return row.id


def _distance_of(row: Hit) -> float:
    return row.distance
