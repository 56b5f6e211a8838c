SELECT COUNT(*) AS "count" FROM "public"."people"

SELECT TRUE AS "_" FROM "public"."people" WHERE 1 <> 1 LIMIT 0

SELECT "public"."people"."city" AS "city" FROM "public"."people" GROUP BY "public"."people"."city" ORDER BY "public"."people"."city" ASC LIMIT 1001

SELECT "public"."people"."id" AS "id", "public"."people"."name" AS "name", "public"."people"."born" AS "born", "public"."people"."seen" AS "seen" FROM "public"."people" ORDER BY "public"."people"."id" ASC LIMIT 2000

SELECT SUBSTRING("public"."people"."name", 1, 1234) AS "substring7", SUBSTRING("public"."people"."city", 1, 1234) AS "substring8" FROM "public"."people" ORDER BY "public"."people"."id" ASC LIMIT 10000

SELECT MIN("public"."people"."price") AS "min", MAX("public"."people"."price") AS "max", MIN("public"."people"."seen") AS "min_2", MAX("public"."people"."born") AS "max_2" FROM "public"."people"

SELECT COUNT(DISTINCT "public"."people"."city") AS "count", COUNT(DISTINCT "public"."people"."active") AS "count_2" FROM "public"."people"

SELECT DATE_TRUNC('month', "public"."people"."seen") AS "seen", COUNT(*) AS "count" FROM "public"."people" GROUP BY DATE_TRUNC('month', "public"."people"."seen") ORDER BY DATE_TRUNC('month', "public"."people"."seen") ASC

SELECT CAST(DATE_TRUNC('quarter', "public"."people"."born") AS date) AS "born", SUM("public"."people"."price") AS "sum" FROM "public"."people" GROUP BY CAST(DATE_TRUNC('quarter', "public"."people"."born") AS date) ORDER BY CAST(DATE_TRUNC('quarter', "public"."people"."born") AS date) ASC

SELECT CAST("public"."people"."seen" AS date) AS "seen", COUNT(*) AS "count" FROM "public"."people" GROUP BY CAST("public"."people"."seen" AS date) ORDER BY CAST("public"."people"."seen" AS date) ASC

SELECT (DATE_TRUNC('week', ("public"."people"."seen" + INTERVAL '1 day')) + INTERVAL '-1 day') AS "seen", COUNT(*) AS "count" FROM "public"."people" GROUP BY (DATE_TRUNC('week', ("public"."people"."seen" + INTERVAL '1 day')) + INTERVAL '-1 day') ORDER BY (DATE_TRUNC('week', ("public"."people"."seen" + INTERVAL '1 day')) + INTERVAL '-1 day') ASC

SELECT CAST(EXTRACT(hour FROM "public"."people"."seen") AS integer) AS "seen", COUNT(*) AS "count" FROM "public"."people" GROUP BY CAST(EXTRACT(hour FROM "public"."people"."seen") AS integer) ORDER BY CAST(EXTRACT(hour FROM "public"."people"."seen") AS integer) ASC

SELECT CASE WHEN MOD((CAST(EXTRACT(dow FROM "public"."people"."seen") AS integer) + 1) + 6, 7) = 0 THEN 7 ELSE MOD((CAST(EXTRACT(dow FROM "public"."people"."seen") AS integer) + 1) + 6, 7) END AS "seen", COUNT(*) AS "count" FROM "public"."people" GROUP BY CASE WHEN MOD((CAST(EXTRACT(dow FROM "public"."people"."seen") AS integer) + 1) + 6, 7) = 0 THEN 7 ELSE MOD((CAST(EXTRACT(dow FROM "public"."people"."seen") AS integer) + 1) + 6, 7) END ORDER BY 1 ASC

SELECT FLOOR((("public"."people"."id" - 0.0) / 2.5)) * 2.5 + 0.0 AS "id", COUNT(*) AS "count" FROM "public"."people" GROUP BY FLOOR((("public"."people"."id" - 0.0) / 2.5)) * 2.5 + 0.0 ORDER BY FLOOR((("public"."people"."id" - 0.0) / 2.5)) * 2.5 + 0.0 ASC

SELECT (FLOOR((("public"."people"."score" + 5.0) / 10.0)) * 10.0) - 5.0 AS "score", COUNT(*) AS "count" FROM "public"."people" WHERE "public"."people"."score" < 100 GROUP BY (FLOOR((("public"."people"."score" + 5.0) / 10.0)) * 10.0) - 5.0 ORDER BY (FLOOR((("public"."people"."score" + 5.0) / 10.0)) * 10.0) - 5.0 ASC

