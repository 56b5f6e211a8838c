//! `to_date` and `to_timestamp`: moments read from text in PostgreSQL's patterns, as its `formatting.c` does it.

use chrono::NaiveDateTime;

use super::fields::{Convention, Fields};
use super::patterns::{DAYS, MONTHS};
use crate::error::{Error, Result, Sqlstate};

/// The longest pattern.
const MOST_CHARS: usize = 1_000;
const ROMAN: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];
const ERAS: [&str; 2] = ["ad", "bc"];
const ERAS_WITH_POINTS: [&str; 2] = ["a.d.", "b.c."];
const HALVES: [&str; 2] = ["am", "pm"];
const HALVES_WITH_POINTS: [&str; 2] = ["a.m.", "p.m."];

/// The fields of a pattern, of which the first that fits is meant. They are written in capitals, in small letters or as names are.
const FIELDS: [&str; 53] = [
    "A.D.", "A.M.", "AD", "AM", "B.C.", "BC", "CC", "DAY", "DDD", "DD", "DY", "D", "FF1", "FF2", "FF3", "FF4", "FF5",
    "FF6", "FX", "HH24", "HH12", "HH", "IDDD", "ID", "IW", "IYYY", "IYY", "IY", "I", "J", "MI", "MM", "MONTH", "MON",
    "MS", "OF", "P.M.", "PM", "Q", "RM", "SSSSS", "SSSS", "SS", "TZH", "TZM", "TZ", "US", "WW", "W", "Y,YYY", "YYYY",
    "YYY", "YY",
];

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    /// A field as it is called and as it is written; whether it is of any width, and followed by `TH`.
    Field { name: &'static str, written: String, is_free: bool, has_ending: bool },
    /// A blank or a sign of punctuation.
    Separator,
    /// Another character.
    Text(char),
}

/// A pattern, read.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Node>);

impl Template {
    /// # Errors
    /// 22023 for a pattern that is too long.
    pub(super) fn new(pattern: &str) -> Result<Template> {
        if pattern.len() > MOST_CHARS {
            return Err(Error::new(Sqlstate::InvalidParameterValue, "a pattern of a moment is too long"));
        }
        let mut nodes = Vec::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            let after = ["FM", "fm", "TM"].iter().find_map(|prefix| rest.strip_prefix(prefix)).unwrap_or(rest);
            let is_free = rest.len() > after.len() && !rest.starts_with("TM");
            if let Some(name) = FIELDS.iter().chain(&["Y"]).find(|name| is_written(after, name)) {
                let written = after.get(..name.len()).unwrap_or_default().to_owned();
                rest = after.get(name.len()..).unwrap_or_default();
                let has_ending = rest.starts_with("TH") || rest.starts_with("th");
                if has_ending {
                    rest = rest.get(2..).unwrap_or_default();
                }
                nodes.push(Node::Field { name, written, is_free, has_ending });
                continue;
            }
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            match first {
                '"' => {
                    let mut chars = rest.chars();
                    while let Some(c) = chars.next().filter(|c| *c != '"') {
                        nodes.extend(Some(if c == '\\' { chars.next() } else { Some(c) }).flatten().map(Node::Text));
                    }
                    rest = chars.as_str();
                }
                '\\' if rest.starts_with('"') => {
                    nodes.push(Node::Text('"'));
                    rest = rest.get(1..).unwrap_or_default();
                }
                c if is_separator(c) || c.is_ascii_whitespace() => nodes.push(Node::Separator),
                c => nodes.push(Node::Text(c)),
            }
        }
        Ok(Template(nodes))
    }
}

/// Whether a pattern goes on with a field.
fn is_written(text: &str, name: &str) -> bool {
    let small = name.to_ascii_lowercase();
    let as_names_are = matches!(name, "DAY" | "DY" | "MONTH" | "MON")
        && text.starts_with(name.get(..1).unwrap_or_default())
        && text.get(1..).is_some_and(|rest| rest.starts_with(small.get(1..).unwrap_or_default()));
    text.starts_with(name) || text.starts_with(&small) || as_names_are
}

fn is_separator(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_alphanumeric()
}

