"""The catalog: what tables there are, and the counters of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Final

from vecdb.errors import CorruptionError, Error
from vecdb.options import MAX_SLOTS, Vector
from vecdb.storage import keys
from vecdb.storage.keys import TABLE_SPACES, Space
from vecdb.storage.records import pack, unpack
from vecdb.storage.view import PendingWrites, Records

# Names of the types of fields, and of lists of them. Never change: stored.
SCALAR_TYPES: Final = ("str", "int", "float", "bool", "datetime")
FIELD_TYPES: Final = (*SCALAR_TYPES, *(f"list[{name}]" for name in SCALAR_TYPES))


@dataclass(frozen=True)
class Column:
    """A vector column. `number` is its place in keys; never reused in a table."""

    number: int
    name: str
    options: Vector


@dataclass(frozen=True)
class Field:
    """A declared field; `type` is one of FIELD_TYPES. `required`: never null. `default`: of a new row that comes
    without it."""

    name: str
    type: str
    required: bool = False
    default: Any = None


@dataclass(frozen=True)
class Schema:
    """What a table's rows hold. A field's number, in keys and in `indexes`, is its position; fields are only added."""

    table: int
    name: str
    columns: tuple[Column, ...]
    fields: tuple[Field, ...]
    indexes: tuple[int, ...] = ()  # of the fields that have one, ascending
    json: tuple[str, ...] = ()  # metadata that is not declared, but is a column to SQL's `*`

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where the fields stand, by name."""
        return {field.name: position for position, field in enumerate(self.fields)}

    @cached_property
    def field_types(self) -> dict[str, str]:
        return {field.name: field.type for field in self.fields}

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class ColumnState:
    """Counters of a vector column. A column has a graph when `linked` is true."""

    live: int = 0  # slots with a vector that may be found
    linked: bool = False
    upper: int = 0  # entries of layers above the base
    entry_layer: int = -1
    entry_node: int = -1  # an upper entry; a slot where entry_layer is 0
    trainings: int = 0  # of the quantizer; a graph begins with one
    trained_rows: int = 0  # live at its last training
    outliers: int = 0  # rows since then that lie outside its range
    waiting: int = 0  # dead slots that the graph still links
    journal: int = 0  # how far its blocks of links have been folded: laps * 2**32 + the next block


@dataclass(frozen=True)
class TableState:
    """Counters of a table."""

    slots: int = 0  # slots ever assigned: the next one's number
    rows: int = 0
    next_id: int = 1  # for rows that come without an id
    text_ids: int = 0  # rows whose id is a str
    columns: dict[int, ColumnState] = field(default_factory=dict)

    def with_column(self, number: int, state: ColumnState) -> TableState:
        return replace(self, columns={**self.columns, number: state})


@dataclass(frozen=True)
class Table:
    """A table of one version."""

    schema: Schema
    state: TableState


def read_tables(records: Records) -> dict[int, Table]:
    """All tables, by number."""
    tables = {}
    for key, payload in records.scan(Space.CATALOG, b""):
        number = keys.table_of_definition(key)
        if number is None:
            continue
        schema = decode_schema(number, bytes(payload))
        state = records.get(Space.CATALOG, keys.counters(number))
        if state is None:
            raise CorruptionError(f"table {schema.name!r} has no counters")
        tables[number] = Table(schema, _decode_state(schema, state))
    if len({table.schema.name for table in tables.values()}) < len(tables):
        raise CorruptionError("two tables have the same name")
    return tables


def write_schema(writes: PendingWrites, schema: Schema) -> None:
    definition = {
        "name": schema.name,
        "columns": [[column.number, column.name, asdict(column.options)] for column in schema.columns],
        "fields": [[item.name, item.type, item.required, item.default] for item in schema.fields],
        "indexes": list(schema.indexes),
        "json": list(schema.json),
    }
    writes.put(Space.CATALOG, keys.definition(schema.table), pack(definition))


def write_counters(writes: PendingWrites, table: int, state: TableState) -> None:
    columns = {str(number): [*vars(item).values()] for number, item in state.columns.items()}
    counters = [state.slots, state.rows, state.next_id, state.text_ids, columns]
    writes.put(Space.CATALOG, keys.counters(table), pack(counters))


def delete_table(writes: PendingWrites, table: int) -> None:
    """Delete every record of a table."""
    prefix = keys.table_prefix(table)
    for space in TABLE_SPACES:
        for key, _ in list(writes.scan(space, prefix)):
            writes.delete(space, key)


@lru_cache(maxsize=1024)  # who follows other processes reads the same ones again and again
def decode_schema(number: int, payload: bytes) -> Schema:
    definition = unpack(payload, f"the definition of table {number}")
    try:
        columns = tuple(Column(place, name, Vector(**made)) for place, name, made in definition["columns"])
        fields = tuple(Field(*item) for item in definition["fields"])
        schema = Schema(
            number, definition["name"], columns, fields, tuple(definition["indexes"]), tuple(definition["json"])
        )
        names = [schema.name, *(column.name for column in columns), *(field.name for field in fields), *schema.json]
        numbers = [column.number for column in columns]
        if (
            any(type(name) is not str for name in names)
            or any(type(place) is not int or not 0 < place < 2**16 for place in numbers)
            or len(set(numbers)) < len(numbers)
            or any(field.type not in FIELD_TYPES or type(field.required) is not bool for field in fields)
            or list(schema.indexes) != sorted({*schema.indexes} & {*range(len(fields))})
        ):
            raise ValueError("a name, a number or a type is not one")
        return schema
    except (KeyError, TypeError, ValueError, Error) as error:
        raise CorruptionError(f"the definition of table {number} is malformed: {error}") from error


def _decode_state(schema: Schema, payload: bytes | memoryview) -> TableState:
    what = f"the counters of table {schema.name!r}"
    counters: Any = unpack(payload, what)
    try:
        slots, rows, next_id, text_ids, columns = counters
        state = TableState(
            slots, rows, next_id, text_ids, {int(number): ColumnState(*item) for number, item in columns.items()}
        )
        if any(type(counter) is not int for counter in counters[:4]) or not 1 <= state.next_id <= 2**63:
            raise ValueError("a counter is not a number")
        if not 0 <= state.rows <= state.slots <= MAX_SLOTS or not 0 <= state.text_ids <= state.rows:
            raise ValueError("rows and slots contradict each other")
        for column in schema.columns:
            _check_column(state.columns[column.number], state.slots)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptionError(f"{what} are malformed: {error}") from error
    return state


def _check_column(column: ColumnState, slots: int) -> None:
    """Kernels index with these numbers."""
    if any(type(item) is not int for name, item in vars(column).items() if name != "linked"):
        raise ValueError("a counter is not a number")
    entries = column.upper if column.entry_layer > 0 else slots
    if (
        not 0 <= column.live <= slots
        or not 0 <= column.waiting <= slots - column.live
        or not 0 <= column.upper <= MAX_SLOTS
        or not 0 <= column.journal < 2**63
        or not isinstance(column.linked, bool)
        or not -1 <= column.entry_layer <= 64
        or (column.entry_layer < 0) != (column.entry_node < 0)
        or not -1 <= column.entry_node < max(entries, 0)
        or (column.linked and column.trainings < 1)
    ):
        raise ValueError(f"no such column state: {column}")
