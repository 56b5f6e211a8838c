//! The ledger on a real store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::config::Config;
use crate::node::Node;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A store with a ledger whose clock the test sets.
struct Site {
    dir: tempfile::TempDir,
    store: Store,
    ledger: Ledger,
    clock: Arc<AtomicI64>,
}

impl Site {
    async fn new() -> Site {
        Site::open(tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(1000 * DAY_MS))).await
    }

    async fn open(dir: tempfile::TempDir, clock: Arc<AtomicI64>) -> Site {
        let config = Config::new("zurich", dir.path());
        let mut store = Store::open(&config).await;
        // The writer of a ledger that was dropped may still be at work.
        for _ in 0..500 {
            match &store {
                Err(error) if error.state == Sqlstate::ObjectNotInPrerequisiteState => {}
                _ => break,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            store = Store::open(&config).await;
        }
        let store = store.unwrap();
        let now = Arc::clone(&clock);
        let ledger = Ledger::with_clock(&store, Clock::new(move || now.load(Ordering::SeqCst)));
        Site { dir, store, ledger, clock }
    }

    /// After a restart, orderly or not: without `close` nothing is told to the store.
    async fn restarted(self, orderly: bool) -> Site {
        let Site { dir, store, ledger, clock } = self;
        drop(ledger);
        if orderly {
            store.close().await;
        }
        drop(store);
        Site::open(dir, clock).await
    }

    async fn unit(&self, kind: &str, options: &[(&str, &str)]) {
        let options: Vec<_> = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert!(self.store.create_privacy_unit(kind, Budget::create(&options).unwrap()).await.unwrap());
    }

    fn set_days(&self, days: i64) {
        self.clock.store(days * DAY_MS, Ordering::SeqCst);
    }

    async fn spending(&self, kind: &str) -> Spending {
        let budget = *self.store.catalog_records().await.unwrap().privacy_units.get(kind).unwrap();
        self.ledger.spending(kind, budget).await.unwrap().remove(0)
    }

    async fn charge(&self, number: u32, epsilon: f64) -> Result<Reservation, Refused> {
        self.ledger.charge(number, epsilon).await
    }

    /// The same ledger with flights of its own: it does not wait for what the other computes.
    fn apart(&self) -> Ledger {
        Ledger { flights: Flights::default(), ..self.ledger.clone() }
    }

    async fn charges(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM charges").fetch_one(self.store.pool()).await.unwrap()
    }
}

impl Ledger {
    async fn charge(&self, number: u32, epsilon: f64) -> Result<Reservation, Refused> {
        let mut all = self.reserve("alice", vec![release(number, "patient", epsilon)]).await?;
        match all.remove(0) {
            Reserved::Charged(reservation) => Ok(reservation),
            Reserved::Answered(_) => panic!("answered"),
        }
    }
}

fn fingerprint(number: u32) -> ReleaseFingerprint {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ReleaseFingerprint::from_bytes(bytes)
}

/// A release with pure noise.
fn release(number: u32, kind: &str, epsilon: f64) -> ReleaseRequest {
    let cost = Cost {
        epsilon: epsilon.try_into().unwrap(),
        delta: 0.0.try_into().unwrap(),
        rho: (epsilon * epsilon / 2.0).min(f64::MAX).try_into().unwrap(),
        zcdp_delta: 0.0.try_into().unwrap(),
    };
    ReleaseRequest { fingerprint: fingerprint(number), kind: kind.to_owned(), cost }
}

