"""How a search goes about it: the one place that decides."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from vecdb.mirror.column import ColumnVersion
from vecdb.options import DEFAULT_EF

Strategy: TypeAlias = Literal["scan", "codes", "graph"]

# Distances that a walk of the graph computes for each place in its beam where all rows live; as many times more as
# there are dead rows for each live one. Measured at ef = 40 and 80: 23 and 19 on passages, 21 and 17 on patches.
_COMPARED_PER_EF: Final = 16
# Of rows that match a filter, so many are measured by their vectors sooner than anything else is begun.
_FEW: Final = 256
# A walk among the rows that match takes for each place in its beam the time of so many distances, ...
_WALKED_PER_EF: Final = 1.5
# ... for each neighbour of a node, and in the time of a distance it looks at so many nodes whether they match.
_LOOKS_PER_DISTANCE: Final = 7


class Route(NamedTuple):
    """`scan` measures every row that may be found, `codes` compares every one by its codes and measures the best,
    `graph` walks."""

    strategy: Strategy
    ef: int | None  # the beam: of a walk, or of how many are measured after codes
    estimate: int  # distances that it is expected to compute for a query

    def surer(self, version: ColumnVersion, k: int, filtered: bool) -> Route:
        """What follows a walk that gave up, or did not find enough."""
        if self.strategy == "graph" and filtered and _has_codes(version):
            return self._replace(strategy="codes", ef=max(self.ef or 0, 4 * k))
        return self._replace(strategy="scan", ef=None)


def choose_route(version: ColumnVersion, k: int, ef: int | None, exact: bool, matching: int | None) -> Route:
    """The fastest that finds what there is; `matching` rows pass the filter, None where there is none."""
    live = version.state.live
    found = live if matching is None else matching
    k = min(k, found)
    beam = max(DEFAULT_EF if ef is None else ef, k)
    scan = Route("scan", None, found)
    if exact or not version.state.linked:
        return scan
    if matching is None:
        walked = _COMPARED_PER_EF * beam * (live + version.state.waiting) // max(live, 1)
        return scan if live <= walked else Route("graph", beam, walked)
    if found <= _FEW:
        return scan
    degree = version.column.options.m0
    looks = min(degree / (found / max(live, 1)), degree * degree)
    walked = int(_WALKED_PER_EF * beam * (degree + looks / _LOOKS_PER_DISTANCE))
    if found <= walked:
        measured = max(beam, 4 * k)
        return Route("codes", measured, found) if _has_codes(version) and measured < found else scan
    return Route("graph", beam, min(walked, found))


def _has_codes(version: ColumnVersion) -> bool:
    return version.codes is not None and version.codes.quantizer is not None
