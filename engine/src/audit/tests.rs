//! The log on a real store: what is found when it is tampered with, and what happens when it cannot be written.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::chain::Who;
use super::entry::{Entry, Hash, hash_of};
use super::verify::{End, Stored, Verdict, Verifier};
use super::*;
use crate::error::{Error, Sqlstate};
use crate::federation::identity;
use crate::ledger::{Cost, Ledger, ReleaseFingerprint, ReleaseRequest, Reserved};
use crate::node::Node;
use crate::principal::{AuthMethod, BuiltinRole, Principal};
use crate::session::Session;
use kanon_privacy::budget::{Delta, Epsilon, Rho};

/// As many entries as the auditor's test has.
const ENTRIES: usize = 10_000;
/// Attempts of each kind of tampering.
const ATTEMPTS: usize = 100;
/// So many entries lie between checks that are kept to go on from.
const STEP: usize = 250;

/// A row of the store's.
type Row = (i64, String, Vec<u8>, Option<Vec<u8>>, Vec<u8>);
/// Changes something at a place.
type Tampering = fn(&mut Vec<Stored>, usize, &mut StdRng);

struct Log {
    dir: tempfile::TempDir,
    store: Store,
    log: AuditLog,
}

async fn log() -> Log {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new("zurich", dir.path());
    let store = Store::open(&config).await.unwrap();
    let identity = Arc::new(identity::ensure(dir.path()).unwrap());
    let log = AuditLog::start(&config, &store, &identity).await.unwrap();
    Log { dir, store, log }
}

fn draft(number: usize) -> Draft {
    let who = Who {
        principal: ["ana", "ben", "cleo"][number % 3].to_owned(),
        home_node: "zurich".to_owned(),
        peer: number.is_multiple_of(7).then(|| "basel".to_owned()),
    };
    let text = format!("SELECT a{number} FROM t WHERE b = 4711");
    let said = Said::of(&Arc::new(crate::statement::parse(&text).unwrap()), text.len());
    Draft {
        objects: vec!["public.t".to_owned()],
        said: Some(said),
        epsilon: number.is_multiple_of(5).then_some(0.25),
        sites: vec!["zurich".to_owned()],
        result_digest: number.is_multiple_of(5).then_some([7; 32]),
        ..Draft::new(who, Action::Query, Decision::Allowed)
    }
}

impl Log {
    async fn filled(entries: usize) -> Log {
        let log = log().await;
        for number in 1..entries {
            log.log.queue(draft(number)).await.unwrap();
        }
        log.log.write(draft(entries)).await.unwrap();
        log
    }

    async fn all(&self) -> (Vec<Stored>, End, Vec<(Checkpoint, String)>) {
        let entries: Vec<Row> =
            sqlx::query_as("SELECT seq, principal, entry, literals, hash FROM audit_entries ORDER BY seq")
                .fetch_all(self.store.pool())
                .await
                .unwrap();
        let (size, hash, tree): (i64, Vec<u8>, Vec<u8>) =
            sqlx::query_as("SELECT size, hash, tree FROM audit_head").fetch_one(self.store.pool()).await.unwrap();
        let checkpoints = self.log.reader().checkpoints(None).await.unwrap();
        let key = identity::public_key(self.dir.path()).unwrap();
        let checkpoints = checkpoints.iter().map(|note| (Checkpoint::read(note, key).unwrap(), "a peer".to_owned()));
        (
            entries
                .into_iter()
                .map(|(seq, who, entry, literals, hash)| Stored { seq, who, entry, literals, hash })
                .collect(),
            End { size, hash, tree },
            checkpoints.collect(),
        )
    }

    async fn run(&self, sql: &'static str) {
        sqlx::query(sql).execute(self.store.pool()).await.unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.store.pool()).await.unwrap()
    }
}

