-- Columns that tables are joined by, and queries that depend on the row around them.

SELECT id FROM people a JOIN people b USING (id) WHERE id < 3 ORDER BY id

SELECT id, a.name, b.city FROM people a JOIN people b USING (id, active) WHERE active AND id > 6 ORDER BY id

SELECT id, count(*) FROM people a JOIN people b USING (id) WHERE id < 4 GROUP BY id HAVING max(id) > 1 ORDER BY id

SELECT id + 1 AS next FROM people a JOIN people b USING (id) WHERE id BETWEEN 2 AND 3 ORDER BY next

SELECT id FROM (SELECT id FROM people WHERE id < 3) a LEFT JOIN (SELECT id FROM people WHERE id > 1) b USING (id) ORDER BY id

SELECT id FROM (SELECT id FROM people WHERE id < 3) a RIGHT JOIN (SELECT id FROM people WHERE id BETWEEN 2 AND 4) b USING (id) ORDER BY id

SELECT id, a.name, b.city FROM (SELECT id, name FROM people WHERE id < 3) a FULL JOIN (SELECT id, city FROM people WHERE id BETWEEN 2 AND 4) b USING (id) WHERE id < 4 ORDER BY id

SELECT * FROM (SELECT id, name FROM people WHERE id < 3) a FULL JOIN (SELECT id, city FROM people WHERE id BETWEEN 2 AND 4) b USING (id) ORDER BY id

SELECT * FROM (SELECT id, name FROM people WHERE id < 3) a RIGHT JOIN (SELECT id, city FROM people WHERE id BETWEEN 2 AND 4) b USING (id) ORDER BY 1

SELECT * FROM (SELECT id, name FROM people WHERE id < 3) a NATURAL FULL JOIN (SELECT id, city FROM people WHERE id BETWEEN 2 AND 4) b ORDER BY 1

SELECT * FROM (SELECT id, name FROM people WHERE id < 3) a FULL JOIN (SELECT id, city FROM people WHERE id BETWEEN 2 AND 4) b USING (id) FULL JOIN (SELECT id, active FROM people WHERE id BETWEEN 4 AND 5) c USING (id) ORDER BY id

SELECT count(*) FROM (SELECT id, city FROM people WHERE id < 6) a RIGHT JOIN people b USING (id, city) WHERE city IS NULL

SELECT x.id, z FROM (SELECT * FROM (SELECT id FROM people WHERE id < 3) a FULL JOIN (SELECT id, city AS z FROM people WHERE id BETWEEN 2 AND 4) b USING (id)) x ORDER BY x.id

SELECT id FROM (SELECT id FROM people) a NATURAL JOIN (SELECT id FROM people) b WHERE id = 2

SELECT id FROM (SELECT id FROM people) a JOIN people b USING (id) JOIN people c USING (id) WHERE id = 2 AND c.id = id

WITH w AS (SELECT id, name FROM people), v AS (SELECT id, city FROM people) SELECT id, name, city FROM w NATURAL JOIN v WHERE id < 3 ORDER BY id

SELECT a.id FROM people a JOIN people b USING (name) WHERE id = 1

SELECT id FROM people a JOIN people b USING (name)

SELECT p.id, l.twice FROM people p, LATERAL (SELECT p.id * 2 AS twice) l WHERE p.id < 3 ORDER BY 1

SELECT p.id, l.n FROM people p, LATERAL (SELECT count(*) AS n FROM people q WHERE q.id < p.id) l WHERE p.id < 5 ORDER BY 1

SELECT p.id, l.name FROM people p CROSS JOIN LATERAL (SELECT q.name FROM people q WHERE q.id > p.id ORDER BY q.id LIMIT 1) l WHERE p.id < 4 ORDER BY 1

SELECT p.id, l.id FROM people p LEFT JOIN LATERAL (SELECT q.id FROM people q WHERE q.id > p.id AND q.city = p.city ORDER BY q.id LIMIT 1) l ON true ORDER BY 1

SELECT p.id, l.a, l.b FROM people p, LATERAL (SELECT p.id + 1 AS a, p.name || '!' AS b) l WHERE l.a < 4 ORDER BY 1

