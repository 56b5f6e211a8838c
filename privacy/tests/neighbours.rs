//! What the sensitivities promise, tried on every dataset of a small world: whichever unit is removed, the exact statistics move by at most
//! the declared norms, bounding included. And the same for any order of rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use kanon_privacy::bounding::{Kept, SiteKey, UnitOrder};
use kanon_privacy::grid::Grid;
use kanon_privacy::sensitivity::{Bounding, Bounds, Clip, Norm, RowWeight, Sensitivity};
use kanon_privacy::statistics::{Present, Statistic};

/// Values of x and y, one of them below the bounds, one at the upper end, one missing.
const X: [Option<f64>; 3] = [Some(-50.0), Some(3.0), None];
const Y: [Option<f64>; 3] = [Some(1.0), Some(0.0), Some(1.0)];

/// A group and the number of a value.
type Row = (u8, u8);
/// Groups and the numbers of the values in them.
type Groups = Vec<(u8, Vec<u8>)>;
/// A number a group and statistic.
type Exact = BTreeMap<(u8, usize), i128>;

fn n(x: u32) -> NonZeroU32 {
    NonZeroU32::new(x).unwrap()
}

struct World {
    bounding: Bounding,
    grids: [Grid; 2],
    statistics: Vec<Statistic<usize>>,
    key: SiteKey,
    distinct: NonZeroU32,
}

impl World {
    fn new(bounding: Bounding, distinct: u32) -> World {
        let (all, both) = (Present::One(0), Present::Both(0, 1));
        let distinct = n(distinct);
        let statistics = vec![
            Statistic::Units,
            Statistic::Distinct(0, distinct),
            Statistic::Rows(Present::All),
            Statistic::Rows(all),
            Statistic::Sum(0),
            Statistic::Centred(0, all),
            Statistic::Square(0, all),
            Statistic::Centred(1, both),
            Statistic::Product(0, 1),
        ];
        let grids = [Grid::integers(-4, 3).unwrap(), Grid::new(0.0, 1.0).unwrap()];
        World { bounding, grids, statistics, key: SiteKey::new([7; 16]), distinct }
    }

    fn sensitivities(&self) -> Vec<Sensitivity> {
        let of = |s: &Statistic<usize>| s.contribution(|x| Some(&self.grids[*x])).unwrap();
        self.statistics.iter().map(|s| self.bounding.sensitivity(of(s)).unwrap()).collect()
    }

    fn of_row(&self, statistic: &Statistic<usize>, value: u8) -> i128 {
        let at = |x: &usize| [X, Y][*x][usize::from(value)].and_then(|v| self.grids[*x].tick(v));
        statistic.of_row(|x| Some(&self.grids[*x]), at)
    }

    /// The statistics as a release computes them: bounded by unit, then summed over units.
    fn exact(&self, units: &[(u8, &[Row])]) -> Exact {
        let mut exact = Exact::new();
        // The largest weight of a unit that has the value.
        let mut distinct: BTreeMap<(u8, u8), i128> = BTreeMap::new();
        for (unit, rows) in units {
            let order = self.key.unit(&[*unit]);
            let (groups, row_weight, unit_weight) = self.bounded(&order, rows);
            for (group, values) in groups {
                for (place, statistic) in self.statistics.iter().enumerate() {
                    let of_rows: i128 = values.iter().map(|v| self.of_row(statistic, *v)).sum();
                    let weighted = row_weight.map_or(of_rows, |w| w.apply(of_rows));
                    let adds = if *statistic == Statistic::Units { unit_weight } else { weighted };
                    *exact.entry((group, place)).or_default() += adds;
                }
                let mut kept = Kept::at_most(self.distinct);
                for value in values.iter().filter(|v| X[usize::from(**v)].is_some()) {
                    kept.offer(order.value(&[group], 0, &[*value]), *value, || ());
                }
                for (value, ()) in kept.into_entries() {
                    let weight = distinct.entry((group, value)).or_default();
                    *weight = (*weight).max(unit_weight);
                }
            }
        }
        for ((group, _), weight) in distinct {
            *exact.entry((group, 1)).or_default() += weight;
        }
        exact
    }

