"""Checksums of every record, and what a record is in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from vecdb.errors import CorruptionError
from vecdb.maintenance.report import Findings
from vecdb.storage import keys
from vecdb.storage.catalog import Table
from vecdb.storage.keys import BLOCK_SPACES, TABLE_SPACES, Space
from vecdb.storage.records import unseal
from vecdb.storage.view import Sealed

_REPORT_EVERY: Final = 1024  # records


def check_checksums(
    reader: Sealed, tables: Mapping[int, Table], findings: Findings, report: Callable[[int], None]
) -> None:
    """Every record matches its checksum and belongs to a table that is there."""
    done = 0
    for space in Space:
        count = 0
        try:
            for key, value in reader.sealed(space):
                count += 1
                if count % _REPORT_EVERY == 0:
                    report(done + count)
                if space in TABLE_SPACES and int.from_bytes(key[:4], "big") not in tables:
                    findings.add(None, "structure", f"{space.value.decode()} {key.hex()}", "belongs to no table")
                try:
                    unseal(space, key, value)
                except CorruptionError:
                    table, place = describe(tables, space, key)
                    findings.add(table, "checksum", place, "does not match its checksum")
            if count != reader.count(space):
                message = f"holds {count} records, and is said to hold {reader.count(space)}"
                findings.add(None, "structure", space.value.decode(), message)
        except CorruptionError as error:
            findings.add(None, "structure", space.value.decode(), str(error))
        done += count
        findings.counts["records"] += count


def read_whole(reader: Sealed, space: Space, prefix: bytes) -> Iterator[tuple[bytes, memoryview | None]]:
    """Records by key; None in the place of one whose checksum does not hold, which is told elsewhere."""
    for key, value in reader.sealed(space, prefix):
        try:
            yield key, unseal(space, key, value)
        except CorruptionError:
            yield key, None


def describe(tables: Mapping[int, Table], space: Space, key: bytes) -> tuple[str | None, str]:
    """The table of a record, and which one it is, for people."""
    name = space.value.decode()
    if space not in TABLE_SPACES:
        return None, f"{name} {key.decode(errors='replace') if space is Space.HEADER else key.hex()}"
    table = tables.get(int.from_bytes(key[:4], "big"))
    if table is None:
        return None, f"{name} {key.hex()}"
    schema = table.schema
    number = int.from_bytes(key[4:6], "big")
    if space is Space.ROWS and len(key) == 8:
        return schema.name, f"row in slot {keys.slot_of_row(key)}"
    if space is Space.IDS:
        identifier = key[5:].decode(errors="replace") if key[4:5] == b"\x02" else int.from_bytes(key[5:], "big") - 2**63
        return schema.name, f"id {identifier!r}"
    if space in BLOCK_SPACES or space is Space.JOURNAL:
        column = next((column.name for column in schema.columns if column.number == number), None)
        what = "rows" if number == keys.ROWS_LIVE else f"column {column!r}"
        last = int.from_bytes(key[6:], "big")
        if space is Space.CODES and last == keys.QUANTIZER:
            return schema.name, f"quantizer of {what}"
        return schema.name, f"{'entry' if space is Space.JOURNAL else 'block'} {last} of {name} of {what}"
    if space in (Space.TERMS, Space.COLUMNS) and number < len(schema.fields):
        return schema.name, f"{name} of field {schema.fields[number].name!r}, {key[6:].hex()}"
    return schema.name, f"{name} {key.hex()}"
