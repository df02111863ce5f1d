"""The tokens of a statement, checked before sqlglot's parser sees them.

As in filters, symbols that vecdb has no use for are refused here, where their place is known best; parameters get
numbers; and nesting that is too deep for a parser that calls itself is found. pgvector's operators become tokens that
bind as `*` does, whatever sqlglot has them for.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final, NamedTuple, NoReturn

from sqlglot import Token, TokenType, exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ParseError, TokenError

from vecdb.errors import LimitError
from vecdb.filters.place import TextPlace
from vecdb.filters.tokens import CONTAINS, Parameter
from vecdb.options import MAX_FILTER_DEPTH, MAX_SQL_TERMS, MAX_SQL_TEXT
from vecdb.sql.mistake import mistake


class SqlDialect(Postgres):
    """PostgreSQL's syntax, in which nulls come first, as in SQLite."""

    NULL_ORDERING = "nulls_are_small"

    class Tokenizer(Postgres.Tokenizer):
        COMMANDS: ClassVar[set[TokenType]] = set()  # after one, the rest of a text would be a single token
        KEYWORDS: ClassVar[dict[str, TokenType]] = {
            **Postgres.Tokenizer.KEYWORDS,
            "<=>": TokenType.NULLSAFE_EQ,
            "<#>": TokenType.DIV,
        }

    class Parser(Postgres.Parser):  # type: ignore[valid-type,misc]  # sqlglot makes it of a property
        """All functions are Anonymous to it, but those with a syntax of their own."""

        EQUALITY: ClassVar[dict[TokenType, Any]] = {
            token: node for token, node in Postgres.Parser.EQUALITY.items() if token is not TokenType.NULLSAFE_EQ
        }
        FACTOR: ClassVar[dict[TokenType, Any]] = {
            **Postgres.Parser.FACTOR,
            TokenType.LR_ARROW: exp.Distance,
            TokenType.NULLSAFE_EQ: exp.NullSafeEQ,
            TokenType.DIV: exp.IntDiv,
        }
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: Postgres.Parser.FUNCTION_PARSERS[name] for name in ("CAST", "POSITION", "SUBSTRING", "TRIM")
        }

        def _parse_as_command(self, start: Token) -> NoReturn:
            """What sqlglot does not know it would log, and hand on unread."""
            raise ParseError.new("", line=(self._curr or start).line, col=(self._curr or start).col)


# As what the operators are parsed: as sqlglot's Distance, NullSafeEQ and IntDiv.
DISTANCES: Final = {"<->": TokenType.LR_ARROW, "<=>": TokenType.NULLSAFE_EQ, "<#>": TokenType.DIV}
_SYMBOLS: Final = frozenset([*"(),.;+-*/%=<>?:[]", "||", "==", "!=", "<>", "<=", ">=", "::"])
_NUMBER: Final = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORDS: Final = re.compile(r"[^\W\d]\w*(\s+\w+)*")
_CLOSED: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_PARENTHESES: Final = re.compile("[()]")
_JOINS: Final = re.compile(r"\b(?:AND|OR|BETWEEN)\b", re.IGNORECASE)
_OPENED: Final = re.compile(r"""['"]|/\*""")
_PREFIXES: Final = frozenset([TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.L_PAREN, TokenType.CASE])
_ENDS: Final = frozenset([TokenType.R_PAREN, TokenType.STRING, TokenType.IDENTIFIER, TokenType.VAR])
_HINTS: Final = {
    "$": "parameters are ? or :name",
    "@": "parameters are ? or :name",
    "->": "nested metadata has dotted names, as extra.author.name",
    "->>": "nested metadata has dotted names, as extra.author.name",
    "`": 'names with spaces or dots stand in double quotes, as "file name"',
    "@>": "a list that has an item: tags CONTAINS 'x', or 'x' = ANY(tags)",
    "~": "patterns: LIKE 'a%', or ILIKE whatever the case",
}


class Tokens(NamedTuple):
    """A statement's tokens; parameters are called :0, :1 and so on in them."""

    text: str
    tokens: list[Token]
    parameters: tuple[Parameter, ...]

    def place(self, index: int) -> TextPlace:
        """Where a token stands; past the last, the end of the text."""
        return TextPlace(self.text, self.tokens[index].start if index < len(self.tokens) else len(self.text))


def read_tokens(text: str) -> Tokens:
    """The tokens of one statement. Raises SqlError and LimitError, with the place."""
    if len(text) > MAX_SQL_TEXT:
        raise LimitError(f"a statement has {len(text)} characters; the most is {MAX_SQL_TEXT}. Use parameters")
    _check_size(text)
    reader = _Reader(text)
    reader.read()
    return Tokens(text, reader.tokens, tuple(reader.parameters))


def _check_size(text: str) -> None:
    """Refuse what has too many parts before sqlglot takes its time for each: a second for 10,000 conditions."""
    if len(text) <= MAX_SQL_TERMS and text.count("(") <= MAX_FILTER_DEPTH:
        return
    bare = _CLOSED.sub(lambda closed: " " * len(closed[0]), text)
    depth = 0
    for found in _PARENTHESES.finditer(bare):
        depth += 1 if found[0] == "(" else -1
        if depth > MAX_FILTER_DEPTH:
            raise _too_deep(TextPlace(text, found.start()))
    terms = sum(-1 if word.upper() == "BETWEEN" else 1 for word in _JOINS.findall(bare))
    if terms > MAX_SQL_TERMS:
        raise LimitError(f"a statement has {terms} AND and OR; the most is {MAX_SQL_TERMS}. Many values: IN")


