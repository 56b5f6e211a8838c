"""What users of ADBC's Flight SQL driver and of pyarrow.flight do, at a node: adbc_flight.py URI USER PASSWORD [CA-FILE]. The tables
are those of tests/tests/clients/world.rs."""

import contextlib
import datetime as dt
import decimal
import importlib.metadata
import json
import sys

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import pyarrow
import pyarrow.flight

from checks import raises, same, tally


class Node:
    def __init__(self, uri, user, password, ca_file=None):
        self.uri, self.user, self.password, self.roots = uri, user, password, None
        if ca_file:
            with open(ca_file, encoding="ascii") as pem:
                self.roots = pem.read()

    def options(self):
        return {"adbc.flight.sql.client_option.tls_root_certs": self.roots} if self.roots else {}

    def connect(self, **more):
        options = {"username": self.user, "password": self.password, **self.options(), **more}
        return flight_sql.connect(self.uri, db_kwargs=options, autocommit=True)

    def bearer(self):
        """A token, and a client of Flight itself with it."""
        location = self.uri.replace("grpc://", "grpc+tcp://")
        client = pyarrow.flight.FlightClient(location, tls_root_certs=self.roots)
        header = client.authenticate_basic_token(self.user, self.password)
        return client, header


def refused(what, statement, *parts):
    error = raises(adbc_driver_manager.Error, statement)
    state = dict(error.details or []).get(b"kanon-sqlstate", b"").decode()
    for part in parts:
        assert part in str(error) or part == state, f"{what}: {error} ({state})"
    return error


@contextlib.contextmanager
def opened(*arguments, **more):
    """A cursor of a connection of its own."""
    with flight_sql.connect(*arguments, **more) as c, c.cursor() as cur:
        yield cur


