//! Days, microseconds and zones: what text and binary forms of dates share.

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::TimeUnit;

use chrono::{DateTime, Offset, TimeZone};

/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
pub const PG_EPOCH_DAYS: i64 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub const PG_EPOCH_MICROS: i64 = PG_EPOCH_DAYS * MICROS_PER_DAY;

/// A day of the proleptic Gregorian calendar; year 0 is 1 BC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// The astronomical year.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

/// The day that lies `days` after 1970-01-01. Works for every day an `i64` of microseconds or an `i32` of days can name, beyond
/// what `chrono` can (years up to 262,143). The method counts 400-year eras that begin on 1 March, so that leap days come last.
pub fn civil_from_days(days: i64) -> Civil {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * from_march + 2) / 5 + 1) as u32;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 } as u32;
    Civil { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
}

/// A timestamp in microseconds; `None` if it does not fit. Nanoseconds are cut down to the microsecond they lie in.
pub fn micros(value: i64, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond => Some(value.div_euclid(1_000)),
    }
}

/// A session's time zone.
#[derive(Debug, Clone, Copy)]
pub enum Zone {
    /// No offset, ever.
    Utc,
    /// Another.
    Named(Tz),
}

impl Zone {
    /// The zone of a name (`Europe/Zurich`, `+02:00`, `UTC`); UTC if there is none of that name: settings were checked before.
    pub fn parse(name: &str) -> Zone {
        match name {
            "UTC" | "utc" | "GMT" | "Etc/UTC" | "Z" | "+00" | "+00:00" => Zone::Utc,
            other => other.parse().map(Zone::Named).unwrap_or(Zone::Utc),
        }
    }

    /// Seconds east of UTC at a moment in microseconds since 1970.
    pub fn offset_at(&self, micros: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Named(tz) => match DateTime::from_timestamp_micros(micros) {
                Some(moment) => tz.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc(),
                None => 0,
            },
        }
    }
}
