"""What users of ibis do, at a node with the tables of tests/tests/clients/world.rs, or at a PostgreSQL with the same:
ibis_.py PORT USER PASSWORD."""

import datetime as dt
import importlib.metadata
import sys
import warnings

import ibis
import psycopg
from ibis import _

from checks import raises, same, tally

# Checks that a node fails, and why.
KNOWN = {}

TABLES = ["heart_disease", "icd10", "kinds", "visits"]


def check_connects(con):
    assert con.version.startswith("15."), con.version
    same((con.name, con.current_catalog, con.current_database), ("postgres", "kanon", "public"))


def check_list_tables(con):
    assert set(TABLES) <= set(con.list_tables()), con.list_tables()
    same(con.list_tables(like="icd"), ["icd10"])
    assert "pg_class" in con.list_tables(database="pg_catalog")


def check_list_databases(con):
    assert {"public", "pg_catalog", "information_schema"} <= set(con.list_databases()), con.list_databases()
    assert "kanon" in con.list_catalogs(), con.list_catalogs()


def check_schema_of_a_table(con):
    found = con.table("kinds").schema()
    same({name: str(kind) for name, kind in found.items()}, {
        "id": "int64", "flag": "boolean", "i2": "int16", "i4": "int32", "i8": "int64", "f4": "float32", "f8": "float64",
        "n": "decimal(10, 2)", "t": "string", "b": "binary", "d": "date", "tm": "time", "ts": "timestamp(6)",
        "tz": "timestamp('UTC', 6)", "a4": "array<int32>", "at": "array<string>"})


def check_schema_of_a_schema_s_table(con):
    same(con.table("icd10", database="public").columns, ("code", "title"))


def check_views_are_refused(con):
    # ibis makes a temporary view of a query in SQL, which is not for who only reads.
    raises(psycopg.errors.ReadOnlySqlTransaction, lambda: con.sql("SELECT code FROM icd10").schema(), "25006")


def node_check_rows_in_memory_are_joined(con):
    # ibis makes a temporary table of them.
    rows = ibis.memtable({"code": ["I10", "J45"], "mine": [1, 2]})
    joined = con.table("icd10").join(rows, "code").order_by("code").execute()
    same(joined[["code", "mine"]].to_dict("list"), {"code": ["I10", "J45"], "mine": [1, 2]})


def check_queries_with_a_schema(con):
    t = con.sql("SELECT code, 1 AS one FROM icd10", schema={"code": "string", "one": "int32"})
    same(t.filter(t.code == "I10").execute().to_dict("list"), {"code": ["I10"], "one": [1]})


def check_no_such_table(con):
    raises(ibis.common.exceptions.TableNotFound, lambda: con.table("nowhere"))


def check_to_pandas(con):
    frame = con.table("icd10").order_by("code").to_pandas()
    same((list(frame.columns), list(frame["code"])), (["code", "title"], ["E11", "I10", "I20", "I21", "J45", "K21"]))


def check_values_to_pandas(con):
    frame = con.table("kinds").select("id", "flag", "i2", "i4", "i8", "f8", "n", "t").filter(_.id == 1).to_pandas()
    same([str(value) for value in frame.iloc[0]], ["1", "True", "-7", "70000", "1099511627776", "0.1", "-123.45", "é ' \\ \t\n"])


def check_moments_to_pandas(con):
    frame = con.table("kinds").filter(_.id == 1).select("d", "ts", "tm").to_pandas()
    same(frame["ts"][0].to_pydatetime(), dt.datetime(2024, 2, 29, 12, 45, 1, 250000))
    same(str(frame["d"][0])[:10], "2024-02-29")


def check_arrays_to_pyarrow(con):
    same(con.table("kinds").filter(_.id < 3).order_by("id").select("at").to_pyarrow().column(0).to_pylist(),
         [["a b", "q\"u'o,t\\e", ""], ["NULL", "null", "{}"]])


