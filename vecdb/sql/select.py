"""A SELECT, planned and run.

Planned once for a text and a schema: WHERE is taken apart into what filters can do, ids, ends of a search, and
a rest, which is evaluated row by row; ORDER BY becomes a search or a scan in order, or else a sort. A sub-select is
run before, and its result stands in the place of a parameter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from vecdb.errors import SqlError
from vecdb.sql.access import Access, Running
from vecdb.sql.functions import Aggregate, Different
from vecdb.sql.scope import Evaluate, Row
from vecdb.sql.values import group_key, is_null, order_key

Test = Callable[[Row, Any], bool | None]


class Output(NamedTuple):
    """A column of the result."""

    name: str
    value: Evaluate
    type: str | None  # as fields are declared, or "id" or "vector"; None where it depends on the row


class OrderBy(NamedTuple):
    value: Evaluate
    descending: bool
    nulls_first: bool


class Counted(NamedTuple):
    """An aggregate: of which value, None for every row."""

    name: str
    value: Evaluate | None
    distinct: bool
    separator: str


class Grouping(NamedTuple):
    """The keys of groups, and what is counted in each; both are the row that outputs, HAVING and ORDER BY see."""

    keys: list[Evaluate]
    counted: list[Counted]
    whole: bool  # without GROUP BY all rows are one group, also where there are none


class Joined(NamedTuple):
    """Rows of the second table for each of the first: those with equal keys, for which `on` holds."""

    left: list[Evaluate]
    right: list[Evaluate]
    on: list[Test]
    outer: bool  # LEFT JOIN


class Inner(NamedTuple):
    """A sub-select, run before; `kind`: "values" for IN, one "value", or whether there "exists" a row."""

    select: Select
    kind: str
    number: int  # of the parameter


@dataclass
class Select:
    """The plan of a SELECT."""

    accesses: list[Access | Select] = field(default_factory=list)
    joined: Joined | None = None
    rest: list[Test] = field(default_factory=list)  # of WHERE
    grouping: Grouping | None = None
    having: Test | None = None
    outputs: list[Output] = field(default_factory=list)
    order: list[OrderBy] = field(default_factory=list)  # what is left to sort by
    distinct: bool = False
    limit: Evaluate | None = None
    offset: Evaluate | None = None
    inner: list[Inner] = field(default_factory=list)
    needs: Sequence[Sequence[int]] = ()  # of a Select among `accesses`: which of its outputs are needed, in order
    ends_within: bool = True  # what is left of WHERE only ends a search by its distance
    counts_only: bool = False
    places: Sequence[int] | None = None  # of the outputs, where they are values of the only table, and it does the rest
    widths: list[Callable[[], int]] = field(default_factory=list)

    def run(self, running: Running) -> list[tuple[Any, ...]]:
        """The rows of the result."""
        running = self.prepare(running)
        first, most = self._range(running)
        if most == 0:
            return []
        end = None if most is None else first + most
        if self.places is not None:
            access = self.accesses[0]
            assert isinstance(access, Access)
            return list(islice(access.rows(running, self._enough(first, most), self.places), first, end))
        rows = self._grouped(running) if self.grouping else self._rows(running, self._enough(first, most))
        outputs = [output.value for output in self.outputs]
        given, having = running.given, self.having
        if having is not None:
            rows = (row for row in rows if having(row, given))
        if not self.order:
            made = (tuple([value(row, given) for value in outputs]) for row in rows)
            if self.distinct:
                different = Different()
                made = (row for row in made if different.is_new(row))
            return list(islice(made, first, end))
        keyed = [
            (tuple([value(row, given) for value in outputs]), [by.value(row, given) for by in self.order])
            for row in rows
        ]
        if self.distinct:
            different = Different()
            keyed = [pair for pair in keyed if different.is_new(pair[0])]
        for place in range(len(self.order) - 1, -1, -1):
            by = self.order[place]
            keyed.sort(key=_sort_key(place, by), reverse=by.descending)  # stable, backwards too
        return [row for row, _ in keyed[first:end]]

    def prepare(self, running: Running) -> Running:
        """With the results of sub-selects among the values."""
        if not self.inner:
            return running
        given = list(running.given)
        for inner in self.inner:
            rows = inner.select.run(running._replace(given=given))
            if inner.kind == "value" and len(rows) > 1:
                raise SqlError(f"a sub-select in the place of a value has {len(rows)} rows; add LIMIT 1, or use IN")
            given[inner.number] = (
                [row[0] for row in rows]
                if inner.kind == "values"
                else bool(rows)
                if inner.kind == "exists"
                else rows[0][0]
                if rows
                else None
            )
        return running._replace(given=given)

    def describe(self, running: Running) -> list[str]:
        """What a run would do, a line for each step."""
        running = self.prepare(running)
        first, most = self._range(running)
        lines: list[str] = []
        for access in self.accesses:
            if isinstance(access, Select):
                lines += ["sub-select", *("  " + line for line in access.describe(running))]
            elif self.counts_only:
                lines.append("count of " + access.describe(running, None))
            else:
                lines += access.describe(running, self._enough(first, most)).split("\n")
        if self.joined is not None:
            lines.append(f"{'left ' if self.joined.outer else ''}hash join by {len(self.joined.left)} keys")
        if self.rest:
            lines.append(f"{len(self.rest)} conditions on each row")
        if self.grouping is not None and not self.counts_only:
            lines.append(f"groups by {len(self.grouping.keys)} keys, {len(self.grouping.counted)} aggregates")
        if self.distinct:
            lines.append("distinct rows")
        if self.order:
            lines.append(f"sort by {len(self.order)} keys")
        if self.limit is not None or first:
            lines.append("limit" + ("" if most is None else f" {most}") + (f" offset {first}" if first else ""))
        return lines

    def _range(self, running: Running) -> tuple[int, int | None]:
        first = 0 if self.offset is None else _whole(self.offset((), running.given), "OFFSET")
        limit = None if self.limit is None else self.limit((), running.given)
        if limit is None or limit == -1:
            return first, None
        return first, _whole(limit, "LIMIT")

    def _enough(self, first: int, most: int | None) -> int | None:
        """How many rows of the only table are enough, if it is known."""
        if most is None or self.joined or self.grouping or self.order or self.distinct or not self.ends_within:
            return None
        return first + most

    def _rows(self, running: Running, enough: int | None) -> Iterator[Row]:
        given, rest = running.given, self.rest
        if self.joined is not None:
            rows = self._join(running, self.joined)
        elif not self.accesses:
            rows = iter([()])
        else:
            rows = ((values,) for values in self._values(running, 0, enough))
        for row in rows:
            if not rest or all(test(row, given) for test in rest):
                yield row

    def _values(self, running: Running, number: int, enough: int | None) -> Iterator[Sequence[Any]]:
        access = self.accesses[number]
        if isinstance(access, Access):
            return access.rows(running, enough)
        places = self.needs[number]
        return ([row[place] for place in places] for row in access.run(running))

    def _join(self, running: Running, joined: Joined) -> Iterator[Row]:
        given = running.given
        table: dict[Any, list[Sequence[Any]]] = {}
        for values in self._values(running, 1, None):
            key = _key([value(((), values), given) for value in joined.right])
            if key is not None:
                table.setdefault(key, []).append(values)
        nothing = [None] * self.widths[1]()
        for values in self._values(running, 0, None):
            key = _key([value((values,), given) for value in joined.left])
            found = False
            for other in table.get(key, ()) if key is not None else ():
                row = (values, other)
                if all(test(row, given) for test in joined.on):
                    found = True
                    yield row
            if joined.outer and not found:
                yield (values, nothing)

    def _grouped(self, running: Running) -> Iterator[Row]:
        grouping, given = self.grouping, running.given
        assert grouping is not None
        if self.counts_only:
            access = self.accesses[0]
            assert isinstance(access, Access)
            yield ([access.count(running)] * len(grouping.counted),)
            return
        groups: dict[Any, tuple[list[Any], list[_Gathered]]] = {}
        if grouping.whole:
            groups[()] = ([], [_Gathered(counted) for counted in grouping.counted])
        for row in self._rows(running, None):
            values = [key(row, given) for key in grouping.keys]
            key = tuple(map(group_key, values))
            group = groups.get(key)
            if group is None:
                group = groups[key] = (values, [_Gathered(counted) for counted in grouping.counted])
            for gathered in group[1]:
                gathered.add(row, given)
        for values, counted in groups.values():
            yield ([*values, *(gathered.result for gathered in counted)],)


class _Gathered:
    """An aggregate of a group."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._aggregate = Aggregate(counted.name, counted.separator)
        self._different = Different() if counted.distinct else None

    def add(self, row: Row, given: Any) -> None:
        value = True if self._counted.value is None else self._counted.value(row, given)
        if not is_null(value) and (self._different is None or self._different.is_new(value)):
            self._aggregate.add(value)

    @property
    def result(self) -> Any:
        return self._aggregate.result


def _key(values: list[Any]) -> Any:
    """What rows are joined by; None where one is null."""
    key = tuple(map(group_key, values))
    return None if any(value is None for value in key) else key


def _sort_key(place: int, by: OrderBy) -> Callable[[tuple[Any, list[Any]]], Any]:
    if by.nulls_first is not by.descending:  # nulls are least, as `order_key` has them
        return lambda pair: order_key(pair[1][place])

    def key(pair: tuple[Any, list[Any]]) -> Any:
        value = order_key(pair[1][place])
        return value[0] == -1, value

    return key


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 0:
        raise SqlError(f"{what} is a number of rows of 0 or more, not {value!r}")
    return min(int(value), sys.maxsize // 2)
