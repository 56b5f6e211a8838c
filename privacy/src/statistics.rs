//! Which base statistics the aggregates of a release need. Every statistic costs a share of ε, so each is asked once, whoever needs it: avg(x) and
//! count(x) share the count, corr(x, y) and covar_pop(y, x) share all but two.
//!
//! ```text
//! avg(x), sum(x), count(x)  ─► Plan::new ─►  statistics: Rows(x), Centred(x)      asked once each, noise added
//!                                            finalisers: one an aggregate          from noisy statistics to its answer
//! ```
//!
//! An argument is whatever the caller tells arguments apart by (a number, a canonical expression). Two facts about it are used, both public:
//! whether it can be NULL, and its grid.
//!
//! # SUM
//! A sum can be asked for itself, with sensitivity m·B where B = max(|L|, |U|) = |mid| + w/2, or be computed as mid·N + S₁. For itself alone the
//! plain sum is never worse: to divide ε over N and S₁ costs more than what centring gains (Laplace: (|mid|^⅔ + (w/2)^⅔)^(3/2) ≥ B; Gaussian:
//! equal). Where the count of x is asked anyhow, S₁ in place of the plain sum has an error smaller by a factor w/2B, and with N's own error it is
//! √(mid² + (w/2)²) ≤ B for equal shares: so then it is computed. With mid = 0 both are the same statistic, and no count is needed.

use std::num::NonZeroU32;

use crate::grid::{Grid, Tick};
use crate::sensitivity::Contribution;

/// The rows in which the arguments of a statistic are not NULL. Arguments that are never NULL are not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Present<A> {
    /// All rows.
    All,
    /// Rows with a value of the argument.
    One(A),
    /// Rows with values of both, the lesser argument first.
    Both(A, A),
}

/// A share of ordered values: 0 ≤ α ≤ 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fraction(u64);

/// A fraction that is none.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a fraction must be between 0 and 1, not {0}")]
pub struct FractionError(f64);

impl Fraction {
    /// The middle.
    pub const MEDIAN: Fraction = Fraction(0.5f64.to_bits());

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl TryFrom<f64> for Fraction {
    type Error = FractionError;
    fn try_from(value: f64) -> Result<Self, FractionError> {
        // abs for −0, so that equal fractions are equal bits.
        if (0.0..=1.0).contains(&value) { Ok(Fraction(value.abs().to_bits())) } else { Err(FractionError(value)) }
    }
}

/// What is looked for among ordered values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// A value with this share of the values below.
    Quantile(Fraction),
    /// A robust least value.
    Minimum,
    /// A robust greatest value.
    Maximum,
}

/// A base statistic: one exact integer a group (for ranks: the ordered values), to which noise is added once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Statistic<A> {
    /// The number of rows.
    Rows(Present<A>),
    /// The number of units.
    Units,
    /// The number of distinct values, of at most so many a unit.
    Distinct(A, NonZeroU32),
    /// The sum of values, clamped.
    Sum(A),
    /// The sum of values less the middle of their bounds, in these rows (the argument is not NULL there).
    Centred(A, Present<A>),
    /// The sum of their squares, each less w²/8.
    Square(A, Present<A>),
    /// The sum of products of two, both centred; the lesser argument first.
    Product(A, A),
    /// The values in order, from which the exponential mechanism chooses one.
    Ranks(A, Rank),
}

