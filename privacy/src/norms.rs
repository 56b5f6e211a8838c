//! The norm that units are scaled down to, where nobody declared one: chosen privately among powers of 2^¼.
//!
//! ```text
//! a unit's rows by group ─► its Level: the least l with ‖rows‖₂ ≤ 2^(l/4)      units by level ─► NormChoice ─► the level of Λ
//! exact sums by level and group ──────────────────────────────────────────────────────────────► × weight of the level, added up
//! ```
//!
//! What a unit adds depends on its level and on Λ's alone. So the exact statistics are kept by level, in one pass over the rows, and weighted once
//! Λ is known.
//!
//! # Weights
//! Let Λ = 2^(a/4) be chosen, and let n = ‖rows‖₂ of a unit of level l, s its exact contributions to a statistic, so |s| ≤ V·r in every group, see
//! [`crate::sensitivity`]. Its weight in units of 2^-10 is ω = 2^10 if l ≤ a, and else ω = ⌊2^10·2^(−(l−a)/4)⌋. In the first case
//! ‖ω·s‖₂ ≤ 2^10·V·n ≤ 2^10·V·2^(a/4), in the second ‖ω·s‖₂ ≤ 2^10·2^(−(l−a)/4)·V·2^(l/4), which is the same. Weights are whole numbers, so a
//! weighted sum is one too and nothing is cut: a unit moves it by what it adds, and the norm [`Level::norm`], 2^10·2^(a/4) rounded up, holds exactly.
//! A unit that is cut adds at least 2^-¼ of what the norm would let it, but for the rounding of its weight: nothing from 2^(10¼) times the norm on.
//!
//! # The choice
//! The exponential mechanism over the levels up to a public one, with the utility of a robust maximum (see [`crate::ranks`]): r units are above Λ. Every unit has one
//! level, so it moves a utility by one at most. A public base measure says how likely each level is before any unit is looked at, which changes neither ε nor the bound of the
//! range: it grows like 2^(l/8) up to l = 16, a norm of 16 rows, and falls like 2^(−l/4) from there. A norm that is too large makes an answer worthless in proportion to Λ,
//! and so it is less likely in proportion. Among fewer than r units the choice says little, and is then near a usual norm.
//!
//! Let a be the lowest level with at most r units above. If there are r units it has utility 0. All levels beyond the largest unit have −r, and together at most
//! Σ_(l ≤ 16) 2^(l/8) + 4·Σ 2^(−j/4) = 57.3 of a's base measure: so with r = ⌈2·ln(57300)/ε⌉ they are chosen with 0.1% at most, and those beyond t·16 rows with a t-th of a part of that.
//! Levels with more than 3r units above have less than −2r, and at most 17.5·2^((a−16)/4) ≤ 2^20.2 of a's base measure: they are chosen with 0.1% at most.
//!
//! # Noise
//! It is calibrated for Λ = 1, before anything is charged, and is then as much larger as Λ is: [`crate::noise::Noise::times`]. Its cost does not depend on
//! Λ, for both grow by the same factor t ≥ 1: discrete Laplace noise depends on Δ/b alone, and so does ρ of a discrete Gaussian. The (ε, δ) of
//! [`crate::noise::curve::gaussian_sigma`] follows from ρ, or from σ² = s² + r² with κ(r²) and Δ² coordinates: then t²σ² = (ts)² + (tr)², Δ/s stays, and t²Δ²·κ(t²r²) falls
//! as t grows, as r² ≥ 1.

use std::num::{NonZeroU32, NonZeroU64};

use crate::accounts::Cost;
use crate::budget::{Delta, Epsilon};
use crate::exponential::{ExponentialError, Rate, Run, choose};
use crate::noise::Sampler;
use crate::ranks::Utility;
use crate::sensitivity::{Norm, WEIGHTED};

/// How large the rows of a unit are: level l is of norms above 2^((l−1)/4), up to 2^(l/4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

/// The highest level that may ever be chosen: a norm of 2^20 rows.
pub const HIGHEST: Level = Level(80);

/// A norm of 16 rows, the most likely before any unit is looked at.
const USUAL: Level = Level(16);

/// The highest level of a unit: 2^32 rows, and more.
const LAST: u8 = 128;

impl Level {
    /// A norm of one row: what noise is calibrated for.
    pub const ONE: Level = Level(0);

    /// The level of a unit from its number of rows in each of its groups. One of more than 2^32 rows has the last, whose weight is 0 whatever is chosen.
    pub fn of(rows_by_group: impl IntoIterator<Item = u64>) -> Level {
        let squares = rows_by_group.into_iter().map(|rows| u128::from(rows) * u128::from(rows));
        let squares = squares.fold(0_u128, u128::saturating_add);
        // n ≤ 2^(l/4) is n² ≤ ⌊2^(l/2)⌋. Close to l = 2·log₂ n².
        let near = u8::try_from((2 * squares.max(1).ilog2()).min(u32::from(LAST))).unwrap_or(LAST);
        Level((near..LAST).find(|level| squares <= half_power(*level)).unwrap_or(LAST))
    }

