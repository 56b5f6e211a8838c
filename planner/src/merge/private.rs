//! Merges the answers of private sites: sums of noisy statistics, which are neither rounded nor cut, finished as one site would finish its own.
//!
//! ```text
//! COUNT = Σ N                     SUM = Σ S                     AVG = c + Σ(S − c·N)/max(1, Σ N), c the middle of the widest bounds
//! VAR, COVAR, … = from Σ N and the deviations, merged pairwise; cut to what the widest bounds allow
//! ```
//!
//! Each site's S is mid·N + S₁ with its own middle and the same noisy N, so that the noise of N cancels but for the distance of c from the mean:
//! sites need not agree on a middle beforehand.
//!
//! # Intervals
//! A site says what noise is in its counts and sums ([`PartNoise`]); their sum has the noise of all, which is narrower than the sum of their intervals (standard
//! errors add in quadrature). So counts, sums and averages have intervals, the others none. Where all groups are at one site, the site's own is handed on.

use std::collections::BTreeMap;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use kanon_privacy::finalise::{COUNT_MISS, Interval, MISS, SUM_MISS, merged_average};
use kanon_privacy::noisy::Noise;
use kanon_privacy::sensitivity::WEIGHTED;
use kanon_privacy::statistics::Aggregate;

use super::{Group, MergeError, internal, moments, sum};
use crate::private::Question;
use crate::private::accuracy::companions;
use crate::private::part_noise::{NOISE_KEY, PartNoise};
use crate::split::layout::{Layout, Merging, Moment};

/// What a site's answer says of the noise in it, by base measure.
pub(super) struct Told {
    noise: Vec<Option<PartNoise>>,
    /// The ends of the site's own interval, as columns.
    ends: Vec<Option<[ArrayRef; 2]>>,
}

impl Told {
    pub(super) fn of(layout: &Layout, answer: &RecordBatch) -> Told {
        let schema = answer.schema();
        let bases = 0..layout.bases.len();
        let noise = bases.clone().map(|base| {
            let field = schema.fields().get(layout.first_base() + base)?;
            field.metadata().get(NOISE_KEY)?.parse().ok()
        });
        let ends = bases.map(|base| {
            let at = layout.first_base() + base;
            let [lower, upper] = companions(at).map(|name| answer.column_by_name(&name).cloned());
            Some([lower?, upper?])
        });
        Told { noise: noise.collect(), ends: ends.collect() }
    }
}

/// The intervals of merged measures.
pub(super) struct Intervals<'t> {
    told: &'t [Told],
    /// By measure and the answers that are in it: to find them takes a search, and they are the same for most groups.
    widths: BTreeMap<(usize, Vec<usize>), Option<Widths>>,
}

/// How far the noise of some answers together may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Widths {
    /// A count, at the level of an average's if it is of one; or a sum.
    n: f64,
    /// Σ(S − c·N) of an average.
    d: f64,
    /// The least that N can be where there are rows.
    least: f64,
}

