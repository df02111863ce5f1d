"""From blocks in the file to a column in memory, and back: the only code that decodes or encodes blocks.

Kernels trust the numbers in blocks, so every one is checked here, before a kernel sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.index.quantizer import CODE_BLOCK, ZERO_CODE, Quantizer, inverse_lengths
from vecdb.index.signs import words_of
from vecdb.mirror.blocks import BlocksView
from vecdb.mirror.codes import Codes
from vecdb.mirror.column import (
    LIVE_SLOTS,
    RECORD_HEAD,
    USED_TOGETHER,
    ColumnMirror,
    ColumnVersion,
    Float32,
    links_per_block,
    upper_per_block,
)
from vecdb.mirror.links import check_links, find_missing, find_stored, follow_links, read_links, write_links
from vecdb.mirror.payloads import Numbers, Place, read_each, read_payload, read_payloads
from vecdb.storage import keys
from vecdb.storage.catalog import Column, ColumnState, Schema
from vecdb.storage.geometry import LIVE_BYTES, records_per_block
from vecdb.storage.keys import Space
from vecdb.storage.view import PendingWrites, Records

Stored: TypeAlias = NDArray[np.float32] | NDArray[np.float16]  # vectors as they were stored

_NO_BLOCKS: Final = np.zeros(0, np.int64)


def load_column(
    records: Records, schema: Schema, column: Column, state: ColumnState, slots: int, *, vectors: bool
) -> ColumnMirror:
    """The column of the version that `records` reads. Where it has codes, its vectors are left to `VectorsInFile`: to
    be read into memory later or, without `vectors`, each time they are asked for."""
    where = Place(schema, column)
    _check_size(records, where, state, slots)
    quantizer = _read_quantizer(records, where) if state.linked else None
    per_block = vectors_per_block(column)
    absent = np.ones(0 if quantizer is None else slots // per_block, np.bool_)
    mirror = ColumnMirror(column, state, slots, quantizer, absent if vectors else None)
    _read_upper(records, mirror, where, np.arange(mirror.upper.count))
    _read_live(records, mirror, where, np.arange(mirror.live.count))
    _check_live(mirror.present(), where)
    read_links(records, mirror, where)
    _check_waiting(mirror, where)
    absent[find_missing(records, where, Space.VECTORS, mirror, np.arange(len(absent)), per_block)] = False
    _read_vectors(records, mirror, where, len(absent) * per_block, slots)
    _read_codes(records, mirror, where, 0, slots)
    mirror.leave_out()
    return mirror


def used_slots(records: Records, schema: Schema, column: Column, state: ColumnState, slots: int) -> int:
    """About how many slots of a column take memory: all in whose neighbourhood one is live, and those that wait."""
    where, used = Place(schema, column), state.waiting
    for number in range(-(-slots // LIVE_SLOTS)):
        payload = read_payload(records, where, Space.LIVE, number, LIVE_BYTES)
        used += USED_TOGETHER * int(np.frombuffer(payload, np.uint8).reshape(-1, USED_TOGETHER // 8).any(axis=1).sum())
    return min(used, slots)


def memory_of(column: Column, state: ColumnState, slots: int, *, vectors: bool) -> int:
    """About how many bytes a column takes in memory, of which so many slots are used; flat arrays have room for some
    more."""
    options = column.options
    flat, links = 4 * options.dim if vectors else 0, 0
    if state.linked:
        codes = -(-options.dim // CODE_BLOCK) * CODE_BLOCK if options.quantization == "u8" else 0
        flat += codes + 16 * words_of(codes) + 4
        links = 4 * (RECORD_HEAD + options.capacity)
    return (slots + slots // 16) * flat + slots * links + 4 * state.upper * (RECORD_HEAD + options.m) + slots // 8


def load_vectors_alone(
    records: Records, schema: Schema, column: Column, state: ColumnState, slots: int
) -> ColumnMirror:
    """The column as if it had no graph, for one to be made."""
    bare = ColumnState(live=state.live, trainings=state.trainings)
    return load_column(records, schema, column, bare, slots, vectors=True)


def stored_column(records: Records, schema: Schema, column: Column, state: ColumnState, slots: int) -> ColumnVersion:
    """The column without a mirror: all but its live bits stays in the file, and its graph is not looked at."""
    where, state = Place(schema, column), ColumnState(live=state.live)
    _check_size(records, where, state, slots)
    blocks = -(-slots // LIVE_SLOTS)
    arena = np.zeros((blocks, LIVE_BYTES), np.uint8)
    for number in range(blocks):
        arena[number] = np.frombuffer(read_payload(records, where, Space.LIVE, number, LIVE_BYTES), np.uint8)
    live = BlocksView(arena, np.arange(blocks, dtype=np.int32), blocks)
    none = BlocksView(arena, live.table, 0)
    version = ColumnVersion(column, state, slots, None, None, none, none, live)
    _check_live(version, where)
    return version


class VectorsInFile:
    """Vectors of a version by slot, indexed as an array of them is; valid while `records` is."""

    def __init__(self, records: Records, schema: Schema, version: ColumnVersion) -> None:
        self.shape = (version.slots, version.column.options.dim)
        self._records = records
        self._where = Place(schema, version.column)

    def __getitem__(self, wanted: slice | NDArray[np.int64]) -> Float32:
        slots = np.arange(self.shape[0])[wanted] if isinstance(wanted, slice) else wanted
        vectors = np.empty((len(slots), self.shape[1]), np.float32)
        _gather(self._records, self._where, slots, vectors)
        return vectors


def _gather(records: Records, where: Place, slots: NDArray[np.int64], vectors: Stored) -> None:
    """Fill `vectors` with those of slots."""
    per_block = vectors_per_block(where.column)
    numbers = slots // per_block
    starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(slots)], strict=len(slots) > 0):
        number = int(numbers[start])
        block = _vector_block(records, where, number)
        first, last = int(slots[start]) - number * per_block, int(slots[stop - 1]) - number * per_block
        run = last - first == stop - start - 1
        vectors[start:stop] = block[first : last + 1] if run else block[slots[start:stop] - number * per_block]


def pack_flat(
    records: Records,
    schema: Schema,
    column: Column,
    codes: Codes | None,
    slots: NDArray[np.int64],
    live: NDArray[np.bool_],
) -> Iterator[tuple[Space, Iterator[tuple[bytes, bytes]]]]:
    """The vectors, and the codes where there are some, of `slots`, which get the numbers of their places: keys and
    payloads of the blocks of each sub-database. `live` tells by slot who has a vector."""
    where = Place(schema, column)
    yield Space.VECTORS, _pack_vectors(records, where, slots, live)
    if codes is not None and codes.quantizer is not None:
        yield Space.CODES, _pack_codes(where, codes, codes.quantizer, slots, live)


def _pack_vectors(
    records: Records, where: Place, slots: NDArray[np.int64], live: NDArray[np.bool_]
) -> Iterator[tuple[bytes, bytes]]:
    per_block, dtype = vectors_per_block(where.column), vector_dtype(where.column)
    for number, part in _packed_blocks(slots, live, per_block):
        block: Any = np.zeros((per_block, where.column.options.dim), dtype)
        vectors: Any = np.zeros((int(live[part].sum()), block.shape[1]), dtype)
        _gather(records, where, part[live[part]], vectors)
        block[: len(part)][live[part]] = vectors
        yield where.key(number), block.tobytes()


def _pack_codes(
    where: Place, codes: Codes, quantizer: Quantizer, slots: NDArray[np.int64], live: NDArray[np.bool_]
) -> Iterator[tuple[bytes, bytes]]:
    per_block = codes_per_block(where.column)
    for number, part in _packed_blocks(slots, live, per_block):
        block = np.zeros(per_block, _code_record(where.column))
        block["weight"][: len(part)] = codes.weights[part]
        block["codes"][: len(part)] = codes.codes[part, : where.column.options.dim]
        yield where.key(number), block.tobytes()
    yield where.key(keys.QUANTIZER), _training(quantizer)


def _packed_blocks(
    slots: NDArray[np.int64], live: NDArray[np.bool_], per_block: int
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Blocks to be stored, as `ColumnMirror.are_stored` has it: numbers, and the slots that come into each."""
    for start in range(0, len(slots), per_block):
        part = slots[start : start + per_block]
        if live[part].any() or start + per_block >= len(slots):
            yield start // per_block, part


