"""Every exception vecdb raises.

The names of PEP 249 are the bases, so that `except vecdb.Error` and DB-API tools both work::

    Error
    ├── InterfaceError
    │   └── StaleHandleError      the handle was closed, crossed a fork, or its file was replaced
    └── DatabaseError
        ├── NotAVecdbError        the file is something else
        ├── CorruptionError       bytes of the file are not what was written
        ├── InternalError
        ├── OperationalError
        │   ├── DatabaseNotFoundError
        │   ├── StorageFullError  no space on the disk, or max_size reached
        │   ├── StorageIOError    the disk failed
        │   ├── ReadOnlyError
        │   ├── LockTimeoutError  the writer's turn or a reader's place did not come in time
        │   ├── BackupError
        │   └── LimitError        a documented limit was passed
        ├── IntegrityError
        │   └── DuplicateIdError
        ├── DataError
        │   ├── RowNotFoundError
        │   ├── IdError
        │   ├── VectorError
        │   └── FieldError
        ├── ProgrammingError
        │   ├── TransactionError
        │   ├── TableNotFoundError
        │   ├── TableExistsError
        │   ├── FilterError
        │   └── SqlError
        └── NotSupportedError
            └── FormatVersionError
"""

from __future__ import annotations


class Error(Exception):
    """Base of all errors of vecdb."""


class InterfaceError(Error):
    """PEP 249: the interface was used wrongly, rather than the database."""


class DatabaseError(Error):
    """PEP 249: base of errors that concern the database."""


class OperationalError(DatabaseError):
    """PEP 249: something outside the program's control."""


class IntegrityError(DatabaseError):
    """PEP 249: the write would have broken a rule that the table keeps."""


class DataError(DatabaseError):
    """PEP 249: a value that can't be stored or found."""


class ProgrammingError(DatabaseError):
    """PEP 249: the call does not fit the table, or its arguments do not fit each other."""


class InternalError(DatabaseError):
    """PEP 249: vecdb contradicted itself; please report it."""


class NotSupportedError(DatabaseError):
    """PEP 249: something this version can't do."""


class StaleHandleError(InterfaceError):
    """The handle was closed, was carried over a fork, or its file was replaced: connect again."""


class NotAVecdbError(DatabaseError):
    """The file is not a vecdb database; it was left as it is."""


class CorruptionError(DatabaseError):
    """Bytes of the file are not those that were written."""


class DatabaseNotFoundError(OperationalError):
    """There is no database at the path, and `create=False`."""


class StorageFullError(OperationalError):
    """The disk or `max_size` is full; the transaction was rolled back."""


class StorageIOError(OperationalError):
    """The disk reported an error. Connect again: a transaction under way is there whole, or not at all."""


class ReadOnlyError(OperationalError):
    """A write through a handle, a file or a folder that allows reading only."""


class LockTimeoutError(OperationalError):
    """The writer's turn, or a reader's place, did not come within `timeout` seconds."""


class BackupError(OperationalError):
    """A backup could not be made, verified or restored."""


class LimitError(OperationalError):
    """A documented limit was passed."""


class DuplicateIdError(IntegrityError):
    """A row with the id exists already, or the id stands twice in one insert."""


class RowNotFoundError(DataError):
    """No row has the id."""


class IdError(DataError):
    """Not an id: ids are str of 1 to 480 UTF-8 bytes or int of 64 bits."""


class VectorError(DataError):
    """A vector of the wrong length, type or rank, or with values that have no distance."""


class FieldError(DataError):
    """A field's name, type or value does not fit the table, or can't be stored."""


class TransactionError(ProgrammingError):
    """A transaction used out of order or from another thread."""


class TableNotFoundError(ProgrammingError):
    """No table has the name."""


class TableExistsError(ProgrammingError):
    """A table of the name exists already."""


class FilterError(ProgrammingError):
    """A filter that can't be read, or does not fit the table."""


class SqlError(ProgrammingError):
    """SQL that can't be read, or does not fit the database."""


class FormatVersionError(NotSupportedError):
    """The file's format, or a feature it needs, is not one that this version reads."""
