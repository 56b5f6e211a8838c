-- generate_series of constants, expressions and columns, and what else makes rows in FROM.

SELECT * FROM generate_series(5, 1, -2)

SELECT n FROM generate_series(1, 20000) AS g(n)

SELECT n * 2 AS twice, n + 1 FROM generate_series(1, 3) AS g(n)

SELECT * FROM generate_series(1::bigint, 2)

SELECT * FROM generate_series(3000000000, 3000000002)

SELECT * FROM generate_series(1, 3, 0)

SELECT * FROM generate_series(NULL, 3)

SELECT * FROM generate_series(1, 1 + 2)

SELECT * FROM generate_series(2147483646, 2147483647)

SELECT * FROM generate_series(1.5, 3.5)

SELECT * FROM generate_series(1.1, 4.0, 1.3)

SELECT * FROM generate_series('2024-01-31'::timestamp, '2024-05-01', '1 month')

SELECT * FROM generate_series(date '2024-01-01', date '2024-01-03', interval '1 day')

SELECT * FROM generate_series('2024-03-30 00:00+00'::timestamptz, '2024-03-31 00:00+00'::timestamptz, interval '12 hours')

SELECT * FROM generate_series(timestamp '2024-01-03', timestamp '2024-01-01', interval '-1 day') AS d

SELECT n FROM generate_series(1, length('abc')) AS n

SELECT n FROM generate_series(1, array_upper(ARRAY[4, 5, 6], 1)) AS s(n)

SELECT * FROM generate_series(1, (SELECT count(*) FROM people WHERE city = 'Bern')) AS n

SELECT p.id, n FROM people p, generate_series(1, p.id) AS n WHERE p.id < 4 ORDER BY 1, 2

SELECT p.id, n FROM people p CROSS JOIN LATERAL generate_series(p.id, p.id + 1) AS n WHERE p.id < 3 ORDER BY 1, 2

SELECT p.id, g.n FROM people p LEFT JOIN LATERAL generate_series(2, p.id) AS g(n) ON true WHERE p.id < 4 ORDER BY 1, 2

SELECT a.n, b.n FROM generate_series(1, 2) AS a(n), generate_series(1, 2) AS b(n) ORDER BY 1, 2

SELECT count(*), sum(n), min(n), max(n) FROM generate_series(1, 100000) AS n

SELECT generate_series(1, 2), generate_series(1, 2)

SELECT generate_series(2, 6, 2) * 10

SELECT generate_series(1.0, 2.0, 0.5)

SELECT id, generate_series(1, id) FROM people WHERE id < 3 ORDER BY 1, 2

-- differs: the message does not say the types
SELECT generate_series('a', 'b')

-- differs: the message does not say the types
SELECT * FROM generate_series(1.5::float8, 3)

SELECT * FROM unnest(ARRAY['a', 'b']) WITH ORDINALITY

SELECT * FROM unnest(ARRAY[10, 20]) WITH ORDINALITY AS t(v, n) ORDER BY n DESC

SELECT p.id, w.word, w.n FROM people p, unnest(string_to_array(p.name, 'n')) WITH ORDINALITY AS w(word, n) WHERE p.id IN (1, 8) ORDER BY 1, 3

SELECT p.id, w FROM people p, string_to_table(p.name, 'n') AS w WHERE p.id = 1

SELECT * FROM generate_series(1, 3) WITH ORDINALITY AS t(v, n)

SELECT ARRAY(SELECT generate_series(1, 3))

SELECT ARRAY(SELECT id FROM people WHERE id < 4 ORDER BY id DESC)

SELECT ARRAY(SELECT DISTINCT city FROM people WHERE city IS NOT NULL ORDER BY 1)

SELECT ARRAY(SELECT name FROM people WHERE name IS NOT NULL ORDER BY name LIMIT 3)

SELECT ARRAY(SELECT count(*) FROM people GROUP BY active ORDER BY 1)

SELECT ARRAY(SELECT 1 UNION SELECT 2 ORDER BY 1)

SELECT ARRAY(SELECT id FROM people WHERE id > 100)

SELECT p.id, ARRAY(SELECT q.id FROM people q WHERE q.city = p.city ORDER BY q.id) FROM people p WHERE p.id < 5 ORDER BY 1

