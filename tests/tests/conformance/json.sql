SELECT '{"a": 1}'::json, '{"b":1, "a": 2}'::jsonb, cast('[1 , 2]' AS jsonb), json '{"a":  1}', jsonb '1.50'

SELECT '{"b":1,"aa":2,"a":3,"é":4,"b":5}'::jsonb, '"\u00e9\u000a\u001f/\/"'::jsonb, '"\u00e9\/"'::json

SELECT '{"a": x}'::json

SELECT '"\u0000"'::jsonb

SELECT '"\u0000"'::json ->> 0

SELECT NULL::json, NULL::jsonb IS NULL

SELECT '{"a" : 1, "b":2}'::json::jsonb, '{"a" : 1}'::jsonb::json, '{"a" : 1}'::json::text, '{"a":1}'::jsonb::text || 'x'

SELECT '5'::jsonb::int, '5.6'::jsonb::int, '-2.5'::jsonb::bigint, 'true'::jsonb::boolean, '2.5'::jsonb::float8

SELECT ('{"n": 1.25}'::jsonb -> 'n')::numeric(5, 1), ('{"n": "7"}'::json ->> 'n')::int + 1

SELECT '"5"'::jsonb::int

SELECT '[1]'::jsonb::int

SELECT '1'::jsonb::boolean

SELECT 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid, '{a0eebc999c0b4ef8bb6d6bb9bd380a11}'::uuid::text

SELECT 'x'::uuid

SELECT 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid = 'a0eebc999c0b4ef8bb6d6bb9bd380a11', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid IN ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')

SELECT '{"a":{"b":   1}}'::json -> 'a', '{"a":"x\ny"}'::json ->> 'a', '{"a":"x"}'::json -> 'a', '[1,2,3]'::json -> -1, '[1,2,3]'::json ->> 5

SELECT '{"a":null}'::json ->> 'a', '{"a":null}'::json -> 'a', '{"a":1,"a":2}'::json -> 'a', '5'::json -> 0, '[1]'::json -> 'a', '{"a":1}'::json -> 0

SELECT '5'::jsonb -> 0, '5'::jsonb ->> 0, '"x"'::jsonb -> -1, '5'::json ->> 0

SELECT '{"a":[1,{"b":2}]}'::json #> '{a,1,b}', '{"a":[1,{"b":2}]}'::jsonb #>> '{a,1}', '{"a":1}'::json #> '{}', '{"a":[1,2]}'::jsonb #> '{a,-1}', '{"a":[1,2]}'::json #> '{a,x}'

SELECT '{"a":1}'::jsonb #>> '{}', '{"a":1}'::jsonb #>> array['a',null], '[[1]]'::json #>> '{0, 0}', '{"a":1}'::json #> '{a,0}', '"x"'::json #>> '{}', 'null'::jsonb #>> '{}'

SELECT json_extract_path('{"a":{"b":1}}','a','b'), json_extract_path_text('{"a":{"b":"x"}}','a','b'), jsonb_extract_path('{"a":{"b":1}}','a'), jsonb_extract_path('{"a":1}', null)

SELECT json_array_length('[1,2]'), jsonb_array_length('[]'::jsonb), json_typeof('1'), jsonb_typeof('"x"'), json_typeof('null'), json_typeof('[]'), json_typeof('{}'), json_typeof('true')

SELECT json_array_length('{"a":1}')

SELECT jsonb_array_length('5'::jsonb)

SELECT '{"a":1,"b":2}'::jsonb @> '{"a":1}', '[1,2,3]'::jsonb @> '[3,1]', '[1,2]'::jsonb @> '1', '"x"'::jsonb @> '["x"]', '{"a":1}' <@ '{"a":1,"b":2}'::jsonb, '1.0'::jsonb @> '1'

SELECT '{"a":1}'::jsonb ? 'a', '["a","b"]'::jsonb ? 'b', '"a"'::jsonb ? 'a', '[1]'::jsonb ? '1', '{"a":1}'::jsonb ?| '{b,a}', '{"a":1}'::jsonb ?& array['a','b'], '{"a":1}'::jsonb ?& '{}'

SELECT '{"a":1}'::jsonb || '{"b":2, "a":3}', '[1]'::jsonb || '[2]', '[1]'::jsonb || '2', '{"a":1}'::jsonb || '[1]', '1'::jsonb || '2', '{"a":1}'::jsonb || '1', '{"a":1}'::json || 'x', '{"a":1}'::jsonb || 'x'::text

