SELECT 1

-- differs: the grammar lacks it
SELECT

SELECT * FROM people ORDER BY id

SELECT count(*), count(score), sum(id), sum(big), sum(price), sum(score), avg(id), avg(price), avg(score), min(name), max(born) FROM people

SELECT city, count(*) FROM people GROUP BY city ORDER BY city

SELECT city, count(*) FROM people GROUP BY 1 ORDER BY 2 DESC, 1 NULLS FIRST

SELECT DISTINCT ON (city) city, name FROM people ORDER BY city, id DESC

SELECT DISTINCT active FROM people ORDER BY 1

SELECT name FROM people WHERE name ILIKE '%a%' ORDER BY name

SELECT name FROM people WHERE name LIKE 'Jo\_%' ORDER BY 1

SELECT name FROM people WHERE name LIKE 'Jo!_%' ESCAPE '!'

SELECT name FROM people WHERE name ~ '^[A-D]' ORDER BY 1

SELECT name FROM people WHERE name !~* '^[a-d]' ORDER BY 1

SELECT name FROM people WHERE name SIMILAR TO '(A|B)%' ORDER BY 1

SELECT count(*) FILTER (WHERE active), count(*) FILTER (WHERE NOT active) AS inactive FROM people

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY score) FROM people

SELECT percentile_disc(0.25) WITHIN GROUP (ORDER BY id) FROM people

SELECT p.id, l.twice FROM people p, LATERAL (SELECT p.id * 2 AS twice) l WHERE p.id < 3 ORDER BY 1

SELECT * FROM generate_series(1, 3)

SELECT g FROM generate_series(1, 10, 3) AS g

SELECT * FROM generate_series(timestamp '2024-01-01', timestamp '2024-01-03', interval '1 day') AS t(day)

SELECT id, row_number() OVER (ORDER BY id DESC), rank() OVER (PARTITION BY city ORDER BY score), lag(id) OVER (ORDER BY id), lead(id, 2, 0) OVER (ORDER BY id) FROM people ORDER BY id

SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM people ORDER BY id

SELECT id, ntile(3) OVER w, first_value(name) OVER w FROM people WINDOW w AS (ORDER BY id) ORDER BY id

WITH a AS (SELECT id FROM people WHERE id < 4) SELECT sum(id) FROM a

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n ORDER BY i

SELECT 1 UNION SELECT 2 ORDER BY 1

SELECT id FROM people WHERE id < 5 INTERSECT SELECT id FROM people WHERE id > 2 ORDER BY 1

SELECT id FROM people EXCEPT SELECT id FROM people WHERE id > 2 ORDER BY 1

SELECT name FROM people ORDER BY name DESC NULLS LAST LIMIT 2 OFFSET 1

SELECT id FROM people ORDER BY id FETCH FIRST 2 ROWS ONLY

SELECT name FROM people WHERE id IN (SELECT max(id) FROM people)

SELECT name FROM people p WHERE EXISTS (SELECT 1 FROM people q WHERE q.city = p.city AND q.id <> p.id) ORDER BY id

SELECT (SELECT count(*) FROM people q WHERE q.city = p.city) FROM people p ORDER BY id

SELECT id FROM people WHERE id = ANY(ARRAY[1, 3]) ORDER BY 1

SELECT id FROM people WHERE id = ANY('{1,3}') ORDER BY 1

SELECT id FROM people WHERE id <> ALL(ARRAY[1, 3]) AND id < 5 ORDER BY 1

SELECT id FROM people WHERE (id, name) = (1, 'Anna')

-- differs: the grammar lacks it
SELECT id FROM people WHERE id BETWEEN SYMMETRIC 3 AND 1 ORDER BY 1

SELECT id FROM people WHERE city IS DISTINCT FROM 'Bern' ORDER BY 1

SELECT id FROM people WHERE active IS NOT TRUE ORDER BY 1

SELECT id FROM people WHERE born < '1970-01-01' ORDER BY 1

SELECT id FROM people WHERE seen >= '2024-01-01' AND seen < '2024-03-01' ORDER BY 1

SELECT id FROM people WHERE id > '9' ORDER BY 1

SELECT CASE WHEN id < 3 THEN 'few' ELSE 'many' END AS size, count(*) FROM people GROUP BY size ORDER BY size

SELECT city, active, count(*), grouping(city, active) FROM people GROUP BY ROLLUP (city, active) ORDER BY 1, 2, 4

SELECT city, count(*) FROM people GROUP BY CUBE (city) ORDER BY 2, 1

SELECT city, count(*) FROM people GROUP BY GROUPING SETS ((city), ()) ORDER BY 2, 1

VALUES (1, 'a'), (2, 'b')

TABLE people LIMIT 1

SELECT a.name, b.name FROM people a JOIN people b ON a.id = b.id + 1 WHERE a.id < 4 ORDER BY a.id

SELECT a.id, b.id FROM people a LEFT JOIN people b ON a.id = b.id + 10 ORDER BY 1

