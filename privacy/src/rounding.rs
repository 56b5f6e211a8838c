//! Floating-point arithmetic whose error goes one way: bounds on sums, exponentials and normal tails, so that no cost is under-reported and
//! no scale comes out too small.
//!
//! The basic operations of IEEE 754 round to the nearest number, so the true result lies between the neighbours of the computed one. The functions of
//! libm state errors under one unit in the last place; [`SLACK`] allows them eight.

/// Relative error granted to one call of libm, and to the few operations around it.
const SLACK: f64 = 8.0 * f64::EPSILON;

/// At least the true value of a sum, product, quotient or root of which `x` is the nearest number.
pub(crate) fn up(x: f64) -> f64 {
    x.next_up()
}

/// At most the true value of a sum, product, quotient or root of which `x` is the nearest number.
pub(crate) fn down(x: f64) -> f64 {
    x.next_down()
}

/// At least every number whose relative distance from `x ≥ 0` is `relative`, and a little more for results too small for full precision.
pub(crate) fn raise(x: f64, relative: f64) -> f64 {
    (x * (1.0 + relative)).next_up().next_up()
}

/// At most every number whose relative distance from `x ≥ 0` is `relative`; never negative.
pub(crate) fn lower(x: f64, relative: f64) -> f64 {
    (x * (1.0 - relative)).next_down().next_down().max(0.0)
}

/// At least `exp(x)`.
pub(crate) fn exp_up(x: f64) -> f64 {
    raise(libm::exp(x), SLACK)
}

/// At most `exp(x)`.
pub(crate) fn exp_down(x: f64) -> f64 {
    lower(libm::exp(x).min(f64::MAX), SLACK)
}

/// At least `P[N ≥ z]` for a standard normal N.
pub(crate) fn normal_tail_up(z: f64) -> f64 {
    raise(libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2) / 2.0, tail_error(z))
}

/// At most `P[N ≥ z]` for a standard normal N.
pub(crate) fn normal_tail_down(z: f64) -> f64 {
    lower(libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2) / 2.0, tail_error(z))
}

/// The relative error of a tail: that of erfc, and that of its argument y, of which erfc makes at most `2y² + √2·y` times as much, since
/// `−erfc′(y) / erfc(y) ≤ y + √(y² + 2)` (Abramowitz and Stegun, 7.1.13).
fn tail_error(z: f64) -> f64 {
    SLACK * (1.0 + z.abs() + z * z)
}

/// A number z that is at least the normal quantile of 1 − p: `P[N ≥ z] ≤ p`, for p > 0. Within 10⁻¹² of the least one where p is not tiny.
pub(crate) fn normal_quantile_up(p: f64) -> f64 {
    // Every z that the loop keeps as `high` has been tested. P[N ≥ 40] is below the least positive number.
    let (mut low, mut high) = (-40.0_f64, 40.0_f64);
    while high - low > 1e-13 * high.abs().max(1.0) {
        let middle = low + (high - low) / 2.0;
        if normal_tail_up(middle) <= p {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The largest `x` found, on a logarithmic scale between 2⁻⁴⁰⁰ and 2⁴⁰⁰, with `holds(x)`; `holds` should be true below some point and false above
/// it. What is returned has been tested, whatever the shape of `holds`.
pub(crate) fn largest(holds: impl Fn(f64) -> bool) -> Option<f64> {
    let (mut low, mut high) = (-400.0_f64, 400.0_f64);
    let mut found = None;
    for _ in 0..64 {
        let middle = low + (high - low) / 2.0;
        let x = libm::exp2(middle);
        if holds(x) {
            found = Some(x);
            low = middle;
        } else {
            high = middle;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P[N ≥ z] to 17 digits, by mpmath.
    const TAILS: [(f64, f64); 6] = [
        (-3.0, 0.998_650_101_968_369_9),
        (0.0, 0.5),
        (1.0, 0.158_655_253_931_457_05),
        (5.5, 1.898_956_246_588_772e-8),
        (10.0, 7.619_853_024_160_527e-24),
        (30.0, 4.906_713_927_148_187e-198),
    ];

    #[test]
    fn tails_are_bounded_from_both_sides_and_closely() {
        for (z, tail) in TAILS {
            let (low, high) = (normal_tail_down(z), normal_tail_up(z));
            assert!(low < tail && tail < high, "{z}: {low} {tail} {high}");
            assert!(high / low < 1.0 + 1e-11, "{z}");
        }
        assert!(normal_tail_up(45.0) > 0.0 && normal_tail_down(45.0) == 0.0);
    }

    #[test]
    fn quantiles_are_never_too_small_and_close() {
        for (z, tail) in TAILS {
            let found = normal_quantile_up(tail);
            assert!(found >= z && found < z + 1e-11, "{z} {found}");
        }
    }

    #[test]
    fn exponentials_are_bounded() {
        for (x, e) in [(1.0, std::f64::consts::E), (-1.0, 1.0 / std::f64::consts::E), (0.0, 1.0)] {
            assert!(exp_down(x) < e && e < exp_up(x));
        }
        assert!(exp_down(800.0).is_finite() && exp_up(800.0).is_infinite() && exp_up(-800.0) > 0.0);
    }
}
