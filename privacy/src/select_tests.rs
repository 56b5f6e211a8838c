#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "tests")]

use std::num::NonZeroU64;

use super::*;
use crate::noise::{OpenDp, Scale};

fn groups(c: u32) -> NonZeroU32 {
    NonZeroU32::new(c).unwrap()
}

fn epsilon(x: f64) -> Epsilon {
    Epsilon::try_from(x).unwrap()
}

fn delta(x: f64) -> Delta {
    Delta::try_from(x).unwrap()
}

fn cohort(k: i64) -> Option<MinCohort> {
    Some(MinCohort::try_from(k).unwrap())
}

/// P[X ≥ x], summed term by term from the far end.
fn tail(noise: &Noise, x: i128) -> f64 {
    let s = noise.scale().upper();
    let weight = |x: i128| match noise {
        Noise::Laplace(_) => (-(x.abs() as f64) / s).exp(),
        Noise::Gaussian(_) => (-(x as f64).powi(2) / (2.0 * s * s)).exp(),
    };
    let reach = x.abs() + (60.0 * s).ceil() as i128 + 10;
    let sum = |from: i128| (from..=reach).rev().map(weight).sum::<f64>();
    sum(x) / sum(-reach)
}

const CASES: [(u32, f64, f64); 9] = [
    (1, 1.0, 1e-6),
    (1, 0.5, 1e-9),
    (1, 8.0, 1e-5),
    (3, 0.5, 1e-8),
    (7, 2.0, 1e-6),
    (12, 0.5, 1e-8),
    (50, 5.0, 1e-12),
    (1, 0.3, 0.05),
    (2, 1.0, 0.5),
];

/// `1 − (1 − P[1 + noise ≥ τ])^C ≤ δ_t`: what a unit with C keys of its own has to fear, all of them together.
#[test]
fn keys_of_one_unit_are_told_at_most_as_often_as_delta_allows() {
    for (c, eps, del) in CASES {
        let any = |p: f64| -(f64::from(c) * (-p).ln_1p()).exp_m1();
        let laplace = Selection::laplace(groups(c), epsilon(eps), delta(del), None).unwrap();
        let told = |threshold: i128| any(tail(laplace.noise(), threshold - 1));
        assert!(told(laplace.threshold()) <= del * (1.0 + 1e-9), "Laplace {c} {eps} {del}: {}", laplace.threshold());
        assert!(told(laplace.threshold() - 1) > del, "Laplace {c} {eps} {del}: {} is high", laplace.threshold());

        let gaussian = Selection::gaussian(groups(c), epsilon(eps), delta(del), delta(del), None).unwrap();
        let told = |threshold: i128| any(tail(gaussian.noise(), threshold - 1));
        assert!(told(gaussian.threshold()) <= del * (1.0 + 1e-9), "Gaussian {c} {eps} {del}: {}", gaussian.threshold());
        assert!(told(gaussian.threshold() - 2) > del || gaussian.threshold() == 2, "Gaussian {c} {eps} {del}: high");
    }
}

#[test]
fn the_thresholds_are_those_of_the_formulas() {
    // b = 2, δ′ = 1e-6: 1 + ⌈2·(13.8155 − ln(1.60653))⌉ = 1 + ⌈26.6828⌉.
    let one = Selection::laplace(groups(1), epsilon(0.5), delta(1e-6), None).unwrap();
    assert_eq!((one.threshold(), one.least()), (28, 1));
    // b = 6, δ′ = 3.3333e-7: 1 + ⌈6·(14.9141 − ln(1.84648))⌉ = 1 + ⌈85.805⌉.
    let three = Selection::laplace(groups(3), epsilon(0.5), delta(1e-6), None).unwrap();
    assert_eq!(three.threshold(), 87);
    let ten = Selection::laplace(groups(3), epsilon(0.5), delta(1e-6), cohort(10)).unwrap();
    assert_eq!((ten.threshold(), ten.least()), (96, 10));
    let gaussian = Selection::gaussian(groups(3), epsilon(0.5), delta(1e-6), delta(1e-6), None).unwrap();
    let z = 4.971_4;
    let expected = (2.0 + gaussian.noise().scale().upper() * z).ceil();
    assert!((gaussian.threshold() as f64 - expected).abs() <= 1.0);
    assert!(Selection::laplace(groups(3), epsilon(0.5), Delta::ZERO, None).is_err());
    assert!(Selection::gaussian(groups(3), epsilon(0.5), Delta::ZERO, delta(1e-6), None).is_err());
}

