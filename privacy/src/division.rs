//! How ε or ρ is divided over the statistics of a release so that its answers have the least error.
//!
//! An answer f computed from statistics s₁, s₂, … errs by about Σ (∂f/∂sᵢ)·noiseᵢ. The noise of statistic i has a standard deviation
//! proportional to Δᵢ/εᵢ (Laplace) or Δᵢ/√ρᵢ (Gaussian), Δᵢ its sensitivity. With wᵢ = |∂f/∂sᵢ|, in units of what one answer may err
//! by, so that answers of different units add up, the sum of squared errors is minimised by Lagrange's rule:
//!
//! ```text
//! Laplace   minimise Σ (wᵢΔᵢ)²/εᵢ²  with Σ εᵢ = ε:   −2(wᵢΔᵢ)²/εᵢ³ = −μ   ⇒   εᵢ ∝ (wᵢΔᵢ)^⅔
//! Gaussian  minimise Σ (wᵢΔᵢ)²/ρᵢ   with Σ ρᵢ = ρ:   −(wᵢΔᵢ)²/ρᵢ² = −μ    ⇒   ρᵢ ∝ wᵢΔᵢ
//! ```
//!
//! Both objectives are convex, so this is the minimum. A statistic that several answers use has wᵢ² = the sum of theirs. The product wᵢΔᵢ
//! is the statistic's *importance*. The unit of an answer's error is what one row can change of it at most: then the importance of a statistic
//! that is an answer by itself is 1, and the bounds m and C, which multiply all alike, drop out.
//!
//! Derivatives depend on the data, and what is private may not be looked at. So they are taken, for every column, at values spread evenly
//! over half of the declared width whose mean is an eighth of the width off the middle (θ = H/4 and variance H²/12, with H half the width), and at
//! correlation ½. If a column is different the answer is less exact than it could be, and never less private.

use crate::budget::{BudgetError, Epsilon, Rho};
use crate::grid::Grid;
use crate::statistics::{Finaliser, Paired, Plan};

/// A division that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DivisionError {
    /// An importance that is not a positive finite number.
    #[error("the importance of a statistic must be a positive number, not {0}")]
    Importance(f64),
    /// More parts than can be told apart, or parts that are too small for a float.
    #[error("the budget of a release cannot be divided into {0} parts of such sizes")]
    Parts(usize),
}

/// Parts are whole numbers of 2^-32 of the whole.
const UNITS: u32 = u32::MAX;

/// Divides ε over statistics of these importances, for Laplace noise and for exponential mechanisms (whose error goes with 1/ε too). The
/// parts never add up to more than the whole, neither exactly nor when added as floats in any order.
pub fn divide_epsilon(total: Epsilon, importance: &[f64]) -> Result<Vec<Epsilon>, DivisionError> {
    divide(importance, |w| w.cbrt().powi(2), |share| Epsilon::try_from(total.get() * share))
}

/// Divides ρ over statistics of these importances, for Gaussian noise. The parts never add up to more than the whole.
pub fn divide_rho(total: Rho, importance: &[f64]) -> Result<Vec<Rho>, DivisionError> {
    divide(importance, |w| w, |share| Rho::try_from(total.get() * share))
}

fn divide<T>(
    importance: &[f64],
    part: impl Fn(f64) -> f64,
    of_total: impl Fn(f64) -> Result<T, BudgetError>,
) -> Result<Vec<T>, DivisionError> {
    let impossible = DivisionError::Parts(importance.len());
    if let Some(bad) = importance.iter().find(|w| !(w.is_finite() && **w > 0.0)) {
        return Err(DivisionError::Importance(*bad));
    }
    if importance.len() == 1 {
        return Ok(vec![of_total(1.0).map_err(|_| impossible)?]);
    }
    let largest = importance.iter().copied().fold(0.0, f64::max);
    let parts: Vec<f64> = importance.iter().map(|w| part(w / largest)).collect();
    let whole: f64 = parts.iter().sum();
    // All parts together are at most 1 − 2^-32 of the whole: more than the roundings of the products and of their sum can add.
    // Each has a unit at least.
    let reserved = u32::try_from(parts.len()).ok().filter(|n| *n < UNITS / 2).ok_or(impossible.clone())?;
    let mut left = UNITS - reserved;
    let mut divided = Vec::with_capacity(parts.len());
    for part in parts {
        let units = ((part / whole * f64::from(UNITS - reserved)).floor() as u32).min(left);
        left -= units;
        let share = (f64::from(units) + 1.0) / (f64::from(UNITS) + 1.0);
        divided.push(of_total(share).map_err(|_| impossible.clone())?);
    }
    Ok(divided)
}

