//! A second, exact pass for what the guards leave open: dominance that the bounds do not decide, and both sides of a quantile.
//!
//! The groups in question become a small table in memory; the release unit's rows are joined to it by their keys. A group that the second
//! pass does not find again (the data changed in between) is withheld.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, UInt64Array};
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

use super::ask::Asked;
use super::below;
use super::findings::{Findings, MeasureFindings};
use super::guard::{Guard, read_cohort};
use super::run::{self, Raw, pick};
use crate::error::{Error, Result};

const GROUP: &str = "__kanon_group";
const UNIT: &str = "__kanon_unit";
const VALUE: &str = "__kanon_value";
const LIMIT: &str = "__kanon_limit";

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
        } else if let Some(x) = &measure.dominated {
            let open: Vec<usize> = released
                .iter()
                .copied()
                .filter(|row| found.unsure.get(*row) == Some(&true) && found.holds.get(*row) == Some(&true))
                .collect();
            let clear = second.dominance(measure, x, &open).await?;
            keep(found, &open, &clear);
        }
    }
    Ok(())
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
            let plan = self.rows_of(&keys, &rows, vec![value.alias(VALUE)], measure.present.as_ref(), None)?;
            let plan = LogicalPlanBuilder::from(plan)
                .aggregate(vec![col(GROUP), col(UNIT)], vec![sum(abs(col(VALUE))).alias(LIMIT)])
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
        let x = match measure.aggregate.clone().unalias() {
            Expr::AggregateFunction(f) => f.params.args.into_iter().next().ok_or_else(Error::below_boundary)?,
            _ => return Err(Error::below_boundary()),
        };
        let k = self.protection.min_cohort;
        let mut enough = BTreeSet::new();
        for (keys, rows) in self.by_set(open)? {
            let x = cast(x.clone(), DataType::Float64).alias(VALUE);
            let plan = self.rows_of(&keys, &rows, vec![x], measure.present.as_ref(), Some(value))?;
            let side = |filter: Expr| -> Result<Expr> {
                if self.asked.one_row_a_unit {
                    count(lit(COUNT_STAR_EXPANSION)).filter(filter).build().map_err(below)
                } else {
                    Ok(Guard::Cohort.over(k, vec![col(UNIT)], Some(filter)))
                }
            };
            let sides = vec![
                side(col(VALUE).lt_eq(col(LIMIT)))?.alias("__kanon_below"),
                side(col(VALUE).gt_eq(col(LIMIT)))?.alias("__kanon_above"),
            ];
            let plan = LogicalPlanBuilder::from(plan)
                .aggregate(vec![col(GROUP)], sides)
                .and_then(LogicalPlanBuilder::build)
                .map_err(below)?;
            let mut stream = run::stream(self.state, &plan).await?;
            while let Some(batch) = stream.try_next().await.map_err(below)? {
                let groups = column(&batch, 0)?.as_primitive_opt::<UInt64Type>().ok_or_else(Error::below_boundary)?;
                for (row, group) in groups.iter().enumerate() {
                    let both = self.is_enough(column(&batch, 1)?, row)? && self.is_enough(column(&batch, 2)?, row)?;
                    if both && let Some(group) = group.and_then(|g| usize::try_from(g).ok()) {
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
    /// candidate in column `limit` of the exact answer.
    fn rows_of(
        &self,
        keys: &[usize],
        groups: &[usize],
        values: Vec<Expr>,
        present: Option<&Expr>,
        limit: Option<usize>,
    ) -> Result<LogicalPlan> {
        let numbers = UInt64Array::from_iter_values(groups.iter().map(|g| *g as u64));
        let mut fields = vec![Field::new(GROUP, DataType::UInt64, false)];
        let mut columns: Vec<ArrayRef> = vec![Arc::new(numbers.clone())];
        if let Some(limit) = limit {
            let limits =
                cast_array(&pick(column(&self.raw.batch, limit)?, &numbers)?, &DataType::Float64).map_err(below)?;
            fields.push(Field::new(LIMIT, DataType::Float64, true));
            columns.push(limits);
        } else {
            fields.push(Field::new(LIMIT, DataType::Float64, true));
            columns.push(Arc::new(Float64Array::new_null(groups.len())));
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
