//! How far the exact statistics of a release can move when one unit is added or removed, and the weights that keep them from moving further.
//!
//! A release answers one grouping set; its statistic is a vector with a number a group. [`Sensitivity`] bounds the change of that vector
//! in three norms, exactly, in the statistic's own integers. There are two ways to have such a bound:
//!
//! - *Sampling* ([`Bounds`]): of a unit at most C groups are kept, and in each at most m rows. The change is at most m·V a group, where V is what one
//!   row can add, so L∞ = m·V, L1 = C·m·V, L2 = √C·m·V. See [`crate::bounding`].
//! - *Clipping* ([`Clip`]): all rows are kept, and what a unit adds is scaled down by one weight so that its whole vector has a norm of at most Λ·V.
//!   Contributions are then in units of 2^-10, see [`WEIGHTED`].
//!
//! # Clipping is exact
//! Let r be the unit's row counts by group, n² = Σ r², λ = Λ·2^10 (a whole number), and s the unit's exact contributions, so |s| ≤ V·r in every
//! group. If n² ≤ Λ² the contribution is 2^10·s, with norm at most 2^10·V·n ≤ λ·V. Else, all divisions rounded down,
//!
//! ```text
//! R = ⌈√(2^40·n²)⌉ ≥ 2^20·n      ω = ⌊2^60·λ / R⌋ ≤ 2^40·λ/n      contribution = sign(s)·⌊|s|·ω / 2^40⌋
//! ```
//!
//! so |contribution| ≤ |s|·λ/n ≤ V·r·λ/n, and its norm over the groups is at most V·λ. Every step rounds towards zero, so this holds for the
//! integers that are summed and not only for what they approximate.
//!
//! The indicator of a unit in G groups has norm √G. Where G > C its weight is ω′ = ⌊2^10·√(C/G)⌋ = isqrt(⌊2^20·C/G⌋), so its norm is
//! √G·ω′ ≤ 2^10·√C. A distinct value counts with the largest weight ω′ of the units that have it: a unit with d values a group then moves
//! the count of a group by at most d·ω′, and the vector by at most 2^10·d·√C.

use std::num::NonZeroU32;

/// A weighted contribution of one row or one unit in full: the unit of weighted statistics is 2^-10.
pub const WEIGHTED: u32 = 1 << 10;

/// The most groups and rows of a unit that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// C: the most groups a unit is in.
    pub groups: NonZeroU32,
    /// m: the most rows of a unit in a group.
    pub rows: NonZeroU32,
}

impl Bounds {
    /// With a known number of keys a unit is in no more groups than that.
    pub fn with_keys(self, keys: NonZeroU32) -> Bounds {
        Bounds { groups: self.groups.min(keys), rows: self.rows }
    }
}

/// Λ: the largest L2 norm of a unit's row counts by group, in units of 2^-10 rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Norm(u64);

/// A norm that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the largest norm of a unit must be between 2^-10 and 2^32 rows, not {0}")]
pub struct NormError(f64);

impl Norm {
    /// Λ in units of 2^-10 rows.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Λ in rows.
    pub fn rows(self) -> f64 {
        self.0 as f64 / f64::from(WEIGHTED)
    }

    /// At least the fourth root of a number between 1 and 2^120, in units of 2^-10 rows.
    pub(crate) fn at_least_fourth_root(of: u128) -> Norm {
        Norm(u64::try_from(ceil_sqrt(ceil_sqrt(of))).unwrap_or(u64::MAX))
    }
}

impl TryFrom<f64> for Norm {
    type Error = NormError;
    /// Λ in rows, rounded down to a whole number of 2^-10.
    fn try_from(rows: f64) -> Result<Norm, NormError> {
        let units = (rows * f64::from(WEIGHTED)).floor();
        if (1.0..=(42f64).exp2()).contains(&units) { Ok(Norm(units as u64)) } else { Err(NormError(rows)) }
    }
}