impl<'t> Intervals<'t> {
    /// For these answers.
    pub(super) fn of(told: &'t [Told]) -> Intervals<'t> {
        Intervals { told, widths: BTreeMap::new() }
    }

    /// The interval of measure `number`, whose merged value is this; `None` if it has none.
    pub(super) fn interval(
        &mut self,
        question: &Question,
        number: usize,
        merging: Merging,
        group: &Group,
        value: &ScalarValue,
    ) -> Option<[ScalarValue; 2]> {
        let value = number_in(value)?;
        let both = |interval: Interval| [interval.lo, interval.hi].map(|end| ScalarValue::Float64(Some(end)));
        match merging {
            Merging::Alone(at) => {
                let (answer, row) = group.from.first()?;
                let [lower, upper] = self.told.get(*answer)?.ends.get(at)?.as_ref()?;
                Some([ScalarValue::try_from_array(lower, *row).ok()?, ScalarValue::try_from_array(upper, *row).ok()?])
            }
            Merging::Sum(at) => self.summed(number, at, group, is_count(question, number), value).map(both),
            Merging::Moments(Moment::Count, parts) => self.summed(number, parts.count, group, true, value).map(both),
            Merging::Average { sum, count } => {
                let (lo, hi) = span(question, number, 0)?;
                self.averaged(number, sum, count, group, Interval { lo, hi }).map(both)
            }
            Merging::Moments(..) | Merging::Min(_) | Merging::Max(_) | Merging::And(_) | Merging::Or(_) => None,
        }
    }

    /// The widths of the answers that are in a measure.
    fn widths(
        &mut self,
        number: usize,
        answers: Vec<usize>,
        found: impl FnOnce(&[&Told]) -> Option<Widths>,
    ) -> Option<Widths> {
        let told = self.told;
        *self.widths.entry((number, answers)).or_insert_with_key(|(_, answers)| {
            let told: Option<Vec<&Told>> = answers.iter().map(|answer| told.get(*answer)).collect();
            found(&told?)
        })
    }

    /// Of a sum of the sites' counts or sums.
    fn summed(&mut self, number: usize, at: usize, group: &Group, is_count: bool, value: f64) -> Option<Interval> {
        let (mut answers, mut total) = (Vec::new(), 0.0);
        for (values, (answer, _)) in group.rows.iter().zip(&group.from) {
            if let Some(part) = values.get(at).and_then(number_in) {
                answers.push(*answer);
                total += part;
            }
        }
        let widths = self.widths(number, answers, |told| {
            let (mut noise, mut rounding) = (Noise::none(), 0.0);
            for site in told {
                let of = site.noise.get(at)?.as_ref()?;
                (noise, rounding) = (noise.plus(&of.whole()), rounding + of.rounding());
            }
            Some(Widths { n: noise.half_width(MISS) + rounding, d: 0.0, least: 0.0 })
        });
        let half = widths?.n;
        if !is_count {
            return Some(Interval { lo: value - half, hi: value + half });
        }
        // Around the sum before it was cut at 0.
        Some(Interval { lo: (total - half).floor().max(0.0), hi: (total + half).ceil().max(0.0) })
    }

    fn averaged(
        &mut self,
        number: usize,
        sum: usize,
        count: usize,
        group: &Group,
        bounds: Interval,
    ) -> Option<Interval> {
        let centre = bounds.lo + (bounds.hi - bounds.lo) / 2.0;
        let (mut n, mut d, mut answers) = (0.0, 0.0, Vec::new());
        for (values, (answer, _)) in group.rows.iter().zip(&group.from) {
            let both = values.get(sum).and_then(number_in).zip(values.get(count).and_then(number_in));
            if let Some((sum, rows)) = both {
                (n, d) = (n + rows, d + sum - centre * rows);
                answers.push(*answer);
            }
        }
        let widths = self.widths(number, answers, |told| {
            let (mut of_n, mut of_d, mut rounding) = (Noise::none(), Noise::none(), 0.0);
            for site in told {
                let (of_sum, of_count) = (site.noise.get(sum)?.as_ref()?, site.noise.get(count)?.as_ref()?);
                of_n = of_n.plus(&of_count.whole());
                of_d = of_d.plus(&of_sum.beside_count(centre));
                if !of_sum.has_count() {
                    of_d = of_d.plus(&of_count.whole().times(centre));
                }
                rounding += of_count.rounding();
            }
            Some(Widths {
                n: of_n.half_width(COUNT_MISS) + rounding,
                d: of_d.half_width(SUM_MISS) + rounding * centre.abs(),
                least: if rounding > 0.0 { 1.0 / f64::from(WEIGHTED) } else { 1.0 },
            })
        });
        let widths = widths?;
        Some(merged_average((n, widths.n), (d, widths.d), widths.least, centre, bounds))
    }
}

/// The value of measure `number` of a question.
pub(super) fn merged(
    question: &Question,
    number: usize,
    merging: Merging,
    rows: &[Vec<ScalarValue>],
    data_type: &DataType,
) -> Result<ScalarValue, MergeError> {
    let column = |at: usize| rows.iter().filter_map(move |row| row.get(at)).filter(|v| !v.is_null());
    let float = |value: Option<f64>| ScalarValue::Float64(value).cast_to(data_type).map_err(internal);
    match merging {
        Merging::Alone(at) => column(at).next().cloned().map_or_else(|| float(None), Ok),
        Merging::Sum(at) => {
            let total = sum(column(at))?;
            match total {
                Some(ScalarValue::Int64(Some(total))) if is_count(question, number) => {
                    Ok(ScalarValue::Int64(Some(total.max(0))))
                }
                Some(total) => Ok(total),
                None => float(None),
            }
        }
        Merging::Average { sum, count } => {
            let both = |row: &Vec<ScalarValue>| Some((number_in(row.get(sum)?)?, number_in(row.get(count)?)?));
            let parts: Vec<(f64, f64)> = rows.iter().filter_map(both).collect();
            let Some(span) = span(question, number, 0).filter(|_| !parts.is_empty()) else { return float(None) };
            float(Some(average(&parts, span)))
        }
        Merging::Moments(Moment::Count, parts) => match sum(column(parts.count))? {
            Some(ScalarValue::Int64(Some(total))) => Ok(ScalarValue::Int64(Some(total.max(0)))),
            _ => float(None),
        },
        Merging::Moments(moment, parts) => {
            let Some(value) = moments(rows, parts, moment) else { return float(None) };
            float(possible(question, number, moment, value))
        }
        Merging::Min(_) | Merging::Max(_) | Merging::And(_) | Merging::Or(_) => {
            Err(internal("a measure that private sites do not release"))
        }
    }
}

fn average(parts: &[(f64, f64)], (lower, upper): (f64, f64)) -> f64 {
    let centre = lower + (upper - lower) / 2.0;
    let rows: f64 = parts.iter().map(|(_, rows)| rows).sum();
    let above: f64 = parts.iter().map(|(sum, rows)| sum - centre * rows).sum();
    (centre + above / rows.max(1.0)).clamp(lower, upper)
}

/// Cut to what the bounds of y and x allow; `None` if there is no such number.
fn possible(question: &Question, number: usize, moment: Moment, value: f64) -> Option<f64> {
    use Moment::*;
    if value.is_nan() && !matches!(moment, StddevSamp | StddevPop) {
        return None;
    }
    let width = |argument| span(question, number, argument).map(|(lower, upper)| upper - lower);
    let (y, x) = (width(0)?, width(1)?);
    Some(match moment {
        // The root of a variance that noise made negative.
        StddevSamp | StddevPop if value.is_nan() => 0.0,
        StddevSamp | StddevPop => value.clamp(0.0, y / 2.0),
        VarSamp | VarPop => value.clamp(0.0, y * y / 4.0),
        CovarSamp | CovarPop => value.clamp(-y * x / 4.0, y * x / 4.0),
        Corr => value.clamp(-1.0, 1.0),
        R2 => value.clamp(0.0, 1.0),
        AvgY => span(question, number, 0).map(|(lower, upper)| value.clamp(lower, upper))?,
        AvgX => span(question, number, 1).map(|(lower, upper)| value.clamp(lower, upper))?,
        Sxx | Syy => value.max(0.0),
        Slope | Intercept | Sxy | Count => value,
    })
}

/// The bounds of an argument of a measure: y, then x. One argument is both.
fn span(question: &Question, number: usize, argument: usize) -> Option<(f64, f64)> {
    let of = match question.aggregates.get(number)? {
        Aggregate::Sum(x) | Aggregate::Average(x) | Aggregate::Variance(x, _) | Aggregate::StandardDeviation(x, _) => x,
        Aggregate::Paired(_, y, x) => {
            if argument == 0 {
                y
            } else {
                x
            }
        }
        _ => return None,
    };
    let grid = question.arguments.get(*of)?.grid.as_ref()?;
    Some((grid.lower(), grid.upper()))
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn number_in(value: &ScalarValue) -> Option<f64> {
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(number)) => number,
        _ => None,
    }
}

