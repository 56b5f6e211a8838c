// What users of node-postgres do, with pg-cursor and pg-copy-streams, at a node with the tables of tests/tests/clients/world.rs, or at
// a PostgreSQL with the same: node pg.mjs PORT USER PASSWORD. The packages are where NODE_PATH says.
import { createRequire } from "node:module";

import { LONG, raises, same, tally } from "./checks.mjs";

const [port, user, password] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const pg = require("pg");
const Cursor = require("pg-cursor");
const { to: copyTo } = require("pg-copy-streams");

// Checks that a node fails, and why.
const KNOWN = {};

const options = (more) => ({ host: "127.0.0.1", port: Number(port), user, password, database: "kanon", ...more });

async function using(work, more = {}) {
  const client = new pg.Client(options(more));
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

// Rows as arrays.
async function rows(client, text, values, more = {}) {
  return (await client.query({ text, values, rowMode: "array", ...more })).rows;
}

const one = async (client, text, values, more) => (await rows(client, text, values, more))[0][0];
const INT4 = "SELECT n::int4 FROM generate_series(1, 10000) AS g(n) ORDER BY g.n";

const checks = {
  connects: () =>
    using(async (c) => {
      same((await one(c, "SELECT version()")).slice(0, 14), "PostgreSQL 15.");
      same(await one(c, "SELECT current_database()"), "kanon");
      same(await one(c, "SELECT current_user"), user);
      same(await one(c, "SELECT pg_backend_pid()"), c.processID);
    }),

  connectsByAddress: async () => {
    const address = `postgresql://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/kanon?application_name=x`;
    const client = new pg.Client(address);
    await client.connect();
    same(await one(client, "SHOW application_name"), "x");
    await client.end();
  },

  refusesAWrongPassword: async () => {
    await raises("28P01", () => using(async () => {}, { password: "wrong" }));
    await raises("3D000", () => using(async () => {}, { database: "other" }));
  },

  settingsOfTheSession: () =>
    using(
      async (c) => {
        same(await one(c, "SHOW TimeZone"), "Asia/Tokyo");
        same(await one(c, "SHOW statement_timeout"), "9s");
        await c.query("SET search_path TO pg_catalog, public");
        same(await one(c, "SHOW search_path"), "pg_catalog, public");
      },
      { options: "-c TimeZone=Asia/Tokyo", statement_timeout: 9000 },
    ),

  settingsThatADriverSends: () =>
    using(async (c) => same([await one(c, "SHOW lock_timeout"), await one(c, "SHOW idle_in_transaction_session_timeout")], ["5s", "7s"]), {
      lock_timeout: 5000,
      idle_in_transaction_session_timeout: 7000,
      application_name: "a test",
      keepAlive: true,
    }),

  numbersOfATable: () =>
    using(async (c) => {
      const text = "SELECT flag, i2, i4, i8, f4, f8, n FROM kinds ORDER BY id";
      const expected = [
        [true, -7, 70000, "1099511627776", 0.1, 0.1, "-123.45"],
        [false, -32768, -2147483648, "-9223372036854775808", 3.4028235e38, 2.2250738585072014e-308, "99999999.99"],
        [null, null, null, null, null, null, null],
      ];
      same(await rows(c, text), expected);
      same(await rows(c, text, []), expected);
    }),

  numbersInBinary: () =>
    using(async (c) => {
      const found = await rows(c, "SELECT flag, i2, i4, i8, f8 FROM kinds WHERE id < 3 ORDER BY id", [], { binary: true });
      same(found, [
        [true, -7, 70000, "1099511627776", 0.1],
        [false, -32768, -2147483648, "-9223372036854775808", 2.2250738585072014e-308],
      ]);
    }),

  textsAndBytes: () =>
    using(async (c) => {
      const expected = [
        ["é ' \\ \t\n", Buffer.from([0, 255, 92])],
        ["", Buffer.alloc(0)],
        [null, null],
      ];
      same(await rows(c, "SELECT t, b FROM kinds ORDER BY id"), expected);
      same(await rows(c, "SELECT t, b FROM kinds WHERE id > $1 ORDER BY id", [0]), expected);
    }),

  moments: () =>
    using(async (c) => {
      const found = await rows(c, "SELECT d, tm, ts, tz FROM kinds WHERE id = 1");
      same(found[0], [new Date(2024, 1, 29), "23:59:59.999999", new Date(2024, 1, 29, 12, 45, 1, 250), new Date("2024-02-29T12:45:01.250Z")]);
      same(await one(c, "SELECT tz FROM kinds WHERE id = 1", [], { binary: true }), new Date("2024-02-29T12:45:01.250Z"));
    }),

  arrays: () =>
    using(async (c) => {
      const expected = [[[1, null, 3], ["a b", 'q"u\'o,t\\e', ""]], [[], ["NULL", "null", "{}"]], [null, null]];
      same(await rows(c, "SELECT a4, at FROM kinds ORDER BY id"), expected);
      same(await one(c, "SELECT '{{1,2},{3,4}}'::int4[]"), [[1, 2], [3, 4]]);
    }),

  intervals: () =>
    using(async (c) => same({ ...(await one(c, "SELECT INTERVAL '1 day 02:03:04.5'")) }, { days: 1, hours: 2, minutes: 3, seconds: 4, milliseconds: 500 })),

  json: () => using(async (c) => same(await one(c, "SELECT '{\"a\": [1, null]}'::json"), { a: [1, null] })),
  jsonb: () => using(async (c) => same(await one(c, "SELECT $1::jsonb", [{ a: [1, null] }]), { a: [1, null] })),
  rowToJson: () => using(async (c) => same(await one(c, "SELECT row_to_json(i) FROM icd10 i WHERE code = 'J45'"), { code: "J45", title: "Asthma" })),
  jsonAgg: () => using(async (c) => same(await one(c, "SELECT json_agg(code ORDER BY code) FROM icd10 WHERE code < 'I2'"), ["E11", "I10"])),
  uuids: () =>
    using(async (c) => {
      const id = "0f8fad5b-d9cb-469f-a165-70867728950e";
      same(await one(c, "SELECT $1::uuid", [id]), id);
    }),

  generatedUuids: () => using(async (c) => same((await one(c, "SELECT gen_random_uuid()")).length, 36)),

  parsersOfOnesOwn: () =>
    using(async (c) => {
      const types = { getTypeParser: (oid, format) => (oid === 20 && format === "text" ? BigInt : pg.types.getTypeParser(oid, format)) };
      same(await one(c, "SELECT i8 FROM kinds WHERE id = 2", [], { types }), -(2n ** 63n));
    }),

  parametersWithoutATypeAreTexts: () =>
    using(async (c) => same(await rows(c, "SELECT $1, $2::int4, $3::bool, $4::float8", ["é ' \\", 7, true, 0.1]), [["é ' \\", 7, true, 0.1]])),

  parametersOfEveryType: () =>
    using(async (c) => {
      const moment = new Date("2024-02-29T12:45:01.250Z");
      same(await one(c, "SELECT $1::timestamptz", [moment]), moment);
      same(await one(c, "SELECT $1::bytea", [Buffer.from([0, 255])]), Buffer.from([0, 255]));
      same(await one(c, "SELECT $1::int4[]", [[1, 2, null]]), [1, 2, null]);
      same(await one(c, "SELECT $1::text[]", [["a", 'b"', null]]), ["a", 'b"', null]);
      same(await one(c, "SELECT $1::numeric", ["-12.340"]), "-12.340");
      same(await one(c, "SELECT $1::int8", [2n ** 40n]), "1099511627776");
    }),

  datesAsParameters: () =>
    // The driver writes them with their zone.
    using(async (c) => {
      same(await one(c, "SELECT count(*)::int4 FROM kinds WHERE d = $1", [new Date(2024, 1, 29)]), 1);
      same(await one(c, "SELECT count(*)::int4 FROM kinds WHERE ts = $1", [new Date(2024, 1, 29, 12, 45, 1, 250)]), 1);
      same(await one(c, "SELECT count(*)::int4 FROM kinds WHERE tz = $1", [new Date("2024-02-29T12:45:01.250Z")]), 1);
    }),

  nullsAsParameters: () =>
    using(async (c) => {
      same(await rows(c, "SELECT $1::int4, $2::text, $3", [null, undefined, null]), [[null, null, null]]);
      same(await one(c, "SELECT coalesce($1, 'x')", [null]), "x");
    }),

  parametersInConditions: () =>
    using(async (c) => {
      same(await one(c, "SELECT title FROM icd10 WHERE code = $1", ["I10"]), "Essential hypertension");
      same(await rows(c, "SELECT code FROM icd10 WHERE code = ANY($1) ORDER BY 1 LIMIT $2 OFFSET $3", [["I10", "E11"], 1, 1]), [["I10"]]);
      same(await rows(c, "SELECT code FROM icd10 WHERE title ILIKE '%' || $1 || '%'", ["ASTH"]), [["J45"]]);
      same(await rows(c, "SELECT code FROM icd10 WHERE ($1::text IS NULL OR code = $1) ORDER BY 1 LIMIT 1", [null]), [["E11"]]);
    }),

  namedStatements: () =>
    using(async (c) => {
      for (let n = 0; n < 10; n += 1) {
        same(await one(c, "SELECT $1::int4 * 2", [n], { name: "double" }), 2 * n);
      }
    }),

  namesAreOfOneStatement: () =>
    using(async (c) => {
      await one(c, "SELECT 1", [], { name: "a" });
      await c.query("DEALLOCATE ALL");
      await raises("26000", () => one(c, "SELECT 1", [], { name: "a" }));
    }),

  severalStatements: () =>
    using(async (c) => {
      const results = await c.query("SELECT 1 AS a; SET application_name = 'y'; SELECT 2 AS b");
      same(results.map((r) => [r.command, r.rows]), [["SELECT", [{ a: 1 }]], ["SET", []], ["SELECT", [{ b: 2 }]]]);
      same((await c.query("")).rows, []);
    }),

  queuedStatements: () =>
    using(async (c) => {
      const asked = [1, 2, 3, 4].map((n) => one(c, "SELECT $1::int4", [n]));
      same(await Promise.all(asked), [1, 2, 3, 4]);
    }),

  descriptions: () =>
    using(async (c) => {
      const result = await c.query("SELECT id, n, t, a4, 1 AS one FROM kinds WHERE id > 9");
      same(result.fields.map((f) => [f.name, f.dataTypeID]), [["id", 20], ["n", 1700], ["t", 25], ["a4", 1007], ["one", 23]]);
      same(result.rowCount, 0);
    }),

  originsOfColumns: () =>
    using(async (c) => {
      const result = await c.query("SELECT id, n, t, a4, 1 AS one FROM kinds");
      same(result.fields.map((f) => f.columnID), [1, 8, 9, 15, 0]);
      const oid = await one(c, "SELECT oid FROM pg_class WHERE relname = 'kinds'");
      same(result.fields[0].tableID, oid);
    }),

  transactions: () =>
    using(async (c) => {
      await c.query("BEGIN");
      await c.query("SAVEPOINT a");
      await raises("22012", () => c.query("SELECT 1 / 0"));
      await raises("25P02", () => c.query("SELECT 1"));
      await c.query("ROLLBACK TO SAVEPOINT a");
      same(await one(c, "SELECT 2"), 2);
      await c.query("RELEASE SAVEPOINT a");
      same((await c.query("COMMIT")).command, "COMMIT");
    }),

  isolation: () =>
    using(async (c) => {
      await c.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
      same(await one(c, "SHOW transaction_isolation"), "repeatable read");
      same(await one(c, "SHOW transaction_read_only"), "on");
      await c.query("ROLLBACK");
    }),

  errors: () =>
    using(async (c) => {
      const cases = {
        "SELECT * FROM nowhere": "42P01", "SELECT nothing FROM icd10": "42703", "SELECT nofunction(1)": "42883", "SELEC 1": "42601",
        "SELECT 'x'::int": "22P02", "SELECT 1 / 0": "22012", "SELECT 2147483647 + 1": "22003", "INSERT INTO icd10 VALUES ('a', 'b')": "25006",
        "SELECT code FROM icd10 GROUP BY title": "42803", "SET nothing = 1": "42704", "COMMIT; ROLLBACK TO a": "25P01",
      };
      for (const [sql, code] of Object.entries(cases)) {
        await raises(code, () => c.query(sql)).catch((error) => {
          throw new Error(sql, { cause: error });
        });
      }
      const error = await raises("42P01", () => c.query("SELECT * FROM nowhere"));
      same([error.severity, error.position, error.message], ["ERROR", "15", 'relation "nowhere" does not exist']);
    }),

  errorsOfParameters: () =>
    using(async (c) => {
      await raises("22P02", () => c.query("SELECT $1::int4", ["x"]));
      await raises("08P01", () => c.query("SELECT $1::int4, $2::int4", [1]));
      await raises("42P18", () => c.query("SELECT $2::int4", [1, 2]));
      same(await one(c, "SELECT 1"), 1);
    }),

  timeout: () =>
    using(async (c) => {
      const error = await raises("57014", () => c.query(LONG));
      same(error.message, "canceling statement due to statement timeout");
      same(await one(c, "SELECT 1"), 1);
    }, { statement_timeout: 300 }),

  cancel: () =>
    using(async (c) => {
      const asked = raises("57014", () => c.query(LONG));
      const other = new pg.Client(options());
      setTimeout(() => other.cancel(c, c.activeQuery ?? c._activeQuery), 300);
      await asked;
      same(await one(c, "SELECT 1"), 1);
    }),

  cancelByStatement: () =>
    using(async (c) => {
      const asked = raises("57014", () => c.query(LONG));
      await Promise.all([asked, using(async (other) => same(await one(other, "SELECT pg_cancel_backend($1)", [c.processID]), true))]);
    }),

  cursors: () =>
    using(async (c) => {
      const cursor = c.query(new Cursor("SELECT n::int4, 'row ' || n AS r FROM generate_series(1, 10000) AS g(n) WHERE n > $1 ORDER BY g.n", [0]));
      let n = 0;
      for (let part = await cursor.read(100); part.length > 0; part = await cursor.read(100)) {
        for (const row of part) {
          n += 1;
          same([row.n, row.r], [n, `row ${n}`]);
        }
      }
      same(n, 10000);
      await cursor.close();
    }),

  cursorsLeftInTheMiddle: () =>
    using(async (c) => {
      const cursor = c.query(new Cursor(INT4));
      same((await cursor.read(3)).map((row) => row.n), [1, 2, 3]);
      await cursor.close();
      same(await one(c, "SELECT 1"), 1);
    }),

  cursorsInSql: () =>
    using(async (c) => {
      await c.query("BEGIN");
      await c.query(`DECLARE rows NO SCROLL CURSOR FOR ${INT4}`);
      same((await rows(c, "FETCH FORWARD 500 FROM rows")).length, 500);
      same(await one(c, "FETCH rows"), 501);
      same((await c.query("MOVE FORWARD ALL IN rows")).rowCount, 9499);
      await c.query("CLOSE rows");
      await c.query("COMMIT");
    }),

  copies: () =>
    using(async (c) => {
      for (const [how, expected] of [["", "E11\t\\N\nI10\t\\N\n"], ["(FORMAT csv, HEADER)", "code,x\nE11,\nI10,\n"]]) {
        const parts = [];
        for await (const part of c.query(copyTo(`COPY (SELECT code, NULL AS x FROM icd10 ORDER BY code LIMIT 2) TO STDOUT ${how}`))) {
          parts.push(part);
        }
        same(Buffer.concat(parts).toString(), expected);
      }
    }),

  copiesOfManyRows: () =>
    using(async (c) => {
      let lines = 0;
      for await (const part of c.query(copyTo(`COPY (${INT4}) TO STDOUT`))) {
        lines += part.toString().split("\n").length - 1;
      }
      same(lines, 10000);
    }),

  typesOfSeries: () =>
    using(async (c) => {
      const result = await c.query("SELECT * FROM generate_series(1, 3)");
      same(result.fields.map((f) => [f.name, f.dataTypeID]), [["generate_series", 23]]);
    }),

  orderOfSeries: () =>
    using(async (c) => {
      const expected = Array.from({ length: 100000 }, (_, n) => [n + 1]);
      for (let time = 0; time < 10; time += 1) {
        same(JSON.stringify(await rows(c, "SELECT n::int4 FROM generate_series(1, 100000) AS g(n)")), JSON.stringify(expected));
      }
    }),

  joinsByUsing: () =>
    using(async (c) => {
      same(await rows(c, "SELECT code FROM icd10 a JOIN icd10 b USING (code, title) WHERE code = 'J45' AND title = 'Asthma'"), [["J45"]]);
    }),

  pools: async () => {
    const pool = new pg.Pool(options({ max: 4 }));
    const asked = Array.from({ length: 40 }, (_, n) => pool.query("SELECT $1::int4 AS n", [n]));
    same((await Promise.all(asked)).map((r) => r.rows[0].n), Array.from({ length: 40 }, (_, n) => n));
    await pool.end();
  },

  informationSchema: () =>
    using(async (c) => {
      const tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = $1 AND table_type = 'BASE TABLE' ORDER BY 1";
      same((await rows(c, tables, ["public"])).flat(), ["heart_disease", "icd10", "kinds", "visits"]);
      const columns = "SELECT column_name, data_type, is_nullable, ordinal_position FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public' ORDER BY 4";
      same((await rows(c, columns, ["icd10"])), [["code", "text", "YES", 1], ["title", "text", "YES", 2]]);
      const keys = `SELECT k.column_name FROM information_schema.table_constraints t JOIN information_schema.key_column_usage k
        ON k.constraint_name = t.constraint_name WHERE t.constraint_type = 'PRIMARY KEY' AND t.table_name = $1`;
      same(await rows(c, keys, ["icd10"]), []);
    }),

  catalog: () =>
    using(async (c) => {
      const sql = `SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.oid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum LIMIT 8`;
      same((await rows(c, sql, ["kinds"])).map((row) => row[1]), ["bigint", "boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric(10,2)"]);
      same(await one(c, "SELECT obj_description('icd10'::regclass, 'pg_class')"), "titles of diagnoses");
    }),

  listens: () => using(async (c) => {
    same((await c.query("LISTEN something")).command, "LISTEN");
    same((await c.query("UNLISTEN *")).command, "UNLISTEN");
  }),
};

const atNode = {
  aggregateOfAProtectedTable: () =>
    using(async (c) => {
      const sql = "SELECT sex, count(*)::int4, avg(age)::float8 FROM heart_disease WHERE age > $1 GROUP BY sex ORDER BY sex";
      for (const more of [{}, { name: "hearts" }]) {
        const found = await rows(c, sql, [40], more);
        same(found.map((row) => row[0]), ["female", "male"]);
        same(found.every((row) => row[1] >= 10 && row[2] > 40), true);
      }
    }),

  noticesOfWithheldGroups: () =>
    using(async (c) => {
      const notices = [];
      c.on("notice", (notice) => notices.push(notice.message));
      const found = await rows(c, "SELECT age, count(*)::int4 FROM heart_disease GROUP BY age");
      same(found.every((row) => row[1] >= 10), true);
      same(notices.some((text) => text.includes("withheld")), true);
    }),

  rowsAreRefused: () =>
    using(async (c) => {
      const error = await raises("42501", () => c.query("SELECT * FROM heart_disease"));
      same(error.hint.length > 0, true);
      await raises("42501", () => c.query("SELECT age FROM heart_disease WHERE patient_id = $1", [1]));
      await raises("42501", () => c.query(new Cursor("SELECT * FROM heart_disease")).read(1));
    }),

  copiesAreRefused: () =>
    using(async (c) => {
      await raises("42501", async () => {
        for await (const part of c.query(copyTo("COPY heart_disease TO STDOUT"))) {
          throw new Error(`${part.length} bytes`);
        }
      });
    }),
};

const node = await using(async (c) => (await one(c, "SELECT version()")).includes("Kanon"));
await tally("node-postgres", require("pg/package.json").version, node, checks, atNode, KNOWN);
