//! From noisy statistics to the answers of SQL, with intervals. All of it is arithmetic on released numbers, so it costs nothing.
//!
//! Sums S₁, S₂ are centred (see [`crate::grid`]); with N the count, H half the width of the bounds and all in steps of the grid,
//!
//! ```text
//! AVG = mid + S₁/max(1, N)      VAR = S₂/max(1, N) + H²/2 − (S₁/max(1, N))²      COVAR = S_xy/N − (S_x/N)(S_y/N)      SUM = mid·N + S₁
//! ```
//!
//! A count with noise may be zero or below, so nothing is divided by it: by 1 at least. [`Answer::value`] is *post-processed*: counts are
//! rounded and not below 0, averages lie within the bounds, variances within [0, w²/4], correlations within [−1, 1]. Of many small groups such
//! values are biased, so whoever adds up answers adds [`Answer::unprocessed`], and whoever merges sites adds statistics
//! ([`Noisy::plus`]) before they are finalised.
//!
//! # Intervals
//! An interval is about the exact answer over what was kept: rows and groups within the bounds of contribution, values clamped to the declared
//! bounds and rounded to the grid. What bounding cut away is told elsewhere and no interval can know it. Its level is 95% at least:
//!
//! - counts and sums have the half-width of their noise ([`crate::noisy::Noise::half_width`]).
//! - all others are functions of two to six statistics. Each statistic gets an interval at a part of the 5% so that all hold together with
//!   probability 95% (the union bound), and the answer's interval is the range of the function over these, by interval arithmetic, cut to
//!   what is possible. For AVG the count gets a fifth of the 5%: its noise is multiplied by the distance of the mean from the middle, which is small.
//!   These intervals are wider than they would have to be, never narrower; the more statistics, the wider.
//! - a slope or intercept has none when the variance of x may be zero: the slope may then be anything.
//! - what the exponential mechanism chose has none here: it depends on how dense values are around it.
//!
//! Over no rows at all an average or variance does not exist; whether there are none is private, so the answer is a number all the same, and its
//! interval says little (the whole bounds, unless the count is very negative).

use crate::grid::Grid;
use crate::noisy::Noisy;
use crate::statistics::{Divisor, Finaliser, Moments, Paired};

/// The probability with which an interval may miss.
pub const MISS: f64 = 0.05;
/// The part of it that the count of an average has.
pub const COUNT_MISS: f64 = MISS * 0.2;
/// The part of it that the sum of an average has.
pub const SUM_MISS: f64 = MISS * 0.8;

/// A range of numbers, ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub lo: f64,
    /// The upper end.
    pub hi: f64,
}

/// An aggregate's answer. None stands for NULL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// What is shown: rounded, and within what is possible.
    pub value: Option<f64>,
    /// The same before it was rounded and cut.
    pub unprocessed: Option<f64>,
    /// The 95% interval.
    pub interval: Option<Interval>,
}

/// The answer of an aggregate from the statistics of its plan. None for ranks, which the exponential mechanism answers, and if a
/// statistic or grid is not there.
pub fn finalise<'g, A>(
    finaliser: &Finaliser<A>,
    statistics: &[Noisy],
    grid: impl Fn(&A) -> Option<&'g Grid>,
) -> Option<Answer> {
    let at = |place: &usize| statistics.get(*place);
    Some(match finaliser {
        Finaliser::Count(n) => count(at(n)?),
        Finaliser::Sum(x, s) => sum(at(s)?, grid(x)?),
        Finaliser::SumFrom { of, count, centred } => sum_from(at(count)?, at(centred)?, grid(of)?),
        Finaliser::Average { of, count, centred } => average(at(count)?, at(centred)?, grid(of)?),
        Finaliser::Variance { of, count, centred, square, divisor, root } => {
            let answer = variance(at(count)?, at(centred)?, at(square)?, grid(of)?, *divisor);
            if *root { answer.root() } else { answer }
        }
        Finaliser::Paired { measure, y, x, moments } => {
            let find = |place: &Option<usize>| place.as_ref().and_then(at);
            let moments = Moments {
                count: at(&moments.count)?,
                x: find(&moments.x),
                y: find(&moments.y),
                xx: find(&moments.xx),
                yy: find(&moments.yy),
                xy: find(&moments.xy),
            };
            paired(*measure, &moments, grid(y)?, grid(x)?)?
        }
        Finaliser::Rank(_) => return None,
    })
}

