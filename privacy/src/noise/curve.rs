//! What (ε, δ) a Gaussian mechanism has, from above.

use crate::rounding::{down, exp_down, exp_up, largest, lower, normal_tail_down, normal_tail_up, up};

/// At least the least δ with which adding continuous Gaussian noise of standard deviation σ to a vector of L2 sensitivity Δ is (ε, δ)-private, for
/// `mu = Δ/σ`: `Φ(μ/2 − ε/μ) − e^ε·Φ(−μ/2 − ε/μ)` (Balle and Wang: Improving the Gaussian Mechanism, 2018, theorem 8).
pub fn gaussian_delta(mu: f64, epsilon: f64) -> f64 {
    let half = mu / 2.0;
    let likely = normal_tail_up(down(down(epsilon / mu) - half));
    let unlikely = lower(exp_down(epsilon) * normal_tail_down(up(up(epsilon / mu) + half)), f64::EPSILON);
    up(likely - unlikely).clamp(0.0, 1.0)
}

/// At least the least δ that zero-concentrated privacy with ρ is known to have at ε: the infimum over α > 1 of
/// `exp((α−1)(αρ−ε)) / (α−1) · (1 − 1/α)^α` (Canonne, Kamath, Steinke 2020, corollary 13). Any α gives a bound, so the search cannot err on the wrong side.
pub fn zcdp_delta(rho: f64, epsilon: f64) -> f64 {
    let exponent = |alpha: Alpha| {
        let Alpha { alpha, less_one, ln_less_one, ln_ratio, error } = alpha;
        let terms = [less_one * alpha * rho, -less_one * epsilon, -ln_less_one, alpha * ln_ratio];
        sum_up(terms, alpha * error)
    };
    let best = search(&exponent);
    exp_up(best).clamp(0.0, 1.0)
}

/// At least the least ε that zero-concentrated privacy with ρ is known to have at δ: the infimum over α > 1 of
/// `αρ + (ln(1/δ) − ln α)/(α−1) + ln(1 − 1/α)` (the same corollary, solved for ε). Infinite for δ = 0.
pub fn zcdp_epsilon(rho: f64, delta: f64) -> f64 {
    if rho <= 0.0 {
        return 0.0;
    }
    if delta <= 0.0 {
        return f64::INFINITY;
    }
    let ln_delta = libm::log(delta);
    let epsilon = |at: Alpha| {
        let Alpha { alpha, less_one, ln_ratio, error, .. } = at;
        let terms = [alpha * rho, -ln_delta / less_one, -libm::log(alpha) / less_one, ln_ratio];
        sum_up(terms, error)
    };
    search(&epsilon).max(0.0)
}

/// An order α of a Rényi divergence and what is computed from it once.
#[derive(Clone, Copy)]
struct Alpha {
    alpha: f64,
    /// α − 1, exactly.
    less_one: f64,
    ln_less_one: f64,
    /// ln(1 − 1/α).
    ln_ratio: f64,
    /// What the sizes of `ln_ratio`'s own terms add to its error, to be multiplied by the relative error.
    error: f64,
}

impl Alpha {
    /// For the logarithm of α − 1, between −10 and 30, where 1 + (α − 1) loses little and (1 + (α − 1)) − 1 loses nothing.
    fn at(ln_less_one: f64) -> Alpha {
        let alpha = 1.0 + libm::exp(ln_less_one);
        let less_one = alpha - 1.0;
        let ln_less_one = libm::log(less_one);
        let (ln_ratio, error) = if alpha < 2.0 {
            let ln_alpha = libm::log(alpha);
            (ln_less_one - ln_alpha, ln_less_one.abs() + ln_alpha)
        } else {
            (libm::log1p(-1.0 / alpha), 0.0)
        };
        Alpha { alpha, less_one, ln_less_one, ln_ratio, error }
    }
}

/// At least the sum of terms that each have a relative error below 2⁻⁵⁰, and `more` of such a size.
fn sum_up(terms: [f64; 4], more: f64) -> f64 {
    let sizes: f64 = terms.iter().map(|term| term.abs()).sum::<f64>() + more;
    up(terms.iter().sum::<f64>() + sizes * 32.0 * f64::EPSILON)
}

/// The least value found by golden-section search over ln(α − 1).
fn search(of: &dyn Fn(Alpha) -> f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let (mut low, mut high) = (-10.0_f64, 30.0_f64);
    let mut best = f64::INFINITY;
    let mut value = |x: f64| {
        let value = of(Alpha::at(x));
        best = best.min(if value.is_nan() { f64::INFINITY } else { value });
        value
    };
    let (mut left, mut right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut at_left, mut at_right) = (value(left), value(right));
    for _ in 0..60 {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - GOLDEN * (high - low);
            at_left = value(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + GOLDEN * (high - low);
            at_right = value(right);
        }
    }
    best
}

