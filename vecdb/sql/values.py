"""Values as expressions treat them: SQLite's rules for integers, reals and nulls, vecdb's for kinds.

Values of different kinds (number, text, bytes, datetime, ...) are never equal, less or greater: comparing them is
unknown, as in filters; only bools count as numbers here. Text is not turned into numbers without a CAST.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np

from vecdb.filters.values import OPERATORS, Operator, kind
from vecdb.sql.vectors import combine

_KINDS: Final = ("bool", "number", "str", "bytes", "naive datetime", "aware datetime")
_INT64: Final = 2**63


def is_null(value: object) -> bool:
    """Null, or NaN, which is null to SQL as it is to filters."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def truth(value: object) -> bool | None:
    """A value as a condition: null and what is no number are unknown."""
    if isinstance(value, (bool, int, float)):
        return None if is_null(value) else value != 0
    return None


def compare(op: Operator, left: Any, right: Any) -> bool | None:
    """Unknown where a side is null, or the sides are of different kinds."""
    if type(left) is not type(right) or type(left) not in (int, str):
        if left is None or right is None:
            return None
        left_kind, right_kind = _kind(left), _kind(right)
        if left_kind != right_kind:
            if isinstance(left, str) and isinstance(right, datetime):
                left = _datetime(left)
            elif isinstance(left, datetime) and isinstance(right, str):
                right = _datetime(right)
            left_kind, right_kind = _kind(left), _kind(right)
        if left_kind is None or left_kind != right_kind:
            return None
    return OPERATORS[op](left, right)


def order_key(value: Any) -> tuple[int, Any]:
    """What rows are sorted by: nulls and NaN first, kind by kind, what has no order last; as a scan's `order=`."""
    known = kind(value)
    if known is None:
        return (-1, 0) if value is None or isinstance(value, float) else (len(_KINDS), 0)
    return _KINDS.index(known), value


def group_key(value: Any) -> Any:
    """What is equal for two values that GROUP BY and DISTINCT take for one."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, (list, tuple)):
        return tuple(map(group_key, value))
    if isinstance(value, Mapping):
        return frozenset((name, group_key(item)) for name, item in value.items())
    if isinstance(value, np.ndarray):
        return value.dtype.char, value.tobytes()
    return value


def arithmetic(op: str, left: Any, right: Any) -> Any:
    """`+ - * / %` by SQLite's rules: integers stay integers, unless they outgrow 64 bits; by zero is null.

    Vectors are added, subtracted and multiplied item by item, as pgvector's are.
    """
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return None if left is None or right is None else combine(op, left, right)
    if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
        return None
    try:
        result = _calculate(op, left, right)
    except OverflowError:
        return math.inf
    if isinstance(result, int):
        return result if -_INT64 <= result < _INT64 else float(left) * right if op == "*" else float(result)
    return None if result is None or math.isnan(result) else result


def _calculate(op: str, left: int | float, right: int | float) -> int | float | None:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    if op == "%":
        whole_left, whole_right = to_integer(left), to_integer(right)
        if not whole_right or whole_left is None:
            return None
        rest = abs(whole_left) % abs(whole_right) * (-1 if whole_left < 0 else 1)
        return rest if isinstance(left, int) and isinstance(right, int) else float(rest)
    if not right:
        return None
    if isinstance(left, int) and isinstance(right, int):
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    return left / right


def negate(value: Any) -> int | float | None:
    return arithmetic("-", 0, value) if not isinstance(value, float) else -value


def to_integer(value: Any) -> int | None:
    """As CAST AS INTEGER: cut off at the point; of a text, the number that it begins with."""
    number = to_number(value)
    if isinstance(number, float):
        if math.isnan(number):
            return None
        return _INT64 - 1 if number >= _INT64 else -_INT64 if number < -_INT64 else int(number)
    return number


def to_real(value: Any) -> float | None:
    number = to_number(value)
    try:
        return None if number is None else float(number)
    except OverflowError:  # an int of a parameter may have any size
        return math.inf if value > 0 else -math.inf


def to_number(value: Any) -> int | float | None:
    """A number as it is, of a text the number that it begins with, 0 if it begins with none; else null."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    return _prefix(value) if isinstance(value, str) else None


def to_text(value: Any) -> str | None:
    """As CAST AS TEXT."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _write_real(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, np.ndarray):
        return "[" + ",".join(f"{item:.9g}" for item in value.tolist()) + "]"
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def to_bool(value: Any) -> bool | None:
    if isinstance(value, str) and value.strip().lower() in ("true", "false", "t", "f", "yes", "no", "on", "off"):
        return value.strip().lower() in ("true", "t", "yes", "on")
    number = to_number(value)
    return None if number is None else number != 0


def to_datetime(value: Any) -> datetime | None:
    return _datetime(value) if isinstance(value, str) else value if isinstance(value, datetime) else None


def _kind(value: object) -> str | None:
    known = kind(value)
    return "number" if known == "bool" else known


def _datetime(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None


def _prefix(text: str) -> int | float:
    import re

    found = re.match(r"\s*([+-]?(\d+)?(\.\d*)?([eE][+-]?\d+)?)", text, re.ASCII)
    digits = found[1] if found else ""
    for end in range(len(digits), 0, -1):
        try:
            whole = int(digits[:end])
            return whole if -_INT64 <= whole < _INT64 else float(whole)
        except ValueError:
            try:
                return float(digits[:end])
            except ValueError:
                continue
    return 0


def _write_real(value: float) -> str:
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    text = f"{value:.15g}"
    mantissa, _, exponent = text.partition("e")
    if "." not in mantissa:
        mantissa += ".0"
    return f"{mantissa}e{exponent}" if exponent else mantissa
