"""GROUP BY and aggregates: what is gathered of the rows, and what expressions see of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlglot import exp

from vecdb.sql.access import Access
from vecdb.sql.expressions import Compiler, aggregate_name
from vecdb.sql.parse import Node
from vecdb.sql.scope import Evaluate
from vecdb.sql.select import Counted, Grouping, Select


def find_aggregates(trees: Iterable[Node]) -> list[Node]:
    """The different aggregates in trees, not those within them."""
    return list(dict.fromkeys(part for tree in trees for part in _aggregates(tree)))


def read_groups(plan: Select, compiler: Compiler, keys: list[Node], aggregates: list[Node]) -> Compiler:
    """Make the plan group its rows; returns the compiler of what is made of groups."""
    known: dict[Node, Evaluate] = {}
    compiled, counted = [], []
    for place, key in enumerate(keys):
        compiled.append(compiler.compile(key))
        known[key] = _taker(place)
    for place, aggregate in enumerate(aggregates, start=len(keys)):
        counted.append(_read_aggregate(compiler, aggregate))
        known[aggregate] = _taker(place)
    plan.grouping = Grouping(compiled, counted, not keys)
    access = plan.accesses[0] if plan.accesses else None
    plan.counts_only = (
        isinstance(access, Access)
        and access.ids is None
        and not keys
        and not plan.rest
        and plan.joined is None
        and all(item.name == "count" and item.value is None for item in counted)
    )
    return Compiler(compiler.scope, known)


def _read_aggregate(compiler: Compiler, node: Node) -> Counted:
    statement = compiler.statement
    name = aggregate_name(node)
    assert name is not None
    arguments, separator = node.expressions, ","
    if name == "group_concat" and len(arguments) == 2:
        given = arguments[1]
        if not isinstance(given, exp.Literal):
            raise statement.refuse(given, "the separator is a text in quotes", "as GROUP_CONCAT(a, ', ')")
        arguments, separator = arguments[:1], given.this
    if len(arguments) != 1:
        raise statement.refuse(node, f"{name} takes one value", f"write {name.upper()}(value)")
    value = arguments[0]
    if isinstance(value, exp.Star):
        if name != "count":
            raise statement.refuse(node, f"{name.upper()}(*) is no count", f"write {name.upper()}(column)")
        return Counted(name, None, False, separator)
    distinct = isinstance(value, exp.Distinct)
    if distinct:
        if len(value.expressions) != 1:
            raise statement.refuse(value, "DISTINCT is of one value here", "count rows of a sub-select instead")
        value = value.expressions[0]
    return Counted(name, compiler.compile(value), distinct, separator)


def _aggregates(node: Node) -> Iterator[Node]:
    """The aggregates in a tree, not those within them."""
    rest = [node]
    while rest:
        part = rest.pop()
        if aggregate_name(part) is not None:
            yield part
        else:
            rest += list(part.iter_expressions(reverse=True))


def _taker(place: int) -> Evaluate:
    return lambda row, given: row[0][place]
