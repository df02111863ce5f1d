"""How a search goes about it: the one place that decides."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from vecdb.index.readiness import KERNELS
from vecdb.mirror.column import ColumnVersion
from vecdb.options import DEFAULT_EF
from vecdb.query.matching import Matching

Strategy: TypeAlias = Literal["scan", "codes", "graph"]

# Distances that a walk of the graph computes for each place in its beam where all rows live; as many times more as
# there are dead rows for each live one. Measured at ef = 40 and 80: 23 and 19 on passages, 21 and 17 on patches.
_COMPARED_PER_EF: Final = 16
# Of rows that match a filter, so many are measured by their vectors sooner than anything else is begun.
_FEW: Final = 256
# A walk that keeps only what matches takes, for each row that it meets on its way, the time of so many rows in a scan:
# by their codes, where most are told as too far by their signs, and where these lie together, others between them
# included.
_CODES_PER_PLACE: Final = 48
_SIFTED_PER_PLACE: Final = 110
_GROUPED_PER_PLACE: Final = 230
_PASSED_OVER: Final = 3  # slots that lie together for each that matches, above which these are looked at one by one


class Route(NamedTuple):
    """`scan` measures every row that may be found, `codes` compares every one by its codes and measures the best,
    `graph` walks."""

    strategy: Strategy
    ef: int | None  # the beam: of a walk, or of how many are measured after codes
    estimate: int  # distances that it is expected to compute for a query
    together: bool = False  # whether a scan of codes looks at signs side by side, those between matches included

    def surer(self, version: ColumnVersion, k: int, filtered: bool) -> Route:
        """What follows a walk that gave up, or did not find enough."""
        if self.strategy == "graph" and filtered and _has_codes(version):
            return self._replace(strategy="codes", ef=_measured(k, self.ef or 0))
        return self._replace(strategy="scan", ef=None)


def choose_route(version: ColumnVersion, k: int, ef: int | None, exact: bool, matching: Matching | None) -> Route:
    """The fastest that finds what there is; `matching` is what passes the filter, None where there is none."""
    state = version.state
    if exact or not state.linked:
        return Route("scan", None, state.live if matching is None else len(matching))
    if matching is None:
        return _among_all(state.live, state.waiting, k, DEFAULT_EF if ef is None else ef)
    return _among_matching(version, k, DEFAULT_EF if ef is None else ef, matching)


@lru_cache
def _among_all(live: int, waiting: int, k: int, ef: int) -> Route:
    """Where so many rows live, and as many dead ones wait for repair."""
    beam = max(ef, min(k, live))
    walked = _COMPARED_PER_EF * beam * (live + waiting) // max(live, 1)
    return Route("scan", None, live) if live <= walked else Route("graph", beam, walked)


def _among_matching(version: ColumnVersion, k: int, ef: int, matching: Matching) -> Route:
    state, found = version.state, len(matching)
    k = min(k, found)
    beam, scan = max(ef, k), Route("scan", None, found)
    if found <= _FEW:
        return scan
    met = max(beam, least_matching(k, beam) * (state.live + state.waiting) // found)
    together = _lies_together(version, matching)
    if together:
        scanned = matching.spread <= _GROUPED_PER_PLACE * met
    else:
        signs = version.codes is not None and version.codes.signs.shape[1] > 0
        scanned = found <= (_SIFTED_PER_PLACE if signs and KERNELS.sift else _CODES_PER_PLACE) * met
    if not scanned:
        return Route("graph", beam, _COMPARED_PER_EF * met, together)
    measured = _measured(k, beam)
    return Route("codes", measured, found, together) if _has_codes(version) and measured < found else scan


def _lies_together(version: ColumnVersion, matching: Matching) -> bool:
    """Whether so many of the slots that lie together match that it is faster to look at the signs of all of these."""
    if version.codes is None or not len(version.codes.groups) or not KERNELS.look_up:
        return False
    return matching.spread <= _PASSED_OVER * len(matching)


def _measured(k: int, ef: int) -> int:
    """How many of the nearest by their codes a scan measures by their vectors: more than a walk, that on data which
    codes tell apart badly it finds no less."""
    return max(ef, 4 * k)


def least_matching(k: int, ef: int) -> int:
    """How many matching rows a walk goes on to look for. With half of what is beyond k, on data that are hard to search
    it finds less under a filter that excludes rows at random than without."""
    return k + max(ef - k, 0) * 3 // 4


def _has_codes(version: ColumnVersion) -> bool:
    return version.codes is not None and version.codes.quantizer is not None
