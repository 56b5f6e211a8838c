"""What users of psycopg 3 do, at a node: psycopg3.py DSN. The node has the tables of tests/tests/clients/world.rs."""

import datetime as dt
import decimal
import io
import sys
import threading
import time

import psycopg
from psycopg import errors, rows

from checks import raises, same, tally


def connect(dsn, **more):
    return psycopg.connect(dsn, **more)


def check_simple_and_extended(dsn):
    with connect(dsn) as c:
        same(c.execute("SELECT 1 AS one, 'x' AS x").fetchall(), [(1, "x")])
        same(c.execute("SELECT %s::int + 1", (41,)).fetchone(), (42,))
        # Several statements without parameters go over the simple protocol.
        cur = c.execute("SELECT 1; SELECT 2")
        same(cur.fetchall(), [(1,)])
        assert cur.nextset()
        same(cur.fetchall(), [(2,)])
    with connect(dsn) as c, psycopg.ClientCursor(c) as cur:
        cur.execute("SELECT %s, %s, %s", ("it's", 1.5, None))
        same(cur.fetchall(), [("it's", decimal.Decimal("1.5"), None)])


def check_parameters_of_every_type(dsn):
    moment = dt.datetime(2024, 2, 29, 13, 45, 1, 250000)
    aware = moment.replace(tzinfo=dt.timezone.utc)
    values = {
        "bool": True, "int2": 7, "int4": -70000, "int8": 1 << 40, "float8": 0.1, "numeric": decimal.Decimal("-12.340"),
        "text": "é ' \\ \n", "varchar": "v", "bytea": b"\x00\xff\\", "date": dt.date(1999, 12, 31),
        "time": dt.time(23, 59, 59, 1), "timestamp": moment, "timestamptz": aware, "interval": dt.timedelta(days=3, seconds=5),
        "int4[]": [1, None, 3], "text[]": ["a", 'b"c', "", None],
    }
    for binary in (False, True):
        with connect(dsn) as c, c.cursor(binary=binary) as cur:
            for sql_type, value in values.items():
                cur.execute(f"SELECT %s::{sql_type} AS v", (value,))
                found = cur.fetchone()[0]
                assert found == value, f"{sql_type} binary={binary}: {found!r}, not {value!r}"
                cur.execute(f"SELECT %s::{sql_type} IS NULL", (None,))
                same(cur.fetchone(), (True,))
            for special in (float("nan"), float("inf"), float("-inf")):
                cur.execute("SELECT %s::float8", (special,))
                same(repr(cur.fetchone()[0]), repr(special))
            # Parameters in binary.
            cur.execute("SELECT %b::int8 + 1, %b::float8, %t::text", (1 << 33, 2.5, "t"))
            same(cur.fetchone(), ((1 << 33) + 1, 2.5, "t"))


def check_parameters_in_conditions(dsn):
    with connect(dsn) as c:
        same(c.execute("SELECT title FROM icd10 WHERE code = %s", ("I10",)).fetchall(), [("Essential hypertension",)])
        cur = c.execute("SELECT code FROM icd10 WHERE code = ANY(%s) ORDER BY code", (["I10", "E11", "nope"],))
        same(cur.fetchall(), [("E11",), ("I10",)])
        cur = c.execute("SELECT count(*) FROM icd10 WHERE title LIKE %s AND code > %s LIMIT %s", ("%", "A", 5))
        same(cur.fetchone(), (6,))
        cur = c.execute("SELECT sex, count(*) FROM heart_disease WHERE age > %s GROUP BY sex ORDER BY sex", (40,))
        assert len(cur.fetchall()) == 2
        # Prepared at the server after some uses.
        for n in range(10):
            same(c.execute("SELECT %s::int8 * 2", (n,), prepare=True).fetchone(), (2 * n,))
        with c.cursor() as cur:
            cur.executemany("SELECT %s::int", [(1,), (2,), (3,)], returning=True)
            seen = [cur.fetchone()[0]]
            while cur.nextset():
                seen.append(cur.fetchone()[0])
            same(seen, [1, 2, 3])


def check_rows_and_descriptions(dsn):
    with connect(dsn, row_factory=rows.dict_row) as c:
        cur = c.execute("SELECT code, title AS t FROM icd10 ORDER BY code LIMIT 1")
        same(cur.fetchall(), [{"code": "E11", "t": "Type 2 diabetes mellitus"}])
        same([(d.name, d.type_code) for d in cur.description], [("code", 25), ("t", 25)])
        same(cur.rowcount, 1)
        same(cur.statusmessage, "SELECT 1")
        same(c.execute("SELECT 1 AS n WHERE false").fetchall(), [])


