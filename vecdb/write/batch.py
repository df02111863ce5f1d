"""What a caller hands in, checked as a whole and brought into one form, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import FieldError, IdError, VectorError
from vecdb.fields.schema import Values, iterate_columns, split_fields
from vecdb.mirror.load import vector_dtype
from vecdb.options import MAX_ID_BYTES, MAX_NORM, MIN_NORM
from vecdb.storage.catalog import Column, Schema
from vecdb.storage.rows import Id

Float32 = NDArray[np.float32]

_LEAST_SQUARE, _MOST_SQUARE = 1e-30, 1e30  # of lengths that are far from MIN_NORM and MAX_NORM, however rounded


class ColumnVectors(NamedTuple):
    """Vectors of a column for the rows of a batch, rounded to the column's dtype."""

    values: Float32  # (rows, dim); zeros where a row has none
    present: NDArray[np.bool_]  # (rows,)


@dataclass
class Batch:
    """Rows to write. `vectors` has an entry for every column of the table."""

    ids: list[Id]
    vectors: dict[int, ColumnVectors]
    values: list[Values]
    extras: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.ids)

    def columns_masks(self, schema: Schema) -> list[int]:
        """Of each row: bit i is set when it has a vector in column i of the schema."""
        masks = np.zeros(len(self), np.uint64)
        for place, column in enumerate(schema.columns):
            masks |= self.vectors[column.number].present.astype(np.uint64) << np.uint64(place)
        return masks.tolist()

    def take(self, rows: Sequence[int]) -> Batch:
        """Some of the rows."""
        index = np.asarray(rows, np.intp)
        return Batch(
            [self.ids[row] for row in rows],
            {
                number: ColumnVectors(column.values[index], column.present[index])
                for number, column in self.vectors.items()
            },
            [self.values[row] for row in rows],
            [self.extras[row] for row in rows],
        )


def read_batch(schema: Schema, ids: object, vectors: object, fields: object, next_id: int) -> tuple[Batch, bool]:
    """The batch of an insert or upsert, and whether it is one row given by itself.

    Without ids, rows are numbered from `next_id`.
    """
    single = is_id(ids) or (ids is None and _is_single(vectors) and (fields is None or isinstance(fields, Mapping)))
    if ids is None:
        count = 1 if single else _batch_length(vectors, fields)
        given: list[Id] = list(range(next_id, next_id + count))
        check_ids(given[-1:])
    else:
        given = check_ids([ids] if single else ids)
    columns = read_vectors(schema, vectors, given, single=single)
    for column in schema.columns:
        if column.number not in columns:
            columns[column.number] = absent(column, len(given))
    values, extras = split_fields(schema, [fields] if single else rows_of(fields, len(given)), given)
    return Batch(given, columns, values, extras), single


