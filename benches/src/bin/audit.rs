//! The audit log: how fast it is verified, and what an entry costs beside the query that it is about.
//!
//! ```text
//! cargo run --release -p kanon-benches --bin audit        200,000 entries
//! KANON_BENCH_ROWS=20000 … --bin audit                     something quicker
//! ```
//!
//! There is no way to run a node without its audit log, so what auditing costs is told in processor time: that of a one-row SELECT of an open table, its
//! entry among it, and that of as many entries alone.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use kanon_benches::number;
use kanon_engine::audit::LogReader;
use kanon_engine::audit::entry::{Action, Decision, Entry, hash_of};
use kanon_engine::audit::verify::{Stored, Verifier};
use kanon_engine::config::Config;
use kanon_engine::node::Node;
use kanon_engine::session::{Prepared, Session};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let entries: usize = number("KANON_BENCH_ROWS", 200_000)?;
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(64 << 20).build()?;
    verify_in_memory(entries)?;
    runtime
        .block_on(async { tokio::spawn(cost(folder.path().to_owned(), entries)).await.map_err(|e| e.to_string()) })??;
    Ok(())
}

/// The pure function alone.
fn verify_in_memory(entries: usize) -> Outcome<()> {
    let mut previous = [0; 32];
    let stored: Vec<Stored> = (1_i64..)
        .take(entries)
        .map(|seq| {
            let entry = Entry {
                previous,
                seq: seq.unsigned_abs(),
                at_ms: 1_700_000_000_000 + seq,
                principal: "ana".to_owned(),
                home_node: "zurich".to_owned(),
                peer: None,
                action: Action::Query,
                objects: vec!["public.icd10".to_owned()],
                decision: Decision::Allowed,
                rule: None,
                statement: Some("SELECT title FROM icd10 WHERE code = ?".to_owned()),
                literals: Some(hash_of(b"sealed")),
                epsilon: None,
                delta: None,
                sites: vec!["zurich".to_owned()],
                result_digest: None,
            };
            let encoded = entry.encode();
            previous = hash_of(&encoded);
            let (who, literals) = (entry.who(), Some(b"sealed".to_vec()));
            Stored { seq, who, entry: encoded, literals, hash: previous.to_vec() }
        })
        .collect();
    let began = Instant::now();
    let mut verifier = Verifier::new(Vec::new());
    if !stored.iter().all(|entry| verifier.push(entry)) || !verifier.finish(None).ok {
        return Err("the log does not verify".into());
    }
    let rate = entries as f64 / began.elapsed().as_secs_f64();
    println!("verified in memory: {rate:.0} entries a second (target: at least 100000)");
    Ok(())
}

async fn cost(folder: std::path::PathBuf, entries: usize) -> Result<(), String> {
    measure(&folder, entries).await.map_err(|error| error.to_string())
}

async fn measure(folder: &Path, entries: usize) -> Outcome<()> {
    let csv = folder.join("codes.csv");
    let rows: String = (0..50).map(|i| format!("C{i},title {i}\n")).collect();
    std::fs::write(&csv, format!("code,title\n{rows}"))?;
    let config = Config::new("bench", folder.join("node"));
    let node = Node::start(config.clone()).await?;
    let session = Session::open(Arc::clone(&node), node.local_admin());
    for sql in [
        format!("CREATE EXTERNAL TABLE codes STORED AS CSV LOCATION '{}'", csv.display()),
        "ALTER TABLE codes SET (access = 'open')".to_owned(),
        "GRANT SELECT ON codes TO admin".to_owned(),
    ] {
        run(&session, &session.prepare(&sql, &[]).await?).await?;
    }
    let select = session.prepare("SELECT title FROM codes WHERE code = 'C7'", &[]).await?;
    let statements = entries / 20;
    for _ in 0..100 {
        run(&session, &select).await?;
    }
    node.audit.checkpoint().await?;
    let (wall, before) = (Instant::now(), processor_us()?);
    for _ in 0..statements {
        run(&session, &select).await?;
    }
    let rate = statements as f64 / wall.elapsed().as_secs_f64();
    node.audit.checkpoint().await?;
    let a_statement = (processor_us()? - before) / statements as f64;
    let (admin, before) = (node.local_admin(), processor_us()?);
    for _ in 0..entries {
        node.audit.logged_in(&admin, "127.0.0.1").await?;
    }
    node.audit.checkpoint().await?;
    let an_entry = (processor_us()? - before) / entries as f64;
    println!(
        "a one-row SELECT of an open table, with its entry: {a_statement:.1} us of processor time, {rate:.0} a second"
    );
    println!(
        "an entry by itself, queued, hashed and written: {an_entry:.1} us: {:.1}% of that SELECT (target: at most 5%)",
        100.0 * an_entry / (a_statement - an_entry)
    );
    let began = Instant::now();
    let verdict = LogReader::open(&config, false).await?.verify(Vec::new()).await?;
    let rate = (entries + statements) as f64 / began.elapsed().as_secs_f64();
    println!("verified from the store: {rate:.0} entries a second (target: at least 100000): {}", verdict.detail);
    node.stop().await;
    if verdict.ok { Ok(()) } else { Err("the log does not verify".into()) }
}

async fn run(session: &Arc<Session>, prepared: &Prepared) -> Outcome<()> {
    let answer = session.execute(prepared, Vec::new()).await?;
    if let Some(mut rows) = answer.rows {
        while let Some(batch) = rows.stream.next().await {
            batch?;
        }
    }
    Ok(())
}

/// What this process has had of processors, in microseconds (Linux counts hundredths of a second).
fn processor_us() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(") ").ok_or("no figures")?.1.split(' ').collect();
    let ticks = |field: usize| -> Outcome<f64> { Ok(fields.get(field).ok_or("no figure")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) * 10_000.0)
}
