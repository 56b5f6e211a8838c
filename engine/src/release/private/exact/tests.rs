//! What streams, partitions and spills gives what sorting everything gives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use datafusion::arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use kanon_privacy::bounding::Order;
use kanon_privacy::grid::{Grid, Tick};
use kanon_privacy::norms::HIGHEST;

use super::super::groups::{DROPPED, KeyBytes};
use super::super::tests::{Asked, Random, Row, Statistics, World, asked, by_key, table};
use super::*;

/// The definition: all rows in memory, by unit and group, and of each the smallest.
async fn reference(asked: &Asked) -> Statistics {
    let Asked { state, unit, question, mechanisms, key } = asked;
    let plan = columns::rows(unit, question, mechanisms).unwrap();
    let plan = run::physical(state, &plan).await.unwrap();
    let types: Vec<DataType> = plan.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let (keys, arguments) = (question.keys.len(), question.arguments.len());
    let mut groups = Groups::of(question, &types[1..=keys]).unwrap();
    let any = Grid::integers(0, 1).unwrap().tick_of_integer(1);
    type Row = (Box<[u8]>, Vec<Option<Tick>>, Vec<Option<Box<[u8]>>>);
    let mut rows: BTreeMap<Box<[u8]>, BTreeMap<u32, Vec<Row>>> = BTreeMap::new();
    for batch in collect(plan, state.task_ctx()).await.unwrap() {
        let batch = columns::with_units(batch).unwrap();
        let of_rows = groups.of_rows(&batch.columns()[1..=keys], batch.num_rows()).unwrap();
        for (row, group) in of_rows.into_iter().enumerate().filter(|(_, group)| *group != DROPPED) {
            let bytes = |columns: &[ArrayRef]| -> Box<[u8]> {
                let types: Vec<DataType> = columns.iter().map(|c| c.data_type().clone()).collect();
                let one: Vec<ArrayRef> = columns.iter().map(|c| c.slice(row, 1)).collect();
                let mut bytes: Box<[u8]> = Box::default();
                if !columns.is_empty() {
                    let rows = KeyBytes::of(&types).unwrap().rows(&one).unwrap();
                    bytes = rows.row(0).data().into();
                }
                bytes
            };
            let ticks = question.arguments.iter().zip(&batch.columns()[1 + keys..]).map(|(argument, column)| {
                match (&argument.grid, argument.is_integer) {
                    _ if column.is_null(row) => None,
                    (Some(grid), true) => Some(grid.tick_of_integer(column.as_primitive::<Int64Type>().value(row))),
                    (Some(grid), false) => grid.tick(column.as_primitive::<Float64Type>().value(row)),
                    (None, _) => column.as_boolean().value(row).then_some(any),
                }
            });
            let distinct = &batch.columns()[1 + keys + arguments..];
            let values = distinct.iter().map(|c| c.is_valid(row).then(|| bytes(std::slice::from_ref(c))));
            let row = (bytes(&batch.columns()[1 + keys..]), ticks.collect(), values.collect());
            // Where each unit has one row, it is not read whose it is.
            let unit = match unit.one_row_a_unit {
                true => rows.len().to_le_bytes().into(),
                false => bytes(&batch.columns()[..1]),
            };
            rows.entry(unit).or_default().entry(group).or_default().push(row);
        }
    }
    let Bounding::Sampled(bounds) = mechanisms.bounding else { panic!("not sampled") };
    let statistics = mechanisms.plan.statistics();
    let counts_units = mechanisms.selection.is_some() || statistics.contains(&Statistic::Units);
    let mut sums = vec![vec![0_i128; 1 + statistics.len()]; groups.len()];
    let mut distinct: std::collections::BTreeSet<(usize, u32, Box<[u8]>)> = Default::default();
    for (unit, of_unit) in rows {
        let order = key.unit(&unit);
        let name = |group: u32| groups.names()[group as usize].clone();
        let mut chosen: Vec<(Order, u32, Vec<Row>)> =
            of_unit.into_iter().map(|(group, rows)| (order.group(&name(group)), group, rows)).collect();
        chosen.sort();
        chosen.truncate(bounds.groups.get() as usize);
        for (_, group, mut rows) in chosen {
            rows.sort();
            let mut numbered: Vec<(Order, Row)> = Vec::new();
            for equal in rows.chunk_by(|a, b| a.0 == b.0) {
                numbered.extend((0_u64..).zip(equal).map(|(n, row)| (order.row(&name(group), &row.0, n), row.clone())));
            }
            numbered.sort();
            numbered.truncate(bounds.rows.get() as usize);
            let sums = &mut sums[group as usize];
            sums[0] += 1;
            let grid = |x: &usize| question.arguments[*x].grid.as_ref();
            let mut number = 0;
            for (place, statistic) in (1..).zip(statistics) {
                match statistic {
                    Statistic::Units => sums[place] += 1,
                    Statistic::Distinct(_, most) => {
                        let values = numbered.iter().filter_map(|(_, row)| row.2[number].clone());
                        let argument = u32::try_from(number).unwrap();
                        let mut values: Vec<_> = values.map(|v| (order.value(&name(group), argument, &v), v)).collect();
                        values.sort();
                        values.dedup();
                        values.truncate(most.get() as usize);
                        distinct.extend(values.into_iter().map(|(_, value)| (place, group, value)));
                        number += 1;
                    }
                    _ => {
                        sums[place] +=
                            numbered.iter().map(|(_, row)| statistic.of_row(grid, |x| row.1[*x])).sum::<i128>()
                    }
                }
            }
        }
    }
    for (place, group, _) in distinct {
        sums[group as usize][place] += 1;
    }
    let exact = Exact {
        keys: groups.keys().unwrap(),
        // They are counted where somebody needs to know.
        units: sums.iter().map(|s| if counts_units { s[0] as u64 } else { 0 }).collect(),
        statistics: sums.into_iter().map(|s| s[1..].to_vec()).collect(),
        levels: None,
        ranks: Ordered::default(),
    };
    by_key(&exact)
}

