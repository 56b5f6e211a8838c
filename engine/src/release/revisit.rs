//! A second, exact pass for what the guards leave open: dominance that the bounds do not decide, and both sides of a quantile.
//!
//! The groups in question become a small table in memory; the release unit's rows are joined to it by their keys. A group that the second
//! pass does not find again (the data changed in between) is withheld.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::cast as cast_array;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, UInt64Type};
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::functions::expr_fn::abs;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, cast, col, lit};
use futures::TryStreamExt;
use kanon_planner::facts::Protection;
use kanon_planner::release_unit::{Measure, MeasureKind, ReleaseUnit};
use kanon_privacy::dominance::Weights;

use super::ask::{Asked, bare as uncast};
use super::below;
use super::findings::{Findings, MeasureFindings};
use super::guard::{Guard, read_cohort};
use super::run::{self, Raw, pick};
use crate::error::{Error, Result};

const GROUP: &str = "__kanon_group";
const UNIT: &str = "__kanon_unit";
const VALUE: &str = "__kanon_value";
/// A quantile, and another one above it.
const LIMIT: &str = "__kanon_limit";
const UPPER: &str = "__kanon_upper";
/// The absolute sum of a unit.
const WEIGHT: &str = "__kanon_weight";

/// Decides what is open about the released groups (rows of the exact answer).
pub(super) async fn decide(
    state: &SessionState,
    unit: &ReleaseUnit,
    protection: &Protection,
    asked: &Asked,
    raw: &Raw,
    findings: &mut Findings,
    released: &BTreeSet<usize>,
) -> Result<()> {
    let second = Second { state, unit, protection, asked, raw };
    for ((measure, asked_measure), found) in unit.measures.iter().zip(&asked.measures).zip(&mut findings.measures) {
        if let MeasureKind::Quantile(_) = measure.kind {
            let open: Vec<usize> =
                released.iter().copied().filter(|row| found.holds.get(*row) == Some(&true)).collect();
            let enough = second.sides(measure, asked_measure.value, &open).await?;
            keep(found, &open, &enough);
        }
        for x in &measure.dominated {
            let open: Vec<usize> = released
                .iter()
                .copied()
                .filter(|row| found.unsure.get(*row) == Some(&true) && found.holds.get(*row) == Some(&true))
                .collect();
            let clear = second.dominance(measure, x, &open).await?;
            keep(found, &open, &clear);
        }
    }
    steps_apart(&second, unit, asked, findings, released).await
}

/// The quantiles of one value.
struct Ladder {
    x: Expr,
    filter: Option<Expr>,
    /// Their fractions and the numbers of their measures.
    steps: Vec<(f64, usize)>,
}

/// Two quantiles of one value stand at least k units apart, or many fractions would be a list of everybody's values.
async fn steps_apart(
    second: &Second<'_>,
    unit: &ReleaseUnit,
    asked: &Asked,
    findings: &mut Findings,
    released: &BTreeSet<usize>,
) -> Result<()> {
    let mut ladders: Vec<Ladder> = Vec::new();
    for (index, measure) in unit.measures.iter().enumerate() {
        if let MeasureKind::Quantile(fraction) = measure.kind {
            let Expr::AggregateFunction(function) = measure.aggregate.clone().unalias() else { continue };
            let (x, filter) = (uncast(&quantile_of(measure)?).clone(), function.params.filter.map(|f| *f));
            match ladders.iter_mut().find(|ladder| ladder.x == x && ladder.filter == filter) {
                Some(ladder) => ladder.steps.push((fraction, index)),
                None => ladders.push(Ladder { x, filter, steps: vec![(fraction, index)] }),
            }
        }
    }
    for Ladder { mut steps, .. } in ladders {
        steps.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for pair in steps.windows(2) {
            let [(low, lower), (high, upper)] = pair else { continue };
            let (Some(measure), Some(a), Some(b)) =
                (unit.measures.get(*upper), asked.measures.get(*lower), asked.measures.get(*upper))
            else {
                continue;
            };
            if low == high {
                continue;
            }
            // If the lower one is withheld, what is below it is no less far away.
            let open: Vec<usize> = released
                .iter()
                .copied()
                .filter(|row| findings.measures.get(*upper).is_some_and(|m| m.holds.get(*row) == Some(&true)))
                .collect();
            let apart = second.between(measure, a.value, b.value, &open).await?;
            if let Some(found) = findings.measures.get_mut(*upper) {
                keep(found, &open, &apart);
            }
        }
    }
    Ok(())
}

fn quantile_of(measure: &Measure) -> Result<Expr> {
    match measure.aggregate.clone().unalias() {
        Expr::AggregateFunction(f) => f.params.args.into_iter().next().ok_or_else(Error::below_boundary),
        _ => Err(Error::below_boundary()),
    }
}