SELECT "source"."city" AS "city", COUNT(*) AS "count", SUM("source"."doubled") AS "sum" FROM (SELECT "public"."people"."city" AS "city", "public"."people"."price" * 2 AS "doubled" FROM "public"."people") AS "source" GROUP BY "source"."city" ORDER BY "source"."city" ASC

SELECT AVG("source"."count") AS "avg" FROM (SELECT "public"."people"."city" AS "city", COUNT(*) AS "count" FROM "public"."people" GROUP BY "public"."people"."city" ORDER BY "public"."people"."city" ASC) AS "source"

SELECT COUNT(*) AS "count" FROM "public"."people" WHERE ("public"."people"."seen" >= timestamp with time zone '2024-01-01 00:00:00.000Z') AND ("public"."people"."seen" < timestamp with time zone '2024-07-01 00:00:00.000Z')

SELECT COUNT(*) AS "count" FROM "public"."people" WHERE ("public"."people"."seen" >= DATE_TRUNC('month', (CAST('2024-12-05 10:00:00' AS timestamp) + INTERVAL '-12 month'))) AND ("public"."people"."seen" < DATE_TRUNC('month', CAST('2024-12-05 10:00:00' AS timestamp)))

SELECT COUNT(*) AS "count" FROM "public"."people" WHERE ("public"."people"."born" >= date '1970-01-01') AND ("public"."people"."born" < date '1990-01-01')

SELECT COUNT(*) AS "count" FROM "public"."people" WHERE (LOWER("public"."people"."name") LIKE '%n%') AND (("public"."people"."city" <> 'Bern') OR ("public"."people"."city" IS NULL))

-- differs: a numeric branch beside an integer loses its places: the sum is 7, not 7.0
SELECT SUM(CASE WHEN "public"."people"."active" = TRUE THEN 1 ELSE 0.0 END) AS "count-where", CAST(SUM(CASE WHEN "public"."people"."active" = TRUE THEN 1 ELSE 0.0 END) AS float) / NULLIF(COUNT(*), 0) AS "share" FROM "public"."people"

SELECT "public"."people"."city" AS "city", COUNT(*) AS "count" FROM "public"."people" GROUP BY "public"."people"."city" ORDER BY "count" DESC, "public"."people"."city" ASC LIMIT 3

SELECT SUM(COUNT(*)) OVER (ORDER BY DATE_TRUNC('year', "public"."people"."seen") ASC ROWS UNBOUNDED PRECEDING) AS "sum", DATE_TRUNC('year', "public"."people"."seen") AS "seen" FROM "public"."people" GROUP BY DATE_TRUNC('year', "public"."people"."seen") ORDER BY DATE_TRUNC('year', "public"."people"."seen") ASC

SELECT PERCENTILE_CONT(0.5) within group (order by "public"."people"."score") AS "median", STDDEV_POP("public"."people"."score") AS "stddev", VAR_POP("public"."people"."score") AS "var" FROM "public"."people" WHERE "public"."people"."score" < 100

SELECT CONCAT("public"."people"."name", ' of ', "public"."people"."city") AS "whole", COALESCE("public"."people"."city", 'nowhere') AS "somewhere" FROM "public"."people" ORDER BY "public"."people"."id" ASC

SELECT CAST("public"."people"."seen" AS date) - CAST("public"."people"."born" AS date) AS "days" FROM "public"."people" ORDER BY "public"."people"."id" ASC

SELECT CAST(TRUNC(EXTRACT(epoch FROM "public"."people"."seen") - EXTRACT(epoch FROM CAST("public"."people"."born" AS timestamp))) AS integer) / 3600 AS "hours" FROM "public"."people" WHERE "public"."people"."id" = 1

SELECT TIMEZONE('Europe/Zurich', TIMEZONE('UTC', "public"."people"."seen")) AS "seen" FROM "public"."people" ORDER BY "public"."people"."id" ASC

SELECT city AS city, COUNT(*) AS n FROM public.people GROUP BY city ORDER BY n DESC, city LIMIT 1000

SELECT COUNT(*) AS rowcount FROM (SELECT city AS city, active AS active FROM public.people GROUP BY city, active LIMIT 100) AS rowcount_qry

SELECT DATE_TRUNC('minute', seen) + INTERVAL '5 minute' * FLOOR(EXTRACT(MINUTE FROM seen) / 5) AS seen, COUNT(*) AS n FROM public.people GROUP BY DATE_TRUNC('minute', seen) + INTERVAL '5 minute' * FLOOR(EXTRACT(MINUTE FROM seen) / 5) ORDER BY 1

