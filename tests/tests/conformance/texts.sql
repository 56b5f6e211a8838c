-- Types of texts, operators that there are not, numbers that do not fit, and texts that cannot be read.

SELECT 'x'::varchar

SELECT 'abcdef'::varchar(3), 'ab'::varchar(3), cast('äöü' AS character varying(2))

-- over Flight SQL: without blanks at the end
SELECT 'ab'::char(4), 'abcdef'::char(3), 'a'::char, cast('b' AS character(2))

SELECT 'ab'::char(4) = 'ab', 'ab'::char(4) || 'x', length('ab'::char(4)), upper('ab'::char(4))

SELECT 'ab'::char(4)::text || '|', ('ab'::varchar(4))::text, 5::varchar, 1.5::varchar(2)

-- over Flight SQL: without blanks at the end
SELECT name::varchar(2), city::char(6) FROM people WHERE id = 1

SELECT x FROM (SELECT name::varchar(3) AS x FROM people WHERE id < 3) s ORDER BY x

SELECT max(name::varchar(3)), count(*) FROM people

SELECT pg_typeof('a'::varchar)::text, pg_typeof('a'::char(3))::text, pg_typeof('a'::name)::text, pg_typeof(1::oid)::text

SELECT 'x'::name, 1::oid, '7'::oid

-- differs: the error does not say where
SELECT 'x'::varchar(0)

SELECT 'x'::varchar UNION ALL SELECT 'y'::varchar ORDER BY 1

SELECT id FROM people WHERE name = 1

SELECT id FROM people WHERE 1 = name

SELECT id FROM people WHERE id > 0 AND city <> 2.5

SELECT id FROM people WHERE active = 1

SELECT id FROM people WHERE born = 1

SELECT id FROM people WHERE name IN (1, 2)

SELECT name + 1 FROM people

SELECT id FROM people WHERE name = '1' OR id = '2' ORDER BY id

SELECT 'a'::text = 1::bigint

SELECT big + 9223372036854775807 FROM people WHERE id = 1

SELECT 9223372036854775807 + 1

SELECT 2147483647 * 2

SELECT (-2147483648)::int4 - 1

SELECT 32767::int2 + 1::int2

SELECT 32767::int2 + 1

SELECT id * 2147483647 FROM people WHERE id = 2

SELECT 4611686018427387904 * 2

SELECT id + 1, id - 1, id * 2, big + id, big - 1 FROM people WHERE id = 1

SELECT sum(id + 1), sum(id * 2) FROM people

SELECT id + 1 AS n, count(*) FROM people WHERE id < 4 GROUP BY id + 1 ORDER BY 1

SELECT count(*) FROM people WHERE id + 1 > 5 AND id - 1 < 8

SELECT '3000000000'::int4

SELECT 'abc'::int

SELECT ''::int8

SELECT ' 12 '::int2

SELECT 'x'::float8

SELECT '1e400'::float8

SELECT 'maybe'::bool

SELECT 'x'::numeric

SELECT 1, 'x'::date

SELECT '2024-02-30'::date

SELECT '2024-13-01'::timestamp

SELECT '25:00'::time

SELECT 'yesterdayish'::timestamptz

SELECT ''::date

SELECT id FROM people WHERE born = 'soon'

SELECT id FROM people WHERE born = '2024-02-31'

SELECT '1 foo'::interval

SELECT '2020-01-01 +00'::date, '12:30:00+00'::time

SELECT 'P1DT2H'::interval, 'P1Y2M'::interval, interval '1 day ago'

SELECT 1/0 FROM people

SELECT 1 % 0

SELECT '12:30:00+00'::timetz, '12:30:00.5+0530'::timetz, time with time zone '1:2:3 pm -01'

SELECT '12:00+00'::timetz < '12:00-01'::timetz, '12:00+00'::timetz = '13:00+01', '12:00+00'::timetz = '12:00Z'

SELECT x FROM (VALUES ('12:00+00'::timetz), ('13:00+01'::timetz), ('12:00+01'::timetz), ('11:00-01'::timetz)) AS v(x) ORDER BY x

SELECT 'x'::timetz

SELECT '10.0.0.1'::inet, '10.1.2.3/8'::inet, '10.0.0.1/32'::inet, '2001:DB8::1/64'::inet

SELECT '10.0.0.1'::inet = '10.0.0.1/32', '9.9.9.9'::inet < '10.0.0.1'::inet, '10.0.0.1'::inet::text, '10.0.0.1'::inet IN ('10.0.0.1', '::1')

SELECT x FROM (VALUES ('10.0.0.0/24'::inet), ('9.9.9.9'::inet), ('::1'::inet), ('10.1.2.3/8'::inet), ('10.0.0.0/8'::inet)) AS v(x) ORDER BY x

SELECT '10.1'::inet

SELECT coalesce(NULL::inet, '10.0.0.1'), CASE WHEN true THEN '12:30+00'::timetz END

SELECT pg_catalog.substring('Thomas', 2, 3), pg_catalog.substring('Thomas', 'm..'), COALESCE(pg_catalog.substring('foobar', 'o(.)b'), 'x')
