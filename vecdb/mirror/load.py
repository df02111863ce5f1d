"""From blocks in the file to a column in memory, and back: the only code that decodes or encodes blocks.

Kernels trust the numbers in blocks, so every one is checked here, before a kernel sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.index.quantizer import CODE_BLOCK, ZERO_CODE, Quantizer, inverse_lengths
from vecdb.mirror.blocks import BlocksView
from vecdb.mirror.column import (
    LIVE_SLOTS,
    RECORD_HEAD,
    Codes,
    ColumnMirror,
    ColumnVersion,
    links_per_block,
    upper_per_block,
)
from vecdb.storage import keys
from vecdb.storage.catalog import Column, ColumnState, Schema
from vecdb.storage.geometry import LIVE_BYTES, records_per_block
from vecdb.storage.keys import Space
from vecdb.storage.view import PendingWrites, Records

Stored: TypeAlias = NDArray[np.float32] | NDArray[np.float16]  # vectors as they were stored

_LINK_ITEM = np.dtype("<i4")


def load_column(records: Records, schema: Schema, column: Column, state: ColumnState, slots: int) -> ColumnMirror:
    """The column of the version that `records` reads."""
    where = _Place(schema, column)
    _check_size(records, where, state, slots)
    mirror = ColumnMirror(column, state, slots, _read_quantizer(records, where) if state.linked else None)
    _read_vectors(records, mirror, where, 0, slots)
    _read_codes(records, mirror, where, 0, slots)
    for space, blocks in mirror.blocks.items():
        for number in range(blocks.count):
            blocks.arena[blocks.table[number]] = _read_block(records, mirror, where, space, number)
    _check_live(mirror.present(), where)
    return mirror


def memory_of(column: Column, state: ColumnState, slots: int) -> int:
    """About how many bytes a column takes in memory."""
    options = column.options
    graph = 0
    if state.linked:
        codes = -(-options.dim // CODE_BLOCK) * CODE_BLOCK if options.quantization == "u8" else 0
        graph = 4 * (RECORD_HEAD + options.capacity) + codes + 4
    return slots * (4 * options.dim + graph) + 4 * state.upper * (RECORD_HEAD + options.m) + slots // 8


def stored_column(records: Records, schema: Schema, column: Column, state: ColumnState, slots: int) -> ColumnVersion:
    """The column without a mirror: its vectors stay in the file, to be scanned there; valid while `records` is."""
    where = _Place(schema, column)
    _check_size(records, where, state, slots)
    blocks = -(-slots // LIVE_SLOTS)
    arena = np.zeros((blocks, LIVE_BYTES), np.uint8)
    for number in range(blocks):
        arena[number] = _read_live(records, where, number)
    live = BlocksView(arena, np.arange(blocks, dtype=np.int32), blocks)
    none = BlocksView(arena, live.table, 0)
    version = ColumnVersion(
        column, ColumnState(live=state.live), slots, StoredVectors(records, where, slots), None, none, none, live
    )
    _check_live(version, where)
    return version


class StoredVectors:
    """Vectors in the file, indexed as an array of them is."""

    def __init__(self, records: Records, where: _Place, slots: int) -> None:
        self.shape = (slots, where.column.options.dim)
        self._records = records
        self._where = where

    def __getitem__(self, wanted: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        slots = np.arange(self.shape[0])[wanted]
        per_block = vectors_per_block(self._where.column)
        vectors = np.empty((len(slots), self.shape[1]), np.float32)
        for number in np.unique(slots // per_block).tolist():
            chosen = slots // per_block == number
            vectors[chosen] = _vector_block(self._records, self._where, number)[slots[chosen] - number * per_block]
        return vectors


def follow(
    records: Records,
    schema: Schema,
    mirror: ColumnMirror,
    state: ColumnState,
    slots: int,
    changes: dict[Space, NDArray[np.uint32]],
) -> None:
    """Move a column on to the version that `records` reads; `changes` are the blocks that differ."""
    where = _Place(schema, mirror.column)
    mirror.mark()
    try:
        old, trainings = mirror.slots, mirror.state.trainings
        mirror.resize(state, slots)
        _read_vectors(records, mirror, where, old, slots)
        if trainings != state.trainings:
            mirror.codes = None
        _read_codes(records, mirror, where, old, slots)
        for space, blocks in mirror.blocks.items():
            for number in changes.get(space, ()):
                blocks.own(int(number))[:] = _read_block(records, mirror, where, space, int(number))
        _check_live(mirror.present(), where)
    except BaseException:
        mirror.roll_back()
        raise
    mirror.publish(mirror.present())


def write_blocks(writes: PendingWrites, table: int, mirror: ColumnMirror) -> None:
    """The blocks that the writer changed, and those with new vectors."""
    column = mirror.column
    for space, blocks in mirror.blocks.items():
        numbers = blocks.changed()
        places = blocks.table[numbers].tolist()
        writes.put_all(
            space,
            {
                keys.block(table, column.number, number): blocks.arena[place].tobytes()
                for number, place in zip(numbers.tolist(), places, strict=True)
            },
        )
    per_block = vectors_per_block(column)
    for number, slots in _blocks_of(mirror.published_slots, mirror.slots, per_block):
        vectors = np.zeros((per_block, column.options.dim), vector_dtype(column))
        vectors[: slots.stop - slots.start] = mirror.vectors[slots]
        writes.put(Space.VECTORS, keys.block(table, column.number, number), vectors.tobytes())
    if mirror.codes is not None and mirror.codes.quantizer is not None:
        _write_codes(writes, table, mirror, mirror.codes, mirror.codes.quantizer)


def _write_codes(writes: PendingWrites, table: int, mirror: ColumnMirror, codes: Codes, quantizer: Quantizer) -> None:
    column = mirror.column
    if mirror.published_codes == 0:
        training = np.float64(quantizer.step).astype("<f8").tobytes() + quantizer.mean.astype("<f4").tobytes()
        writes.put(Space.CODES, keys.block(table, column.number, keys.QUANTIZER), training)
    per_block = codes_per_block(column)
    for number, slots in _blocks_of(mirror.published_codes, mirror.slots, per_block):
        block = np.zeros(per_block, _code_record(column))
        block["weight"][: slots.stop - slots.start] = codes.weights[slots]
        block["codes"][: slots.stop - slots.start] = codes.codes[slots, : column.options.dim]
        writes.put(Space.CODES, keys.block(table, column.number, number), block.tobytes())


def _blocks_of(first: int, stop: int, per_block: int) -> Iterator[tuple[int, slice]]:
    """The blocks in which the slots from `first` to `stop` are: numbers, and the slots of each up to `stop`."""
    for number in range(first // per_block, -(-stop // per_block)):
        yield number, slice(number * per_block, min((number + 1) * per_block, stop))


def read_vector(records: Records, schema: Schema, column: Column, slot: int) -> Stored:
    """One stored vector, bit for bit, straight from the file."""
    number, within = divmod(slot, vectors_per_block(column))
    vector: Stored = _vector_block(records, _Place(schema, column), number)[within].copy()
    return vector


def vectors_per_block(column: Column) -> int:
    return records_per_block(vector_dtype(column).itemsize * column.options.dim)


def codes_per_block(column: Column) -> int:
    return records_per_block(_code_record(column).itemsize)


def _code_record(column: Column) -> np.dtype[np.void]:
    """A row's codes as stored. Never change."""
    return np.dtype([("weight", "<f4"), ("codes", "u1", (column.options.dim,))])