/// A σ with which discrete Gaussian noise on every coordinate of an integer vector of L2 sensitivity at most `l2` is (ε, δ)-private: the smaller of two that
/// are proven, rounded up. Both hold for any number of coordinates.
///
/// 1. From zCDP: the mechanism has ρ = Δ²/(2σ²) (CKS 2020, theorem 14), converted by [`zcdp_delta`].
/// 2. From the exact curve of the continuous Gaussian. Let σ² = s² + r². Draw y from a continuous Gaussian N(f, s²) and then, as post-processing, an integer
///    x from the discrete Gaussian of parameter r about y. As Peikert (An Efficient and Parallel Gaussian Sampler for Lattices, 2010, theorem 3.1) shows,
///    x is all but the discrete Gaussian of parameter σ about f: its density is `∫ g_s(y−f) e^(−(x−y)²/2r²) / Z(y) dy` with `Z(y) = Σ_x e^(−(x−y)²/2r²)`, by Poisson
///    summation `Z(y) ∈ √(2π)·r·[1−κ, 1+κ]` with `κ = 2·Σ_j e^(−2π²r²j²)`, and with a constant Z the integral is the Gaussian density g_σ(x−f). So every
///    probability of the discrete Gaussian is within `[1−κ, 1+κ]` times that of a post-processing of the continuous one, up to a constant that is the same for all integers f and at
///    most 1. Neighbouring vectors of integers differ in at most Δ² coordinates; the others cancel. Hence
///    `δ(ε) ≤ (1+κ)^k · δ_continuous(ε − k·ln((1+κ)/(1−κ)); Δ/s)` with k = Δ². r² is chosen so that κ does not matter, and σ² grows by 1 to 4 (in squared grid units) only.
pub fn gaussian_sigma(l2: f64, epsilon: f64, delta: f64) -> Option<f64> {
    // Once 1, for a small σ; once enough to make k·κ less than 10⁻¹⁷.
    let negligible = (libm::log(coordinates(l2)) + 42.0) / (2.0 * std::f64::consts::PI.powi(2));
    let curves = [1.0, negligible].into_iter().filter_map(|r2| by_smoothing(l2, epsilon, delta, r2));
    let smooth = curves.filter(|sigma| sigma.is_finite()).reduce(f64::min);
    // zCDP mostly does not even allow this σ, and so none below it: then it need not be searched for.
    if smooth.is_some_and(|sigma| zcdp_delta(0.5 * (l2 / sigma).powi(2), epsilon) > delta) {
        return smooth;
    }
    let zcdp = largest(|rho| zcdp_delta(rho, epsilon) <= delta).map(|rho| up(l2 / down(down(2.0 * rho).sqrt())));
    smooth.into_iter().chain(zcdp).filter(|sigma| sigma.is_finite()).reduce(f64::min)
}

/// The second of the two, for one r² ≥ 1; `None` if κ eats up ε.
fn by_smoothing(l2: f64, epsilon: f64, delta: f64, r2: f64) -> Option<f64> {
    // ln((1+κ)/(1−κ)) ≤ 2.2·κ, since κ < 10⁻⁸.
    let all = up(coordinates(l2) * kappa(r2));
    let within = down(epsilon - up(2.2 * all));
    if within <= 0.0 {
        return None;
    }
    let mu = largest(|mu| up(gaussian_delta(mu, within) * exp_up(all)) <= delta)?;
    let s = up(l2 / mu);
    Some(up(up(up(s * s) + r2).sqrt()))
}

/// At least κ for r² ≥ 1: the terms after the first are less than a hundredth of it, and 2π² > 19.739.
fn kappa(r2: f64) -> f64 {
    up(2.1 * exp_up(-down(19.739 * r2)))
}

/// Most coordinates in which integer vectors at this distance differ, not rounded to an integer.
fn coordinates(l2: f64) -> f64 {
    up(l2 * l2).max(1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Z(y), summed over integers, stays within κ of √(2π)·r; and κ is no larger than need be.
    #[test]
    fn sums_over_integers_are_as_smooth_as_claimed() {
        // In doubles the deviation can be seen up to r² = 1.5, where it is 3·10⁻¹³.
        for r2 in [1.0, 1.1, 1.25] {
            let z = |y: f64| (-30..=30).map(|x| (-(f64::from(x) - y).powi(2) / (2.0 * r2)).exp()).sum::<f64>();
            let mean = (2.0 * std::f64::consts::PI * r2).sqrt();
            let worst = (0..=100).map(|i| (z(f64::from(i) / 100.0) / mean - 1.0).abs()).fold(0.0, f64::max);
            assert!(worst < kappa(r2) && kappa(r2) < worst * 1.2, "{r2}: {worst} of {}", kappa(r2));
        }
    }

    #[test]
    fn many_coordinates_need_a_smoother_sum() {
        // 10¹⁰ coordinates times κ(1) = 5.6·10⁻⁹ is more than any ε here.
        assert_eq!(by_smoothing(1e5, 1.0, 1e-8, 1.0), None);
        assert!(by_smoothing(1e5, 1.0, 1e-8, 3.3).is_some());
        // 10⁶ coordinates: 0.0056, which shows.
        let (rough, smooth) = (by_smoothing(1e3, 0.1, 1e-8, 1.0).unwrap(), by_smoothing(1e3, 0.1, 1e-8, 3.0).unwrap());
        assert!(rough > smooth * 1.05, "{rough} {smooth}");
        assert!(gaussian_sigma(1e3, 0.1, 1e-8).unwrap() <= smooth * 1.000_001);
    }
}
