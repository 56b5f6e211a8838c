//! The release of private access: bounded, exact statistics; keys selected; noise; answers.
//!
//! ```text
//! Mechanisms (public) ─► Reservation (the charge is on disk) ─► exact ─► norm, selection and noise ─► finalise ─► one batch, sorted by key
//!                                                                 └─ passes: keys first, or a norm, then what is asked of them
//! ```
//!
//! Nothing here runs without a [`Reservation`] but what costs nothing: public keys alone.

mod exact;
mod groups;
mod intervals;
mod passes;
mod ranks;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::execution::SessionState;
use futures::FutureExt;
use kanon_planner::private::Question;
use kanon_planner::private::accuracy::law;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::bounding::SiteKey;
use kanon_privacy::finalise::finalise;
use kanon_privacy::noise::{OpenDp, Sampler};
use kanon_privacy::noisy::{self, Noisy};
use kanon_privacy::norms::{Level, NormChoice};
use kanon_privacy::statistics::{Finaliser, Statistic};

use super::run::{pick, sorted};
use super::{Released, below};
use crate::error::{Error, Result};
use crate::ledger::Reservation;

/// The key of an answer's metadata with the number of the level of the norm that was chosen for it.
const LEVEL_KEY: &str = "kanon.norm_level";

/// The mechanisms that an answer was made with: with the norm that was chosen, if one was.
///
/// # Errors
/// XX000 if the answer does not say which.
pub fn mechanisms_of(answer: &RecordBatch, mechanisms: &Arc<Mechanisms>) -> Result<Arc<Mechanisms>> {
    if mechanisms.norm.is_none() {
        return Ok(Arc::clone(mechanisms));
    }
    let level = answer.schema_ref().metadata().get(LEVEL_KEY).and_then(|level| level.parse().ok());
    let chosen = level.and_then(Level::numbered).and_then(|level| mechanisms.at(level));
    chosen.map(Arc::new).ok_or_else(|| Error::internal("an answer does not say which norm was chosen"))
}

/// Computes the answer to a question, with noise. It may be handed out once the reservation has kept it.
///
/// # Errors
/// 38000 for whatever fails on the way. What was reserved stays charged.
pub async fn release(
    state: &SessionState,
    unit: &ReleaseUnit,
    question: &Arc<Question>,
    mechanisms: &Arc<Mechanisms>,
    key: &SiteKey,
    _charged: &Reservation,
) -> Result<Released> {
    let computed = async {
        let (exact, mechanisms, level) = passes::compute(state, unit, question, mechanisms, key).await?;
        let (unit, question) = (unit.clone(), Arc::clone(question));
        // To choose among a million values takes long: not on a thread that serves others.
        let work = move || answer(&unit, &question, &mechanisms, exact, level, &mut OpenDp);
        tokio::task::spawn_blocking(work).await.map_err(below)?
    };
    let batch = AssertUnwindSafe(computed).catch_unwind().await.map_err(below)??;
    Ok(Released { batch })
}

/// The answer to a question of public keys alone: of the catalog, and of no data.
///
/// # Errors
/// XX000 if the question asks for more.
pub fn of_public_keys(unit: &ReleaseUnit, question: &Question) -> Result<Released> {
    let types: Vec<DataType> = unit.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    if question.public_cells().is_none() || types.len() != question.keys.len() {
        return Err(Error::internal("a release that is not of public keys alone was not charged"));
    }
    let keys = groups::Groups::of(question, &types)?.keys()?;
    let fields = unit.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), keys).map_err(below)?;
    Ok(Released { batch: sorted(batch, question.keys.len(), None)? })
}

/// Chooses the norm if none was declared and none is chosen yet, selects keys, adds noise, finalises.
fn answer(
    unit: &ReleaseUnit,
    question: &Question,
    mechanisms: &Mechanisms,
    exact: exact::Exact,
    level: Option<Level>,
    sampler: &mut dyn Sampler,
) -> Result<RecordBatch> {
    let Some(choice) = &mechanisms.norm else { return noisy_answer(unit, question, mechanisms, exact, sampler) };
    let (level, exact) = match level {
        Some(level) => (level, exact),
        None => {
            let level = chosen(choice, &exact, sampler)?;
            (level, exact.at(level)?)
        }
    };
    let mechanisms = mechanisms.at(level).ok_or_else(Error::below_boundary)?;
    let batch = noisy_answer(unit, question, &mechanisms, exact, sampler)?;
    let metadata = HashMap::from([(LEVEL_KEY.to_owned(), level.number().to_string())]);
    let schema = batch.schema().as_ref().clone().with_metadata(metadata);
    batch.with_schema(Arc::new(schema)).map_err(below)
}