SELECT id, name FROM people NATURAL JOIN (SELECT id FROM people WHERE id = 1) q

SELECT * FROM (VALUES (1, 2)) AS t(a, b) JOIN (VALUES (1, 3)) AS u(a, c) USING (a)

SELECT "id" AS "The Id", 'it''s' AS "q" FROM people WHERE id = 1

SELECT $$dollar$$, $tag$quoted$tag$, E'tab\there', U&'\00e9'

SELECT name AS n FROM people ORDER BY n LIMIT 1

SELECT count(*) AS n FROM people HAVING count(*) > 100

SELECT id /* a comment */ FROM people -- another
WHERE id = 1

SELECT nosuch FROM people

SELECT * FROM nosuch

-- differs: the message does not say the types
SELECT nosuch(1)

SELECT 1 +

SELEC 1

SELECT name FROM people GROUP BY city

SELECT 1/0

SELECT id FROM people WHERE name = 1

SELECT people.id, q.id FROM people, people q WHERE id = 1

-- differs: the message does not say the types
SELECT sum(name) FROM people

SELECT max(id), city FROM people

SELECT 1::nothing;

SELECT id, name::no_such_type FROM people;

SELECT '{1}'::nothing[];

SELECT 1::public.nothing;

SELECT CAST(1 AS "No Such Type");

SELECT code FROM where;

SELECT * FROM people, order;

SELECT * FROM select;

-- differs: PostgreSQL sees the error one word later
SELECT where FROM people;

-- differs: PostgreSQL sees the error one word later
SELECT left FROM people;

SELECT id FROM people AS table;

SELECT "order".id FROM people AS "order" WHERE "order".id = 1;

SELECT between.id FROM people AS between WHERE between.id = 1;

WITH where AS (SELECT 1) SELECT 1;

SELECT * FROM lower('X') AS f;

SELECT * FROM lower('X');

SELECT f FROM upper('x') AS f;

SELECT f.up FROM upper('x') AS f(up);

SELECT * FROM current_database();

SELECT * FROM abs(-1) AS a, abs(-2) AS b;

SELECT p.id, l FROM people AS p, lower(p.name) AS l WHERE p.id = 1;

-- differs: the types of the arguments are not said
SELECT * FROM nosuchfunction(1);

SELECT x FROM unnest(ARRAY[1, 2]) AS x ORDER BY x;

SELECT * FROM unnest(ARRAY[1, 2]) AS x ORDER BY x;

SELECT p.id, x FROM people AS p CROSS JOIN unnest(ARRAY[1, 2]) AS x WHERE p.id = 1 AND x = p.id;

SELECT word, catcode, barelabel, catdesc, baredesc FROM pg_get_keywords() WHERE word IN ('abort', 'between', 'left', 'where', 'year') ORDER BY word;

SELECT count(*) FROM pg_catalog.pg_get_keywords() AS k WHERE k.catcode = 'R';

SELECT quote_ident('analyse'), quote_ident('left'), quote_ident('between'), quote_ident('abort'), quote_ident('x');

SELECT (information_schema._pg_expandarray(ARRAY[5, 6])).n;

SELECT (information_schema._pg_expandarray(ARRAY['a', 'b'])).x;

SELECT (e.keys).x, (e.keys).n FROM (SELECT information_schema._pg_expandarray(ARRAY['a', 'b']) AS keys) AS e ORDER BY 2;

SELECT * FROM information_schema._pg_expandarray(ARRAY[5, 6]) ORDER BY n;

SELECT e.x, e.n FROM information_schema._pg_expandarray(ARRAY[5, 6]) AS e ORDER BY e.n;

SELECT e.a, e.b FROM information_schema._pg_expandarray(ARRAY[5, 6]) AS e(a, b) ORDER BY e.b;

-- differs: an element of an array of OIDs is a bigint
SELECT grantor, grantee, privilege_type, is_grantable FROM aclexplode(NULL) AS a;

SELECT count(*) FROM (SELECT aclexplode(c.relacl) AS a FROM pg_class AS c WHERE c.relname = 'no such table') AS x;

SELECT a.privilege_type, a.is_grantable FROM pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a WHERE c.relname = 'no such table';

-- differs: an element of an array of OIDs is a bigint
SELECT (aclexplode(NULL)).grantee;

SELECT c.relname, c.xmin IS NULL FROM pg_class AS c WHERE c.relname = 'pg_class';

SELECT 'pg_catalog.pg_authid'::regclass::oid, 'pg_authid'::regclass::oid;

SELECT pg_blocking_pids(pg_backend_pid()), array_to_string(pg_blocking_pids(1), ', ');

SELECT sum(1) + sum(2), (SELECT sum(c.relnatts) - sum(c.relnatts) FROM pg_class AS c WHERE c.relname = 'pg_class');

SELECT 1 AS a, 'x' AS name, 'y' AS z UNION ALL SELECT 2, NULL, name FROM people WHERE id = 1 ORDER BY 1;

