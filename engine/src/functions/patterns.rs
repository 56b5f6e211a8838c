//! `to_char`: moments and numbers in PostgreSQL's patterns.

use std::sync::Arc;

use chrono::{Datelike, NaiveDateTime, Timelike};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::moments::{at, local, moment, zone};
use super::of_arrays;
use crate::error::Error;

/// The longest pattern.
const MOST_CHARS: usize = 1_000;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar(Signature);

impl ToChar {
    pub(super) fn new() -> ToChar {
        ToChar(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [of, _] = types else { return plan_err!("No function matches: to_char takes two arguments") };
        let of = match of {
            DataType::Timestamp(_, zone) => at(zone.clone()),
            DataType::Date32 | DataType::Date64 => at(None),
            DataType::Decimal128(..) => of.clone(),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
            of if of.is_integer() => DataType::Int64,
            of => {
                let message = format!("to_char is not supported for {of}");
                return Err(Error::unsupported(message).hint("It takes numbers, dates and timestamps.").into());
            }
        };
        Ok(vec![of, DataType::Utf8])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let [of, patterns] = arrays else { return plan_err!("to_char takes two arguments") };
            let patterns = patterns.as_string::<i32>();
            let of_zone = match of.data_type() {
                DataType::Timestamp(_, Some(name)) => Some(zone(name)?),
                _ => None,
            };
            let one = |row: usize, pattern: &str| -> Result<String> {
                if pattern.len() > MOST_CHARS {
                    return plan_err!("a pattern of to_char is too long");
                }
                match of.data_type() {
                    DataType::Timestamp(..) => {
                        let micros = of.as_primitive::<TimestampMicrosecondType>().value(row);
                        let (shown, distance) = match &of_zone {
                            Some(of_zone) => local(micros, of_zone),
                            None => (moment(micros), 0),
                        };
                        Ok(dated(&shown, distance, of_zone.is_some(), pattern))
                    }
                    DataType::Int64 => numbered(&of.as_primitive::<Int64Type>().value(row).to_string(), pattern),
                    DataType::Decimal128(..) => {
                        numbered(&of.as_primitive::<Decimal128Type>().value_as_string(row), pattern)
                    }
                    _ => {
                        let number = of.as_primitive::<Float64Type>().value(row);
                        // More digits than a float has say nothing.
                        numbered(&format!("{number:.15}"), pattern)
                    }
                }
            };
            let mut texts = Vec::with_capacity(of.len());
            for (row, pattern) in patterns.iter().enumerate() {
                texts.push(match pattern.filter(|_| of.is_valid(row)) {
                    Some(pattern) => Some(one(row, pattern)?),
                    None => None,
                });
            }
            Ok(Arc::new(StringArray::from(texts)) as ArrayRef)
        })
    }
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// What a pattern of a moment may hold, the longer ones first. Those of letters alone are read without regard to case, but for names.
const PARTS: [&str; 49] = [
    "SSSSS", "Y,YYY", "A.D.", "B.C.", "A.M.", "P.M.", "IDDD", "IYYY", "SSSS", "YYYY", "MONTH", "HH12", "HH24", "DDD",
    "DAY", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "IYY", "MON", "TZH", "TZM", "YYY", "AD", "AM", "BC", "CC", "DD",
    "DY", "HH", "ID", "IW", "IY", "MI", "MM", "MS", "OF", "PM", "SS", "TZ", "US", "WW", "YY", "D", "Q", "W",
];