SELECT DATE_TRUNC('second', seen) - INTERVAL '1 second' * (EXTRACT(SECOND FROM seen)::int % 30) AS seen, COUNT(*) AS n FROM public.people GROUP BY 1 ORDER BY 1

SELECT COUNT(*) AS n FROM public.people WHERE seen >= TO_TIMESTAMP('2024-01-01 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US') AND seen < TO_TIMESTAMP('2024-07-01 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')

SELECT COUNT(*) AS n FROM public.people WHERE born >= TO_DATE('1970-01-01', 'YYYY-MM-DD') AND born < TO_DATE('1990-01-01', 'YYYY-MM-DD')

SELECT people.city AS city, COUNT(*) AS n FROM public.people JOIN (SELECT city AS city__, COUNT(*) AS mme_inner__ FROM public.people WHERE city IS NOT NULL GROUP BY city ORDER BY mme_inner__ DESC, city LIMIT 2) AS anon_1 ON city = city__ GROUP BY city ORDER BY n DESC, 1 LIMIT 1000

SELECT virtual_table.city AS city, sum(price) AS "SUM(price)" FROM (SELECT city, price FROM people WHERE active) AS virtual_table GROUP BY city ORDER BY "SUM(price)" DESC NULLS LAST LIMIT 50 OFFSET 1

SELECT floor(extract(epoch from seen)/300)*300 AS "time", avg(score) AS "score" FROM people WHERE seen BETWEEN '2024-01-01T00:00:00Z' AND '2024-12-31T23:59:59.999Z' GROUP BY 1 ORDER BY 1

SELECT floor(extract(epoch from seen)/86400)*86400 AS "time", city AS metric, count(*) AS value FROM people WHERE seen BETWEEN '2024-01-01T00:00:00Z' AND '2024-12-31T23:59:59.999Z' AND city IN ('Bern','Chur') GROUP BY 1, 2 ORDER BY 1, 2

SELECT extract(epoch from seen) as "time", score FROM people WHERE seen >= '2024-01-01T00:00:00Z' AND seen <= '2024-12-31T23:59:59.999Z' ORDER BY 1

SELECT seen AS "time", score FROM people WHERE seen BETWEEN '2024-01-01T00:00:00Z' AND '2024-12-31T23:59:59Z' ORDER BY seen

SELECT floor((big)/300)*300 AS "time", count(*) FROM people WHERE big >= 0 AND big <= 70000000000 GROUP BY 1 ORDER BY 1

SELECT big AS time FROM people WHERE big >= 1704067200000000000 AND big <= 1735689599999000000

SELECT date_trunc('day', '2024-12-31T23:59:59.999Z'::timestamptz) AS "to"

SELECT DISTINCT(city) FROM people WHERE city ILIKE '%e%' ORDER BY city LIMIT 100

SELECT current_setting('server_version_num')::int/100 as version

SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'

SELECT quote_ident(table_name) AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', 'kanon', 'federation') ORDER BY 1

SELECT CASE WHEN quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(current_setting('search_path'), ','), 1), array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS i, string_to_array(current_setting('search_path'), ',') s) THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', 'kanon', 'federation') ORDER BY 1

SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns WHERE CASE WHEN array_length(parse_ident('people'), 1) = 2 THEN quote_ident(table_schema) = (parse_ident('people'))[1] AND quote_ident(table_name) = (parse_ident('people'))[2] ELSE quote_ident(table_name) = 'people' AND quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(current_setting('search_path'), ','), 1), array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS i, string_to_array(current_setting('search_path'), ',') s) END

SELECT quote_ident(column_name) AS "column" FROM information_schema.columns WHERE quote_ident(table_name) = 'people' AND table_schema = 'public' AND data_type IN ('text', 'character', 'character varying')

SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS type, d.description AS description FROM pg_catalog.pg_class AS c INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid LEFT JOIN pg_catalog.pg_description AS d ON (c.oid = d.objoid) AND (d.objsubid = 0) AND (d.classoid = 'pg_class'::regclass) LEFT JOIN pg_stat_user_tables AS stat ON (n.nspname = stat.schemaname) AND (c.relname = stat.relname) WHERE (c.relnamespace = n.oid) AND (n.nspname !~ '^pg_') AND (n.nspname <> 'information_schema') AND (c.relkind in ('r', 'p', 'v', 'f', 'm')) AND (n.nspname IN ('public')) ORDER BY type ASC, schema ASC, name ASC

