"""What users of pg8000 do, at a node: pg8000_.py PORT USER PASSWORD. The node has the tables of tests/tests/clients/world.rs."""

import datetime as dt
import decimal
import sys

import pg8000.dbapi

from checks import raises, same, tally


def connect(port, user, password):
    return pg8000.dbapi.connect(user=user, password=password, host="127.0.0.1", port=int(port), database="kanon")


def check_rows_and_parameters(*login):
    c = connect(*login)
    cursor = c.cursor()
    cursor.execute("SELECT 1, 'x', 1.5::numeric(4, 2), date '2024-02-29', NULL")
    same(cursor.fetchall(), ([1, "x", decimal.Decimal("1.50"), dt.date(2024, 2, 29), None],))
    cursor.execute("SELECT code FROM icd10 WHERE code > %s ORDER BY code LIMIT %s", ("I20", 2))
    same([row[0] for row in cursor.fetchall()], ["I21", "J45"])
    cursor.execute("SELECT now() - now() < interval '1 day', date '2024-01-31' + interval '12 hours'")
    same(cursor.fetchall(), ([True, dt.datetime(2024, 1, 31, 12)],))
    c.rollback()
    c.close()


def check_errors(*login):
    c = connect(*login)
    cursor = c.cursor()
    error = raises(pg8000.dbapi.DatabaseError, lambda: cursor.execute("SELECT * FROM nosuch"))
    same(error.args[0]["C"], "42P01")
    c.rollback()
    error = raises(pg8000.dbapi.DatabaseError, lambda: cursor.execute("DELETE FROM icd10"))
    same(error.args[0]["C"], "25006")
    c.rollback()
    c.close()


tally(sys.modules[__name__], "pg8000", pg8000.__version__, True, {}, *sys.argv[1:])