impl<A: Clone + Ord> Plan<A> {
    /// The importance of every statistic, in the order of [`Plan::statistics`].
    pub fn importance<'g>(&self, grid: impl Fn(&A) -> Option<&'g Grid>) -> Vec<f64> {
        let mut squares = vec![0.0; self.statistics().len()];
        let mut add = |place: usize, importance: f64| {
            if let Some(square) = squares.get_mut(place) {
                *square += importance * importance;
            }
        };
        for finaliser in self.finalisers() {
            match finaliser {
                Finaliser::Count(i) | Finaliser::Sum(_, i) | Finaliser::Rank(i) => add(*i, 1.0),
                Finaliser::SumFrom { of, count, centred } => {
                    // mid·N + S₁ in units of H: the middle is public.
                    let offset = grid(of).map_or(1.0, |g| g.middle().unsigned_abs() as f64 / g.half() as f64);
                    add(*count, offset);
                    add(*centred, 1.0);
                }
                Finaliser::Average { count, centred, .. } => {
                    // S₁/N in units of H: the derivative by N is θ = H/4.
                    add(*count, 0.25);
                    add(*centred, 1.0);
                }
                Finaliser::Variance { count, centred, square, .. } => {
                    // In units of H²/2: by S₁ 2θ·H = H²/2; by N var − θ² − H²/2 = −0.48·H².
                    add(*count, 1.0);
                    add(*centred, 1.0);
                    add(*square, 1.0);
                }
                Finaliser::Paired { measure, moments, .. } => {
                    let (count, sums, squares, product) = of_pair(*measure);
                    add(moments.count, count);
                    moments.x.into_iter().chain(moments.y).for_each(|i| add(i, sums));
                    moments.xx.into_iter().chain(moments.yy).for_each(|i| add(i, squares));
                    moments.xy.into_iter().for_each(|i| add(i, product));
                }
            }
        }
        squares.into_iter().map(f64::sqrt).collect()
    }
}

