"""Declared fields: their types, and values checked against them before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime, timezone
from itertools import zip_longest
from types import GenericAlias, NoneType
from typing import Any, Final, get_args, get_origin

import numpy as np

from vecdb.errors import FieldError, IntegrityError, LimitError
from vecdb.options import MAX_DEPTH, MAX_FIELDS, MAX_NAME_BYTES, MAX_VECTORS, Vector
from vecdb.storage.catalog import Column, Field, Schema

Values = list[Any]
Extra = dict[str, Any]

_SCALARS: Final[dict[type, str]] = {str: "str", int: "int", float: "float", bool: "bool", datetime: "datetime"}
_PYTHON: Final = {name: python for python, name in _SCALARS.items()}
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1


def declare_fields(declared: Mapping[str, object]) -> tuple[Field, ...]:
    """Fields from names and Python types: str, int, float, bool, datetime, or a list of one of them."""
    if not isinstance(declared, Mapping):
        raise FieldError(f"fields is a dict of names and types, not {type(declared).__name__}")
    if len(declared) > MAX_FIELDS:
        raise LimitError(f"{len(declared)} fields are declared; the most is {MAX_FIELDS}")
    return tuple(Field(check_name(name, "a field"), _type_name(name, kind)) for name, kind in declared.items())


def declare_table(
    name: object,
    vectors: Mapping[str, Vector],
    fields: Sequence[Field],
    indexes: Collection[str] = (),
    json: Sequence[str] = (),
) -> Schema:
    """A table that is to be created, its number yet to be found. Raises FieldError or LimitError."""
    if len(vectors) > MAX_VECTORS:
        raise LimitError(f"{len(vectors)} vector columns are declared; the most is {MAX_VECTORS}")
    columns = tuple(
        Column(number, check_name(column, "a vector column"), vector)
        for number, (column, vector) in enumerate(vectors.items(), start=1)
    )
    named = tuple(check_name(column, "a JSON column") for column in json)
    return Schema(0, check_name(name, "a table"), columns, tuple(fields), choose_indexes(fields, indexes), named)


def constrain_field(field: Field, *, required: bool, default: Any) -> Field:
    """A declared field that is never null, or has a default. Raises FieldError for a default of another type."""
    (value,) = _checked_column(field, [default], ["of defaults"])
    return replace(field, required=required, default=value)


def choose_indexes(declared: Sequence[Field], names: Collection[str]) -> tuple[int, ...]:
    """The positions of the fields to index, ascending. Raises FieldError."""
    if isinstance(names, str) or not isinstance(names, Collection):
        raise FieldError(f"indexes is a list of names of fields, not {names!r}")
    positions = [find_field(declared, name) for name in names]
    if len(set(positions)) < len(positions):
        raise FieldError(f"indexes names a field twice: {list(names)}")
    return tuple(sorted(positions))


def find_field(declared: Sequence[Field], name: object) -> int:
    """The position of the declared field of a name. Raises FieldError."""
    for position, field in enumerate(declared):
        if field.name == name:
            return position
    raise FieldError(f"no field {name!r} is declared; there are {[field.name for field in declared] or 'none'}")


def check_name(name: object, what: str) -> str:
    """A name of a table, a vector column or a field."""
    if not isinstance(name, str) or not name:
        raise FieldError(f"the name of {what} must be a str that is not empty, not {name!r}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise FieldError(f"the name {name!r} of {what} is not valid Unicode") from error
    if size > MAX_NAME_BYTES:
        raise LimitError(f"the name of {what} has {size} bytes; the most is {MAX_NAME_BYTES}: {name[:40]!r}...")
    return str.__str__(name)


def split_fields(schema: Schema, rows: Iterable[object], ids: Sequence[object]) -> tuple[list[Values], list[Extra]]:
    """Rows' fields as declared values in their order, trailing nulls cut, and the rest. `ids` name the rows in errors.

    Looked at by field, since the values of one are mostly of one type, and stored as they are.
    """
    given = [_as_dict(row, identifier) for row, identifier in zip(rows, ids, strict=True)]
    columns = [
        _checked_column(field, [row.get(field.name, field.default) for row in given], ids) for field in schema.fields
    ]
    values: list[Values] = [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in given]
    for row_values in values:
        while row_values and row_values[-1] is None:
            row_values.pop()
    names, none = set(schema.field_names), Extra()
    extras = [
        none if row.keys() <= names else _plain_fields(row, names, identifier)
        for row, identifier in zip(given, ids, strict=True)
    ]
    return values, extras


def join_fields(schema: Schema, values: Values, extra: Mapping[str, Any]) -> dict[str, Any]:
    """A row's fields as the user sees them: every declared one, then the rest."""
    fields: dict[str, Any] = dict(zip_longest(schema.field_names, values))
    if extra:
        fields.update(extra)
    return fields


def _type_name(name: str, kind: object) -> str:
    if isinstance(kind, type) and not isinstance(kind, GenericAlias) and kind in _SCALARS:
        return _SCALARS[kind]
    arguments = get_args(kind)
    if get_origin(kind) is list and len(arguments) == 1 and arguments[0] in _SCALARS:
        return f"list[{_SCALARS[arguments[0]]}]"
    raise FieldError(
        f"field {name!r}: {kind!r} is no type of field; there are {', '.join(_SCALARS.values())} and lists of them"
    )


