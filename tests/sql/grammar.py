"""SELECT statements by a grammar, of which SQLite and vecdb must say the same."""

from __future__ import annotations

import random

INTS, REALS, TEXTS = ("a", "b"), ("x", "y"), ("s", "u")


class Grammar:
    """Expressions keep to one kind on both sides of an operator: SQLite compares kinds, vecdb does not."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def integer(self, depth: int = 2) -> str:
        if depth == 0 or self.random.random() < 0.4:
            return self.pick(
                *INTS, str(self.random.randint(-5, 12)), "id", "NULL" if self.random.random() < 0.2 else "3"
            )
        one, other = self.integer(depth - 1), self.integer(depth - 1)
        return self.pick(
            f"({one} {self.pick('+', '-', '*', '/', '%')} {other})",
            f"abs({one})",
            f"coalesce({one}, {other})",
            f"nullif({one}, {other})",
            f"length({self.text(depth - 1)})",
            f"CASE WHEN {self.condition(depth - 1)} THEN {one} ELSE {other} END",
            f"CASE {one} WHEN {other} THEN 1 WHEN 2 THEN {other} END",
            f"CAST({self.real(depth - 1)} AS INTEGER)",
            f"instr({self.text(depth - 1)}, {self.pick(repr('a'), repr('bc'))})",
            f"(-{one})",
            f"ifnull({one}, 0)",
        )

    def real(self, depth: int = 2) -> str:
        if depth == 0 or self.random.random() < 0.4:
            return self.pick(*REALS, f"{self.random.randint(-8, 8) / 4}", "0.5")
        one, other = self.real(depth - 1), self.real(depth - 1)
        return self.pick(
            f"({one} {self.pick('+', '-', '*', '/')} {other})",
            f"({self.integer(depth - 1)} {self.pick('+', '*', '/')} {one})",
            f"abs({one})",
            f"coalesce({one}, {other})",
            f"round({one}, 1)",
            f"CAST({self.integer(depth - 1)} AS REAL)",
            f"CASE WHEN {self.condition(depth - 1)} THEN {one} ELSE {other} END",
        )

    def text(self, depth: int = 2) -> str:
        if depth == 0 or self.random.random() < 0.4:
            return self.pick(*TEXTS, "'abc'", "'b'", "''")
        one = self.text(depth - 1)
        return self.pick(
            f"upper({one})",
            f"lower({one})",
            f"({one} || {self.text(depth - 1)})",
            f"({one} || {self.integer(0)})",
            f"substr({one}, {self.random.randint(-4, 4)}, {self.random.randint(-3, 4)})",
            f"substr({one}, {self.random.randint(-4, 4)})",
            f"trim({one})",
            f"ltrim({one}, 'ab')",
            f"rtrim({one}, 'c')",
            f"replace({one}, 'a', 'xy')",
            f"coalesce({one}, 'none')",
            f"CAST({self.integer(0)} AS TEXT)",
        )

    def condition(self, depth: int = 2) -> str:
        if depth and self.random.random() < 0.5:
            one, other = self.condition(depth - 1), self.condition(depth - 1)
            return self.pick(f"({one} AND {other})", f"({one} OR {other})", f"(NOT {one})")
        inner = max(0, depth - 1)
        comparison = self.pick("=", "!=", "<>", "<", "<=", ">", ">=")
        negation = self.pick("", "NOT ")
        return self.pick(
            f"{self.integer(inner)} {comparison} {self.integer(inner)}",
            f"{self.real(inner)} {comparison} {self.real(inner)}",
            f"{self.pick(*TEXTS)} {comparison} {self.text(inner)}",
            f"{self.pick(*INTS)} {comparison} {self.random.randint(-3, 9)}",
            f"{self.pick(*REALS)} {comparison} {self.random.randint(-3, 3)}",
            f"{self.pick(*INTS)} {comparison} {self.pick(*REALS)}",
            f"{self.pick(*INTS)} {negation}BETWEEN {self.random.randint(-3, 2)} AND {self.random.randint(2, 9)}",
            f"{self.pick(*INTS)} {negation}IN (1, 2, {self.pick('3', 'NULL', '5')})",
            f"{self.pick(*TEXTS)} {negation}IN ('abc', 'b', 'xa')",
            f"{self.pick(*TEXTS)} {negation}LIKE '{self.pick('a%', '%b%', '_b%', 'abc', '%')}'",
            f"{self.pick(*INTS, *REALS, *TEXTS)} IS {negation}NULL",
            f"id {self.pick('<', '>', '=', '!=')} {self.random.randint(1, 60)}",
            f"a {negation}IN (SELECT k FROM o WHERE {self.pick('k > 2', 'w = 1', 'name IS NOT NULL')})",
        )

    def value(self) -> str:
        return self.pick(self.integer(), self.real(), self.text(), self.pick(*INTS, *REALS, *TEXTS))

    def where(self) -> str:
        return f" WHERE {self.condition()}" if self.random.random() < 0.8 else ""

    def limit(self) -> str:
        if self.random.random() < 0.5:
            return ""
        return f" LIMIT {self.random.randint(0, 9)}" + (
            f" OFFSET {self.random.randint(0, 5)}" if self.random.random() < 0.5 else ""
        )

    def order(self, keys: list[str]) -> str:
        """By some keys, and by the id at last, so that there is one order."""
        chosen = [
            key + self.pick("", " ASC", " DESC", " DESC NULLS FIRST", " NULLS LAST")
            for key in self.random.sample(keys, self.random.randint(0, min(2, len(keys))))
        ]
        return " ORDER BY " + ", ".join([*chosen, "id"]) + self.limit()

    def rows(self) -> str:
        values = [self.value() for _ in range(self.random.randint(1, 3))]
        order = (
            self.order([*INTS, *REALS, *TEXTS, "1", f"(0 + {self.integer(1)})"]) if self.random.random() < 0.7 else ""
        )
        return f"SELECT {', '.join(values)} FROM t{self.where()}{order}"

    def fields(self) -> str:
        """What vecdb scans in order, without a sort."""
        order = self.order([*INTS, *REALS, *TEXTS]) if self.random.random() < 0.5 else " ORDER BY a, x DESC, id"
        return f"SELECT id, a, x AS quotient, s FROM t{self.where()}{order}"

    def aggregate(self) -> str:
        return self.pick(
            "count(*)",
            f"count({self.value()})",
            f"count(DISTINCT {self.pick(*INTS, *TEXTS)})",
            f"sum({self.integer(1)})",
            f"sum({self.real(1)})",
            f"avg({self.pick(*INTS, *REALS)})",
            f"min({self.pick(*INTS, *REALS, *TEXTS)})",
            f"max({self.value()})",
            f"total({self.pick(*INTS, *REALS)})",
            f"sum(DISTINCT {self.pick(*INTS)})",
            f"count(*) * 2 + max({self.pick(*INTS)})",
        )

    def whole(self) -> str:
        return f"SELECT {self.aggregate()}, {self.aggregate()} FROM t{self.where()}"

    def groups(self) -> str:
        key = self.pick("a", "s", "b % 3", "upper(u)", "x", "a IS NULL", "length(s)")
        having = self.pick("", " HAVING count(*) > 1", " HAVING sum(b) > 5", f" HAVING max(a) >= {self.pick('1', '4')}")
        group = self.pick(key, "1", "k0")
        order = self.pick("", " ORDER BY 1", " ORDER BY count(*), k0", " ORDER BY 1 DESC" + self.limit())
        return f"SELECT {key} AS k0, {self.aggregate()} AS n FROM t{self.where()} GROUP BY {group}{having}{order}"

    def distinct(self) -> str:
        names = self.random.sample([*INTS, *TEXTS, "b % 2", "x > 0"], self.random.randint(1, 2))
        order = " ORDER BY " + ", ".join(str(number + 1) for number in range(len(names)))
        return f"SELECT DISTINCT {', '.join(names)} FROM t{self.where()}" + (
            order + self.limit() if self.random.random() < 0.5 else ""
        )

    def join(self) -> str:
        kind = self.pick("JOIN", "LEFT JOIN", "INNER JOIN")
        on = self.pick("t.a = o.k", "o.k = t.b", "t.s = o.name", "t.a = o.k AND o.w > 1", "t.a = o.k AND t.b > o.w")
        where = self.pick(
            "", " WHERE o.w = 2", " WHERE t.b > 3 AND o.name IS NOT NULL", " WHERE t.x < o.w", " WHERE k IS NULL"
        )
        values = self.pick("t.id, o.id, name", "t.a + o.k, s || name", "count(*), max(o.w)", "t.s, count(o.id)")
        group = " GROUP BY t.s" if values.startswith("t.s, count") else ""
        order = " ORDER BY t.id, o.id" if values.startswith("t.id") else ""
        return f"SELECT {values} FROM t {kind} o ON {on}{where}{group}{order}"

    def inner(self) -> str:
        return self.pick(
            f"WITH c AS (SELECT a p, count(*) AS n FROM t{self.where()} GROUP BY a) SELECT p, n FROM c ORDER BY n, p",
            f"SELECT m FROM (SELECT max(b) AS m, s FROM t{self.where()} GROUP BY s) AS q WHERE m > 2 ORDER BY 1",
            f"SELECT id FROM t WHERE a = (SELECT max(a) FROM t{self.where()}) ORDER BY id",
            f"SELECT id FROM t WHERE EXISTS (SELECT 1 FROM o WHERE k = {self.pick('3', '7', '99')}) ORDER BY id",
            f"SELECT id, (SELECT count(*) FROM o) + a FROM t{self.where()} ORDER BY id",
            "WITH c AS (SELECT k, name FROM o WHERE w) SELECT t.id, name FROM t JOIN c ON t.a = c.k ORDER BY t.id, 2",
        )

    def statement(self) -> str:
        kinds = [self.rows, self.rows, self.rows, self.fields, self.whole, self.groups, self.groups, self.distinct]
        return self.random.choice([*kinds, self.join, self.inner])()
