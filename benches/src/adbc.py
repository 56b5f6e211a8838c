"""Reads a query's rows through ADBC, which copies them in binary, and prints the seconds it took and how many there were."""

import sys
import time

import adbc_driver_postgresql.dbapi

uri, query = sys.argv[1:]
with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
    began = time.perf_counter()
    cursor.execute(query)
    rows = cursor.fetch_arrow_table().num_rows
    print(time.perf_counter() - began, rows)