/// A moment, whose zone is so many seconds from UTC, in a pattern.
fn dated(at: &NaiveDateTime, distance: i32, has_zone: bool, pattern: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let quoted = rest.get(1..).unwrap_or_default();
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push_str(quoted.get(..end).unwrap_or_default());
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        if first == '\\' {
            rest = rest.get(1..).unwrap_or_default();
            if let Some(next) = rest.chars().next() {
                out.push(next);
                rest = rest.get(next.len_utf8()..).unwrap_or_default();
            }
            continue;
        }
        let is = |text: &str, part: &str| text.get(..part.len()).is_some_and(|head| head.eq_ignore_ascii_case(part));
        let fills = !is(rest, "FM");
        let after = if fills { rest } else { rest.get(2..).unwrap_or_default() };
        let after = if is(after, "TM") { after.get(2..).unwrap_or_default() } else { after };
        let part = PARTS.iter().chain(&["J", "Y", "I"]).find(|part| is(after, part));
        match part {
            Some(part) => {
                let spelled = after.get(..part.len()).unwrap_or_default();
                rest = after.get(part.len()..).unwrap_or_default();
                let mut said = value(at, distance, has_zone, part, spelled, fills);
                if is(rest, "TH") && said.chars().all(|c| c.is_ascii_digit()) {
                    let ending = ordinal(&said);
                    let is_upper = rest.starts_with('T');
                    said.push_str(&if is_upper { ending.to_uppercase() } else { ending.to_owned() });
                    rest = rest.get(2..).unwrap_or_default();
                }
                out.push_str(&said);
            }
            None if !fills => rest = after,
            None => {
                out.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    out
}

fn ordinal(number: &str) -> &'static str {
    if number.ends_with("11") || number.ends_with("12") || number.ends_with("13") {
        return "th";
    }
    match number.chars().last() {
        Some('1') => "st",
        Some('2') => "nd",
        Some('3') => "rd",
        _ => "th",
    }
}

fn value(at: &NaiveDateTime, distance: i32, has_zone: bool, part: &str, spelled: &str, fills: bool) -> String {
    let number = |number: i64, width: usize| match fills {
        true => format!("{number:0width$}"),
        false => number.to_string(),
    };
    let ends = |number: i64, digits: u32| {
        let width = usize::try_from(digits).unwrap_or(1);
        match fills {
            true => format!("{:0width$}", number.rem_euclid(10_i64.pow(digits))),
            false => number.rem_euclid(10_i64.pow(digits)).to_string(),
        }
    };
    let named = |name: &str, width: usize| {
        let cased = if spelled.chars().all(|c| c.is_ascii_uppercase()) {
            name.to_uppercase()
        } else if spelled.chars().all(|c| c.is_ascii_lowercase()) {
            name.to_lowercase()
        } else {
            name.to_owned()
        };
        if fills { format!("{cased:width$}") } else { cased }
    };
    let cased = |word: &str| {
        if spelled.starts_with(|c: char| c.is_ascii_uppercase()) { word.to_uppercase() } else { word.to_owned() }
    };
    let (year, week) = (i64::from(at.year()), at.iso_week());
    let month = MONTHS.get(at.month0() as usize).copied().unwrap_or_default();
    let day = DAYS.get(at.weekday().num_days_from_sunday() as usize).copied().unwrap_or_default();
    let micros = i64::from(at.and_utc().timestamp_subsec_micros());
    let hour = i64::from(at.hour());
    let of_half = if hour % 12 == 0 { 12 } else { hour % 12 };
    let minutes = distance.abs() / 60;
    let sign = if distance < 0 { '-' } else { '+' };
    match part {
        "YYYY" => number(year, 4),
        "Y,YYY" => format!("{},{:03}", year / 1000, year % 1000),
        "YYY" => ends(year, 3),
        "YY" => ends(year, 2),
        "Y" => ends(year, 1),
        "IYYY" => number(i64::from(week.year()), 4),
        "IYY" => ends(i64::from(week.year()), 3),
        "IY" => ends(i64::from(week.year()), 2),
        "I" => ends(i64::from(week.year()), 1),
        "CC" => number((year - 1).div_euclid(100) + 1, 2),
        "Q" => (at.month0() / 3 + 1).to_string(),
        "MM" => number(i64::from(at.month()), 2),
        "MONTH" => named(month, 9),
        "MON" => named(month.get(..3).unwrap_or_default(), 0),
        "DAY" => named(day, 9),
        "DY" => named(day.get(..3).unwrap_or_default(), 0),
        "DDD" => number(i64::from(at.ordinal()), 3),
        "DD" => number(i64::from(at.day()), 2),
        "D" => (at.weekday().num_days_from_sunday() + 1).to_string(),
        "ID" => at.weekday().number_from_monday().to_string(),
        "IDDD" => number(i64::from((week.week() - 1) * 7 + at.weekday().number_from_monday()), 3),
        "IW" => number(i64::from(week.week()), 2),
        "WW" => number(i64::from(at.ordinal0() / 7 + 1), 2),
        "W" => (at.day0() / 7 + 1).to_string(),
        "J" => (i64::from(at.num_days_from_ce()) + 1_721_425).to_string(),
        "HH24" => number(hour, 2),
        "HH" | "HH12" => number(of_half, 2),
        "MI" => number(i64::from(at.minute()), 2),
        "SS" => number(i64::from(at.second()), 2),
        "SSSS" | "SSSSS" => at.num_seconds_from_midnight().to_string(),
        "MS" | "FF3" => format!("{:03}", micros / 1_000),
        "US" | "FF6" => format!("{micros:06}"),
        "FF1" => format!("{}", micros / 100_000),
        "FF2" => format!("{:02}", micros / 10_000),
        "FF4" => format!("{:04}", micros / 100),
        "FF5" => format!("{:05}", micros / 10),
        "AM" | "PM" => cased(if hour < 12 { "am" } else { "pm" }),
        "A.M." | "P.M." => cased(if hour < 12 { "a.m." } else { "p.m." }),
        "AD" | "BC" => cased(if year > 0 { "ad" } else { "bc" }),
        "A.D." | "B.C." => cased(if year > 0 { "a.d." } else { "b.c." }),
        "TZH" if has_zone => format!("{sign}{:02}", minutes / 60),
        "TZM" if has_zone => format!("{:02}", minutes % 60),
        "OF" if has_zone && minutes % 60 != 0 => format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60),
        "OF" => format!("{sign}{:02}", minutes / 60),
        "TZ" if has_zone && distance == 0 => cased("utc"),
        "TZ" if has_zone => format!("{sign}{:02}", minutes / 60),
        _ => String::new(),
    }
}