/// Whether a measure counts: rows, values, or people who are at one site each.
fn is_count(question: &Question, number: usize) -> bool {
    let aggregate = question.aggregates.get(number);
    matches!(aggregate, Some(Aggregate::CountRows | Aggregate::Count(_) | Aggregate::CountUnits))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_narrower_than_those_of_the_sites_together() {
        let told = || Told {
            noise: vec!["laplace 10 in 1".parse().ok(), "laplace 20 in 1 and laplace 10 in 1 times 60".parse().ok()],
            ends: vec![],
        };
        let told: Vec<Told> = (0..4).map(|_| told()).collect();
        let values = vec![ScalarValue::Int64(Some(1000)), ScalarValue::Float64(Some(60_000.0))];
        let group = |sites: usize| Group {
            rows: vec![values.clone(); sites],
            from: (0..sites).map(|site| (site, 0)).collect(),
        };
        let width = |interval: Interval| interval.hi - interval.lo;
        let mut intervals = Intervals::of(&told);
        let mut of_count =
            |sites| intervals.summed(0, 0, &group(sites), true, 1000.0 * sites as f64).map(width).unwrap();
        let (one, four) = (of_count(1), of_count(4));
        assert!((60.0..=62.0).contains(&one) && four < 2.5 * one, "{one} {four}");
        // What was found once is the same for another group.
        assert_eq!(of_count(4), four);
        // Where all sites have the middle of the widest bounds, the noise of the count is not in the sum.
        let mut averaged = |number, hi| intervals.averaged(number, 1, 0, &group(4), Interval { lo: 0.0, hi }).unwrap();
        let same = averaged(1, 120.0);
        assert!(same.lo < 60.0 && same.hi > 60.0 && width(same) < 0.1, "{same:?}");
        // With other bounds it is, times how far the middles are apart.
        let other = averaged(2, 200.0);
        assert!(width(other) > 2.0 * width(same), "{other:?}");
        // A site that does not say what its noise is leaves no interval.
        let silent = [Told { noise: vec![None, None], ends: vec![] }];
        assert_eq!(Intervals::of(&silent).summed(0, 0, &group(1), true, 1000.0), None);
    }

    #[test]
    fn an_average_takes_every_site_s_noise_and_stays_within_the_bounds() {
        let span = (0.0, 100.0);
        assert!((average(&[(500.0, 10.0), (300.0, 10.0)], span) - 40.0).abs() < 1e-12);
        // A site whose count fell below zero subtracts what its sum does.
        assert!((average(&[(500.0, 10.0), (-100.0, -2.0)], span) - 50.0).abs() < 1e-12);
        assert!((average(&[(3.0, 0.0)], span) - 53.0).abs() < 1e-12);
        assert!((average(&[(1e9, -3.0)], span) - 100.0).abs() < 1e-12);
        assert!((average(&[(-1e9, 0.0)], span)).abs() < 1e-12);
    }
}
