"""What users of ADBC's driver of PostgreSQL do, at a node with the tables of tests/tests/clients/world.rs, or at a PostgreSQL with the
same: adbc_postgresql.py PORT USER PASSWORD. It reads results through COPY … (FORMAT binary)."""

import datetime as dt
import decimal
import importlib.metadata
import sys
import threading
import urllib.parse

import adbc_driver_manager
import adbc_driver_postgresql
import adbc_driver_postgresql.dbapi as adbc
import pandas
import polars
import pyarrow as pa

from checks import LONG, same, tally

# Checks that a node fails, and why.
KNOWN = {}

COLUMNS = ["id", "flag", "i2", "i4", "i8", "f4", "f8", "n", "t", "b", "d", "tm", "ts", "tz", "a4", "at"]
UTC = dt.timezone.utc


def raises(code, call):
    try:
        call()
    except adbc_driver_manager.Error as error:
        assert error.sqlstate == code, f"SQLSTATE {error.sqlstate}, not {code}: {error}"
        return error
    raise AssertionError(f"no error {code}")


def ask(uri, sql, parameters=None, **options):
    """The answer as an Arrow table."""
    with adbc.connect(uri, autocommit=True) as c, c.cursor(adbc_stmt_kwargs=options) as cur:
        cur.execute(sql, parameters)
        return cur.fetch_arrow_table()


def one(uri, sql, parameters=None):
    return ask(uri, sql, parameters).column(0)[0].as_py()


def check_connects(uri):
    assert one(uri, "SELECT version()").startswith("PostgreSQL 15.")
    with adbc.connect(uri) as c:
        info = c.adbc_get_info()
        same(info["vendor_name"], "PostgreSQL")
        assert info["vendor_version"].startswith("15"), info
        same((c.adbc_current_catalog, c.adbc_current_db_schema), ("kanon", "public"))


def check_who_may_not_in(uri):
    wrong = uri.replace(uri.split(":")[2].split("@")[0], "wrong")
    try:
        adbc.connect(wrong)
    except adbc_driver_manager.Error as error:
        assert "password authentication failed" in str(error), error
    else:
        raise AssertionError("no error")


def check_schema_of_the_session(uri):
    with adbc.connect(uri, autocommit=True) as c:
        c.adbc_connection.set_options(**{"adbc.connection.db_schema": "pg_catalog"})
        same(c.adbc_current_db_schema, "pg_catalog")


def check_types_of_columns(uri):
    schema = ask(uri, "SELECT id, flag, i2, i4, i8, f4, f8, t, b, d, tm, ts, tz FROM kinds").schema
    same([str(f.type) for f in schema], ["int64", "bool", "int16", "int32", "int64", "float", "double", "string", "binary", "date32[day]",
                                         "time64[us]", "timestamp[us]", "timestamp[us, tz=UTC]"])


def check_numbers(uri):
    found = ask(uri, "SELECT flag, i2, i4, i8, f8 FROM kinds ORDER BY id").to_pydict()
    same(found, {"flag": [True, False, None], "i2": [-7, -2**15, None], "i4": [70000, -2**31, None], "i8": [1 << 40, -2**63, None],
                 "f8": [0.1, 2.2250738585072014e-308, None]})
    same(ask(uri, "SELECT f4 FROM kinds ORDER BY id").column(0).to_pylist()[2], None)


def check_numeric(uri):
    # The driver has no type for it, and gives its text.
    same(ask(uri, "SELECT n FROM kinds ORDER BY id").column(0).to_pylist(), ["-123.45", "99999999.99", None])


def check_texts_and_bytes(uri):
    found = ask(uri, "SELECT t, b FROM kinds ORDER BY id").to_pydict()
    same(found, {"t": ["é ' \\ \t\n", "", None], "b": [b"\x00\xff\\", b"", None]})