/// Follows on, as whoever forges would write it: with new numbers, hashes and filing.
fn forged(entries: &mut [Stored], from: usize) {
    let mut previous: Hash = match from {
        0 => [0; 32],
        _ => entries[from - 1].hash.as_slice().try_into().unwrap(),
    };
    for (place, stored) in entries.iter_mut().enumerate().skip(from) {
        let mut entry = Entry::decode(&stored.entry).unwrap();
        (entry.previous, entry.seq) = (previous, place as u64 + 1);
        stored.seq = place as i64 + 1;
        stored.entry = entry.encode();
        previous = hash_of(&stored.entry);
        stored.hash = previous.to_vec();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_auditor_s_test() {
    let log = Log::filled(ENTRIES).await;
    let (entries, end, checkpoints) = log.all().await;
    assert_eq!(entries.len(), ENTRIES);
    assert!(checkpoints.len() >= 2, "{}", checkpoints.len());
    // Checks of the beginning, to go on from.
    let mut kept = vec![Verifier::new(checkpoints.clone())];
    let mut whole = Verifier::new(checkpoints.clone());
    for (place, entry) in entries.iter().enumerate() {
        assert!(whole.push(entry), "{place}");
        if (place + 1).is_multiple_of(STEP) {
            kept.push(whole.clone());
        }
    }
    let verdict = whole.finish(Some(&end));
    assert!(verdict.ok, "{verdict:?}");
    let check = |tampered: &[Stored], from: usize, end: Option<&End>| -> Verdict {
        let step = from / STEP;
        let mut verifier = kept[step].clone();
        for entry in &tampered[(step * STEP).min(tampered.len())..] {
            if !verifier.push(entry) {
                break;
            }
        }
        verifier.finish(end)
    };
    assert!(check(&entries, ENTRIES - 1, Some(&end)).ok);

    let mut random = StdRng::seed_from_u64(4711);
    let kinds: [(&str, Tampering); 11] = [
        ("a flipped bit of an entry", |all, at, random| {
            let entry = &mut all[at].entry;
            let byte = random.random_range(0..entry.len());
            entry[byte] ^= 1 << random.random_range(0..8);
        }),
        ("a flipped bit of a hash", |all, at, random| all[at].hash[random.random_range(0..32)] ^= 1),
        ("a flipped bit of literals", |all, at, random| {
            let literals = all[at].literals.as_mut().unwrap();
            let byte = random.random_range(0..literals.len());
            literals[byte] ^= 1 << random.random_range(0..8);
        }),
        ("literals that are gone", |all, at, _| all[at].literals = None),
        ("an entry that is filed under another name", |all, at, _| all[at].who = "eve".to_owned()),
        ("an entry that is left out", |all, at, _| drop(all.remove(at))),
        ("an entry that is left out, and the rest renumbered", |all, at, _| {
            all.remove(at);
            all.iter_mut().enumerate().for_each(|(place, entry)| entry.seq = place as i64 + 1);
        }),
        ("two entries exchanged", |all, at, _| {
            let other = if at + 1 < all.len() { at + 1 } else { at - 1 };
            all.swap(at, other);
            all.iter_mut().enumerate().for_each(|(place, entry)| entry.seq = place as i64 + 1);
        }),
        ("an entry that is put in", |all, at, _| {
            let mut more = all[at].clone();
            more.seq += 1;
            all[at + 1..].iter_mut().for_each(|entry| entry.seq += 1);
            all.insert(at + 1, more);
        }),
        ("an entry changed, and the chain written anew from there", |all, at, _| {
            let mut entry = Entry::decode(&all[at].entry).unwrap();
            entry.objects = vec!["public.other".to_owned()];
            all[at].entry = entry.encode();
            forged(all, at);
        }),
        ("an entry left out, and the chain written anew from there", |all, at, _| {
            all.remove(at);
            let from = at.min(all.len());
            forged(all, from);
        }),
    ];
    for (kind, tamper) in kinds {
        let mut found = 0;
        // What is after the newest checkpoint, peers can vouch for only later.
        let vouched = usize::try_from(checkpoints.iter().map(|(c, _)| c.size).max().unwrap()).unwrap();
        let most = if kind.contains("written anew") { vouched } else { ENTRIES };
        for _ in 0..ATTEMPTS {
            let at = random.random_range(0..most);
            // Only what lies about it is needed, and to the next checkpoint.
            let to = (at / 1_000 + 6).saturating_mul(1_000).min(ENTRIES);
            let mut tampered = entries[..to].to_vec();
            tamper(&mut tampered, at, &mut random);
            let verdict = check(&tampered, at, (to == ENTRIES).then_some(&end));
            // Of a log that is one short, the end alone may be missed: where a checkpoint was signed of just so many.
            let is_short = kind.starts_with("an entry left out, and the chain");
            let near = verdict.first_bad_seq.is_some_and(|seq| is_short || seq <= at as u64 + 2);
            found += usize::from(!verdict.ok && near);
        }
        assert_eq!(found, ATTEMPTS, "{kind}");
    }

    // A tail that is cut off, with an end that says so: what a checkpoint vouches for is missed.
    let newest = checkpoints.iter().map(|(checkpoint, _)| checkpoint.size).max().unwrap();
    for _ in 0..ATTEMPTS {
        let at = random.random_range(0..usize::try_from(newest).unwrap());
        let mut verifier = kept[at / STEP].clone();
        entries[at / STEP * STEP..at].iter().for_each(|entry| assert!(verifier.push(entry)));
        let verdict = verifier.finish(None);
        assert_eq!((verdict.ok, verdict.first_bad_seq), (false, Some(at as u64 + 1)), "{verdict:?}");
    }
    // And one that is cut off behind the newest checkpoint, by the store's own end.
    let verdict = check(&entries[..ENTRIES - 1], ENTRIES - 1, Some(&end));
    assert_eq!((verdict.ok, verdict.first_bad_seq), (false, Some(ENTRIES as u64)));

    // A fork: the same size, another root.
    let mut forked = checkpoints.clone();
    forked[1].0.root[0] ^= 1;
    let mut verifier = Verifier::new(forked);
    assert!(!entries.iter().all(|entry| verifier.push(entry)));
    assert!(verifier.finish(Some(&end)).detail.contains("forked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_s_own_check_finds_what_is_wrong_with_it() {
    let log = Log::filled(2_500).await;
    let reader = log.log.reader();
    let verdict = reader.verify(Vec::new()).await.unwrap();
    assert!(verdict.ok, "{verdict:?}");
    for (tamper, undo, seq) in [
        (
            "UPDATE audit_entries SET principal = 'eve' WHERE seq = 17",
            "UPDATE audit_entries SET principal = 'cleo' WHERE seq = 17",
            Some(17),
        ),
        (
            "UPDATE audit_entries SET seq = -5 WHERE seq = 99",
            "UPDATE audit_entries SET seq = 99 WHERE seq = -5",
            Some(1),
        ),
        ("UPDATE audit_head SET size = 2499", "UPDATE audit_head SET size = 2500", Some(2501)),
        ("UPDATE audit_checkpoints SET node_id = 'x'", "UPDATE audit_checkpoints SET node_id = 'zurich'", None),
        (
            "UPDATE audit_checkpoints SET note = replace(note, 'zurich' || char(10), 'basel' || char(10))",
            "UPDATE audit_checkpoints SET note = replace(note, 'basel' || char(10), 'zurich' || char(10))",
            None,
        ),
    ] {
        log.run(tamper).await;
        let verdict = reader.verify(Vec::new()).await.unwrap();
        assert_eq!((verdict.ok, verdict.first_bad_seq), (false, seq), "{tamper}: {verdict:?}");
        log.run(undo).await;
        assert!(reader.verify(Vec::new()).await.unwrap().ok, "{undo}");
    }
    // What a peer holds counts as what the node holds, and only if it is of this log and signed.
    let note = reader.checkpoints(None).await.unwrap().remove(0);
    assert!(reader.verify(vec![(note.clone(), "basel".to_owned())]).await.unwrap().ok);
    let altered = note.replacen('2', "3", 1);
    assert!(reader.verify(vec![(altered, "basel".to_owned())]).await.is_err());
    // Entries that are about to be written are there for whoever reads after a checkpoint.
    log.log.queue(draft(1)).await.unwrap();
    log.log.checkpoint().await.unwrap();
    assert_eq!(log.count("SELECT size FROM audit_head").await, 2501);
    let newest = reader.checkpoints(None).await.unwrap().remove(0);
    assert!(newest.starts_with("zurich\n2501\n"), "{newest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn literals_are_sealed() {
    let log = Log::filled(10).await;
    let (entries, ..) = log.all().await;
    for stored in &entries {
        let sealed = stored.literals.as_ref().unwrap();
        assert!(!sealed.windows(4).any(|bytes| bytes == b"4711") && !stored.entry.windows(4).any(|b| b == b"4711"));
    }
    let (shown, _) = log.log.reader().page(0, &Whose::All).await.unwrap();
    assert_eq!(shown[0].literals.as_deref(), Some("[\"4711\"]"));
    let (own, _) = log.log.reader().page(0, &Whose::Own("ben".to_owned())).await.unwrap();
    assert!(!own.is_empty() && own.iter().all(|shown| shown.entry.who() == "ben" && shown.literals.is_none()));
    // Those of one entry do not open as another's.
    let chain = &log.log.chain;
    assert!(chain.sealer.open(2, entries[1].literals.as_ref().unwrap()).is_some());
    assert!(chain.sealer.open(3, entries[1].literals.as_ref().unwrap()).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_one_chain_with_the_ledger_s() {
    let log = log().await;
    let ledger = budget(&log).await;
    let tasks: Vec<_> = (0..200_usize)
        .map(|number| {
            let (log, ledger) = (log.log.clone(), ledger.clone());
            tokio::spawn(async move {
                match number % 3 {
                    0 => log.write(draft(number)).await.unwrap(),
                    1 => log.queue(draft(number)).await.unwrap(),
                    _ => drop(release(&log, &ledger, u8::try_from(number).unwrap()).await.unwrap()),
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    log.log.checkpoint().await.unwrap();
    assert_eq!(log.count("SELECT size FROM audit_head").await, 200);
    let verdict = log.log.reader().verify(Vec::new()).await.unwrap();
    assert!(verdict.ok, "{verdict:?}");
}

async fn budget(log: &Log) -> Ledger {
    let options = [("budget_epsilon".to_owned(), "1000".to_owned()), ("budget_delta".to_owned(), "0.1".to_owned())];
    log.store.create_privacy_unit("patient", crate::ledger::Budget::create(&options).unwrap()).await.unwrap();
    Ledger::start(&log.store)
}

/// Charges a release, and keeps its answer with an entry.
async fn release(log: &AuditLog, ledger: &Ledger, number: u8) -> Result<Bytes> {
    let cost = Cost {
        epsilon: Epsilon::try_from(0.5).unwrap(),
        delta: Delta::ZERO,
        rho: Rho::try_from(0.125).unwrap(),
        zcdp_delta: Delta::ZERO,
    };
    let fingerprint = ReleaseFingerprint::from_bytes([number; 32]);
    let request = ReleaseRequest { fingerprint, kind: "patient".to_owned(), cost };
    let reserved = ledger.reserve("ana", vec![request]).await?;
    let Some(Reserved::Charged(reservation)) = reserved.into_iter().next() else { panic!("it was answered") };
    let also = log.also(draft(usize::from(number))).await?;
    reservation.commit(Bytes::from_static(b"42"), Some(also)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_and_its_entry_are_kept_together_or_not_at_all() {
    let log = log().await;
    let ledger = budget(&log).await;
    log.run("CREATE TRIGGER broken BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'broken'); END").await;
    let error = release(&log.log, &ledger, 1).await.unwrap_err();
    assert_eq!(error.state, Sqlstate::SystemError);
    assert_eq!(log.count("SELECT count(*) FROM answers").await, 0, "no answer without an entry");
    assert_eq!(log.count("SELECT count(*) FROM charges").await, 1, "and nothing is given back");
    log.run("DROP TRIGGER broken").await;
    assert_eq!(release(&log.log, &ledger, 1).await.unwrap(), "42");
    assert_eq!(log.count("SELECT count(*) FROM answers").await, 1);
    assert_eq!(log.count("SELECT size FROM audit_head").await, 1);
    // And the other way round.
    log.run("CREATE TRIGGER broken BEFORE INSERT ON answers BEGIN SELECT RAISE(ABORT, 'broken'); END").await;
    release(&log.log, &ledger, 2).await.unwrap_err();
    assert_eq!(log.count("SELECT size FROM audit_head").await, 1, "no entry without an answer");
}

#[tokio::test]
async fn a_store_that_is_read_only_or_full_says_what_to_do() {
    let log = Log::filled(3).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(log.dir.path().join("kanon.db")).read_only(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let error = log.log.chain.append(&mut connection, &[draft(4)]).await.unwrap_err();
    assert_eq!(error.state, Sqlstate::IoError);
    assert!(error.hint.unwrap().contains("operator"));
    let mut connection = log.store.pool().acquire().await.unwrap();
    sqlx::query("PRAGMA max_page_count = 1").execute(&mut *connection).await.unwrap();
    let drafts: Vec<Draft> = (0..2_000).map(draft).collect();
    let mut transaction = sqlx::Connection::begin(&mut *connection).await.unwrap();
    let error = log.log.chain.append(&mut transaction, &drafts).await.unwrap_err();
    assert_eq!(error.state, Sqlstate::DiskFull);
    drop(transaction);
    connection.close().await.unwrap();
    assert_eq!(log.count("SELECT size FROM audit_head").await, 3, "nothing of it is there");
    assert!(log.log.reader().verify(Vec::new()).await.unwrap().ok);
}

async fn ask(session: &Arc<Session>, text: &str) -> std::result::Result<usize, Error> {
    let prepared = session.prepare(text, &[]).await?;
    let answer = session.execute(&prepared, vec![]).await?;
    let mut count = 0;
    if let Some(mut rows) = answer.rows {
        while let Some(batch) = rows.stream.next().await {
            count += batch?.num_rows();
        }
    }
    Ok(count)
}

fn principal(node: &Node, name: &str) -> Principal {
    let roles: BTreeSet<BuiltinRole> = BTreeSet::new();
    let (home_node, auth_method) = (node.site().clone(), AuthMethod::ScramSha256);
    Principal {
        name: name.to_owned(),
        roles,
        home_node,
        auth_method,
        credential: None,
        via_peer: None,
        told_roles: BTreeSet::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_while_the_log_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("t.csv");
    let rows: String = (0..60).map(|i| format!("{i},{}\n", i % 3)).collect();
    std::fs::write(&csv, format!("id,a\n{rows}")).unwrap();
    let node = Node::start(Config::new("basel", folder.path().join("node"))).await.unwrap();
    let admin = Session::open(Arc::clone(&node), node.local_admin());
    for text in [
        "CREATE ROLE ana LOGIN PASSWORD 'correct horse battery'".to_owned(),
        "GRANT analyst TO ana".to_owned(),
        format!("CREATE EXTERNAL TABLE rows_of STORED AS CSV LOCATION '{}'", csv.display()),
        format!("CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{}'", csv.display()),
        "ALTER TABLE rows_of SET (access = 'open')".to_owned(),
        "ALTER TABLE people SET (access = 'cohort', unit = 'id', min_cohort = 5)".to_owned(),
        "GRANT SELECT ON rows_of TO ana".to_owned(),
        "GRANT SELECT ON people TO ana".to_owned(),
    ] {
        ask(&admin, &text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    let ana = Session::open(Arc::clone(&node), principal(&node, "ana"));
    let open = "SELECT * FROM rows_of WHERE id = 7";
    let cohort = "SELECT a, count(*) FROM people GROUP BY a";
    assert_eq!(ask(&ana, open).await.unwrap(), 1);
    assert_eq!(ask(&ana, cohort).await.unwrap(), 3);
    node.audit.checkpoint().await.unwrap();
    let size = || async {
        let count: i64 = sqlx::query_scalar("SELECT size FROM audit_head").fetch_one(node.store.pool()).await.unwrap();
        count
    };
    let before = size().await;
    let run = |sql: &'static str| {
        let node = Arc::clone(&node);
        async move { sqlx::query(sql).execute(node.store.pool()).await.unwrap() }
    };
    run("CREATE TRIGGER broken BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'broken'); END").await;
    assert_eq!(ask(&ana, cohort).await.unwrap_err().state, Sqlstate::SystemError);
    assert_eq!(ask(&ana, open).await.unwrap_err().state, Sqlstate::SystemError);
    assert!(ask(&ana, "SELECT * FROM secrets").await.is_err());
    assert!(node.audit.logged_in(&node.local_admin(), "127.0.0.1").await.is_err(), "nobody is let in");
    assert_eq!(ask(&admin, "CREATE ROLE ben LOGIN").await.unwrap_err().state, Sqlstate::SystemError);
    assert!(!node.store.directory().all().contains_key("ben"), "no change without an entry");
    // What reads nothing goes on.
    assert_eq!(ask(&ana, "SELECT 1").await.unwrap(), 1);
    run("DROP TRIGGER broken").await;
    assert_eq!(ask(&ana, open).await.unwrap(), 1);
    assert_eq!(ask(&ana, cohort).await.unwrap(), 3);
    node.audit.checkpoint().await.unwrap();
    assert_eq!(size().await, before + 2, "and it has entries of what was answered alone");
    assert!(node.audit.reader().verify(Vec::new()).await.unwrap().ok);

    // No password is on the disk, in whatever it was written.
    for text in [
        "CREATE ROLE cleo LOGIN PASSWORD 'hunter2hunter2'",
        "ALTER ROLE cleo PASSWORD 'hunter2hunter2'",
        "CREATE ROLE cleo LOGIN PASSWORD 'hunter2hunter2'",
        "CREATE ROLE cleo LOGIN PASWORD 'hunter2hunter2'",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION 'https://ana:hunter2hunter2@127.0.0.1:1/x.csv?token=hunter2hunter2'",
        "SELECT * FROM rows_of WHERE a::text = 'postgres://ana:hunter2hunter2@db/x'",
        "EXPLAIN SELECT * FROM secrets WHERE dsn = 'host=db password=hunter2hunter2'",
    ] {
        let _ = ask(&admin, text).await;
    }
    node.stop().await;
    for file in ["kanon.db", "kanon.db-wal"] {
        let bytes = std::fs::read(folder.path().join("node").join(file)).unwrap_or_default();
        for secret in [&b"hunter2hunter2"[..], b"correct horse battery"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{file}");
        }
    }
}
