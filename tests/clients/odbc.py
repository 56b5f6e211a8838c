"""What users of psqlODBC do, at a node with the tables of tests/tests/clients/world.rs, or at a PostgreSQL with the same:
odbc.py PORT USER PASSWORD."""

import datetime as dt
import decimal
import sys
import threading
import time
import uuid

import pyodbc

from checks import LONG, same, tally

# Checks that a node fails, and why.
KNOWN = {}

COLUMNS = ["id", "flag", "i2", "i4", "i8", "f4", "f8", "n", "t", "b", "d", "tm", "ts", "tz", "a4", "at"]
# How the driver sends parameters: put into the text by itself, or prepared at the server.
WAYS = ("UseServerSidePrepare=0", "UseServerSidePrepare=1")


class Place:
    """Where the server is."""

    def __init__(self, port, user, password):
        self.address = f"DRIVER={{PostgreSQL Unicode}};Server=127.0.0.1;Port={port};Database=kanon;Uid={user};Pwd={{{password}}}"

    def connect(self, *options, **more):
        return pyodbc.connect(";".join((self.address, *options)), **{"autocommit": True, **more})


def raises(call, code):
    try:
        call()
    except pyodbc.Error as error:
        assert error.args[0] == code, f"SQLSTATE {error.args[0]}, not {code}: {error}"
        return error
    raise AssertionError(f"no error {code}")


def rows(connection, sql, *parameters):
    return [tuple(row) for row in connection.execute(sql, *parameters).fetchall()]


def check_connects(place):
    c = place.connect()
    same(c.getinfo(pyodbc.SQL_DBMS_NAME), "PostgreSQL")
    assert c.getinfo(pyodbc.SQL_DBMS_VER).startswith("15."), c.getinfo(pyodbc.SQL_DBMS_VER)
    same(c.getinfo(pyodbc.SQL_DATABASE_NAME), "kanon")
    assert rows(c, "SELECT version()")[0][0].startswith("PostgreSQL 15."), rows(c, "SELECT version()")
    c.close()


def check_session_options(place):
    c = place.connect("ApplicationName=a test", "ConnSettings=SET TimeZone='Europe/Zurich'")
    same(rows(c, "SHOW TimeZone"), [("Europe/Zurich",)])
    same(rows(c, "SELECT current_setting('TimeZone')"), [("Europe/Zurich",)])


def check_protocols_of_rollback(place):
    for protocol in ("Protocol=7.4-0", "Protocol=7.4-1", "Protocol=7.4-2"):
        c = place.connect(protocol, autocommit=False)
        same(rows(c, "SELECT 1"), [(1,)])
        raises(lambda: rows(c, "SELECT 1/0"), "22012")
        if protocol.endswith("2"):
            # A savepoint around each statement.
            same(rows(c, "SELECT 2"), [(2,)])
        c.rollback()
        same(rows(c, "SELECT 3"), [(3,)])
        c.close()


def check_who_may_not_in(place):
    error = None
    try:
        pyodbc.connect(place.address.rsplit(";", 1)[0] + ";Pwd=wrong")
    except pyodbc.Error as other:
        error = other
    assert error is not None and "password authentication failed" in str(error), error


def check_numbers_of_a_table(place):
    c = place.connect()
    found = rows(c, "SELECT id, flag, i2, i4, i8, f8, n FROM kinds ORDER BY id")
    same(found[0], (1, "1", -7, 70000, 1 << 40, 0.1, decimal.Decimal("-123.45")))
    same(found[1], (2, "0", -2**15, -2**31, -2**63, 2.2250738585072014e-308, decimal.Decimal("99999999.99")))
    same(found[2], (3,) + (None,) * 6)


def check_booleans(place):
    c = place.connect("BoolsAsChar=0")
    same(rows(c, "SELECT flag FROM kinds ORDER BY id"), [(True,), (False,), (None,)])
    same(rows(c, "SELECT true, false, NULL::bool"), [(True, False, None)])


def check_texts_and_bytes_of_a_table(place):
    for option in ("ByteaAsLongVarBinary=1", "ByteaAsLongVarBinary=0"):
        c = place.connect(option)
        same(rows(c, "SELECT t, b FROM kinds ORDER BY id"), [("é ' \\ \t\n", b"\x00\xff\\"), ("", b""), (None, None)])


def check_moments_of_a_table(place):
    c = place.connect()
    found = rows(c, "SELECT d, tm, ts FROM kinds ORDER BY id")
    same(found[0], (dt.date(2024, 2, 29), dt.time(23, 59, 59, 999999), dt.datetime(2024, 2, 29, 12, 45, 1, 250000)))
    same(found[1], (dt.date(1, 1, 1), dt.time(0), dt.datetime(1969, 12, 31, 23, 59, 59, 999999)))
    same(found[2], (None, None, None))


