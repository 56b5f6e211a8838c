//! Rule 1 over all measures of an answer together: what three or more conditions give away that no two of them do.
//!
//! Let P, Q and R share a group, and T be one person in P. Counts under `not R or T`, `not Q or T` and `not P or T` cross each other in
//! parts of at least k; but their sum, less twice the count of all, is the count of T. In general the reader knows one sum for every measure over
//! the *combinations* of all conditions, and whatever is a linear combination of these. So: no such combination may be zero on every
//! combination of conditions with at least k units and not zero on some with fewer. Measures are taken to tell of each of their parts alone, and
//! arguments to be the same, so this withholds more than a reader could work out, never less.

use crate::cohort::Cohort;

const P: u64 = (1 << 61) - 1;

/// Most steps of an elimination; beyond, nothing is known to be hidden.
const MAX_STEPS: usize = 50_000_000;

/// For every combination of all conditions and every measure: the number of the part that it lies in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overlaps {
    part_of: Vec<Vec<u32>>,
}

impl Overlaps {
    /// `part_of[c][m]` is the part of measure `m` that combination `c` lies in.
    pub fn new(part_of: Vec<Vec<u32>>) -> Self {
        Overlaps { part_of }
    }

    /// Whether no sum over combinations of fewer than k units alone follows.
    pub fn hide(&self, combinations: &[(u32, Cohort)]) -> bool {
        let present: Vec<&(u32, Cohort)> = combinations.iter().filter(|(_, cohort)| !cohort.is_empty()).collect();
        if present.iter().all(|(_, cohort)| cohort.is_enough()) {
            return true;
        }
        let mut parts: Vec<(usize, u32)> = Vec::new();
        let mut lies_in: Vec<(Vec<(usize, u32)>, bool)> = Vec::new();
        for (combination, cohort) in present {
            let Some(of) = self.part_of.get(*combination as usize) else { return false };
            let of: Vec<(usize, u32)> = of.iter().copied().enumerate().collect();
            parts.extend(&of);
            lies_in.push((of, cohort.is_enough()));
        }
        parts.sort_unstable();
        parts.dedup();
        if parts.len().saturating_mul(parts.len()).saturating_mul(lies_in.len()) > MAX_STEPS {
            return false;
        }
        let rank = |only_large: bool| {
            let rows = parts.iter().map(|part| {
                lies_in
                    .iter()
                    .filter(|(_, large)| *large || !only_large)
                    .map(|(of, _)| u64::from(of.contains(part)))
                    .collect()
            });
            rank(rows)
        };
        rank(true) == rank(false)
    }
}

/// The rank of a matrix modulo a prime that no minor of zeros and ones of this size is a multiple of by accident.
fn rank(rows: impl Iterator<Item = Vec<u64>>) -> usize {
    let mut basis: Vec<(usize, Vec<u64>)> = Vec::new();
    for mut row in rows {
        for (pivot, with) in &basis {
            let factor = row.get(*pivot).copied().unwrap_or(0);
            if factor != 0 {
                for (x, y) in row.iter_mut().zip(with) {
                    *x = times_plus(P - factor, *y, *x);
                }
            }
        }
        let Some(pivot) = row.iter().position(|x| *x != 0) else { continue };
        let inverse = power(row.get(pivot).copied().unwrap_or(1), P - 2);
        row.iter_mut().for_each(|x| *x = times_plus(inverse, *x, 0));
        basis.push((pivot, row));
    }
    basis.len()
}

/// `a · b + c`
fn times_plus(a: u64, b: u64, c: u64) -> u64 {
    let sum = u128::from(a) * u128::from(b) + u128::from(c);
    u64::try_from(sum % u128::from(P)).unwrap_or(0)
}

fn power(base: u64, mut exponent: u64) -> u64 {
    let (mut result, mut square) = (1, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times_plus(result, square, 0);
        }
        square = times_plus(square, square, 0);
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::MinCohort;

    fn cohort(units: u64) -> Cohort {
        Cohort::of((0..units).collect(), MinCohort::try_from(10).unwrap())
    }

    #[test]
    fn three_conditions_may_give_away_what_no_two_do() {
        // Three filters, each true on two of three thirds and on one person.
        let of = vec![vec![1, 1, 0], vec![1, 0, 1], vec![0, 1, 1], vec![1, 1, 1], vec![0, 0, 0]];
        let overlaps = Overlaps::new(of);
        let thirds = |one: u64, rest: u64| {
            [20, 20, 20, one, rest].iter().zip(0u32..).map(|(n, c)| (c, cohort(*n))).collect::<Vec<_>>()
        };
        assert!(!overlaps.hide(&thirds(1, 0)), "their sum is twice all and the one");
        assert!(overlaps.hide(&thirds(0, 0)) && overlaps.hide(&thirds(10, 0)));
        assert!(overlaps.hide(&thirds(1, 10)), "with people under none of them there are too many unknowns");
    }

    #[test]
    fn what_one_or_two_conditions_tell_apart_is_no_more_than_their_parts() {
        let overlaps = Overlaps::new(vec![vec![0, 0], vec![0, 1], vec![1, 0], vec![1, 1]]);
        let sizes = |n: [u64; 4]| n.iter().zip(0u32..).map(|(n, c)| (c, cohort(*n))).collect::<Vec<_>>();
        assert!(overlaps.hide(&sizes([10, 10, 10, 1])));
        assert!(!overlaps.hide(&sizes([10, 10, 0, 1])));
    }

    proptest! {
        /// By brute force over small coefficients: if the test says hidden, no combination singles out the small ones.
        #[test]
        fn nothing_small_follows(
            of in prop::collection::vec(prop::collection::vec(0u32..2, 3), 1..8),
            sizes in prop::collection::vec(prop::sample::select(vec![0u64, 1, 10]), 8),
        ) {
            let overlaps = Overlaps::new(of.clone());
            let combinations: Vec<(u32, Cohort)> =
                (0..of.len()).map(|c| (c as u32, cohort(sizes[c]))).collect();
            let hidden = overlaps.hide(&combinations);
            let mut found = false;
            for code in 0..5i64.pow(4) {
                let weights: Vec<i64> = (0..4u32).map(|i| code / 5i64.pow(i) % 5 - 2).collect();
                let value = |c: usize| weights[3] + (0..3).map(|m| weights[m] * i64::from(of[c][m])).sum::<i64>();
                let zero_on_large = (0..of.len()).all(|c| sizes[c] < 10 || value(c) == 0);
                let seen = (0..of.len()).any(|c| sizes[c] == 1 && value(c) != 0);
                found |= zero_on_large && seen;
            }
            if hidden {
                prop_assert!(!found);
            }
            if found {
                prop_assert!(!hidden);
            }
        }
    }
}