def check_id(value: object) -> Id:
    """An id as it is stored; IdError for what is none."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        value = str.__str__(value)  # of an enum, its value
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise IdError(f"the id {value!a} is not valid Unicode: {error.reason}") from error
        if not 1 <= size <= MAX_ID_BYTES:
            shown = value if size <= 60 else value[:57] + "..."
            raise IdError(f"a str id has 1 to {MAX_ID_BYTES} UTF-8 bytes, not {size}: {shown!r}")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = int.__int__(value)
        if not -(2**63) <= value < 2**63:
            raise IdError(f"an int id has 64 bits; {value} has more")
        return value
    raise IdError(f"an id is a str or an int, not {type(value).__name__}: {value!r}")


def check_ids(ids: object) -> list[Id]:
    if isinstance(ids, (Mapping, bytes, bytearray, memoryview)) or not isinstance(ids, Iterable) or _is_scalar(ids):
        raise IdError(f"ids must be an id, a list of ids or None, not {type(ids).__name__}")
    given = ids.tolist() if isinstance(ids, np.ndarray) and ids.ndim == 1 else list(ids)
    return given if _are_plain_ids(given) else [check_id(item) for item in given]


def _are_plain_ids(ids: list[Any]) -> bool:
    """Whether ids are stored as they are, as one look at their types and lengths tells of most."""
    types = set(map(type, ids))
    if types == {str}:
        return all(map(str.isascii, ids)) and min(map(len, ids)) >= 1 and max(map(len, ids)) <= MAX_ID_BYTES
    return types == {int} and min(ids) >= -(2**63) and max(ids) < 2**63


def check_query(column: Column, query: object) -> Float32:
    """A query as (1, dim) float32."""
    plain = _as_plain(column, query)
    if plain is not None:
        return plain[None]
    if query is None:
        raise VectorError("the query is None; it must be a vector")
    return _to_matrix(column, [query], lambda _: "the query", np.dtype(np.float32)).values


def check_queries(column: Column, queries: object) -> Float32:
    """Queries as (n, dim) float32."""
    plain = _as_plain(column, queries, rank=2)
    if plain is not None:
        return plain
    matrix, present = _to_matrix(column, queries, lambda row: f"query {row}", np.dtype(np.float32))
    if not present.all():
        raise VectorError(f"query {int(np.flatnonzero(~present)[0])} is None; it must be a vector")
    return matrix


def find_column(schema: Schema, name: str | None) -> Column:
    """The column of a name, or the only one."""
    if name is None:
        if len(schema.columns) == 1:
            return schema.columns[0]
        names = ", ".join(repr(column.name) for column in schema.columns)
        raise VectorError(f"table {schema.name!r} has the vector columns {names or 'none'}: name one")
    column = schema.column(name)
    if column is None:
        names = ", ".join(repr(item.name) for item in schema.columns)
        raise VectorError(f"table {schema.name!r} has no vector column {name!r}; it has {names or 'none'}")
    return column


def is_id(ids: object) -> bool:
    """Whether this is meant as one id; check_id says whether it is a good one."""
    return isinstance(ids, (str, int, np.integer, bytes, float))


def _is_scalar(value: object) -> bool:
    """Whether it is an array without dimensions, which calls itself iterable."""
    return getattr(value, "ndim", 1) == 0


def _is_single(vectors: object) -> bool:
    """Whether vectors without ids are one row's: a vector rather than a matrix."""
    if vectors is None:
        return True
    if isinstance(vectors, Mapping):
        return all(_is_single(vector) for vector in vectors.values())
    if isinstance(vectors, np.ndarray):
        return vectors.ndim == 1
    first = next(iter(vectors), None) if isinstance(vectors, Iterable) else None
    return first is not None and not hasattr(first, "__len__")


def _batch_length(vectors: object, fields: object) -> int:
    """Rows of a batch that comes without ids."""
    for given in vectors.values() if isinstance(vectors, Mapping) else [vectors, fields]:
        if given is not None and not isinstance(given, Mapping) and hasattr(given, "__len__"):
            return len(given)
    raise VectorError("rows without ids are counted by their vectors: give a matrix or a list")


def read_vectors(schema: Schema, vectors: object, ids: list[Id], *, single: bool) -> dict[int, ColumnVectors]:
    """Vectors by the number of their column, whichever way they were given; columns not given are left out."""
    if vectors is None:
        return {}
    by_name = vectors if isinstance(vectors, Mapping) else {find_column(schema, None).name: vectors}
    result = {}
    for name, value in by_name.items():
        column = find_column(schema, name)
        plain = _as_plain(column, value, rank=1 if single else 2) if column.options.dtype == "float32" else None
        if plain is not None and (single or len(plain) == len(ids)):
            result[column.number] = ColumnVectors(plain[None] if single else plain, np.ones(len(ids), np.bool_))
            continue
        rows = [value] if single else [None] * len(ids) if value is None else value
        result[column.number] = _to_matrix(
            column, rows, lambda row: f"row {ids[row]!r}" if row < len(ids) else f"row {row}", vector_dtype(column)
        )
        if len(result[column.number].present) != len(ids):
            raise VectorError(
                f"column {column.name!r}: {len(result[column.number].present)} vectors for {len(ids)} ids"
            )
    return result


def absent(column: Column, rows: int) -> ColumnVectors:
    """No vector in any row."""
    return ColumnVectors(np.zeros((rows, column.options.dim), np.float32), np.zeros(rows, np.bool_))


def _as_plain(column: Column, given: object, rank: int = 1) -> Float32 | None:
    """A vector, or a matrix of them, as float32 where one look tells that it is right, as it does of most; or None."""
    if type(given) is not np.ndarray or given.dtype.char not in "fd" or given.ndim != rank:
        return None
    if given.shape[-1] != column.options.dim or not given.size:
        return None
    # Of a vector with NaN or infinity, or of zeros, the square is not between these.
    if rank == 1:
        least = most = float(np.vdot(given, given))  # `dot` warns of an overflow
    else:
        squares = np.einsum("ij,ij->i", given, given)
        least, most = squares.min(), squares.max()
    if not (least > _LEAST_SQUARE and most < _MOST_SQUARE):
        return None
    return given.astype(np.float32, order="C", copy=rank == 1)  # no matrix is used after the call