/// A count of rows, units or values: a whole number from 0, as a float (exact up to 2^53).
pub fn count(n: &Noisy) -> Answer {
    let scale = f64::from(n.scale);
    let (value, half) = (n.value as f64 / scale, n.noise.half_width(MISS) / scale);
    Answer {
        value: Some(value.round().max(0.0)),
        unprocessed: Some(value),
        interval: Some(Interval { lo: (value - half).floor().max(0.0), hi: (value + half).ceil().max(0.0) }),
    }
}

/// A sum in steps of the grid.
pub fn sum(s: &Noisy, grid: &Grid) -> Answer {
    let unit = grid.step() / f64::from(s.scale);
    let (value, half) = (s.value as f64 * unit, s.noise.half_width(MISS) * unit);
    Answer {
        value: Some(value),
        unprocessed: Some(value),
        interval: Some(Interval { lo: value - half, hi: value + half }),
    }
}

/// mid·N + S₁
pub fn sum_from(n: &Noisy, centred: &Noisy, grid: &Grid) -> Answer {
    sum(&n.times(grid.middle()).plus(centred), grid)
}

/// mid + S₁/N
pub fn average(n: &Noisy, centred: &Noisy, grid: &Grid) -> Answer {
    let counts = Counts::new(n, COUNT_MISS);
    let mean = counts.mean(centred, SUM_MISS, grid.half() as f64);
    let (middle, step) = (grid.middle() as f64 * grid.step(), grid.step());
    let value = |ticks: f64| middle + ticks * step;
    let within = |x: f64| x.clamp(grid.lower(), grid.upper());
    Answer {
        value: Some(within(value(mean.value))),
        unprocessed: Some(value(mean.value)),
        interval: Some(Interval { lo: within(value(mean.span.lo)), hi: within(value(mean.span.hi)) }),
    }
}

/// The interval of c + D/N within the bounds, where D = Σ(S − c·N) over sites: a number and what it may be off by, N's at a fifth of the
/// probability to miss and D's at the rest ([`COUNT_MISS`], [`SUM_MISS`]). `least` is the least that N can be where there are rows.
pub fn merged_average(n: (f64, f64), d: (f64, f64), least: f64, centre: f64, bounds: Interval) -> Interval {
    let estimate = |(value, off): (f64, f64)| Estimate {
        value,
        unprocessed: value,
        span: Interval { lo: value - off, hi: value + off },
    };
    let mut n = estimate(n);
    n.span = Interval { lo: n.span.lo.max(least), hi: n.span.hi.max(least) };
    let mean = estimate(d).over_positive(n).plus(Estimate::exact(centre)).within(bounds.lo, bounds.hi);
    mean.span
}

/// S₂/N + w²/8 − (S₁/N)², times N/(N − 1) for a sample.
pub fn variance(n: &Noisy, centred: &Noisy, square: &Noisy, grid: &Grid, divisor: Divisor) -> Answer {
    let counts = Counts::new(n, MISS / 3.0);
    let variance = counts.variance(centred, square, MISS / 3.0, grid);
    counts.divided(variance, divisor).answer(grid.step() * grid.step())
}

