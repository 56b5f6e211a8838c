//! The distinct values that groups have: of each unit's at most so many.

use datafusion::execution::memory_pool::MemoryReservation;
use hashbrown::HashSet;

use super::super::super::below;
use crate::error::{Error, Result};

/// A value: the number of its count(distinct) among those, its group, its bytes.
pub(super) type Value = (u32, u32, Box<[u8]>);

/// The values so far.
pub(super) struct Distinct {
    values: HashSet<Value>,
    memory: MemoryReservation,
}

impl Distinct {
    pub(super) fn new(memory: MemoryReservation) -> Distinct {
        Distinct { values: HashSet::new(), memory }
    }

    /// Adds some.
    pub(super) fn add(&mut self, values: impl IntoIterator<Item = Value>) -> Result<()> {
        let mut more = 0;
        for value in values {
            let size = 64 + value.2.len();
            if self.values.insert(value) {
                more += size;
            }
        }
        self.memory.try_grow(more).map_err(below)
    }

    /// Counts them into the statistics at these places: by statistic, then group.
    pub(super) fn count(&self, places: &[usize], sums: &mut [Vec<i128>]) -> Result<()> {
        for (number, group, _) in &self.values {
            let place = places.get(*number as usize).ok_or_else(Error::below_boundary)?;
            let sums = sums.get_mut(*place).ok_or_else(Error::below_boundary)?;
            *sums.get_mut(*group as usize).ok_or_else(Error::below_boundary)? += 1;
        }
        Ok(())
    }
}