def check_nulls(con):
    same(con.table("kinds").filter(_.t.isnull()).count().execute(), 1)
    same(con.table("kinds").t.fill_null("none").execute().tolist()[-1], "none")


def check_head_and_limit(con):
    same(len(con.table("icd10").head(2).execute()), 2)
    same(list(con.table("icd10").order_by(ibis.desc("code")).limit(2, offset=1).execute()["code"]), ["J45", "I21"])


def check_filters(con):
    t = con.table("icd10")
    same(t.filter(t.code.isin(["I10", "E11"])).count().execute(), 2)
    same(t.filter(t.title.contains("asthma") | t.title.like("%iabetes%")).count().execute(), 1)
    same(t.filter(t.code.startswith("I") & ~(t.code == "I10")).order_by("code").code.execute().tolist(), ["I20", "I21"])
    same(t.filter(t.code.between("I", "J")).count().execute(), 3)
    same(t.filter(t.title.re_search("^Asth")).code.execute().tolist(), ["J45"])


def check_group_by(con):
    t = con.table("icd10")
    found = t.group_by(letter=t.code.substr(0, 1)).agg(n=_.count(), least=_.code.min()).order_by("letter").execute()
    same(found.to_dict("list"), {"letter": ["E", "I", "J", "K"], "n": [1, 3, 1, 1], "least": ["E11", "I10", "J45", "K21"]})


def check_aggregates(con):
    t = con.table("kinds")
    found = t.agg(n=t.count(), some=t.i4.count(), total=t.i4.sum(), mean=t.f8.mean(), kinds=t.flag.nunique(), greatest=t.d.max()).execute()
    same((found["n"][0], found["some"][0], found["kinds"][0]), (3, 2, 2))


def check_having(con):
    t = con.table("icd10")
    found = t.group_by(letter=t.code.substr(0, 1)).having(_.count() > 1).agg(n=_.count()).execute()
    same(found.to_dict("list"), {"letter": ["I"], "n": [3]})


def check_joins(con):
    a, b = con.table("icd10"), con.table("icd10").view()
    found = a.join(b, a.code == b.code).select(a.code, other=b.title).order_by("code").execute()
    same(len(found), 6)
    same(a.left_join(b.filter(b.code == "I10"), "code").filter(_.title_right.isnull()).count().execute(), 5)
    same(a.semi_join(b.filter(b.code > "J"), "code").count().execute(), 2)
    same(a.anti_join(b.filter(b.code > "J"), "code").count().execute(), 4)


def check_unions(con):
    t = con.table("icd10").select("code")
    same(ibis.union(t, t, distinct=True).count().execute(), 6)
    same(ibis.intersect(t, t.filter(_.code > "J")).count().execute(), 2)
    same(ibis.difference(t, t.filter(_.code > "J")).count().execute(), 4)


def check_windows(con):
    t = con.table("icd10")
    found = t.mutate(place=ibis.row_number().over(order_by=t.code), before=t.code.lag().over(order_by=t.code)).order_by("code").execute()
    same((list(found["place"])[:3], list(found["before"])[1]), ([0, 1, 2], "E11"))


def check_cases(con):
    t = con.table("icd10")
    found = t.mutate(kind=ibis.cases((t.code < "I", "low"), (t.code < "J", "middle"), else_="high")).order_by("code").execute()
    same(list(found["kind"]), ["low", "middle", "middle", "middle", "high", "high"])


def check_texts(con):
    t = con.table("icd10").filter(_.code == "J45")
    found = t.select(u=t.title.upper(), n=t.title.length(), r=t.title.replace("A", "a"), s=t.title.reverse(), c=t.code + "!").execute()
    same(found.to_dict("list"), {"u": ["ASTHMA"], "n": [6], "r": ["asthma"], "s": ["amhtsA"], "c": ["J45!"]})


