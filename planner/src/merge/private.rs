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

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use kanon_privacy::finalise::{COUNT_MISS, Interval, MISS, SUM_MISS, merged_average};
use kanon_privacy::noisy::Noise;
use kanon_privacy::sensitivity::WEIGHTED;
use kanon_privacy::statistics::Aggregate;

use super::{MergeError, internal, moments, sum};
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

/// A row of a site's answer: its base measures, and what the site said of them.
pub(super) type TheirRow<'a> = (&'a [ScalarValue], &'a Told, usize);

/// The interval of measure `number`, whose merged value is this; `None` if it has none.
pub(super) fn interval(
    question: &Question,
    number: usize,
    merging: Merging,
    rows: &[TheirRow<'_>],
    value: &ScalarValue,
) -> Option<[ScalarValue; 2]> {
    let value = number_in(value)?;
    let both = |interval: Interval| [interval.lo, interval.hi].map(|end| ScalarValue::Float64(Some(end)));
    match merging {
        Merging::Alone(at) => {
            let (_, told, row) = rows.first()?;
            let [lower, upper] = told.ends.get(at)?.as_ref()?;
            Some([ScalarValue::try_from_array(lower, *row).ok()?, ScalarValue::try_from_array(upper, *row).ok()?])
        }
        Merging::Sum(at) => {
            let is_count = matches!(question.aggregates.get(number)?, Aggregate::CountRows | Aggregate::Count(_));
            summed(at, rows, is_count, value).map(both)
        }
        Merging::Moments(Moment::Count, parts) => summed(parts.count, rows, true, value).map(both),
        Merging::Average { sum, count } => {
            let (lower, upper) = span(question, number, 0)?;
            averaged(rows, sum, count, Interval { lo: lower, hi: upper }).map(both)
        }
        Merging::Moments(..) | Merging::Min(_) | Merging::Max(_) | Merging::And(_) | Merging::Or(_) => None,
    }
}

/// Of a sum of the sites' counts or sums.
fn summed(at: usize, rows: &[TheirRow<'_>], is_count: bool, value: f64) -> Option<Interval> {
    let (mut noise, mut rounding) = (Noise::none(), 0.0);
    let mut total = 0.0;
    for (values, told, _) in rows {
        if let Some(part) = values.get(at).and_then(number_in) {
            let of = told.noise.get(at)?.as_ref()?;
            (noise, rounding, total) = (noise.plus(&of.whole()), rounding + of.rounding(), total + part);
        }
    }
    let half = noise.half_width(MISS) + rounding;
    if !is_count {
        return Some(Interval { lo: value - half, hi: value + half });
    }
    // Around the sum before it was cut at 0.
    Some(Interval { lo: (total - half).floor().max(0.0), hi: (total + half).ceil().max(0.0) })
}

fn averaged(rows: &[TheirRow<'_>], sum: usize, count: usize, bounds: Interval) -> Option<Interval> {
    let centre = bounds.lo + (bounds.hi - bounds.lo) / 2.0;
    let (mut n, mut d) = (0.0, 0.0);
    let (mut noise_n, mut noise_d, mut rounding) = (Noise::none(), Noise::none(), 0.0);
    for (values, told, _) in rows {
        let (Some(s), Some(rows)) = (values.get(sum).and_then(number_in), values.get(count).and_then(number_in)) else {
            continue;
        };
        let (of_sum, of_count) = (told.noise.get(sum)?.as_ref()?, told.noise.get(count)?.as_ref()?);
        (n, d) = (n + rows, d + s - centre * rows);
        noise_n = noise_n.plus(&of_count.whole());
        noise_d = noise_d.plus(&of_sum.beside_count(centre));
        if !of_sum.has_count() {
            noise_d = noise_d.plus(&of_count.whole().times(centre));
        }
        rounding += of_count.rounding();
    }
    let least = if rounding > 0.0 { 1.0 / f64::from(WEIGHTED) } else { 1.0 };
    let n = (n, noise_n.half_width(COUNT_MISS) + rounding);
    let d = (d, noise_d.half_width(SUM_MISS) + rounding * centre.abs());
    Some(merged_average(n, d, least, centre, bounds))
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
            let counts = matches!(question.aggregates.get(number), Some(Aggregate::CountRows | Aggregate::Count(_)));
            match total {
                Some(ScalarValue::Int64(Some(total))) if counts => Ok(ScalarValue::Int64(Some(total.max(0)))),
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_narrower_than_those_of_the_sites_together() {
        let told = Told {
            noise: vec!["laplace 10 in 1".parse().ok(), "laplace 20 in 1 and laplace 10 in 1 times 60".parse().ok()],
            ends: vec![],
        };
        let values = [ScalarValue::Int64(Some(1000)), ScalarValue::Float64(Some(60_000.0))];
        let rows = |sites: usize| (0..sites).map(|_| (&values[..], &told, 0)).collect::<Vec<_>>();
        let width = |interval: Interval| interval.hi - interval.lo;
        let of_count = |sites| summed(0, &rows(sites), true, 1000.0 * sites as f64).map(width).unwrap();
        assert!((60.0..=62.0).contains(&of_count(1)) && of_count(4) < 2.5 * of_count(1), "{}", of_count(4));
        // Where all sites have the middle of the widest bounds, the noise of the count is not in the sum.
        let bounds = Interval { lo: 0.0, hi: 120.0 };
        let same = averaged(&rows(4), 1, 0, bounds).unwrap();
        assert!(same.lo < 60.0 && same.hi > 60.0 && width(same) < 0.1, "{same:?}");
        // With other bounds it is, times how far the middles are apart.
        let other = averaged(&rows(4), 1, 0, Interval { lo: 0.0, hi: 200.0 }).unwrap();
        assert!(width(other) > 2.0 * width(same), "{other:?}");
        // A site that does not say what its noise is leaves no interval.
        let silent = Told { noise: vec![None, None], ends: vec![] };
        assert_eq!(summed(0, &[(&values[..], &told, 0), (&values[..], &silent, 0)], true, 2000.0), None);
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
