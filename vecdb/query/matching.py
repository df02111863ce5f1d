"""The rows that a filter lets through, found before a search begins."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vecdb.fields.lookup import evaluate
from vecdb.fields.slots import SlotSet
from vecdb.filters.check import check_filter
from vecdb.filters.read import read_filter
from vecdb.filters.tree import TRUE, Filter
from vecdb.mirror.column import ColumnVersion
from vecdb.mirror.versions import View
from vecdb.storage.catalog import Table

_KEPT: Final = 64  # of one version of the database


class Matching:
    """The slots of a table that match a filter and, for a search, have a vector that may be found."""

    def __init__(self, found: SlotSet, means: tuple[str, ...], slots: int) -> None:
        self.found = found
        self.means = means
        self._slots = slots

    def __len__(self) -> int:
        return len(self.found)

    @property
    def slots(self) -> NDArray[np.int64]:
        """(rows,) ascending."""
        return self.found.slots

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """(blocks, 1024), as live bits are."""
        return self.found.bits(self._slots)


def read_where(table: Table, where: object, params: object) -> Filter | None:
    """A `where=` of any notation, checked against the table's fields; None where every row matches."""
    if where is None:
        return None if params is None else read_filter(where, params)
    tree = check_filter(read_filter(where, params), table.schema.field_types)
    return None if tree == TRUE else tree


def find_rows(view: View, table: Table, where: Filter) -> Matching:
    """The rows that match."""
    return _find(view, table, where, None)


def find_matching(view: View, table: Table, version: ColumnVersion, where: Filter) -> Matching:
    """The rows that match and have a vector in the column."""
    return _find(view, table, where, version)


def _find(view: View, table: Table, where: Filter, version: ColumnVersion | None) -> Matching:
    """Those of a committed version are kept as long as it is the newest: filters come again."""
    kept: dict[Any, Matching] | None = view.kept
    place = table.schema.table, None if version is None else version.column.number, where
    if kept is not None and (known := kept.get(place)) is not None:  # in one step: another thread may clear it
        return known
    slots, means = evaluate(view.records, table, where)
    if version is not None and version.state.live < table.state.rows:
        slots &= SlotSet.of_bits(version.live.gather().reshape(-1))
    matching = Matching(slots, means, table.state.slots)
    if kept is not None:
        if len(kept) >= _KEPT:
            kept.clear()
        kept[place] = matching
    return matching
