//! Values of any type, written as JSON: what `to_json` does.

use std::sync::Arc;

use chrono::{Datelike, NaiveDateTime};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float32Type, Float64Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::error::Result;

use super::super::moments::{local, moment};
use super::write::put_string;
use crate::error::Error;
use crate::pg_catalog::types::PgType;

const DAY_MICROS: i64 = 86_400_000_000;

/// Values of one argument, in the few types that are written.
#[derive(Debug)]
pub(super) struct Column {
    pub array: ArrayRef,
    pub of: PgType,
}

impl Column {
    /// # Errors
    /// 0A000 for types that have no JSON here.
    pub(super) fn new(array: &ArrayRef, field: &Field) -> Result<Column> {
        Ok(Column { array: few(array)?, of: PgType::of_field(field) })
    }

    /// Whether its values are JSON already.
    pub(super) fn is_json(&self) -> bool {
        is_json(self.of)
    }

    /// Whether its values have others in them, by their type.
    pub(super) fn is_nested(&self) -> bool {
        self.of == PgType::RECORD || matches!(self.array.data_type(), DataType::List(_) | DataType::Struct(_))
    }

    /// Appends a value; `null` for NULL. Instants are shown in `zone`.
    pub(super) fn put(&self, row: usize, zone: &Tz, out: &mut String) -> Result<()> {
        put(&self.array, self.of, row, zone, out)
    }
}

pub(super) fn is_json(of: PgType) -> bool {
    matches!(of, PgType::JSON | PgType::JSONB | PgType::RECORD)
}

fn unsupported(data_type: &DataType) -> Error {
    Error::unsupported(format!("values of type {data_type} as JSON are not supported"))
}

/// The same values in one type of each kind.
fn few(array: &ArrayRef) -> Result<ArrayRef> {
    let wanted = match array.data_type() {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, value) => return few(&cast(array, value)?),
        DataType::UInt64 => DataType::Decimal128(20, 0),
        of if of.is_integer() => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(Arc::clone(item)),
        _ => return Ok(Arc::clone(array)),
    };
    if array.data_type() == &wanted { Ok(Arc::clone(array)) } else { Ok(cast(array, &wanted)?) }
}

fn put(array: &ArrayRef, of: PgType, row: usize, zone: &Tz, out: &mut String) -> Result<()> {
    if array.is_null(row) || array.data_type().is_null() {
        out.push_str("null");
        return Ok(());
    }
    let quoted = |text: String, out: &mut String| {
        out.push('"');
        out.push_str(&text);
        out.push('"');
    };
    match array.data_type() {
        DataType::Utf8 => {
            let text = array.as_string::<i32>().value(row);
            if is_json(of) { out.push_str(text) } else { put_string(text, out) }
        }
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int64 => out.push_str(&array.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            put_float(number.is_finite(), &float_text(&format!("{number:e}"), 15), out);
        }
        DataType::Float32 => {
            let number = array.as_primitive::<Float32Type>().value(row);
            put_float(number.is_finite(), &float_text(&format!("{number:e}"), 6), out);
        }
        DataType::Decimal128(..) => out.push_str(&array.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Decimal256(..) => out.push_str(&array.as_primitive::<Decimal256Type>().value_as_string(row)),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            let (date, era) = date_text(&moment(i64::from(days).saturating_mul(DAY_MICROS)));
            quoted(format!("{date}{era}"), out);
        }
        DataType::Time64(_) => quoted(time_text(array.as_primitive::<Time64MicrosecondType>().value(row)), out),
        DataType::Timestamp(_, of_zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let (shown, distance) = match of_zone {
                Some(_) => local(micros, zone),
                None => (moment(micros), 0),
            };
            let (date, era) = date_text(&shown);
            let time = time_text(shown.and_utc().timestamp_micros().rem_euclid(DAY_MICROS));
            let distance = if of_zone.is_some() { distance_text(distance) } else { String::new() };
            quoted(format!("{date}T{time}{distance}{era}"), out);
        }
        DataType::Interval(_) => {
            quoted(interval_text(array.as_primitive::<IntervalMonthDayNanoType>().value(row)), out);
        }
        DataType::Binary => {
            let hex: String = array.as_binary::<i32>().value(row).iter().map(|byte| format!("{byte:02x}")).collect();
            quoted(format!("\\\\x{hex}"), out);
        }
        DataType::List(item) => {
            let items = few(&array.as_list::<i32>().value(row))?;
            let of = PgType::of_field(item);
            out.push('[');
            for at in 0..items.len() {
                if at > 0 {
                    out.push(',');
                }
                put(&items, of, at, zone, out)?;
            }
            out.push(']');
        }
        DataType::Struct(fields) => {
            out.push('{');
            for (at, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put_string(field.name(), out);
                out.push(':');
                put(&few(column)?, PgType::of_field(field), row, zone, out)?;
            }
            out.push('}');
        }
        other => return Err(unsupported(other).into()),
    }
    Ok(())
}

