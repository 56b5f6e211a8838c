//! Random statements, valid and not, over open and protected tables: nothing panics, hangs, ends a connection or is a bug of the node's own
//! (XX000); no row of a protected table leaves; answers agree with one another; memory stays as it was.
//!
//! The statements are the same for the same seed. A short run is in the suite; `KANON_RANDOM_STATEMENTS=20000` makes it longer,
//! `KANON_RANDOM_SEED` another one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod chance;
mod expressions;
mod relations;
mod session;
mod statements;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kanon_tests::Site;

use crate::session::{Problems, Watch};

/// Sessions at once.
const SESSIONS: usize = 4;
/// Statements of a short run.
const STATEMENTS: usize = 1_200;
/// What the node may grow by between a third of a run and its end.
const ROOM_BYTES: u64 = 250 << 20;

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |value| value.parse().unwrap())
}

fn resident_bytes(site: &Site) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", site.pid())).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// So many statements by several sessions at once.
async fn part(
    site: &Site,
    seed: usize,
    statements: usize,
    until: Instant,
    watch: &Arc<Watch>,
) -> (usize, BTreeMap<String, usize>, Problems) {
    let tasks: Vec<_> = (0..SESSIONS)
        .map(|number| {
            let (port, watch) = (site.pg_port, Arc::clone(watch));
            let seed = (seed * 1_000 + number) as u64;
            tokio::spawn(async move { session::talk(port, seed, statements / SESSIONS, until, &watch).await })
        })
        .collect();
    let (mut said, mut codes, mut problems) = (0, BTreeMap::new(), Problems::new());
    for task in tasks {
        let (count, some, found) = task.await.unwrap();
        said += count;
        some.into_iter().for_each(|(code, times)| *codes.entry(code).or_default() += times);
        problems.extend(found);
    }
    (said, codes, problems)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_statements_do_no_harm_and_learn_nothing() {
    let federation = world::start().await;
    let site = &federation.sites[0];
    let statements = number("KANON_RANDOM_STATEMENTS", STATEMENTS);
    let seed = number("KANON_RANDOM_SEED", 1);
    let began = Instant::now();
    let until = began + Duration::from_secs(if statements > STATEMENTS { 600 } else { 120 });
    let watch = Arc::new(Watch::new(world::canaries()));
    let (mut said, mut codes, mut problems) = part(site, seed, statements / 3, until, &watch).await;
    let before = resident_bytes(site);
    let (more, some, found) = part(site, seed + 1, statements - statements / 3, until, &watch).await;
    let grown = resident_bytes(site).saturating_sub(before);
    said += more;
    some.into_iter().for_each(|(code, times)| *codes.entry(code).or_default() += times);
    problems.extend(found);
    println!("{said} statements in {:?}, {} MiB more: {codes:?}", began.elapsed(), grown >> 20);
    let log = site.log();
    if let Some(panic) = log.lines().find(|line| line.contains("panicked")) {
        problems.insert("a panic".to_owned(), panic.to_owned());
    }
    if grown > ROOM_BYTES {
        problems.insert("memory".to_owned(), format!("{} MiB more", grown >> 20));
    }
    let told: Vec<String> = problems.iter().map(|(kind, example)| format!("  {kind}\n    {example}")).collect();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), told.join("\n"));
    // What was said was worth saying, in time.
    assert!(codes.get("ok").copied().unwrap_or_default() * 10 > said, "{codes:?}");
    assert!(said * 10 >= statements * 9, "only {said} statements in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_agree_with_one_another() {
    let federation = world::start().await;
    let pairs = number("KANON_RANDOM_STATEMENTS", STATEMENTS) / 20;
    let seed = number("KANON_RANDOM_SEED", 1) as u64;
    let until = Instant::now() + Duration::from_secs(300);
    let (compared, problems) = relations::compare(federation.sites[0].pg_port, seed, pairs, until).await;
    println!("{compared} pairs compared");
    let told: Vec<String> = problems.iter().map(|(one, two)| format!("  {one}\n    {two}")).collect();
    assert!(problems.is_empty(), "{} disagree:\n{}", problems.len(), told.join("\n"));
    assert!(compared * 3 > pairs, "{compared} of {pairs}");
}

#[test]
fn what_betrays_a_row_is_seen() {
    let watch = Watch::new(world::canaries());
    for canary in world::canaries() {
        assert_eq!(watch.seen_in(format!("x {canary} y").as_bytes()).as_deref(), Some(canary.as_str()));
    }
    assert_eq!(watch.seen_in(b"canary- 7100000000000 42"), None);
}
