//! Dates, times and intervals that are made, read and mended: `to_date`, `make_timestamp`, `justify_days`.

use chrono::{NaiveDate, NaiveDateTime};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::IntervalMonthDayNano;
use datafusion::logical_expr::Volatility;

use super::moments::{DAY_MICROS, instant, local, zone};
use super::reading::moment_of;
use super::rows::Kind::{Any, Float, Interval, Stamp, Text, Whole};
use super::rows::{Give, Row, Spec, Value, spec};
use crate::error::{Error, Result, Sqlstate};

const SECOND_MICROS: i64 = 1_000_000;
const HOUR_MICROS: i64 = 3_600 * SECOND_MICROS;
const DAYS_OF_MONTH: i64 = 30;
/// The first and the last second that PostgreSQL's timestamps reach: 4714 BC and 294276.
const FIRST_SECOND: f64 = -210_866_803_200.0;
const LAST_SECOND: f64 = 9_224_318_016_000.0;

pub(super) const SPECS: [Spec; 15] = [
    spec("kanon_to_date", &[&[Text, Text]], Give::Date, |row, patterns| {
        let text = row.text(0).unwrap_or_default();
        let (moment, _) = moment_of(text, patterns.template(row.text(1).unwrap_or_default())?)?;
        Ok(Value::Int(moment.date().signed_duration_since(NaiveDate::default()).num_days()))
    }),
    spec("kanon_to_timestamp", &[&[Float], &[Text, Text]], Give::Instant, |row, patterns| {
        if let Some(seconds) = row.float(0) {
            return of_seconds(seconds).map(Value::Int);
        }
        let text = row.text(0).unwrap_or_default();
        let (moment, distance) = moment_of(text, patterns.template(row.text(1).unwrap_or_default())?)?;
        Ok(Value::Int(match distance {
            Some(seconds) => micros(moment).saturating_sub(seconds.saturating_mul(SECOND_MICROS)),
            None => instant(moment, row.zone()),
        }))
    }),
    spec("make_timestamp", &[&[Whole, Whole, Whole, Whole, Whole, Float]], Give::Stamp, |row, _| {
        made(row).map(|moment| Value::Int(micros(moment)))
    }),
    spec(
        "make_timestamptz",
        &[&[Whole, Whole, Whole, Whole, Whole, Float], &[Whole, Whole, Whole, Whole, Whole, Float, Text]],
        Give::Instant,
        |row, _| {
            let moment = made(row)?;
            Ok(Value::Int(match row.text(6) {
                Some(name) => instant(moment, &known_zone(name)?),
                None => instant(moment, row.zone()),
            }))
        },
    ),
    spec("kanon_make_time", &[&[Whole, Whole, Float]], Give::Time, |row, _| {
        let time = micros_of_day(row, 0)?;
        if time >= DAY_MICROS {
            return Err(Error::unsupported("the time 24:00:00 is not supported"));
        }
        Ok(Value::Int(time))
    }),
    spec("kanon_make_interval", &[&[Whole, Whole, Whole, Whole, Whole, Whole, Float]], Give::Interval, |row, _| {
        let whole = |i: usize| row.whole(i).unwrap_or(0);
        let months = whole(0).checked_mul(12).and_then(|months| months.checked_add(whole(1)));
        let days = whole(2).checked_mul(7).and_then(|days| days.checked_add(whole(3)));
        let minutes = whole(4).checked_mul(60).and_then(|minutes| minutes.checked_add(whole(5)));
        let seconds = row.float(6).unwrap_or(0.0);
        let part = (seconds.abs() < 1e15).then(|| rounded(seconds * 1e6));
        let micros = minutes.and_then(|m| m.checked_mul(60 * SECOND_MICROS)).and_then(|m| m.checked_add(part?));
        interval(months, days, micros)
    }),
    spec("justify_days", &[&[Interval]], Give::Interval, |row, _| {
        let Some(of) = parts(row, 0) else { return Ok(Value::Null) };
        let (months, days) = carried(of.0, of.1, DAYS_OF_MONTH);
        let (months, days) = same_sign(months, days, DAYS_OF_MONTH);
        interval(Some(months), Some(days), Some(of.2))
    }),
    spec("justify_hours", &[&[Interval]], Give::Interval, |row, _| {
        let Some(of) = parts(row, 0) else { return Ok(Value::Null) };
        let (days, micros) = carried(of.1, of.2, DAY_MICROS);
        let (days, micros) = same_sign(days, micros, DAY_MICROS);
        interval(Some(of.0), Some(days), Some(micros))
    }),
    spec("justify_interval", &[&[Interval]], Give::Interval, |row, _| {
        let Some((months, days, micros)) = parts(row, 0) else { return Ok(Value::Null) };
        let (days, micros) = carried(days, micros, DAY_MICROS);
        let (mut months, mut days) = carried(months, days, DAYS_OF_MONTH);
        let mut micros = micros;
        if months > 0 && (days < 0 || (days == 0 && micros < 0)) {
            (months, days) = (months - 1, days + DAYS_OF_MONTH);
        } else if months < 0 && (days > 0 || (days == 0 && micros > 0)) {
            (months, days) = (months + 1, days - DAYS_OF_MONTH);
        }
        (days, micros) = same_sign(days, micros, DAY_MICROS);
        interval(Some(months), Some(days), Some(micros))
    }),
    spec("isfinite", &[&[Stamp], &[super::rows::Kind::Instant], &[Interval]], Give::Bool, |_, _| Ok(Value::Bool(true))),
    Spec {
        volatility: Volatility::Volatile,
        ..spec("clock_timestamp", &[&[]], Give::Instant, |_, _| Ok(Value::Int(chrono::Utc::now().timestamp_micros())))
    },
    Spec {
        volatility: Volatility::Volatile,
        ..spec("timeofday", &[&[]], Give::Text, |row, _| {
            let (shown, distance) = local(chrono::Utc::now().timestamp_micros(), row.zone());
            let name = if distance == 0 { "UTC".to_owned() } else { format!("{:+03}", distance / 3_600) };
            Ok(Value::Text(format!("{} {name}", shown.format("%a %b %d %H:%M:%S%.6f %Y"))))
        })
    },
    spec("kanon_interval_trunc", &[&[Text, Interval]], Give::Interval, |row, _| {
        let Some(of) = row.interval(1) else { return Ok(Value::Null) };
        truncated(row.text(0).unwrap_or_default(), of)
    }),
    Spec {
        volatility: Volatility::Volatile,
        ..spec("pg_sleep", &[&[Float]], Give::Text, |_, _| {
            Err(Error::unsupported("function pg_sleep is not supported"))
        })
    },
    Spec {
        volatility: Volatility::Volatile,
        ..spec("setseed", &[&[Any]], Give::Text, |_, _| {
            Err(Error::unsupported("function setseed is not supported")
                .hint("Random numbers are of the system's source, which has no seed."))
        })
    },
];

