"""What users of psycopg 2 do, at a node: psycopg2_.py DSN. The node has the tables of tests/tests/clients/world.rs."""

import datetime as dt
import decimal
import io
import sys

import psycopg2
import psycopg2.extras
from psycopg2 import errors, extensions

from checks import raises, same, tally


def ask(connection, sql, parameters=None):
    with connection.cursor() as cur:
        cur.execute(sql, parameters)
        return cur.fetchall()


def check_values(dsn):
    c = psycopg2.connect(dsn)
    moment = dt.datetime(2024, 2, 29, 13, 45, 1, 250000)
    same(ask(c, "SELECT %s, %s::float8, %s, %s", (1, 0.1, "it's é", None)), [(1, 0.1, "it's é", None)])
    same(ask(c, "SELECT %s::date, %s::timestamp", (moment.date(), moment)), [(moment.date(), moment)])
    same(ask(c, "SELECT %s", (moment,)), [(moment,)])
    same(ask(c, "SELECT %s", (moment.date(),)), [(moment.date(),)])
    same(ask(c, "SELECT %s::numeric, %s", (decimal.Decimal("1.50"), True)), [(decimal.Decimal("1.50"), True)])
    same(ask(c, "SELECT %s", ([1, 2, 3],)), [([1, 2, 3],)])
    same(ask(c, "SELECT %s", (["a", None],)), [(["a", None],)])
    same([bytes(row[0]) for row in ask(c, "SELECT %s::bytea", (psycopg2.Binary(b"\x00\xff"),))], [b"\x00\xff"])
    same(ask(c, "SELECT %s::interval", (dt.timedelta(days=1, seconds=3),)), [(dt.timedelta(days=1, seconds=3),)])
    same(ask(c, "SELECT code FROM icd10 WHERE code IN %s ORDER BY 1", (("I10", "E11"),)), [("E11",), ("I10",)])
    c.close()


def check_types_of_a_table(dsn):
    c = psycopg2.connect(dsn)
    rows = ask(c, "SELECT * FROM kinds ORDER BY id")
    assert None not in rows[0], rows[0]
    same(set(rows[-1][1:]), {None})
    c.close()


def check_errors(dsn):
    c = psycopg2.connect(dsn)
    c.autocommit = True
    for sql, what in [
        ("SELECT * FROM nowhere", errors.UndefinedTable),
        ("SELECT * FROM heart_disease", errors.InsufficientPrivilege),
        ("SELEC 1", errors.SyntaxError),
        ("SELECT 1/0", errors.DivisionByZero),
        ("DELETE FROM icd10", errors.ReadOnlySqlTransaction),
    ]:
        error = raises(what, lambda: ask(c, sql))
        assert error.diag.message_primary, sql
    raises(psycopg2.OperationalError, lambda: psycopg2.connect(dsn, password="wrong"))
    c.close()


def check_transactions(dsn):
    c = psycopg2.connect(dsn)
    same(c.get_transaction_status(), extensions.TRANSACTION_STATUS_IDLE)
    with c:
        ask(c, "SELECT 1")
        same(c.get_transaction_status(), extensions.TRANSACTION_STATUS_INTRANS)
    with c, c.cursor() as cur:
        cur.execute("SAVEPOINT a")
        raises(errors.DivisionByZero, lambda: cur.execute("SELECT 1/0"))
        raises(errors.InFailedSqlTransaction, lambda: cur.execute("SELECT 1"))
        cur.execute("ROLLBACK TO SAVEPOINT a")
        cur.execute("SELECT 2")
        same(cur.fetchone(), (2,))
        cur.execute("RELEASE SAVEPOINT a")
    c.set_session(readonly=True, isolation_level="SERIALIZABLE")
    same(ask(c, "SHOW transaction_isolation"), [("serializable",)])
    c.rollback()
    c.reset()
    c.close()


def check_cursors_and_copy(dsn):
    c = psycopg2.connect(dsn)
    with c.cursor("named") as cur:
        cur.itersize = 7
        cur.execute("SELECT n FROM generate_series(1, 50) AS g(n)")
        same([n for (n,) in cur], list(range(1, 51)))
    with c.cursor("held", withhold=True) as cur:
        cur.execute("SELECT 1")
        c.commit()
        same(cur.fetchall(), [(1,)])
    with c.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cur:
        cur.execute("SELECT code FROM icd10 ORDER BY code LIMIT 1")
        same([dict(r) for r in cur.fetchall()], [{"code": "E11"}])
    out = io.StringIO()
    with c.cursor() as cur:
        cur.copy_expert("COPY (SELECT code, NULL FROM icd10 ORDER BY 1 LIMIT 1) TO STDOUT WITH CSV", out)
        same(out.getvalue(), "E11,\n")
        # psycopg2's own way to find hstore, which is not there.
        same(psycopg2.extras.HstoreAdapter.get_oids(c), ((), ()))
    c.close()


def check_session(dsn):
    c = psycopg2.connect(dsn, options="-c TimeZone=Europe/Zurich")
    c.autocommit = True
    same(c.encoding, "UTF8")
    same(ask(c, "SHOW TimeZone"), [("Europe/Zurich",)])
    same(ask(c, "SELECT pg_catalog.version()")[0][0].split()[1], c.get_parameter_status("server_version"))
    ask(c, "SELECT count(*) FROM heart_disease")
    assert any("withheld" in notice for notice in c.notices), c.notices
    same(c.get_backend_pid(), ask(c, "SELECT pg_backend_pid()")[0][0])
    c.close()


if __name__ == "__main__":
    tally(sys.modules[__name__], "psycopg 2", psycopg2.__version__.split()[0], True, {}, *sys.argv[1:])
