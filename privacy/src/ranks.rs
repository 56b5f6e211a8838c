//! Quantiles and robust extremes of a group: the exponential mechanism over candidates between the declared bounds.
//!
//! ```text
//! bounds ─► Grid ─► Candidates: every 2^s-th tick        values of a group ─► the nearest candidate ─► how many at each
//! ε of a group, m, rank ─► Choice ───────────────────────────────────────────► runs of equal utility ─► exponential::choose ─► a candidate
//! ```
//!
//! # Candidates
//! Of a grid every 2^s-th tick from the lower end is a candidate, with the least s for which there are at most [`MOST_STEPS`] + 1. Integers whose bounds
//! lie that close are all candidates, and nothing but integers is. A value counts as the nearest candidate: that is a function of the row alone,
//! so no count moves further with a unit than it would anyway. It moves an answer by at most 2^-20 of the width, and many equal values stay equal
//! and meet a candidate. Accuracy goes with the logarithm of the number of candidates, so there are no more than are of use.
//!
//! # Utilities
//! Let L, E and G be the numbers of values below a candidate, at it and above it, and N all of them. In ascending order the candidate takes the
//! ranks from L to L + E. The utility is the distance of the wanted rank to this interval:
//!
//! ```text
//! quantile α:   −max(0, (1−α)·L − α·(E + G), α·G − (1−α)·(L + E))      wanted αN; in units of 2^-30 values
//! minimum:      −max(0, L − r, r − (L + E))                             wanted r
//! maximum:      −max(0, G − r, r − (G + E))                             wanted r from the other end
//! ```
//!
//! The textbook's utilities, −|(1−α)·L − α·G| and −|L − r|, are the same where no value is at the candidate. Where many are, the one punishes the very value that
//! takes the wanted rank, so that the gap beside it wins, and the other sees no difference between the least value and all that lies below it.
//!
//! # Sensitivity
//! A unit adds l, e and g values below, at and above, with l, e, g ≥ 0 and l + e + g ≤ m. So (1−α)·L − α·(E + G) moves by (1−α)·l − α·(e + g), which
//! lies between −α·m and (1−α)·m, and α·G − (1−α)·(L + E) by α·g − (1−α)·(l + e), which lies between −(1−α)·m and α·m. A maximum of numbers moves by
//! no more than one of them does. So a quantile's utility has sensitivity m·max(α, 1−α): it is no larger than the textbook's. L and
//! L + E move by at most m, so an extreme's has sensitivity m.
//!
//! # Extremes
//! No private answer is near the least value itself. `r = ⌈2m·ln(candidates/0.01)/ε⌉`: at the candidates below the least value the utility is −r, and all of them together are
//! chosen with a probability of 1% at most where there are r values; by the same bound the answer's rank is below 2r with 99% (McSherry and Talwar 2007, theorem 6).
//! So the answer is a *robust extreme*. In a group of fewer than r values it says nothing: the best that there is then lies at the other end.

use std::num::{NonZeroU32, NonZeroU64};

use crate::budget::Epsilon;
use crate::exponential::{ExponentialError, Rate, Run, choose, extreme_rank};
use crate::grid::{Grid, Tick};
use crate::noise::Sampler;
use crate::statistics::Rank;

/// The most steps between the first and the last candidate.
pub const MOST_STEPS: u128 = 1 << 20;

/// Utilities of quantiles are in units of this part of a value.
const UNIT: u64 = 1 << 30;

/// The values that may be answered, numbered from 0 in ascending order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidates {
    grid: Grid,
    shift: u32,
    last: u32,
}

/// A chosen value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Chosen {
    /// Of a column of integers, within its bounds.
    Integer(i64),
    /// Of any other column, within its bounds.
    Float(f64),
}

impl Candidates {
    /// Those of a column with this grid.
    pub fn of(grid: &Grid) -> Candidates {
        let span = 2 * grid.half();
        // On a grid of half integers every second tick is an integer.
        let mut shift = u32::from(grid.has_half_integers());
        while span >> shift > MOST_STEPS {
            shift += 1;
        }
        Candidates { grid: *grid, shift, last: u32::try_from(span >> shift).unwrap_or(0) }
    }

    /// How many there are.
    pub fn count(&self) -> NonZeroU64 {
        NonZeroU64::MIN.saturating_add(u64::from(self.last))
    }

    /// The number of the candidate next to a value.
    #[inline]
    pub fn nearest(&self, tick: Tick) -> u32 {
        let above = (self.grid.raw(tick) - self.grid.lowest()).unsigned_abs();
        let half = (1_u128 << self.shift) >> 1;
        u32::try_from((above + half) >> self.shift).unwrap_or(u32::MAX).min(self.last)
    }

    /// The value of a candidate.
    pub fn value(&self, number: u32) -> Chosen {
        let ticks = self.grid.lowest() + (i128::from(number.min(self.last)) << self.shift);
        match self.grid.integer(ticks) {
            Some(integer) => Chosen::Integer(integer),
            None => Chosen::Float(self.grid.value(ticks)),
        }
    }
}

/// The utilities of candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Utility {
    /// Of a quantile α, in units of 2^-30: between 0 and 2^30.
    Quantile(u64),
    /// Of a robust minimum that aims at this rank.
    Minimum(u64),
    /// Of a robust maximum that aims at this rank from the other end.
    Maximum(u64),
}

