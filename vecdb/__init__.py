"""vecdb: SQLite for vectors. One file, one import, no server.

>>> import vecdb
>>> db = vecdb.connect(path)
>>> notes = db.create_table("notes", dim=3, fields={"lang": str})
>>> notes.insert("a", [1.0, 0.0, 0.0], {"lang": "en"})
'a'
>>> notes.search([1.0, 0.1, 0.0], k=1).ids
['a']
>>> db.close()
"""

from vecdb.database import Database, connect
from vecdb.errors import (
    BackupError,
    CorruptionError,
    DatabaseError,
    DatabaseNotFoundError,
    DataError,
    DuplicateIdError,
    Error,
    FieldError,
    FilterError,
    FormatVersionError,
    IdError,
    IntegrityError,
    InterfaceError,
    InternalError,
    LimitError,
    LockTimeoutError,
    NotAVecdbError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    ReadOnlyError,
    RowNotFoundError,
    SqlError,
    StaleHandleError,
    StorageFullError,
    StorageIOError,
    TableExistsError,
    TableNotFoundError,
    TransactionError,
    VectorError,
)
from vecdb.filters.column import Column, col
from vecdb.filters.tree import Filter
from vecdb.maintenance.backup import Backup
from vecdb.maintenance.check import check
from vecdb.maintenance.dump import dump
from vecdb.maintenance.report import Problem, Report
from vecdb.maintenance.restore import restore
from vecdb.options import Vector
from vecdb.query.results import BatchHits, Hit, Hits, Plan, Row
from vecdb.query.stats import ColumnStats, DatabaseStats, ReaderStats, TableStats
from vecdb.snapshot import Snapshot
from vecdb.table import Table
from vecdb.table_view import TableView
from vecdb.transaction import Transaction
from vecdb.transfer.load import load
from vecdb.transfer.recover import Recovery, TableRecovery, recover

__version__ = "0.1.0"

__all__ = [
    "Backup",
    "BackupError",
    "BatchHits",
    "Column",
    "ColumnStats",
    "CorruptionError",
    "DataError",
    "Database",
    "DatabaseError",
    "DatabaseNotFoundError",
    "DatabaseStats",
    "DuplicateIdError",
    "Error",
    "FieldError",
    "Filter",
    "FilterError",
    "FormatVersionError",
    "Hit",
    "Hits",
    "IdError",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LimitError",
    "LockTimeoutError",
    "NotAVecdbError",
    "NotSupportedError",
    "OperationalError",
    "Plan",
    "Problem",
    "ProgrammingError",
    "ReadOnlyError",
    "ReaderStats",
    "Recovery",
    "Report",
    "Row",
    "RowNotFoundError",
    "Snapshot",
    "SqlError",
    "StaleHandleError",
    "StorageFullError",
    "StorageIOError",
    "Table",
    "TableExistsError",
    "TableNotFoundError",
    "TableRecovery",
    "TableStats",
    "TableView",
    "Transaction",
    "TransactionError",
    "Vector",
    "VectorError",
    "check",
    "col",
    "connect",
    "dump",
    "load",
    "recover",
    "restore",
]
