//! Suspending tables, roles, peers and the node: effective at once, on what runs too, and for good until it is taken back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::time::{Duration, Instant};

use kanon_tests::client::{Client, ServerError, code, lines, refused, run};
use kanon_tests::clinic::Clinic;
use kanon_tests::flight::FlightClient;
use kanon_tests::{ADMIN, ANALYST, Federation, Site, SiteSpec};

/// How soon a brake must have stopped what runs.
const SOON: Duration = Duration::from_secs(5);
/// Runs for a minute over an open table.
const SLOW: &str = "SELECT count(*) FROM wards WHERE pg_sleep(60) IS NULL";
/// Runs for longer than a test over a protected table.
const HEAVY: &str = "SELECT count(*) FROM people p CROSS JOIN generate_series(1, 2000000000) g";
const COUNT: &str = "SELECT count(*) FROM people";

fn spec(id: &'static str) -> SiteSpec {
    let people: String = (0..60).map(|i| format!("{i},{}\n", i % 3)).collect();
    let setup = [
        "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'",
        "ALTER TABLE wards SET (access = 'open')",
        "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE people SET (access = 'cohort', unit = 'id', unit_kind = 'patient', min_cohort = 10)",
    ];
    let files = vec![
        ("wards.csv".to_owned(), b"ward,name\n0,north\n1,south\n2,west\n".to_vec()),
        ("people.csv".to_owned(), format!("id,ward\n{people}").into_bytes()),
    ];
    SiteSpec { id, setup: setup.map(str::to_owned).to_vec(), files }
}

async fn clinic() -> Federation {
    let federation = Federation::start(vec![spec("clinic")]).await;
    federation.grant_all(&["wards", "people"]).await;
    federation
}