fn shortage(refused: Refused) -> Shortage {
    match refused {
        Refused::Budget(shortage) => *shortage,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_old_answer_is_forgotten_and_its_charge_is_not() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1")]).await;
    for (number, day) in [(0, 1000), (1, 1005)] {
        site.set_days(day);
        site.charge(number, 0.3).await.unwrap().commit(Bytes::from_static(b"42"), None).await.unwrap();
    }
    let ten_days = Duration::from_millis(10 * DAY_MS as u64);
    site.set_days(1010);
    assert_eq!(forget_answers(&site.store, &site.ledger.clock, ten_days).await.unwrap(), 0);
    site.set_days(1011);
    assert_eq!(forget_answers(&site.store, &site.ledger.clock, ten_days).await.unwrap(), 1);
    assert_eq!(site.ledger.answer(&fingerprint(0)).await.unwrap(), None);
    assert!(site.ledger.answer(&fingerprint(1)).await.unwrap().is_some());
    // Asked again it is a release like any other.
    drop(site.charge(0, 0.3).await.unwrap());
    assert_eq!(site.charges().await, 3);
    shortage(site.charge(2, 0.3).await.unwrap_err());
}

#[tokio::test]
async fn a_node_forgets_as_its_configuration_says() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1")]).await;
    site.charge(0, 0.3).await.unwrap().commit(Bytes::from_static(b"42"), None).await.unwrap();
    let Site { dir, store, ledger, .. } = site;
    drop(ledger);
    store.close().await;
    drop(store);
    for (retention, kept) in [(None, 1), (Some(Duration::from_secs(24 * 60 * 60)), 0)] {
        let config = Config { answer_retention: retention, ..Config::new("zurich", dir.path()) };
        let node = loop {
            match Node::start(config.clone()).await {
                // The node before it lets go of the store.
                Err(error) if error.state == Sqlstate::ObjectNotInPrerequisiteState => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                started => break started.unwrap(),
            }
        };
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answers: i64 =
            sqlx::query_scalar("SELECT count(*) FROM answers").fetch_one(node.store.pool()).await.unwrap();
        assert_eq!(answers, kept, "{retention:?}");
        node.stop().await;
    }
}

#[tokio::test]
async fn what_fits_is_charged_and_what_does_not_fit_says_what_is_left() {
    let site = Site::new().await;
    assert_eq!(
        site.charge(0, 0.1).await.unwrap_err(),
        Refused::NoBudget { kind: "patient".into() },
        "no budget, no answer"
    );
    site.unit("patient", &[("budget_epsilon", "1"), ("budget_window", "30 days")]).await;
    for number in 0..3 {
        drop(site.charge(number, 0.3).await.unwrap());
    }
    let refused = site.charge(3, 0.3).await.unwrap_err();
    let found = shortage(refused.clone());
    assert_eq!((found.left.epsilon, found.asked.epsilon), (0.09999999999999998, 0.3));
    assert_eq!(found.more_at_ms, Some(1030 * DAY_MS));
    let error = Error::from(refused);
    assert_eq!(error.state.code(), "53400");
    assert!(error.message.contains("asked were epsilon 0.3"), "{error}");
    assert!(error.detail.unwrap().contains("30 days"));
    // A refusal costs nothing, and something smaller still fits: to the last bit, and no more.
    drop(site.charge(4, 0.1).await.unwrap());
    assert!(site.charge(5, 1e-9).await.is_err());
    assert_eq!(site.spending("patient").await.spent.epsilon, 1.0);
}