/// A number, written out in digits, in a pattern of `9 0 . , D G FM S MI`.
fn numbered(digits: &str, pattern: &str) -> Result<String> {
    let upper = pattern.to_uppercase();
    let fills = !upper.starts_with("FM");
    let body = upper.strip_prefix("FM").unwrap_or(&upper);
    let (leads, body) = match body.strip_prefix('S') {
        Some(rest) => (true, rest),
        None => (false, body),
    };
    let (trails, body) = match (body.strip_suffix("MI"), body.strip_suffix('S')) {
        (Some(rest), _) => (Some(' '), rest),
        (None, Some(rest)) => (Some('+'), rest),
        (None, None) => (None, body),
    };
    if !body.chars().all(|c| matches!(c, '9' | '0' | '.' | ',' | 'D' | 'G' | ' ' | '-' | '/' | ':')) {
        let message = format!("the pattern \"{pattern}\" of to_char is not supported for numbers");
        return Err(Error::unsupported(message)
            .hint("Patterns of numbers are made of 9, 0, comma, point, D, G, FM, S and MI.")
            .into());
    }
    let (whole, part) = body.split_once(['.', 'D']).unwrap_or((body, ""));
    let places = part.chars().filter(|c| matches!(c, '9' | '0')).count();
    let (is_negative, rounded, fraction) = round(digits, places);
    let positions = whole.chars().filter(|c| matches!(c, '9' | '0')).count();
    let shown =
        if rounded == "0" && whole.contains(['9', '0']) && places > 0 && !whole.contains('0') { "" } else { &rounded };
    let is_negative = is_negative && (rounded != "0" || fraction.chars().any(|c| c != '0'));
    let overflows = rounded.len() > positions && rounded != "0";

    // From the right, so that each digit finds its place.
    let mut left = Vec::new();
    let mut digits = shown.chars().rev();
    let mut zeros_from = whole.chars().position(|c| c == '0');
    let all: Vec<char> = whole.chars().collect();
    for (place, c) in all.iter().enumerate().rev() {
        match c {
            '9' | '0' if overflows => left.push('#'),
            '9' | '0' => left.push(match digits.next() {
                Some(digit) => digit,
                None if zeros_from.is_some_and(|from| from <= place) => '0',
                None => ' ',
            }),
            ',' | 'G' => {
                let more = digits.clone().next().is_some() || zeros_from.is_some_and(|from| from < place) || overflows;
                left.push(if more { ',' } else { ' ' });
            }
            other => left.push(*other),
        }
    }
    zeros_from.take();
    let mut text: String = left.iter().rev().collect();
    let blanks = text.len() - text.trim_start().len();
    let sign = match (is_negative, leads, trails) {
        (_, _, Some(_)) => "",
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, _) => " ",
    };
    text = format!("{}{sign}{}", " ".repeat(blanks), text.trim_start());
    if !part.is_empty() || body.contains(['.', 'D']) {
        text.push('.');
        let mut fraction = fraction.chars();
        for c in part.chars() {
            match c {
                '9' | '0' if overflows => text.push('#'),
                '9' | '0' => text.extend(fraction.next()),
                other => text.push(other),
            }
        }
        if !fills {
            // A nine at the end is left out where there is nothing.
            let least = part.rfind('0').map_or(0, |at| at + 1);
            let nines = part.len() - least;
            let zeros = text.len() - text.trim_end_matches('0').len();
            text.truncate(text.len() - zeros.min(nines));
        }
    }
    match trails {
        Some(_) if is_negative => text.push('-'),
        Some(positive) if fills || positive == '+' => text.push(positive),
        _ => {}
    }
    Ok(if fills { text } else { text.trim_start().to_owned() })
}

