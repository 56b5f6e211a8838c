//! The gate on one site: a `cohort` aggregate through the release against the plain one in DataFusion, on the same Parquet files.
//!
//! ```text
//! cargo run --release -p kanon-benches --bin gate            10,000,000 rows, median of 9
//! KANON_BENCH_ROWS=1000000 KANON_BENCH_ROUNDS=3 … --bin gate  something quicker
//! ```
//!
//! Plain and released runs alternate in one process. Every round checks that both give the same numbers.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::{avg, count, sum};
use datafusion::logical_expr::{Aggregate, LogicalPlan, LogicalPlanBuilder, SortExpr, col, lit};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::physical_plan::collect;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use kanon_engine::release::release;
use kanon_planner::facts::{Placement, Protection};
use kanon_planner::release_unit::{Measure, MeasureKind, ReleaseUnit};
use kanon_privacy::policy::{Access, DominancePercent, MinCohort};

type Outcome<T> = Result<T, Box<dyn Error>>;

const KEYS: [&str; 12] =
    ["Ahorn", "Birke", "Buche", "Eiche", "Erle", "Esche", "Fichte", "Kiefer", "Linde", "Pappel", "Tanne", "Weide"];
const FILES: usize = 4;

fn main() -> Outcome<()> {
    let rows: usize = number("KANON_BENCH_ROWS", 10_000_000)?;
    let rounds: usize = number("KANON_BENCH_ROUNDS", 9)?;
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        println!(
            "{rows} rows, {FILES} Parquet files, 12 keys, k = 10; median of {rounds}, plain and released alternating"
        );
        println!("{:<58}{:>10}{:>10}{:>8}{:>8}", "", "plain ms", "gate ms", "ratio", "target");
        for rows_a_unit in [1, 10] {
            let path = folder.path().join(format!("{rows_a_unit}"));
            write_table(&path, rows, rows_a_unit)?;
            for sums in [false, true] {
                let name = format!(
                    "{}, {}",
                    if rows_a_unit == 1 { "one row a unit (declared)" } else { "about 10 rows a unit" },
                    if sums { "count, avg, sum with dominance" } else { "count" },
                );
                let target = match (rows_a_unit, sums) {
                    (_, true) => 2.5,
                    (1, false) => 1.15,
                    _ => 1.6,
                };
                compare(&name, target, &path, rows_a_unit == 1, sums, rounds).await?;
            }
        }
        Ok(())
    })
}

fn number(name: &str, default: usize) -> Outcome<usize> {
    Ok(std::env::var(name).ok().map(|v| v.parse()).transpose()?.unwrap_or(default))
}

async fn compare(name: &str, target: f64, path: &Path, one_row: bool, sums: bool, rounds: usize) -> Outcome<()> {
    let context = SessionContext::new_with_config(config());
    let path = path.to_str().ok_or("the path is not text")?;
    context.register_parquet("visits", path, ParquetReadOptions::default()).await?;
    let (aggregate, unit) = question(&context, one_row, sums).await?;
    let state = context.state();
    let (mut plain, mut gate) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let start = Instant::now();
        let plan = state.create_physical_plan(&aggregate).await?;
        let batches = collect(plan, state.task_ctx()).await?;
        let plain_time = start.elapsed();
        let start = Instant::now();
        let released = release(&state, &unit).await?;
        let gate_time = start.elapsed();
        if round == 0 {
            // The files are in the cache after the first round. Floats add up in any order, so the check is on the counts.
            let expected = pretty_format_batches(&counts(&batches)?)?.to_string();
            let got = pretty_format_batches(&counts(std::slice::from_ref(released.batch()))?)?.to_string();
            if expected != got {
                return Err(format!("the answers differ:\n{expected}\n{got}").into());
            }
        } else {
            plain.push(plain_time);
            gate.push(gate_time);
        }
    }
    let (plain, gate) = (median(plain)?, median(gate)?);
    let ratio = gate / plain;
    let verdict = if ratio <= target { "" } else { "  missed" };
    println!("{name:<58}{plain:>10.1}{gate:>10.1}{ratio:>8.2}{target:>8.2}{verdict}");
    Ok(())
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.execution.parquet.schema_force_view_types = false;
    options.execution.collect_statistics = false;
    config
}