def check_time_zones(place):
    c = place.connect("ConnSettings=SET TimeZone='Asia/Tokyo'")
    same(rows(c, "SELECT tz FROM kinds WHERE id = 1"), [(dt.datetime(2024, 2, 29, 21, 45, 1, 250000),)])


def check_arrays_are_texts(place):
    c = place.connect()
    same(rows(c, "SELECT a4, at FROM kinds ORDER BY id"),
         [("{1,NULL,3}", '{"a b","q\\"u\'o,t\\\\e",""}'), ("{}", '{"NULL","null","{}"}'), (None, None)])


def check_float4(place):
    c = place.connect()
    found = rows(c, "SELECT f4 FROM kinds ORDER BY id")
    assert abs(found[0][0] - 0.1) < 1e-7 and found[2][0] is None, found


def check_other_types(place):
    c = place.connect()
    same(rows(c, "SELECT INTERVAL '1 day 02:03:04'"), [("1 day 02:03:04",)])
    same(rows(c, "SELECT 'abc'::varchar(2), 'x'::name, 7::oid"), [("ab", "x", 7)])
    same(rows(c, "SELECT 'NaN'::float8")[0][0] != rows(c, "SELECT 'NaN'::float8")[0][0], True)


def check_uuids(place):
    c = place.connect()
    value = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
    same([(str(row[0]).lower(),) for row in rows(c, f"SELECT '{value}'::uuid")], [(str(value),)])


def check_json(place):
    c = place.connect()
    same(rows(c, "SELECT '{\"a\": 1}'::json, '{\"a\":1}'::jsonb"), [('{"a": 1}', '{"a": 1}')])


def check_chars(place):
    same(rows(place.connect(), "SELECT 'ab'::char(4)"), [("ab  ",)])


def check_long_texts(place):
    c = place.connect("MaxLongVarcharSize=100000", "MaxVarcharSize=255")
    same([len(row[0]) for row in rows(c, "SELECT repeat('ä', 50000)")], [50_000])


def check_parameters(place):
    values = [
        ("int4", 7), ("int8", 1 << 40), ("float8", 0.1), ("text", "é ' \\ \n"), ("varchar", "v"), ("bytea", b"\x00\xff\\"),
        ("date", dt.date(1999, 12, 31)), ("timestamp", dt.datetime(2024, 2, 29, 13, 45, 1, 250000)), ("time", dt.time(23, 59, 59)),
        ("numeric", decimal.Decimal("-12.34")),
    ]
    for way in WAYS:
        c = place.connect(way)
        for sql_type, value in values:
            found = rows(c, f"SELECT ?::{sql_type}", value)
            assert found == [(value,)], f"{way} {sql_type}: {found}, not {value!r}"


def check_bool_parameters(place):
    for way in WAYS:
        c = place.connect(way, "BoolsAsChar=0")
        same(rows(c, "SELECT ?::bool", True), [(True,)])


def check_null_parameters(place):
    for way in WAYS:
        c = place.connect(way)
        same(rows(c, "SELECT ?::int4, ?::text", None, None), [(None, None)])
        same(rows(c, "SELECT count(*) FROM icd10 WHERE code = ?", None), [(0,)])


def check_parameters_in_conditions(place):
    for way in WAYS:
        c = place.connect(way)
        same(rows(c, "SELECT title FROM icd10 WHERE code = ?", "I10"), [("Essential hypertension",)])
        same(rows(c, "SELECT code FROM icd10 WHERE code IN (?, ?) ORDER BY code", "I10", "E11"), [("E11",), ("I10",)])
        same(rows(c, "SELECT count(*) FROM kinds WHERE i4 = ? AND d = ?", 70000, dt.date(2024, 2, 29)), [(1,)])
        same(rows(c, "SELECT code FROM icd10 WHERE title LIKE ? ORDER BY code LIMIT 1", "%dia%"), [("E11",)])


def check_prepared_many_times(place):
    for way in WAYS:
        c = place.connect(way)
        cur = c.cursor()
        for n in range(50):
            same(cur.execute("SELECT ?::int8 * 2", n).fetchval(), 2 * n)


def check_several_statements(place):
    cur = place.connect().cursor()
    cur.execute("SELECT 1; SELECT 2, 'b'")
    same([tuple(row) for row in cur.fetchall()], [(1,)])
    assert cur.nextset()
    same([tuple(row) for row in cur.fetchall()], [(2, "b")])
    assert not cur.nextset()


