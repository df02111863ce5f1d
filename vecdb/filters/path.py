"""Dotted paths to fields and into nested metadata: `year`, `extra.author.name`, `"a name with a . in it".x`."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from vecdb.errors import LimitError
from vecdb.filters.place import Place, failure
from vecdb.options import MAX_DEPTH

Path: TypeAlias = tuple[str, ...]

# Words of the language of filters. A field with such a name is written in double quotes.
RESERVED: Final = frozenset(
    ("AND", "ANY", "BETWEEN", "ESCAPE", "FALSE", "ILIKE", "IN", "IS", "LIKE", "NOT", "NULL", "OR", "TRUE")
)

_NAME: Final = re.compile(r'"((?:[^"]|"")+)"|([^."]+)')


def read_path(text: object, place: Place | None = None) -> Path:
    """The names of a path. Names are as they are written; in double quotes they may hold dots, and quotes doubled."""
    if not isinstance(text, str):
        raise failure(f"the name of a field is a str, not {text!r}", place)
    if text.isidentifier():
        return (text,)
    names, end = [], -1
    while end < len(text):
        found = _NAME.match(text, end + 1)
        if found is None or text[found.end() : found.end() + 1] not in ("", "."):
            raise failure(f"{text[:80]!r} is no path of names with dots between them", place)
        names.append(found[2] or found[1].replace('""', '"'))
        end = found.end()
    return check_path(tuple(names))


def check_path(path: Path) -> Path:
    """A path that is no deeper than a row can be."""
    if len(path) > MAX_DEPTH:
        raise LimitError(f"a path has {len(path)} names; rows are nested at most {MAX_DEPTH} levels deep")
    return path


def write_path(path: Path) -> str:
    """A path as SQL text writes it, and as `read_path` reads it."""
    return ".".join(
        name if name.isidentifier() and name.upper() not in RESERVED else '"' + name.replace('"', '""') + '"'
        for name in path
    )