SELECT p.id, l.x FROM people p, LATERAL (SELECT p.id AS x UNION ALL SELECT -p.id) l WHERE p.id < 3 ORDER BY 1, 2

SELECT p.id, l.city, l.n FROM people p, LATERAL (SELECT q.city, count(*) AS n FROM people q WHERE q.id <= p.id GROUP BY q.city) l WHERE p.id < 4 ORDER BY 1, 2

SELECT p.id, l.r FROM people p, LATERAL (SELECT q.id, row_number() OVER (ORDER BY q.id DESC) AS r FROM people q WHERE q.id <= p.id) l WHERE p.id < 4 AND l.id = 1 ORDER BY 1

SELECT p.id, l.c FROM people p, LATERAL (SELECT DISTINCT q.active AS c FROM people q WHERE q.id < p.id AND q.active IS NOT NULL) l WHERE p.id < 4 ORDER BY 1, 2

SELECT p.id, a.x, b.y FROM people p, LATERAL (SELECT p.id + 1 AS x) a, LATERAL (SELECT a.x * 10 + p.id AS y) b WHERE p.id < 3 ORDER BY 1

SELECT id, (SELECT max(q.id) FROM people q WHERE q.id < p.id) AS before FROM people p ORDER BY 1

SELECT id, (SELECT count(*) FROM people q WHERE q.price > p.price) AS dearer FROM people p ORDER BY 1

SELECT id FROM people p WHERE price > (SELECT avg(q.price) FROM people q WHERE q.id <> p.id) ORDER BY 1

SELECT id, (SELECT q.name FROM people q WHERE q.id > p.id ORDER BY q.id LIMIT 1) FROM people p WHERE id < 5 ORDER BY 1

SELECT id, (SELECT sum(q.id) FROM people q WHERE q.id < p.id AND q.city = p.city) FROM people p ORDER BY 1

SELECT id, coalesce((SELECT string_agg(q.name, ',' ORDER BY q.id) FROM people q WHERE q.born < p.born), '-') FROM people p WHERE id < 5 ORDER BY 1

SELECT sum((SELECT count(*) FROM people q WHERE q.id < p.id)) FROM people p

SELECT id, (SELECT q.id FROM people q WHERE q.id > p.id) FROM people p WHERE id = 1

SELECT p.city, (SELECT count(*) FROM generate_series(1, p.n) g) FROM (SELECT city, count(*) AS n FROM people GROUP BY city) p ORDER BY 1

SELECT p.id, l.name FROM people p CROSS JOIN LATERAL (SELECT q.name FROM people q WHERE q.id > p.id ORDER BY q.price DESC LIMIT 1) l ORDER BY 1

SELECT id, (SELECT q.name FROM people q WHERE q.city = p.city ORDER BY q.price DESC LIMIT 1) FROM people p ORDER BY 1

SELECT id, (SELECT q.name FROM people q WHERE q.id <> p.id ORDER BY q.price DESC NULLS LAST LIMIT 1 OFFSET 1) FROM people p ORDER BY 1

SELECT id, ARRAY(SELECT q.name FROM people q WHERE q.id > p.id ORDER BY q.price DESC, q.id LIMIT 3) FROM people p ORDER BY 1

SELECT id, ARRAY(SELECT q.name FROM people q WHERE q.city = p.city ORDER BY q.price DESC, q.id LIMIT 2) FROM people p ORDER BY 1

SELECT p.id, (SELECT count(*) FROM people q WHERE q.id < p.id + 0), (SELECT count(*) FROM people q WHERE q.id < p.id + 1), (SELECT count(*) FROM people q WHERE q.id < p.id + 2), (SELECT count(*) FROM people q WHERE q.id < p.id + 3), (SELECT count(*) FROM people q WHERE q.id < p.id + 4), (SELECT count(*) FROM people q WHERE q.id < p.id + 5), (SELECT count(*) FROM people q WHERE q.id < p.id + 6), (SELECT count(*) FROM people q WHERE q.id < p.id + 7), (SELECT count(*) FROM people q WHERE q.id < p.id + 8), (SELECT count(*) FROM people q WHERE q.id < p.id + 9), (SELECT count(*) FROM people q WHERE q.id < p.id + 10), (SELECT count(*) FROM people q WHERE q.id < p.id + 11), (SELECT count(*) FROM people q WHERE q.id < p.id + 12), (SELECT count(*) FROM people q WHERE q.id < p.id + 13), (SELECT count(*) FROM people q WHERE q.id < p.id + 14), (SELECT count(*) FROM people q WHERE q.id < p.id + 15), (SELECT count(*) FROM people q WHERE q.id < p.id + 16), (SELECT count(*) FROM people q WHERE q.id < p.id + 17), (SELECT count(*) FROM people q WHERE q.id < p.id + 18), (SELECT count(*) FROM people q WHERE q.id < p.id + 19) FROM people p ORDER BY 1