fn counts(batches: &[RecordBatch]) -> Outcome<Vec<RecordBatch>> {
    batches.iter().map(|b| Ok(b.project(&[0, 1])?)).collect()
}

fn median(mut times: Vec<Duration>) -> Outcome<f64> {
    times.sort();
    let middle = times.get(times.len() / 2).ok_or("no rounds")?;
    Ok(middle.as_secs_f64() * 1_000.0)
}

/// The plain aggregate, sorted by key as an answer is, and the same as a release unit.
async fn question(context: &SessionContext, one_row: bool, sums: bool) -> Outcome<(LogicalPlan, ReleaseUnit)> {
    let source = provider_as_source(context.table_provider("visits").await?);
    let input = LogicalPlanBuilder::scan("visits", source, None)?.build()?;
    let mut aggregates = vec![count(lit(1i64))];
    if sums {
        aggregates.extend([avg(col("x")), sum(col("x"))]);
    }
    let aggregate = Aggregate::try_new(Arc::new(input.clone()), vec![col("tree")], aggregates.clone())?;
    let schema = Arc::clone(&aggregate.schema);
    let aggregate = LogicalPlan::Aggregate(aggregate);
    let sorted =
        LogicalPlanBuilder::from(aggregate.clone()).sort(vec![SortExpr::new(col("tree"), true, false)])?.build()?;
    let present = Some(col("x").is_not_null());
    let kinds = [
        (MeasureKind::Count, None, Vec::new(), vec![]),
        (MeasureKind::Avg, present.clone(), Vec::new(), vec![col("x")]),
        (MeasureKind::Sum, present, vec![col("x").is_null()], vec![col("x")]),
    ];
    let measures = aggregates
        .into_iter()
        .zip(kinds)
        .map(|(aggregate, (kind, present, conditions, dominated))| Measure {
            aggregate,
            kind,
            present,
            conditions,
            dominated,
        })
        .collect();
    let unit = ReleaseUnit {
        id: 0,
        question: None,
        input,
        unit: Some(Column::from_qualified_name("visits.unit")),
        protection: Some(Protection {
            access: Access::Cohort,
            unit_column: "unit".into(),
            unit_kind: "unit".into(),
            unit_unique: one_row,
            min_cohort: MinCohort::try_from(10)?,
            dominance_percent: DominancePercent::default(),
        }),
        one_row_a_unit: one_row,
        keys: vec![col("tree")],
        measures,
        schema,
        source: aggregate,
        constants: vec![],
        placement: Placement::Local,
        tables: vec!["visits".into()],
    };
    Ok((sorted, unit))
}

fn write_table(folder: &Path, rows: usize, rows_a_unit: usize) -> Outcome<()> {
    std::fs::create_dir_all(folder)?;
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("unit", DataType::Int64, true),
        Field::new("tree", DataType::Utf8, true),
        Field::new("x", DataType::Float64, true),
    ]));
    let mut random = Random(42);
    for file in 0..FILES {
        let out = std::fs::File::create(folder.join(format!("{file}.parquet")))?;
        let mut writer = ArrowWriter::try_new(out, Arc::clone(&schema), None)?;
        let (mut from, to) = (rows * file / FILES, rows * (file + 1) / FILES);
        while from < to {
            let until = to.min(from + 65_536);
            let batch = RecordBatch::try_new(
                Arc::clone(&schema),
                columns(from, until, rows / rows_a_unit, rows_a_unit, &mut random),
            )?;
            writer.write(&batch)?;
            from = until;
        }
        writer.close()?;
    }
    Ok(())
}

fn columns(from: usize, until: usize, units: usize, rows_a_unit: usize, random: &mut Random) -> Vec<ArrayRef> {
    let units =
        (from..until).map(|row| if rows_a_unit == 1 { row as i64 } else { random.next_below(units as u64) as i64 });
    let units: ArrayRef = Arc::new(Int64Array::from_iter_values(units));
    let trees = (from..until).map(|_| KEYS.get(random.next_below(12) as usize).copied());
    let trees: ArrayRef = Arc::new(StringArray::from_iter(trees));
    let x = (from..until).map(|_| random.next_below(100_000) as f64 / 100.0);
    let x: ArrayRef = Arc::new(Float64Array::from_iter_values(x));
    vec![units, trees, x]
}

/// SplitMix64: the same table every time.
struct Random(u64);

impl Random {
    fn next_below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
