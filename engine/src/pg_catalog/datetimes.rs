//! Dates and times in quotes, in the forms that PostgreSQL reads: `'2024-02-29 12:00'`, `'Feb 29, 2024'`, `'20240229'`.
//!
//! Arrow reads ISO 8601 alone. So text that is cast to a date, a time or a timestamp, by a statement or because it is compared with one, is
//! written that way before it is planned any further. What is not read here is left to Arrow, to read or refuse.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::{Error, Sqlstate};

/// A plan whose dates and times are written as Arrow reads them.
///
/// # Errors
/// 22008 for a day that no month has, and an hour that no day has.
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

/// Text that is cast to a date or a time, and to which type.
fn cast_text(expr: &Expr) -> Option<(&String, &DataType)> {
    let Expr::Cast(cast) = expr else { return None };
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = cast.expr.as_ref() else { return None };
    let wanted = cast.field.data_type();
    let is_moment = matches!(
        wanted,
        DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) | DataType::Timestamp(..)
    );
    is_moment.then_some((text, wanted))
}

fn one(mut expr: Expr) -> Result<Transformed<Expr>> {
    let Some((text, wanted)) = cast_text(&expr) else { return Ok(Transformed::no(expr)) };
    let Some(iso) = as_iso(text, wanted)? else { return Ok(Transformed::no(expr)) };
    if let Expr::Cast(cast) = &mut expr {
        *cast.expr = Expr::Literal(ScalarValue::Utf8(Some(iso)), None);
    }
    Ok(Transformed::yes(expr))
}

/// A text that PostgreSQL reads as a date or a time, as Arrow reads it; `None` if it is not in one of these forms.
///
/// # Errors
/// 22008 for a day that no month has, and an hour that no day has.
pub fn as_iso(text: &str, wanted: &DataType) -> crate::error::Result<Option<String>> {
    let Some(moment) = Moment::read(text) else { return Ok(None) };
    if !moment.is_one() {
        let message = format!("date/time field value out of range: \"{text}\"");
        return Err(Error::new(Sqlstate::DatetimeOverflow, message));
    }
    Ok(moment.iso(wanted))
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
                        None if digits.len() == 4 => digits.split_at(2),
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
    use datafusion::arrow::datatypes::TimeUnit;

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
}