impl Utility {
    /// The utility of a candidate with so many values below it, at it and above it.
    pub fn of(self, below: u64, at: u64, above: u64) -> i128 {
        let (below, at, above) = (i128::from(below), i128::from(at), i128::from(above));
        let beyond = |a: i128, b: i128| -a.max(b).max(0);
        match self {
            Utility::Quantile(alpha) => {
                let (left, right) = (i128::from(UNIT.saturating_sub(alpha)), i128::from(alpha));
                beyond(left * below - right * (at + above), right * above - left * (below + at))
            }
            Utility::Minimum(aim) => {
                let aim = i128::from(aim);
                beyond(below - aim, aim - (below + at))
            }
            Utility::Maximum(aim) => {
                let aim = i128::from(aim);
                beyond(above - aim, aim - (above + at))
            }
        }
    }

    /// How far any of them moves with a unit of at most `rows` values.
    pub fn sensitivity(self, rows: NonZeroU32) -> NonZeroU64 {
        let rows = NonZeroU64::from(rows);
        let of_a_value = match self {
            Utility::Quantile(alpha) => NonZeroU64::new(alpha.max(UNIT.saturating_sub(alpha))),
            Utility::Minimum(_) | Utility::Maximum(_) => None,
        };
        rows.saturating_mul(of_a_value.unwrap_or(NonZeroU64::MIN))
    }
}

/// A choice that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// Values that are no candidates, not in ascending order, or too many.
    #[error("the values of a choice are not in order")]
    Values,
    /// What the exponential mechanism says.
    #[error(transparent)]
    Exponential(#[from] ExponentialError),
}

/// How the answer of a group is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    rank: Rank,
    candidates: Candidates,
    utility: Utility,
    rate: Rate,
    epsilon: Epsilon,
}

impl Choice {
    /// The choice of a rank among the values of a group, of which a unit has at most `rows`, with the group's share `epsilon`.
    ///
    /// # Errors
    /// If ε is too small.
    pub fn new(rank: Rank, rows: NonZeroU32, grid: &Grid, epsilon: Epsilon) -> Result<Choice, ExponentialError> {
        let candidates = Candidates::of(grid);
        let aim = || extreme_rank(rows.into(), candidates.count(), epsilon);
        let utility = match rank {
            Rank::Quantile(fraction) => Utility::Quantile(((fraction.get() * UNIT as f64).round() as u64).min(UNIT)),
            Rank::Minimum => Utility::Minimum(aim()),
            Rank::Maximum => Utility::Maximum(aim()),
        };
        let rate = Rate::new(epsilon, utility.sensitivity(rows))?;
        Ok(Choice { rank, candidates, utility, rate, epsilon })
    }

    /// What is looked for.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Among what.
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// The utility that decides.
    pub fn utility(&self) -> Utility {
        self.utility
    }

    /// ε of a group.
    pub fn epsilon(&self) -> Epsilon {
        self.epsilon
    }

    /// Chooses, given how many values each candidate has: those that have some, in ascending order.
    ///
    /// # Errors
    /// If the values are not in order, or the generator fails.
    pub fn choose(&self, values: &[(u32, u64)], sampler: &mut dyn Sampler) -> Result<Chosen, ChoiceError> {
        let runs = self.runs(values)?;
        let number = choose(&runs, &self.rate, sampler)?;
        Ok(self.candidates.value(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    /// Neighbouring candidates of equal utility.
    fn runs(&self, values: &[(u32, u64)]) -> Result<Vec<Run>, ChoiceError> {
        // Below 2^62, so that utilities are below 2^94.
        let all = values.iter().try_fold(0_u64, |all, (_, n)| all.checked_add(*n)).filter(|all| all >> 62 == 0);
        let all = all.ok_or(ChoiceError::Values)?;
        let mut runs = Vec::with_capacity(2 * values.len() + 1);
        let mut add = |length: u64, utility| {
            if let Some(length) = NonZeroU64::new(length) {
                runs.push(Run { length, utility });
            }
        };
        let (mut next, mut below) = (0_u64, 0_u64);
        for (number, at) in values {
            let number = u64::from(*number);
            if number < next || number >= self.candidates.count().get() {
                return Err(ChoiceError::Values);
            }
            add(number - next, self.utility.of(below, 0, all - below));
            add(1, self.utility.of(below, *at, all - below - at));
            below += at;
            next = number + 1;
        }
        add(self.candidates.count().get() - next, self.utility.of(below, 0, 0));
        Ok(runs)
    }
}

/// ε of a group where a unit is in at most `groups` and all of them together may cost `epsilon`: the largest that does not cost more. None if it
/// is too small for a number.
pub fn of_group(epsilon: Epsilon, groups: NonZeroU32) -> Option<Epsilon> {
    let groups = f64::from(groups.get());
    let share = epsilon.get() / groups;
    // The residual of a fused product is exact in its sign.
    let share = if share.mul_add(groups, -epsilon.get()) > 0.0 { share.next_down() } else { share };
    Epsilon::try_from(share).ok()
}

#[cfg(test)]
#[path = "ranks_tests.rs"]
mod tests;