    /// A level by its number, if it may be chosen.
    pub fn numbered(number: u64) -> Option<Level> {
        u8::try_from(number).ok().map(Level).filter(|level| *level <= HIGHEST)
    }

    /// All levels of units, from the lowest.
    pub fn every() -> impl Iterator<Item = Level> {
        (0..=LAST).map(Level)
    }

    /// From a norm of one row up, all that may be chosen.
    pub fn all() -> impl DoubleEndedIterator<Item = Level> {
        (0..=HIGHEST.0).map(Level)
    }

    /// Its number, from 0.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// Λ, if it is chosen: at least 2^(l/4).
    pub fn norm(self) -> Norm {
        // 2^10·2^(l/4) is the fourth root of 2^(40+l).
        Norm::at_least_fourth_root(1_u128 << (40 + u32::from(self.0.min(HIGHEST.0))))
    }

    /// 2^((l−16)/8) up to l = 16 and 2^(−(l−16)/4) from there, in units of 2^-20, rounded down: at least 1.
    fn base_measure(self) -> NonZeroU64 {
        let measure = match self.0.checked_sub(USUAL.0) {
            // The eighth root of 2^(104+l) is 2^13·2^(l/8).
            None => (1_u128 << (104 + self.0)).isqrt().isqrt().isqrt() << 5,
            Some(beyond) => (1_u128 << 80_u8.saturating_sub(beyond)).isqrt().isqrt(),
        };
        u64::try_from(measure).ok().and_then(NonZeroU64::new).unwrap_or(NonZeroU64::MIN)
    }

    /// The weight of units of this level where Λ is of the level `chosen`, in units of 2^-10.
    pub fn weight(self, chosen: Level) -> u32 {
        match self.0.saturating_sub(chosen.0) {
            0 => WEIGHTED,
            beyond @ 1..=40 => u32::try_from((1_u64 << (40 - beyond)).isqrt().isqrt()).unwrap_or(0),
            _ => 0,
        }
    }
}

/// ⌊2^(level/2)⌋.
fn half_power(level: u8) -> u128 {
    let whole = 1_u128 << (level / 2);
    // Of an odd one: the root of 2^level, at most 2^127.
    if level.is_multiple_of(2) { whole } else { (1_u128 << level).isqrt() }
}

/// How Λ is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct NormChoice {
    epsilon: Epsilon,
    rate: Rate,
    aim: u64,
    highest: Level,
}

impl NormChoice {
    /// The choice that costs `epsilon`, among the levels up to `highest`.
    ///
    /// # Errors
    /// If ε is too small.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an aim, not a bound; casts saturate")]
    pub fn new(epsilon: Epsilon, highest: Level) -> Result<NormChoice, ExponentialError> {
        let highest = highest.min(HIGHEST);
        let aim = (2.0 * libm::log(57_300.0) / epsilon.get()).ceil() as u64;
        let rate = Rate::new(epsilon, Utility::Maximum(aim).sensitivity(NonZeroU32::MIN))?;
        Ok(NormChoice { epsilon, rate, aim, highest })
    }

    /// Whether a level is among those that may be chosen.
    pub fn allows(&self, level: Level) -> bool {
        level <= self.highest
    }

    /// Its ε.
    pub fn epsilon(&self) -> Epsilon {
        self.epsilon
    }

    /// The number of units that it aims to cut: with 99.9% fewer than three times as many are, if there are so many units. Among fewer the choice says little.
    pub fn aim(&self) -> u64 {
        self.aim
    }

    /// What it costs.
    pub fn cost(&self) -> Cost {
        Cost::exponential(self.epsilon, 1)
    }

    /// Chooses, given how many units each level has; levels after the last that is given have none.
    ///
    /// # Errors
    /// If the generator fails.
    pub fn choose(&self, units: &[u64], sampler: &mut dyn Sampler) -> Result<Level, ExponentialError> {
        let runs = self.runs(units);
        let mut chosen = choose(&runs, &self.rate, sampler)?;
        for (level, run) in Level::all().zip(&runs) {
            match chosen.checked_sub(run.length.get()) {
                Some(beyond) => chosen = beyond,
                None => return Ok(level),
            }
        }
        Ok(self.highest)
    }