fn invalid(value: &str, field: &str) -> Error {
    Error::new(Sqlstate::InvalidDatetime, format!("invalid value \"{value}\" for \"{field}\""))
}

fn set(field: &mut i64, value: i64, written: &str) -> Result<()> {
    if *field != 0 && *field != value {
        let message = format!("conflicting values for \"{written}\" field in formatting string");
        return Err(Error::new(Sqlstate::InvalidDatetime, message)
            .detail("This value contradicts a previous setting for the same field type."));
    }
    *field = value;
    Ok(())
}

/// The text that is still to be read.
struct Source<'a> {
    rest: &'a str,
    /// The character before it.
    before: Option<char>,
}

impl Source<'_> {
    fn skip(&mut self) {
        let mut chars = self.rest.chars();
        self.before = chars.next().or(self.before);
        self.rest = chars.as_str();
    }

    fn skip_blanks(&mut self) -> i64 {
        let mut skipped = 0;
        while self.rest.starts_with(|c: char| c.is_ascii_whitespace()) {
            self.skip();
            skipped += 1;
        }
        skipped
    }

    fn take(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.before = taken.chars().next_back().or(self.before);
        self.rest = rest;
    }

    /// A whole number, of so many characters at most unless it may be of any width; and how many it has.
    fn number(&mut self, most: usize, is_free: bool, written: &str) -> Result<(i64, usize)> {
        let start = self.rest.len();
        self.skip_blanks();
        let all = self.rest;
        let short: String = all.chars().take(most).collect();
        let used = number_length(if is_free { all } else { &short });
        if !is_free {
            let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
            let remain = short.chars().count();
            if remain < most {
                let message = format!("source string too short for \"{written}\" formatting field");
                let detail = format!("Field requires {most} characters, but only {remain} remain.");
                return Err(Error::new(Sqlstate::InvalidDatetime, message).detail(detail).hint(hint));
            }
            if used > 0 && used < most {
                let detail = format!("Field requires {most} characters, but only {used} could be parsed.");
                return Err(invalid(&short, written).detail(detail).hint(hint));
            }
        }
        let digits = all.get(..used).unwrap_or_default();
        self.take(used);
        if self.rest.len() == start {
            return Err(invalid(&short, written).detail("Value must be an integer."));
        }
        let value: i64 = digits.trim_start().parse().ok().filter(|n| i32::try_from(*n).is_ok()).ok_or_else(|| {
            let message = format!("value for \"{written}\" in source string is out of range");
            Error::new(Sqlstate::DatetimeOverflow, message).detail(format!(
                "Value must be in the range {} to {}.",
                i32::MIN,
                i32::MAX
            ))
        })?;
        Ok((value, start - self.rest.len()))
    }

    /// Which of some words comes next.
    fn word(&mut self, words: &[&str], letters: usize, written: &str) -> Result<usize> {
        let found = words.iter().enumerate().find_map(|(place, word)| {
            let word = word.get(..letters.min(word.len()))?;
            let head = self.rest.get(..word.len())?;
            head.eq_ignore_ascii_case(word).then_some((place, word.len()))
        });
        let Some((place, bytes)) = found else {
            let value = self.rest.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
            return Err(invalid(value, written)
                .detail("The given value did not match any of the allowed values for this field."));
        };
        self.take(bytes);
        Ok(place)
    }
}

/// How many bytes of a text are a whole number: blanks, a sign, digits.
fn number_length(text: &str) -> usize {
    let unsigned = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let unsigned = unsigned.strip_prefix(['-', '+']).unwrap_or(unsigned);
    let rest = unsigned.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == unsigned.len() { 0 } else { text.len() - rest.len() }
}

/// A year of which only the last digits are written: the one nearest to 2020.
fn near_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

/// Whether what follows a field is none that begins with a digit, so that the field may be of any width.
fn is_followed_by_other(nodes: &[Node]) -> bool {
    const WORDS: [&str; 19] = [
        "A.D.", "A.M.", "AD", "AM", "B.C.", "BC", "DAY", "DY", "FX", "MONTH", "MON", "P.M.", "PM", "RM", "TZH", "TZ",
        "OF", "FF1", "FF2",
    ];
    match nodes.first() {
        Some(Node::Field { name, .. }) => WORDS.contains(name) || name.starts_with("FF"),
        Some(Node::Text(c)) => !c.is_ascii_digit(),
        Some(Node::Separator) | None => true,
    }
}

