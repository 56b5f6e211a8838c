//! Merges the answers of private sites: sums of noisy statistics, which are neither rounded nor cut, finished as one site would finish its own.
//!
//! ```text
//! COUNT = Σ N                     SUM = Σ S                     AVG = c + Σ(S − c·N)/max(1, Σ N), c the middle of the widest bounds
//! VAR, COVAR, … = from Σ N and the deviations, merged pairwise; cut to what the widest bounds allow
//! ```
//!
//! Each site's S is mid·N + S₁ with its own middle and the same noisy N, so that the noise of N cancels but for the distance of c from the mean:
//! sites need not agree on a middle beforehand.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use kanon_privacy::statistics::Aggregate;

use super::{MergeError, internal, moments, sum};
use crate::private::Question;
use crate::split::layout::{Merging, Moment};

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
mod tests {
    use super::average;

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
