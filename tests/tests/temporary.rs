//! Temporary tables of a session, through the wire: what they hold, who sees them, how long they stay, and what a boundary sees in them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::fmt::Write;

use kanon_tests::client::{Client, lines, run};
use kanon_tests::wire::{Wire, messages, query};
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};
use tokio_postgres::types::Type;

/// Patients from 0, of both sexes, with ages of 20 to 69 and four wards.
fn patients() -> Vec<u8> {
    let mut text = "pid,sex,age,ward\n".to_owned();
    for i in 0..400 {
        writeln!(text, "{i},{},{},w{}", ["female", "male"][i % 2], 20 + i % 50, i % 4).unwrap();
    }
    text.into_bytes()
}

const WARDS: &[u8] = b"ward,name\nw0,north\nw1,east\nw2,south\nw3,west\n";

/// A node with patients under both kinds of access, and an open table.
async fn clinic() -> Federation {
    let table = |name: &str| format!("CREATE EXTERNAL TABLE {name} STORED AS CSV LOCATION '{{dir}}/patients.csv'");
    let setup = vec![
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 100, budget_delta = 1e-6)".to_owned(),
        table("patients"),
        table("cohorts"),
        "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'".to_owned(),
        "ALTER TABLE patients SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 10,
         epsilon_per_query = 1, delta_per_query = 1e-8)"
            .to_owned(),
        "ALTER TABLE patients ALTER COLUMN sex SET (domain = '{female,male}')".to_owned(),
        "ALTER TABLE cohorts SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', min_cohort = 10)".to_owned(),
        "ALTER TABLE wards SET (access = 'open')".to_owned(),
        "CREATE EXTERNAL TABLE ages STORED AS CSV LOCATION '{dir}/ages.csv'".to_owned(),
        "ALTER TABLE ages SET (access = 'open')".to_owned(),
    ];
    let ages = (20..70).fold("age\n".to_owned(), |all, age| all + &format!("{age}\n"));
    let files = [("patients.csv", patients()), ("wards.csv", WARDS.to_vec()), ("ages.csv", ages.into_bytes())];
    let files = files.map(|(name, content)| (name.to_owned(), content)).to_vec();
    let federation = Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await;
    federation.grant_all(&["patients", "cohorts", "wards", "ages"]).await;
    federation
}

async fn refused(client: &Client, sql: &str) -> String {
    match client.ask(sql).await {
        Ok(answer) => panic!("{sql} was answered: {answer:?}"),
        Err(error) => format!("{} {}", error.code, error.message),
    }
}

