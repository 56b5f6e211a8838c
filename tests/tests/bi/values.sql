-- free 4
SELECT DISTINCT ward FROM stays

-- free 4
SELECT DISTINCT ward FROM stays ORDER BY ward DESC LIMIT 100

-- free 4
SELECT ward AS ward FROM public.stays GROUP BY ward LIMIT 1000

-- free 4
SELECT "public"."stays"."ward" AS "ward" FROM "public"."stays" GROUP BY "public"."stays"."ward" ORDER BY "public"."stays"."ward" ASC LIMIT 1001

-- free 1
SELECT "public"."stays"."ward" AS "ward" FROM "public"."stays" GROUP BY "public"."stays"."ward" HAVING "public"."stays"."ward" = 'w9' ORDER BY "public"."stays"."ward" ASC LIMIT 1001

-- free 2
SELECT "source"."ward" AS "ward" FROM (SELECT "public"."stays"."ward" AS "ward" FROM "public"."stays" GROUP BY "public"."stays"."ward") AS "source" WHERE LOWER("source"."ward") LIKE '%w1%' OR "source"."ward" > 'w2'

-- free 1
SELECT count(*) FROM (SELECT DISTINCT ward FROM stays) AS w

-- free 4
SELECT s.ward, count(a.id) FROM (SELECT DISTINCT ward FROM stays) AS s LEFT JOIN admissions a ON a.ward = s.ward GROUP BY s.ward

-- note Where rows are chosen, joined or computed with, only what enough people have is told.

-- free 3
SELECT DISTINCT ward FROM stays WHERE age > 20

-- free 0
SELECT DISTINCT ward FROM stays WHERE pid IN (SELECT pid FROM stays WHERE age > 200)

-- free 3
SELECT DISTINCT upper(ward) FROM stays

-- free 3
SELECT DISTINCT s.ward FROM stays s JOIN stays t ON s.pid = t.pid

-- free 6
SELECT DISTINCT ward, sex FROM stays

-- free 2
SELECT DISTINCT sex FROM stays

-- free 3
SELECT ward, count(*) FROM stays GROUP BY ward

-- free 0
SELECT DISTINCT age, sex, ward, arrived FROM stays

-- free 4
SELECT DISTINCT ward FROM federation.stays

-- free 3
SELECT DISTINCT ward FROM federation.stays WHERE age > 20

-- free 2
SELECT DISTINCT site FROM federation.stays

-- note Of private tables: domains for nothing, other keys by a selection that is paid for.

-- free 3
SELECT DISTINCT sex FROM people

-- free 3
SELECT "public"."people"."sex" AS "sex" FROM "public"."people" GROUP BY "public"."people"."sex" ORDER BY "public"."people"."sex" ASC LIMIT 1001

-- free 3
SELECT DISTINCT sex FROM people WHERE age > 200

-- free 3
SELECT DISTINCT sex FROM federation.people

-- rows 3
SELECT DISTINCT ward FROM people

-- free 3
SELECT ward AS ward FROM public.people GROUP BY ward ORDER BY ward LIMIT 1000

-- rows 0
SELECT DISTINCT ward FROM people WHERE age > 200

-- rows 6
SELECT DISTINCT sex, ward FROM people WHERE age < 200

-- note What names people is never a key.

-- 42501 answers aggregates only
SELECT DISTINCT pid FROM stays

-- 42501 answers aggregates only
SELECT DISTINCT pid FROM people LIMIT 10

-- 42501 answers aggregates only
SELECT pid FROM people GROUP BY pid ORDER BY pid LIMIT 1001

-- 42501 answers aggregates only
SELECT DISTINCT pid, ward FROM stays
