"""What users of Superset do, through the web application's own interface: superset_.py PORT ROLE PASSWORD, with the Python of Superset's
environment. The server of Superset is started here, over a copy of the metadata that scripts/clients made, and ended. The tables are those
of tests/tests/bi/world.rs."""

import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

import requests

from checks import raises, same, tally

HERE = os.path.dirname(os.path.abspath(__file__))
COUNT = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "n"}
GRAINS = ["PT1S", "PT5S", "PT30S", "PT1M", "PT5M", "PT10M", "PT15M", "PT30M", "PT1H", "P1D", "P1W", "P1M", "P3M", "P1Y"]


def simple(aggregate, column, label=None):
    """A metric as it is clicked together."""
    return {"expressionType": "SIMPLE", "aggregate": aggregate, "column": {"column_name": column}, "label": label or f"{aggregate}({column})"}


class Refused(Exception):
    """Superset says no, with what the database said."""


class Superset:
    """A running server, and one database in it."""

    def __init__(self, port, role, password):
        self.home = tempfile.mkdtemp()
        shutil.copy(os.path.join(sys.prefix, "home", "superset.db"), self.home)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            own = free.getsockname()[1]
        environment = {**os.environ, "SUPERSET_HOME": self.home, "SUPERSET_CONFIG_PATH": os.path.join(HERE, "superset_config.py"),
                       "FLASK_APP": "superset", "PYTHONWARNINGS": "ignore"}
        self.log = open(os.path.join(self.home, "log"), "w+")
        program = os.path.join(os.path.dirname(sys.executable), "superset")
        self.server = subprocess.Popen([program, "run", "-p", str(own), "--with-threads"], env=environment,
                                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.base = f"http://127.0.0.1:{own}"
        self.session = requests.Session()
        self.datasets = {}
        until = time.monotonic() + 120
        while True:
            try:
                self.session.get(f"{self.base}/health", timeout=10).raise_for_status()
                break
            except requests.RequestException:
                assert self.server.poll() is None and time.monotonic() < until, open(self.log.name).read()
                time.sleep(0.2)
        answer = self.session.post(f"{self.base}/api/v1/security/login", timeout=60,
                                   json={"username": "admin", "password": "admin", "provider": "db"})
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self.uri = f"postgresql+psycopg2://{role}:{urllib.parse.quote(password)}@127.0.0.1:{port}/kanon"
        self.database = self.call("POST", "database/", sqlalchemy_uri=self.uri, database_name="node", expose_in_sqllab=True)["id"]

    def end(self):
        self.server.terminate()
        self.server.wait(30)
        shutil.rmtree(self.home, ignore_errors=True)

    def call(self, method, path, **body):
        answer = self.session.request(method, f"{self.base}/api/v1/{path}", json=body or None, timeout=120)
        if answer.status_code >= 300:
            raise Refused(answer.text)
        return answer.json()

    def sql(self, sql, schema="public", limit=1000):
        """Runs a query in SQL Lab; gives its rows."""
        return self.call("POST", "sqllab/execute/", database_id=self.database, sql=sql, schema=schema, queryLimit=limit, runAsync=False,
                         client_id=os.urandom(5).hex())["data"]

    def dataset(self, table, schema="public", sql=None):
        """The number of a dataset, made when it is first asked for."""
        if (schema, table) not in self.datasets:
            # Metadata in SQLite hold a name once, whatever the schema.
            for other in [key for key in self.datasets if key[1] == table]:
                self.call("DELETE", f"dataset/{self.datasets.pop(other)}")
            body = {"sql": sql} if sql else {}
            self.datasets[schema, table] = self.call("POST", "dataset/", database=self.database, schema=schema, table_name=table, **body)["id"]
        return self.datasets[schema, table]

    def chart(self, dataset, result_type="full", **query):
        """The answer of one query of a chart, as the browser asks for it."""
        query = {"columns": [], "metrics": [], "filters": [], "extras": {}, "row_limit": 1000, **query}
        answer = self.call("POST", "chart/data", datasource={"id": dataset, "type": "table"}, queries=[query], force=True,
                           result_format="json", result_type=result_type)
        return answer["result"][0]

    def rows(self, dataset, *names, **query):
        """The rows of a chart, as tuples of these columns."""
        return [tuple(row[name] for name in names) for row in self.chart(dataset, **query)["data"]]


def is_refused(statement, *words):
    """That a question is refused and the user is told these words."""
    error = str(raises(Refused, statement))
    for word in words:
        assert word in error, f"{word} is not in {error}"


def check_connection(superset):
    superset.call("POST", "database/test_connection/", sqlalchemy_uri=superset.uri, database_name="another")
    wrong = superset.uri.replace("/kanon", "/nowhere")
    raises(Refused, lambda: superset.call("POST", "database/test_connection/", sqlalchemy_uri=wrong, database_name="wrong"))


def check_what_there_is(superset):
    at = f"database/{superset.database}"
    schemas = superset.call("GET", f"{at}/schemas/")["result"]
    assert {"public", "information_schema"} <= set(schemas), schemas
    tables = superset.call("GET", f"{at}/tables/?q=(force:!t,schema_name:public)")["result"]
    same({table["value"] for table in tables}, {"admissions", "people", "stays"})
    same({table["type"] for table in tables}, {"table"})
    found = superset.call("GET", f"{at}/table_metadata/?name=admissions&schema=public")
    same([(c["name"], c["type"]) for c in found["columns"]],
         [("id", "BIGINT"), ("ward", "TEXT"), ("admitted", "TIMESTAMP"), ("day", "DATE"), ("nights", "BIGINT"), ("cost", "DOUBLE_PRECISION")])
    same(found["comment"], "one row an admission")
    assert "LIMIT 100" in found["selectStar"], found
    superset.call("GET", f"{at}/table_metadata/extra/?name=admissions&schema=public")
    superset.call("GET", f"{at}/function_names/")
    assert "kanon" in superset.call("GET", f"{at}/catalogs/")["result"]


def check_sql_lab(superset):
    same(len(superset.sql("SELECT * FROM admissions", limit=50)), 50)
    same(superset.sql("SELECT ward, count(*) AS n FROM admissions GROUP BY ward ORDER BY ward")[0], {"ward": "w0", "n": 100})
    same(superset.sql("WITH a AS (SELECT nights FROM admissions) SELECT max(nights) AS m FROM a; "), [{"m": 6}])
    same(superset.sql("SELECT 1 AS a; SELECT 2 AS b"), [{"b": 2}])
    is_refused(lambda: superset.sql("SELECT * FROM nowhere"), "nowhere", "does not exist")
    is_refused(lambda: superset.sql("SELECT 1/0"), "division by zero")
    cost = superset.call("POST", "sqllab/estimate/", database_id=superset.database, sql="SELECT count(*) FROM admissions", schema="public")
    assert cost["result"], cost


def check_dataset(superset):
    found = superset.call("GET", f"dataset/{superset.dataset('admissions')}")["result"]
    times = {c["column_name"] for c in found["columns"] if c["is_dttm"]}
    same(times, {"admitted", "day"})
    superset.call("PUT", f"dataset/{superset.dataset('admissions')}/refresh")
    same({c["column_name"]: c["type_generic"] for c in found["columns"]},
         {"id": 0, "ward": 1, "admitted": 2, "day": 2, "nights": 0, "cost": 0})


def check_rows_samples_and_counts(superset):
    admissions = superset.dataset("admissions")
    same(superset.chart(admissions, result_type="samples")["rowcount"], 400)
    same(superset.rows(admissions, "rowcount", columns=["id", "ward"], is_rowcount=True), [(400,)])
    detail = superset.chart(admissions, result_type="drill_detail", filters=[{"col": "ward", "op": "==", "val": "w1"}])
    same(detail["rowcount"], 100)
    found = superset.rows(admissions, "id", "ward", columns=["id", "ward"], orderby=[["id", True]], row_limit=2, row_offset=4)
    same(found, [(4, "w0"), (5, "w1")])


def check_metrics(superset):
    admissions = superset.dataset("admissions")
    metrics = [COUNT] + [simple(a, "nights") for a in ("SUM", "AVG", "MIN", "MAX", "COUNT", "COUNT_DISTINCT")]
    found = superset.chart(admissions, columns=["ward"], metrics=metrics, orderby=[[COUNT, False], ["ward", True]])["data"]
    same(found[0] | {"AVG(nights)": None},
         {"ward": "w0", "n": 100, "SUM(nights)": 298, "AVG(nights)": None, "MIN(nights)": 0, "MAX(nights)": 6, "COUNT(nights)": 100,
          "COUNT_DISTINCT(nights)": 7})
    assert abs(float(found[0]["AVG(nights)"]) - 2.98) < 1e-9, found
    ratio = {"expressionType": "SQL", "sqlExpression": "SUM(CASE WHEN nights > 3 THEN 1 ELSE 0 END) * 1.0 / NULLIF(COUNT(*), 0)", "label": "r"}
    same([round(float(r), 2) for r, in superset.rows(admissions, "r", metrics=[ratio])], [0.43])
    column = {"label": "long", "expressionType": "SQL", "sqlExpression": "CASE WHEN nights > 3 THEN 'long' ELSE 'short' END"}
    found = superset.rows(admissions, "long", "n", columns=[column], metrics=[COUNT], orderby=[["n", False]])
    same(found, [("short", 229), ("long", 171)])
    having = {"having": "COUNT(*) > 60"}
    same(len(superset.rows(admissions, "nights", columns=["nights"], metrics=[COUNT], extras=having)), 0)


def check_time_grains(superset):
    admissions = superset.dataset("admissions")
    for column, grains in (("admitted", GRAINS), ("day", GRAINS[GRAINS.index("P1D"):])):
        for grain in grains:
            axis = {"label": column, "expressionType": "SQL", "sqlExpression": column, "columnType": "BASE_AXIS", "timeGrain": grain}
            found = superset.rows(admissions, column, "n", columns=[axis], metrics=[COUNT])
            same(sum(n for _, n in found), 400)
    found = superset.chart(admissions, columns=["ward"], metrics=[COUNT], is_timeseries=True, granularity="admitted",
                           time_range="2024-01-01 : 2024-03-01", extras={"time_grain_sqla": "P1M"}, series_columns=["ward"], series_limit=2,
                           series_limit_metric=COUNT)
    assert {row["ward"] for row in found["data"]} <= {"w0", "w1", "w2", "w3"} and len(found["data"]) == 4, found


def check_filters(superset):
    admissions = superset.dataset("admissions")
    for op, value, expected in [
        ("==", 3, 57), ("!=", 3, 343), (">", 3, 171), ("<", 3, 172), (">=", 3, 228), ("<=", 3, 229), ("IN", [1, 2], 114),
        ("NOT IN", [1, 2], 286), ("IS NULL", None, 0), ("IS NOT NULL", None, 400),
    ]:
        found = superset.rows(admissions, "n", metrics=[COUNT], filters=[{"col": "nights", "op": op, "val": value}])
        same((op, found), (op, [(expected,)]))
    for op, value, expected in [("LIKE", "w%", 400), ("ILIKE", "W1%", 100), ("NOT LIKE", "w1", 300), ("IN", ["w1", "w2"], 200)]:
        found = superset.rows(admissions, "n", metrics=[COUNT], filters=[{"col": "ward", "op": op, "val": value}])
        same((op, found), (op, [(expected,)]))
    for column in ("admitted", "day"):
        when = [{"col": column, "op": "TEMPORAL_RANGE", "val": "2024-01-01 : 2024-02-01"}]
        same(superset.rows(admissions, "n", metrics=[COUNT], filters=when), [(31,)])
    where = {"where": "(ward = 'w1' AND nights > 2)"}
    same(superset.rows(admissions, "n", metrics=[COUNT], extras=where), [(57,)])


def check_values_of_filters(superset):
    admissions = superset.dataset("admissions")
    same(superset.rows(admissions, "ward", columns=["ward"], orderby=[["ward", True]]), [("w0",), ("w1",), ("w2",), ("w3",)])
    values = superset.call("GET", f"datasource/table/{admissions}/column/ward/values/")["result"]
    same(sorted(values), ["w0", "w1", "w2", "w3"])
    # A range filter asks for the ends, a time filter for the span.
    same(superset.rows(admissions, "a", "b", metrics=[simple("MIN", "nights", "a"), simple("MAX", "nights", "b")]), [(0, 6)])


def check_queries_as_datasets(superset):
    query = superset.dataset("by_ward", sql="SELECT ward, nights, cost FROM admissions WHERE nights > 1")
    same(superset.rows(query, "ward", "n", columns=["ward"], metrics=[COUNT], orderby=[["ward", True]])[0], ("w0", 71))
    same(superset.chart(query, result_type="samples")["rowcount"], 285)


def check_people_in_cohorts(superset):
    stays = superset.dataset("stays")
    found = superset.rows(stays, "sex", "n", columns=["sex"], metrics=[COUNT], orderby=[["sex", True]])
    same(found, [("female", 400), ("male", 400)])
    same(superset.rows(stays, "n", metrics=[COUNT], filters=[{"col": "age", "op": ">", "val": 60}]), [(144,)])
    axis = {"label": "arrived", "expressionType": "SQL", "sqlExpression": "arrived", "columnType": "BASE_AXIS", "timeGrain": "P1M"}
    found = superset.rows(stays, "arrived", "n", columns=[axis], metrics=[COUNT])
    same(sum(n for _, n in found), 800)
    when = [{"col": "arrived", "op": "TEMPORAL_RANGE", "val": "2024-01-01 : 2024-02-01"}]
    same(superset.rows(stays, "n", metrics=[COUNT], filters=when), [(124,)])
    query = superset.dataset("by_sex", sql="SELECT sex, ward, count(*) AS n FROM stays WHERE age >= 40 GROUP BY sex, ward")
    found = superset.rows(query, "sex", "m", columns=["sex"], metrics=[simple("SUM", "n", "m")], orderby=[["sex", True]])
    same([(sex, int(m)) for sex, m in found], [("female", 240), ("male", 240)])
    same(superset.sql("SELECT sex, count(*) AS n FROM stays GROUP BY sex ORDER BY sex")[0], {"sex": "female", "n": 400})


def node_check_previews_are_refused_with_a_hint(superset):
    for schema, table in [("public", "stays"), ("public", "people"), ("federation", "stays"), ("federation", "people")]:
        dataset = superset.dataset(table, schema)
        words = ("answers aggregates only", "Ask for an aggregate, for example SELECT")
        is_refused(lambda: superset.sql(f"SELECT * FROM {schema}.{table}"), *words)
        is_refused(lambda: superset.chart(dataset, result_type="samples"), *words)
        is_refused(lambda: superset.chart(dataset, columns=["pid", "sex"]), *words)
    is_refused(lambda: superset.chart(superset.dataset("stays"), result_type="drill_detail"), "answers aggregates only")


def node_check_queries_for_rows_are_no_datasets(superset):
    # Superset reads a row to learn the columns.
    raises(Refused, lambda: superset.dataset("rows", sql="SELECT sex, age, cost FROM stays WHERE age >= 40"))


def node_check_values_of_filters_over_people(superset):
    def spent():
        return superset.sql("SELECT spent_epsilon AS e FROM kanon.budget WHERE scope = 'principal'")[0]["e"]

    stays, people = superset.dataset("stays"), superset.dataset("people")
    # The catalog says what wards there are, also the one where nobody is.
    same(superset.rows(stays, "ward", columns=["ward"], orderby=[["ward", True]]), [("w0",), ("w1",), ("w2",), ("w9",)])
    same(superset.rows(stays, "sex", columns=["sex"], orderby=[["sex", True]]), [("female",), ("male",)])
    before = spent()
    same(superset.rows(people, "sex", columns=["sex"], orderby=[["sex", True]]), [("diverse",), ("female",), ("male",)])
    same(spent(), before)
    same(superset.rows(people, "ward", columns=["ward"], orderby=[["ward", True]]), [("w0",), ("w1",), ("w2",)])
    assert spent() > before, "a selection of keys costs"
    after = spent()
    same(superset.rows(people, "ward", columns=["ward"], orderby=[["ward", False]])[0], ("w2",))
    same(spent(), after)


def node_check_people_with_noise(superset):
    people = superset.dataset("people")
    found = superset.rows(people, "sex", "n", columns=["sex"], metrics=[COUNT, simple("AVG", "age")], orderby=[["sex", True]])
    same([sex for sex, _ in found], ["diverse", "female", "male"])
    assert all(abs(n - expected) < 100 for (_, n), expected in zip(found, (0, 1000, 1000))), found
    axis = {"label": "seen", "expressionType": "SQL", "sqlExpression": "seen", "columnType": "BASE_AXIS", "timeGrain": "P1M"}
    found = superset.rows(people, "seen", "n", columns=[axis], metrics=[COUNT])
    assert len(found) > 3, found
    is_refused(lambda: superset.rows(people, "a", metrics=[simple("AVG", "income", "a")]), "has no bounds")


def node_check_the_federation(superset):
    at = f"database/{superset.database}"
    tables = superset.call("GET", f"{at}/tables/?q=(force:!t,schema_name:federation)")["result"]
    same({table["value"] for table in tables}, {"admissions", "people", "stays"})
    admissions, stays = superset.dataset("admissions", "federation"), superset.dataset("stays", "federation")
    same(superset.rows(admissions, "site", "n", columns=["site"], metrics=[COUNT], orderby=[["site", True]]),
         [("cleveland", 400), ("zurich", 400)])
    same(superset.rows(stays, "sex", "n", columns=["sex"], metrics=[COUNT, simple("AVG", "cost")], orderby=[["sex", True]]),
         [("female", 800), ("male", 800)])
    people = superset.dataset("people", "federation")
    same(len(superset.rows(people, "sex", "n", columns=["sex"], metrics=[COUNT])), 3)


def node_check_what_the_node_says_of_itself(superset):
    names = {row["table_name"] for row in superset.sql("SELECT table_name FROM kanon.catalogs")}
    assert {"admissions", "stays", "people"} <= names, names
    assert superset.sql("EXPLAIN (PRIVACY) SELECT count(*) FROM stays"), "EXPLAIN (PRIVACY) says nothing"


def main():
    superset = Superset(*sys.argv[1:4])
    try:
        node = any(schema == "kanon" for schema in superset.call("GET", f"database/{superset.database}/schemas/")["result"])
        tally(sys.modules[__name__], "Superset", importlib.metadata.version("apache-superset"), node, {}, superset)
    finally:
        superset.end()


if __name__ == "__main__":
    main()
