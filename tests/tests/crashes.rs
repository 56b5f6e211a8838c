//! `kill -9` in the middle of releases: whenever it comes, no client has an answer that was not charged, and none is given another one later.
//!
//! Again and again clients ask new questions, the node is killed a little later than the last time, and started again. The delays run from
//! nothing to some times what one release takes, so that kills fall on all its steps: before the charge, between the charge and the answer,
//! between the answer and its being sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kanon_tests::client::Client;
use kanon_tests::clinic::{ANA, Clinic, spent};
use kanon_tests::{Federation, Site};
use tokio::sync::Barrier;

/// How often it is killed.
const POINTS: u32 = 20;
/// Clients that ask at the same time.
const ASKING: usize = 6;

/// Questions that were asked, and the answers that came.
type Asked = BTreeMap<usize, Option<Vec<String>>>;

/// Every other statement holds two releases, which share its ε: they are charged together or not at all.
fn question(number: usize) -> String {
    match number % 2 {
        0 => format!("SELECT count(*) FROM patients WHERE age > -1 - {number}"),
        _ => format!(
            "SELECT (SELECT count(*) FROM patients WHERE age > -1 - {number}) AS n,
                    (SELECT sum(minutes) FROM visits WHERE minutes > -1 - {number}) AS m"
        ),
    }
}

/// Asks new questions from many clients until the node is gone; it is killed after `delay`.
async fn killed_while_asking(federation: &mut Federation, delay: Duration, next: &Arc<AtomicUsize>) -> Asked {
    let site = &mut federation.sites[0];
    let asked = Arc::new(Mutex::new(Asked::new()));
    let ready = Arc::new(Barrier::new(ASKING + 1));
    let mut tasks = Vec::new();
    for _ in 0..ASKING {
        let client = site.connect(ANA).await.unwrap();
        let (asked, ready, next) = (Arc::clone(&asked), Arc::clone(&ready), Arc::clone(next));
        tasks.push(tokio::spawn(async move {
            ready.wait().await;
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                asked.lock().unwrap().insert(number, None);
                match client.ask(&question(number)).await {
                    Ok(answer) => asked.lock().unwrap().insert(number, Some(answer.lines())),
                    Err(error) if error.code == "-" => return,
                    Err(error) => panic!("{}: {error:?}", question(number)),
                };
            }
        }));
    }
    ready.wait().await;
    tokio::time::sleep(delay).await;
    site.kill();
    for task in tasks {
        task.await.unwrap();
    }
    std::mem::take(&mut *asked.lock().unwrap())
}

/// The ε that a NOTICE says was charged.
fn charged(notices: &[String]) -> f64 {
    let text = notices.join(" ");
    match text.split_once("charged epsilon ") {
        Some((_, rest)) => rest.split_whitespace().next().unwrap().parse().unwrap(),
        None => {
            assert!(text.contains("at no cost"), "{text}");
            0.0
        }
    }
}

async fn restarted(site: &mut Site) -> Client {
    site.spawn();
    // The store opens.
    site.wait().await;
    site.connect(ANA).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_no_answer_is_without_its_charge() {
    let mut federation = Clinic::default().start().await;
    let next = Arc::new(AtomicUsize::new(0));
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    let mut took = Duration::ZERO;
    for _ in 0..4 {
        let began = Instant::now();
        ana.ask(&question(next.fetch_add(1, Ordering::SeqCst))).await.unwrap();
        took = began.elapsed();
    }
    let longest = took * ASKING as u32;
    let (mut before, mut answers, mut mid_release, mut unsent) = (spent(&ana).await, 0, 0, 0);
    for point in 0..POINTS {
        let delay = longest * point / POINTS;
        let asked = killed_while_asking(&mut federation, delay, &next).await;
        let ana = restarted(&mut federation.sites[0]).await;
        let after = spent(&ana).await;
        let answered = asked.values().flatten().count();
        let (least, most) = (answered as f64, asked.len() as f64);
        assert!(
            (least..=most).contains(&(after - before)),
            "point {point}: {answered} answers of {} questions, and charges of {}",
            asked.len(),
            after - before
        );
        let mut again = 0.0;
        for (number, answer) in &asked {
            let told = ana.ask(&question(*number)).await.unwrap();
            let cost = charged(&told.notices);
            again += cost;
            if let Some(answer) = answer {
                assert_eq!(told.lines(), *answer, "point {point}: another answer");
                assert_eq!(cost, 0.0, "point {point}: an answer that was given is charged again");
            } else {
                unsent += usize::from(cost == 0.0);
            }
            // And now it stays.
            assert_eq!(ana.ask(&question(*number)).await.unwrap().rows, told.rows);
        }
        mid_release += usize::from((after - before) + again > most + 0.1);
        before = spent(&ana).await;
        assert!((before - after - again).abs() < 1e-6, "point {point}: {after} and {again} are not {before}");
        answers += answered;
    }
    println!(
        "{POINTS} kills within {:.0} ms: {answers} answers were received, {unsent} were kept and not sent; \
         {mid_release} kills came between charges and answers",
        longest.as_secs_f64() * 1e3
    );
    // What is to be tested did happen.
    assert!(answers > 0 && mid_release >= 3, "{answers} answers, {mid_release} kills in mid-release");
}
