//! The units behind a cell, counted only as far as the rules need: exactly up to k, and no further.

use crate::policy::MinCohort;

/// A set of distinct units that stops growing at k.
///
/// Units are 64-bit ids: the value itself where it is an integer, else a hash. Two units with one hash count as one, so a collision
/// can only make a cohort look smaller, and smaller withholds more. The union of two cohorts is exact, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cohort {
    /// Fewer than k units: all of them, in ascending order.
    Few(Vec<u64>),
    /// At least k distinct units.
    Enough,
}

impl Default for Cohort {
    fn default() -> Self {
        Cohort::Few(Vec::new())
    }
}

impl Cohort {
    /// A cohort of `units` ids that are known to be distinct.
    pub fn of(mut units: Vec<u64>, k: MinCohort) -> Self {
        units.sort_unstable();
        units.dedup();
        if reaches(units.len(), k) { Cohort::Enough } else { Cohort::Few(units) }
    }

    /// Adds a unit.
    #[inline]
    pub fn insert(&mut self, unit: u64, k: MinCohort) {
        if let Cohort::Few(units) = self
            && let Err(at) = units.binary_search(&unit)
        {
            if reaches(units.len() + 1, k) {
                *self = Cohort::Enough;
            } else {
                units.insert(at, unit);
            }
        }
    }

    /// Adds every unit of `other`.
    pub fn absorb(&mut self, other: &Cohort, k: MinCohort) {
        match other {
            Cohort::Enough => *self = Cohort::Enough,
            Cohort::Few(units) => {
                for unit in units {
                    self.insert(*unit, k);
                }
            }
        }
    }

    /// Whether it holds at least k units.
    #[inline]
    pub fn is_enough(&self) -> bool {
        matches!(self, Cohort::Enough)
    }

    /// Whether it holds nobody.
    pub fn is_empty(&self) -> bool {
        matches!(self, Cohort::Few(units) if units.is_empty())
    }

    /// What a part of a cohort may hold without pointing at anybody: nobody, or at least k.
    pub fn is_none_or_enough(&self) -> bool {
        self.is_enough() || self.is_empty()
    }

    /// The heap it holds, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Cohort::Few(units) => units.capacity().saturating_mul(size_of::<u64>()),
            Cohort::Enough => 0,
        }
    }
}

fn reaches(units: usize, k: MinCohort) -> bool {
    u32::try_from(units).map_or(true, |n| n >= k.get())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn k(n: i64) -> MinCohort {
        MinCohort::try_from(n).unwrap()
    }

    fn collect(units: &[u64], k: MinCohort) -> Cohort {
        let mut cohort = Cohort::default();
        for u in units {
            cohort.insert(*u, k);
        }
        cohort
    }

    proptest! {
        #[test]
        fn counts_distinct_units_up_to_k_whatever_the_order_and_split(
            units in prop::collection::vec(0u64..20, 0..60), cut in 0usize..60, least in 2i64..15,
        ) {
            let k = k(least);
            let distinct: BTreeSet<u64> = units.iter().copied().collect();
            let whole = collect(&units, k);
            prop_assert_eq!(whole.is_enough(), distinct.len() >= least as usize);
            prop_assert_eq!(whole.is_empty(), distinct.is_empty());
            let (left, right) = units.split_at(cut.min(units.len()));
            let mut merged = collect(right, k);
            merged.absorb(&collect(left, k), k);
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(Cohort::of(units, k), whole);
        }
    }
}
