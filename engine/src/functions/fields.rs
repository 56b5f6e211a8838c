//! What a text says of a moment, put together: the day that years, weeks, days of the year or Julian days are, as PostgreSQL's `formatting.c` has it.

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Weekday};

use crate::error::{Error, Result, Sqlstate};

/// The Julian day of the day before the first of the common era.
const JULIAN: i64 = 1_721_425;

/// Which calendar the fields are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convention {
    Gregorian,
    IsoWeek,
}

/// What is read of a moment; 0 is nothing.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub convention: Option<Convention>,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub second_of_day: i64,
    pub millis: i64,
    pub micros: i64,
    pub is_12_hours: bool,
    pub is_afternoon: bool,
    pub day_of_week: i64,
    pub day: i64,
    pub day_of_year: i64,
    pub month: i64,
    pub year: i64,
    pub year_digits: i64,
    pub is_bc: bool,
    pub century: i64,
    pub week: i64,
    pub week_of_month: i64,
    pub julian: i64,
    /// The sign of the zone; 0 if none is given.
    pub zone_sign: i64,
    pub zone_hours: i64,
    pub zone_minutes: i64,
}

impl Fields {
    fn full_year(&self) -> Option<i64> {
        let century = if self.is_bc { -self.century } else { self.century };
        if self.year != 0 && self.century != 0 && self.year_digits <= 2 {
            return Some(match self.year % 100 {
                0 => century.saturating_mul(100) + i64::from(century < 0),
                part if century < 0 => century.saturating_add(1).saturating_mul(100) - part + 1,
                part => part + (century - 1).saturating_mul(100),
            });
        }
        if self.year != 0 {
            let year = if self.is_bc { -self.year } else { self.year };
            return Some(if year < 0 { year + 1 } else { year });
        }
        let first = if century >= 0 { century.saturating_sub(1) } else { century };
        (century != 0).then(|| first.saturating_mul(100) + 1)
    }

    /// The day.
    ///
    /// # Errors
    /// 22008 for one that there is not.
    pub(super) fn date(&self, text: &str) -> Result<NaiveDate> {
        let out = || overflow(text);
        let given = self.full_year();
        let year = given.unwrap_or(0);
        let (mut year, mut month, mut day) = (year, 1, 1);
        let (mut has_month, mut has_day, mut has_year) = (false, false, given.is_some());
        let mut whole = None;
        if self.julian != 0 {
            whole = NaiveDate::from_num_days_from_ce_opt(i32::try_from(self.julian - JULIAN).map_err(|_| out())?);
            whole.ok_or_else(out)?;
        }
        let is_iso = self.convention == Some(Convention::IsoWeek);
        let mut day_of_year = self.day_of_year;
        if self.week != 0 {
            if is_iso {
                let start = monday(year, self.week).ok_or_else(out)?;
                let days = match self.day_of_week {
                    0 => 0,
                    1 => 6,
                    other => other - 2,
                };
                whole = Some(shifted(start, days).ok_or_else(out)?);
            } else {
                day_of_year = (self.week - 1).saturating_mul(7) + 1;
            }
        }
        if let Some(date) = whole {
            (year, month, day) = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            (has_year, has_month, has_day) = (true, true, true);
        }
        let of_month = if self.week_of_month != 0 { (self.week_of_month - 1).saturating_mul(7) + 1 } else { self.day };
        if of_month != 0 {
            (day, has_day) = (of_month, true);
        }
        if self.month != 0 {
            (month, has_month) = (self.month, true);
        }
        if day_of_year != 0 && (month <= 1 || day <= 1) {
            if year == 0 && !self.is_bc {
                let message = "cannot calculate day of year without year information";
                return Err(Error::new(Sqlstate::InvalidDatetime, message));
            }
            if is_iso {
                let date = monday(year, 1).and_then(|start| shifted(start, day_of_year - 1)).ok_or_else(out)?;
                return Ok(date);
            }
            let first = NaiveDate::from_ymd_opt(i32::try_from(year).map_err(|_| out())?, 1, 1).ok_or_else(out)?;
            let date = shifted(first, day_of_year - 1).filter(|date| i64::from(date.year()) == year && day_of_year > 0);
            let date = date.ok_or_else(out)?;
            if month <= 1 {
                month = i64::from(date.month());
            }
            if day <= 1 {
                day = i64::from(date.day());
            }
            (has_month, has_day) = (true, true);
        }
        if (has_month && !(1..=12).contains(&month)) || (has_day && !(1..=31).contains(&day)) {
            return Err(out());
        }
        let (of_year, of_month) = (i32::try_from(year).map_err(|_| out())?, u32::try_from(month).map_err(|_| out())?);
        let first = NaiveDate::from_ymd_opt(of_year, of_month, 1).ok_or_else(out)?;
        let date = shifted(first, day - 1).ok_or_else(out)?;
        // A day is of its month if the year is known; else it may run over.
        if has_year && has_month && has_day && date.month() != of_month {
            return Err(out());
        }
        Ok(date)
    }

    /// The time of the day.
    ///
    /// # Errors
    /// 22008 for one that no day has, 22007 for an hour that is not of a half of it.
    pub(super) fn time(&self, text: &str) -> Result<NaiveTime> {
        let (mut hour, mut minute, mut second) = (0, 0, 0);
        if self.second_of_day != 0 {
            let of_day = self.second_of_day;
            (hour, minute, second) = (of_day / 3_600, of_day % 3_600 / 60, of_day % 60);
        }
        for (given, part) in [(self.hour, &mut hour), (self.minute, &mut minute), (self.second, &mut second)] {
            if given != 0 {
                *part = given;
            }
        }
        if self.is_12_hours {
            if !(1..=12).contains(&hour) {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(Error::new(Sqlstate::InvalidDatetime, message)
                    .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + if self.is_afternoon { 12 } else { 0 };
        }
        let micros = self.millis.saturating_mul(1_000).saturating_add(self.micros);
        let part = |number: i64| u32::try_from(number).map_err(|_| overflow(text));
        let micros = Some(part(micros)?).filter(|micros| *micros < 1_000_000).ok_or_else(|| overflow(text))?;
        NaiveTime::from_hms_micro_opt(part(hour)?, part(minute)?, part(second)?, micros).ok_or_else(|| overflow(text))
    }

    /// The distance from UTC in seconds, if one is given.
    ///
    /// # Errors
    /// 22008 for one that no zone has.
    pub(super) fn zone(&self, text: &str) -> Result<Option<i64>> {
        if self.zone_sign == 0 {
            return Ok(None);
        }
        if !(0..=15).contains(&self.zone_hours) || !(0..60).contains(&self.zone_minutes) {
            let message = format!("time zone displacement out of range: \"{text}\"");
            return Err(Error::new(Sqlstate::DatetimeOverflow, message));
        }
        Ok(Some(self.zone_sign * (self.zone_hours * 3_600 + self.zone_minutes * 60)))
    }
}

/// The first day of a week of a year, both as ISO 8601 counts them.
fn monday(year: i64, week: i64) -> Option<NaiveDate> {
    let first = NaiveDate::from_isoywd_opt(i32::try_from(year).ok()?, 1, Weekday::Mon)?;
    shifted(first, week.checked_sub(1)?.checked_mul(7)?)
}

fn shifted(date: NaiveDate, days: i64) -> Option<NaiveDate> {
    let by = Days::new(days.unsigned_abs());
    if days < 0 { date.checked_sub_days(by) } else { date.checked_add_days(by) }
}

fn overflow(text: &str) -> Error {
    Error::new(Sqlstate::DatetimeOverflow, format!("date/time field value out of range: \"{text}\""))
}
