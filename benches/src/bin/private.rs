//! Private access on one site: an aggregate with bounded contributions, noise and a charge against the plain one in DataFusion, on the same
//! Parquet files.
//!
//! ```text
//! cargo run --release -p kanon-benches --bin private            1,000,000 people, 10,000,000 visits, median of 9
//! KANON_BENCH_ROWS=1000000 KANON_BENCH_ROUNDS=3 … --bin private  something quicker: that many visits, a tenth of the people
//! KANON_BENCH_CASES=sorted … --bin private                       those whose names have this in them
//! ```
//!
//! Plain and private runs alternate in one process. A private run is a whole statement of a session: read, planned, charged on disk, computed, kept
//! on disk and handed out; every time with another ε, so that no answer is one that was kept. What all of that costs where there is next to nothing
//! to compute is told first. Where bounds cut nothing away, every round checks that the counts are near the plain ones.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::TryStreamExt;
use kanon_benches::{median, number};
use kanon_engine::config::Config;
use kanon_engine::node::Node;
use kanon_engine::session::Session;

type Outcome<T> = Result<T, Box<dyn Error>>;

const WARDS: [&str; 12] =
    ["Ahorn", "Birke", "Buche", "Eiche", "Erle", "Esche", "Fichte", "Kiefer", "Linde", "Pappel", "Tanne", "Weide"];
const FILES: usize = 4;

/// A comparison: what, of which table, under which bounds, the most that it may cost.
struct Case {
    name: &'static str,
    table: &'static str,
    /// The most groups and rows of a unit that are declared; none if nothing is.
    bounds: Option<(usize, usize)>,
    cuts: bool,
    target: f64,
}

const fn case(
    name: &'static str,
    table: &'static str,
    bounds: Option<(usize, usize)>,
    cuts: bool,
    target: f64,
) -> Case {
    Case { name, table, bounds, cuts, target }
}

const CASES: [Case; 7] = [
    case("one row a unit (declared)", "people", None, false, 1.3),
    case("visits, nothing declared", "visits", None, false, 4.0),
    case("visits, 12 groups and 50 rows a unit", "visits", Some((12, 50)), false, 4.0),
    case("visits, 4 groups and 8 rows a unit", "visits", Some((4, 8)), true, 4.0),
    case("sorted, nothing declared", "sorted", None, false, 2.5),
    case("sorted, 12 groups and 50 rows a unit", "sorted", Some((12, 50)), false, 2.5),
    case("sorted, 4 groups and 8 rows a unit", "sorted", Some((4, 8)), true, 2.5),
];

fn main() -> Outcome<()> {
    let visits: usize = number("KANON_BENCH_ROWS", 10_000_000)?;
    let rounds: usize = number("KANON_BENCH_ROUNDS", 9)?;
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(folder.path(), visits, rounds))
}

async fn run(folder: &Path, visits: usize, rounds: usize) -> Outcome<()> {
    let people = visits / 10;
    let mut random = Random(42);
    let sorted = units(people, visits, &mut random);
    let mut shuffled = sorted.clone();
    random.shuffle(&mut shuffled);
    let mut once: Vec<u32> = (0_u32..).take(people).collect();
    random.shuffle(&mut once);
    for (name, units) in [("people", &once), ("visits", &shuffled), ("sorted", &sorted), ("few", &vec![0, 1, 2])] {
        write_table(&folder.join(name), units, &mut random)?;
    }
    drop((sorted, shuffled, once));

    let mut config = Config::new("bench", folder.join("node"));
    std::fs::create_dir_all(&config.dir)?;
    config.memory_limit_bytes = config.memory_limit_bytes.max(4 << 30);
    let node = Node::start(config).await?;
    let session = Session::open(Arc::clone(&node), node.local_admin());
    ask(&session, "CREATE PRIVACY UNIT person WITH (budget_epsilon = 100000, budget_delta = 0.001)").await?;
    let plain = SessionContext::new_with_config(plain_config());
    for table in ["people", "visits", "sorted", "few"] {
        let path = folder.join(table);
        let path = path.to_str().ok_or("the path is not text")?;
        plain.register_parquet(table, path, ParquetReadOptions::default()).await?;
        let unique = table == "people" || table == "few";
        for sql in [
            format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{path}/'"),
            format!(
                "ALTER TABLE {table} SET (access = 'private', unit = 'pid', unit_kind = 'person', unit_unique = {unique},
                 min_cohort = 10, epsilon_per_query = 1, delta_per_query = 1e-9)"
            ),
            format!("ALTER TABLE {table} ALTER COLUMN minutes SET (lower = 0, upper = 1000)"),
            format!("ALTER TABLE {table} ALTER COLUMN ward SET (domain = '{{{}}}')", WARDS.join(",")),
            format!("GRANT SELECT ON {table} TO admin"),
        ] {
            ask(&session, &sql).await?;
        }
    }

    println!(
        "{people} people, {visits} visits, {FILES} Parquet files, 12 wards, count and average; median of {rounds}, plain and private alternating"
    );
    let mut fixed = Vec::new();
    let mut asked = 0;
    for _ in 0..=rounds.max(9) {
        let (took, _) = private(&session, "few", &mut asked).await?;
        fixed.push(took);
    }
    println!("a private statement over three rows: {:.1} ms", median(&mut fixed).as_secs_f64() * 1e3);
    println!("{:<58}{:>10}{:>12}{:>8}{:>8}", "", "plain ms", "private ms", "ratio", "target");
    let only = std::env::var("KANON_BENCH_CASES").unwrap_or_default();
    for case in CASES.iter().filter(|case| case.name.contains(&only)) {
        let Case { name, table, bounds, target, .. } = case;
        if let Some((groups, rows)) = bounds {
            let bounds = format!("max_groups_per_unit = {groups}, max_rows_per_group = {rows}");
            ask(&session, &format!("ALTER TABLE {table} SET ({bounds})")).await?;
        }
        let (mut plain_times, mut private_times) = (Vec::new(), Vec::new());
        let mut far_off = 0;
        for round in 0..=rounds {
            let start = Instant::now();
            let expected = plain.sql(&question(table)).await?.collect().await?;
            let plain_time = start.elapsed();
            let (private_time, found) = private(&session, table, &mut asked).await?;
            if !case.cuts
                && let Err(error) = check(&expected, &found)
            {
                // A norm that is too large is chosen once in 1,000 times, and its noise is larger then.
                far_off += 1;
                if far_off > 1 {
                    return Err(error);
                }
            }
            // The files are in the cache after the first round.
            if round > 0 {
                plain_times.push(plain_time);
                private_times.push(private_time);
            }
        }
        let ms = |times: &mut [Duration]| median(times).as_secs_f64() * 1e3;
        let (plain_ms, private_ms) = (ms(&mut plain_times), ms(&mut private_times));
        let ratio = private_ms / plain_ms;
        let verdict = if ratio <= *target { "" } else { "  missed" };
        println!("{name:<58}{plain_ms:>10.1}{private_ms:>12.1}{ratio:>8.2}{target:>8.2}{verdict}");
    }
    node.stop().await;
    Ok(())
}