def check_moments(uri):
    found = ask(uri, "SELECT d, tm, ts, tz FROM kinds ORDER BY id").to_pydict()
    same(found["d"], [dt.date(2024, 2, 29), dt.date(1, 1, 1), None])
    same(found["tm"], [dt.time(23, 59, 59, 999999), dt.time(0), None])
    same(found["ts"], [dt.datetime(2024, 2, 29, 12, 45, 1, 250000), dt.datetime(1969, 12, 31, 23, 59, 59, 999999), None])
    same(found["tz"], [dt.datetime(2024, 2, 29, 12, 45, 1, 250000, UTC), dt.datetime(1970, 1, 1, tzinfo=UTC), None])


def check_arrays(uri):
    found = ask(uri, "SELECT a4, at FROM kinds ORDER BY id").to_pydict()
    same(found, {"a4": [[1, None, 3], [], None], "at": [["a b", "q\"u'o,t\\e", ""], ["NULL", "null", "{}"], None]})


def check_intervals(uri):
    found = ask(uri, "SELECT INTERVAL '1 month 2 days 3 seconds'").column(0)
    same(str(found.type), "month_day_nano_interval")
    same(found[0].as_py(), pa.MonthDayNano([1, 2, 3_000_000_000]))


def check_json(uri):
    same(one(uri, "SELECT '{\"a\": 1}'::json"), '{"a": 1}')
    same(one(uri, "SELECT '{\"a\":1}'::jsonb"), '{"a": 1}')


def check_uuids(uri):
    assert one(uri, "SELECT '0f8fad5b-d9cb-469f-a165-70867728950e'::uuid") is not None


def check_names_and_oids(uri):
    found = ask(uri, "SELECT relname, oid FROM pg_class WHERE relname = 'icd10' AND relnamespace = 'public'::regnamespace")
    same(found.column(0).to_pylist(), ["icd10"])
    assert found.column(1)[0].as_py() > 0, found


def check_columns_without_a_name(uri):
    same(ask(uri, "SELECT 1, 'a'").num_columns, 2)


def check_parameters(uri):
    for sql_type, value in [("int8", 1 << 40), ("float8", 0.5), ("text", "é ' \\"), ("bool", True), ("bytea", b"\x00\xff"),
                            ("date", dt.date(2024, 2, 29)), ("timestamp", dt.datetime(2024, 2, 29, 1, 2, 3, 4)), ("int8", None)]:
        try:
            same(one(uri, f"SELECT $1::{sql_type}", (value,)), value)
        except Exception as error:
            raise AssertionError(f"{sql_type} {value!r}") from error


def check_numeric_parameters(uri):
    same(one(uri, "SELECT $1::numeric", (decimal.Decimal("-12.34"),)), "-12.34")


def check_moments_with_a_zone_as_parameters(uri):
    moment = dt.datetime(2024, 2, 29, 1, 2, 3, 4, UTC)
    same(one(uri, "SELECT $1::timestamptz", (moment,)), moment)


def check_arrays_as_parameters(uri):
    same(ask(uri, "SELECT code FROM icd10 WHERE code = ANY($1) ORDER BY code", (["I10", "E11"],)).column(0).to_pylist(), ["E11", "I10"])


def check_parameters_in_conditions(uri):
    same(one(uri, "SELECT title FROM icd10 WHERE code = $1", ("I10",)), "Essential hypertension")
    same(one(uri, "SELECT count(*) FROM kinds WHERE i8 = $1 AND f8 < $2", (1 << 40, 0.5)), 1)


def check_many_parameters(uri):
    with adbc.connect(uri, autocommit=True) as c, c.cursor() as cur:
        cur.executescript("SELECT 1")
        cur.adbc_prepare("SELECT $1::int8 * 2 AS twice")
        cur.execute("SELECT $1::int8 * 2 AS twice", pa.table({"n": [1, 2, 3]}))
        same(cur.fetch_arrow_table().to_pydict(), {"twice": [2, 4, 6]})


def check_prepared_schema(uri):
    with adbc.connect(uri, autocommit=True) as c, c.cursor() as cur:
        same([str(f.type) for f in cur.adbc_prepare("SELECT $1::int8, $2::text")], ["int64", "string"])