SELECT '{"a":1,"b":2}'::jsonb - 'a', '["a","b","a"]'::jsonb - 'a', '[1,2,3]'::jsonb - 1, '[1,2,3]'::jsonb - -1, '[1,2]'::jsonb - 7, '{"a":1,"b":2,"c":3}'::jsonb - '{a,c}'::text[], '["a","b"]'::jsonb - array['a']

SELECT '{"a":[1,2]}'::jsonb #- '{a,0}', '{"a":1}'::jsonb #- '{}', '{"a":1}'::jsonb #- '{b,c}'

SELECT '1'::jsonb - 'a'

SELECT '{"a":1}'::jsonb - 1

SELECT '1'::jsonb #- '{a}'

SELECT '[1,2]'::jsonb #- '{x}'

SELECT '{"a":1}'::jsonb = '{"a":1.0}', '[1]'::jsonb < '[2]', '{}'::jsonb > '[]', '"a"'::jsonb < '1', '1' <> '2'::jsonb, '1'::jsonb IN ('1.0', '2'), '1'::jsonb NOT IN ('2')

SELECT x FROM (VALUES ('1'::jsonb),('"a"'),('null'),('[]'),('{}'),('[1]'),('true'),('{"a":1}'),('10'),('2'),('"B"'),('false'),('[[]]'),('-1.5')) t(x) ORDER BY x

SELECT json_build_object(), json_build_array(), jsonb_build_array(), jsonb_build_object()

SELECT json_build_object('a', 1, 'b', 'x', 3, true, true, NULL), jsonb_build_object('b', 1, 'a', 2, 'b', '{"x":  1}'::json)

SELECT json_build_array(1, 'x', null, true, date '2020-01-01', '{"z":1, "a":  2}'::json, array[1,2], 'a'::text, timestamp '2020-01-01 10:00', timestamptz '2020-01-01 10:00:00.5+00', time '12:30', interval '1 day 2 hours', '\xff00'::bytea, 'NaN'::float8, 1e300::float8, 1.5::float4, 10.50::numeric(5,2))

SELECT json_build_object('a')

SELECT json_build_object(null, 1)

SELECT jsonb_build_object(null, 1)

SELECT jsonb_build_object('a', 1, 'b')

SELECT json_build_object(array[1], 1)

SELECT json_build_object(date '2020-01-01', 1, 'é"', 'x')

SELECT to_json(array['a','b',null]), to_json('{}'::int[]), to_jsonb(array[1,2]), array_to_json(array[1,2])

SELECT to_json('{"a":  1}'::json), to_jsonb('{"a":  1}'::json), to_json('{"b":1,"a":2}'::jsonb), to_json(date '2024-02-29'), json_typeof(to_json(3 > 2))

SELECT json_object('{a,1,b,NULL}'::text[]), json_object('{a,b}','{1,2}'), json_object('{{a,1},{b,2}}'), jsonb_object('{b,1,a,NULL}')

SELECT json_object('{a,1,b}'::text[])

SELECT json_object('{NULL,1}'::text[])

SELECT json_object('{a}','{1,2}')

SELECT jsonb_pretty('{"a": {"b": [1, 2, {}], "c": []}, "d": null}')

SELECT json_strip_nulls('{"a": null, "b": [1, null, {"c": null, "d": 1}], "e" : "x\u0041"}'), jsonb_strip_nulls('{"a": null, "b": [1, null, {"c": null}]}')

SELECT json_agg(id ORDER BY id), jsonb_agg(name ORDER BY id DESC), json_agg(name ORDER BY name) FILTER (WHERE id > 1), json_agg(id) FILTER (WHERE id > 5) FROM (VALUES (1, 'Anna'), (2, NULL), (3, 'Carl')) AS p(id, name)

SELECT json_agg(DISTINCT city), json_agg(DISTINCT n ORDER BY n DESC) FROM (VALUES ('Bern', 10), ('Bern', 9), (NULL, 10)) AS p(city, n)

SELECT json_agg(json_build_object('a', id) ORDER BY id), json_agg(array[id] ORDER BY id), jsonb_agg(array[id] ORDER BY id) FROM (VALUES (1), (2)) AS p(id)

SELECT city, json_agg(id ORDER BY id) FROM (VALUES ('Bern', 2), ('Chur', 3), ('Bern', 1)) AS p(city, id) GROUP BY city HAVING json_array_length(json_agg(id)) > 0 ORDER BY city

SELECT jsonb_object_agg(name, id) FILTER (WHERE name IS NOT NULL) FROM (VALUES (1, 'Anna'), (2, NULL)) AS p(id, name)

SELECT row_to_json(p) FROM (SELECT 1 AS a, 'x' AS b) p