/// The command tags of some statements.
async fn tags(wire: &mut Wire, sql: &str) -> Vec<String> {
    let bytes = wire.exchange(&query(sql), 1).await;
    let of = |(kind, body): (u8, &[u8])| match kind {
        b'C' => Some(String::from_utf8_lossy(&body[..body.len() - 1]).into_owned()),
        b'E' => Some(format!("error {}", String::from_utf8_lossy(body).replace('\0', " "))),
        _ => None,
    };
    messages(&bytes).into_iter().filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_filled_and_dropped_with_postgresqls_tags() {
    let federation = clinic().await;
    let mut wire = Wire::connect(federation.sites[0].pg_port).await;
    for (sql, tag) in [
        ("CREATE TEMP TABLE t (id int, name text)", "CREATE TABLE"),
        ("CREATE TEMP TABLE IF NOT EXISTS t (id int)", "CREATE TABLE"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL)", "INSERT 0 3"),
        ("INSERT INTO pg_temp.t (name) SELECT name FROM wards", "INSERT 0 4"),
        ("INSERT INTO t DEFAULT VALUES", "INSERT 0 1"),
        ("INSERT INTO t SELECT 9, 'x' WHERE false", "INSERT 0 0"),
        ("DELETE FROM t WHERE id > 1", "DELETE 2"),
        ("SELECT count(*), count(id), count(name) FROM t", "SELECT 1"),
        ("DELETE FROM t", "DELETE 6"),
        ("CREATE TEMPORARY TABLE u AS SELECT * FROM wards", "SELECT 4"),
        ("CREATE LOCAL TEMP TABLE v (a, b) AS TABLE wards WITH NO DATA", "CREATE TABLE AS"),
        ("CREATE TEMP TABLE IF NOT EXISTS v AS SELECT 1", "CREATE TABLE AS"),
        ("SELECT ward INTO TEMP w FROM wards WHERE ward > 'w1'", "SELECT 2"),
        ("TRUNCATE u, pg_temp.w", "TRUNCATE TABLE"),
        ("PREPARE p AS INSERT INTO t VALUES ($1, $2)", "PREPARE"),
        ("EXECUTE p(7, 'seven')", "INSERT 0 1"),
        ("DROP TABLE IF EXISTS t, nosuch, u", "DROP TABLE"),
        ("CREATE TABLE pg_temp.x (a int)", "CREATE TABLE"),
        ("DROP TABLE pg_temp.x, v, w", "DROP TABLE"),
    ] {
        assert_eq!(tags(&mut wire, sql).await, [tag], "{sql}");
    }
    // A client of many statements in one message.
    let all = "CREATE TEMP TABLE t AS VALUES (1), (2); INSERT INTO t VALUES (3); SELECT * FROM t; DROP TABLE t";
    assert_eq!(tags(&mut wire, all).await, ["SELECT 2", "INSERT 0 1", "SELECT 3", "DROP TABLE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_keep_their_types_and_values_are_cast_to_them() {
    let federation = clinic().await;
    let ana = federation.sites[0].connect(ANALYST).await.unwrap();
    run(
        &ana,
        "CREATE TEMP TABLE kinds (i2 smallint, i4 int, i8 bigint, f8 double precision, n numeric(10,2), m numeric, v varchar(3), t text,
         d date, ts timestamp, tz timestamptz, b boolean, l int[], j json, u uuid, x bytea, iv interval)",
    )
    .await;
    run(
        &ana,
        "INSERT INTO kinds VALUES (1, '2', 3, 4, 5.005, 1.5, 'abc', 6, '2024-02-29', '2024-02-29 12:00', '2024-02-29 12:00+02', 't',
         '{1,NULL,3}', '{\"a\": 1}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff', '1 day 02:00')",
    )
    .await;
    run(&ana, "INSERT INTO kinds (i4, n, d) SELECT 2.5, 7, timestamp '2024-01-01 10:00'").await;
    assert_eq!(
        lines(&ana, "SELECT i2, i4, i8, f8, n, m, v, t, d, ts, tz, b, l, j, u, x, iv FROM kinds").await,
        [
            "1|2|3|4|5.01|1.5|abc|6|2024-02-29|2024-02-29 12:00:00|2024-02-29 10:00:00+00|t|{1,NULL,3}|{\"a\": 1}|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|\\x00ff|1 day 02:00:00",
            "|3|||7.00||||2024-01-01||||||||"
        ]
    );
    assert_eq!(
        lines(
            &ana,
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'kinds'::regclass AND attnum > 0 ORDER BY attnum"
        )
        .await,
        [
            "smallint", "integer", "bigint", "double precision", "numeric(10,2)", "numeric", "character varying(3)", "text", "date",
            "timestamp without time zone", "timestamp with time zone", "boolean", "integer[]", "json", "uuid", "bytea", "interval"
        ]
    );
    run(
        &ana,
        "CREATE TEMP TABLE t (id int NOT NULL, v varchar(3) DEFAULT 'x', n numeric(4,1) DEFAULT 1 + 1, b boolean)",
    )
    .await;
    run(&ana, "INSERT INTO t VALUES (1, DEFAULT), (2, NULL)").await;
    run(&ana, "INSERT INTO t (b, id) VALUES (true, 3)").await;
    assert_eq!(lines(&ana, "SELECT * FROM t ORDER BY id").await, ["1|x|2.0|", "2||2.0|", "3|x|2.0|t"]);
    for (sql, error) in [
        ("INSERT INTO t VALUES (4, 'abcd')", "22001 value too long for type character varying(3)"),
        ("INSERT INTO t VALUES (4, 'a', 1000)", "22003"),
        ("INSERT INTO t VALUES (3000000000)", "22003 integer out of range"),
        ("INSERT INTO t VALUES ('x')", "22P02 invalid input syntax for type integer: \"x\""),
        (
            "INSERT INTO t VALUES (NULL)",
            "23502 null value in column \"id\" of relation \"t\" violates not-null constraint",
        ),
        ("INSERT INTO t (v) VALUES ('a')", "23502 null value in column \"id\""),
        ("INSERT INTO t VALUES (1, 'a', 1, true, 5)", "42601 INSERT has more expressions than target columns"),
        ("INSERT INTO t (id, v) VALUES (1)", "42601 INSERT has more target columns than expressions"),
        ("INSERT INTO t VALUES (1), (2, 'a')", "42601 VALUES lists must all be the same length"),
        ("INSERT INTO t (id, nosuch) VALUES (1, 2)", "42703 column \"nosuch\" of relation \"t\" does not exist"),
        ("INSERT INTO t (id, id) VALUES (1, 2)", "42701 column \"id\" specified more than once"),
        ("INSERT INTO t VALUES (true)", "42804 column \"id\" is of type integer but expression is of type boolean"),
        (
            "INSERT INTO t (id, b) VALUES (1, 1)",
            "42804 column \"b\" is of type boolean but expression is of type integer",
        ),
        (
            "INSERT INTO t SELECT name FROM wards",
            "42804 column \"id\" is of type integer but expression is of type text",
        ),
        ("INSERT INTO t SELECT nosuch FROM wards", "42703 column \"nosuch\" does not exist"),
        ("INSERT INTO t VALUES (1) RETURNING id", "0A000"),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "0A000"),
        ("UPDATE t SET id = 1", "0A000"),
        ("ALTER TABLE t SET (access = 'open')", "0A000"),
        ("COPY t FROM STDIN", "25006"),
        ("INSERT INTO kinds (u) VALUES ('x')", "22P02 invalid input syntax for type uuid: \"x\""),
        ("INSERT INTO kinds (j) VALUES ('{')", "22P02 invalid input syntax for type json"),
        ("CREATE TEMP TABLE t (a int)", "42P07 relation \"t\" already exists"),
        ("CREATE TEMP TABLE t AS SELECT 1", "42P07"),
        ("CREATE TEMP TABLE x (a int, a text)", "42701"),
        ("CREATE TEMP TABLE x AS SELECT 1 AS a, 2 AS a", "42701 column \"a\" specified more than once"),
        ("CREATE TEMP TABLE x (a, b) AS SELECT 1", "42601 too many column names were specified"),
        ("CREATE TEMP TABLE x (a nosuch)", "42704 type \"nosuch\" does not exist"),
        ("CREATE TEMP TABLE x (a serial)", "0A000"),
        ("CREATE TEMP TABLE x (a int DEFAULT nosuch)", "42703"),
        ("CREATE TEMP TABLE public.x (a int)", "42P16"),
        ("CREATE TEMP TABLE x AS SELECT * FROM nosuch", "42P01 relation \"nosuch\" does not exist"),
        ("DROP TABLE pg_temp.nosuch", "42P01 table \"nosuch\" does not exist"),
        ("INSERT INTO pg_temp.nosuch VALUES (1)", "42P01"),
        ("SELECT * FROM pg_temp.wards", "42P01"),
        // What is not temporary is not written.
        ("INSERT INTO wards VALUES ('w9', 'x')", "25006 cannot execute INSERT in a read-only transaction"),
        ("INSERT INTO public.wards VALUES (1) RETURNING 1", "25006"),
        ("DELETE FROM wards WHERE ward = 'w1'", "25006 cannot execute DELETE in a read-only transaction"),
        ("TRUNCATE t, wards", "25006 cannot execute TRUNCATE TABLE in a read-only transaction"),
        ("UPDATE wards SET name = 'x'", "25006 cannot execute UPDATE in a read-only transaction"),
        ("CREATE TABLE x (a int)", "25006 cannot execute CREATE TABLE in a read-only transaction"),
        ("SELECT * INTO x FROM wards", "25006 cannot execute SELECT INTO in a read-only transaction"),
    ] {
        let found = refused(&ana, sql).await;
        assert!(found.starts_with(error), "{sql}: {found}");
    }
    let hint = ana.ask("INSERT INTO wards VALUES ('w9', 'x')").await.unwrap_err().hint.unwrap();
    assert!(hint.contains("CREATE TEMP TABLE"), "{hint}");
    // Nothing of what failed is there.
    assert_eq!(lines(&ana, "SELECT count(*) FROM t").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_the_sessions_own_hide_others_and_go_with_it() {
    let federation = clinic().await;
    let ana = federation.sites[0].connect(ANALYST).await.unwrap();
    let other = federation.sites[0].connect(ANALYST).await.unwrap();
    run(&ana, "CREATE TEMP TABLE mine AS SELECT 1 AS a").await;
    run(&ana, "CREATE TEMP TABLE wards AS SELECT 'hidden' AS name").await;
    assert_eq!(lines(&ana, "SELECT name FROM wards").await, ["hidden"]);
    assert_eq!(lines(&ana, "SELECT count(*) FROM public.wards").await, ["4"]);
    assert_eq!(
        lines(&ana, "SELECT w.name FROM pg_temp.wards w JOIN public.wards p ON p.ward = 'w1'").await,
        ["hidden"]
    );
    for sql in ["SELECT * FROM mine", "SELECT * FROM pg_temp.mine", "DROP TABLE pg_temp.mine"] {
        assert!(refused(&other, sql).await.starts_with("42P01"), "{sql}");
    }
    let schema = lines(&ana, "SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()").await.remove(0);
    assert!(schema.starts_with("pg_temp_"), "{schema}");
    assert!(refused(&other, &format!("SELECT * FROM {schema}.mine")).await.starts_with("42P01"));
    assert_eq!(lines(&other, "SELECT count(*) FROM pg_class WHERE relname = 'mine'").await, ["0"]);
    assert_eq!(lines(&other, "SELECT pg_my_temp_schema(), count(*) FROM wards").await, ["0|4"]);
    // As psql's \d looks for it.
    let of_psql = "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname OPERATOR(pg_catalog.~) '^(wards)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3";
    let found = lines(&ana, of_psql).await;
    assert!(found.len() == 1 && found[0].ends_with(&format!("|{schema}|wards")), "{found:?}");
    for (sql, expected) in [
        ("SELECT relpersistence, relkind, relnatts FROM pg_class WHERE oid = 'mine'::regclass", "t|r|1"),
        ("SELECT attname FROM pg_attribute WHERE attrelid = 'pg_temp.mine'::regclass AND attnum > 0", "a"),
        (
            "SELECT table_type, is_insertable_into FROM information_schema.tables WHERE table_name = 'mine'",
            "LOCAL TEMPORARY|YES",
        ),
        ("SELECT data_type FROM information_schema.columns WHERE table_name = 'mine'", "integer"),
        ("SELECT has_table_privilege('mine', 'SELECT'), has_table_privilege('mine', 'INSERT')", "t|t"),
        ("SELECT has_table_privilege('public.wards', 'INSERT')", "f"),
        ("SELECT current_schema()", "public"),
        ("SELECT 'mine'::regclass::text, 'public.wards'::regclass::text", "mine|public.wards"),
    ] {
        assert_eq!(lines(&ana, sql).await, [expected], "{sql}");
    }
    assert!(refused(&ana, "SELECT * FROM nosuch").await.starts_with("42P01 relation \"nosuch\" does not exist"));
    run(&ana, "DISCARD TEMP").await;
    assert_eq!(lines(&ana, "SELECT count(*) FROM wards").await, ["4"]);
    run(&ana, "CREATE TEMP TABLE mine AS SELECT 1 AS a").await;
    run(&ana, "DISCARD ALL").await;
    assert!(refused(&ana, "SELECT * FROM mine").await.starts_with("42P01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_take_back_what_was_done_in_them() {
    let federation = clinic().await;
    let ana = federation.sites[0].connect(ANALYST).await.unwrap();
    run(&ana, "CREATE TEMP TABLE t AS SELECT 1 AS a").await;
    run(&ana, "BEGIN READ ONLY; INSERT INTO t VALUES (2); CREATE TEMP TABLE u (a int); ROLLBACK").await;
    assert_eq!(lines(&ana, "SELECT a FROM t").await, ["1"]);
    assert!(refused(&ana, "SELECT * FROM u").await.starts_with("42P01"));
    run(&ana, "BEGIN; INSERT INTO t VALUES (2); SAVEPOINT a; DROP TABLE t; SAVEPOINT b; CREATE TEMP TABLE t (b text)")
        .await;
    assert!(refused(&ana, "SELECT a FROM t").await.starts_with("42703"));
    run(&ana, "ROLLBACK TO a; INSERT INTO t VALUES (3); RELEASE a").await;
    assert_eq!(lines(&ana, "SELECT a FROM t ORDER BY a").await, ["1", "2", "3"]);
    run(&ana, "COMMIT").await;
    assert_eq!(lines(&ana, "SELECT a FROM t ORDER BY a").await, ["1", "2", "3"]);
    // A statement that fails takes all of its transaction with it.
    run(&ana, "BEGIN; TRUNCATE t").await;
    assert!(refused(&ana, "INSERT INTO t VALUES ('x')").await.starts_with("22P02"));
    assert!(refused(&ana, "INSERT INTO t VALUES (1)").await.starts_with("25P02"));
    run(&ana, "COMMIT").await;
    assert_eq!(lines(&ana, "SELECT count(*) FROM t").await, ["3"]);
    run(&ana, "BEGIN; CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT 1 AS a; CREATE TEMP TABLE empty (a int) ON COMMIT DELETE ROWS").await;
    run(&ana, "INSERT INTO empty SELECT a FROM gone").await;
    assert_eq!(lines(&ana, "SELECT count(*) FROM empty").await, ["1"]);
    run(&ana, "COMMIT").await;
    assert_eq!(lines(&ana, "SELECT count(*) FROM empty").await, ["0"]);
    assert!(refused(&ana, "SELECT * FROM gone").await.starts_with("42P01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_have_the_types_of_the_columns() {
    let federation = clinic().await;
    let ana = federation.sites[0].connect(ANALYST).await.unwrap();
    run(&ana, "CREATE TEMP TABLE t (id int, name varchar(5), score double precision)").await;
    let insert = ana.inner.prepare("INSERT INTO t VALUES ($1, $2, $3), (0, $2, NULL)").await.unwrap();
    assert_eq!(insert.params(), [Type::INT4, Type::TEXT, Type::FLOAT8]);
    assert_eq!(ana.inner.execute(&insert, &[&1_i32, &"one", &1.5_f64]).await.unwrap(), 2);
    assert_eq!(ana.inner.execute(&insert, &[&2_i32, &"two", &2.5_f64]).await.unwrap(), 2);
    let error = ana.inner.execute(&insert, &[&3_i32, &"too long", &0_f64]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22001");
    let select =
        ana.inner.prepare("INSERT INTO t (id, name) SELECT $1, ward FROM wards WHERE ward = $2").await.unwrap();
    assert_eq!(ana.inner.execute(&select, &[&9_i32, &"w1"]).await.unwrap(), 1);
    let made = ana
        .inner
        .execute("CREATE TEMP TABLE u AS SELECT id + $1 AS id FROM t WHERE name = $2", &[&10_i32, &"one"])
        .await;
    assert_eq!(made.unwrap(), 2);
    assert_eq!(lines(&ana, "SELECT id FROM u ORDER BY id").await, ["10", "11"]);
    assert_eq!(ana.inner.execute("DELETE FROM t WHERE id = $1", &[&0_i32]).await.unwrap(), 2);
    assert_eq!(lines(&ana, "SELECT * FROM t ORDER BY id").await, ["1|one|1.5", "2|two|2.5", "9|w1|"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_kept_and_asked_again_for_nothing() {
    let federation = clinic().await;
    let ana = federation.sites[0].connect(ANALYST).await.unwrap();
    let spent = "SELECT spent_epsilon FROM kanon.budget WHERE scope = 'principal'";
    let made =
        ana.ask("CREATE TEMP TABLE by_sex AS SELECT sex, count(*) AS n FROM patients GROUP BY sex").await.unwrap();
    assert!(made.notices.iter().any(|notice| notice.contains("epsilon")), "{:?}", made.notices);
    let once = lines(&ana, spent).await;
    assert_eq!(once, ["1"]);
    let kept = lines(&ana, "SELECT * FROM by_sex ORDER BY sex").await;
    assert_eq!(kept.len(), 2);
    assert_eq!(kept, lines(&ana, "SELECT sex, count(*) FROM patients GROUP BY sex ORDER BY sex").await);
    let again = ana.ask("SELECT sum(n), max(n) FROM by_sex").await.unwrap();
    assert!(again.notices.is_empty(), "{:?}", again.notices);
    assert_eq!(lines(&ana, spent).await, once);
    // Cohorts.
    let made = ana
        .ask("CREATE TEMP TABLE by_ward AS SELECT ward, count(*) AS n, avg(age) AS age FROM cohorts GROUP BY ward")
        .await
        .unwrap();
    assert!(made.notices.iter().any(|notice| notice.contains("fewer than 10")), "{:?}", made.notices);
    assert_eq!(
        lines(&ana, "SELECT w.name, n FROM by_ward JOIN wards w USING (ward) ORDER BY ward").await,
        ["north|100", "east|100", "south|100", "west|100"]
    );
    // No rows, whatever the way.
    for sql in [
        "CREATE TEMP TABLE leak AS SELECT * FROM patients",
        "CREATE TEMP TABLE leak AS SELECT * FROM cohorts WITH NO DATA",
        "SELECT age INTO TEMP leak FROM cohorts",
        "INSERT INTO by_ward (ward) SELECT ward FROM cohorts",
        "DELETE FROM by_ward WHERE ward IN (SELECT ward FROM cohorts)",
        "INSERT INTO by_ward (n) SELECT pid FROM cohorts",
        // Nor is a person chosen by a table that the asker wrote.
        "SELECT count(*) FROM cohorts JOIN ids ON ids.n = cohorts.pid",
        "SELECT count(*) FROM patients JOIN ids ON ids.n = patients.pid",
    ] {
        run(&ana, "DROP TABLE IF EXISTS ids; CREATE TEMP TABLE ids AS SELECT 17 AS n").await;
        assert!(refused(&ana, sql).await.starts_with("42501"), "{sql}");
    }
    assert_eq!(lines(&ana, spent).await, once);
    assert_eq!(lines(&ana, "SELECT count(*) FROM by_ward").await, ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_asker_weigh_nobody() {
    let federation = clinic().await;
    let ana = federation.sites[0].connect(ANALYST).await.unwrap();
    // Eight people each are of one age. The steward's table of ages has been the same for everybody; one of the asker's could weigh any of them, so
    // whom its rows meet is a condition, as with VALUES.
    let count = "SELECT count(*) FROM cohorts c JOIN {} ON a.age = c.age";
    let values = (20..70).map(|age| format!("({age})")).collect::<Vec<_>>().join(", ");
    run(&ana, "CREATE TEMP TABLE copied AS SELECT * FROM ages").await;
    for (table, expected) in [
        ("ages a".to_owned(), "400"),
        (format!("(VALUES {values}) AS a(age)"), ""),
        ("copied a".to_owned(), ""),
        ("(SELECT age FROM pg_temp.copied WHERE age > 0) a".to_owned(), ""),
    ] {
        assert_eq!(lines(&ana, &count.replace("{}", &table)).await, [expected], "{table}");
    }
    run(&ana, "CREATE TEMP TABLE halves (ward text, half text)").await;
    run(&ana, "INSERT INTO halves VALUES ('w0', 'a'), ('w1', 'a'), ('w2', 'b'), ('w3', 'b')").await;
    let sql = "SELECT h.half, count(*) FROM cohorts c JOIN halves h ON h.ward = c.ward GROUP BY h.half ORDER BY 1";
    assert_eq!(lines(&ana, sql).await, ["a|200", "b|200"]);
    // A private release with such a table is one, and the same again.
    run(&ana, "CREATE TEMP TABLE chosen (ward text); INSERT INTO chosen VALUES ('w1'), ('w2')").await;
    let sql = "SELECT count(*) FROM patients WHERE ward IN (SELECT ward FROM chosen)";
    let first = lines(&ana, sql).await;
    assert_eq!(lines(&ana, sql).await, first);
    let spent = "SELECT spent_epsilon FROM kanon.budget WHERE scope = 'principal'";
    assert_eq!(lines(&ana, spent).await, ["1"]);
    // Of other rows it is another one.
    run(&ana, "INSERT INTO chosen VALUES ('w3')").await;
    lines(&ana, sql).await;
    assert_eq!(lines(&ana, spent).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_limit_to_rows_and_tables() {
    let federation = clinic().await;
    let ana = federation.sites[0].connect(ANALYST).await.unwrap();
    run(&ana, "CREATE TEMP TABLE big AS SELECT value::bigint AS a, value::bigint AS b FROM generate_series(1, 2000000) AS s(value)")
        .await;
    let error = ana.ask("INSERT INTO big SELECT * FROM big UNION ALL SELECT * FROM big").await.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("53200", "the temporary tables of a session may take 64 MB of memory")
    );
    assert_eq!(lines(&ana, "SELECT count(*) FROM big").await, ["2000000"]);
    run(&ana, "DROP TABLE big").await;
    run(&ana, "CREATE TEMP TABLE big AS SELECT value::bigint AS a, value::bigint AS b FROM generate_series(1, 2000000) AS s(value)")
        .await;
    run(&ana, "TRUNCATE big").await;
    for _ in 0..60 {
        run(&ana, "INSERT INTO big VALUES (1, 2)").await;
    }
    assert_eq!(lines(&ana, "SELECT count(*), sum(b) FROM big").await, ["60|120"]);
    let many = (1..1000).map(|n| format!("CREATE TEMP TABLE t{n} (a int);")).collect::<String>();
    run(&ana, &many).await;
    assert!(refused(&ana, "CREATE TEMP TABLE more (a int)").await.starts_with("54000"));
    // Another session has room of its own.
    let other = federation.sites[0].connect(ADMIN).await.unwrap();
    run(&other, "CREATE TEMP TABLE more (a int)").await;
}