/// The bounds of a clipped release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Clip {
    /// Λ, for what rows add.
    pub norm: Norm,
    /// C, for what units and their distinct values add: `max_groups_per_unit`, or the number of keys if that is smaller.
    pub groups: NonZeroU32,
    /// The number of keys that are answered: no unit is in more groups.
    pub keys: NonZeroU32,
}

impl Clip {
    /// Bounds for this many keys; C is the smaller of the two numbers.
    pub fn new(norm: Norm, max_groups_per_unit: NonZeroU32, keys: NonZeroU32) -> Clip {
        Clip { norm, groups: max_groups_per_unit.min(keys), keys }
    }

    /// The weight of a unit's rows, from its number of rows in each of its groups. None if the rows are too many to square.
    pub fn row_weight(&self, rows_by_group: impl IntoIterator<Item = u64>) -> Option<RowWeight> {
        let mut squares: u128 = 0;
        for rows in rows_by_group {
            squares = squares.checked_add(u128::from(rows) * u128::from(rows))?;
        }
        let norm = u128::from(self.norm.0);
        if squares.checked_mul(u128::from(WEIGHTED).pow(2))? <= norm * norm {
            return Some(RowWeight(None));
        }
        let root = ceil_sqrt(squares.checked_mul(1 << 40)?);
        Some(RowWeight(Some(u64::try_from((norm << 60).checked_div(root)?).ok()?)))
    }

    /// What a unit in this many groups adds to the count of units of each, in units of 2^-10.
    pub fn unit_weight(&self, groups: u32) -> u32 {
        let (c, g) = (u64::from(self.groups.get()), u64::from(groups));
        if g <= c {
            return WEIGHTED;
        }
        u32::try_from(((c << 20) / g).isqrt()).unwrap_or(WEIGHTED)
    }
}

/// The weight of a unit's rows, a number in (0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowWeight(Option<u64>);

impl RowWeight {
    /// Whether the unit is cut at all.
    pub fn is_cut(self) -> bool {
        self.0.is_some()
    }

    /// A unit's exact contribution to one statistic in one group, in units of 2^-10, cut towards zero.
    pub fn apply(self, contribution: i128) -> i128 {
        let magnitude = contribution.unsigned_abs();
        let weighted = match self.0 {
            None => magnitude.saturating_mul(u128::from(WEIGHTED)),
            Some(weight) => times_shifted(magnitude, weight),
        };
        let weighted = i128::try_from(weighted).unwrap_or(i128::MAX);
        if contribution < 0 { -weighted } else { weighted }
    }
}

/// ⌊magnitude · weight / 2^40⌋ with weight < 2^51, without overflow on the way.
fn times_shifted(magnitude: u128, weight: u64) -> u128 {
    let weight = u128::from(weight);
    let (high, low) = (magnitude >> 64, magnitude & u128::from(u64::MAX));
    let low = low * weight;
    let high = high * weight + (low >> 64);
    // The whole is high·2^64 + (low mod 2^64).
    if high >> 104 != 0 {
        return u128::MAX;
    }
    (high << 24) | ((low & u128::from(u64::MAX)) >> 40)
}

fn ceil_sqrt(n: u128) -> u128 {
    let root = n.isqrt();
    root + u128::from(root * root < n)
}

/// How a release keeps what a unit adds bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bounding {
    /// Groups and rows are sampled.
    Sampled(Bounds),
    /// What rows and units add is clipped.
    Clipped(Clip),
}

/// What one row, unit or set of distinct values can add to a statistic in one group, before bounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contribution {
    /// Every row adds at most this much, either way: 1 for counts of rows; see [`crate::grid::Grid`] for sums.
    Rows(u128),
    /// Every unit adds at most 1.
    Unit,
    /// Of a unit at most this many distinct values are kept a group. Where they are values of sampled rows, more than m is more than there can be.
    Distinct(NonZeroU32),
}

