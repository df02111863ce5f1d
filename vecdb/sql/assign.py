"""What a value becomes in a column: texts are read as vectors, times and JSON, 0 and 1 as booleans."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from vecdb.errors import FieldError
from vecdb.sql.values import to_datetime
from vecdb.sql.vectors import read_vector
from vecdb.storage.catalog import Schema


def _to_time(value: Any) -> Any:
    return (to_datetime(value) or value) if isinstance(value, str) else value


def _to_bool(value: Any) -> Any:
    return bool(value) if type(value) is int and value in (0, 1) else value


def _to_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        shown = value if len(value) <= 60 else value[:57] + "..."
        raise FieldError(f"a JSON column takes JSON, as '[1]' or '\"text\"', not {shown!r}") from None


OF_TYPES: Final[Mapping[str, Callable[[Any], Any]]] = {"datetime": _to_time, "bool": _to_bool}


def converters(schema: Schema) -> dict[str, Callable[[Any], Any]]:
    """By column, what makes of a value that is not null what is written; what does not fit is left to be refused."""
    return {
        **{field.name: OF_TYPES[field.type] for field in schema.fields if field.type in OF_TYPES},
        **dict.fromkeys(schema.json, _to_json),
        **{column.name: read_vector for column in schema.columns},
    }