fn put_float(is_finite: bool, text: &str, out: &mut String) {
    if is_finite { out.push_str(text) } else { put_string(text, out) }
}

/// The shortest digits of a float, printed with an exponent (`1.5e-7`), laid out as PostgreSQL does.
fn float_text(printed: &str, exponent_from: i32) -> String {
    let Some((mantissa, exponent)) = printed.split_once('e') else {
        return match printed {
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            other => other.to_owned(),
        };
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    if exponent < -4 || exponent >= exponent_from {
        let of_exponent = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{of_exponent}{:02}", exponent.unsigned_abs());
    }
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let size = |number: i32| usize::try_from(number).unwrap_or(0);
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(size(-exponent - 1)));
    }
    let point = size(exponent + 1);
    match digits.split_at_checked(point) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits}{}", "0".repeat(point - digits.len())),
    }
}

/// A day, and what is behind the time of a day before our era.
fn date_text(at: &NaiveDateTime) -> (String, &'static str) {
    let (year, era) = if at.year() > 0 { (at.year(), "") } else { (1 - at.year(), " BC") };
    (format!("{year:04}-{:02}-{:02}", at.month(), at.day()), era)
}

fn time_text(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match micros % 1_000_000 {
        0 => clock,
        rest => format!("{clock}.{}", format!("{rest:06}").trim_end_matches('0')),
    }
}

fn distance_text(seconds: i32) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn interval_text(interval: IntervalMonthDayNano) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut is_behind_negative = false;
    for (number, unit) in [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")] {
        if number != 0 {
            let plus = if is_behind_negative && number > 0 { "+" } else { "" };
            parts.push(format!("{plus}{number} {unit}{}", if number == 1 { "" } else { "s" }));
            is_behind_negative = number < 0;
        }
    }
    let micros = interval.nanoseconds / 1_000;
    if micros != 0 || parts.is_empty() {
        let sign = match micros < 0 {
            true => "-",
            false if is_behind_negative => "+",
            false => "",
        };
        parts.push(format!("{sign}{}", time_text(micros.saturating_abs())));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_laid_out_as_postgresql_does() {
        // Each with what PostgreSQL 15 says.
        for (number, expected) in [
            (1e300, "1e+300"),
            (1e15, "1e+15"),
            (1e14, "100000000000000"),
            (-0.0, "-0"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.5, "1.5"),
            (-123_456.789, "-123456.789"),
            (1.234e-7, "1.234e-07"),
            (f64::INFINITY, "Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float_text(&format!("{number:e}"), 15), expected);
        }
        assert_eq!(float_text(&format!("{:e}", 1_234_567_f32), 6), "1.234567e+06");
    }

    #[test]
    fn intervals_are_written_as_postgresql_does() {
        let of = |months, days, micros: i64| interval_text(IntervalMonthDayNano::new(months, days, micros * 1_000));
        assert_eq!(of(0, 1, 7_200_000_000), "1 day 02:00:00");
        assert_eq!(of(14, -3, 500_000), "1 year 2 mons -3 days +00:00:00.5");
        assert_eq!(of(0, 0, 0), "00:00:00");
    }
}