impl<A: Clone + Ord> Statistic<A> {
    /// What a row, a unit or its values add at most, to be bounded by [`crate::sensitivity::Bounding::sensitivity`]. None for ranks, whose
    /// sensitivity is the exponential mechanism's, and for arguments without a grid.
    pub fn contribution<'g>(&self, grid: impl Fn(&A) -> Option<&'g Grid>) -> Option<Contribution> {
        Some(match self {
            Statistic::Rows(_) => Contribution::Rows(1),
            Statistic::Units => Contribution::Unit,
            Statistic::Distinct(_, most) => Contribution::Distinct(*most),
            Statistic::Sum(x) => Contribution::Rows(grid(x)?.largest()),
            Statistic::Centred(x, _) => Contribution::Rows(grid(x)?.half()),
            Statistic::Square(x, _) => Contribution::Rows(grid(x)?.square_bound()),
            Statistic::Product(x, y) => Contribution::Rows(grid(x)?.half() * grid(y)?.half()),
            Statistic::Ranks(..) => return None,
        })
    }

    /// What a row adds, given the value of an argument in it (None for NULL and NaN); never more than [`Statistic::contribution`].
    /// Zero for statistics that are not sums over rows.
    pub fn of_row<'g>(&self, grid: impl Fn(&A) -> Option<&'g Grid>, value: impl Fn(&A) -> Option<Tick>) -> i128 {
        let is_in = |rows: &Present<A>| match rows {
            Present::All => true,
            Present::One(x) => value(x).is_some(),
            Present::Both(x, y) => value(x).is_some() && value(y).is_some(),
        };
        let at = |x: &A| Some((grid(x)?, value(x)?));
        let adds = match self {
            Statistic::Rows(rows) => is_in(rows).then_some(1),
            Statistic::Sum(x) => at(x).map(|(grid, x)| grid.raw(x)),
            Statistic::Centred(x, rows) => at(x).filter(|_| is_in(rows)).map(|(grid, x)| grid.centred(x)),
            Statistic::Square(x, rows) => at(x).filter(|_| is_in(rows)).map(|(grid, x)| grid.square(x)),
            Statistic::Product(x, y) => at(x).zip(at(y)).map(|((gx, x), (gy, y))| gx.product(x, gy, y)),
            Statistic::Units | Statistic::Distinct(..) | Statistic::Ranks(..) => None,
        };
        adds.unwrap_or(0)
    }
}

/// What a variance or covariance is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Divisor {
    /// N − 1: `var_samp`, `stddev_samp`, `covar_samp`.
    Sample,
    /// N: `var_pop`, `stddev_pop`, `covar_pop`.
    Population,
}

/// What is asked about two arguments over the rows that have both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Paired {
    /// `covar_samp`, `covar_pop`
    Covariance(Divisor),
    /// `corr`
    Correlation,
    /// `regr_slope`
    Slope,
    /// `regr_intercept`
    Intercept,
    /// `regr_r2`
    R2,
    /// `regr_avgx`
    AverageX,
    /// `regr_avgy`
    AverageY,
    /// `regr_count`
    Count,
    /// `regr_sxx`
    Sxx,
    /// `regr_syy`
    Syy,
    /// `regr_sxy`
    Sxy,
}

/// An aggregate of SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Aggregate<A> {
    /// `count(*)`
    CountRows,
    /// `count(x)`
    Count(A),
    /// `count(distinct unit)`
    CountUnits,
    /// `count(distinct x)`, of at most so many values a unit.
    CountDistinct(A, NonZeroU32),
    /// `sum(x)`
    Sum(A),
    /// `avg(x)`
    Average(A),
    /// `var_samp(x)`, `var_pop(x)`
    Variance(A, Divisor),
    /// `stddev_samp(x)`, `stddev_pop(x)`
    StandardDeviation(A, Divisor),
    /// A function of y and x, in SQL's order of arguments.
    Paired(Paired, A, A),
    /// `median`, `percentile_cont`, `min`, `max`
    Rank(A, Rank),
}

/// What is publicly known of an argument.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'g> {
    /// Whether it has a value in every row. Not for floats, whose NaN counts as NULL, nor after an outer join.
    pub never_null: bool,
    /// The grid between its declared bounds, if it has bounds.
    pub grid: Option<&'g Grid>,
}

/// The sums of a pair; what an aggregate does not need is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moments<I> {
    /// The number of rows with both.
    pub count: I,
    /// Centred x.
    pub x: Option<I>,
    /// Centred y.
    pub y: Option<I>,
    /// Squares of x.
    pub xx: Option<I>,
    /// Squares of y.
    pub yy: Option<I>,
    /// Products.
    pub xy: Option<I>,
}

