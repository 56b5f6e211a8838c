//! How long a charge counts: the length of a kind's sliding window.

use std::fmt;

use crate::error::{Error, Result, Sqlstate};

const SECOND_MS: i64 = 1000;
const DAY_MS: i64 = 24 * 60 * 60 * SECOND_MS;

/// Units of time as PostgreSQL writes intervals, the longest first. Months and years are not here: they have no fixed length.
const UNITS: [(&[&str], i64); 5] = [
    (&["day", "days", "d"], DAY_MS),
    (&["hour", "hours", "hr", "hrs", "h"], 60 * 60 * SECOND_MS),
    (&["minute", "minutes", "min", "mins", "m"], 60 * SECOND_MS),
    (&["second", "seconds", "sec", "secs", "s"], SECOND_MS),
    (&["week", "weeks", "w"], 7 * DAY_MS),
];

/// The length of a sliding window: a second to a hundred years of 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetWindow {
    ms: i64,
}

impl BudgetWindow {
    const LONGEST_MS: i64 = 100 * 365 * DAY_MS;

    /// A window of so many milliseconds; `None` if it is shorter than a second or longer than a hundred years.
    pub fn from_ms(ms: i64) -> Option<BudgetWindow> {
        (SECOND_MS..=BudgetWindow::LONGEST_MS).contains(&ms).then_some(BudgetWindow { ms })
    }

    /// Its length in milliseconds.
    pub fn ms(self) -> i64 {
        self.ms
    }

    /// Reads an interval: `30 days`, `1 week 12 hours`, `36:00:00`.
    ///
    /// # Errors
    /// 22023 for other text, for months and years, and for a length that cannot be.
    pub fn parse(text: &str) -> Result<BudgetWindow> {
        let invalid = |what: &str| {
            Error::new(
                Sqlstate::InvalidParameterValue,
                format!("budget_window {what}: \"{}\"", text.chars().take(64).collect::<String>()),
            )
            .hint("Write a length of time in days, hours, minutes or seconds: budget_window = '30 days'.")
        };
        let lower = text.trim().to_lowercase();
        let mut words = lower.split_whitespace().peekable();
        let mut ms: i64 = 0;
        if words.peek().is_none() {
            return Err(invalid("must be an interval"));
        }
        while let Some(word) = words.next() {
            let part = match clock(word) {
                Some(part) => part,
                None => {
                    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
                    let unit = match word.get(digits.len()..) {
                        Some("") | None => words.next().unwrap_or_default(),
                        Some(unit) => unit,
                    };
                    if unit.starts_with("mon") || unit.starts_with('y') {
                        return Err(invalid("cannot have months or years, which differ in length"));
                    }
                    let length = UNITS.iter().find(|(names, _)| names.contains(&unit)).map(|(_, length)| *length);
                    let number = digits.parse::<i64>().ok();
                    number
                        .zip(length)
                        .and_then(|(number, length)| number.checked_mul(length))
                        .ok_or_else(|| invalid("must be an interval"))?
                }
            };
            ms = ms.checked_add(part).ok_or_else(|| invalid("must be an interval"))?;
        }
        BudgetWindow::from_ms(ms).ok_or_else(|| invalid("must be between a second and a hundred years"))
    }
}

/// `hours:minutes:seconds` in milliseconds.
fn clock(word: &str) -> Option<i64> {
    let mut parts = word.split(':').map(|part| part.parse::<u32>().ok().map(i64::from));
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().unwrap_or(Some(0))?;
    let fits = parts.next().is_none() && minutes < 60 && seconds < 60;
    fits.then_some(((hours * 60 + minutes) * 60 + seconds) * SECOND_MS)
}

impl fmt::Display for BudgetWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.ms;
        let mut first = true;
        for (names, length) in UNITS.iter().take(4) {
            let number = rest / length;
            rest %= length;
            if number > 0 {
                let name = if number == 1 { names.first() } else { names.get(1) };
                write!(f, "{}{number} {}", if first { "" } else { " " }, name.copied().unwrap_or_default())?;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_and_written() {
        for (text, ms, shown) in [
            ("30 days", 30 * DAY_MS, "30 days"),
            ("1 week", 7 * DAY_MS, "7 days"),
            (" 1 Day  12 hours ", 36 * 3_600_000, "1 day 12 hours"),
            ("36:00:00", 36 * 3_600_000, "1 day 12 hours"),
            ("90min", 90 * 60_000, "1 hour 30 minutes"),
            ("2 days 01:00:30", 2 * DAY_MS + 3_630_000, "2 days 1 hour 30 seconds"),
        ] {
            let window = BudgetWindow::parse(text).unwrap();
            assert_eq!((window.ms(), window.to_string().as_str()), (ms, shown), "{text}");
            assert_eq!(BudgetWindow::parse(shown).unwrap(), window, "{text}");
        }
        for text in [
            "",
            "30",
            "days",
            "soon",
            "-1 days",
            "0 days",
            "1 month",
            "1 year",
            "1.5 days",
            "30 days ago",
            "1:2:3:4",
            "999999999999999999 days",
            "101 years",
            "40000 days",
            "1:60:00",
        ] {
            let error = BudgetWindow::parse(text).unwrap_err();
            assert_eq!(error.state, Sqlstate::InvalidParameterValue, "{text}");
            assert!(error.hint.is_some(), "{text}");
        }
    }
}
