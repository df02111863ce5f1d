"""Ids of rows by slot. A slot has one row in its life, and so one id: what a commit holds of them may be kept."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecdb.storage.catalog import Schema, Table
from vecdb.storage.rows import Id, existing_rows
from vecdb.storage.view import Records

Slots = NDArray[Any]  # integers
Ids = NDArray[Any]  # int64 where all are ints, else objects


class SlotIds:
    """The ids of a table's rows, as far as somebody asked for them. Filled from commits only, never from a writer's
    own rows, whose slots are assigned anew after a roll back."""

    def __init__(self) -> None:
        # Where threads run at once, an array of objects must not be read while another thread changes it.
        self._lock = threading.RLock()
        self._ids: Ids = np.empty(0, np.int64)
        self._known = np.empty(0, np.bool_)
        self._object_bytes = 0

    @property
    def nbytes(self) -> int:
        return self._ids.nbytes + self._known.nbytes + self._object_bytes

    def find(self, slots: Slots) -> Ids | None:
        """The ids of slots, if all are known."""
        slots = slots.astype(np.intp)  # the fastest to index with
        with self._lock:
            try:
                ids, known = self._ids[slots], self._known[slots]
            except IndexError:  # of a commit since
                return None
        return None if False in known.tobytes() else ids

    def read(self, records: Records, table: Table, slots: Slots) -> Ids:
        """The ids of slots that have rows in the commit that `records` reads; they are known from then on."""
        with self._lock:
            if len(self._known) < table.state.slots:
                self._grow(table.state.slots)
            found, known = self._ids[slots], self._known[slots]
        missing = (~known).nonzero()[0]
        distinct, places = np.unique(slots[missing], return_inverse=True)
        ids = _read(records, table.schema, distinct)
        self._keep(distinct, ids)
        found = found.astype(np.result_type(found, ids))
        found[missing] = ids[places]
        return found

    def _grow(self, slots: int) -> None:
        size, before = slots + slots // 8, len(self._known)
        ids, known = np.zeros(size, self._ids.dtype), np.zeros(size, np.bool_)
        ids[:before], known[:before] = self._ids[:before], self._known
        self._ids, self._known = ids, known  # in this order, should an interrupt come in between

    def _keep(self, slots: Slots, ids: Ids) -> None:
        with self._lock:
            if ids.dtype == object and self._ids.dtype != object:
                self._object_bytes = sys.getsizeof(2**62) * int(self._known.sum())
                self._ids = self._ids.astype(object)
            self._ids[slots] = ids
            self._known[slots] = True
            if self._ids.dtype == object:
                self._object_bytes += sum(map(sys.getsizeof, ids))


def read_ids(records: Records, table: Table, slots: Slots) -> Ids:
    """The ids of slots that have rows in `records`."""
    distinct, places = np.unique(slots, return_inverse=True)
    return _read(records, table.schema, distinct)[places]


def _read(records: Records, schema: Schema, slots: Slots) -> Ids:
    ids: list[Id] = [row.id for _, row in existing_rows(records, schema, slots.tolist())]
    if not any(isinstance(identifier, str) for identifier in ids):
        return np.array(ids, np.int64)
    mixed = np.empty(len(ids), object)
    mixed[:] = ids
    return mixed
