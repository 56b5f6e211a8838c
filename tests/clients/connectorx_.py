"""What users of connectorx do, and of polars over it, at a node with the tables of tests/tests/clients/world.rs, or at a PostgreSQL with
the same: connectorx_.py PORT USER PASSWORD. It reads through COPY … (FORMAT binary), rows in binary, in csv, or plain rows."""

import datetime as dt
import importlib.metadata
import sys
import urllib.parse

import connectorx
import polars

from checks import LONG, same, tally

# Checks that a node fails, and why.
KNOWN = {}

PROTOCOLS = ("binary", "csv", "cursor", "simple")


def ask(uri, sql, protocol="binary", **more):
    """The answer as a dictionary of lists."""
    return connectorx.read_sql(uri, sql, return_type="arrow", protocol=protocol, **more).to_pydict()


def raises(text, call):
    """Errors have no SQLSTATE here, but a text."""
    try:
        call()
    except BaseException as error:  # Its own panics are no Exception.
        assert text in str(error), error
        return error
    raise AssertionError(f"no error {text}")


def every(uri, sql, expected, protocols=PROTOCOLS):
    for protocol in protocols:
        found = ask(uri, sql, protocol)
        assert found == expected, f"{protocol}: {found}, not {expected}"


def check_connects(uri):
    for protocol in PROTOCOLS:
        assert ask(uri, "SELECT version() AS v", protocol)["v"][0].startswith("PostgreSQL 15."), protocol


def check_integers(uri):
    every(uri, "SELECT id, i2, i4, i8 FROM kinds ORDER BY id",
          {"id": [1, 2, 3], "i2": [-7, -2**15, None], "i4": [70000, -2**31, None], "i8": [1 << 40, -2**63, None]})


def check_booleans(uri):
    every(uri, "SELECT id, flag FROM kinds ORDER BY id", {"id": [1, 2, 3], "flag": [True, False, None]})


def check_floats(uri):
    every(uri, "SELECT id, f8 FROM kinds ORDER BY id", {"id": [1, 2, 3], "f8": [0.1, 2.2250738585072014e-308, None]})
    assert ask(uri, "SELECT f4 FROM kinds ORDER BY id")["f4"][2] is None


def check_numeric(uri):
    for protocol in ("binary", "csv", "cursor"):
        found = ask(uri, "SELECT id, n FROM kinds ORDER BY id", protocol)["n"]
        same([None if n is None else float(n) for n in found], [-123.45, 99999999.99, None])


def check_texts(uri):
    every(uri, "SELECT id, t FROM kinds WHERE id <> 2 ORDER BY id", {"id": [1, 3], "t": ["é ' \\ \t\n", None]})


def check_bytes(uri):
    every(uri, "SELECT b FROM kinds WHERE id <> 2 ORDER BY id", {"b": [b"\x00\xff\\", None]}, ("binary", "cursor"))


def check_dates_and_times(uri):
    every(uri, "SELECT id, d FROM kinds ORDER BY id", {"id": [1, 2, 3], "d": [dt.date(2024, 2, 29), dt.date(1, 1, 1), None]})
    every(uri, "SELECT tm FROM kinds ORDER BY id", {"tm": [dt.time(23, 59, 59, 999999), dt.time(0), None]}, ("binary", "cursor"))


def check_moments(uri):
    found = ask(uri, "SELECT ts, tz FROM kinds WHERE id = 1")
    same([m[0].replace(tzinfo=None) for m in found.values()], [dt.datetime(2024, 2, 29, 12, 45, 1, 250000)] * 2)


def check_arrays(uri):
    every(uri, "SELECT a4 FROM kinds WHERE id = 2", {"a4": [[]]}, ("binary", "cursor"))
    every(uri, "SELECT ARRAY[1, 2]::int8[] AS a, ARRAY['a', 'b'] AS t", {"a": [[1, 2]], "t": [["a", "b"]]}, ("binary", "cursor"))


def check_json(uri):
    every(uri, "SELECT '{\"a\": 1}'::json AS j", {"j": ['{"a":1}']}, ("binary", "cursor"))


def check_uuids(uri):
    value = "0f8fad5b-d9cb-469f-a165-70867728950e"
    every(uri, f"SELECT '{value}'::uuid AS u", {"u": [value]}, ("binary", "cursor"))


def check_varchars_and_names(uri):
    every(uri, "SELECT 'abc'::varchar(2) AS v, relname::text AS r FROM pg_class WHERE relname = 'pg_type'", {"v": ["ab"], "r": ["pg_type"]})


def check_no_rows(uri):
    for protocol in PROTOCOLS:
        same(ask(uri, "SELECT id, t FROM kinds WHERE false", protocol), {"id": [], "t": []})


def check_many_rows(uri):
    for protocol in PROTOCOLS:
        found = ask(uri, "SELECT n::int8, 'row ' || n AS r FROM generate_series(1, 10000) AS g(n) ORDER BY g.n", protocol)
        same((sum(found["n"]), found["r"][9_999]), (50_005_000, "row 10000"))