fn read(text: &str, template: &Template) -> Result<Fields> {
    let mut fields = Fields::default();
    let mut source = Source { rest: text, before: None };
    let (mut is_exact, mut skipped) = (false, 0);
    for (place, node) in template.0.iter().enumerate() {
        if source.rest.is_empty() {
            break;
        }
        if !is_exact && (!matches!(node, Node::Text(_)) || place == 0) {
            skipped += source.skip_blanks();
        }
        match node {
            Node::Separator if is_exact => source.skip(),
            Node::Separator => {
                skipped -= 1;
                if source.rest.starts_with(|c: char| c.is_ascii_whitespace() || is_separator(c)) {
                    source.skip();
                    skipped += 1;
                }
            }
            Node::Text(_) if !is_exact && skipped > 0 => skipped -= 1,
            Node::Text(_) => source.skip(),
            Node::Field { name: "FX", .. } => is_exact = true,
            Node::Field { name, written, is_free, has_ending } => {
                let after = template.0.get(place + 1..).unwrap_or_default();
                let is_free = *is_free || *has_ending || is_followed_by_other(after);
                field(&mut fields, &mut source, name, written, is_free, skipped)?;
                if *has_ending {
                    source.skip();
                    source.skip();
                }
                if !is_exact {
                    skipped = source.skip_blanks();
                }
            }
        }
    }
    Ok(fields)
}

fn convention(name: &str) -> Option<Convention> {
    match name {
        "IDDD" | "ID" | "IW" | "IYYY" | "IYY" | "IY" | "I" => Some(Convention::IsoWeek),
        "DDD" | "DD" | "D" | "MM" | "MON" | "MONTH" | "RM" | "WW" | "W" | "Y,YYY" | "YYYY" | "YYY" | "YY" | "Y" => {
            Some(Convention::Gregorian)
        }
        _ => None,
    }
}