/// The level of the norm, from the units of each.
fn chosen(choice: &NormChoice, exact: &exact::Exact, sampler: &mut dyn Sampler) -> Result<Level> {
    let units = exact.levels.as_ref().map(|levels| levels.units.as_slice()).ok_or_else(Error::below_boundary)?;
    choice.choose(units, sampler).map_err(below)
}

/// Selects keys, adds noise, finalises.
fn noisy_answer(
    unit: &ReleaseUnit,
    question: &Question,
    mechanisms: &Mechanisms,
    exact: exact::Exact,
    sampler: &mut dyn Sampler,
) -> Result<RecordBatch> {
    let scale = mechanisms.bounding.scale();
    let laws: Vec<noisy::Noise> = mechanisms.noise.iter().map(law).collect();
    let grid = |x: &usize| question.arguments.get(*x).and_then(|a| a.grid.as_ref());
    let finalisers = mechanisms.plan.finalisers();
    let mut shown = Vec::new();
    let mut columns: Vec<Vec<ranks::Value>> = vec![Vec::new(); finalisers.len()];
    let mut ends = intervals::Ends::of(finalisers.len());
    for (group, (units, sums)) in exact.units.iter().zip(&exact.statistics).enumerate() {
        let counted = match &mechanisms.selection {
            None => None,
            Some(selection) => match selection.decide(*units, sampler).map_err(below)? {
                Some(counted) => Some(counted),
                None => continue,
            },
        };
        let mut statistics = Vec::with_capacity(sums.len());
        for (((sum, statistic), noise), law) in
            sums.iter().zip(mechanisms.plan.statistics()).zip(&mechanisms.noise).zip(&laws)
        {
            let value = match (statistic, counted) {
                // What the selection counted is released: one number is not drawn twice.
                (Statistic::Units, Some(counted)) => counted,
                _ => sum.checked_add(noise.draw(sampler).map_err(below)?).ok_or_else(Error::below_boundary)?,
            };
            statistics.push(Noisy::new(value, scale, law.clone()));
        }
        let chosen = ranks::chosen(mechanisms, &exact.ranks, group, sampler)?;
        let measures = columns.iter_mut().zip(finalisers).zip(&question.is_part);
        for (measure, ((column, finaliser), is_part)) in measures.enumerate() {
            if let Finaliser::Rank(place) = finaliser {
                let at = place.checked_sub(statistics.len()).and_then(|at| chosen.get(at));
                column.push(ranks::Value::Chosen(*at.ok_or_else(Error::below_boundary)?));
                ends.push(measure, None);
                continue;
            }
            let answer = finalise(finaliser, &statistics, grid).ok_or_else(Error::below_boundary)?;
            column.push(ranks::Value::Computed(if *is_part { answer.unprocessed } else { answer.value }));
            ends.push(measure, answer.interval);
        }
        shown.push(group as u64);
    }
    let rows = UInt64Array::from(shown);
    let mut arrays: Vec<ArrayRef> = exact.keys.iter().map(|key| pick(key, &rows)).collect::<Result<_>>()?;
    arrays.extend(columns.into_iter().map(|values| ranks::column(&values)));
    if arrays.len() != unit.schema.fields().len() {
        return Err(Error::internal("a release unit's schema does not fit its question"));
    }
    let mut fields = Vec::with_capacity(arrays.len());
    for (index, (field, array)) in unit.schema.fields().iter().zip(&mut arrays).enumerate() {
        let of_measure = index >= question.keys.len();
        if of_measure && field.data_type().is_integer() && array.data_type().is_floating() {
            *array = round(array)?;
        }
        if array.data_type() != field.data_type() {
            *array = cast(array, field.data_type()).map_err(below)?;
        }
        let nullable = field.is_nullable() || of_measure || array.null_count() > 0;
        fields.push(Arc::new(field.as_ref().clone().with_nullable(nullable)));
    }
    ends.add_to(unit, &mut fields, &mut arrays)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).map_err(below)?;
    sorted(batch, question.keys.len(), None)
}

/// To whole numbers, the nearest.
fn round(array: &ArrayRef) -> Result<ArrayRef> {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::Float64Type;
    let floats = array.as_primitive_opt::<Float64Type>().ok_or_else(Error::below_boundary)?;
    Ok(Arc::new(floats.unary::<_, Float64Type>(f64::round)))
}
