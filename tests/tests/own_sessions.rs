//! What a session sees and stops of others: its own principal's alone. And what takes no time of protected tables, and no memory without bound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::time::{Duration, Instant};

use kanon_tests::client::Client;
use kanon_tests::{ADMIN, Federation, SiteSpec};

const ALICE: (&str, &str) = ("alice", "alice's password");
const BOB: (&str, &str) = ("bob", "bob's password");

/// A node with an open table `wards` and a protected one `people`, and two analysts who may read both.
async fn clinic() -> Federation {
    let people: String = (0..60).map(|i| format!("{i},{}\n", i % 3)).collect();
    let mut setup = Vec::new();
    for role in [ALICE, BOB] {
        setup.push(format!("CREATE ROLE {} LOGIN PASSWORD '{}'", role.0, role.1.replace('\'', "''")));
        setup.push(format!("GRANT analyst TO {}", role.0));
    }
    for statement in [
        "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'",
        "ALTER TABLE wards SET (access = 'open')",
        "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE people SET (access = 'cohort', unit = 'id', unit_kind = 'patient', unit_unique = true, min_cohort = 10)",
    ] {
        setup.push(statement.to_owned());
    }
    for role in [ALICE, BOB] {
        for table in ["wards", "people"] {
            setup.push(format!("GRANT SELECT ON {table} TO {}", role.0));
        }
    }
    let files = vec![
        ("wards.csv".to_owned(), b"ward,name\n0,north\n1,south\n2,west\n".to_vec()),
        ("people.csv".to_owned(), format!("id,ward\n{people}").into_bytes()),
    ];
    Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await
}

async fn one(client: &Client, sql: &str) -> String {
    client.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).lines().join(" ")
}

async fn code(client: &Client, sql: &str) -> String {
    match client.ask(sql).await {
        Ok(answer) => panic!("{sql} was answered: {answer:?}"),
        Err(error) => error.code,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_others_are_neither_seen_nor_stopped() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let alice = site.connect(ALICE).await.unwrap();
    let second = site.connect(ALICE).await.unwrap();
    let bob = site.connect(BOB).await.unwrap();
    let root = site.connect(ADMIN).await.unwrap();
    let pid = one(&second, "SELECT pg_backend_pid()").await;

    assert_eq!(one(&alice, "SELECT count(*), count(DISTINCT usename) FROM pg_stat_activity").await, "2|1");
    let mine = one(&alice, "SELECT pg_backend_pid()").await;
    let pids = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity";
    assert_eq!(one(&alice, pids).await, format!("{mine} {pid}"), "in the order in which they were opened");
    assert_eq!(one(&bob, "SELECT usename FROM pg_stat_activity").await, "bob");
    one(&root, "CREATE ROLE carol LOGIN PASSWORD 'a secret of carol'").await;
    let theirs = site.connect(ADMIN).await.unwrap();
    let said = one(&theirs, "SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()").await;
    assert!(said.contains("CREATE ROLE") && !said.contains("secret"), "{said}");

    let sleeps = tokio::spawn(async move {
        let answer = second.ask("SELECT pg_sleep(60)").await;
        (second, answer)
    });
    let active = format!("SELECT state, query FROM pg_stat_activity WHERE pid = {pid}");
    while one(&alice, &active).await != "active|SELECT pg_sleep(60)" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for other in [&bob, &root] {
        for signal in ["pg_cancel_backend", "pg_terminate_backend"] {
            assert_eq!(one(other, &format!("SELECT {signal}({pid})")).await, "f");
        }
    }
    assert!(!sleeps.is_finished());
    assert_eq!(one(&alice, &format!("SELECT pg_cancel_backend({pid})")).await, "t");
    let (second, answer) = sleeps.await.unwrap();
    assert_eq!(answer.unwrap_err().code, "57014");
    assert_eq!(one(&second, "SELECT 1").await, "1");

    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    assert_eq!(one(&alice, sql).await, "t");
    assert!(["57P01", "-"].contains(&code(&second, "SELECT 1").await.as_str()));
    assert_eq!(one(&alice, "SELECT count(*) FROM pg_stat_activity").await, "1");
    assert_eq!(one(&bob, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_sleeps_over_protected_tables() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let alice = site.connect(ALICE).await.unwrap();
    one(&alice, "SELECT ward, count(*) FROM people GROUP BY ward").await;
    let begun = Instant::now();
    for sql in [
        "SELECT pg_sleep(30) FROM people",
        "SELECT count(*) FROM people WHERE pg_sleep(30) IS NULL",
        "SELECT count(*), pg_sleep(30) FROM people",
        "SELECT pg_sleep(n) FROM (SELECT count(*) AS n FROM people) AS s",
        "SELECT count(*) FROM people AS p JOIN wards AS w ON w.ward = p.ward AND pg_sleep(30) IS NULL",
        "SELECT (SELECT count(*) FROM people), pg_sleep(30)",
        "SELECT pg_sleep(30) WHERE EXISTS (SELECT 1 FROM people)",
        "SELECT pg_cancel_backend(1) FROM people",
        "SELECT count(*) FROM people WHERE pg_terminate_backend(id)",
    ] {
        let code = code(&alice, sql).await;
        assert!(["0A000", "42501"].contains(&code.as_str()), "{sql}: {code}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "something slept");
    assert_eq!(
        one(&alice, "SELECT count(*) FROM (SELECT pg_sleep(0.001) AS s FROM wards) AS t WHERE s IS NOT NULL").await,
        "3"
    );
    // Neither describing nor explaining waits.
    let begun = Instant::now();
    one(&alice, "EXPLAIN SELECT pg_sleep(30)").await;
    alice.inner.prepare("SELECT pg_sleep(30)").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_scrolls_keeps_so_much_and_no_more() {
    let federation = clinic().await;
    let site = &federation.sites[0];
    let alice = site.connect(ALICE).await.unwrap();
    // A hundred megabytes.
    let many = "SELECT repeat('x', 10000) AS t FROM generate_series(1, 10000) AS g(n)";
    one(&alice, "BEGIN").await;
    one(&alice, &format!("DECLARE c SCROLL CURSOR FOR {many}")).await;
    assert_eq!(code(&alice, "MOVE ALL FROM c").await, "53200");
    one(&alice, "ROLLBACK").await;
    one(&alice, "BEGIN").await;
    one(&alice, &format!("DECLARE c NO SCROLL CURSOR FOR {many}")).await;
    one(&alice, "MOVE ALL FROM c").await;
    one(&alice, "ROLLBACK").await;
    // A release is one answer, whichever way it is read.
    one(&alice, "BEGIN").await;
    one(&alice, "DECLARE c SCROLL CURSOR FOR SELECT ward, count(*) FROM people GROUP BY ward ORDER BY ward").await;
    assert_eq!(one(&alice, "FETCH ALL FROM c").await, "0|20 1|20 2|20");
    assert_eq!(one(&alice, "FETCH BACKWARD ALL FROM c").await, "2|20 1|20 0|20");
    one(&alice, "COMMIT").await;
}