#[tokio::test]
async fn what_was_charged_stays_charged_after_a_crash() {
    for orderly in [true, false] {
        let site = Site::new().await;
        site.unit("patient", &[("budget_epsilon", "1"), ("budget_delta", "1e-6"), ("budget_window", "30 days")]).await;
        // Never committed: a crash, a cancel, a timeout.
        drop(site.charge(1, 0.25).await.unwrap());
        let answer = site.charge(2, 0.25).await.unwrap().commit(Bytes::from_static(b"42"), None).await.unwrap();
        assert_eq!(answer, "42");
        // A caller that goes away while it waits.
        let reserve = site.ledger.reserve("alice", vec![release(3, "patient", 0.25)]);
        assert!(futures::poll!(Box::pin(reserve)).is_pending());
        let before = site.spending("patient").await;
        let site = site.restarted(orderly).await;
        let after = site.spending("patient").await;
        assert!(after.spent.epsilon >= before.spent.epsilon && after.spent.epsilon >= 0.5, "{before:?} {after:?}");
        // The same release is charged again without an answer, and not with one.
        assert_eq!(site.ledger.answer(&fingerprint(1)).await.unwrap(), None);
        assert_eq!(site.ledger.answer(&fingerprint(2)).await.unwrap().unwrap(), "42");
        let spent = site.spending("patient").await.spent.epsilon;
        drop(site.charge(1, 0.125).await.unwrap());
        let again = site.ledger.reserve("alice", vec![release(2, "patient", 0.25)]).await.unwrap();
        assert!(matches!(&again[0], Reserved::Answered(answer) if answer == "42"));
        assert_eq!(site.spending("patient").await.spent.epsilon, spent + 0.125);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_that_race_for_the_last_charge_exactly_one_wins() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "0.5"), ("budget_window", "1 day")]).await;
    drop(site.charge(1000, 0.4).await.unwrap());
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let ledger = site.ledger.clone();
            tokio::spawn(async move {
                ledger.reserve(format!("analyst {number}").as_str(), vec![release(number, "patient", 0.1)]).await
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(refused) => assert_eq!(shortage(refused).asked.epsilon, 0.1),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(site.charges().await, 2);
}

/// Asks as a client does: computes if it is to, and takes what is there if not. Gives the answer and whether it computed.
async fn ask(ledger: Ledger, principal: String, number: u32, computed: &str) -> (Bytes, bool) {
    let mut all = ledger.reserve(principal.as_str(), vec![release(number, "patient", 0.1)]).await.unwrap();
    match all.remove(0) {
        Reserved::Answered(answer) => (answer, false),
        Reserved::Charged(reservation) => {
            tokio::time::sleep(Duration::from_millis(20)).await;
            (reservation.commit(Bytes::from(computed.to_owned()), None).await.unwrap(), true)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_identical_ones_at_once_one_is_charged_and_all_have_its_answer() {
    let site = Site::new().await;
    // There is room for one.
    site.unit("patient", &[("budget_epsilon", "0.1")]).await;
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let (ledger, who) = (site.ledger.clone(), format!("analyst {number}"));
            tokio::spawn(async move { ask(ledger, who, 1, &format!("answer {number}")).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|(_, computed)| *computed).count(), 1);
    assert!(answers.iter().all(|(answer, _)| *answer == answers[0].0), "{answers:?}");
    assert_eq!(site.charges().await, 1);
    assert_eq!(site.ledger.answer(&fingerprint(1)).await.unwrap().unwrap(), answers[0].0);
    // Who comes later has it from the store.
    assert_eq!(ask(site.ledger.clone(), "bob".into(), 1, "another").await, (answers[0].0.clone(), false));
    assert_eq!(site.ledger.flights.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_the_one_who_computes_goes_away_the_next_is_charged_again() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1")]).await;
    let first = site.charge(1, 0.1).await.unwrap();
    let mut cancelled = Box::pin(site.charge(1, 0.1));
    assert!(futures::poll!(cancelled.as_mut()).is_pending());
    let waiting: Vec<_> = (0..8).map(|_| tokio::spawn(ask(site.ledger.clone(), "bob".into(), 1, "second"))).collect();
    while site.ledger.flights.seats(&fingerprint(1)) < 10 {
        tokio::task::yield_now().await;
    }
    drop(cancelled);
    assert_eq!(site.charges().await, 1, "who waits is not charged");
    // It failed.
    drop(first);
    let mut computed = 0;
    for task in waiting {
        let (answer, by_itself) = task.await.unwrap();
        assert_eq!(answer, "second");
        computed += usize::from(by_itself);
    }
    assert_eq!((computed, site.charges().await), (1, 2), "what was charged first stays charged");
    assert_eq!(site.ledger.flights.len(), 0);
    // One that is cancelled while its answer is on the way to the disk: the next one finds it, and is not charged.
    let third = site.charge(2, 0.1).await.unwrap();
    let mut commit = Box::pin(third.commit(Bytes::from_static(b"third"), None));
    assert!(futures::poll!(commit.as_mut()).is_pending());
    let next = tokio::spawn(ask(site.ledger.clone(), "bob".into(), 2, "fourth"));
    drop(commit);
    assert_eq!(next.await.unwrap(), (Bytes::from_static(b"third"), false));
    assert_eq!(site.charges().await, 3);
    // A refusal passes the turn on as well.
    let (a, b) = tokio::join!(site.charge(3, 5.0), site.charge(3, 5.0));
    assert!(a.is_err() && b.is_err());
    assert_eq!(site.ledger.flights.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statements_that_share_releases_do_not_wait_in_a_circle() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1000")]).await;
    let tasks: Vec<_> = (0..60_u32)
        .map(|number| {
            let ledger = site.ledger.clone();
            tokio::spawn(async move {
                // Three of five, in any order.
                let of = |i: u32| release((number * 7 + i * (1 + number % 4)) % 5, "patient", 0.1);
                let reserved = ledger.reserve("alice", vec![of(0), of(1), of(2)]).await.unwrap();
                for one in reserved {
                    match one {
                        Reserved::Charged(_) if number % 6 == 0 => return,
                        Reserved::Charged(reservation) => {
                            drop(reservation.commit(Bytes::from_static(b"x"), None).await.unwrap());
                        }
                        Reserved::Answered(answer) => assert_eq!(answer, "x"),
                    }
                }
            })
        })
        .collect();
    let all = futures::future::join_all(tasks);
    let ended = tokio::time::timeout(Duration::from_secs(60), all).await.expect("nobody hangs");
    ended.into_iter().for_each(|one| one.unwrap());
    assert_eq!(site.ledger.flights.len(), 0);
    for number in 0..5 {
        assert!(site.ledger.answer(&fingerprint(number)).await.unwrap().is_some());
    }
    // Twice in one statement would wait for itself.
    let twice = vec![release(9, "patient", 0.1), release(9, "patient", 0.1)];
    assert!(matches!(site.ledger.reserve("alice", twice).await, Err(Refused::Store(_))));
}

#[tokio::test]
async fn windows_slide_and_life_does_not() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1"), ("budget_window", "30 days")]).await;
    for (day, number) in [(1000, 1), (1010, 2)] {
        site.set_days(day);
        drop(site.charge(number, 0.5).await.unwrap());
    }
    site.set_days(1029);
    assert!(site.charge(3, 0.5).await.is_err());
    site.set_days(1030);
    drop(site.charge(3, 0.5).await.unwrap());
    assert!(site.charge(4, 0.5).await.is_err());
    let spending = site.spending("patient").await;
    assert_eq!((spending.spent.epsilon, spending.lifetime.epsilon), (1.0, 1.5));
    assert_eq!(spending.window_end_ms, Some(1040 * DAY_MS));
    // Sums in memory and sums read anew are the same.
    let site = site.restarted(true).await;
    assert!(site.charge(4, 1e-9).await.is_err());
    site.set_days(1040);
    drop(site.charge(4, 0.5).await.unwrap());
    assert!(site.charge(5, 1e-9).await.is_err());
    // A longer window reaches back to what had left the shorter one; without one everything counts.
    site.store
        .alter_privacy_unit("patient", |budget| budget.alter(&[("budget_epsilon".into(), "2.5".into())]))
        .await
        .unwrap();
    site.store.alter_privacy_unit("patient", |budget| budget.reset(&["budget_window".into()])).await.unwrap();
    site.set_days(5000);
    drop(site.charge(6, 0.5).await.unwrap());
    assert_eq!(shortage(site.charge(7, 1e-9).await.unwrap_err()).left.epsilon, 0.0);
    assert_eq!(site.spending("patient").await.window_start_ms, None);
}

#[tokio::test]
async fn a_clock_that_goes_back_frees_nothing() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1"), ("budget_window", "1 day")]).await;
    drop(site.charge(1, 1.0).await.unwrap());
    for days in [999, 1, 0] {
        site.set_days(days);
        assert!(site.charge(2, 0.1).await.is_err(), "{days}");
        assert_eq!(site.spending("patient").await.spent.epsilon, 1.0);
    }
    let site = site.restarted(true).await;
    assert!(site.charge(2, 0.1).await.is_err(), "after a restart too");
    // What is charged meanwhile counts for its whole day from the latest moment seen.
    site.set_days(1001);
    drop(site.charge(3, 0.6).await.unwrap());
    site.set_days(500);
    drop(site.charge(4, 0.4).await.unwrap());
    site.set_days(1001);
    assert!(site.charge(5, 0.1).await.is_err());
    let times: Vec<i64> =
        sqlx::query_scalar("SELECT at_ms FROM charges ORDER BY id").fetch_all(site.store.pool()).await.unwrap();
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn a_kind_that_is_created_again_finds_what_was_spent() {
    let site = Site::new().await;
    let options = [("budget_epsilon", "1"), ("budget_window", "30 days")];
    site.unit("patient", &options).await;
    drop(site.charge(1, 0.75).await.unwrap());
    assert!(site.store.drop_privacy_unit("patient").await.unwrap());
    assert!(matches!(site.charge(2, 0.1).await.unwrap_err(), Refused::NoBudget { .. }));
    site.unit("patient", &options).await;
    assert_eq!(site.spending("patient").await.spent.epsilon, 0.75);
    assert_eq!(shortage(site.charge(2, 0.5).await.unwrap_err()).left.epsilon, 0.25);
    drop(site.charge(2, 0.25).await.unwrap());
}

#[tokio::test]
async fn a_statement_is_charged_whole_or_not_at_all() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1")]).await;
    site.unit("nurse", &[("budget_epsilon", "0.1")]).await;
    let both = |epsilon| vec![release(1, "patient", 0.5), release(2, "nurse", epsilon)];
    assert_eq!(shortage(site.ledger.reserve("alice", both(0.5)).await.unwrap_err()).kind, "nurse");
    assert_eq!(site.spending("patient").await.spent.epsilon, 0.0, "nothing of the statement was charged");
    // Two of one kind together.
    let two = vec![release(3, "patient", 0.6), release(4, "patient", 0.6)];
    let refused = shortage(site.ledger.reserve("alice", two).await.unwrap_err());
    assert_eq!((refused.left.epsilon, refused.asked.epsilon), (1.0, 1.2));
    let all = site.ledger.reserve("alice", both(0.1)).await.unwrap();
    assert!(all.iter().all(|one| matches!(one, Reserved::Charged(_))));
    assert_eq!(site.spending("patient").await.spent.epsilon, 0.5);
    assert_eq!(site.spending("nurse").await.spent.epsilon, 0.1);
    // What costs more than can be written down does not fail others.
    let too_much = site.ledger.reserve("alice", vec![release(9, "patient", 1e300)]).await.unwrap_err();
    assert_eq!(Error::from(too_much).state, Sqlstate::BudgetExceeded);
}

#[tokio::test]
async fn a_principal_has_the_kind_s_budget_or_a_smaller_one_of_its_own() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1")]).await;
    let own = [("budget_epsilon".to_owned(), "0.25".to_owned())];
    site.store.alter_principal_budget("patient", "alice", |budget| budget.alter(&own)).await.unwrap();
    drop(site.charge(1, 0.25).await.unwrap());
    let refused = shortage(site.charge(2, 0.25).await.unwrap_err());
    assert_eq!((refused.whose, refused.left.epsilon), (Whose::Principal("alice".to_owned()), 0.0));
    // The same name through a peer is another principal.
    for number in 3..6 {
        drop(site.ledger.reserve("alice@cleveland", vec![release(number, "patient", 0.25)]).await.unwrap());
    }
    let refused = site.ledger.reserve("bob", vec![release(6, "patient", 0.25)]).await.unwrap_err();
    assert_eq!(shortage(refused).whose, Whose::Everybody);
    let budget = *site.store.catalog_records().await.unwrap().privacy_units.get("patient").unwrap();
    let all = site.ledger.spending("patient", budget).await.unwrap();
    let shown: Vec<_> = all.iter().map(|s| (s.principal.as_deref(), s.spent.epsilon, s.left.epsilon)).collect();
    assert_eq!(shown, [(None, 1.0, 0.0), (Some("alice"), 0.25, 0.0), (Some("alice@cleveland"), 0.75, 0.25)]);
    site.store
        .alter_principal_budget("patient", "alice", |budget| budget.reset(&["budget_epsilon".into()]))
        .await
        .unwrap();
    assert_eq!(shortage(site.charge(7, 0.25).await.unwrap_err()).whose, Whose::Everybody);
}

#[tokio::test]
async fn the_first_answer_counts_and_its_audit_entry_stands_or_falls_with_it() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1")]).await;
    sqlx::query("CREATE TABLE entries (text TEXT NOT NULL UNIQUE)").execute(site.store.pool()).await.unwrap();
    let entry = |text: &'static str| -> Also {
        Box::new(move |connection| {
            Box::pin(async move {
                let insert = sqlx::query("INSERT INTO entries VALUES (?)").bind(text);
                insert.execute(connection).await.map(drop).map_err(|_| Error::unsupported("no entry"))
            })
        })
    };
    // Two at once of the same release: when one who commits is cancelled, the next one leads before that answer is there.
    let (first, second) = (site.charge(1, 0.1).await.unwrap(), site.apart().charge(1, 0.1).await.unwrap());
    assert_eq!(first.commit(Bytes::from_static(b"first"), Some(entry("a"))).await.unwrap(), "first");
    assert_eq!(second.commit(Bytes::from_static(b"second"), Some(entry("b"))).await.unwrap(), "first");
    // The entry is there already: no answer then. What others do in the same transaction stands.
    let (bad, good) = (site.charge(2, 0.1).await.unwrap(), site.charge(3, 0.1).await.unwrap());
    let (bad, good) = tokio::join!(
        bad.commit(Bytes::from_static(b"bad"), Some(entry("a"))),
        good.commit(Bytes::from_static(b"good"), Some(entry("c")))
    );
    assert_eq!(bad.unwrap_err().message, "no entry");
    assert_eq!(good.unwrap(), "good");
    assert_eq!(site.ledger.answer(&fingerprint(2)).await.unwrap(), None);
    assert_eq!(site.ledger.answer(&fingerprint(3)).await.unwrap().unwrap(), "good");
    let entries: Vec<String> =
        sqlx::query_scalar("SELECT text FROM entries ORDER BY 1").fetch_all(site.store.pool()).await.unwrap();
    assert_eq!(entries, ["a", "b", "c"]);
    assert_eq!(site.spending("patient").await.spent.epsilon, 0.4, "all four are charged");
    let large = site.charge(4, 0.1).await.unwrap();
    assert!(large.commit(Bytes::from(vec![0; MOST_ANSWER_BYTES + 1]), None).await.is_err());
}

#[tokio::test]
async fn a_store_that_cannot_be_written_refuses_and_what_it_holds_is_believed() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1")]).await;
    drop(site.charge(0, 0.25).await.unwrap());
    // A disk with no room: SQLite's own limit stands for it, on every connection.
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(site.store.pool().acquire().await.unwrap());
    }
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connections[0]).await.unwrap();
    for connection in &mut connections {
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
            .fetch_one(&mut **connection)
            .await
            .unwrap();
    }
    drop(connections);
    let reservation = site.charge(1, 0.25).await.unwrap();
    let answer = Bytes::from(vec![1; 1 << 20]);
    let error = reservation.commit(answer, None).await.unwrap_err();
    assert_eq!(error.state, Sqlstate::DiskFull, "{error}");
    assert_eq!(site.ledger.answer(&fingerprint(1)).await.unwrap(), None);
    // Once there is room it goes on: a connection that failed is not used again, and a fifth one has no limit.
    let mut committed = None;
    for _ in 0..5 {
        let reservation = site.charge(1, 0.0625).await.unwrap();
        match reservation.commit(Bytes::from(vec![1; 1 << 20]), None).await {
            Ok(answer) => {
                committed = Some(answer);
                break;
            }
            Err(error) => assert_eq!(error.state, Sqlstate::DiskFull, "{error}"),
        }
    }
    assert_eq!(committed.unwrap().len(), 1 << 20);
    let charged: i64 =
        sqlx::query_scalar("SELECT sum(epsilon_nano) FROM charges").fetch_one(site.store.pool()).await.unwrap();
    let spent = site.spending("patient").await.spent.epsilon;
    assert!((spent - charged as f64 / 1e9).abs() < 1e-12 && spent >= 0.5, "{spent} {charged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_share_a_flush() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1000")]).await;
    let begun = std::time::Instant::now();
    let tasks: Vec<_> = (0..400)
        .map(|number| {
            let ledger = site.ledger.clone();
            tokio::spawn(async move {
                let mut all = ledger.reserve("alice", vec![release(number, "patient", 0.1)]).await.unwrap();
                let Reserved::Charged(reservation) = all.remove(0) else { panic!("answered") };
                reservation.commit(Bytes::from_static(b"x"), None).await.unwrap()
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(site.spending("patient").await.lifetime.epsilon, 40.0);
    assert!(seconds < 20.0, "400 charges took {seconds} s");
    println!("400 charges and answers in {seconds:.3} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_what_the_charges_leave() {
    let site = Site::new().await;
    let options = [("budget_epsilon", "10"), ("budget_delta", "1e-6"), ("budget_window", "30 days")];
    site.unit("patient", &options).await;
    assert_eq!(site.ledger.left("alice", "employee").await.unwrap(), None);
    let left = async || site.ledger.left("alice", "patient").await.unwrap().unwrap();
    let fresh = left().await;
    assert_eq!((fresh.own.epsilon, fresh.everybody.epsilon), (10.0, 10.0));
    let budget = *site.store.catalog_records().await.unwrap().privacy_units.get("patient").unwrap();
    let mut number = 0;
    for day in [1000, 1000, 1010, 1029, 1031, 1031, 1045, 1200] {
        site.set_days(day);
        // Twice without a charge between: what was added up is not added up again.
        for (who, epsilon) in [("alice", 0.5), ("bob", 0.25), ("alice", 0.125)] {
            number += 1;
            let releases = vec![release(number, "patient", epsilon)];
            site.ledger.reserve(who, releases).await.unwrap();
            let found = left().await;
            assert_eq!(left().await, found);
            let all = site.ledger.spending("patient", budget).await.unwrap();
            let of = |principal: Option<&str>| {
                all.iter().find(|s| s.principal.as_deref() == principal).map(|s| s.left).unwrap()
            };
            assert_eq!(found.own, of(Some("alice")), "on day {day}");
            assert_eq!(found.everybody, of(None), "on day {day}");
        }
    }
    // The window passes: nothing is spent any more.
    site.set_days(1300);
    assert_eq!(left().await.own, fresh.own);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_can_be_told_before() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "1")]).await;
    let _charged = site.charge(1, 0.75).await.unwrap();
    let left = site.ledger.left("alice", "patient").await.unwrap().unwrap();
    let cost = |epsilon: f64| release(2, "patient", epsilon).cost;
    assert_eq!(left.refusal(&[cost(0.25)]), None);
    let told = left.refusal(&[cost(0.125), cost(0.25)]).unwrap();
    assert_eq!(told.state, Sqlstate::BudgetExceeded);
    let done = Error::from(site.charge(3, 0.375).await.unwrap_err());
    assert_eq!((told.message, told.hint), (done.message, done.hint), "as if it were asked");
    // It costs nothing to ask.
    assert_eq!(site.ledger.left("alice", "patient").await.unwrap().unwrap(), left);
}

#[tokio::test]
async fn what_is_written_off_leaves_nothing_until_its_window_has_passed() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "10"), ("budget_delta", "1e-6"), ("budget_window", "30 days")]).await;
    assert!(!site.ledger.write_off().await.unwrap(), "nothing is lost");
    drop(site.charge(1, 1.0).await.unwrap());
    assert!(site.store.lost_checkpoint(9, &[1; 32], "lost").await.unwrap());
    assert!(site.store.catalog_records().await.unwrap().lost.is_some());
    site.set_days(1010);
    assert!(site.ledger.write_off().await.unwrap());
    assert!(site.store.catalog_records().await.unwrap().lost.is_none());
    assert!(!site.store.lost_checkpoint(9, &[1; 32], "lost").await.unwrap(), "it is accounted for");
    assert!(site.store.lost_checkpoint(9, &[2; 32], "lost").await.unwrap(), "another one is not");
    shortage(site.charge(2, 1e-6).await.unwrap_err());
    let site = site.restarted(false).await;
    site.set_days(1039);
    shortage(site.charge(3, 1e-6).await.unwrap_err());
    assert_eq!(site.spending("patient").await.left.epsilon, 0.0);
    site.set_days(1041);
    drop(site.charge(4, 1.0).await.unwrap());
}