def check_statements(node):
    with node.connect() as c, c.cursor() as cur:
        cur.execute("SELECT 41 + 1 AS n")
        same(cur.fetch_arrow_table().to_pydict(), {"n": [42]})
        cur.execute("SELECT 1 AS n WHERE false")
        same(cur.fetchall(), [])
        cur.execute("SELECT code, title FROM icd10 ORDER BY code")
        same(cur.fetchone(), ("E11", "Type 2 diabetes mellitus"))
        same([d[0] for d in cur.description], ["code", "title"])
        cur.execute("SELECT n FROM generate_series(1, 100000) AS g(n)")
        same(sum(sum(b.column(0).to_pylist()) for b in cur.fetch_record_batch()), 100000 * 100001 // 2)
        cur.execute("SELECT sex, count(*) AS n FROM heart_disease GROUP BY sex ORDER BY sex")
        same(cur.fetch_arrow_table().column_names, ["sex", "n"])
        cur.execute("SET TimeZone = 'Europe/Zurich'")
        cur.execute("SHOW TimeZone")
        same(cur.fetchone(), ("Europe/Zurich",))


def check_parameters(node):
    with node.connect() as c, c.cursor() as cur:
        cur.execute("SELECT CAST($1 AS bigint) + 1 AS n", (41,))
        same(cur.fetchall(), [(42,)])
        cur.execute("SELECT title FROM icd10 WHERE code = $1 OR code = $2 ORDER BY 1", ("I10", None))
        same(cur.fetchall(), [("Essential hypertension",)])
        cur.execute("SELECT $1::float8, $2::text, $3::date, $4::boolean", (1.5, "x", dt.date(2024, 2, 29), True))
        same(cur.fetchall(), [(1.5, "x", dt.date(2024, 2, 29), True)])
        cur.execute("SELECT $1::numeric(10, 2)", (decimal.Decimal("1.50"),))
        same(cur.fetchall(), [(decimal.Decimal("1.50"),)])
        schema = cur.adbc_prepare("SELECT code FROM icd10 WHERE code = $1 LIMIT $2")
        same([str(f.type) for f in schema], ["string", "int64"])
        def unbound():
            cur.execute("SELECT $1::int")
            cur.fetchall()
        refused("no parameters", unbound, "08P01")
        cur.execute("SELECT sex, count(*) FROM heart_disease WHERE age > $1 GROUP BY 1 ORDER BY 1", (40,))
        same(len(cur.fetchall()), 2)


def check_metadata(node):
    with node.connect() as c:
        tree = c.adbc_get_objects(depth="db_schemas").read_all().to_pylist()
        same([catalog["catalog_name"] for catalog in tree], ["kanon"])
        schemas = {s["db_schema_name"] for s in tree[0]["catalog_db_schemas"]}
        assert {"public", "federation", "kanon"} <= schemas, schemas
        tree = c.adbc_get_objects(depth="tables", db_schema_filter="public").read_all().to_pylist()
        tables = {t["table_name"] for s in tree[0]["catalog_db_schemas"] for t in s["db_schema_tables"] or []}
        same(tables, {"heart_disease", "icd10", "kinds", "visits"})
        tree = c.adbc_get_objects(depth="all", table_name_filter="icd10", db_schema_filter="public").read_all().to_pylist()
        columns = tree[0]["catalog_db_schemas"][0]["db_schema_tables"][0]["table_columns"]
        same([column["column_name"] for column in columns], ["code", "title"])
        same(c.adbc_get_table_types(), ["TABLE"])
        same(c.adbc_get_table_schema("icd10", db_schema_filter="public").names, ["code", "title"])
        same(c.adbc_get_table_schema("icd10", db_schema_filter="federation").names, ["code", "title", "site"])
        info = c.adbc_get_info()
        same(info["vendor_name"], "Kanon")
        assert info["vendor_version"] and info["vendor_arrow_version"], info


def check_errors(node):
    with node.connect() as c, c.cursor() as cur:
        def execute(sql):
            cur.execute(sql)
            return cur.fetchall()
        refused("no relation", lambda: execute("SELECT * FROM nowhere"), 'relation "nowhere" does not exist', "42P01")
        refused("two statements", lambda: execute("SELECT 1; SELECT 2"), "several statements")
        refused("writing", lambda: execute("INSERT INTO icd10 VALUES ('a', 'b')"), "25006")
        refused("rows", lambda: execute("SELECT * FROM heart_disease"), "heart_disease", "42501")
        refused("syntax", lambda: execute("SELEC 1"), "42601")
        refused("division", lambda: execute("SELECT 1 / 0"), "22012")
        refused("ingest", lambda: cur.adbc_ingest("t", pyarrow.table({"a": [1]})))
        same(execute("SELECT 1"), [(1,)])
    def wrong():
        with node.connect(password="wrong") as c, c.cursor() as cur:
            cur.execute("SELECT 1")
    refused("wrong password", wrong, "password authentication failed")


def check_bearer(node):
    _, (name, value) = node.bearer()
    same(name.lower(), b"authorization")
    options = {"adbc.flight.sql.authorization_header": value.decode(), **node.options()}
    with opened(node.uri, db_kwargs=options, autocommit=True) as cur:
        cur.execute("SELECT 1")
        same(cur.fetchall(), [(1,)])
    options["adbc.flight.sql.authorization_header"] = "Bearer made-up"
    with opened(node.uri, db_kwargs=options, autocommit=True) as cur:
        refused("made-up token", lambda: cur.execute("SELECT 1"), "28000")


def statement(sql):
    """CommandStatementQuery in google.protobuf.Any, as bytes."""
    def field(number, content):
        length, size = len(content), b""
        while length > 127:
            size, length = size + bytes([length % 128 + 128]), length // 128
        return bytes([number << 3 | 2]) + size + bytes([length]) + content
    return field(1, b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery") + field(2, field(1, sql.encode()))


def check_privacy_report(node):
    client, header = node.bearer()
    options = pyarrow.flight.FlightCallOptions(headers=[header])

    def report(sql):
        info = client.get_flight_info(pyarrow.flight.FlightDescriptor.for_command(statement(sql)), options)
        same((info.total_records, info.total_bytes), (-1, -1))
        reader, found = client.do_get(info.endpoints[0].ticket, options), []
        for chunk in iter_chunks(reader):
            found.append(chunk.app_metadata)
        assert found and all(m is None for m in found[:-1]), found
        return json.loads(found[-1].to_pybytes())

    own = report("SELECT count(*) FROM heart_disease")
    same([(s["site"], s["status"]) for s in own["sites"]], [("cleveland", "ok")])
    assert any("withheld" in notice for notice in own["notices"]), own
    both = report("SELECT count(*) FROM federation.heart_disease")
    same(sorted((s["site"], s["status"]) for s in both["sites"]), [("cleveland", "ok"), ("zurich", "ok")])
    same(report("SELECT 1")["sites"], [])
    same(report("SELECT 1 WHERE false")["tag"], "SELECT")


def iter_chunks(reader):
    while True:
        try:
            yield reader.read_chunk()
        except StopIteration:
            return


if __name__ == "__main__":
    client = "ADBC Flight SQL over TLS" if sys.argv[1].startswith("grpc+tls") else "ADBC Flight SQL"
    tally(sys.modules[__name__], client, importlib.metadata.version("adbc-driver-flightsql"), True, {}, Node(*sys.argv[1:]))