    /// The levels that may be chosen, each as many candidates as its base measure has of 2^-20.
    fn runs(&self, units: &[u64]) -> Vec<Run> {
        let utility = Utility::Maximum(self.aim);
        let all = units.iter().fold(0_u64, |all, n| all.saturating_add(*n));
        let mut below = 0_u64;
        let levels = Level::all().take_while(|level| *level <= self.highest);
        levels
            .map(|level| {
                let at = units.get(level.number()).copied().unwrap_or(0);
                let above = all.saturating_sub(below).saturating_sub(at);
                let utility = utility.of(below, at, above);
                below = below.saturating_add(at);
                Run { length: level.base_measure(), utility }
            })
            .collect()
    }

    /// How much the choice matters beside statistics of these importances (see [`crate::division`]), where answers have so many public keys and each
    /// statistic has a part of `delta`.
    ///
    /// About r = 22/ε units are cut. Where the number of units beyond n falls like n^−3, a unit beyond Λ is cut by Λ/2 on average, spread over c keys by
    /// Λ/(2√c) a key: so an answer loses about 11Λ/(√c·ε). The noise of a count has a deviation of √2·Λ/ε for Laplace, about √(2·ln(1.25/δ))·Λ/ε for Gauss.
    pub fn importance(of_statistics: &[f64], keys: NonZeroU32, delta: Delta) -> f64 {
        let answers = of_statistics.iter().map(|w| w * w).sum::<f64>().sqrt();
        let noise = match (keys.get(), delta.get()) {
            (2.., delta) if delta > 0.0 => (2.0 * libm::log(1.25 / delta)).sqrt(),
            _ => std::f64::consts::SQRT_2,
        };
        11.0 * answers / (f64::from(keys.get()).sqrt() * noise)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::noise::OpenDp;

    fn choice(epsilon: f64) -> NormChoice {
        NormChoice::new(epsilon.try_into().unwrap(), HIGHEST).unwrap()
    }

    #[test]
    fn levels_are_the_least_that_hold_a_norm() {
        let of = |rows: &[u64]| Level::of(rows.iter().copied()).number();
        assert_eq!((of(&[]), of(&[1]), of(&[2]), of(&[4]), of(&[1 << 20])), (0, 0, 4, 8, 80));
        // √2 = 2^(2/4), √3 = 2^(3.17/4), √5 = 2^(4.64/4).
        assert_eq!((of(&[1, 1]), of(&[1, 1, 1]), of(&[1, 2])), (2, 4, 5));
        assert_eq!(of(&[u64::from(u32::MAX)]), 128);
        assert_eq!((of(&[u64::MAX]), of(&[u64::MAX, u64::MAX]), of(&[1 << 33])), (128, 128, 128));
        assert_eq!((Level::numbered(80), Level::numbered(81)), (Some(HIGHEST), None));
    }

    #[test]
    fn weights_fall_with_the_level() {
        let weight = |level, chosen| Level(level).weight(Level(chosen));
        assert_eq!((weight(3, 7), weight(7, 7), weight(8, 7), weight(11, 7)), (1024, 1024, 861, 512));
        assert_eq!((weight(127, 80), weight(47, 7), weight(48, 7)), (0, 1, 0));
        assert_eq!((Level(0).norm().get(), Level(4).norm().get(), Level(1).norm().get()), (1024, 2048, 1218));
        assert_eq!(HIGHEST.norm().rows(), f64::from(1 << 20));
    }

    #[test]
    fn the_choice_is_about_right() {
        // 10,000 units, the level of each number about as frequent as 2^(−l/4).
        let units: Vec<u64> = (0..60).map(|l| (10_000.0 * (-f64::from(l) / 4.0).exp2() * 0.16) as u64).collect();
        let choice = choice(1.0);
        assert_eq!(choice.aim(), 22);
        for _ in 0..200 {
            let level = choice.choose(&units, &mut OpenDp).unwrap();
            let above: u64 = units.iter().skip(level.number() + 1).sum();
            // Fails less often than once in 10^6 runs: the chance of a candidate falls by e^-½ with every unit.
            assert!(above <= 80, "{above} units above level {level:?}");
        }
    }

    /// The chance of each level.
    fn chances(choice: &NormChoice, units: &[u64]) -> Vec<f64> {
        let eta = choice.epsilon.get() / 2.0;
        let weights: Vec<f64> =
            choice.runs(units).iter().map(|run| run.length.get() as f64 * (eta * run.utility as f64).exp()).collect();
        let all: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / all).collect()
    }

    #[test]
    fn a_norm_that_is_too_large_is_next_to_never_chosen() {
        for epsilon in [0.05, 0.5, 3.0] {
            let choice = choice(epsilon);
            let all_equal = [choice.aim()];
            let heavy: Vec<u64> = (0..40).map(|l| (1e6 * (-f64::from(l) / 2.0).exp2()) as u64).collect();
            for units in [all_equal.as_slice(), &heavy] {
                let chances = chances(&choice, units);
                let beyond = |factor: usize| chances.iter().skip(units.len() + 4 * factor).sum::<f64>();
                // Beyond the largest unit, and beyond 2^14 of it.
                assert!(beyond(0) < 1.01e-3 && beyond(14) < 1e-6, "{} {}", beyond(0), beyond(14));
                let above = |level: usize| units.iter().skip(level + 1).sum::<u64>();
                let many = chances.iter().enumerate().filter(|(l, _)| above(*l) > 3 * choice.aim());
                assert!(many.map(|(_, chance)| chance).sum::<f64>() < 1e-3);
            }
        }
    }

