"""What users of asyncpg do, at a node: asyncpg_.py DSN. The node has the tables of tests/tests/clients/world.rs."""

import asyncio
import datetime as dt
import decimal
import io
import sys

import asyncpg

from checks import same, tally


def with_connection(check):
    """A check that has a connection of its own."""

    def checked(dsn):
        async def go():
            connection = await asyncpg.connect(dsn)
            try:
                await asyncio.wait_for(check(connection), 60)
            finally:
                await connection.close()

        asyncio.run(go())

    return checked


@with_connection
async def check_numbers_have_their_types(c):
    row = await c.fetchrow("SELECT 1, 1 + 1 AS two, 1::bigint AS large, count(*) AS n FROM icd10")
    same(tuple(row), (1, 2, 1, 6))
    statement = await c.prepare("SELECT 1 AS one, 'x' AS x, now() AS at, row_number() OVER (ORDER BY code) AS n FROM icd10")
    same([a.type.name for a in statement.get_attributes()], ["int4", "text", "timestamptz", "int8"])
    same((await c.fetchval("SELECT now()")).tzinfo is not None, True)


@with_connection
async def check_parameters_are_what_they_are_cast_to(c):
    moment = dt.datetime(2024, 2, 29, 13, 45, 1, 250000)
    for sql_type, value in [
        ("int", 41), ("bigint", 1 << 40), ("smallint", 7), ("float8", 0.5), ("text", "é"), ("bool", True),
        ("date", dt.date(1999, 12, 31)), ("timestamp", moment), ("timestamptz", moment.replace(tzinfo=dt.timezone.utc)),
        ("bytea", b"\x00\xff"),
    ]:
        same(await c.fetchval(f"SELECT $1::{sql_type}", value), value)
        same(await c.fetchval(f"SELECT CAST($1 AS {sql_type}) IS NULL", None), True)
    same(await c.fetchval("SELECT $1::numeric(10, 2)", decimal.Decimal("1.50")), decimal.Decimal("1.50"))
    rows = await c.fetch("SELECT code FROM icd10 WHERE code IN ($1::text, $2::text) ORDER BY code LIMIT $3::int", "E11", "I10", 1)
    same([r["code"] for r in rows], ["E11"])


@with_connection
async def check_transactions_and_cursors(c):
    async with c.transaction(readonly=False):
        same(await c.fetchval("SELECT count(*) FROM icd10"), 6)
        codes = [r["code"] async for r in c.cursor("SELECT code FROM icd10 ORDER BY code", prefetch=2)]
        same(codes, ["E11", "I10", "I20", "I21", "J45", "K21"])
    try:
        async with c.transaction():
            await c.fetch("SELECT 1/0")
        raise AssertionError("no error")
    except asyncpg.DivisionByZeroError:
        pass
    try:
        await c.execute("DELETE FROM icd10")
        raise AssertionError("no error")
    except asyncpg.ReadOnlySQLTransactionError:
        pass


@with_connection
async def check_copy(c):
    out = io.BytesIO()
    await c.copy_from_query("SELECT code FROM icd10 ORDER BY code LIMIT 2", output=out, format="csv")
    same(out.getvalue(), b"E11\nI10\n")


def check_a_pool(dsn):
    async def go():
        async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
            for _ in range(5):
                async with pool.acquire() as c:
                    same(await c.fetchval("SELECT count(*) FROM icd10"), 6)

    asyncio.run(asyncio.wait_for(go(), 60))


tally(sys.modules[__name__], "asyncpg", asyncpg.__version__, True, {}, *sys.argv[1:])
