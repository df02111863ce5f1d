"""Values as bytes in keys of terms, so that the order of the bytes is the order of the values.

No value's encoding begins another's. A key of LMDB has room for short texts only: longer ones are cut, and those that
begin alike share a term, which sorts right after the short text that they begin with. Stored: never change.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from math import isnan
from typing import Final

from vecdb.errors import CorruptionError
from vecdb.filters.values import Scalar

NULL: Final = b"\x00"
FALSE: Final = b"\x01\x00"
TRUE: Final = b"\x01\x01"
INT: Final = b"\x02"
FLOAT: Final = b"\x03"
NAIVE: Final = b"\x04"
AWARE: Final = b"\x05"
TEXT: Final = b"\x06"

MAX_TEXT_BYTES: Final = 240  # of a text's UTF-8; a zero byte takes two, and a key of LMDB has 511
_WHOLE: Final = b"\x00\x00"
_CUT: Final = b"\x00\x01"
_ZERO: Final = b"\x00\xff"

_INT64: Final = struct.Struct(">cQ")
_FLOAT64: Final = struct.Struct(">d")
_SIGN: Final = 2**63
_ALL: Final = 2**64 - 1
_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = (24 * 60 - 1) * 60 * 10**6  # microseconds of the widest offset from UTC


def encode(value: Scalar) -> bytes:
    """The term of a value of a declared field; NaN has that of null."""
    if isinstance(value, str):
        text = value.encode()
        cut = len(text) > MAX_TEXT_BYTES
        return begin_text(text[:MAX_TEXT_BYTES]) + (_CUT if cut else _WHOLE)
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, int):
        return _INT64.pack(INT, value + _SIGN)
    if isinstance(value, float):
        return NULL if isnan(value) else _encode_float(value)
    if isinstance(value, datetime):
        microseconds, aware = to_microseconds(value)
        return _INT64.pack(AWARE if aware else NAIVE, microseconds + _SIGN)
    if value is None:
        return NULL
    raise CorruptionError(f"a declared field has a value of {type(value).__name__}")


def decode(term: bytes) -> Scalar:
    """The value of a term that is not cut; aware datetimes come back in UTC where it has them."""
    tag = term[:1]
    if tag == TEXT:
        return term[1 : -len(_WHOLE)].replace(_ZERO, b"\x00").decode()
    if term in (FALSE, TRUE):
        return term == TRUE
    if tag == FLOAT:
        bits = int.from_bytes(term[1:], "big")
        plain: float = _FLOAT64.unpack((bits ^ _SIGN if bits & _SIGN else bits ^ _ALL).to_bytes(8, "big"))[0]
        return plain
    if tag == NULL:
        return None
    number = int.from_bytes(term[1:], "big") - _SIGN
    return number if tag == INT else from_microseconds(number, aware=tag == AWARE)


def is_cut(term: bytes) -> bool:
    """Whether a term is of all long texts that begin with its own."""
    return term[:1] == TEXT and term.endswith(_CUT)


def begin_text(beginning: bytes) -> bytes:
    """What the terms of all texts begin with that begin so, in UTF-8."""
    return TEXT + beginning.replace(b"\x00", _ZERO)


def to_microseconds(value: datetime) -> tuple[int, bool]:
    """Microseconds since 1970 and whether the datetime is aware: then of its time in UTC, even beyond the years 1 to
    9999."""
    offset = value.utcoffset()
    local = (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND
    return (local, False) if offset is None else (local - offset // _MICROSECOND, True)


def from_microseconds(microseconds: int, *, aware: bool) -> datetime:
    """The datetime, in UTC where it is aware, or in a zone in which the year is 1 to 9999. Raises CorruptionError."""
    offsets = (0, _DAY, -_DAY) if aware else (0,)
    for offset in offsets:
        with suppress(OverflowError):
            local = _EPOCH + (microseconds + offset) * _MICROSECOND
            return local.replace(tzinfo=timezone(offset * _MICROSECOND)) if aware else local
    raise CorruptionError(f"a stored datetime is {microseconds} microseconds from 1970, beyond the years 1 to 9999")


def _encode_float(value: float) -> bytes:
    """The bits of a number sort as it does once the sign is flipped, or all bits where it is negative."""
    bits = int.from_bytes(_FLOAT64.pack(value + 0.0), "big")  # -0.0 becomes 0.0
    return _INT64.pack(FLOAT, bits ^ (_ALL if bits & _SIGN else _SIGN))
