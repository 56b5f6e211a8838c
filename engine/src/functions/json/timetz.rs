//! `time with time zone`: a clock and its distance from UTC, as text in the one form that PostgreSQL prints.

use chrono::{Offset, TimeZone, Utc};

use super::{Answer, Row, Spec, Takes, Value, strict};
use crate::error::Result;
use crate::pg_catalog::datetimes;

pub(super) const SPECS: &[Spec] = &[
    strict("kanon_timetz", &[Takes::Text], Answer::TimeTz, |row| {
        let (micros, distance) = datetimes::clock(row.text(0)?)?;
        // What says none has the one that the session's zone has now.
        let distance = distance
            .unwrap_or_else(|| row.zone.offset_from_utc_datetime(&Utc::now().naive_utc()).fix().local_minus_utc());
        Ok(Value::Text(TimeTz { micros, distance }.to_string()))
    }),
    strict("kanon_timetz_key", &[Takes::Text], Answer::Bytes, key),
];

/// A time of a day and how far its clock is from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeTz {
    /// Microseconds since midnight.
    pub micros: i64,
    /// Seconds east of UTC.
    pub distance: i32,
}

impl TimeTz {
    /// Reads what [`ToString`] writes.
    pub fn read(text: &str) -> Option<TimeTz> {
        let (micros, distance) = datetimes::clock(text).ok()?;
        Some(TimeTz { micros, distance: distance? })
    }
}

impl std::fmt::Display for TimeTz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.micros / 1_000_000;
        write!(f, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
        let fraction = self.micros % 1_000_000;
        if fraction > 0 {
            f.write_str(format!(".{fraction:06}").trim_end_matches('0'))?;
        }
        let (sign, away) = (if self.distance < 0 { '-' } else { '+' }, self.distance.unsigned_abs());
        write!(f, "{sign}{:02}", away / 3_600)?;
        if away % 3_600 != 0 {
            write!(f, ":{:02}", away / 60 % 60)?;
        }
        if away % 60 != 0 {
            write!(f, ":{:02}", away % 60)?;
        }
        Ok(())
    }
}

/// Bytes in PostgreSQL's order: by the instant, and of one instant the clock further east first.
fn key(row: &Row<'_>) -> Result<Value> {
    let Some(of) = TimeTz::read(row.text(0)?) else { return Ok(Value::Null) };
    let instant = of.micros - i64::from(of.distance) * 1_000_000;
    let sortable = |number: i64| (number as u64 ^ (1 << 63)).to_be_bytes();
    Ok(Value::Bytes([sortable(instant), sortable(-i64::from(of.distance))].concat()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_written_as_in_postgresql() {
        for (text, shown) in [
            ("12:30:00.5+0530", "12:30:00.5+05:30"),
            ("12:30Z", "12:30:00+00"),
            ("12:30-07:30", "12:30:00-07:30"),
            ("1:2:3 pm +1", "13:02:03+01"),
        ] {
            assert_eq!(TimeTz::read(text).unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(TimeTz::read("12:30"), None);
    }
}