    /// What is kept of a unit by group, and its weights.
    fn bounded(&self, order: &UnitOrder, rows: &[Row]) -> (Groups, Option<RowWeight>, i128) {
        match self.bounding {
            Bounding::Sampled(bounds) => {
                let mut groups = Kept::at_most(bounds.groups);
                let mut seen: BTreeMap<Row, u64> = BTreeMap::new();
                for (group, value) in rows {
                    let duplicate = seen.entry((*group, *value)).or_default();
                    let new = || Kept::at_most(bounds.rows);
                    if let Some(kept) = groups.offer(order.group(&[*group]), *group, new) {
                        kept.offer(order.row(&[*group], &[*value], *duplicate), (), || *value);
                    }
                    *duplicate += 1;
                }
                let values = |kept: Kept<(), u8>| kept.into_entries().map(|(_, v)| v).collect();
                (groups.into_entries().map(|(g, kept)| (g, values(kept))).collect(), None, 1)
            }
            Bounding::Clipped(clip) => {
                let mut groups: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
                rows.iter().for_each(|(g, v)| groups.entry(*g).or_default().push(*v));
                let weight = clip.row_weight(groups.values().map(|v| v.len() as u64)).unwrap();
                let unit_weight = i128::from(clip.unit_weight(groups.len() as u32));
                (groups.into_iter().collect(), Some(weight), unit_weight)
            }
        }
    }

    /// Asserts that no statistic moves further than declared, and keeps the furthest that any did, as L∞, L1 and L2².
    fn compare(&self, with: &Exact, without: &Exact, declared: &[Sensitivity], furthest: &mut [[u128; 3]]) {
        for (place, (sensitivity, furthest)) in declared.iter().zip(furthest).enumerate() {
            let moved = (0..3u8).map(|group| {
                let at = |e: &Exact| e.get(&(group, place)).copied().unwrap_or(0);
                (at(with) - at(without)).unsigned_abs()
            });
            let (largest, sum, squares) = moved.fold((0, 0, 0), |(l, s, q), m| (m.max(l), s + m, q + m * m));
            let statistic = &self.statistics[place];
            assert!(largest <= sensitivity.largest, "{statistic:?}: {largest}, not {}", sensitivity.largest);
            assert!(sum <= sensitivity.sum, "{statistic:?}: {sum}, not {}", sensitivity.sum);
            assert!(squares <= sensitivity.euclidean.squared().unwrap(), "{statistic:?}: √{squares}");
            *furthest = [largest.max(furthest[0]), sum.max(furthest[1]), squares.max(furthest[2])];
        }
    }

    /// All datasets of so many units with up to so many rows each. Returns how far each statistic moved.
    fn try_all(&self, units: usize, rows: usize, groups: u8) -> Vec<[u128; 3]> {
        let choices = rows_of_a_unit(rows, groups);
        let declared = self.sensitivities();
        let mut furthest = vec![[0; 3]; declared.len()];
        let of = |mut code: usize, units: usize, left_out: Option<usize>| -> Exact {
            let mut dataset: Vec<(u8, &[Row])> = Vec::new();
            for unit in (0..units).filter(|u| Some(*u) != left_out) {
                dataset.push((unit as u8, &choices[code % choices.len()]));
                code /= choices.len();
            }
            self.exact(&dataset)
        };
        // Without a unit: once for every dataset of the others.
        let others = choices.len().pow(units as u32 - 1);
        for unit in 0..units {
            let low = choices.len().pow(unit as u32);
            for code in 0..others {
                let without = of(code, units, Some(unit));
                for choice in 0..choices.len() {
                    let with = of(code % low + choice * low + code / low * low * choices.len(), units, None);
                    self.compare(&with, &without, &declared, &mut furthest);
                }
            }
        }
        furthest
    }
}

/// All multisets of at most so many rows.
fn rows_of_a_unit(most: usize, groups: u8) -> Vec<Vec<Row>> {
    let kinds: Vec<Row> = (0..groups).flat_map(|g| (0..3).map(move |v| (g, v))).collect();
    let mut all: Vec<Vec<Row>> = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..most {
        let longer = |rows: &Vec<Row>| {
            let from = rows.last().map_or(0, |r| kinds.iter().position(|k| k == r).unwrap());
            let longer: Vec<Vec<Row>> =
                kinds[from..].iter().map(|k| rows.iter().chain([k]).copied().collect()).collect();
            longer
        };
        last = last.iter().flat_map(longer).collect();
        all.extend(last.clone());
    }
    all
}

fn sampled(groups: u32, rows: u32) -> Bounding {
    Bounding::Sampled(Bounds { groups: n(groups), rows: n(rows) })
}

fn clipped(norm: f64, groups: u32, keys: u32) -> Bounding {
    Bounding::Clipped(Clip::new(Norm::try_from(norm).unwrap(), n(groups), n(keys)))
}