/// How far a statistic moves, in its own integers, when a unit is added or removed. Zero never: a statistic that cannot move is no statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sensitivity {
    /// L∞: in one group.
    pub largest: u128,
    /// L1, rounded up: in all groups together.
    pub sum: u128,
    /// L2, exactly.
    pub euclidean: Root,
}

/// √radicand · multiple, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Root {
    /// The number under the root.
    pub radicand: u64,
    /// What the root is multiplied by.
    pub multiple: u128,
}

impl Root {
    /// The square, exactly, where it is below 2^128.
    pub fn squared(self) -> Option<u128> {
        self.multiple.checked_mul(self.multiple)?.checked_mul(u128::from(self.radicand))
    }

    /// The number as a float that is not below it.
    pub fn upper(self) -> f64 {
        // Four roundings to the nearest, each by at most one part in 2^53.
        (self.radicand as f64).sqrt() * self.multiple as f64 * (1.0 + 3.0 * f64::EPSILON)
    }

    /// The least whole number that is not below it.
    pub fn ceil(self) -> Option<u128> {
        self.squared().map(ceil_sqrt)
    }
}

/// The bounds multiply to more than 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bounds of a unit's contribution are too large: fewer groups, fewer rows or narrower bounds are needed")]
pub struct TooLarge;

impl Bounding {
    /// The sensitivity of a statistic of one grouping set (the front of this module says why).
    pub fn sensitivity(&self, contribution: Contribution) -> Result<Sensitivity, TooLarge> {
        match self {
            Bounding::Sampled(bounds) => {
                let one = match contribution {
                    Contribution::Rows(each) => each.checked_mul(u128::from(bounds.rows.get())).ok_or(TooLarge)?,
                    Contribution::Unit => 1,
                    Contribution::Distinct(most) => u128::from(most.get()),
                };
                let groups = bounds.groups.get();
                Ok(Sensitivity {
                    largest: one,
                    sum: one.checked_mul(u128::from(groups)).ok_or(TooLarge)?,
                    euclidean: Root { radicand: u64::from(groups), multiple: one },
                })
            }
            Bounding::Clipped(clip) => {
                let weighted = u128::from(WEIGHTED);
                let (largest, radicand) = match contribution {
                    Contribution::Rows(each) => (each.checked_mul(u128::from(clip.norm.0)).ok_or(TooLarge)?, 1),
                    Contribution::Unit => (weighted, clip.groups.get()),
                    Contribution::Distinct(most) => (weighted * u128::from(most.get()), clip.groups.get()),
                };
                // ‖v‖₁ ≤ √keys·‖v‖₂ for a vector over so many keys (Cauchy-Schwarz).
                let keys = u64::from(clip.keys.get());
                let sum = root_times(u64::from(radicand) * keys, largest).ok_or(TooLarge)?;
                Ok(Sensitivity { largest, sum, euclidean: Root { radicand: u64::from(radicand), multiple: largest } })
            }
        }
    }

    /// What a statistic's integers are in: 1, or 2^-10 where contributions are weighted.
    pub fn scale(&self) -> u32 {
        match self {
            Bounding::Sampled(_) => 1,
            Bounding::Clipped(_) => WEIGHTED,
        }
    }
}