def check_errors(dsn):
    cases = [
        ("SELECT * FROM nowhere", errors.UndefinedTable, "42P01"),
        ("SELECT nothing FROM icd10", errors.UndefinedColumn, "42703"),
        ("SELECT nofunction(1)", errors.UndefinedFunction, "42883"),
        ("SELEC 1", errors.SyntaxError, "42601"),
        ("SELECT 1/0", errors.DivisionByZero, "22012"),
        ("SELECT 'x'::int", errors.InvalidTextRepresentation, "22P02"),
        ("SELECT * FROM heart_disease", errors.InsufficientPrivilege, "42501"),
        ("SELECT min(age) FROM heart_disease", errors.InsufficientPrivilege, "42501"),
        ("INSERT INTO icd10 VALUES ('a', 'b', 'c')", errors.ReadOnlySqlTransaction, "25006"),
        ("SET no_such_setting = 1", errors.UndefinedObject, "42704"),
        ("SET TimeZone = 'Nowhere'", errors.InvalidParameterValue, "22023"),
        ("CREATE ROLE eve", errors.InsufficientPrivilege, "42501"),
        ("FETCH 1 FROM nocursor", errors.InvalidCursorName, "34000"),
        ("EXECUTE nostatement", errors.InvalidSqlStatementName, "26000"),
        ("SELECT sex FROM heart_disease GROUP BY age", errors.GroupingError, "42803"),
    ]
    for sql, what, code in cases:
        with connect(dsn, autocommit=True) as c:
            try:
                error = raises(what, lambda: c.execute(sql), code)
            except Exception as other:
                raise AssertionError(f"{sql}: {other!r}") from other
            assert error.diag.severity == "ERROR", sql
            # And over the extended protocol.
            if sql.startswith("SELECT"):
                raises(what, lambda: c.execute(sql, prepare=True), code)
            same(c.execute("SELECT 1").fetchone(), (1,))
    with connect(dsn, autocommit=True) as c:
        error = raises(errors.UndefinedTable, lambda: c.execute("SELECT * FROM nowhere"))
        same(error.diag.statement_position, "15")
        error = raises(errors.InsufficientPrivilege, lambda: c.execute("SELECT * FROM heart_disease"))
        assert error.diag.message_hint, "no hint"


def check_who_may_not_in(dsn):
    raises(psycopg.OperationalError, lambda: connect(dsn, password="wrong"))
    raises(psycopg.OperationalError, lambda: connect(dsn, dbname="other"))
    error = raises(psycopg.OperationalError, lambda: connect(dsn, password="wrong"))
    assert "password authentication failed for user" in str(error), error


def check_transactions(dsn):
    with connect(dsn) as c:
        same(c.info.transaction_status, psycopg.pq.TransactionStatus.IDLE)
        c.execute("SELECT 1")
        same(c.info.transaction_status, psycopg.pq.TransactionStatus.INTRANS)
        raises(errors.DivisionByZero, lambda: c.execute("SELECT 1/0"))
        same(c.info.transaction_status, psycopg.pq.TransactionStatus.INERROR)
        raises(errors.InFailedSqlTransaction, lambda: c.execute("SELECT 1"))
        c.rollback()
        same(c.info.transaction_status, psycopg.pq.TransactionStatus.IDLE)
        with c.transaction():
            c.execute("SELECT 1")
            try:
                with c.transaction():
                    c.execute("SELECT 1/0")
            except errors.DivisionByZero:
                pass
            same(c.execute("SELECT 2").fetchone(), (2,))
            with c.transaction(force_rollback=True):
                c.execute("SET LOCAL TimeZone = 'Europe/Zurich'")
            raises(psycopg.ProgrammingError, c.commit)
        same(c.info.transaction_status, psycopg.pq.TransactionStatus.IDLE)
    with connect(dsn, autocommit=True) as c:
        c.execute("SELECT 1")
        same(c.info.transaction_status, psycopg.pq.TransactionStatus.IDLE)
    with connect(dsn) as c:
        c.read_only = True
        c.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        same(c.execute("SHOW transaction_isolation").fetchone(), ("repeatable read",))
        same(c.execute("SHOW transaction_read_only").fetchone(), ("on",))
        c.rollback()
        c.read_only = False
        same(c.execute("SHOW transaction_read_only").fetchone(), ("off",))
        raises(errors.ReadOnlySqlTransaction, lambda: c.execute("DELETE FROM icd10"))


