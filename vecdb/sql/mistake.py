"""What is wrong with a statement: where it stands, and what to write instead."""

from __future__ import annotations

from vecdb.errors import SqlError
from vecdb.filters.place import TextPlace


def mistake(message: str, place: TextPlace, hint: str) -> SqlError:
    """The error to raise about a place of a statement."""
    return SqlError(f"{message}, at {place}\n  hint: {hint}")
