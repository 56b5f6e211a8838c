//! Private aggregates over keys that are not public take two rounds (federation.md): each site selects its keys with noise; then every site
//! answers every key of their union, which the question itself lists, so that they are public to it.
//!
//! A key that some site selected is known to the asker from then on. A site that has nobody with it answers it all the same, with noise: so a
//! sum over the sites has the part of each.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, lit};

use super::layout::{self, Layout};
use crate::facts::Facts;
use crate::private::Question;
use crate::refusal::Refusal;
use crate::release_unit::ReleaseUnit;

/// The most keys that the second question lists.
pub const MAX_LISTED: usize = 1_000;

/// The column of the second round's answers that numbers the listed keys.
const NUMBER: &str = "key";

/// Whether a unit's keys must be selected before its measures are asked. Keys of a single site (`GROUP BY site, …`) are its own matter.
///
/// # Errors
/// See [`Layout::of`].
pub fn are_needed(unit: &ReleaseUnit, facts: &dyn Facts) -> Result<bool, Refusal> {
    let selects = unit.question.as_ref().is_some_and(|question| question.public_cells().is_none());
    if !selects || unit.measures.is_empty() {
        return Ok(false);
    }
    Ok(!Layout::of(unit, facts)?.is_by_site())
}

/// The first round: which keys there are.
///
/// # Errors
/// 0A000 if the unit cannot be split.
pub fn keys(unit: &ReleaseUnit) -> Result<ReleaseUnit, Refusal> {
    let aggregate = layout::source(&unit.source)?;
    let keys = aggregate.group_expr.clone();
    let fields = unit.schema.iter().take(keys.len()).map(|(relation, field)| (relation.cloned(), Arc::clone(field)));
    let schema = DFSchema::new_with_metadata(fields.collect(), Default::default()).map_err(cannot_split)?;
    let source = Aggregate::try_new(Arc::clone(&aggregate.input), keys, vec![]).map_err(cannot_split)?;
    let question = unit
        .question
        .as_ref()
        .map(|question| Arc::new(Question { aggregates: vec![], is_part: vec![], ..question.as_ref().clone() }));
    Ok(ReleaseUnit {
        measures: vec![],
        schema: Arc::new(schema),
        source: LogicalPlan::Aggregate(source),
        question,
        ..unit.clone()
    })
}

/// The second round: the unit's measures by the number of a listed key, from 0 in the order of `keys` (a column a key of the unit). Rows
/// with no listed key have none.
///
/// # Errors
/// 0A000 if there are more than [`MAX_LISTED`], or the unit cannot be split.
pub fn with_keys(unit: &ReleaseUnit, keys: &RecordBatch) -> Result<ReleaseUnit, Refusal> {
    if keys.num_rows() > MAX_LISTED {
        return Err(Refusal::unsupported(format!(
            "the sites have more than {MAX_LISTED} keys together, which is more than one question can list"
        ))
        .hint("Group by fewer columns, or narrow the query with WHERE."));
    }
    let aggregate = layout::source(&unit.source)?;
    let number = numbered(&aggregate.group_expr, keys)?;
    let source = Aggregate::try_new(Arc::clone(&aggregate.input), vec![number], aggregate.aggr_expr.clone())
        .map_err(cannot_split)?;
    let number = Field::new(NUMBER, DataType::Int64, true);
    let fields = std::iter::once((None, Arc::new(number)))
        .chain(unit.schema.iter().skip(keys.num_columns()).map(|(relation, f)| (relation.cloned(), Arc::clone(f))));
    let schema = DFSchema::new_with_metadata(fields.collect(), Default::default()).map_err(cannot_split)?;
    Ok(ReleaseUnit { schema: Arc::new(schema), source: LogicalPlan::Aggregate(source), ..unit.clone() })
}

/// `CASE WHEN k = 'a' AND l IS NULL THEN 0 WHEN … END`
fn numbered(exprs: &[Expr], keys: &RecordBatch) -> Result<Expr, Refusal> {
    let mut branches = Vec::with_capacity(keys.num_rows());
    for row in 0..keys.num_rows() {
        let mut conditions = Vec::with_capacity(exprs.len());
        for (expr, column) in exprs.iter().zip(keys.columns()) {
            let expr = layout::bare(expr).clone();
            let value = ScalarValue::try_from_array(column, row).map_err(cannot_split)?;
            conditions.push(if value.is_null() { expr.is_null() } else { expr.eq(Expr::Literal(value, None)) });
        }
        let number = i64::try_from(row).map_err(cannot_split)?;
        branches.push((Box::new(conjunction(conditions).ok_or_else(no_keys)?), Box::new(lit(number))));
    }
    if branches.is_empty() {
        return Err(no_keys());
    }
    Ok(Expr::Case(Case { expr: None, when_then_expr: branches, else_expr: None }))
}

fn no_keys() -> Refusal {
    Refusal::unsupported("there are no keys to list")
}

fn cannot_split(_: impl std::fmt::Display) -> Refusal {
    Refusal::unsupported("the query cannot be split into two rounds for its sites")
        .hint("Add site to GROUP BY, or ask the sites one by one.")
}