def check_partitions(uri):
    # The driver asks for the least and the greatest value, and then for every part over a connection of its own.
    for protocol in ("binary", "csv", "cursor"):
        found = ask(uri, "SELECT n::int8 FROM generate_series(1, 10000) AS g(n)", protocol, partition_on="n", partition_num=4)
        same(sum(found["n"]), 50_005_000)


def check_partitions_of_a_table(uri):
    found = ask(uri, "SELECT id, t FROM kinds", partition_on="id", partition_num=2)
    same(sorted(found["id"]), [1, 2, 3])


def check_partitions_with_a_range(uri):
    found = ask(uri, "SELECT id, t FROM kinds", partition_on="id", partition_num=3, partition_range=(1, 3))
    same(sorted(found["id"]), [1, 2, 3])


def check_several_queries(uri):
    found = connectorx.read_sql(uri, ["SELECT code FROM icd10 WHERE code < 'I'", "SELECT code FROM icd10 WHERE code > 'J'"],
                                return_type="arrow")
    same(sorted(found.column(0).to_pylist()), ["E11", "J45", "K21"])


def check_queries_before(uri):
    found = ask(uri, "SELECT current_setting('statement_timeout') AS t", pre_execution_query="SET statement_timeout = '7s'")
    same(found, {"t": ["7s"]})


def check_trailing_semicolons_and_comments(uri):
    every(uri, "-- a comment\nSELECT code FROM icd10 WHERE code = 'I10' -- another\n", {"code": ["I10"]}, ("binary", "cursor"))


def check_common_table_expressions(uri):
    every(uri, "WITH a AS (SELECT code FROM icd10) SELECT count(*) AS n FROM a", {"n": [6]})


def check_pandas(uri):
    frame = connectorx.read_sql(uri, "SELECT code, title FROM icd10 ORDER BY code", return_type="pandas")
    same((list(frame.columns), len(frame)), (["code", "title"], 6))
    frame = connectorx.read_sql(uri, "SELECT i4, f8, t, ts FROM kinds ORDER BY id", return_type="pandas")
    same([str(kind) for kind in frame.dtypes][:2], ["Int64", "float64"])


def check_polars(uri):
    frame = polars.read_database_uri("SELECT id, i4, t FROM kinds ORDER BY id", uri, engine="connectorx")
    same(frame.to_dict(as_series=False), {"id": [1, 2, 3], "i4": [70000, -2**31, None], "t": ["é ' \\ \t\n", "", None]})
    frame = polars.read_database_uri("SELECT n::int8 FROM generate_series(1, 1000) AS g(n)", uri, partition_on="n", partition_num=2)
    same(frame["n"].sum(), 500_500)


def check_metadata(uri):
    found = connectorx.get_meta(uri, "SELECT id, t, d FROM kinds")
    same(list(found.columns), ["id", "t", "d"])


def check_tables(uri):
    every(uri, "SELECT table_name::text AS t FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
          "ORDER BY 1", {"t": ["heart_disease", "icd10", "kinds", "visits"]}, ("binary", "cursor"))


def check_errors(uri):
    for text, sql in [('relation "nowhere" does not exist', "SELECT * FROM nowhere"), ("division by zero", "SELECT 1 / 0 AS a"),
                      ("syntax error", "SELECT 1 +"), ("does not exist", "SELECT nothing FROM icd10")]:
        for protocol in ("binary", "cursor"):
            raises(text, lambda: ask(uri, sql, protocol))


def check_reserved_words(uri):
    raises("syntax error", lambda: ask(uri, "SELECT code FROM where", "cursor"))


def check_timeout(uri):
    raises("statement timeout", lambda: ask(uri, LONG, "cursor", pre_execution_query="SET statement_timeout = 200"))


def node_check_aggregate_of_a_protected_table(uri):
    sql = "SELECT sex, count(*) AS people, avg(age)::float8 AS age FROM heart_disease WHERE age > 40 GROUP BY sex ORDER BY sex"
    for protocol in PROTOCOLS:
        found = ask(uri, sql, protocol)
        same(found["sex"], ["female", "male"])
        assert min(found["people"]) >= 10 and min(found["age"]) > 40, found


def node_check_rows_are_refused(uri):
    for protocol in PROTOCOLS:
        raises("heart_disease", lambda: ask(uri, "SELECT age FROM heart_disease", protocol))


def node_check_partitions_of_a_protected_table_are_refused(uri):
    raises("", lambda: ask(uri, "SELECT age FROM heart_disease", partition_on="age", partition_num=2))


if __name__ == "__main__":
    port, user, password = sys.argv[1:]
    uri = f"postgresql://{user}:{urllib.parse.quote(password)}@127.0.0.1:{port}/kanon"
    node = "Kanon" in ask(uri, "SELECT version() AS v")["v"][0]
    tally(sys.modules[__name__], "connectorx", importlib.metadata.version("connectorx"), node, KNOWN, uri)
