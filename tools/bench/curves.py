"""Recall/speed curves of several contenders."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tools.bench.exact import Rows, Truth

# Steps that are finer at the low end, where a wide graph reaches high recall already.
EFS: Final = (10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768)
_ROUNDS: Final = 3
_TURN_SECONDS = 0.2  # a turn answers all queries again until so much time has passed
_ENOUGH: Final = 0.998  # a curve ends with the first point of this recall


class Contender(NamedTuple):
    """`search` answers all queries at a beam width; `rows`, which is not timed, turns what it returned into row numbers
    (queries, k)."""

    name: str
    search: Callable[[int], Any]
    rows: Callable[[Any], Rows]

    def recall(self, truth: Truth, ef: int) -> float:
        return truth.recall(self.rows(self.search(ef)))


@dataclass(frozen=True)
class Beam:
    ef: int
    recall: float


@dataclass(frozen=True)
class Point(Beam):
    qps: float  # queries per second


Curve = list[Point]


def measure_curves(contenders: Sequence[Contender], truth: Truth, queries: int) -> dict[str, Curve]:
    """A curve for each contender, over as many of EFS as it takes.

    At each beam width the contenders take turns, so that what else the machine does meets all of them; this is done
    in three rounds, and the best time of each counts.
    """
    recalls = {contender.name: _measure_recalls(contender, truth) for contender in contenders}
    best: dict[tuple[str, int], float] = {}
    for _ in range(_ROUNDS):
        for ef in EFS:
            for contender in contenders:
                if ef in recalls[contender.name]:
                    place = contender.name, ef
                    best[place] = min(_best_seconds(contender, ef), best.get(place, math.inf))
    return {
        name: [Point(ef, recall, queries / best[name, ef]) for ef, recall in reached.items()]
        for name, reached in recalls.items()
    }


def find_beam(contender: Contender, truth: Truth, curve: Curve, recall: float) -> Beam | None:
    """The narrowest beam that reaches a recall, searched for between two points of the curve; None if none does."""
    most = next((point.ef for point in curve if point.recall >= recall), None)
    if most is None:
        return None
    least = max((ef for ef in EFS if ef < most), default=most)
    efs = range(least, most)
    ef = least + bisect_left(efs, recall, key=lambda ef: contender.recall(truth, ef))
    return Beam(ef, contender.recall(truth, ef))


def _measure_recalls(contender: Contender, truth: Truth) -> dict[int, float]:
    """Recalls by beam width, up to the first that is enough."""
    recalls: dict[int, float] = {}
    for ef in EFS:
        recalls[ef] = contender.recall(truth, ef)
        if recalls[ef] >= _ENOUGH:
            break
    return recalls


def _best_seconds(contender: Contender, ef: int) -> float:
    best, left = math.inf, _TURN_SECONDS
    while left > 0:
        start = time.perf_counter()
        contender.search(ef)
        seconds = time.perf_counter() - start
        best, left = min(best, seconds), left - seconds
    return best
