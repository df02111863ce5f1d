"""A table of a database: rows with ids, fields and vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vecdb.errors import FieldError, ProgrammingError
from vecdb.fields.schema import declare_fields, find_field
from vecdb.filters.tree import TRUE
from vecdb.mirror.view import View
from vecdb.mirror.writer import Writer
from vecdb.progress import Progress, reporting
from vecdb.query.matching import find_rows, read_where
from vecdb.storage import catalog
from vecdb.storage.rows import Id
from vecdb.table_view import TableView
from vecdb.write import statements
from vecdb.write.batch import check_ids, is_id, read_batch, rows_of
from vecdb.write.vacuum import plan_vacuum

if TYPE_CHECKING:
    from vecdb.database import Database

Statement = Callable[[Writer, catalog.Table, Any, Callable[[int], None]], None]


class Table(TableView):
    """A table of a database, made by `Database.create_table` and `Database.table`. Threads may share it."""

    def __init__(self, database: Database, name: str, number: int) -> None:
        super().__init__(database, name, number)
        self._database = database

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
        rows they were rid of. A graph that is damaged in the file is made anew from the vectors.

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
        self._add_field(field)

    def _add_field(self, field: catalog.Field) -> None:
        def add(writer: Writer) -> None:
            schema = self._resolve(writer).schema
            if any(existing.name == field.name for existing in schema.fields):
                raise FieldError(f"table {self.name!r} has a field {field.name!r} already")
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
