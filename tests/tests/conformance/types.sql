SELECT 1::int2, 1::int4, 1::int8, 1.5::float4, 1.5::float8, 1.50::numeric, 1.5::numeric(10,3), 'x'::text, 'x'::varchar, 'x'::varchar(5), 'x'::char(3), true

SELECT 3000000000, 10000000000000000000, 1e10, .5, 1.0, 0x1F

SELECT '1'::int, ' 2 '::int, '1.5'::float8, '1e3'::numeric, 'NaN'::float8, 'Infinity'::float8, '-inf'::float8

SELECT 'abc'::int

SELECT 3000000000::int4

SELECT 40000::int2

SELECT 2147483647 + 1

SELECT 1.5::int, 2.5::int, -1.5::int, 2.5::float8::int, 1.6::text, 1e20::float8::text, 0.1::float8 + 0.2::float8, 1.0::float8, 100000::float8, 1e15::float8, 1e16::float8, 1e-5::float8

SELECT 1::text, true::text, date '2024-01-01'::text, 1.50::numeric::text, interval '1 day'::text

SELECT '2024-02-29'::date, '2024-02-30'::date

SELECT '20240229'::date, 'Feb 29, 2024'::date, '29 Feb 2024'::date

SELECT '2024-02-29 12:00'::timestamp, '2024-02-29T12:00:00Z'::timestamptz, '2024-02-29'::timestamp, timestamp '2024-02-29 12:00:00'::date, timestamp '2024-02-29 12:00:00'::time

SELECT '12:30'::time, '12:30:00.5'::time, '1 day 02:00'::interval, 'P1DT2H'::interval, '1 year 2 months'::interval, '90 minutes'::interval

SELECT 'infinity'::timestamp, '-infinity'::date

SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, '{"a": 1}'::json, '{"b":1, "a": 2}'::jsonb, '\xdeadbeef'::bytea

SELECT '{1,2,NULL}'::int[], '{a,"b c"}'::text[], ARRAY[1.5, 2], ARRAY['a', 'b'], ARRAY[[1, 2], [3, 4]], '{}'::int[]

SELECT NULL, NULL::int, NULL::text

SELECT ROW(1, 'a'), (1, 2)

SELECT cast('5' AS int), cast(5 AS text), CAST(5.7 AS numeric(3,1))

SELECT 'x'::name, 1::oid, 'people'::regclass, 'int4'::regtype

SELECT pg_typeof(1.5), pg_typeof(1::int8), pg_typeof(ARRAY[1]), pg_typeof(date '2024-01-01'), pg_typeof(1 / 3.0), pg_typeof(sum(1)), pg_typeof(avg(1)), pg_typeof(count(*))

SELECT sum(id), sum(big), avg(id), avg(score), sum(score), max(price), min(seen) FROM people WHERE id < 0

SELECT 99999999999999999999::numeric, 0.00000001::numeric, 1e30::numeric, -0.0::numeric, 12345678901234567890.123456789::numeric

SELECT 1::numeric / 3, 10::numeric / 3, 2::numeric / 3, 100::numeric * 1.10, 1.10 + 2.205

SELECT 1 = 1.0, 1 < '2', '10' > '9', 'a' < 'B', date '2024-01-01' = '2024-01-01', 1 IN ('1', '2')

SELECT interval '1 month 1 day', interval '-1 month', interval '1 day ago', interval '1' day, interval '2:30' hour to minute

SELECT time '10:00' + interval '1 hour', time '10:00' - time '09:30', date '2024-01-01' + time '10:00'

SELECT true AND NULL, NOT NULL::bool, NULL IS NULL, NULL = NULL

SELECT B'101', X'1F', '101'::bit(3)

SELECT '192.168.0.1'::inet

SELECT '12.34'::money

SELECT 'x' COLLATE "C" < 'y'