SELECT c.column_name AS name, CASE WHEN c.udt_schema IN ('public', 'pg_catalog') THEN FORMAT('%s', c.udt_name) ELSE FORMAT('"%s"."%s"', c.udt_schema, c.udt_name) END AS "database-type", c.ordinal_position - 1 AS "database-position", c.table_schema AS "table-schema", c.table_name AS "table-name", pk.column_name IS NOT NULL AS "pk?", COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST(c.table_schema AS TEXT), CAST(c.table_name AS TEXT)) AS REGCLASS) AS OID), c.ordinal_position) AS "field-comment", ((column_default IS NULL) OR (LOWER(column_default) = 'null')) AND (is_nullable = 'NO') AND NOT (((column_default IS NOT NULL) AND (column_default LIKE '%nextval(%')) OR (is_identity <> 'NO')) AS "database-required", ((column_default IS NOT NULL) AND (column_default LIKE '%nextval(%')) OR (is_identity <> 'NO') AS "database-is-auto-increment" FROM information_schema.columns AS c LEFT JOIN (SELECT tc.table_schema, tc.table_name, kc.column_name FROM information_schema.table_constraints AS tc INNER JOIN information_schema.key_column_usage AS kc ON (tc.constraint_name = kc.constraint_name) AND (tc.table_schema = kc.table_schema) AND (tc.table_name = kc.table_name) WHERE tc.constraint_type = 'PRIMARY KEY') AS pk ON (c.table_schema = pk.table_schema) AND (c.table_name = pk.table_name) AND (c.column_name = pk.column_name) WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND (c.table_schema IN ('public')) UNION ALL SELECT pa.attname AS name, CASE WHEN ptn.nspname IN ('public', 'pg_catalog') THEN FORMAT('%s', pt.typname) ELSE FORMAT('"%s"."%s"', ptn.nspname, pt.typname) END AS "database-type", pa.attnum - 1 AS "database-position", pn.nspname AS "table-schema", pc.relname AS "table-name", FALSE AS "pk?", NULL AS "field-comment", FALSE AS "database-required", FALSE AS "database-is-auto-increment" FROM pg_catalog.pg_class AS pc INNER JOIN pg_catalog.pg_namespace AS pn ON pn.oid = pc.relnamespace INNER JOIN pg_catalog.pg_attribute AS pa ON pa.attrelid = pc.oid INNER JOIN pg_catalog.pg_type AS pt ON pt.oid = pa.atttypid INNER JOIN pg_catalog.pg_namespace AS ptn ON ptn.oid = pt.typnamespace WHERE (pc.relkind = 'm') AND (pa.attnum >= 1) AND (pn.nspname IN ('public')) ORDER BY "table-schema" ASC, "table-name" ASC, "database-position" ASC

SELECT fk_ns.nspname AS "fk-table-schema", fk_table.relname AS "fk-table-name", fk_column.attname AS "fk-column-name", pk_ns.nspname AS "pk-table-schema", pk_table.relname AS "pk-table-name", pk_column.attname AS "pk-column-name" FROM pg_constraint AS c INNER JOIN pg_class AS fk_table ON c.conrelid = fk_table.oid INNER JOIN pg_namespace AS fk_ns ON c.connamespace = fk_ns.oid INNER JOIN pg_attribute AS fk_column ON c.conrelid = fk_column.attrelid INNER JOIN pg_class AS pk_table ON c.confrelid = pk_table.oid INNER JOIN pg_namespace AS pk_ns ON pk_table.relnamespace = pk_ns.oid INNER JOIN pg_attribute AS pk_column ON c.confrelid = pk_column.attrelid WHERE fk_ns.nspname !~ '^information_schema|catalog_history|pg_' AND (c.contype = 'f'::char) AND (fk_column.attnum = ANY(c.conkey)) AND (pk_column.attnum = ANY(c.confkey)) ORDER BY "fk-table-schema" ASC, "fk-table-name" ASC

with table_privileges as (select NULL as role, t.schemaname as schema, t.objectname as table, pg_catalog.has_any_column_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'select') as select, pg_catalog.has_any_column_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'select') as again, pg_catalog.has_table_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'select') as whole from (select schemaname, tablename as objectname from pg_catalog.pg_tables union select schemaname, viewname as objectname from pg_catalog.pg_views union select schemaname, matviewname as objectname from pg_catalog.pg_matviews) t where t.schemaname !~ '^pg_' and t.schemaname not in ('information_schema', 'kanon') and pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage')) select t.* from table_privileges t

SELECT nspname, typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid IN (SELECT DISTINCT enumtypid FROM pg_enum e)

SELECT CAST(1 AS float) / 3 AS a, 0.1::float AS b, 0.1::float(10) AS c, 0.1::float(53) AS d

-- differs: a numeric branch beside an integer loses its places: the sum is 7, not 7.0
SELECT sum(CASE WHEN active THEN 1 ELSE 0.0 END) AS n FROM people

show timezone;