def _too_deep(place: TextPlace) -> LimitError:
    return LimitError(f"a statement is more than {MAX_FILTER_DEPTH} levels deep, at {place}")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.parameters: list[Parameter] = []
        self._open: list[tuple[Token, int]] = []  # parentheses and CASE, and the depth in front of each
        self._depth = 0

    def read(self) -> None:
        rest = iter(self._tokenize())
        ended: Token | None = None
        for token in rest:
            if ended is not None:
                raise mistake(
                    "a second statement begins", self._place(token), "execute statements one by one, or by the shell"
                )
            kind = self._kind(token)
            if kind is TokenType.SEMICOLON:
                ended = token
                continue
            self._nest(kind, token)
            if kind is TokenType.PLACEHOLDER:
                self._add_parameter(token, len(self.parameters))
            elif kind is TokenType.COLON:
                name = next(rest, None)
                if name is None or name.start != token.end + 1 or not self._word(name).isidentifier():
                    raise mistake("the name of a parameter is missing", self._place(token), "write it as :name")
                self._add_parameter(token, self._word(name))
            else:
                self._add(kind, token.text, token)
        if self._open:
            opened = self._open[-1][0]
            word = self._word(opened)
            raise mistake(
                f"{word} is never closed", self._place(opened), "end it with END" if len(word) > 1 else "add the )"
            )
        if not self.tokens:
            raise mistake("there is no statement", TextPlace(self.text, 0), "write SELECT, INSERT, CREATE TABLE, ...")

    def _tokenize(self) -> list[Token]:
        try:
            return SqlDialect.Tokenizer(dialect=SqlDialect()).tokenize(self.text)
        except TokenError:
            opened = _OPENED.search(_CLOSED.sub(lambda closed: " " * len(closed[0]), self.text))
            place = TextPlace(self.text, opened.start() if opened else 0)
            raise mistake(
                "a quote or comment is never closed", place, "a quote in a text is doubled: 'it''s'"
            ) from None

    def _kind(self, token: Token) -> TokenType:
        kind, word = token.token_type, self._word(token)
        if word in DISTANCES:
            return DISTANCES[word]
        if (kind, word[0]) in ((TokenType.STRING, "'"), (TokenType.IDENTIFIER, '"')) or word in _SYMBOLS:
            return kind
        if kind is TokenType.NUMBER and _NUMBER.fullmatch(word):
            return kind
        if word.upper() == "CONTAINS" and self._after_a_list():
            return CONTAINS
        if _WORDS.fullmatch(word):  # ORDER BY is one token
            after_dot = bool(self.tokens) and self.tokens[-1].token_type is TokenType.DOT
            return TokenType.VAR if after_dot or kind in (*DISTANCES.values(), TokenType.NUMBER) else kind
        hint = _HINTS.get(word, _HINTS.get(word[0], "vecdb's SQL has no such symbol"))
        raise mistake(f"unexpected {word[:40]!r}", self._place(token), hint)

    def _after_a_list(self) -> bool:
        """Whether what came may be a list, or NOT after one."""
        before = [token.token_type for token in self.tokens[-2:]]
        return before[-1:] == [TokenType.NOT] or bool(_ENDS & {*before[-1:]})

    def _nest(self, kind: TokenType, token: Token) -> None:
        if kind in (TokenType.L_PAREN, TokenType.CASE):
            self._open.append((token, self._depth))
        if kind in _PREFIXES:
            self._depth += 1
        elif kind in (TokenType.R_PAREN, TokenType.END):
            opens = TokenType.L_PAREN if kind is TokenType.R_PAREN else TokenType.CASE
            if not self._open or self._open[-1][0].token_type is not opens:
                if kind is TokenType.END:
                    return
                raise mistake("unexpected ')'", self._place(token), "nothing is open here that it could close")
            self._depth = self._open.pop()[1]
        else:
            self._depth = self._open[-1][1] + 1 if self._open else 0
        if self._depth > MAX_FILTER_DEPTH:
            raise _too_deep(self._place(token))

    def _add_parameter(self, token: Token, key: int | str) -> None:
        if self.parameters and type(self.parameters[0].key) is not type(key):
            raise mistake("? and :name can't be mixed", self._place(token), "write all parameters in one way")
        self._add(TokenType.COLON, ":", token)
        self._add(TokenType.VAR, str(len(self.parameters)), token)
        self.parameters.append(Parameter(key, self._place(token)))

    def _add(self, kind: TokenType, text: str, token: Token) -> None:
        self.tokens.append(Token(kind, text, token.line, token.col, token.start, token.end))

    def _word(self, token: Token) -> str:
        return self.text[token.start : token.end + 1]

    def _place(self, token: Token) -> TextPlace:
        return TextPlace(self.text, token.start)
