//! Moments and the time between them.

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::of_arrays;

pub(super) const DAY_MICROS: i64 = 86_400_000_000;

static ELAPSED: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Elapsed::new())));
static INTERVAL_TIMES: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(IntervalTimes::new())));
static TIMESTAMP_TEXT: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(TimestampText::new())));

/// See [`Elapsed`].
pub(super) fn elapsed() -> Arc<ScalarUDF> {
    Arc::clone(&ELAPSED)
}

/// See [`IntervalTimes`].
pub(super) fn interval_times() -> Arc<ScalarUDF> {
    Arc::clone(&INTERVAL_TIMES)
}

/// See [`TimestampText`].
pub(super) fn timestamp_text() -> Arc<ScalarUDF> {
    Arc::clone(&TIMESTAMP_TEXT)
}

/// A timestamp as it is kept here.
pub(super) fn at(zone: Option<Arc<str>>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone)
}

/// The moment so many microseconds after the epoch, without a zone. What chrono does not reach is its end.
pub(super) fn moment(micros: i64) -> NaiveDateTime {
    let end = if micros < 0 { DateTime::<chrono::Utc>::MIN_UTC } else { DateTime::<chrono::Utc>::MAX_UTC };
    DateTime::from_timestamp_micros(micros).unwrap_or(end).naive_utc()
}

/// What a clock of this zone shows at an instant, and its distance from UTC in seconds.
pub(super) fn local(micros: i64, zone: &Tz) -> (NaiveDateTime, i32) {
    let utc = moment(micros);
    let seconds = zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    (utc.checked_add_signed(TimeDelta::seconds(i64::from(seconds))).unwrap_or(utc), seconds)
}

/// The instant at which a clock of this zone shows a moment: where it does twice the later one, where it never does as if it had not been put forward.
pub(super) fn instant(local: NaiveDateTime, zone: &Tz) -> i64 {
    let seconds = |offset: &<Tz as TimeZone>::Offset| i64::from(offset.fix().local_minus_utc());
    let distance = match zone.offset_from_local_datetime(&local) {
        chrono::LocalResult::Single(offset) => seconds(&offset),
        chrono::LocalResult::Ambiguous(_, later) => seconds(&later),
        chrono::LocalResult::None => {
            let before = local.checked_sub_signed(TimeDelta::hours(12)).unwrap_or(local);
            match zone.offset_from_local_datetime(&before) {
                chrono::LocalResult::Single(offset) | chrono::LocalResult::Ambiguous(_, offset) => seconds(&offset),
                chrono::LocalResult::None => 0,
            }
        }
    };
    local.and_utc().timestamp_micros().saturating_sub(distance.saturating_mul(1_000_000))
}

pub(super) fn zone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| plan_datafusion_err!("time zone \"{name}\" not recognized"))
}

fn micros(array: &ArrayRef) -> Result<&TimestampMicrosecondArray> {
    array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| exec_datafusion_err!("no timestamps"))
}

fn intervals(array: &ArrayRef) -> Result<&IntervalMonthDayNanoArray> {
    array.as_primitive_opt::<IntervalMonthDayNanoType>().ok_or_else(|| exec_datafusion_err!("no intervals"))
}

/// `timezone(zone, t)`, which is `t AT TIME ZONE zone`: the clock of a zone at an instant, or the instant of a clock.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Timezone(Signature);

impl Timezone {
    pub(super) fn new() -> Timezone {
        Timezone(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_, DataType::Timestamp(_, zone)] => Ok(vec![DataType::Utf8, at(zone.clone())]),
            [_, DataType::Date32 | DataType::Date64] => Ok(vec![DataType::Utf8, at(None)]),
            [_, DataType::Utf8 | DataType::Null] => Ok(vec![DataType::Utf8, at(Some("+00:00".into()))]),
            _ => plan_err!("No function matches the given name and argument types: timezone"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, DataType::Timestamp(_, Some(_))] => Ok(at(None)),
            _ => Ok(at(Some("+00:00".into()))),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let [names, moments] = arrays else { return plan_err!("timezone takes two arguments") };
            let names = names.as_string::<i32>();
            let moments = micros(moments)?;
            let is_instant = moments.timezone().is_some();
            let mut known: Option<(&str, Tz)> = None;
            let mut answer = Vec::with_capacity(moments.len());
            for (name, at) in names.iter().zip(moments) {
                let (Some(name), Some(at)) = (name, at) else {
                    answer.push(None);
                    continue;
                };
                let of_name = match known {
                    Some((same, of_name)) if same == name => of_name,
                    _ => zone(name)?,
                };
                known = Some((name, of_name));
                answer.push(Some(match is_instant {
                    true => local(at, &of_name).0.and_utc().timestamp_micros(),
                    false => instant(moment(at), &of_name),
                }));
            }
            let answer = TimestampMicrosecondArray::from(answer);
            Ok(Arc::new(if is_instant { answer } else { answer.with_timezone("+00:00") }) as ArrayRef)
        })
    }
}