def _training(quantizer: Quantizer) -> bytes:
    """A quantizer as stored. Never change."""
    step, mean = np.array(quantizer.step, "<f8"), quantizer.mean.astype("<f4")
    return bytes(step.tobytes() + mean.tobytes() + bytes([quantizer.signs]))


def load_vectors(records: Records, schema: Schema, version: ColumnVersion, most: int | None = None) -> None:
    """Read into memory the vectors, or `most` blocks of them, that are in the file only.

    Several threads may do so at once: they write the same.
    """
    memory = version.vectors
    if memory is None or memory.whole:
        return
    where, per_block = Place(schema, version.column), vectors_per_block(version.column)
    numbers = np.flatnonzero(memory.absent)[:most].tolist()
    for number, block in zip(numbers, _vector_blocks(records, where, numbers), strict=True):
        memory.array[number * per_block : (number + 1) * per_block] = block
        memory.absent[number] = False


def follow(
    records: Records,
    schema: Schema,
    mirror: ColumnMirror,
    state: ColumnState,
    slots: int,
    changes: Mapping[Space, Numbers],
    versions: range,
) -> None:
    """Move a column on by `versions`, the last of which `records` reads; `changes` are the blocks that differ.

    The work is proportional to those. What has to be looked at as a whole is not: a commit of one row is followed in
    the time of a few searches.
    """
    where = Place(schema, mirror.column)
    mirror.mark()
    try:
        old, before = mirror.slots, mirror.state
        mirror.resize(state, slots)
        _follow_live(records, mirror, where, changes.get(Space.LIVE, _NO_BLOCKS), before.live)
        upper = changes.get(Space.UPPER, _NO_BLOCKS)
        if len(upper):
            mirror.upper.replace_all(upper)
            _read_upper(records, mirror, where, upper)
        follow_links(records, mirror, where, changes.get(Space.LINKS, _NO_BLOCKS), before.journal, versions)
        if mirror.vectors is not None:
            changed, per_block = changes.get(Space.VECTORS, _NO_BLOCKS), vectors_per_block(mirror.column)
            mirror.vectors.forget(find_missing(records, where, Space.VECTORS, mirror, changed, per_block), versions[-1])
        _read_vectors(records, mirror, where, old, slots)
        if before.trainings != state.trainings:
            mirror.codes = None
        _read_codes(records, mirror, where, old, slots)
    except BaseException:
        mirror.roll_back()
        raise
    mirror.publish(mirror.present())


