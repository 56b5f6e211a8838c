//! Release units made by hand from SQL over a table in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, TableScan};
use datafusion::prelude::{SessionConfig, SessionContext};
use kanon_planner::boundary::{Options, decide};
use kanon_planner::facts::{Facts, Placement, Protection, TableFacts};
use kanon_planner::release_unit::{Decision, Measure, MeasureKind, ReleaseUnit};
use kanon_privacy::policy::{Access, DominancePercent, MinCohort};

use crate::error::Result;
use crate::release::{Released, release};

/// A row of the test table: unit, two keys, a number, a flag.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) unit: i64,
    pub(super) a: Option<&'static str>,
    pub(super) b: Option<i64>,
    pub(super) x: Option<f64>,
}

pub(super) fn row(unit: i64, a: &'static str, b: i64, x: f64) -> Row {
    Row { unit, a: Some(a), b: Some(b), x: Some(x) }
}

pub(super) struct Asking {
    pub(super) rows: Vec<Row>,
    pub(super) k: i64,
    pub(super) one_row: bool,
    /// Units as text instead of numbers.
    pub(super) text_units: bool,
    /// Asked through the planner's boundary instead of a unit made by hand.
    pub(super) decided: bool,
}

/// The facts of the one table there is.
struct OneTable(Protection);

impl Facts for OneTable {
    fn of(&self, scan: &TableScan) -> TableFacts {
        TableFacts {
            name: scan.table_name.to_string(),
            protection: Some(self.0.clone()),
            private: None,
            domains: BTreeMap::new(),
            closed: None,
            roles: BTreeMap::new(),
            placement: Placement::Local,
        }
    }
}

impl Asking {
    pub(super) fn of(rows: Vec<Row>) -> Asking {
        Asking { rows, k: 10, one_row: false, text_units: false, decided: false }
    }

    pub(super) async fn unit(&self, sql: &str) -> (SessionContext, ReleaseUnit) {
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3).with_batch_size(16));
        let units: ArrayRef = if self.text_units {
            Arc::new(StringArray::from_iter_values(self.rows.iter().map(|r| format!("p{}", r.unit))))
        } else {
            Arc::new(Int64Array::from_iter_values(self.rows.iter().map(|r| r.unit)))
        };
        let schema = Arc::new(Schema::new(vec![
            Field::new("unit", units.data_type().clone(), false),
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Int64, true),
            Field::new("x", DataType::Float64, true),
        ]));
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                units,
                Arc::new(StringArray::from_iter(self.rows.iter().map(|r| r.a))),
                Arc::new(Int64Array::from_iter(self.rows.iter().map(|r| r.b))),
                Arc::new(Float64Array::from_iter(self.rows.iter().map(|r| r.x))),
            ],
        )
        .unwrap();
        let pieces = (0..batch.num_rows().max(1))
            .step_by(7)
            .map(|at| vec![batch.slice(at, 7.min(batch.num_rows() - at))])
            .collect();
        ctx.register_table("t", Arc::new(MemTable::try_new(schema, pieces).unwrap())).unwrap();
        let state = ctx.state();
        let plan = state.create_logical_plan(sql).await.unwrap();
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).unwrap();
        let mut found: Option<Aggregate> = None;
        plan.apply(|node| {
            if let LogicalPlan::Aggregate(aggregate) = node {
                found = Some(aggregate.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        let aggregate = found.expect("an aggregate");
        let unit = ReleaseUnit {
            id: 0,
            input: aggregate.input.as_ref().clone(),
            unit: Some(Column::new(Some("t"), "unit")),
            protection: Some(Protection {
                access: Access::Cohort,
                unit_column: "unit".into(),
                unit_kind: "unit".into(),
                unit_unique: self.one_row,
                min_cohort: MinCohort::try_from(self.k).unwrap(),
                dominance_percent: DominancePercent::default(),
            }),
            question: None,
            one_row_a_unit: self.one_row,
            keys: aggregate.group_expr.clone(),
            measures: aggregate.aggr_expr.iter().map(measure).collect(),
            schema: Arc::clone(&aggregate.schema),
            source: LogicalPlan::Aggregate(aggregate.clone()),
            constants: vec![],
            placement: Placement::Local,
            tables: vec!["t".into()],
        };
        (ctx, unit)
    }

    pub(super) async fn release(&self, sql: &str) -> Result<Released> {
        let (ctx, unit) = self.unit(sql).await;
        if !self.decided {
            return release(&ctx.state(), &unit).await;
        }
        let plan = ctx.state().create_logical_plan(sql).await.unwrap();
        let plan = ctx.state().analyzer().execute_and_check(plan, ctx.state().config_options(), |_, _| {}).unwrap();
        let facts = OneTable(unit.protection.clone().unwrap());
        match decide(plan, &facts, &Options { peer: false }).unwrap() {
            Decision::Release { units, .. } => release(&ctx.state(), &units[0]).await,
            Decision::Open(plan) => panic!("open: {plan}"),
        }
    }

    /// The answer as text, a line a row, NULL as `-`.
    pub(super) async fn lines(&self, sql: &str) -> Vec<String> {
        lines(self.release(sql).await.unwrap().batch())
    }
}

pub(super) fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"))
        .collect()
}

/// What the boundary says of an aggregate, for the few forms of these tests.
fn measure(aggregate: &Expr) -> Measure {
    let Expr::AggregateFunction(function) = aggregate.clone().unalias() else { panic!("{aggregate}") };
    let params = function.params;
    let arguments: Vec<Expr> = params.args.iter().filter(|a| !matches!(a, Expr::Literal(_, _))).cloned().collect();
    let kind = match (function.func.name(), params.distinct) {
        ("count", true) => MeasureKind::CountDistinct,
        ("count", false) => MeasureKind::Count,
        ("sum", _) => MeasureKind::Sum,
        ("avg", _) => MeasureKind::Avg,
        ("median" | "approx_percentile_cont" | "percentile_cont", _) => MeasureKind::Quantile(0.5),
        _ => MeasureKind::Moments,
    };
    let mut conditions: Vec<Expr> = params.filter.iter().map(|f| f.as_ref().clone()).collect();
    if matches!(kind, MeasureKind::Count | MeasureKind::CountDistinct | MeasureKind::Sum) {
        conditions.extend(arguments.iter().map(|a| a.clone().is_null()));
    }
    let present = params
        .filter
        .iter()
        .map(|f| f.as_ref().clone())
        .chain(arguments.iter().map(|a| a.clone().is_not_null()))
        .reduce(Expr::and);
    let dominated = match kind {
        MeasureKind::Sum | MeasureKind::Avg => vec![arguments[0].clone()],
        MeasureKind::Moments => arguments.iter().map(|a| a.clone() * a.clone()).collect(),
        _ => vec![],
    };
    Measure { aggregate: aggregate.clone(), kind, present, conditions, dominated }
}
