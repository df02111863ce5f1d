"""Transactions as users write them: `with db.transaction()`, nested ones as savepoints."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from vecdb.errors import Error, TransactionError
from vecdb.mirror.writer import Writer


class TransactionStack:
    """The transactions open in each thread, outermost first, over one writer."""

    def __init__(self, begin: Callable[[], Writer]) -> None:
        self._begin = begin
        self._local = threading.local()

    @property
    def writer(self) -> Writer | None:
        """The writer of this thread's transaction."""
        return getattr(self._local, "writer", None)

    @property
    def _open(self) -> list[Transaction]:
        if not hasattr(self._local, "open"):
            self._local.open = []
        found: list[Transaction] = self._local.open
        return found

    def push(self, transaction: Transaction) -> None:
        if self.writer is None:
            self._local.writer = self._begin()
        else:
            self.writer.check_whole()
            self.writer.mark()
        self._open.append(transaction)

    def pop(self, transaction: Transaction, *, commit: bool) -> None:
        """End the innermost transaction, which must be this one."""
        if not self._open or self._open[-1] is not transaction:
            raise TransactionError("this transaction is not the innermost one open in this thread")
        self._open.pop()
        writer = self.writer
        assert writer is not None, "an open transaction has a writer"
        if self._open:
            if commit and not writer.broken:
                writer.release_mark()
                return
            broken = writer.broken
            writer.roll_back_to_mark()
            if commit and broken:
                raise TransactionError("a write of this savepoint was cut off in the middle; it was rolled back")
            return
        self._local.writer = None
        if commit:
            writer.commit()
        else:
            writer.roll_back()

    def discard(self, transaction: Transaction) -> None:
        """Roll back a transaction that an interrupt kept from being ended, if it is still open."""
        if transaction in self._open:
            while self._open[-1] is not transaction:
                self.pop(self._open[-1], commit=False)
            self.pop(transaction, commit=False)
        elif not self._open and self.writer is not None:
            self.roll_back_all()

    def roll_back_all(self) -> None:
        """End this thread's transactions, as when the database is closed."""
        writer = self.writer
        self._open.clear()
        self._local.writer = None
        if writer is not None:
            writer.roll_back()


class Transaction:
    """Everything written in its block is committed together at the end; an exception rolls it back.

    Inside another transaction of the same thread and database it is a savepoint.
    """

    def __init__(self, stack: TransactionStack) -> None:
        self._stack = stack
        self._thread: int | None = None

    def __enter__(self) -> Transaction:
        if self._thread is not None:
            raise TransactionError("a transaction can be entered once; call db.transaction() again")
        self._thread = threading.get_ident()
        try:
            self._stack.push(self)
        except BaseException:  # an interrupt may come when it is open already, and then nobody would end it
            self._stack.discard(self)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if threading.get_ident() != self._thread:
            raise TransactionError("a transaction ends in the thread that began it")
        try:
            self._stack.pop(self, commit=kind is None)
        except Error:
            raise
        except BaseException:  # an interrupt may come before it is ended
            self._stack.discard(self)
            raise