/// In which order the rows of table v lie.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Arranged {
    /// None.
    Mixed,
    /// By unit, partition after partition.
    Sorted,
    /// By unit, batch after batch in another partition.
    SortedInParts,
    /// By unit, but for a few at the end.
    SortedAtFirst,
}

/// What tables are made of.
struct Data {
    units: usize,
    rows: usize,
    /// How many rows a batch, and how many partitions.
    batch: usize,
    partitions: usize,
    unit: DataType,
    key: DataType,
    /// How many values there are of column n.
    spread: usize,
    order: Arranged,
    seed: u64,
}

impl Default for Data {
    fn default() -> Data {
        let (unit, key) = (DataType::Int64, DataType::Utf8);
        Data { units: 40, rows: 600, batch: 50, partitions: 3, unit, key, spread: 14, order: Arranged::Mixed, seed: 1 }
    }
}

impl Data {
    /// Table v has many rows a unit, most of them of few units; t has one.
    fn register(&self, ctx: &SessionContext) {
        let mut random = Random(self.seed);
        let mut rows: Vec<usize> =
            (0..self.rows).map(|_| random.below(self.units).min(random.below(self.units))).collect();
        if self.order != Arranged::Mixed {
            rows.sort();
        }
        if self.order == Arranged::SortedAtFirst {
            rows.rotate_left(5);
        }
        ctx.register_table("v", self.table(&rows, &mut random)).unwrap();
        rows.sort();
        rows.dedup();
        ctx.register_table("t", self.table(&rows, &mut random)).unwrap();
    }

