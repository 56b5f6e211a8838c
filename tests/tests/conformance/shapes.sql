SELECT id, EXISTS (SELECT 1 FROM people q WHERE q.city = p.city AND q.id <> p.id) FROM people p ORDER BY id

SELECT EXISTS (SELECT 1 FROM people WHERE id = 3)

SELECT NOT EXISTS (SELECT 1 FROM people WHERE id = 99) AS none

SELECT CASE WHEN EXISTS (SELECT 1 FROM people q WHERE q.id = p.id + 1) THEN 'next' ELSE 'last' END FROM people p ORDER BY p.id

SELECT id, (SELECT q.name FROM people q WHERE q.id = p.id) FROM people p ORDER BY 1

SELECT id, (SELECT count(*) FROM people q WHERE q.city = p.city) AS n FROM people p ORDER BY 1

SELECT id, (SELECT max(q.id) FROM people q WHERE q.id < p.id) AS before FROM people p ORDER BY 1

SELECT id IN (SELECT id FROM people WHERE active) FROM people ORDER BY id

SELECT id FROM people p WHERE id = (SELECT max(id) FROM people q WHERE q.city = p.city) ORDER BY id

SELECT p.id FROM people p ORDER BY p.id LIMIT 3

SELECT p.id, q.id FROM people p JOIN people q ON p.id = q.id + 1 ORDER BY p.id LIMIT 3

SELECT p.id, q.id AS id FROM people p JOIN people q ON p.id = q.id + 1 ORDER BY q.id DESC LIMIT 3

SELECT p.name AS id FROM people p ORDER BY p.id LIMIT 3

SELECT upper(name) AS name FROM people ORDER BY name LIMIT 4

SELECT city, count(*) AS n FROM people GROUP BY city ORDER BY count(*) DESC, city

SELECT city, count(*) AS n FROM people GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 2

SELECT city AS c, count(*) FROM people GROUP BY c ORDER BY c

SELECT unnest(ARRAY['a', 'b']) AS x

SELECT id, unnest(ARRAY[id, id * 10]) AS x FROM people WHERE id < 3 ORDER BY 1, 2

SELECT x FROM unnest(ARRAY['a', 'b', NULL]) AS x

SELECT t.x FROM unnest(ARRAY[3, 1, 2]) AS t(x) ORDER BY t.x

SELECT name FROM people WHERE name = ANY(ARRAY['Anna', 'Bert']) ORDER BY 1

SELECT id FROM people WHERE active = 't' AND id < 5 ORDER BY id

SELECT id FROM people WHERE born > '1990-01-01' ORDER BY id

SELECT id FROM people WHERE id = '3'

SELECT 1 + '2'

SELECT '5'::int + 1, '2' * 3

SELECT id FROM people WHERE id IN ('1', '2') ORDER BY 1

SELECT id FROM people WHERE id BETWEEN '1' AND '2' ORDER BY 1

SELECT 'a' COLLATE "C"

SELECT name FROM people WHERE name IS NOT NULL ORDER BY name COLLATE "C" LIMIT 2

SELECT DISTINCT ON (city) city, id FROM people WHERE city IS NOT NULL ORDER BY city, id DESC

SELECT count(*) FILTER (WHERE active), count(*) FILTER (WHERE NOT active) FROM people

SELECT bool_and(active), every(active), bool_or(active) FROM people

SELECT min(id), min(id) AS again, max(id) FROM people

SELECT id, id FROM people WHERE id = 1

SELECT 1, 1, 'a', 'a'

SELECT sum(id) OVER (PARTITION BY city ORDER BY id) FROM people WHERE city = 'Bern' ORDER BY id

SELECT city, sum(count(*)) OVER (ORDER BY city) FROM people WHERE city IS NOT NULL GROUP BY city ORDER BY city

SELECT city, rank() OVER (ORDER BY count(*) DESC, city) AS r FROM people WHERE city IS NOT NULL GROUP BY city ORDER BY rank() OVER (ORDER BY count(*) DESC, city)

SELECT id, lag(id) OVER w, lead(id) OVER w FROM people WINDOW w AS (ORDER BY id) ORDER BY id LIMIT 3

SELECT first_value(name) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM people WHERE id < 4 ORDER BY id

WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t

WITH a AS (SELECT id FROM people WHERE id < 4), b AS (SELECT id * 2 AS id FROM a) SELECT a.id FROM a JOIN b USING (id) ORDER BY 1

SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(n, s) ORDER BY n

VALUES (1, 'a'), (2, NULL)

TABLE people LIMIT 1

-- differs: a row is no value
SELECT people FROM people WHERE id = 1

SELECT p.* FROM people p WHERE p.id = 2

SELECT (SELECT 1), (SELECT 'x')

SELECT id FROM people EXCEPT SELECT id FROM people WHERE id > 3 ORDER BY id

SELECT id FROM people WHERE id < 3 UNION SELECT id FROM people WHERE id < 4 ORDER BY 1 DESC

