"""Values of fields as JSON, and back, so that each is what it was.

JSON's own are themselves. Others are an object with one name: `{"$datetime": ISO 8601}`, with an offset where it is
aware; `{"$bytes": base64}`; `{"$float": "nan", "inf" or "-inf"}`. A dict of one name that begins with a dollar
is `{"$dict": it}`.
"""

from __future__ import annotations

import base64
import binascii
import math
from datetime import datetime
from typing import Any

from vecdb.errors import FieldError


def to_plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        plain = {name: to_plain(item) for name, item in value.items()}
        return {"$dict": plain} if _is_tagged(plain) else plain
    return value


def from_plain(value: Any) -> Any:
    """The value that `to_plain` made this of. Raises FieldError."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if not _is_tagged(value):
        return {name: from_plain(item) for name, item in value.items()}
    ((tag, inner),) = value.items()
    try:
        if tag == "$datetime":
            return datetime.fromisoformat(inner)
        if tag == "$bytes":
            return base64.b64decode(inner, validate=True)
        if tag == "$float" and inner in ("nan", "inf", "-inf"):
            return float(inner)
        if tag == "$dict":
            return {name: from_plain(item) for name, item in inner.items()}
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise FieldError(f"{value!r} is no value of a dump: {error}") from error
    raise FieldError(f"{value!r} is no value of a dump")


def _is_tagged(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")
