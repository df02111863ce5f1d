"""The scalar functions of SQL, by name. Most are null where an argument is."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import numpy as np

from vecdb.sql.values import compare, group_key, to_integer, to_number, to_real, to_text
from vecdb.sql.vectors import combine, distance, norm, read_vector


class Function(NamedTuple):
    """What a function does, and how many arguments it takes; `nulls`: it is called with nulls as well."""

    call: Callable[..., Any]
    least: int
    most: int
    nulls: bool = False


def _absolute(value: Any) -> int | float | None:
    number = to_number(value)
    return None if number is None else abs(number)


def _substring(value: Any, start: Any, length: Any = None) -> str | None:
    """SQLite's rules: from 1, from the end where `start` is negative, backwards where `length` is."""
    text, first = to_text(value), to_integer(start)
    if text is None or first is None:
        return None
    count = 2**63 if length is None else to_integer(length)
    if count is None:
        return None
    backwards, count = count < 0, abs(count)
    if first < 0:
        first += len(text)
        if first < 0:
            count = max(0, count + first)
            first = 0
    elif first > 0:
        first -= 1
    elif count > 0:
        count -= 1
    if backwards:
        first -= count
        if first < 0:
            count, first = count + first, 0
    return text[first : first + max(0, count)]


def _round(value: Any, digits: Any = 0) -> float | None:
    number, places = to_number(value), to_integer(digits)
    if number is None or places is None:
        return None
    if isinstance(number, float) and not math.isfinite(number):
        return number
    try:
        return float(Decimal(repr(number)).quantize(Decimal(1).scaleb(-min(max(places, 0), 30)), ROUND_HALF_UP))
    except InvalidOperation:  # it has no digits there
        return to_real(number)


def _trim(strip: Callable[[str, str], str]) -> Callable[..., str | None]:
    def trim(value: Any, characters: Any = " ") -> str | None:
        text, what = to_text(value), to_text(characters)
        return None if text is None or what is None else strip(text, what) if what else text

    return trim


def _replace(value: Any, old: Any, new: Any) -> str | None:
    text, what, by = to_text(value), to_text(old), to_text(new)
    return None if text is None or what is None or by is None else text.replace(what, by) if what else text


def _position(value: Any, part: Any) -> int | None:
    text, what = to_text(value), to_text(part)
    return None if text is None or what is None else text.find(what) + 1


def _length(value: Any) -> int | None:
    if isinstance(value, (list, bytes)):
        return len(value)
    text = to_text(value)
    return None if text is None else len(text)