/// A function of y and x over the rows that have both. None if a sum is not there.
pub fn paired(measure: Paired, moments: &Moments<&Noisy>, grid_y: &Grid, grid_x: &Grid) -> Option<Answer> {
    let used = 1 + [moments.x, moments.y, moments.xx, moments.yy, moments.xy].iter().flatten().count();
    let miss = MISS / used as f64;
    let counts = Counts::new(moments.count, miss);
    let (half_x, half_y) = (grid_x.half() as f64, grid_y.half() as f64);
    let (step_x, step_y) = (grid_x.step(), grid_y.step());
    let mean_x = || Some(counts.mean(moments.x?, miss, half_x));
    let mean_y = || Some(counts.mean(moments.y?, miss, half_y));
    let variance_x = || Some(counts.variance(moments.x?, moments.xx?, miss, grid_x));
    let variance_y = || Some(counts.variance(moments.y?, moments.yy?, miss, grid_y));
    let covariance = || {
        let products = counts.mean(moments.xy?, miss, half_x * half_y);
        Some(products.minus(mean_x()?.times(mean_y()?)).within(-half_x * half_y, half_x * half_y))
    };
    let slope = || Some(covariance()?.over_positive(variance_x()?));
    let correlation = || Some(covariance()?.over_positive(variance_x()?.times(variance_y()?).root()).within(-1.0, 1.0));
    Some(match measure {
        Paired::Count => count(moments.count),
        Paired::AverageX => average(moments.count, moments.x?, grid_x),
        Paired::AverageY => average(moments.count, moments.y?, grid_y),
        Paired::Covariance(divisor) => counts.divided(covariance()?, divisor).answer(step_x * step_y),
        Paired::Sxx => counts.rows().times(variance_x()?).answer(step_x * step_x),
        Paired::Syy => counts.rows().times(variance_y()?).answer(step_y * step_y),
        Paired::Sxy => counts.rows().times(covariance()?).answer(step_x * step_y),
        Paired::Correlation => correlation()?.answer(1.0),
        Paired::R2 => correlation()?.square().answer(1.0),
        Paired::Slope => slope()?.answer(step_y / step_x),
        Paired::Intercept => {
            // y = ȳ + slope·(x − x̄) at x = 0, where x and y are still to be centred back.
            let zero = Estimate::exact(-(grid_x.middle() as f64));
            let centred = mean_y()?.plus(slope()?.times(zero.minus(mean_x()?)));
            centred.plus(Estimate::exact(grid_y.middle() as f64)).answer(step_y)
        }
    })
}

impl Answer {
    fn root(self) -> Answer {
        let root = |x: f64| x.max(0.0).sqrt();
        Answer {
            value: self.value.map(root),
            unprocessed: self.unprocessed.map(root),
            interval: self.interval.map(|i| Interval { lo: root(i.lo), hi: root(i.hi) }),
        }
    }
}

/// N: never below 1 row, and the range it lies in.
struct Counts {
    value: f64,
    span: Interval,
    scale: f64,
}

impl Counts {
    fn new(n: &Noisy, miss: f64) -> Counts {
        let (value, half, scale) = (n.value as f64, n.noise.half_width(miss), f64::from(n.scale));
        // Where there are rows N is 1 at least, or what the least weight of one row leaves of it.
        let span = Interval { lo: (value - half).max(1.0), hi: (value + half).max(scale) };
        Counts { value: value.max(scale), span, scale }
    }

    /// S/N, where no row adds more than `bound`.
    fn mean(&self, s: &Noisy, miss: f64, bound: f64) -> Estimate {
        // Units of one scale cancel; a site's statistics share their scale.
        let unit = self.scale / f64::from(s.scale);
        let (sum, half) = (s.value as f64 * unit, s.noise.half_width(miss) * unit);
        let over = Estimate { value: self.value, unprocessed: self.value, span: self.span };
        let sum = Estimate { value: sum, unprocessed: sum, span: Interval { lo: sum - half, hi: sum + half } };
        sum.over_positive(over).within(-bound, bound)
    }

    fn variance(&self, centred: &Noisy, square: &Noisy, miss: f64, grid: &Grid) -> Estimate {
        let half = grid.half() as f64;
        let mean = self.mean(centred, miss, half);
        let squares = self.mean(square, miss, grid.square_bound() as f64);
        let middle = Estimate::exact(grid.square_middle() as f64);
        squares.plus(middle).minus(mean.square()).within(0.0, half * half)
    }

    /// What was divided by N, divided by the divisor instead.
    fn divided(&self, estimate: Estimate, divisor: Divisor) -> Estimate {
        let factor = |n: f64| match divisor {
            Divisor::Population => 1.0,
            Divisor::Sample => n.max(2.0) / (n.max(2.0) - 1.0),
        };
        let of = |n: f64| factor(n / self.scale);
        let factor = of(self.value);
        let span = Interval { lo: of(self.span.hi), hi: of(self.span.lo) };
        estimate.times(Estimate { value: factor, unprocessed: factor, span })
    }