/// The importance of N, of sums, of squares and of the product.
fn of_pair(measure: Paired) -> (f64, f64, f64, f64) {
    match measure {
        // Like a variance, times N.
        Paired::Sxx | Paired::Syy => (1.0, 1.0, 1.0, 0.0),
        // In units of HₓHᵧ: by Sₓ θᵧ = ¼, by N cov − θₓθᵧ, at most 1/8.
        Paired::Covariance(_) | Paired::Sxy => (0.125, 0.25, 0.0, 1.0),
        // cov/var in units of HₓHᵧ/var: by the variance cov/var = ½, times its own H²/2.
        Paired::Slope | Paired::Intercept | Paired::Correlation | Paired::R2 => (0.25, 0.35, 0.25, 1.0),
        // These are planned as counts and averages.
        Paired::Count | Paired::AverageX | Paired::AverageY => (1.0, 1.0, 0.0, 0.0),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::statistics::{Aggregate, Divisor, Facts, Fraction, Rank};

    fn epsilon(x: f64) -> Epsilon {
        Epsilon::try_from(x).unwrap()
    }

    #[test]
    fn one_statistic_has_it_all() {
        assert_eq!(divide_epsilon(epsilon(0.3), &[7.0]).unwrap(), [epsilon(0.3)]);
        assert!(divide_epsilon(epsilon(0.3), &[]).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(divide_epsilon(epsilon(1.0), &[1.0, bad]), Err(DivisionError::Importance(_))));
        }
        assert_eq!(divide_epsilon(epsilon(5e-324), &[1.0, 1.0]), Err(DivisionError::Parts(2)));
    }

    fn shares(aggregates: &[Aggregate<u8>], grid: &Grid) -> Vec<f64> {
        let plan = Plan::new(aggregates, |_| Facts { never_null: false, grid: Some(grid) });
        let importance = plan.importance(|_| Some(grid));
        divide_epsilon(epsilon(1.0), &importance).unwrap().into_iter().map(Epsilon::get).collect()
    }

    #[test]
    fn the_count_of_an_average_needs_less_than_its_sum() {
        let grid = Grid::integers(1000, 1010).unwrap();
        let share = shares(&[Aggregate::Average(0)], &grid);
        assert!((share[0] - 0.284).abs() < 1e-3 && (share[1] - 0.716).abs() < 1e-3, "{share:?}");
        // Asked for itself too it needs as much.
        let share = shares(&[Aggregate::Average(0), Aggregate::Count(0)], &grid);
        assert!(share[0] > share[1]);
        // For a sum far from zero it needs most.
        let share = shares(&[Aggregate::Sum(0), Aggregate::Count(0)], &grid);
        assert!(share[0] > 0.9, "{share:?}");
    }

    #[test]
    fn every_statistic_has_a_part() {
        let grid = Grid::new(0.0, 1.0).unwrap();
        let paired =
            [Paired::Covariance(Divisor::Sample), Paired::Correlation, Paired::Slope, Paired::Intercept, Paired::R2];
        let others = [Paired::AverageX, Paired::AverageY, Paired::Count, Paired::Sxx, Paired::Syy, Paired::Sxy];
        let paired = paired.into_iter().chain(others).map(|p| Aggregate::Paired(p, 0, 1));
        let single = [
            Aggregate::CountRows,
            Aggregate::CountUnits,
            Aggregate::Variance(0, Divisor::Sample),
            Aggregate::Sum(0),
            Aggregate::Rank(0, Rank::Quantile(Fraction::MEDIAN)),
        ];
        for aggregate in single.into_iter().chain(paired) {
            assert!(shares(std::slice::from_ref(&aggregate), &grid).iter().all(|s| *s > 0.01), "{aggregate:?}");
        }
    }

    /// Exactly, for numbers between 2^-60 and 2^20.
    fn exact(x: f64) -> i128 {
        let scaled = x * (100f64).exp2();
        scaled as i128
    }

    proptest! {
        #[test]
        fn parts_are_never_more_than_the_whole(
            total in 1e-3..20.0f64, logs in prop::collection::vec(-20.0..20.0f64, 1..60), turn in any::<prop::sample::Index>(),
        ) {
            let importance: Vec<f64> = logs.iter().map(|l| l.exp()).collect();
            let mut parts: Vec<f64> = divide_epsilon(epsilon(total), &importance).unwrap().into_iter().map(Epsilon::get).collect();
            prop_assert!(parts.iter().map(|p| exact(*p)).sum::<i128>() <= exact(total));
            let by = turn.index(parts.len());
            parts.rotate_left(by);
            prop_assert!(parts.iter().sum::<f64>() <= total);
            prop_assert!(parts.iter().sum::<f64>() >= total * (1.0 - 1e-6), "little is left over");
            let rho: f64 = divide_rho(Rho::try_from(total).unwrap(), &importance).unwrap().into_iter().map(Rho::get).map(|p| { assert!(p > 0.0); exact(p) }).sum::<i128>() as f64;
            prop_assert!(rho <= exact(total) as f64);
        }

        /// No other division has a smaller error.
        #[test]
        fn the_division_is_the_best(importance in prop::collection::vec(0.1..10.0f64, 2..6), other in prop::collection::vec(0.1..10.0f64, 6)) {
            let whole: f64 = other.iter().take(importance.len()).sum();
            let error = |shares: &[f64], power: i32| -> f64 { importance.iter().zip(shares).map(|(w, s)| w * w / s.powi(power)).sum() };
            let other: Vec<f64> = other.iter().take(importance.len()).map(|x| x / whole).collect();
            let laplace: Vec<f64> = divide_epsilon(epsilon(1.0), &importance).unwrap().into_iter().map(Epsilon::get).collect();
            let gaussian: Vec<f64> = divide_rho(Rho::try_from(1.0).unwrap(), &importance).unwrap().into_iter().map(Rho::get).collect();
            prop_assert!(error(&laplace, 2) <= error(&other, 2) * (1.0 + 1e-6));
            prop_assert!(error(&gaussian, 1) <= error(&other, 1) * (1.0 + 1e-6));
        }
    }
}