def _coalesce(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _nullif(value: Any, other: Any) -> Any:
    return None if compare("=", value, other) else value


def _extreme(op: Any) -> Callable[..., Any]:
    def extreme(first: Any, *others: Any) -> Any:
        for other in others:
            if compare(op, other, first):
                first = other
        return first

    return extreme


def _of_number(function: Callable[[float], Any]) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        number = to_number(value)
        try:
            result = None if number is None else function(number)
        except (ValueError, OverflowError):
            return None
        return None if isinstance(result, float) and math.isnan(result) else result

    return call


def _whole(function: Callable[[float], int]) -> Callable[[Any], Any]:
    """Integers stay what they are, reals stay reals, as in SQLite."""
    return _of_number(lambda number: number if isinstance(number, int) else float(function(number)))


def _power(base: Any, exponent: Any) -> float | None:
    left, right = to_number(base), to_number(exponent)
    try:
        return None if left is None or right is None else math.pow(left, right)
    except (ValueError, OverflowError):
        return None


def _type(value: Any) -> str:
    if isinstance(value, datetime):
        return "timestamp"
    names = {
        type(None): "null",
        bool: "boolean",
        int: "integer",
        float: "real",
        str: "text",
        bytes: "blob",
        list: "array",
    }
    return names.get(type(value), "json" if isinstance(value, dict) else "vector")


def _texts(change: Callable[[str], str]) -> Callable[[Any], str | None]:
    def call(value: Any) -> str | None:
        text = to_text(value)
        return None if text is None else change(text)

    return call


FUNCTIONS: Final[dict[str, Function]] = {
    "abs": Function(_absolute, 1, 1),
    "ceil": Function(_whole(math.ceil), 1, 1),
    "coalesce": Function(_coalesce, 1, 100, nulls=True),
    "concat": Function(lambda *values: "".join(to_text(value) or "" for value in values), 1, 100, nulls=True),
    "cosine_distance": Function(lambda left, right: distance("cosine", left, right), 2, 2),
    "floor": Function(_whole(math.floor), 1, 1),
    "greatest": Function(_extreme(">"), 1, 100),
    "ifnull": Function(_coalesce, 2, 2, nulls=True),
    "inner_product": Function(lambda left, right: -distance("ip", left, right), 2, 2),
    "instr": Function(_position, 2, 2),
    "l2_distance": Function(lambda left, right: distance("l2", left, right), 2, 2),
    "least": Function(_extreme("<"), 1, 100),
    "length": Function(_length, 1, 1),
    "ln": Function(_of_number(math.log), 1, 1),
    "exp": Function(_of_number(math.exp), 1, 1),
    "lower": Function(_texts(str.lower), 1, 1),
    "ltrim": Function(_trim(str.lstrip), 1, 2),
    "max": Function(_extreme(">"), 2, 100),
    "min": Function(_extreme("<"), 2, 100),
    "nullif": Function(_nullif, 2, 2, nulls=True),
    "power": Function(_power, 2, 2),
    "replace": Function(_replace, 3, 3),
    "round": Function(_round, 1, 2),
    "rtrim": Function(_trim(str.rstrip), 1, 2),
    "sign": Function(_of_number(lambda number: (number > 0) - (number < 0)), 1, 1),
    "sqrt": Function(_of_number(math.sqrt), 1, 1),
    "substr": Function(_substring, 2, 3),
    "trim": Function(_trim(str.strip), 1, 2),
    "typeof": Function(_type, 1, 1, nulls=True),
    "upper": Function(_texts(str.upper), 1, 1),
    "vector_dims": Function(lambda value: len(read_vector(value)), 1, 1),
    "vector_norm": Function(norm, 1, 1),
}
ALIASES: Final = {
    "ceiling": "ceil",
    "pow": "power",
    "substring": "substr",
    "char_length": "length",
    "l2_norm": "vector_norm",
}


def _sum(numbers: list[Any]) -> float | None:
    """Without rounding on the way; null where infinities cancel out."""
    reals = [to_real(number) or 0.0 for number in numbers]
    try:
        return math.fsum(reals)
    except (OverflowError, ValueError):
        total = sum(reals)
        return None if math.isnan(total) else total


class Aggregate:
    """What an aggregate has gathered of the rows of a group. Nulls do not reach it."""

    def __init__(self, name: str, separator: str = ",") -> None:
        self.name = name
        self._separator = separator
        self._values: list[Any] = []
        self._rows = 0

    def add(self, value: Any) -> None:
        self._rows += 1
        if self.name == "count":
            return
        if self.name in ("min", "max") and self._values:
            best = _extreme("<" if self.name == "min" else ">")(self._values[0], value)
            self._values[0] = best
            return
        if self.name in ("sum", "avg") and isinstance(value, np.ndarray):
            self._values[:] = [value.astype(np.float64) if not self._values else combine("+", self._values[0], value)]
            return
        self._values.append(value if self.name in ("min", "max", "group_concat") else to_number(value))

    @property
    def result(self) -> Any:
        if self.name == "count":
            return self._rows
        values = self._values
        if self.name in ("min", "max"):
            return values[0] if values else None
        if self.name == "group_concat":
            return self._separator.join(to_text(value) or "" for value in values) if values else None
        if values and isinstance(values[0], np.ndarray):
            return (values[0] / (self._rows if self.name == "avg" else 1)).astype(np.float32)
        numbers = [0 if value is None else value for value in values]
        if self.name == "total":
            return _sum(numbers)
        if not numbers:
            return None
        if self.name == "avg":
            total = _sum(numbers)
            return None if total is None else total / len(numbers)
        whole = all(isinstance(number, int) for number in numbers)
        return sum(numbers) if whole and abs(sum(numbers)) < 2**63 else _sum(numbers)


AGGREGATES: Final = frozenset(("count", "sum", "avg", "min", "max", "total", "group_concat"))


class Different:
    """Lets each value through once, for DISTINCT."""

    def __init__(self) -> None:
        self._seen: set[Any] = set()

    def is_new(self, value: Any) -> bool:
        key = group_key(value)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True