SELECT p.id, a.n, b.n, c.n, d.n FROM people p CROSS JOIN LATERAL (SELECT count(*) AS n FROM people q WHERE q.id < p.id) a CROSS JOIN LATERAL (SELECT count(*) AS n FROM people q WHERE q.price < p.price) b CROSS JOIN LATERAL (SELECT count(*) AS n FROM people q WHERE q.score < p.score) c CROSS JOIN LATERAL (SELECT count(*) AS n FROM people q WHERE q.id < a.n + p.id) d ORDER BY 1

SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true IN (SELECT true))))))))))))))))

SELECT id, city IN (SELECT q.city FROM people q WHERE q.id < 3) IN (SELECT q.active FROM people q) FROM people ORDER BY 1

SELECT p.id, l.id FROM people p LEFT JOIN LATERAL (SELECT q.id, q.city FROM people q WHERE q.id >= p.id ORDER BY q.id LIMIT 1) l ON l.city = p.city ORDER BY 1

SELECT p.id, l.id FROM people p JOIN LATERAL (SELECT q.id, q.city FROM people q WHERE q.id >= p.id ORDER BY q.id LIMIT 1) l ON l.city = p.city ORDER BY 1

SELECT p.id, l.id FROM people p CROSS JOIN LATERAL (SELECT q.id, q.city FROM people q WHERE q.id >= p.id ORDER BY q.id LIMIT 1) l WHERE l.city = p.city ORDER BY 1

SELECT p.id, l.id, r.id FROM people p CROSS JOIN LATERAL (SELECT q.id, q.city FROM people q WHERE q.price IS NOT DISTINCT FROM p.price ORDER BY q.id LIMIT 1) l, people r WHERE l.city = r.city AND r.price = p.price ORDER BY 1, 2, 3

SELECT id FROM people p WHERE p.city = (SELECT max(q.city) FROM people q WHERE q.id > p.id + 100) ORDER BY 1

SELECT a.id FROM people a JOIN people b ON a.price IS NOT DISTINCT FROM b.price WHERE a.city = b.city ORDER BY 1

SELECT a.id, c.id FROM people a JOIN people b ON a.price IS NOT DISTINCT FROM b.price JOIN people c ON c.city = a.city WHERE a.id IN (3, 5, 6) ORDER BY 1, 2

SELECT a.id, c.id FROM people a JOIN people c ON c.city = a.city JOIN people b ON a.price IS NOT DISTINCT FROM b.price WHERE b.born = c.born OR c.born IS NULL ORDER BY 1, 2

-- differs: the rows outside are read twice, and are others then
SELECT count(*), count(n) FROM (SELECT t.r, (SELECT count(*) FROM people q WHERE q.score < t.r) AS n FROM (SELECT random() AS r FROM people) t) u

-- differs: the rows outside are read twice, and may be others then
SELECT v.id, l.n FROM (SELECT * FROM people LIMIT 10) v CROSS JOIN LATERAL (SELECT count(*) AS n FROM people q WHERE q.id < v.id) l ORDER BY 1

-- differs: the rows outside are read twice, and may be others then
SELECT v.id, (SELECT count(*) FROM people q WHERE q.price < v.price) FROM (SELECT * FROM people ORDER BY city LIMIT 3) v ORDER BY 1

SELECT v.id, l.n FROM (SELECT * FROM people ORDER BY id LIMIT 3) v CROSS JOIN LATERAL (SELECT count(*) AS n FROM people q WHERE q.id < v.id) l ORDER BY 1

