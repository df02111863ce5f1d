"""Words that only steer: this thread's transaction and settings, and what there is to see of tables."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from sqlglot import Token

from vecdb.errors import TransactionError
from vecdb.query.search import check_ef
from vecdb.sql.cursor import Result
from vecdb.sql.define import find_table
from vecdb.sql.mistake import mistake
from vecdb.sql.tokens import Tokens
from vecdb.transaction import Transaction

if TYPE_CHECKING:
    from vecdb.database import Database

WORDS: Final = frozenset(
    ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET", "RESET", "SHOW", "DESCRIBE", "DESC")
)


class Steering(threading.local):
    """What a thread has begun and set, and the statements that do so; each thread that looks has its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.ef: int | None = None
        self.open: list[tuple[str | None, Transaction]] = []  # BEGIN's, then savepoints with their names

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was said in this thread, and not yet COMMIT or ROLLBACK."""
        return bool(self.open)

    def run(self, tokens: Tokens) -> Result:
        """Do what one of WORDS says."""
        word = word_at(tokens, 0)
        if word in ("BEGIN", "START"):
            self._end(tokens, 1, "TRANSACTION WORK DEFERRED IMMEDIATE EXCLUSIVE", "write BEGIN")
            self.begin()
        elif word in ("COMMIT", "END"):
            self._end(tokens, 1, "TRANSACTION WORK", "write COMMIT")
            self.commit()
        elif word == "ROLLBACK":
            self._roll_back(tokens)
        elif word == "SAVEPOINT":
            self._savepoint(self._name(tokens, 1, "write SAVEPOINT name"))
        elif word == "RELEASE":
            at = 2 if word_at(tokens, 1) == "SAVEPOINT" else 1
            self._release(self._name(tokens, at, "write RELEASE name"))
        elif word in ("SET", "RESET"):
            self._set(tokens, word)
        elif word == "SHOW":
            return self._show(tokens)
        else:
            return self._describe(self._name(tokens, 1, "write DESCRIBE table"))
        return Result()

    def begin(self) -> None:
        """Open a transaction of this thread."""
        if self.open:
            raise TransactionError("a transaction is open already; SAVEPOINT name is for one within it")
        if self._database._transactions.writer is not None:
            raise TransactionError("this thread is in a transaction of db.transaction() already")
        self._push(None)

    def commit(self) -> None:
        """Commit what this thread has written since BEGIN."""
        self._check_begun("COMMIT")
        while self.open:
            self.open.pop()[1].__exit__(None, None, None)

    def roll_back(self) -> None:
        """Undo what this thread has written since BEGIN."""
        self._check_begun("ROLLBACK")
        while self.open:
            _undo(self.open.pop()[1])

    def _push(self, name: str | None) -> None:
        transaction = self._database.transaction()
        transaction.__enter__()
        self.open.append((name, transaction))

    def _roll_back(self, tokens: Tokens) -> None:
        at = 2 if word_at(tokens, 1) in ("TRANSACTION", "WORK") else 1
        if word_at(tokens, at) != "TO":
            self._end(tokens, at, "", "write ROLLBACK, or ROLLBACK TO name")
            self.roll_back()
            return
        at += 2 if word_at(tokens, at + 1) == "SAVEPOINT" else 1
        name = self._name(tokens, at, "write ROLLBACK TO name")
        place = self._place_of(name)
        while len(self.open) > place:
            _undo(self.open.pop()[1])
        self._push(name)  # the savepoint itself stays

    def _savepoint(self, name: str) -> None:
        self._check_begun("SAVEPOINT")
        self._push(name)

    def _release(self, name: str) -> None:
        place = self._place_of(name)
        while len(self.open) > place:
            self.open.pop()[1].__exit__(None, None, None)

    def _place_of(self, name: str) -> int:
        places = [place for place, (known, _) in enumerate(self.open) if known == name]
        if not places:
            raise TransactionError(f"there is no savepoint {name}; SAVEPOINT {name} sets one")
        return places[-1]

    def _check_begun(self, what: str) -> None:
        if not self.open:
            raise TransactionError(f"{what} without BEGIN: each statement outside of a transaction is its own")

    def _set(self, tokens: Tokens, word: str) -> None:
        texts = [token.text for token in tokens.tokens[1:]]
        if texts[:1] and texts[0].lower() == "hnsw" and texts[1:2] == ["."]:
            texts = texts[2:]
        if texts[:1] and texts[0].lower() == "ef_search":
            if word == "RESET" and len(texts) == 1:
                self.ef = None
                return
            if (
                len(texts) == 3
                and texts[1].upper() in ("=", "TO")
                and (texts[2].isdigit() or texts[2].upper() == "DEFAULT")
            ):
                self.ef = check_ef(int(texts[2])) if texts[2].isdigit() else None
                return
        raise mistake("there is no such setting", tokens.place(1), "write SET ef_search = 100, or RESET ef_search")

    def _show(self, tokens: Tokens) -> Result:
        what = word_at(tokens, 1)
        if what == "TABLES" and len(tokens.tokens) == 2:
            return Result(["name"], [(name,) for name in self._database.tables()], ["str"])
        if what == "EF_SEARCH" and len(tokens.tokens) == 2:
            return Result(["ef_search"], [(self.ef,)], ["int"])
        raise mistake("there is nothing of this name to show", tokens.place(1), "write SHOW TABLES, or DESCRIBE table")

    def _describe(self, name: str) -> Result:
        table = find_table(self._database, name)
        with self._database._view() as view:
            schema = view.find_table(table).schema
        rows: list[tuple[Any, ...]] = [("id", "INTEGER or TEXT", False, None, "PRIMARY KEY")]
        for number, item in enumerate(schema.fields):
            indexed = "INDEX" if number in schema.indexes else ""
            rows.append((item.name, sql_type(item.type), not item.required, item.default, indexed))
        rows += [(name, "JSON", True, None, "") for name in schema.json]
        for column in schema.columns:
            options = column.options
            kind = f"{'VECTOR' if options.dtype == 'float32' else 'HALFVEC'}({options.dim})"
            graph = f"hnsw {options.metric}, m = {options.m}, ef_construction = {options.ef_construction}"
            rows.append((column.name, kind, True, None, graph))
        return Result(["column", "type", "nullable", "default", "index"], rows, ["str", "str", "bool", None, "str"])

    def _name(self, tokens: Tokens, at: int, hint: str) -> str:
        if len(tokens.tokens) <= at or not _is_name(tokens.tokens[at]):
            raise mistake("a name is needed here", tokens.place(at), hint)
        self._end(tokens, at + 1, "", hint)
        return tokens.tokens[at].text

    def _end(self, tokens: Tokens, at: int, optional: str, hint: str) -> None:
        """That nothing follows but a word that means nothing."""
        if word_at(tokens, at) and word_at(tokens, at) in optional.split():
            at += 1
        if len(tokens.tokens) > at:
            raise mistake(f"unexpected {tokens.tokens[at].text[:40]!r}", tokens.place(at), hint)


def sql_type(kind: str) -> str:
    """The type of a field as CREATE TABLE writes it."""
    if kind.startswith("list["):
        return f"{sql_type(kind[5:-1])}[]"
    return {"str": "TEXT", "int": "INTEGER", "float": "REAL", "bool": "BOOLEAN", "datetime": "TIMESTAMP"}[kind]


def word_at(tokens: Tokens, at: int) -> str:
    return tokens.tokens[at].text.upper() if at < len(tokens.tokens) else ""


def _undo(transaction: Transaction) -> None:
    transaction.__exit__(TransactionError, None, None)


def _is_name(token: Token) -> bool:
    return token.text.isidentifier() or token.token_type.name == "IDENTIFIER"
