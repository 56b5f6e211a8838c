SELECT upper('aé'), lower('AÉ'), initcap('hello world'), length('héllo'), char_length('héllo'), octet_length('héllo'), bit_length('héllo')

SELECT substring('abcdef' FROM 2 FOR 3), substring('abcdef', 3), substr('abcdef', 2, 2), left('abcdef', 2), left('abcdef', -2), right('abcdef', 2)

SELECT substring('foobar' FROM 'o.b')

SELECT position('b' IN 'abc'), strpos('abc', 'c'), overlay('abcdef' PLACING 'XX' FROM 3 FOR 2)

SELECT trim('  x  '), trim(LEADING 'x' FROM 'xxa'), ltrim('xxa', 'x'), rtrim('axx', 'x'), btrim('xax', 'x')

SELECT lpad('7', 3, '0'), rpad('7', 3, '0'), lpad('abc', 2), repeat('ab', 3), reverse('abc'), translate('abc', 'ab', 'xy')

SELECT replace('banana', 'na', 'NA'), split_part('a,b,c', ',', 2), split_part('a,b,c', ',', -1), concat('a', NULL, 1), concat_ws('-', 'a', NULL, 'b')

SELECT ascii('A'), chr(65), md5('a'), encode('abc'::bytea, 'hex'), encode('abc'::bytea, 'base64'), decode('616263', 'hex')

SELECT format('%s is %s', 'x', 1), format('%I', 'a b'), format('%L', 'it''s'), quote_ident('a b'), quote_literal('it''s'), quote_nullable(NULL)

SELECT starts_with('abc', 'ab'), 'abc' ^@ 'ab'

SELECT regexp_replace('abcabc', 'b', 'X'), regexp_replace('abcabc', 'b', 'X', 'g'), regexp_match('abc', 'b(.)'), regexp_split_to_array('a,b', ',')

SELECT regexp_matches('abcb', 'b', 'g')

SELECT regexp_count('abcb', 'b'), regexp_substr('abc', 'b.'), regexp_like('abc', 'B', 'i'), regexp_instr('abc', 'c')

SELECT string_to_array('a,b,,c', ','), array_to_string(ARRAY['a', NULL, 'b'], ',', '*'), array_length(ARRAY[1, 2], 1), cardinality(ARRAY[1, 2])

SELECT ARRAY[1, 2] || 3, ARRAY[1, 2] || ARRAY[3], array_append(ARRAY[1], 2), array_position(ARRAY['a', 'b'], 'b'), (ARRAY[1, 2, 3])[2], (ARRAY[1, 2, 3])[2:3]

SELECT ARRAY[1, 2] @> ARRAY[1], ARRAY[1, 2] && ARRAY[2, 3], ARRAY[1, 2] = ARRAY[1, 2]

SELECT unnest(ARRAY[1, 2])

SELECT * FROM unnest(ARRAY['a', 'b']) WITH ORDINALITY AS t(x, n)

SELECT coalesce(NULL, 1), nullif(1, 1), greatest(1, NULL, 3), least(2, 1)

SELECT round(2.5), round(-2.5), round(2.567, 2), round(2.5::float8), trunc(2.567, 1), trunc(-2.5), ceil(2.1), floor(-2.1), ceiling(2.1::float8)

SELECT abs(-1), abs(-1.5), sign(-2), sign(-2.5), mod(7, 3), 7 % 3, div(7, 2), power(2, 10), 2 ^ 3, sqrt(16), cbrt(27), exp(0), ln(1), log(100), log(2, 8)

SELECT pi(), degrees(pi()), radians(180), sin(0), cos(0), tan(0), atan2(1, 1), factorial(5), gcd(12, 18), lcm(4, 6)

SELECT 7 / 2, -7 / 2, 7.0 / 2, 1 / 3.0, 1 / 3::float8, 7::numeric / 2, 2 * 3.5, 1 + 1.0

SELECT width_bucket(5.35, 0.024, 10.06, 5), width_bucket(3::float8, 0, 10, 5)

SELECT make_date(2024, 2, 29), make_timestamp(2024, 2, 29, 12, 30, 1.5), make_time(1, 2, 3.5), make_interval(days => 3)

SELECT date '2024-01-31' + 1, date '2024-03-01' - date '2024-02-01', date '2024-01-31' + interval '1 month', timestamp '2024-01-01' - timestamp '2023-12-25 12:00'

SELECT timestamp '2024-01-01 12:00' + interval '36 hours', interval '1 day' * 2.5, interval '1 hour' / 2, - interval '1 day', interval '1 day' + interval '2 hours'

SELECT age(timestamp '2024-03-01', timestamp '2023-01-15'), age(timestamp '2000-01-01', timestamp '1999-12-31 12:00')

