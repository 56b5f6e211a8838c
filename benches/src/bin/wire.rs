//! Rows over the PostgreSQL protocol: psql reads a table from a node and from PostgreSQL 15, the same rows.
//!
//! ```text
//! cargo build --release && cargo run --release -p kanon-benches --bin wire    1,000,000 rows of 8 columns, median of 5
//! KANON_BENCH_ROWS=20000 KANON_BENCH_ROUNDS=1 … --bin wire                    something quicker
//! ```
//!
//! The two alternate, the node from a Parquet file, PostgreSQL from its own heap, both without encryption. What psql does with the
//! rows is in both times. The node's memory is its VmHWM after a tenth of the rows and after all rounds.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use datafusion::parquet::arrow::ArrowWriter;
use kanon_benches::{median, memory_kb, number};
use kanon_tests::postgres::Postgres;
use kanon_tests::tools::{program, psql};
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};

type Outcome<T> = Result<T, Box<dyn Error>>;

const READ: &str = "SELECT * FROM wide";
const COLUMNS: &str =
    "id int8, n int4, flag bool, ratio float8, amount numeric(10, 2), label text, at timestamp, day date";

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Outcome<()> {
    let rows = number("KANON_BENCH_ROWS", 1_000_000)?;
    let rounds = number("KANON_BENCH_ROUNDS", 5)?;
    let postgres = Postgres::start().await.ok_or("PostgreSQL 15 is not here: run scripts/clients")?;
    let setup = [
        "CREATE EXTERNAL TABLE wide STORED AS PARQUET LOCATION '{dir}/wide.parquet'",
        "ALTER TABLE wide SET (access = 'open')",
        "GRANT SELECT ON wide TO root",
    ];
    let federation = Federation::start(vec![SiteSpec {
        id: "cleveland",
        setup: setup.map(str::to_owned).into(),
        files: vec![("wide.parquet".to_owned(), table(rows)?)],
    }])
    .await;
    let node = federation.site("cleveland");
    load(node.pg_port, postgres.port).await?;

    println!("{rows} rows of 8 columns, read by psql; median of {rounds}, the two alternating");
    let tenth = rows / 10;
    read(node.pg_port, ADMIN, &format!("{READ} LIMIT {tenth}"), tenth).await?;
    let before = memory_kb(node.pid(), "VmHWM")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let our = read(node.pg_port, ADMIN, READ, rows).await?;
        let their = read(postgres.port, ANALYST, READ, rows).await?;
        // The first fills caches.
        if round > 0 {
            ours.push(our);
            theirs.push(their);
        }
    }
    let after = memory_kb(node.pid(), "VmHWM")?;
    let (our, their) = (median(&mut ours), median(&mut theirs));
    let rate = |took: Duration| rows as f64 / took.as_secs_f64();
    println!("{:<14}{:>10}{:>16}", "", "ms", "rows a second");
    println!("{:<14}{:>10.0}{:>16.0}", "kanon", our.as_secs_f64() * 1e3, rate(our));
    println!("{:<14}{:>10.0}{:>16.0}", "PostgreSQL 15", their.as_secs_f64() * 1e3, rate(their));
    println!("rate: {:.2} of PostgreSQL's (target: at least 0.7)", rate(our) / rate(their));
    println!("the node's peak memory: {} MB after a tenth of the rows, {} MB at the end", before >> 10, after >> 10);
    Ok(())
}

/// The table as a Parquet file.
fn table(rows: usize) -> Outcome<Vec<u8>> {
    const LABELS: [&str; 5] = ["asymptomatic", "typical angina", "non-anginal pain", "Zürich", ""];
    let mut writer = None;
    for start in (0..rows).step_by(65_536) {
        let all = || (start..rows.min(start + 65_536)).map(|i| i as i64);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from_iter_values(all()))),
            (
                "n",
                Arc::new(Int32Array::from_iter(all().map(|i| (i % 11 != 0).then_some((i * 7919 % 1_000_003) as i32)))),
            ),
            ("flag", Arc::new(BooleanArray::from_iter(all().map(|i| Some(i % 3 == 0))))),
            ("ratio", Arc::new(Float64Array::from_iter_values(all().map(|i| i as f64 / 97.0)))),
            (
                "amount",
                Arc::new(
                    Decimal128Array::from_iter_values(all().map(|i| i128::from(i * 31 % 10_000_000)))
                        .with_precision_and_scale(10, 2)?,
                ),
            ),
            (
                "label",
                Arc::new(StringArray::from_iter_values(
                    all().map(|i| format!("{} {}", LABELS.get(i as usize % LABELS.len()).unwrap_or(&""), i % 1000)),
                )),
            ),
            (
                "at",
                Arc::new(TimestampMicrosecondArray::from_iter_values(
                    all().map(|i| 1_700_000_000_000_000 + i * 61_000_001),
                )),
            ),
            ("day", Arc::new(Date32Array::from_iter_values(all().map(|i| (i % 20_000) as i32)))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?;
        let writer: &mut ArrowWriter<Vec<u8>> = match &mut writer {
            Some(writer) => writer,
            none => none.insert(ArrowWriter::try_new(Vec::new(), batch.schema(), None)?),
        };
        writer.write(&batch)?;
    }
    Ok(writer.ok_or("no rows")?.into_inner()?)
}

/// What the node answers becomes the table of PostgreSQL.
async fn load(node: u16, postgres: u16) -> Outcome<()> {
    let create = format!("CREATE TABLE wide ({COLUMNS})");
    check(psql(postgres, ANALYST, &["-c", &create], "").await)?;
    let rows = psql(node, ADMIN, &["-c", &format!("COPY ({READ}) TO STDOUT")], "").await;
    let psql_program = program("psql").ok_or("psql is not here")?;
    let mut child = Command::new(psql_program)
        .args(["-X", "-q", "-h", "127.0.0.1", "-p", &postgres.to_string(), "-U", ANALYST.0, "kanon"])
        .args(["-c", "COPY wide FROM STDIN", "-c", "VACUUM (FREEZE, ANALYZE) wide"])
        .env("PGPASSWORD", ANALYST.1)
        .stdin(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(&rows.all)?;
    if child.wait()?.success() { Ok(()) } else { Err("PostgreSQL does not take the rows".into()) }
}

fn check(said: kanon_tests::tools::Said) -> Outcome<String> {
    if said.ended_well { Ok(said.text()) } else { Err(said.text().into()) }
}

/// The time that psql takes to read a query's rows, all of which it must have seen.
async fn read(port: u16, role: (&str, &str), query: &str, rows: usize) -> Outcome<Duration> {
    let output = tempfile::NamedTempFile::new()?;
    let sink = Path::new("/dev/null");
    let script = format!("\\o {}\n{query};\n\\o {}\n\\qecho :ROW_COUNT\n", sink.display(), output.path().display());
    let began = Instant::now();
    check(psql(port, role, &["-At", "-v", "ON_ERROR_STOP=1"], &script).await)?;
    let took = began.elapsed();
    let seen = std::fs::read_to_string(output.path())?;
    if seen.trim() == rows.to_string() { Ok(took) } else { Err(format!("{seen} rows instead of {rows}").into()) }
}
