-- Statements of one session, in order: each group is asked over a connection of its own state, which is thrown away after it.
SHOW transaction_isolation;
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
SHOW transaction_isolation;
SHOW default_transaction_isolation;
BEGIN;
SHOW transaction_isolation;
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
SHOW TRANSACTION ISOLATION LEVEL;
COMMIT;
SHOW transaction_isolation;

SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, DEFERRABLE;
SHOW transaction_read_only;
SHOW default_transaction_read_only;
SHOW transaction_deferrable;
SELECT current_setting('transaction_read_only');
BEGIN READ WRITE;
SHOW transaction_read_only;
SHOW default_transaction_read_only;
COMMIT;
SHOW transaction_read_only;
RESET ALL;
SHOW transaction_read_only;

SET default_transaction_isolation = 'repeatable read';
SET default_transaction_read_only = on;
SET default_transaction_deferrable = on;
BEGIN;
SHOW transaction_isolation;
SHOW transaction_read_only;
SHOW transaction_deferrable;
SET default_transaction_isolation = 'serializable';
SHOW transaction_isolation;
COMMIT;
SHOW transaction_isolation;

SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
SHOW transaction_isolation;
SET transaction_read_only = on;
SHOW transaction_read_only;

BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY;
SHOW transaction_isolation;
COMMIT AND CHAIN;
SHOW transaction_isolation;
SHOW transaction_read_only;
ROLLBACK AND CHAIN;
SHOW transaction_isolation;
ROLLBACK;
SHOW transaction_isolation;

BEGIN;
SELECT 1;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET TRANSACTION READ ONLY;
SHOW transaction_read_only;
SET TRANSACTION READ WRITE;

BEGIN;
SELECT 1;
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;

BEGIN;
SELECT 1;
SET TRANSACTION NOT DEFERRABLE;

BEGIN;
SAVEPOINT a;
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;

BEGIN READ ONLY;
SAVEPOINT a;
SET TRANSACTION READ WRITE;

BEGIN;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SHOW transaction_isolation;

BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM people WHERE id <= 5 ORDER BY id;
FETCH c;
FETCH PRIOR FROM c;
FETCH 2 FROM c;
FETCH ABSOLUTE 4 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH RELATIVE 0 FROM c;
FETCH RELATIVE 2 FROM c;
FETCH RELATIVE -1 FROM c;
FETCH LAST FROM c;
FETCH NEXT FROM c;
FETCH PRIOR FROM c;
FETCH BACKWARD ALL FROM c;
FETCH PRIOR FROM c;
FETCH FORWARD ALL FROM c;
FETCH ABSOLUTE -2 FROM c;
FETCH ABSOLUTE 9 FROM c;
FETCH 0 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH FIRST FROM c;
FETCH ABSOLUTE 0 FROM c;
FETCH FORWARD -1 FROM c;
FETCH ABSOLUTE -9 FROM c;
MOVE FORWARD 3 FROM c;
MOVE BACKWARD 1 FROM c;
FETCH 0 FROM c;
MOVE LAST FROM c;
MOVE RELATIVE 0 FROM c;
MOVE ABSOLUTE 2 FROM c;
FETCH ALL FROM c;
MOVE BACKWARD ALL FROM c;
MOVE ALL FROM c;
MOVE NEXT FROM c;
CLOSE c;
FETCH c;

BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM people WHERE id <= 5 ORDER BY id;
FETCH ABSOLUTE 2 FROM c;
FETCH RELATIVE 1 FROM c;
MOVE 1 FROM c;
FETCH ABSOLUTE 5 FROM c;
FETCH PRIOR FROM c;

BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM people WHERE id <= 5 ORDER BY id;
FETCH FIRST FROM c;
FETCH ABSOLUTE 1 FROM c;

BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM people WHERE id <= 5 ORDER BY id;
FETCH 0 FROM c;
FETCH 1 FROM c;
FETCH 0 FROM c;

BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM people WHERE id <= 5 ORDER BY id;
FETCH BACKWARD ALL FROM c;

BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM people WHERE id <= 5 ORDER BY id;
FETCH LAST FROM c;

BEGIN;
DECLARE empty SCROLL CURSOR FOR SELECT id FROM people WHERE id < 0;
FETCH PRIOR FROM empty;
FETCH NEXT FROM empty;
FETCH PRIOR FROM empty;
FETCH ABSOLUTE 1 FROM empty;
MOVE ALL FROM empty;

BEGIN;
DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id FROM people WHERE id <= 3 ORDER BY id;
DECLARE other CURSOR FOR SELECT 1;
FETCH 2 FROM held;
SELECT name, statement, is_holdable, is_binary, is_scrollable, creation_time <= now() + interval '1 hour' AS made FROM pg_cursors WHERE name = 'held';
SELECT count(*) FROM pg_cursors WHERE name = 'other';
COMMIT;
FETCH PRIOR FROM held;
SELECT count(*) FROM pg_cursors WHERE name = 'other';
BEGIN;
ROLLBACK;
FETCH FORWARD ALL FROM held;
CLOSE held;