/// What a statement that runs meanwhile ends with when `stop` is said: soon, and it ran until then.
async fn stopped(site: &Site, sql: &str, stop: &str) -> ServerError {
    let (ana, admin) = (site.connect(ANALYST).await.unwrap(), site.connect(ADMIN).await.unwrap());
    let text = sql.to_owned();
    let running = tokio::spawn(async move { ana.ask(&text).await });
    let watcher = site.connect(ANALYST).await;
    let until = Instant::now() + Duration::from_secs(20);
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT count(*) FROM%CROSS JOIN%' OR query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()";
    if let Ok(watcher) = watcher {
        while lines(&watcher, active).await == ["0"] {
            assert!(Instant::now() < until, "{sql} does not run");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!running.is_finished(), "{sql} runs until it is stopped: {:?}", running.await);
    let began = Instant::now();
    run(&admin, stop).await;
    let ended = tokio::time::timeout(SOON, running).await.unwrap_or_else(|_| panic!("{sql} runs after {stop}"));
    assert!(began.elapsed() < SOON);
    ended.unwrap().unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_table_stops_what_runs_what_is_open_and_what_was_planned() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let (ana, admin) = (site.connect(ANALYST).await.unwrap(), site.connect(ADMIN).await.unwrap());
    for (table, sql) in [("wards", SLOW), ("people", HEAVY)] {
        let error = stopped(site, sql, &format!("ALTER TABLE {table} SET (suspended = true)")).await;
        let expected = format!("table \"{table}\" was suspended by its steward");
        assert_eq!((error.code.as_str(), error.message), ("55000", expected), "{sql}");
        assert!(error.hint.is_some());
        run(&admin, &format!("ALTER TABLE {table} RESET (suspended)")).await;
    }
    // Plans that are kept, a cursor whose rows are read, and what is asked anew.
    let names = ana.inner.prepare("SELECT name FROM wards").await.unwrap();
    assert_eq!(ana.inner.query(&names, &[]).await.unwrap().len(), 3);
    run(&ana, "PREPARE p AS SELECT count(*) FROM people").await;
    assert_eq!(lines(&ana, "EXECUTE p").await, ["60"]);
    run(&ana, "BEGIN; DECLARE c CURSOR FOR SELECT g FROM wards CROSS JOIN generate_series(1, 1000000) g").await;
    assert_eq!(lines(&ana, "FETCH 2 FROM c").await.len(), 2);
    run(&admin, "ALTER TABLE wards SET (suspended = true)").await;
    run(&admin, "ALTER TABLE people SET (suspended = true)").await;
    assert_eq!(code(&ana, "FETCH 100000 FROM c").await, "55000");
    run(&ana, "ROLLBACK").await;
    assert_eq!(ana.inner.query(&names, &[]).await.unwrap_err().code().unwrap().code(), "55000");
    for sql in ["EXECUTE p", COUNT, "EXPLAIN SELECT count(*) FROM people", "SELECT * FROM wards"] {
        assert_eq!(code(&ana, sql).await, "55000", "{sql}");
    }
    run(&admin, "ALTER TABLE people RESET (suspended)").await;
    assert_eq!(lines(&ana, "EXECUTE p").await, ["60"]);
    let shown = "SELECT kind, name FROM kanon.suspensions ORDER BY 1, 2";
    assert_eq!(lines(&admin, shown).await, ["table|wards"]);
    let entries = "SELECT count(*) > 0 FROM kanon.audit_log WHERE decision = 'refused' AND rule = '55000'";
    assert_eq!(lines(&admin, entries).await, ["t"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_role_is_out_at_once_and_does_not_come_back() {
    let mut federation = clinic().await;
    let site = &federation.sites[0];
    let admin = site.connect(ADMIN).await.unwrap();
    let mut flight = FlightClient::connect(site.flight_port, ANALYST).await;
    assert_eq!(flight.ask(COUNT).await.unwrap(), ["60"]);
    let idle = site.connect(ANALYST).await.unwrap();
    assert_eq!(code(&idle, &format!("ALTER ROLE {} SET kanon.suspended = on", ANALYST.0)).await, "42501");
    let error = stopped(site, HEAVY, &format!("ALTER ROLE {} SET kanon.suspended = on", ANALYST.0)).await;
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("57P01", "terminating connection due to administrator command")
    );
    // The idle session has ended too.
    let until = Instant::now() + SOON;
    while !idle.inner.is_closed() {
        assert!(Instant::now() < until, "the idle session lives");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(flight.ask(COUNT).await.unwrap_err().code, "28000");
    let wrong = site.connect((ANALYST.0, "wrong")).await.err().unwrap();
    let right = site.connect(ANALYST).await.err().unwrap();
    let said = |error: &tokio_postgres::Error| {
        let error = error.as_db_error().unwrap();
        (error.code().code().to_owned(), error.message().to_owned())
    };
    assert_eq!(said(&right), said(&wrong), "nothing tells why");
    assert_eq!(said(&right).0, "28P01");
    assert_eq!(lines(&admin, "SELECT kind, name, suspended_by FROM kanon.suspensions").await, ["role|ana|root"]);
    let until = Instant::now() + SOON;
    let told = "SELECT DISTINCT rule FROM kanon.audit_log WHERE action = 'login' AND decision = 'refused'";
    while lines(&admin, told).await != ["the role is suspended"] {
        assert!(Instant::now() < until, "the log says why");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let change = "SELECT decision FROM kanon.audit_log WHERE statement LIKE 'ALTER ROLE ana SET kanon.suspended%' AND principal = 'root' ORDER BY seq";
    assert_eq!(lines(&admin, change).await, ["asked", "allowed"]);
    // Over a restart too.
    let site = federation.site_mut("clinic");
    site.terminate().await;
    site.spawn();
    let admin = site.wait().await;
    assert!(site.connect(ANALYST).await.is_err());
    run(&admin, &format!("ALTER ROLE {} RESET kanon.suspended", ANALYST.0)).await;
    let ana = site.connect(ANALYST).await.unwrap();
    assert_eq!(lines(&ana, COUNT).await, ["60"]);
    assert_eq!(code(&admin, "ALTER ROLE nobody SET kanon.suspended = on").await, "42704");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_is_left_who_can_log_in() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let root = site.connect(ADMIN).await.unwrap();
    for sql in [
        "ALTER ROLE root SET kanon.suspended = on",
        "REVOKE admin FROM root",
        "ALTER ROLE root NOLOGIN",
        "ALTER ROLE root PASSWORD NULL",
        "DROP ROLE root",
    ] {
        assert_eq!(code(&root, sql).await, "55000", "{sql}");
    }
    // Somebody who cannot log in does not count; somebody who can, through another role too, does.
    run(
        &root,
        "CREATE ROLE admins; GRANT admin TO admins; CREATE ROLE adam PASSWORD 'adam''s password'; GRANT admins TO adam",
    )
    .await;
    assert_eq!(code(&root, "REVOKE admin FROM root").await, "55000");
    run(&root, "ALTER ROLE adam LOGIN").await;
    let adam = site.connect(("adam", "adam's password")).await.unwrap();
    run(&adam, "ALTER ROLE root SET kanon.suspended = on").await;
    for sql in ["DROP ROLE admins", "REVOKE admins FROM adam", "REVOKE admin FROM admins"] {
        let error = refused(&adam, sql).await;
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("55000", "role \"adam\" is the last admin who can log in"),
            "{sql}"
        );
    }
    run(&adam, "ALTER ROLE root RESET kanon.suspended").await;
    run(&adam, "REVOKE admins FROM adam").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_node_answers_from_open_tables_alone() {
    let mut federation = clinic().await;
    let site = &federation.sites[0];
    let (ana, admin) = (site.connect(ANALYST).await.unwrap(), site.connect(ADMIN).await.unwrap());
    assert_eq!(code(&ana, "ALTER SYSTEM SET kanon.suspended = on").await, "42501");
    let error = stopped(site, HEAVY, "ALTER SYSTEM SET kanon.suspended = on").await;
    assert_eq!(error.code, "55000");
    let error = refused(&ana, COUNT).await;
    assert_eq!(error.code, "55000");
    assert!(error.message.contains("this node is suspended") && error.hint.is_some(), "{error:?}");
    // An admin who was granted it too, and in every form.
    run(&admin, "GRANT SELECT ON people TO root").await;
    assert_eq!(code(&admin, COUNT).await, "55000");
    assert_eq!(code(&ana, "EXPLAIN (PRIVACY) SELECT count(*) FROM people").await, "55000");
    assert_eq!(lines(&ana, "SELECT count(*) FROM wards").await, ["3"]);
    assert_eq!(lines(&ana, "SELECT kind, name, suspended_by FROM kanon.suspensions").await, ["node|clinic|"]);
    let site = federation.site_mut("clinic");
    site.kill();
    site.spawn();
    let admin = site.wait().await;
    let ana = site.connect(ANALYST).await.unwrap();
    assert_eq!(code(&ana, COUNT).await, "55000", "after a crash");
    run(&admin, "ALTER SYSTEM RESET kanon.suspended").await;
    assert_eq!(lines(&ana, COUNT).await, ["60"]);
    assert_eq!(code(&admin, "ALTER SYSTEM SET kanon.suspnded = on").await, "42704");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_peer_is_neither_heard_nor_asked() {
    let federation = Federation::start(vec![spec("basel"), spec("zurich")]).await;
    federation.grant_all(&["wards", "people"]).await;
    let (basel, zurich) = (federation.site("basel"), federation.site("zurich"));
    let ana = basel.connect(ANALYST).await.unwrap();
    let admin = zurich.connect(ADMIN).await.unwrap();
    let both = "SELECT count(*) FROM federation.people";
    assert_eq!(lines(&ana, both).await, ["120"]);
    // What runs for a role of the peer stops, and nothing more is answered to it.
    let remote = "SELECT count(*) FROM zurich.people p";
    assert_eq!(lines(&ana, remote).await, ["60"]);
    run(&admin, "ALTER ROLE \"ana@basel\" SET kanon.suspended = on").await;
    let error = refused(&ana, remote).await;
    assert_eq!(error.code, "42501");
    assert!(error.message.contains("role \"ana@basel\" is suspended at this site"), "{error:?}");
    run(&admin, "ALTER ROLE \"ana@basel\" RESET kanon.suspended").await;
    assert_eq!(lines(&ana, remote).await, ["60"]);
    // The peer as a whole: rows on their way end.
    run(
        &ana,
        "BEGIN; DECLARE c CURSOR FOR SELECT w.name, g FROM zurich.wards w CROSS JOIN generate_series(1, 3000000) g",
    )
    .await;
    lines(&ana, "FETCH 2 FROM c").await;
    run(&admin, "ALTER SERVER basel OPTIONS (SET suspended 'true')").await;
    run(&ana, "ROLLBACK").await;
    let error = refused(&ana, both).await;
    assert!(error.message.contains("suspended at this site"), "{error:?}");
    let ana_there = zurich.connect(ANALYST).await.unwrap();
    let error = refused(&ana_there, both).await;
    assert_eq!((error.code.as_str(), error.message.as_str()), ("55000", "site \"basel\": this node has suspended it"));
    let status = "SELECT node_id, status FROM kanon.nodes ORDER BY 1";
    assert_eq!(lines(&admin, status).await, ["basel|suspended", "zurich|up"]);
    assert_eq!(lines(&admin, "SELECT kind, name FROM kanon.suspensions").await, ["peer|basel"]);
    assert_eq!(code(&admin, "ALTER SERVER geneva OPTIONS (SET suspended 'true')").await, "42704");
    run(&admin, "ALTER SERVER basel OPTIONS (DROP suspended)").await;
    let until = Instant::now() + SOON;
    while lines(&admin, status).await != ["basel|up", "zurich|up"] {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(lines(&ana, both).await, ["120"]);
    // A suspended node is none for its peers either.
    run(&admin, "ALTER SYSTEM SET kanon.suspended = on").await;
    let error = refused(&ana, both).await;
    assert_eq!(error.code, "55000");
    assert!(error.message.contains("site \"zurich\": nothing is answered from table \"people\""), "{error:?}");
    assert_eq!(code(&ana_there, "SELECT count(*) FROM basel.people").await, "55000", "nor through it");
}

/// Asks what nobody has asked before: it is charged.
async fn ask_of_age(client: &Client, age: u32) -> Result<Vec<String>, ServerError> {
    client.ask(&format!("SELECT count(*) FROM patients WHERE age > {age}")).await.map(|answer| answer.lines())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_a_role_bounds_it_in_every_kind() {
    let federation = Clinic { budget_epsilon: 100.0, ..Clinic::default() }.start().await;
    let site = &federation.sites[0];
    let (ana, admin) = (site.connect(ANALYST).await.unwrap(), site.connect(ADMIN).await.unwrap());
    assert_eq!(code(&ana, "ALTER ROLE ana SET kanon.budget_epsilon = 50").await, "42501");
    run(&admin, "ALTER ROLE ana SET kanon.budget_epsilon = 2").await;
    let shown = "SELECT principal, budget_epsilon, left_epsilon FROM kanon.budget ORDER BY 1 NULLS LAST";
    assert_eq!(lines(&admin, shown).await, ["ana|2|2", "|100|100"]);
    // The stricter counts, whichever way it was said.
    run(&admin, "ALTER PRIVACY UNIT patient FOR ana SET (budget_epsilon = 50)").await;
    ask_of_age(&ana, 30).await.unwrap();
    ask_of_age(&ana, 31).await.unwrap();
    let error = ask_of_age(&ana, 32).await.unwrap_err();
    assert_eq!(error.code, "53400");
    assert!(error.message.contains("the privacy budget of \"ana\" for unit kind \"patient\""), "{error:?}");
    ask_of_age(&ana, 31).await.expect("what was answered is answered");
    assert_eq!(
        lines(&ana, "SELECT spent_epsilon, left_epsilon FROM kanon.budget WHERE principal = 'ana'").await,
        ["2|0"]
    );
    run(&admin, "ALTER ROLE ana RESET kanon.budget_epsilon").await;
    ask_of_age(&ana, 32).await.unwrap();
    run(&admin, "ALTER PRIVACY UNIT patient FOR ana SET (budget_epsilon = 3)").await;
    run(&admin, "ALTER ROLE ana SET kanon.budget_epsilon TO 50").await;
    assert_eq!(ask_of_age(&ana, 33).await.unwrap_err().code, "53400");
    // Others are not bounded by it.
    run(&admin, "GRANT SELECT ON patients TO root").await;
    ask_of_age(&admin, 40).await.unwrap();
    run(&admin, "CREATE ROLE \"ana@basel\"").await;
    run(&admin, "ALTER ROLE \"ana@basel\" SET kanon.budget_delta = 1e-9").await;
    assert_eq!(code(&admin, "ALTER ROLE ana SET kanon.budget_epsilon = 0").await, "22023");
    assert_eq!(code(&admin, "ALTER ROLE nobody SET kanon.budget_epsilon = 1").await, "42704");
}
