"""What reads give back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from vecdb.errors import VectorError
from vecdb.filters.tree import Filter
from vecdb.mirror.load import Stored
from vecdb.query.route import Strategy
from vecdb.storage.rows import Id

Vectors: TypeAlias = dict[str, Stored]
Parts: TypeAlias = tuple[Id, dict[str, Any], Vectors | None]  # of a row: id, fields, vectors


@dataclass(slots=True)
class Row:
    """A row. `vectors` holds those it has, by column, when they were asked for."""

    id: Id
    fields: dict[str, Any]
    vectors: Vectors | None = None

    @property
    def vector(self) -> Stored | None:
        """The vector of a row that has one column; None where the row has none."""
        if self.vectors is None:
            raise VectorError("this row was read without vectors; read it with vectors=True")
        if len(self.vectors) > 1:
            raise VectorError(f"this row has the vectors {sorted(self.vectors)}: take one from row.vectors")
        return next(iter(self.vectors.values()), None)


@dataclass(slots=True)
class Hit(Row):
    """A row found by a search, with its distance to the query."""

    distance: float = field(default=float("nan"), kw_only=True)


@dataclass(slots=True)
class Plan:
    """What a search did; from `explain`, what it would do."""

    strategy: Strategy  # "graph", "scan" of all vectors, or "codes": of all codes, then of the best one's vectors
    rows: int  # with a vector
    matching: int  # of them, those that match the filter
    means: tuple[str, ...]  # what the filter read: "index lang", "column year", "rows"
    estimate: int  # distances that were expected
    compared: int  # distances computed
    ef: int | None  # beam width of a graph search; how many were measured after a scan of codes
    seconds: float
    where: Filter | None  # the filter
    damage: str | None = None  # why there was no graph to walk, though the column has one

    @property
    def indexes(self) -> tuple[str, ...]:
        """The indexed fields that the filter used."""
        return tuple(mean.removeprefix("index ") for mean in self.means if mean.startswith("index "))

    def __str__(self) -> str:
        how = {"graph": f"graph search with ef = {self.ef}", "codes": "scan of codes", "scan": "exact scan"}
        among = f"{self.rows:,} rows"
        if self.where is not None:
            among = f"{self.matching:,} of {among} that match {self.where} ({', '.join(self.means) or 'no reading'})"
        if self.estimate and not self.compared:
            return f"{how[self.strategy]} of {among}, about {self.estimate:,} to be compared"
        done = (
            f"{how[self.strategy]} of {among}: {self.compared:,} compared, {self.estimate:,} expected, "
            f"in {1000 * self.seconds:.2f} ms"
        )
        return done if self.damage is None else f"{done}; the graph is damaged: {self.damage}"


class Hits(Sequence[Hit]):
    """The hits of one search, nearest first."""

    def __init__(self, ids: list[Id], distances: NDArray[np.float64], rows: list[Parts] | None, plan: Plan) -> None:
        """`rows` is None where nothing but the ids was asked for."""
        self.plan = plan
        self._ids = ids
        self._distances = distances
        self._rows = rows

    @property
    def ids(self) -> list[Id]:
        return self._ids.copy()

    @property
    def distances(self) -> NDArray[np.float64]:
        """(hits,) float64, ascending."""
        return self._distances.copy()

    @cached_property
    def _hits(self) -> list[Hit]:
        """Made when somebody looks: many callers want the ids only."""
        rows = [(identifier, {}, None) for identifier in self._ids] if self._rows is None else self._rows
        return [Hit(*row, distance=distance) for row, distance in zip(rows, self._distances.tolist(), strict=True)]

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> list[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | list[Hit]:
        return self._hits[index]

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __repr__(self) -> str:
        return f"Hits({[(hit.id, round(hit.distance, 6)) for hit in self]})"


@dataclass(frozen=True)
class BatchHits:
    """The hits of many searches: row q holds those of query q, nearest first.

    What lies past `counts[q]` is padding: -1 or None as id, infinity as distance.
    """

    ids: NDArray[Any]  # (queries, k): int64 where every id of the table is an int, else object
    distances: NDArray[np.float32]  # (queries, k)
    counts: NDArray[np.int64]  # (queries,)

    def __len__(self) -> int:
        return len(self.counts)
