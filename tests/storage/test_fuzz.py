"""Anything may stand in a record: what is decoded is right, or refused by an error of vecdb's."""

from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vecdb
from vecdb.storage import keys
from vecdb.storage.catalog import Schema, decode_schema, read_tables
from vecdb.storage.header import read_header, read_state
from vecdb.storage.keys import Space
from vecdb.storage.records import pack, unpack
from vecdb.storage.rows import decode_row
from vecdb.storage.view import PendingWrites

# What msgpack can say, in forms near to those that are stored.
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=20,
)
payloads = values.map(msgpack.packb) | st.binary(max_size=60)


def stored(*records: tuple[Space, bytes, bytes]) -> PendingWrites:
    writes = PendingWrites.on_nothing()
    for space, key, payload in records:
        writes.put(space, key, payload)
    return writes


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Payloads of a real file."""
    with vecdb.connect(tmp_path_factory.mktemp("fuzz") / "t.vecdb") as db:
        table = db.create_table("t", dim=2, fields={"n": int, "tags": list[str]}, indexes=["n"])
        table.insert("a", [1, 2], {"n": 1, "tags": ["x"], "more": {"deep": [1.5]}})
        with db._view() as view:
            return {
                "format": bytes(view.records.get(Space.HEADER, keys.FORMAT) or b""),
                "state": bytes(view.records.get(Space.HEADER, keys.STATE) or b""),
                "definition": bytes(view.records.get(Space.CATALOG, keys.definition(1)) or b""),
                "counters": bytes(view.records.get(Space.CATALOG, keys.counters(1)) or b""),
                "row": bytes(view.records.get(Space.ROWS, keys.row(1, 0)) or b""),
            }


def decode(kind: str, payload: bytes, valid: dict[str, bytes]) -> None:
    if kind == "format":
        read_header(stored((Space.HEADER, keys.FORMAT, payload)), "file")
    elif kind == "state":
        read_state(stored((Space.HEADER, keys.STATE, payload)))
    elif kind == "row":
        schema: Schema = decode_schema(1, valid["definition"])
        decode_row(payload, schema, 0)
    else:
        parts = {**valid, kind: payload}
        read_tables(
            stored(
                (Space.CATALOG, keys.definition(1), parts["definition"]),
                (Space.CATALOG, keys.counters(1), parts["counters"]),
            )
        )


KINDS = ["format", "state", "definition", "counters", "row"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_is_decoded(kind: str, valid: dict[str, bytes]) -> None:
    decode(kind, valid[kind], valid)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=300, deadline=None)
@given(payload=payloads)
def test_any_payload(kind: str, valid: dict[str, bytes], payload: bytes) -> None:
    with contextlib.suppress(vecdb.Error):
        decode(kind, payload, valid)


@pytest.mark.parametrize("kind", KINDS)
def test_mutations_of_what_is_stored(kind: str, valid: dict[str, bytes], rng: np.random.Generator) -> None:
    refused = 0
    for _ in range(1500):
        changed = bytearray(valid[kind])
        for _ in range(int(rng.integers(1, 4))):
            place, how = int(rng.integers(len(changed))), rng.integers(4)
            if how == 0:
                changed[place] ^= 1 << int(rng.integers(8))
            elif how == 1:
                changed[place] = int(rng.integers(256))
            elif how == 2:
                del changed[place:]
                changed += b"\xc0"
            else:
                changed[place:place] = rng.bytes(2)
        try:
            decode(kind, bytes(changed), valid)
        except vecdb.Error:
            refused += 1
    assert refused > 300


@settings(max_examples=300, deadline=None)
@given(value=values)
def test_what_is_packed_comes_back(value: Any) -> None:
    assert repr(unpack(pack(value), "a value")) == repr(value)
