-- rows 2
SELECT sex AS sex, COUNT(*) AS n, AVG(cost) AS "AVG(cost)" FROM public.stays GROUP BY sex ORDER BY n DESC LIMIT 1000

-- rows 12
SELECT DATE_TRUNC('month', arrived) AS arrived, COUNT(*) AS n FROM public.stays GROUP BY DATE_TRUNC('month', arrived) ORDER BY n DESC LIMIT 1000

-- rows 12
SELECT CAST(DATE_TRUNC('month', "public"."stays"."arrived") AS date) AS "arrived", COUNT(*) AS "count" FROM "public"."stays" GROUP BY CAST(DATE_TRUNC('month', "public"."stays"."arrived") AS date) ORDER BY CAST(DATE_TRUNC('month', "public"."stays"."arrived") AS date) ASC

-- rows 0
SELECT CAST("public"."stays"."arrived" AS date) AS "arrived", COUNT(*) AS "count" FROM "public"."stays" GROUP BY CAST("public"."stays"."arrived" AS date) ORDER BY CAST("public"."stays"."arrived" AS date) ASC

-- rows 1
SELECT COUNT(*) AS "count" FROM "public"."stays" WHERE ("public"."stays"."arrived" >= timestamp with time zone '2024-01-01 00:00:00.000Z') AND ("public"."stays"."arrived" < timestamp with time zone '2024-02-01 00:00:00.000Z')

-- rows 5
SELECT FLOOR((("public"."stays"."age" - 20.0) / 10.0)) * 10.0 + 20.0 AS "age", COUNT(*) AS "count" FROM "public"."stays" GROUP BY FLOOR((("public"."stays"."age" - 20.0) / 10.0)) * 10.0 + 20.0 ORDER BY FLOOR((("public"."stays"."age" - 20.0) / 10.0)) * 10.0 + 20.0 ASC

-- rows 1
SELECT AVG("source"."cost") AS "avg" FROM (SELECT "public"."stays"."sex" AS "sex", "public"."stays"."cost" AS "cost" FROM "public"."stays" WHERE "public"."stays"."age" >= 40) AS "source"

-- rows 1
SELECT SUM("source"."count") AS "sum" FROM (SELECT "public"."stays"."ward" AS "ward", COUNT(*) AS "count" FROM "public"."stays" GROUP BY "public"."stays"."ward" ORDER BY "public"."stays"."ward" ASC) AS "source"

-- rows 2
SELECT "public"."stays"."sex" AS "sex", PERCENTILE_CONT(0.5) within group (order by "public"."stays"."cost") AS "median" FROM "public"."stays" GROUP BY "public"."stays"."sex" ORDER BY "public"."stays"."sex" ASC

-- rows 1
SELECT COUNT(*) AS rowcount FROM (SELECT sex AS sex, COUNT(*) AS n FROM public.stays GROUP BY sex LIMIT 100) AS rowcount_qry

-- rows 6
SELECT DATE_TRUNC('year', arrived) AS arrived, stays.ward AS ward, stays.sex AS sex, COUNT(*) AS n FROM public.stays JOIN (SELECT ward AS ward__, COUNT(*) AS mme_inner__ FROM public.stays GROUP BY ward ORDER BY mme_inner__ DESC LIMIT 3) AS anon_1 ON ward = ward__ GROUP BY 1, 2, 3

-- rows 13
SELECT floor(extract(epoch from arrived)/2592000)*2592000 AS "time", count(*) AS stays FROM stays WHERE arrived BETWEEN '2024-01-01T00:00:00Z' AND '2024-12-31T23:59:59.999Z' GROUP BY 1 ORDER BY 1

-- rows 24
SELECT date_trunc('month', arrived) AS "time", sex AS metric, count(*) AS value FROM stays WHERE arrived BETWEEN '2024-01-01T00:00:00Z' AND '2024-12-31T23:59:59.999Z' GROUP BY 1, 2 ORDER BY 1, 2

-- rows 2
SELECT sex, COUNT(*) FROM stays WHERE arrived >= '2024-01-01T00:00:00Z' AND arrived <= '2024-12-31T00:00:00Z' AND ward IN ('w0','w1') GROUP BY sex

-- rows 1
SELECT count(*) AS value FROM federation.stays WHERE arrived BETWEEN '2024-01-01T00:00:00Z' AND '2024-12-31T23:59:59.999Z'

-- rows 4
SELECT site AS metric, sex, avg(cost) AS value FROM federation.stays GROUP BY site, sex ORDER BY 1, 2

-- rows 3
SELECT sex, count(*) AS value, avg(age) AS age FROM people GROUP BY sex ORDER BY sex

-- free 3
SELECT sex AS sex, COUNT(*) AS n, AVG(age) AS "AVG(age)" FROM public.people GROUP BY sex ORDER BY n DESC LIMIT 1000

-- free 3
SELECT "public"."people"."sex" AS "sex", COUNT(*) AS "count", AVG("public"."people"."age") AS "avg" FROM "public"."people" GROUP BY "public"."people"."sex" ORDER BY "count" DESC, "public"."people"."sex" ASC

-- rows 12
SELECT DATE_TRUNC('month', seen) AS seen, COUNT(*) AS n FROM public.people GROUP BY DATE_TRUNC('month', seen) ORDER BY n DESC LIMIT 1000

-- rows 1
SELECT count(*) AS value FROM people WHERE seen BETWEEN '2024-03-01T00:00:00Z' AND '2024-03-31T23:59:59.999Z'

-- note The same span again is the same question, whoever asks it in whatever words.

-- free 1
SELECT COUNT(*) AS "count" FROM "public"."people" WHERE "public"."people"."seen" BETWEEN '2024-03-01T00:00:00Z' AND '2024-03-31T23:59:59.999Z'

-- rows 1
SELECT count(*) AS value FROM people WHERE seen BETWEEN '2024-03-01T00:00:00.001Z' AND '2024-03-31T23:59:59.999Z'

-- rows 13
SELECT floor(extract(epoch from seen)/2592000)*2592000 AS "time", count(*) AS people FROM people WHERE seen BETWEEN '2024-01-01T00:00:00Z' AND '2024-12-31T23:59:59.999Z' GROUP BY 1 ORDER BY 1

-- rows 8
SELECT width_bucket(age, 20, 80, 6) AS bucket, count(*) FROM people GROUP BY 1 ORDER BY 1

-- rows 3
SELECT sex, count(*) AS value FROM federation.people GROUP BY sex

-- rows 1
SELECT PERCENTILE_CONT(0.5) within group (order by "public"."people"."age") AS "median" FROM "public"."people"

-- 42501 has no bounds | lower
SELECT AVG("public"."people"."income") AS "avg" FROM "public"."people"

-- 42501 has no bounds | lower
SELECT SUM(income) AS "SUM(income)" FROM public.people

-- 42501 min | percentile
SELECT MIN("public"."stays"."age") AS "min", MAX("public"."stays"."age") AS "max" FROM "public"."stays"

-- rows 1
SELECT MIN("public"."people"."age") AS "min", MAX("public"."people"."age") AS "max" FROM "public"."people"
