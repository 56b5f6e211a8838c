//! Many clients at once, over both protocols: of those that race for the last charge one wins, those that ask the same are one, and whoever
//! goes away gives nothing back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kanon_tests::client::{Client, ServerError};
use kanon_tests::clinic::{ANA, Clinic, spent};
use kanon_tests::flight::FlightClient;
use kanon_tests::{ADMIN, Site};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;

/// Clients, half of them over either protocol.
const CLIENTS: usize = 64;
/// A generous bound on whatever must happen at all.
const SOON: Duration = Duration::from_secs(60);

/// A client of either protocol.
enum Either {
    Postgres(Client),
    Flight(FlightClient),
}

impl Either {
    async fn ask(&mut self, sql: &str) -> Result<Vec<String>, ServerError> {
        match self {
            Either::Postgres(client) => client.ask(sql).await.map(|answer| answer.lines()),
            Either::Flight(client) => client.ask(sql).await,
        }
    }
}

async fn clients(site: &Site) -> Vec<Either> {
    let mut all = Vec::new();
    for number in 0..CLIENTS {
        all.push(match number % 2 {
            0 => Either::Postgres(site.connect(ANA).await.unwrap()),
            _ => Either::Flight(FlightClient::connect(site.flight_port, ANA).await),
        });
    }
    all
}

