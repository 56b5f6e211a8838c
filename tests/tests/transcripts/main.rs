//! Transcripts: hundreds of attempts to get at a row or a person, over every protocol and over the peer path, on a dataset with its target and
//! on the same without it. Every byte that a client is sent must be the same.
//!
//! That an answer is refused proves nothing, and that it is given proves nothing either: what counts is that nobody can tell from it whether
//! the target is there. The one exception are answers all of whose cohorts hold k with the target and without it: their numbers may differ,
//! and must be the true ones. Which cohorts stand behind them is written beside the attempt; how large they are is counted by plain queries
//! over the files.
//!
//! The same attempts on open copies of the tables, and on copies whose smallest cohort is 2, show that they are real: there they tell.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod attempts;
mod compare;
mod flight;
mod oracle;
mod pg;
mod private;
mod world;

use std::sync::Arc;
use std::time::Instant;

use kanon_tests::Federation;

use attempts::{Attempt, Names};
use compare::{Outcome, Truths};
use pg::Protocol;
use world::{Side, World};

/// The two federations: with the target and without it.
struct Nodes {
    with: Federation,
    without: Federation,
}

impl Nodes {
    fn pg_ports(&self, site: &str) -> [u16; 2] {
        [&self.with, &self.without].map(|f| f.site(site).pg_port)
    }
    fn flight_ports(&self, site: &str) -> [u16; 2] {
        [&self.with, &self.without].map(|f| f.site(site).flight_port)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_can_tell_whether_the_target_is_there() {
    let began = Instant::now();
    let attempts = Arc::new(attempts::all());
    assert!(attempts.len() >= 150, "{} attempts", attempts.len());
    // One after the other: free ports are not free any more when they are listened on.
    let with = world::start(Side::With).await;
    let without = world::start(Side::Without).await;
    let nodes = Nodes { with, without };
    println!("{} attempts; nodes are up after {:.1} s", attempts.len(), began.elapsed().as_secs_f64());

    let mut runs = Vec::new();
    let few = Arc::new(Truths::of(World::Few, &attempts, false).await);
    let local = Names::new("", "");
    for protocol in Protocol::ALL {
        let place = format!("{protocol:?} at the site");
        runs.push(postgres(place, nodes.pg_ports("beta"), protocol, &local, &attempts, Some(&few)));
    }
    runs.push(flight(nodes.flight_ports("beta"), &local, &attempts, &few));
    // The peer path: a coordinator asks the site that holds the data.
    let union = Arc::new(Truths::of(World::Few, &attempts, true).await);
    for protocol in [Protocol::Simple, Protocol::Binary] {
        let peers = Names::new("beta.", "");
        let place = format!("{protocol:?} through a peer");
        runs.push(postgres(place, nodes.pg_ports("alpha"), protocol, &peers, &attempts, Some(&few)));
        let place = format!("{protocol:?} in the federation");
        let everywhere = Names::new("federation.", "");
        runs.push(postgres(place, nodes.pg_ports("alpha"), protocol, &everywhere, &attempts, Some(&union)));
    }
    runs.push(flight_of_coordinator(nodes.flight_ports("alpha"), &attempts, &few));
    runs.push(malicious(&nodes, &local, &attempts, &few).await);
    for world in [World::Alone, World::Changed, World::Nobody] {
        let truths = Arc::new(Truths::of(world, &attempts, false).await);
        let names = Names::new("", world.suffix());
        let place = format!("elsewhere, {world:?}");
        runs.push(postgres(place, nodes.pg_ports("beta"), Protocol::Simple, &names, &attempts, Some(&truths)));
    }
    let mut outcome = Outcome::default();
    for run in runs {
        outcome.absorb(run.await.unwrap());
    }
    println!("{} questions asked twice after {:.1} s", outcome.asked, began.elapsed().as_secs_f64());

    // The negative controls: without the rules the same attempts tell.
    let mut controls = Vec::new();
    for (copy, least) in [("_open", 150), ("_slack", 40)] {
        let names = Names::new("", copy);
        let ports = nodes.pg_ports("beta");
        controls.push((
            copy,
            least,
            postgres(format!("elsewhere, {copy}"), ports, Protocol::Simple, &names, &attempts, None),
        ));
    }
    for (copy, least, control) in controls {
        let telling = control.await.unwrap().findings.len();
        println!("{telling} attempts tell on the copy {copy}");
        assert!(telling >= least, "only {telling} attempts tell on the copy {copy}");
    }
    println!("{} answers show that somebody is there, and no more", outcome.presence);
    assert!(outcome.presence > 0 && outcome.presence < 50, "{} answers show presence", outcome.presence);
    println!("done after {:.1} s; {} answers differed as they may", began.elapsed().as_secs_f64(), outcome.allowed);
    assert!(outcome.allowed > 50, "{} answers of large cohorts differed: the exception is tested", outcome.allowed);
    outcome.assert_none();
}

type Run = tokio::task::JoinHandle<Outcome>;

/// All attempts in one form of the Postgres protocol.
fn postgres(
    place: String,
    [with, without]: [u16; 2],
    protocol: Protocol,
    names: &Names,
    attempts: &Arc<Vec<Attempt>>,
    truths: Option<&Arc<Truths>>,
) -> Run {
    let (names, attempts, truths) = (names.clone(), Arc::clone(attempts), truths.cloned());
    tokio::spawn(async move {
        let (mut with, mut without) = tokio::join!(pg::Wire::connect(with), pg::Wire::connect(without));
        assert_eq!(pg::shown(&with.greeting), pg::shown(&without.greeting), "{place}: the greeting");
        let mut outcome = Outcome::default();
        for (number, attempt) in attempts.iter().enumerate() {
            let Some((request, ready)) = protocol.request(attempt, &names) else { continue };
            if attempt.once && place.starts_with("elsewhere") {
                continue;
            }
            let (a, b) = tokio::join!(with.exchange(&request, ready), without.exchange(&request, ready));
            let [a, b] = [a, b].map(|bytes| pg::unnumbered(&bytes));
            outcome.asked += 1;
            if a == b {
                continue;
            }
            let rows = [pg::cells(protocol, &a), pg::cells(protocol, &b)];
            let allowed = truths.as_ref().is_some_and(|truths| {
                truths.is_open(number) && pg::skeleton(&a) == pg::skeleton(&b) && truths.allow(number, &rows)
            });
            if !allowed && truths.as_ref().is_some_and(|truths| truths.show_presence_alone(number, &rows)) {
                outcome.presence += 1;
                continue;
            }
            outcome.add(allowed, &place, &format!("({}) {}", attempt.name, attempt.sql(&names)), || {
                [pg::shown(&a), pg::shown(&b)]
            });
        }
        outcome
    })
}

/// All attempts over Flight SQL: as statements, and prepared with parameters.
fn flight([with, without]: [u16; 2], names: &Names, attempts: &Arc<Vec<Attempt>>, truths: &Arc<Truths>) -> Run {
    let (names, attempts, truths) = (names.clone(), Arc::clone(attempts), Arc::clone(truths));
    tokio::spawn(async move {
        let (mut with, mut without) = tokio::join!(flight::Client::connect(with), flight::Client::connect(without));
        let mut outcome = Outcome::default();
        let (a, b) = tokio::join!(with.catalog(), without.catalog());
        outcome.compare("Flight SQL's catalog", "catalog", &a, &b, 0, None).await;
        for (number, attempt) in attempts.iter().enumerate() {
            let sql = attempt.sql(&names);
            let (a, b) = tokio::join!(with.statement(&sql), without.statement(&sql));
            outcome.compare("Flight SQL at the site", &sql, &a, &b, number, Some(&truths)).await;
            if attempt.once {
                continue;
            }
            let (sql, parameters) = attempt.parameterized(&names).unwrap_or((sql, Vec::new()));
            let (a, b) = tokio::join!(with.prepared(&sql, &parameters), without.prepared(&sql, &parameters));
            outcome.compare("Flight SQL prepared at the site", &sql, &a, &b, number, Some(&truths)).await;
        }
        outcome
    })
}

/// All attempts over Flight SQL at the coordinator.
fn flight_of_coordinator([with, without]: [u16; 2], attempts: &Arc<Vec<Attempt>>, truths: &Arc<Truths>) -> Run {
    let (attempts, truths) = (Arc::clone(attempts), Arc::clone(truths));
    tokio::spawn(async move {
        let names = Names::new("beta.", "");
        let (mut with, mut without) = tokio::join!(flight::Client::connect(with), flight::Client::connect(without));
        let mut outcome = Outcome::default();
        for (number, attempt) in attempts.iter().enumerate() {
            let sql = attempt.sql(&names);
            let (a, b) = tokio::join!(with.statement(&sql), without.statement(&sql));
            outcome.compare("Flight SQL through a peer", &sql, &a, &b, number, Some(&truths)).await;
        }
        outcome
    })
}

/// All attempts, and some more, as subplans of a coordinator that means no good.
async fn malicious(nodes: &Nodes, names: &Names, attempts: &Arc<Vec<Attempt>>, truths: &Arc<Truths>) -> Run {
    let (mut with, mut without) =
        tokio::join!(flight::Peer::connect(&nodes.with), flight::Peer::connect(&nodes.without));
    let (names, attempts, truths) = (names.clone(), Arc::clone(attempts), Arc::clone(truths));
    tokio::spawn(async move {
        let mut outcome = Outcome::default();
        for (number, attempt) in attempts.iter().enumerate() {
            let sql = attempt.sql(&names);
            let (a, b) = tokio::join!(with.ask(&sql), without.ask(&sql));
            outcome.compare("a malicious peer", &sql, &a, &b, number, Some(&truths)).await;
        }
        for attempt in attempts::of_peers() {
            let sql = attempt.sql(&names);
            let (a, b) = tokio::join!(with.ask(&sql), without.ask(&sql));
            if attempt.known {
                assert_ne!(a.bytes, b.bytes, "{sql} does not tell any more: say so, and take \"known\" from it");
                continue;
            }
            outcome.compare("a malicious peer", &sql, &a, &b, 0, None).await;
        }
        outcome
    })
}
