"""The invariants of a database file, checked slowly and plainly (FORMAT.md numbers them)."""

from __future__ import annotations

import os
import struct
from collections import defaultdict, deque

import numpy as np

import vecdb
from vecdb.fields import columns
from vecdb.fields.encode import encode
from vecdb.fields.live import read_live
from vecdb.mirror.column import ColumnVersion, links_per_block
from vecdb.mirror.load import codes_per_block, load_column, vectors_per_block
from vecdb.mirror.view import View
from vecdb.storage import keys
from vecdb.storage.catalog import Table
from vecdb.storage.keys import Space
from vecdb.storage.rows import RowRecord, decode_row


def check_file(path: str | os.PathLike[str]) -> None:
    """Open a database anew and check everything in it."""
    with vecdb.connect(path, create=False) as db:
        check_database(db)


def check_database(db: vecdb.Database) -> None:
    with db._view() as view:
        numbers = set(view.tables)
        for space in keys.TABLE_SPACES:
            for key, _ in view.records.scan(space, b""):  # verifies every checksum
                assert int.from_bytes(key[:4], "big") in numbers, f"{space} holds a record of no table"
        for table in view.tables.values():
            _check_table(view, table)


def _check_table(view: View, table: Table) -> None:
    number, schema, state = table.schema.table, table.schema, table.state
    rows = {
        keys.slot_of_row(key): decode_row(payload, schema, keys.slot_of_row(key))
        for key, payload in view.records.scan(Space.ROWS, keys.table_prefix(number))
    }
    ids = {
        bytes(key): int.from_bytes(payload, "big")
        for key, payload in view.records.scan(Space.IDS, keys.table_prefix(number))
    }
    assert ids == {keys.row_id(number, row.id): slot for slot, row in rows.items()}
    assert len(rows) == state.rows
    assert all(slot < state.slots for slot in rows)
    assert sum(isinstance(row.id, str) for row in rows.values()) == state.text_ids
    assert all(row.id < state.next_id for row in rows.values() if isinstance(row.id, int))
    assert set(read_live(view.records, table).slots.tolist()) == set(rows)
    assert _stored_terms(view, table) == _expected_terms(table, rows)
    _check_columns(view, table, rows)
    for place, column in enumerate(schema.columns):
        version = view.column(table, column)
        assert version.damage is None, version.damage
        live = {slot for slot, row in rows.items() if row.vectors >> place & 1}
        assert set(version.live_slots.tolist()) == live
        assert version.state.live == len(live)
        if version.state.linked:
            check_graph(version, live)
            _check_memory(view, table, version)
            _check_stored(view, table, version)
        else:
            assert version.state.upper == version.state.waiting == 0
            assert version.state.entry_layer == -1


def _check_memory(view: View, table: Table, version: ColumnVersion) -> None:
    """What is in memory is what the file has."""
    stored = load_column(view.records, table.schema, version.column, version.state, version.slots, vectors=True)
    for mine, other in ((version.links, stored.links), (version.upper, stored.upper), (version.live, stored.live)):
        np.testing.assert_array_equal(mine.gather(), other.view().gather())
    assert version.codes is not None
    assert stored.codes is not None
    if version.codes.quantizer is not None:
        linked = version.links.gather().reshape(-1, 2 + version.column.options.capacity)[: version.slots, 2] >= 0
        used = np.union1d(version.live_slots, np.flatnonzero(linked))
        version.codes.sign(version.slots)
        stored.codes.sign(version.slots)
        for name in ("codes", "weights", "signs"):
            np.testing.assert_array_equal(getattr(version.codes, name)[used], getattr(stored.codes, name)[used])
        if version.codes.grouped:
            version.codes.group(version.slots)
            np.testing.assert_array_equal(_of_groups(version.codes.groups)[used], _bytes_of(version.codes.signs)[used])