def check_schema_without_running(uri):
    with adbc.connect(uri, autocommit=True) as c, c.cursor() as cur:
        schema = cur.adbc_execute_schema("SELECT id, t, a4 FROM kinds")
        same([(f.name, str(f.type)) for f in schema], [("id", "int64"), ("t", "string"), ("a4", "list<item: int32>")])


def check_without_copy(uri):
    # Some statements cannot be copied from; then the driver reads plain rows.
    options = {"adbc.postgresql.use_copy": "false"}
    same(ask(uri, "SELECT id, t FROM kinds ORDER BY id", **options).to_pydict(), {"id": [1, 2, 3], "t": ["é ' \\ \t\n", "", None]})


def check_show(uri):
    same(one_of_rows(uri, "SHOW server_version_num")[:2], "15")


def one_of_rows(uri, sql):
    return ask(uri, sql, **{"adbc.postgresql.use_copy": "false"}).column(0)[0].as_py()


def check_many_rows(uri):
    for hint in ("1000", "10000000"):
        found = ask(uri, "SELECT n, 'row ' || n AS r FROM generate_series(1, 10000) AS g(n) ORDER BY n",
                    **{"adbc.postgresql.batch_size_hint_bytes": hint})
        same((found.num_rows, found.column(0)[9_999].as_py(), found.column(1)[9_999].as_py()), (10_000, 10_000, "row 10000"))


def check_no_rows(uri):
    same(ask(uri, "SELECT * FROM kinds WHERE false").num_rows, 0)
    same(ask(uri, "SELECT * FROM kinds WHERE false").column_names, COLUMNS)


def check_reader_left_in_the_middle(uri):
    with adbc.connect(uri, autocommit=True) as c:
        with c.cursor(adbc_stmt_kwargs={"adbc.postgresql.batch_size_hint_bytes": "1000"}) as cur:
            cur.execute("SELECT n FROM generate_series(1, 100000) AS g(n)")
            cur.fetch_record_batch().read_next_batch()
        with c.cursor() as cur:
            cur.execute("SELECT 1")
            same(cur.fetchone(), (1,))


def check_transactions(uri):
    with adbc.connect(uri) as c, c.cursor() as cur:
        cur.execute("SELECT 1")
        same(cur.fetchall(), [(1,)])
        c.commit()
        raises("22012", lambda: (cur.execute("SELECT 1 / (n - 1) FROM generate_series(1, 2) AS g(n)"), cur.fetchall()))
        # The driver refuses to go on by itself.
        raises(None, lambda: cur.execute("SELECT 1"))
        c.rollback()
        cur.execute("SELECT 2")
        same(cur.fetchall(), [(2,)])


def check_errors(uri):
    for code, sql in [("42P01", "SELECT * FROM nowhere"), ("42703", "SELECT nothing FROM icd10"), ("42883", "SELECT nofunction(1)"),
                      ("42601", "SELEC 1"), ("22012", "SELECT 1 / 0"), ("22P02", "SELECT 'x'::int")]:
        error = raises(code, lambda: ask(uri, sql))
        assert str(error), sql


def check_writes_are_refused(uri):
    raises("25006", lambda: ask(uri, "INSERT INTO icd10 VALUES ('a', 'b')"))
    with adbc.connect(uri) as c, c.cursor() as cur:
        error = raises(None, lambda: cur.adbc_ingest("new_table", pa.table({"a": [1]}), mode="create"))
        assert "cannot execute CREATE TABLE in a read-only transaction" in str(error), error


def check_cancel(uri):
    with adbc.connect(uri, autocommit=True) as c, c.cursor() as cur:
        timer = threading.Timer(0.5, cur.adbc_cancel)
        timer.start()
        raises("57014", lambda: (cur.execute(LONG), cur.fetchall()))
        timer.join()


def check_timeout(uri):
    with adbc.connect(uri, autocommit=True) as c, c.cursor() as cur:
        cur.executescript("SET statement_timeout = 200")
        raises("57014", lambda: (cur.execute(LONG), cur.fetchall()))