SELECT json_agg(p ORDER BY a) FROM (VALUES (1, 'x'), (2, NULL)) AS p(a, b)

SELECT to_jsonb(p), to_json(p), json_build_object('p', p), json_object_agg('k', p) OVER () FROM (SELECT 1 AS bb, 'x' AS a) p

WITH p AS (SELECT 1 AS a, NULL AS "B") SELECT row_to_json(p), row_to_json(q) FROM p, (SELECT * FROM p) AS q

SELECT row_to_json(row(1, 'x')), to_json(row(1, NULL))

SELECT json_array_elements('[1, "x", null, {"a":  1}]')

SELECT jsonb_array_elements_text('[1,"x",null,{"a":  1}, [1, 2]]')

SELECT json_array_elements(x) ->> 'a', n FROM (VALUES ('[{"a":1},{"a":2}]'::json, 1), ('[]', 2), (NULL, 3)) AS t(x, n)

SELECT json_object_keys('{"b":1,"a":2}'), jsonb_object_keys('{"b":1,"aa":2,"a":3}')

SELECT json_object_keys('[1]')

SELECT jsonb_array_elements('{"a":1}')

SELECT json_array_elements('1')

SELECT * FROM json_each('{"a":1,"b":{"c":  null},"a":null}')

SELECT key, value FROM jsonb_each_text('{"b":"x\"y","a":null,"d":[1]}') AS e

SELECT e.k, v -> 0 FROM jsonb_each('{"d":[1]}') AS e(k, v)

SELECT * FROM json_each('[1]')

SELECT value -> 'a' FROM json_array_elements('[{"a":1},{"a":2}]')

SELECT e ->> 'a', e.value FROM jsonb_array_elements('[{"a":1},{"a":2}]') AS e WHERE e -> 'a' > '1' ORDER BY e -> 'a'

SELECT k FROM json_object_keys('{"b":1,"a":2}') AS k ORDER BY k

SELECT count(*) FROM json_array_elements_text('[1,2,3]') t(x) WHERE x > '1'

SELECT coalesce('{"a":1}'::jsonb -> 'b', '[]'), CASE WHEN true THEN '{"a":1}'::jsonb END -> 'a', json_agg(coalesce('{"a":1}'::json -> 'b', '[]'))

SELECT d ->> 'a', count(*) FROM (VALUES ('{"a":"x"}'::jsonb), ('{"a":"y"}'), ('{"a":"x"}')) AS t(d) GROUP BY d ->> 'a' ORDER BY 1

SELECT d -> 'a', count(*) FROM (VALUES ('{"a":"x"}'::jsonb), ('{"a":1}'), ('{"a":"x"}')) AS t(d) GROUP BY 1 ORDER BY 1

SELECT (SELECT json_agg(x ORDER BY x) FROM (VALUES (2), (1)) v(x)), (SELECT '{"a":[1]}'::json -> 'a') ->> 0

SELECT json_agg(p ORDER BY id) FROM people p WHERE id < 4

SELECT row_to_json(people) FROM people WHERE id = 1

SELECT 'a' AS chart, row_to_json(t) AS data FROM (SELECT 1 AS "Total") t UNION ALL SELECT 'b', row_to_json(t) FROM (SELECT 2 AS "Reads", 3 AS "Hits") t UNION ALL (SELECT 'c', row_to_json(p) FROM (SELECT 4 AS x) p) ORDER BY 1

SELECT to_jsonb(p) -> 'name' FROM people p WHERE id < 3 ORDER BY id

SELECT city, json_object_agg(id, name ORDER BY id) FROM people WHERE city IS NOT NULL GROUP BY city ORDER BY city

SELECT json_agg(price ORDER BY id), json_agg(born ORDER BY id), jsonb_agg(seen ORDER BY id) FROM people WHERE id < 6

SELECT json_build_object('id', id, 'name', name, 'price', price, 'active', active, 'born', born, 'seen', seen, 'big', big) FROM people ORDER BY id

SELECT to_json(name), to_jsonb(score) FROM people ORDER BY id

SELECT id FROM people WHERE to_jsonb(name) = '"Anna"'

SELECT id, jsonb_build_object('c', city) @> '{"c": "Bern"}' FROM people ORDER BY id

SELECT json_agg(DISTINCT city) FROM people WHERE id < 5

SELECT count(*), jsonb_agg(id ORDER BY id DESC) FILTER (WHERE active) FROM people

SELECT x.doc ->> 'name' FROM (SELECT json_build_object('name', name) AS doc, id FROM people) x WHERE id = 12

SELECT 'not json'::json

SELECT jsonb '{"a": }'
