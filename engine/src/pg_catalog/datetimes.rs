//! Values in quotes that are cast: dates and times in the forms that PostgreSQL reads, `'2024-02-29 12:00'`, `'Feb 29, 2024'`, `'20240229'`, and numbers and truth
//! values.
//!
//! Arrow reads ISO 8601 alone. So text that is cast to a date, a time or a timestamp, by a statement or because it is compared with one, is
//! written that way before it is planned any further. What nobody can read is an error before anything is computed.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::rewrite::interval_text;
use super::types::PgType;
use crate::error::{Error, Result as OurResult, Sqlstate};
use crate::functions::boolean;

/// A plan whose dates and times are written as Arrow reads them, and whose numbers are numbers.
///
/// # Errors
/// See [`value`] and [`number`].
pub fn read(plan: LogicalPlan) -> Result<LogicalPlan> {
    if !has_some(&plan)? {
        return Ok(plan);
    }
    let done = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(one)?.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(done.data)
}

fn has_some(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                found |= cast_text(expr).is_some();
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}

/// Text that is cast to one of these types, and to which.
fn cast_text(expr: &Expr) -> Option<(&String, &DataType)> {
    let Expr::Cast(cast) = expr else { return None };
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = cast.expr.as_ref() else { return None };
    let wanted = cast.field.data_type();
    (is_moment(wanted) || is_number(wanted)).then_some((text, wanted))
}

fn is_moment(wanted: &DataType) -> bool {
    matches!(
        wanted,
        DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Interval(_)
    )
}

fn is_number(wanted: &DataType) -> bool {
    matches!(
        wanted,
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64 | DataType::Boolean
    )
}

fn one(mut expr: Expr) -> Result<Transformed<Expr>> {
    let Some((text, wanted)) = cast_text(&expr) else { return Ok(Transformed::no(expr)) };
    if is_number(wanted) {
        return Ok(Transformed::yes(Expr::Literal(number(text, wanted)?, None)));
    }
    let Some(iso) = readable(text, wanted)? else { return Ok(Transformed::no(expr)) };
    if let Expr::Cast(cast) = &mut expr {
        *cast.expr = Expr::Literal(ScalarValue::Utf8(Some(iso)), None);
    }
    Ok(Transformed::yes(expr))
}

/// A text as a date, a time, a timestamp or an interval.
///
/// # Errors
/// 22007 for a text that is none, 22008 for a day that no month has and an hour that no day has, 0A000 for words such as `now` and `infinity`.
pub fn value(text: &str, wanted: &DataType) -> OurResult<ScalarValue> {
    let read = readable(text, wanted)?;
    let text = ScalarValue::Utf8(Some(read.unwrap_or_else(|| text.trim().to_owned())));
    text.cast_to(wanted).map_err(Error::from)
}

/// A text in quotes as a value of a type.
///
/// # Errors
/// As PostgreSQL's for a text that is none, 0A000 for words such as `now`.
pub fn constant(text: &str, wanted: &DataType) -> OurResult<ScalarValue> {
    match wanted {
        DataType::Interval(_) => value(text, wanted),
        wanted if is_moment(wanted) => value(text, wanted),
        DataType::Boolean | DataType::Float32 | DataType::Float64 => number(text, wanted),
        wanted if wanted.is_integer() => number(text, wanted),
        // A number has the digits that it is written with.
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            let own = own_digits(text.trim_ascii()).unwrap_or_else(|| wanted.clone());
            ScalarValue::Utf8(Some(text.trim_ascii().to_owned())).cast_to(&own).map_err(|_| unreadable(text, wanted))
        }
        wanted => ScalarValue::Utf8(Some(text.to_owned())).cast_to(wanted).map_err(|_| unreadable(text, wanted)),
    }
}

/// The type that holds a number as it is written, of at most 38 digits.
fn own_digits(text: &str) -> Option<DataType> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let precision = u8::try_from(whole.len().max(1) + fraction.len()).ok().filter(|precision| *precision <= 38)?;
    is_plain.then(|| Some(DataType::Decimal128(precision, i8::try_from(fraction.len()).ok()?)))?
}

