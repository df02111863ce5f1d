"""Sets of slots, and postings, which they are made from, agree with Python's sets."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vecdb
from vecdb.fields.postings import CHUNK, change_posting, gather, write_posting
from vecdb.fields.slots import NO_SLOTS, SlotSet

SLOTS = 3 * CHUNK - 5

few = st.sets(st.integers(0, SLOTS - 1), max_size=20)
runs = st.builds(
    lambda first, length, step: set(range(first, min(first + length * step, SLOTS), step)),
    st.integers(0, SLOTS - 1),
    st.integers(0, 9000),
    st.integers(1, 5),
)
slots = few | runs | st.builds(operator.or_, few, runs)


def as_list(members: set[int]) -> SlotSet:
    return SlotSet.of_slots(np.array(sorted(members), np.int64))


def as_bits(members: set[int]) -> SlotSet:
    bits = np.zeros((max(members, default=0) // 8 + 1) * 8, np.bool_)
    bits[list(members)] = True
    return SlotSet.of_bits(np.packbits(bits, bitorder="little"))


forms: st.SearchStrategy[Callable[[set[int]], SlotSet]] = st.sampled_from([as_list, as_bits])


def postings(members: set[int]) -> list[tuple[int, bytes]]:
    return [
        (chunk, write_posting(sorted(slot - chunk * CHUNK for slot in members if slot // CHUNK == chunk)))
        for chunk in sorted({slot // CHUNK for slot in members})
    ]


@given(slots, slots, forms, forms, st.sampled_from([operator.and_, operator.or_, operator.sub]))
def test_algebra(
    left: set[int],
    right: set[int],
    left_form: Callable[[set[int]], SlotSet],
    right_form: Callable[[set[int]], SlotSet],
    combine: Callable[[Any, Any], Any],
) -> None:
    found, expected = combine(left_form(left), right_form(right)), sorted(combine(left, right))
    assert len(found) == len(expected)
    assert found.slots.tolist() == expected
    bits = found.bits(SLOTS)
    assert bits.shape == (3, 1024)
    assert np.flatnonzero(np.unpackbits(bits.reshape(-1), bitorder="little")).tolist() == expected


def test_a_few_slots_among_millions_take_a_few_bytes() -> None:
    tenant = gather([(chunk, write_posting([5])) for chunk in (0, 100, 1000)], 10_000_000)
    assert tenant._bits is None
    assert tenant.slots.tolist() == [5, 100 * CHUNK + 5, 1000 * CHUNK + 5]


@given(st.lists(slots, max_size=4))
def test_postings_of_several_terms_are_united(terms: list[set[int]]) -> None:
    found = gather([posting for members in terms for posting in postings(members)], SLOTS)
    expected = sorted(set().union(*terms))
    assert found.slots.tolist() == expected
    assert len(found) == len(expected)


members_of_a_chunk = st.sets(st.integers(0, CHUNK - 1), max_size=5) | st.builds(
    lambda first, length: set(range(first, min(first + length, CHUNK))), st.integers(0, CHUNK - 1), st.integers(0, 700)
)


@given(members_of_a_chunk, members_of_a_chunk, members_of_a_chunk)
def test_a_changed_posting_is_as_one_written_anew(before: set[int], removed: set[int], added: set[int]) -> None:
    removed &= before
    payload = write_posting(sorted(before)) if before else None
    after = sorted((before - removed) | added)
    assert change_posting(payload, removed, sorted(added)) == (write_posting(after) if after else None)


def test_stored_postings() -> None:
    assert write_posting([1, 2, 8191]).hex() == "00" + "0100" + "0200" + "ff1f"
    assert len(write_posting(range(511))) == 1 + 2 * 511
    assert write_posting(range(512)) == b"\x01" + b"\xff" * 64 + bytes(960)


@pytest.mark.parametrize(
    ("chunk", "payload"),
    [
        (0, b""), (0, b"\x00"), (0, b"\x00\x01"), (0, b"\x02\x01\x00"), (0, b"\x01" + bytes(1023)),
        (0, bytes(1025)), (0, b"\x00\x00\x20"), (9, b"\x00\x01\x00"), (2**32 - 1, b"\x01" + b"\xff" * 1024),
        (2, b"\x00\xff\x1f"), (2, b"\x01" + b"\xff" * 1024),
    ],
)  # fmt: skip
def test_malformed_postings_are_corruption(chunk: int, payload: bytes) -> None:
    with pytest.raises(vecdb.CorruptionError):
        gather([(0, write_posting([3])), (chunk, payload)], SLOTS)


def test_no_postings_are_no_slots() -> None:
    assert gather([], SLOTS) is NO_SLOTS
    assert len(NO_SLOTS) == 0
