"""What a check found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

_LISTED: Final = 50  # problems of a kind in a table that are told one by one; more are counted


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it must be. `kind` names what was looked at: "file", "structure", "header", "catalog",
    "checksum", "row", "id",
    "live", "term", "column", "blocks", "vector", "codes", "links", "changes", or "process"."""

    table: str | None  # None where it is of no table
    kind: str
    place: str
    message: str

    def __str__(self) -> str:
        where = f"table {self.table!r}, " if self.table is not None else ""
        return f"{self.kind}: {where}{self.place}: {self.message}"


@dataclass(frozen=True)
class Report:
    """The result of a check. `counts` says how much of each kind was looked at."""

    path: str
    level: str
    problems: list[Problem]
    counts: dict[str, int]
    seconds: float
    unlisted: int = 0  # problems beyond those that are listed

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def __str__(self) -> str:
        looked = ", ".join(f"{count:,} {what}" for what, count in self.counts.items()) or "nothing could be read"
        if self.ok:
            return f"{self.path} is sound ({self.level} check: {looked}; {self.seconds:.1f} s)"
        count = len(self.problems) + self.unlisted
        lines = [f"{self.path} has {count:,} problem{'s' if count > 1 else ''} ({self.level} check: {looked}):"]
        lines += [f"  {problem}" for problem in self.problems]
        if self.unlisted:
            lines.append(f"  and {self.unlisted:,} more of the same kinds")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": self.path,
            "level": self.level,
            "ok": self.ok,
            "problems": [vars(problem) for problem in self.problems],
            "unlisted": self.unlisted,
            "counts": self.counts,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class Findings:
    """Problems as they are found."""

    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unlisted: int = 0
    _kinds: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    _handed_over: int = 0

    def add(self, table: str | None, kind: str, place: str, message: str) -> None:
        self._kinds[table, kind] += 1
        if self._kinds[table, kind] <= _LISTED:
            self.problems.append(Problem(table, kind, place, message))
        else:
            self.unlisted += 1

    def hand_over(self) -> dict[str, Any]:
        """What was found since the last time, for `take` in another process."""
        problems = [[item.table, item.kind, item.place, item.message] for item in self.problems[self._handed_over :]]
        self._handed_over = len(self.problems)
        counts, self.counts = dict(self.counts), Counter()
        unlisted, self.unlisted = self.unlisted, 0
        return {"problems": problems, "counts": counts, "unlisted": unlisted}

    def take(self, found: dict[str, Any]) -> None:
        for problem in found["problems"]:
            self.add(*problem)
        self.counts.update(found["counts"])
        self.unlisted += found["unlisted"]
