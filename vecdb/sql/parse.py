"""A statement's text as sqlglot's tree, of which nothing is taken on trust.

Whoever reads a node says which of its arguments they know (`check`): one that went unseen would change the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlglot import exp
from sqlglot.errors import ParseError

from vecdb.errors import LimitError, SqlError
from vecdb.filters.place import TextPlace
from vecdb.filters.tokens import Parameter
from vecdb.sql.mistake import mistake
from vecdb.sql.tokens import SqlDialect, Tokens

Node: TypeAlias = exp.Expression
Arguments: TypeAlias = Sequence[Any]  # of the parameters, one for each time that one stands in the text

_FORMS: Final[Mapping[str, str]] = {
    "SELECT": "SELECT columns FROM table WHERE condition GROUP BY ... ORDER BY ... LIMIT n OFFSET n",
    "WITH": "WITH name AS (SELECT ...) SELECT ... FROM name",
    "INSERT": "INSERT INTO table (id, field, vector) VALUES (?, ?, ?), ... ON CONFLICT (id) DO UPDATE SET field = ...",
    "UPDATE": "UPDATE table SET field = value, ... WHERE condition",
    "DELETE": "DELETE FROM table WHERE condition",
    "CREATE": "CREATE TABLE name (id TEXT PRIMARY KEY, field TEXT, vector VECTOR(384)); CREATE INDEX ON table (field)",
    "DROP": "DROP TABLE name, or DROP INDEX table.field",
    "ALTER": "ALTER TABLE name ADD COLUMN field TYPE",
}


@dataclass
class Statement:
    """A text that was parsed. `parameters` grows by the results of sub-selects, which are as arguments to the rest."""

    text: str
    parameters: list[Parameter]
    given: int  # parameters that the caller gives
    tree: Node

    def place(self, node: Node) -> TextPlace:
        """Where a node begins; where that is not known, or the parser made do without one, where its parent does."""
        at: Any = node if isinstance(node, exp.Expression) else self.tree
        while at is not None:
            starts = [
                self.parameters[int(part.this)].place.offset
                if isinstance(part, exp.Placeholder)
                else int(part.meta["start"])
                for part in at.walk()
                if (isinstance(part, exp.Placeholder) and str(part.this).isdigit()) or "start" in part.meta
            ]
            if starts:
                return TextPlace(self.text, min(starts))
            at = at.parent
        return TextPlace(self.text, 0)

    def refuse(self, node: Node, message: str, hint: str) -> SqlError:
        """The error to raise about a node."""
        return mistake(message, self.place(node), hint)

    def check(self, node: Node, known: str, hint: str = "leave it out") -> None:
        """That nothing of the node would go unread but the arguments known."""
        names = known.split()
        for name, value in node.args.items():
            if value and name not in names:
                at = value[0] if isinstance(value, list) else value
                what = name.rstrip("_").replace("_", " ").upper()
                place = at if isinstance(at, exp.Expression) and _has_place(at) else node
                raise self.refuse(place, f"{type(node).__name__.upper()} has no {what} in vecdb", hint)

    def bind(self, arguments: object) -> list[Any]:
        """The values of the parameters in their order: a sequence for `?`, a mapping for `:name`. Raises SqlError."""
        if not self.given:
            if arguments is None or (isinstance(arguments, (Sequence, Mapping)) and not arguments):
                return []
            raise SqlError(f"the statement has no parameters, but there are values for them: {_shorten(arguments)}")
        first = self.parameters[0]
        if isinstance(first.key, int):
            if type(arguments) in (tuple, list) and len(arguments) == self.given:  # type: ignore[arg-type]
                return list(arguments)  # type: ignore[call-overload,no-any-return]
            if isinstance(arguments, (str, bytes, Mapping)) or not isinstance(arguments, Sequence):
                raise mistake(
                    f"the values of ? are a list or tuple, not {_shorten(arguments)}",
                    first.place,
                    "one value alone: execute(sql, (value,))",
                )
            if len(arguments) != self.given:
                raise mistake(
                    f"the statement has {self.given} parameters, but there are {len(arguments)} values",
                    self.parameters[min(len(arguments), self.given - 1)].place,
                    "give one value for each ?",
                )
            return list(arguments)
        if not isinstance(arguments, Mapping):
            raise mistake(
                f"the values of :name are a dict, not {_shorten(arguments)}",
                first.place,
                "execute(sql, {'name': value})",
            )
        values = []
        for parameter in self.parameters[: self.given]:
            if parameter.key not in arguments:
                raise mistake(f"there is no value for :{parameter.key}", parameter.place, "add it to the dict")
            values.append(arguments[parameter.key])
        return values


def parse(tokens: Tokens) -> Statement:
    """The tree of a statement. Raises SqlError, with the place, and LimitError."""
    text, word = tokens.text, tokens.tokens[0].text.upper()
    form = _FORMS.get(
        word, "vecdb knows SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, BEGIN, EXPLAIN, SHOW, SET"
    )
    if word not in _FORMS:
        raise mistake(f"no statement begins with {tokens.tokens[0].text[:40]!r}", tokens.place(0), form)
    try:
        found = SqlDialect().parser().parse(tokens.tokens, text)
    except ParseError as error:
        first: dict[str, Any] = error.errors[0] if error.errors else {}
        near = [
            number
            for number, token in enumerate(tokens.tokens)
            if (token.line, token.col) == (first.get("line"), first.get("col"))
        ]
        index = near[0] if near else len(tokens.tokens) - 1
        shown = tokens.tokens[index].text[:40]
        raise mistake(f"the statement can't be read near {shown}", tokens.place(index), form) from None
    except RecursionError:
        raise LimitError("there is no room left on Python's stack to parse a statement") from None
    except Exception as error:  # a parser this large fails in ways of its own on text that makes no sense
        raise mistake("the statement can't be read", tokens.place(0), form) from error
    if len(found) != 1 or not isinstance(found[0], exp.Expression):
        raise mistake("the statement can't be read", tokens.place(0), form)
    for node in found[0].find_all(exp.Placeholder):
        if not str(node.this).isdigit():  # psycopg's %s and %(name)s
            raise mistake("the statement can't be read", tokens.place(0), "parameters are ? or :name")
    return Statement(text, list(tokens.parameters), len(tokens.parameters), found[0])


def _has_place(node: Node) -> bool:
    return any("start" in part.meta or isinstance(part, exp.Placeholder) for part in node.walk())


def _shorten(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