fn micros(moment: NaiveDateTime) -> i64 {
    moment.and_utc().timestamp_micros()
}

#[allow(clippy::cast_possible_truncation, reason = "casts saturate")]
fn rounded(number: f64) -> i64 {
    number.round_ties_even() as i64
}

/// The microseconds of a moment so many seconds after the epoch.
fn of_seconds(seconds: f64) -> Result<i64> {
    if seconds.is_nan() {
        return Err(Error::new(Sqlstate::DatetimeOverflow, "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Err(Error::unsupported("infinite timestamps are not supported"));
    }
    if !(FIRST_SECOND..LAST_SECOND).contains(&seconds) {
        let shown = super::shown::float(seconds, 6);
        return Err(Error::new(Sqlstate::DatetimeOverflow, format!("timestamp out of range: \"{shown}\"")));
    }
    // Not all at once: a float has no more than 53 bits.
    let whole = seconds.trunc();
    Ok(rounded(whole).saturating_mul(SECOND_MICROS).saturating_add(rounded((seconds - whole) * 1e6)))
}

fn known_zone(name: &str) -> Result<Tz> {
    zone(name).map_err(|_| Error::new(Sqlstate::InvalidParameterValue, format!("time zone \"{name}\" not recognized")))
}

/// The moment of a year, a month, a day, an hour, a minute and seconds.
fn made(row: &Row<'_>) -> Result<NaiveDateTime> {
    let whole = |i: usize| row.whole(i).unwrap_or(0);
    let (year, month, day) = (whole(0), whole(1), whole(2));
    // There is no year 0, and the one before 1 is called -1.
    let of_calendar = if year < 0 { year + 1 } else { year };
    let date = i32::try_from(of_calendar)
        .ok()
        .filter(|_| year != 0)
        .and_then(|year| NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?));
    let date = date.ok_or_else(|| {
        let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
        Error::new(Sqlstate::DatetimeOverflow, message)
    })?;
    let time = chrono::TimeDelta::microseconds(micros_of_day(row, 3)?);
    let moment = date.and_time(chrono::NaiveTime::MIN).checked_add_signed(time);
    moment.ok_or_else(|| Error::new(Sqlstate::DatetimeOverflow, "timestamp out of range"))
}

/// The microseconds of a day at an hour, a minute and seconds, which are at this place among the arguments.
fn micros_of_day(row: &Row<'_>, from: usize) -> Result<i64> {
    let (hour, minute) = (row.whole(from).unwrap_or(0), row.whole(from + 1).unwrap_or(0));
    let second = row.float(from + 2).unwrap_or(0.0);
    let is_in_range = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
    let is_a_day = hour == 24 && (minute > 0 || second > 0.0);
    if !is_in_range || is_a_day {
        let shown = super::shown::float(second, 6);
        let message = format!("time field value out of range: {hour}:{minute:02}:{shown:0>2}");
        return Err(Error::new(Sqlstate::DatetimeOverflow, message));
    }
    Ok((hour * 3_600 + minute * 60) * SECOND_MICROS + rounded(second * 1e6))
}

/// Months, days and microseconds.
type Parts = (i64, i64, i64);

fn parts(row: &Row<'_>, i: usize) -> Option<Parts> {
    let of = row.interval(i)?;
    Some((i64::from(of.months), i64::from(of.days), of.nanoseconds / 1_000))
}

fn interval(months: Option<i64>, days: Option<i64>, micros: Option<i64>) -> Result<Value> {
    let whole = || {
        let months = i32::try_from(months?).ok()?;
        let days = i32::try_from(days?).ok()?;
        Some(IntervalMonthDayNano::new(months, days, micros?.checked_mul(1_000)?))
    };
    whole().map(Value::Interval).ok_or_else(|| Error::new(Sqlstate::DatetimeOverflow, "interval out of range"))
}

/// Whole units of a smaller part go to the larger one.
fn carried(large: i64, small: i64, unit: i64) -> (i64, i64) {
    (large + small / unit, small % unit)
}

/// Two parts of one sign.
fn same_sign(large: i64, small: i64, unit: i64) -> (i64, i64) {
    match (large.signum(), small.signum()) {
        (1, -1) => (large - 1, small + unit),
        (-1, 1) => (large + 1, small - unit),
        _ => (large, small),
    }
}

/// An interval without what is smaller than a unit.
fn truncated(unit: &str, of: IntervalMonthDayNano) -> Result<Value> {
    let (months, micros) = (i64::from(of.months), of.nanoseconds / 1_000);
    let lower = unit.to_lowercase();
    let of_months = |unit: i64| interval(Some(months / unit * unit), Some(0), Some(0));
    let of_micros = |unit: i64| interval(Some(months), Some(i64::from(of.days)), Some(micros / unit * unit));
    let Some(known) = super::trunc::unit(&lower) else {
        let message = format!("unit \"{lower}\" not recognized for type interval");
        return Err(Error::new(Sqlstate::InvalidParameterValue, message));
    };
    match known {
        "millennium" => of_months(12_000),
        "century" => of_months(1_200),
        "decade" => of_months(120),
        "year" => of_months(12),
        "quarter" => of_months(3),
        "month" => of_months(1),
        "day" => interval(Some(months), Some(i64::from(of.days)), Some(0)),
        "hour" => of_micros(HOUR_MICROS),
        "minute" => of_micros(60 * SECOND_MICROS),
        "second" => of_micros(SECOND_MICROS),
        "millisecond" => of_micros(1_000),
        "microsecond" => of_micros(1),
        _ => Err(Error::unsupported(format!("unit \"{lower}\" not supported for type interval"))
            .detail("Months usually have fractional weeks.")),
    }
}
