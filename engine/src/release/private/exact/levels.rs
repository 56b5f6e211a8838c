//! Sums by the level of their units' norms, of which the ones above a norm are weighted once it is chosen: see [`kanon_privacy::norms`].
//!
//! A level and a group have a *slot* among the groups of [`Totals`]: those of the lowest level come first.

use datafusion::arrow::array::RecordBatch;
use kanon_privacy::norms::Level;
use kanon_privacy::sensitivity::Clip;

use super::super::super::below;
use super::Job;
use super::bound::ByUnit;
use super::columns;
use super::totals::Totals;
use crate::error::{Error, Result};

/// Exact sums of a release whose norm is not chosen yet.
pub(in super::super) struct Levels {
    /// How many units each level has.
    pub(in super::super) units: Vec<u64>,
    /// By statistic, then slot, what whole units add.
    pub(super) sums: Vec<Vec<i128>>,
    /// By statistic, then group, what does not depend on the norm, in units of 2^-10.
    pub(super) weighted: Vec<Vec<i128>>,
    pub(super) cells: usize,
}

/// Where a group of units of a level is.
pub(super) fn slot(level: Level, group: u32, cells: usize) -> Result<u32> {
    u32::try_from(level.number() * cells + group as usize).map_err(below)
}

/// Adds these rows: all that there are of their units.
pub(super) fn add(job: &Job, clip: &Clip, rows: &RecordBatch, totals: &mut Totals) -> Result<()> {
    let cells = job.groups.read().map_err(below)?.len();
    totals.resize(cells)?;
    let groups = columns::groups(rows)?;
    let by_unit = ByUnit::of(rows, &job.hasher)?;
    let mut tally = totals.tally();
    let mut slots = vec![0; groups.len()];
    for (number, unit) in by_unit.units().enumerate() {
        if number % 1024 == 0 {
            job.go_on()?;
        }
        tally.of(unit, groups)?;
        let level = Level::of(tally.rows());
        totals.add_unit_at(level, cells)?;
        let weight_of_unit = clip.unit_weight(u32::try_from(tally.met.len()).map_err(below)?);
        for group in &tally.met {
            totals.add_weighted_unit(*group, weight_of_unit)?;
        }
        for row in unit {
            let group = groups.get(*row as usize).ok_or_else(Error::below_boundary)?;
            *slots.get_mut(*row as usize).ok_or_else(Error::below_boundary)? = slot(level, *group, cells)?;
        }
    }
    totals.tally = tally;
    let (arguments, _) = job.layout.split(job.layout.contents(rows)?)?;
    totals.add_rows(&slots, arguments)
}

impl Levels {
    /// The statistics of each group where the norm is of this level, in units of 2^-10.
    pub(in super::super) fn statistics(&self, chosen: Level) -> Result<Vec<Vec<i128>>> {
        let mut statistics = vec![Vec::with_capacity(self.sums.len()); self.cells];
        let weights: Vec<i128> = Level::every().map(|level| i128::from(level.weight(chosen))).collect();
        for (sums, weighted) in self.sums.iter().zip(&self.weighted) {
            for (group, of_group) in statistics.iter_mut().enumerate() {
                let of_levels = sums.iter().skip(group).step_by(self.cells.max(1)).zip(&weights);
                let whole = of_levels.map(|(sum, weight)| sum.checked_mul(*weight));
                let own = weighted.get(group).copied();
                let all = whole.chain([own]).try_fold(0_i128, |all, part| all.checked_add(part?));
                of_group.push(all.ok_or_else(Error::below_boundary)?);
            }
        }
        Ok(statistics)
    }
}
