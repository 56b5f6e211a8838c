//! A copy of a node's store that is put back gives nothing back: what its peers hold of its log says that it is old.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use kanon_tests::client::{Client, lines, refused};
use kanon_tests::{ANALYST, Federation, SiteSpec};

const STEWARD: (&str, &str) = ("stella", "stella's password");
const CLOSED: &str = "SELECT count(*) FROM kanon.suspensions WHERE kind = 'store'";

fn patients() -> Vec<u8> {
    let mut text = "pid,age\n".to_owned();
    (1..=400).for_each(|i| writeln!(text, "{i},{}", 20 + i % 50).unwrap());
    text.into_bytes()
}

fn clinic() -> SiteSpec {
    let setup = [
        "CREATE EXTERNAL TABLE patients STORED AS CSV LOCATION '{dir}/patients.csv'",
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 10, budget_delta = 1e-6, budget_window = '30 days')",
        "CREATE PRIVACY UNIT household WITH (budget_epsilon = 2)",
        "ALTER TABLE patients SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 5,
         epsilon_per_query = 1, delta_per_query = 1e-8)",
        "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE people SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', min_cohort = 5)",
        "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'",
        "ALTER TABLE wards SET (access = 'open')",
        "CREATE ROLE stella LOGIN PASSWORD 'stella''s password'",
        "GRANT steward TO stella",
    ];
    let files = vec![
        ("patients.csv".to_owned(), patients()),
        ("people.csv".to_owned(), patients()),
        ("wards.csv".to_owned(), b"ward\nw1\nw2\n".to_vec()),
    ];
    SiteSpec { id: "clinic", setup: setup.map(str::to_owned).to_vec(), files }
}

