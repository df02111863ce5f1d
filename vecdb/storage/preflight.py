"""A look at a file before the engine opens it: LMDB itself would crash on a truncated one."""

from __future__ import annotations

import os
import struct
import sys
from typing import BinaryIO, Final, NamedTuple

from vecdb.errors import CorruptionError, FormatVersionError, NotAVecdbError, StorageIOError

# LMDB 0.9, 64-bit, native byte order: a page header of 16 bytes, then MDB_meta.
_MAGIC: Final = 0xBEEFC0DE
_DATA_VERSION: Final = 1
_META: Final = struct.Struct("=16xIIQQ48s48sQQ")
_TREE_FLAGS: Final = 0xFF  # of a tree's two bytes, those that say how keys and values are sorted
_BY_NUMBER: Final = 8  # as the tree of free pages is; others have none
_PAGE_SIZES: Final = frozenset(1 << shift for shift in range(9, 17))
HINT: Final = "restore a backup, or save what is whole with vecdb.recover"


class _Meta(NamedTuple):
    version: int
    page_size: int
    last_page: int
    transaction: int
    plain: bool  # trees are sorted as they always are


def inspect(path: str) -> None:
    """Raise unless the file looks like one that LMDB may open: NotAVecdbError or CorruptionError."""
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        first = _read_meta(file, 0)
        second = None if first is None else _read_meta(file, first.page_size)
        if first is None:
            # The first page is no meta page. If the second is one, the file was LMDB's.
            found = next((page for page in sorted(_PAGE_SIZES) if _read_meta(file, page) is not None), None)
            if found is None:
                raise NotAVecdbError(f"{path} is not a vecdb database; it was left as it is")
            raise CorruptionError(f"{path}: the first meta page is damaged; {HINT}")
        if second is None:
            raise CorruptionError(f"{path}: the second meta page is damaged or cut off; {HINT}")
    for meta in (first, second):
        if meta.version != _DATA_VERSION:
            raise FormatVersionError(
                f"{path} is an LMDB file of data version {meta.version}; vecdb reads version {_DATA_VERSION}"
            )
        if not meta.plain:
            # Of a file that LMDB would be ended by, or that is none of vecdb's.
            raise CorruptionError(f"{path}: a meta page is damaged: its trees are none of vecdb's; {HINT}")
    newest = max(first, second, key=lambda meta: meta.transaction)
    needed = (newest.last_page + 1) * newest.page_size
    if size < needed:
        raise CorruptionError(f"{path} is cut off: {size} bytes of {needed}; {HINT}")


def newest_transaction(path: str) -> int:
    """The number of the last commit that the meta pages name; 0 where they name none."""
    with _open(path) as file:
        found = [_read_meta(file, 0), _read_meta(file, 4096)]
    return max((meta.transaction for meta in found if meta is not None), default=0)


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except IsADirectoryError as error:
        raise NotAVecdbError(f"{path} is a folder, not a vecdb database") from error
    except OSError as error:
        raise StorageIOError(f"{path} can't be read: {error}") from error


def _read_meta(file: BinaryIO, offset: int) -> _Meta | None:
    file.seek(offset)
    data = file.read(_META.size)
    if len(data) < _META.size:
        return None
    magic, version, _, _, free, main, last_page, transaction = _META.unpack(data)
    free_flags, main_flags = (int.from_bytes(tree[4:6], sys.byteorder) & _TREE_FLAGS for tree in (free, main))
    page_size = int.from_bytes(free[:4], sys.byteorder)
    if magic != _MAGIC or page_size not in _PAGE_SIZES:
        return None
    return _Meta(version, page_size, last_page, transaction, free_flags == _BY_NUMBER and main_flags == 0)
