//! How far an answer will be off, told before it is asked: from public parameters alone.
//!
//! The half-width of a count or a sum is that of its noise, whatever the data. That of an average, a variance or a correlation depends on
//! how many rows there are, which is private: to first order it is E/n for n rows, and E is what is told. E also depends on the values. They are
//! taken where [`crate::division`] takes them: spread evenly over half of the declared width, with a mean an eighth of the width off the middle
//! and a correlation of ½. So E is what to expect, and not a bound; the interval that comes with an answer is one.
//!
//! E is n times the half-width that [`finalise`] gives for so many rows of such values that the noise is small beside them.

use std::fmt;

use crate::finalise::finalise;
use crate::grid::Grid;
use crate::noisy::{Noise, Noisy};
use crate::statistics::{Finaliser, Moments, Paired, Statistic};

/// The probability with which an interval may miss.
const MISS: f64 = 0.05;
/// How much larger a statistic is than its noise where E is taken.
const MANY: f64 = 1e5;

/// Half the width of a 95% interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expected {
    /// This much.
    Fixed(f64),
    /// This much, divided by the number of rows of the group that have a value.
    OverRows(f64),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Fixed(half) => write!(f, "{}", Short(*half)),
            Expected::OverRows(half) => write!(f, "{}/n", Short(*half)),
        }
    }
}

/// A number of people's size: four digits, which is more than an expectation has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Short(pub f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through scientific notation, which rounds to digits and not to places.
        let rounded = format!("{:.3e}", self.0).parse::<f64>().unwrap_or(self.0);
        if rounded != 0.0 && !(1e-4..1e15).contains(&rounded.abs()) {
            write!(f, "{rounded:e}")
        } else {
            write!(f, "{rounded}")
        }
    }
}

impl<A> Finaliser<A> {
    /// The places of the statistics that it is computed from.
    pub fn places(&self) -> Vec<usize> {
        match self {
            Finaliser::Count(n) | Finaliser::Sum(_, n) | Finaliser::Rank(n) => vec![*n],
            Finaliser::SumFrom { count, centred, .. } | Finaliser::Average { count, centred, .. } => {
                vec![*count, *centred]
            }
            Finaliser::Variance { count, centred, square, .. } => vec![*count, *centred, *square],
            Finaliser::Paired { moments, .. } => {
                let Moments { count, x, y, xx, yy, xy } = *moments;
                let mut places = vec![count];
                for place in [x, y, xx, yy, xy].into_iter().flatten() {
                    if !places.contains(&place) {
                        places.push(place);
                    }
                }
                places
            }
        }
    }
}

/// What to expect of an aggregate's answer; `noise` is of the plan's statistics, in units of 1/`scale`. `None` where that cannot be said:
/// for ranks, which depend on how dense values are, and for slopes whose denominator may be zero.
pub fn expected<'g, A>(
    finaliser: &Finaliser<A>,
    statistics: &[Statistic<A>],
    noise: &[Noise],
    scale: u32,
    grid: impl Fn(&A) -> Option<&'g Grid>,
) -> Option<Expected> {
    let unit = f64::from(scale.max(1));
    match finaliser {
        // The interval of a count ends at whole numbers, which depends on where it is.
        Finaliser::Count(place) => return Some(Expected::Fixed(noise.get(*place)?.half_width(MISS) / unit)),
        Finaliser::Rank(_) => return None,
        _ => {}
    }
    let places = finaliser.places();
    // In rows, what the noise of each may be.
    let mut rows = 1.0_f64;
    for place in &places {
        let bound = per_row(statistics.get(*place)?, &grid)?.1;
        rows = rows.max(noise.get(*place)?.half_width(MISS / 10.0) / (bound * unit));
    }
    let rows = (rows * MANY).ceil();
    let noisy = statistics
        .iter()
        .zip(noise)
        .map(|(statistic, noise)| {
            let (each, _) = per_row(statistic, &grid).unwrap_or((0.0, 1.0));
            Noisy::new((each * rows * unit) as i128, scale, noise.clone())
        })
        .collect::<Vec<_>>();
    let interval = finalise(finaliser, &noisy, &grid)?.interval?;
    let half = (interval.hi - interval.lo) / 2.0;
    let is_sum = match finaliser {
        Finaliser::Sum(..) | Finaliser::SumFrom { .. } => true,
        Finaliser::Paired { measure, .. } => matches!(measure, Paired::Sxx | Paired::Syy | Paired::Sxy),
        _ => false,
    };
    half.is_finite().then_some(if is_sum { Expected::Fixed(half) } else { Expected::OverRows(half * rows) })
}

