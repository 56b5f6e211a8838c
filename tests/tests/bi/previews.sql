-- 42501 table "stays" answers aggregates only | Ask for an aggregate, for example SELECT sex, count(*)
SELECT * FROM stays LIMIT 100

-- 42501 table "people" answers aggregates only | Ask for an aggregate, for example SELECT sex, count(*)
SELECT * FROM people LIMIT 100

-- 42501 answers aggregates only | Ask for an aggregate
SELECT * FROM federation.stays LIMIT 100

-- 42501 answers aggregates only | Ask for an aggregate
SELECT * FROM federation.people LIMIT 100

-- 42501 answers aggregates only | Ask for an aggregate
SELECT "public"."stays"."pid" AS "pid", "public"."stays"."sex" AS "sex", "public"."stays"."arrived" AS "arrived" FROM "public"."stays" LIMIT 2000

-- 42501 answers aggregates only | Ask for an aggregate
SELECT "source"."sex" AS "sex", "source"."age" AS "age" FROM (SELECT "public"."people"."sex" AS "sex", "public"."people"."age" AS "age" FROM "public"."people") AS "source" LIMIT 2000

-- 42501 answers aggregates only | Ask for an aggregate
SELECT SUBSTRING("public"."people"."ward", 1, 1234) AS "substring1" FROM "public"."people" LIMIT 10000

-- 42501 answers aggregates only | Ask for an aggregate
SELECT pid AS pid, sex AS sex, age AS age FROM public.stays LIMIT 1000

-- 42501 answers aggregates only | Ask for an aggregate
SELECT pid AS pid, sex AS sex FROM public.stays ORDER BY pid ASC LIMIT 1000

-- 42501 answers aggregates only | Ask for an aggregate
SELECT sex, age FROM (SELECT sex, age FROM stays WHERE age > 30) AS virtual_table LIMIT 1000

-- free 0
SELECT * FROM (SELECT * FROM people) AS t WHERE false

-- free 0
SELECT TRUE AS "_" FROM "public"."stays" WHERE 1 <> 1 LIMIT 0

-- free 0
SELECT TRUE AS "_" FROM "public"."people" WHERE 1 <> 1 LIMIT 0

-- free 0
SELECT * FROM public.people LIMIT 0

-- free 0
SELECT * FROM (SELECT sex, age FROM federation.stays) AS "source" WHERE 1 <> 1 LIMIT 0

-- 42501 answers aggregates only | Ask for an aggregate
SELECT arrived AS "time", cost FROM stays WHERE arrived BETWEEN '2024-01-01T00:00:00Z' AND '2024-02-01T00:00:00Z' ORDER BY arrived LIMIT 50

-- 0A000 LIMIT picks single rows | outside
SELECT COUNT(*) AS rowcount FROM (SELECT sex AS sex, age AS age FROM public.stays LIMIT 100) AS rowcount_qry

-- 0A000 LIMIT picks single rows | outside
SELECT count(*) FROM (SELECT * FROM people LIMIT 1) AS t

-- 0A000 DISTINCT ON picks single rows | GROUP BY
SELECT DISTINCT ON (sex) sex, arrived FROM stays ORDER BY sex, arrived DESC