/// A text as a time of a day in microseconds, and how far from UTC it says that its clock is, in seconds.
///
/// # Errors
/// 22007 for a text that is none, 22008 for an hour that no day has.
pub fn clock(text: &str) -> OurResult<(i64, Option<i32>)> {
    let wrong = || {
        let message = format!("invalid input syntax for type time with time zone: \"{text}\"");
        Error::new(Sqlstate::InvalidDatetime, message)
    };
    let moment = Moment::read(text).ok_or_else(wrong)?;
    if !moment.is_one() {
        let message = format!("date/time field value out of range: \"{text}\"");
        return Err(Error::new(Sqlstate::DatetimeOverflow, message));
    }
    let (hour, minute, second, fraction) = moment.time.ok_or_else(wrong)?;
    let seconds = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    let nanos: i64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    let distance = match &moment.zone {
        None => None,
        Some(zone) => {
            let east = zone.get(1..3).zip(zone.get(4..6)).and_then(|(hours, minutes)| {
                Some(hours.parse::<i32>().ok()? * 3_600 + minutes.parse::<i32>().ok()? * 60)
            });
            // The name of a zone says nothing without a day.
            let east = east.filter(|_| !zone.contains('/')).ok_or_else(wrong)?;
            Some(if zone.starts_with('-') { -east } else { east })
        }
    };
    Ok((seconds * 1_000_000 + (nanos + 500) / 1_000, distance))
}

/// A text as Arrow reads it; `None` if it is so already.
fn readable(text: &str, wanted: &DataType) -> OurResult<Option<String>> {
    if let DataType::Interval(_) = wanted {
        let read = interval_text(text);
        return if read.is_some() || is_read(text, wanted) { Ok(read) } else { Err(unreadable(text, wanted)) };
    }
    let Some(moment) = Moment::read(text) else {
        let word = text.trim().trim_start_matches(['-', '+']).to_ascii_lowercase();
        if WORDS.contains(&word.as_str()) {
            return Err(Error::unsupported(format!("the moment \"{}\" is not supported", text.trim())));
        }
        return if is_read(text, wanted) { Ok(None) } else { Err(unreadable(text, wanted)) };
    };
    if !moment.is_one() {
        let error = Error::new(Sqlstate::DatetimeOverflow, format!("date/time field value out of range: \"{text}\""));
        let is_month = moment.date.is_none_or(|(_, month, day)| (1..=12).contains(&month) && (1..=31).contains(&day));
        return Err(match is_month {
            true => error,
            false => error.hint("Perhaps you need a different \"datestyle\" setting."),
        });
    }
    moment.iso(wanted).map(Some).ok_or_else(|| unreadable(text, wanted))
}

/// Moments that have a name.
const WORDS: [&str; 7] = ["now", "today", "tomorrow", "yesterday", "epoch", "infinity", "allballs"];

fn is_read(text: &str, wanted: &DataType) -> bool {
    ScalarValue::Utf8(Some(text.trim().to_owned())).cast_to(wanted).is_ok_and(|value| !value.is_null())
}

fn unreadable(text: &str, wanted: &DataType) -> Error {
    let name = match PgType::of(wanted) {
        PgType::TIME => "time".to_owned(),
        PgType::TIMESTAMP => "timestamp".to_owned(),
        other => other.with_typmod(-1).sql_name(),
    };
    let state = if is_moment(wanted) { Sqlstate::InvalidDatetime } else { Sqlstate::InvalidTextRepresentation };
    Error::new(state, format!("invalid input syntax for type {name}: \"{text}\""))
}