/// √radicand · multiple rounded up: exact where the square fits, else with the root rounded up to 2^-32 first.
fn root_times(radicand: u64, multiple: u128) -> Option<u128> {
    if let Some(exact) = (Root { radicand, multiple }).ceil() {
        return Some(exact);
    }
    let root = ceil_sqrt(u128::from(radicand) << 64);
    // multiple · root / 2^32, rounded up, in two parts.
    let (high, low) = (multiple >> 32, multiple & u128::from(u32::MAX));
    high.checked_mul(root)?.checked_add((low * root).div_ceil(1 << 32))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grid::Grid;

    fn n(x: u32) -> NonZeroU32 {
        NonZeroU32::new(x).unwrap()
    }

    #[test]
    fn the_table() {
        let bounding = Bounding::Sampled(Bounds { groups: n(9), rows: n(5) });
        let of = |contribution| bounding.sensitivity(contribution).unwrap();
        let count = of(Contribution::Rows(1));
        assert_eq!((count.largest, count.sum, count.euclidean.squared()), (5, 45, Some(9 * 25)));
        let units = of(Contribution::Unit);
        assert_eq!((units.largest, units.sum, units.euclidean.squared()), (1, 9, Some(9)));
        let distinct = of(Contribution::Distinct(n(4)));
        assert_eq!((distinct.largest, distinct.sum, distinct.euclidean.squared()), (4, 36, Some(9 * 16)));
        // Half steps, as 21 is odd: w/2 = 21 steps, B = 22 steps, w²/8 = 220.5 squares of steps.
        let grid = Grid::integers(-10, 11).unwrap();
        assert_eq!(of(Contribution::Rows(grid.largest())).largest, 5 * 22);
        assert_eq!(of(Contribution::Rows(grid.half())).sum, 9 * 5 * 21);
        assert_eq!(of(Contribution::Rows(grid.square_bound())).euclidean, Root { radicand: 9, multiple: 5 * 221 });
        assert_eq!(bounding.scale(), 1);
    }

    #[test]
    fn fewer_keys_than_groups() {
        let bounds = Bounds { groups: n(9), rows: n(5) };
        assert_eq!(bounds.with_keys(n(1)).groups, n(1));
        assert_eq!(bounds.with_keys(n(20)).groups, n(9));
        let clip = Clip::new(Norm::try_from(200.0).unwrap(), n(9), n(4));
        assert_eq!(clip.groups, n(4));
    }

    #[test]
    fn with_one_key_all_norms_are_equal() {
        let clip = Bounding::Clipped(Clip::new(Norm::try_from(2.5).unwrap(), n(9), n(1)));
        for contribution in [Contribution::Rows(7), Contribution::Unit, Contribution::Distinct(n(3))] {
            let s = clip.sensitivity(contribution).unwrap();
            assert_eq!((s.sum, s.euclidean), (s.largest, Root { radicand: 1, multiple: s.largest }));
        }
        assert_eq!(clip.sensitivity(Contribution::Rows(7)).unwrap().largest, 7 * 2560);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bounds = Bounding::Sampled(Bounds { groups: n(u32::MAX), rows: n(u32::MAX) });
        assert_eq!(bounds.sensitivity(Contribution::Rows(1 << 80)), Err(TooLarge));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-4, 1e12] {
            assert!(Norm::try_from(bad).is_err(), "{bad}");
        }
        assert_eq!(root_times(2, 1 << 100).map(|x| (x as f64 / (100.5f64).exp2() - 1.0).abs() < 1e-9), Some(true));
    }

    #[test]
    fn who_is_within_the_norm_is_not_cut() {
        let clip = Clip::new(Norm::try_from(5.0).unwrap(), n(2), n(10));
        let whole = clip.row_weight([3, 4]).unwrap();
        assert!(!whole.is_cut());
        assert_eq!(whole.apply(-7), -7 * 1024);
        assert!(clip.row_weight([3, 4, 1]).unwrap().is_cut());
        assert_eq!((clip.unit_weight(2), clip.unit_weight(8)), (1024, 512));
    }

    #[test]
    fn small_contributions_keep_the_norm_to_the_last_unit() {
        // Of few rows nothing is left over that could hide a contribution that is rounded up.
        for norm in [1.0, 1.5, 2.0, 3.0] {
            let clip = Clip::new(Norm::try_from(norm).unwrap(), n(1), n(12));
            for (a, b, c, each) in (0..250u64).map(|i| (i % 5, i / 5 % 5, i / 25 % 5, 1 + 2 * u128::from(i / 125))) {
                let weight = clip.row_weight([a, b, c]).unwrap();
                let total: u128 = [a, b, c]
                    .map(|rows| weight.apply((u128::from(rows) * each) as i128).unsigned_abs().pow(2))
                    .into_iter()
                    .sum();
                let bound = Bounding::Clipped(clip).sensitivity(Contribution::Rows(each)).unwrap();
                assert!(total <= bound.euclidean.squared().unwrap(), "{a} {b} {c} rows of {each}, norm {norm}");
            }
        }
    }

    proptest! {
        /// The norm of what is summed, in integers, for contributions as large as they can be.
        #[test]
        fn weighted_vectors_keep_the_norm(
            rows in prop::collection::vec((0u64..1 << 30, -1.0..=1.0f64, 0u32..30), 1..12), norm in 0.001..1e6f64, each in 1u128..1 << 30,
        ) {
            let clip = Clip::new(Norm::try_from(norm).unwrap(), n(1), n(12));
            let rows: Vec<(u64, f64)> = rows.iter().map(|(r, s, less)| (r >> less, *s)).collect();
            let weight = clip.row_weight(rows.iter().map(|(r, _)| *r)).unwrap();
            for at_most in [true, false] {
                let total: u128 = rows.iter().map(|(r, s)| {
                    let most = (*r as u128 * each) as i128;
                    let x = weight.apply(if at_most { most } else { (most as f64 * s) as i128 });
                    x.unsigned_abs().checked_pow(2).unwrap()
                }).sum();
                let bound = Bounding::Clipped(clip).sensitivity(Contribution::Rows(each)).unwrap();
                prop_assert!(total <= bound.euclidean.squared().unwrap());
            }
            // And what is cut is cut to nearly the norm.
            if weight.is_cut() && norm > 1.0 {
                let kept: f64 = rows.iter().map(|(r, _)| (weight.apply(((*r as u128 * each) << 20) as i128) as f64).powi(2)).sum();
                let bound = clip.norm.get() as f64 * each as f64 * (20f64).exp2();
                prop_assert!(kept.sqrt() >= bound * (1.0 - 1e-4), "{} of {}", kept.sqrt(), bound);
            }
        }

        #[test]
        fn indicators_keep_the_norm(c in 1u32..1000, keys in 1u32..100_000, groups in 1u32..100_000, d in 1u32..100) {
            let clip = Clip::new(Norm::try_from(1.0).unwrap(), n(c), n(keys));
            let groups = groups.min(keys);
            let weight = u128::from(clip.unit_weight(groups));
            let units = Bounding::Clipped(clip).sensitivity(Contribution::Unit).unwrap();
            prop_assert!(u128::from(groups) * weight * weight <= units.euclidean.squared().unwrap());
            prop_assert!(u128::from(groups) * weight <= units.sum);
            let distinct = Bounding::Clipped(clip).sensitivity(Contribution::Distinct(n(d))).unwrap();
            prop_assert!(u128::from(groups) * weight.pow(2) * u128::from(d).pow(2) <= distinct.euclidean.squared().unwrap());
        }

        #[test]
        fn products_are_cut_as_wide_ones_would_be(magnitude in any::<u64>(), weight in 0u64..1 << 50) {
            prop_assert_eq!(times_shifted(u128::from(magnitude), weight), (u128::from(magnitude) * u128::from(weight)) >> 40);
            // Shifted up by 40 bits there is nothing to cut.
            prop_assert_eq!(times_shifted(u128::from(magnitude) << 40, weight), u128::from(magnitude) * u128::from(weight));
        }

        #[test]
        fn the_upper_float_is_not_below(radicand in 1u64..1 << 20, multiple in 1u128..1 << 53) {
            let root = Root { radicand, multiple };
            prop_assert!(root.ceil().unwrap() as f64 <= root.upper() + 1.0);
            prop_assert!(root.upper() >= (radicand as f64).sqrt() * multiple as f64);
        }
    }
}
