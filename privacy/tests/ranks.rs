//! What the utilities of ranks promise, tried on every small dataset: whichever unit is removed, no candidate's utility moves further than
//! declared, and no candidate's probability by more than a factor e^ε.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::num::NonZeroU32;

use kanon_privacy::ranks::Utility;

const CANDIDATES: usize = 4;
/// How many values each candidate has.
type World = [u64; CANDIDATES];

fn n(x: u32) -> NonZeroU32 {
    NonZeroU32::new(x).unwrap()
}

/// All multisets of at most so many values.
fn worlds(most: u64) -> Vec<World> {
    let mut all = vec![[0; CANDIDATES]];
    for candidate in 0..CANDIDATES {
        all = all
            .into_iter()
            .flat_map(|world| {
                let left = most - world.iter().sum::<u64>();
                (0..=left).map(move |count| {
                    let mut more = world;
                    more[candidate] = count;
                    more
                })
            })
            .collect();
    }
    all
}

fn utilities(utility: Utility, world: &World) -> [i128; CANDIDATES] {
    std::array::from_fn(|c| utility.of(world[..c].iter().sum(), world[c], world[c + 1..].iter().sum()))
}

/// Every world with every unit that has at most `rows` values.
fn neighbours(rows: u32) -> Vec<(World, World)> {
    let (others, units) = (worlds(5), worlds(u64::from(rows)));
    let with = |a: &World, b: &World| std::array::from_fn(|c| a[c] + b[c]);
    others.iter().flat_map(|a| units.iter().map(move |b| (*a, with(a, b)))).collect()
}

fn all_utilities() -> Vec<Utility> {
    let quantiles = [0, 1, 1 << 26, 1 << 29, 700_000_000, (1 << 30) - 1, 1 << 30].map(Utility::Quantile);
    let extremes = [0, 1, 2, 3, 4, 9].into_iter().flat_map(|r| [Utility::Minimum(r), Utility::Maximum(r)]);
    quantiles.into_iter().chain(extremes).collect()
}

#[test]
fn no_unit_moves_a_utility_further_than_declared() {
    for rows in [1, 2, 3] {
        let neighbours = neighbours(rows);
        for utility in all_utilities() {
            let declared = i128::from(utility.sensitivity(n(rows)).get());
            let mut furthest = 0;
            for (without, with) in &neighbours {
                for (a, b) in utilities(utility, without).into_iter().zip(utilities(utility, with)) {
                    assert!((a - b).abs() <= declared, "{utility:?}, {without:?} and {with:?}: {a} and {b}");
                    furthest = furthest.max((a - b).abs());
                }
            }
            // The bound is reached, or it would cost accuracy: only a rank of nothing, which no value can miss, does not move.
            assert_eq!(furthest, declared, "{utility:?}");
        }
    }
}

#[test]
fn no_probability_moves_by_more_than_a_factor() {
    let epsilon = 0.9_f64;
    for rows in [1, 2] {
        let neighbours = neighbours(rows);
        for utility in all_utilities() {
            let rate = epsilon / 2.0 / utility.sensitivity(n(rows)).get() as f64;
            let probabilities = |world: &World| {
                let weights = utilities(utility, world).map(|u| (rate * u as f64).exp());
                let sum: f64 = weights.iter().sum();
                weights.map(|w| w / sum)
            };
            let mut largest: f64 = 0.0;
            for (without, with) in &neighbours {
                for (a, b) in probabilities(without).into_iter().zip(probabilities(with)) {
                    largest = largest.max((a / b).ln().abs());
                }
            }
            assert!(largest <= epsilon + 1e-9, "{utility:?}: {largest}");
        }
    }
}

/// The negative control: what a unit with more values than declared does is seen, and so is the textbook's sensitivity for a mean rank, a half.
#[test]
fn a_smaller_sensitivity_does_not_hold() {
    for utility in [Utility::Quantile(1 << 28), Utility::Quantile(1 << 29), Utility::Minimum(2), Utility::Maximum(2)] {
        let declared = i128::from(utility.sensitivity(n(1)).get());
        let is_beyond = neighbours(2).iter().any(|(without, with)| {
            utilities(utility, without).into_iter().zip(utilities(utility, with)).any(|(a, b)| (a - b).abs() > declared)
        });
        assert!(is_beyond, "{utility:?}");
    }
    let quarter = Utility::Quantile(1 << 28);
    let half = 1_i128 << 29;
    let moved = |(without, with): &(World, World)| {
        utilities(quarter, without).into_iter().zip(utilities(quarter, with)).any(|(a, b)| (a - b).abs() > half)
    };
    assert!(neighbours(1).iter().any(moved));
}

/// The utility is best where the rank is, also where many values are equal, and the more equal the values the clearer.
#[test]
fn the_candidate_that_takes_the_rank_is_the_best() {
    for world in worlds(6) {
        let all: u64 = world.iter().sum();
        for alpha in [1_u64 << 26, 1 << 29, 700_000_000] {
            let found = utilities(Utility::Quantile(alpha), &world);
            for (candidate, utility) in found.into_iter().enumerate() {
                let below: u64 = world[..candidate].iter().sum();
                let wanted = u128::from(alpha) * u128::from(all);
                let takes = u128::from(below) << 30 <= wanted && wanted <= u128::from(below + world[candidate]) << 30;
                assert_eq!(utility == 0, takes, "{world:?} {candidate} {alpha}");
            }
        }
        for rank in [1, 2, 3] {
            let found = utilities(Utility::Minimum(rank), &world);
            let mirrored = utilities(Utility::Maximum(rank), &std::array::from_fn(|c| world[CANDIDATES - 1 - c]));
            for (candidate, utility) in found.into_iter().enumerate() {
                let below: u64 = world[..candidate].iter().sum();
                assert_eq!(utility == 0, below <= rank && rank <= below + world[candidate], "{world:?} {candidate}");
                assert_eq!(utility, mirrored[CANDIDATES - 1 - candidate]);
            }
        }
    }
}