/// How an answer is computed: statistics are named by their place in [`Plan::statistics`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finaliser<A> {
    /// A count of rows, units or values.
    Count(usize),
    /// A sum asked for itself.
    Sum(A, usize),
    /// mid·N + S₁
    SumFrom {
        /// The argument.
        of: A,
        /// N
        count: usize,
        /// S₁
        centred: usize,
    },
    /// mid + S₁/N
    Average {
        /// The argument.
        of: A,
        /// N
        count: usize,
        /// S₁
        centred: usize,
    },
    /// S₂/N + w²/8 − (S₁/N)²
    Variance {
        /// The argument.
        of: A,
        /// N
        count: usize,
        /// S₁
        centred: usize,
        /// S₂
        square: usize,
        /// N or N − 1.
        divisor: Divisor,
        /// Whether its root is asked.
        root: bool,
    },
    /// Covariance, correlation, regression.
    Paired {
        /// Which.
        measure: Paired,
        /// The first argument.
        y: A,
        /// The second.
        x: A,
        /// Its sums.
        moments: Moments<usize>,
    },
    /// What the exponential mechanism chose.
    Rank(usize),
}

/// The statistics of a release and how each aggregate is computed from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<A> {
    statistics: Vec<Statistic<A>>,
    finalisers: Vec<Finaliser<A>>,
}

impl<A: Clone + Ord> Plan<A> {
    /// The statistics that these aggregates need, and a finaliser for each, in their order. `facts` must say the same whenever it is asked.
    pub fn new<'g>(aggregates: &[Aggregate<A>], facts: impl Fn(&A) -> Facts<'g>) -> Plan<A> {
        let mut builder = Builder { statistics: Vec::new(), facts };
        // Sums after others: what they are computed from depends on what the others need. Ranks last.
        let turn = |aggregate: &Aggregate<A>| match aggregate {
            Aggregate::Rank(..) => 2,
            Aggregate::Sum(_) => 1,
            _ => 0,
        };
        let mut finalisers: Vec<(usize, Finaliser<A>)> = Vec::new();
        for now in 0..=2 {
            for (place, aggregate) in aggregates.iter().enumerate() {
                if turn(aggregate) == now {
                    finalisers.push((place, builder.finaliser(aggregate)));
                }
            }
        }
        finalisers.sort_by_key(|(place, _)| *place);
        Plan { statistics: builder.statistics, finalisers: finalisers.into_iter().map(|(_, f)| f).collect() }
    }

    /// Every statistic once: numbers first, ranks last.
    pub fn statistics(&self) -> &[Statistic<A>] {
        &self.statistics
    }

    /// One an aggregate, in their order.
    pub fn finalisers(&self) -> &[Finaliser<A>] {
        &self.finalisers
    }
}

struct Builder<A, F> {
    statistics: Vec<Statistic<A>>,
    facts: F,
}

impl<'g, A: Clone + Ord, F: Fn(&A) -> Facts<'g>> Builder<A, F> {
    fn finaliser(&mut self, aggregate: &Aggregate<A>) -> Finaliser<A> {
        match aggregate {
            Aggregate::CountRows => Finaliser::Count(self.ask(Statistic::Rows(Present::All))),
            Aggregate::Count(x) => Finaliser::Count(self.ask(Statistic::Rows(self.present(x)))),
            Aggregate::CountUnits => Finaliser::Count(self.ask(Statistic::Units)),
            Aggregate::CountDistinct(x, most) => Finaliser::Count(self.ask(Statistic::Distinct(x.clone(), *most))),
            Aggregate::Sum(x) => self.sum(x),
            Aggregate::Average(x) => self.average(x, self.present(x)),
            Aggregate::Variance(x, divisor) => self.variance(x, *divisor, false),
            Aggregate::StandardDeviation(x, divisor) => self.variance(x, *divisor, true),
            Aggregate::Paired(measure, y, x) => self.paired(*measure, y, x),
            Aggregate::Rank(x, rank) => Finaliser::Rank(self.ask(Statistic::Ranks(x.clone(), *rank))),
        }
    }

    fn sum(&mut self, x: &A) -> Finaliser<A> {
        let rows = self.present(x);
        let middle_is_zero = (self.facts)(x).grid.is_some_and(|grid| grid.middle() == 0);
        if middle_is_zero {
            return Finaliser::Sum(x.clone(), self.ask(Statistic::Centred(x.clone(), rows)));
        }
        let counted = self.statistics.iter().position(|s| *s == Statistic::Rows(rows.clone()));
        match counted {
            Some(count) => {
                let centred = self.ask(Statistic::Centred(x.clone(), rows));
                Finaliser::SumFrom { of: x.clone(), count, centred }
            }
            None => Finaliser::Sum(x.clone(), self.ask(Statistic::Sum(x.clone()))),
        }
    }

