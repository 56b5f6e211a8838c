//! Small statements beside PostgreSQL 15: how many a second, how long one takes, and what connections cost.
//!
//! ```text
//! cargo build --release --workspace && cargo run --release -p kanon-benches --bin latency
//! KANON_BENCH_SECONDS=1 KANON_BENCH_ROUNDS=1 … --bin latency                    something quicker
//! ```
//!
//! Both are asked by pgbench, in turns, without encryption. Rates are medians of all rounds; a single client's latency is the median of its transactions.
//! The lookup reads one row of a table of 303, here from a Parquet file, there by its primary key.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use kanon_benches::{memory_kb, number};
use kanon_tests::postgres::Postgres;
use kanon_tests::tools::{program, psql};
use kanon_tests::wire::Wire;
use kanon_tests::{ADMIN, ANALYST, Federation, Site, SiteSpec};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROWS: i64 = 303;
const IDLE: usize = 1_000;

/// What is asked, and by which protocols. pgbench puts numbers into the text of simple statements, and binds them to prepared ones.
const STATEMENTS: [(&str, &str); 3] = [
    ("SELECT 1", "SELECT 1;\n"),
    (
        "expression of 5 parts",
        "SELECT 1 + 2 AS a, upper('x') AS b, DATE '2024-02-29' AS c, 1.5 * 2 AS d, ARRAY[1, 2] AS e;\n",
    ),
    ("one-row lookup", "\\set id random(1, 303)\nSELECT name FROM small WHERE id = :id;\n"),
];

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Outcome<()> {
    let rounds = number("KANON_BENCH_ROUNDS", 3)?.max(1);
    let seconds = number("KANON_BENCH_SECONDS", 4)?.max(1);
    let postgres = Postgres::start().await.ok_or("PostgreSQL 15 is not here: run scripts/clients")?;
    let setup = [
        "CREATE EXTERNAL TABLE small STORED AS PARQUET LOCATION '{dir}/small.parquet'",
        "ALTER TABLE small SET (access = 'open')",
        "GRANT SELECT ON small TO root",
    ];
    let site = SiteSpec {
        id: "cleveland",
        setup: setup.map(str::to_owned).into(),
        files: vec![("small.parquet".to_owned(), table()?)],
    };
    let federation = Federation::configured(vec![site], &format!("max_connections = {}", IDLE + 100)).await;
    federation.grant_all(&["small"]).await;
    let node = federation.site("cleveland");
    let fill = format!(
        "CREATE TABLE small (id int8 PRIMARY KEY, name text); INSERT INTO small SELECT i, 'name ' || i FROM generate_series(1, {ROWS}) i"
    );
    let said = psql(postgres.port, ANALYST, &["-c", &fill], "").await;
    if !said.ended_well {
        return Err(said.text().into());
    }

    let here = Server { port: node.pg_port, role: ADMIN };
    let there = Server { port: postgres.port, role: ANALYST };
    println!(
        "statements a second, median of {rounds} times {seconds} s; in brackets one client's median latency in ms"
    );
    println!("{:<24}{:<10}{:>8}{:>20}{:>20}{:>8}", "", "protocol", "clients", "kanon", "PostgreSQL 15", "ratio");
    for (name, script) in STATEMENTS {
        for protocol in ["simple", "prepared"] {
            for clients in [1, 16, 64] {
                let asked = Asked { script, protocol, clients, seconds, connects: false };
                compare(&format!("{name:<24}{protocol:<10}{clients:>8}"), &here, &there, &asked, rounds)?;
            }
        }
    }
    let asked = Asked { script: "SELECT 1;\n", protocol: "simple", clients: 4, seconds, connects: true };
    compare(&format!("{:<24}{:<10}{:>8}", "a connection for each", "simple", 4), &here, &there, &asked, rounds)?;
    idle(node).await
}

/// The memory of connections that wait.
async fn idle(node: &Site) -> Outcome<()> {
    let before = memory_kb(node.pid(), "VmRSS")?;
    let mut held = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        held.push(Wire::connect(node.pg_port).await);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = memory_kb(node.pid(), "VmRSS")?;
    println!(
        "{IDLE} idle connections: {} MB more than {} MB (target: at most 100)",
        after.saturating_sub(before) >> 10,
        before >> 10
    );
    Ok(())
}

struct Server {
    port: u16,
    role: (&'static str, &'static str),
}

struct Asked {
    script: &'static str,
    protocol: &'static str,
    clients: usize,
    seconds: usize,
    /// Whether each statement has a connection of its own.
    connects: bool,
}

fn compare(what: &str, here: &Server, there: &Server, asked: &Asked, rounds: usize) -> Outcome<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(here.run(asked)?);
        theirs.push(there.run(asked)?);
    }
    let (our, their) = (middle(&mut ours), middle(&mut theirs));
    let shown =
        |of: (f64, f64)| if asked.clients == 1 { format!("{:.0} ({:.3})", of.0, of.1) } else { format!("{:.0}", of.0) };
    println!("{what}{:>20}{:>20}{:>8.2}", shown(our), shown(their), our.0 / their.0);
    Ok(())
}

/// The run in the middle, by rate.
fn middle(runs: &mut [(f64, f64)]) -> (f64, f64) {
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    runs.get(runs.len() / 2).copied().unwrap_or_default()
}

impl Server {
    /// Statements a second, and the median of their times in ms.
    fn run(&self, asked: &Asked) -> Outcome<(f64, f64)> {
        let folder = tempfile::tempdir()?;
        let script = folder.path().join("script.sql");
        std::fs::write(&script, asked.script)?;
        let pgbench = program("pgbench").ok_or("pgbench is not here: run scripts/clients")?;
        let mut command = Command::new(pgbench);
        command
            .current_dir(folder.path())
            .args(["-n", "-h", "127.0.0.1", "-U", self.role.0, "-p", &self.port.to_string()])
            .args(["-f", &script.display().to_string(), "-M", asked.protocol, "-T", &asked.seconds.to_string()])
            .args(["-c", &asked.clients.to_string(), "-j", "1", "--log"])
            .env("PGPASSWORD", self.role.1);
        if asked.connects {
            command.arg("-C");
        }
        let said = command.arg("kanon").output()?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let rate = text.lines().filter_map(|line| line.strip_prefix("tps = ")).next();
        let rate = rate.and_then(|rate| rate.split(' ').next()?.parse::<f64>().ok());
        match rate {
            Some(rate) if said.status.success() => Ok((rate, median_of_log(folder.path())?)),
            _ => Err(format!("{text}{}", String::from_utf8_lossy(&said.stderr)).into()),
        }
    }
}

/// The median of the times that pgbench wrote down: the third column, in microseconds.
fn median_of_log(folder: &Path) -> Outcome<f64> {
    let mut times = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pgbench_log")) {
            let text = std::fs::read_to_string(path)?;
            times.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
        }
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).map_or(0.0, |us| *us as f64 / 1e3))
}

/// The table as a Parquet file.
fn table() -> Outcome<Vec<u8>> {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(1..=ROWS))),
        ("name", Arc::new(StringArray::from_iter_values((1..=ROWS).map(|i| format!("name {i}"))))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}