    #[test]
    fn among_few_units_a_usual_norm_is_likely() {
        let choice = choice(0.5);
        let mut few = vec![0; 16];
        few.push(20);
        for units in [vec![], few] {
            let chances = chances(&choice, &units);
            assert!(chances.iter().skip(8).take(17).sum::<f64>() > 0.6, "{chances:?}");
        }
    }

    #[test]
    fn the_base_measure_is_as_it_says() {
        for level in Level::all() {
            let l = f64::from(level.0);
            let expected = if l <= 16.0 { ((l - 16.0) / 8.0).exp2() } else { (-(l - 16.0) / 4.0).exp2() };
            let found = level.base_measure().get() as f64 / f64::from(1 << 20);
            assert!(found <= expected && found > expected * 0.94, "{l}: {found} {expected}");
        }
    }

    /// However one unit changes the numbers, no level's chance changes by more than e^ε: the base measure is no matter.
    #[test]
    fn the_choice_is_as_private_as_it_says() {
        let units: Vec<u64> = (0..30).map(|l| 60 / (1 + l)).collect();
        for epsilon in [0.1, 1.0] {
            let choice = choice(epsilon);
            let before = chances(&choice, &units);
            for level in 0..40 {
                let mut more = units.clone();
                more.resize(more.len().max(level + 1), 0);
                more[level] += 1;
                let ratios: Vec<f64> = before.iter().zip(chances(&choice, &more)).map(|(a, b)| (a / b).ln()).collect();
                let (low, high) = ratios.iter().fold((0.0_f64, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
                assert!(
                    high <= epsilon + 1e-9 && low >= -epsilon - 1e-9 && high - low <= epsilon + 1e-9,
                    "{low} {high}"
                );
            }
        }
    }

    #[test]
    fn nobody_there_is_no_reason_to_fail() {
        for units in [vec![], vec![1], vec![0; 129], vec![u64::MAX, u64::MAX, 3]] {
            assert!(choice(0.1).choose(&units, &mut OpenDp).unwrap() <= HIGHEST);
            let low = NormChoice::new(0.1.try_into().unwrap(), Level(2)).unwrap();
            assert!(low.choose(&units, &mut OpenDp).unwrap() <= Level(2));
        }
    }

    #[test]
    fn many_keys_leave_less_for_the_norm() {
        let keys = |n| NonZeroU32::new(n).unwrap();
        let delta = |x: f64| Delta::try_from(x).unwrap();
        let of = |n, d| NormChoice::importance(&[1.0], keys(n), delta(d));
        assert!((of(1, 0.0) - 7.78).abs() < 0.01 && (of(1, 1e-8) - 7.78).abs() < 0.01);
        assert!(of(12, 1e-8) < 0.6 && of(1000, 1e-8) < 0.07);
        assert!((NormChoice::importance(&[3.0, 4.0], keys(1), delta(0.0)) - 38.9).abs() < 0.1);
    }

    proptest! {
        /// The whole argument on numbers: whatever the rows and whichever level is chosen, what a unit adds keeps the norm.
        #[test]
        fn a_unit_keeps_the_norm(rows in prop::collection::vec(0u64..1 << 18, 1..6), signs in prop::collection::vec(-1.0..=1.0f64, 6),
                                 chosen in 0u8..=80, each in 1u64..1 << 20) {
            let level = Level::of(rows.iter().copied());
            let weight = i128::from(level.weight(Level(chosen)));
            let squares: u128 = rows.iter().zip(&signs).map(|(r, sign)| {
                let s = ((*r as f64) * (each as f64) * sign).trunc() as i128;
                (s * weight).unsigned_abs().pow(2)
            }).sum();
            let norm = u128::from(Level(chosen).norm().get()) * u128::from(each);
            prop_assert!(squares <= norm * norm, "{rows:?} at {chosen}");
        }

        #[test]
        fn levels_hold_their_norms(n in 1u64..1 << 31) {
            let level = Level::of([n]);
            let (n, l) = (n as f64, f64::from(level.0));
            prop_assert!(n <= (l / 4.0).exp2() * (1.0 + 1e-12));
            prop_assert!(level.0 == 0 || n > ((l - 1.0) / 4.0).exp2() * (1.0 - 1e-12));
        }
    }
}
