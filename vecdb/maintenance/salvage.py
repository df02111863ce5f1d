"""What is whole in a damaged file: records that its trees lead to, and those on pages that no tree leads to any more.

LMDB never writes over a page of the newest commit. So a page is of that commit if its trees lead to it, or if they do
not, since a page between is lost, and the list of free pages does not have it. Where that list is lost too, a page that
no tree leads to may be of an older commit: what is on it is *unproven*, a row of it may have been changed or deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from vecdb.errors import CorruptionError
from vecdb.mirror.load import codes_per_block, vector_dtype, vectors_per_block
from vecdb.storage import keys
from vecdb.storage.catalog import Schema, decode_schema
from vecdb.storage.damaged import DamagedRecords
from vecdb.storage.geometry import LIVE_BYTES
from vecdb.storage.header import read_state
from vecdb.storage.keys import Space
from vecdb.storage.pages import Meta, Node, PageFile, Tree
from vecdb.storage.records import unpack, unseal

_ROOTS_TRIED: Final = 3
_LARGEST_RECORD: Final = 1 << 27  # bytes of a node on a stray page that is looked at


@dataclass
class Salvage:
    """The records of a damaged file."""

    records: DamagedRecords
    unproven: DamagedRecords | None  # of pages that may be of an older commit
    schemas: dict[int, Schema]
    notes: list[str] = field(default_factory=list)


def salvage(file: PageFile) -> Salvage:
    """Find all that is whole."""
    notes: list[str] = []
    freed = None
    trees: dict[Space, Tree] = {}
    inner: set[int] = set()  # pages of the main tree and of the list of free ones
    for meta in file.metas[:1]:
        freed = file.freed(meta)
        trees = file.trees(meta.main.root, [])
        inner = _pages_of(file, meta)
    if len(file.metas) < 2:
        notes.append(
            f"{'one meta page is' if file.metas else 'both meta pages are'} damaged: "
            "the newest commit was looked for among all pages"
        )
        newest = _newest_trees(file)
        if newest and newest != trees:
            trees, freed = newest, None
    if freed is None:
        notes.append("the list of free pages is lost")
    records = DamagedRecords(file, trees)
    missing = {space for space in Space if not records.complete(space)}
    unproven = None
    if missing:
        target = records
        if freed is None:
            unproven = target = DamagedRecords(file, {})
        strays = _strays(file, records.seen | inner | (freed or set()))
        schemas = _schemas(records, strays, file)
        for space, node in _classify(file, strays, schemas):
            target.add(space, node)
    schemas = _schemas(records, [], file)
    if any(table not in schemas for table in _tables_with_rows(records, unproven)):
        # Definitions hardly ever change: an older one will do.
        older = _schemas(records, range(2, file.pages), file)
        for table, schema in older.items():
            if table not in schemas and table in _tables_with_rows(records, unproven):
                notes.append(f"the definition of table {schema.name!r} was taken from an older page")
                schemas[table] = schema
        if unproven is None and missing:
            for space, node in _classify(file, _strays(file, records.seen | inner | (freed or set())), schemas):
                records.add(space, node)
        elif unproven is not None:
            for space, node in _classify(file, _strays(file, records.seen | inner), schemas):
                unproven.add(space, node)
    return Salvage(records, unproven, schemas, notes)


def _pages_of(file: PageFile, meta: Meta) -> set[int]:
    seen: set[int] = {0, 1}
    for tree in (meta.free, meta.main):
        for _ in file.walk(tree.root, seen, []):
            pass
    return seen


def _newest_trees(file: PageFile) -> dict[Space, Tree]:
    """Those of the newest commit that is whole, or of the newest at all. One that a crash cut off is not whole."""
    found: list[tuple[int, dict[Space, Tree]]] = []
    for number in range(2, file.pages):
        if file.names_trees(number):
            trees = file.trees(number, [])
            header = DamagedRecords(file, {space: tree for space, tree in trees.items() if space is Space.HEADER})
            try:
                found.append((read_state(header).version, trees))
            except CorruptionError:
                continue
    found.sort(key=lambda item: item[0], reverse=True)
    for _, trees in found[:_ROOTS_TRIED]:
        records = DamagedRecords(file, trees)
        if all(records.complete(space) for space in Space):
            return trees
    return found[0][1] if found else {}


def _strays(file: PageFile, known: set[int]) -> list[int]:
    return [number for number in range(2, file.pages) if number not in known]


def _schemas(records: DamagedRecords, pages: list[int] | range, file: PageFile) -> dict[int, Schema]:
    """The definitions of tables, by number: of the records, or from pages, the widest."""
    found: dict[int, Schema] = {}
    nodes = ((key, bytes(payload)) for key, payload in records.whole(Space.CATALOG))
    for key, payload in [*nodes, *_definitions_on(file, pages)]:
        try:
            table = keys.table_of_definition(key)
            if table is not None:
                schema = decode_schema(table, bytes(payload))
                if table not in found or len(schema.fields) > len(found[table].fields):
                    found[table] = schema
        except CorruptionError:
            continue
    return found


def _definitions_on(file: PageFile, pages: list[int] | range) -> Iterator[tuple[bytes, bytes]]:
    for number in pages:
        for node in file.nodes(number) or ():
            if len(node.key) == len(keys.definition(0)) and node.key[-1:] == keys.definition(0)[-1:]:
                payload = _whole(file, node)
                if payload is not None:
                    yield node.key, payload


def _whole(file: PageFile, node: Node) -> bytes | None:
    value = file.data(node) if node.size <= _LARGEST_RECORD else None
    if value is None:
        return None
    try:
        return bytes(unseal(Space.HEADER, node.key, value))
    except CorruptionError:
        return None


def _classify(file: PageFile, pages: list[int], schemas: dict[int, Schema]) -> Iterator[tuple[Space, Node]]:
    """The records on pages without a tree, with the sub-databases that they can only be of. Keys do not name it: their
    lengths and the payloads tell, and what could be of two is left."""
    sizes = {table: _block_sizes(schema) for table, schema in schemas.items()}
    for number in pages:
        for node in file.nodes(number) or ():
            payload = _whole(file, node)
            space = None if payload is None else _space_of(node.key, payload, sizes)
            if space is not None:
                yield space, node


def _space_of(key: bytes, payload: bytes, sizes: dict[int, dict[tuple[int, int], Space | None]]) -> Space | None:
    if len(key) == 5:
        return Space.CATALOG
    if len(key) == 8 and key[:4] != bytes(4):
        try:
            row = unpack(payload, "a row")
        except CorruptionError:
            return None
        return Space.ROWS if type(row) is list and len(row) == 5 else None
    if len(key) == 10 and not _is_text_block(payload):
        table, column = int.from_bytes(key[:4], "big"), int.from_bytes(key[4:6], "big")
        return sizes.get(table, {}).get((column, len(payload)))
    return None


def _block_sizes(schema: Schema) -> dict[tuple[int, int], Space | None]:
    """Which blocks have so many bytes in a column; None where it may be more than one kind."""
    found: dict[tuple[int, int], Space | None] = {}
    fields = {124 + 984 * width for width in (1, 2, 4, 8)} | {247 + 984 * 8, 1}
    for column in schema.columns:
        options = column.options
        sizes = {
            Space.VECTORS: vectors_per_block(column) * vector_dtype(column).itemsize * options.dim,
            Space.CODES: codes_per_block(column) * (4 + options.dim),
            Space.LIVE: LIVE_BYTES,
        }
        for space, size in sizes.items():
            place = (column.number, size)
            found[place] = None if place in found or (size in fields and column.number < len(schema.fields)) else space
    return found


def _is_text_block(payload: bytes) -> bool:
    """Whether it may be a block of a field of texts, whose length may be any."""
    for form, width in ((8, 1), (9, 2)):
        if payload[:1] == bytes((form,)):
            try:
                return type(unpack(payload[1 + 984 * width :], "texts")) is list
            except CorruptionError:
                return False
    return False


def _tables_with_rows(*of: DamagedRecords | None) -> set[int]:
    return {
        int.from_bytes(key[:4], "big") for records in of if records is not None for key, _ in records.sealed(Space.ROWS)
    }
