"""What a database and its tables hold, and what maintenance would win: counters that every commit keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from vecdb.mirror.column import links_per_block
from vecdb.mirror.load import codes_per_block, vectors_per_block
from vecdb.mirror.view import View
from vecdb.storage.catalog import Table
from vecdb.storage.keys import Space
from vecdb.storage.reader import ReadTransaction

_SLOT_BLOCKS: Final = (Space.VECTORS, Space.CODES, Space.LINKS)


@dataclass(frozen=True)
class ColumnStats:
    """A vector column. `waiting` are deleted rows that its graph still links: searches pass through them until they are
    repaired, which `vacuum` would do. `reachable`, of its rows, can be come to from the graph's entry point on the base
    layer: all of them, unless the file is damaged; None where it was not asked for, or there is no graph in memory.
    `damage`: why searches scan the column though it has a graph, if one found that to be damaged; it is made anew
    behind them, or by the next write, unless the file was opened with readonly=True."""

    rows: int
    graph: bool
    waiting: int
    reachable: int | None = None
    damage: str | None = None


@dataclass(frozen=True)
class TableStats:
    """A table. `slots` are numbers that rows ever got."""

    rows: int
    slots: int
    columns: dict[str, ColumnStats]

    @property
    def tombstones(self) -> int:
        """Slots whose rows are gone."""
        return self.slots - self.rows

    @property
    def waiting(self) -> int:
        """The most of its columns."""
        return max((column.waiting for column in self.columns.values()), default=0)


@dataclass(frozen=True)
class ReaderStats:
    """A snapshot of this process, or a scan that was begun and not ended.

    `kept_bytes` of the file were given up by later commits, and can't be used again as long as it is open. It is ended
    when it is older than `options.MAX_HELD_SECONDS`, or keeps more than `options.MAX_HELD_BYTES` and than all that the
    database holds.
    """

    version: int
    seconds: float
    behind: int  # commits
    kept_bytes: int


@dataclass(frozen=True)
class DatabaseStats:
    """A database. `free_bytes` of the file hold nothing; later writes use them again, but for those that readers keep.
    `compact` would win about `compact_bytes`: these, and what deleted rows leave of blocks that others are in.

    `other_processes`: about how many commits the oldest reader of each other process is behind, by process id.
    """

    version: int
    file_bytes: int
    free_bytes: int
    compact_bytes: int
    tables: dict[str, TableStats]
    readers: tuple[ReaderStats, ...] = ()
    other_processes: dict[int, int] = field(default_factory=dict)


def spare_bytes(records: ReadTransaction, tables: Iterable[Table]) -> int:
    """About how many bytes blocks take that would not be there if all rows were in consecutive slots."""
    needed = dict.fromkeys(_SLOT_BLOCKS, 0)
    for table in tables:
        for column in table.schema.columns:
            state = table.state.columns[column.number]
            needed[Space.VECTORS] += -(-state.live // vectors_per_block(column))
            if state.linked:
                needed[Space.LINKS] += -(-state.live // links_per_block(column.options))
            if state.linked and column.options.quantization != "none":
                needed[Space.CODES] += 1 + -(-state.live // codes_per_block(column))
    spare = 0
    for space, blocks in needed.items():
        stored, size = records.size_of(space)
        spare += max(0, stored - blocks) * size // max(stored, 1)
    return spare


def table_stats(table: Table, view: View, *, reachability: bool = False) -> TableStats:
    """The counters of a table, which of its graphs were found damaged, and with `reachability` what they can reach."""
    columns = {}
    for column in table.schema.columns:
        state = table.state.columns[column.number]
        reachable = None if not (reachability and state.linked) else view.column(table, column).count_reachable()
        damage = view.damaged.get((table.schema.table, column.number))
        columns[column.name] = ColumnStats(state.live, state.linked, state.waiting, reachable, damage)
    return TableStats(table.state.rows, table.state.slots, columns)