def _of_groups(groups: np.ndarray) -> np.ndarray:
    """The bytes of each row, (slots, bytes), of groups of 64: their first bytes side by side, then the second, at last
    their four numbers of 4 bytes, likewise."""
    words = groups.shape[1] // 8 // 64
    signs = groups[:, : 64 * 8 * (words - 2)].reshape(len(groups), -1, 64).transpose(0, 2, 1)
    numbers = groups[:, 64 * 8 * (words - 2) :].view(np.float32).reshape(len(groups), 4, 64).transpose(0, 2, 1)
    return np.concatenate([signs, np.ascontiguousarray(numbers).view(np.uint8)], axis=2).reshape(-1, 8 * words)


def _bytes_of(signs: np.ndarray) -> np.ndarray:
    return signs.view(np.uint8).reshape(len(signs), -1)


def _check_stored(view: View, table: Table, version: ColumnVersion) -> None:
    """Blocks are stored where they have a slot that is live or, but for vectors, has links; and the last one."""
    options, linked = version.column.options, version.state.linked
    used = np.zeros(version.slots, np.bool_)
    used[version.live_slots] = True
    live, coded = used, linked and options.quantization == "u8"
    if linked:
        used = used | version.links.gather().reshape(-1, 2 + options.capacity)[: version.slots, 2] >= 0
    sizes = {Space.VECTORS: vectors_per_block(version.column)}
    if linked:
        sizes[Space.LINKS] = links_per_block(options)
    if coded:
        sizes[Space.CODES] = codes_per_block(version.column)
    for space, size in sizes.items():
        prefix = struct.pack(">IH", table.schema.table, version.column.number)
        numbers = {int.from_bytes(key[6:], "big") for key, _ in view.records.scan(space, prefix)} - {keys.QUANTIZER}
        blocks = -(-version.slots // size)
        assert numbers <= set(range(blocks))
        wanted = live if space is Space.VECTORS and coded else used  # dead rows conduct by their codes
        needed = {number for number in range(blocks) if wanted[number * size : (number + 1) * size].any()}
        assert needed <= numbers, f"blocks of {space} are missing"
        spare = numbers - needed - {blocks - 1}
        assert len(spare) <= 0.05 * blocks + 2, f"{len(spare)} blocks of {space} are of no use"


def _stored_terms(view: View, table: Table) -> dict[bytes, tuple[int, list[int]]]:
    """The form and the slots of each posting, by its key."""
    terms = {}
    for key, payload in view.records.scan(Space.TERMS, keys.table_prefix(table.schema.table)):
        form, content = payload[0], bytes(payload[1:])
        if form == 0:
            slots = list(struct.unpack(f"<{len(content) // 2}H", content))
        else:
            assert (form, len(content)) == (1, 1024)
            slots = [slot for slot in range(8192) if content[slot // 8] >> slot % 8 & 1]
        terms[bytes(key)] = form, slots
    return terms


def _expected_terms(table: Table, rows: dict[int, RowRecord]) -> dict[bytes, tuple[int, list[int]]]:
    slots: defaultdict[bytes, list[int]] = defaultdict(list)
    for slot, row in sorted(rows.items()):
        for field in table.schema.indexes:
            value = row.values[field] if field < len(row.values) else None
            items = value if isinstance(value, list) else [value]
            terms = {encode(item) for item in items if value is not items or item == item}  # noqa: PLR0124
            for term in terms:
                key = struct.pack(">IH", table.schema.table, field) + term + struct.pack(">I", slot // 8192)
                slots[key].append(slot % 8192)
    return {key: (int(len(found) >= 512), found) for key, found in slots.items()}


def _check_columns(view: View, table: Table, rows: dict[int, RowRecord]) -> None:
    blocks = {bytes(key) for key, _ in view.records.scan(Space.COLUMNS, keys.table_prefix(table.schema.table))}
    for position, field in enumerate(table.schema.fields):
        if field.type.startswith("list["):
            continue
        stop = table.state.slots // columns.STEP * columns.STEP
        for number in range(-(-stop // columns.BLOCK)):
            inside = range(number * columns.BLOCK, (number + 1) * columns.BLOCK)
            if inside.stop <= stop and rows.keys().isdisjoint(inside):
                continue
            blocks.remove(struct.pack(">IHI", table.schema.table, position, number))
            block = columns.read_block(view.records, table.schema.table, position, field.type, number)
            if block is None:
                continue
            for slot, value in enumerate(block.scalars(field.type), start=number * columns.BLOCK):
                if slot in rows and slot < stop:
                    stored = rows[slot].values[position] if position < len(rows[slot].values) else None
                    assert encode(value) == encode(stored) if field.type != "str" else value == stored
    assert not blocks, "a block of a column is left over"


def check_graph(version: ColumnVersion, live: set[int]) -> None:
    """A column with a graph whose `live` slots are these."""
    slots, options = version.slots, version.column.options
    m, capacity = options.m, options.capacity
    links = version.links.gather().reshape(-1, 2 + capacity)
    upper = version.upper.gather().reshape(-1, 2 + m)[: version.state.upper]
    assert (links[slots:] == -1).all()
    links = links[:slots]
    assert not ((links[:, 0] >= 0) & (links[:, 2] < 0)).any(), "a slot has a parent and no link"
    in_graph = links[:, 2] >= 0
    if version.state.entry_layer == 0 and version.state.entry_node >= 0:
        in_graph[version.state.entry_node] = True
    if version.state.entry_layer > 0:
        in_graph[upper[version.state.entry_node, 0]] = True
    assert all(in_graph[slot] for slot in live), "a live slot is not in the graph"
    assert version.state.waiting == sum(slot not in live for slot in np.flatnonzero(links[:, 2] >= 0).tolist())
    for node, neighbours in enumerate(_lists(links)):
        _check_list(node, neighbours, slots, capacity)
        assert all(in_graph[other] for other in neighbours if other in live), "a live neighbour is not in the graph"
    for node, neighbours in enumerate(_lists(upper)):
        _check_list(node, neighbours, len(upper), m)
        assert (upper[neighbours, 1] == upper[node, 1]).all(), "a link leaves its layer"
    # Upper entries: one for each layer of a slot, lowest first, named by the slot's record.
    for node, (slot, layer) in enumerate(upper[:, :2].tolist()):
        assert layer >= 1
        assert links[slot, 1] in (node - layer + 1, -1)
        assert links[slot, 1] >= 0 or slot not in live
    # The trees: every slot but a root has a parent; both list each other. Live slots are in one tree.
    lists = _lists(links)
    roots = np.arange(slots)
    for slot in np.flatnonzero(links[:, 0] >= 0).tolist():
        parent = int(links[slot, 0])
        assert parent < slot
        assert parent in lists[slot]
        assert slot in lists[parent]
        roots[slot] = roots[parent]
    assert len({int(roots[slot]) for slot in live}) <= 1
    assert (version.state.entry_layer >= 0) is bool(live)
    if live:
        start = version.state.entry_node
        if version.state.entry_layer > 0:
            layers = upper[[int(slot) in live for slot in upper[:, 0]], 1]
            assert upper[start, 1] == version.state.entry_layer == layers.max()
            start = int(upper[start, 0])
        assert start in live, "the entry point is dead"
        assert live <= _reachable(lists, start), "a live slot can't be reached on the base layer"


def _lists(records: np.ndarray) -> list[list[int]]:
    lists = []
    for record in records[:, 2:]:
        ends = np.flatnonzero(record < 0)
        length = int(ends[0]) if len(ends) else len(record)
        assert (record[length:] == -1).all(), "a list has a gap"
        lists.append(record[:length].tolist())
    return lists


def _check_list(node: int, neighbours: list[int], nodes: int, limit: int) -> None:
    assert len(neighbours) <= limit
    assert len(set(neighbours)) == len(neighbours), "a neighbour stands twice"
    assert node not in neighbours, "a node links to itself"
    assert all(0 <= other < nodes for other in neighbours)


def _reachable(lists: list[list[int]], start: int) -> set[int]:
    found = {start}
    queue = deque([start])
    while queue:
        for other in lists[queue.popleft()]:
            if other not in found:
                found.add(other)
                queue.append(other)
    return found