/// What a row adds on average, and at most.
fn per_row<'g, A>(statistic: &Statistic<A>, grid: &impl Fn(&A) -> Option<&'g Grid>) -> Option<(f64, f64)> {
    let half = |x: &A| grid(x).map(|grid| grid.half() as f64);
    Some(match statistic {
        Statistic::Rows(_) | Statistic::Units | Statistic::Distinct(..) => (1.0, 1.0),
        Statistic::Sum(x) => (0.0, grid(x)?.largest() as f64),
        Statistic::Centred(x, _) => (half(x)? / 4.0, half(x)?),
        // A variance of H²/12 and a mean of H/4, less H²/2.
        Statistic::Square(x, _) => (half(x)?.powi(2) * (1.0 / 12.0 + 1.0 / 16.0 - 0.5), half(x)?.powi(2) / 2.0),
        // A correlation of ½.
        Statistic::Product(x, y) => (half(x)? * half(y)? * (1.0 / 24.0 + 1.0 / 16.0), half(x)? * half(y)?),
        Statistic::Ranks(..) => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::statistics::{Aggregate, Divisor, Facts, Fraction, Plan, Rank};

    fn of(aggregate: Aggregate<u8>, grid: &Grid, sigma: f64) -> Option<Expected> {
        let plan = Plan::new(&[aggregate], |_| Facts { never_null: true, grid: Some(grid) });
        let noise = noise(&plan, grid, sigma);
        expected(&plan.finalisers()[0], plan.statistics(), &noise, 1, |_| Some(grid))
    }

    /// Noise of so many times what a row adds at most.
    fn noise(plan: &Plan<u8>, grid: &Grid, sigma: f64) -> Vec<Noise> {
        let most = |s: &Statistic<u8>| per_row(s, &|_: &u8| Some(grid)).map_or(1.0, |(_, most)| most);
        plan.statistics().iter().map(|s| Noise::laplace(sigma * most(s))).collect()
    }

    #[test]
    fn counts_and_sums_are_off_by_their_noise() {
        let grid = Grid::integers(0, 100).unwrap();
        let Some(Expected::Fixed(half)) = of(Aggregate::CountRows, &grid, 2.0) else { panic!() };
        assert_eq!(half, Noise::laplace(2.0).half_width(0.05));
        let Some(Expected::Fixed(half)) = of(Aggregate::Sum(0), &grid, 2.0) else { panic!() };
        assert_eq!(half, Noise::laplace(200.0).half_width(0.05));
        // Not a matter of where the values are, but of the noise.
        let Some(Expected::Fixed(more)) = of(Aggregate::Sum(0), &grid, 4.0) else { panic!() };
        assert!((more / half - 2.0).abs() < 0.01, "{half} {more}");
    }

    /// The expectation against the interval of an answer over so many rows.
    #[test]
    fn what_is_expected_comes_over_many_rows() {
        let grid = Grid::new(-3.0, 9.0).unwrap();
        let pairs = [Paired::Covariance(Divisor::Sample), Paired::Correlation, Paired::Slope, Paired::R2];
        let pairs = pairs.map(|paired| Aggregate::Paired(paired, 0, 1));
        let all = [
            Aggregate::Average(0),
            Aggregate::Variance(0, Divisor::Sample),
            Aggregate::StandardDeviation(0, Divisor::Population),
        ];
        for aggregate in all.into_iter().chain(pairs) {
            let plan = Plan::new(std::slice::from_ref(&aggregate), |_| Facts { never_null: true, grid: Some(&grid) });
            let noise = noise(&plan, &grid, 3.0);
            let finaliser = &plan.finalisers()[0];
            let told = expected(finaliser, plan.statistics(), &noise, 1, |_| Some(&grid)).unwrap();
            let Expected::OverRows(told) = told else { panic!("{aggregate:?}: {told:?}") };
            for (rows, close) in [(3_000.0, 0.35), (100_000.0, 0.02)] {
                let noisy = plan.statistics().iter().zip(&noise).map(|(s, noise)| {
                    let each = per_row(s, &|_: &u8| Some(&grid)).unwrap().0;
                    Noisy::new((each * rows) as i128, 1, noise.clone())
                });
                let answer = finalise(finaliser, &noisy.collect::<Vec<_>>(), |_| Some(&grid)).unwrap();
                let interval = answer.interval.unwrap();
                let half = (interval.hi - interval.lo) / 2.0;
                let off = (told / rows / half - 1.0).abs();
                assert!(off < close, "{aggregate:?} of {rows} rows: {} and {half}", told / rows);
            }
        }
    }

    #[test]
    fn a_sum_of_squares_is_off_by_the_same_whatever_the_rows() {
        let grid = Grid::new(0.0, 1.0).unwrap();
        assert!(
            matches!(of(Aggregate::Paired(Paired::Sxx, 0, 1), &grid, 3.0), Some(Expected::Fixed(half)) if half > 0.1)
        );
        assert_eq!(of(Aggregate::Rank(0, Rank::Quantile(Fraction::MEDIAN)), &grid, 3.0), None);
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (12.3456, "12.35"),
            (1_234_567.0, "1235000"),
            (0.000_123_456, "0.0001235"),
            (4.9e-7, "4.9e-7"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(Short(number).to_string(), text);
        }
        assert_eq!(Expected::OverRows(130.04).to_string(), "130/n");
    }
}