async fn start() -> Federation {
    let federation = Federation::start(vec![clinic(), SiteSpec { id: "zurich", setup: vec![], files: vec![] }]).await;
    let admin = federation.site("clinic").wait().await;
    for sql in [
        format!("CREATE ROLE {} LOGIN PASSWORD 'ana''s password'", ANALYST.0),
        format!("GRANT analyst TO {}", ANALYST.0),
        format!("GRANT SELECT ON patients, people, wards TO {}", ANALYST.0),
    ] {
        admin.ask(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    federation
}

fn older(age: u32) -> String {
    format!("SELECT count(*) FROM patients WHERE age > {age}")
}

async fn soon(client: &Client, sql: &str, wanted: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while lines(client, sql).await != [wanted] {
        assert!(Instant::now() < until, "{sql} is never {wanted}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn put_back(copy: &Path, folder: &Path) {
    for name in ["kanon.db", "kanon.db-wal", "kanon.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    std::fs::copy(copy.join("kanon.db"), folder.join("kanon.db")).unwrap();
}

/// Stops the clinic, keeps a copy of its store, asks three questions more, stops it again and puts the copy back.
async fn with_an_old_store(federation: &mut Federation) {
    let copy = tempfile::tempdir().unwrap();
    let ana = federation.site("clinic").connect(ANALYST).await.unwrap();
    lines(&ana, &older(30)).await;
    federation.site_mut("clinic").terminate().await;
    let folder = federation.site("clinic").dir.clone();
    std::fs::copy(folder.join("kanon.db"), copy.path().join("kanon.db")).unwrap();
    federation.site_mut("clinic").spawn();
    federation.wait_for_peers().await;
    let ana = federation.site("clinic").connect(ANALYST).await.unwrap();
    for age in 31..34 {
        lines(&ana, &older(age)).await;
    }
    federation.site_mut("clinic").terminate().await;
    put_back(copy.path(), &folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_answers_nothing_until_it_is_written_off() {
    let mut federation = start().await;
    with_an_old_store(&mut federation).await;
    federation.site_mut("clinic").spawn();
    let stella = {
        federation.site("clinic").wait().await;
        federation.site("clinic").connect(STEWARD).await.unwrap()
    };
    soon(&stella, CLOSED, "1").await;
    let ana = federation.site("clinic").connect(ANALYST).await.unwrap();
    for sql in [older(31), older(30), "SELECT count(*) FROM people".to_owned()] {
        let error = refused(&ana, &sql).await;
        assert_eq!(error.code, "55000", "{sql}");
        assert!(error.message.contains("this node's store is older than what others hold of its log"), "{error:?}");
        assert!(error.hint.unwrap().contains("CALL kanon.write_off()"));
    }
    assert_eq!(lines(&ana, "SELECT count(*) FROM wards").await, ["2"]);
    let spent = "SELECT unit_kind, spent_epsilon, left_epsilon FROM kanon.budget WHERE scope = 'unit' ORDER BY 1";
    assert_eq!(lines(&stella, spent).await, ["household|0|2", "patient|1|9"], "what the old store knows");
    // It stays so, whether a peer is there or not.
    federation.site_mut("zurich").kill();
    federation.site_mut("clinic").kill();
    federation.site_mut("clinic").spawn();
    federation.site("clinic").wait().await;
    let ana = federation.site("clinic").connect(ANALYST).await.unwrap();
    let stella = federation.site("clinic").connect(STEWARD).await.unwrap();
    assert_eq!(refused(&ana, &older(40)).await.code, "55000");
    // Written off, everything counts as spent: the budget in the window as well as the one for life.
    assert_eq!(refused(&ana, "CALL kanon.write_off()").await.code, "42501");
    assert_eq!(refused(&stella, "CALL kanon.write_off(1)").await.code, "42883");
    stella.ask("CALL kanon.write_off()").await.unwrap();
    assert_eq!(refused(&stella, "CALL kanon.write_off()").await.code, "55000");
    assert_eq!(lines(&stella, CLOSED).await, ["0"]);
    assert_eq!(lines(&stella, spent).await, ["household|2|0", "patient|11|0"]);
    assert_eq!(refused(&ana, &older(31)).await.code, "53400");
    assert_eq!(lines(&ana, &older(30)).await.len(), 1, "what it knows that it answered");
    assert_eq!(lines(&ana, "SELECT count(*) FROM people").await, ["400"]);
    let entries = "SELECT decision FROM kanon.audit_log WHERE statement = 'CALL kanon.write_off()' AND principal = 'stella' ORDER BY seq";
    assert_eq!(lines(&stella, entries).await, ["asked", "allowed", "asked", "refused"]);
    // What was written off does not close it again.
    federation.site_mut("zurich").spawn();
    federation.wait_for_peers().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(lines(&stella, CLOSED).await, ["0"]);
    assert_eq!(lines(&ana, "SELECT count(*) FROM people").await, ["400"]);
    federation.site_mut("clinic").terminate().await;
    federation.site_mut("clinic").spawn();
    federation.wait_for_peers().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ana = federation.site("clinic").connect(ANALYST).await.unwrap();
    assert_eq!(lines(&ana, "SELECT count(*) FROM people").await, ["400"]);
    assert_eq!(refused(&ana, &older(31)).await.code, "53400", "the charge is durable");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_that_grew_on_is_found_when_a_peer_answers() {
    let mut federation = start().await;
    with_an_old_store(&mut federation).await;
    federation.site_mut("zurich").kill();
    federation.site_mut("clinic").spawn();
    federation.site("clinic").wait().await;
    let ana = federation.site("clinic").connect(ANALYST).await.unwrap();
    // Alone it works, and its log becomes longer than the one that was lost.
    for _ in 0..60 {
        lines(&ana, "SELECT count(*) FROM people").await;
    }
    lines(&ana, &older(50)).await;
    // And then it has a newer checkpoint than the one that its peer knows.
    federation.site_mut("clinic").terminate().await;
    federation.site_mut("clinic").spawn();
    federation.site_mut("zurich").spawn();
    let admin = federation.site("clinic").wait().await;
    soon(&admin, CLOSED, "1").await;
    let ana = federation.site("clinic").connect(ANALYST).await.unwrap();
    assert_eq!(refused(&ana, &older(31)).await.code, "55000");
    let why = "SELECT reason FROM kanon.suspensions WHERE kind = 'store'";
    assert!(lines(&admin, why).await[0].contains("written anew, or forked"));
}
