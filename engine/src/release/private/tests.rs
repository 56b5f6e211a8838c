//! No unit moves the exact statistics further than declared, whatever it does; and the order of rows moves nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;

use datafusion::arrow::array::{Float64Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::TableScan;
use datafusion::prelude::{SessionConfig, SessionContext};
use kanon_planner::boundary::{Options, decide};
use kanon_planner::facts::{Bounds, Domain, Facts, Placement, PrivateColumn, PrivatePolicy, Protection, TableFacts};
use kanon_planner::release_unit::Decision;
use kanon_privacy::policy::{Access, DominancePercent, MinCohort};
use kanon_privacy::sensitivity::Bounding;

use super::*;

/// A row of table v: unit, group, value. Table t has the first row of each unit.
pub(super) type Row = (Option<i64>, Option<&'static str>, Option<f64>);

#[derive(Debug)]
pub(super) struct World {
    pub(super) groups: u32,
    pub(super) rows: u32,
    /// Units are scaled down to it where keys are public.
    pub(super) norm: Option<f64>,
}

impl Facts for World {
    fn of(&self, scan: &TableScan) -> TableFacts {
        let name = scan.table_name.table().to_owned();
        let number = |n: u32| std::num::NonZeroU32::new(n);
        let mut columns = BTreeMap::new();
        let bounds = Some(Bounds::new(-2.0, 6.0).unwrap());
        columns.insert("x".to_owned(), PrivateColumn { bounds, domain: None });
        columns.insert("n".to_owned(), PrivateColumn { bounds, domain: None });
        if name == "t" {
            let domain = Domain::new(vec!["a".into(), "b".into(), "rest".into()], Some("rest".into())).unwrap();
            columns.insert("g".to_owned(), PrivateColumn { bounds: None, domain: Some(domain) });
        }
        TableFacts {
            protection: Some(Protection {
                access: Access::Private,
                unit_column: "id".into(),
                unit_kind: "patient".into(),
                unit_unique: name == "t",
                min_cohort: MinCohort::try_from(2).unwrap(),
                dominance_percent: DominancePercent::default(),
            }),
            private: Some(PrivatePolicy {
                epsilon_per_query: Some(1.0.try_into().unwrap()),
                delta_per_query: Some(1e-6.try_into().unwrap()),
                max_groups_per_unit: number(self.groups),
                max_rows_per_group: number(self.rows),
                max_distinct: number(2),
                max_norm: self.norm.map(|norm| norm.try_into().unwrap()),
                columns,
                ..PrivatePolicy::default()
            }),
            name,
            domains: BTreeMap::new(),
            closed: None,
            roles: BTreeMap::new(),
            placement: Placement::Local,
        }
    }
}

pub(super) fn table(rows: &[Row], batch: usize) -> MemTable {
    let fields = [("id", DataType::Int64), ("g", DataType::Utf8), ("x", DataType::Float64)];
    let schema = Arc::new(Schema::new(fields.map(|(n, t)| Field::new(n, t, true)).to_vec()));
    let batches = rows.chunks(batch).map(|rows| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.0))),
            Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1))),
            Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.2))),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    });
    let batches: Vec<RecordBatch> = batches.collect();
    MemTable::try_new(schema.clone(), vec![batches]).unwrap()
}

/// The statistics by group (its keys as text), units first; and how far one unit may move each: in one group, and in all.
pub(super) type Statistics = BTreeMap<Vec<String>, Vec<i128>>;

/// A question that may be asked.
pub(super) struct Asked {
    pub(super) state: SessionState,
    pub(super) unit: Arc<ReleaseUnit>,
    pub(super) question: Arc<Question>,
    pub(super) mechanisms: Arc<Mechanisms>,
    pub(super) key: SiteKey,
}

pub(super) async fn asked(world: &World, ctx: &SessionContext, sql: &str) -> Asked {
    let state = ctx.state();
    let plan = state.create_logical_plan(sql).await.unwrap();
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).unwrap();
    let unit = match decide(plan, world, &Options::default()) {
        Ok(Decision::Release { units, .. }) => Arc::clone(&units[0]),
        other => panic!("{sql}: {other:?}"),
    };
    let question = Arc::clone(unit.question.as_ref().unwrap());
    let mechanisms = Arc::new(Mechanisms::of(&question, question.rules.epsilon).unwrap());
    Asked { state, unit, question, mechanisms, key: SiteKey::new(*b"0123456789abcdef") }
}

