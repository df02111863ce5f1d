"""Where something stands in a filter, for messages of errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from vecdb.errors import FilterError

_AROUND: Final = 40  # characters of a long line that are shown on each side


@dataclass(frozen=True, slots=True)
class TextPlace:
    """A place in the text of a filter, by its offset in characters."""

    text: str
    offset: int

    def __str__(self) -> str:
        """Line and column, both from 1, and the line with a caret under the place."""
        begin = self.text.rfind("\n", 0, self.offset) + 1
        end = self.text.find("\n", self.offset)
        number, column = self.text.count("\n", 0, self.offset) + 1, self.offset - begin + 1
        left = max(begin, self.offset - _AROUND)
        right = min(len(self.text) if end < 0 else end, self.offset + _AROUND)
        shown = "".join(char if char.isprintable() else " " for char in self.text[left:right])
        return f"line {number}, column {column}:\n  {shown}\n  {' ' * (self.offset - left)}^"


# The other kind is a path in a dict, such as `$and[1].year`. A Python expression has no place but its text.
Place: TypeAlias = TextPlace | str


def failure(message: str, place: Place | None) -> FilterError:
    """The error to raise about a place."""
    return FilterError(message if place is None else f"{message}, at {place}")