/// `age(to, from)`: the time from one moment to another in years, months, days and what is left of a day, as a calendar tells it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Age(Signature);

impl Age {
    pub(super) fn new() -> Age {
        Age(Signature::user_defined(Volatility::Immutable))
    }
}

/// A day in microseconds, and the days of a month.
fn calendar_age(to: NaiveDateTime, from: NaiveDateTime) -> Option<IntervalMonthDayNano> {
    if to < from {
        let back = calendar_age(from, to)?;
        return Some(IntervalMonthDayNano::new(-back.months, -back.days, -back.nanoseconds));
    }
    let of_day = |at: NaiveDateTime| at.and_utc().timestamp_micros().rem_euclid(DAY_MICROS);
    let mut micros = of_day(to) - of_day(from);
    let mut days = i64::from(to.day()) - i64::from(from.day());
    let mut months =
        (i64::from(to.year()) - i64::from(from.year())) * 12 + i64::from(to.month()) - i64::from(from.month());
    if micros < 0 {
        micros += DAY_MICROS;
        days -= 1;
    }
    if days < 0 {
        // The days of the month that it began in.
        days += i64::from(from.num_days_in_month());
        months -= 1;
    }
    Some(IntervalMonthDayNano::new(i32::try_from(months).ok()?, i32::try_from(days).ok()?, micros.checked_mul(1_000)?))
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &str {
        "age"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_, _] => Ok(vec![at(None); 2]),
            _ => plan_err!("No function matches the given name and argument types: age takes two moments"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let [to, from] = arrays else { return plan_err!("age takes two moments") };
            let ages = micros(to)?.iter().zip(micros(from)?).map(|(to, from)| calendar_age(moment(to?), moment(from?)));
            Ok(Arc::new(ages.collect::<IntervalMonthDayNanoArray>()) as ArrayRef)
        })
    }
}

/// The time from one moment to another, in days and what is left of a day.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Elapsed(Signature);

impl Elapsed {
    pub(super) fn new() -> Elapsed {
        Elapsed(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Elapsed {
    fn name(&self) -> &str {
        "kanon_elapsed"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        // A clock beside an instant is one of the instant's zone.
        let zone = types.iter().find_map(|of_type| match of_type {
            DataType::Timestamp(_, Some(zone)) => Some(Arc::clone(zone)),
            _ => None,
        });
        Ok(vec![at(zone); types.len()])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let [to, from] = arrays else { return plan_err!("kanon_elapsed takes two arguments") };
            let between = micros(to)?.iter().zip(micros(from)?).map(|(to, from)| {
                let micros = i128::from(to?) - i128::from(from?);
                let days = i32::try_from(micros / i128::from(DAY_MICROS)).ok()?;
                let rest = i64::try_from(micros % i128::from(DAY_MICROS)).ok()?;
                Some(IntervalMonthDayNano::new(0, days, rest * 1_000))
            });
            Ok(Arc::new(between.collect::<IntervalMonthDayNanoArray>()) as ArrayRef)
        })
    }
}

/// An interval so many times: parts of a month are of 30 days, parts of a day of 24 hours, as PostgreSQL has it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct IntervalTimes(Signature);

impl IntervalTimes {
    pub(super) fn new() -> IntervalTimes {
        let types = vec![DataType::Interval(IntervalUnit::MonthDayNano), DataType::Float64];
        IntervalTimes(Signature::exact(types, Volatility::Immutable))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "casts saturate")]
fn times(interval: IntervalMonthDayNano, factor: f64) -> IntervalMonthDayNano {
    let months = f64::from(interval.months) * factor;
    let part_of_month = (months - months.trunc()) * 30.0;
    let days = f64::from(interval.days) * factor;
    // What is left of a month is whole days, and a part of one that is rounded to microseconds.
    let all_days = days.trunc() + part_of_month.trunc();
    let part_of_day = (days - days.trunc()) + (part_of_month - part_of_month.trunc());
    let micros = (interval.nanoseconds as f64 / 1e3) * factor + part_of_day * DAY_MICROS as f64;
    IntervalMonthDayNano::new(months.trunc() as i32, all_days as i32, (micros.round() as i64).saturating_mul(1_000))
}

impl ScalarUDFImpl for IntervalTimes {
    fn name(&self) -> &str {
        "kanon_interval_times"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let [of, factors] = arrays else { return plan_err!("kanon_interval_times takes two arguments") };
            let factors = factors.as_primitive::<Float64Type>();
            let all = intervals(of)?.iter().zip(factors).map(|(of, factor)| Some(times(of?, factor?)));
            Ok(Arc::new(all.collect::<IntervalMonthDayNanoArray>()) as ArrayRef)
        })
    }
}

