//! The ledger of a node, through the wire: how many private answers a second come from the store, and how many new ones are charged, computed and
//! kept, each charge durable (SQLite with synchronous = FULL) before anything is read.
//!
//! ```text
//! cargo run --release -p kanon-benches --bin ledger        16 clients, 5 s each
//! ```

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kanon_tests::{ADMIN, Federation, SiteSpec};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CLIENTS: usize = 16;
const SECONDS: u64 = 5;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> Outcome<()> {
    let mut text = "pid,age\n".to_owned();
    for i in 0..1_000 {
        writeln!(text, "{i},{}", 20 + i % 50)?;
    }
    let setup = [
        "CREATE EXTERNAL TABLE patients STORED AS CSV LOCATION '{dir}/patients.csv'",
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 1000000, budget_delta = 1e-6)",
        "ALTER TABLE patients SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 10, epsilon_per_query = 1)",
        "GRANT SELECT ON patients TO root",
    ];
    let files = vec![("patients.csv".to_owned(), text.into_bytes())];
    let setup = setup.map(str::to_owned).to_vec();
    let federation = Arc::new(Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await);
    println!("{CLIENTS} clients, {SECONDS} s each; a count over 1,000 people");
    println!("{:<44}{:>12}{:>12}", "", "a second", "at least");
    let stored = rate(&federation, |_| "SELECT count(*) FROM patients".to_owned()).await?;
    told("answers from the store", stored, 1_000.0);
    let fresh = rate(&federation, |n| format!("SELECT count(*) FROM patients WHERE age > {n}")).await?;
    told("new releases, each charged before it is read", fresh, 200.0);
    Ok(())
}

/// How many questions a second are answered; each is given its number.
async fn rate(federation: &Arc<Federation>, question: fn(usize) -> String) -> Outcome<f64> {
    let next = Arc::new(AtomicUsize::new(0));
    let site = federation.sites.first().ok_or("no node")?;
    site.connect(ADMIN).await?.ask(&question(0)).await.map_err(|e| format!("{e:?}"))?;
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (client, next) = (site.connect(ADMIN).await?, Arc::clone(&next));
        clients.push(tokio::spawn(async move {
            while began.elapsed() < Duration::from_secs(SECONDS) {
                let number = 1 + next.fetch_add(1, Ordering::Relaxed);
                client.ask(&question(number)).await.map_err(|e| format!("{e:?}"))?;
            }
            Ok::<(), String>(())
        }));
    }
    for client in clients {
        client.await??;
    }
    Ok(next.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

fn told(what: &str, rate: f64, target: f64) {
    println!("{what:<44}{rate:>12.0}{target:>12.0}{}", if rate >= target { "" } else { "  missed" });
}
