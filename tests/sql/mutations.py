"""Statements bent out of shape, for the fuzz of the parser."""

from __future__ import annotations

import random
from pathlib import Path

from tests.sql.grammar import Grammar
from tests.sql.test_mistakes import MISTAKES

WORDS = """
    SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET DISTINCT AS AND OR NOT IN BETWEEN LIKE ILIKE ESCAPE IS TRUE
    NULL FALSE ANY ALL EXISTS CASE WHEN THEN ELSE END CAST JOIN LEFT RIGHT FULL OUTER CROSS NATURAL USING ON WITH
    RECURSIVE INSERT INTO VALUES DEFAULT CONFLICT DO NOTHING UPDATE SET RETURNING DELETE CREATE TABLE INDEX VIEW IF
    DROP ALTER ADD COLUMN PRIMARY KEY UNIQUE CHECK REFERENCES BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE TO EXPLAIN
    ANALYZE SHOW DESCRIBE UNION INTERSECT EXCEPT WINDOW OVER PARTITION FILTER WITHIN LATERAL UNNEST ARRAY ROW STRUCT
    MAP INTERVAL DATE TIME TIMESTAMP AT ZONE EXTRACT FETCH FIRST FOR QUALIFY PIVOT TABLESAMPLE VALUES MERGE TRUNCATE
    GRANT COPY CALL USE PRAGMA notes docs id year lang tags vector meta.a.b count sum max abs substr coalesce
    excluded nope x.y.z.w.v.u CONTAINS VECTOR(3) HALFVEC hnsw ( ) , . ; - + * / % = == != <> < <= > >= || <-> <=>
    <#> ? : :a :: [ ] { } $1 $$ @ # ^ & | ~ ! ` \\ -> ->> @> 'x' '[1,2]' "y" '' ' " -- /* */ 0 1 1.5 1e400 .5 1. 1e
    0x1 99999999999999999999 é 😀 b'1' x'0' e'x'
"""
PIECES = [*WORDS.split(), "\0", "\t", "\n", "\u00a0", "\u200b", "ORDER BY", "GROUP BY", "IS NOT", "NOT IN"]
WRITTEN = [
    line for line in Path(__file__).with_name("selects.sql").read_text().splitlines() if line and line[:2] != "--"
]
OTHERS = [
    "INSERT INTO notes (id, lang, vector) VALUES ('a', ?, '[1,2,3]'), ('b', 'en', NULL) ON CONFLICT (id) DO UPDATE SET "
    "lang = excluded.lang WHERE notes.year > 3 RETURNING id, lang",
    "UPDATE notes SET year = year + 1, vector = ? WHERE lang = :x RETURNING *",
    "DELETE FROM notes WHERE id IN (SELECT id FROM docs WHERE year > 2000) RETURNING id",
    "CREATE TABLE t (id TEXT PRIMARY KEY, a INTEGER NOT NULL DEFAULT 5, b TEXT[], c JSON, v VECTOR(3), h HALFVEC(4))",
    "CREATE INDEX IF NOT EXISTS i ON notes USING hnsw (vector vector_l2_ops) WITH (m = 8, ef_construction = 64)",
    "ALTER TABLE notes ADD COLUMN author TEXT",
    "DROP TABLE IF EXISTS t",
    "EXPLAIN ANALYZE SELECT id, vector <=> ? AS d FROM notes WHERE lang = 'en' AND vector <=> ? < 1 ORDER BY d LIMIT 9",
    "WITH c AS (SELECT a FROM t) SELECT c.a, count(*) FROM c LEFT JOIN o ON c.a = o.k GROUP BY c.a HAVING count(*) > 1",
    "UPDATE notes SET year = (SELECT max(year) FROM docs), vector = vector + '[1,1,1]', lang = DEFAULT WHERE id = 'a'",
    "INSERT OR IGNORE INTO notes VALUES ('a', DEFAULT, 5, ARRAY['x'], ?), ('b', 'en', 1, NULL, NULL)",
    "ALTER TABLE notes ADD COLUMN IF NOT EXISTS at TIMESTAMP NOT NULL DEFAULT '2020-01-01'",
    "SELECT avg(vector), sum(vector * '[2,2,2]'), string_agg(lang, '-') FROM notes WHERE '[1]'::halfvec <-> vector < 5",
    "SELECT a.id FROM notes a JOIN docs b USING (id) WHERE a.vector <-> ? < 4 ORDER BY a.vector <-> ? NULLS LAST, year",
    "SET ef_search = 100",
    "ROLLBACK TO SAVEPOINT s",
]


class Mutations:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.grammar = Grammar(seed)

    def statement(self) -> str:
        rng = self.random
        if rng.random() < 0.1:
            return " ".join(rng.choices(PIECES, k=rng.randint(1, 25)))
        text = rng.choice([self.grammar.statement(), rng.choice(WRITTEN), rng.choice(OTHERS), rng.choice(MISTAKES)[0]])
        for _ in range(rng.randint(0, 4)):
            at, end = sorted(rng.choices(range(len(text) + 1), k=2))
            match rng.randrange(5):
                case 0:
                    text = text[:at] + text[end:]
                case 1:
                    text = text[:at] + rng.choice(PIECES) + text[at:]
                case 2:
                    text = text[:at] + f" {rng.choice(PIECES)} " + text[min(end, at + 8) :]
                case 3:
                    text = text[:at] + text[at:end] + text[at:end] + text[end:]
                case _:
                    words = text.split(" ")
                    place = rng.randrange(len(words))
                    words[place] = rng.choice(PIECES)
                    text = " ".join(words)
        return text[:3000]