    fn average(&mut self, x: &A, rows: Present<A>) -> Finaliser<A> {
        let count = self.ask(Statistic::Rows(rows.clone()));
        let centred = self.ask(Statistic::Centred(x.clone(), rows));
        Finaliser::Average { of: x.clone(), count, centred }
    }

    fn variance(&mut self, x: &A, divisor: Divisor, root: bool) -> Finaliser<A> {
        let rows = self.present(x);
        let count = self.ask(Statistic::Rows(rows.clone()));
        let centred = self.ask(Statistic::Centred(x.clone(), rows.clone()));
        let square = self.ask(Statistic::Square(x.clone(), rows));
        Finaliser::Variance { of: x.clone(), count, centred, square, divisor, root }
    }

    fn paired(&mut self, measure: Paired, y: &A, x: &A) -> Finaliser<A> {
        let rows = self.both(x, y);
        let [mut needs_x, mut needs_y, mut needs_xx, mut needs_yy, mut needs_xy] = [false; 5];
        match measure {
            Paired::Count => return Finaliser::Count(self.ask(Statistic::Rows(rows))),
            Paired::AverageX => return self.average(x, rows),
            Paired::AverageY => return self.average(y, rows),
            Paired::Sxx => (needs_x, needs_xx) = (true, true),
            Paired::Syy => (needs_y, needs_yy) = (true, true),
            Paired::Covariance(_) | Paired::Sxy => (needs_x, needs_y, needs_xy) = (true, true, true),
            Paired::Slope | Paired::Intercept => (needs_x, needs_y, needs_xx, needs_xy) = (true, true, true, true),
            Paired::Correlation | Paired::R2 => {
                (needs_x, needs_y, needs_xx, needs_yy, needs_xy) = (true, true, true, true, true)
            }
        }
        let product = if x <= y { (x.clone(), y.clone()) } else { (y.clone(), x.clone()) };
        let moments = Moments {
            count: self.ask(Statistic::Rows(rows.clone())),
            x: needs_x.then(|| self.ask(Statistic::Centred(x.clone(), rows.clone()))),
            y: needs_y.then(|| self.ask(Statistic::Centred(y.clone(), rows.clone()))),
            xx: needs_xx.then(|| self.ask(Statistic::Square(x.clone(), rows.clone()))),
            yy: needs_yy.then(|| self.ask(Statistic::Square(y.clone(), rows.clone()))),
            xy: needs_xy.then(|| self.ask(Statistic::Product(product.0, product.1))),
        };
        Finaliser::Paired { measure, y: y.clone(), x: x.clone(), moments }
    }

    fn present(&self, x: &A) -> Present<A> {
        if (self.facts)(x).never_null { Present::All } else { Present::One(x.clone()) }
    }

    fn both(&self, x: &A, y: &A) -> Present<A> {
        match (self.present(x), self.present(y)) {
            (Present::All, other) | (other, Present::All) => other,
            (one, _) if x == y => one,
            _ if x < y => Present::Both(x.clone(), y.clone()),
            _ => Present::Both(y.clone(), x.clone()),
        }
    }