/// The sign, the whole digits and so many places of a number that is written out.
fn round(digits: &str, places: usize) -> (bool, String, String) {
    let (is_negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut all: Vec<u8> = whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(places)).collect();
    if fraction.as_bytes().get(places).is_some_and(|digit| *digit >= b'5') {
        let mut place = all.len();
        loop {
            match place.checked_sub(1).and_then(|at| all.get_mut(at)) {
                Some(digit) if *digit == b'9' => {
                    *digit = b'0';
                    place -= 1;
                }
                Some(digit) => {
                    *digit += 1;
                    break;
                }
                None => {
                    all.insert(0, b'1');
                    break;
                }
            }
        }
    }
    let text: String = all.into_iter().map(char::from).collect();
    let (whole, fraction) = text.split_at(text.len() - places);
    let whole = whole.trim_start_matches('0');
    (is_negative, if whole.is_empty() { "0".to_owned() } else { whole.to_owned() }, fraction.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn moments_in_patterns() {
        let at = NaiveDateTime::parse_from_str("2024-02-29 15:04:05.678", "%Y-%m-%d %H:%M:%S%.f").unwrap();
        // Each with what PostgreSQL 15 says.
        for (pattern, expected) in [
            ("YYYY-MM-DD HH24:MI:SS.MS", "2024-02-29 15:04:05.678"),
            ("DD Mon YYYY", "29 Feb 2024"),
            ("FMDay, FMMonth DD", "Thursday, February 29"),
            ("Day|MONTH|dy", "Thursday |FEBRUARY |thu"),
            ("HH12:MI AM", "03:04 PM"),
            ("HH:MI p.m.", "03:04 p.m."),
            ("IYYY-IW Q DDD D", "2024-09 1 060 5"),
            ("FMDDth \"of\" FMMonth", "29th of February"),
            ("YY/Y W WW CC J", "24/4 5 09 21 2460370"),
            ("SSSS US", "54245 678000"),
            ("YYYY\"T\"HH24", "2024T15"),
            ("", ""),
            ("é-YYYY", "é-2024"),
        ] {
            assert_eq!(dated(&at, 0, false, pattern), expected, "{pattern}");
        }
        assert_eq!(dated(&at, 7200, true, "OF TZH:TZM"), "+02 +02:00");
    }

    #[test]
    fn numbers_in_patterns() {
        // Each with what PostgreSQL 15 says.
        for (digits, pattern, expected) in [
            ("1234.5", "9,999.99", " 1,234.50"),
            ("-5", "999", "  -5"),
            ("42", "FM0000", "0042"),
            ("0.5", "0.00", " 0.50"),
            ("12345678", "FM999,999,999", "12,345,678"),
            ("1234", "999", " ###"),
            ("0.5", "9.9", "  .5"),
            ("-0.5", "FM9.99", "-.5"),
            ("12", "S99", "+12"),
            ("12", "99MI", "12 "),
            ("-12", "99MI", "12-"),
            ("1.5", "FM990.00", "1.50"),
            ("1.999", "9.99", " 2.00"),
            ("123", "9,999", "   123"),
        ] {
            assert_eq!(numbered(digits, pattern).unwrap(), expected, "{digits} {pattern}");
        }
        assert!(numbered("1", "RN").is_err());
    }
}