fn field(
    fields: &mut Fields,
    source: &mut Source<'_>,
    name: &'static str,
    written: &str,
    is_free: bool,
    skipped: i64,
) -> Result<()> {
    if let Some(of_field) = convention(name)
        && *fields.convention.get_or_insert(of_field) != of_field
    {
        return Err(Error::new(Sqlstate::InvalidDatetime, "invalid combination of date conventions")
            .hint("Do not mix Gregorian and ISO week date conventions in a formatting template."));
    }
    let index = |place: usize| i64::try_from(place).unwrap_or(0);
    let number = |source: &mut Source<'_>, most: usize| source.number(most, is_free, written);
    // A part of a second: 25 and 250 are the same.
    let part = |(value, length): (i64, usize), digits: u32| {
        let given = u32::try_from(length).unwrap_or(digits).min(digits);
        value.saturating_mul(10_i64.pow(digits - given))
    };
    match name {
        "A.M." | "P.M." | "AM" | "PM" => {
            let words = if name.contains('.') { &HALVES_WITH_POINTS } else { &HALVES };
            fields.is_afternoon = source.word(words, 4, written)? == 1;
            fields.is_12_hours = true;
        }
        "A.D." | "B.C." | "AD" | "BC" => {
            let words = if name.contains('.') { &ERAS_WITH_POINTS } else { &ERAS };
            fields.is_bc = source.word(words, 4, written)? == 1;
        }
        "HH" | "HH12" => {
            set(&mut fields.hour, number(source, 2)?.0, written)?;
            fields.is_12_hours = true;
        }
        "HH24" => set(&mut fields.hour, number(source, 2)?.0, written)?,
        "MI" => set(&mut fields.minute, number(source, 2)?.0, written)?,
        "SS" => set(&mut fields.second, number(source, 2)?.0, written)?,
        "MS" => set(&mut fields.millis, part(number(source, 3)?, 3), written)?,
        "US" => set(&mut fields.micros, part(number(source, 6)?, 6), written)?,
        "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
            let digits = name.bytes().last().map_or(6, |digit| usize::from(digit - b'0'));
            set(&mut fields.micros, part(number(source, digits)?, 6), written)?;
        }
        "SSSSS" | "SSSS" => set(&mut fields.second_of_day, number(source, name.len())?.0, written)?,
        "TZ" | "OF" => {
            let message = format!("formatting field \"{written}\" is only supported in to_char");
            return Err(Error::unsupported(message));
        }
        "TZH" => {
            let is_signed = source.rest.starts_with(['+', '-', ' ']);
            let sign = if is_signed { source.rest.chars().next() } else { source.before.filter(|_| skipped > 0) };
            fields.zone_sign = if sign == Some('-') { -1 } else { 1 };
            if is_signed {
                source.skip();
            }
            set(&mut fields.zone_hours, number(source, 2)?.0, written)?;
        }
        "TZM" => {
            if fields.zone_sign == 0 {
                fields.zone_sign = 1;
            }
            set(&mut fields.zone_minutes, number(source, 2)?.0, written)?;
        }
        "MONTH" => set(&mut fields.month, index(source.word(&MONTHS, 9, written)?) + 1, written)?,
        "MON" => set(&mut fields.month, index(source.word(&MONTHS, 3, written)?) + 1, written)?,
        "RM" => set(&mut fields.month, 12 - index(source.word(&ROMAN, 4, written)?), written)?,
        "MM" => set(&mut fields.month, number(source, 2)?.0, written)?,
        "DAY" => set(&mut fields.day_of_week, index(source.word(&DAYS, 9, written)?) + 1, written)?,
        "DY" => set(&mut fields.day_of_week, index(source.word(&DAYS, 3, written)?) + 1, written)?,
        "DDD" | "IDDD" => set(&mut fields.day_of_year, number(source, 3)?.0, written)?,
        "DD" => set(&mut fields.day, number(source, 2)?.0, written)?,
        "D" => set(&mut fields.day_of_week, number(source, 1)?.0, written)?,
        "ID" => set(&mut fields.day_of_week, number(source, 1)?.0 % 7 + 1, written)?,
        "WW" | "IW" => set(&mut fields.week, number(source, 2)?.0, written)?,
        "W" => set(&mut fields.week_of_month, number(source, 1)?.0, written)?,
        // Which of its days is not said.
        "Q" => drop(number(source, 1)?),
        "CC" => set(&mut fields.century, number(source, 2)?.0, written)?,
        "J" => set(&mut fields.julian, number(source, 1)?.0, written)?,
        "Y,YYY" => {
            let read = source.rest.split_once(',').and_then(|(thousands, rest)| {
                let years: String = rest.chars().take(3).take_while(char::is_ascii_digit).collect();
                let year = thousands.trim_start().parse::<i32>().ok()?.checked_mul(1_000)?;
                Some((i64::from(year) + years.parse::<i64>().ok()?, thousands.len() + 1 + years.len()))
            });
            let Some((year, bytes)) = read else {
                return Err(Error::new(Sqlstate::InvalidDatetime, "invalid input string for \"Y,YYY\""));
            };
            source.take(bytes);
            set(&mut fields.year, year, written)?;
            fields.year_digits = 4;
        }
        "YYYY" | "IYYY" => {
            set(&mut fields.year, number(source, 4)?.0, written)?;
            fields.year_digits = 4;
        }
        "YYY" | "IYY" | "YY" | "IY" | "Y" | "I" => {
            let digits = name.trim_start_matches('I').len().max(1);
            let digits = if name.starts_with('I') { name.len() } else { digits };
            let (year, length) = number(source, digits)?;
            set(&mut fields.year, if length < 4 { near_2020(year) } else { year }, written)?;
            fields.year_digits = index(digits);
        }
        _ => {}
    }
    Ok(())
}

/// A moment of a text: what a clock shows, and its distance from UTC in seconds if that is given.
///
/// # Errors
/// 22007 for a text that is not of the pattern, 22008 for a moment that there is not, 0A000 for fields that cannot be read.
pub(super) fn moment_of(text: &str, template: &Template) -> Result<(NaiveDateTime, Option<i64>)> {
    let fields = read(text, template)?;
    let time = fields.time(text)?;
    Ok((NaiveDateTime::new(fields.date(text)?, time), fields.zone(text)?))
}
