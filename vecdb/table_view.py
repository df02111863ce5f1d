"""A table as one reads it, whether it is the newest commit's, a transaction's or a snapshot's."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import numpy as np

from vecdb.errors import ProgrammingError, TableNotFoundError
from vecdb.mirror.view import View
from vecdb.options import Vector
from vecdb.query import fetch
from vecdb.query.iterate import iterate
from vecdb.query.matching import find_rows, read_where
from vecdb.query.order import check_range, read_order
from vecdb.query.results import BatchHits, Hit, Hits, Plan, Row
from vecdb.query.search import Ask, check_ef, check_k, choose_threads, explain, search, search_batch
from vecdb.query.stats import TableStats, table_stats
from vecdb.storage import catalog
from vecdb.storage.rows import Id
from vecdb.write.batch import check_id, check_ids, check_queries, check_query, find_column, is_id

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Item = TypeVar("Item")

# Read by a scan between two looks at whether the database was closed; by a search, which is slower.
_ROWS_AT_ONCE, _HITS_AT_ONCE = 256, 16


class Source(Protocol):
    """What a table is read from: a database, or a snapshot of one."""

    @property
    def path(self) -> str: ...

    def _view(self) -> View:
        """The version that a call reads, in a `with` block."""

    def _executor(self, threads: int) -> ThreadPoolExecutor:
        """A pool of that many threads."""


class TableView:
    """A table that can be read, not written: what `Snapshot.table` gives. Threads may share it."""

    def __init__(self, source: Source, name: str, number: int) -> None:
        self.name = name
        self._source = source
        self._number = number

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
        with self._source._view() as view:
            table = self._resolve(view)
            wanted = fetch.check_wanted(fields)
            rows = [fetch.get(view, table, identifier, wanted, vectors) for identifier in given]
        return rows[0] if is_id(ids) else rows

    def __contains__(self, identifier: object) -> bool:
        return self.get(check_id(identifier), fields=False) is not None

    def count(self, where: object = None, params: object = None) -> int:
        """How many rows there are, or how many match a filter: SQL text with its `params`, an expression of
        `vecdb.col`, or a dict. Raises FilterError or LimitError."""
        with self._source._view() as view:
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
        yield from self._source._view().in_parts(items, at_once)

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
        with self._source._view() as view:
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
        with self._source._view() as view:
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
                executor=self._source._executor(workers - 1) if workers > 1 else None,
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
        with self._source._view() as view:
            table = self._resolve(view)
            ask = Ask(most, beam, exact, read_where(view, table, where, params))
            return explain(view, table, find_column(table.schema, column), ask)

    # What it is

    @property
    def vectors(self) -> dict[str, Vector]:
        """The vector columns."""
        with self._source._view() as view:
            table = self._resolve(view)
            return {column.name: column.options for column in table.schema.columns}

    @property
    def fields(self) -> dict[str, str]:
        """The declared fields and the names of their types."""
        with self._source._view() as view:
            table = self._resolve(view)
            return dict(table.schema.field_types)

    @property
    def indexes(self) -> list[str]:
        """The names of the fields that have an index, in the order of their declaration."""
        with self._source._view() as view:
            schema = self._resolve(view).schema
            return [schema.field_names[position] for position in schema.indexes]

    def stats(self, *, reachability: bool = False) -> TableStats:
        """What the table holds: counters, that cost nothing to read.

        With `reachability`, its graphs are walked whole, to count the rows that searches can come to: some 30 ms for
        60,000 rows.
        """
        with self._source._view() as view:
            return table_stats(self._resolve(view), view, reachability=reachability)

    def __repr__(self) -> str:
        return f"<vecdb.{type(self).__name__} {self.name!r} of {self._source.path!r}>"

    def __reduce__(self) -> Any:
        raise TypeError("a table handle can't be pickled; connect again where it is needed")

    def _resolve(self, view: View) -> catalog.Table:
        table = view.tables.get(self._number)
        if table is None:
            raise TableNotFoundError(f"the table {self.name!r} was dropped, or its creation was rolled back")
        return table


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
