SELECT upper('aé')

SELECT lower('AÉ')

SELECT initcap('hello world')

SELECT length('héllo')

SELECT char_length('héllo')

SELECT octet_length('héllo')

SELECT bit_length('héllo')

SELECT substring('abcdef' FROM 2 FOR 3)

SELECT substring('abcdef', 3)

SELECT substr('abcdef', 2, 2)

SELECT left('abcdef', 2)

SELECT left('abcdef', -2)

SELECT right('abcdef', 2)

SELECT substring('foobar' FROM 'o.b')

SELECT position('b' IN 'abc')

SELECT strpos('abc', 'c')

SELECT overlay('abcdef' PLACING 'XX' FROM 3 FOR 2)

SELECT trim('  x  ')

SELECT trim(LEADING 'x' FROM 'xxa')

SELECT ltrim('xxa', 'x')

SELECT rtrim('axx', 'x')

SELECT btrim('xax', 'x')

SELECT lpad('7', 3, '0')

SELECT rpad('7', 3, '0')

SELECT lpad('abc', 2)

SELECT repeat('ab', 3)

SELECT reverse('abc')

SELECT translate('abc', 'ab', 'xy')

SELECT replace('banana', 'na', 'NA')

SELECT split_part('a,b,c', ',', 2)

SELECT split_part('a,b,c', ',', -1)

SELECT concat('a', NULL, 1)

SELECT concat_ws('-', 'a', NULL, 'b')

SELECT ascii('A')

SELECT chr(65)

SELECT md5('a')

SELECT encode('abc'::bytea, 'hex')

SELECT encode('abc'::bytea, 'base64')

SELECT decode('616263', 'hex')

SELECT format('%s is %s', 'x', 1)

SELECT format('%I', 'a b')

SELECT format('%L', 'it''s')

SELECT quote_ident('a b')

SELECT quote_literal('it''s')

SELECT quote_nullable(NULL)

SELECT starts_with('abc', 'ab')

SELECT 'abc' ^@ 'ab'

SELECT regexp_replace('abcabc', 'b', 'X')

SELECT regexp_replace('abcabc', 'b', 'X', 'g')

SELECT regexp_match('abc', 'b(.)')

SELECT regexp_split_to_array('a,b', ',')

SELECT regexp_matches('abcb', 'b', 'g')

SELECT regexp_count('abcb', 'b')

SELECT regexp_substr('abc', 'b.')

SELECT regexp_like('abc', 'B', 'i')

SELECT regexp_instr('abc', 'c')

SELECT string_to_array('a,b,,c', ',')

SELECT array_to_string(ARRAY['a', NULL, 'b'], ',', '*')

SELECT array_length(ARRAY[1, 2], 1)

SELECT cardinality(ARRAY[1, 2])

SELECT ARRAY[1, 2] || 3

SELECT ARRAY[1, 2] || ARRAY[3]

SELECT array_append(ARRAY[1], 2)

SELECT array_position(ARRAY['a', 'b'], 'b')

SELECT (ARRAY[1, 2, 3])[2]

SELECT (ARRAY[1, 2, 3])[2:3]

SELECT ARRAY[1, 2] @> ARRAY[1]

SELECT ARRAY[1, 2] && ARRAY[2, 3]

SELECT ARRAY[1, 2] = ARRAY[1, 2]

SELECT unnest(ARRAY[1, 2])

SELECT * FROM unnest(ARRAY['a', 'b']) WITH ORDINALITY AS t(x, n)

SELECT coalesce(NULL, 1)

SELECT nullif(1, 1)

SELECT greatest(1, NULL, 3)

SELECT least(2, 1)

SELECT round(2.5)

SELECT round(-2.5)

SELECT round(2.567, 2)

SELECT round(2.5::float8)

SELECT trunc(2.567, 1)

SELECT trunc(-2.5)

SELECT ceil(2.1)

SELECT floor(-2.1)

SELECT ceiling(2.1::float8)

SELECT abs(-1)

SELECT abs(-1.5)

SELECT sign(-2)

-- differs: numbers with a point, and averages of integers, are double precision
SELECT sign(-2.5)

SELECT mod(7, 3)

SELECT 7 % 3

SELECT div(7, 2)

SELECT power(2, 10)

SELECT 2 ^ 3

SELECT sqrt(16)

-- differs: another text
SELECT cbrt(27)

SELECT exp(0)

SELECT ln(1)

SELECT log(100)

-- differs: numbers with a point, and averages of integers, are double precision
SELECT log(2, 8)