/// Of the open groups only those that the second pass clears stay.
fn keep(found: &mut MeasureFindings, open: &[usize], clear: &BTreeSet<usize>) {
    for row in open {
        if let Some(holds) = found.holds.get_mut(*row) {
            *holds &= clear.contains(row);
        }
    }
}

struct Second<'a> {
    state: &'a SessionState,
    unit: &'a ReleaseUnit,
    protection: &'a Protection,
    asked: &'a Asked,
    raw: &'a Raw,
}

impl Second<'_> {
    /// The groups in which the two largest units hold less than the limit.
    async fn dominance(&self, measure: &Measure, x: &Expr, open: &[usize]) -> Result<BTreeSet<usize>> {
        let mut clear = BTreeSet::new();
        for (keys, rows) in self.by_set(open)? {
            let value = cast(x.clone(), DataType::Float64);
            let plan = self.rows_of(&keys, &rows, vec![value.alias(VALUE)], measure.present.as_ref(), &[])?;
            let plan = LogicalPlanBuilder::from(plan)
                .aggregate(vec![col(GROUP), col(UNIT)], vec![sum(abs(col(VALUE))).alias(WEIGHT)])
                .and_then(LogicalPlanBuilder::build)
                .map_err(below)?;
            let mut weights: BTreeMap<u64, Weights> = BTreeMap::new();
            let mut stream = run::stream(self.state, &plan).await?;
            while let Some(batch) = stream.try_next().await.map_err(below)? {
                let groups = column(&batch, 0)?.as_primitive_opt::<UInt64Type>().ok_or_else(Error::below_boundary)?;
                let sums = column(&batch, 2)?.as_primitive_opt::<Float64Type>().ok_or_else(Error::below_boundary)?;
                for (group, sum) in groups.iter().zip(sums.iter()) {
                    if let (Some(group), Some(sum)) = (group, sum) {
                        weights.entry(group).or_default().add_unit(sum);
                    }
                }
            }
            let found = weights.into_iter().filter(|(_, w)| !w.is_dominated(self.protection.dominance_percent));
            clear.extend(found.filter_map(|(group, _)| usize::try_from(group).ok()));
        }
        Ok(clear)
    }

    /// The groups with at least k units at or below the quantile, and at or above it.
    async fn sides(&self, measure: &Measure, value: usize, open: &[usize]) -> Result<BTreeSet<usize>> {
        let sides = [col(VALUE).lt_eq(col(LIMIT)), col(VALUE).gt_eq(col(LIMIT))];
        self.enough(measure, &[value], &sides, open).await
    }

    /// The groups with at least k units from one quantile to another.
    async fn between(&self, measure: &Measure, low: usize, high: usize, open: &[usize]) -> Result<BTreeSet<usize>> {
        let between = col(VALUE).gt_eq(col(LIMIT)).and(col(VALUE).lt_eq(col(UPPER)));
        self.enough(measure, &[low, high], &[between], open).await
    }

    /// The groups with at least k units for each of some conditions on the value of a quantile and its `limits`.
    async fn enough(
        &self,
        measure: &Measure,
        limits: &[usize],
        conditions: &[Expr],
        open: &[usize],
    ) -> Result<BTreeSet<usize>> {
        let x = quantile_of(measure)?;
        let k = self.protection.min_cohort;
        let mut enough = BTreeSet::new();
        for (keys, rows) in self.by_set(open)? {
            let x = cast(x.clone(), DataType::Float64).alias(VALUE);
            let plan = self.rows_of(&keys, &rows, vec![x], measure.present.as_ref(), limits)?;
            let side = |filter: &Expr| -> Result<Expr> {
                if self.asked.one_row_a_unit {
                    count(lit(COUNT_STAR_EXPANSION)).filter(filter.clone()).build().map_err(below)
                } else {
                    Ok(Guard::Cohort.over(k, vec![col(UNIT)], Some(filter.clone())))
                }
            };
            let sides = conditions
                .iter()
                .enumerate()
                .map(|(i, condition)| Ok(side(condition)?.alias(format!("__kanon_side_{i}"))))
                .collect::<Result<Vec<Expr>>>()?;
            let plan = LogicalPlanBuilder::from(plan)
                .aggregate(vec![col(GROUP)], sides)
                .and_then(LogicalPlanBuilder::build)
                .map_err(below)?;
            let mut stream = run::stream(self.state, &plan).await?;
            while let Some(batch) = stream.try_next().await.map_err(below)? {
                let groups = column(&batch, 0)?.as_primitive_opt::<UInt64Type>().ok_or_else(Error::below_boundary)?;
                for (row, group) in groups.iter().enumerate() {
                    let mut all = true;
                    for side in batch.columns().iter().skip(1) {
                        all &= self.is_enough(side, row)?;
                    }
                    if all && let Some(group) = group.and_then(|g| usize::try_from(g).ok()) {
                        enough.insert(group);
                    }
                }
            }
        }
        Ok(enough)
    }

    fn is_enough(&self, side: &ArrayRef, row: usize) -> Result<bool> {
        let k = self.protection.min_cohort;
        if let Some(rows) = side.as_primitive_opt::<Int64Type>() {
            return Ok(rows.is_valid(row) && rows.value(row) >= i64::from(k));
        }
        let states = side.as_binary_opt::<i64>().ok_or_else(Error::below_boundary)?;
        Ok(states.is_valid(row) && read_cohort(states.value(row), k).map_err(below)?.is_enough())
    }

    /// Open groups by the keys that their grouping set has.
    fn by_set(&self, open: &[usize]) -> Result<Vec<(Vec<usize>, Vec<usize>)>> {
        let keys = self.asked.keys;
        let mut sets: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        match self.asked.grouping_id {
            None if open.is_empty() => {}
            None => {
                sets.insert((0..keys).collect(), open.to_vec());
            }
            Some(id) => {
                let ids = cast_array(column(&self.raw.batch, id)?, &DataType::UInt64).map_err(below)?;
                let ids = ids.as_primitive::<UInt64Type>();
                for row in open {
                    let id = ids.value(*row);
                    let columns = (0..keys).filter(|key| !super::answer::left_out(id, keys, *key)).collect();
                    sets.entry(columns).or_default().push(*row);
                }
            }
        }
        Ok(sets.into_iter().collect())
    }

    /// The rows of the release unit that belong to some of its groups, each with its group's number, its unit, the `values`, and the released
    /// candidates in one or two columns of the exact answer.
    fn rows_of(
        &self,
        keys: &[usize],
        groups: &[usize],
        values: Vec<Expr>,
        present: Option<&Expr>,
        limits: &[usize],
    ) -> Result<LogicalPlan> {
        let numbers = UInt64Array::from_iter_values(groups.iter().map(|g| *g as u64));
        let mut fields = vec![Field::new(GROUP, DataType::UInt64, false)];
        let mut columns: Vec<ArrayRef> = vec![Arc::new(numbers.clone())];
        for (name, limit) in [LIMIT, UPPER].into_iter().zip(limits) {
            let limits =
                cast_array(&pick(column(&self.raw.batch, *limit)?, &numbers)?, &DataType::Float64).map_err(below)?;
            fields.push(Field::new(name, DataType::Float64, true));
            columns.push(limits);
        }
        for key in keys {
            let key_column = pick(column(&self.raw.batch, *key)?, &numbers)?;
            fields.push(Field::new(theirs(*key), key_column.data_type().clone(), true));
            columns.push(key_column);
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(below)?;
        let table = MemTable::try_new(schema, vec![vec![batch]]).map_err(below)?;
        let table = LogicalPlanBuilder::scan("__kanon_groups", provider_as_source(Arc::new(table)), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(below)?;

        let unit = self.unit.unit.clone().ok_or_else(Error::below_boundary)?;
        let mut exprs = vec![Expr::Column(unit).alias(UNIT)];
        for key in keys {
            let expr = self.asked.key_exprs.get(*key).ok_or_else(Error::below_boundary)?;
            exprs.push(expr.clone().unalias().alias(ours(*key)));
        }
        exprs.extend(values);
        let mut rows = LogicalPlanBuilder::from(self.unit.input.clone());
        if let Some(present) = present {
            rows = rows.filter(present.clone()).map_err(below)?;
        }
        let rows = rows.project(exprs).map_err(below)?;
        let on: (Vec<Column>, Vec<Column>) =
            keys.iter().map(|k| (Column::from_name(ours(*k)), Column::from_name(theirs(*k)))).unzip();
        let joined = if keys.is_empty() {
            rows.cross_join(table)
        } else {
            rows.join_detailed(table, JoinType::Inner, on, None, NullEquality::NullEqualsNull)
        };
        joined.and_then(LogicalPlanBuilder::build).map_err(below)
    }
}

fn ours(key: usize) -> String {
    format!("__kanon_key_{key}")
}

fn theirs(key: usize) -> String {
    format!("__kanon_of_{key}")
}

fn column(batch: &RecordBatch, index: usize) -> Result<&ArrayRef> {
    batch.columns().get(index).ok_or_else(Error::below_boundary)
}
