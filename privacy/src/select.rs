//! Which keys may be told, where the keys themselves come from protected data.
//!
//! A unit is in at most C groups after bounding. Removing it lowers up to C counts by one and may remove up to C keys that are its alone, each of which has the count 1. Such a key is
//! told with a probability of at most δ′, any of them with at most `1 − (1 − δ′)^C = δ_t`. All other keys are protected by the noise on their
//! counts, whose vector moves by at most C in L1 and √C in L2 (Korolova, Kenthapadi, Mishra, Ntoulas 2009; Desfontaines, Voss, Gipson, Mandayam 2022).
//!
//! With a least cohort k the keys that may appear or disappear have counts of k and k − 1. One of k − 1 is never told, whatever the noise; one of k is told if
//! `k + noise ≥ τ + (k − 1)`, that is, as often as one of 1 would be against τ.

use std::num::{NonZeroU32, NonZeroU128};

use crate::accounts::Cost;
use crate::budget::{Delta, Epsilon};
use crate::noise::calibrate::{Calibrated, CalibrationError, Norm, gaussian, laplace};
use crate::noise::{Noise, NoiseFailed, Sampler};
use crate::policy::MinCohort;
use crate::rounding::{lower, normal_quantile_up, raise};

/// A way to select keys, with what it costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    noise: Noise,
    threshold: i128,
    least: u64,
    cost: Cost,
}

impl Selection {
    /// With Laplace noise of scale C/ε; keeps on ≥ `τ = 1 + ⌈−b·ln(δ′·(1 + e^(−1/b)))⌉`, since `P[noise ≥ x] = e^(−x/b) / (1 + e^(−1/b))` for x ≥ 0.
    ///
    /// # Errors
    /// If δ_t is 0, or ε is too small.
    pub fn laplace(
        max_groups: NonZeroU32,
        epsilon: Epsilon,
        delta: Delta,
        min_cohort: Option<MinCohort>,
    ) -> Result<Selection, CalibrationError> {
        let share = share(max_groups, delta)?;
        let Calibrated { noise, cost } = laplace(max_groups.into(), epsilon)?;
        let (b, q) = (noise.scale().upper(), libm::exp(-1.0 / noise.scale().lower()));
        // Both `b` too large and `q` too small make the threshold larger. The logarithm may be near 0, so its error is absolute.
        let steps = raise((-b * libm::log(share * (1.0 + q))).max(0.0), 1e-14) + b * 8.0 * f64::EPSILON;
        Ok(Selection::new(noise, 1 + ceil(steps), min_cohort, cost.plus(Cost::selection(delta))))
    }

    /// With Gaussian noise that is (ε, δ_noise)-private; keeps on ≥ `τ = ⌈2 + σ·z(1 − δ′)⌉`, since `P[noise ≥ x] ≤ P[N(0, σ²) ≥ x − 1]` for every
    /// integer x ≥ 1 (CKS 2020, proposition 25).
    ///
    /// # Errors
    /// If a δ is 0, or ε is too small.
    pub fn gaussian(
        max_groups: NonZeroU32,
        epsilon: Epsilon,
        delta_noise: Delta,
        delta: Delta,
        min_cohort: Option<MinCohort>,
    ) -> Result<Selection, CalibrationError> {
        let share = share(max_groups, delta)?;
        let norm = Norm::of(max_groups.into(), NonZeroU128::MIN);
        let Calibrated { noise, cost } = gaussian(norm, epsilon, delta_noise)?;
        let steps = raise((noise.scale().upper() * normal_quantile_up(share)).max(0.0), f64::EPSILON);
        Ok(Selection::new(noise, 2 + ceil(steps), min_cohort, cost.plus(Cost::selection(delta))))
    }

    /// Whichever has the lower threshold for ε and δ in all: Laplace with δ for the selection, or Gaussian with a half for the noise and a half for the selection.
    ///
    /// # Errors
    /// If δ is 0, or ε is too small.
    pub fn lower_threshold(
        max_groups: NonZeroU32,
        epsilon: Epsilon,
        delta: Delta,
        min_cohort: Option<MinCohort>,
    ) -> Result<Selection, CalibrationError> {
        let laplace = Selection::laplace(max_groups, epsilon, delta, min_cohort)?;
        let half = Delta::try_from(delta.get() / 2.0)?;
        match Selection::gaussian(max_groups, epsilon, half, half, min_cohort) {
            Ok(gaussian) if gaussian.threshold < laplace.threshold => Ok(gaussian),
            _ => Ok(laplace),
        }
    }

    fn new(noise: Noise, threshold: i128, min_cohort: Option<MinCohort>, cost: Cost) -> Selection {
        let least = min_cohort.map_or(1, |k| u64::from(k.get()));
        Selection { noise, threshold: threshold.saturating_add(i128::from(least) - 1), least, cost }
    }

    /// The noisy count of a key's units if the key may be told, which costs nothing more; `None` if it is withheld. `units` is counted after bounding.
    ///
    /// # Errors
    /// If the generator fails.
    pub fn decide(&self, units: u64, sampler: &mut dyn Sampler) -> Result<Option<i128>, NoiseFailed> {
        // Drawn for every key, so that time does not tell which were eligible.
        let noisy = i128::from(units).saturating_add(self.noise.draw(sampler)?);
        Ok((units >= self.least && noisy >= self.threshold).then_some(noisy))
    }

    /// The noise on every count.
    pub fn noise(&self) -> &Noise {
        &self.noise
    }

    /// The least noisy count that is kept: τ, or τ + (k − 1).
    pub fn threshold(&self) -> i128 {
        self.threshold
    }

    /// The least count before noise: k, or 1.
    pub fn least(&self) -> u64 {
        self.least
    }

    /// What it costs, selection and noise.
    pub fn cost(&self) -> Cost {
        self.cost
    }
}

/// δ′ = 1 − (1 − δ_t)^(1/C), rounded down.
fn share(max_groups: NonZeroU32, delta: Delta) -> Result<f64, CalibrationError> {
    let share = -libm::expm1(libm::log1p(-delta.get()) / f64::from(max_groups.get()));
    let share = lower(share, 64.0 * f64::EPSILON);
    if share > 0.0 { Ok(share) } else { Err(CalibrationError::NoDelta) }
}

/// The least integer that is not smaller.
#[allow(clippy::cast_possible_truncation, reason = "casts of floats saturate, and scales are at most 2^96")]
fn ceil(x: f64) -> i128 {
    x.ceil() as i128
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
