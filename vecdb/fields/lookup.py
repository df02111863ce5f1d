"""Filters to sets of slots: by indexes, by columns, by rows, the cheapest first.

A filter in normal form has no NOT, so the slots for which a condition is true are all that is asked for. What is false
and what is unknown are told apart only where a negated condition takes a complement: of the slots with a value that it
can be compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from math import inf
from typing import Final, NamedTuple

import numpy as np

from vecdb.errors import CorruptionError
from vecdb.fields.columns import BLOCK, covered, has_column, read_block
from vecdb.fields.encode import NULL, decode, is_cut
from vecdb.fields.live import read_live
from vecdb.fields.match import compile_match, fields_of
from vecdb.fields.postings import Payload, gather
from vecdb.fields.schema import join_fields
from vecdb.fields.slots import NO_SLOTS, SlotSet
from vecdb.fields.spans import Spans, range_of, span_of, span_of_other_kind, spans_of
from vecdb.filters import tree
from vecdb.filters.evaluate import compile_filter
from vecdb.filters.tree import And, Comparison, Connective, Constant, Contains, Field, Filter, In, IsNull, Like, Or
from vecdb.storage import keys
from vecdb.storage.catalog import Table
from vecdb.storage.keys import Space
from vecdb.storage.rows import RowRecord, decode_row, existing_rows
from vecdb.storage.view import Records

_FEW: Final = 16  # slots whose rows are read sooner than any index or column
_TERMS_FOR_A_COLUMN: Final = 64  # records of terms that are read sooner than any column, ...
_TERMS_FOR_A_BLOCK: Final = 6  # ... and in the time that a block of a column takes, one in that of a row. Measured:
_TERMS_FOR_A_BLOCK_OF_TEXTS: Final = 50  # a term 2.5 µs, a block 15, up to 200 where all its texts are different
_BY_ROWS: Final = "rows"

# The ranks of conditions, by what they cost.
_NOTHING, _TERM, _TERMS, _COLUMN, _ROWS = range(5)


class Found(NamedTuple):
    """The slots that match a filter, and what was read to find them: "index lang", "column year", "rows"."""

    slots: SlotSet
    means: tuple[str, ...]


def evaluate(records: Records, table: Table, filter: Filter) -> Found:
    """All slots whose rows match a filter that was checked against the table's fields."""
    lookup = _Lookup(records, table)
    slots = lookup.find(filter, None)
    return Found(slots, tuple(lookup.means))