    /// The number of rows.
    fn rows(&self) -> Estimate {
        let value = self.value / self.scale;
        let span = Interval { lo: self.span.lo / self.scale, hi: self.span.hi / self.scale };
        Estimate { value, unprocessed: value, span }
    }
}

/// A number, the same without any cut on the way, and the range that it surely lies in if the ranges of all statistics hold. NaN: there
/// is no such number.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    value: f64,
    unprocessed: f64,
    span: Interval,
}

impl Estimate {
    fn exact(x: f64) -> Estimate {
        Estimate { value: x, unprocessed: x, span: Interval { lo: x, hi: x } }
    }

    fn combine(self, other: Estimate, f: impl Fn(f64, f64) -> f64, span: Interval) -> Estimate {
        Estimate { value: f(self.value, other.value), unprocessed: f(self.unprocessed, other.unprocessed), span }
    }

    fn plus(self, other: Estimate) -> Estimate {
        let span = Interval { lo: self.span.lo + other.span.lo, hi: self.span.hi + other.span.hi };
        self.combine(other, |a, b| a + b, span)
    }

    fn minus(self, other: Estimate) -> Estimate {
        let span = Interval { lo: self.span.lo - other.span.hi, hi: self.span.hi - other.span.lo };
        self.combine(other, |a, b| a - b, span)
    }

    fn times(self, other: Estimate) -> Estimate {
        let (a, b) = (self.span, other.span);
        let corners = [a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi];
        // Nothing times anything is not known.
        let span = match corners.iter().any(|c| c.is_nan()) {
            true => Interval { lo: f64::NEG_INFINITY, hi: f64::INFINITY },
            false => Interval {
                lo: corners.into_iter().fold(f64::INFINITY, f64::min),
                hi: corners.into_iter().fold(f64::NEG_INFINITY, f64::max),
            },
        };
        self.combine(other, |a, b| a * b, span)
    }

    fn square(self) -> Estimate {
        let (lo, hi) = (self.span.lo, self.span.hi);
        let least = if lo <= 0.0 && hi >= 0.0 { 0.0 } else { lo.abs().min(hi.abs()) };
        let span = Interval { lo: least * least, hi: (lo * lo).max(hi * hi) };
        self.combine(self, |a, b| a * b, span)
    }

    fn root(self) -> Estimate {
        let root = |x: f64| x.max(0.0).sqrt();
        self.combine(self, |a, _| root(a), Interval { lo: root(self.span.lo), hi: root(self.span.hi) })
    }

    /// Divided by what is not negative. By what may be zero anything can come out: the ends are infinite, and by zero there is no value.
    fn over_positive(self, other: Estimate) -> Estimate {
        let end = |a: f64, if_negative: f64, if_positive: f64| {
            let by = if a < 0.0 { if_negative } else { if_positive };
            if by > 0.0 { a / by } else { f64::INFINITY.copysign(a) }
        };
        let (least, most) = (other.span.lo, other.span.hi);
        let span = match least > 0.0 {
            true => Interval { lo: end(self.span.lo, least, most), hi: end(self.span.hi, most, least) },
            false => Interval { lo: f64::NEG_INFINITY, hi: f64::INFINITY },
        };
        self.combine(other, |a, b| if b > 0.0 { a / b } else { f64::NAN }, span)
    }

    /// Cut to what is possible.
    fn within(self, lo: f64, hi: f64) -> Estimate {
        let span = Interval { lo: self.span.lo.clamp(lo, hi), hi: self.span.hi.clamp(lo, hi) };
        Estimate { value: self.value.clamp(lo, hi), unprocessed: self.unprocessed, span }
    }

    fn answer(self, unit: f64) -> Answer {
        let known = |x: f64| x.is_finite().then_some(x * unit);
        let value = known(self.value);
        let ends = known(self.span.lo).zip(known(self.span.hi)).filter(|_| value.is_some());
        Answer { value, unprocessed: known(self.unprocessed), interval: ends.map(|(lo, hi)| Interval { lo, hi }) }
    }
}