SELECT pi()

SELECT degrees(pi())

SELECT radians(180)

SELECT sin(0)

SELECT cos(0)

SELECT tan(0)

SELECT atan2(1, 1)

SELECT factorial(5)

SELECT gcd(12, 18)

SELECT lcm(4, 6)

SELECT 7 / 2

SELECT -7 / 2

SELECT 7.0 / 2

SELECT 1 / 3.0

SELECT 1 / 3::float8

SELECT 7::numeric / 2

SELECT 2 * 3.5

SELECT 1 + 1.0

SELECT width_bucket(5.35, 0.024, 10.06, 5)

SELECT width_bucket(3::float8, 0, 10, 5)

SELECT make_date(2024, 2, 29)

SELECT make_timestamp(2024, 2, 29, 12, 30, 1.5)

SELECT make_time(1, 2, 3.5)

SELECT make_interval(days => 3)

SELECT date '2024-01-31' + 1

SELECT date '2024-03-01' - date '2024-02-01'

SELECT date '2024-01-31' + interval '1 month'

SELECT timestamp '2024-01-01' - timestamp '2023-12-25 12:00'

SELECT timestamp '2024-01-01 12:00' + interval '36 hours'

SELECT interval '1 day' * 2.5

SELECT interval '1 hour' / 2

SELECT - interval '1 day'

SELECT interval '1 day' + interval '2 hours'

SELECT age(timestamp '2024-03-01', timestamp '2023-01-15')

SELECT age(timestamp '2000-01-01', timestamp '1999-12-31 12:00')

SELECT extract(year FROM date '2024-02-29')

SELECT extract(epoch FROM timestamp '2024-01-01 00:00:01.5')

SELECT extract(dow FROM date '2024-02-29')

SELECT extract(isodow FROM date '2024-02-25')

SELECT extract(doy FROM date '2024-12-31')

SELECT extract(week FROM date '2024-01-01')

SELECT extract(quarter FROM date '2024-05-01')

-- differs: a numeric has a precision and a scale
SELECT extract(second FROM timestamp '2024-01-01 00:00:01.5')

SELECT extract(milliseconds FROM time '00:00:01.5')

SELECT extract(hour FROM interval '26 hours')

SELECT extract(day FROM interval '3 days 2 hours')

-- differs: the fields of a date are integers
SELECT extract(century FROM date '2024-01-01')

SELECT extract(isoyear FROM date '2024-12-31')

SELECT date_part('month', date '2024-02-29')

SELECT date_part('epoch', interval '1 day')

SELECT date_trunc('month', timestamp '2024-02-29 12:34:56')

-- differs: another type
SELECT date_trunc('week', date '2024-02-29')

SELECT date_trunc('quarter', timestamp '2024-05-05')

SELECT date_trunc('hour', interval '3 hours 30 minutes')

SELECT date_bin('15 minutes', timestamp '2024-02-29 12:34:56', timestamp '2001-01-01')

SELECT timestamp '2024-07-01 12:00' AT TIME ZONE 'Europe/Zurich'

SELECT timestamptz '2024-07-01 12:00+00' AT TIME ZONE 'America/New_York'

SELECT to_char(timestamp '2024-02-29 15:04:05.678', 'YYYY-MM-DD HH24:MI:SS.MS')

SELECT to_char(date '2024-02-29', 'DD Mon YYYY')

SELECT to_char(date '2024-02-29', 'FMDay, FMMonth DD')

SELECT to_char(timestamp '2024-02-29 15:04', 'HH12:MI AM')

SELECT to_char(date '2024-02-29', 'IYYY-IW Q DDD D')

SELECT to_char(1234.5, '9,999.99')

SELECT to_char(-5, '999')

SELECT to_char(42, 'FM0000')

SELECT to_char(0.5, '0.00')

SELECT to_char(12345678, 'FM999,999,999')

SELECT to_date('2024-02-29', 'YYYY-MM-DD')

SELECT to_timestamp('2024-02-29 12:30', 'YYYY-MM-DD HH24:MI')

SELECT to_timestamp(0)

SELECT to_number('1,234.5', '9,999.9')

SELECT string_agg(name, ', ' ORDER BY id) FROM people WHERE id < 5

SELECT array_agg(id ORDER BY id DESC) FROM people WHERE id < 5

SELECT string_agg(DISTINCT city, '|' ORDER BY city) FROM people WHERE id < 5

SELECT json_build_object('a', 1, 'b', 'x')

SELECT json_build_array(1, 'a', NULL)