    fn table(&self, units: &[usize], random: &mut Random) -> Arc<MemTable> {
        let groups = ["a", "b", "c", "d", "a longer name than fits a view"];
        let values = [-9.0, -2.0, -0.0, 0.0, 0.5, 3.25, 6.0, f64::INFINITY, f64::NAN];
        let fields = [
            ("id", self.unit.clone()),
            ("g", self.key.clone()),
            ("f", DataType::Float64),
            ("x", DataType::Float64),
            ("n", DataType::Int64),
        ];
        let schema = Arc::new(Schema::new(fields.map(|(n, t)| Field::new(n, t, true)).to_vec()));
        let mut partitions = vec![Vec::new(); self.partitions];
        for (number, units) in units.chunks(self.batch).enumerate() {
            let mut maybe = |n: usize| (random.below(n + 1) < n).then(|| random.below(n));
            let names = units.iter().map(|unit| maybe(30).map(|_| format!("{}", unit * 7919)));
            let ids = cast(&StringArray::from_iter(names), &self.unit).unwrap();
            let keys = StringArray::from_iter(units.iter().map(|_| maybe(groups.len()).map(|i| groups[i])));
            let numbers = |maybe: &mut dyn FnMut(usize) -> Option<usize>| {
                Float64Array::from_iter(units.iter().map(|_| maybe(values.len()).map(|i| values[i])))
            };
            let columns: Vec<ArrayRef> = vec![
                ids,
                cast(&keys, &self.key).unwrap(),
                Arc::new(numbers(&mut maybe)),
                Arc::new(numbers(&mut maybe)),
                Arc::new(Int64Array::from_iter(units.iter().map(|_| maybe(self.spread).map(|i| i as i64 - 4)))),
            ];
            let partition = match self.order {
                Arranged::Mixed | Arranged::SortedInParts => number % self.partitions,
                _ => number * self.batch * self.partitions / self.rows.max(1),
            };
            partitions[partition.min(self.partitions - 1)]
                .push(RecordBatch::try_new(Arc::clone(&schema), columns).unwrap());
        }
        Arc::new(MemTable::try_new(schema, partitions).unwrap())
    }
}

fn context(memory: Option<usize>, disk: DiskManagerMode) -> SessionContext {
    let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(memory.unwrap_or(1 << 30)));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
        .build_arc()
        .unwrap();
    SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(2), runtime)
}

async fn computed(asked: &Asked, sizes: Sizes) -> Result<Exact> {
    let Asked { state, unit, question, mechanisms, key } = asked;
    in_sizes(sizes, state, unit, question, mechanisms, key, None).await
}

const SMALL: Sizes = Sizes { partition_bits: 2, split_bits: 1, run_rows: 64, bytes_at_once: 7 };

const QUERIES: [&str; 11] = [
    "SELECT count(*), count(x), sum(x), avg(n), count(DISTINCT id), count(DISTINCT x) FROM v",
    "SELECT count(*) FROM v",
    "SELECT g, count(*), count(DISTINCT id) FROM v GROUP BY g",
    "SELECT g, count(*), sum(x), stddev(x), avg(n), corr(x, n) FROM v GROUP BY g",
    "SELECT g, f, sum(n), count(DISTINCT f), count(DISTINCT n) FROM v GROUP BY g, f",
    "SELECT g, x > 1, count(DISTINCT x), sum(x) FILTER (WHERE x < 3) FROM v GROUP BY 1, 2",
    "SELECT CASE WHEN x > 2 THEN 'a' WHEN x > 1 THEN 'b' WHEN n > 1 THEN 'c' ELSE 'd' END, count(*), covar_pop(x, n) FROM v GROUP BY 1",
    "SELECT g, count(*), avg(x), count(DISTINCT n) FROM t GROUP BY g",
    "SELECT f, sum(n), count(x) FROM t WHERE n > 0 GROUP BY f",
    "SELECT a.g, count(*), sum(b.x) FROM v AS a JOIN t AS b ON a.id = b.id GROUP BY a.g",
    "SELECT g, count(*), sum(x) FROM (SELECT id, g, x FROM v UNION ALL SELECT id, g, x FROM t) AS u GROUP BY g",
];

