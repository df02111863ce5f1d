"""Recall/speed curves of several contenders, and what they say at equal recall."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tools.bench.exact import Rows, Truth

EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
TARGETS = (0.90, 0.95, 0.99)
_ROUNDS = 3
_TURN_SECONDS = 0.2  # a turn answers all queries again until so much time has passed


class Contender(NamedTuple):
    """`search` answers all queries at a beam width, on one thread; `rows`, which is not timed, turns what it returned
    into row numbers (queries, k)."""

    name: str
    search: Callable[[int], Any]
    rows: Callable[[Any], Rows]


@dataclass(frozen=True)
class Point:
    ef: int
    recall: float
    qps: float  # queries per second


Curve = list[Point]


def measure_curves(contenders: Sequence[Contender], truth: Truth, queries: int) -> dict[str, Curve]:
    """A curve for each contender, over EFS.

    At each beam width the contenders take turns, so that what else the machine does meets all of them; this is done
    in three rounds, and the best time of each counts.
    """
    recalls: dict[tuple[str, int], float] = {}
    best: dict[tuple[str, int], float] = {}
    for contender in contenders:
        for ef in EFS:
            recalls[contender.name, ef] = truth.recall(contender.rows(contender.search(ef)))
    for _ in range(_ROUNDS):
        for ef in EFS:
            for contender in contenders:
                place = contender.name, ef
                best[place] = min(_best_seconds(contender, ef), best.get(place, math.inf))
    return {
        contender.name: [Point(ef, recalls[contender.name, ef], queries / best[contender.name, ef]) for ef in EFS]
        for contender in contenders
    }


def _best_seconds(contender: Contender, ef: int) -> float:
    best, left = math.inf, _TURN_SECONDS
    while left > 0:
        start = time.perf_counter()
        contender.search(ef)
        seconds = time.perf_counter() - start
        best, left = min(best, seconds), left - seconds
    return best


def qps_at(curve: Sequence[Point], recall: float) -> float | None:
    """Queries per second at a recall, log-linear between the two neighbouring points; None where it is not reached.

    A point counts only if no other is at least as good in both. A curve that begins above the recall gives the speed
    of its fastest point.

    >>> curve = [Point(10, 0.8, 1000.0), Point(20, 0.9, 100.0), Point(40, 1.0, 10.0)]
    >>> round(qps_at(curve, 0.85), 1), round(qps_at(curve, 0.9), 1), qps_at(curve, 0.5)
    (316.2, 100.0, 1000.0)
    >>> qps_at(curve[:2], 0.95) is None
    True
    """
    points = _front(curve)
    for slower, faster in zip(points, [*points[1:], None], strict=True):
        if slower.recall < recall:
            return None
        if faster is None:
            return slower.qps
        if faster.recall < recall:
            share = (recall - faster.recall) / (slower.recall - faster.recall)
            return math.exp((1 - share) * math.log(faster.qps) + share * math.log(slower.qps))
    return None


def compare(curves: Mapping[str, Curve]) -> dict[str, dict[str, float | None]]:
    """Queries per second of each contender at each target recall."""
    return {f"{target:.2f}": {name: qps_at(curve, target) for name, curve in curves.items()} for target in TARGETS}


def _front(curve: Sequence[Point]) -> Curve:
    """The points that none beats in both recall and speed, best recall first.

    >>> [point.ef for point in _front([Point(10, 0.8, 1000.0), Point(20, 0.7, 900.0), Point(30, 0.9, 500.0)])]
    [30, 10]
    """
    front: Curve = []
    for point in sorted(curve, key=lambda point: (-point.recall, -point.qps)):
        if not front or point.qps > front[-1].qps:
            front.append(point)
    return front
