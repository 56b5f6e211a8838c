//! SELECT on columns and the use of schemas: what is not granted is not there, on any path.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use kanon_tests::client::{code, lines, refused, run};
use kanon_tests::flight::FlightClient;
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};

fn spec(id: &'static str) -> SiteSpec {
    let people: String = (0..60).map(|i| format!("{i},{},{},{}\n", i % 3, 20 + i, 1000 + i)).collect();
    let setup = [
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 100000)",
        "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE people SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 10)",
        "CREATE EXTERNAL TABLE secret STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE secret SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, epsilon_per_query = 1000)",
        "ALTER TABLE secret ALTER COLUMN age SET (lower = 0, upper = 110)",
        "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'",
        "ALTER TABLE wards SET (access = 'open')",
        "COMMENT ON COLUMN wards.phone IS 'internal only'",
    ];
    let files = vec![
        ("wards.csv".to_owned(), b"ward,name,phone\n0,north,10\n1,south,11\n2,west,12\n".to_vec()),
        ("people.csv".to_owned(), format!("pid,ward,age,income\n{people}").into_bytes()),
    ];
    SiteSpec { id, setup: setup.map(str::to_owned).to_vec(), files }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_not_granted_are_not_there() {
    let federation = Federation::start(vec![spec("clinic")]).await;
    let site = &federation.sites[0];
    let root = site.connect(ADMIN).await.unwrap();
    for sql in [
        "CREATE ROLE ana LOGIN PASSWORD 'x'",
        "CREATE ROLE nurses",
        "GRANT nurses TO ana",
        "GRANT SELECT (ward, age) ON people TO ana",
        "GRANT SELECT (ward) ON people, secret TO nurses",
        "GRANT SELECT (age, ward) ON secret TO ana",
        "GRANT SELECT (ward, name) ON wards TO ana",
    ] {
        run(&root, sql).await;
    }
    let ana = site.connect(("ana", "x")).await.unwrap();
    for (sql, expected) in [
        ("SELECT count(*), sum(age) FROM people", vec!["60|2970"]),
        ("SELECT ward, count(*) FROM people GROUP BY ward ORDER BY 1", vec!["0|20", "1|20", "2|20"]),
        ("SELECT count(*) FROM people WHERE age < 50 AND ward = 1", vec!["10"]),
        ("SELECT count(*) FROM public.people p JOIN wards w ON w.ward = p.ward WHERE w.name = 'west'", vec!["20"]),
        ("SELECT count(*) FROM (SELECT * FROM people) x", vec!["60"]),
        ("SELECT * FROM wards ORDER BY 1", vec!["0|north", "1|south", "2|west"]),
        ("TABLE wards LIMIT 1", vec!["0|north"]),
        ("SELECT round(count(*)), round(avg(age)) FROM secret", vec!["60|50"]),
    ] {
        assert_eq!(lines(&ana, sql).await, expected, "{sql}");
    }
    let mut flight = FlightClient::connect(site.flight_port, ("ana", "x")).await;
    assert_eq!(flight.ask("SELECT * FROM wards ORDER BY 1 LIMIT 1").await.unwrap(), ["0|north"]);
    assert_eq!(flight.ask("SELECT phone FROM wards").await.unwrap_err().code, "42703");
    // What is not granted does not exist, and no error or hint names it.
    for (sql, state) in [
        ("SELECT phone FROM wards", "42703"),
        ("SELECT w.phone FROM wards w", "42703"),
        ("SELECT name FROM wards WHERE phone = 10", "42703"),
        ("SELECT name FROM wards ORDER BY phone", "42703"),
        ("SELECT ward FROM wards GROUP BY ward HAVING max(phone) > 1", "42703"),
        ("SELECT sum(income) FROM people", "42703"),
        ("SELECT count(*) FROM people WHERE income > 1030", "42703"),
        ("SELECT count(DISTINCT pid) FROM people", "42703"),
        ("SELECT count(*) FROM people a JOIN people b ON a.pid = b.pid", "42703"),
        ("SELECT count(*) FROM people WHERE (SELECT max(phone) FROM wards) > 1", "42703"),
        ("SELECT avg(income) FROM secret", "42703"),
        ("COPY wards (phone) TO STDOUT", "42703"),
        ("SELECT * FROM people", "42501"),
    ] {
        let error = refused(&ana, sql).await;
        assert_eq!(error.code, state, "{sql}: {error:?}");
        let hint = error.hint.unwrap_or_default() + &error.detail.unwrap_or_default();
        for hidden in ["phone", "income"] {
            assert!(!hint.contains(hidden), "{sql}: {hint}");
        }
    }
    for sql in ["EXPLAIN SELECT name FROM wards", "EXPLAIN (PRIVACY) SELECT sum(age) FROM people"] {
        let plan = lines(&ana, sql).await.join("\n");
        assert!(!plan.contains("phone") && !plan.contains("income"), "{plan}");
    }
    // Catalogs agree, whichever is asked.
    for sql in [
        "SELECT attname FROM pg_attribute WHERE attrelid = 'wards'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'wards' ORDER BY ordinal_position",
        "SELECT column_name FROM kanon.columns WHERE table_name = 'wards' ORDER BY 1 DESC",
    ] {
        assert_eq!(lines(&ana, sql).await, ["ward", "name"], "{sql}");
    }
    assert_eq!(lines(&root, "SELECT count(*) FROM kanon.columns WHERE table_name = 'wards'").await, ["3"]);
    assert_eq!(lines(&ana, "SELECT unit_column FROM kanon.policies WHERE table_name = 'people'").await, ["pid"]);
    let told = lines(&ana, "SELECT kanon.explain_policy('people')").await.join("\n");
    assert!(told.contains("pid") && !told.contains("income"), "by what people are counted is told: {told}");
    assert_eq!(lines(&ana, "SELECT count(*) FROM pg_description WHERE description LIKE 'internal%'").await, ["0"]);
    let privileges = "SELECT has_table_privilege('wards', 'SELECT'), has_any_column_privilege('wards', 'SELECT'), \
                      has_column_privilege('wards', 'name', 'SELECT'), has_column_privilege('wards', 1::int2, 'SELECT')";
    assert_eq!(lines(&ana, privileges).await, ["f|t|t|t"]);
    assert_eq!(code(&ana, "SELECT has_column_privilege('wards', 'phone', 'SELECT')").await, "42703");
    let of_ana = "SELECT has_table_privilege('ana', 'wards', 'SELECT'), has_column_privilege('ana', 'wards', 'name', 'SELECT'), \
                  has_column_privilege('ana', 'wards', 'phone', 'SELECT')";
    assert_eq!(lines(&root, of_ana).await, ["f|t|f"]);
    let acl = "SELECT attname, array_to_string(attacl, ',') FROM pg_attribute WHERE attrelid = 'secret'::regclass AND attacl IS NOT NULL ORDER BY 1";
    assert_eq!(lines(&root, acl).await, ["age|ana=r/root", "ward|ana=r/root,nurses=r/root"]);
    let listed = "SELECT grantee, column_name FROM information_schema.column_privileges WHERE table_name = 'secret' AND grantee <> 'root' ORDER BY 1, 2";
    assert_eq!(lines(&root, listed).await, ["ana|age", "ana|ward", "nurses|ward"]);
    // A statement that is prepared follows the grants; so does one that is kept.
    let prepared = ana.inner.prepare("SELECT ward, name FROM wards ORDER BY 1").await.unwrap();
    assert_eq!(ana.inner.query(&prepared, &[]).await.unwrap().len(), 3);
    run(&root, "REVOKE SELECT (name) ON wards FROM ana").await;
    let error = ana.inner.query(&prepared, &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42703", "{error:?}");
    assert_eq!(lines(&ana, "SELECT * FROM wards ORDER BY 1").await, ["0", "1", "2"]);
    // As in PostgreSQL, what is revoked of the table is revoked of its columns.
    run(&root, "REVOKE SELECT ON wards FROM ana").await;
    assert_eq!(code(&ana, "SELECT ward FROM wards").await, "42P01");
    run(&root, "GRANT SELECT ON wards TO ana").await;
    assert_eq!(lines(&ana, "SELECT phone FROM wards ORDER BY 1").await, ["10", "11", "12"]);
    run(&root, "REVOKE nurses FROM ana").await;
    run(&root, "REVOKE SELECT (ward, age) ON people FROM ana").await;
    assert_eq!(code(&ana, "SELECT count(*) FROM people").await, "42P01");

    for (sql, state) in [
        ("GRANT SELECT (nmae) ON wards TO ana", "42703"),
        ("GRANT SELECT (name, phone, ward, nothing) ON wards TO ana", "42703"),
        ("REVOKE SELECT (nothing) ON wards FROM ana", "42703"),
        ("GRANT SELECT () ON wards TO ana", "42601"),
        ("GRANT SELECT (name), SELECT ON wards TO ana", "0A000"),
        ("GRANT UPDATE (name) ON wards TO ana", "0A000"),
        ("GRANT SELECT (name) ON ALL TABLES IN SCHEMA public TO ana", "0A000"),
        ("GRANT nurses (name) TO ana", "42601"),
        ("GRANT SELECT (name) ON wards TO nobody", "42704"),
    ] {
        assert_eq!(code(&root, sql).await, state, "{sql}");
    }
    assert_eq!(code(&ana, "GRANT SELECT (name) ON wards TO nurses").await, "42501");
    // What a dropped role or table was granted is gone.
    run(&root, "GRANT SELECT (name) ON wards TO nurses").await;
    run(&root, "DROP ROLE nurses").await;
    run(&root, "CREATE ROLE nurses LOGIN PASSWORD 'x'").await;
    let nurse = site.connect(("nurses", "x")).await.unwrap();
    assert_eq!(code(&nurse, "SELECT name FROM wards").await, "42P01");
    run(&root, "GRANT SELECT (name) ON wards TO nurses").await;
    assert_eq!(lines(&nurse, "SELECT * FROM wards ORDER BY 1 LIMIT 1").await, ["north"]);
    // A steward sees all of a table, and reads what it was granted.
    run(&root, "REVOKE SELECT ON wards FROM root").await;
    run(&root, "GRANT SELECT (name) ON wards TO root").await;
    assert_eq!(lines(&root, "SELECT * FROM wards ORDER BY 1 LIMIT 1").await, ["north"]);
    assert_eq!(code(&root, "SELECT phone FROM wards").await, "42703");
    assert_eq!(lines(&root, "SELECT count(*) FROM kanon.columns WHERE table_name = 'wards'").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_federation_each_site_grants_columns() {
    let federation = Federation::start(vec![spec("clinic"), spec("praxis")]).await;
    federation.grant_all(&["people"]).await;
    let (here, there) = (&federation.sites[0], &federation.sites[1]);
    let ana = here.connect(ANALYST).await.unwrap();
    let sum = "SELECT count(*), sum(age) FROM federation.people";
    assert_eq!(lines(&ana, sum).await, ["120|5940"]);
    // At the other site she has two columns only.
    let theirs = there.connect(ADMIN).await.unwrap();
    let role = format!("\"{}@clinic\"", ANALYST.0);
    run(&theirs, &format!("REVOKE SELECT ON people FROM {role}")).await;
    run(&theirs, &format!("GRANT SELECT (age, ward) ON people TO {role}")).await;
    assert_eq!(lines(&ana, sum).await, ["120|5940"]);
    let by = "SELECT ward, count(*) FROM federation.people WHERE age > 20 GROUP BY ward ORDER BY 1";
    assert_eq!(lines(&ana, by).await, ["0|38", "1|40", "2|40"]);
    let error = refused(&ana, "SELECT sum(income) FROM federation.people").await;
    assert!(error.message.contains("praxis"), "{error:?}");
    // And here, of the federation's table, one.
    let ours = here.connect(ADMIN).await.unwrap();
    run(&ours, &format!("REVOKE SELECT ON federation.people FROM {}", ANALYST.0)).await;
    run(&ours, &format!("GRANT SELECT (age) ON federation.people TO {}", ANALYST.0)).await;
    assert_eq!(lines(&ana, sum).await, ["120|5940"]);
    for column in ["ward", "income", "pid", "site"] {
        let sql = format!("SELECT count({column}) FROM federation.people");
        assert_eq!(code(&ana, &sql).await, "42703", "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_everybody_s_until_that_is_revoked() {
    let federation = Federation::start(vec![spec("clinic"), spec("praxis")]).await;
    federation.grant_all(&["people", "wards"]).await;
    let site = &federation.sites[0];
    let (root, ana) = (site.connect(ADMIN).await.unwrap(), site.connect(ANALYST).await.unwrap());
    let all = "SELECT count(*) FROM federation.people";
    let usage = "SELECT has_schema_privilege('federation', 'USAGE'), has_schema_privilege('public', 'USAGE')";
    assert_eq!((lines(&ana, all).await, lines(&ana, usage).await), (vec!["120".into()], vec!["t|t".into()]));
    run(&root, "REVOKE USAGE ON SCHEMA federation FROM public").await;
    assert_eq!(code(&ana, all).await, "42P01");
    assert_eq!(lines(&ana, usage).await, ["f|t"]);
    assert_eq!(lines(&ana, "SELECT count(*) FROM people").await, ["60"], "public is open still");
    assert_eq!(lines(&ana, "SELECT count(*) FROM kanon.catalogs WHERE schema_name = 'federation'").await, ["0"]);
    run(&root, "GRANT USAGE ON SCHEMA federation TO analyst").await;
    assert_eq!((lines(&ana, all).await, lines(&ana, usage).await), (vec!["120".into()], vec!["t|t".into()]));
    run(&root, "REVOKE ALL ON SCHEMA federation FROM analyst").await;
    assert_eq!(code(&ana, all).await, "42P01");
    run(&root, "GRANT USAGE ON SCHEMA federation TO public").await;
    assert_eq!(lines(&ana, all).await, ["120"]);
    for (sql, state) in [
        ("GRANT USAGE ON SCHEMA nowhere TO public", "3F000"),
        ("REVOKE USAGE ON SCHEMA kanon FROM public", "0A000"),
        ("GRANT CREATE ON SCHEMA public TO public", "0A000"),
        ("GRANT USAGE (a) ON SCHEMA public TO public", "0A000"),
        ("GRANT USAGE ON SCHEMA public TO nobody", "42704"),
    ] {
        assert_eq!(code(&root, sql).await, state, "{sql}");
    }
    assert_eq!(code(&ana, "GRANT USAGE ON SCHEMA public TO public").await, "42501");
}