SELECT p.id, ARRAY(SELECT q.id FROM people q WHERE q.id < p.id ORDER BY q.id LIMIT 2) FROM people p WHERE p.id < 5 ORDER BY 1

SELECT id FROM people WHERE id = ANY(ARRAY(SELECT generate_series(2, 4))) ORDER BY 1

SELECT unnest(CASE WHEN 1 < 2 THEN ARRAY(SELECT generate_series(0, 3)) ELSE ARRAY[]::int[] END)

SELECT ARRAY(SELECT city FROM people WHERE city IS NOT NULL GROUP BY city ORDER BY count(*) DESC, city)

SELECT ARRAY(SELECT name FROM people WHERE id < 5 ORDER BY born DESC NULLS LAST)

SELECT ARRAY(SELECT id FROM people WHERE id < 3 UNION ALL SELECT 7 ORDER BY 1 DESC)

SELECT p.id, x FROM people p, unnest(ARRAY[p.id, p.id + 1]) AS x WHERE p.id < 3 ORDER BY 1, 2

SELECT p.id, x FROM people p CROSS JOIN unnest(ARRAY[p.name, p.city]) AS x WHERE p.id < 3 ORDER BY 1, 2

SELECT p.id, x.v, x.n FROM people p CROSS JOIN LATERAL unnest(ARRAY[p.city, p.name]) WITH ORDINALITY AS x(v, n) WHERE p.id < 4 ORDER BY 1, 3

SELECT p.id, x FROM people p LEFT JOIN LATERAL unnest(string_to_array(p.name, 'n')) AS x ON x <> '' WHERE p.id < 8 ORDER BY 1, 2

SELECT p.id, a, b FROM people p, unnest(ARRAY[p.id, 2], ARRAY[p.name]) AS u(a, b) WHERE p.id < 3 ORDER BY 1, 2

SELECT p.id, a.n, b.n FROM people p, generate_series(1, p.id) AS a(n), unnest(ARRAY[a.n, p.id]) AS b(n) WHERE p.id < 3 ORDER BY 1, 2, 3

SELECT p.id, (SELECT ARRAY[p.id, p.id]) FROM people p ORDER BY 1 LIMIT 2

SELECT p.id, (SELECT max(x) FROM unnest(ARRAY[p.id, 5]) AS x) FROM people p ORDER BY 1

SELECT p.id, q.a FROM people p, LATERAL (SELECT ARRAY[p.id, 1] AS a) AS q ORDER BY 1 LIMIT 2

SELECT p.id, x.k, x.v FROM people p CROSS JOIN LATERAL (VALUES ('name', p.name), ('city', p.city)) AS x(k, v) WHERE p.id < 4 ORDER BY 1, 2

SELECT p.id, v FROM people p, LATERAL (VALUES (p.id), (-p.id)) AS x(v) WHERE p.id < 4 ORDER BY 1, 2

SELECT p.id FROM people p WHERE EXISTS (SELECT 1 FROM unnest(string_to_array(p.name, 'n')) AS x WHERE x = 'A') ORDER BY 1

SELECT p.id FROM people p WHERE NOT EXISTS (SELECT FROM generate_series(3, p.id) AS x) ORDER BY 1

SELECT p.id, EXISTS (SELECT FROM unnest(string_to_array(p.name, 'n')) AS x WHERE x LIKE '%a%') FROM people p ORDER BY 1

SELECT p.id FROM people p WHERE 3 IN (SELECT x FROM generate_series(1, p.id, 2) AS x) ORDER BY 1

SELECT p.id FROM people p WHERE p.id NOT IN (SELECT x FROM generate_series(2, p.id, 2) AS x) ORDER BY 1

SELECT p.id, p.name IN (SELECT x FROM unnest(ARRAY[p.city, p.name]) AS x), p.name NOT IN (SELECT x FROM unnest(ARRAY[p.city, 'x']) AS x) FROM people p ORDER BY 1

SELECT p.id, p.id IN (SELECT x FROM unnest(ARRAY[NULL, p.id + 1]) AS x) FROM people p WHERE p.id < 3 ORDER BY 1
