SELECT 1::int2

SELECT 1::int4

SELECT 1::int8

SELECT 1.5::float4

SELECT 1.5::float8

SELECT 1.50::numeric

SELECT 1.5::numeric(10,3)

SELECT 'x'::text

SELECT 'x'::varchar

SELECT 'x'::varchar(5)

-- over Flight SQL: without blanks at the end
SELECT 'x'::char(3)

SELECT true

SELECT 3000000000

-- differs: a numeric has a precision and a scale
SELECT 10000000000000000000

SELECT 1e10

SELECT .5

SELECT 1.0

-- differs: accepted
SELECT 0x1F

SELECT '1'::int

SELECT ' 2 '::int

SELECT '1.5'::float8

SELECT '1e3'::numeric

SELECT 'NaN'::float8

SELECT 'Infinity'::float8

SELECT '-inf'::float8

SELECT 'abc'::int

SELECT 3000000000::int4

SELECT 40000::int2

SELECT 2147483647 + 1

SELECT 1.5::int

SELECT 2.5::int

SELECT -1.5::int

SELECT 2.5::float8::int

SELECT 1.6::text

SELECT 1e20::float8::text

SELECT 0.1::float8 + 0.2::float8

SELECT 1.0::float8

SELECT 100000::float8

SELECT 1e15::float8

SELECT 1e16::float8

SELECT 1e-5::float8

SELECT 1::text

SELECT true::text

SELECT date '2024-01-01'::text

SELECT 1.50::numeric::text

SELECT interval '1 day'::text

SELECT '2024-02-29'::date

SELECT '2024-02-30'::date

SELECT '20240229'::date

SELECT 'Feb 29, 2024'::date

SELECT '29 Feb 2024'::date

SELECT '2024-02-29 12:00'::timestamp

SELECT '2024-02-29T12:00:00Z'::timestamptz

SELECT '2024-02-29'::timestamp

SELECT timestamp '2024-02-29 12:00:00'::date

SELECT timestamp '2024-02-29 12:00:00'::time

SELECT '12:30'::time

SELECT '12:30:00.5'::time

SELECT '1 day 02:00'::interval

SELECT 'P1DT2H'::interval

SELECT '1 year 2 months'::interval

SELECT '90 minutes'::interval

-- differs: the text is not read
SELECT 'infinity'::timestamp

-- differs: the text is not read
SELECT '-infinity'::date

SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid

SELECT '{"a": 1}'::json

SELECT '{"b":1, "a": 2}'::jsonb

SELECT '\xdeadbeef'::bytea

SELECT '{1,2,NULL}'::int[]

SELECT '{a,"b c"}'::text[]

-- differs: another type
SELECT ARRAY[1.5, 2]

SELECT ARRAY['a', 'b']

SELECT ARRAY[[1, 2], [3, 4]]

SELECT '{}'::int[]

SELECT NULL

SELECT NULL::int

SELECT NULL::text

-- differs: another text
SELECT ROW(1, 'a')

-- differs: another text
SELECT (1, 2)

SELECT cast('5' AS int)

SELECT cast(5 AS text)

SELECT CAST(5.7 AS numeric(3,1))

SELECT 'x'::name

SELECT 1::oid

-- differs: another type
SELECT 'people'::regclass

-- differs: another type
SELECT 'int4'::regtype

-- differs: another type
SELECT pg_typeof(1.5)

-- differs: another type
SELECT pg_typeof(1::int8)

-- differs: another type
SELECT pg_typeof(ARRAY[1])

-- differs: another type
SELECT pg_typeof(date '2024-01-01')

-- differs: another type
SELECT pg_typeof(1 / 3.0)

-- differs: another type
SELECT pg_typeof(sum(1))

-- differs: another type
SELECT pg_typeof(avg(1))

-- differs: another type
SELECT pg_typeof(count(*))

SELECT sum(id) FROM people WHERE id < 0

SELECT sum(big) FROM people WHERE id < 0

SELECT avg(id) FROM people WHERE id < 0

SELECT avg(score) FROM people WHERE id < 0

SELECT sum(score) FROM people WHERE id < 0

SELECT max(price) FROM people WHERE id < 0

SELECT min(seen) FROM people WHERE id < 0

SELECT 99999999999999999999::numeric

SELECT 0.00000001::numeric

SELECT 1e30::numeric

SELECT -0.0::numeric

SELECT 12345678901234567890.123456789::numeric

SELECT 1::numeric / 3

SELECT 10::numeric / 3

SELECT 2::numeric / 3

SELECT 100::numeric * 1.10

SELECT 1.10 + 2.205

SELECT 1 = 1.0

SELECT 1 < '2'

SELECT '10' > '9'

SELECT 'a' < 'B'

SELECT date '2024-01-01' = '2024-01-01'

SELECT 1 IN ('1', '2')

SELECT interval '1 month 1 day'

SELECT interval '-1 month'

SELECT interval '1 day ago'

-- differs: another type
SELECT interval '1' day

-- differs: refused as not supported
SELECT interval '2:30' hour to minute

SELECT time '10:00' + interval '1 hour'

SELECT time '10:00' - time '09:30'

SELECT date '2024-01-01' + time '10:00'

SELECT true AND NULL

SELECT NOT NULL::bool

SELECT NULL IS NULL

SELECT NULL = NULL

-- differs: the grammar lacks it
SELECT B'101'

-- differs: another type
SELECT X'1F'

-- differs: refused as not supported
SELECT '101'::bit(3)

SELECT '192.168.0.1'::inet

-- differs: refused as not supported
SELECT '12.34'::money

SELECT 'x' COLLATE "C" < 'y'