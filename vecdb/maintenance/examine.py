"""The whole examination of a file, in the process that runs it: `check` runs it in a child."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError, Error
from vecdb.maintenance.graph import check_column
from vecdb.maintenance.records import check_checksums
from vecdb.maintenance.report import Findings
from vecdb.maintenance.rows import RowsCheck
from vecdb.mirror.load import stored_column
from vecdb.storage import keys, preflight
from vecdb.storage.catalog import Table, read_tables
from vecdb.storage.damaged import DamagedRecords
from vecdb.storage.header import read_header, read_state
from vecdb.storage.keys import Space
from vecdb.storage.pages import PageFile
from vecdb.storage.registry import REGISTRY
from vecdb.storage.structure import structure_problems
from vecdb.storage.view import Sealed

Report = Callable[[int, int], None]  # done, total

_TRIES: Final = 3  # to look at the pages while others write


def examine(path: str, level: str, findings: Findings, report: Report, flush: Callable[[], None]) -> None:
    """Find what is wrong with a file. `flush` saves the findings before what may end the process."""
    try:
        preflight.inspect(path)
    except Error as error:
        findings.add(None, "file", path, str(error))
        return
    for _ in range(_TRIES):
        before = preflight.newest_transaction(path)
        problems = structure_problems(path)
        if not problems:
            _open_and_check(path, level, findings, report, flush, verified=True)
            return
        if preflight.newest_transaction(path) == before:
            break  # nobody wrote meanwhile: it is what the file is like
    else:
        _open_and_check(path, level, findings, report, flush, verified=False)
        return
    for problem in problems:
        findings.add(None, "structure", "pages", problem)
    flush()
    # The engine must not follow such pages.
    with PageFile(path) as file:
        lost: list[int] = []
        records = DamagedRecords(file, file.trees(file.metas[0].main.root, lost))
        _check_records(records, path, level, findings, report, flush)


def _open_and_check(
    path: str, level: str, findings: Findings, report: Report, flush: Callable[[], None], *, verified: bool
) -> None:
    try:
        environment = REGISTRY.acquire(path, readonly=True, sync_meta=False, max_size=None)
    except Error as error:
        findings.add(None, "file", path, str(error))
        return
    try:
        with environment.read() as reader:
            if not verified:  # now that a reader is there, no page of its version is written anew
                for problem in structure_problems(path):
                    findings.add(None, "structure", "pages", problem)
            flush()
            _check_records(reader, path, level, findings, report, flush)
    finally:
        REGISTRY.release(environment)


def _check_records(
    reader: Sealed, path: str, level: str, findings: Findings, report: Report, flush: Callable[[], None]
) -> None:
    tables: dict[int, Table] = {}
    next_table = 2**32
    try:
        read_header(reader, path)
        state = read_state(reader)
        next_table = state.next_table
        _check_changes(reader, state.version, findings)
    except Error as error:
        findings.add(None, "header", "header", str(error))
    try:
        tables = read_tables(reader)
    except Error as error:
        findings.add(None, "catalog", "tables", str(error))
    for table in tables.values():
        if table.schema.table >= next_table:
            findings.add(table.schema.name, "catalog", "definition", "has a number that was not given out yet")
    findings.counts["tables"] = len(tables)
    if level == "quick":
        _check_counts(reader, tables, findings)
        return
    records = sum(_count(reader, space) for space in Space)
    rows = _count(reader, Space.ROWS)
    vectors = sum(table.state.slots * len(table.schema.columns) for table in tables.values())
    total = records + rows + vectors
    check_checksums(reader, tables, findings, lambda done: report(done, total))
    flush()
    done = records
    for table in tables.values():
        _check_table(reader, table, findings, partial(_report_from, report, done, total), flush)
        done += table.state.rows + table.state.slots * len(table.schema.columns)
    report(total, total)


def _report_from(report: Report, start: int, total: int, done: int) -> None:
    report(start + done, total)


def _check_table(
    reader: Sealed,
    table: Table,
    findings: Findings,
    report: Callable[[int], None],
    flush: Callable[[], None],
) -> None:
    rows = RowsCheck(reader, table, findings)
    try:
        rows.run(report)
    except CorruptionError as error:
        findings.add(table.schema.name, "row", "rows", str(error))
    flush()
    slots = np.array(rows.slots, np.int64)
    for place, column in enumerate(table.schema.columns):
        if len(rows.vectors) < len(slots):
            break  # the rows could not be read to their end
        has = slots[(rows.vectors >> np.uint64(place) & np.uint64(1)).astype(np.bool_)]
        if rows.unreadable:  # what they have is known from their live bits alone
            has = np.union1d(has, _live_among(reader, table, place, rows.unreadable))
        check_column(reader, table, column, has, findings)
        flush()
        report(table.state.rows + (place + 1) * table.state.slots)


def _live_among(reader: Sealed, table: Table, place: int, slots: set[int]) -> NDArray[np.int64]:
    column = table.schema.columns[place]
    try:
        state = table.state.columns[column.number]
        version = stored_column(reader, table.schema, column, state, table.state.slots)
        return np.intersect1d(version.live_slots, np.array(sorted(slots), np.int64))
    except CorruptionError:
        return np.zeros(0, np.int64)


def _check_changes(reader: Sealed, version: int, findings: Findings) -> None:
    """The log has the last versions without a gap."""
    versions = []
    for key, _ in reader.sealed(Space.CHANGES):
        try:
            versions.append(keys.version_of_change(key))
        except CorruptionError as error:
            findings.add(None, "changes", key.hex(), str(error))
            return
    if versions and versions != list(range(versions[0], version + 1)):
        findings.add(None, "changes", "log", f"has not each version from {versions[0]} to {version}")
    if not versions and version:
        findings.add(None, "changes", "log", f"is empty at version {version}")
    findings.counts["versions in the log"] = len(versions)


def _check_counts(reader: Sealed, tables: dict[int, Table], findings: Findings) -> None:
    expected = sum(table.state.rows for table in tables.values())
    for space in (Space.ROWS, Space.IDS):
        found = _count(reader, space)
        if found != expected:
            findings.add(None, "catalog", "counters", f"there are {found} {space.value.decode()}, not {expected}")
    findings.counts["rows"] = expected


def _count(reader: Sealed, space: Space) -> int:
    try:
        return reader.count(space)
    except CorruptionError:
        return 0