def check_escapes(place):
    c = place.connect()
    same(rows(c, "SELECT {d '2024-02-29'}, {ts '2024-02-29 12:00:00'}"), [(dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12))])
    same(rows(c, "SELECT {fn ucase('a')}, {fn concat('a', 'b')}, {fn length('abc')}"), [("A", "ab", 3)])
    same(rows(c, "SELECT count(*) FROM {oj icd10 a LEFT OUTER JOIN icd10 b ON a.code = b.code}"), [(6,)])


def check_descriptions(place):
    cur = place.connect().execute("SELECT id, n, t, d, ts, flag FROM kinds")
    same([d[0] for d in cur.description], ["id", "n", "t", "d", "ts", "flag"])
    same([d[1] for d in cur.description], [int, decimal.Decimal, str, dt.date, dt.datetime, str])
    same((cur.description[1][4], cur.description[1][5]), (10, 2))


def check_transactions(place):
    c = place.connect("Protocol=7.4-0", autocommit=False)
    same(rows(c, "SELECT 1"), [(1,)])
    c.commit()
    c.execute("SAVEPOINT a")
    raises(lambda: rows(c, "SELECT 1/0"), "22012")
    raises(lambda: rows(c, "SELECT 1"), "25P02")
    c.execute("ROLLBACK TO SAVEPOINT a")
    same(rows(c, "SELECT 2"), [(2,)])
    c.execute("RELEASE SAVEPOINT a")
    c.rollback()


def check_isolation(place):
    c = place.connect(autocommit=False)
    c.set_attr(pyodbc.SQL_ATTR_TXN_ISOLATION, pyodbc.SQL_TXN_SERIALIZABLE)
    same(rows(c, "SHOW transaction_isolation"), [("serializable",)])
    c.rollback()


def check_read_only(place):
    c = place.connect("ReadOnly=1")
    same(rows(c, "SELECT 1"), [(1,)])


def check_errors(place):
    c = place.connect()
    for code, sql in (("42P01", "SELECT * FROM nowhere"), ("42703", "SELECT nothing FROM icd10"), ("42883", "SELECT nofunction(1)"),
                      ("42601", "SELEC 1"), ("22P02", "SELECT 'x'::int"), ("22012", "SELECT 1/0"), ("25006", "DELETE FROM icd10"),
                      ("25006", "CREATE TABLE t (a int)"), ("42803", "SELECT code FROM icd10 GROUP BY title")):
        try:
            raises(lambda: rows(c, sql), code)
        except AssertionError as error:
            raise AssertionError(sql) from error
    same(rows(c, "SELECT 1"), [(1,)])


def check_errors_of_parameters(place):
    for way in WAYS:
        c = place.connect(way)
        raises(lambda: rows(c, "SELECT ?::int4", "x"), "22P02")
        same(rows(c, "SELECT 1"), [(1,)])


def check_writes_of_many_rows_are_refused(place):
    cur = place.connect().cursor()
    raises(lambda: cur.executemany("INSERT INTO icd10 VALUES (?, ?)", [("a", "b"), ("c", "d")]), "25006")


def check_declare_fetch(place):
    for way in WAYS:
        c = place.connect("UseDeclareFetch=1", "Fetch=100", way, autocommit=False)
        cur = c.execute("SELECT n, 'row ' || n FROM generate_series(1, 10000) AS g(n) WHERE n > ? ORDER BY n", 0)
        for n in range(1, 10_001):
            same(tuple(cur.fetchone()), (n, f"row {n}"))
        assert cur.fetchone() is None
        c.commit()
        c.close()


def check_declare_fetch_without_transaction(place):
    c = place.connect("UseDeclareFetch=1", "Fetch=100")
    same(sum(row[0] for row in c.execute("SELECT n FROM generate_series(1, 10000) AS g(n) ORDER BY n")), 50_005_000)
    # One that is left in the middle, and two at a time.
    first, second = c.cursor(), c.cursor()
    first.execute("SELECT n FROM generate_series(1, 1000) AS g(n)")
    same(first.fetchone()[0], 1)
    second.execute("SELECT code FROM icd10 ORDER BY code")
    same(len(second.fetchall()), 6)
    same(len(first.fetchall()), 999)


def check_fetch_of_all(place):
    c = place.connect()
    same(sum(row[0] for row in c.execute("SELECT n FROM generate_series(1, 10000) AS g(n) ORDER BY n")), 50_005_000)


def check_cursors_in_sql(place):
    c = place.connect(autocommit=False)
    c.execute("DECLARE rows CURSOR FOR SELECT n FROM generate_series(1, 10) AS g(n)")
    same(rows(c, "FETCH 2 FROM rows"), [(1,), (2,)])
    c.execute("CLOSE rows")
    c.commit()


