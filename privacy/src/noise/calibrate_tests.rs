#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use dashu::rational::RBig;
use proptest::prelude::*;

use super::*;
use crate::noise::curve::{gaussian_delta, zcdp_delta, zcdp_epsilon};

fn count(n: u128) -> NonZeroU128 {
    NonZeroU128::new(n).unwrap()
}

fn epsilon(x: f64) -> Epsilon {
    Epsilon::try_from(x).unwrap()
}

fn delta(x: f64) -> Delta {
    Delta::try_from(x).unwrap()
}

/// Probabilities of the discrete Gaussian on −reach … reach.
fn pmf(sigma: f64, reach: i64) -> Vec<f64> {
    let weights: Vec<f64> = (-reach..=reach).map(|x| (-(x as f64).powi(2) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// The least δ at ε of discrete Gaussian noise on vectors that differ by `shift`, by its definition: the sum over all outputs of
/// (P[x] − e^ε·P[x − shift])₊. The infinite tail beyond twelve σ is less than 10⁻³⁰.
fn delta_by_definition(sigma: f64, shift: &[i64], epsilon: f64) -> f64 {
    let reach = (12.0 * sigma).ceil() as i64 + 10;
    let p = pmf(sigma, reach);
    let at = |x: i64| usize::try_from(x + reach).ok().and_then(|i| p.get(i)).copied().unwrap_or(0.0);
    fn sum(at: &dyn Fn(i64) -> f64, reach: i64, shift: &[i64], epsilon: f64, p: f64, q: f64) -> f64 {
        match shift {
            [] => (p - epsilon.exp() * q).max(0.0),
            [first, rest @ ..] => {
                (-reach..=reach + first).map(|x| sum(at, reach, rest, epsilon, p * at(x - first), q * at(x))).sum()
            }
        }
    }
    sum(&at, reach, shift, epsilon, 1.0, 1.0)
}

fn sigma_for(l2_squared: u128, eps: f64, del: f64) -> f64 {
    let made = gaussian(Norm::of(count(l2_squared), count(1)), epsilon(eps), delta(del)).unwrap();
    match made.noise {
        Noise::Gaussian(scale) => scale.upper(),
        Noise::Laplace(_) => panic!("Laplace"),
    }
}

#[test]
fn gaussian_noise_has_the_delta_it_claims_and_little_less() {
    for (eps, del) in [(0.1, 1e-5), (0.5, 1e-8), (1.0, 1e-6), (3.0, 1e-8), (8.0, 1e-10)] {
        for shift in [1i64, 2, 5, 20] {
            let sigma = sigma_for((shift * shift) as u128, eps, del);
            let true_delta = delta_by_definition(sigma, &[shift], eps);
            assert!(true_delta <= del, "ε {eps}, Δ {shift}: σ {sigma} has δ {true_delta}");
            // At a σ of 3% less, or less by the r² of 1 that the proof costs, the promise would not hold.
            let less = (sigma * 0.97).min((sigma * sigma - 1.0 - sigma * 0.04).max(0.01).sqrt());
            let true_delta = delta_by_definition(less, &[shift], eps);
            assert!(true_delta > del, "ε {eps}, Δ {shift}: σ {sigma} is more than needed, {less} has δ {true_delta}");
        }
    }
}

#[test]
fn gaussian_noise_on_two_coordinates_has_the_delta_it_claims() {
    for (eps, del) in [(0.5, 1e-6), (1.0, 1e-5), (4.0, 1e-8)] {
        for shift in [[1i64, 1], [3, 1], [2, -2]] {
            let sigma = sigma_for(shift.iter().map(|s| s * s).sum::<i64>() as u128, eps, del);
            let true_delta = delta_by_definition(sigma, &shift, eps);
            assert!(true_delta <= del, "ε {eps}, {shift:?}: σ {sigma} has δ {true_delta}");
            let true_delta = delta_by_definition(sigma * 0.9 - 0.2, &shift, eps);
            assert!(true_delta > del, "ε {eps}, {shift:?}: σ {sigma} is more than needed");
        }
    }
}

/// A monotone likelihood ratio: what moves by less is protected by more.
#[test]
fn a_smaller_change_is_protected_better() {
    for sigma in [0.7, 3.0, 11.3] {
        let deltas: Vec<f64> = (1..=12).map(|shift| delta_by_definition(sigma, &[shift], 0.4)).collect();
        assert!(deltas.is_sorted(), "{deltas:?}");
    }
}

/// (Δ/σ, ε, δ) of the continuous Gaussian, computed with 50 digits.
const CURVE: [(f64, f64, f64); 7] = [
    (0.001, 0.004, 7.159_562_434_938_247e-9),
    (0.1, 0.5, 6.856_582_455_838_737e-9),
    (0.5, 1.0, 0.006_829_594_983_114_575_4),
    (1.0, 4.0, 4.712_241_200_793_12e-5),
    (3.0, 10.0, 0.018_589_514_315_857_806),
    (0.25, 0.0625, 0.073_611_452_395_388_27),
    (8.0, 100.0, 4.548_283_377_368_697e-18),
];

/// (ρ, ε, δ) of the conversion, minimised over α with 50 digits.
const ZCDP: [(f64, f64, f64); 5] = [
    (0.0001, 0.05, 2.806_277_382_631_153_5e-6),
    (0.005, 0.5, 3.449_309_097_547_419e-8),
    (0.1, 2.0, 4.325_210_869_092_561e-6),
    (0.5, 5.0, 2.896_122_809_384_795e-6),
    (3.0, 20.0, 3.819_005_432_584_755e-12),
];

#[test]
fn the_curve_of_the_continuous_gaussian_agrees_with_known_values() {
    for (mu, eps, del) in CURVE {
        let found = gaussian_delta(mu, eps);
        assert!(found >= del && found < del * (1.0 + 1e-9), "μ {mu}, ε {eps}: {found} for {del}");
    }
}

#[test]
fn conversions_of_zcdp_agree_with_one_another_and_with_known_values() {
    for (rho, eps, del) in ZCDP {
        let found = zcdp_delta(rho, eps);
        assert!(found >= del * (1.0 - 1e-12) && found < del * (1.0 + 1e-6), "ρ {rho}, ε {eps}: {found} for {del}");
        let back = zcdp_epsilon(rho, found);
        assert!(back >= eps * (1.0 - 1e-7) && back < eps * (1.0 + 1e-6), "ρ {rho}, δ {found}: {back} for {eps}");
    }
    assert_eq!(zcdp_epsilon(0.0, 0.0), 0.0);
    assert!(zcdp_epsilon(1.0, 0.0).is_infinite());
}

/// A conversion must bound what a Gaussian of that ρ has.
#[test]
fn conversions_of_zcdp_bound_the_gaussian() {
    for mu in [0.01, 0.1, 0.5, 1.0, 3.0] {
        for z in [1.0, 3.0, 5.0, 6.5] {
            let eps = mu * z + mu * mu / 2.0;
            let (exact, bound) = (gaussian_delta(mu, eps), zcdp_delta(mu * mu / 2.0, eps));
            assert!(bound > exact && bound < exact * 30.0, "μ {mu}, ε {eps}: {bound} for {exact}");
        }
    }
}

#[test]
fn the_smaller_error_is_taken() {
    let chosen = |groups: u128| {
        let norm = Norm::of(count(groups), count(1));
        smaller_error(Some(count(groups)), norm, epsilon(0.1), delta(1e-8)).unwrap()
    };
    assert!(matches!(chosen(10).noise, Noise::Laplace(_)));
    assert_eq!(chosen(10).cost.basic().1, 0.0);
    assert!(matches!(chosen(11).noise, Noise::Gaussian(_)));
    let switch = (1..64).find(|groups| matches!(chosen(*groups).noise, Noise::Gaussian(_))).unwrap();
    let norm = Norm::of(count(switch), count(1));
    let laplace = laplace(count(switch), epsilon(0.1)).unwrap().noise.variance();
    let gaussian = gaussian(norm, epsilon(0.1), delta(1e-8)).unwrap().noise.variance();
    assert!(gaussian < laplace);
    assert_eq!(switch, 11);
    let no_l1 = smaller_error(None, norm, epsilon(0.1), delta(1e-8)).unwrap();
    assert!(matches!(no_l1.noise, Noise::Gaussian(_)));
    assert_eq!(smaller_error(None, norm, epsilon(0.1), Delta::ZERO), Err(CalibrationError::NoDelta));
    let pure = smaller_error(Some(count(1_000)), norm, epsilon(0.1), Delta::ZERO).unwrap();
    assert!(matches!(pure.noise, Noise::Laplace(_)));
}

#[test]
fn integers_beyond_what_floats_hold_are_rounded_up() {
    for n in [1, 3, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, (1 << 70) + 1, u128::MAX] {
        let float = above(count(n));
        assert!(rational(float) >= RBig::from(n) && float <= n as f64 * (1.0 + 1e-15), "{n}");
    }
}

fn rational(x: f64) -> RBig {
    RBig::try_from(x).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In exact arithmetic: norms, ρ and the certificate of σ, over sensitivities from one unit to what 2⁶⁰ needs.
    #[test]
    fn no_cost_of_gaussian_noise_is_rounded_down(
        coordinates in 1u128..1 << 20,
        magnitude in 0u32..60,
        eps in 0.001..10.0f64,
        del in -14.0..-2.0f64,
    ) {
        let each = (1u128 << magnitude) + u128::from(magnitude) * 7;
        let norm = Norm::of(count(coordinates), count(each));
        let squared = RBig::from(coordinates) * RBig::from(each) * RBig::from(each);
        prop_assert!(rational(norm.get()).sqr() >= squared);
        let del = 10f64.powf(del);
        let made = gaussian(norm, epsilon(eps), delta(del)).unwrap();
        let sigma = made.noise.scale().as_rational().clone();
        let (rho, _) = made.cost.zcdp();
        prop_assert!(rational(rho) * sigma.sqr() * RBig::from(2u8) >= rational(norm.get()).sqr());
        prop_assert!(rho / (norm.get() / made.noise.scale().upper()).powi(2) < 0.5 + 1e-12);
        prop_assert_eq!(made.cost.basic(), (eps, del));
        // The continuous curve cannot be beaten by much: a σ far below its own would be an error.
        prop_assert!(gaussian_delta(norm.get() / (made.noise.scale().upper() * 1.000_001), eps) <= del * 1.000_1);
        prop_assert!(gaussian_delta(norm.get() / (made.noise.scale().upper() * 0.9 - 4.0).max(1e-9), eps) > del);
    }

    #[test]
    fn no_cost_of_laplace_noise_is_rounded_down(l1 in 1u128..1 << 70, eps in 1e-4..50.0f64) {
        let made = laplace(count(l1), epsilon(eps)).unwrap();
        prop_assert_eq!(made.noise.scale().as_rational() * rational(eps), RBig::from(l1));
        prop_assert_eq!(made.cost.basic(), (eps, 0.0));
        prop_assert!(rational(made.cost.zcdp().0) * RBig::from(2u8) >= rational(eps).sqr());
    }
}

/// Noise that grows with the norm keeps its cost: what a norm that is chosen later rests on.
#[test]
fn noise_times_as_large_is_as_private_for_a_norm_times_as_large() {
    for (eps, del) in [(0.5, 1e-6), (2.0, 1e-8)] {
        for l2 in [1_i64, 3] {
            let made = gaussian(Norm::of(count((l2 * l2) as u128), count(1)), epsilon(eps), delta(del)).unwrap();
            for (numerator, denominator) in [(2_u64, 1_u64), (5, 1), (7, 3), (21, 1)] {
                let times = made.noise.times(numerator, denominator.try_into().unwrap()).unwrap();
                // The largest whole shift that such a norm allows.
                let shift = l2 * numerator as i64 / denominator as i64;
                let true_delta = delta_by_definition(times.scale().lower(), &[shift], eps);
                assert!(true_delta <= del, "ε {eps}, Δ {l2} times {numerator}/{denominator}: δ {true_delta}");
            }
        }
    }
    let laplace = laplace(count(6), epsilon(0.5)).unwrap().noise;
    assert_eq!(
        laplace.times(7, 2.try_into().unwrap()).unwrap(),
        super::laplace(count(21), epsilon(0.5)).unwrap().noise
    );
    assert!(laplace.times(u64::MAX, 1.try_into().unwrap()).is_ok());
    assert!(laplace.times(0, 1.try_into().unwrap()).is_err());
}
