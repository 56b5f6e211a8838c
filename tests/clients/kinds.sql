-- The table `kinds` of tests/tests/clients/world.rs, for PostgreSQL.
CREATE TABLE kinds (id int8, flag bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric(10, 2), t text, b bytea, d date,
  tm time, ts timestamp, tz timestamptz, a4 int4[], at text[]);
INSERT INTO kinds VALUES
  (1, true, -7, 70000, 1099511627776, 0.1, 0.1, -123.45, E'é '' \\ \t\n', '\x00ff5c', '2024-02-29', '23:59:59.999999',
   '2024-02-29 12:45:01.25', '2024-02-29 12:45:01.25+00', '{1,NULL,3}', ARRAY['a b', E'q"u''o,t\\e', '']),
  (2, false, -32768, -2147483648, -9223372036854775808, 3.4028235e38, 2.2250738585072014e-308, 99999999.99, '', '', '0001-01-01',
   '00:00:00', '1969-12-31 23:59:59.999999', '1970-01-01 00:00:00+00', '{}', ARRAY['NULL', 'null', '{}']),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
