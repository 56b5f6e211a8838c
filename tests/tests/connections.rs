//! Connections to a real node: how many, how long they may be silent, and that what nobody waits for any more stops.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on ends"
)]

use std::future::Future;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kanon_tests::client::Client;
use kanon_tests::{ADMIN, Federation, Site, SiteSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

/// A generous bound on whatever must happen at all.
const SOON: Duration = Duration::from_secs(60);
/// Shares of a processor: of a node that works, however many others do on this machine, and of one that does not.
const BUSY: f64 = 0.05;
const AT_REST: f64 = 0.03;
/// Computes for longer than any test.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000)";
/// The same, of few rows.
const CROSS_JOIN: &str = "SELECT count(*) FROM generate_series(1, 1000000) a(n), generate_series(1, 1000000) b(m)";
/// Sends for longer than any test.
const STREAM: &str = "SELECT n, n * 2 FROM generate_series(1, 1000000000000) AS g(n)";

/// One node, with lines added to its configuration.
async fn node(lines: &str) -> Federation {
    let site = SiteSpec { id: "cleveland", setup: Vec::new(), files: Vec::new() };
    Federation::configured(vec![site], lines).await
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) -> Duration {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < SOON, "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

/// Processor time that the node has used, in seconds.
fn cpu_seconds(site: &Site) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", site.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, in hundredths of a second on Linux.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// The share of one processor that the node uses now.
async fn load(site: &Site) -> f64 {
    let (before, began) = (cpu_seconds(site), Instant::now());
    tokio::time::sleep(Duration::from_millis(500)).await;
    (cpu_seconds(site) - before) / began.elapsed().as_secs_f64()
}

async fn until_busy(site: &Site) {
    eventually("work", || async { load(site).await > BUSY }).await;
}

async fn until_at_rest(site: &Site) -> Duration {
    eventually("rest", || async { load(site).await < AT_REST }).await
}

fn state(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("-", |code| code.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_connections_at_once_as_many_as_there_are_places_get_in_and_nobody_else_is_harmed() {
    const PLACES: usize = 30;
    let federation = node(&format!("max_connections = {PLACES}")).await;
    let site = &federation.sites[0];
    let steady = site.wait().await;
    let attempts: Vec<_> = (0..950).map(|_| tokio::spawn(Client::connect(site.pg_port, ADMIN.0, ADMIN.1))).collect();
    let mut asked = 0;
    let (mut inside, mut refused) = (Vec::new(), 0);
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(client) => inside.push(client),
            Err(error) => {
                assert_eq!(state(&error), "53300", "{error:?}");
                assert_eq!(error.as_db_error().unwrap().message(), "sorry, too many clients already");
                refused += 1;
            }
        }
        if asked < 50 {
            assert_eq!(steady.ask("SELECT 1").await.unwrap().lines(), ["1"]);
            asked += 1;
        }
    }
    // One place was the steady client's, one may still have been that of the harness.
    assert!((PLACES - 2..PLACES).contains(&inside.len()), "{} got in", inside.len());
    assert_eq!(inside.len() + refused, 950);
    for client in &inside {
        assert_eq!(client.ask("SELECT 2").await.unwrap().lines(), ["2"]);
    }
    assert_eq!(state(&site.connect(ADMIN).await.err().unwrap()), "53300");
    // Places are given back.
    inside.clear();
    let (mut again, began) = (Vec::new(), Instant::now());
    while again.len() < PLACES - 1 {
        assert!(began.elapsed() < SOON, "places are not given back: {} of {PLACES}", again.len() + 1);
        match site.connect(ADMIN).await {
            Ok(client) => again.push(client),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    assert_eq!(steady.ask("SELECT 3").await.unwrap().lines(), ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_never_say_who_they_are_are_closed_and_keep_nobody_out() {
    let federation = node("").await;
    let site = &federation.sites[0];
    let mut silent = Vec::new();
    for number in 0..600 {
        let mut socket = TcpStream::connect(("127.0.0.1", site.pg_port)).await.unwrap();
        if number % 2 == 0 {
            // Half a start-up packet.
            socket.write_all(&[0, 0, 0, 40, 0, 3]).await.unwrap();
        }
        silent.push(socket);
    }
    let client = tokio::time::timeout(SOON, site.connect(ADMIN)).await.expect("nobody gets in").unwrap();
    assert_eq!(client.ask("SELECT 1").await.unwrap().lines(), ["1"]);
    for mut socket in silent {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(SOON, socket.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "a socket that says nothing stays open");
    }
    assert_eq!(client.ask("SELECT 2").await.unwrap().lines(), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_statement_stops_whether_it_computes_or_sends() {
    let federation = node("").await;
    let site = &federation.sites[0];
    let client = site.connect(ADMIN).await.unwrap();
    let cancel = client.inner.cancel_token();
    // Long before its first row.
    let computing = async { client.ask(ENDLESS).await.unwrap_err() };
    let cancelling = async {
        until_busy(site).await;
        cancel.cancel_query(NoTls).await.unwrap();
        Instant::now()
    };
    let (error, at) = tokio::join!(computing, cancelling);
    assert_eq!((error.code.as_str(), error.message.as_str()), ("57014", "canceling statement due to user request"));
    println!("computing: cancelled after {:?}", at.elapsed());
    until_at_rest(site).await;
    // In the middle of rows, by a reader that reads.
    let mut rows = Box::pin(client.inner.query_raw(STREAM, [] as [i32; 0]).await.unwrap());
    for _ in 0..100_000 {
        rows.next().await.unwrap().unwrap();
    }
    cancel.cancel_query(NoTls).await.unwrap();
    let at = Instant::now();
    let error = loop {
        match rows.next().await {
            Some(Ok(_)) => assert!(at.elapsed() < SOON, "rows go on"),
            Some(Err(error)) => break error,
            None => panic!("it ended by itself"),
        }
    };
    assert_eq!(state(&error), "57014");
    println!("sending: cancelled after {:?}", at.elapsed());
    drop(rows);
    assert_eq!(client.ask("SELECT 1").await.unwrap().lines(), ["1"]);
    until_at_rest(site).await;
    // And by a reader that does not.
    let rows = Box::pin(client.inner.query_raw(STREAM, [] as [i32; 0]).await.unwrap());
    tokio::time::sleep(Duration::from_millis(300)).await;
    cancel.cancel_query(NoTls).await.unwrap();
    drop(rows);
    let answer = tokio::time::timeout(SOON, client.ask("SELECT 2")).await.expect("the connection is stuck");
    assert_eq!(answer.unwrap().lines(), ["2"]);
    // A stranger's request stops nothing: the secret must be right.
    let ask = client.ask("SELECT count(*) FROM generate_series(1, 3000000)");
    let forged = async {
        let mut socket = TcpStream::connect(("127.0.0.1", site.pg_port)).await.unwrap();
        let pid: i32 = 1_000;
        let mut packet = vec![0, 0, 0, 16, 4, 210, 22, 46];
        for guess in pid..pid + 50 {
            packet.truncate(8);
            packet.extend_from_slice(&guess.to_be_bytes());
            packet.extend_from_slice(&1i32.to_be_bytes());
            let _ = socket.write_all(&packet).await;
            socket = TcpStream::connect(("127.0.0.1", site.pg_port)).await.unwrap();
        }
    };
    assert_eq!(tokio::join!(ask, forged).0.unwrap().lines(), ["3000000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_that_went_away_asked_for_stops() {
    let federation = node("").await;
    let site = &federation.sites[0];
    until_at_rest(site).await;
    for statement in [ENDLESS, STREAM, CROSS_JOIN] {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(site.pg_port).user(ADMIN.0).password(ADMIN.1).dbname("kanon");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        let socket = tokio::spawn(connection);
        let asking = tokio::spawn(async move {
            let mut rows = Box::pin(client.query_raw(statement, [] as [i32; 0]).await.unwrap());
            let mut seen = 0u64;
            while let Some(Ok(_)) = rows.next().await {
                seen += 1;
            }
            seen
        });
        // It works, and goes on working, as long as the client is there.
        until_busy(site).await;
        assert!(load(site).await > BUSY, "{statement}: it stopped by itself");
        assert!(!asking.is_finished());
        // The connection is gone without a word.
        socket.abort();
        let took = until_at_rest(site).await;
        println!("{statement}: at rest {took:?} after the client left");
        asking.abort();
    }
    let client = site.connect(ADMIN).await.unwrap();
    assert_eq!(client.ask("SELECT 1").await.unwrap().lines(), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_people_come_at_ticks() {
    const TICK: Duration = Duration::from_millis(400);
    let federation = node("release_tick_ms = 400").await;
    let site = &federation.sites[0];
    let client = site.connect(ADMIN).await.unwrap();
    let rows: String = (0..40).map(|n| format!("{n},{},{n}\n", n % 2)).collect();
    std::fs::write(site.dir.join("people.csv"), format!("pid,sex,age\n{rows}")).unwrap();
    for statement in [
        format!("CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{}/people.csv'", site.dir.display()),
        "ALTER TABLE people SET (access = 'cohort', unit = 'pid', min_cohort = 10)".to_owned(),
    ] {
        client.ask(&statement).await.unwrap();
    }
    for sql in ["SELECT count(*) FROM people", "SELECT sex, count(*) FROM people WHERE age > 35 GROUP BY sex"] {
        let began = Instant::now();
        client.ask(sql).await.unwrap();
        assert!(began.elapsed() >= TICK, "{sql}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_s_own_limit_bounds_statements_that_set_none() {
    let federation = node("statement_timeout_seconds = 1").await;
    let site = &federation.sites[0];
    let client = site.connect(ADMIN).await.unwrap();
    for statement in
        [ENDLESS, STREAM, "SET statement_timeout = 0; SELECT count(*) FROM generate_series(1, 1000000000000)"]
    {
        let error = tokio::time::timeout(SOON, client.ask(statement)).await.expect(statement).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("57014", "canceling statement due to statement timeout"),
            "{statement}"
        );
    }
    until_at_rest(site).await;
    // A cursor outlives the statement that declares it, not the time of the one that reads it.
    client.ask("BEGIN; DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 1000000000000) AS g(n)").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(client.ask("FETCH 2 FROM c").await.unwrap().lines(), ["1", "2"]);
}
