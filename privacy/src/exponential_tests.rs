#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::noise::{OpenDp, Scale};

fn length(n: u64) -> NonZeroU64 {
    NonZeroU64::new(n).unwrap()
}

fn run(n: u64, utility: i128) -> Run {
    Run { length: length(n), utility }
}

fn rate(eps: f64, sensitivity: u64) -> Rate {
    Rate::new(Epsilon::try_from(eps).unwrap(), length(sensitivity)).unwrap()
}

/// Gives words from a list; the position in a run is always its first.
struct Words(Vec<u64>);

impl Sampler for Words {
    fn laplace(&mut self, _: &Scale) -> Result<i128, NoiseFailed> {
        Err(NoiseFailed::Generator)
    }
    fn gaussian(&mut self, _: &Scale) -> Result<i128, NoiseFailed> {
        Err(NoiseFailed::Generator)
    }
    fn word(&mut self) -> Result<u64, NoiseFailed> {
        if self.0.is_empty() { Err(NoiseFailed::Generator) } else { Ok(self.0.remove(0)) }
    }
    fn below(&mut self, _: NonZeroU64) -> Result<u64, NoiseFailed> {
        Ok(0)
    }
}

/// Probabilities of runs by the definition.
fn probabilities(runs: &[Run], eta: f64) -> Vec<f64> {
    let best = runs.iter().map(|run| run.utility).max().unwrap();
    let weights: Vec<f64> =
        runs.iter().map(|run| run.length.get() as f64 * (eta * (run.utility - best) as f64).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Chi-square with the bound of Laurent and Massart for a chance of e^−17.
#[test]
fn candidates_are_chosen_as_the_mechanism_says() {
    let runs = [run(3, -2), run(1, 0), run(2, -1), run(10, -7), run(1, -3)];
    let mut seen = [0f64; 17];
    let draws = 40_000;
    let mut sampler = OpenDp;
    // η = 0.8 / (2·1)
    for _ in 0..draws {
        seen[choose(&runs, &rate(0.8, 1), &mut sampler).unwrap() as usize] += 1.0;
    }
    let statistic = |eta: f64| -> f64 {
        let by_run = probabilities(&runs, eta);
        let mut candidate = 0;
        let mut sum = 0.0;
        for (run, p) in runs.iter().zip(by_run) {
            for _ in 0..run.length.get() {
                let expected = p / run.length.get() as f64 * f64::from(draws);
                sum += (seen[candidate] - expected).powi(2) / expected;
                candidate += 1;
            }
        }
        sum
    };
    let bound = 16.0 + 2.0 * (16.0f64 * 17.0).sqrt() + 34.0;
    assert!(statistic(0.4) < bound, "{}", statistic(0.4));
    assert!(statistic(0.8) > bound, "ε/Δ instead of ε/(2Δ) would be noticed");
    assert!(statistic(0.36) > bound && statistic(0.44) > bound, "so would ten percent");
}

/// A certificate over all draws at once: the boundaries in U between runs are those of the definition, to within what 64 bits can say.
#[test]
fn boundaries_lie_where_the_definition_has_them() {
    let runs = [run(3, -2), run(1, 0), run(2, -1), run(1_000_000, -40), run(1, -3)];
    for (eps, sensitivity, eta) in [(0.8, 1, 0.4), (1.0, 3, 1.0 / 6.0), (9.0, 1, 4.5), (1e-9, 1, 5e-10)] {
        let mut end = 0.0;
        let mut first = 0;
        for (index, p) in probabilities(&runs, eta).into_iter().enumerate() {
            let start = end;
            end += p;
            let at = |u: f64| {
                let word = (u * 2f64.powi(64)) as u64;
                choose(&runs, &rate(eps, sensitivity), &mut Words(vec![word, 0])).unwrap()
            };
            if p > 1e-9 {
                assert_eq!(at(start + p * 1e-4), first, "ε {eps}, run {index}");
                assert_eq!(at(end - p * 1e-4), first, "ε {eps}, run {index}");
            }
            first += runs[index].length.get();
        }
    }
}

/// The first 128 bits of U fall on a boundary: more are drawn, and they decide. Weights are 1 and 1, so the boundary is exactly 1/2.
#[test]
fn doubt_is_settled_by_more_bits() {
    let runs = [run(1, 0), run(1, 0)];
    let half = 1u64 << 63;
    let choose = |words: &[u64]| choose(&runs, &rate(1.0, 1), &mut Words(words.to_vec()));
    assert_eq!(choose(&[half, 1 << 20]), Ok(1), "above by enough for 128 bits");
    assert_eq!(choose(&[half - 1, u64::MAX << 20]), Ok(0), "below by enough");
    assert_eq!(choose(&[half, 0]), Err(NoiseFailed::Generator.into()), "needs more bits");
    assert_eq!(choose(&[half - 1, u64::MAX]), Err(NoiseFailed::Generator.into()), "needs more bits");
    assert_eq!(choose(&[half, 0, 1, 0]), Ok(1));
    assert_eq!(choose(&[half - 1, u64::MAX, u64::MAX - 1, 0]), Ok(0));
    assert_eq!(choose(&[half, 0, 0, 0, 1, 0, 0, 0]), Ok(1), "512 bits");
}

const BOUNDARY: &str = "731058578630004879251159241821836274365144640165056519276365";

#[test]
fn an_irrational_boundary_is_found_to_hundreds_of_bits() {
    // Weights 1 and e^−1: the boundary is 1/(1 + e^−1). Bisect on 256 bits with 64-bit words and compare with 60 digits.
    let runs = [run(1, 0), run(1, -1)];
    let rate = rate(2.0, 1);
    let (mut low, mut high) = (UBig::ZERO, UBig::ONE << 256);
    let ladder = Ladder::of(&runs).unwrap();
    while &high - &low > UBig::from(1u8) {
        let middle = (&low + &high) >> 1;
        match ladder.locate(&runs, &rate, &middle, 256) {
            Some((0, _)) => low = middle,
            _ => high = middle,
        }
    }
    // 1/(1 + e^−1) · 10⁶⁰, rounded down.
    let digits: UBig = BOUNDARY.parse().unwrap();
    let found = (low * UBig::from(10u8).pow(60)) >> 256;
    let apart = if found > digits { found - digits } else { digits - found };
    assert!(apart <= UBig::from(1u8), "{apart}");
}

#[test]
fn a_candidate_far_below_is_not_chosen_and_its_weight_is_bounded() {
    let runs = [run(1 << 20, -1_000_000), run(1, 0), run(1 << 20, -(1i128 << 100))];
    for _ in 0..100 {
        assert_eq!(choose(&runs, &rate(1.0, 1), &mut OpenDp), Ok(1 << 20));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    assert_eq!(choose(&[], &rate(1.0, 1), &mut OpenDp), Err(ExponentialError::NoCandidates));
    assert_eq!(choose(&[run(1 << 33, 0)], &rate(1.0, 1), &mut OpenDp), Err(ExponentialError::TooMany));
    let apart = [run(1, i128::MIN), run(1, i128::MAX)];
    assert_eq!(choose(&apart, &rate(1.0, 1), &mut OpenDp), Err(ExponentialError::TooMany));
    let tiny = Epsilon::try_from(1e-60).unwrap();
    assert_eq!(Rate::new(tiny, length(1)), Err(ExponentialError::Rate));
    assert_eq!(choose(&[run(5, 3)], &rate(1.0, 1), &mut Words(vec![])), Err(NoiseFailed::Generator.into()));
    assert_eq!(choose(&[run(5, 3)], &rate(1.0, 1), &mut Words(vec![7, 7])), Ok(0));
}

#[test]
fn a_million_runs_take_no_time() {
    let runs: Vec<Run> = (0..1 << 20).map(|i: i128| run(1, -(i - (1 << 19)).abs())).collect();
    for eps in [0.001, 1.0] {
        let start = Instant::now();
        let chosen = choose(&runs, &rate(eps, 1), &mut OpenDp).unwrap();
        let took = start.elapsed();
        assert!((i128::from(chosen) - (1 << 19)).abs() < (80.0 / eps) as i128, "{chosen}");
        assert!(took.as_secs() < 10, "{took:?}");
    }
}

#[test]
fn the_rank_of_a_robust_extreme() {
    // ⌈2·3·ln(1024/0.01)/0.5⌉ = ⌈138.438…⌉
    assert_eq!(extreme_rank(length(3), length(1_024), Epsilon::try_from(0.5).unwrap()), 139);
    assert_eq!(extreme_rank(length(1), length(1), Epsilon::try_from(1e6).unwrap()), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Weights are lower bounds, short of the truth by no more than said: against the same with 192 more bits.
    #[test]
    fn weights_are_bounded_from_both_sides(
        gaps in prop::collection::vec(0i128..1 << 20, 1..30),
        eps in -9.0..1.3f64,
        sensitivity in 1u64..100,
    ) {
        let runs: Vec<Run> = gaps.iter().map(|gap| run(1, -gap)).collect();
        let eps = 10f64.powf(eps);
        let rate = rate(eps, sensitivity);
        let ladder = Ladder::of(&runs).unwrap();
        let (coarse, error) = ladder.weights(runs.len(), &rate, 128);
        let (fine, fine_error) = ladder.weights(runs.len(), &rate, 320);
        let best = gaps.iter().min().unwrap();
        for ((coarse, fine), gap) in coarse.iter().zip(&fine).zip(&gaps) {
            let coarse = coarse << 192;
            prop_assert!(coarse <= fine + &fine_error);
            prop_assert!(fine <= &(coarse + (&error << 192)));
            let float = (-(gap - best) as f64 * eps / 2.0 / sensitivity as f64).exp();
            let exact = RBig::from_parts(fine.as_ibig().clone(), UBig::ONE << 320).to_f64_fast();
            prop_assert!((exact - float).abs() <= float * 1e-10 + 1e-90, "{exact} {float}");
        }
    }
}
