//! Plans that are kept for a statement's next run: they answer as a new plan would, whatever happened in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::fmt::Write;

use kanon_tests::client::{Client, run};
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};

const WARDS: &str =
    "ward,name,opened\nw0,north,2020-01-01\nw1,east,2021-02-03\nw2,south,2022-03-05\nw3,west,2024-02-29\n";

/// 400 patients: ages of 20 to 69, four wards, the first of which has 10 of them.
fn patients() -> String {
    let mut text = "pid,age,ward\n".to_owned();
    for i in 0..400 {
        let ward = if i < 10 { 0 } else { 1 + i % 3 };
        writeln!(text, "{i},{},w{ward}", 20 + i % 50).unwrap();
    }
    text
}

async fn clinic() -> Federation {
    let setup = [
        "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'",
        "ALTER TABLE wards SET (access = 'open')",
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 10, budget_delta = 1e-6)",
        "CREATE EXTERNAL TABLE patients STORED AS CSV LOCATION '{dir}/patients.csv'",
        "ALTER TABLE patients SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', min_cohort = 20)",
    ];
    let files = vec![
        ("wards.csv".to_owned(), WARDS.into()),
        ("others.csv".to_owned(), b"ward,name,opened\nx,other,2000-01-01\n".to_vec()),
        ("patients.csv".to_owned(), patients().into_bytes()),
    ];
    let setup = setup.map(str::to_owned).to_vec();
    let federation = Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await;
    federation.grant_all(&["wards", "patients"]).await;
    federation.settle().await;
    federation
}

/// The rows of an answer as text, or the SQLSTATE.
async fn said(client: &Client, sql: &str) -> Vec<String> {
    match client.ask(sql).await {
        Ok(answer) => answer.lines(),
        Err(error) => vec![error.code],
    }
}

const NAMES: &str = "SELECT name FROM wards ORDER BY name";

/// What is said to [`NAMES`] as a text, as a statement prepared in SQL and as one of the extended protocol: all the same.
struct Asked<'a> {
    client: &'a Client,
    statement: tokio_postgres::Statement,
}