/// A text as a number or a truth value.
///
/// # Errors
/// 22P02 for a text that is none, 22003 for one that the type does not hold.
fn number(text: &str, wanted: &DataType) -> OurResult<ScalarValue> {
    let word = text.trim_ascii();
    let wrong = || unreadable(text, wanted);
    let out_of_range = || {
        let name = PgType::of(wanted).sql_name();
        let message = match wanted.is_integer() {
            true => format!("value \"{text}\" is out of range for type {name}"),
            false => format!("\"{text}\" is out of range for type {name}"),
        };
        Error::new(Sqlstate::NumericOutOfRange, message)
    };
    if *wanted == DataType::Boolean {
        return boolean(word).map(|value| ScalarValue::Boolean(Some(value))).ok_or_else(wrong);
    }
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if wanted.is_integer() {
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: i64 = word.parse().map_err(|_| out_of_range())?;
        let value = ScalarValue::Int64(Some(number)).cast_to(wanted);
        return value.ok().filter(|value| !value.is_null()).ok_or_else(out_of_range);
    }
    let is_written = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let is_named = ["nan", "inf", "infinity"].contains(&digits.to_ascii_lowercase().as_str());
    let value: f64 = word.parse().ok().filter(|_| is_written || is_named).ok_or_else(wrong)?;
    let value = if *wanted == DataType::Float32 { f64::from(value as f32) } else { value };
    // Zero that was not written as such is too small.
    let is_lost =
        value == 0.0 && digits.split(['e', 'E']).next().is_some_and(|d| d.contains(|c: char| ('1'..='9').contains(&c)));
    if is_written && (value.is_infinite() || is_lost) {
        return Err(out_of_range());
    }
    ScalarValue::Float64(Some(value)).cast_to(wanted).map_err(Error::from)
}

/// What a text says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Moment {
    date: Option<(i32, u32, u32)>,
    time: Option<(u32, u32, u32, String)>,
    /// `+02:00`, or the name of a zone.
    zone: Option<String>,
}

impl Moment {
    fn read(text: &str) -> Option<Moment> {
        let mut moment = Moment::default();
        let text = text.trim();
        // The T between date and time, but not in a name.
        let split = text.char_indices().position(|(at, c)| {
            matches!(c, 'T' | 't')
                && text[..at].ends_with(|c: char| c.is_ascii_digit())
                && text[at + 1..].starts_with(|c: char| c.is_ascii_digit())
        });
        let text = match split {
            Some(at) if text.is_ascii() => format!("{} {}", &text[..at], &text[at + 1..]),
            _ => text.to_owned(),
        };
        let mut words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        // '29 Feb 2024', 'Feb 29 2024'
        if let Some(at) = words.iter().position(|word| month(word).is_some()) {
            let month = month(words.remove(at))?;
            let from = at.saturating_sub(1).min(words.len().checked_sub(2)?);
            let numbers = (words.get(from)?.parse().ok()?, words.get(from + 1)?.parse().ok()?);
            let (day, year): (u32, i32) = numbers;
            moment.date = Some((year, month, day));
            words.drain(from..from + 2);
        }
        for word in words {
            if word.contains(':') && moment.time.is_none() {
                let zone = word.find(['+', '-']).or_else(|| word.find(['Z', 'z']));
                let (clock, zone) = word.split_at(zone.unwrap_or(word.len()));
                moment.time = Some(time(clock)?);
                moment.add_zone(zone)?;
            } else if matches!(word.to_ascii_lowercase().as_str(), "am" | "pm") {
                let (hour, ..) = moment.time.as_mut()?;
                if *hour == 0 || *hour > 12 {
                    return None;
                }
                *hour = *hour % 12 + if word.eq_ignore_ascii_case("pm") { 12 } else { 0 };
            } else if moment.date.is_none() && moment.time.is_none() {
                moment.date = Some(date(word)?);
            } else {
                moment.add_zone(word)?;
            }
        }
        (moment.date.is_some() || moment.time.is_some()).then_some(moment)
    }

