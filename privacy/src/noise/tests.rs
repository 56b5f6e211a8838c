#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use proptest::prelude::*;

use super::*;

const DRAWS: usize = 20_000;

fn scale(x: f64) -> Scale {
    Scale::exactly(x).unwrap()
}

/// P[X ≤ x] of the discrete Laplace distribution.
fn laplace_cdf(b: f64, x: i128) -> f64 {
    let q = (-1.0 / b).exp();
    if x >= 0 { 1.0 - q.powf(x as f64 + 1.0) / (1.0 + q) } else { q.powf(-x as f64) / (1.0 + q) }
}

/// P[X ≤ x] of the discrete Gaussian distribution: summed, or for large σ the continuous one at x + 1/2, which differs by less than 1/(12·σ²).
fn gaussian_cdf(sigma: f64, x: i128) -> f64 {
    if sigma > 1_000.0 {
        return libm::erfc(-(x as f64 + 0.5) / sigma / std::f64::consts::SQRT_2) / 2.0;
    }
    let weight = |x: i128| (-(x as f64).powi(2) / (2.0 * sigma * sigma)).exp();
    let reach = (40.0 * sigma).ceil() as i128 + 1;
    (-reach..=x.min(reach)).map(weight).sum::<f64>() / (-reach..=reach).map(weight).sum::<f64>()
}

/// Ends of bins, at every fiftieth of a distribution, found by bisection: they do not depend on the draws. The last bin, without an end, holds
/// more than one in five hundred.
fn bins(cdf: impl Fn(i128) -> f64) -> Vec<i128> {
    let mut ends: Vec<i128> = (0..50)
        .map(|i| f64::from(i) / 50.0 + if i == 0 { 0.002 } else { 0.0 })
        .map(|at| {
            let (mut low, mut high) = (-(1i128 << 40), 1i128 << 40);
            while high - low > 1 {
                let middle = (low + high) / 2;
                if cdf(middle) >= at { high = middle } else { low = middle }
            }
            high
        })
        .collect();
    ends.dedup();
    ends.retain(|end| 1.0 - cdf(*end) > 0.002);
    ends
}

/// The statistic of Pearson, and its bound, which a right sampler passes with a probability of less than e^−17 (Laurent and Massart 2000, lemma 1:
/// `P[χ² ≥ d + 2√(dt) + 2t] ≤ e^(−t)`): eight such tests fail less than once in two million runs.
fn chi_square(draws: &[i128], ends: &[i128], cdf: impl Fn(i128) -> f64) -> (f64, f64) {
    let mut sorted = draws.to_vec();
    sorted.sort_unstable();
    let (mut statistic, mut counted, mut probability) = (0.0, 0usize, 0.0);
    let mut bin = |seen: usize, p: f64| {
        let expected = (p * draws.len() as f64).max(1e-9);
        statistic += (seen as f64 - expected).powi(2) / expected;
    };
    for end in ends {
        let seen = sorted.partition_point(|x| x <= end);
        let p = cdf(*end);
        bin(seen - counted, p - probability);
        (counted, probability) = (seen, p);
    }
    bin(draws.len() - counted, 1.0 - probability);
    let degrees = ends.len() as f64;
    (statistic, degrees + 2.0 * (degrees * 17.0).sqrt() + 34.0)
}

fn draws(noise: &Noise) -> Vec<i128> {
    let mut sampler = OpenDp;
    (0..DRAWS).map(|_| noise.draw(&mut sampler).unwrap()).collect()
}

/// A wrong scale or the other distribution fails: each misses the bound by many times its standard deviation, so that these controls err less often than the
/// test itself.
#[test]
fn draws_follow_the_exact_distributions() {
    for b in [0.3, 1.0, 7.5, 1e6] {
        let ends = bins(|x| laplace_cdf(b, x));
        let laplace = draws(&Noise::Laplace(scale(b)));
        let test = |cdf: &dyn Fn(i128) -> f64| chi_square(&laplace, &ends, cdf);
        let (statistic, bound) = test(&|x| laplace_cdf(b, x));
        assert!(statistic < bound, "Laplace {b}: {statistic} of {bound}");
        for wrong in [b / 2.0, b * 1.2] {
            let (statistic, bound) = test(&|x| laplace_cdf(wrong, x));
            assert!(statistic > bound, "Laplace {b} taken for {wrong}: {statistic} of {bound}");
        }

        let ends = bins(|x| gaussian_cdf(b, x));
        let gaussian = draws(&Noise::Gaussian(scale(b)));
        let test = |cdf: &dyn Fn(i128) -> f64| chi_square(&gaussian, &ends, cdf);
        let (statistic, bound) = test(&|x| gaussian_cdf(b, x));
        assert!(statistic < bound, "Gaussian {b}: {statistic} of {bound}");
        for wrong in [b / 2.0, b * 1.2] {
            let (statistic, bound) = test(&|x| gaussian_cdf(wrong, x));
            assert!(statistic > bound, "Gaussian {b} taken for {wrong}: {statistic} of {bound}");
        }
        let (statistic, bound) = test(&|x| laplace_cdf(b, x));
        assert!(statistic > bound, "Gaussian {b} taken for Laplace: {statistic} of {bound}");
    }
}

