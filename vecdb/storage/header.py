"""The header: what kind of file this is, and the state that every commit moves on."""

from __future__ import annotations

import os
import sys
from typing import Final, NamedTuple

from vecdb.errors import CorruptionError, FormatVersionError, NotAVecdbError
from vecdb.storage import keys
from vecdb.storage.keys import Space
from vecdb.storage.records import pack, seal, unpack
from vecdb.storage.view import PendingWrites, Records

# Never change: stored. FORMAT.md has the log of versions.
APPLICATION: Final = "vecdb"
FORMAT_MAJOR: Final = 5
OLDEST_MAJOR: Final = 5  # that this version reads
FORMAT_MINOR: Final = 0
KNOWN_FEATURES: Final[frozenset[str]] = frozenset()


class Header(NamedTuple):
    """What stays the same for the life of a file."""

    uuid: bytes
    incarnation: int


class State(NamedTuple):
    """What every commit changes: `version` counts commits, `nonce` tells two commits of one number apart."""

    version: int
    nonce: bytes
    next_table: int


def write_new(writes: PendingWrites) -> None:
    """The records of an empty database."""
    header = {
        "application": APPLICATION,
        "major": FORMAT_MAJOR,
        "minor": FORMAT_MINOR,
        "minimum_reader": FORMAT_MAJOR,
        "byte_order": sys.byteorder,
        "features": [],
        "uuid": os.urandom(16),
        "incarnation": 1,
    }
    writes.put(Space.HEADER, keys.FORMAT, pack(header))
    write_state(writes, State(version=0, nonce=os.urandom(8), next_table=1))


def write_packed_header(records: Records, writes: PendingWrites, state: State) -> None:
    """The header of a packed copy of the file that `records` reads: a new incarnation of it."""
    header = unpack(records.get(Space.HEADER, keys.FORMAT) or b"", "the header")
    writes.put(Space.HEADER, keys.FORMAT, pack({**header, "incarnation": header["incarnation"] + 1}))
    write_state(writes, state)


def read_header(records: Records, path: str) -> Header:
    """The header of a file that this version can read; NotAVecdbError or FormatVersionError otherwise."""
    payload = records.get(Space.HEADER, keys.FORMAT)
    if payload is None:
        raise NotAVecdbError(f"{path} has no vecdb header; it was left as it is")
    header = unpack(payload, f"the header of {path}")
    try:
        application, major, minimum = header["application"], header["major"], header["minimum_reader"]
        features, order = set(header["features"]), header["byte_order"]
        result = Header(header["uuid"], header["incarnation"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptionError(f"the header of {path} lacks or misnames {error}") from error
    if [type(item) for item in result] != [bytes, int]:
        raise CorruptionError(f"the header of {path} is malformed")
    if application != APPLICATION:
        raise NotAVecdbError(f"{path} is a file of {application!r}, not of vecdb; it was left as it is")
    if not isinstance(minimum, int) or minimum > FORMAT_MAJOR:
        raise FormatVersionError(
            f"{path} has format {major!r} and needs a vecdb that reads format {minimum!r}; "
            f"this one reads format {FORMAT_MAJOR}"
        )
    if not isinstance(major, int) or major < OLDEST_MAJOR:
        raise FormatVersionError(
            f"{path} has format {major!r}, of a vecdb from before the first release; this one reads format "
            f"{FORMAT_MAJOR}. Read its rows with the vecdb that wrote it, and insert them into a new file"
        )
    if unknown := features - KNOWN_FEATURES:
        raise FormatVersionError(f"{path} needs features that this vecdb does not know: {sorted(map(str, unknown))}")
    if order != sys.byteorder:
        raise FormatVersionError(f"{path} was written on a {order}-endian machine; this one is {sys.byteorder}-endian")
    return result


def new_incarnation(payload: bytes) -> bytes:
    """The header's payload for a file that goes its own way from now on, as one that was restored does."""
    header = unpack(payload, "the header")
    return pack({**header, "incarnation": int.from_bytes(os.urandom(6), "big") + 1})


def write_state(writes: PendingWrites, state: State) -> None:
    writes.put(Space.HEADER, keys.STATE, encode_state(state))


def encode_state(state: State) -> bytes:
    return pack(list(state))


def seal_state(state: State) -> bytes:
    """The state record as it is stored."""
    return seal(keys.STATE, encode_state(state))


def read_state(records: Records) -> State:
    payload = records.get(Space.HEADER, keys.STATE)
    if payload is None:
        raise CorruptionError("the file's state record is missing")
    state = unpack(payload, "the file's state record")
    if not isinstance(state, list) or [type(item) for item in state] != [int, bytes, int]:
        raise CorruptionError("the file's state record is malformed")
    result = State(*state)
    if not 0 <= result.version < 2**63 or not 1 <= result.next_table < 2**32:
        raise CorruptionError("the file's state record holds impossible numbers")
    return result