    fn add_zone(&mut self, word: &str) -> Option<()> {
        if word.is_empty() {
            return Some(());
        }
        if self.zone.is_some() {
            return None;
        }
        self.zone = Some(match word.to_ascii_lowercase().as_str() {
            "z" | "utc" | "gmt" => "+00:00".to_owned(),
            lower => match lower.strip_prefix(['+', '-']) {
                Some(digits) => {
                    let (hours, minutes) = match digits.split_once(':') {
                        Some(parts) => parts,
                        None if digits.len() == 4 && digits.is_ascii() => digits.split_at(2),
                        None => (digits, "0"),
                    };
                    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
                    if hours > 15 || minutes > 59 {
                        return None;
                    }
                    format!("{}{hours:02}:{minutes:02}", &lower[..1])
                }
                None if word.contains('/') && word.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c)) => {
                    word.to_owned()
                }
                None => return None,
            },
        });
        Some(())
    }

    /// Whether there is such a day and such a time.
    fn is_one(&self) -> bool {
        let is_day = self.date.is_none_or(|(year, month, day)| {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = match month {
                2 => 28 + u32::from(is_leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (1..=12).contains(&month) && (1..=days).contains(&day)
        });
        is_day && self.time.as_ref().is_none_or(|(hour, minute, second, _)| *hour < 24 && *minute < 60 && *second < 60)
    }

    /// As ISO 8601, what of it is wanted; `None` if that is not there.
    fn iso(&self, wanted: &DataType) -> Option<String> {
        let date = self.date.map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}"));
        let midnight = (0, 0, 0, String::new());
        let (hour, minute, second, fraction) = self.time.as_ref().unwrap_or(&midnight);
        let dot = if fraction.is_empty() { "" } else { "." };
        let time = format!("{hour:02}:{minute:02}:{second:02}{dot}{fraction}");
        match wanted {
            DataType::Date32 | DataType::Date64 => date,
            DataType::Time32(_) | DataType::Time64(_) => self.time.as_ref().map(|_| time),
            // A zone says nothing of a time without one.
            DataType::Timestamp(_, None) => Some(format!("{} {time}", date?)),
            DataType::Timestamp(_, Some(_)) => {
                let zone = self.zone.as_deref().unwrap_or_default();
                let space = if zone.contains('/') { " " } else { "" };
                Some(format!("{} {time}{space}{zone}", date?))
            }
            _ => None,
        }
    }
}

fn month(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.to_ascii_lowercase();
    let is = |name: &&str| {
        word.len() >= 3 && (*name == word || name[..3] == word || (word == "sept" && *name == "september"))
    };
    MONTHS.iter().position(is).and_then(|at| u32::try_from(at + 1).ok())
}

fn date(word: &str) -> Option<(i32, u32, u32)> {
    if !word.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'/') {
        return None;
    }
    if word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit()) {
        return Some((word[..4].parse().ok()?, word[4..6].parse().ok()?, word[6..].parse().ok()?));
    }
    let parts: Vec<&str> = word.split(['-', '/']).collect();
    let [first, second, third] = parts.as_slice() else { return None };
    if first.len() == 4 {
        return Some((first.parse().ok()?, second.parse().ok()?, third.parse().ok()?));
    }
    // Month, day, year, as DateStyle has it.
    (third.len() == 4 && word.contains('/'))
        .then(|| Some((third.parse().ok()?, first.parse().ok()?, second.parse().ok()?)))
        .flatten()
}

