"""Transactions as users write them: `with db.transaction()`, nested ones as savepoints."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from weakref import ReferenceType, ref

from vecdb.errors import Error, TransactionError
from vecdb.mirror.writer import Writer


class _Local(threading.local):
    """What a thread has open."""

    writer: Writer | None = None

    def __init__(self) -> None:
        self.open: list[ReferenceType[Transaction]] = []


class TransactionStack:
    """The transactions open in each thread, outermost first, over one writer.

    The stack does not keep a transaction alive: one that is lost without its `__exit__`, as by an interrupt just before
    it, is rolled back when the thread next looks.
    """

    def __init__(self, begin: Callable[[], Writer]) -> None:
        self._begin = begin
        self._local = _Local()

    @property
    def writer(self) -> Writer | None:
        """The writer of this thread's transaction."""
        writer = self._local.writer
        if writer is None:
            return None
        while self._open and self._open[-1]() is None:
            self._open.pop()
            if self._open:
                writer.roll_back_to_mark()
        if self._open:
            return writer
        self._local.writer = None
        writer.roll_back()
        return None

    @property
    def _open(self) -> list[ReferenceType[Transaction]]:
        return self._local.open

    def push(self, transaction: Transaction) -> None:
        writer = self.writer
        if writer is None:
            self._local.writer = self._begin()
        else:
            writer.check_whole()
            writer.mark()
        self._open.append(ref(transaction))

    def pop(self, transaction: Transaction, *, commit: bool) -> None:
        """End the innermost transaction, which must be this one."""
        writer = self.writer
        if writer is None or self._open[-1]() is not transaction:
            raise TransactionError("this transaction is not the innermost one open in this thread")
        self._open.pop()
        if not self._open:
            # From here on `self.writer` makes good whatever an interrupt leaves.
            if commit:
                writer.commit()
            else:
                writer.roll_back()
            self._local.writer = None
        elif commit and not writer.broken:
            writer.release_mark()
        else:
            broken = writer.broken
            writer.roll_back_to_mark()
            if commit and broken:
                raise TransactionError("a write of this savepoint was cut off in the middle; it was rolled back")

    def discard(self, transaction: Transaction) -> None:
        """Roll back a transaction and those in it, if it is still open."""
        while self.writer is not None and any(place() is transaction for place in self._open):
            innermost = self._open[-1]()
            if innermost is not None:
                self.pop(innermost, commit=False)

    def roll_back_all(self) -> None:
        """End this thread's transactions, as when the database is closed."""
        self._open.clear()
        _ = self.writer


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
        if kind is not None:
            self._stack.discard(self)
            return
        try:
            self._stack.pop(self, commit=True)
        except Error:
            raise
        except BaseException:  # an interrupt may come before it is ended
            self._stack.discard(self)
            raise