impl Asked<'_> {
    async fn of(client: &Client) -> Asked<'_> {
        run(client, &format!("PREPARE names AS {NAMES}")).await;
        Asked { client, statement: client.inner.prepare(NAMES).await.unwrap() }
    }

    async fn said(&self) -> Vec<String> {
        let text = said(self.client, NAMES).await;
        assert_eq!(said(self.client, NAMES).await, text, "asked again");
        assert_eq!(said(self.client, "EXECUTE names").await, text, "prepared in SQL");
        let rows = match self.client.inner.query(&self.statement, &[]).await {
            Ok(rows) => rows.iter().map(|row| row.get::<_, String>(0)).collect(),
            Err(error) => vec![error.code().unwrap().code().to_owned()],
        };
        assert_eq!(rows, text, "prepared");
        text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_holds_for_the_very_next_run() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let (ana, admin) = (site.connect(ANALYST).await.unwrap(), site.connect(ADMIN).await.unwrap());
    let all = ["east", "north", "south", "west"];
    let asked = Asked::of(&ana).await;
    assert_eq!(asked.said().await, all);

    run(&admin, &format!("REVOKE SELECT ON wards FROM {}", ANALYST.0)).await;
    assert_eq!(asked.said().await, ["42P01"]);
    run(&admin, &format!("GRANT SELECT ON wards TO {}", ANALYST.0)).await;
    assert_eq!(asked.said().await, all);

    run(&admin, "ALTER TABLE wards SET (access = 'cohort', unit = 'ward', min_cohort = 20)").await;
    let refused = asked.said().await;
    assert!(refused[0].len() == 5 && refused.len() == 1, "{refused:?}");
    run(&admin, "ALTER TABLE wards SET (access = 'open')").await;
    assert_eq!(asked.said().await, all);

    std::fs::write(site.dir.join("wards.csv"), WARDS.replace("north", "centre")).unwrap();
    assert_eq!(asked.said().await, ["centre", "east", "south", "west"]);

    run(&ana, "CREATE TEMP TABLE wards AS SELECT 'mine' AS name").await;
    assert_eq!(asked.said().await, ["mine"]);
    run(&ana, "INSERT INTO wards VALUES ('ours')").await;
    assert_eq!(asked.said().await, ["mine", "ours"]);
    run(&ana, "BEGIN; DELETE FROM wards").await;
    assert_eq!(asked.said().await, [] as [&str; 0]);
    run(&ana, "ROLLBACK").await;
    assert_eq!(asked.said().await, ["mine", "ours"]);
    run(&ana, "DROP TABLE wards").await;
    assert_eq!(asked.said().await, ["centre", "east", "south", "west"]);

    run(&admin, "DROP TABLE wards").await;
    assert_eq!(asked.said().await, ["42P01"]);
    let others = site.dir.join("others.csv");
    run(&admin, &format!("CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{}'", others.display())).await;
    run(&admin, "ALTER TABLE wards SET (access = 'open')").await;
    assert_eq!(asked.said().await, ["42P01"]);
    run(&admin, &format!("GRANT SELECT ON wards TO {}", ANALYST.0)).await;
    assert_eq!(asked.said().await, ["other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_roles_and_moments_are_those_of_the_run() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let (ana, admin) = (site.connect(ANALYST).await.unwrap(), site.connect(ADMIN).await.unwrap());
    for (sql, before, change, after) in [
        (
            "SELECT timestamptz '2024-01-01 12:00+00'",
            "2024-01-01 12:00:00+00",
            "SET TimeZone = 'Europe/Zurich'",
            "2024-01-01 13:00:00+01",
        ),
        (
            "SELECT '2024-01-01 12:00'::timestamptz",
            "2024-01-01 12:00:00+01",
            "SET TimeZone = 'UTC'",
            "2024-01-01 12:00:00+00",
        ),
        ("SELECT current_setting('application_name')", "", "SET application_name = 'x'", "x"),
        ("SELECT 1.0 / 4", "0.25000000000000000000", "SET kanon.exact_numerics = off", "0.25"),
        ("SELECT current_setting('application_name')", "x", "RESET ALL", ""),
        ("SELECT extract(hour FROM timestamptz '2024-06-01 12:00+00')", "12", "SET TimeZone = 'Asia/Tokyo'", "21"),
        ("SELECT timestamptz '2024-06-01 23:00+00'::date", "2024-06-02", "SET TimeZone = 'UTC'", "2024-06-01"),
    ] {
        for _ in 0..3 {
            assert_eq!(said(&ana, sql).await, [before], "{sql}");
        }
        run(&ana, change).await;
        for _ in 0..2 {
            assert_eq!(said(&ana, sql).await, [after], "{sql}");
        }
    }
    // What is never true now may be true later, and elsewhere.
    let soon = said(&ana, "SELECT now() + interval '1 second'").await.remove(0);
    let sql = format!("SELECT 1 WHERE now() > timestamptz '{soon}'");
    assert_eq!(said(&ana, &sql).await, [] as [&str; 0]);
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!(said(&ana, &sql).await, ["1"]);
    run(&ana, "SET TimeZone = 'Europe/Zurich'").await;
    let midnight = "to_timestamp('2024-01-01 00:00', 'YYYY-MM-DD HH24:MI')";
    let sql = format!("SELECT 1 WHERE {midnight} = timestamptz '2023-12-31 23:00+00'");
    assert_eq!(said(&ana, &sql).await, ["1"]);
    let may = "SELECT has_table_privilege('patients', 'SELECT'), pg_has_role('auditor', 'MEMBER')";
    assert_eq!(said(&ana, may).await, ["t|f"]);
    assert_eq!(said(&ana, may).await, ["t|f"]);
    run(&admin, &format!("GRANT auditor TO {}", ANALYST.0)).await;
    assert_eq!(said(&ana, may).await, ["t|t"]);
    run(&admin, &format!("REVOKE SELECT ON patients FROM {}", ANALYST.0)).await;
    assert_eq!(said(&ana, may).await, ["42P01"], "it is not visible");
    for sql in [
        "SELECT now()",
        "SELECT clock_timestamp()",
        "SELECT random()",
        "SELECT gen_random_uuid()",
        "SELECT localtimestamp",
    ] {
        let (first, second, third) = (said(&ana, sql).await, said(&ana, sql).await, said(&ana, sql).await);
        assert!(first != second && second != third && first[0].len() > 5, "{sql}: {first:?} {second:?} {third:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_all_values_answers_as_the_plan_for_each() {
    let federation = clinic().await;
    let ana = federation.sites[0].connect(ANALYST).await.unwrap();
    let cases: [(&str, &str, &[&str]); 13] = [
        ("text", "SELECT name FROM wards WHERE ward = $1", &["'w1'", "'w2'", "NULL", "'w3'", "'w''1'", "'w1'"]),
        ("text", "SELECT name FROM wards WHERE name LIKE $1", &["'n%'", "'%st'", "'_ast'", "NULL", "'\\\\'", "'%'"]),
        ("text", "SELECT $1::date", &["'2024-02-29'", "'Feb 29, 2024'", "'20240229'", "'2024-02-30'", "'x'", "NULL"]),
        ("text", "SELECT name FROM wards WHERE opened = $1::date", &["'2024-02-29'", "'29 Feb 2024'", "'x'", "NULL"]),
        ("date", "SELECT name FROM wards WHERE opened >= $1 ORDER BY 1", &["'2024-02-29'", "'Feb 1, 2021'", "NULL"]),
        ("int", "SELECT $1 + 1, $1 / 2, $1 % 3, 10 / $1", &["1", "2", "3", "-7", "0", "NULL", "2147483647"]),
        ("bigint", "SELECT $1, $1 * 2", &["1", "2147483648", "-5", "9223372036854775807", "NULL"]),
        ("double precision", "SELECT $1, $1 / 4, round($1)", &["1", "0.5", "'NaN'", "1e300", "NULL"]),
        ("numeric", "SELECT $1, $1 / 4, round($1, 1)", &["1", "0.50", "1.255", "100000000000000000000", "NULL"]),
        ("int", "SELECT name FROM wards ORDER BY name LIMIT $1", &["1", "2", "0", "NULL", "9", "-1"]),
        ("boolean", "SELECT name FROM wards WHERE (ward = 'w1') = $1 ORDER BY 1", &["true", "false", "NULL"]),
        ("int", "SELECT count(*) FROM generate_series(1, $1)", &["3", "0", "5", "NULL"]),
        ("int", "SELECT count(*) FROM patients WHERE age < $1", &["60", "21", "70", "0", "NULL"]),
    ];
    for (number, (kind, sql, values)) in cases.into_iter().enumerate() {
        run(&ana, &format!("PREPARE p{number} ({kind}) AS {sql}")).await;
        // The first runs have the values of all the others: a generic plan is made of the first.
        for value in values.iter().chain(values.iter().rev()).chain(values) {
            // A text is read as what is wanted of it, as one in quotes.
            let written = if kind == "text" { (*value).to_owned() } else { format!("CAST({value} AS {kind})") };
            let expected = said(&ana, &sql.replace("$1", &written)).await;
            assert_eq!(said(&ana, &format!("EXECUTE p{number}({value})")).await, expected, "{sql} of {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_alike_but_for_constants_answer_as_each_would() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let ana = site.connect(ANALYST).await.unwrap();
    let cases: [(&str, &[&str]); 15] = [
        ("SELECT name FROM wards WHERE ward = $1", &["'w1'", "'w2'", "''", "'w3'", "'w''1'", "NULL", "3"]),
        ("SELECT name FROM wards WHERE ward >= $1 ORDER BY 1", &["'w1'", "'w2'", "'x'", "'W'", "''"]),
        ("SELECT name, 'w1' FROM wards WHERE ward = $1 AND name <> $1", &["'w1'", "'w2'", "'east'"]),
        ("SELECT ward = $1 FROM wards ORDER BY ward", &["'w1'", "'w2'", "'x'", "'y'"]),
        ("SELECT ward = $1 AS is, count(*) FROM wards GROUP BY ward = $1 ORDER BY 1", &["'w1'", "'w2'", "'x'", "'y'"]),
        ("SELECT name FROM wards WHERE opened = $1", &["'2024-02-29'", "'Feb 3, 2021'", "'2022-03-05'", "'x'"]),
        ("SELECT count(*) FROM wards WHERE length(name) > $1", &["4", "5", "0", "99999999999", "1.5", "'4'", "'x'"]),
        ("SELECT sum(length(name)) FROM wards WHERE length(ward) = $1", &["2", "3", "4", "2"]),
        (
            "SELECT a.name FROM wards a JOIN wards b ON a.ward < b.ward WHERE b.name = $1 ORDER BY 1",
            &["'west'", "'east'", "'x'"],
        ),
        ("SELECT name FROM wards WHERE ward IN (SELECT ward FROM patients WHERE age = $1)", &["20", "21", "22"]),
        (
            "SELECT name FROM (SELECT * FROM wards WHERE ward < $1) t ORDER BY name LIMIT 2",
            &["'w2'", "'w3'", "'w9'", "'a'"],
        ),
        ("SELECT CASE WHEN ward = $1 THEN 'it' END FROM wards WHERE ward = $1", &["'w1'", "'w2'", "'w3'"]),
        ("SELECT relname FROM pg_class WHERE relname = $1", &["'wards'", "'patients'", "'nobody'"]),
        ("SELECT count(*) FROM patients WHERE age < $1", &["60", "21", "70", "0"]),
        ("SELECT 10 / length(name) FROM wards WHERE nosuch = $1", &["1", "2", "3"]),
    ];
    for (sql, values) in cases {
        // Three times, so that each value is asked of whatever is kept by then.
        for value in values.iter().chain(values.iter().rev()).chain(values.iter()) {
            let sql = sql.replace("$1", value);
            // With a comment, it is like no other.
            let expected = said(&ana, &format!("{sql} -- as it is written")).await;
            assert_eq!(said(&ana, &sql).await, expected, "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_of_one_statement_keep_their_values() {
    let federation = clinic().await;
    let mut ana = federation.sites[0].connect(ANALYST).await.unwrap();
    let statement = ana.inner.prepare("SELECT name FROM wards WHERE ward >= $1 ORDER BY ward").await.unwrap();
    let name = |rows: &[tokio_postgres::Row]| rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>();
    for _ in 0..4 {
        let transaction = ana.inner.transaction().await.unwrap();
        let first = transaction.bind(&statement, &[&"w0"]).await.unwrap();
        let second = transaction.bind(&statement, &[&"w2"]).await.unwrap();
        assert_eq!(name(&transaction.query_portal(&first, 1).await.unwrap()), ["north"]);
        assert_eq!(name(&transaction.query_portal(&second, 1).await.unwrap()), ["south"]);
        assert_eq!(name(&transaction.query_portal(&first, 2).await.unwrap()), ["east", "south"]);
        assert_eq!(name(&transaction.query_portal(&second, 0).await.unwrap()), ["west"]);
        assert_eq!(name(&transaction.query_portal(&first, 0).await.unwrap()), ["west"]);
        transaction.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_have_nothing_of_each_other() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let mut sessions = Vec::new();
    for (zone, role) in [("UTC", ANALYST), ("Asia/Tokyo", ANALYST), ("America/New_York", ADMIN)] {
        let client = site.connect(role).await.unwrap();
        run(&client, &format!("SET TimeZone = '{zone}'; CREATE TEMP TABLE own AS SELECT '{zone}' AS zone")).await;
        sessions.push((client, zone, role.0));
    }
    let names = [
        format!("UTC|12:00:00|{}", ANALYST.0),
        format!("Asia/Tokyo|21:00:00|{}", ANALYST.0),
        format!("America/New_York|07:00:00|{}", ADMIN.0),
    ];
    for round in 0..20 {
        let asked = sessions.iter().map(|(client, ..)| {
            said(client, "SELECT zone, ('2024-01-01 12:00+00'::timestamptz)::time, current_user FROM own")
        });
        let answers = futures::future::join_all(asked).await.concat();
        assert_eq!(answers, names, "{round}");
        for (client, zone, _) in &sessions {
            let sql = "SELECT now()::text LIKE '%-05' OR now()::text LIKE '%-04', now()::text LIKE '%+09'";
            let now = said(client, sql).await;
            let expected = format!(
                "{}|{}",
                if *zone == "America/New_York" { "t" } else { "f" },
                if *zone == "Asia/Tokyo" { "t" } else { "f" }
            );
            assert_eq!(now, [expected], "{zone}");
        }
    }
    let other = site.connect(ANALYST).await.unwrap();
    assert_eq!(said(&other, "SELECT * FROM own").await, ["42P01"]);
}
