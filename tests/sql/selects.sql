-- A statement a line, of the tables t (id, a, b, x, y, s, u) and o (id, k, w, name).
SELECT 1
SELECT 1 + 1, 'a' || 'b', NULL, 2.5
SELECT 7 / 2, -7 / 2, 7 / -2, -7 / -2, 7.0 / 2, 7 / 2.0
SELECT 7 % 3, -7 % 3, 7 % -3, 7.5 % 2, 7 % 2.9
SELECT 1 / 0, 1 % 0, 1.0 / 0, 0 / 0.0
SELECT 9223372036854775807 + 1, 9223372036854775807 * 2, -9223372036854775807 - 2
SELECT 1 = 1, 1 = 2, NULL = NULL, NULL IS NULL, 1 IS NOT NULL
SELECT NOT 1, NOT 0, NOT NULL, 1 AND NULL, 0 AND NULL, 1 OR NULL, 0 OR NULL
SELECT 1 IN (1, NULL), 2 IN (1, NULL), 2 NOT IN (1, NULL), NULL IN (1), 1 IN (2)
SELECT 1 BETWEEN 0 AND 2, NULL BETWEEN 0 AND 1, 3 NOT BETWEEN 1 AND 2
SELECT coalesce(NULL, NULL, 3), ifnull(NULL, 'x'), nullif(1, 1), nullif(1, 2)
SELECT abs(-3), abs(-2.5), abs(NULL), round(2.5), round(-2.5), round(1.234, 2), round(7)
SELECT length('abc'), length(''), length(NULL), length(123), upper('abc'), lower('ABC')
SELECT substr('hello', 2), substr('hello', 2, 3), substr('hello', -3), substr('hello', -3, 2), substr('hello', 0), substr('hello', 0, 2)
SELECT substr('hello', 3, -2), substr('hello', -2, -2), substr('hello', 9), substr('hello', -9, 6), substr(NULL, 1), substr('hello', 1, 0)
SELECT trim('  a '), ltrim('  a '), rtrim('  a '), trim('xxaxx', 'x'), ltrim('xya', 'yx'), rtrim('axy', 'xy')
SELECT replace('abab', 'ab', 'c'), replace('abc', '', 'x'), replace(NULL, 'a', 'b'), instr('hello', 'l'), instr('hello', 'z')
SELECT CAST('12abc' AS INTEGER), CAST('abc' AS INTEGER), CAST('-3.7' AS INTEGER), CAST(3.9 AS INTEGER), CAST(-3.9 AS INTEGER)
SELECT CAST('1e3' AS REAL), CAST(' 2.5x' AS REAL), CAST(3 AS REAL), CAST(NULL AS INTEGER)
SELECT CAST(12 AS TEXT), CAST(1.0 AS TEXT), CAST(0.1 AS TEXT), CAST(1e20 AS TEXT), CAST(-2.5 AS TEXT)
SELECT 1 || 2, 1.5 || 'x', NULL || 'a', 'a' || NULL
SELECT CASE WHEN 1 THEN 'a' ELSE 'b' END, CASE WHEN 0 THEN 'a' END, CASE WHEN NULL THEN 1 ELSE 2 END
SELECT CASE 2 WHEN 1 THEN 'x' WHEN 2 THEN 'y' END, CASE NULL WHEN NULL THEN 1 ELSE 0 END
SELECT max(1, 2, 3), min(1, 2), max(1, NULL), min('a', 'b'), max(1, 2.5)
SELECT -(-3), - 3 + 5, +4, -(2.5)
SELECT 2 + 3 * 4, (2 + 3) * 4, 2 * 3 % 4, 10 - 4 - 3, 100 / 10 / 2
SELECT 1 < 2 AND 2 < 3 OR 0, NOT 1 = 2, NOT (1 = 1 AND 0)
SELECT 'a' < 'b', 'B' < 'a', 'a' = 'A', 'abc' LIKE 'a%', 'abc' LIKE 'A%', 'abc' NOT LIKE '%z'
SELECT 'a%b' LIKE 'a!%b' ESCAPE '!', 'axb' LIKE 'a!%b' ESCAPE '!', 'x' LIKE NULL
SELECT 1 WHERE 1 = 1
SELECT 1 WHERE NULL
SELECT 5 LIMIT 0
SELECT count(*) FROM t
SELECT count(*), count(a), count(x), count(s) FROM t
SELECT count(*) FROM t WHERE a > 2
SELECT count(*) FROM t WHERE a > 200
SELECT sum(a), sum(x), avg(a), avg(x), min(a), max(a), min(s), max(s) FROM t
SELECT sum(a), avg(a), min(a), max(a), count(a), total(a) FROM t WHERE id < 0
SELECT sum(a) FROM t WHERE a IS NULL
SELECT count(DISTINCT a), count(DISTINCT s), sum(DISTINCT b), count(DISTINCT a % 2) FROM t
SELECT max(a) - min(a), sum(a) / count(a), sum(a) * 1.0 / count(a) FROM t
SELECT sum(a + b), sum(a * x), avg(a + 0.5) FROM t
SELECT max(length(s)), min(upper(s)) FROM t
SELECT count(*) + 1, 'n' || count(*) FROM t
SELECT CASE WHEN count(*) > 10 THEN 'many' ELSE 'few' END FROM t
SELECT a, count(*) FROM t GROUP BY a
SELECT a, count(*) FROM t GROUP BY a ORDER BY a
SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY n DESC, a
SELECT a, count(*) AS n FROM t GROUP BY a HAVING n > 5 ORDER BY a
SELECT a, b, count(*) FROM t GROUP BY a, b ORDER BY a, b
SELECT a % 2 AS parity, sum(b) FROM t GROUP BY parity ORDER BY parity
SELECT a % 2, sum(b) FROM t GROUP BY a % 2 ORDER BY 1
SELECT s, max(x), min(y) FROM t GROUP BY s ORDER BY s
SELECT upper(s), count(*) FROM t GROUP BY upper(s) ORDER BY 1
SELECT a + 1, count(*) FROM t GROUP BY a ORDER BY a
SELECT a * 10 + count(*) FROM t GROUP BY a ORDER BY 1
SELECT count(*) FROM t GROUP BY a ORDER BY 1
SELECT a FROM t GROUP BY a HAVING count(*) > 3 AND max(b) > 5 ORDER BY a
SELECT a FROM t GROUP BY 1 ORDER BY 1 DESC
SELECT a, sum(b) FROM t WHERE x > 0 GROUP BY a HAVING sum(b) IS NOT NULL ORDER BY sum(b) DESC, a LIMIT 3
SELECT x, count(*) FROM t GROUP BY x ORDER BY x DESC LIMIT 4 OFFSET 1
SELECT a IS NULL, count(*) FROM t GROUP BY a IS NULL ORDER BY 1
SELECT a, avg(x) FROM t WHERE a IS NOT NULL GROUP BY a ORDER BY avg(x), a
SELECT count(*) FROM (SELECT DISTINCT a, b FROM t) AS q
SELECT sum(n) FROM (SELECT count(*) AS n FROM t GROUP BY a) AS q
SELECT DISTINCT a FROM t ORDER BY a
SELECT DISTINCT a FROM t
SELECT DISTINCT a, s FROM t ORDER BY a, s
SELECT DISTINCT a % 3 AS m FROM t ORDER BY m DESC
SELECT DISTINCT a FROM t ORDER BY a LIMIT 3 OFFSET 1
SELECT DISTINCT a IS NULL, b IS NULL FROM t
SELECT * FROM o ORDER BY id
SELECT * FROM t ORDER BY id LIMIT 5
SELECT t.* FROM t ORDER BY t.id LIMIT 2
SELECT id, a FROM t ORDER BY a, id
SELECT id, a FROM t ORDER BY a DESC, id
SELECT id, a FROM t ORDER BY a DESC, id DESC
SELECT id, a FROM t ORDER BY a NULLS LAST, id
SELECT id, a FROM t ORDER BY a DESC NULLS FIRST, id
SELECT id, a, x FROM t ORDER BY a, x DESC, id
SELECT id, s FROM t ORDER BY s, id
SELECT id, s FROM t ORDER BY length(s), s, id
SELECT id, a + b AS total FROM t ORDER BY total, id
SELECT id, a + b AS total FROM t ORDER BY total DESC, id LIMIT 7
SELECT id AS n FROM t ORDER BY -n LIMIT 4
SELECT a AS b, b AS a, id FROM t ORDER BY a, b, id
SELECT id FROM t ORDER BY a % 3, x * -1, id
SELECT id FROM t ORDER BY 1 LIMIT 3
SELECT id FROM t ORDER BY id DESC LIMIT 3 OFFSET 2
SELECT id FROM t ORDER BY id LIMIT 5 OFFSET 100
SELECT id FROM t ORDER BY id LIMIT -1
SELECT id FROM t WHERE a > 2 AND b < 5 ORDER BY id
SELECT id FROM t WHERE a > 2 OR b < 5 ORDER BY id
SELECT id FROM t WHERE NOT (a > 2 OR b < 5) ORDER BY id
SELECT id FROM t WHERE a = b ORDER BY id
SELECT id FROM t WHERE a < x ORDER BY id
SELECT id FROM t WHERE a + b > 8 ORDER BY id
SELECT id FROM t WHERE a * 2 = b ORDER BY id
SELECT id FROM t WHERE a IS NULL ORDER BY id
SELECT id FROM t WHERE a IS NOT NULL AND s IS NULL ORDER BY id
SELECT id FROM t WHERE a IN (1, 2, 3) ORDER BY id
SELECT id FROM t WHERE a NOT IN (1, 2, 3) ORDER BY id
SELECT id FROM t WHERE a NOT IN (1, NULL) ORDER BY id
SELECT id FROM t WHERE a BETWEEN 1 AND 3 AND x NOT BETWEEN -1 AND 1 ORDER BY id
SELECT id FROM t WHERE s LIKE 'a%' ORDER BY id
SELECT id FROM t WHERE s NOT LIKE '%b%' ORDER BY id
SELECT id FROM t WHERE upper(s) LIKE 'A%' ORDER BY id
SELECT id FROM t WHERE length(s) = 3 ORDER BY id
SELECT id FROM t WHERE s > 'b' ORDER BY id
SELECT id FROM t WHERE s || u = 'abcb' ORDER BY id
SELECT id FROM t WHERE coalesce(a, 0) = 0 ORDER BY id
SELECT id FROM t WHERE CASE WHEN a > 2 THEN b > 5 ELSE b < 5 END ORDER BY id
SELECT id FROM t WHERE id = 5
SELECT id FROM t WHERE id IN (5, 7, 900) ORDER BY id
SELECT id FROM t WHERE id IN (9, 8, 7) AND a > 0 ORDER BY id
SELECT id FROM t WHERE id > 50 ORDER BY id
SELECT id FROM t WHERE id = 5 OR id = 6 ORDER BY id
SELECT id FROM t WHERE id % 10 = 0 AND a IS NOT NULL ORDER BY id
SELECT a FROM t WHERE id = 3 AND a > 100
SELECT id FROM t WHERE x = 1 ORDER BY id
SELECT id FROM t WHERE x > 1 AND x < 2.5 ORDER BY id
SELECT id FROM t WHERE a > 1.5 ORDER BY id
SELECT id FROM t WHERE 2 < a ORDER BY id
SELECT id FROM t WHERE a ORDER BY id
SELECT id FROM t WHERE a IN (SELECT k FROM o) ORDER BY id
SELECT id FROM t WHERE a NOT IN (SELECT k FROM o WHERE k IS NOT NULL) ORDER BY id
SELECT id FROM t WHERE a NOT IN (SELECT k FROM o) ORDER BY id
SELECT id FROM t WHERE s IN (SELECT name FROM o WHERE w > 1) ORDER BY id
SELECT id FROM t WHERE id IN (SELECT k FROM o) ORDER BY id
SELECT id FROM t WHERE a = (SELECT max(k) FROM o) ORDER BY id
SELECT id FROM t WHERE a > (SELECT avg(a) FROM t) ORDER BY id
SELECT id FROM t WHERE a + 1 IN (SELECT k FROM o) ORDER BY id
SELECT (SELECT count(*) FROM o), (SELECT name FROM o WHERE id = 900)
SELECT EXISTS (SELECT 1 FROM o), EXISTS (SELECT 1 FROM o WHERE k > 100)
SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM o WHERE k > 100) ORDER BY id LIMIT 3
SELECT id FROM t WHERE a IN (SELECT a FROM t WHERE b IN (SELECT k FROM o)) ORDER BY id
SELECT t.id, o.id FROM t JOIN o ON t.a = o.k ORDER BY t.id, o.id
SELECT t.id, o.id FROM t INNER JOIN o ON o.k = t.a ORDER BY t.id, o.id
SELECT t.id, o.name FROM t LEFT JOIN o ON t.a = o.k ORDER BY t.id, o.id
SELECT t.id FROM t LEFT JOIN o ON t.a = o.k WHERE o.id IS NULL ORDER BY t.id
SELECT t.id, o.id FROM t LEFT JOIN o ON t.a = o.k AND o.w = 2 ORDER BY t.id, o.id
SELECT t.id, o.id FROM t LEFT JOIN o ON t.a = o.k AND t.b > 5 ORDER BY t.id, o.id
SELECT t.id, o.id FROM t, o WHERE t.a = o.k ORDER BY t.id, o.id
SELECT t.id, o.id FROM t, o WHERE t.a = o.k AND o.w > 1 AND t.b < 5 ORDER BY t.id, o.id
SELECT t.id, o.id FROM t CROSS JOIN o WHERE t.a = o.k ORDER BY t.id, o.id
SELECT p.id, q.id FROM t AS p JOIN t AS q ON p.a = q.b WHERE p.id < q.id ORDER BY p.id, q.id
SELECT p.id, q.id FROM t p JOIN t q ON p.a + 1 = q.b ORDER BY p.id, q.id LIMIT 20
SELECT count(*) FROM t JOIN o ON t.a = o.k
SELECT o.name, count(*) FROM t JOIN o ON t.a = o.k GROUP BY o.name ORDER BY o.name
SELECT o.name, sum(t.b) FROM t LEFT JOIN o ON t.a = o.k GROUP BY o.name ORDER BY 1
SELECT s, name FROM t JOIN o ON a = k AND b = w ORDER BY t.id, o.id
SELECT t.id, o.id FROM t JOIN o ON t.s = o.name ORDER BY t.id, o.id
SELECT DISTINCT o.w FROM t JOIN o ON t.a = o.k ORDER BY o.w
SELECT o.* FROM o JOIN t ON o.k = t.id ORDER BY o.id
WITH c AS (SELECT a, count(*) AS n FROM t GROUP BY a) SELECT * FROM c ORDER BY a
WITH c AS (SELECT id, a FROM t WHERE a > 1) SELECT count(*), max(id) FROM c WHERE a < 5
WITH c AS (SELECT a FROM t), d AS (SELECT a FROM c WHERE a > 3) SELECT count(*) FROM d
WITH c AS (SELECT k FROM o WHERE w = 1) SELECT id FROM t WHERE a IN (SELECT k FROM c) ORDER BY id
WITH c AS (SELECT a AS k2, max(b) AS m FROM t GROUP BY a) SELECT o.id, c.m FROM o JOIN c ON o.k = c.k2 ORDER BY o.id
SELECT q.a FROM (SELECT a, b FROM t WHERE b > 3) AS q WHERE q.a > 2 ORDER BY q.a, q.b
SELECT n FROM (SELECT a AS n FROM t ORDER BY id LIMIT 5) AS q
SELECT max(n) FROM (SELECT a + b AS n FROM t) AS q
SELECT id, CASE WHEN a > 3 THEN 'big' WHEN a IS NULL THEN 'none' ELSE 'small' END AS size FROM t ORDER BY size, id
SELECT id, round(x / 3, 1) FROM t ORDER BY id
SELECT id, x * y, x + y, x - y, x / y FROM t ORDER BY id
SELECT id, a / b, a % b, a * b FROM t ORDER BY id
SELECT id, CAST(x AS INTEGER), CAST(a AS REAL), CAST(a AS TEXT), CAST(x AS TEXT) FROM t ORDER BY id
SELECT id, substr(s, 1, 1) || '-' || upper(u) FROM t ORDER BY id
SELECT id AS "the id", a "the a" FROM t ORDER BY "the id" LIMIT 2
SELECT ID, A FROM T ORDER BY Id LIMIT 3
select Count(*), Max(A) from t where B > 1
SELECT t.id, o.w AS weight FROM t JOIN o ON t.a = o.k WHERE weight > 1 ORDER BY t.id, o.id
SELECT t.id, o.w AS weight FROM t, o WHERE t.a = o.k AND weight = 2 ORDER BY t.id, o.id
SELECT t.id FROM t LEFT JOIN o ON t.a = o.k AND o.w > 2 WHERE o.id IS NULL ORDER BY t.id
SELECT t.id, o.name FROM t JOIN o USING (id) ORDER BY t.id
SELECT round(x), abs(a), typeof(x), coalesce(x, a, 0) FROM t ORDER BY id
SELECT group_concat(a, '-') FROM (SELECT a FROM t WHERE a IS NOT NULL ORDER BY id)
SELECT count(*), count(DISTINCT a) FROM t JOIN o ON t.a = o.k