def vector_dtype(column: Column) -> np.dtype[np.float32] | np.dtype[np.float16]:
    return np.dtype("<f2" if column.options.dtype == "float16" else "<f4")


class _Place:
    """Where a block belongs, for messages and keys."""

    def __init__(self, schema: Schema, column: Column) -> None:
        self.table = schema.table
        self.column = column
        self._name = f"table {schema.name!r}, column {column.name!r}"

    def key(self, number: int) -> bytes:
        return keys.block(self.table, self.column.number, number)

    def error(self, space: Space, number: int, problem: str) -> CorruptionError:
        return CorruptionError(f"{self._name}: block {number} of {space.value.decode()} {problem}")


def _read_vectors(records: Records, mirror: ColumnMirror, where: _Place, first: int, stop: int) -> None:
    """Vectors of the slots `first` to `stop`; those below, which readers may be using, are not touched."""
    if stop == first:
        return
    per_block = vectors_per_block(mirror.column)
    for number, slots in _blocks_of(first, stop, per_block):
        low = max(first, slots.start)
        mirror.vectors[low : slots.stop] = _vector_block(records, where, number)[low - slots.start :][
            : slots.stop - low
        ]


def _read_codes(records: Records, mirror: ColumnMirror, where: _Place, first: int, stop: int) -> None:
    """Codes of the slots `first` to `stop`; of all up to there where the mirror has none yet."""
    if not mirror.state.linked:
        return
    options = mirror.column.options
    if mirror.codes is None:
        mirror.codes = Codes.empty(_read_quantizer(records, where), options.dim, len(mirror.vectors))
        first = 0
    if mirror.codes.quantizer is None:
        mirror.codes.weights[first:stop] = inverse_lengths(mirror.vectors[first:stop])
        return
    record, per_block = _code_record(mirror.column), codes_per_block(mirror.column)
    for number, slots in _blocks_of(first, stop, per_block):
        payload = records.get(Space.CODES, where.key(number))
        if payload is None or len(payload) != per_block * record.itemsize:
            raise where.error(Space.CODES, number, "is missing" if payload is None else "has the wrong length")
        low = max(first, slots.start)
        block = np.frombuffer(payload, record)[low - slots.start : slots.stop - slots.start]
        mirror.codes.weights[low : slots.stop] = block["weight"]
        mirror.codes.codes[low : slots.stop, : options.dim] = block["codes"]
        mirror.codes.codes[low : slots.stop, options.dim :] = ZERO_CODE