PREPARE one (int, text) AS SELECT id FROM people WHERE id = $1 AND name <> $2;
SELECT name, statement, parameter_types, from_sql, generic_plans, custom_plans FROM pg_prepared_statements WHERE name = 'one';
SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'one';
EXECUTE one (2, 'x');
SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE name = 'one';
SELECT prepare_time <= now() + interval '1 hour' AS made FROM pg_prepared_statements WHERE name = 'one';
DEALLOCATE one;
SELECT count(*) FROM pg_prepared_statements WHERE name = 'one';
PREPARE two AS SELECT 1;
EXECUTE two;
SELECT name, statement, parameter_types, from_sql, generic_plans, custom_plans FROM pg_prepared_statements WHERE name = 'two';

LISTEN something;
LISTEN "Some thing";
UNLISTEN something;
UNLISTEN *;
BEGIN;
LISTEN something;
COMMIT;

-- differs: a node delivers no notifications, so none may be sent
NOTIFY something, 'x';

SET search_path = pg_catalog;
SELECT current_schema();
SELECT current_schemas(true), current_schemas(false);
SET search_path = pg_catalog, public;
SELECT current_schema(), current_schemas(false);
SET search_path = public;
SELECT current_schema(), current_schemas(true), current_schemas(false);
SET search_path = nowhere;
SELECT current_schema(), current_schemas(true), current_schemas(false);

SET statement_timeout = 50;
SELECT pg_sleep(10);
SELECT pg_sleep(0.001);
SELECT pg_sleep(-1), pg_sleep(NULL);
SELECT pg_sleep_for('10 milliseconds');
SELECT pg_sleep_for('1 hour');
SELECT pg_sleep_until(now() + interval '10 milliseconds');
SELECT pg_sleep_until('1999-01-01');
SELECT 1 WHERE pg_sleep(0) IS NOT NULL;
SELECT count(*) FROM (SELECT pg_sleep(0.001) FROM people) AS s;

SELECT pg_cancel_backend(pg_backend_pid());
SELECT 1;
BEGIN;
SELECT pg_cancel_backend(pg_backend_pid());
SELECT 1;
ROLLBACK;

SELECT datname, pid = pg_backend_pid() AS own, usename, state, query, backend_type, wait_event_type FROM pg_stat_activity WHERE pid = pg_backend_pid();
SELECT application_name, leader_pid, xact_start <= now() + interval '1 hour' AS begun, backend_start <= query_start AS before FROM pg_stat_activity WHERE pid = pg_backend_pid();
SET application_name = 'a test';
SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid();

BEGIN;
SAVEPOINT a;
SET TimeZone = 'Asia/Tokyo';
SET LOCAL application_name = 'inner';
SAVEPOINT b;
SET TimeZone = 'Europe/Zurich';
ROLLBACK TO b;
SELECT current_setting('TimeZone'), current_setting('application_name');
RELEASE b;
ROLLBACK TO a;
SELECT current_setting('TimeZone'), current_setting('application_name');
COMMIT;
SELECT current_setting('TimeZone'), current_setting('application_name');

BEGIN;
DECLARE before CURSOR FOR SELECT id FROM people ORDER BY id;
SAVEPOINT a;
DECLARE behind CURSOR FOR SELECT id FROM people ORDER BY id;
SAVEPOINT b;
DECLARE last CURSOR FOR SELECT id FROM people ORDER BY id;
RELEASE b;
FETCH 1 FROM before;
FETCH 1 FROM last;
ROLLBACK TO a;
FETCH 1 FROM before;
SAVEPOINT c;
FETCH 1 FROM behind;
ROLLBACK TO c;
FETCH 1 FROM last;
ROLLBACK;


PREPARE s (int, int) AS SELECT n FROM generate_series($1, $2) AS g(n);
EXECUTE s(1, 3);
EXECUTE s(3, NULL);
PREPARE c (int) AS SELECT count(*) FROM generate_series(1, $1);
EXECUTE c(3000000);
PREPARE n (numeric) AS SELECT $1, $1::numeric, $1 * 2;
EXECUTE n(1.50);
EXECUTE n('-12.340');
PREPARE u (uuid) AS SELECT $1, $1::text, $1 = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
EXECUTE u('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11');
PREPARE j (jsonb, json) AS SELECT $1, $1 -> 'a', $2, $2 ->> 'a';
EXECUTE j('{"a":1}', '{"a":  2}');
PREPARE v (varchar, text) AS SELECT $1, $2, $1 = $2;
EXECUTE v('a', 'a');