def _to_matrix(column: Column, rows: Any, name: Callable[[int], str], dtype: np.dtype[Any]) -> ColumnVectors:
    """Rows as float32 of values that `dtype` holds exactly, each checked; `name` says which row an error is about."""
    if isinstance(rows, np.ma.MaskedArray):
        raise VectorError(f"column {column.name!r}: masked arrays are not vectors; fill or drop what is masked")
    if isinstance(rows, np.ndarray) and rows.dtype != object and rows.ndim > 0:
        given, present = rows, np.ones(len(rows), np.bool_)
    else:
        given, present = _stack(column, rows, name)
    if len(given) == 0:
        return ColumnVectors(np.zeros((len(present), column.options.dim), np.float32), present)
    places = np.flatnonzero(present)
    if given.dtype.kind not in "fiu":
        raise VectorError(f"{name(int(places[0]))}: a vector holds real numbers, not {given.dtype}")
    if given.ndim != 2 or given.shape[1] != column.options.dim:
        raise _wrong_shape(column, name(int(places[0])), given.shape[1:])
    with np.errstate(over="ignore"):
        rounded = given.astype(dtype, order="C", subok=False)
    _check_numbers(column, given, rounded, lambda row: name(int(places[row])))
    if present.all():
        return ColumnVectors(rounded.astype(np.float32, copy=False), present)
    values = np.zeros((len(present), column.options.dim), np.float32)
    values[present] = rounded
    return ColumnVectors(values, present)


def _stack(column: Column, rows: Any, name: Callable[[int], str]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A list of vectors and None as the matrix of those that are vectors."""
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable) or _is_scalar(rows):
        raise VectorError(f"column {column.name!r}: vectors are a matrix or a list, not {type(rows).__name__}")
    vectors = []
    present = []
    for number, row in enumerate(rows):
        present.append(row is not None)
        if row is None:
            continue
        try:
            vector = np.asarray(row)
        except (ValueError, TypeError, OverflowError) as error:
            raise VectorError(f"{name(number)}: not a vector: {error}") from error
        if vector.dtype.kind not in "fiu":
            raise VectorError(f"{name(number)}: a vector holds real numbers, not {vector.dtype}")
        if vector.shape != (column.options.dim,):
            raise _wrong_shape(column, name(number), vector.shape)
        vectors.append(vector)
    return np.stack(vectors) if vectors else np.zeros((0, column.options.dim)), np.array(present, np.bool_)


def _wrong_shape(column: Column, name: str, shape: tuple[int, ...]) -> VectorError:
    return VectorError(
        f"{name}: column {column.name!r} takes vectors of shape ({column.options.dim},), not {tuple(shape)}"
    )


def _check_numbers(column: Column, given: NDArray[Any], rounded: NDArray[Any], name: Callable[[int], str]) -> None:
    """No NaN, no infinity, no length that float32 arithmetic can't carry."""
    finite = np.isfinite(rounded).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        problem = "overflows " + rounded.dtype.name if np.isfinite(given[row]).all() else "holds NaN or infinity"
        raise VectorError(f"{name(row)}: its vector for column {column.name!r} {problem}")
    lengths = np.sqrt(np.einsum("ij,ij->i", rounded, rounded, dtype=np.float64))
    if (lengths > MAX_NORM).any():
        row = int(np.flatnonzero(lengths > MAX_NORM)[0])
        raise VectorError(f"{name(row)}: its vector for column {column.name!r} is longer than {MAX_NORM:g}")
    if column.options.metric == "cosine" and (lengths < MIN_NORM).any():
        row = int(np.flatnonzero(lengths < MIN_NORM)[0])
        raise VectorError(
            f"{name(row)}: its vector for column {column.name!r} is zero, which has no cosine distance to anything"
        )


def rows_of(fields: object, rows: int) -> Iterator[Any]:
    """Fields of each row, given as a list of dicts or a dict of lists."""
    if fields is None:
        return iter([None] * rows)
    if isinstance(fields, Mapping):
        return iterate_columns(fields, rows)
    if not isinstance(fields, Sequence):
        raise FieldError(f"fields are a list of dicts or a dict of lists, not {type(fields).__name__}")
    if len(fields) != rows:
        raise FieldError(f"{len(fields)} dicts of fields for {rows} rows")
    return iter(fields)
