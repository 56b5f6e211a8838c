#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use dashu::rational::RBig;
use proptest::prelude::*;

use super::*;
use crate::noise::OpenDp;
use crate::statistics::Fraction;

fn n(x: u32) -> NonZeroU32 {
    NonZeroU32::new(x).unwrap()
}

fn epsilon(x: f64) -> Epsilon {
    Epsilon::try_from(x).unwrap()
}

fn quantile(alpha: f64) -> Rank {
    Rank::Quantile(Fraction::try_from(alpha).unwrap())
}

/// The values of a group by candidate.
fn at(candidates: &Candidates, values: impl IntoIterator<Item = f64>) -> Vec<(u32, u64)> {
    let mut found = std::collections::BTreeMap::new();
    for value in values {
        *found.entry(candidates.nearest(candidates.grid.tick(value).unwrap())).or_default() += 1;
    }
    found.into_iter().collect()
}

fn chosen(choice: &Choice, values: &[(u32, u64)]) -> f64 {
    match choice.choose(values, &mut OpenDp).unwrap() {
        Chosen::Integer(x) => x as f64,
        Chosen::Float(x) => x,
    }
}

#[test]
fn integers_are_all_candidates_where_there_are_few() {
    for (lower, upper) in [(0, 110), (-7, 4), (0, 1), (1 << 60, (1 << 60) + 9), (-5, -2)] {
        let candidates = Candidates::of(&Grid::integers(lower, upper).unwrap());
        assert_eq!(candidates.count().get(), (upper - lower + 1) as u64);
        for value in lower..=upper {
            let number = candidates.nearest(candidates.grid.tick_of_integer(value));
            assert_eq!(u64::from(number), (value - lower) as u64);
            assert_eq!(candidates.value(number), Chosen::Integer(value));
        }
    }
}

#[test]
fn other_candidates_are_bounded_and_close() {
    let grids = [
        Grid::integers(0, 10_000_019).unwrap(),
        Grid::integers(i64::MIN, i64::MAX).unwrap(),
        Grid::integers(-3, (1 << 40) + 2).unwrap(),
        Grid::new(0.0, 110.0).unwrap(),
        Grid::new(-1e-9, 3e12).unwrap(),
        Grid::new(1e17, 1e17 + 64.0).unwrap(),
    ];
    for grid in grids {
        let candidates = Candidates::of(&grid);
        assert!((2..=(1 << 20) + 1).contains(&candidates.count().get()), "{}", candidates.count());
        let width = grid.upper() - grid.lower();
        let mut last = f64::NEG_INFINITY;
        for part in 0..=1000 {
            let value = (grid.lower() + width * f64::from(part) / 1000.0).min(grid.upper());
            let number = candidates.nearest(grid.tick(value).unwrap());
            let near = match candidates.value(number) {
                Chosen::Integer(x) => x as f64,
                Chosen::Float(x) => x,
            };
            // Half of a step, or a whole one where the end of the bounds is none; and at sizes like 1e17 what a float can tell.
            let step = (width / (1 << 19) as f64).max(value.abs() * f64::EPSILON).max(0.5);
            let step = if grid.has_half_integers() || width > 1e6 { step } else { step.min(width / 1e3) };
            assert!((near - value).abs() <= step, "{value} {near}");
            assert!(near >= last && near >= grid.lower() && near <= grid.upper());
            last = near;
        }
    }
}

#[test]
fn values_that_are_no_candidates_or_out_of_order_are_refused() {
    let choice = Choice::new(quantile(0.5), n(1), &Grid::integers(0, 10).unwrap(), epsilon(1.0)).unwrap();
    for values in [&[(11, 1)][..], &[(3, 1), (3, 1)], &[(4, 1), (3, 1)], &[(1, u64::MAX), (2, 1)], &[(1, 1 << 62)]] {
        assert_eq!(choice.choose(values, &mut OpenDp), Err(ChoiceError::Values), "{values:?}");
    }
}

/// All runs together are all candidates, and each has the utility of its counts.
#[test]
fn runs_are_the_utilities_of_all_candidates() {
    let grid = Grid::integers(0, 7).unwrap();
    let values: [&[(u32, u64)]; 4] = [&[], &[(0, 3)], &[(7, 2)], &[(0, 1), (1, 2), (4, 9), (7, 1)]];
    for rank in [quantile(0.5), quantile(0.1), Rank::Minimum, Rank::Maximum] {
        let choice = Choice::new(rank, n(2), &grid, epsilon(3.0)).unwrap();
        for values in values {
            let runs = choice.runs(values).unwrap();
            let found: Vec<i128> = runs.iter().flat_map(|r| vec![r.utility; r.length.get() as usize]).collect();
            let of = |c: u32| {
                let sum = |is: fn(u32, u32) -> bool| values.iter().filter(|v| is(v.0, c)).map(|v| v.1).sum::<u64>();
                choice.utility.of(sum(|v, c| v < c), sum(|v, c| v == c), sum(|v, c| v > c))
            };
            assert_eq!(found, (0..8).map(of).collect::<Vec<_>>(), "{rank:?} {values:?}");
        }
    }
}