-- differs: a numeric has a precision and a scale
SELECT 1 AS n UNION ALL SELECT 2.5 ORDER BY n

-- differs: an integer of 64 bits
SELECT NULL UNION SELECT 1

SELECT 'a' UNION SELECT name FROM people WHERE id = 1 ORDER BY 1

SELECT id, name FROM people ORDER BY name NULLS FIRST, id LIMIT 3

SELECT id FROM people ORDER BY price DESC NULLS LAST, id FETCH FIRST 2 ROWS ONLY

SELECT id FROM people ORDER BY id OFFSET 2 ROWS FETCH NEXT 2 ROWS ONLY

SELECT id FROM people ORDER BY id LIMIT ALL OFFSET 10

SELECT p.id, l.m FROM people p CROSS JOIN LATERAL (SELECT max(q.id) AS m FROM people q WHERE q.city = p.city) l WHERE p.id < 3 ORDER BY 1

SELECT id FROM people WHERE (city, active) = ('Bern', true) ORDER BY id

SELECT id FROM people WHERE (id, city) IN ((1, 'Bern'), (3, 'Chur')) ORDER BY id

SELECT id FROM people WHERE NOT (id > 2 OR name IS NULL) ORDER BY id

SELECT id FROM people WHERE name IS DISTINCT FROM 'Anna' AND id < 4 ORDER BY 1

SELECT coalesce(city, 'none') AS city, count(*) FROM people GROUP BY coalesce(city, 'none') ORDER BY 1

SELECT extract(year FROM born) AS y, count(*) FROM people WHERE born >= '1990-01-01' GROUP BY y ORDER BY y

SELECT date_trunc('year', seen) AS y, count(*) FROM people GROUP BY 1 ORDER BY 1

SELECT to_char(born, 'YYYY-MM') AS m, count(*) FROM people WHERE born > date '1989-12-31' GROUP BY m ORDER BY m

SELECT avg(price), round(avg(price), 2), sum(price) / count(*) FROM people

SELECT round(avg(score)::numeric, 2) FROM people

SELECT avg(id), avg(big), sum(big), sum(id) FROM people

SELECT round(100.0 * count(*) / (SELECT count(*) FROM people), 1) AS percent FROM people WHERE active

SELECT price * 1.19 AS gross, price / 3, -price, abs(price) FROM people WHERE id = 1

SELECT 0.1 + 0.2, 0.1 + 0.2 = 0.3, 1.0 / 3 * 3

SELECT score > 0.1, score + 0.1, score * 2 FROM people WHERE id = 5

SELECT score FROM people WHERE score IN (0.1, 1.5) ORDER BY 1

SELECT score FROM people WHERE score BETWEEN 0.1 AND 2.5 ORDER BY 1

SELECT CASE WHEN id > 6 THEN 0.5 ELSE score END FROM people ORDER BY id LIMIT 3

SELECT coalesce(score, 0.0), greatest(score, 1.5) FROM people WHERE id = 6

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY score) FROM people

SELECT variance(score), stddev(score) FROM people WHERE id < 4

-- differs: roots and powers are double precision
SELECT power(2, 0.5), sqrt(2::float8), ln(1::float8)

SELECT id % 2 AS odd, count(*), sum(price) FROM people GROUP BY id % 2 ORDER BY odd

SELECT length(name), name || '!' FROM people WHERE id < 3 ORDER BY id

SELECT 'it''s', E'a\tb', $$dollar$$, U&'\0041'

SELECT "id", "name" FROM "people" WHERE "id" = 1

SELECT public.people.id FROM public.people WHERE people.id = 1

SELECT kanon.public.people.id FROM kanon.public.people WHERE people.id = 1

SELECT count(DISTINCT city), count(city), count(*) FROM people

SELECT string_agg(name, ', ' ORDER BY id) FROM people WHERE id < 6

SELECT array_agg(id ORDER BY id DESC) FROM people WHERE id < 4

SELECT ARRAY(SELECT id FROM people WHERE id < 4 ORDER BY id)

SELECT id FROM people WHERE name ILIKE 'a%' OR name ~ '^B' ORDER BY id

SELECT 1 WHERE false

SELECT count(*) FROM people HAVING count(*) > 100

SELECT city FROM people GROUP BY city HAVING count(*) > 2 ORDER BY city

SELECT grouping(city), city, count(*) FROM people WHERE id < 5 GROUP BY ROLLUP (city) ORDER BY 1, 2

SELECT city, active, count(*) FROM people WHERE id < 5 GROUP BY GROUPING SETS ((city), (active), ()) ORDER BY 1, 2, 3

SELECT DISTINCT active IS TRUE AS yes FROM people ORDER BY yes

SELECT active IS NOT FALSE AS yes, count(*) FROM people GROUP BY yes ORDER BY yes

SELECT active IS UNKNOWN FROM people UNION SELECT false ORDER BY 1