def check_server_side_cursors(dsn):
    with connect(dsn) as c:
        with c.cursor("some") as cur:
            cur.itersize = 100
            cur.execute("SELECT n FROM generate_series(1, 1000) AS g(n) WHERE n <> %s", (0,))
            same(cur.fetchone(), (1,))
            same(cur.fetchmany(2), [(2,), (3,)])
            same(sum(n for (n,) in cur), 1000 * 1001 // 2 - 6)
        with c.cursor("other", withhold=True) as cur:
            cur.execute("SELECT code FROM icd10 ORDER BY code")
            c.commit()
            assert len(cur.fetchall()) == 6
        with c.cursor("binary") as cur:
            cur.execute("SELECT 1.5::numeric", binary=True)
            same(cur.fetchall(), [(decimal.Decimal("1.5"),)])
    with connect(dsn) as c, c.cursor() as cur:
        same([n for (n,) in cur.stream("SELECT n FROM generate_series(1, 1000) AS g(n) WHERE n <> %s", (0,))], list(range(1, 1001)))


def check_copy_to_stdout(dsn):
    with connect(dsn) as c, c.cursor() as cur:
        out = io.BytesIO()
        with cur.copy("COPY (SELECT code, title FROM icd10 ORDER BY code LIMIT 2) TO STDOUT") as copy:
            for data in copy:
                out.write(data)
        same(out.getvalue(), b"E11\tType 2 diabetes mellitus\nI10\tEssential hypertension\n")
        with cur.copy("COPY (SELECT n, NULL::text FROM generate_series(1, 2) g(n)) TO STDOUT") as copy:
            copy.set_types(["int8", "text"])
            same(list(copy.rows()), [(1, None), (2, None)])
        with cur.copy("COPY (SELECT 1::int8, 'x', 1.5::float8) TO STDOUT (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "text", "float8"])
            same(list(copy.rows()), [(1, "x", 1.5)])
        with cur.copy("COPY (SELECT 1 AS a, 'b,c' AS b) TO STDOUT (FORMAT CSV, HEADER)") as copy:
            same(b"".join(copy), b'a,b\n1,"b,c"\n')
        same(cur.execute("SELECT 1").fetchone(), (1,))


def check_pipelines(dsn):
    with connect(dsn, autocommit=True) as c:
        with c.pipeline():
            first = c.execute("SELECT %s::int", (1,))
            second = c.execute("SELECT %s::int", (2,))
        same((first.fetchone(), second.fetchone()), ((1,), (2,)))
        def failing():
            with c.pipeline():
                c.execute("SELECT 1/0")
                c.execute("SELECT 1")
        raises(errors.DivisionByZero, failing)
        same(c.execute("SELECT 3").fetchone(), (3,))


def check_notices_and_settings(dsn):
    with connect(dsn, autocommit=True, options="-c statement_timeout=5000", application_name="checks") as c:
        heard = []
        c.add_notice_handler(lambda diag: heard.append(diag.message_primary))
        c.execute("SELECT count(*) FROM heart_disease").fetchall()
        assert heard and "withheld" in heard[0], heard
        same(c.execute("SHOW statement_timeout").fetchone(), ("5s",))
        same(c.execute("SHOW application_name").fetchone(), ("checks",))
        version = c.execute("SHOW server_version").fetchone()[0]
        same(c.info.parameter_status("server_version"), version)
        same(c.execute("SELECT current_setting('server_version')").fetchone(), (version,))
        assert c.execute("SELECT version()").fetchone()[0].startswith(f"PostgreSQL {version} (Kanon ")
        same(c.info.server_version, int(c.execute("SHOW server_version_num").fetchone()[0]))
        same(c.info.encoding, "utf-8")
        same(str(c.info.timezone), "UTC")
        c.execute("SET TimeZone = 'Europe/Zurich'")
        same(c.info.timezone.key, "Europe/Zurich")
        at = c.execute("SELECT '2024-07-01 12:00:00+00'::timestamptz").fetchone()[0]
        same(at.utcoffset(), dt.timedelta(hours=2))
        same(c.execute("SELECT pg_backend_pid()").fetchone(), (c.info.backend_pid,))


def check_cancel(dsn):
    with connect(dsn, autocommit=True) as c:
        timer = threading.Timer(0.5, c.cancel)
        timer.start()
        began = time.monotonic()
        raises(errors.QueryCanceled, lambda: c.execute("SELECT count(*) FROM generate_series(1, 1000000000000)"), "57014")
        assert time.monotonic() - began < 10
        timer.join()
        same(c.execute("SELECT 1").fetchone(), (1,))
        c.execute("SET statement_timeout = '200ms'")
        raises(errors.QueryCanceled, lambda: c.execute("SELECT count(*) FROM generate_series(1, 1000000000000)"), "57014")


def check_types_of_a_table(dsn):
    """A table of every type, in text and in binary, read the same."""
    with connect(dsn) as c:
        both = []
        for binary in (False, True):
            with c.cursor(binary=binary) as cur:
                # Without float4, which has more digits in binary.
                cur.execute("SELECT id, flag, i2, i4, i8, f8, n, t, b, d, tm, ts, tz, a4, at FROM kinds ORDER BY id")
                both.append(cur.fetchall())
        same(both[0], both[1])
        first, last = both[0][0], both[0][-1]
        assert None not in first, first
        same(set(last[1:]), {None})


if __name__ == "__main__":
    tally(sys.modules[__name__], "psycopg 3", psycopg.__version__, True, {}, *sys.argv[1:])
