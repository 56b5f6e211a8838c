//! How a node ends: drained by SIGTERM, killed under load, and asked for what it does not do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kanon_tests::{ADMIN, Federation, SiteSpec, signal};
use tokio_postgres::NoTls;

fn one() -> Vec<SiteSpec> {
    let csv: String = std::iter::once("id,n\n".to_owned()).chain((0..100).map(|i| format!("{i},1\n"))).collect();
    let setup = [
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{dir}/t.csv'",
        "ALTER TABLE t SET (access = 'cohort', unit = 'id', min_cohort = 5)",
    ];
    let setup = setup.map(str::to_owned).to_vec();
    vec![SiteSpec { id: "clinic", setup, files: vec![("t.csv".to_owned(), csv.into_bytes())] }]
}

/// A statement that takes a while, and one that takes for ever.
const SLOW: &str =
    "SELECT sum((a.value * b.value) % 7) FROM generate_series(1, 10000) a(value), generate_series(1, 50000) b(value)";
const ENDLESS: &str = "SELECT sum((a.value * b.value) % 7) FROM generate_series(1, 10000000) a(value), generate_series(1, 10000000) b(value)";

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_idle_sessions_at_once_and_lets_statements_finish() {
    let mut federation = Federation::start(one()).await;
    let site = federation.site_mut("clinic");
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(site.pg_port).user(ADMIN.0).password(ADMIN.1).dbname("kanon");
    let (idle, connection) = config.connect(NoTls).await.unwrap();
    let ended = tokio::spawn(connection);
    idle.simple_query("SELECT 1").await.unwrap();
    let busy = site.connect(ADMIN).await.unwrap();
    let running = tokio::spawn(async move { busy.ask(SLOW).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!running.is_finished(), "the statement is too quick for this test");
    let asked = Instant::now();
    let pid = site.pid();
    signal(pid, "TERM");
    let error = ended.await.unwrap().unwrap_err();
    assert!(!running.is_finished() || asked.elapsed() < Duration::from_secs(1), "idle ones do not wait for the others");
    assert_eq!(error.as_db_error().map(|e| e.code().code()), Some("57P01"), "{error:?}");
    assert!(site.connect(ADMIN).await.is_err(), "no new sessions");
    let answer = running.await.unwrap().expect("a running statement finishes");
    assert_eq!(answer.rows.len(), 1);
    let status = site.wait_for_end().await;
    assert_eq!(status.code(), Some(0), "{}", site.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_does_not_finish_is_stopped_at_the_end_of_its_time() {
    let mut federation = Federation::start(one()).await;
    let site = federation.site_mut("clinic");
    site.kill();
    let config = site.dir.join("kanon.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}shutdown_seconds = 1\n")).unwrap();
    site.spawn();
    let busy = site.wait().await;
    let running = tokio::spawn(async move { busy.ask(ENDLESS).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!running.is_finished());
    let asked = Instant::now();
    let status = site.terminate().await;
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0), "{}", site.log());
    assert!(running.await.unwrap().is_err());
}

/// What was acknowledged is there after a crash, whatever ran when it came.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_under_load_loses_nothing_it_acknowledged() {
    let mut federation = Federation::start(one()).await;
    for round in 0..3 {
        let site = federation.site_mut("clinic");
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut load = Vec::new();
        for _ in 0..3 {
            let (client, stop) = (site.wait().await, Arc::clone(&stop));
            load.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match client.ask("SELECT count(*), sum(n) FROM t").await {
                        Ok(answer) => assert_eq!(answer.lines(), ["100|100"]),
                        Err(_) => break,
                    }
                }
            }));
        }
        let (admin, done) = (site.wait().await, Arc::clone(&acknowledged));
        load.push(tokio::spawn(async move {
            for i in 0.. {
                if admin.ask(&format!("CREATE ROLE r{round}_{i}")).await.is_err() {
                    break;
                }
                done.store(i + 1, Ordering::SeqCst);
            }
        }));
        crate::until("some roles", || (acknowledged.load(Ordering::SeqCst) > 5).then_some(())).await;
        site.kill();
        stop.store(true, Ordering::Relaxed);
        for task in load {
            task.await.unwrap();
        }
        site.spawn();
        let admin = site.wait().await;
        let sql = format!("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'r{round}\\_%'");
        let found: usize = admin.ask(&sql).await.unwrap().lines()[0].parse().unwrap();
        let promised = acknowledged.load(Ordering::SeqCst);
        assert!(found == promised || found == promised + 1, "{found} of {promised}");
        assert_eq!(admin.ask("SELECT count(*), sum(n) FROM t").await.unwrap().lines(), ["100|100"]);
    }
}

/// A hang-up does not end a node.
#[tokio::test(flavor = "multi_thread")]
async fn sighup_is_no_end() {
    let mut federation = Federation::start(one()).await;
    let site = federation.site_mut("clinic");
    let client = site.wait().await;
    signal(site.pid(), "HUP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(client.ask("SELECT count(*) FROM t").await.unwrap().lines(), ["100"]);
    assert_eq!(site.terminate().await.code(), Some(0));
}
