"""A table: rows with ids, fields and vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from vecdb.errors import FieldError, ProgrammingError, TableNotFoundError
from vecdb.fields.lookup import evaluate
from vecdb.fields.schema import declare_fields, find_field
from vecdb.filters.check import check_filter
from vecdb.filters.read import read_filter
from vecdb.mirror.versions import CommittedView, View
from vecdb.mirror.writer import Writer
from vecdb.options import Vector
from vecdb.progress import Progress, reporting
from vecdb.query import fetch
from vecdb.query.results import BatchHits, Hits, Row
from vecdb.query.search import check_ef, check_k, choose_threads, search, search_batch
from vecdb.storage import catalog
from vecdb.storage.rows import Id
from vecdb.write import statements
from vecdb.write.batch import check_id, check_ids, check_queries, check_query, find_column, is_id, read_batch, rows_of

if TYPE_CHECKING:
    from vecdb.database import Database

Statement = Callable[[Writer, catalog.Table, Any, Callable[[int], None]], None]

_ROWS_AT_ONCE = 256  # read by a scan between two looks at whether the database was closed


class Table:
    """A table of a database, made by `Database.create_table` and `Database.table`. Threads may share it."""

    def __init__(self, database: Database, name: str, number: int) -> None:
        self.name = name
        self._database = database
        self._number = number

    # Writing

    def insert(
        self, ids: object, vectors: object = None, fields: object = None, *, progress: Progress = None
    ) -> Id | list[Id]:
        """Insert a row, or many in one transaction; returns the id or the ids.

        One row: an id, a vector (a dict by column where the table has several), a dict of fields. Many: a list of
        ids, a matrix (or a dict of matrices, or lists with None for rows that lack a vector), and a list of dicts or
        a dict of lists. With `ids=None` rows get ascending ints.

        Raises DuplicateIdError, IdError, VectorError or FieldError, and then nothing was written.
        """
        return self._write_rows(statements.insert, ids, vectors, fields, progress)

    def upsert(
        self, ids: object, vectors: object = None, fields: object = None, *, progress: Progress = None
    ) -> Id | list[Id]:
        """As `insert`, but rows whose ids exist are replaced whole; where an id stands twice, the last one counts."""
        return self._write_rows(statements.upsert, ids, vectors, fields, progress)

    def update(self, ids: object, *, fields: object = None, vectors: object = None) -> int:
        """Change the given fields and vectors of a row, or of many, and leave the others; returns how many rows.

        None as a field's value makes it null; None as a vector removes it. Raises RowNotFoundError for an id
        without a row, and then nothing was written.
        """
        single = is_id(ids)
        given = check_ids([ids] if single else ids)
        changes: Iterable[Any] = [fields] if single else rows_of(fields, len(given))

        def run(writer: Writer) -> int:
            return statements.update(writer, self._resolve(writer), given, list(changes), vectors, single=single)

        return self._database._write(run)

    def delete(self, ids: object) -> int:
        """Delete a row, or many; returns how many there were."""
        given = check_ids([ids] if is_id(ids) else ids)
        return self._database._write(lambda writer: statements.delete(writer, self._resolve(writer), given))

    def add_field(self, name: str, kind: object) -> None:
        """Declare one more field. Rows have null in it, or the value that rode along under its name, if it fits."""
        (field,) = declare_fields({name: kind})

        def add(writer: Writer) -> None:
            schema = self._resolve(writer).schema
            if any(existing.name == name for existing in schema.fields):
                raise FieldError(f"table {self.name!r} has a field {name!r} already")
            declare_fields({item.name: str for item in (*schema.fields, field)})
            statements.add_field(writer, self._resolve(writer), field)

        self._database._write(add)

    def create_index(self, name: str, *, progress: Progress = None) -> None:
        """Index a declared field, so that filters on it read its index and no rows.

        Other processes and threads read meanwhile. Raises FieldError for a field that is not declared, or has an index.
        """

        def create(writer: Writer) -> None:
            table = self._resolve(writer)
            field = find_field(table.schema.fields, name)
            if field in table.schema.indexes:
                raise FieldError(f"table {self.name!r} has an index of {name!r} already")
            with reporting(progress, table.state.rows, f"index of {name}") as report:
                statements.create_index(writer, table, field, report)

        self._database._write(create)

    def drop_index(self, name: str) -> None:
        """Drop the index of a field. Raises FieldError where there is none."""

        def drop(writer: Writer) -> None:
            table = self._resolve(writer)
            field = find_field(table.schema.fields, name)
            if field not in table.schema.indexes:
                raise FieldError(f"table {self.name!r} has no index of {name!r}; there are {self.indexes or 'none'}")
            statements.drop_index(writer, table, field)

        self._database._write(drop)

    # Reading

    @overload
    def get(  # type: ignore[overload-overlap]  # a str is an iterable of str, but one id
        self, ids: str | int, *, fields: Collection[str] | bool | None = ..., vectors: bool = ...
    ) -> Row | None: ...
    @overload
    def get(
        self, ids: Iterable[Id], *, fields: Collection[str] | bool | None = ..., vectors: bool = ...
    ) -> list[Row | None]: ...
    def get(
        self, ids: object, *, fields: Collection[str] | bool | None = None, vectors: bool = False
    ) -> Row | list[Row | None] | None:
        """The row of an id, or None; for many ids a list of them in the same order."""
        given = check_ids([ids] if is_id(ids) else ids)
        with self._database._view() as view:
            table = self._resolve(view)
            wanted = fetch.check_wanted(fields)
            rows = [fetch.get(view, table, identifier, wanted, vectors) for identifier in given]
        return rows[0] if is_id(ids) else rows

    def __contains__(self, identifier: object) -> bool:
        return self.get(check_id(identifier), fields=False) is not None

    def count(self, where: object = None, params: object = None) -> int:
        """How many rows there are, or how many match a filter: SQL text with its `params`, an expression of
        `vecdb.col`, or a dict. Raises FilterError or LimitError."""
        tree = None if where is None and params is None else read_filter(where, params)
        with self._database._view() as view:
            table = self._resolve(view)
            if tree is None:
                return table.state.rows
            return len(evaluate(view.records, table, check_filter(tree, table.schema.field_types)).slots)

    def __len__(self) -> int:
        return self.count()

    def scan(self, *, fields: Collection[str] | bool | None = None, vectors: bool = False) -> Iterator[Row]:
        """Every row in the order of insertion, all of the version that is the newest when the scan begins.

        In a transaction, its own rows are among them, and the scan must end before its next write.
        """
        with self._database._view() as view:
            table = self._resolve(view)
            wanted = fetch.check_wanted(fields)
            rows = fetch.scan(view, table, wanted, vectors)
            if not isinstance(view, CommittedView):
                yield from rows
                return
            while True:
                part = []
                with view.reader.working():
                    for row in rows:
                        part.append(row)
                        if len(part) == _ROWS_AT_ONCE:
                            break
                yield from part
                if len(part) < _ROWS_AT_ONCE:
                    return

    def search(
        self,
        query: object,
        k: int = 10,
        *,
        column: str | None = None,
        fields: Collection[str] | bool | None = None,
        vectors: bool = False,
        ef: int | None = None,
        radius: float | None = None,
        exact: bool = False,
    ) -> Hits:
        """The rows nearest to a query vector: at most k, ascending by (distance, insertion order).

        `ef`, the beam width, trades speed for recall; `exact=True` compares every row. `radius` keeps hits of at
        most that distance. `fields` are those to return: None for all, False for none. `column` names the vector
        column where the table has several.
        """
        most, beam = check_k(k), check_ef(ef)
        with self._database._view() as view:
            table = self._resolve(view)
            place = find_column(table.schema, column)
            return search(
                view,
                table,
                place,
                check_query(place, query),
                most,
                ef=beam,
                use_exact=exact,
                radius=_check_radius(radius),
                wanted=fetch.check_wanted(fields),
                vectors=vectors,
            )

    def search_batch(
        self,
        queries: object,
        k: int = 10,
        *,
        column: str | None = None,
        ef: int | None = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> BatchHits:
        """The rows nearest to each of many queries (n, dim), searched on `threads` threads, by default on all cores
        where there are more than a few queries."""
        most, beam = check_k(k), check_ef(ef)
        with self._database._view() as view:
            table = self._resolve(view)
            place = find_column(table.schema, column)
            matrix = check_queries(place, queries)
            workers = choose_threads(threads, len(matrix))
            return search_batch(
                view,
                table,
                place,
                matrix,
                most,
                ef=beam,
                use_exact=exact,
                threads=workers,
                executor=self._database._executor(workers) if workers > 1 else None,
            )

    # What it is

    @property
    def vectors(self) -> dict[str, Vector]:
        """The vector columns."""
        with self._database._view() as view:
            table = self._resolve(view)
            return {column.name: column.options for column in table.schema.columns}

    @property
    def fields(self) -> dict[str, str]:
        """The declared fields and the names of their types."""
        with self._database._view() as view:
            table = self._resolve(view)
            return dict(table.schema.field_types)

    @property
    def indexes(self) -> list[str]:
        """The names of the fields that have an index, in the order of their declaration."""
        with self._database._view() as view:
            schema = self._resolve(view).schema
            return [schema.field_names[position] for position in schema.indexes]

    def __repr__(self) -> str:
        return f"<vecdb.Table {self.name!r} of {self._database.path!r}>"

    def __reduce__(self) -> Any:
        raise TypeError("a table handle can't be pickled; connect again where it is needed")

    def _resolve(self, view: View) -> catalog.Table:
        table = view.tables.get(self._number)
        if table is None:
            raise TableNotFoundError(f"the table {self.name!r} was dropped, or its creation was rolled back")
        return table

    def _write_rows(
        self, statement: Statement, ids: object, vectors: object, fields: object, progress: Progress
    ) -> Id | list[Id]:
        def run(writer: Writer) -> Id | list[Id]:
            table = self._resolve(writer)
            batch, single = read_batch(table.schema, ids, vectors, fields, table.state.next_id)
            given = list(batch.ids)
            with reporting(progress, len(batch), self.name) as report:
                statement(writer, table, batch, report)
            return given[0] if single else given

        return self._database._write(run)


def _check_radius(radius: float | None) -> float | None:
    if radius is None:
        return None
    if isinstance(radius, (int, float, np.integer, np.floating)) and not isinstance(radius, bool):
        try:
            checked = float(radius)
        except OverflowError:
            checked = math.inf
        if not math.isnan(checked):
            return checked
    raise ProgrammingError(f"radius must be None or a number, not {radius!r}")
