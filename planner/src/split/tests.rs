//! Subplans of hand-written queries and generated ones: at sites and merged they give what one engine gives over the union.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Field, Float64Type};
use datafusion::common::DFSchema;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::TableScan;
use datafusion::prelude::SessionContext;
use kanon_privacy::policy::{Access, DominancePercent, MinCohort};
use proptest::prelude::*;

use super::*;
use crate::facts::{Protection, TableFacts};
use crate::merge::merge;
use crate::parts::part_aggregates;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;

const SITES: [&str; 3] = ["basel", "cleveland", "zurich"];

struct World {
    protected: bool,
}

impl Facts for World {
    fn of(&self, scan: &TableScan) -> TableFacts {
        TableFacts {
            name: scan.table_name.table().to_owned(),
            protection: self.protected.then(protection),
            closed: None,
            roles: BTreeMap::new(),
            placement: placement(scan.table_name.table()),
        }
    }
}

fn protection() -> Protection {
    Protection {
        access: Access::Cohort,
        unit_column: "id".into(),
        unit_kind: "person".into(),
        unit_unique: false,
        min_cohort: MinCohort::try_from(10).unwrap(),
        dominance_percent: DominancePercent::default(),
    }
}

fn placement(table: &str) -> Placement {
    Placement::Sites {
        sites: SITES.iter().map(|s| SiteId::new(*s)).collect(),
        table: format!("public.{table}"),
        site_column: true,
    }
}

type Row = (i64, Option<i64>, Option<f64>, Option<&'static str>);

fn batch(rows: &[Row], site: Option<&str>) -> RecordBatch {
    let mut columns: Vec<(&str, Arc<dyn Array>, bool)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))), true),
        ("n", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.1))), true),
        ("x", Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.2))), true),
        ("Group Key", Arc::new(StringArray::from_iter(rows.iter().map(|r| r.3))), true),
    ];
    if let Some(site) = site {
        columns.push(("site", Arc::new(StringArray::from(vec![site; rows.len()])), true));
    }
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn context(name: &str, batches: Vec<RecordBatch>) -> SessionContext {
    let ctx = SessionContext::new();
    ctx.state_ref().write().config_mut().options_mut().sql_parser.map_string_types_to_utf8view = false;
    for part in part_aggregates() {
        ctx.register_udaf(part.as_ref().clone());
    }
    ctx.register_table(name, Arc::new(MemTable::try_new(batches[0].schema(), vec![batches]).unwrap())).unwrap();
    ctx
}

