// What users of postgres.js do, at a node with the tables of tests/tests/clients/world.rs, or at a PostgreSQL with the same:
// node postgresjs.mjs PORT USER PASSWORD. The package is where NODE_PATH says.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { LONG, raises, same, tally } from "./checks.mjs";

const [port, username, password] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const postgres = require("postgres");
const { version } = JSON.parse(readFileSync(join(dirname(require.resolve("postgres")), "../../package.json")));

// Checks that a node fails, and why.
const KNOWN = {};

const options = (more) => ({ host: "127.0.0.1", port: Number(port), username, password, database: "kanon", max: 1, onnotice: () => {}, ...more });

async function using(work, more = {}) {
  const sql = postgres(options(more));
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 2 });
  }
}

// Rows as arrays.
const values = async (query) => [...(await query.values())].map((row) => [...row]);

const checks = {
  connects: () =>
    using(async (sql) => {
      const [row] = await sql`SELECT version(), current_database() AS name, current_user AS who`;
      same([row.version.slice(0, 14), row.name, row.who], ["PostgreSQL 15.", "kanon", username]);
      same(sql.parameters.server_encoding, "UTF8");
      same(sql.parameters.standard_conforming_strings, "on");
    }),

  connectsByAddress: async () => {
    const sql = postgres(`postgres://${username}:${encodeURIComponent(password)}@127.0.0.1:${port}/kanon?application_name=x`, { max: 1 });
    same(await values(sql`SHOW application_name`), [["x"]]);
    await sql.end();
  },

  refusesAWrongPassword: async () => {
    await raises("28P01", () => using((sql) => sql`SELECT 1`, { password: "wrong" }));
    await raises("3D000", () => using((sql) => sql`SELECT 1`, { database: "other" }));
  },

  settingsOfTheSession: () =>
    using(
      async (sql) => {
        same(await values(sql`SHOW TimeZone`), [["Asia/Tokyo"]]);
        same(await values(sql`SHOW statement_timeout`), [["9s"]]);
        same(await values(sql`SELECT current_setting('search_path')`), [["public"]]);
      },
      { connection: { TimeZone: "Asia/Tokyo", statement_timeout: 9000, search_path: "public", application_name: "a test" } },
    ),

  typesOfArraysAreFetched: () =>
    using(async (sql) => {
      // The driver asks the catalog for all types of arrays first.
      same(await values(sql`SELECT ARRAY['a', 'b c'], ARRAY[1, 2], ARRAY[true], '{2024-02-29}'::date[]`), [
        [["a", "b c"], [1, 2], [true], [new Date("2024-02-29")]],
      ]);
    }, { fetch_types: true }),

  numbersOfATable: () =>
    using(async (sql) =>
      same(await values(sql`SELECT flag, i2, i4, i8, f4, f8, n FROM kinds ORDER BY id`), [
        [true, -7, 70000, "1099511627776", 0.1, 0.1, "-123.45"],
        [false, -32768, -2147483648, "-9223372036854775808", 3.4028235e38, 2.2250738585072014e-308, "99999999.99"],
        [null, null, null, null, null, null, null],
      ]),
    ),

  bigNumbers: () =>
    using(async (sql) => same(await values(sql`SELECT i8, ${2n ** 40n}::int8 FROM kinds WHERE id = 2`), [[-(2n ** 63n), 2n ** 40n]]), {
      types: { bigint: postgres.BigInt },
    }),

  textsAndBytes: () =>
    using(async (sql) =>
      same(await values(sql`SELECT t, b FROM kinds ORDER BY id`), [["é ' \\ \t\n", Buffer.from([0, 255, 92])], ["", Buffer.alloc(0)], [null, null]]),
    ),

  moments: () =>
    using(async (sql) =>
      same(await values(sql`SELECT d, tm, ts, tz FROM kinds WHERE id = 1`), [
        [new Date("2024-02-29"), "23:59:59.999999", new Date("2024-02-29T12:45:01.250Z"), new Date("2024-02-29T12:45:01.250Z")],
      ]),
    ),

  arrays: () =>
    using(async (sql) =>
      same(await values(sql`SELECT a4[3:3], at FROM kinds ORDER BY id`), [
        [[3], ["a b", 'q"u\'o,t\\e', ""]],
        [[], ["NULL", "null", "{}"]],
        [null, null],
      ]),
    ),

  nullsRemovedFromArrays: () => using(async (sql) => same(await values(sql`SELECT array_remove(a4, NULL) FROM kinds WHERE id = 1`), [[[1, 3]]])),
  nestedArrays: () => using(async (sql) => same(await values(sql`SELECT '{{1,2},{3,4}}'::int4[]`), [[[[1, 2], [3, 4]]]])),
  intervals: () => using(async (sql) => same(await values(sql`SELECT INTERVAL '1 day 02:03:04'`), [["1 day 02:03:04"]])),
  json: () => using(async (sql) => same(await values(sql`SELECT '{"a": [1, null]}'::json`), [[{ a: [1, null] }]])),
  jsonb: () => using(async (sql) => same(await values(sql`SELECT ${sql.json({ a: [1, null] })}::jsonb`), [[{ a: [1, null] }]])),
  uuids: () =>
    using(async (sql) => {
      const id = "0f8fad5b-d9cb-469f-a165-70867728950e";
      same(await values(sql`SELECT ${id}::uuid`), [[id]]);
    }),

  parameters: () =>
    using(async (sql) => {
      same(await values(sql`SELECT ${"é ' \\"}, ${7}::int4, ${true}::bool, ${0.1}::float8`), [["é ' \\", 7, true, 0.1]]);
      same(await values(sql`SELECT ${Buffer.from([0, 255])}::bytea`), [[Buffer.from([0, 255])]]);
      same(await values(sql`SELECT ${[1, 2]}::int4[]`), [[[1, 2]]]);
      same(await values(sql`SELECT ${["a", 'b"c', ""]}::text[]`), [[["a", 'b"c', ""]]]);
    }),

  numericParameters: () => using(async (sql) => same(await values(sql`SELECT ${"-12.340"}::numeric`), [["-12.340"]])),

  datesAsParameters: () =>
    using(async (sql) => {
      const moment = new Date("2024-02-29T12:45:01.250Z");
      same(await values(sql`SELECT ${moment}::timestamptz`), [[moment]]);
      same(await values(sql`SELECT count(*)::int4 FROM kinds WHERE tz = ${moment}`), [[1]]);
      same(await values(sql`SELECT count(*)::int4 FROM kinds WHERE ts = ${moment}`), [[1]]);
      same(await values(sql`SELECT count(*)::int4 FROM kinds WHERE d = ${new Date("2024-02-29")}`), [[1]]);
    }),

  nullsAsParameters: () =>
    using(async (sql) => {
      same(await values(sql`SELECT ${null}::int4, ${null}::text`), [[null, null]]);
      same(await values(sql`SELECT coalesce(${null}, 'x')`), [["x"]]);
    }),

  parametersInConditions: () =>
    using(async (sql) => {
      same(await values(sql`SELECT title FROM icd10 WHERE code = ${"I10"}`), [["Essential hypertension"]]);
      same(await values(sql`SELECT code FROM icd10 WHERE code IN ${sql(["I10", "E11"])} ORDER BY 1`), [["E11"], ["I10"]]);
      same(await values(sql`SELECT code FROM icd10 WHERE code = ANY(${["I10", "E11"]}) ORDER BY 1 LIMIT ${1} OFFSET ${1}`), [["I10"]]);
      same(await values(sql`SELECT count(*)::int4 FROM kinds WHERE i4 = ${70000} AND i8 > ${5} AND n < ${1.5}`), [[1]]);
    }),

  builtParts: () =>
    using(async (sql) => {
      const where = sql`WHERE code > ${"I"}`;
      const columns = ["code", "title"];
      same(await values(sql`SELECT ${sql(columns)} FROM ${sql("icd10")} ${where} ORDER BY ${sql("code")} DESC LIMIT 1`), [
        ["K21", "Gastro-oesophageal reflux disease"],
      ]);
      same(await values(sql`SELECT code FROM ${sql("public.icd10")} WHERE ${true ? sql`code = 'I10'` : sql`true`}`), [["I10"]]);
    }),

  valuesAsATable: () =>
    using(async (sql) => {
      const found = sql`SELECT a, b::int4 FROM (VALUES ${sql([["x", "1"], ["y", "2"]])}) AS v(a, b) ORDER BY a`;
      same(await values(found), [["x", 1], ["y", 2]]);
    }),

  preparedManyTimes: () =>
    using(async (sql) => {
      for (let n = 0; n < 20; n += 1) {
        same(await values(sql`SELECT ${n}::int4 * 2`), [[2 * n]]);
      }
    }),

  withoutPreparedStatements: () => using(async (sql) => same(await values(sql`SELECT ${41}::int4 + 1`), [[42]]), { prepare: false }),

  describes: () =>
    using(async (sql) => {
      const { types, columns } = await sql`SELECT id, n FROM kinds WHERE i4 = ${1} AND t = ${"x"}`.describe();
      same(types, [23, 25]);
      same(columns.map((c) => [c.name, c.type]), [["id", 20], ["n", 1700]]);
    }),

  originsOfColumns: () =>
    using(async (sql) => same((await sql`SELECT id, n FROM kinds`).columns.map((c) => [c.number, c.table > 0]), [[1, true], [8, true]])),

  severalStatements: () =>
    using(async (sql) => {
      const results = await sql.unsafe("SELECT 1 AS a; SELECT 2 AS b");
      same(results.map((r) => ({ ...r[0] })), [{ a: 1 }, { b: 2 }]);
      same([...(await sql`SELECT 1`.simple())].length, 1);
    }),

  manyAtOnce: () =>
    using(async (sql) => {
      const asked = Array.from({ length: 200 }, (_, n) => sql`SELECT ${n}::int4 AS n`);
      same((await Promise.all(asked)).map((r) => r[0].n), Array.from({ length: 200 }, (_, n) => n));
    }, { max: 3 }),

  transactions: () =>
    using(async (sql) => {
      same(await sql.begin(async (t) => (await t`SELECT 1 AS a`)[0].a), 1);
      await raises("22012", () => sql.begin((t) => t`SELECT 1 / 0`));
      same(
        await sql.begin("read only", async (t) => {
          await raises("22012", () => t.savepoint((s) => s`SELECT 1 / 0`));
          return (await t`SHOW transaction_read_only`)[0].transaction_read_only;
        }),
        "on",
      );
      same(await sql.begin("isolation level serializable", (t) => values(t`SHOW transaction_isolation`)), [["serializable"]]);
    }),

  transactionsOfManyStatements: () =>
    using(async (sql) => {
      const results = await sql.begin((t) => [t`SELECT 1 AS a`, t`SELECT 2 AS a`]);
      same(results.map((r) => r[0].a), [1, 2]);
    }),

  errors: () =>
    using(async (sql) => {
      const cases = {
        "SELECT * FROM nowhere": "42P01", "SELECT nothing FROM icd10": "42703", "SELECT nofunction(1)": "42883", "SELEC 1": "42601",
        "SELECT 'x'::int": "22P02", "SELECT 1 / 0": "22012", "INSERT INTO icd10 VALUES ('a', 'b')": "25006", "SET nothing = 1": "42704",
      };
      for (const [text, code] of Object.entries(cases)) {
        await raises(code, () => sql.unsafe(text));
        await raises(code, () => sql.unsafe(text, [], { prepare: true }));
      }
      const error = await raises("42P01", () => sql`SELECT * FROM nowhere`);
      same([error.severity, error.position, error.message], ["ERROR", "15", 'relation "nowhere" does not exist']);
      await raises("22P02", () => sql`SELECT ${"x"}::text::int4`);
    }),

  insertHelperIsRefused: () =>
    using(async (sql) => {
      await raises("25006", () => sql`INSERT INTO icd10 ${sql([{ code: "a", title: "b" }])}`);
      await raises("25006", () => sql`UPDATE icd10 SET ${sql({ title: "b" })} WHERE code = ${"I10"}`);
    }),

  cancel: () =>
    using(async (sql) => {
      const query = sql.unsafe(LONG);
      const asked = raises("57014", () => query);
      setTimeout(() => query.cancel(), 300);
      await asked;
      same(await values(sql`SELECT 1`), [[1]]);
    }),

  timeout: () => using((sql) => raises("57014", () => sql.unsafe(LONG)), { connection: { statement_timeout: 300 } }),

  cursors: () =>
    using(async (sql) => {
      let n = 0;
      for await (const rows of sql`SELECT n::int4, 'row ' || n AS r FROM generate_series(1, 10000) AS g(n) ORDER BY g.n`.cursor(100)) {
        for (const row of rows) {
          n += 1;
          same([row.n, row.r], [n, `row ${n}`]);
        }
      }
      same(n, 10000);
    }),

  cursorsLeftInTheMiddle: () =>
    using(async (sql) => {
      const seen = [];
      await sql`SELECT n::int4 FROM generate_series(1, 10000) AS g(n) ORDER BY g.n`.cursor(10, (rows) => {
        seen.push(rows.length);
        return seen.length === 3 ? sql.CLOSE : undefined;
      });
      same(seen, [10, 10, 10]);
      same(await values(sql`SELECT 1`), [[1]]);
    }),

  rowByRow: () =>
    using(async (sql) => {
      let sum = 0;
      await sql`SELECT n::int4 FROM generate_series(1, 10000) AS g(n) ORDER BY g.n`.forEach((row) => {
        sum += row.n;
      });
      same(sum, 50005000);
    }),

  copies: () =>
    using(async (sql) => {
      const parts = [];
      for await (const part of await sql`COPY (SELECT code, NULL FROM icd10 ORDER BY code LIMIT 2) TO STDOUT`.readable()) {
        parts.push(part);
      }
      same(Buffer.concat(parts).toString(), "E11\t\\N\nI10\t\\N\n");
    }),

  metadata: () =>
    using(async (sql) => {
      const tables = sql`SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1`;
      same((await values(tables)).flat(), ["heart_disease", "icd10", "kinds", "visits"]);
      const columns = sql`SELECT column_name, data_type FROM information_schema.columns WHERE table_name = ${"icd10"} AND table_schema = ${"public"} ORDER BY ordinal_position`;
      same(await values(columns), [["code", "text"], ["title", "text"]]);
      const keys = sql`SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
        WHERE i.indrelid = ${"icd10"}::regclass AND i.indisprimary`;
      same(await values(keys), []);
      same(await values(sql`SELECT typname::text FROM pg_type WHERE oid = ${23}`), [["int4"]]);
    }),

  reservedConnections: () =>
    using(async (sql) => {
      const held = await sql.reserve();
      const [{ pid }] = await held`SELECT pg_backend_pid() AS pid`;
      same(await values(held`SELECT pg_backend_pid()`), [[pid]]);
      held.release();
    }, { max: 2 }),

  listens: () =>
    using(async (sql) => {
      const { unlisten } = await sql.listen("something", () => {});
      await unlisten();
    }),

  transformsOfNames: () =>
    using(async (sql) => same({ ...(await sql`SELECT 1 AS a_b`)[0] }, { aB: 1 }), { transform: postgres.camel }),
};