#[tokio::test(flavor = "multi_thread")]
async fn streaming_gives_what_sorting_gives() {
    let dictionary = |t: DataType| DataType::Dictionary(Box::new(DataType::Int32), Box::new(t));
    let types = [
        (DataType::Int64, DataType::Utf8),
        (DataType::Utf8, dictionary(DataType::Utf8)),
        (dictionary(DataType::Utf8), DataType::Utf8View),
        (DataType::Int32, DataType::LargeUtf8),
        (DataType::UInt64, DataType::Utf8),
        (DataType::Utf8View, DataType::Utf8),
        (DataType::Float64, DataType::Utf8),
    ];
    for (seed, (unit, key)) in (1..).zip(types) {
        let data = Data { unit, key, seed, ..Data::default() };
        let ctx = context(None, DiskManagerMode::Disabled);
        data.register(&ctx);
        for world in [
            World { groups: 1, rows: 1, norm: None },
            World { groups: 2, rows: 3, norm: None },
            World { groups: 9, rows: 2, norm: None },
        ] {
            for sql in QUERIES {
                let asked = asked(&world, &ctx, sql).await;
                let expected = reference(&asked).await;
                for sizes in [SMALL, Sizes::default()] {
                    let found = by_key(&computed(&asked, sizes).await.unwrap());
                    assert_eq!(found, expected, "{sql}, units {:?}, {sizes:?}", data.unit);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_sorted_give_the_same() {
    for order in [Arranged::Sorted, Arranged::SortedInParts, Arranged::SortedAtFirst] {
        for (seed, unit) in [(1, DataType::Int64), (2, DataType::UInt64), (3, DataType::Utf8)] {
            for (units, batch) in [(40, 50), (40, 3), (3, 20), (400, 64)] {
                let data = Data { units, batch, unit: unit.clone(), order, seed, ..Data::default() };
                let ctx = context(None, DiskManagerMode::Disabled);
                data.register(&ctx);
                for sql in [QUERIES[1], QUERIES[3], QUERIES[4], QUERIES[9], QUERIES[10]] {
                    let asked = asked(&World { groups: 2, rows: 3, norm: None }, &ctx, sql).await;
                    let expected = reference(&asked).await;
                    for run_rows in [10, 64, 1_000] {
                        let found = computed(&asked, Sizes { run_rows, ..SMALL }).await.unwrap();
                        assert_eq!(
                            by_key(&found),
                            expected,
                            "{sql}, {order:?}, {unit:?}, {units}, {batch}, {run_rows}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_sorted_need_no_memory() {
    for (order, fits) in [(Arranged::Sorted, true), (Arranged::Mixed, false), (Arranged::SortedInParts, true)] {
        let data = Data { units: 3_000, rows: 40_000, batch: 1_000, order, ..Data::default() };
        let ctx = context(Some(300_000), DiskManagerMode::Disabled);
        data.register(&ctx);
        let asked = asked(&World { groups: 2, rows: 3, norm: None }, &ctx, QUERIES[3]).await;
        assert_eq!(computed(&asked, Sizes { run_rows: 1_000, ..SMALL }).await.is_ok(), fits, "{order:?}");
    }
}

/// The most memory that was asked for at once for what cannot spill.
#[derive(Debug, Default)]
struct Peak {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Peak {
    fn is_counted(reservation: &MemoryReservation) -> bool {
        !reservation.consumer().can_spill()
    }
}

impl std::fmt::Display for Peak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl MemoryPool for Peak {
    fn name(&self) -> &str {
        "peak"
    }
    fn grow(&self, reservation: &MemoryReservation, more: usize) {
        if Peak::is_counted(reservation) {
            self.most.fetch_max(self.now.fetch_add(more, Ordering::SeqCst) + more, Ordering::SeqCst);
        }
    }
    fn shrink(&self, reservation: &MemoryReservation, less: usize) {
        if Peak::is_counted(reservation) {
            self.now.fetch_sub(less, Ordering::SeqCst);
        }
    }
    fn try_grow(&self, reservation: &MemoryReservation, more: usize) -> datafusion::error::Result<()> {
        // What can spill does, however little it is.
        if !Peak::is_counted(reservation) && more > 0 {
            return Err(datafusion::error::DataFusionError::ResourcesExhausted(String::new()));
        }
        self.grow(reservation, more);
        Ok(())
    }
    fn reserved(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_spill_takes_the_same_memory_whoever_is_there() {
    let groups: Vec<String> = (0..60).map(|group| format!("g{group}")).collect();
    let cases: String = groups.iter().map(|group| format!(" WHEN g = '{group}' THEN '{group}'")).collect();
    let sql = format!("SELECT CASE{cases} END, count(*), sum(x) FROM v GROUP BY 1");
    for norm in [None, Some(2.0)] {
        let mut peaks = Vec::new();
        // Nobody; someone with one row; someone with many in every group.
        for rows in [0, 1, 30] {
            let peak = Arc::new(Peak::default());
            let pool: Arc<dyn MemoryPool> = Arc::clone(&peak) as Arc<dyn MemoryPool>;
            let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
            let config = SessionConfig::new().with_target_partitions(2);
            let ctx = SessionContext::new_with_config_rt(config, runtime);
            let mut units: Vec<Row> = vec![(Some(1), Some("g1"), Some(1.0)); 2];
            for group in if rows == 1 { &groups[..1] } else { &groups[..] } {
                let name: &'static str = group.clone().leak();
                units.extend((0..rows).map(|_| (Some(7), Some(name), Some(1.0))));
            }
            ctx.register_table("v", Arc::new(table(&units, 64))).unwrap();
            let asked = asked(&World { groups: 0, rows: 0, norm }, &ctx, &sql).await;
            let exact = computed(&asked, SMALL).await.unwrap();
            assert_eq!(exact.keys[0].len(), groups.len() + 1);
            peaks.push(peak.most.load(Ordering::SeqCst));
        }
        // Whether the smallest pieces of two readers are there at the same moment is chance; a few bytes of each group would be more.
        let is_same = |peak: &usize| peak.abs_diff(peaks[0]) <= 256;
        assert!(peaks[0] > 0 && peaks.iter().all(is_same), "{norm:?}: {peaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_beyond_the_memory_spill_and_give_the_same() {
    for (unit, sql) in [(DataType::Int64, QUERIES[3]), (DataType::Utf8, QUERIES[4]), (DataType::Utf8, QUERIES[2])] {
        let data = Data { units: 3_000, rows: 40_000, batch: 1_000, unit, ..Data::default() };
        let world = World { groups: 2, rows: 3, norm: None };
        let ctx = context(None, DiskManagerMode::Disabled);
        data.register(&ctx);
        let expected = by_key(&computed(&asked(&world, &ctx, sql).await, Sizes::default()).await.unwrap());
        // The rows take more than this, and a part of them more than a worker gets.
        let memory = Some(500_000);
        let sizes = Sizes { run_rows: 4_000, partition_bits: 1, split_bits: 3, ..SMALL };
        let ctx = context(memory, DiskManagerMode::OsTmpDirectory);
        data.register(&ctx);
        let little = asked(&world, &ctx, sql).await;
        assert_eq!(by_key(&computed(&little, sizes).await.unwrap()), expected, "{sql}");
        let runtime = ctx.runtime_env();
        assert_eq!(runtime.memory_pool.reserved(), 0);
        assert_eq!(runtime.disk_manager.spilling_progress().active_files_count, 0);
        // The negative control: without a disk there is no room for them, and nothing is told but that.
        let ctx = context(memory, DiskManagerMode::Disabled);
        data.register(&ctx);
        let error = computed(&asked(&world, &ctx, sql).await, sizes).await.err().unwrap();
        assert_eq!(error.to_string(), Error::below_boundary().to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_beyond_the_memory_is_bounded_as_any_other() {
    for (unit, spread, sql) in [
        (DataType::Int64, 1_000_000, QUERIES[3]),
        (DataType::Int64, 1, QUERIES[1]),
        (DataType::Utf8, 1_000_000, QUERIES[4]),
    ] {
        // Two units with all rows.
        let data = Data { units: 2, rows: 30_000, batch: 1_000, unit, spread, ..Data::default() };
        for world in [World { groups: 2, rows: 300, norm: None }, World { groups: 100, rows: 3, norm: None }] {
            let ctx = context(None, DiskManagerMode::Disabled);
            data.register(&ctx);
            let expected = reference(&asked(&world, &ctx, sql).await).await;
            let ctx = context(Some(500_000), DiskManagerMode::OsTmpDirectory);
            data.register(&ctx);
            let sizes = Sizes { run_rows: 4_000, partition_bits: 1, split_bits: 3, ..SMALL };
            let found = computed(&asked(&world, &ctx, sql).await, sizes).await.unwrap();
            assert_eq!(by_key(&found), expected, "{sql}, {world:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_beyond_the_memory_is_scaled_as_any_other() {
    let sql = "SELECT CASE WHEN g = 'a' THEN 1 WHEN g = 'b' THEN 2 ELSE 3 END, count(*), count(x), count(DISTINCT id), sum(x), stddev(x) FROM v GROUP BY 1";
    let world = World { groups: 2, rows: 2, norm: Some(1_000.0) };
    for unit in [DataType::Int64, DataType::Utf8] {
        let data = Data { units: 2, rows: 30_000, batch: 1_000, unit, ..Data::default() };
        let found = async |memory, disk, sizes| {
            let ctx = context(memory, disk);
            data.register(&ctx);
            let asked = asked(&world, &ctx, sql).await;
            assert!(matches!(asked.mechanisms.bounding, Bounding::Clipped(_)));
            computed(&asked, sizes).await
        };
        let expected = by_key(&found(None, DiskManagerMode::Disabled, Sizes::default()).await.unwrap());
        let sizes = Sizes { run_rows: 4_000, partition_bits: 1, split_bits: 3, ..SMALL };
        let memory = Some(1_500_000);
        assert_eq!(by_key(&found(memory, DiskManagerMode::OsTmpDirectory, sizes).await.unwrap()), expected);
        // The negative control: it is the disk that has them.
        assert!(found(memory, DiskManagerMode::Disabled, sizes).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_by_the_level_of_their_unit_are_the_same_however_they_come() {
    let sql = "SELECT CASE WHEN g = 'a' THEN 1 WHEN g = 'b' THEN 2 ELSE 3 END, count(*), count(x), sum(x), stddev(x) FROM v GROUP BY 1";
    let undeclared = World { groups: 0, rows: 0, norm: None };
    let all_count = World { groups: 100, rows: 1_000_000, norm: None };
    for unit in [DataType::Int64, DataType::Utf8] {
        for (order, units) in [(Arranged::Sorted, 300), (Arranged::Mixed, 300), (Arranged::Mixed, 2)] {
            let data = Data { units, rows: 30_000, batch: 1_000, unit: unit.clone(), order, ..Data::default() };
            let found = async |world: &World, memory, disk, sizes| {
                let ctx = context(memory, disk);
                data.register(&ctx);
                let asked = asked(world, &ctx, sql).await;
                assert_eq!(asked.mechanisms.norm.is_some(), world.groups == 0);
                computed(&asked, sizes).await
            };
            let whole = found(&undeclared, None, DiskManagerMode::Disabled, Sizes::default()).await.unwrap();
            let levels = whole.levels.as_ref().unwrap();
            // Where nobody is cut, it is what there is.
            let bounded = found(&all_count, None, DiskManagerMode::Disabled, Sizes::default()).await.unwrap();
            let times = |sums: &Vec<i128>| sums.iter().map(|sum| sum * 1024).collect::<Vec<_>>();
            let expected: Vec<Vec<i128>> = bounded.statistics.iter().map(times).collect();
            assert_eq!(levels.statistics(HIGHEST).unwrap(), expected);
            let sizes = Sizes { run_rows: 4_000, partition_bits: 1, split_bits: 3, ..SMALL };
            let spilled = found(&undeclared, Some(500_000), DiskManagerMode::OsTmpDirectory, sizes).await.unwrap();
            let spilled = spilled.levels.unwrap();
            assert_eq!(spilled.units, levels.units, "{order:?}, {units}");
            for level in Level::all().step_by(5) {
                assert_eq!(spilled.statistics(level).unwrap(), levels.statistics(level).unwrap(), "{order:?}, {units}");
            }
            assert!(levels.statistics(Level::ONE).unwrap() != expected, "units are cut");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_stops_the_work() {
    let data = Data { units: 20_000, rows: 200_000, batch: 8_192, ..Data::default() };
    let ctx = context(Some(20_000_000), DiskManagerMode::OsTmpDirectory);
    data.register(&ctx);
    let asked = asked(&World { groups: 2, rows: 2, norm: None }, &ctx, QUERIES[4]).await;
    for after_ms in [1, 20, 60, 150] {
        let left = tokio::time::timeout(Duration::from_millis(after_ms), computed(&asked, Sizes::default())).await;
        assert!(after_ms > 1 || left.is_err(), "too fast to be left");
        let runtime = ctx.runtime_env();
        for _ in 0..200 {
            if runtime.memory_pool.reserved() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(runtime.memory_pool.reserved(), 0, "after {after_ms} ms");
        assert_eq!(runtime.disk_manager.spilling_progress().active_files_count, 0, "after {after_ms} ms");
    }
}
