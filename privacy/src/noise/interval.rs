//! How far noise reaches: what stands between `_lo` and `_hi`.

use super::Noise;
use crate::rounding::{normal_quantile_up, raise};

/// The chance, on either side, that noise lies outside the interval: 2.5%, rounded down.
const TAIL: f64 = 0.024_999_999_999;

impl Noise {
    /// A number h of grid units such that the noise lies between −h and h with probability at least 95%.
    ///
    /// For discrete Laplace the least one (but where rounding cannot tell): `P[|X| > h] = 2·q^(h+1) / (1 + q)` with `q = e^(−1/b)`, so
    /// `h = ⌈−b·ln(0.025·(1 + q))⌉ − 1`. For the discrete Gaussian `⌈σ·z(0.975)⌉`, by `P[X ≥ m] ≤ P[N(0, σ²) ≥ m − 1]` for every integer m ≥ 1 (CKS
    /// 2020, proposition 25): at most one too many.
    pub fn half_width_95(&self) -> u128 {
        match self {
            Noise::Laplace(scale) => {
                let b = scale.upper();
                // A smaller b makes q smaller and the logarithm larger in size, a larger one the factor: take the worse of each.
                let q = libm::exp(-1.0 / scale.lower());
                ceil(raise(-b * libm::log(TAIL * (1.0 + q)), 1e-13)).saturating_sub(1)
            }
            Noise::Gaussian(scale) => ceil(raise(scale.upper() * normal_quantile_up(TAIL), f64::EPSILON)),
        }
    }
}

/// The least integer that is not smaller; 0 for what is negative.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts of floats saturate, and scales are at most 2^96"
)]
fn ceil(x: f64) -> u128 {
    x.ceil() as u128
}
