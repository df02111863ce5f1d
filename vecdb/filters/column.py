"""Filters as Python expressions: `(col("lang") == "en") & col("year").between(2019, 2024)`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from vecdb.errors import FilterError
from vecdb.filters import tree
from vecdb.filters.path import read_path
from vecdb.filters.place import failure
from vecdb.filters.tree import Field, Filter, Operand, Value
from vecdb.filters.values import Operator, to_scalar, to_scalars


def col(name: str) -> Column:
    """A field to write conditions on, by its name or a dotted path into nested metadata.

    >>> str((col("lang") == "en") & (col("extra.pages") > 10))
    "lang = 'en' AND extra.pages > 10"

    A name that holds a dot is put in double quotes, as in SQL: `col('"file.name"')`. Raises FilterError.
    """
    return Column(Field(read_path(name)))


class Column:
    """A field in a Python expression. Conditions on it are combined with `&`, `|` and `~`, in parentheses.

    `== None` and `!= None` are IS NULL and IS NOT NULL. A field of bool is a condition by itself.
    """

    __slots__ = ("_field",)
    __hash__ = None  # type: ignore[assignment]  # `==` makes a condition

    def __init__(self, field: Field) -> None:
        self._field = field

    def __repr__(self) -> str:
        return f"col({str(self._field)!r})"

    def __eq__(self, other: object) -> Filter:  # type: ignore[override]
        return self.is_null() if other is None else self._compare("=", other)

    def __ne__(self, other: object) -> Filter:  # type: ignore[override]
        return self.is_not_null() if other is None else self._compare("!=", other)

    def __lt__(self, other: object) -> Filter:
        return self._compare("<", other)

    def __le__(self, other: object) -> Filter:
        return self._compare("<=", other)

    def __gt__(self, other: object) -> Filter:
        return self._compare(">", other)

    def __ge__(self, other: object) -> Filter:
        return self._compare(">=", other)

    def between(self, low: object, high: object) -> Filter:
        """From `low` to `high`, both included."""
        return tree.between(self._field, self._operand(low), self._operand(high))

    def isin(self, values: Iterable[object]) -> Filter:
        """Equal to one of the values; among them None is `== None`."""
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise failure(f"isin takes a list of values, not {values!r}", self._field.place)
        members = to_scalars(values, self._field.place)
        if None not in members:
            return tree.is_in(self._field, members)
        return tree.is_in(self._field, [member for member in members if member is not None]) | self.is_null()

    def not_in(self, values: Iterable[object]) -> Filter:
        """Equal to none of the values."""
        return ~self.isin(values)

    def like(self, pattern: str) -> Filter:
        """A text that matches a pattern: `%` any text, `_` any character, a backslash before either for itself."""
        return self._like(pattern, ignore_case=False)

    def ilike(self, pattern: str) -> Filter:
        """As `like`, whatever the case of letters."""
        return self._like(pattern, ignore_case=True)

    def contains(self, item: object) -> Filter:
        """A list that has the item."""
        return tree.contains(self._field, self._operand(item), self._field.place)

    def is_null(self) -> Filter:
        """Null, or not there."""
        return tree.is_null(self._field)

    def is_not_null(self) -> Filter:
        """There, and not null."""
        return ~tree.is_null(self._field)

    def is_true(self) -> Filter:
        """The column as a condition: `col("done") & ...` means this."""
        return self._compare("=", True)

    def __and__(self, other: Filter | Column) -> Filter:
        return self.is_true() & as_filter(other)

    def __rand__(self, other: Filter) -> Filter:
        return other & self.is_true()

    def __or__(self, other: Filter | Column) -> Filter:
        return self.is_true() | as_filter(other)

    def __ror__(self, other: Filter) -> Filter:
        return other | self.is_true()

    def __invert__(self) -> Filter:
        return ~self.is_true()

    def __bool__(self) -> NoReturn:
        raise FilterError(f"{self!r} has no truth of its own: use & | ~ in place of and, or, not")

    def _compare(self, op: Operator, other: object) -> Filter:
        return tree.compare(self._field, op, self._operand(other))

    def _like(self, pattern: object, ignore_case: bool) -> Filter:
        place = self._field.place
        return tree.like(self._field, Value(to_scalar(pattern, place)), ignore_case, place=place)

    def _operand(self, value: object) -> Operand:
        if isinstance(value, Column):
            return value._field
        return Value(to_scalar(value, self._field.place))


def as_filter(condition: Filter | Column) -> Filter:
    """A condition as a filter."""
    return condition.is_true() if isinstance(condition, Column) else condition
