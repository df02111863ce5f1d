"""What curves say at equal recall."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tools.bench import report
from tools.bench.contenders import VECDB
from tools.bench.curves import EFS, Curve

TARGETS: Final = (0.90, 0.95, 0.99)

Speeds = dict[str, dict[str, float | None]]  # by contender, then by recall; None where it is not reached


@dataclass(frozen=True)
class Comparison:
    curves: dict[str, Curve]
    qps_at_recall: Speeds
    speed_to_peers: Speeds  # vecdb's queries per second over a peer's

    def at_equal_recall(self, title: str) -> str:
        head = ["recall", *(f"{target:.2f}" for target in TARGETS)]
        speeds = [
            [name, *("not reached" if speed is None else report.whole(speed) for speed in reached.values())]
            for name, reached in self.qps_at_recall.items()
        ]
        tables = [report.grid(f"{title}, queries/s at equal recall", head, speeds)]
        if self.speed_to_peers:
            ratios = [[name, *map(report.times, reached.values())] for name, reached in self.speed_to_peers.items()]
            tables.append(report.grid(f"{title}, {VECDB} over its peers", head, ratios))
        return "\n\n".join(tables)

    def by_beam_width(self, title: str) -> str:
        """Two tables; a curve that has ended leaves its places empty."""
        recalls = [{point.ef: f"{point.recall:.4f}" for point in curve} for curve in self.curves.values()]
        speeds = [{point.ef: report.whole(point.qps) for point in curve} for curve in self.curves.values()]
        tables = []
        for what, columns in (("recall", recalls), ("queries/s", speeds)):
            efs = [ef for ef in EFS if any(ef in column for column in columns)]
            rows = [[str(ef), *(column.get(ef, report.ABSENT) for column in columns)] for ef in efs]
            tables.append(report.grid(f"{title}, {what}", ["ef", *self.curves], rows))
        return "\n\n".join(tables)


def compare(curves: Mapping[str, Curve]) -> Comparison:
    """Compare vecdb with the peers, all on the same number of threads."""
    speeds: Speeds = {
        name: {f"{target:.2f}": qps_at(curve, target) for target in TARGETS} for name, curve in curves.items()
    }
    ratios = {name: ratios_to(speeds[VECDB], reached) for name, reached in speeds.items() if name != VECDB}
    return Comparison(dict(curves), speeds, ratios)


def qps_at(curve: Curve, recall: float) -> float | None:
    """Queries per second at a recall, log-linear between the two neighbouring points; None where it is not reached.

    A point counts only if no other is at least as good in both. A curve that begins above the recall gives the speed
    of its fastest point.

    >>> from tools.bench.curves import Point
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


def ratios_to(ours: Mapping[str, float | None], theirs: Mapping[str, float | None]) -> dict[str, float | None]:
    """How many times as fast the first is, None where one of them has no figure.

    >>> ratios_to({"0.90": 3.0, "0.95": 1.0}, {"0.90": 2.0, "0.95": None})
    {'0.90': 1.5, '0.95': None}
    """
    ratios = {}
    for recall, speed in ours.items():
        other = theirs[recall]
        ratios[recall] = None if speed is None or other is None else speed / other
    return ratios


def gains(curve: Curve, base: Curve) -> dict[int, float]:
    """How many times as fast the first curve is, by beam width."""
    speeds = {point.ef: point.qps for point in base}
    return {point.ef: point.qps / speeds[point.ef] for point in curve}


def _front(curve: Curve) -> Curve:
    """The points that none beats in both recall and speed, best recall first.

    >>> from tools.bench.curves import Point
    >>> [point.ef for point in _front([Point(10, 0.8, 1000.0), Point(20, 0.7, 900.0), Point(30, 0.9, 500.0)])]
    [30, 10]
    """
    front: Curve = []
    for point in sorted(curve, key=lambda point: (-point.recall, -point.qps)):
        if not front or point.qps > front[-1].qps:
            front.append(point)
    return front