def _follow_live(records: Records, mirror: ColumnMirror, where: Place, changed: Numbers, before: int) -> None:
    """Read blocks of live bits, of which `before` were set in the version before."""
    live = mirror.live
    lost = _count(live.arena[live.table[changed]])
    live.replace_all(changed)
    _read_live(records, mirror, where, changed)
    came = live.arena[live.table[changed]]
    beyond = len(changed) > 0 and _has_beyond(came[-1], int(changed[-1]), mirror.slots)
    if before - lost + _count(came) != mirror.state.live or beyond:
        raise _wrong_live(where, mirror.slots)


def write_blocks(writes: PendingWrites, table: int, mirror: ColumnMirror, version: int) -> None:
    """What the writer changed, for the commit of a version."""
    column = mirror.column
    write_links(writes, table, mirror, version)
    for space, blocks in mirror.plain_blocks.items():
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
    _delete_gone(writes, Space.VECTORS, table, mirror, per_block)
    for number, slots in _blocks_of(mirror, Space.VECTORS, mirror.published_slots, per_block):
        vectors = np.zeros((per_block, column.options.dim), vector_dtype(column))
        vectors[: slots.stop - slots.start] = mirror.array[slots]
        writes.put(Space.VECTORS, keys.block(table, column.number, number), vectors.tobytes())
    if mirror.codes is not None and mirror.codes.quantizer is not None:
        _write_codes(writes, table, mirror, mirror.codes, mirror.codes.quantizer)