fn question(table: &str) -> String {
    format!("SELECT ward, count(*), avg(minutes) FROM {table} GROUP BY ward ORDER BY ward")
}

/// Asks with an ε that was not asked before; how long it took.
async fn private(session: &Arc<Session>, table: &str, asked: &mut u32) -> Outcome<(Duration, Vec<RecordBatch>)> {
    *asked += 1;
    ask(session, &format!("SET kanon.epsilon = {}", 1.0 - f64::from(*asked) * 1e-6)).await?;
    let start = Instant::now();
    let answer = ask(session, &question(table)).await?;
    Ok((start.elapsed(), answer))
}

async fn ask(session: &Arc<Session>, sql: &str) -> Outcome<Vec<RecordBatch>> {
    let told = |e: kanon_engine::error::Error| format!("{sql}: {e}");
    let prepared = session.prepare(sql, &[]).await.map_err(told)?;
    let answer = session.execute(&prepared, vec![]).await.map_err(told)?;
    match answer.rows {
        Some(rows) => Ok(rows.stream.try_collect().await?),
        None => Ok(vec![]),
    }
}

fn plain_config() -> SessionConfig {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.execution.parquet.schema_force_view_types = false;
    options.execution.collect_statistics = false;
    config
}

fn check(expected: &[RecordBatch], found: &[RecordBatch]) -> Outcome<()> {
    let (expected, found) = (counts(expected)?, counts(found)?);
    let near = |(e, f): (&i64, &i64)| (e - f).abs() <= e / 20 + 2_000;
    if expected.len() == WARDS.len() && found.len() == expected.len() && expected.iter().zip(&found).all(near) {
        return Ok(());
    }
    Err(format!("the answers differ: {expected:?} {found:?}").into())
}

fn counts(batches: &[RecordBatch]) -> Outcome<Vec<i64>> {
    let mut counts = Vec::new();
    for batch in batches {
        let column = batch.columns().get(1).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or("no counts")?;
        counts.extend(column.iter().map(Option::unwrap_or_default));
    }
    Ok(counts)
}

/// The units of as many visits, sorted: about ten a unit, of which few have thousands.
fn units(people: usize, visits: usize, random: &mut Random) -> Vec<u32> {
    let mut units = Vec::with_capacity(visits);
    for unit in (0_u32..).take(people) {
        // Pareto with exponent 5/3 from 4: the mean is 10.
        let many = (4.0 / random.next_share().powf(0.6)).min(5_000.0) as usize;
        units.extend(std::iter::repeat_n(unit, many.min(visits - units.len())));
    }
    let missing = visits - units.len();
    units.extend((0..missing).map(|_| random.next_below(people.max(1) as u64) as u32));
    units.sort_unstable();
    units
}

fn write_table(folder: &Path, units: &[u32], random: &mut Random) -> Outcome<()> {
    std::fs::create_dir_all(folder)?;
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("pid", DataType::Int64, true),
        Field::new("ward", DataType::Utf8, true),
        Field::new("minutes", DataType::Float64, true),
    ]));
    for (file, units) in units.chunks(units.len().div_ceil(FILES)).enumerate() {
        let out = std::fs::File::create(folder.join(format!("{file}.parquet")))?;
        let mut writer = ArrowWriter::try_new(out, Arc::clone(&schema), None)?;
        for units in units.chunks(65_536) {
            let wards = units.iter().map(|_| WARDS.get(random.next_below(12) as usize).copied());
            let wards: ArrayRef = Arc::new(StringArray::from_iter(wards));
            let minutes = units.iter().map(|_| random.next_below(100_000) as f64 / 100.0);
            let minutes: ArrayRef = Arc::new(Float64Array::from_iter_values(minutes));
            let pids: ArrayRef = Arc::new(Int64Array::from_iter_values(units.iter().map(|u| i64::from(*u))));
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![pids, wards, minutes])?)?;
        }
        writer.close()?;
    }
    Ok(())
}

/// SplitMix64: the same table every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn next_below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// In (0, 1].
    fn next_share(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn shuffle(&mut self, values: &mut [u32]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.next_below(last as u64 + 1) as usize);
        }
    }
}