#[tokio::test]
async fn the_people_of_a_peer_have_a_budget_together() {
    let site = Site::new().await;
    site.unit("patient", &[("budget_epsilon", "10"), ("budget_window", "30 days")]).await;
    let payer = |who: &str, peer: &str, epsilon: Option<f64>| Payer {
        principal: format!("{who}@{peer}"),
        peer: Some(peer.to_owned()),
        peer_epsilon: epsilon.map(|epsilon| epsilon.try_into().unwrap()),
    };
    let mut number = 0;
    let mut charge = async |payer: Payer| {
        number += 1;
        site.ledger.reserve(payer, vec![release(number, "patient", 0.5)]).await.map(drop)
    };
    // What was charged before there was a cap counts; a name that ends alike does not.
    charge(payer("ana", "long_beach", None)).await.unwrap();
    charge(payer("ana", "very_long_beach", None)).await.unwrap();
    charge(payer("ana", "longxbeach", None)).await.unwrap();
    charge(payer("ben", "long_beach", Some(1.0))).await.unwrap();
    let refused = shortage(charge(payer("eve", "long_beach", Some(1.0))).await.unwrap_err());
    assert_eq!((&refused.whose, refused.left.epsilon), (&Whose::Peer("long_beach".to_owned()), 0.0));
    let error = Error::from(Refused::Budget(Box::new(refused)));
    assert!(
        error.message.starts_with("the privacy budget of node \"long_beach\" for unit kind \"patient\""),
        "{error}"
    );
    // What is charged while there is none counts too.
    charge(payer("eve", "long_beach", None)).await.unwrap();
    shortage(charge(payer("ben", "long_beach", Some(1.5))).await.unwrap_err());
    charge(payer("ben", "long_beach", Some(2.0))).await.unwrap();
    charge("ana".into()).await.unwrap();
    site.set_days(1100);
    charge(payer("ben", "long_beach", Some(0.5))).await.unwrap();
}
