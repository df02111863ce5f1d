"""Backups and what they were made from: a full one is a database file, an incremental one follows an earlier backup."""

from __future__ import annotations

import hashlib
import os
from typing import Final, NamedTuple

from vecdb.errors import BackupError, DatabaseNotFoundError
from vecdb.storage import preflight
from vecdb.storage.header import read_header, read_state
from vecdb.storage.increment import Change, Identity, IncrementReader, is_increment
from vecdb.storage.keys import Space
from vecdb.storage.private import PrivateFile
from vecdb.storage.records import CHECKSUM_BYTES, verify
from vecdb.storage.view import Records, Sealed

_LONGEST: Final = 10_000  # increments in a row


class Chain(NamedTuple):
    """A full backup, and the increments that lead to a later one, the earliest first."""

    full: str
    increments: list[str]


def identify(records: Records, path: str) -> Identity:
    """The commit that records are of."""
    header, state = read_header(records, path), read_state(records)
    return Identity(header.uuid, header.incarnation, state.version, state.nonce)


def find_chain(backup: str) -> Chain:
    """What leads to a backup. Raises BackupError where a file is missing or follows none of the others."""
    increments: list[str] = []
    path = backup
    for _ in range(_LONGEST):
        if not os.path.isfile(path):
            needed = f", which {increments[-1]} follows" if increments else ""
            raise DatabaseNotFoundError(f"there is no backup {path}{needed}")
        if not is_increment(path):
            preflight.inspect(path)
            return Chain(path, increments[::-1])
        with IncrementReader(path) as reader:
            increments.append(path)
            path = os.path.join(os.path.dirname(path), reader.head.parent_file)
    raise BackupError(f"{backup} follows more than {_LONGEST} others")


def digest(records: Sealed) -> bytes:
    """Of all records; every checksum is verified. Raises CorruptionError."""
    whole = hashlib.blake2b(digest_size=16)
    for space in Space:
        whole.update(space.value + b"\0")
        for key, value in records.sealed(space):
            verify(space, key, value)
            whole.update(len(key).to_bytes(2, "little") + key + value[-CHECKSUM_BYTES:])
    return whole.digest()


def apply_increment(file: PrivateFile, path: str) -> None:
    """Move a draft on to the commit of an increment that follows it. Raises BackupError."""
    with IncrementReader(path) as reader:
        if identify(file, file.path) != reader.head.parent:
            raise BackupError(f"{path} does not follow {reader.head.parent_file}, but another backup of that name")
        file.write((change.space, change.key, _Value(reader, change)) for change in reader.changes())
        if identify(file, file.path) != reader.head.identity or digest(file) != reader.digest:
            raise BackupError(f"{path} does not lead to what it was made of")


class _Value:
    """A record's new value by its old one."""

    def __init__(self, reader: IncrementReader, change: Change) -> None:
        self._reader = reader
        self._change = change

    def __call__(self, before: bytes | None) -> bytes | None:
        return self._reader.value(self._change, before)