async fn unit(ctx: &SessionContext, sql: &str, protected: bool) -> ReleaseUnit {
    let state = ctx.state();
    let plan = state.create_logical_plan(sql).await.unwrap();
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).unwrap();
    let mut found = None;
    plan.apply(|p| {
        if matches!(p, LogicalPlan::Aggregate(_)) && found.is_none() {
            found = Some(p.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    let source = found.unwrap();
    let fields = source
        .schema()
        .iter()
        .map(|(q, f)| (q.cloned(), Arc::new(f.as_ref().clone().with_nullable(true)) as Arc<Field>))
        .collect();
    ReleaseUnit {
        id: 0,
        input: source.clone(),
        unit: None,
        protection: protected.then(protection),
        one_row_a_unit: false,
        keys: vec![],
        measures: vec![],
        schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default()).unwrap()),
        source,
        placement: placement("t"),
        tables: vec!["t".into()],
    }
}

fn all_sites() -> Vec<SiteId> {
    SITES.iter().map(|s| SiteId::new(*s)).collect()
}

async fn text(sql: &str, protected: bool) -> String {
    let ctx = context("t", vec![batch(&[], Some("x"))]);
    let unit = unit(&ctx, sql, protected).await;
    match split(&unit, &all_sites(), &World { protected }, &ctx.state()) {
        Ok(split) => split.subplans.iter().map(|s| format!("{}: {}", s.site, s.sql)).collect::<Vec<_>>().join("\n"),
        Err(refusal) => format!("refused: {refusal} ({:?})", refusal.hint),
    }
}

#[tokio::test]
async fn subplans_read_well() {
    for (sql, want) in [
        (
            "SELECT n, count(*), avg(x) FROM t WHERE x > 0 GROUP BY n",
            "SELECT n, count(*) AS m0, kanon_part_sum(x) AS m1, kanon_part_count(x) AS m2 FROM t WHERE x > 0 GROUP BY n",
        ),
        ("SELECT count(*) FROM t WHERE site = 'basel' AND n > 3", "SELECT count(*) AS m0 FROM t WHERE n > 3"),
        (
            "SELECT n / 10 * 10, sum(n) FILTER (WHERE \"Group Key\" = 'it''s') FROM t GROUP BY 1",
            "SELECT n / 10 * 10 AS k0, sum(n) FILTER (WHERE \"Group Key\" = 'it''s') AS m0 FROM t GROUP BY n / 10 * 10",
        ),
        (
            "SELECT site, median(x) FROM t GROUP BY site",
            "SELECT 'basel' AS site, median(x) AS m0 FROM t GROUP BY 'basel'",
        ),
        (
            "SELECT count(*) FROM t WHERE id IN (SELECT id FROM t WHERE n > 5)",
            "SELECT count(*) AS m0 FROM t WHERE (t.id IN (SELECT t_2.id FROM t AS t_2 WHERE t_2.n > 5))",
        ),
    ] {
        let got = text(sql, true).await;
        assert_eq!(got.lines().next().unwrap(), format!("basel: {want}"), "{sql}");
        assert_eq!(got.lines().count(), if sql.contains("site =") { 1 } else { 3 }, "{got}");
    }
    assert!(text("SELECT count(DISTINCT n) FROM t", true).await.contains("GROUP BY site"));
}

async fn agree(sql: &str, tables: &[Vec<Row>]) {
    let with_site: Vec<RecordBatch> = tables.iter().zip(SITES).map(|(rows, site)| batch(rows, Some(site))).collect();
    let whole = context("t", with_site);
    let state = whole.state();
    let unit = unit(&whole, sql, false).await;
    let world = World { protected: false };
    let Split { subplans, layout } =
        split(&unit, &all_sites(), &world, &state).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut answers = Vec::new();
    for subplan in subplans {
        let at = SITES.iter().position(|s| *s == subplan.site.as_str()).unwrap();
        let ctx = context("t", vec![batch(&tables[at], None)]);
        let df = ctx.sql(&subplan.sql).await.unwrap_or_else(|e| panic!("{}: {e}", subplan.sql));
        let schema = Arc::new(df.schema().as_arrow().clone());
        let batches = df.collect().await.unwrap_or_else(|e| panic!("{}: {e}", subplan.sql));
        let schema = batches.first().map_or(schema, |b| b.schema());
        answers.push((subplan.site, concat_batches(&schema, &batches).unwrap()));
    }
    let got = merge(&unit, &layout, answers).unwrap();
    let plan = state.create_physical_plan(&unit.source).await.unwrap();
    let schema = plan.schema();
    let want = datafusion::physical_plan::collect(plan, state.task_ctx()).await.unwrap();
    let want = concat_batches(&schema, &want).unwrap();
    assert_same(&got, &want, sql);
}

fn lines(batch: &RecordBatch) -> Vec<(Vec<String>, Vec<Option<f64>>)> {
    let mut rows: Vec<_> = (0..batch.num_rows())
        .map(|row| {
            let (mut exact, mut floats) = (Vec::new(), Vec::new());
            for column in batch.columns() {
                match column.as_primitive_opt::<Float64Type>() {
                    Some(f) => floats.push((!f.is_null(row)).then(|| f.value(row))),
                    None => exact.push(datafusion::arrow::util::display::array_value_to_string(column, row).unwrap()),
                }
            }
            (exact, floats)
        })
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

fn assert_same(got: &RecordBatch, want: &RecordBatch, sql: &str) {
    let (got, want) = (lines(got), lines(want));
    assert_eq!(got.len(), want.len(), "{sql}");
    for (g, w) in got.iter().zip(&want) {
        assert_eq!(g.0, w.0, "{sql}");
        for (a, b) in g.1.iter().zip(&w.1) {
            match (a, b) {
                (None, None) => {}
                (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{sql}: {a} {b}"),
                _ => panic!("{sql}: {a:?} {b:?}"),
            }
        }
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0..9_i64,
        prop::option::of(-5..6_i64),
        prop::option::of((-40..41_i32).prop_map(|i| f64::from(i) / 8.0)),
        prop::option::of(prop::sample::select(vec!["a", "b", "it's"])),
    );
    prop::collection::vec(row, 0..12)
}

fn query() -> impl Strategy<Value = String> {
    let measure = prop::sample::select(vec![
        "count(*)",
        "count(x)",
        "sum(n)",
        "sum(x)",
        "avg(n)",
        "avg(x)",
        "min(n)",
        "max(x)",
        "min(\"Group Key\")",
        "var_samp(x)",
        "var_pop(n)",
        "stddev(n + 1)",
        "covar_samp(n, x)",
        "regr_slope(x, n)",
        "regr_count(x, n)",
        "bool_or(n > 2)",
        "bool_and(x > 0)",
        "sum(n * 2) FILTER (WHERE x > 0)",
        "avg(CASE WHEN n > 0 THEN x END)",
        "count(n) FILTER (WHERE site = 'basel')",
    ]);
    let filter = prop::sample::select(vec![
        "",
        " WHERE n > 0",
        " WHERE x > 0.5 OR n IS NULL",
        " WHERE \"Group Key\" IN ('a', 'it''s')",
        " WHERE site <> 'basel'",
        " WHERE n BETWEEN -1 AND 3 AND NOT (x > 2)",
        " WHERE site IN ('basel', 'zurich') AND id % 2 = 0",
        " WHERE id IN (SELECT id FROM t AS u WHERE u.n > 1 AND u.site = t.site)",
    ]);
    let group = prop::sample::select(vec![
        "",
        " GROUP BY n",
        " GROUP BY \"Group Key\", n > 0",
        " GROUP BY site",
        " GROUP BY site, n",
        " GROUP BY n / 2 * 2",
        " GROUP BY ROLLUP (\"Group Key\", n)",
        " GROUP BY GROUPING SETS ((site), (n))",
        " GROUP BY CUBE (site, \"Group Key\")",
    ]);
    (prop::collection::vec(measure, 1..4), filter, group).prop_map(|(mut measures, filter, group)| {
        measures.sort_unstable();
        measures.dedup();
        format!("SELECT {} FROM t{filter}{group}", measures.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn merged_is_what_one_engine_gives(sql in query(), a in rows(), b in rows(), c in rows()) {
        // A correlation of sites within IN is what each site does by itself.
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(agree(&sql, &[a, b, c]));
    }
}