SELECT v.city, (SELECT count(*) FROM people q WHERE q.city < v.city) FROM (SELECT city, avg(score) AS a, random() AS r FROM people GROUP BY city) v ORDER BY 1

SELECT v.id, (SELECT count(*) FROM people q WHERE q.id < v.r) FROM (SELECT id, rank() OVER (ORDER BY city) AS r FROM people) v ORDER BY 1

SELECT v.id, (SELECT count(*) FROM people q WHERE q.id < v.r) FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS r FROM people) v ORDER BY 1

SELECT count(*) FROM (SELECT random() AS r FROM people) t, LATERAL (SELECT t.r * 2 AS x) l WHERE l.x < 3

SELECT p.id, (SELECT count(*) FROM people q WHERE q.id < p.id GROUP BY q.city) FROM people p WHERE p.id < 4 ORDER BY 1

SELECT p.id, (SELECT count(*) FROM people q WHERE q.city = p.city GROUP BY q.active) FROM people p ORDER BY 1

SELECT p.id, (SELECT count(*) FROM people q WHERE q.city = p.city GROUP BY q.city) FROM people p ORDER BY 1

SELECT id, (SELECT count(*) FROM people q WHERE q.id < p.id + (SELECT count(*) FROM people r WHERE r.id < q.id)) FROM people p ORDER BY 1

SELECT id, (SELECT max((SELECT count(*) FROM people r WHERE r.id < q.id)) FROM people q WHERE q.id < p.id) FROM people p ORDER BY 1

SELECT p.id, ARRAY(WITH RECURSIVE up(id) AS (SELECT q.id FROM people q WHERE q.id = p.id UNION ALL SELECT up.id + 1 FROM up JOIN people r ON r.id = up.id + 1) SELECT id FROM up ORDER BY id) FROM people p WHERE p.id < 4 ORDER BY 1

SELECT p.id, (WITH RECURSIVE n(i, s) AS (SELECT p.id, 1 UNION SELECT i, s + 1 FROM n WHERE s < i) SELECT count(*) FROM n) FROM people p WHERE p.id < 5 ORDER BY 1

SELECT p.id, l.x FROM people p, LATERAL (WITH RECURSIVE n(x) AS (SELECT p.id UNION ALL SELECT x - 1 FROM n WHERE x > 1) SELECT x FROM n) l WHERE p.id < 4 ORDER BY 1, 2

SELECT id FROM people p WHERE id NOT IN (SELECT q.id + 1 FROM people q WHERE q.city = p.city) ORDER BY 1

SELECT id FROM people p WHERE price NOT IN (SELECT q.price FROM people q WHERE q.id > p.id) ORDER BY 1

SELECT id FROM people p WHERE id > 2 AND city NOT IN (SELECT q.city FROM people q WHERE q.id < p.id) AND id < 100 ORDER BY 1

SELECT id FROM people p WHERE NOT (city NOT IN (SELECT q.city FROM people q WHERE q.id < p.id)) ORDER BY 1

SELECT DISTINCT ON (p.city) p.city, p.id, (SELECT count(*) FROM people q WHERE q.city = p.city) AS n FROM people p ORDER BY p.city, p.id

SELECT DISTINCT ON ((SELECT count(*) FROM people q WHERE q.city = p.city)) p.id, EXISTS (SELECT 1 FROM people q WHERE q.id = p.id + 1) AS next FROM people p ORDER BY (SELECT count(*) FROM people q WHERE q.city = p.city), p.id

SELECT * FROM (SELECT upper(p.name) AS name, p.id FROM people p ORDER BY p.name DESC LIMIT 3) x

SELECT x.n FROM (SELECT -p.id AS id, p.id AS n FROM people p ORDER BY p.id LIMIT 2) x

SELECT (SELECT upper(q.name) AS name FROM people q WHERE q.id < p.id ORDER BY q.name DESC LIMIT 1) FROM people p ORDER BY p.id

SELECT p.id, (SELECT count(*) FROM people q WHERE q.id = p.id + 100 LIMIT 1), (SELECT count(*) FROM people q WHERE q.id > p.id LIMIT 5) FROM people p ORDER BY 1
