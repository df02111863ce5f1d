"""Stored records: every value ends in a checksum that is bound to its key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from zlib import crc32

import msgpack

from vecdb.errors import CorruptionError
from vecdb.storage.keys import Space

# Never change: stored.
CHECKSUM_BYTES: Final = 4
_NAIVE_DATETIME: Final = 1
_AWARE_DATETIME: Final = 2

_PACKED_BYTES: Final = 4096  # that a packer has room for before it makes more
_RESIDUE: Final = 0x2144DF1C  # the CRC-32 of anything that is followed by its own CRC-32
_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)


def seal(key: bytes, payload: bytes) -> bytes:
    """The stored form of a payload: its CRC-32, begun with the key's, comes last."""
    return payload + crc32(payload, crc32(key)).to_bytes(CHECKSUM_BYTES, "little")


def verify(space: Space, key: bytes | memoryview, value: bytes | memoryview) -> None:
    """Raise CorruptionError where a stored value does not end in its checksum."""
    if len(value) < CHECKSUM_BYTES or crc32(value, crc32(key)) != _RESIDUE:
        raise CorruptionError(
            f"the record {key.hex()} in {space.value.decode()} does not match its checksum; "
            "back the file up, then restore a backup"
        )


def unseal(space: Space, key: bytes, value: bytes | memoryview) -> memoryview:
    """The payload of a stored value, without a copy."""
    if len(value) < CHECKSUM_BYTES or crc32(value, crc32(key)) != _RESIDUE:
        verify(space, key, value)  # which raises; called for nothing else, since each read of a record comes by here
    return memoryview(value)[:-CHECKSUM_BYTES]


def pack(value: Any) -> bytes:
    """msgpack with datetimes: naive and aware ones come back as what they were, to the microsecond."""
    return packer()(value)


def packer() -> Callable[[Any], bytes]:
    """`pack` for many values, which makes its memory once. For one thread."""
    # Where it made room for as much as it does by itself, the system would give that anew for every packer.
    pack_one: Callable[[Any], bytes] = msgpack.Packer(
        default=_encode_extension, strict_types=True, buf_size=_PACKED_BYTES
    ).pack
    return pack_one


def unpack(payload: bytes | memoryview, what: str, *of: object) -> Any:
    """The value of a payload; CorruptionError, which names `what` (% `of`), where it is not msgpack of ours."""
    try:
        return msgpack.unpackb(payload, ext_hook=_decode_extension, strict_map_key=True)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise CorruptionError(f"{what % of if of else what} can't be decoded: {error}") from error


def _encode_extension(value: Any) -> msgpack.ExtType:
    if type(value) is not datetime:
        raise TypeError(f"{type(value).__name__} is not a type of value that can be stored")
    offset = value.utcoffset()
    microseconds = (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND
    stamp = microseconds.to_bytes(8, "little", signed=True)
    if offset is None:
        return msgpack.ExtType(_NAIVE_DATETIME, stamp)
    return msgpack.ExtType(_AWARE_DATETIME, stamp + (offset // _MICROSECOND).to_bytes(8, "little", signed=True))


def _decode_extension(code: int, data: bytes) -> datetime:
    if (code, len(data)) not in ((_NAIVE_DATETIME, 8), (_AWARE_DATETIME, 16)):
        raise ValueError(f"unknown extension {code} of {len(data)} bytes")
    value = _EPOCH + int.from_bytes(data[:8], "little", signed=True) * _MICROSECOND
    if code == _NAIVE_DATETIME:
        return value
    return value.replace(tzinfo=timezone(int.from_bytes(data[8:], "little", signed=True) * _MICROSECOND))
