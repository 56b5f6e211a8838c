//! The exponential mechanism, exactly: a candidate i of a grid is chosen with probability proportional to `exp(η·u_i)`, with integer utilities u and a rational
//! rate η = ε/(2Δ) (McSherry and Talwar 2007).
//!
//! Floats are not good enough: rounded weights give some candidates a chance of 0 next to a neighbour's that is not, which breaks pure
//! privacy (Ilvento 2020). Permute-and-flip (McKenna and Sheldon 2020) could be exact with the Bernoulli(e^(−x)) of opendp, but its range is not bounded, so it would
//! cost ε²/2 instead of ε²/8 in the zCDP account, and it visits candidates one by one. Rejection from the uniform distribution takes as many
//! rounds as the grid has candidates when one stands out. So: inversion, with real numbers that are as long as they need to be.
//!
//! ```text
//! U uniform in [0, 1), its bits drawn as needed        C_i = Σ_(j ≤ i) length_j · exp(−η·(u_max − u_j)), known within a bound
//!                       └────────► the run i with C_(i−1) ≤ U·C_last < C_i, if the bounds leave no doubt;
//!                                  otherwise twice as many bits of U and of every weight
//! ```
//!
//! The answer is a function of U alone, the very one of the mechanism; precision decides only when it is known. With 128 bits it is known at once but for one draw
//! in more than 2³⁰. Candidates of equal utility come as runs, since a quantile's utility is a step function over the sorted data; inside a run
//! the choice is uniform.

use std::num::NonZeroU64;

use dashu::base::UnsignedAbs;
use dashu::integer::UBig;
use dashu::rational::RBig;

use crate::budget::Epsilon;
use crate::noise::{NoiseFailed, Sampler};

/// Neighbouring candidates of equal utility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub length: NonZeroU64,
    /// The utility of each; more is better.
    pub utility: i128,
}

/// η: how sharply utility decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate(RBig);

/// Why no candidate was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExponentialError {
    /// There are none.
    #[error("there are no candidates to choose from")]
    NoCandidates,
    /// More than 2³² in all, or utilities that differ by more than 2¹²⁷.
    #[error("there are too many candidates, or their utilities lie too far apart")]
    TooMany,
    /// ε is too small for the sensitivity: η below 2⁻¹²⁸.
    #[error("epsilon is too small for the sensitivity of the utility")]
    Rate,
    /// The generator failed.
    #[error(transparent)]
    Noise(#[from] NoiseFailed),
}

/// Most candidates in all.
const MAX_CANDIDATES: u64 = 1 << 32;

/// Bits to start with, and most bits: beyond, the generator must be broken.
const BITS: std::ops::RangeInclusive<usize> = 128..=4_096;

impl Rate {
    /// ε/(2Δ), exactly, where no utility changes by more than `sensitivity` when a unit is added or removed. The mechanism is then ε-private,
    /// its range is bounded by ε, and its zCDP is ε²/8.
    ///
    /// # Errors
    /// If it is below 2⁻¹²⁸.
    pub fn new(epsilon: Epsilon, sensitivity: NonZeroU64) -> Result<Rate, ExponentialError> {
        let epsilon = RBig::try_from(epsilon.get()).map_err(|_| ExponentialError::Rate)?;
        let rate = epsilon / RBig::from(u128::from(sensitivity.get()) * 2);
        if rate < RBig::from_parts(1.into(), UBig::ONE << 128) { Err(ExponentialError::Rate) } else { Ok(Rate(rate)) }
    }
}

/// Chooses a candidate; the answer counts from 0 over all runs.
///
/// Time grows with n·log n for n runs: a second's fraction for 2²⁰.
///
/// # Errors
/// If there is no candidate or too many, or the generator fails.
pub fn choose(runs: &[Run], rate: &Rate, sampler: &mut dyn Sampler) -> Result<u64, ExponentialError> {
    let ladder = Ladder::of(runs)?;
    let mut bits = *BITS.start();
    let mut uniform = random_bits(bits, sampler)?;
    let (at, length) = loop {
        if let Some(found) = ladder.locate(runs, rate, &uniform, bits) {
            break found;
        }
        if bits >= *BITS.end() {
            return Err(NoiseFailed::Generator.into());
        }
        uniform = (uniform << bits) + random_bits(bits, sampler)?;
        bits *= 2;
    };
    Ok(at + sampler.below(length)?)
}

/// The rank that a robust extreme aims at: `r = ⌈2m·ln(|grid|/0.01)/ε⌉`, where the utility has sensitivity m and the group has the share
/// `epsilon`. With utility −|#{x < c} − r| the minimum so chosen lies between the first and the 2r-th value with probability 99% (McSherry and Talwar 2007, theorem 6).
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an aim, not a bound; casts saturate"
)]
pub fn extreme_rank(max_rows: NonZeroU64, candidates: NonZeroU64, epsilon: Epsilon) -> u64 {
    let ln = libm::log(candidates.get() as f64 / 0.01);
    (2.0 * max_rows.get() as f64 * ln / epsilon.get()).ceil() as u64
}

/// Runs by how far they lie below the best.
struct Ladder {
    /// Indices of runs with their gaps, by gap.
    steps: Vec<(u128, usize)>,
}

impl Ladder {
    fn of(runs: &[Run]) -> Result<Ladder, ExponentialError> {
        let best = runs.iter().map(|run| run.utility).max().ok_or(ExponentialError::NoCandidates)?;
        let mut candidates = 0u64;
        let mut steps = Vec::with_capacity(runs.len());
        for (index, run) in runs.iter().enumerate() {
            candidates = candidates.saturating_add(run.length.get());
            steps.push((best.abs_diff(run.utility), index));
        }
        if candidates > MAX_CANDIDATES || steps.iter().any(|(gap, _)| gap >> 127 != 0) {
            return Err(ExponentialError::TooMany);
        }
        steps.sort_unstable();
        Ok(Ladder { steps })
    }