/// A timestamp as text: `2024-02-29 12:00:00.5`, and with its distance from UTC if it has a zone.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimestampText(Signature);

impl TimestampText {
    pub(super) fn new() -> TimestampText {
        TimestampText(Signature::user_defined(Volatility::Immutable))
    }
}

/// A timestamp as text, with its distance from UTC in seconds if it has a zone.
pub(super) fn text(local: &NaiveDateTime, distance: Option<i32>) -> String {
    let mut text = local.format("%Y-%m-%d %H:%M:%S").to_string();
    let micros = local.and_utc().timestamp_subsec_micros();
    if micros > 0 {
        let digits = format!(".{micros:06}");
        text.push_str(digits.trim_end_matches('0'));
    }
    if let Some(seconds) = distance {
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.abs() / 60;
        text.push_str(&format!("{sign}{:02}", minutes / 60));
        if minutes % 60 != 0 {
            text.push_str(&format!(":{:02}", minutes % 60));
        }
    }
    text
}

impl ScalarUDFImpl for TimestampText {
    fn name(&self) -> &str {
        "kanon_timestamp_text"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Timestamp(_, zone)] => Ok(vec![at(zone.clone())]),
            _ => plan_err!("kanon_timestamp_text takes a timestamp"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let [moments] = arrays else { return plan_err!("kanon_timestamp_text takes one argument") };
            let moments = micros(moments)?;
            let of_zone = moments.timezone().map(zone).transpose()?;
            let texts = moments.iter().map(|at| {
                Some(match &of_zone {
                    Some(of_zone) => {
                        let (local, distance) = local(at?, of_zone);
                        text(&local, Some(distance))
                    }
                    None => text(&moment(at?), None),
                })
            });
            Ok(Arc::new(texts.collect::<StringArray>()) as ArrayRef)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn at_local(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
    }

    #[test]
    fn clocks_that_are_put_forward_and_back() {
        let zurich = zone("Europe/Zurich").unwrap();
        let utc = |text: &str| moment(instant(at_local(text), &zurich)).format("%H:%M").to_string();
        assert_eq!(utc("2024-07-01 12:00"), "10:00");
        // PostgreSQL 15: 2024-03-31 02:30 is 01:30 UTC, and 2024-10-27 02:30 is 01:30 UTC.
        assert_eq!(utc("2024-03-31 02:30"), "01:30");
        assert_eq!(utc("2024-10-27 02:30"), "01:30");
        let (clock, distance) = local(instant(at_local("2024-07-01 12:00"), &zurich), &zurich);
        assert_eq!((text(&clock, Some(distance)).as_str(), distance), ("2024-07-01 12:00:00+02", 7200));
        assert!(zone("Nowhere/Land").is_err());
        local(i64::MAX, &zurich);
        local(i64::MIN, &zurich);
        instant(moment(i64::MAX), &zurich);
        instant(moment(i64::MIN), &zurich);
    }

    #[test]
    fn ages_as_a_calendar_tells_them() {
        // Each with what PostgreSQL 15 says.
        for (to, from, months, days, hours) in [
            ("2024-03-01 00:00", "2023-01-15 00:00", 13, 17, 0),
            ("2000-01-01 00:00", "1999-12-31 12:00", 0, 0, 12),
            ("2024-02-29 00:00", "1980-02-29 00:00", 528, 0, 0),
            ("2023-01-15 00:00", "2024-03-01 00:00", -13, -17, 0),
            ("2024-03-31 01:00", "2024-02-29 02:00", 1, 1, 23),
        ] {
            let expected = IntervalMonthDayNano::new(months, days, hours * 3_600_000_000_000);
            assert_eq!(calendar_age(at_local(to), at_local(from)), Some(expected), "{to} {from}");
        }
    }

    #[test]
    fn intervals_are_multiplied_by_parts() {
        let day = |months, days, hours: i64| IntervalMonthDayNano::new(months, days, hours * 3_600_000_000_000);
        assert_eq!(times(day(0, 1, 0), 2.5), day(0, 2, 12));
        assert_eq!(times(day(1, 0, 0), 0.5), day(0, 15, 0));
        assert_eq!(times(day(0, 1, 0), -1.0), day(0, -1, 0));
        assert_eq!(times(day(0, 0, 1), 0.5), IntervalMonthDayNano::new(0, 0, 1_800_000_000_000));
        times(day(i32::MAX, i32::MAX, 1), 1e300);
        times(day(1, 1, 1), f64::NAN);
    }
}
