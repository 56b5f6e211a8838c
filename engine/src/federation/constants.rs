//! Scalar subqueries of a unit that sites are asked for: evaluated here, over answers and open tables, and sent as values.

use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use kanon_planner::constants::with_values;
use kanon_planner::facts::SiteId;
use kanon_planner::release_unit::ReleaseUnit;

use super::inline;
use super::run::Wishes;
use crate::error::{Error, Result, Sqlstate};
use crate::session::report::SiteStatus;

/// The unit with the values of its scalar subqueries in their places, and how sites ended that were asked for rows of open tables. `None` if
/// there are none.
///
/// # Errors
/// 21000 if a subquery has more than one row, and what running it gives.
pub(super) async fn evaluated(
    state: &SessionState,
    unit: &ReleaseUnit,
    wishes: &Wishes,
) -> Result<Option<(ReleaseUnit, Vec<(SiteId, SiteStatus)>)>> {
    let mut values: Vec<(LogicalPlan, Expr)> = Vec::new();
    let mut statuses = Vec::new();
    for (written, plan) in present(unit)? {
        let (batches, more) = inline::rows(state, &plan, wishes).await?;
        statuses.extend(more);
        let mut found = Vec::new();
        for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
            let [column] = batch.columns() else { return Err(Error::internal("a scalar subquery of several columns")) };
            for row in 0..batch.num_rows() {
                found.push(ScalarValue::try_from_array(column, row)?);
            }
        }
        let value = match found.len() {
            0 => ScalarValue::try_from(written.schema().field(0).data_type())?,
            1 => found.swap_remove(0).cast_to(written.schema().field(0).data_type())?,
            _ => {
                let text = "more than one row returned by a subquery used as an expression";
                return Err(Error::new(Sqlstate::CardinalityViolation, text));
            }
        };
        values.push((written, Expr::Literal(value, None)));
    }
    if values.is_empty() {
        return Ok(None);
    }
    Ok(Some((with(unit, &values)?, statuses)))
}

/// The unit with stand-ins (zeros and empty texts) for the values of its scalar subqueries: for EXPLAIN, which computes nothing.
///
/// # Errors
/// 0A000 for a type without one.
pub(super) fn sketched(unit: &ReleaseUnit) -> Result<Option<ReleaseUnit>> {
    let mut values = Vec::new();
    for (written, _) in present(unit)? {
        let data_type = written.schema().field(0).data_type();
        let value = ScalarValue::new_default(data_type).map_err(|_| {
            Error::unsupported(format!("a subquery for a value of type {data_type} cannot be sent to sites"))
        })?;
        values.push((written, Expr::Literal(value, None)));
    }
    if values.is_empty() { Ok(None) } else { Ok(Some(with(unit, &values)?)) }
}

/// The scalar subqueries that stand in a unit, each once.
fn present(unit: &ReleaseUnit) -> Result<Vec<(LogicalPlan, LogicalPlan)>> {
    let mut present: Vec<(LogicalPlan, LogicalPlan)> = Vec::new();
    with_values(unit.source.clone(), |plan| {
        let known = unit.constants.iter().find(|(written, _)| written.as_ref() == plan);
        if let Some((_, value)) = known
            && !present.iter().any(|(written, _)| written == plan)
        {
            present.push((plan.clone(), value.clone()));
        }
        Ok(Expr::Literal(ScalarValue::try_from(plan.schema().field(0).data_type())?, None))
    })?;
    Ok(present)
}

fn with(unit: &ReleaseUnit, values: &[(LogicalPlan, Expr)]) -> Result<ReleaseUnit> {
    let source = with_values(unit.source.clone(), |plan| match values.iter().find(|(written, _)| written == plan) {
        Some((_, value)) => Ok(value.clone()),
        None => datafusion::common::internal_err!("a scalar subquery without a value"),
    })?;
    Ok(ReleaseUnit { source, ..unit.clone() })
}