def objects(uri, depth, **filters):
    with adbc.connect(uri) as c:
        return c.adbc_get_objects(depth=depth, **filters).read_all().to_pylist()


def check_catalogs(uri):
    assert "kanon" in [row["catalog_name"] for row in objects(uri, "catalogs")]


def check_schemas(uri):
    [catalog] = objects(uri, "db_schemas", catalog_filter="kanon")
    assert "public" in [s["db_schema_name"] for s in catalog["catalog_db_schemas"]], catalog


def check_tables(uri):
    [catalog] = objects(uri, "tables", catalog_filter="kanon", db_schema_filter="public")
    [schema] = catalog["catalog_db_schemas"]
    same(sorted((t["table_name"], t["table_type"]) for t in schema["db_schema_tables"]), [(name, "table") for name in (
        "heart_disease", "icd10", "kinds", "visits")])


def check_columns(uri):
    [catalog] = objects(uri, "all", catalog_filter="kanon", db_schema_filter="public", table_name_filter="kinds")
    [table] = catalog["catalog_db_schemas"][0]["db_schema_tables"]
    same([c["column_name"] for c in table["table_columns"]], COLUMNS)
    same(table["table_constraints"], [])


def check_schema_of_a_table(uri):
    with adbc.connect(uri) as c:
        same([(f.name, str(f.type)) for f in c.adbc_get_table_schema("icd10")], [("code", "string"), ("title", "string")])
        same(c.adbc_get_table_schema("icd10", db_schema_filter="public").names, ["code", "title"])
        same(set(c.adbc_get_table_types()) >= {"table", "view"}, True)


def check_schema_of_no_table(uri):
    with adbc.connect(uri) as c:
        try:
            c.adbc_get_table_schema("nowhere")
        except adbc_driver_manager.Error:
            return
        raise AssertionError("no error")


def check_pandas(uri):
    with adbc.connect(uri, autocommit=True) as c:
        frame = pandas.read_sql("SELECT code, title FROM icd10 ORDER BY code", c)
        same((list(frame.columns), len(frame)), (["code", "title"], 6))
        same(len(pandas.read_sql_table("icd10", c)), 6)


def check_polars(uri):
    frame = polars.read_database_uri("SELECT id, i4, t FROM kinds ORDER BY id", uri, engine="adbc")
    same(frame.to_dict(as_series=False), {"id": [1, 2, 3], "i4": [70000, -2**31, None], "t": ["é ' \\ \t\n", "", None]})
    with adbc.connect(uri, autocommit=True) as c:
        same(polars.read_database("SELECT count(*) AS n FROM icd10", c)["n"].to_list(), [6])


def node_check_aggregate_of_a_protected_table(uri):
    found = ask(uri, "SELECT sex, count(*) AS n, avg(age)::float8 AS age FROM heart_disease GROUP BY sex ORDER BY sex").to_pydict()
    same(found["sex"], ["female", "male"])
    assert min(found["n"]) >= 10 and min(found["age"]) > 40, found
    same(one(uri, "SELECT count(*) FROM heart_disease WHERE age > $1", (40,)) > 100, True)


def node_check_rows_are_refused(uri):
    raises("42501", lambda: ask(uri, "SELECT * FROM heart_disease"))
    raises("42501", lambda: ask(uri, "SELECT age FROM heart_disease WHERE patient_id = $1", (1,)))
    raises("42501", lambda: ask(uri, "SELECT * FROM heart_disease", **{"adbc.postgresql.use_copy": "false"}))


def node_check_schema_of_a_protected_table(uri):
    with adbc.connect(uri) as c:
        same(c.adbc_get_table_schema("heart_disease").names[:3], ["patient_id", "age", "sex"])


if __name__ == "__main__":
    port, user, password = sys.argv[1:]
    uri = f"postgresql://{user}:{urllib.parse.quote(password)}@127.0.0.1:{port}/kanon"
    node = "Kanon" in one(uri, "SELECT version()")
    version = importlib.metadata.version("adbc-driver-postgresql")
    tally(sys.modules[__name__], "ADBC PostgreSQL", version, node, KNOWN, uri)
