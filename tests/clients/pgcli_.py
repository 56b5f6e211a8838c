"""What pgcli asks, for its completion and for its special commands, at a node with the tables of tests/tests/clients/world.rs, or at a
PostgreSQL with the same: pgcli_.py PORT USER PASSWORD."""

import functools
import importlib.metadata
import logging
import sys
import types

import psycopg
from pgcli.completion_refresher import CompletionRefresher
from pgcli.pgcompleter import PGCompleter
from pgcli.pgexecute import PGExecute
from pgspecial.main import PGSpecial
from prompt_toolkit.document import Document

from checks import LONG, raises, same, tally

# Checks that a node fails, and why.
KNOWN = {}

TABLES = ["heart_disease", "icd10", "kinds", "visits"]
COLUMNS = ["id", "flag", "i2", "i4", "i8", "f4", "f8", "n", "t", "b", "d", "tm", "ts", "tz", "a4", "at"]


def said(pg, sql):
    """Title, rows, header and status of each statement of an input, as pgcli shows them."""
    return [(title, [tuple(row) for row in cur] if cur else [], header, status)
            for title, cur, header, status, *_ in pg.run(sql, PGSpecial())]


def rows(pg, sql):
    return said(pg, sql)[-1][1]


def check_connects(pg):
    same(rows(pg, "SELECT version()")[0][0][:14], "PostgreSQL 15.")
    same((pg.dbname, pg.valid_transaction(), pg.failed_transaction()), ("kanon", False, False))
    assert pg.server_version.startswith("15."), pg.server_version
    assert pg.pid == rows(pg, "SELECT pg_backend_pid()")[0][0], pg.pid


def check_search_path(pg):
    assert {"pg_catalog", "public"} <= set(pg.search_path()), pg.search_path()


def check_schemata(pg):
    assert {"public", "pg_catalog", "information_schema"} <= set(pg.schemata()), pg.schemata()


def check_tables(pg):
    same(sorted(name for schema, name in pg.tables() if schema == "public"), TABLES)


def check_views(pg):
    assert ("pg_catalog", "pg_tables") in list(pg.views())


