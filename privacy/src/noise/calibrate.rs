//! Noise for a sensitivity and a share of the budget, with what it costs.

use std::collections::BTreeMap;
use std::num::NonZeroU128;
use std::sync::{Mutex, PoisonError};

use super::curve::gaussian_sigma;
use super::{Noise, Scale, ScaleError};
use crate::accounts::Cost;
use crate::budget::{BudgetError, Delta, Epsilon, Rho};
use crate::rounding::up;

/// Noise cannot be had for these parameters.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// The noise would be too large or too small to draw.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// Gaussian noise without a δ, or neither an L1 norm nor a δ.
    #[error("Gaussian noise needs a positive delta")]
    NoDelta,
    /// No σ was found, or its ρ is not a number: ε or δ is too small.
    #[error("no noise was found for this epsilon and delta")]
    NotFound,
    /// A norm is not positive and finite.
    #[error("a sensitivity must be a positive number, not {0}")]
    Norm(f64),
}

impl From<BudgetError> for CalibrationError {
    fn from(_: BudgetError) -> Self {
        CalibrationError::NotFound
    }
}

/// An L2 sensitivity in grid units, rounded up: positive and finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Norm(f64);

impl Norm {
    /// At least √`coordinates` · `each`: of a vector with at most so many coordinates that change, by at most `each`.
    pub fn of(coordinates: NonZeroU128, each: NonZeroU128) -> Norm {
        Norm(up(up(above(coordinates).sqrt()) * above(each)))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Norm {
    type Error = CalibrationError;
    fn try_from(value: f64) -> Result<Self, CalibrationError> {
        if value.is_finite() && value > 0.0 { Ok(Norm(value)) } else { Err(CalibrationError::Norm(value)) }
    }
}

/// Noise and its cost, never under-reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// What to draw for every coordinate.
    pub noise: Noise,
    /// What adding it to the whole vector costs.
    pub cost: Cost,
}

/// Discrete Laplace noise with scale Δ₁/ε, exactly: pure ε (Ghosh, Roughgarden, Sundararajan 2009; CKS 2020, lemma 23 and after).
///
/// # Errors
/// If the scale is out of range.
pub fn laplace(l1: NonZeroU128, epsilon: Epsilon) -> Result<Calibrated, CalibrationError> {
    Ok(Calibrated { noise: Noise::Laplace(Scale::over_epsilon(l1, epsilon)?), cost: Cost::pure(epsilon) })
}

/// Discrete Gaussian noise that is (ε, δ)-private: σ by [`gaussian_sigma`], and ρ = Δ₂²/(2σ²) (CKS 2020, theorem 14).
///
/// # Errors
/// If δ is 0, or σ is out of range.
pub fn gaussian(l2: Norm, epsilon: Epsilon, delta: Delta) -> Result<Calibrated, CalibrationError> {
    if delta == Delta::ZERO {
        return Err(CalibrationError::NoDelta);
    }
    let sigma = sigma(l2, epsilon, delta).ok_or(CalibrationError::NotFound)?;
    let scale = Scale::exactly(sigma)?;
    let ratio = up(l2.get() / sigma);
    let rho = Rho::try_from(up(up(ratio * ratio) / 2.0))?;
    Ok(Calibrated { noise: Noise::Gaussian(scale), cost: Cost::gaussian(epsilon, delta, rho) })
}

/// What [`gaussian_sigma`] finds, which takes a search: a statement needs it when it is described, charged and answered.
fn sigma(l2: Norm, epsilon: Epsilon, delta: Delta) -> Option<f64> {
    static FOUND: Mutex<BTreeMap<[u64; 3], Option<f64>>> = Mutex::new(BTreeMap::new());
    const MOST: usize = 1024;
    let parameters = [l2.get(), epsilon.get(), delta.get()];
    let found = || FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let key = parameters.map(f64::to_bits);
    if let Some(known) = found().get(&key) {
        return *known;
    }
    let [l2, epsilon, delta] = parameters;
    let sigma = gaussian_sigma(l2, epsilon, delta);
    let mut found = found();
    if found.len() >= MOST {
        found.clear();
    }
    found.insert(key, sigma);
    sigma
}

/// Whichever of the two has the smaller variance; Laplace, which needs no δ, if neither has. `l1` is absent where only the L2 norm is bounded.
///
/// # Errors
/// If neither can be had.
pub fn smaller_error(
    l1: Option<NonZeroU128>,
    l2: Norm,
    epsilon: Epsilon,
    delta: Delta,
) -> Result<Calibrated, CalibrationError> {
    let gaussian = gaussian(l2, epsilon, delta);
    match (l1.map(|l1| laplace(l1, epsilon)), gaussian) {
        (Some(Ok(laplace)), Ok(gaussian)) => {
            Ok(if gaussian.noise.variance() < laplace.noise.variance() { gaussian } else { laplace })
        }
        (Some(Ok(laplace)), Err(_)) => Ok(laplace),
        (_, gaussian) => gaussian,
    }
}

/// At least the integer.
#[allow(clippy::cast_precision_loss, reason = "the neighbour above is taken")]
fn above(x: NonZeroU128) -> f64 {
    // Integers below 2^53 are exact.
    let near = x.get() as f64;
    if near < 9_007_199_254_740_992.0 { near } else { up(near) }
}

#[cfg(test)]
#[path = "calibrate_tests.rs"]
mod tests;
