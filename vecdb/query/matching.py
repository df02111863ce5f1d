"""The rows that a filter lets through, found before a search begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.fields.lookup import evaluate
from vecdb.fields.slots import SlotSet
from vecdb.filters.check import check_filter
from vecdb.filters.read import read_filter
from vecdb.filters.tree import TRUE, Filter
from vecdb.mirror.column import ColumnVersion
from vecdb.mirror.view import View
from vecdb.storage.catalog import Table
from vecdb.storage.geometry import LIVE_BYTES

Key: TypeAlias = tuple[Any, ...]

_FEW_PARAMS: Final = 16
_PLAIN: Final = frozenset((str, int, float, bool))


class Matching:
    """The slots of a table that match a filter and, for a search, have a vector that may be found."""

    def __init__(self, found: SlotSet, means: tuple[str, ...], slots: int) -> None:
        self.found = found
        self.means = means
        self._slots = slots

    def __len__(self) -> int:
        return len(self.found)

    @property
    def nbytes(self) -> int:
        """At most, with what is made of it later: a number for each slot, and bits twice."""
        return 8 * len(self.found) + self._slots // 4 + LIVE_BYTES

    @property
    def slots(self) -> NDArray[np.int64]:
        """(rows,) ascending."""
        return self.found.slots

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """(blocks, 1024), as live bits are."""
        return self.found.bits(self._slots)

    @cached_property
    def spread(self) -> int:
        """The slots of all words of `bits` that have one set."""
        return 64 * int(np.count_nonzero(self.bits.reshape(-1).view(np.int64)))


def read_where(view: View, table: Table, where: object, params: object) -> Filter | None:
    """A `where=` of any notation, checked against the table's fields; None where every row matches.

    What comes of a text is kept with the version: to parse and check it again takes as long as to search a few rows."""
    if where is None:
        return None if params is None else read_filter(where, params)
    place = _place_of_text(table, where, params) if isinstance(where, str) else None
    return keep_filter(view, table, place, lambda: read_filter(where, params))


def keep_filter(view: View, table: Table, place: Key | None, make: Callable[[], Filter]) -> Filter | None:
    """What is made, checked against the table's fields; None where every row matches. Kept with the version under
    `place`, if it has one."""
    kept = view.kept
    if kept is not None and place is not None and (known := kept.get(place)) is not None:
        tree: Filter = known
    else:
        tree = check_filter(make(), table.schema.field_types)
        if place is not None:
            view.keep(place, tree, sum(len(part) for part in place if isinstance(part, str)))
    return None if tree == TRUE else tree


def key_of(arguments: Sequence[Any]) -> Key | None:
    """What tells arguments of a filter from others: they and their types, for 1 equals True. None for many, or such
    as have no hash."""
    if len(arguments) > _FEW_PARAMS:
        return None
    types = tuple(map(type, arguments))
    return (*arguments, types) if _PLAIN.issuperset(types) else None


def _place_of_text(table: Table, where: str, params: object) -> Key | None:
    """Where the tree of a text is kept; None where it is not."""
    if params is None:
        return table.schema.table, where
    if type(params) not in (tuple, list):
        return None
    key = key_of(params)  # type: ignore[arg-type]
    return None if key is None else (table.schema.table, where, *key)


def find_rows(view: View, table: Table, where: Filter) -> Matching:
    """The rows that match."""
    return _find(view, table, where, None)


def find_matching(view: View, table: Table, version: ColumnVersion, where: Filter) -> Matching:
    """The rows that match and have a vector in the column."""
    return _find(view, table, where, version)


def _find(view: View, table: Table, where: Filter, version: ColumnVersion | None) -> Matching:
    """Those of a committed version are kept with it: filters come again."""
    kept = view.kept
    place = table.schema.table, None if version is None else version.column.number, where
    if kept is not None and (known := kept.get(place)) is not None:  # in one step: another thread may clear it
        found: Matching = known
        return found
    slots, means = evaluate(view.records, table, where)
    if version is not None and version.state.live < table.state.rows:
        slots &= SlotSet.of_bits(version.live.gather().reshape(-1))
    matching = Matching(slots, means, table.state.slots)
    view.keep(place, matching, matching.nbytes)
    return matching
