"""Whatever the text or the dict, a filter or an error of vecdb comes of it."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.filters.trees import filters
from vecdb import FilterError, LimitError
from vecdb.filters.check import check_filter
from vecdb.filters.evaluate import matches
from vecdb.filters.read import read_filter
from vecdb.filters.tree import Filter

TYPES = {"year": "int", "lang": "str", "tags": "list[str]", "score": "float", "done": "bool", "created": "datetime"}
ROW = {"year": 2024, "lang": "en", "tags": ["a"], "score": 0.5, "done": True, "extra": {"author": {"name": "A"}}}
TEXTS = [
    "lang = 'en' AND (year BETWEEN 2019 AND 2024 OR score > 0.5) AND title LIKE 'Intro%' AND author IS NOT NULL",
    "'x' = ANY(tags) OR tags CONTAINS 'y' AND NOT tags NOT CONTAINS 'z'",
    "NOT (done IS TRUE) AND created >= '2024-01-01T00:00:00Z'",
    'extra.author.name ILIKE \'%!_%\' ESCAPE \'!\' OR "odd ""name""".x IN (1, -2.5e3, NULL, TRUE)',
    "x NOT IN :values AND :lang IS NULL OR lang = :lang -- comment",
    "1 < year AND year <> .5 /* c */ AND year = 5 AND lang = ANY(?)",
]
WORDS = """
    AND OR NOT IN BETWEEN LIKE ILIKE ESCAPE IS NULL TRUE FALSE ANY CONTAINS ( ) , . - = == != <> < <= > >= ? : :a
    'x' "y" '' "" ' " -- /* */ ; :: -> ->> @> <@ || + * / % ^ ~ !~ & | # $ $1 $$ @ { } [ ] {{ {% ` \\ 0x1 1e5 1e 1. .5
    x year tags lang.x SELECT CASE WHEN END CAST ( AS INTERVAL '1 day' DATE EXISTS ALL ROW ARRAY OVER FILTER WITHIN
    COLLATE AT TIME ZONE ISNULL NOTNULL OVERLAPS SIMILAR TO GLOB RLIKE REGEXP DIV XOR e'x' b'1' x'0' n'x' u&'x' q'x'
    PRIOR STRUCT MAP UNNEST TABLE VALUES WITH FROM JOIN LIMIT SET LATERAL 1_0 é 😀
"""
PIECES = [*WORDS.split(), "\0", "\t", "\n", "\u00a0", "\u200b"]
KEYS = "$and $or $not $eq $ne $gt $gte $lt $lte $in $nin $exists $contains $like $ilike $x year tags lang.x a"


def outcome(where: Any, params: Any = None) -> str:
    """The name of what came of a filter: only errors of vecdb may, and what is read must work throughout."""
    try:
        filter = read_filter(where, params)
        assert isinstance(filter, Filter)
        assert matches(filter, ROW) in (True, False, None)
        assert ~~filter == filter
        checked = check_filter(filter, TYPES)
        assert matches(checked, ROW) in (True, False, None)
    except (FilterError, LimitError) as error:
        assert "sqlglot" not in str(error)
        return type(error).__name__
    return "Filter"


def test_mutated_text() -> None:
    rng, counts = random.Random(20240607), dict.fromkeys(("Filter", "FilterError", "LimitError"), 0)
    for _ in range(6000):
        text = rng.choice(TEXTS)
        for _ in range(rng.randint(1, 4)):
            at, end = sorted(rng.choices(range(len(text) + 1), k=2))
            match rng.randrange(5):
                case 0:
                    text = text[:at] + text[at + 1 :]
                case 1:
                    text = text[:at] + rng.choice(PIECES) + text[at:]
                case 2:
                    text = text[:at] + text[end:]
                case 3:
                    text = text[:end] + text[at:end] + text[end:]
                case _:
                    words = text.split(" ")
                    words[rng.randrange(len(words))] = rng.choice(PIECES)
                    text = " ".join(words)
        params = {"values": [1], "lang": "en"} if ":" in text else ([1, 2],) if "?" in text else None
        counts[outcome(text, params)] += 1
    assert min(counts["Filter"], counts["FilterError"]) > 100


def test_random_pieces() -> None:
    rng = random.Random(20240608)
    counts = dict.fromkeys(("Filter", "FilterError", "LimitError"), 0)
    for _ in range(6000):
        counts[outcome(rng.choice(["", " "]).join(rng.choices(PIECES, k=rng.randint(1, 12))))] += 1
    assert counts["FilterError"] > 1000


@settings(max_examples=500)
@given(st.text(max_size=40))
def test_random_text(text: str) -> None:
    outcome(text)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS.split()) | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=500)
@given(st.dictionaries(st.sampled_from(["$and", "$or", "$not", "year", "tags", "a.b"]) | st.text(max_size=3), json))
def test_random_dicts(where: dict[str, Any]) -> None:
    outcome(where)


@given(filters())
def test_filters_of_any_fields_are_checked(filter: Filter) -> None:
    outcome(filter)