def check_parts_of_moments(con):
    t = con.table("kinds").filter(_.id == 1)
    found = t.select(y=t.ts.year(), m=t.ts.month(), w=t.ts.day_of_week.index(), day=t.ts.truncate("D"), h=t.ts.hour()).execute()
    same((found["y"][0], found["m"][0], found["w"][0], str(found["day"][0])[:10], found["h"][0]), (2024, 2, 3, "2024-02-29", 12))


def check_formats_of_moments(con):
    t = con.table("kinds").filter(_.id == 1)
    same(t.ts.strftime("%Y/%m/%d").execute().tolist(), ["2024/02/29"])


def check_intervals(con):
    t = con.table("kinds").filter(_.id == 1)
    same(str((t.ts + ibis.interval(days=1)).execute()[0])[:10], "2024-03-01")


def check_arithmetic(con):
    t = con.table("kinds").filter(_.id == 1)
    found = t.select(a=t.i4 / 7, b=t.i4 % 9, c=-t.i4, d=t.f8.round(0), e=t.i4.abs(), f=(t.i4 // 9)).execute()
    same([float(value) for value in found.iloc[0]], [10000.0, 7.0, -70000.0, 0.0, 70000.0, 7777.0])


def check_casts(con):
    t = con.table("kinds").filter(_.id == 1)
    found = t.select(a=t.i4.cast("string"), b=t.id.cast("float64"), c=t.ts.cast("date")).execute()
    same((found["a"][0], found["b"][0], str(found["c"][0])[:10]), ("70000", 1.0, "2024-02-29"))


def check_distinct(con):
    same(con.table("icd10").select(letter=_.code.substr(0, 1)).distinct().count().execute(), 4)


def check_batches(con):
    t = con.sql("SELECT n::int8 FROM generate_series(1, 10000) AS g(n)", schema={"n": "int64"})
    same(sum(batch.num_rows for batch in t.to_pyarrow_batches(chunk_size=1000)), 10_000)


def check_ranges(con):
    same(con.execute(ibis.range(0, 5).unnest()).tolist(), [0, 1, 2, 3, 4])


def check_to_polars(con):
    same(con.table("icd10").to_polars().shape, (6, 2))


def check_raw_sql(con):
    with con.raw_sql("SELECT 1") as cur:
        same(cur.fetchall(), [(1,)])


def check_errors(con):
    raises(psycopg.errors.DivisionByZero, lambda: con.raw_sql("SELECT 1 / 0"))
    same(con.table("icd10").count().execute(), 6)


def check_writes_are_refused(con):
    raises(psycopg.errors.ReadOnlySqlTransaction, lambda: con.create_table("t", schema=ibis.schema({"a": "int64"})), "25006")


def node_check_aggregate_of_a_protected_table(con):
    t = con.table("heart_disease")
    found = t.filter(t.age > 40).group_by("sex").agg(n=_.count(), age=_.age.mean()).order_by("sex").execute()
    same(list(found["sex"]), ["female", "male"])
    assert min(found["n"]) >= 10 and min(found["age"]) > 40, found


def node_check_counts_by_two_columns(con):
    found = con.table("heart_disease").group_by(["sex", "chest_pain"]).agg(n=_.count()).execute()
    assert len(found) and min(found["n"]) >= 10, found


def node_check_rows_are_refused(con):
    raises(psycopg.errors.InsufficientPrivilege, lambda: con.table("heart_disease").execute(), "42501")


def node_check_schema_of_a_protected_table(con):
    same(con.table("heart_disease").columns[:3], ("patient_id", "age", "sex"))


if __name__ == "__main__":
    port, user, password = sys.argv[1:]
    # Of pandas, and no matter of the server's.
    warnings.simplefilter("ignore")
    con = ibis.postgres.connect(host="127.0.0.1", port=int(port), user=user, password=password, database="kanon")
    with con.raw_sql("SELECT version()") as cur:
        node = "Kanon" in cur.fetchone()[0]
    tally(sys.modules[__name__], "ibis", importlib.metadata.version("ibis-framework"), node, KNOWN, con)