fn time(word: &str) -> Option<(u32, u32, u32, String)> {
    let mut parts = word.split(':');
    let (hour, minute) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (second, fraction) = match parts.next() {
        None => (0, ""),
        Some(seconds) => {
            let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
            (second.parse().ok()?, fraction)
        }
    };
    let is_fraction = fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit());
    (parts.next().is_none() && is_fraction).then(|| (hour, minute, second, fraction.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::datatypes::{IntervalUnit, TimeUnit};

    use super::*;

    #[test]
    fn moments_are_read_as_postgresql_reads_them() {
        let at = DataType::Timestamp(TimeUnit::Microsecond, None);
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let of_day = DataType::Time64(TimeUnit::Microsecond);
        for (text, wanted, iso) in [
            ("2024-02-29 12:00", &at, Some("2024-02-29 12:00:00")),
            ("2024-02-29T12:00:01.5Z", &at, Some("2024-02-29 12:00:01.5")),
            ("2024-02-29T12:00+2", &zoned, Some("2024-02-29 12:00:00+02:00")),
            ("2024-02-29 12:00:00 -0530", &zoned, Some("2024-02-29 12:00:00-05:30")),
            ("2024-02-29 12:00 Europe/Zurich", &zoned, Some("2024-02-29 12:00:00 Europe/Zurich")),
            ("2024-2-9", &at, Some("2024-02-09 00:00:00")),
            ("Feb 29, 2024", &DataType::Date32, Some("2024-02-29")),
            ("29 February 2024 1:05 pm", &at, Some("2024-02-29 13:05:00")),
            ("Sept 1, 2024", &DataType::Date32, Some("2024-09-01")),
            ("1 May 2024", &DataType::Date32, Some("2024-05-01")),
            ("20240229", &DataType::Date32, Some("2024-02-29")),
            ("2/29/2024", &DataType::Date32, Some("2024-02-29")),
            ("2024-02-29 23:59", &DataType::Date32, Some("2024-02-29")),
            ("12:30", &of_day, Some("12:30:00")),
            ("12:30 AM", &of_day, Some("00:30:00")),
            ("2024-02-29", &of_day, None),
            ("12:30", &at, None),
            ("infinity", &at, None),
            ("", &at, None),
            ("now", &at, None),
            ("2024-02-29 12:00 x", &at, None),
            ("2024-02-29 12:00:00.1234567890", &at, None),
            ("Österreich T1", &at, None),
        ] {
            assert_eq!(Moment::read(text).and_then(|moment| moment.iso(wanted)).as_deref(), iso, "{text}");
        }
        for text in ["2024-02-30", "2023-02-29", "2024-13-01", "2024-04-31", "2024-01-01 24:30", "12:60"] {
            assert!(!Moment::read(text).unwrap().is_one(), "{text}");
        }
        assert!(Moment::read("2000-02-29").unwrap().is_one());
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        for (text, wanted, code) in [
            ("x", DataType::Date32, "22007"),
            ("2024-02-30", DataType::Date32, "22008"),
            ("25:00", DataType::Time64(TimeUnit::Microsecond), "22008"),
            ("12:00", DataType::Date32, "22007"),
            ("infinity", DataType::Date32, "0A000"),
            ("1 foo", interval.clone(), "22007"),
        ] {
            assert_eq!(value(text, &wanted).unwrap_err().state.code(), code, "{text}");
        }
        assert_eq!(value("2020-01-01 +00", &DataType::Date32).unwrap(), ScalarValue::Date32(Some(18_262)));
        assert_eq!(
            value("12:30:00+00", &DataType::Time64(TimeUnit::Microsecond)).unwrap(),
            ScalarValue::Time64Microsecond(Some(45_000_000_000))
        );
        assert!(value("1 day 02:00", &interval).is_ok());
    }

    #[test]
    fn numbers_are_read_as_postgresql_reads_them() {
        let read =
            |text: &str, wanted: DataType| number(text, &wanted).map_err(|error| (error.state.code(), error.message));
        assert_eq!(read(" -5 ", DataType::Int32), Ok(ScalarValue::Int32(Some(-5))));
        assert_eq!(read("yes", DataType::Boolean), Ok(ScalarValue::Boolean(Some(true))));
        assert_eq!(read("1e3", DataType::Float64), Ok(ScalarValue::Float64(Some(1000.0))));
        for (text, wanted, code, message) in [
            ("abc", DataType::Int32, "22P02", "invalid input syntax for type integer: \"abc\""),
            ("3000000000", DataType::Int32, "22003", "value \"3000000000\" is out of range for type integer"),
            ("1.5", DataType::Int64, "22P02", "invalid input syntax for type bigint: \"1.5\""),
            ("1e400", DataType::Float64, "22003", "\"1e400\" is out of range for type double precision"),
            ("maybe", DataType::Boolean, "22P02", "invalid input syntax for type boolean: \"maybe\""),
        ] {
            assert_eq!(read(text, wanted), Err((code, message.to_owned())), "{text}");
        }
    }
}
