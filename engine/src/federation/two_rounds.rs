//! The two rounds of a private aggregate over keys that are not public: each site selects its keys, then all answer every key of the union.
//!
//! The first takes a quarter of ε and half of δ, the second what is left (federation.md). Both are charged by each site for itself, and a site
//! that is asked the same again answers the same at no cost.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{FieldRef, Int64Type, Schema};
use datafusion::execution::SessionState;
use kanon_planner::facts::{Facts, SiteId};
use kanon_planner::release_unit::ReleaseUnit;
use kanon_planner::split::rounds;
use kanon_privacy::budget::{Delta, Epsilon};

use super::client::Asked;
use super::run::{Asking, Wishes, ask, planned};
use crate::error::{Error, Result};
use crate::session::report::SiteStatus;

/// The share of ε that the first round takes.
const KEYS_EPSILON: f64 = 0.25;
/// The share of δ that the first round takes.
const KEYS_DELTA: f64 = 0.5;

/// What the two rounds may spend of what the whole may.
fn shares(asked: Asked) -> Option<[Asked; 2]> {
    let (epsilon, delta) = (asked.epsilon.get(), asked.delta.get());
    // Rounded down: the two together are not more than the whole.
    let part = |epsilon: f64, delta: f64| {
        Some(Asked { epsilon: Epsilon::try_from(epsilon.next_down()).ok()?, delta: Delta::try_from(delta).ok()? })
    };
    Some([
        part(epsilon * KEYS_EPSILON, delta * KEYS_DELTA)?,
        part(epsilon * (1.0 - KEYS_EPSILON), delta * (1.0 - KEYS_DELTA))?,
    ])
}

/// Asks the sites for their keys, and then for the measures of all of these.
///
/// # Errors
/// See [`super::run::release`].
pub(super) async fn release(
    asking: &Asking<'_>,
    state: &SessionState,
    facts: &(dyn Facts + Sync),
    unit: &ReleaseUnit,
) -> Result<(RecordBatch, Vec<(SiteId, SiteStatus)>)> {
    let asked = asking.asked.ok_or_else(|| Error::internal("a private release that may spend nothing"))?;
    let [first, second] = shares(asked).ok_or_else(|| Error::unsupported("epsilon is too small to be divided"))?;
    let first = Asking { asked: Some(first), ..asking.clone() };
    let of_keys = rounds::keys(unit)?;
    let split = planned(&of_keys, facts, state, &asking.wishes)?;
    let (keys, mut statuses) = ask(&first, &of_keys, &split.layout, split.subplans).await?;
    if keys.num_rows() == 0 {
        return Ok((empty(unit), statuses));
    }
    // Without what stands behind the columns of a private answer.
    let keys = keys.project(&(0..unit.keys.len()).collect::<Vec<_>>()).map_err(Error::internal)?;
    // Who did not answer is not waited for again.
    let answered = statuses.iter().filter(|(_, status)| status.answered()).map(|(site, _)| site.clone()).collect();
    let wishes = Wishes { sites: Some(answered), ..asking.wishes.clone() };
    let listed = rounds::with_keys(unit, &keys)?;
    let split = planned(&listed, facts, state, &wishes)?;
    let second = Asking { asked: Some(second), wishes, ..asking.clone() };
    let (measures, again) = ask(&second, &listed, &split.layout, split.subplans).await?;
    statuses.retain(|(site, _)| again.iter().all(|(other, _)| other != site));
    statuses.extend(again);
    statuses.sort_by(|a, b| a.0.cmp(&b.0));
    Ok((joined(unit, &keys, &measures)?, statuses))
}

/// What the sites would be asked, for EXPLAIN (PRIVACY).
///
/// # Errors
/// See [`super::run::subplans`].
pub(super) fn lines(
    unit: &ReleaseUnit,
    facts: &dyn Facts,
    state: &SessionState,
    wishes: &Wishes,
) -> Result<Vec<String>> {
    let mut lines = vec![format!(
        "Release #{} takes two rounds: sites select their keys with a quarter of epsilon and half of delta, then each answers every key of all",
        unit.id
    )];
    let split = planned(&rounds::keys(unit)?, facts, state, wishes)?;
    lines
        .extend(split.subplans.iter().map(|part| format!("Release #{} at {}, keys: {}", unit.id, part.site, part.sql)));
    Ok(lines)
}

/// The keys by their numbers beside their measures, in the order of the keys; rows with no listed key are dropped.
fn joined(unit: &ReleaseUnit, keys: &RecordBatch, measures: &RecordBatch) -> Result<RecordBatch> {
    let numbers = measures.columns().first().and_then(|column| column.as_primitive_opt::<Int64Type>());
    let numbers = numbers.ok_or_else(|| Error::internal("a second round without its keys"))?;
    let mut rows: Vec<(u64, u64)> = Vec::new();
    for row in 0..numbers.len() {
        if !numbers.is_null(row) {
            let number = usize::try_from(numbers.value(row)).ok().filter(|number| *number < keys.num_rows());
            let number = number.ok_or_else(|| Error::internal("a key that was not listed"))?;
            rows.push((number as u64, row as u64));
        }
    }
    // The keys came in order, and are numbered so.
    rows.sort_unstable();
    let of_keys = UInt64Array::from_iter_values(rows.iter().map(|(number, _)| *number));
    let of_measures = UInt64Array::from_iter_values(rows.iter().map(|(_, row)| *row));
    let picked = |column: &ArrayRef, rows: &UInt64Array| take(column, rows, None).map_err(Error::internal);
    let mut columns = keys.columns().iter().map(|c| picked(c, &of_keys)).collect::<Result<Vec<_>>>()?;
    // The measures, and behind them the ends of their intervals.
    for column in measures.columns().iter().skip(1) {
        columns.push(picked(column, &of_measures)?);
    }
    let (of_unit, of_measures) = (empty(unit).schema(), measures.schema());
    let ends = of_measures.fields().iter().skip(1 + unit.measures.len());
    let fields: Vec<FieldRef> = of_unit.fields().iter().chain(ends).cloned().collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(Error::internal)
}

/// An answer without groups.
fn empty(unit: &ReleaseUnit) -> RecordBatch {
    let fields = unit.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::new_empty(schema)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn two_rounds_together_spend_no_more_than_the_whole() {
        for epsilon in [1e-9, 0.1, 0.3, 1.0, 3.7, 1e6] {
            let asked = Asked { epsilon: Epsilon::try_from(epsilon).unwrap(), delta: Delta::try_from(1e-8).unwrap() };
            let [first, second] = shares(asked).unwrap();
            assert!(first.epsilon.get() + second.epsilon.get() <= epsilon);
            assert!(first.epsilon.get() + second.epsilon.get() > epsilon * 0.999_999);
            assert!(first.delta.get() + second.delta.get() <= 1e-8);
        }
    }
}