SELECT to_json('x'::text)

SELECT json_agg(id ORDER BY id) FROM people WHERE id < 3

SELECT json_object_agg(id, name ORDER BY id) FROM people WHERE id < 3

SELECT row_to_json(p) FROM (SELECT 1 AS a, 'x' AS b) p

SELECT '{"a":{"b":[1,2]}}'::json -> 'a' -> 'b' ->> 1

SELECT '{"a":1}'::jsonb @> '{"a":1}'

SELECT '{"a":1}'::jsonb ->> 'a'

SELECT '{"a":{"b":2}}'::json #>> '{a,b}'

SELECT bool_and(active) FROM people

SELECT bool_or(active) FROM people

SELECT every(active) FROM people

SELECT bit_and(id) FROM people

SELECT bit_or(id) FROM people

SELECT stddev(score) FROM people WHERE id < 5

SELECT stddev_pop(score) FROM people WHERE id < 5

SELECT variance(score) FROM people WHERE id < 5

SELECT var_pop(score) FROM people WHERE id < 5

-- differs: numbers with a point, and averages of integers, are double precision
SELECT stddev_samp(id) FROM people WHERE id < 5

-- differs: another text
SELECT corr(id, score) FROM people WHERE id < 5

SELECT covar_pop(id, score) FROM people WHERE id < 5

SELECT covar_samp(id, score) FROM people WHERE id < 5

SELECT regr_slope(score, id) FROM people WHERE id < 5

SELECT regr_intercept(score, id) FROM people WHERE id < 5

SELECT regr_r2(score, id) FROM people WHERE id < 5

SELECT regr_count(score, id) FROM people WHERE id < 5

SELECT mode() WITHIN GROUP (ORDER BY city) FROM people

SELECT pg_catalog.lower('A') FROM people

SELECT pg_catalog.count(*) FROM people

SELECT current_database()

SELECT current_schema()

-- differs: another text
SELECT current_schemas(false)

-- differs: another type
SELECT pg_typeof(1)

-- differs: another type
SELECT pg_typeof('x'::text)

-- differs: another type
SELECT pg_typeof(now())

SELECT now() = now()

SELECT current_date = now()::date

SELECT current_timestamp = now()

SELECT localtimestamp = now()::timestamp

SELECT clock_timestamp() >= now()

SELECT isfinite(date '2024-01-01')

SELECT justify_days(interval '35 days')

SELECT justify_hours(interval '27 hours')

SELECT justify_interval(interval '1 month -1 hour')

SELECT num_nulls(1, NULL)

SELECT num_nonnulls(1, NULL)

SELECT array_remove(ARRAY[1, 2, 1], 1)

SELECT array_replace(ARRAY[1, 2], 1, 9)

SELECT array_cat(ARRAY[1], ARRAY[2])

SELECT array_ndims(ARRAY[[1]])

SELECT array_upper(ARRAY[1, 2], 1)

SELECT array_lower(ARRAY[1, 2], 1)

SELECT sha256('abc'::bytea)

-- differs: the message does not say the types
SELECT crc32('x')

SELECT unistr('\00e9')

SELECT to_hex(255)

SELECT string_to_table('a,b', ',')

-- differs: the function is missing
SELECT normalize('é')

SELECT generate_series(1, 3) AS n

SELECT random() BETWEEN 0 AND 1

SELECT gen_random_uuid() IS NOT NULL

SELECT pg_backend_pid() > 0

SELECT 'a' || 1

SELECT 1 || 'a'

SELECT 'a' || NULL

SELECT 'x'::text || 'y'::varchar

SELECT bool 't'

SELECT 'yes'::bool

SELECT 1::bool

SELECT true::int

SELECT 'off'::boolean

SELECT atan(1)

SELECT asin(1)

SELECT acos(1)

SELECT sinh(0)

SELECT cot(1)

-- differs: the message does not say the types
SELECT erf(0)

SELECT round(2.567, 1 + 1), trunc(-2.567, 2 - 1), round(123.45, -(1)), round(1.5, NULL), round(2.5, 0 + 0)

SELECT round(price, 1 * 1), trunc(price, 1 - 1) FROM people ORDER BY id LIMIT 3

SELECT id, round(price, id - id + 2) FROM people ORDER BY id LIMIT 2

SELECT left(name, id), right(name, id - 1), substr(name, id), repeat('x', id), lpad(name, id, '-') FROM people ORDER BY id LIMIT 3

-- differs: the message does not say the types
SELECT date_trunc('day', 1)
