//! Rule 3: a sum or an average is withheld if the two largest units make up nearly all of it.

use crate::policy::DominancePercent;

/// Floats are added in any order: a share this close to the limit counts as having reached it.
const ROUNDING: f64 = 1e-9;

/// The total of absolute values over units, and the two largest units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Weights {
    /// Σ|x| over all units.
    pub total: f64,
    /// The largest Σ|x| of a unit.
    pub largest: f64,
    /// The second largest.
    pub second: f64,
}

impl Weights {
    /// Adds a unit with its Σ|x|. Each unit once.
    #[inline]
    pub fn add_unit(&mut self, weight: f64) {
        self.total += weight;
        self.rank(weight);
    }

    /// Joins the weights of other units.
    pub fn absorb(&mut self, other: &Weights) {
        self.total += other.total;
        self.rank(other.largest);
        self.rank(other.second);
    }

    #[inline]
    fn rank(&mut self, weight: f64) {
        if weight > self.largest {
            self.second = self.largest;
            self.largest = weight;
        } else if weight > self.second {
            self.second = weight;
        }
    }

    /// Whether the two largest units hold `percent` or more of the total. A total that is not a finite number (NaN, ±Inf, overflow) is
    /// dominated by whoever brought it. A total of zero is nobody's.
    pub fn is_dominated(&self, percent: DominancePercent) -> bool {
        if !self.total.is_finite() {
            return true;
        }
        self.total > 0.0 && self.largest + self.second >= self.total * (f64::from(percent.get()) / 100.0 - ROUNDING)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn weights(units: &[f64]) -> Weights {
        let mut w = Weights::default();
        units.iter().for_each(|u| w.add_unit(*u));
        w
    }

    #[test]
    fn the_two_largest_may_hold_less_than_the_limit_only() {
        let p = DominancePercent::default();
        assert!(weights(&[50.0, 40.0, 5.0, 5.0]).is_dominated(p));
        assert!(!weights(&[50.0, 39.0, 6.0, 5.0]).is_dominated(p));
        assert!(weights(&[1.0]).is_dominated(p));
        assert!(!weights(&[0.0; 12]).is_dominated(p));
        assert!(!weights(&[1.0; 12]).is_dominated(p));
    }

    #[test]
    fn what_is_not_a_number_dominates() {
        let p = DominancePercent::default();
        assert!(weights(&[1.0, f64::INFINITY, 1.0]).is_dominated(p));
        assert!(weights(&[1.0, f64::NAN, 1.0]).is_dominated(p));
        assert!(weights(&[f64::MAX, f64::MAX, f64::MAX]).is_dominated(p));
    }

    #[test]
    fn joins_in_any_order() {
        let mut left = weights(&[3.0, 9.0]);
        left.absorb(&weights(&[7.0, 1.0]));
        assert_eq!(left, weights(&[9.0, 7.0, 3.0, 1.0]));
    }
}