    /// The place of a statistic, which is added if it is not there.
    fn ask(&mut self, statistic: Statistic<A>) -> usize {
        match self.statistics.iter().position(|s| *s == statistic) {
            Some(place) => place,
            None => {
                self.statistics.push(statistic);
                self.statistics.len() - 1
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use Aggregate::{Average, Count, CountRows, StandardDeviation, Sum, Variance};
    use Present::One;

    use super::*;

    /// Arguments are letters: `n` and `m` are never NULL, `z` has its middle at zero.
    fn plan(aggregates: &[Aggregate<char>]) -> Plan<char> {
        let grid = Grid::integers(0, 10).unwrap();
        let zero = Grid::integers(-5, 5).unwrap();
        Plan::new(aggregates, |x| Facts {
            never_null: ['m', 'n'].contains(x),
            grid: Some(if *x == 'z' { &zero } else { &grid }),
        })
    }

    #[test]
    fn equal_statistics_are_asked_once() {
        let plan = plan(&[
            Average('x'),
            Count('x'),
            Variance('x', Divisor::Sample),
            StandardDeviation('x', Divisor::Population),
        ]);
        assert_eq!(
            plan.statistics(),
            [Statistic::Rows(One('x')), Statistic::Centred('x', One('x')), Statistic::Square('x', One('x'))]
        );
        assert_eq!(plan.finalisers()[1], Finaliser::Count(0));
    }

    #[test]
    fn what_is_never_null_counts_with_all_rows() {
        assert_eq!(plan(&[CountRows, Count('n'), Average('n')]).statistics().len(), 2);
        assert_eq!(plan(&[CountRows, Count('x'), Average('x')]).statistics().len(), 3);
    }

    #[test]
    fn pairs_share_in_either_order_but_not_with_one_argument() {
        let shared = plan(&[
            Aggregate::Paired(Paired::Correlation, 'x', 'y'),
            Aggregate::Paired(Paired::Covariance(Divisor::Sample), 'y', 'x'),
            Aggregate::Paired(Paired::Slope, 'y', 'x'),
            Aggregate::Paired(Paired::AverageX, 'x', 'y'),
            Aggregate::Paired(Paired::Count, 'x', 'y'),
        ]);
        assert_eq!(shared.statistics().len(), 6);
        // Rows with both are not the rows with one, unless the other is never NULL.
        assert_eq!(plan(&[Average('x'), Aggregate::Paired(Paired::AverageX, 'y', 'x')]).statistics().len(), 4);
        assert_eq!(plan(&[Average('x'), Aggregate::Paired(Paired::AverageX, 'n', 'x')]).statistics().len(), 2);
        assert_eq!(plan(&[CountRows, Aggregate::Paired(Paired::Count, 'n', 'm')]).statistics().len(), 1);
        assert_eq!(plan(&[Count('x'), Aggregate::Paired(Paired::Count, 'x', 'x')]).statistics().len(), 1);
    }

    #[test]
    fn a_regression_needs_no_more_than_it_uses() {
        let of = |measure| plan(&[Aggregate::Paired(measure, 'y', 'x')]).statistics().len();
        use Paired as P;
        let needs = [(P::Count, 1), (P::AverageX, 2), (P::Sxx, 3), (P::Syy, 3), (P::Sxy, 4), (P::Slope, 5), (P::R2, 6)];
        needs.into_iter().for_each(|(measure, n)| assert_eq!(of(measure), n, "{measure:?}"));
    }

    #[test]
    fn a_sum_is_computed_where_the_count_is_asked_anyhow() {
        assert_eq!(plan(&[Sum('x')]).statistics(), [Statistic::Sum('x')]);
        // Whatever the order of the select list.
        for aggregates in [[Sum('x'), Count('x')], [Count('x'), Sum('x')]] {
            assert_eq!(plan(&aggregates).statistics(), [Statistic::Rows(One('x')), Statistic::Centred('x', One('x'))]);
        }
        assert_eq!(plan(&[Sum('x'), Average('x')]).statistics().len(), 2);
        assert_eq!(plan(&[Sum('x'), CountRows]).statistics().len(), 2);
        assert_eq!(plan(&[Sum('z')]).statistics(), [Statistic::Centred('z', One('z'))]);
        assert_eq!(plan(&[Sum('z'), Average('z')]).finalisers()[0], Finaliser::Sum('z', 1));
    }

    #[test]
    fn ranks_are_shared_when_equal() {
        let half = Fraction::try_from(0.5).unwrap();
        let plan = plan(&[
            Aggregate::Rank('x', Rank::Quantile(half)),
            Aggregate::Rank('x', Rank::Quantile(Fraction::MEDIAN)),
            Count('x'),
            Aggregate::Rank('x', Rank::Maximum),
            Sum('x'),
        ]);
        // They come last.
        let ranks = [Statistic::Ranks('x', Rank::Quantile(half)), Statistic::Ranks('x', Rank::Maximum)];
        assert_eq!(plan.statistics()[..2], [Statistic::Rows(One('x')), Statistic::Centred('x', One('x'))]);
        assert_eq!(plan.statistics()[2..], ranks);
        assert_eq!(Fraction::try_from(-0.0), Fraction::try_from(0.0));
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(Fraction::try_from(bad).is_err());
        }
    }
}
