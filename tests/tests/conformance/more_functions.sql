SELECT to_date('29 Feb 2024', 'DD Mon YYYY')

SELECT to_date('20240229', 'YYYYMMDD')

SELECT to_date('99-1-2', 'YY-MM-DD')

SELECT to_date('2024-060', 'YYYY-DDD')

SELECT to_date('2024-W09-4', 'IYYY-"W"IW-ID')

SELECT to_date('2460370', 'J')

SELECT to_date('5/1/2024', 'MM/DD/YYYY')

SELECT to_date('II 2024', 'RM YYYY')

SELECT to_date('1st 02 2024', 'DDth MM YYYY')

SELECT to_date('2024-02-30', 'YYYY-MM-DD')

SELECT to_date('x', 'YYYY')

SELECT to_date('Xeb 2024', 'Mon YYYY')

SELECT to_date(name, 'YYYY') FROM people WHERE id < 3

SELECT to_date(born::text, 'YYYY-MM-DD') FROM people ORDER BY id

SELECT to_timestamp('2024-02-29 12:30:45.678', 'YYYY-MM-DD HH24:MI:SS.MS')

SELECT to_timestamp('2024-02-29 1:30 PM', 'YYYY-MM-DD HH12:MI AM')

SELECT to_timestamp('2024-02-29 13:30 PM', 'YYYY-MM-DD HH12:MI AM')

SELECT to_timestamp('2024-02-29 25', 'YYYY-MM-DD HH24')

SELECT to_timestamp('2024-02-29 12:00 -03:30', 'YYYY-MM-DD HH24:MI TZH:TZM')

SELECT to_timestamp('2024-07-01T12:30:45', 'YYYY-MM-DD"T"HH24:MI:SS')

SELECT to_timestamp('2024-02-29 OF', 'YYYY-MM-DD OF')

SELECT to_timestamp(1709210096.123456)

-- differs: constants are computed when the statement runs
SELECT to_timestamp('NaN'::float8)

-- differs: constants are computed when the statement runs
SELECT to_timestamp(1e20)

SELECT to_number('-12,454.8-', '99G999D9S')

SELECT to_number('1234', '99')

SELECT to_number('abc', '999')

-- differs: refused as not supported
SELECT to_number('XIV', 'RN')

SELECT format('%s|%10s|%-10s|', 'a', 'b', 'c')

SELECT format('%2$s %1$s', 'a', 'b')

SELECT format('%*s|', 5, 'x')

SELECT format('%I and %L', 'a b', NULL)

SELECT format('%s %s %s', true, 1.5::float8, date '2024-01-01')

SELECT format('%s', ARRAY['a', 'b c', NULL])

SELECT format('%s', interval '1 day 2 hours')

SELECT format('%s')

SELECT format('%x', 1)

SELECT format('%I', NULL)

SELECT format('%s is in %s', name, city) FROM people ORDER BY id

-- differs: the statement begins when the transaction does
SELECT clock_timestamp() >= now(), statement_timestamp() = now(), transaction_timestamp() = now()

SELECT timeofday() IS NOT NULL

SELECT localtime IS NOT NULL

SELECT make_timestamp(2023, 2, 29, 12, 30, 1.5)

SELECT make_timestamp(2023, 2, 28, 25, 30, 1.5)

SELECT make_timestamptz(2024, 7, 1, 12, 0, 0, 'America/New_York')

SELECT make_timestamptz(2024, 7, 1, 12, 0, 0, 'Nowhere')

SELECT make_time(25, 0, 0)

SELECT make_interval()

SELECT make_interval(1, 2)

SELECT make_interval(years => 1, months => 2, weeks => 1, days => 3, hours => 4, mins => 5, secs => 6.7)

SELECT born + make_interval(days => id) FROM people WHERE id < 4 ORDER BY id

SELECT justify_days(interval '-65 days')

SELECT justify_hours(interval '-50 hours 10 minutes')

SELECT justify_interval(interval '2 mon -35 days')

SELECT isfinite(now()), isfinite(interval '1 day')

SELECT date_trunc('month', interval '1 year 2 mons 3 days')

SELECT date_trunc('week', interval '14 days')

SELECT date_trunc('foo', interval '14 days')

SELECT date_trunc('day', timestamptz '2024-07-01 03:34+00', 'America/New_York')

SELECT date_trunc('decade', timestamp '2024-01-01')

SELECT date_trunc('century', timestamp '2024-01-01'), date_trunc('millennium', timestamp '2024-01-01')

SELECT date_trunc('mons', seen) FROM people ORDER BY id

SELECT date_trunc('x', timestamp '2024-01-01')

SELECT regexp_matches('foobarbequebazilbarfbonk', '(b[^b]+)(b[^b]+)', 'g')

SELECT regexp_matches('abc', 'x', 'g')

SELECT id, regexp_matches(name, '[aeiou]', 'g') FROM people WHERE id < 4 ORDER BY id

SELECT * FROM regexp_matches('a1b2', '\d', 'g') AS m

SELECT (regexp_matches('a1b2', '[a-z](\d)', 'g'))[1]

