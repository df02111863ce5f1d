"""How many records a block holds: LMDB gives a large value whole pages, so blocks are sized to fill them."""

from __future__ import annotations

from functools import cache
from typing import Final

from vecdb.storage.records import CHECKSUM_BYTES

_PAGE: Final = 4096
_PAGE_HEAD: Final = 16
_MOST_PAGES: Final = 16
_WASTE: Final = 0.04

LIVE_BYTES: Final = 1024  # of one block of live bits: 8192 slots, small enough to share a page


@cache
def records_per_block(record_bytes: int, head: int = 0) -> int:
    """Records in a block, behind a head of so many bytes: the fewest pages that waste at most 4 %, else those that
    waste least. Never change.

    >>> records_per_block(384 * 4), records_per_block(128 * 4), records_per_block(4 * (2 + 32))
    (13, 31, 29)
    """
    best, best_waste = 1, 1.0
    for pages in range(1, _MOST_PAGES + 1):
        usable = pages * _PAGE - _PAGE_HEAD - CHECKSUM_BYTES - head
        records = usable // record_bytes
        if records == 0:
            continue
        waste = 1 - records * record_bytes / (pages * _PAGE)
        if waste <= _WASTE:
            return records
        if waste < best_waste:
            best, best_waste = records, waste
    return best
