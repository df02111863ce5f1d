"""Filters as SQL text: `lang = ? AND year BETWEEN 2019 AND 2024`.

sqlglot's parser makes a syntax tree of the tokens that `tokens.py` let pass. The syntax tree is read into a template:
a function from the values of the parameters to a filter. Templates are kept, so that a text that comes again is not
parsed again. Nodes that are not named here are refused, and so are arguments of nodes: one that went unseen, as a
negation might in another version of sqlglot, would change the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn, TypeAlias

import numpy as np
from sqlglot import Token, exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ParseError

from vecdb.errors import FilterError, LimitError
from vecdb.filters import tree
from vecdb.filters.path import check_path
from vecdb.filters.place import TextPlace, failure
from vecdb.filters.tokens import Parameter, read_tokens
from vecdb.filters.tree import Constant, Field, Filter, Operand, Value
from vecdb.filters.values import Operator, Scalar, to_scalar, to_scalars
from vecdb.options import MAX_FILTER_TEXT

Arguments: TypeAlias = Sequence[object]  # of the parameters, one for each time that one stands in the text
Template: TypeAlias = Callable[[Arguments], Filter]

COMPARISONS: Final[Mapping[type[exp.Expression], Operator]] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
# The arguments that are read of each node. A negation may also stand in a Not around it.
_ARGUMENTS: Final[Mapping[type[exp.Expression], frozenset[str]]] = {
    **dict.fromkeys(
        (*COMPARISONS, exp.And, exp.Or, exp.ArrayContainsAll, exp.Escape), frozenset(["this", "expression"])
    ),
    **dict.fromkeys((exp.Like, exp.ILike, exp.Is), frozenset(["this", "expression", "negate"])),
    **dict.fromkeys((exp.Paren, exp.Not, exp.Neg, exp.Any, exp.Placeholder, exp.Boolean), frozenset(["this"])),
    exp.Null: frozenset(),
    exp.Between: frozenset(["this", "low", "high"]),
    exp.In: frozenset(["this", "expressions", "field"]),
    exp.Literal: frozenset(["this", "is_string"]),
    exp.Column: frozenset(["catalog", "db", "table", "this"]),
    exp.Dot: frozenset(["this", "expression"]),
    exp.Identifier: frozenset(["this", "quoted"]),
}


class Parsed(NamedTuple):
    """A text that was read. One without parameters has a single filter, `constant`."""

    template: Template
    parameters: tuple[Parameter, ...]
    constant: Filter | None


def read_text(text: str, arguments: object = None) -> Filter:
    """The filter of a text and the values of its parameters: a sequence for `?`, a mapping for `:name`.

    Raises FilterError with the place, and LimitError.
    """
    parsed = _parse(text)
    if parsed.constant is not None and arguments is None:
        return parsed.constant
    return parsed.template(_match_arguments(parsed.parameters, arguments))


@lru_cache(maxsize=256)
def _parse(text: str) -> Parsed:
    if len(text) > MAX_FILTER_TEXT:
        raise LimitError(f"a filter has {len(text)} characters; the most is {MAX_FILTER_TEXT}. Use parameters")
    tokens, parameters = read_tokens(text)
    template = SyntaxReader(text, parameters).condition(_parse_tokens(text, tokens))
    return Parsed(template, parameters, None if parameters else template(()))


def _parse_tokens(text: str, tokens: list[Token]) -> exp.Expression:
    try:
        found = Postgres().parser().parse_into(exp.Condition, tokens, text)
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        near = [token for token in tokens if (token.line, token.col) == (first.get("line"), first.get("col"))]
        token = near[0] if near else tokens[-1]
        raise failure(f"the filter can't be read near {token.text[:40]}", TextPlace(text, token.start)) from None
    except RecursionError:
        raise LimitError("there is no room left on Python's stack to parse a filter") from None
    except Exception as error:  # a parser this large fails in ways of its own on text that makes no sense
        raise FilterError(f"the filter can't be read: {text[:80]!r}") from error
    if len(found) != 1 or not isinstance(found[0], exp.Expression):
        raise FilterError(f"the filter can't be read: {text[:80]!r}")
    return found[0]


def _match_arguments(parameters: tuple[Parameter, ...], arguments: object) -> Arguments:
    if not parameters:
        if not isinstance(arguments, (Sequence, Mapping, type(None))) or arguments:
            raise FilterError(f"the filter has no parameters, but params is {_shorten(arguments)}")
        return ()
    if isinstance(parameters[0].key, int):
        if isinstance(arguments, (str, bytes)) or not isinstance(arguments, Sequence):
            raise failure(f"params of ? is a list or tuple, not {_shorten(arguments)}", parameters[0].place)
        if len(arguments) != len(parameters):
            place = parameters[min(len(arguments), len(parameters) - 1)].place
            raise failure(f"the filter has {len(parameters)} parameters, but params has {len(arguments)}", place)
        return arguments
    if not isinstance(arguments, Mapping):
        raise failure(f"params of :name is a dict, not {_shorten(arguments)}", parameters[0].place)
    for parameter in parameters:
        if parameter.key not in arguments:
            raise failure(f"params has no {parameter.key!r}", parameter.place)
    unused = set(arguments).difference(parameter.key for parameter in parameters)
    if unused:
        raise FilterError(f"params names {_shorten(unused.pop())}, which is no parameter of the filter")
    return [arguments[parameter.key] for parameter in parameters]


class SyntaxReader:
    """Reads sqlglot's nodes as templates of filters and of operands."""

    def __init__(self, text: str, parameters: tuple[Parameter, ...]) -> None:
        self._text = text
        self._parameters = parameters

    def condition(self, node: exp.Expression) -> Template:
        """A node that is true, false or unknown."""
        self._check(node)
        if isinstance(node, (exp.And, exp.Or)):
            return self._connective(node)
        if isinstance(node, exp.Paren):
            return self.condition(node.this)
        if isinstance(node, exp.Not):
            return _complement(self.condition(node.this))
        if isinstance(node, tuple(COMPARISONS)):
            return self._comparison(node)
        if isinstance(node, exp.Between):
            operand, low, high = (self._operand(node.args[name]) for name in ("this", "low", "high"))
            return lambda values: tree.between(operand(values), low(values), high(values))
        if isinstance(node, exp.In):
            return self._in(node)
        if isinstance(node, (exp.Like, exp.ILike, exp.Escape)):
            return self._like(node)
        if isinstance(node, exp.Is):
            return self._is(node)
        if isinstance(node, exp.ArrayContainsAll):
            return self._contains(node.this, node.expression)
        if isinstance(node, (exp.Boolean, exp.Null)):
            constant = Constant(None if isinstance(node, exp.Null) else bool(node.this))
            return lambda _: constant
        if isinstance(node, (exp.Column, exp.Dot)):
            true = tree.compare(self.field(node), "=", Value(True))
            return lambda _: true
        return self._refuse(node, "a condition is needed here")

    def _connective(self, node: exp.And | exp.Or) -> Template:
        """A chain of AND or OR leans to the left, and is walked rather than recursed into."""
        terms = [node.expression]
        inner = node.this
        while type(inner) is type(node):
            self._check(inner)
            terms.append(inner.expression)
            inner = inner.this
        templates = [self.condition(term) for term in (inner, *reversed(terms))]
        connect = tree.conjunction if isinstance(node, exp.And) else tree.disjunction
        return lambda values: connect([template(values) for template in templates])

    def _comparison(self, node: exp.Expression) -> Template:
        op = COMPARISONS[type(node)]
        if isinstance(node.expression, exp.Any):
            self._check(node.expression)
            array = _unwrap(node.expression.this)
            if op != "=":
                self._refuse(node.expression, "ANY goes with =; for its opposite write NOT (... = ANY(...))")
            return (
                self._in_list(node.this, array)
                if isinstance(array, exp.Placeholder)
                else self._contains(array, node.this)
            )
        left, right = self._operand(node.this), self._operand(node.expression)
        return lambda values: tree.compare(left(values), op, right(values))

    def _in(self, node: exp.In) -> Template:
        if node.args.get("field") is not None:
            return self._in_list(node.this, node.args["field"])
        operand = self._operand(node.this)
        members = [self._value(member) for member in node.expressions]
        return lambda values: tree.is_in(operand(values), [member(values).value for member in members])

    def _in_list(self, left: exp.Expression, parameter: exp.Expression) -> Template:
        """`IN ?` and `= ANY(?)`: the parameter is a list."""
        if not isinstance(parameter, exp.Placeholder):
            self._refuse(parameter, "IN is followed by (values) or by one parameter, for a list of values")
        operand, number = self._operand(left), self._number(parameter)
        place = self._parameters[number].place

        def is_in(values: Arguments) -> Filter:
            members = values[number]
            if isinstance(members, (str, bytes, Mapping)) or not isinstance(members, (Sequence, Set, np.ndarray)):
                raise failure(f"this parameter is a list of values, not {_shorten(members)}", place)
            return tree.is_in(operand(values), to_scalars(members, place))

        return is_in

    def _like(self, node: exp.Like | exp.ILike | exp.Escape) -> Template:
        escape = "\\"
        if isinstance(node, exp.Escape):
            if not isinstance(node.expression, exp.Literal) or not node.expression.is_string:
                self._refuse(node, "ESCAPE is followed by one character in quotes")
            escape = node.expression.this
            node = node.this
            self._check(node)
        if not isinstance(node, (exp.Like, exp.ILike)):
            self._refuse(node, "ESCAPE goes with LIKE")
        operand, pattern = self._operand(node.this), self._value(node.expression)
        place = self.place(node.expression)
        ignore_case = isinstance(node, exp.ILike)

        def like(values: Arguments) -> Filter:
            return tree.like(operand(values), pattern(values), ignore_case, escape, place)

        return _complement(like) if node.args.get("negate") else like

    def _is(self, node: exp.Is) -> Template:
        """IS NULL, and IS TRUE and IS FALSE, which are never unknown."""
        operand, right = self._operand(node.this), node.expression
        self._check(right)
        if isinstance(right, exp.Null):
            template: Template = lambda values: tree.is_null(operand(values))  # noqa: E731
        elif isinstance(right, exp.Boolean):
            value = Value(bool(right.this))

            def template(values: Arguments) -> Filter:
                given = operand(values)
                return tree.compare(given, "=", value) & ~tree.is_null(given)
        else:
            self._refuse(right, "IS is followed by NULL, TRUE or FALSE, with NOT or without")
        return _complement(template) if node.args.get("negate") else template

    def _contains(self, array: exp.Expression, item: exp.Expression) -> Template:
        field, operand, place = self._operand(array), self._operand(item), self.place(array)
        return lambda values: tree.contains(field(values), operand(values), place)

    def _operand(self, node: exp.Expression) -> Callable[[Arguments], Operand]:
        """A node that is a field or has a value."""
        node = _unwrap(node)
        if not isinstance(node, (exp.Column, exp.Dot)):
            return self._value(node)
        field = self.field(node)
        return lambda _: field

    def _value(self, node: exp.Expression) -> Callable[[Arguments], Value]:
        """A node that is a literal or a parameter."""
        node = _unwrap(node)
        self._check(node)
        if isinstance(node, exp.Placeholder):
            number = self._number(node)
            place = self._parameters[number].place
            return lambda values: Value(to_scalar(values[number], place))
        value = Value(self._literal(node))
        return lambda _: value

    def _literal(self, node: exp.Expression) -> Scalar:
        place = self.place(node)
        if isinstance(node, exp.Null):
            return None
        if isinstance(node, exp.Boolean):
            return bool(node.this)
        if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
            self._check(node.this)
            return -_number(node.this.this, place)
        if not isinstance(node, exp.Literal):
            self._refuse(node, "a value is needed here")
        return to_scalar(node.this, place) if node.is_string else _number(node.this, place)

    def field(self, node: exp.Column | exp.Dot) -> Field:
        """The field that a name means."""
        names: list[exp.Expression] = []
        inner: exp.Expression = node
        while isinstance(inner, exp.Dot):
            self._check(inner)
            names.append(inner.expression)
            inner = inner.this
        self._check(inner)
        if not isinstance(inner, exp.Column):
            self._refuse(inner, "a field is needed here")
        names.extend(inner.args[part] for part in ("this", "table", "db", "catalog") if inner.args.get(part))
        for name in names:
            self._check(name)
            if not isinstance(name, exp.Identifier):
                self._refuse(name, "the name of a field is needed here")
        return Field(check_path(tuple(name.this for name in reversed(names))), self.place(node))

    def _number(self, node: exp.Placeholder) -> int:
        """Which of the parameters a placeholder is."""
        return int(node.this)

    def _check(self, node: exp.Expression) -> None:
        """That nothing of the node would go unread."""
        known = _ARGUMENTS.get(type(node))
        if known is None:
            self._refuse(node, "filters have no such expression")
        if any(value and name not in known for name, value in node.args.items()):
            self._refuse(node, "filters have no such form of this expression")

    def place(self, node: exp.Expression) -> TextPlace:
        """Where a node begins."""
        starts = [
            self._parameters[self._number(part)].place.offset
            if isinstance(part, exp.Placeholder)
            else part.meta["start"]
            for part in node.walk()
            if isinstance(part, exp.Placeholder) or "start" in part.meta
        ]
        return TextPlace(self._text, min(starts, default=0))

    def _refuse(self, node: exp.Expression, message: str) -> NoReturn:
        raise failure(message, self.place(node))


def _unwrap(node: exp.Expression) -> exp.Expression:
    """What stands in parentheses."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _complement(template: Template) -> Template:
    return lambda values: ~template(values)


def _number(digits: str, place: TextPlace) -> int | float:
    try:
        return int(digits) if digits.isdigit() else float(digits)
    except ValueError:  # Python reads no int of more than 4300 digits
        raise failure("a number has too many digits", place) from None


def _shorten(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