def _as_dict(fields: object, row: object) -> dict[Any, Any]:
    if fields is None:
        return {}
    if not isinstance(fields, Mapping):
        raise FieldError(f"row {row!r}: fields must be a dict, not {type(fields).__name__}")
    return fields if type(fields) is dict else dict(fields)


def _checked_column(field: Field, values: list[Any], rows: Sequence[object]) -> list[Any]:
    """A declared field's values, None among them, as they are stored."""
    if field.required and None in values:
        row = rows[values.index(None)]
        raise IntegrityError(f"row {row!r}: field {field.name!r} is NOT NULL, and has no value")
    if _are_plain(field.type, values):
        return values
    return [value if value is None else _checked(field, value, row) for value, row in zip(values, rows, strict=True)]


def _are_plain(kind: str, values: list[Any]) -> bool:
    """Whether values are stored as they are, as one look at their types tells of most."""
    types = set(map(type, values))
    if NoneType in types:
        types.remove(NoneType)
        values = [value for value in values if value is not None]
    if not types:
        return True
    if types != {_PYTHON.get(kind)}:
        return False
    if kind == "str":
        return _is_unicode("".join(values))
    if kind == "int":
        return bool(min(values) >= _INT_MIN and max(values) <= _INT_MAX)
    return kind in ("float", "bool")


def _plain_fields(fields: dict[Any, Any], declared: Set[str], row: object) -> Extra:
    """A row's fields that are not declared."""
    return {
        name: _plain(value, row, name, 1)
        for name, value in fields.items()
        if name not in declared and _is_key(name, row, "")
    }


def _checked(field: Field, value: Any, row: object) -> Any:
    if field.type.startswith("list["):
        if isinstance(value, np.ndarray) and value.ndim == 1:
            value = value.tolist()
        if not isinstance(value, (list, tuple)):
            raise _mismatch(field, value, row)
        return [_scalar(field, field.type[5:-1], item, row) for item in value]
    return _scalar(field, field.type, value, row)


def _scalar(field: Field, kind: str, value: Any, row: object) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if kind == "float" and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _mismatch(field, value, row) from None
    if type(value) is not _PYTHON[kind]:
        raise _mismatch(field, value, row)
    return _storable(value, row, field.name)


def _mismatch(field: Field, value: object, row: object) -> FieldError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return FieldError(f"row {row!r}: field {field.name!r} is {field.type}, not {type(value).__name__}: {shown}")


def _plain(value: Any, row: object, path: str, depth: int) -> Any:
    """JSON-like metadata, with datetime and bytes, copied as plain values; FieldError with the path of what is not."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, float, bytes):
        return value
    if type(value) in (str, int, datetime):
        return _storable(value, row, path)
    if depth > MAX_DEPTH:
        raise FieldError(f"row {row!r}: {_shorten(path)} is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item, row, f"{path}[{number}]", depth + 1) for number, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            name: _plain(item, row, f"{path}.{name}", depth + 1)
            for name, item in value.items()
            if _is_key(name, row, path)
        }
    raise FieldError(f"row {row!r}: {_shorten(path)} is of a type that can't be stored: {type(value).__name__}")


def _storable(value: Any, row: object, path: str) -> Any:
    """A str, int or datetime in its stored form: an aware datetime has its offset, not its zone."""
    if type(value) is int and not _INT_MIN <= value <= _INT_MAX:
        raise FieldError(f"row {row!r}: {_shorten(path)} is an int beyond 64 bits")
    if type(value) is str and not value.isascii():
        _encode(value, row, path)
    if type(value) is datetime:
        try:
            offset = value.utcoffset()
        except Exception as error:  # a tzinfo may raise anything
            raise FieldError(f"row {row!r}: {_shorten(path)} has a time zone that fails: {error}") from error
        # With its zone the two times of an hour that is repeated would be equal.
        return value if offset is None else value.replace(tzinfo=timezone(offset), fold=0)
    return value


def _is_key(name: object, row: object, path: str) -> bool:
    if not isinstance(name, str):
        inside = f" in {_shorten(path)}" if path else ""
        raise FieldError(f"row {row!r}: names of fields{inside} must be str, not {name!r}")
    if not name.isascii():
        _encode(name, row, path or name)
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode(text: str, row: object, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        name = path.encode("ascii", "backslashreplace").decode()
        raise FieldError(f"row {row!r}: {_shorten(name)} is not valid Unicode: {error.reason}") from error


def _shorten(path: str) -> str:
    return path if len(path) <= 80 else path[:77] + "..."


def iterate_columns(fields: Mapping[str, Any], rows: int) -> Iterator[dict[str, Any]]:
    """Rows of fields given by column: each a sequence of `rows` values."""
    columns = {}
    for name, values in fields.items():
        if (
            isinstance(values, (str, bytes, Mapping, Set))
            or not isinstance(values, Collection)
            or getattr(values, "ndim", 1) == 0
        ):
            raise FieldError(f"field {name!r}: with many rows give a list of values, one for each")
        if len(values) != rows:
            raise FieldError(f"field {name!r} has {len(values)} values for {rows} rows")
        columns[name] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    for number in range(rows):
        yield {name: values[number] for name, values in columns.items()}
