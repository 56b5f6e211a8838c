"""Asks a node over ADBC's Flight SQL driver, as a Python user would.

    pip install adbc-driver-flightsql adbc-driver-manager pyarrow
    python adbc_flight.py grpc://127.0.0.1:15442 demo_user demo_password

Exits 0 if everything behaves; says what did not otherwise.
"""

import sys

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager


def main(uri: str, user: str, password: str, ca_file: str | None = None) -> None:
    options = {"username": user, "password": password}
    if ca_file:
        with open(ca_file, encoding="ascii") as pem:
            options["adbc.flight.sql.client_option.tls_root_certs"] = pem.read()
    with flight_sql.connect(uri, db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 41 + 1 AS n")
            assert cursor.fetch_arrow_table().to_pydict() == {"n": [42]}

            cursor.execute("SELECT CAST($1 AS bigint) + 1 AS n", (41,))
            assert cursor.fetchall() == [(42,)]

            cursor.execute("SELECT 1 AS n WHERE false")
            assert cursor.fetchall() == []

            refused("a relation that is not there", cursor, "SELECT * FROM nowhere")
            refused("two statements at once", cursor, "SELECT 1; SELECT 2")
            refused("writing", cursor, "INSERT INTO nowhere VALUES (1)")

        tree = connection.adbc_get_objects(depth="db_schemas").read_all().to_pylist()
        assert [catalog["catalog_name"] for catalog in tree] == ["kanon"], tree
        assert connection.adbc_get_table_types() == ["TABLE"]
        assert connection.adbc_get_info()["vendor_name"] == "Kanon"

    try:
        flight_sql.connect(uri, db_kwargs={**options, "password": password + "x"}).cursor().execute("SELECT 1")
    except adbc_driver_manager.Error:
        pass
    else:
        raise AssertionError("a wrong password logs in")


def refused(what: str, cursor, statement: str) -> None:
    try:
        cursor.execute(statement)
        cursor.fetchall()
    except adbc_driver_manager.Error:
        return
    raise AssertionError(f"{what} is not refused")


if __name__ == "__main__":
    main(*sys.argv[1:])
    print("adbc: all as expected")