pub(super) fn by_key(exact: &exact::Exact) -> Statistics {
    let mut found = BTreeMap::new();
    for (group, (units, sums)) in exact.units.iter().zip(&exact.statistics).enumerate() {
        let name: Vec<String> = exact.keys.iter().map(|k| array_value_to_string(k, group).unwrap()).collect();
        let all = std::iter::once(i128::from(*units)).chain(sums.iter().copied()).collect();
        assert!(found.insert(name.clone(), all).is_none(), "group {name:?} twice");
    }
    found
}

/// The exact statistics of a question that has one release.
async fn computed(
    world: &World,
    rows: &[Row],
    batch: usize,
    sql: &str,
) -> (Arc<Question>, Arc<Mechanisms>, exact::Exact) {
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2).with_batch_size(batch));
    ctx.register_table("v", Arc::new(table(rows, batch))).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let first: Vec<Row> = rows.iter().filter(|r| r.0.is_none() || seen.insert(r.0)).copied().collect();
    ctx.register_table("t", Arc::new(table(&first, batch))).unwrap();
    let Asked { state, unit, question, mechanisms, key } = asked(world, &ctx, sql).await;
    let exact = exact::compute(&state, &unit, &question, &mechanisms, &key, None).await.unwrap();
    (question, mechanisms, exact)
}

async fn exact(world: &World, rows: &[Row], batch: usize, sql: &str) -> (Statistics, Vec<(u128, u128)>) {
    let (question, mechanisms, exact) = computed(world, rows, batch, sql).await;
    let found = by_key(&exact);
    let grid = |x: &usize| question.arguments[*x].grid.as_ref();
    let of = |contribution| {
        let sensitivity = mechanisms.bounding.sensitivity(contribution).unwrap();
        (sensitivity.largest, sensitivity.sum)
    };
    let mut bounds = vec![of(kanon_privacy::sensitivity::Contribution::Unit)];
    bounds.extend(mechanisms.plan.statistics().iter().map(|s| of(s.contribution(grid).unwrap())));
    (found, bounds)
}

/// Numbers that look random, the same each time.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

pub(super) fn data(random: &mut Random) -> Vec<Row> {
    let groups = [Some("a"), Some("b"), Some("c"), Some("d"), None];
    let values = [Some(-9.0), Some(-2.0), Some(0.5), Some(6.0), Some(f64::INFINITY), Some(f64::NAN), None];
    (0..12 + random.below(14))
        .map(|_| {
            let id = random.below(6) as i64;
            ((id > 0).then_some(id), groups[random.below(5)], values[random.below(7)])
        })
        .collect()
}