SELECT regexp_match('foobar', 'foo|foobar')

SELECT regexp_match('aab', 'a*(ab)*')

SELECT regexp_match('XY1234Z', 'Y*?([0-9]{1,3})')

SELECT regexp_match('abc01234xyz', '(.*)(\d+)(.*)')

SELECT regexp_match('abc01234xyz', '(?:(.*?)(\d+)(.*)){1,1}')

SELECT regexp_match('abc', '(b)(x)?')

SELECT regexp_match('abc', 'b', 'g')

SELECT regexp_match('abc', 'b', 'y')

SELECT regexp_match('abc', '(a')

SELECT regexp_match('abc', 'a**')

SELECT regexp_match(name, '[[') FROM people

SELECT regexp_split_to_table('hello world foo', '\s+')

SELECT x FROM regexp_split_to_table('a,b', ',') AS t(x)

SELECT regexp_split_to_array('the quick', '\s*')

SELECT regexp_substr('foobar', '(o)(b)', 1, 1, '', 2)

SELECT regexp_substr('abc', 'b', 0)

SELECT regexp_instr('abcabc', 'b.', 1, 2, 1)

SELECT regexp_replace('hello', 'l', 'L', 1, 2)

SELECT regexp_replace('abc', 'b', '[\&]')

SELECT regexp_replace('foo bar', '\mbar\M', 'X')

SELECT substring('foobar' FROM 'o(.)b')

SELECT substring('Thomas' FROM '...$'), substring('foobar', 'x')

-- differs: refused as not supported
SELECT substring('foobar' FROM '%#"o_b#"%' FOR '#')

-- differs: refused as not supported
SELECT 'abc' ~ '(a)\1'

-- differs: refused as not supported
SELECT 'abc' ~ 'a(?=b)'

SELECT 'foo bar' ~ '\mbar\M', 'foobar' ~ '\mbar', 'é' ~ '^[[:alpha:]]$'

SELECT E'a\nb' ~ 'a.b'

SELECT 'a' ~ '(a'

SELECT string_to_table('a,,b', ',', '')

SELECT x FROM string_to_table('a,b', ',') AS t(x)

SELECT unistr('\00e9 \+01F600 \D83D\DE00 a\\b')

SELECT unistr('\xyz')

SELECT encode('\x00ff5c41'::bytea, 'escape')

SELECT encode(repeat('abc', 30)::bytea, 'base64')

SELECT encode('abc'::bytea, 'x')

SELECT decode('\000\\a', 'escape')

SELECT decode('zz', 'hex')

SELECT decode('a', 'base64')

SELECT chr(0)

SELECT chr(128512)

SELECT to_hex(-1), to_hex(-1::bigint)

SELECT quote_literal('a\b'), quote_nullable(5), quote_ident('select')

SELECT left('abc', -5), right('abc', -1), split_part('abc', '', -1)

SELECT array_remove(ARRAY['a', NULL, 'b'], NULL)

SELECT array_replace(ARRAY[1, NULL], NULL, 3)

SELECT array_length(ARRAY[]::int[], 1), array_ndims(ARRAY[]::int[])

SELECT array_dims(ARRAY[[1, 2, 3], [4, 5, 6]]), array_dims(ARRAY[]::int[])

SELECT array_to_string(ARRAY[true, NULL, false], ',', '*')

SELECT array_positions(ARRAY['A', 'B', 'A'], 'A')

SELECT trim_array(ARRAY[1, 2, 3, 4], 2)

SELECT trim_array(ARRAY[1], 2)

SELECT generate_subscripts(ARRAY[5, 6], 1)

SELECT s FROM generate_subscripts(ARRAY['a', 'b'], 1) AS s

SELECT array_fill(7, ARRAY[3])

-- differs: refused as not supported
SELECT array_fill(1, ARRAY[2, 2])

SELECT div(-7, 2)

SELECT div(1, 0)

SELECT factorial(33)

SELECT factorial(-1)

-- differs: a numeric has 38 digits at most
SELECT factorial(40)

SELECT width_bucket(5, ARRAY[1, 3, 4, 6])

SELECT width_bucket('b'::text, ARRAY['a', 'c'])

SELECT bool_and(active), bool_or(active), every(active) FROM people

SELECT mod(-7, 3), -7 % 3

SELECT mode() WITHIN GROUP (ORDER BY city DESC) FROM people

SELECT city, mode() WITHIN GROUP (ORDER BY active) FROM people GROUP BY city ORDER BY city

SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY name) FROM people

SELECT percentile_disc(0) WITHIN GROUP (ORDER BY id), percentile_disc(1) WITHIN GROUP (ORDER BY born DESC) FROM people

SELECT percentile_disc(1.5) WITHIN GROUP (ORDER BY id) FROM people

-- differs: refused as not supported
SELECT percentile_disc(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY id) FROM people

-- differs: another type
SELECT pg_typeof(ARRAY['a']), pg_typeof(now()), pg_typeof(1.5::float8)

-- differs: refused as not supported
SELECT setseed(0.5)

SELECT pg_sleep(0)