#[test]
fn uniform_draws_are_uniform() {
    let mut sampler = OpenDp;
    let seven = NonZeroU64::new(7).unwrap();
    let mut seen = [0f64; 7];
    let mut ones = 0u32;
    for _ in 0..DRAWS {
        seen[sampler.below(seven).unwrap() as usize] += 1.0;
        ones += sampler.word().unwrap().count_ones();
    }
    let expected = DRAWS as f64 / 7.0;
    let statistic: f64 = seen.iter().map(|n| (n - expected).powi(2) / expected).sum();
    assert!(statistic < 6.0 + 2.0 * (6.0f64 * 17.0).sqrt() + 34.0, "{seen:?}");
    // 64 · DRAWS fair bits: six standard deviations.
    let bits = 64.0 * DRAWS as f64;
    assert!((f64::from(ones) - bits / 2.0).abs() < 6.0 * bits.sqrt() / 2.0);
}

#[test]
fn scales_outside_the_range_are_refused() {
    assert_eq!(Scale::exactly(0.0), Err(ScaleError::NotPositive));
    assert_eq!(Scale::exactly(-1.0), Err(ScaleError::NotPositive));
    assert_eq!(Scale::exactly(f64::NAN), Err(ScaleError::TooLarge));
    assert_eq!(Scale::exactly(f64::INFINITY), Err(ScaleError::TooLarge));
    assert_eq!(Scale::exactly(1e30), Err(ScaleError::TooLarge));
    let tiny = Epsilon::try_from(1e-300).unwrap();
    assert_eq!(Scale::over_epsilon(NonZeroU128::MIN, tiny), Err(ScaleError::TooLarge));
    assert!(Noise::Gaussian(scale(1e28)).draw(&mut OpenDp).is_ok());
}

#[test]
fn variance_is_that_of_the_distribution() {
    for b in [0.3, 1.0, 7.5, 300.0] {
        let pmf = |x: i128| laplace_cdf(b, x) - laplace_cdf(b, x - 1);
        let reach = (50.0 * b) as i128 + 50;
        let summed: f64 = (1..reach).map(|x| 2.0 * (x as f64).powi(2) * pmf(-x)).sum();
        let variance = Noise::Laplace(scale(b)).variance();
        assert!((variance / summed - 1.0).abs() < 1e-9, "{b}: {variance} {summed}");
    }
}

#[test]
fn intervals_cover_and_are_not_wide() {
    for b in [0.05, 0.3, 0.5, 1.0, 2.0, 7.5, 33.3, 250.0] {
        let h = Noise::Laplace(scale(b)).half_width_95() as i128;
        let inside = |h: i128| laplace_cdf(b, h) - laplace_cdf(b, -h - 1);
        assert!(inside(h) >= 0.95, "Laplace {b}: {h}");
        assert!(h == 0 || inside(h - 1) < 0.95, "Laplace {b}: {h} is more than needed");
        let h = Noise::Gaussian(scale(b)).half_width_95() as i128;
        let inside = |h: i128| gaussian_cdf(b, h) - gaussian_cdf(b, -h - 1);
        assert!(inside(h) >= 0.95, "Gaussian {b}: {h}");
        assert!(h <= 1 || inside(h - 2) < 0.95, "Gaussian {b}: {h} is more than needed");
    }
}

proptest! {
    #[test]
    fn scales_are_exact_and_their_bounds_enclose_them(sensitivity in 1u128..1 << 60, epsilon in 1e-6..100.0f64) {
        let made = Scale::over_epsilon(NonZeroU128::new(sensitivity).unwrap(), Epsilon::try_from(epsilon).unwrap()).unwrap();
        prop_assert_eq!(made.as_rational() * exact(epsilon).unwrap(), RBig::from(sensitivity));
        prop_assert!(exact(made.lower()).unwrap() <= made.0 && made.0 <= exact(made.upper()).unwrap());
        prop_assert!(made.upper() / made.lower() < 1.0 + 1e-14);
    }
}