/// Chi-square of the choice among 8 candidates with the bound of Laurent and Massart for a chance of e^−17, for every kind of rank.
#[test]
fn candidates_are_chosen_as_the_mechanism_says() {
    let grid = Grid::integers(0, 7).unwrap();
    let values = [(1, 4), (2, 1), (5, 6), (6, 2)];
    for (rank, utilities) in [
        // In values: half of 13 lies at 5; the gap below has 5 below and 8 above.
        (quantile(0.5), [-6.5, -2.5, -1.5, -1.5, -1.5, 0.0, -4.5, -6.5]),
        // r = ⌈2·ln(8/0.01)/12⌉ = 2.
        (Rank::Minimum, [-2.0, 0.0, -2.0, -3.0, -3.0, -3.0, -9.0, -11.0]),
        (Rank::Maximum, [-11.0, -7.0, -6.0, -6.0, -6.0, 0.0, 0.0, -2.0]),
    ] {
        let is_quantile = matches!(rank, Rank::Quantile(_));
        let eps = if is_quantile { 0.5 } else { 12.0 };
        let choice = Choice::new(rank, n(1), &grid, epsilon(eps)).unwrap();
        let mut seen = [0.0; 8];
        let draws = 30_000;
        for _ in 0..draws {
            seen[chosen(&choice, &values) as usize] += 1.0;
        }
        let statistic = |eps: f64| {
            let rate = eps / 2.0 / if is_quantile { 0.5 } else { 1.0 };
            let weights: Vec<f64> = utilities.iter().map(|u| (rate * u).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let expected = weights.iter().map(|w| w / sum * f64::from(draws));
            seen.iter().zip(expected).map(|(s, e)| (s - e) * (s - e) / e.max(1e-9)).sum::<f64>()
        };
        let bound = 7.0 + 2.0 * (7.0_f64 * 17.0).sqrt() + 34.0;
        // Extremes at this ε leave most candidates without a draw: those are compared by the certificate of the mechanism itself.
        if is_quantile {
            assert!(statistic(eps) < bound, "{}", statistic(eps));
            assert!(statistic(2.0 * eps) > bound && statistic(eps / 2.0) > bound, "twice or half of it is noticed");
        } else {
            let best: f64 = utilities.iter().zip(seen).filter(|(u, _)| **u == 0.0).map(|(_, s)| s).sum();
            assert!(best > 0.999 * f64::from(draws), "{seen:?}");
        }
    }
}

/// The tie that the textbook's utilities get wrong: three quarters of the values are equal.
#[test]
fn a_value_that_many_share_is_found() {
    let grid = Grid::new(0.0, 100.0).unwrap();
    let candidates = Candidates::of(&grid);
    let mut values = vec![37.2; 750];
    values.extend((0..250).map(|i| 38.0 + f64::from(i) / 10.0));
    let values = at(&candidates, values);
    for rank in [quantile(0.5), quantile(0.25), Rank::Minimum] {
        let choice = Choice::new(rank, n(1), &grid, epsilon(1.0)).unwrap();
        // Of extremes one in a hundred may lie below all values.
        let found = (0..50).filter(|_| (chosen(&choice, &values) - 37.2).abs() < 1e-3).count();
        assert!(found >= 44, "{rank:?}: {found} of 50");
    }
}

#[test]
fn answers_are_as_near_as_promised() {
    let grid = Grid::integers(0, 110).unwrap();
    let candidates = Candidates::of(&grid);
    // 80 ages from 18 to 97, 25 values each.
    let values = at(&candidates, (0..2000).map(|i| f64::from(18 + i % 80)));
    for (eps, rows) in [(1.0, 1), (0.3, 1), (1.0, 3)] {
        let ranks = |rank, truth: f64| {
            let choice = Choice::new(rank, n(rows), &grid, epsilon(eps)).unwrap();
            // 2·Δ·ln(candidates/10^-9)/ε values off, 25 to the year, and one more.
            let most = 2.0 * f64::from(rows) * (111.0 / 1e-9_f64).ln() / eps / 25.0 + 1.0;
            let aim = match rank {
                Rank::Quantile(_) => 0.0,
                _ => extreme_rank(n(rows).into(), candidates.count(), epsilon(eps)) as f64 / 25.0,
            };
            let off: Vec<f64> = (0..40).map(|_| (chosen(&choice, &values) - truth).abs()).collect();
            let far = off.iter().filter(|off| **off > most + aim).count();
            // Of extremes one in a hundred may lie beyond all values.
            let may_be_far = if aim > 0.0 { 8 } else { 0 };
            assert!(far <= may_be_far, "{rank:?}: {off:?}, not {most} and {aim}");
        };
        ranks(quantile(0.5), 57.5);
        ranks(quantile(0.9), 89.5);
        ranks(Rank::Minimum, 18.0);
        ranks(Rank::Maximum, 97.0);
    }
    // Nothing there: any candidate, no error.
    let choice = Choice::new(Rank::Minimum, n(1), &grid, epsilon(1.0)).unwrap();
    assert!((0.0..=110.0).contains(&chosen(&choice, &[])));
}

#[test]
fn a_fraction_is_kept_to_nine_digits() {
    let of = |alpha| Choice::new(quantile(alpha), n(3), &Grid::integers(0, 1).unwrap(), epsilon(1.0)).unwrap().utility;
    assert_eq!(of(0.5), Utility::Quantile(1 << 29));
    assert_eq!(of(1.0), Utility::Quantile(1 << 30));
    assert_eq!(of(0.25).sensitivity(n(4)).get(), 3 << 30);
    assert_eq!(Utility::Maximum(9).sensitivity(n(4)).get(), 4);
}

proptest! {
    #[test]
    fn groups_together_cost_no_more_than_the_whole(eps in 1e-9..30.0f64, groups in 1u32..5_000) {
        let exact = |x: f64| RBig::try_from(x).unwrap();
        let share = of_group(epsilon(eps), n(groups)).unwrap().get();
        prop_assert!(exact(share) * RBig::from(groups) <= exact(eps));
        prop_assert!(exact(share.next_up()) * RBig::from(groups) >= exact(eps), "and no less than it can");
        let cost = crate::accounts::Cost::exponential(epsilon(share), groups).basic().0;
        prop_assert!(cost <= eps && exact(cost) >= exact(share) * RBig::from(groups));
    }
}