#[test]
fn no_unit_of_four_moves_a_statistic_further_than_declared() {
    // 4 units, 3 values in one group and up to 2 rows each; then one row each in two groups.
    for bounding in [sampled(1, 1), sampled(1, 2), clipped(1.5, 1, 1)] {
        World::new(bounding, 1).try_all(4, 2, 1);
    }
    for bounding in [sampled(1, 1), sampled(2, 1), clipped(0.7, 1, 2)] {
        World::new(bounding, 1).try_all(4, 1, 2);
    }
}

#[test]
fn no_unit_of_two_with_many_rows_moves_a_statistic_further_than_declared() {
    for (bounding, distinct) in
        [(sampled(1, 1), 1), (sampled(1, 2), 1), (sampled(2, 1), 1), (sampled(2, 2), 2), (clipped(1.3, 1, 2), 1)]
    {
        let world = World::new(bounding, distinct);
        let furthest = world.try_all(2, 4, 2);
        // The bounds are not only kept but reached, or they would cost more than they need to.
        for ((statistic, declared), moved) in world.statistics.iter().zip(world.sensitivities()).zip(&furthest) {
            let reached = moved[0] as f64 / declared.largest as f64;
            let is_sampled = matches!(bounding, Bounding::Sampled(_));
            assert!(!is_sampled || reached > 0.99, "{statistic:?} under {bounding:?}: {moved:?} of {declared:?}");
            assert!(moved[2] > 0);
        }
    }
}

#[test]
fn three_groups_and_a_norm() {
    for norm in [0.5, 1.0, 1.5, 2.0, 10.0] {
        for groups in [1, 2, 3] {
            let world = World::new(clipped(norm, groups, 3), 2);
            let furthest = world.try_all(1, 4, 3);
            let rows = (world.sensitivities()[2], furthest[2]);
            if norm <= 2.0 {
                // The norm of a unit's rows is reached, up to the grid of 2^-10.
                let reached = (rows.1[2] as f64).sqrt() / rows.0.euclidean.upper();
                assert!(reached > 0.99, "{norm}: {reached}");
            }
        }
    }
}

/// The negative control: with the bounding of a wider world the declared norms do not hold.
#[test]
fn without_bounding_the_norms_do_not_hold() {
    for (declared, done) in [
        (sampled(1, 1), sampled(1, 2)),
        (sampled(1, 2), sampled(2, 2)),
        (clipped(1.0, 2, 2), clipped(1.01, 2, 2)),
        (clipped(9.0, 1, 2), clipped(9.0, 2, 2)),
    ] {
        let tight = World::new(declared, 1);
        let loose = World::new(done, 1);
        let is_beyond = rows_of_a_unit(3, 2).iter().any(|rows| {
            let with = loose.exact(&[(0, rows)]);
            (0..tight.statistics.len()).any(|place| {
                let moved =
                    (0..2u8).map(|g| with.get(&(g, place)).copied().unwrap_or(0).unsigned_abs().pow(2)).sum::<u128>();
                moved > tight.sensitivities()[place].euclidean.squared().unwrap()
            })
        });
        assert!(is_beyond, "{declared:?} holds for {done:?}");
    }
    let (one, two) = (World::new(sampled(1, 2), 1), World::new(sampled(1, 2), 2));
    let rows: Vec<Row> = vec![(0, 0), (0, 1)];
    assert!(two.exact(&[(0, &rows)])[&(0, 1)].unsigned_abs() > one.sensitivities()[1].largest);
}

#[test]
fn statistics_are_the_same_in_any_order_of_rows() {
    let permutations = |rows: &[Row]| -> Vec<Vec<Row>> {
        let mut all = vec![Vec::new()];
        for row in rows {
            all = all
                .iter()
                .flat_map(|p: &Vec<Row>| {
                    (0..=p.len()).map(|at| {
                        let mut longer = p.clone();
                        longer.insert(at, *row);
                        longer
                    })
                })
                .collect();
        }
        all
    };
    for bounding in [sampled(1, 1), sampled(1, 2), sampled(2, 1), clipped(1.2, 1, 2)] {
        let world = World::new(bounding, 1);
        for rows in rows_of_a_unit(4, 2) {
            let other = [(0, 0), (1, 1)];
            let expected = world.exact(&[(0, &rows), (1, &other)]);
            for permuted in permutations(&rows) {
                assert_eq!(world.exact(&[(1, &other), (0, &permuted)]), expected, "{bounding:?} {permuted:?}");
            }
        }
    }
}
