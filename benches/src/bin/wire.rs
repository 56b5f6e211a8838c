//! Rows over the PostgreSQL protocol: clients read a table from a node and from PostgreSQL 15, the same rows: psql as text and by COPY, and ADBC, which
//! copies in binary.
//!
//! ```text
//! cargo build --release && cargo run --release -p kanon-benches --bin wire    1,000,000 rows of 8 columns, median of 5
//! KANON_BENCH_ROWS=20000 KANON_BENCH_ROUNDS=1 … --bin wire                    something quicker
//! ```
//!
//! The two alternate, the node from a Parquet file, PostgreSQL from its own heap, both without encryption. What psql does with the
//! rows is in both times; of ADBC's it is nearly all, and the processor time of its process is printed. The node's memory is its VmHWM after a tenth of the rows and after all rounds.

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
use kanon_tests::tools::{program, psql, python_of_tools};
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

    println!("{rows} rows of 8 columns; median of {rounds}, the two alternating");
    let tenth = rows / 10;
    let (here, there) = ((node.pg_port, ADMIN), (postgres.port, ANALYST));
    read(here, Way::Text, &format!("{READ} LIMIT {tenth}"), tenth).await?;
    let before = memory_kb(node.pid(), "VmHWM")?;
    println!("{:<24}{:>14}{:>20}{:>8}{:>10}", "rows a second", "kanon", "PostgreSQL 15", "ratio", "target");
    for (way, what, target) in [
        (Way::Text, "text, psql", 1.0),
        (Way::Copy("text"), "COPY text, psql", 1.0),
        (Way::Copy("binary"), "COPY binary, psql", 1.5),
        (Way::Adbc, "COPY binary, ADBC", 1.5),
    ] {
        let (mut ours, mut theirs, mut own) = (Vec::new(), Vec::new(), Duration::ZERO);
        for round in 0..=rounds {
            let (our, of_client) = read(here, way, READ, rows).await?;
            let (their, _) = read(there, way, READ, rows).await?;
            own = of_client;
            // The first fills caches.
            if round > 0 {
                ours.push(our);
                theirs.push(their);
            }
        }
        let rate = |times: &mut Vec<Duration>| rows as f64 / median(times).as_secs_f64();
        let (our, their) = (rate(&mut ours), rate(&mut theirs));
        println!("{what:<24}{our:>14.0}{their:>20.0}{:>8.2}{target:>10}", our / their);
        if !own.is_zero() {
            let most = rows as f64 / own.as_secs_f64() / their;
            println!("    its process computes for {:.2} s: no server has a ratio above {most:.2}", own.as_secs_f64());
        }
    }
    let after = memory_kb(node.pid(), "VmHWM")?;
    println!("the node's peak memory: {} MB after a tenth of the rows, {} MB at the end", before >> 10, after >> 10);
    Ok(())
}

/// How rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Text,
    /// By COPY, in a format.
    Copy(&'static str),
    Adbc,
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

/// The time that a client takes to read a query's rows, all of which it must have seen; and what its process computes of it, where that is known.
async fn read((port, role): (u16, (&str, &str)), way: Way, query: &str, rows: usize) -> Outcome<(Duration, Duration)> {
    let output = tempfile::NamedTempFile::new()?;
    let script = match way {
        Way::Text => {
            format!("\\o /dev/null\n{query};\n\\o {}\n\\qecho :ROW_COUNT\n", output.path().display())
        }
        Way::Copy(format) => format!(
            "\\copy ({query}) TO '/dev/null' (FORMAT {format})\n\\o {}\n\\qecho :ROW_COUNT\n",
            output.path().display()
        ),
        Way::Adbc => return adbc(port, role, query, rows),
    };
    let began = Instant::now();
    check(psql(port, role, &["-At", "-v", "ON_ERROR_STOP=1"], &script).await)?;
    let took = began.elapsed();
    all_of(&std::fs::read_to_string(output.path())?, rows)?;
    Ok((took, Duration::ZERO))
}

fn adbc(port: u16, (user, password): (&str, &str), query: &str, rows: usize) -> Outcome<(Duration, Duration)> {
    let python = python_of_tools().ok_or("ADBC is not here: run scripts/clients")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/adbc.py");
    let uri =
        format!("host=127.0.0.1 port={port} user={user} password='{}' dbname=kanon", password.replace('\'', "\\'"));
    let said = Command::new(python).arg(script).args([&uri, query]).output()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let [seconds, computed, seen] = words[..] else {
        return Err(format!("{text}{}", String::from_utf8_lossy(&said.stderr)).into());
    };
    all_of(seen, rows)?;
    Ok((Duration::from_secs_f64(seconds.parse()?), Duration::from_secs_f64(computed.parse()?)))
}

fn all_of(seen: &str, rows: usize) -> Outcome<()> {
    if seen.trim() == rows.to_string() { Ok(()) } else { Err(format!("{seen} rows instead of {rows}").into()) }
}
