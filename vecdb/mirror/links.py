"""Base-layer links in the file: blocks, and a journal of the records that small commits changed.

A row that is inserted changes the records of some thirty others, which lie in as many blocks. So a small commit writes
those records, side by side, into an entry of the journal, and leaves their blocks as they are: they are *folded*, a few
with each entry and one after the other, whatever became of them. After a lap over all blocks, nothing that an entry has
is missing in them, and it is deleted. Each block tells the version in which it was written, so that no entry before
that is laid over it.

A column's *position* counts the folding: laps * 2^32 + the block to be folded next. An entry's key has the position
at which it was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vecdb.mirror.blocks import Blocks
from vecdb.mirror.column import LINKS_HEAD, RECORD_HEAD, ColumnMirror
from vecdb.mirror.payloads import Numbers, Place, read_payloads, without
from vecdb.storage import keys
from vecdb.storage.keys import Space
from vecdb.storage.view import PendingWrites, Records

_LAP: Final = 1 << 32
_FOLDED: Final = 2  # bytes of blocks folded for each byte of an entry: so the journal is at most half of the blocks
_NEVER: Final = np.iinfo(np.uint64).max  # the version of a block that nothing is laid over
_TRIM_EVERY: Final = 16  # versions: to do it with each would cost each a page


def write_links(writes: PendingWrites, table: int, mirror: ColumnMirror, version: int) -> None:
    """What the writer changed, as blocks or as an entry of the journal, whichever is less to write."""
    if not mirror.state.linked:
        return
    blocks, column = mirror.links, mirror.column.number
    written = blocks.changed()
    old = int(np.searchsorted(written, blocks.published))
    entry = _changed_records(blocks, old)
    if entry is not None:
        position = mirror.state.journal
        payload = version.to_bytes(8, "little") + entry.tobytes()
        writes.put(Space.JOURNAL, keys.journal(table, column, position), payload)
        first = position % _LAP
        stop = min(first + 1 + _FOLDED * entry.nbytes // _block(*blocks.arena.shape[1:]).itemsize, blocks.published)
        written = np.concatenate([np.arange(first, stop), written[old:]])
        position = position + stop - first if stop < blocks.published else next_lap(position)
        mirror.state = replace(mirror.state, journal=position)
        if version % _TRIM_EVERY == 0:
            _trim(writes, table, column, position - _LAP)
    block = np.empty((), _block(*blocks.arena.shape[1:]))
    block["version"] = version
    payloads: dict[bytes, bytes | None] = {}
    stored = mirror.are_stored(Space.LINKS, written, blocks.per_block)
    gone = np.union1d(mirror.gone_blocks(Space.LINKS, blocks.per_block), written[~stored])
    gone = gone[~blocks.is_cleared(gone)]
    blocks.clear(gone)
    for number in gone.tolist():
        payloads[keys.block(table, column, number)] = None
    written = written[stored]
    for number, place in zip(written.tolist(), blocks.table[written].tolist(), strict=True):
        block["records"] = blocks.arena[place]
        payloads[keys.block(table, column, number)] = block.tobytes()
    writes.put_all(Space.LINKS, payloads)


def next_lap(position: int) -> int:
    """Where a journal goes on whose entries so far are all deleted."""
    return (position // _LAP + 1) * _LAP


def _changed_records(blocks: Blocks, changed: int) -> NDArray[np.void] | None:
    """The records that changed, in so many blocks; None where it is less to write the blocks."""
    slots = blocks.changed_records()
    record, block = _record(blocks.arena.shape[2]), _block(*blocks.arena.shape[1:])
    if slots is None or (1 + _FOLDED) * len(slots) * record.itemsize >= changed * block.itemsize:
        return None
    entry = np.empty(len(slots), record)
    entry["slot"] = slots
    entry["record"] = blocks.arena[blocks.table[slots // blocks.per_block], slots % blocks.per_block]
    return entry


def _trim(writes: PendingWrites, table: int, column: int, position: int) -> None:
    """Delete the entries from before a position."""
    prefix = keys.column_prefix(table, column)
    stale = []
    for key, _ in writes.scan(Space.JOURNAL, prefix):
        if keys.position_of_entry(key) >= position:
            break
        stale.append(bytes(key))
    for key in stale:
        writes.delete(Space.JOURNAL, key)


class _Journal(NamedTuple):
    """Entries, in their order."""

    versions: list[int]
    since: NDArray[np.uint64]  # of each record, the version of its entry
    records: NDArray[np.void]


def read_links(records: Records, mirror: ColumnMirror, where: Place) -> None:
    """Read all blocks and what the journal has, into those of a mirror."""
    journal = _read_journal(records, mirror, where, 0) if mirror.state.journal else None
    _read(records, mirror, where, np.arange(mirror.links.count), journal)


def follow_links(
    records: Records, mirror: ColumnMirror, where: Place, changed: Numbers, position: int, versions: range
) -> None:
    """Read the blocks that `versions` changed, and what the journal has since the position before them.

    Where each of these versions has an entry, it changed nothing else in blocks that were there: they were folded, or
    are gone.
    """
    journal = None if mirror.state.journal == position else _read_journal(records, mirror, where, position)
    known = 0
    if journal is not None and journal.versions == list(versions):
        known = mirror.links.published
    _read(records, mirror, where, changed, journal, known)


def _read(
    records: Records, mirror: ColumnMirror, where: Place, numbers: Numbers, journal: _Journal | None, known: int = 0
) -> None:
    """Read blocks, but for so many, the first ones, of which all but the journal is `known`; and lay that over them."""
    blocks, block = mirror.links, _block(*mirror.links.arena.shape[1:])
    gone = find_missing(records, where, Space.LINKS, mirror, numbers, blocks.per_block)
    blocks.clear(gone)
    stored = without(numbers[numbers >= known], gone)
    versions = np.zeros(blocks.count, np.uint64)
    versions[gone] = _NEVER
    if len(stored):
        blocks.replace_all(stored)
        for part, payload in read_payloads(records, where, Space.LINKS, stored, block.itemsize):
            found = np.frombuffer(payload, block)
            check_links(found["records"], mirror, where, Space.LINKS, part)
            blocks.arena[blocks.table[part]] = found["records"]
            versions[part] = found["version"]
    if journal is None:
        return
    slots, entered = journal.records["slot"].astype(np.int64), journal.records["record"]
    if len(gone) or len(stored):
        late = versions[slots // blocks.per_block] < journal.since
        slots, entered = slots[late], entered[late]
    if len(journal.versions) > 1:  # the last one that has a record counts; an entry has each once, in their order
        slots, last = np.unique(slots[::-1], return_index=True)
        entered = entered[len(entered) - 1 - last]
    places, within = np.divmod(slots, blocks.per_block)
    blocks.own_all(places[np.diff(places, prepend=-1) > 0])
    blocks.arena[blocks.table[places], within] = entered


def find_stored(
    records: Records, where: Place, space: Space, mirror: ColumnMirror, numbers: Numbers, per_block: int
) -> Numbers:
    """Those of the blocks of so many slots that the file has."""
    return without(numbers, find_missing(records, where, space, mirror, numbers, per_block))


def find_missing(
    records: Records, where: Place, space: Space, mirror: ColumnMirror, numbers: Numbers, per_block: int
) -> Numbers:
    """Blocks of so many slots that the file does not have, as none of their slots is of use."""
    conducts = mirror.conducts(space)
    if mirror.state.live + conducts * mirror.state.waiting == mirror.slots:
        return numbers[:0]
    gone = numbers[mirror.are_gone(numbers, per_block, by_links=conducts and space is not Space.LINKS)].tolist()
    return np.array([number for number in gone if records.get(space, where.key(number)) is None], np.int64)


def _read_journal(records: Records, mirror: ColumnMirror, where: Place, position: int) -> _Journal:
    """The entries since a position."""
    table, column, record = where.table, where.column.number, _record(mirror.links.arena.shape[2])
    start = keys.journal(table, column, position)
    entries, versions, counts = [], [], []
    for key, payload in records.scan(Space.JOURNAL, keys.column_prefix(table, column), start):
        if len(payload) % record.itemsize != LINKS_HEAD:
            raise where.error(Space.JOURNAL, keys.position_of_entry(key), "has the wrong length")
        versions.append(int.from_bytes(payload[:LINKS_HEAD], "little"))
        entries.append(bytes(payload[LINKS_HEAD:]))
        counts.append(len(entries[-1]) // record.itemsize)
    journal = np.frombuffer(b"".join(entries), record)
    if not ((journal["slot"] >= 0) & (journal["slot"] < mirror.slots)).all():
        raise where.error(Space.JOURNAL, position, "or one after it has a slot that does not exist")
    check_links(journal["record"][None], mirror, where, Space.JOURNAL, [position])
    return _Journal(versions, np.repeat(np.array(versions, np.uint64), counts), journal)


def check_links(
    blocks: NDArray[np.int32], mirror: ColumnMirror, where: Place, space: Space, numbers: Numbers | Sequence[int]
) -> None:
    """Records (blocks, records, numbers) link to nodes that exist: kernels trust them."""
    slots, entries = mirror.slots, mirror.state.upper
    first, second, nodes = (slots, 64, entries) if space is Space.UPPER else (slots, entries, slots)
    limits = np.full(blocks.shape[-1], nodes, np.int32)
    limits[:RECORD_HEAD] = first, second
    wrong = ((blocks < -1) | (blocks >= limits)).any(axis=(1, 2))
    if wrong.any():
        raise where.error(space, int(numbers[int(np.argmax(wrong))]), "has a link to nowhere")


@cache
def _block(records: int, numbers: int) -> np.dtype[np.void]:
    """A block of so many records as stored. Never change."""
    return np.dtype([("version", "<u8"), ("records", "<i4", (records, numbers))])


@cache
def _record(numbers: int) -> np.dtype[np.void]:
    """A record in an entry as stored. Never change."""
    return np.dtype([("slot", "<i4"), ("record", "<i4", (numbers,))])