SELECT (SELECT count(*) + 1 FROM pg_class AS c WHERE c.relname = 'pg_class');

SELECT name FROM pg_available_extensions() WHERE name = 'no such extension';

SELECT count(*), (SELECT 1), EXISTS (SELECT 1) FROM pg_event_trigger;

SELECT max(t.evtname), (SELECT 2) FROM (SELECT * FROM pg_event_trigger) AS t;

SELECT int2('1'), int4('2'), int8('3'), float4('1.5'), float8('2.5'), bool('t'), text(12), pg_catalog.int4('7');

SELECT timestamptz('2024-02-29 00:00+00');

-- differs: bpchar is text
SELECT bpchar('b');

SELECT oidvectortypes(p.proargtypes) FROM pg_proc AS p WHERE p.proname = 'pg_terminate_backend';

-- over Flight SQL: an array there
SELECT p.oid, p.proargtypes FROM pg_proc AS p WHERE p.proname = 'pg_terminate_backend';

-- differs: an array made of a vector counts from 0 there, and says so
SELECT p.proargtypes::regtype[], p.proargtypes::regtype[]::text[] FROM pg_proc AS p WHERE p.proname = 'pg_terminate_backend';

-- over Flight SQL: an array there
SELECT '{int4,text}'::regtype[];

SELECT '{23,25}'::regtype[]::text[];

-- differs: where in the statement is not said
SELECT '{nosuch}'::regtype[];

SELECT regexp_split_to_table('a b  c', '\s+');

SELECT w FROM regexp_split_to_table('a b  c', '\s+') AS w ORDER BY w;

SELECT 'pg_class'::regclass::oid = (SELECT oid FROM pg_class WHERE relname = 'pg_class');

SELECT 'people'::regclass::oid = (SELECT oid FROM pg_class WHERE relname = 'people');

SELECT p.name, p.* FROM people p ORDER BY p.id LIMIT 3

SELECT *, upper(name) AS name FROM people ORDER BY id LIMIT 3

SELECT name, * FROM people ORDER BY name, id LIMIT 3

SELECT id + 1 AS next, id, * FROM people ORDER BY next LIMIT 3

SELECT v.name, v.id AS name, id, * FROM (SELECT p.id, p.name FROM people p) v ORDER BY 4 LIMIT 3

SELECT city, max(id) FROM people GROUP BY city ORDER BY max(id) DESC LIMIT 9223372036854775807

SELECT DISTINCT city FROM people ORDER BY city LIMIT 9223372036854775807

SELECT city, max(name) FROM people GROUP BY city ORDER BY 2, 1 LIMIT 100000000000 OFFSET 1

SELECT id FROM people ORDER BY id LIMIT 9223372036854775807 OFFSET 10

SELECT -price AS price FROM people ORDER BY -price, id LIMIT 3

SELECT coalesce(city, '?') AS city FROM people ORDER BY coalesce(city, 'zzz'), id LIMIT 12

SELECT id * 2 AS twice FROM people ORDER BY twice + 1

SELECT id % 3 AS id FROM people ORDER BY id, abs(id)

SELECT name AS n, id FROM people ORDER BY lower(n)

SELECT 1 WHERE extract(hour FROM timestamptz '2024-01-01 23:30+00') = 1

SELECT true AS x WHERE to_timestamp('2024-01-01 00:00', 'YYYY-MM-DD HH24:MI') = timestamptz '2024-01-01 00:00'

SELECT timestamptz '2024-01-01 12:00 +1é2'

SELECT '12:00 +1é2'::time

SELECT x.n FROM (SELECT name AS n FROM people ORDER BY price DESC NULLS LAST, id) x LIMIT 2

SELECT * FROM (SELECT id, name FROM people ORDER BY name DESC NULLS LAST) x

SELECT n FROM (SELECT * FROM (SELECT name AS n, id FROM people ORDER BY price, id) a WHERE id > 3) b OFFSET 2 LIMIT 3

WITH w AS (SELECT id, name FROM people ORDER BY score DESC NULLS LAST, id) SELECT name FROM w LIMIT 3

-- differs: an aggregate without an order of its own takes its rows in any
SELECT array_agg(name), string_agg(name, ',') FROM (SELECT name FROM people WHERE name IS NOT NULL ORDER BY name DESC) x

SELECT count(*) FROM (SELECT id FROM people ORDER BY id) x

SELECT a.attname, a.attnum, t.typname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON a.attrelid = c.oid JOIN pg_catalog.pg_type t ON a.atttypid = t.oid WHERE c.relname = 'people' AND a.attnum > 0

SELECT a.attname FROM pg_attribute a, pg_class c, pg_type t WHERE a.attrelid = c.oid AND a.atttypid = t.oid AND c.relname = 'people' AND a.attnum > 0 LIMIT 3

SELECT count(*), max(a.attnum) FROM pg_attribute a JOIN pg_class c ON a.attrelid = c.oid WHERE c.relname = 'people' AND a.attnum > 0