def _write_codes(writes: PendingWrites, table: int, mirror: ColumnMirror, codes: Codes, quantizer: Quantizer) -> None:
    column = mirror.column
    if mirror.published_codes == 0:
        writes.put(Space.CODES, keys.block(table, column.number, keys.QUANTIZER), _training(quantizer))
    per_block = codes_per_block(column)
    _delete_gone(writes, Space.CODES, table, mirror, per_block)
    for number, slots in _blocks_of(mirror, Space.CODES, mirror.published_codes, per_block):
        block = np.zeros(per_block, _code_record(column))
        block["weight"][: slots.stop - slots.start] = codes.weights[slots]
        block["codes"][: slots.stop - slots.start] = codes.codes[slots, : column.options.dim]
        writes.put(Space.CODES, keys.block(table, column.number, number), block.tobytes())


def _blocks_of(mirror: ColumnMirror, space: Space, first: int, per_block: int) -> Iterator[tuple[int, slice]]:
    """The blocks to be stored of the slots from `first` on: numbers, and the slots of each that there are."""
    numbers = np.arange(first // per_block, -(-mirror.slots // per_block))
    for number in numbers[mirror.are_stored(space, numbers, per_block)].tolist():
        yield number, slice(number * per_block, min((number + 1) * per_block, mirror.slots))


def _delete_gone(writes: PendingWrites, space: Space, table: int, mirror: ColumnMirror, per_block: int) -> None:
    """Delete blocks that have no slot of use any more."""
    for number in mirror.gone_blocks(space, per_block).tolist():
        if number * per_block < mirror.published_slots:
            writes.delete(space, keys.block(table, mirror.column.number, number))


def read_vector(records: Records, schema: Schema, column: Column, slot: int) -> Stored:
    """One stored vector, bit for bit, straight from the file."""
    number, within = divmod(slot, vectors_per_block(column))
    vector: Stored = _vector_block(records, Place(schema, column), number)[within].copy()
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


def _read_vectors(records: Records, mirror: ColumnMirror, where: Place, first: int, stop: int) -> None:
    """Vectors of the slots `first` to `stop`; those below, which readers may be using, are not touched."""
    if stop == first or mirror.vectors is None:
        return
    array, per_block = mirror.vectors.array, vectors_per_block(mirror.column)
    numbers = np.arange(first // per_block, -(-stop // per_block))
    stored = find_stored(records, where, Space.VECTORS, mirror, numbers, per_block).tolist()
    for number, block in zip(stored, _vector_blocks(records, where, stored), strict=True):
        start = number * per_block
        low, high = max(first, start), min(stop, start + per_block)
        array[low:high] = block[low - start : high - start]


def _read_codes(records: Records, mirror: ColumnMirror, where: Place, first: int, stop: int) -> None:
    """Codes of the slots `first` to `stop`; of all up to there where the mirror has none yet."""
    if not mirror.state.linked:
        return
    options = mirror.column.options
    if mirror.codes is None:
        mirror.codes = Codes.empty(_read_quantizer(records, where), options.dim, mirror.slots + mirror.slots // 16)
        first = 0
    if mirror.codes.quantizer is None:
        mirror.codes.weights[first:stop] = inverse_lengths(mirror.array[first:stop])
        return
    mirror.codes.forget(first)
    codes, weights = mirror.codes.codes, mirror.codes.weights
    record, per_block = _code_record(mirror.column), codes_per_block(mirror.column)
    numbers = np.arange(first // per_block, -(-stop // per_block))
    stored = find_stored(records, where, Space.CODES, mirror, numbers, per_block)
    for run in _runs(stored):
        for part, payload in read_payloads(records, where, Space.CODES, run, per_block * record.itemsize):
            start = int(part[0]) * per_block
            low, high = max(first, start), min(stop, start + len(part) * per_block)
            block = np.frombuffer(payload, record)[low - start : high - start]
            weights[low:high] = block["weight"]
            codes[low:high, : options.dim] = block["codes"]
            codes[low:high, options.dim :] = ZERO_CODE


def _runs(numbers: Numbers) -> list[Numbers]:
    """Ascending numbers, split where one is missing."""
    if len(numbers) == 0 or numbers[-1] - numbers[0] == len(numbers) - 1:
        return [numbers]
    return np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)


def _read_quantizer(records: Records, where: Place) -> Quantizer | None:
    """The quantizer of a column with a graph; None where its walks compare vectors."""
    if where.column.options.quantization == "none":
        return None
    payload = read_payload(records, where, Space.CODES, keys.QUANTIZER, 9 + 4 * where.column.options.dim)
    step, mean = float(np.frombuffer(payload[:8], "<f8")[0]), np.frombuffer(payload[8:-1], "<f4").astype(np.float32)
    if not (np.isfinite(step) and step > 0 and np.isfinite(mean).all() and payload[-1] in (0, 1)):
        raise where.error(Space.CODES, keys.QUANTIZER, "holds numbers that are none")
    return Quantizer(mean, step, bool(payload[-1]))


def _vector_block(records: Records, where: Place, number: int) -> Stored:
    return next(_vector_blocks(records, where, (number,)))


def _vector_blocks(records: Records, where: Place, numbers: Iterable[int]) -> Iterator[Stored]:
    shape = (vectors_per_block(where.column), where.column.options.dim)
    dtype = vector_dtype(where.column)
    for payload in read_each(records, where, Space.VECTORS, numbers, shape[0] * shape[1] * dtype.itemsize):
        block: Stored = np.frombuffer(payload, dtype).reshape(shape)  # type: ignore[assignment]  # one of the two
        yield block


def _check_size(records: Records, where: Place, state: ColumnState, slots: int) -> None:
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


def _read_live(records: Records, mirror: ColumnMirror, where: Place, numbers: Numbers) -> None:
    live = mirror.live
    for part, payload in read_payloads(records, where, Space.LIVE, numbers, LIVE_BYTES):
        live.arena[live.table[part]] = np.frombuffer(payload, np.uint8).reshape(len(part), LIVE_BYTES)


def _read_upper(records: Records, mirror: ColumnMirror, where: Place, numbers: Numbers) -> None:
    upper = mirror.upper
    for part, payload in read_payloads(records, where, Space.UPPER, numbers, upper.arena[0].nbytes):
        blocks = np.frombuffer(payload, "<i4").reshape(len(part), *upper.arena.shape[1:])
        _check_upper(blocks, mirror, where, part)
        upper.arena[upper.table[part]] = blocks


def _check_upper(blocks: NDArray[np.int32], mirror: ColumnMirror, where: Place, numbers: Numbers) -> None:
    check_links(blocks, mirror, where, Space.UPPER, numbers)
    for number, block in zip(numbers.tolist(), blocks, strict=True):
        if not _descends(block, number * len(block), mirror.state.upper):
            raise where.error(Space.UPPER, number, "has an entry without a layer below")


def _descends(entries: NDArray[np.int32], first: int, count: int) -> bool:
    """Every entry that exists names a slot and a layer of 1 or more, and one above layer 1 has an entry before it."""
    existing = entries[: max(0, count - first)]
    slots, layers = existing[:, 0], existing[:, 1]
    numbers = first + np.arange(len(existing))
    return bool((slots >= 0).all() and (layers >= 1).all() and ((layers == 1) | (numbers > 0)).all())


def _check_waiting(mirror: ColumnMirror, where: Place) -> None:
    """Links of dead slots agree with the counters: where links are missing, no slot had any."""
    linked = mirror.links.arena[mirror.links.table[: mirror.links.count], :, RECORD_HEAD].reshape(-1) >= 0
    dead = np.unpackbits(mirror.live.view().gather().reshape(-1), bitorder="little")[: len(linked)] == 0
    if np.count_nonzero(linked[: len(dead)] & dead) != mirror.state.waiting:
        raise where.error(Space.LINKS, 0, "or another does not agree with the table's counters")


def _check_live(version: ColumnVersion, where: Place) -> None:
    """Live bits agree with the counters."""
    blocks = version.live.gather()
    beyond = len(blocks) > 0 and _has_beyond(blocks[-1], len(blocks) - 1, version.slots)
    if _count(blocks) != version.state.live or beyond:
        raise _wrong_live(where, version.slots)


def _count(bits: NDArray[np.uint8]) -> int:
    return int.from_bytes(bits.tobytes(), "little").bit_count()


def _has_beyond(block: NDArray[np.uint8], number: int, slots: int) -> bool:
    """Whether a block of live bits has one of a slot that there is not."""
    return int.from_bytes(block.tobytes(), "little").bit_length() > slots - number * LIVE_SLOTS


def _wrong_live(where: Place, slots: int) -> CorruptionError:
    return where.error(Space.LIVE, slots // LIVE_SLOTS, "does not agree with the table's counters")