class _Lookup:
    """One evaluation. Sets called `within` have live slots only; None is all of them."""

    def __init__(self, records: Records, table: Table) -> None:
        self.means: dict[str, None] = {}
        self._records = records
        self._table = table
        self._positions = table.schema.positions

    @cached_property
    def _live(self) -> SlotSet:
        return read_live(self._records, self._table)

    def find(self, filter: Filter, within: SlotSet | None) -> SlotSet:
        """The slots within a set that match."""
        if isinstance(filter, Constant):
            return (self._live if within is None else within) if filter.value else NO_SLOTS
        if within is not None and len(within) <= _FEW:
            return self._by_rows(filter, within)
        if isinstance(filter, And) and not self._is_indexed(range_of(filter)):
            return self._all(filter.terms, within)
        if isinstance(filter, Or):
            return self._any(filter.terms, within)
        rank = self._rank(filter)
        found = self._by_index(filter) if rank in (_TERM, _TERMS) else None
        if found is not None:
            return found if within is None else found & within
        if rank == _ROWS:
            return self._by_rows(filter, within)
        for condition in filter.terms if isinstance(filter, And) else (filter,):
            within = self._by_column(condition, within)
        assert within is not None
        return within

    def _all(self, terms: Iterable[Filter], within: SlotSet | None) -> SlotSet:
        """What each term leaves is looked at by the next."""
        first, by_rows = self._ordered(self._join_ranges(terms))
        for term in first:
            within = self.find(term, within)
            if not len(within):
                return within
        if by_rows:
            within = self._by_rows(tree.conjunction(by_rows), within)
        assert within is not None
        return within

    def _any(self, terms: Iterable[Filter], within: SlotSet | None) -> SlotSet:
        """What a term finds is not looked at by those after it, unless they read an index."""
        first, by_rows = self._ordered(terms)
        found = NO_SLOTS
        for term in first:
            found |= self.find(term, within if self._rank(term) < _COLUMN else self._rest(within, found))
        if by_rows:
            found |= self._by_rows(tree.disjunction(by_rows), self._rest(within, found))
        return found

    def _rest(self, within: SlotSet | None, found: SlotSet) -> SlotSet | None:
        return within if not len(found) else (self._live if within is None else within) - found

    def _join_ranges(self, terms: Iterable[Filter]) -> list[Filter]:
        """The terms, with all ranges of an indexed field as one: each end of a BETWEEN may be wide by itself."""
        ranges: dict[Field, list[Filter]] = {}
        others = []
        for term in terms:
            field = range_of(term)
            if field is not None and self._is_indexed(field):
                ranges.setdefault(field, []).append(term)
            else:
                others.append(term)
        return [*others, *map(tree.conjunction, ranges.values())]

    def _is_indexed(self, field: Field | None) -> bool:
        return field is not None and self._positions.get(field.path[0]) in self._table.schema.indexes

    def _ordered(self, terms: Iterable[Filter]) -> tuple[list[Filter], list[Filter]]:
        """The cheapest first; then the conditions that read rows, to be tested together: each row is read once."""
        ranked = sorted(terms, key=self._rank)
        by_rows = [term for term in ranked if self._rank(term) == _ROWS and not isinstance(term, Connective)]
        return [term for term in ranked if term not in by_rows], by_rows

    def _rank(self, filter: Filter) -> int:
        if isinstance(filter, Connective):
            return max(map(self._rank, filter.terms))
        if isinstance(filter, Constant):
            return _NOTHING
        fields = fields_of(filter)
        if len(fields) == 1 and self._is_indexed(fields[0]):
            return _TERMS if _is_negated(filter) or isinstance(filter, Like) or range_of(filter) else _TERM
        positions = [self._positions.get(field.path[0]) for field in fields]
        kinds = [self._table.schema.fields[position].type for position in positions if position is not None]
        return _COLUMN if len(kinds) == len(fields) and all(map(has_column, kinds)) else _ROWS

    # By index

    def _by_index(self, condition: Filter) -> SlotSet | None:
        """None where there are so many terms to read that the column is read sooner."""
        name = range_of(condition) or fields_of(condition)[0]
        field = self._positions[name.path[0]]
        negated = _is_negated(condition)
        found = self._by_terms(field, ~condition if negated else condition)
        if found is not None and negated and not isinstance(condition, IsNull):
            others = [span for span in (span_of(NULL), span_of_other_kind(condition)) if span is not None]
            incomparable = self._read_terms(field, Spans(others))
            found = None if incomparable is None else incomparable | found
        if found is None:
            return None
        self._note(f"index {name}")
        return self._live - found if negated else found

    def _by_terms(self, field: int, condition: Filter) -> SlotSet | None:
        """The slots for which a condition that is not negated is true."""
        if isinstance(condition, In) and len(condition.values) > self._most_terms(field):
            return None
        return self._read_terms(field, spans_of(condition), condition)

    def _read_terms(self, field: int, spans: Spans, condition: Filter = tree.TRUE) -> SlotSet | None:
        prefix = keys.terms_prefix(self._table.schema.table, field)
        left = self._most_terms(field)
        sure: list[tuple[int, Payload]] = []
        doubtful: list[tuple[int, Payload]] = []
        for start, stop in spans.spans:
            end = prefix + stop
            within = prefix + start if stop.startswith(start) else prefix
            for key, payload in self._records.scan(Space.TERMS, within, prefix + start):
                if key >= end:
                    break
                left -= 1
                if left < 0:
                    return None
                posting = (keys.chunk_of_term(key), payload)
                if spans.test is None and not spans.doubtful:
                    sure.append(posting)
                    continue
                term = keys.value_of_term(key)
                if term in spans.doubtful or (spans.test is not None and is_cut(term)):
                    doubtful.append(posting)
                elif spans.test is None or spans.test(_text_of(term)):
                    sure.append(posting)
        slots = self._table.state.slots
        found = gather(sure, slots)
        return found | self._test_rows(condition, gather(doubtful, slots).slots.tolist()) if doubtful else found

    def _most_terms(self, field: int) -> float:
        """Records of terms that are read in about the time of reading the column."""
        kind, slots = self._table.schema.fields[field].type, self._table.state.slots
        if not has_column(kind):
            return inf
        of_a_block = _TERMS_FOR_A_BLOCK_OF_TEXTS if kind == "str" else _TERMS_FOR_A_BLOCK
        return _TERMS_FOR_A_COLUMN + of_a_block * slots // BLOCK + slots - covered(slots)

    # By column

    def _by_column(self, condition: Filter, within: SlotSet | None) -> SlotSet:
        table, fields = self._table, fields_of(condition)
        positions = [self._positions[field.path[0]] for field in fields]
        kinds = [table.schema.fields[position].type for position in positions]
        match = compile_match(condition, kinds)
        among = self._live if within is None else within
        stop = covered(table.state.slots)
        found, read = np.zeros((2, -(-stop // BLOCK), BLOCK // 8), np.uint8)
        whole = True
        for number in _blocks_of(among, len(found)):
            blocks = [
                read_block(self._records, table.schema.table, position, kind, number)
                for position, kind in zip(positions, kinds, strict=True)
            ]
            known = [block for block in blocks if block is not None]
            if len(known) == len(blocks):
                found[number] = np.packbits(match(known), bitorder="little")
                read[number] = 255
            else:
                whole = False
        for field in fields:
            self._note(f"column {field}")
        if not whole:
            self._note(_BY_ROWS)
        by_column, looked_at = (SlotSet.of_bits(bits.reshape(-1)[: stop // 8]) for bits in (found, read))
        rest = among - looked_at
        return by_column & among | self._test_rows(condition, rest.slots.tolist())

    # By rows

    def _by_rows(self, filter: Filter, within: SlotSet | None) -> SlotSet:
        if within is not None and not len(within):
            return within
        self._note(_BY_ROWS)
        return self._test_rows(filter, None if within is None else within.slots.tolist())

    def _test_rows(self, filter: Filter, slots: list[int] | None) -> SlotSet:
        """Those of the slots whose rows match; of all rows without slots."""
        schema, test = self._table.schema, compile_filter(filter)
        found = [
            slot
            for slot, row in (self._every_row() if slots is None else existing_rows(self._records, schema, slots))
            if test(join_fields(schema, row.values, row.extra)) is True
        ]
        return SlotSet.of_slots(np.array(found, np.int64))

    def _every_row(self) -> Iterator[tuple[int, RowRecord]]:
        schema = self._table.schema
        for key, payload in self._records.scan(Space.ROWS, keys.table_prefix(schema.table)):
            slot = keys.slot_of_row(key)
            yield slot, decode_row(payload, schema, slot)

    def _note(self, means: str) -> None:
        self.means[means] = None


def _blocks_of(slots: SlotSet, blocks: int) -> list[int]:
    """The blocks of columns, the first so many, in which there are slots of the set."""
    bits = slots.bits(blocks * BLOCK).reshape(-1)[: blocks * BLOCK // 8]
    numbers: list[int] = np.flatnonzero(bits.reshape(blocks, BLOCK // 8).any(axis=1)).tolist()
    return numbers


def _is_negated(condition: Filter) -> bool:
    if isinstance(condition, Comparison):
        return condition.operator == "!="
    return isinstance(condition, (In, Like, IsNull, Contains)) and condition.negated


def _text_of(term: bytes) -> str:
    try:
        return str(decode(term))
    except ValueError as error:
        raise CorruptionError(f"an index has a term that is no text: {term.hex()}") from error