    /// The first candidate and the length of the run that U is in, where U lies in [`uniform`, `uniform` + 1) · 2^−bits; `None` if that cannot be told yet.
    fn locate(&self, runs: &[Run], rate: &Rate, uniform: &UBig, bits: usize) -> Option<(u64, NonZeroU64)> {
        let (weights, error) = self.weights(runs.len(), rate, bits);
        let last = runs.len().checked_sub(1)?;
        let candidates: u64 = runs.iter().map(|run| run.length.get()).sum();
        let sum: UBig = runs.iter().zip(&weights).map(|(run, weight)| weight * run.length.get()).sum();
        let sum_high = &sum + &error * candidates;
        // U·C_last lies in [low, high).
        let low = (uniform * &sum) >> bits;
        let high = (((uniform + UBig::ONE) * sum_high) >> bits) + UBig::ONE;
        let (mut first, mut below) = (0u64, UBig::ZERO);
        for (index, (run, weight)) in runs.iter().zip(&weights).enumerate() {
            let end = &below + weight * run.length.get();
            if index == last || high <= end {
                // C_(i−1) is at most this much; for the first run it is 0.
                let start = below + &error * first;
                return (start <= low).then_some((first, run.length));
            }
            first += run.length.get();
            below = end;
        }
        None
    }

    /// For every run a lower bound of `2^bits · exp(−η·gap)`, and what they may be short of at most.
    fn weights(&self, runs: usize, rate: &Rate, bits: usize) -> (Vec<UBig>, UBig) {
        let powers = Powers::new(rate, bits);
        let mut weights = vec![UBig::ZERO; runs];
        let (mut gap, mut weight, mut error) = (0u128, UBig::ONE << bits, 1u64);
        for (next, index) in &self.steps {
            let mut rest = next - gap;
            gap = *next;
            while rest != 0 && !weight.is_zero() {
                let power = rest.trailing_zeros();
                rest &= rest - 1;
                // Both factors are at most 2^bits: what either is short of stays at most as much, and the shift drops less than one.
                weight = match powers.get(power) {
                    Some(factor) => (weight * factor) >> bits,
                    None => UBig::ZERO,
                };
                error += Powers::ERROR + 1;
            }
            if let Some(slot) = weights.get_mut(*index) {
                *slot = weight.clone();
            }
        }
        (weights, UBig::from(error))
    }
}

/// Lower bounds of `2^bits · exp(−η·2^j)` for j = 0, 1, … as long as they are not 0.
struct Powers(Vec<UBig>);

impl Powers {
    /// What a bound may be short of at most, also where it is absent.
    const ERROR: u64 = 3;

    fn new(rate: &Rate, bits: usize) -> Powers {
        // exp(−x) < 2^−bits for x ≥ bits: powers from there on are absent.
        let limit = RBig::from(bits);
        let mut halvings = 0usize;
        let mut x = rate.0.clone();
        while x > RBig::from_parts(1.into(), 2u8.into()) && halvings < 64 {
            x /= RBig::from(2u8);
            halvings += 1;
        }
        let mut count = 0usize;
        let mut reach = rate.0.clone();
        while reach < limit && count < 128 {
            reach *= RBig::from(2u8);
            count += 1;
        }
        if count == 0 {
            return Powers(Vec::new());
        }
        // The series is off by less than 4·guarded ≤ 2¹⁶ units, every squaring at most doubles that and adds one: the 20 bits more than squarings keep
        // what is left far below one unit of 2^−bits.
        let guarded = bits + halvings + count + 40;
        let mut power = exponential_of_minus(&x, guarded);
        for _ in 0..halvings {
            power = (&power * &power) >> guarded;
        }
        let mut powers = Vec::with_capacity(count);
        for _ in 0..count {
            powers.push(lower_by_one(&power >> (guarded - bits)));
            power = (&power * &power) >> guarded;
        }
        Powers(powers)
    }

    fn get(&self, power: u32) -> Option<&UBig> {
        self.0.get(power as usize)
    }
}

/// `2^bits · exp(−x)` for 0 < x ≤ 1/2, within 4·bits units: the alternating series, whose terms shrink at least by half.
fn exponential_of_minus(x: &RBig, bits: usize) -> UBig {
    let (numerator, denominator) = x.clone().into_parts();
    let x: UBig = (numerator.unsigned_abs() << bits) / denominator;
    let (mut added, mut taken) = (UBig::ZERO, UBig::ZERO);
    let mut term = UBig::ONE << bits;
    for k in 1u64.. {
        if term.is_zero() {
            break;
        }
        if k % 2 == 1 {
            added += &term;
        } else {
            taken += &term;
        }
        term = ((term * &x) >> bits) / k;
    }
    if added > taken { added - taken } else { UBig::ZERO }
}

/// One less, so that an approximation within a fraction of a unit is a lower bound.
fn lower_by_one(x: UBig) -> UBig {
    if x.is_zero() { x } else { x - UBig::ONE }
}

/// `bits` (a multiple of 64) fair bits as an integer.
fn random_bits(bits: usize, sampler: &mut dyn Sampler) -> Result<UBig, NoiseFailed> {
    let mut drawn = UBig::ZERO;
    for _ in 0..bits / 64 {
        drawn = (drawn << 64) + UBig::from(sampler.word()?);
    }
    Ok(drawn)
}

#[cfg(test)]
#[path = "exponential_tests.rs"]
mod tests;
