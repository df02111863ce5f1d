"""The tokens of a filter's text, checked before sqlglot's parser sees them.

What filters have is little, and everything else is refused here, where its place is known best: other symbols,
functions, values without an operator between them, parentheses that don't match, nesting that would be too deep for a
parser that calls itself. Words that mean nothing to filters become names, so that a field may be called `date` or
`order`.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, NamedTuple

from sqlglot import Token, TokenType
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import TokenError

from vecdb.errors import FilterError, LimitError
from vecdb.filters.path import RESERVED
from vecdb.filters.place import TextPlace, failure
from vecdb.filters.tree import too_many
from vecdb.options import MAX_FILTER_DEPTH, MAX_FILTER_TERMS

# CONTAINS is parsed as PostgreSQL's @>, which filters do not have in their text.
CONTAINS: Final = TokenType.AT_GT

_SYMBOLS: Final = frozenset(["(", ")", ",", ".", "-", "=", "==", "!=", "<>", "<", "<=", ">", ">=", "?", ":"])
_NUMBER: Final = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CLOSED: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_OPENED: Final = re.compile(r"""['"]|/\*""")
_PREFIXES: Final = frozenset([TokenType.NOT, TokenType.DASH, TokenType.L_PAREN])


def _types(names: str) -> frozenset[TokenType]:
    return frozenset(TokenType[name] for name in names.split())


# Where a value, a field or a condition may end; what must come after such an end, and what else may.
_ENDS: Final = _types("IDENTIFIER VAR STRING NUMBER R_PAREN TRUE FALSE NULL")
_OPERATORS: Final = _types("AND OR IN BETWEEN LIKE ILIKE ESCAPE IS AT_GT EQ NEQ LT LTE GT GTE COMMA")
_CONNECTIVES: Final = _types("AND OR")
_FOLLOWS: Final = _OPERATORS | _types("NOT DOT R_PAREN")


class _Tokenizer(Postgres.Tokenizer):
    """PostgreSQL's, to which no word begins a command: after one, the rest of the text would be a single token."""

    COMMANDS: ClassVar[set[TokenType]] = set()


class Parameter(NamedTuple):
    """A `?`, with its number from 0, or a `:name`."""

    key: int | str
    place: TextPlace


def read_tokens(text: str) -> tuple[list[Token], tuple[Parameter, ...]]:
    """The tokens and the parameters of a filter. In the tokens, parameters are called :0, :1 and so on.

    Raises FilterError and LimitError, with the place.
    """
    reader = _Reader(text)
    reader.read()
    return reader.tokens, tuple(reader.parameters)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.parameters: list[Parameter] = []
        self._depth = 0
        self._open: list[tuple[Token, int]] = []  # parentheses, and the depth in front of each

    def read(self) -> None:
        rest = iter(self._tokenize())
        conditions = 1
        for token in rest:
            kind = self._kind(token)
            if self._ended() and kind not in _FOLLOWS:
                called = kind is TokenType.L_PAREN and self.tokens[-1].token_type is TokenType.IDENTIFIER
                raise self._unexpected(token, ": filters have no functions" if called else "")
            if kind in _OPERATORS and not self._has_left():
                raise self._unexpected(token, ": something is missing before it")
            self._nest(kind, token)
            conditions += kind in _CONNECTIVES
            if conditions > MAX_FILTER_TERMS:
                raise too_many(conditions)
            if kind is TokenType.PLACEHOLDER:
                self._add_parameter(token, len(self.parameters))
            elif kind is TokenType.COLON:
                self._add_parameter(token, self._name_after(token, next(rest, None)))
            else:
                self._add(kind, token.text, token)
        if self._open:
            raise failure("( is never closed", TextPlace(self.text, self._open[-1][0].start))
        if not self._ended():
            raise failure("the filter ends where more is needed", TextPlace(self.text, len(self.text)))

    def _nest(self, kind: TokenType, token: Token) -> None:
        """Keep the depth: of open parentheses, and of NOT and minus in front of them and of this token."""
        if kind is TokenType.L_PAREN:
            self._open.append((token, self._depth))
        if kind in _PREFIXES:
            self._depth += 1
        elif kind is TokenType.R_PAREN:
            if not self._open:
                raise self._unexpected(token)
            self._depth = self._open.pop()[1]
        else:
            self._depth = self._open[-1][1] + 1 if self._open else 0
        if self._depth > MAX_FILTER_DEPTH:
            place = TextPlace(self.text, token.start)
            raise LimitError(f"a filter is more than {MAX_FILTER_DEPTH} levels deep, at {place}")

    def _tokenize(self) -> list[Token]:
        try:
            return _Tokenizer(dialect=Postgres()).tokenize(self.text)
        except TokenError:
            opened = _OPENED.search(_CLOSED.sub(lambda closed: " " * len(closed[0]), self.text))
            place = TextPlace(self.text, opened.start() if opened else 0)
            raise failure("a quote or comment is never closed", place) from None

    def _kind(self, token: Token) -> TokenType:
        """The type of a token in filters, by what stands in the text: sqlglot has hundreds."""
        kind, word = token.token_type, self._word(token)
        before = self.tokens[-1].token_type if self.tokens else None
        if (kind, word[0]) in ((TokenType.STRING, "'"), (TokenType.IDENTIFIER, '"')) or word in _SYMBOLS:
            return kind
        if kind is TokenType.NUMBER and _NUMBER.fullmatch(word):
            return kind
        if word.upper() in RESERVED and before is not TokenType.DOT:
            return kind
        if word.upper() == "CONTAINS" and self._has_left():
            return CONTAINS
        if word.isidentifier():
            return TokenType.IDENTIFIER
        raise self._unexpected(token)

    def _ended(self, index: int = -1) -> bool:
        """Whether the token before is one after which an operator may come."""
        return len(self.tokens) >= -index and self.tokens[index].token_type in _ENDS

    def _has_left(self) -> bool:
        """Whether an operator has a left side, with NOT between them perhaps, as in NOT IN."""
        return self._ended() or (self._ended(-2) and self.tokens[-1].token_type is TokenType.NOT)

    def _name_after(self, colon: Token, name: Token | None) -> str:
        if name is None or name.start != colon.end + 1 or not self._word(name).isidentifier():
            raise self._unexpected(colon, ": the name of a parameter is missing")
        return self._word(name)

    def _add_parameter(self, token: Token, key: int | str) -> None:
        if self.parameters and type(self.parameters[0].key) is not type(key):
            raise self._unexpected(token, ": ? and :name can't be mixed")
        self._add(TokenType.COLON, ":", token)
        self._add(TokenType.VAR, str(len(self.parameters)), token)
        self.parameters.append(Parameter(key, TextPlace(self.text, token.start)))

    def _add(self, kind: TokenType, text: str, token: Token) -> None:
        self.tokens.append(Token(kind, text, token.line, token.col, token.start, token.end))

    def _word(self, token: Token) -> str:
        return self.text[token.start : token.end + 1]

    def _unexpected(self, token: Token, why: str = "") -> FilterError:
        return failure(f"unexpected {self._word(token)[:40]!r}{why}", TextPlace(self.text, token.start))
