"""Vacuum: a complete repair of a table's graphs, in steps that are each a short transaction.

First every range of slots is mended: its live slots turn their links away from the dead. Then the dead, which only the
tree still holds, are taken out. What comes in between, deletes too, does no harm: a slot that died since waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vecdb.mirror.writer import Writer
from vecdb.storage.catalog import Column, Table

_MENDED_AT_ONCE: Final = 8192  # slots of a transaction: a few tenths of a second
_TAKEN_AT_ONCE: Final = 4096


@dataclass(frozen=True)
class Mend:
    """A range of slots to be mended."""

    table: int
    column: Column
    first: int
    stop: int

    @property
    def slots(self) -> int:
        return self.stop - self.first

    def run(self, writer: Writer) -> int:
        """How many dead rows the graph was rid of."""
        if (table := writer.tables.get(self.table)) is not None:
            with writer.changing():
                writer.writable(table, self.column).mend(self.first, self.stop)
        return 0


@dataclass(frozen=True)
class TakeOut:
    """Dead slots to be taken out of the graph."""

    table: int
    column: Column
    dead: NDArray[np.int64]

    @property
    def slots(self) -> int:
        return len(self.dead)

    def run(self, writer: Writer) -> int:
        """How many dead rows the graph was rid of."""
        table = writer.tables.get(self.table)
        if table is None:
            return 0
        with writer.changing():
            return writer.writable(table, self.column).take_out(self.dead)


def plan_vacuum(writer: Writer, table: Table) -> list[Mend | TakeOut]:
    """The steps, in their order; none for a column that nothing was deleted from."""
    steps: list[Mend | TakeOut] = []
    number, slots = table.schema.table, table.state.slots
    for column in table.schema.columns:
        if writer.column(table, column).damage is not None:
            with writer.changing():
                writer.writable(table, column)  # makes the graph anew
        state = writer.column(table, column).state
        if not state.linked or state.live == slots:
            continue
        dead = writer.writable(table, column).waiting()
        firsts = range(0, slots, _MENDED_AT_ONCE)
        steps += [Mend(number, column, first, min(first + _MENDED_AT_ONCE, slots)) for first in firsts]
        firsts = range(0, len(dead), _TAKEN_AT_ONCE)
        steps += [TakeOut(number, column, dead[first : first + _TAKEN_AT_ONCE]) for first in firsts]
    return steps
