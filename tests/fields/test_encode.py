"""Terms sort as their values do, and lead back to them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb.fields.encode import MAX_TEXT_BYTES, begin_text, decode, encode, is_cut
from vecdb.storage import keys

zones = st.integers(-(24 * 60 - 1), 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))
short_texts = st.text(st.sampled_from("\0\1a\x7fé€😀") | st.characters(codec="utf-8"), max_size=60)
long_texts = st.builds(lambda begin, rest: begin * 236 + rest, st.sampled_from(["\0", "a", "é"]), short_texts)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False),
    "naive": st.datetimes(),
    "aware": st.datetimes(timezones=zones),
    "text": short_texts,
}


@pytest.mark.parametrize("kind", SCALARS)
def test_terms_sort_as_values_do(kind: str) -> None:
    @given(st.lists(SCALARS[kind], min_size=2, max_size=20))
    def check(values: list[Any]) -> None:
        for left, right in pairwise(values):
            assert (encode(left) < encode(right)) == (left < right)
            assert (encode(left) == encode(right)) == (left == right)

    check()


@pytest.mark.parametrize("kind", SCALARS)
def test_a_term_leads_back_to_its_value(kind: str) -> None:
    @given(SCALARS[kind])
    def check(value: Any) -> None:
        assert decode(encode(value)) == value
        assert type(decode(encode(value))) is type(value)
        assert not is_cut(encode(value))

    check()


@given(st.lists(st.one_of(st.none(), long_texts, *SCALARS.values()), min_size=2, max_size=20))
def test_no_term_begins_another_and_all_fit_a_key(values: list[Any]) -> None:
    terms = sorted({encode(value) for value in values})
    for left, right in pairwise(terms):
        assert not right.startswith(left)
    for term in terms:
        key = keys.term(keys.terms_prefix(1, 2), term, 3)
        assert len(key) <= 511
        assert (keys.value_of_term(key), keys.chunk_of_term(key)) == (term, 3)


@given(long_texts | short_texts, long_texts | short_texts)
def test_cut_texts_are_in_order_with_all_others(left: str, right: str) -> None:
    for text in (left, right):
        assert is_cut(encode(text)) == (len(text.encode()) > MAX_TEXT_BYTES)
    if left < right:
        assert encode(left) < encode(right) or (encode(left) == encode(right) and is_cut(encode(left)))


@given(short_texts, short_texts)
def test_texts_that_begin_alike_are_together(begin: str, text: str) -> None:
    begin = begin[:10]
    assert encode(begin + text).startswith(begin_text(begin.encode()))
    assert encode(text).startswith(begin_text(begin.encode())) == text.startswith(begin)


def test_values_that_are_one_to_a_filter_share_a_term() -> None:
    assert encode(0.0) == encode(-0.0)
    assert encode(nan) == encode(None)
    noon = datetime(2024, 5, 17, 12, tzinfo=timezone.utc)
    assert encode(noon) == encode(noon.astimezone(timezone(timedelta(hours=7)))) != encode(noon.replace(tzinfo=None))


def test_stored_terms() -> None:
    assert encode(None).hex() == "00"
    assert (encode(False).hex(), encode(True).hex()) == ("0100", "0101")
    assert (encode(-1).hex(), encode(5).hex()) == ("027fffffffffffffff", "028000000000000005")
    assert (encode(1.0).hex(), encode(-1.0).hex()) == ("03bff0000000000000", "03400fffffffffffff")
    assert encode(datetime(1970, 1, 1, 0, 0, 1)).hex() == "0480000000000f4240"
    assert encode(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))).hex() == "058000000000000000"
    assert encode("a\0é").hex() == "06" + "61" + "00ff" + "c3a9" + "0000"
    assert encode("a" * 241).hex() == "06" + "61" * 240 + "0001"
