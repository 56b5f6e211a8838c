//! Values as PostgreSQL shows them: what `%s` of `format` and the elements of `array_to_string` are.

use chrono::NaiveDate;
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use super::moments::{at, local, moment, text};
use super::numeric;
use crate::error::{Error, Result};

/// Deepest list that is shown.
const MOST_DIMENSIONS: usize = 6;

/// A value that is not NULL; instants by the clock of a zone.
pub(super) fn shown(array: &dyn Array, row: usize, zone: &Tz) -> Result<String> {
    value(array, row, zone, 0)
}

fn value(array: &dyn Array, row: usize, zone: &Tz, depth: usize) -> Result<String> {
    let one = || array.slice(row, 1);
    let as_type = |wanted: &DataType| cast(&one(), wanted).map_err(Error::internal);
    Ok(match array.data_type() {
        DataType::Boolean => if array.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Float16 | DataType::Float32 => {
            float(as_type(&DataType::Float32)?.as_primitive::<Float32Type>().value(0), 6)
        }
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row), 15),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(_, scale) => {
            let (value, places) = numeric::shown(array.as_primitive::<Decimal256Type>().value(row), *scale);
            numeric::written(value, places)
        }
        DataType::Date32 | DataType::Date64 => date(as_type(&DataType::Date32)?.as_primitive::<Date32Type>().value(0)),
        DataType::Time32(_) | DataType::Time64(_) => {
            clock(as_type(&DataType::Time64(TimeUnit::Microsecond))?.as_primitive::<Time64MicrosecondType>().value(0))
        }
        DataType::Timestamp(_, None) => {
            text(&moment(as_type(&at(None))?.as_primitive::<TimestampMicrosecondType>().value(0)), None)
        }
        DataType::Timestamp(_, Some(_)) => {
            let utc = as_type(&at(Some("+00:00".into())))?;
            let (local, distance) = local(utc.as_primitive::<TimestampMicrosecondType>().value(0), zone);
            text(&local, Some(distance))
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            let of_all = as_type(&DataType::Interval(IntervalUnit::MonthDayNano))?;
            interval(of_all.as_primitive::<IntervalMonthDayNanoType>().value(0))
        }
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        DataType::List(_) if depth < MOST_DIMENSIONS => {
            let items = array.as_list::<i32>().value(row);
            let mut shown = Vec::with_capacity(items.len());
            for item in 0..items.len() {
                shown.push(match items.is_valid(item) {
                    true => {
                        let text = value(items.as_ref(), item, zone, depth + 1)?;
                        if matches!(items.data_type(), DataType::List(_)) { text } else { quoted_item(text) }
                    }
                    false => "NULL".to_owned(),
                });
            }
            format!("{{{}}}", shown.join(","))
        }
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => {
            return Err(Error::unsupported("a value of this type cannot be made text"));
        }
        _ => as_type(&DataType::Utf8)?.as_string::<i32>().value(0).to_owned(),
    })
}

/// A float in the fewest digits that say it, with an exponent from so many digits before the point.
pub(super) fn float<F: Copy + Into<f64> + std::fmt::LowerExp>(number: F, digits: i32) -> String {
    let of_f64: f64 = number.into();
    if of_f64.is_nan() {
        return "NaN".to_owned();
    }
    if of_f64.is_infinite() {
        return if of_f64 > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    if !(-4..digits).contains(&exponent) {
        let of_exponent = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{of_exponent}{:02}", exponent.abs());
    }
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let point = exponent + 1;
    let places = usize::try_from(point).unwrap_or(0);
    if point <= 0 {
        let zeros = "0".repeat(usize::try_from(-point).unwrap_or(0));
        return format!("{sign}0.{zeros}{all}");
    }
    match all.split_at_checked(places) {
        Some((whole, part)) if !part.is_empty() => format!("{sign}{whole}.{part}"),
        _ => format!("{sign}{all:0<places$}"),
    }
}

fn date(days: i32) -> String {
    let Some(date) = NaiveDate::from_num_days_from_ce_opt(days.saturating_add(719_163)) else {
        return days.to_string();
    };
    date.format("%Y-%m-%d").to_string()
}

fn clock(micros: i64) -> String {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}{}", seconds / 3_600, seconds / 60 % 60, seconds % 60, after_point(rest))
}

fn after_point(micros: i64) -> String {
    match micros {
        0 => String::new(),
        _ => format!(".{micros:06}").trim_end_matches('0').to_owned(),
    }
}

fn interval(of: IntervalMonthDayNano) -> String {
    let (years, months) = (of.months / 12, of.months % 12);
    let mut parts = Vec::new();
    let mut was_negative = false;
    for (number, unit) in [(years, "year"), (months, "mon"), (of.days, "day")] {
        if number != 0 {
            // A number after a negative one says its sign.
            let sign = if was_negative && number > 0 { "+" } else { "" };
            parts.push(format!("{sign}{number} {unit}{}", if number == 1 { "" } else { "s" }));
            was_negative = number < 0;
        }
    }
    let micros = of.nanoseconds / 1_000;
    if micros != 0 || parts.is_empty() {
        let sign = if micros < 0 {
            "-"
        } else if was_negative {
            "+"
        } else {
            ""
        };
        parts.push(format!("{sign}{}", clock(micros.saturating_abs())));
    }
    parts.join(" ")
}

fn bytes(bytes: &[u8]) -> String {
    let mut text = "\\x".to_owned();
    bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
    text
}

fn quoted_item(text: String) -> String {
    let is_plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(|c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace());
    if is_plain { text } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_postgresql_shows_them() {
        // Each with what PostgreSQL 15 shows.
        for (number, expected) in [
            (1.5, "1.5"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (-0.25, "-0.25"),
            (100.0, "100"),
            (0.0, "0"),
            (1.25e300, "1.25e+300"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float(number, 15), expected);
        }
        let of = IntervalMonthDayNano::new;
        assert_eq!(interval(of(14, 3, 14_706_700_000_000)), "1 year 2 mons 3 days 04:05:06.7");
        assert_eq!(interval(of(-1, 2, -1_000_000_000)), "-1 mons +2 days -00:00:01");
        assert_eq!(interval(of(0, 0, 0)), "00:00:00");
        assert_eq!(quoted_item("a b".to_owned()), "\"a b\"");
    }
}
