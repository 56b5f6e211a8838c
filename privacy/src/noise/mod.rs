//! Noise on integers, from exact samplers.
//!
//! Statistics are integers on a grid, and so is their noise: the discrete Laplace and the discrete Gaussian distribution, with rational
//! scales, drawn without any floating-point arithmetic (Canonne, Kamath, Steinke: The Discrete Gaussian for Differential Privacy, 2020). Thus no low-order bits of a
//! float tell anything (Mironov 2012).
//!
//! - [`Sampler`]: where randomness comes in; [`OpenDp`] is its one implementation.
//! - [`Scale`]: a rational number that is never smaller than what was asked for.
//! - [`Noise`]: a distribution with its scale; [`calibrate`] chooses one for ε, δ and a sensitivity.
//! - [`curve`]: what ε and δ a Gaussian has; [`interval`]: how far noise reaches.
//!
//! There is no seed and no way to have no noise. If the generator fails, the call fails, and so must the query.

pub mod calibrate;
pub mod curve;
pub mod interval;
mod opendp_sampler;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::num::NonZeroU128;

use dashu::integer::IBig;
use dashu::rational::RBig;

use crate::budget::Epsilon;
use crate::rounding::{down, up};

pub use opendp_sampler::OpenDp;

/// Noise could not be drawn. Nothing may be released then; what was reserved stays charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoiseFailed {
    /// The source of random bytes failed.
    #[error("the source of randomness failed")]
    Generator,
    /// A draw does not fit in 128 bits: for scales that [`Scale`] allows, less likely than 2⁻¹⁰⁰⁰⁰⁰⁰.
    #[error("a draw of noise is out of range")]
    OutOfRange,
}

/// A source of exact draws.
///
/// Every draw is independent of all others and of the data. An implementation must be exact: distributed as the formula says, not nearly so.
pub trait Sampler {
    /// A draw x of the discrete Laplace distribution: `P[x] ∝ exp(−|x| / scale)`.
    fn laplace(&mut self, scale: &Scale) -> Result<i128, NoiseFailed>;

    /// A draw x of the discrete Gaussian distribution: `P[x] ∝ exp(−x² / (2·scale²))`.
    fn gaussian(&mut self, scale: &Scale) -> Result<i128, NoiseFailed>;

    /// 64 independent fair bits.
    fn word(&mut self) -> Result<u64, NoiseFailed>;

    /// A uniform draw among 0, 1, … `bound` − 1.
    fn below(&mut self, bound: NonZeroU64) -> Result<u64, NoiseFailed>;
}

/// A scale that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// Above 2⁹⁶, where a draw might not fit in 128 bits: ε is too small for this sensitivity.
    #[error("the noise would be too large: epsilon is too small for these bounds")]
    TooLarge,
    /// Not a positive number.
    #[error("the scale of noise must be positive")]
    NotPositive,
}

/// The scale of noise in grid units: an exact rational, positive, at most 2⁹⁶. For a discrete Gaussian it is σ, of which the standard
/// deviation is slightly less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale(RBig);

impl Scale {
    /// 2⁹⁶.
    const MAX: f64 = 79_228_162_514_264_337_593_543_950_336.0;

    /// `sensitivity / epsilon`, exactly.
    ///
    /// # Errors
    /// If it is above 2⁹⁶.
    pub fn over_epsilon(sensitivity: NonZeroU128, epsilon: Epsilon) -> Result<Scale, ScaleError> {
        Scale::checked(RBig::from(sensitivity.get()) / exact(epsilon.get()).ok_or(ScaleError::NotPositive)?)
    }

    /// The number that `scale` is, exactly. A caller who computed it rounds up before.
    ///
    /// # Errors
    /// If it is not positive, or above 2⁹⁶.
    pub fn exactly(scale: f64) -> Result<Scale, ScaleError> {
        if !scale.is_finite() {
            return Err(ScaleError::TooLarge);
        }
        Scale::checked(exact(scale).ok_or(ScaleError::NotPositive)?)
    }

    /// `numerator / denominator` times as much, exactly.
    ///
    /// # Errors
    /// If it is 0, or above 2⁹⁶.
    pub fn times(&self, numerator: u64, denominator: NonZeroU64) -> Result<Scale, ScaleError> {
        Scale::checked(&self.0 * RBig::from(numerator) / RBig::from(denominator.get()))
    }

    fn checked(scale: RBig) -> Result<Scale, ScaleError> {
        if scale <= RBig::ZERO {
            Err(ScaleError::NotPositive)
        } else if scale > exact(Scale::MAX).unwrap_or(RBig::ONE) {
            Err(ScaleError::TooLarge)
        } else {
            Ok(Scale(scale))
        }
    }

    /// The rational.
    pub fn as_rational(&self) -> &RBig {
        &self.0
    }

    /// The scale or a little more: within three units in the last place.
    pub fn upper(&self) -> f64 {
        // The fast conversion may be off by one unit.
        up(up(self.0.to_f64_fast()))
    }

    /// The scale or a little less: within three units in the last place.
    pub fn lower(&self) -> f64 {
        down(down(self.0.to_f64_fast())).max(0.0)
    }
}

/// A distribution of noise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noise {
    /// Discrete Laplace: pure differential privacy.
    Laplace(Scale),
    /// Discrete Gaussian with σ.
    Gaussian(Scale),
}

impl Noise {
    /// Draws it.
    ///
    /// # Errors
    /// If the generator fails.
    pub fn draw(&self, sampler: &mut dyn Sampler) -> Result<i128, NoiseFailed> {
        match self {
            Noise::Laplace(scale) => sampler.laplace(scale),
            Noise::Gaussian(scale) => sampler.gaussian(scale),
        }
    }

    /// The same with a scale `numerator / denominator` times as large, exactly.
    ///
    /// # Errors
    /// If that is 0, or above 2⁹⁶.
    pub fn times(&self, numerator: u64, denominator: NonZeroU64) -> Result<Noise, ScaleError> {
        Ok(match self {
            Noise::Laplace(scale) => Noise::Laplace(scale.times(numerator, denominator)?),
            Noise::Gaussian(scale) => Noise::Gaussian(scale.times(numerator, denominator)?),
        })
    }

    /// Its scale.
    pub fn scale(&self) -> &Scale {
        match self {
            Noise::Laplace(scale) | Noise::Gaussian(scale) => scale,
        }
    }

    /// The variance in squared grid units, from above and within rounding: `2q / (1 − q)²` with `q = e^(−1/b)` for Laplace, σ² for a Gaussian (a little
    /// less is true: CKS 2020, corollary 9).
    pub fn variance(&self) -> f64 {
        match self {
            Noise::Laplace(scale) => {
                // 2q / (1 − q)² = 1 / (cosh(1/b) − 1) = 1 / (2·sinh²(1/2b))
                let sinh = libm::sinh(0.5 / scale.upper());
                1.0 / (2.0 * sinh * sinh)
            }
            Noise::Gaussian(scale) => scale.upper() * scale.upper(),
        }
    }
}

/// A finite number as a rational.
fn exact(x: f64) -> Option<RBig> {
    RBig::try_from(x).ok()
}

/// A draw as a machine integer.
fn fits(draw: IBig) -> Result<i128, NoiseFailed> {
    i128::try_from(draw).map_err(|_| NoiseFailed::OutOfRange)
}