/// What each is told that asks its question, all at the same moment.
async fn at_once(clients: &mut Vec<Either>, sql: impl Fn(usize) -> String) -> Vec<Result<Vec<String>, ServerError>> {
    let ready = Arc::new(Barrier::new(clients.len()));
    let tasks: Vec<_> = clients
        .drain(..)
        .enumerate()
        .map(|(number, mut client)| {
            let (ready, sql) = (Arc::clone(&ready), sql(number));
            tokio::spawn(async move {
                ready.wait().await;
                let told = tokio::time::timeout(SOON, client.ask(&sql)).await;
                (client, told.unwrap_or_else(|_| panic!("{sql}: no answer")))
            })
        })
        .collect();
    let mut told = Vec::new();
    for task in tasks {
        let (client, one) = task.await.unwrap();
        clients.push(client);
        told.push(one);
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_that_race_for_the_last_charge_one_wins() {
    let federation = Clinic { budget_epsilon: 1.0, epsilon: 0.5, ..Clinic::default() }.start().await;
    let site = &federation.sites[0];
    let (ana, admin) = (site.connect(ANA).await.unwrap(), site.connect(ADMIN).await.unwrap());
    let mut clients = clients(site).await;
    ana.ask("SELECT count(*) FROM patients").await.unwrap();
    for round in 1..=3 {
        // There is room for one more of 0.5.
        let asks = |number| format!("SELECT count(*) FROM patients WHERE age > -{}", 64 * round + number);
        let told = at_once(&mut clients, asks).await;
        let (won, lost): (Vec<_>, Vec<_>) = told.iter().enumerate().partition(|(_, told)| told.is_ok());
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        for (_, error) in lost {
            let error = error.as_ref().unwrap_err();
            assert_eq!(error.code, "53400", "{error:?}");
            assert!(error.message.contains("left are epsilon 0 and"), "{error:?}");
            assert!(error.message.contains("asked were epsilon 0.5 and"), "{error:?}");
        }
        assert_eq!(spent(&ana).await, 0.5 + 0.5 * round as f64);
        // The winner's answer is there for everybody, and the others' questions are not to be had still.
        let (winner, answer) = won[0];
        assert_eq!(ana.ask(&asks(winner)).await.unwrap().lines(), *answer.as_ref().unwrap());
        let loser = (winner + 1) % CLIENTS;
        assert_eq!(ana.ask(&asks(loser)).await.unwrap_err().code, "53400");
        assert_eq!(spent(&ana).await, 0.5 + 0.5 * round as f64);
        let more = 1.0 + 0.5 * round as f64;
        admin.ask(&format!("ALTER PRIVACY UNIT patient SET (budget_epsilon = {more})")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_identical_ones_at_once_one_is_charged_and_all_have_its_answer() {
    let federation = clinic_with_numbers().await;
    let site = &federation.sites[0];
    let ana = site.connect(ANA).await.unwrap();
    let mut clients = clients(site).await;
    let mut answers = BTreeSet::new();
    for round in 1..=2 {
        // Spelled in different ways, and long enough that all have come before it is done.
        let asks = |number| {
            let text = slow(SHORT + round);
            if number % 3 == 0 { text.replace("count(*)", "COUNT(*) AS n") } else { text }
        };
        let told = at_once(&mut clients, asks).await;
        let of_round: BTreeSet<_> = told.into_iter().map(|told| told.unwrap()).collect();
        assert_eq!(of_round.len(), 1, "all have the same: {of_round:?}");
        assert_eq!(spent(&ana).await, round as f64);
        answers.extend(of_round);
    }
    println!("{answers:?}");
}

/// Rows of an open table, to make a release take as long as one likes: all of them, a minute or more.
const NUMBERS: usize = 200_000;
/// So many of them take some tenths of a second.
const SHORT: usize = 2_000;

async fn clinic_with_numbers() -> kanon_tests::Federation {
    let mut numbers = "n\n".to_owned();
    (0..NUMBERS).for_each(|n| numbers += &format!("{n}\n"));
    let more = vec![
        "CREATE EXTERNAL TABLE numbers STORED AS CSV LOCATION '{dir}/numbers.csv'".into(),
        "ALTER TABLE numbers SET (access = 'open')".into(),
        "GRANT SELECT ON numbers TO ana".into(),
    ];
    let files = vec![("numbers.csv".to_owned(), numbers.into_bytes())];
    Clinic { more, files, ..Clinic::default() }.start().await
}

/// A release that looks at each patient beside so many numbers, and finds none.
fn slow(numbers: usize) -> String {
    let waves: Vec<String> = (1..=12).map(|i| format!("sin(age * n + {i}) * cos(age - n * {i})")).collect();
    format!("SELECT count(*) FROM patients JOIN numbers ON {} < -100 AND n < {numbers}", waves.join(" + "))
}

async fn until_spent(client: &Client, epsilon: f64) {
    let began = Instant::now();
    while spent(client).await < epsilon {
        assert!(began.elapsed() < SOON, "{epsilon} is never spent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client that asks in the background.
async fn asking(site: &Site, sql: &str) -> (tokio_postgres::CancelToken, JoinHandle<Result<Vec<String>, ServerError>>) {
    let client = site.connect(ANA).await.unwrap();
    let (cancel, sql) = (client.inner.cancel_token(), sql.to_owned());
    (cancel, tokio::spawn(async move { client.ask(&sql).await.map(|answer| answer.lines()) }))
}

/// A client that asks in the background; aborted, its connection is closed.
async fn vanishing(site: &Site, sql: &str) -> JoinHandle<()> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(site.pg_port).user(ANA.0).password(ANA.1).dbname("kanon");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    let sql = sql.to_owned();
    tokio::spawn(async move {
        tokio::select! {
            _ = connection => panic!("it ended by itself"),
            _ = client.simple_query(&sql) => panic!("it was answered"),
        }
    })
}

async fn ends(task: JoinHandle<Result<Vec<String>, ServerError>>) -> Result<Vec<String>, ServerError> {
    tokio::time::timeout(SOON, task).await.expect("it ends").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_in_mid_release_gets_nothing_back() {
    let federation = clinic_with_numbers().await;
    let site = &federation.sites[0];
    let ana = site.connect(ANA).await.unwrap();
    let long = slow(NUMBERS);
    // Cancelled.
    let (cancel, task) = asking(site, &long).await;
    until_spent(&ana, 1.0).await;
    cancel.cancel_query(NoTls).await.unwrap();
    assert_eq!(ends(task).await.unwrap_err().code, "57014");
    assert_eq!(spent(&ana).await, 1.0);
    // Out of time.
    let hasty = site.connect(ANA).await.unwrap();
    hasty.ask("SET statement_timeout = '1s'").await.unwrap();
    let error = hasty.ask(&long).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.message.contains("timeout")), ("57014", true), "{error:?}");
    assert_eq!(spent(&ana).await, 2.0, "it is charged again, and nothing is given back");
    // Gone, without a word.
    let vanishing = vanishing(site, &long).await;
    until_spent(&ana, 3.0).await;
    vanishing.abort();
    // The same question over Flight SQL waits until the node has noticed, and is charged then.
    let mut flight = FlightClient::connect(site.flight_port, ANA).await;
    let task = tokio::spawn({
        let long = long.clone();
        async move { flight.ask(&long).await }
    });
    until_spent(&ana, 4.0).await;
    task.abort();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(spent(&ana).await, 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_one_who_computes_goes_away_the_next_takes_over() {
    let federation = clinic_with_numbers().await;
    let site = &federation.sites[0];
    let ana = site.connect(ANA).await.unwrap();
    let text = slow(35 * SHORT);
    let (cancel, first) = asking(site, &text).await;
    until_spent(&ana, 1.0).await;
    // One that waits and is cancelled, one that waits and is out of time, and three that wait.
    let (cancel_waiting, waiting) = asking(site, &text).await;
    let hasty = site.connect(ANA).await.unwrap();
    hasty.ask("SET statement_timeout = '200ms'").await.unwrap();
    assert_eq!(hasty.ask(&text).await.unwrap_err().code, "57014");
    cancel_waiting.cancel_query(NoTls).await.unwrap();
    assert_eq!(ends(waiting).await.unwrap_err().code, "57014");
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(asking(site, &text).await.1);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!first.is_finished(), "the machine is too fast for this test: let it look at more numbers");
    assert_eq!(spent(&ana).await, 1.0, "who waits is not charged");
    cancel.cancel_query(NoTls).await.unwrap();
    assert_eq!(ends(first).await.unwrap_err().code, "57014");
    let mut answers = BTreeSet::new();
    for other in others {
        answers.insert(ends(other).await.unwrap());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(spent(&ana).await, 2.0, "what was charged first stays charged, and the next was charged once");
    // It is in the store.
    assert!(answers.contains(&ana.ask(&text).await.unwrap().lines()));
    assert_eq!(spent(&ana).await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_a_release_takes_is_told_in_whole_seconds() {
    let federation = clinic_with_numbers().await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    // As many numbers as take longer than the time that is given below, and less than a second.
    let mut numbers = 100;
    loop {
        let began = Instant::now();
        ana.ask(&slow(numbers)).await.unwrap();
        if began.elapsed() > Duration::from_millis(400) {
            break;
        }
        numbers = numbers * 3 / 2;
    }
    ana.ask("SET statement_timeout = '200ms'").await.unwrap();
    ana.ask(&slow(numbers + 1)).await.unwrap();
    ana.ask(&format!("DECLARE c CURSOR WITH HOLD FOR {}", slow(numbers + 2))).await.unwrap();
}
