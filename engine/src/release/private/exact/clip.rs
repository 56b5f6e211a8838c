//! Units scaled down: all rows of a unit count, each by the unit's one weight, so that its whole vector keeps the norm (see
//! [`kanon_privacy::sensitivity`], "Clipping is exact").
//!
//! Rows of units within the norm are added as they are. Of the others, what the unit adds to each of its groups is added up exactly first,
//! then weighted and cut towards zero: as the proof of the sensitivity has it.

use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take;
use kanon_privacy::sensitivity::{Clip, RowWeight};

use super::super::super::below;
use super::Job;
use super::bound::{ByUnit, by_group};
use super::columns;
use super::totals::Totals;
use crate::error::{Error, Result};

/// What a unit that is cut adds to a group.
pub(super) struct Part {
    pub(super) group: u32,
    pub(super) weight: RowWeight,
}

/// Rows and where what they add is added.
#[derive(Default)]
struct Rows {
    rows: Vec<u32>,
    to: Vec<u32>,
}

/// Adds these rows: all that there are of their units.
pub(super) fn add(job: &Job, clip: &Clip, rows: &RecordBatch, totals: &mut Totals) -> Result<()> {
    totals.resize(job.groups.read().map_err(below)?.len())?;
    let groups = columns::groups(rows)?;
    let by_unit = ByUnit::of(rows, &job.hasher)?;
    let (mut whole, mut cut, mut parts) = (Rows::default(), Rows::default(), Vec::new());
    let mut sorted = Vec::new();
    for (number, unit) in by_unit.units().enumerate() {
        if number % 1024 == 0 {
            job.go_on()?;
        }
        by_group(unit, groups, &mut sorted)?;
        let own = || sorted.chunk_by(|a, b| a.0 == b.0);
        let weight = clip.row_weight(own().map(|part| part.len() as u64)).ok_or_else(Error::below_boundary)?;
        let weight_of_unit = clip.unit_weight(u32::try_from(own().count()).map_err(below)?);
        for part in own() {
            let Some((group, _)) = part.first() else { continue };
            totals.add_weighted_unit(*group, weight_of_unit)?;
            let (rows, to) = if weight.is_cut() {
                let number = u32::try_from(parts.len()).map_err(below)?;
                parts.push(Part { group: *group, weight });
                (&mut cut, number)
            } else {
                (&mut whole, *group)
            };
            rows.rows.extend(part.iter().map(|(_, row)| *row));
            rows.to.resize(rows.rows.len(), to);
        }
    }
    let (arguments, _) = job.layout.split(job.layout.contents(rows)?)?;
    let taken = |rows: Vec<u32>| {
        let rows = UInt32Array::from(rows);
        arguments.iter().map(|column| take(column, &rows, None).map_err(below)).collect::<Result<Vec<ArrayRef>>>()
    };
    totals.add_rows(&whole.to, &taken(whole.rows)?)?;
    if parts.is_empty() {
        return Ok(());
    }
    let mut of_parts = job.totals();
    of_parts.resize(parts.len())?;
    of_parts.add_rows(&cut.to, &taken(cut.rows)?)?;
    totals.add_cut(&parts, &of_parts)
}
