"""Pages are looked at before the engine scans or writes a tree: what it would end the process for is told."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vecdb
from vecdb.storage.keys import Space
from vecdb.storage.pages import PageFile
from vecdb.storage.trees import check_tree

PAGE = 4096


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trees") / "t.vecdb"
    with vecdb.connect(place) as db:
        db.create_table("t", dim=2).insert(range(900), np.ones((900, 2)), {"text": ["x" * 300] * 900})
    return place


def leaves_of(place: Path) -> tuple[int, int, list[int]]:
    """The newest commit, and of the tree of rows the root and the leaves."""
    with PageFile(str(place)) as file:
        meta = file.metas[0]
        root = file.trees(meta.main.root, [])[Space.ROWS].root
        children = file.children(root)
        assert children is not None
        return meta.transaction, root, children


def put(offset: int, data: bytes) -> Callable[[bytearray, int], None]:
    def change(content: bytearray, page: int) -> None:
        content[page * PAGE + offset : page * PAGE + offset + len(data)] = data

    return change


LEAF_DEEDS = {
    "zeros": put(0, bytes(PAGE)),
    "another number": put(0, struct.pack("<Q", 7)),
    "not a leaf": put(10, struct.pack("<H", 4)),
    "an empty leaf": put(12, struct.pack("<H", 16)),
    "more nodes than fit": put(12, struct.pack("<H", 4000)),
    "a node outside of the page": put(18, struct.pack("<H", 0xF3BA)),
    "a node at an odd place": put(18, struct.pack("<H", 4001)),
    "a node that ends outside": put(18, struct.pack("<H", 4088)),
}


@pytest.mark.parametrize("deed", LEAF_DEEDS)
def test_a_leaf_that_is_none_is_told(filled: Path, tmp_path: Path, deed: str) -> None:
    commit, _, leaves = leaves_of(filled)
    content = bytearray(filled.read_bytes())
    LEAF_DEEDS[deed](content, leaves[len(leaves) // 2])
    place = tmp_path / "t.vecdb"
    place.write_bytes(content)
    with pytest.raises(vecdb.CorruptionError, match="page"):
        check_tree(str(place), commit, Space.ROWS)
    with vecdb.connect(place) as db:
        table = db.table("t")
        with pytest.raises(vecdb.CorruptionError, match="recover"):
            list(table.scan())
        with pytest.raises(vecdb.CorruptionError, match="recover"):
            table.insert("new", [1, 1])
        assert table.get(0) is not None  # others are readable


@pytest.mark.parametrize("child", [0, 1, 10**9, 2**48 - 1, "twice"])
def test_a_branch_that_leads_astray_is_told(filled: Path, tmp_path: Path, child: int | str) -> None:
    commit, root, leaves = leaves_of(filled)
    content = bytearray(filled.read_bytes())
    (offset,) = struct.unpack_from("<H", content, root * PAGE + 16 + 2)
    number = leaves[0] if isinstance(child, str) else child
    node = root * PAGE + offset
    content[node : node + 6] = number.to_bytes(6, "little")
    place = tmp_path / "t.vecdb"
    place.write_bytes(content)
    with pytest.raises(vecdb.CorruptionError, match="page"):
        check_tree(str(place), commit, Space.ROWS)


def test_sound_trees_are_passed(filled: Path) -> None:
    commit, _, _ = leaves_of(filled)
    for space in (None, *Space):
        assert check_tree(str(filled), commit, space)
    assert not check_tree(str(filled), commit + 5, Space.ROWS)  # a commit that is not there