const QUERIES: [&str; 9] = [
    "SELECT count(*), count(x), sum(x), avg(x), count(DISTINCT id), count(DISTINCT x) FROM v",
    "SELECT g, count(*), sum(x), stddev(x) FROM v GROUP BY g",
    "SELECT g, x > 1, count(DISTINCT x), sum(x) FILTER (WHERE x < 3) FROM v GROUP BY 1, 2",
    "SELECT g, corr(x, x * x), count(DISTINCT id) FROM v WHERE x > -1 GROUP BY g",
    "SELECT CASE WHEN x > 1 THEN 'more' ELSE 'less' END, count(*), avg(x) FROM v GROUP BY 1",
    "SELECT a.g, count(*), sum(b.x) FROM v AS a JOIN v AS b ON a.id = b.id GROUP BY a.g",
    "SELECT g, count(*), sum(x), count(DISTINCT x) FROM t GROUP BY g",
    "SELECT count(*), sum(n) FROM (SELECT id, LEAST(count(*), 4) AS n FROM v GROUP BY id) AS u",
    "SELECT g, count(*), sum(x) FROM (SELECT id, g, x FROM v UNION ALL SELECT id, g, x FROM t) AS u GROUP BY g",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_unit_moves_a_statistic_further_than_declared() {
    let mut random = Random(7);
    // In the last one fewer distinct values count than rows.
    for (groups, rows) in [(1, 1), (2, 2), (3, 1), (1, 4)] {
        let world = World { groups, rows, norm: None };
        for _ in 0..4 {
            let rows = data(&mut random);
            for sql in QUERIES {
                let (with, bounds) = exact(&world, &rows, 5, sql).await;
                for unit in 1..6 {
                    let fewer: Vec<Row> = rows.iter().filter(|r| r.0 != Some(unit)).copied().collect();
                    let (without, _) = exact(&world, &fewer, 5, sql).await;
                    for (place, (largest, sum)) in bounds.iter().enumerate() {
                        let at = |all: &Statistics, key: &Vec<String>| all.get(key).map_or(0, |s| s[place]);
                        let keys: std::collections::BTreeSet<_> = with.keys().chain(without.keys()).collect();
                        let moved: Vec<u128> =
                            keys.iter().map(|key| (at(&with, key) - at(&without, key)).unsigned_abs()).collect();
                        assert!(moved.iter().all(|m| m <= largest), "{sql}\n{rows:?}\nunit {unit}, {place}: {moved:?}");
                        assert!(moved.iter().sum::<u128>() <= *sum, "{sql}\n{rows:?}\nunit {unit}, {place}: {moved:?}");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_unit_at_most_so_many_values_count() {
    let world = World { groups: 1, rows: 4, norm: None };
    let rows: Vec<Row> = (0..4).map(|x| (Some(1), Some("a"), Some(f64::from(x)))).collect();
    let (found, bounds) = exact(&world, &rows, 5, "SELECT count(DISTINCT x) FROM v").await;
    // Two of its four, as declared.
    assert_eq!(found.values().map(|s| s[1]).collect::<Vec<_>>(), [2]);
    assert_eq!(bounds[1], (2, 2));
}

/// Keys that the query itself lists are public: units are scaled down, not sampled.
const CLIPPED: &str = "SELECT CASE WHEN g = 'a' THEN 1 WHEN g = 'b' THEN 2 WHEN g = 'c' THEN 3 ELSE 4 END, count(*), count(x), \
                       count(DISTINCT id), sum(x), stddev(x) FROM v GROUP BY 1";

/// Nothing is declared: the norm is chosen.
pub(super) const UNDECLARED: World = World { groups: 0, rows: 0, norm: None };

/// The statistics where the norm of a level is chosen.
pub(super) fn at(exact: &exact::Exact, level: Level) -> Statistics {
    let statistics = exact.levels.as_ref().unwrap().statistics(level).unwrap();
    let of_group = |(group, sums): (usize, Vec<i128>)| {
        let name = exact.keys.iter().map(|k| array_value_to_string(k, group).unwrap()).collect();
        (name, std::iter::once(0).chain(sums).collect())
    };
    statistics.into_iter().enumerate().map(of_group).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_unit_moves_a_statistic_further_than_the_norm_that_is_chosen() {
    let mut random = Random(17);
    let mut most: f64 = 0.0;
    for _ in 0..4 {
        let rows = data(&mut random);
        let (question, mechanisms, exact) = computed(&UNDECLARED, &rows, 5, CLIPPED).await;
        let grid = |x: &usize| question.arguments[*x].grid.as_ref();
        let counted = |rows: &[Row]| rows.iter().filter_map(|r| r.0).collect::<std::collections::BTreeSet<_>>().len();
        let units = |exact: &exact::Exact| exact.levels.as_ref().unwrap().units.iter().sum::<u64>();
        assert_eq!(units(&exact), counted(&rows) as u64, "every unit has one level");
        for unit in 1..6 {
            let fewer: Vec<Row> = rows.iter().filter(|r| r.0 != Some(unit)).copied().collect();
            let without = computed(&UNDECLARED, &fewer, 3, CLIPPED).await.2;
            assert!(units(&exact) - units(&without) <= 1);
            for level in Level::all().take(14) {
                let bounding = mechanisms.at(level).unwrap().bounding;
                let moved = moved(&at(&exact, level), &at(&without, level));
                for (moved, statistic) in moved.into_iter().zip(mechanisms.plan.statistics()) {
                    let bound = bounding.sensitivity(statistic.contribution(grid).unwrap()).unwrap();
                    let limit = bound.euclidean.upper() * (1.0 + 1e-12);
                    assert!(moved <= limit, "{statistic:?} of unit {unit} at {level:?}: {moved} of {limit}, {rows:?}");
                    most = most.max(moved / limit);
                }
            }
        }
    }
    assert!(most > 0.99, "the bound is reached: {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_norm_is_chosen_once_for_an_answer_and_kept_with_it() {
    let mut rows: Vec<Row> = Vec::new();
    for unit in 0..300 {
        rows.extend((0..1 + unit % 8).map(|_| (Some(unit), Some("a"), Some(1.0))));
    }
    let ctx = SessionContext::new();
    ctx.register_table("v", Arc::new(table(&rows, 100))).unwrap();
    let Asked { state, unit, question, mechanisms, key } = asked(&UNDECLARED, &ctx, CLIPPED).await;
    let choice = mechanisms.norm.as_ref().unwrap();
    let exact = exact::compute(&state, &unit, &question, &mechanisms, &key, None).await.unwrap();
    let batch = answer(&unit, &question, &mechanisms, exact, None, &mut OpenDp).unwrap();
    let made_with = mechanisms_of(&batch, &mechanisms).unwrap();
    assert_eq!((&made_with.norm, made_with.cost), (&None, mechanisms.cost));
    let Bounding::Clipped(clip) = made_with.bounding else { panic!() };
    // It aims at fewer units than there are, and nobody has more rows than eight.
    assert!(choice.aim() < 250 && clip.norm.rows() < 64.0, "{} {}", choice.aim(), clip.norm.rows());
    let grown = made_with.noise[0].scale().upper() / mechanisms.noise[0].scale().upper();
    assert!((grown / clip.norm.rows() - 1.0).abs() < 1e-9, "{grown}");
    // An answer that does not say which cannot be told from one of another norm.
    let silent = batch.schema().as_ref().clone().with_metadata(HashMap::new());
    let silent = RecordBatch::try_new(Arc::new(silent), batch.columns().to_vec()).unwrap();
    assert!(mechanisms_of(&silent, &mechanisms).is_err());
}

/// How far each statistic moves when a unit goes: its L2 norm over the groups.
pub(super) fn moved(with: &Statistics, without: &Statistics) -> Vec<f64> {
    let places = with.values().map(Vec::len).max().unwrap();
    let at = |all: &Statistics, key: &Vec<String>, place: usize| all.get(key).map_or(0, |s| s[place]);
    let moved = |key, place| (at(with, key, place) - at(without, key, place)) as f64;
    (1..places).map(|place| with.keys().map(|key| moved(key, place).powi(2)).sum::<f64>().sqrt()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_unit_moves_a_scaled_statistic_further_than_declared() {
    let mut random = Random(11);
    for norm in [1.0, 2.5, 100.0] {
        let world = World { groups: 2, rows: 2, norm: Some(norm) };
        for _ in 0..4 {
            let rows = data(&mut random);
            let (question, mechanisms, exact) = computed(&world, &rows, 5, CLIPPED).await;
            assert!(matches!(mechanisms.bounding, Bounding::Clipped(_)));
            let with = by_key(&exact);
            assert_eq!(with.len(), 4, "every public key");
            let grid = |x: &usize| question.arguments[*x].grid.as_ref();
            for unit in 1..6 {
                let fewer: Vec<Row> = rows.iter().filter(|r| r.0 != Some(unit)).copied().collect();
                let without = by_key(&computed(&world, &fewer, 3, CLIPPED).await.2);
                for (moved, statistic) in moved(&with, &without).into_iter().zip(mechanisms.plan.statistics()) {
                    let bound = mechanisms.bounding.sensitivity(statistic.contribution(grid).unwrap()).unwrap();
                    let most = bound.euclidean.upper() * (1.0 + 1e-12);
                    assert!(moved <= most, "{statistic:?} of unit {unit}: {moved} of {most}, {rows:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_unit_is_scaled_to_its_norm_and_a_light_one_is_whole() {
    let world = World { groups: 2, rows: 2, norm: Some(5.0) };
    let light: Vec<Row> = vec![(Some(2), Some("a"), Some(1.0)); 5];
    let mut rows = light.clone();
    for g in ["a", "b", "c"] {
        rows.extend(vec![(Some(1), Some(g), Some(6.0)); 50]);
    }
    let (_, mechanisms, exact) = computed(&world, &rows, 4, CLIPPED).await;
    let (with, without) = (by_key(&exact), by_key(&computed(&world, &light, 4, CLIPPED).await.2));
    let count = mechanisms.plan.statistics().iter().position(|s| matches!(s, Statistic::Rows(_))).unwrap();
    // All five rows, more than two rows a group of sampling.
    assert_eq!(without[&vec!["1".to_owned()]][count + 1], 5 * 1024);
    let norm = moved(&with, &without)[count] / 1024.0;
    assert!((4.99..=5.0).contains(&norm), "{norm}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_what_holds_and_no_more() {
    // Negative control: a unit with everything is cut to what it may add, and reaches it.
    let world = World { groups: 2, rows: 2, norm: None };
    let mut rows: Vec<Row> = vec![(Some(2), Some("a"), Some(1.0))];
    for g in ["a", "b", "c", "d"] {
        rows.extend((0..5).map(|_| (Some(1), Some(g), Some(6.0))));
    }
    let (with, bounds) = exact(&world, &rows, 4, "SELECT g, count(*), sum(x) FROM v GROUP BY g").await;
    let (without, _) = exact(&world, &rows[..1], 4, "SELECT g, count(*), sum(x) FROM v GROUP BY g").await;
    let total = |all: &Statistics, place: usize| all.values().map(|s| s[place]).sum::<i128>();
    for (place, (_, sum)) in bounds.iter().enumerate().take(2) {
        assert_eq!((total(&with, place) - total(&without, place)).unsigned_abs(), *sum, "{place}");
    }
}

/// The values of a rank by group (its keys as text), by candidate.
type Ordered = BTreeMap<Vec<String>, BTreeMap<u32, u64>>;

async fn ordered(world: &World, rows: &[Row], batch: usize, sql: &str) -> Ordered {
    let (_, mechanisms, exact) = computed(world, rows, batch, sql).await;
    let (argument, _) = mechanisms.ranks().next().unwrap();
    let of_group = |group: usize| {
        let name = exact.keys.iter().map(|k| array_value_to_string(k, group).unwrap()).collect();
        (name, exact.ranks.of(argument, group as u32).unwrap().into_iter().collect())
    };
    (0..exact.units.len()).map(of_group).collect()
}

const RANKS: [&str; 6] = [
    "SELECT median(x), min(x) FROM v",
    "SELECT g, percentile_cont(0.2) WITHIN GROUP (ORDER BY x), count(*) FROM v GROUP BY g",
    "SELECT g, max(x) FILTER (WHERE x < 3), avg(x) FROM v GROUP BY g",
    "SELECT a.g, median(b.x + a.x) FROM v AS a JOIN v AS b ON a.id = b.id GROUP BY a.g",
    "SELECT g, max(x), count(DISTINCT x) FROM t GROUP BY g",
    "SELECT max(n) FROM (SELECT id, LEAST(count(*), 4) AS n FROM v GROUP BY id) AS u",
];

/// A unit has at most m values in each of at most C groups among those from which the exponential mechanism chooses.
#[tokio::test(flavor = "multi_thread")]
async fn no_unit_has_more_values_in_order_than_declared() {
    let mut random = Random(13);
    for world in [World { groups: 1, rows: 1, norm: None }, World { groups: 2, rows: 2, norm: None }] {
        let (mut most_groups, mut most_values) = (0, 0);
        for _ in 0..4 {
            let rows = data(&mut random);
            for sql in RANKS {
                let bounds = computed(&world, &rows, 5, sql).await.0.rules.bounds;
                let with = ordered(&world, &rows, 5, sql).await;
                for unit in 1..6 {
                    let fewer: Vec<Row> = rows.iter().filter(|r| r.0 != Some(unit)).copied().collect();
                    let without = ordered(&world, &fewer, 5, sql).await;
                    let mut groups = 0;
                    for (name, values) in &with {
                        let before = without.get(name);
                        let added = values.iter().map(|(candidate, n)| {
                            let before = before.and_then(|b| b.get(candidate)).copied().unwrap_or(0);
                            n.checked_sub(before).expect("no unit takes away values of others")
                        });
                        let added: u64 = added.sum();
                        assert!(added <= u64::from(bounds.rows.get()), "{sql}\n{rows:?}\nunit {unit}: {added}");
                        most_values = most_values.max(added);
                        groups += u32::from(added > 0);
                    }
                    assert!(groups <= bounds.groups.get(), "{sql}\n{rows:?}\nunit {unit}: {groups} groups");
                    most_groups = most_groups.max(groups);
                }
            }
        }
        assert_eq!((most_groups, most_values), (world.groups, u64::from(world.rows)), "the bounds are reached");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_rows_and_batches_moves_nothing() {
    let mut random = Random(11);
    let world = World { groups: 2, rows: 2, norm: None };
    for _ in 0..6 {
        let mut rows = data(&mut random);
        // Of table t the first row of a unit is another in another order.
        for sql in QUERIES.iter().filter(|sql| !sql.contains("FROM t")) {
            let (first, _) = exact(&world, &rows, 100, sql).await;
            for batch in [1, 3] {
                for at in (1..rows.len()).rev() {
                    let other = random.below(at + 1);
                    rows.swap(at, other);
                }
                assert_eq!(exact(&world, &rows, batch, sql).await.0, first, "{sql}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_are_all_there_and_take_in_the_rest() {
    let rows: Vec<Row> = vec![
        (Some(1), Some("a"), Some(1.0)),
        (Some(2), Some("zzz"), Some(1.0)),
        (Some(3), None, Some(1.0)),
        (None, Some("a"), None),
    ];
    let (found, _) =
        exact(&World { groups: 1, rows: 1, norm: None }, &rows, 4, "SELECT g, count(*) FROM t GROUP BY g").await;
    let counts: Vec<(String, i128)> = found.into_iter().map(|(key, s)| (key[0].clone(), s[1])).collect();
    assert_eq!(counts, [("a".to_owned(), 1), ("b".to_owned(), 0), ("rest".to_owned(), 2)]);
}
