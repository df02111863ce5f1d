"""The file of an incremental backup: what became of each record since an earlier one. FORMAT.md has its layout.

Stored: never change. A value that replaces one of its own length is kept as the difference of both, which compresses
well where a block changed in few places. Every value has its own checksum, bound to its key, and shows whether the
difference was laid over the right one; the whole file has a checksum at its end.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from vecdb.errors import BackupError, CorruptionError
from vecdb.storage.keys import Space
from vecdb.storage.records import pack, unpack

MAGIC: Final = b"vecdb increment\x01"
_LENGTH: Final = struct.Struct("<I")
_RECORD: Final = struct.Struct("<BBHII")  # space, form, bytes of the key, of the stored form, of the value
_END: Final = 255
_DELETED, _WHOLE, _PACKED, _DIFFERENCE = range(4)
_SPACES: Final = tuple(Space)  # by number: those of a later version come after
_MOST_BYTES: Final = 1 << 31
_LEVEL: Final = 1  # of compression: more takes longer than the disk does


class Identity(NamedTuple):
    """The commit that a backup has."""

    uuid: bytes
    incarnation: int
    version: int
    nonce: bytes


class Head(NamedTuple):
    """What an increment is of."""

    parent: Identity
    parent_file: str  # its name, in the same folder
    identity: Identity
    major: int  # of the file format


class Change(NamedTuple):
    """What became of a record: `value`, sealed, or None where it is gone."""

    space: Space
    key: bytes
    form: int
    stored: bytes
    size: int


class IncrementWriter:
    """Writes an increment, record by record."""

    def __init__(self, file: BinaryIO, head: Head) -> None:
        self._file = file
        self._checksum = 0
        self.bytes = 0
        packed = pack([list(head.parent), head.parent_file, list(head.identity), head.major])
        self._write(MAGIC + _LENGTH.pack(len(packed)) + packed)

    def put(self, space: Space, key: bytes, value: bytes, before: bytes | None) -> None:
        """A record as it is now, sealed, and as it was."""
        form, stored = _WHOLE, value
        if before is not None and len(before) == len(value):
            difference = np.frombuffer(value, np.uint8) ^ np.frombuffer(before, np.uint8)
            form, stored = _DIFFERENCE, zlib.compress(difference.tobytes(), _LEVEL)
        else:
            packed = zlib.compress(value, _LEVEL)
            if len(packed) < 0.9 * len(value):
                form, stored = _PACKED, packed
        self._record(space, form, key, stored, len(value))

    def delete(self, space: Space, key: bytes) -> None:
        self._record(space, _DELETED, key, b"", 0)

    def end(self, digest: bytes) -> None:
        """Close with the digest of all records as they are now."""
        self._write(_RECORD.pack(_END, 0, 0, len(digest), 0) + digest)
        self._file.write(_LENGTH.pack(self._checksum))
        self._file.flush()

    def _record(self, space: Space, form: int, key: bytes, stored: bytes, size: int) -> None:
        self._write(_RECORD.pack(_SPACES.index(space), form, len(key), len(stored), size) + key + stored)

    def _write(self, data: bytes) -> None:
        self._checksum = zlib.crc32(data, self._checksum)
        self._file.write(data)
        self.bytes += len(data)


class IncrementReader:
    """Reads an increment. Raises BackupError for what is none, or damaged."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = open(path, "rb")  # noqa: SIM115  # closed by `close`
        self._checksum = 0
        self.digest = b""
        try:
            self.head = self._read_head()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> IncrementReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def changes(self) -> Iterator[Change]:
        """All of them; `digest` is known, and the file found whole, when they end."""
        while True:
            space, form, key_size, stored_size, size = _RECORD.unpack(self._read(_RECORD.size))
            if space == _END:
                self.digest = self._read(stored_size)
                checksum = self._checksum
                if _LENGTH.unpack(self._read(_LENGTH.size))[0] != checksum or self._file.read(1):
                    raise self._damaged("its checksum does not hold")
                return
            if space >= len(_SPACES) or form > _DIFFERENCE or size > _MOST_BYTES:
                raise self._damaged("it names what there is not")
            yield Change(_SPACES[space], self._read(key_size), form, self._read(stored_size), size)

    def value(self, change: Change, before: bytes | None) -> bytes | None:
        """The record's value after a change; `before` it was this one."""
        if change.form == _DELETED:
            return None
        if change.form == _WHOLE:
            return change.stored
        try:
            unpacked = zlib.decompressobj().decompress(change.stored, change.size + 1)
        except zlib.error as error:
            raise self._damaged(str(error)) from error
        if len(unpacked) != change.size:
            raise self._damaged("a value has another length")
        if change.form == _PACKED:
            return unpacked
        if before is None or len(before) != change.size:
            raise self._damaged("it changes a record that is not there")
        return (np.frombuffer(unpacked, np.uint8) ^ np.frombuffer(before, np.uint8)).tobytes()

    def _read_head(self) -> Head:
        if self._read(len(MAGIC)) != MAGIC:
            raise BackupError(f"{self.path} is no incremental backup of vecdb")
        (size,) = _LENGTH.unpack(self._read(_LENGTH.size))
        try:
            parent, parent_file, identity, major = unpack(self._read(min(size, 1 << 16)), "its head")
            head = Head(Identity(*parent), parent_file, Identity(*identity), major)
        except (CorruptionError, TypeError, ValueError) as error:
            raise self._damaged(str(error)) from error
        types: list[Any] = [bytes, int, int, bytes]
        if (
            [type(item) for item in head.parent] != types
            or [type(item) for item in head.identity] != types
            or type(parent_file) is not str
            or type(major) is not int
        ):
            raise self._damaged("its head is malformed")
        return head

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise self._damaged("it is cut off")
        self._checksum = zlib.crc32(data, self._checksum)
        return data

    def _damaged(self, problem: str) -> BackupError:
        return BackupError(f"{self.path} is damaged: {problem}")


def is_increment(path: str) -> bool:
    """Whether a file says that it is an incremental backup."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC
