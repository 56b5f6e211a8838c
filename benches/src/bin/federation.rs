//! What a federation of four local nodes costs: against the slowest node's own time, and against one node that holds everything.
//!
//! ```text
//! cargo build --release --workspace && target/release/federation       4,000,000 rows over four shards
//! KANON_BENCH_ROWS=400000 KANON_BENCH_ROUNDS=3 … federation            something quicker
//! ```
//!
//! It starts real nodes (the `kanon` beside it) and asks them over the Postgres protocol. Both sides of a comparison alternate in one
//! run, and every round checks that both gave the same numbers.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use kanon_tests::client::Answer;
use kanon_tests::{ANALYST, Federation, SiteSpec};

type Outcome<T> = Result<T, Box<dyn Error>>;

const SITES: [&str; 4] = ["ahorn", "birke", "buche", "eiche"];
const TREES: [&str; 12] =
    ["Ahorn", "Birke", "Buche", "Eiche", "Erle", "Esche", "Fichte", "Kiefer", "Linde", "Pappel", "Tanne", "Weide"];
/// People of one site in the small table, as many as in a hospital of the demo.
const PEOPLE: usize = 230;

fn main() -> Outcome<()> {
    let rows: usize = number("KANON_BENCH_ROWS", 4_000_000)?;
    let rounds: usize = number("KANON_BENCH_ROUNDS", 15)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(rows, rounds))
}

fn number(name: &str, default: usize) -> Outcome<usize> {
    Ok(std::env::var(name).ok().map(|v| v.parse()).transpose()?.unwrap_or(default))
}

async fn run(rows: usize, rounds: usize) -> Outcome<()> {
    let shard = rows / SITES.len();
    let mut specs = Vec::new();
    for (i, id) in SITES.into_iter().enumerate() {
        let mut files = vec![
            ("shards/0.parquet".to_owned(), parquet(i, shard)?),
            ("people.parquet".to_owned(), parquet(10 + i, PEOPLE)?),
        ];
        let mut setup = table("events", "shards/", "access = 'open'");
        setup.extend(table(
            "people",
            "people.parquet",
            "access = 'cohort', unit = 'unit', unit_kind = 'person', unit_unique = true, min_cohort = 10",
        ));
        if i == 0 {
            for (j, _) in SITES.iter().enumerate() {
                files.push((format!("whole/{j}.parquet"), parquet(j, shard)?));
            }
            setup.extend(table("whole", "whole/", "access = 'open'"));
        }
        specs.push(SiteSpec { id, setup, files });
    }
    let federation = Federation::start(specs).await;
    federation.grant_all(&["events", "people"]).await;
    let [first, ..] = SITES;
    let coordinator = federation.site(first);
    coordinator.wait().await.ask(&format!("GRANT SELECT ON whole TO {}", ANALYST.0)).await.map_err(told)?;
    let client = coordinator.connect(ANALYST).await?;
    let mut own = Vec::new();
    for site in SITES {
        own.push(federation.site(site).connect(ANALYST).await?);
    }

    println!("four nodes, median of {rounds}, both sides alternating");
    println!("{:<66}{:>10}{:>12}{:>10}{:>9}", "", "plain ms", "federated", "", "target");
    let cases = [
        (format!("cohort, {PEOPLE} people a site: all sites at once, the slowest"), "people", "count(*), avg(x)"),
        (format!("open, {shard} rows a site: all sites at once, the slowest"), "events", "count(*), avg(x)"),
    ];
    for (name, table, measures) in cases {
        let of = |schema: &str| format!("SELECT tree, {measures} FROM {schema}{table} GROUP BY tree ORDER BY 1");
        let (local, federated) = (of("public."), of("federation."));
        let (mut plain, mut ours) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let started = Instant::now();
            let answers = futures::future::try_join_all(own.iter().map(|site| site.ask(&local))).await.map_err(told)?;
            let alone = started.elapsed();
            let started = Instant::now();
            let answer = client.ask(&federated).await.map_err(told)?;
            let together = started.elapsed();
            let counted = |answers: &[Answer]| answers.iter().map(|a| sum(a, 1)).sum::<Outcome<f64>>();
            check(counted(&answers)?, sum(&answer, 1)?, &federated)?;
            // The first round warms the files and the connections.
            if round > 0 {
                plain.push(alone);
                ours.push(together);
            }
        }
        let (plain, ours) = (median(plain)?, median(ours)?);
        let added = ours - plain;
        let verdict = if added <= 10.0 { "" } else { "  missed" };
        println!("{name:<66}{plain:>10.1}{ours:>12.1}{:>10}{:>9}{verdict}", format!("+{added:.1} ms"), "+10 ms");
    }

    let of = |table: &str| format!("SELECT tree, sum(x) FROM {table} GROUP BY tree ORDER BY 1");
    let (one, shards) = (of("whole"), of("federation.events"));
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let started = Instant::now();
        let expected = client.ask(&one).await.map_err(told)?;
        let whole = started.elapsed();
        let started = Instant::now();
        let answer = client.ask(&shards).await.map_err(told)?;
        let federated = started.elapsed();
        check(sum(&expected, 1)?, sum(&answer, 1)?, &shards)?;
        if round > 0 {
            plain.push(whole);
            ours.push(federated);
        }
    }
    let (plain, ours) = (median(plain)?, median(ours)?);
    let ratio = ours / plain;
    let verdict = if ratio <= 1.3 { "" } else { "  missed" };
    let name = format!("open, grouped sum of {} rows: one node with all of them", shard * SITES.len());
    println!("{name:<66}{plain:>10.1}{ours:>12.1}{ratio:>10.2}{:>9}{verdict}", "1.30");
    Ok(())
}

