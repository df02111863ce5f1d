"""A table: rows with ids, fields and vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from vecdb.errors import FieldError, ProgrammingError, TableNotFoundError
from vecdb.fields.schema import declare_fields, find_field
from vecdb.filters.tree import TRUE
from vecdb.mirror.versions import CommittedView, View
from vecdb.mirror.writer import Writer
from vecdb.options import Vector
from vecdb.progress import Progress, reporting
from vecdb.query import fetch
from vecdb.query.iterate import iterate
from vecdb.query.matching import find_rows, read_where
from vecdb.query.order import check_range, read_order
from vecdb.query.results import BatchHits, Hit, Hits, Plan, Row
from vecdb.query.search import Ask, check_ef, check_k, choose_threads, explain, search, search_batch
from vecdb.query.stats import TableStats, table_stats
from vecdb.storage import catalog
from vecdb.storage.rows import Id
from vecdb.write import statements
from vecdb.write.batch import check_id, check_ids, check_queries, check_query, find_column, is_id, read_batch, rows_of
from vecdb.write.vacuum import plan_vacuum

if TYPE_CHECKING:
    from vecdb.database import Database

Item = TypeVar("Item")
Statement = Callable[[Writer, catalog.Table, Any, Callable[[int], None]], None]

# Read by a scan between two looks at whether the database was closed; by a search, which is slower.
_ROWS_AT_ONCE, _HITS_AT_ONCE = 256, 16


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

    def update(
        self,
        ids: object = None,
        *,
        fields: object = None,
        vectors: object = None,
        where: object = None,
        params: object = None,
    ) -> int:
        """Change the given fields and vectors of a row, or of many, and leave the others; returns how many rows.

        None as a field's value makes it null; None as a vector removes it. Raises RowNotFoundError for an id
        without a row, and then nothing was written. With `where` in the place of ids, the fields of one dict are
        given to every row that matches.
        """
        if where is not None:
            if ids is not None or vectors is not None or not isinstance(fields, Mapping):
                raise ProgrammingError("update takes ids, or where= with a dict of fields= alone")
            return self._update_where(fields, where, params)
        single = is_id(ids)
        given = check_ids([ids] if single else ids)
        changes: Iterable[Any] = [fields] if single else rows_of(fields, len(given))

        def run(writer: Writer) -> int:
            return statements.update(writer, self._resolve(writer), given, list(changes), vectors, single=single)

        return self._database._write(run)

    def _update_where(self, fields: Mapping[str, Any], where: object, params: object) -> int:
        def run(writer: Writer) -> int:
            table = self._resolve(writer)
            return statements.update_slots(writer, table, self._find(writer, table, where, params), fields)

        return self._database._write(run)

    def delete(self, ids: object = None, *, where: object = None, params: object = None) -> int:
        """Delete a row, or many, or those that match a filter; returns how many there were."""
        if where is not None:
            if ids is not None:
                raise ProgrammingError("delete takes ids or where=, not both")

            def run(writer: Writer) -> int:
                table = self._resolve(writer)
                return statements.delete_slots(writer, table, self._find(writer, table, where, params))

            return self._database._write(run)
        given = check_ids([ids] if is_id(ids) else ids)
        return self._database._write(lambda writer: statements.delete(writer, self._resolve(writer), given))

    def _find(self, view: View, table: catalog.Table, where: object, params: object) -> list[int]:
        """The slots of the rows that match."""
        tree = read_where(view, table, where, params)
        slots: list[int] = find_rows(view, table, TRUE if tree is None else tree).slots.tolist()
        return slots

    def vacuum(self, *, progress: Progress = None) -> int:
        """Repair the graphs where rows were deleted, so that they are as good as new ones; returns how many deleted
        rows they were rid of.

        Writes do the same in small steps. This is done in many short transactions, between which others can write; cut
        off, it is taken up by the next call. In a transaction it is part of that.
        """
        steps = self._database._write(lambda writer: plan_vacuum(writer, self._resolve(writer)))
        done = repaired = 0
        with reporting(progress, sum(step.slots for step in steps), f"vacuum of {self.name}") as report:
            for step in steps:
                repaired += self._database._write(step.run)
                done += step.slots
                report(done)
        return repaired

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
        with self._database._view() as view:
            table = self._resolve(view)
            tree = read_where(view, table, where, params)
            return table.state.rows if tree is None else len(find_rows(view, table, tree))

    def __len__(self) -> int:
        return self.count()

    def scan(
        self,
        *,
        where: object = None,
        params: object = None,
        fields: Collection[str] | bool | None = None,
        vectors: bool = False,
        order: str | Iterable[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[Row]:
        """The rows, or those that match `where`, all of the version that is the newest when the scan begins.

        They come in the order of insertion or by `order`: "year", "year DESC" or "-year", or several of them; nulls
        come first, last where it descends. `limit` and `offset` choose from what this gives. In a transaction, its own
        rows are among them, and the scan must end before its next write.
        """
        first, stop = check_range(limit, offset)
        by = read_order(order)

        def rows(view: View) -> Iterator[Row]:
            table = self._resolve(view)
            wanted = fetch.check_wanted(fields)
            tree = read_where(view, table, where, params)
            matching = None if tree is None else find_rows(view, table, tree)
            if by:
                return islice(fetch.scan_ordered(view, table, wanted, vectors, matching, by), first, stop)
            return islice(fetch.scan(view, table, wanted, vectors, matching), first, stop)

        return self._iterate(rows)

    def _iterate(self, items: Callable[[View], Iterator[Item]], at_once: int = _ROWS_AT_ONCE) -> Iterator[Item]:
        """Items of one version, which is held while the caller goes on, so many made at once."""
        with self._database._view() as view:
            if not isinstance(view, CommittedView):
                yield from items(view)
                return
            source = None
            while True:
                part = []
                with view.reader.working():
                    source = items(view) if source is None else source
                    for item in source:
                        part.append(item)
                        if len(part) == at_once:
                            break
                yield from part
                if len(part) < at_once:
                    return

    def search(
        self,
        query: object,
        k: int = 10,
        *,
        where: object = None,
        params: object = None,
        column: str | None = None,
        fields: Collection[str] | bool | None = None,
        vectors: bool = False,
        ef: int | None = None,
        radius: float | None = None,
        exact: bool = False,
    ) -> Hits:
        """The rows nearest to a query vector: at most k, ascending by (distance, insertion order).

        `where` is a filter: SQL text with `?` or `:name` for `params`, an expression of `vecdb.col`, or a dict. `ef`,
        the beam width, trades speed for recall; `exact=True` compares every row. `radius` keeps hits of at most that
        distance. `fields` are those to return: None for all, False for none. `column` names the vector column where
        the table has several.
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
                Ask(most, beam, exact, None if where is None else read_where(view, table, where, params)),
                radius=_check_radius(radius),
                wanted=fetch.check_wanted(fields),
                vectors=vectors,
            )

    def search_batch(
        self,
        queries: object,
        k: int = 10,
        *,
        where: object = None,
        params: object = None,
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
                Ask(most, beam, exact, None if where is None else read_where(view, table, where, params)),
                threads=workers,
                executor=self._database._executor(workers) if workers > 1 else None,
            )

    def search_iter(
        self,
        query: object,
        *,
        where: object = None,
        params: object = None,
        column: str | None = None,
        fields: Collection[str] | bool | None = None,
        vectors: bool = False,
        ef: int | None = None,
        radius: float | None = None,
        exact: bool = False,
    ) -> Iterator[Hit]:
        """The rows nearest to a query vector, nearest first, as long as the caller goes on: in the end every row that
        matches, each once, all of one version.

        They are found by searches for more and more; a row that one overlooked comes with a later one.
        """
        beam, most = check_ef(ef), _check_radius(radius)

        def hits(view: View) -> Iterator[Hit]:
            table = self._resolve(view)
            place = find_column(table.schema, column)
            ask = Ask(1, beam, exact, read_where(view, table, where, params))
            wanted = fetch.check_wanted(fields)
            return iterate(
                view, table, place, check_query(place, query), ask, radius=most, wanted=wanted, vectors=vectors
            )

        return self._iterate(hits, _HITS_AT_ONCE)

    def explain(
        self,
        k: int = 10,
        *,
        where: object = None,
        params: object = None,
        column: str | None = None,
        ef: int | None = None,
        exact: bool = False,
    ) -> Plan:
        """How a search would go about it: as `hits.plan`, but nothing is compared."""
        most, beam = check_k(k), check_ef(ef)
        with self._database._view() as view:
            table = self._resolve(view)
            ask = Ask(most, beam, exact, read_where(view, table, where, params))
            return explain(view, table, find_column(table.schema, column), ask)

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

    def stats(self) -> TableStats:
        """What the table holds: counters, that cost nothing to read."""
        with self._database._view() as view:
            return table_stats(self._resolve(view))

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