SELECT extract(year FROM date '2024-02-29'), extract(epoch FROM timestamp '2024-01-01 00:00:01.5'), extract(dow FROM date '2024-02-29'), extract(isodow FROM date '2024-02-25'), extract(doy FROM date '2024-12-31'), extract(week FROM date '2024-01-01'), extract(quarter FROM date '2024-05-01')

SELECT extract(second FROM timestamp '2024-01-01 00:00:01.5'), extract(milliseconds FROM time '00:00:01.5'), extract(hour FROM interval '26 hours'), extract(day FROM interval '3 days 2 hours'), extract(century FROM date '2024-01-01'), extract(isoyear FROM date '2024-12-31')

SELECT date_part('month', date '2024-02-29'), date_part('epoch', interval '1 day')

SELECT date_trunc('month', timestamp '2024-02-29 12:34:56'), date_trunc('week', date '2024-02-29'), date_trunc('quarter', timestamp '2024-05-05'), date_trunc('hour', interval '3 hours 30 minutes')

SELECT date_bin('15 minutes', timestamp '2024-02-29 12:34:56', timestamp '2001-01-01')

SELECT timestamp '2024-07-01 12:00' AT TIME ZONE 'Europe/Zurich', timestamptz '2024-07-01 12:00+00' AT TIME ZONE 'America/New_York'

SELECT to_char(timestamp '2024-02-29 15:04:05.678', 'YYYY-MM-DD HH24:MI:SS.MS'), to_char(date '2024-02-29', 'DD Mon YYYY'), to_char(date '2024-02-29', 'FMDay, FMMonth DD'), to_char(timestamp '2024-02-29 15:04', 'HH12:MI AM'), to_char(date '2024-02-29', 'IYYY-IW Q DDD D')

SELECT to_char(1234.5, '9,999.99'), to_char(-5, '999'), to_char(42, 'FM0000'), to_char(0.5, '0.00'), to_char(12345678, 'FM999,999,999')

SELECT to_date('2024-02-29', 'YYYY-MM-DD'), to_timestamp('2024-02-29 12:30', 'YYYY-MM-DD HH24:MI'), to_timestamp(0), to_number('1,234.5', '9,999.9')

SELECT string_agg(name, ', ' ORDER BY id), array_agg(id ORDER BY id DESC), string_agg(DISTINCT city, '|' ORDER BY city) FROM people WHERE id < 5

SELECT json_build_object('a', 1, 'b', 'x'), json_build_array(1, 'a', NULL), to_json('x'::text)

SELECT json_agg(id ORDER BY id), json_object_agg(id, name ORDER BY id) FROM people WHERE id < 3

SELECT row_to_json(p) FROM (SELECT 1 AS a, 'x' AS b) p

SELECT '{"a":{"b":[1,2]}}'::json -> 'a' -> 'b' ->> 1, '{"a":1}'::jsonb @> '{"a":1}', '{"a":1}'::jsonb ->> 'a', '{"a":{"b":2}}'::json #>> '{a,b}'

SELECT bool_and(active), bool_or(active), every(active) FROM people

SELECT bit_and(id), bit_or(id) FROM people

SELECT stddev(score), stddev_pop(score), variance(score), var_pop(score), stddev_samp(id), corr(id, score), covar_pop(id, score), covar_samp(id, score), regr_slope(score, id), regr_intercept(score, id), regr_r2(score, id), regr_count(score, id) FROM people WHERE id < 5

SELECT mode() WITHIN GROUP (ORDER BY city) FROM people

SELECT pg_catalog.lower('A'), pg_catalog.count(*) FROM people

SELECT current_database(), current_schema(), current_schemas(false), pg_typeof(1), pg_typeof('x'::text), pg_typeof(now())

SELECT now() = now(), current_date = now()::date, current_timestamp = now(), localtimestamp = now()::timestamp, clock_timestamp() >= now()

SELECT isfinite(date '2024-01-01'), justify_days(interval '35 days'), justify_hours(interval '27 hours'), justify_interval(interval '1 month -1 hour')

SELECT num_nulls(1, NULL), num_nonnulls(1, NULL), array_remove(ARRAY[1, 2, 1], 1), array_replace(ARRAY[1, 2], 1, 9), array_cat(ARRAY[1], ARRAY[2]), array_ndims(ARRAY[[1]]), array_upper(ARRAY[1, 2], 1), array_lower(ARRAY[1, 2], 1)

SELECT sha256('abc'::bytea), crc32('x')

SELECT unistr('\00e9'), to_hex(255), string_to_table('a,b', ','), normalize('é')

SELECT generate_series(1, 3) AS n

SELECT random() BETWEEN 0 AND 1, gen_random_uuid() IS NOT NULL, pg_backend_pid() > 0

SELECT 'a' || 1, 1 || 'a', 'a' || NULL, 'x'::text || 'y'::varchar

SELECT bool 't', 'yes'::bool, 1::bool, true::int, 'off'::boolean

SELECT atan(1), asin(1), acos(1), sinh(0), cot(1), erf(0)
