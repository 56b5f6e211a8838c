"""Reads a query's rows through ADBC, which copies them in binary, and prints the seconds it took, those that this process computed, and how many rows there
were."""

import sys
import time

import adbc_driver_postgresql.dbapi

uri, query = sys.argv[1:]
with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
    began, computed = time.perf_counter(), time.process_time()
    cursor.execute(query)
    rows = cursor.fetch_arrow_table().num_rows
    print(time.perf_counter() - began, time.process_time() - computed, rows)