#[test]
fn the_share_of_a_group_is_rounded_down() {
    for (c, del) in [(1, 1e-9), (7, 1e-9), (1_000, 1e-12), (50, 0.9), (4, 0.999)] {
        let share = share(groups(c), delta(del)).unwrap();
        let all = -(f64::from(c) * (-share).ln_1p()).exp_m1();
        assert!(all < del && all > del * (1.0 - 1e-12), "{c} {del}: {all}");
    }
}

#[test]
fn noise_and_selection_are_both_charged() {
    let laplace = Selection::laplace(groups(3), epsilon(0.5), delta(1e-6), None).unwrap().cost();
    assert_eq!(laplace.basic(), (0.5, 1e-6));
    assert!(laplace.zcdp().0 >= 0.125 && laplace.zcdp().1 == 1e-6);
    let gaussian = Selection::gaussian(groups(3), epsilon(0.5), delta(1e-7), delta(1e-6), None).unwrap().cost();
    assert!(gaussian.basic().1 >= 1.1e-6 && gaussian.basic().1 < 1.100_001e-6 && gaussian.zcdp().1 == 1e-6);
    let chosen = Selection::lower_threshold(groups(50), epsilon(0.5), delta(1e-6), None).unwrap();
    assert!(matches!(chosen.noise(), Noise::Gaussian(_)));
    assert!(chosen.cost().basic().1 >= 1e-6 && chosen.cost().basic().1 < 1.000_001e-6);
    let chosen = Selection::lower_threshold(groups(1), epsilon(0.5), delta(1e-6), None).unwrap();
    assert!(matches!(chosen.noise(), Noise::Laplace(_)));
}

/// Tells what it is told to: for rules that noise would hide.
struct Fixed(Result<i128, NoiseFailed>);

impl Sampler for Fixed {
    fn laplace(&mut self, _: &Scale) -> Result<i128, NoiseFailed> {
        self.0
    }
    fn gaussian(&mut self, _: &Scale) -> Result<i128, NoiseFailed> {
        self.0
    }
    fn word(&mut self) -> Result<u64, NoiseFailed> {
        self.0.map(|_| 0)
    }
    fn below(&mut self, _: NonZeroU64) -> Result<u64, NoiseFailed> {
        self.0.map(|_| 0)
    }
}

#[test]
fn below_the_cohort_no_noise_helps() {
    let ten = Selection::laplace(groups(3), epsilon(0.5), delta(1e-6), cohort(10)).unwrap();
    let mut high = Fixed(Ok(i128::MAX));
    assert_eq!(ten.decide(9, &mut high), Ok(None));
    assert_eq!(ten.decide(10, &mut high), Ok(Some(i128::MAX)));
    let none = Selection::laplace(groups(3), epsilon(0.5), delta(1e-6), None).unwrap();
    assert_eq!(none.decide(0, &mut high), Ok(None), "a key that no unit has is no key");
    assert!(none.decide(1, &mut high).unwrap().is_some());
}

#[test]
fn keeps_from_the_threshold_on() {
    let ten = Selection::laplace(groups(3), epsilon(0.5), delta(1e-6), cohort(10)).unwrap();
    assert_eq!(ten.decide(50, &mut Fixed(Ok(45))), Ok(None));
    assert_eq!(ten.decide(50, &mut Fixed(Ok(46))), Ok(Some(96)));
    // A key that has just reached the cohort is told as rarely as one of a single unit is without one.
    let none = Selection::laplace(groups(3), epsilon(0.5), delta(1e-6), None).unwrap();
    assert_eq!(ten.threshold() - 10, none.threshold() - 1);
}

#[test]
fn fails_when_the_generator_fails() {
    let none = Selection::laplace(groups(3), epsilon(0.5), delta(1e-6), None).unwrap();
    for units in [0, 1, 1_000] {
        assert_eq!(none.decide(units, &mut Fixed(Err(NoiseFailed::Generator))), Err(NoiseFailed::Generator));
    }
}

/// With a δ large enough to see: 0.05 of 20,000 is 1,000, with a standard deviation of 31; the bound is seven of them away. A threshold one lower is told
/// 0.05·e^(1/2) = 0.082 of the time or more for b = 2, and fails by twenty.
#[test]
fn keys_of_one_unit_are_seldom_told() {
    let selection = Selection::laplace(groups(1), epsilon(0.5), delta(0.05), None).unwrap();
    let mut sampler = OpenDp;
    let told = (0..20_000).filter(|_| selection.decide(1, &mut sampler).unwrap().is_some()).count();
    assert!(told < 1_000 + 7 * 31, "{told}");
    assert!(told > 20_000 / 20 / 2, "{told}: more withheld than needed");
}