const atNode = {
  aggregateOfAProtectedTable: () =>
    using(async (sql) => {
      const found = await sql`SELECT sex, count(*)::int4 AS n, avg(age)::float8 AS age FROM heart_disease WHERE age > ${40} GROUP BY sex ORDER BY sex`;
      same(found.map((row) => row.sex), ["female", "male"]);
      same(found.every((row) => row.n >= 10 && row.age > 40), true);
    }),

  noticesOfWithheldGroups: async () => {
    const notices = [];
    await using((sql) => sql`SELECT age, count(*) FROM heart_disease GROUP BY age`, { onnotice: (notice) => notices.push(notice.message) });
    same(notices.some((text) => text.includes("withheld")), true);
  },

  rowsAreRefused: () =>
    using(async (sql) => {
      const error = await raises("42501", () => sql`SELECT * FROM heart_disease`);
      same(error.hint.length > 0, true);
      await raises("42501", () => sql`SELECT age FROM heart_disease WHERE patient_id = ${1}`);
      await raises("42501", () => sql`SELECT * FROM heart_disease`.cursor(10, () => {}));
    }),
};

const node = await using(async (sql) => (await sql`SELECT version()`)[0].version.includes("Kanon"));
await tally("postgres.js", version, node, checks, atNode, KNOWN);
