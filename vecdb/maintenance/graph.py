"""Vector columns: live bits, vectors, codes, and the graph with its trees, by whole arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import CorruptionError
from vecdb.maintenance.report import Findings
from vecdb.mirror.column import RECORD_HEAD, ColumnVersion
from vecdb.mirror.load import load_column, load_vectors
from vecdb.options import MAX_NORM
from vecdb.storage.catalog import Column, Table
from vecdb.storage.view import Sealed

Mask = NDArray[np.bool_]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Tell = Callable[[str, str, str], None]  # kind, place, message

_AT_ONCE = 1 << 14  # rows


def check_column(reader: Sealed, table: Table, column: Column, rows: Int64, findings: Findings) -> None:
    """A vector column. `rows` are the slots whose rows have a vector in it; their checks come first."""
    schema, state = table.schema, table.state

    def tell(kind: str, place: str, message: str) -> None:
        findings.add(schema.name, kind, f"column {column.name!r}, {place}", message)

    try:
        mirror = load_column(reader, schema, column, state.columns[column.number], state.slots, vectors=True)
        load_vectors(reader, schema, mirror.version)
    except CorruptionError as error:
        findings.add(schema.name, "blocks", f"column {column.name!r}", f"can't be loaded: {error}")
        return
    version = mirror.version
    live = np.zeros(version.slots, np.bool_)
    live[version.live_slots] = True
    stored = np.zeros(version.slots, np.bool_)
    stored[rows[rows < version.slots]] = True
    for slot in np.flatnonzero(live != stored).tolist():
        tell("live", f"slot {slot}", "has a live bit, but no vector" if live[slot] else "has a vector, but no live bit")
    if version.state.live != len(rows):
        tell("catalog", "counters", f"{len(rows)} rows have a vector; the counter says {version.state.live}")
    _check_vectors(version, tell)
    findings.counts["vectors"] += len(rows)
    if version.state.linked:
        _check_codes(version, tell)
        check_graph(version, live, tell)
        findings.counts["links"] += int((version.links.gather()[..., RECORD_HEAD:] >= 0).sum())
    elif version.state.upper or version.state.waiting or version.state.entry_layer != -1:
        tell("catalog", "counters", "tell of a graph that is not there")


def _check_vectors(version: ColumnVersion, tell: Tell) -> None:
    assert version.vectors is not None
    cosine = version.column.options.metric == "cosine"
    for first in range(0, len(version.live_slots), _AT_ONCE):
        slots = version.live_slots[first : first + _AT_ONCE]
        vectors = version.vectors.array[slots]
        with np.errstate(all="ignore"):
            norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        wrong = ~(norms <= MAX_NORM * 1.001) | ((norms == 0) if cosine else False)
        for slot in slots[wrong].tolist():
            tell("vector", f"slot {slot}", "is no vector that could have been stored")


def _check_codes(version: ColumnVersion, tell: Tell) -> None:
    """Codes are those of the vectors, up to what rounding may do."""
    codes = version.codes
    if codes is None or codes.quantizer is None or version.vectors is None:
        return
    width = codes.codes.shape[1]
    for first in range(0, len(version.live_slots), _AT_ONCE):
        slots = version.live_slots[first : first + _AT_ONCE]
        expected = np.empty((len(slots), width), np.uint8)
        weights = np.empty(len(slots), np.float32)
        with np.errstate(all="ignore"):  # of vectors that are none, which is told already
            codes.quantizer.encode(version.vectors.array[slots], version.column.options.metric, expected, weights)
        off = np.abs(codes.codes[slots].astype(np.int16) - expected).max(axis=1) > 1
        scale = np.maximum(1, np.abs(weights)) + width
        off |= ~(np.abs(codes.weights[slots] - weights) <= 1e-2 * scale)
        for slot in slots[off].tolist():
            tell("codes", f"slot {slot}", "are not those of its vector")


def check_graph(version: ColumnVersion, live: Mask, tell: Tell) -> None:
    """Invariants 4 to 7 of FORMAT.md."""
    slots, options, state = version.slots, version.column.options, version.state
    links = version.links.gather().reshape(-1, RECORD_HEAD + options.capacity)
    upper = version.upper.gather().reshape(-1, RECORD_HEAD + options.m)[: state.upper]
    if (links[slots:] != -1).any():
        tell("links", f"slots from {slots} on", "have links, and do not exist")
    links = links[:slots]
    neighbours = links[:, RECORD_HEAD:]
    linked = neighbours[:, 0] >= 0
    in_graph = linked.copy()
    entry = _entry_slot(version, upper)
    if entry >= 0:
        in_graph[entry] = True
    _tell_each(tell, live & ~in_graph, "is live, and not in the graph")
    if state.waiting != (waiting := int((linked & ~live).sum())):
        tell("catalog", "counters", f"{waiting} dead slots have links; the counter says {state.waiting}")
    _check_lists(neighbours, "slot", tell)
    _check_lists(upper[:, RECORD_HEAD:], "upper entry", tell)
    _tell_each(tell, _names_any(neighbours, live & ~in_graph), "links to a live slot that is not in the graph")
    _check_upper(links, upper, tell)
    _check_trees(links, live, tell)
    _check_entry(version, upper, live, entry, tell)
    if live.any() and entry >= 0 and live[entry]:
        reached = _reach(neighbours, entry)
        _tell_each(tell, live & ~reached, "can't be reached from the entry point")


def _tell_each(tell: Tell, wrong: Mask, message: str, what: str = "slot") -> None:
    for node in np.flatnonzero(wrong).tolist():
        tell("links", f"{what} {node}", message)


def _check_lists(lists: Int32, what: str, tell: Tell) -> None:
    for first in range(0, len(lists), _AT_ONCE):
        part = lists[first : first + _AT_ONCE]
        there = part >= 0
        ordered = np.sort(part, axis=1)
        found = {
            "has a list with a gap": (there[:, 1:] & ~there[:, :-1]).any(axis=1),
            "links to itself": (part == np.arange(first, first + len(part))[:, None]).any(axis=1),
            "links twice to another": ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1),
        }
        for message, wrong in found.items():
            for node in np.flatnonzero(wrong).tolist():
                tell("links", f"{what} {first + node}", message)


def _names_any(lists: Int32, wanted: Mask) -> Mask:
    """Which lists name a node of these."""
    result = np.zeros(len(lists), np.bool_)
    if wanted.any():
        for first in range(0, len(lists), _AT_ONCE):
            part = lists[first : first + _AT_ONCE]
            result[first : first + len(part)] = (wanted[part] & (part >= 0)).any(axis=1)
    return result


def _holds(lists: Int32, nodes: Int64, wanted: Int64) -> Mask:
    """Whether the list of each node names the one wanted."""
    result = np.empty(len(nodes), np.bool_)
    for first in range(0, len(nodes), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        result[part] = (lists[nodes[part]] == wanted[part, None]).any(axis=1)
    return result


def _check_upper(links: Int32, upper: Int32, tell: Tell) -> None:
    """Entries of a slot stand in a row, from the one its record names, one for each layer. The record may be gone, with
    its block, where the slot has no links on any layer."""
    if len(upper) == 0:
        return
    slot, layer = upper[:, 0], upper[:, 1]
    lists = upper[:, RECORD_HEAD:]
    gone = (links[slot] == -1).all(axis=1) & (lists[:, 0] < 0)
    wrong = ((links[slot, 1] + layer - 1 != np.arange(len(upper))) & ~gone) | (layer < 1)
    _tell_each(tell, wrong, "is not where its slot's record says", "upper entry")
    other = (layer[lists] != layer[:, None]) & (lists >= 0)
    _tell_each(tell, other.any(axis=1), "links to another layer", "upper entry")


def _check_trees(links: Int32, live: Mask, tell: Tell) -> None:
    neighbours, parent = links[:, RECORD_HEAD:], links[:, 0].astype(np.int64)
    _tell_each(tell, (parent >= 0) & (neighbours[:, 0] < 0), "has a parent and no neighbours")
    wrong = parent >= np.arange(len(parent))
    _tell_each(tell, wrong, "has a parent of no lower number")
    if wrong.any():
        return
    children = np.flatnonzero(parent >= 0)
    mutual = _holds(neighbours, children, parent[children]) & _holds(neighbours, parent[children], children)
    for slot in children[~mutual].tolist():
        tell("links", f"slot {slot}", "and its parent do not list each other")
    roots = np.where(parent >= 0, parent, np.arange(len(parent)))
    while (above := roots[roots]).tobytes() != roots.tobytes():
        roots = above
    if len(trees := np.unique(roots[live])) > 1:
        tell("links", "trees", f"live slots are in {len(trees)} trees: {trees[:5].tolist()}")


def _entry_slot(version: ColumnVersion, upper: Int32) -> int:
    """The slot of the entry point; -1 where there is none, or none such."""
    layer, node = version.state.entry_layer, version.state.entry_node
    if layer <= 0:
        return node if layer == 0 else -1
    return int(upper[node, 0])


def _check_entry(version: ColumnVersion, upper: Int32, live: Mask, entry: int, tell: Tell) -> None:
    layer, node = version.state.entry_layer, version.state.entry_node
    if (layer >= 0) is not bool(live.any()):
        tell("links", "entry point", "is there without live rows" if layer >= 0 else "is missing")
    elif entry >= 0:
        if not live[entry]:
            tell("links", "entry point", f"is slot {entry}, which is dead")
        layers = upper[live[upper[:, 0]], 1] if len(upper) else np.zeros(0, np.int32)
        highest = int(layers.max()) if len(layers) else 0
        if layer != highest or (layer > 0 and int(upper[node, 1]) != layer):
            tell("links", "entry point", f"is of layer {layer}; the highest with a live row is {highest}")


def _reach(lists: Int32, start: int) -> Mask:
    """The nodes that can be reached."""
    found = np.zeros(len(lists), np.bool_)
    found[start] = True
    edge = np.array([start])
    while len(edge):
        fresh = np.zeros(len(lists), np.bool_)
        for first in range(0, len(edge), _AT_ONCE):
            part = lists[edge[first : first + _AT_ONCE]]
            fresh[part[part >= 0]] = True
        fresh &= ~found
        found |= fresh
        edge = np.flatnonzero(fresh)
    return found