def _read_quantizer(records: Records, where: _Place) -> Quantizer | None:
    """The quantizer of a column with a graph; None where its walks compare vectors."""
    if where.column.options.quantization == "none":
        return None
    payload = records.get(Space.CODES, where.key(keys.QUANTIZER))
    dim = where.column.options.dim
    if payload is None or len(payload) != 8 + 4 * dim:
        raise where.error(Space.CODES, keys.QUANTIZER, "is missing" if payload is None else "has the wrong length")
    step, mean = float(np.frombuffer(payload[:8], "<f8")[0]), np.frombuffer(payload[8:], "<f4").astype(np.float32)
    if not (np.isfinite(step) and step > 0 and np.isfinite(mean).all()):
        raise where.error(Space.CODES, keys.QUANTIZER, "holds numbers that are none")
    return Quantizer(mean, step)


def _vector_block(records: Records, where: _Place, number: int) -> Stored:
    shape = (vectors_per_block(where.column), where.column.options.dim)
    dtype = vector_dtype(where.column)
    payload = records.get(Space.VECTORS, where.key(number))
    if payload is None or len(payload) != shape[0] * shape[1] * dtype.itemsize:
        raise where.error(Space.VECTORS, number, "is missing" if payload is None else "has the wrong length")
    block: Stored = np.frombuffer(payload, dtype).reshape(shape)  # type: ignore[assignment]  # one of the two dtypes
    return block


def _check_size(records: Records, where: _Place, state: ColumnState, slots: int) -> None:
    """The last blocks are there, before arrays are made for as many as the counters claim."""
    options = where.column.options
    expected = {
        Space.VECTORS: (slots, vectors_per_block(where.column)),
        Space.LIVE: (slots, LIVE_SLOTS),
        Space.LINKS: (slots if state.linked else 0, links_per_block(options)),
        Space.UPPER: (state.upper, upper_per_block(options)),
        Space.CODES: (
            slots if state.linked and options.quantization == "u8" else 0,
            codes_per_block(where.column),
        ),
    }
    for space, (count, per_block) in expected.items():
        last = -(-count // per_block) - 1
        if last >= 0 and records.get(space, where.key(last)) is None:
            raise where.error(space, last, "is missing")


def _read_live(records: Records, where: _Place, number: int) -> NDArray[np.uint8]:
    payload = records.get(Space.LIVE, where.key(number))
    if payload is None or len(payload) != LIVE_BYTES:
        raise where.error(Space.LIVE, number, "is missing" if payload is None else "has the wrong length")
    return np.frombuffer(payload, np.uint8)


def _read_block(records: Records, mirror: ColumnMirror, where: _Place, space: Space, number: int) -> NDArray[Any]:
    if space is Space.LIVE:
        return _read_live(records, where, number)
    block = mirror.blocks[space].arena[0]
    payload = records.get(space, where.key(number))
    if payload is None or len(payload) != block.nbytes:
        raise where.error(space, number, "is missing" if payload is None else "has the wrong length")
    found = np.frombuffer(payload, _LINK_ITEM).reshape(block.shape)
    head, neighbours = found[:, :RECORD_HEAD], found[:, RECORD_HEAD:]
    nodes = mirror.slots if space is Space.LINKS else mirror.state.upper
    first_limit, second_limit = (mirror.slots, mirror.state.upper) if space is Space.LINKS else (mirror.slots, 64)
    if (
        found.min() < -1
        or neighbours.max() >= nodes
        or head[:, 0].max() >= first_limit
        or head[:, 1].max() >= second_limit
    ):
        raise where.error(space, number, "has a link to nowhere")
    if space is Space.UPPER and not _descends(found, number * len(found), mirror.state.upper):
        raise where.error(space, number, "has an entry without a layer below")
    return found


def _descends(entries: NDArray[np.int32], first: int, count: int) -> bool:
    """Every entry that exists names a slot and a layer of 1 or more, and one above layer 1 has an entry before it."""
    existing = entries[: max(0, count - first)]
    slots, layers = existing[:, 0], existing[:, 1]
    numbers = first + np.arange(len(existing))
    return bool((slots >= 0).all() and (layers >= 1).all() and ((layers == 1) | (numbers > 0)).all())


def _check_live(version: ColumnVersion, where: _Place) -> None:
    """Live bits agree with the counters."""
    bits = np.unpackbits(version.live.gather().reshape(-1), bitorder="little")
    if int(bits.sum()) != version.state.live or bits[version.slots :].any():
        raise where.error(Space.LIVE, version.slots // LIVE_SLOTS, "does not agree with the table's counters")