fn told(error: kanon_tests::client::ServerError) -> Box<dyn Error> {
    format!("{}: {}", error.code, error.message).into()
}

fn table(name: &str, file: &str, policy: &str) -> Vec<String> {
    vec![
        format!("CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{{dir}}/{file}'"),
        format!("ALTER TABLE {name} SET ({policy})"),
    ]
}

/// The sum of a column of an answer.
fn sum(answer: &Answer, column: usize) -> Outcome<f64> {
    let values = answer.rows.iter().map(|row| row.get(column).and_then(Option::as_deref).unwrap_or("0"));
    Ok(values.map(str::parse::<f64>).sum::<Result<f64, _>>()?)
}

fn check(expected: f64, got: f64, sql: &str) -> Outcome<()> {
    if expected > 0.0 && (expected - got).abs() <= 1e-9 * expected {
        return Ok(());
    }
    Err(format!("{sql}: {got} instead of {expected}").into())
}

fn median(mut times: Vec<Duration>) -> Outcome<f64> {
    times.sort();
    let middle = times.get(times.len() / 2).ok_or("no rounds")?;
    Ok(middle.as_secs_f64() * 1_000.0)
}

/// A Parquet file of one row a unit. The same for the same number.
fn parquet(number: usize, rows: usize) -> Outcome<Vec<u8>> {
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("unit", DataType::Int64, true),
        Field::new("tree", DataType::Utf8, true),
        Field::new("x", DataType::Float64, true),
    ]));
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), None)?;
    let mut random = Random(number as u64);
    let mut from = 0;
    while from < rows {
        let until = rows.min(from + 65_536);
        let units: ArrayRef = Arc::new(Int64Array::from_iter_values((from..until).map(|row| row as i64)));
        let trees = (from..until).map(|_| TREES.get(random.below(12) as usize).copied());
        let trees: ArrayRef = Arc::new(StringArray::from_iter(trees));
        let x: ArrayRef =
            Arc::new(Float64Array::from_iter_values((from..until).map(|_| random.below(100_000) as f64 / 100.0)));
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![units, trees, x])?)?;
        from = until;
    }
    writer.close()?;
    Ok(bytes)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