def check_table_columns(pg):
    found = [column for column in pg.table_columns() if column[:2] == ("public", "kinds")]
    same([column[2] for column in found], COLUMNS)
    same([column[3] for column in found][:9],
         ["bigint", "boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "text"])
    same({column[4:] for column in found}, {(False, None)})


def check_view_columns(pg):
    assert ("pg_catalog", "pg_tables", "tablename") in [column[:3] for column in pg.view_columns()]


def check_databases(pg):
    assert "kanon" in pg.databases()
    assert "kanon" in [row[0] for row in pg.full_databases()[0]]


def check_foreign_keys(pg):
    same(list(pg.foreignkeys()), [])


def check_functions(pg):
    found = [f for f in pg.functions() if f.schema_name == "pg_catalog"]
    names = {f.func_name for f in found}
    assert {"lower", "count", "abs", "now", "generate_series"} <= names, names
    assert any(f.is_aggregate for f in found if f.func_name == "count")


def check_arguments_of_functions(pg):
    [lower] = [f for f in pg.functions() if f.func_name == "lower" and f.arg_types == ("text",)]
    same((lower.return_type, lower.is_aggregate, lower.is_window, lower.is_set_returning), ("text", False, False, False))
    assert any(f.is_set_returning for f in pg.functions() if f.func_name == "generate_series")


def check_datatypes(pg):
    # Those of PostgreSQL itself are left out.
    same([name for schema, name in pg.datatypes() if schema == "public"], [])


def check_casing(pg):
    same(list(pg.casing()), [])


def check_view_definitions(pg):
    assert "SELECT" in pg.view_definition("pg_catalog.pg_tables").upper()


def check_completion(pg):
    completer = PGCompleter(smart_completion=True)
    for name, refresh in CompletionRefresher.refreshers.items():
        if name not in ("types", "casing"):
            refresh(completer, pg)
    text = "SELECT ti FROM icd10"
    found = {c.text for c in completer.get_completions(Document(text, 9), None)}
    assert "title" in found, found


def check_completion_of_types(pg):
    completer = PGCompleter(smart_completion=True)
    CompletionRefresher.refreshers["types"](completer, pg)


def check_statements(pg):
    found = said(pg, "SELECT 1 AS a, NULL AS b; SELECT code FROM icd10 WHERE code = 'I10'")
    same([(part[1], part[2], part[3]) for part in found], [([(1, None)], ["a", "b"], "SELECT 1"), ([("I10",)], ["code"], "SELECT 1")])


def check_values(pg):
    # pgcli shows most values as the server writes them.
    same(rows(pg, "SELECT d, ts, tz, tm, i8 FROM kinds WHERE id = 1"),
         [("2024-02-29", "2024-02-29 12:45:01.25", "2024-02-29 12:45:01.25+00", "23:59:59.999999", 1 << 40)])
    same(rows(pg, "SELECT a4, at FROM kinds WHERE id = 2"), [([], ["NULL", "null", "{}"])])


def check_numbers(pg):
    same([str(value) for value in rows(pg, "SELECT n, f8, i2 FROM kinds WHERE id = 1")[0]], ["-123.45", "0.1", "-7"])


def check_transactions(pg):
    said(pg, "BEGIN")
    same((pg.valid_transaction(), pg.transaction_indicator), (True, "*"))
    raises(psycopg.Error, lambda: said(pg, "SELECT 1 / 0"), "22012")
    same((pg.failed_transaction(), pg.transaction_indicator), (True, "!"))
    said(pg, "ROLLBACK")
    same((pg.valid_transaction(), pg.failed_transaction()), (False, False))


def check_errors(pg):
    for code, sql in (("42P01", "SELECT * FROM nowhere"), ("42601", "SELEC 1"), ("25006", "DELETE FROM icd10")):
        raises(psycopg.Error, lambda: said(pg, sql), code)
    same(rows(pg, "SELECT 1"), [(1,)])


def check_timeout(pg):
    said(pg, "SET statement_timeout = 200")
    raises(psycopg.Error, lambda: said(pg, LONG), "57014")


def check_time_zone(pg):
    same(pg.get_timezone(), rows(pg, "SHOW TimeZone")[0][0])
    pg.set_timezone("Europe/Zurich")
    same(rows(pg, "SHOW TimeZone"), [("Europe/Zurich",)])


def check_describe_all(pg):
    found = said(pg, "\\d")
    same(sorted(row[1] for row in found[0][1] if row[0] == "public"), TABLES)


def check_describe_a_table(pg):
    [(_, columns, header, _)] = said(pg, "\\d icd10")
    same((header[:2], [row[:2] for row in columns]), (["Column", "Type"], [("code", "text"), ("title", "text")]))


def check_describe_more_of_a_table(pg):
    [(_, columns, _, _)] = said(pg, "\\d+ kinds")
    same(len(columns), 16)


def check_lists(pg):
    for command in ("\\l", "\\dn", "\\dt", "\\dv", "\\du", "\\df lower", "\\di", "\\ds", "\\dm", "\\dx"):
        try:
            said(pg, command)
        except Exception as error:
            raise AssertionError(command) from error


def check_list_of_domains(pg):
    same(rows(pg, "\\dD"), [])


def check_list_of_types(pg):
    assert said(pg, "\\dT int4")


def check_list_of_tables(pg):
    same(sorted(row[1] for row in rows(pg, "\\dt public.*")), TABLES)


def check_privileges(pg):
    assert [row for row in rows(pg, "\\dp icd10") if row[1] == "icd10"]


def check_explain(pg):
    assert rows(pg, "EXPLAIN SELECT * FROM icd10")


def node_check_aggregate_of_a_protected_table(pg):
    found = rows(pg, "SELECT sex, count(*) FROM heart_disease GROUP BY sex ORDER BY sex")
    same([sex for sex, _ in found], ["female", "male"])
    assert min(n for _, n in found) >= 10, found


def node_check_rows_are_refused(pg):
    raises(psycopg.Error, lambda: said(pg, "SELECT * FROM heart_disease"), "42501")


def fresh(check, options):
    """The check over a connection of its own."""
    @functools.wraps(check)
    def with_a_connection():
        pg = PGExecute(**options)
        try:
            check(pg)
        finally:
            pg.conn.close()
    return with_a_connection


if __name__ == "__main__":
    port, user, password = sys.argv[1:]
    options = {"database": "kanon", "user": user, "password": password, "host": "127.0.0.1", "port": int(port)}
    pg = PGExecute(**options)
    node = "Kanon" in rows(pg, "SELECT version()")[0][0]
    pg.conn.close()
    checks = types.SimpleNamespace(**{
        name: fresh(check, options) for name, check in list(globals().items()) if name.startswith(("check_", "node_check_"))})
    logging.disable(logging.CRITICAL)
    tally(checks, "pgcli", importlib.metadata.version("pgcli"), node, KNOWN)