def check_cancel(place):
    c = place.connect()
    cur = c.cursor()
    timer = threading.Timer(0.5, cur.cancel)
    timer.start()
    began = time.monotonic()
    raises(lambda: cur.execute(LONG), "57014")
    assert time.monotonic() - began < 10
    timer.join()
    same(rows(c, "SELECT 1"), [(1,)])


def check_timeout(place):
    c = place.connect()
    c.execute("SET statement_timeout = 200")
    raises(lambda: c.execute(LONG), "57014")


def check_tables(place):
    cur = place.connect().cursor()
    same([row.table_name for row in cur.tables(schema="public", tableType="TABLE")], ["heart_disease", "icd10", "kinds", "visits"])
    same([(row.table_schem, row.table_type, row.remarks) for row in cur.tables(table="icd10", schema="public")],
         [("public", "TABLE", "")])
    assert "public" in [row.table_schem for row in cur.tables(table="", catalog="", schema="%")]
    assert "TABLE" in [row.table_type for row in cur.tables(table="", catalog="", schema="", tableType="%")]
    same(cur.tables(schema="public", table="nothing").fetchall(), [])


def check_system_tables(place):
    cur = place.connect("ShowSystemTables=1").cursor()
    assert "pg_class" in [row.table_name for row in cur.tables(schema="pg_catalog")]


def check_columns(place):
    cur = place.connect().cursor()
    found = cur.columns(table="kinds", schema="public").fetchall()
    same([row.column_name for row in found], COLUMNS)
    same([row.type_name for row in found], ["int8", "bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "bytea", "date",
                                            "time", "timestamp", "timestamptz", "_int4", "_text"])
    same([(row.column_size, row.decimal_digits) for row in found if row.column_name == "n"], [(10, 2)])
    same({row.nullable for row in found}, {1})
    same([row.column_name for row in cur.columns(table="icd10", schema="public", column="ti%")], ["title"])
    same([row.ordinal_position for row in cur.columns(table="icd10", schema="public")], [1, 2])


def check_primary_keys(place):
    same(place.connect().cursor().primaryKeys("icd10", schema="public").fetchall(), [])


def check_foreign_keys(place):
    cur = place.connect().cursor()
    same(cur.foreignKeys(table="icd10", schema="public").fetchall(), [])
    same(cur.foreignKeys(foreignTable="icd10", foreignSchema="public").fetchall(), [])


def check_statistics(place):
    cur = place.connect().cursor()
    same([row for row in cur.statistics("icd10", schema="public") if row.index_name], [])


def check_row_identifiers(place):
    cur = place.connect().cursor()
    same(cur.rowIdColumns("icd10", schema="public").fetchall(), [])


def check_type_info(place):
    found = {row[0] for row in place.connect().cursor().getTypeInfo()}
    missing = {"int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bytea", "date", "time", "timestamptz"} - found
    assert not missing, (missing, found)


def check_procedures(place):
    cur = place.connect().cursor()
    same(cur.procedures(schema="public").fetchall(), [])
    assert cur.procedures(schema="pg_catalog", procedure="lower").fetchall()
    assert cur.procedureColumns(schema="pg_catalog", procedure="lower").fetchall()


def node_check_aggregate_of_a_protected_table(place):
    for way in (*WAYS, "UseDeclareFetch=1"):
        c = place.connect(way)
        found = rows(c, "SELECT sex, count(*), avg(age) FROM heart_disease WHERE age > ? GROUP BY sex ORDER BY sex", 40)
        same([row[0] for row in found], ["female", "male"])
        assert all(row[1] >= 10 and row[2] > 40 for row in found), found


def node_check_rows_are_refused(place):
    for way in (*WAYS, "UseDeclareFetch=1"):
        c = place.connect(way)
        raises(lambda: rows(c, "SELECT * FROM heart_disease"), "42501")
        raises(lambda: rows(c, "SELECT age FROM heart_disease WHERE patient_id = ?", 1), "42501")
        same(rows(c, "SELECT 1"), [(1,)])


def node_check_federation(place):
    c = place.connect()
    assert rows(c, "SELECT count(*) FROM federation.heart_disease")[0][0] > 400
    same([row.column_name for row in c.cursor().columns(table="icd10", schema="federation")], ["code", "title", "site"])


if __name__ == "__main__":
    place = Place(*sys.argv[1:])
    connection = place.connect()
    node = "Kanon" in rows(connection, "SELECT version()")[0][0]
    tally(sys.modules[__name__], "psqlODBC", connection.getinfo(pyodbc.SQL_DRIVER_VER), node, KNOWN, place)
