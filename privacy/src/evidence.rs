//! What must hold of the rows behind a released number, in a form that adds up over groups.

use std::sync::Arc;

use crate::cohort::Cohort;
use crate::overlaps::Overlaps;
use crate::policy::MinCohort;

/// A part of a group under one guard: `guard` numbers the guards of an answer, `part` the values that its conditions take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// Which guard.
    pub guard: u32,
    /// Which combination of values under it.
    pub part: u32,
}

/// The parts that a number splits its rows into, each with its cohort.
///
/// A number may be known only if every part holds nobody or at least k units ([`Evidence::holds`]). Evidence of a union of groups is
/// the union of theirs, so the test can be put to any sum that an answer lets one compute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    parts: Vec<(Part, Cohort)>,
    /// The combinations of the conditions of all measures, by number, each with its cohort, and how the measures lie over them.
    combinations: Vec<(u32, Cohort)>,
    overlaps: Option<Arc<Overlaps>>,
    /// A guard gave up (too many parts): nothing built on it may be known.
    unknown: bool,
}

impl Evidence {
    /// Evidence of no rows.
    pub fn new() -> Self {
        Evidence::default()
    }

    /// Evidence that can never hold.
    pub fn unknown() -> Self {
        Evidence { unknown: true, ..Evidence::default() }
    }

    /// Adds units to a part.
    pub fn add(&mut self, part: Part, cohort: &Cohort, k: MinCohort) {
        match self.parts.binary_search_by_key(&part, |(p, _)| *p) {
            Ok(at) => {
                if let Some((_, mine)) = self.parts.get_mut(at) {
                    mine.absorb(cohort, k);
                }
            }
            Err(at) => self.parts.insert(at, (part, cohort.clone())),
        }
    }

    /// Adds units to a combination of the conditions of all measures.
    pub fn add_combination(&mut self, combination: u32, cohort: &Cohort, overlaps: &Arc<Overlaps>, k: MinCohort) {
        self.overlaps.get_or_insert_with(|| Arc::clone(overlaps));
        match self.combinations.binary_search_by_key(&combination, |(c, _)| *c) {
            Ok(at) => {
                if let Some((_, mine)) = self.combinations.get_mut(at) {
                    mine.absorb(cohort, k);
                }
            }
            Err(at) => self.combinations.insert(at, (combination, cohort.clone())),
        }
    }

    /// Marks that a guard gave up.
    pub fn give_up(&mut self) {
        self.unknown = true;
    }

    /// Adds the rows of another group.
    pub fn absorb(&mut self, other: &Evidence, k: MinCohort) {
        self.unknown |= other.unknown;
        for (part, cohort) in &other.parts {
            self.add(*part, cohort, k);
        }
        if let Some(overlaps) = &other.overlaps {
            for (combination, cohort) in &other.combinations {
                self.add_combination(*combination, cohort, overlaps, k);
            }
        }
    }

    /// Whether every part holds nobody or at least k units, and no combination of fewer follows from all measures together.
    pub fn holds(&self) -> bool {
        !self.unknown
            && self.parts.iter().all(|(_, cohort)| cohort.is_none_or_enough())
            && self.overlaps.as_ref().is_none_or(|overlaps| overlaps.hide(&self.combinations))
    }

    /// How many parts it has: the cost of absorbing it.
    pub fn len(&self) -> usize {
        self.parts.len() + self.combinations.len()
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.combinations.is_empty() && !self.unknown
    }
}
