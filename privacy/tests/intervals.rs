//! Answers from noisy statistics: exact where there is no noise, and within their intervals as often as is said.
//! The noise here comes from a seeded generator of this file's own; nothing outside tests can make any.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use kanon_privacy::finalise::{Answer, finalise};
use kanon_privacy::grid::{Grid, Tick};
use kanon_privacy::noisy::{Noise, Noisy};
use kanon_privacy::statistics::{Aggregate, Divisor, Facts, Paired, Plan};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (53f64).exp2()
    }

    /// A geometric variable less another one.
    fn laplace(&mut self, scale: f64) -> i128 {
        let mut geometric = || (-scale * self.uniform().ln()).floor() as i128;
        geometric() - geometric()
    }

    /// Discrete Gaussian by rejection from discrete Laplace.
    fn gaussian(&mut self, sigma: f64) -> i128 {
        let scale = sigma.floor() + 1.0;
        loop {
            let x = self.laplace(scale);
            let off = x.unsigned_abs() as f64 - sigma * sigma / scale;
            if self.uniform() < (-off * off / (2.0 * sigma * sigma)).exp() {
                return x;
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Law {
    Laplace,
    Gaussian,
}

/// The exact statistics of rows of two values, in the plan's order.
fn exact(plan: &Plan<usize>, grids: &[Grid; 2], rows: &[[Option<f64>; 2]]) -> Vec<i128> {
    let tick = |row: &[Option<f64>; 2], x: &usize| -> Option<Tick> { row[*x].and_then(|v| grids[*x].tick(v)) };
    let of = |s: &kanon_privacy::statistics::Statistic<usize>| {
        rows.iter().map(|row| s.of_row(|x| Some(&grids[*x]), |x| tick(row, x))).sum()
    };
    plan.statistics().iter().map(of).collect()
}

fn plan(aggregate: &Aggregate<usize>, grids: &[Grid; 2]) -> Plan<usize> {
    Plan::new(std::slice::from_ref(aggregate), |x| Facts { never_null: false, grid: Some(&grids[*x]) })
}

fn answer(plan: &Plan<usize>, grids: &[Grid; 2], statistics: &[Noisy]) -> Answer {
    finalise(&plan.finalisers()[0], statistics, |x| Some(&grids[*x])).unwrap()
}

fn without_noise(plan: &Plan<usize>, grids: &[Grid; 2], rows: &[[Option<f64>; 2]]) -> Answer {
    let statistics: Vec<Noisy> =
        exact(plan, grids, rows).into_iter().map(|v| Noisy::new(v, 1, Noise::none())).collect();
    answer(plan, grids, &statistics)
}

/// The sensitivity of each statistic with one row a unit, divided by an equal share of ε.
fn scales(plan: &Plan<usize>, grids: &[Grid; 2], epsilon: f64) -> Vec<f64> {
    use kanon_privacy::sensitivity::{Bounding, Bounds};
    let one = std::num::NonZeroU32::MIN;
    let bounding = Bounding::Sampled(Bounds { groups: one, rows: one });
    let sensitivity = |s: &kanon_privacy::statistics::Statistic<usize>| {
        bounding.sensitivity(s.contribution(|x| Some(&grids[*x])).unwrap()).unwrap().sum as f64
    };
    plan.statistics().iter().map(|s| sensitivity(s) * plan.statistics().len() as f64 / epsilon).collect()
}

fn two_columns() -> [Grid; 2] {
    [Grid::new(-20.0, 100.0).unwrap(), Grid::integers(0, 7).unwrap()]
}

fn rows(n: usize) -> Vec<[Option<f64>; 2]> {
    (0..n)
        .map(|i| {
            let x = ((i * 37) % 71) as f64 * 0.9;
            [(i % 11 != 3).then_some(x), (i % 13 != 5).then_some(((i * 37 % 71) / 15 + i % 3) as f64)]
        })
        .collect()
}

fn aggregates() -> Vec<Aggregate<usize>> {
    use Aggregate::{Average, Count, CountRows, StandardDeviation, Sum, Variance};
    use Divisor::{Population, Sample};
    let mut all = vec![CountRows, Count(0), Sum(0), Average(0), Average(1)];
    all.extend([
        Variance(0, Sample),
        Variance(0, Population),
        StandardDeviation(0, Sample),
        StandardDeviation(1, Population),
    ]);
    let paired = [
        Paired::Covariance(Sample),
        Paired::Covariance(Population),
        Paired::Correlation,
        Paired::Slope,
        Paired::Intercept,
        Paired::R2,
        Paired::AverageX,
        Paired::AverageY,
        Paired::Count,
        Paired::Sxx,
        Paired::Syy,
        Paired::Sxy,
    ];
    all.extend(paired.map(|p| Aggregate::Paired(p, 1, 0)));
    all
}

/// As a textbook has it, in floats.
fn textbook(aggregate: &Aggregate<usize>, rows: &[[Option<f64>; 2]]) -> f64 {
    let one = |x: usize| rows.iter().filter_map(|r| r[x]).collect::<Vec<f64>>();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let s = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - mean(a)) * (y - mean(b))).sum::<f64>();
    let less = |d: &Divisor| if *d == Divisor::Sample { 1.0 } else { 0.0 };
    match aggregate {
        Aggregate::CountRows => rows.len() as f64,
        Aggregate::Count(x) => one(*x).len() as f64,
        Aggregate::Sum(x) => one(*x).iter().sum(),
        Aggregate::Average(x) => mean(&one(*x)),
        Aggregate::Variance(x, d) => s(&one(*x), &one(*x)) / (one(*x).len() as f64 - less(d)),
        Aggregate::StandardDeviation(x, d) => textbook(&Aggregate::Variance(*x, *d), rows).sqrt(),
        Aggregate::Paired(measure, y, x) => {
            let (xs, ys): (Vec<f64>, Vec<f64>) = rows.iter().filter_map(|r| r[*x].zip(r[*y])).unzip();
            let (sxx, syy, sxy) = (s(&xs, &xs), s(&ys, &ys), s(&xs, &ys));
            match measure {
                Paired::Covariance(d) => sxy / (xs.len() as f64 - less(d)),
                Paired::Correlation => sxy / (sxx * syy).sqrt(),
                Paired::Slope => sxy / sxx,
                Paired::Intercept => mean(&ys) - sxy / sxx * mean(&xs),
                Paired::R2 => sxy * sxy / (sxx * syy),
                Paired::AverageX => mean(&xs),
                Paired::AverageY => mean(&ys),
                Paired::Count => xs.len() as f64,
                Paired::Sxx => sxx,
                Paired::Syy => syy,
                Paired::Sxy => sxy,
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_noise_answers_are_those_of_a_textbook() {
    let (grids, rows) = (two_columns(), rows(500));
    for aggregate in aggregates() {
        let answer = without_noise(&plan(&aggregate, &grids), &grids, &rows);
        let (ours, expected) = (answer.value.unwrap(), textbook(&aggregate, &rows));
        assert!((ours - expected).abs() <= 1e-8 * expected.abs().max(1.0), "{aggregate:?}: {ours}, not {expected}");
        let interval = answer.interval.unwrap();
        assert!(
            interval.lo <= ours && ours <= interval.hi && interval.hi - interval.lo <= 1e-6 * ours.abs(),
            "{aggregate:?}"
        );
    }
}

#[test]
fn a_sum_is_the_same_from_a_count_and_a_centred_sum() {
    let (grids, rows) = (two_columns(), rows(500));
    let both = [Aggregate::Sum(0), Aggregate::Count(0)];
    let shared = Plan::new(&both, |x| Facts { never_null: false, grid: Some(&grids[*x]) });
    let ours = without_noise(&shared, &grids, &rows).value.unwrap();
    assert!((ours - textbook(&both[0], &rows)).abs() < 1e-6);
}

#[test]
fn weighted_statistics_are_in_smaller_units() {
    let (grids, rows) = (two_columns(), rows(500));
    for aggregate in aggregates() {
        let plan = plan(&aggregate, &grids);
        let statistics: Vec<Noisy> =
            exact(&plan, &grids, &rows).into_iter().map(|v| Noisy::new(v * 1024, 1024, Noise::none())).collect();
        let whole = without_noise(&plan, &grids, &rows).value.unwrap();
        let weighted = answer(&plan, &grids, &statistics).value.unwrap();
        assert!((weighted - whole).abs() <= 1e-9 * whole.abs(), "{aggregate:?}: {weighted} {whole}");
    }
}

#[test]
fn answers_stay_within_what_is_possible() {
    let grids = two_columns();
    let mut random = Random(1);
    for aggregate in aggregates() {
        let plan = plan(&aggregate, &grids);
        let scales = scales(&plan, &grids, 0.05);
        for n in [0, 1, 2, 5] {
            let exact = exact(&plan, &grids, &rows(n));
            for _ in 0..200 {
                let noisy: Vec<Noisy> = exact
                    .iter()
                    .zip(&scales)
                    .map(|(v, b)| Noisy::new(v + random.laplace(*b), 1, Noise::laplace(*b)))
                    .collect();
                let answer = answer(&plan, &grids, &noisy);
                let Some(value) = answer.value else {
                    let of_pair = matches!(aggregate, Aggregate::Paired(..));
                    assert!(of_pair && answer.interval.is_none(), "{aggregate:?} has a value");
                    continue;
                };
                let (lo, hi) = match &aggregate {
                    Aggregate::Average(0) | Aggregate::Paired(Paired::AverageX, ..) => (-20.0, 100.0),
                    Aggregate::Average(_) | Aggregate::Paired(Paired::AverageY, ..) => (0.0, 7.0),
                    Aggregate::Variance(_, Divisor::Population) => (0.0, 3600.0 * (1.0 + 1e-9)),
                    Aggregate::Variance(..) => (0.0, 7200.0 * (1.0 + 1e-9)),
                    Aggregate::Paired(Paired::Correlation, ..) => (-1.0, 1.0),
                    Aggregate::Paired(Paired::R2, ..) => (0.0, 1.0),
                    Aggregate::CountRows | Aggregate::Count(_) | Aggregate::StandardDeviation(..) => {
                        (0.0, f64::INFINITY)
                    }
                    _ => (f64::NEG_INFINITY, f64::INFINITY),
                };
                assert!(value >= lo && value <= hi && value.is_finite(), "{aggregate:?}: {value}");
                if let Some(interval) = answer.interval {
                    let near = 1e-9 * value.abs();
                    assert!(interval.lo >= lo && interval.hi <= hi, "{aggregate:?}: {interval:?}");
                    assert!(
                        interval.lo - near <= value && value <= interval.hi + near,
                        "{aggregate:?}: {value} {interval:?}"
                    );
                }
            }
        }
    }
}

/// The share of simulations in which the interval holds the exact answer.
fn coverage(aggregate: &Aggregate<usize>, law: Law, sites: usize, n: usize, times: usize, seed: u64) -> f64 {
    let grids = two_columns();
    let plan = plan(aggregate, &grids);
    let scales = scales(&plan, &grids, 1.0);
    let rows = rows(n);
    let mut random = Random(seed);
    let truth = without_noise(&plan, &grids, &rows).value.unwrap();
    let of_sites: Vec<Vec<i128>> = rows.chunks(n.div_ceil(sites)).map(|rows| exact(&plan, &grids, rows)).collect();
    let mut held = 0;
    for _ in 0..times {
        let mut merged: Option<Vec<Noisy>> = None;
        for site in &of_sites {
            let noisy: Vec<Noisy> = site
                .iter()
                .zip(&scales)
                .map(|(v, b)| match law {
                    Law::Laplace => Noisy::new(v + random.laplace(*b), 1, Noise::laplace(*b)),
                    Law::Gaussian => Noisy::new(v + random.gaussian(*b), 1, Noise::gaussian(*b)),
                })
                .collect();
            merged = Some(match merged {
                None => noisy,
                Some(so_far) => so_far.iter().zip(&noisy).map(|(a, b)| a.plus(b)).collect(),
            });
        }
        // No interval says nothing, so it holds.
        held += usize::from(
            answer(&plan, &grids, &merged.unwrap()).interval.is_none_or(|i| i.lo <= truth && truth <= i.hi),
        );
    }
    held as f64 / times as f64
}

/// Three standard deviations of 10⁴ draws below the nominal level: a true coverage of 95% passes but for one time in a thousand.
const LEAST: f64 = 0.95 - 3.0 * 0.00218;

#[test]
fn intervals_of_counts_and_sums_hold_95_percent_over_sites_too() {
    for (law, seed) in [(Law::Laplace, 10), (Law::Gaussian, 20)] {
        for sites in [1, 2, 3, 10] {
            for aggregate in [Aggregate::CountRows, Aggregate::Sum(0), Aggregate::Sum(1)] {
                let held = coverage(&aggregate, law, sites, 400, 10_000, seed + sites as u64);
                assert!(held >= LEAST, "{law:?}, {aggregate:?} over {sites} sites: {held}");
                assert!(
                    held <= 0.995,
                    "{law:?}, {aggregate:?} over {sites} sites: {held} is wider than a bound has to be"
                );
            }
        }
    }
}

#[test]
fn intervals_of_averages_hold_95_percent_for_few_rows_and_many() {
    for (law, seed) in [(Law::Laplace, 30), (Law::Gaussian, 40)] {
        for (sites, n) in [(1, 3), (1, 30), (1, 3000), (5, 30), (5, 3000)] {
            for aggregate in [Aggregate::Average(0), Aggregate::Average(1)] {
                let held = coverage(&aggregate, law, sites, n, 10_000, seed + n as u64);
                assert!(held >= LEAST, "{aggregate:?} of {n} rows over {sites} sites: {held}");
            }
        }
    }
}

#[test]
fn intervals_of_everything_else_hold_too() {
    for (aggregate, seed) in aggregates().into_iter().zip(50..) {
        for n in [50, 5000] {
            let held = coverage(&aggregate, Law::Laplace, 2, n, 2_000, seed);
            assert!(held >= 0.935, "{aggregate:?} of {n} rows: {held}");
        }
    }
}

/// The negative control of the three tests above: intervals for a quarter of the noise do not hold.
#[test]
fn the_simulation_can_tell() {
    let grids = two_columns();
    let plan = plan(&Aggregate::Average(0), &grids);
    let scales = scales(&plan, &grids, 1.0);
    let rows = rows(3000);
    let truth = without_noise(&plan, &grids, &rows).value.unwrap();
    let exact = exact(&plan, &grids, &rows);
    let mut random = Random(99);
    let held = (0..1000).filter(|_| {
        let noisy: Vec<Noisy> = exact
            .iter()
            .zip(&scales)
            .map(|(v, b)| Noisy::new(v + random.laplace(*b), 1, Noise::laplace(*b / 4.0)))
            .collect();
        answer(&plan, &grids, &noisy).interval.is_some_and(|i| i.lo <= truth && truth <= i.hi)
    });
    assert!(held.count() < 800);
}
