//! The distinct units of every group, up to k.

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::error::Result;
use kanon_privacy::cohort::Cohort;
use kanon_privacy::policy::MinCohort;

use super::bytes::{BadState, Reader};
use super::tally::{Tally, and_present, for_each};
use super::units::unit_ids;

/// Stands for "at least k" where a number of ids is written.
pub(super) const ENOUGH: u32 = u32::MAX;

/// Tally of distinct units.
#[derive(Debug)]
pub(super) struct Cohorts {
    k: MinCohort,
    groups: Vec<Cohort>,
    /// Groups that have k units already. Once all have, the unit column need not be looked at.
    enough: usize,
    heap: usize,
}

impl Cohorts {
    pub(super) fn new(k: MinCohort) -> Self {
        Cohorts { k, groups: Vec::new(), enough: 0, heap: 0 }
    }
}

impl Tally for Cohorts {
    fn fresh(&self) -> Box<dyn Tally> {
        Box::new(Cohorts::new(self.k))
    }

    fn resize(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, Cohort::default);
        }
    }

    fn add(&mut self, values: &[ArrayRef], groups: &[usize], valid: Option<&BooleanBuffer>) -> Result<()> {
        if self.enough == self.groups.len() {
            return Ok(());
        }
        let units = values.first().ok_or(BadState)?;
        let valid = and_present(valid, units.logical_nulls().as_ref());
        let ids = unit_ids(units)?;
        let Cohorts { k, groups: tallies, enough, heap } = self;
        for_each(groups, valid.as_ref(), |row, group| {
            if let (Some(cohort), Some(id)) = (tallies.get_mut(group), ids.get(row))
                && !cohort.is_enough()
            {
                let before = cohort.heap_bytes();
                cohort.insert(*id, *k);
                *enough += usize::from(cohort.is_enough());
                *heap = heap.saturating_add(cohort.heap_bytes()).saturating_sub(before);
            }
        });
        Ok(())
    }

    fn groups(&self) -> usize {
        self.groups.len()
    }

    fn write(&self, group: usize, out: &mut Vec<u8>) {
        if let Some(cohort) = self.groups.get(group) {
            write_cohort(cohort, out);
        }
    }

    fn absorb(&mut self, group: usize, state: &[u8]) -> Result<(), BadState> {
        let cohort = self.groups.get_mut(group).ok_or(BadState)?;
        let (before, was) = (cohort.heap_bytes(), cohort.is_enough());
        cohort.absorb(&read_cohort(state, self.k)?, self.k);
        self.enough += usize::from(cohort.is_enough() && !was);
        self.heap = self.heap.saturating_add(cohort.heap_bytes()).saturating_sub(before);
        Ok(())
    }

    fn drop_first(&mut self, groups: usize) {
        self.groups.drain(..groups.min(self.groups.len()));
        self.enough = self.groups.iter().filter(|c| c.is_enough()).count();
        self.heap = self.groups.iter().map(Cohort::heap_bytes).sum();
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Cohort>() + self.heap
    }
}

pub(super) fn write_cohort(cohort: &Cohort, out: &mut Vec<u8>) {
    match cohort {
        Cohort::Enough => out.extend(ENOUGH.to_le_bytes()),
        Cohort::Few(ids) => {
            out.extend(u32::try_from(ids.len()).unwrap_or(ENOUGH).to_le_bytes());
            ids.iter().for_each(|id| out.extend(id.to_le_bytes()));
        }
    }
}

pub(super) fn next_cohort(reader: &mut Reader<'_>, k: MinCohort) -> Result<Cohort, BadState> {
    let count = reader.u32()?;
    if count == ENOUGH {
        return Ok(Cohort::Enough);
    }
    let ids = (0..count).map(|_| reader.u64()).collect::<Result<Vec<u64>, BadState>>()?;
    Ok(Cohort::of(ids, k))
}

/// Reads a cohort.
pub(in crate::release) fn read_cohort(state: &[u8], k: MinCohort) -> Result<Cohort, BadState> {
    let mut reader = Reader(state);
    let cohort = next_cohort(&mut reader, k)?;
    if reader.is_done() { Ok(cohort) } else { Err(BadState) }
}
