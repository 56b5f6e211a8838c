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

-- differs: an integer of 64 bits
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
