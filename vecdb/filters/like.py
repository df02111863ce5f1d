"""Patterns of LIKE: `%` is any text, `_` any one character, a backslash makes the next character ordinary.

The default escape is PostgreSQL's. Case is ignored character by character, as Unicode's simple folding does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from vecdb.errors import LimitError
from vecdb.filters.place import Place, failure
from vecdb.options import MAX_LIKE_PATTERN

ESCAPE = "\\"


def check_pattern(pattern: str, escape: str, place: Place | None) -> str:
    """The pattern with a backslash as its escape. An empty `escape` is none."""
    if len(pattern) > MAX_LIKE_PATTERN:
        raise LimitError(f"a pattern of LIKE has {len(pattern)} characters; the most is {MAX_LIKE_PATTERN}")
    if len(escape) > 1:
        raise failure(f"ESCAPE is one character, not {escape!r}", place)
    parts, rest = [], iter(pattern)
    for char in rest:
        if char == escape:
            ordinary = next(rest, None)
            if ordinary is None:
                raise failure(f"the pattern {pattern!r} of LIKE ends with its escape", place)
            parts.append(ESCAPE + ordinary if ordinary in ("%", "_", ESCAPE) else ordinary)
        else:
            parts.append(ESCAPE + char if char == ESCAPE else char)
    return "".join(parts)


@lru_cache(maxsize=256)
def matcher(pattern: str, ignore_case: bool) -> Callable[[str], bool]:
    """Whether a text matches a pattern that was checked.

    The pieces between `%` have fixed lengths, so that taking the leftmost place of each is right: no backtracking, and
    time at most the length of the text times that of the pattern.
    """
    lengths, pieces = [0], [""]
    rest = iter(pattern)
    for char in rest:
        if char == "%":
            lengths.append(0)
            pieces.append("")
            continue
        lengths[-1] += 1
        pieces[-1] += "." if char == "_" else re.escape(next(rest) if char == ESCAPE else char)
    first, *middle = (re.compile(piece, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) for piece in pieces)
    if not middle:
        return lambda text: first.fullmatch(text) is not None
    last = middle.pop()

    def matches(text: str) -> bool:
        begin, end = lengths[0], len(text) - lengths[-1]
        if end < begin or not first.match(text) or not last.match(text, end):
            return False
        for piece in middle:
            found = piece.search(text, begin, end)
            if found is None:
                return False
            begin = found.end()
        return True

    return matches
