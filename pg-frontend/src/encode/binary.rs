//! Binary forms of scalar values, as PostgreSQL's send functions write them.

use bytes::{BufMut, BytesMut};
use kanon_engine::functions::json::inet::Inet;
use kanon_engine::functions::json::timetz::TimeTz;

use super::time::{MICROS_PER_DAY, PG_EPOCH_DAYS, PG_EPOCH_MICROS};

/// Why a value cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange(
    /// The PostgreSQL type that cannot hold it.
    pub &'static str,
);

/// A `date`: days since 2000-01-01.
pub fn put_date(out: &mut BytesMut, days: i64) -> Result<(), OutOfRange> {
    let days = i32::try_from(days - PG_EPOCH_DAYS).map_err(|_| OutOfRange("date"))?;
    out.put_i32(days);
    Ok(())
}

/// A `timestamp` or `timestamptz`: microseconds since 2000-01-01.
pub fn put_timestamp(out: &mut BytesMut, micros: i64) -> Result<(), OutOfRange> {
    out.put_i64(micros.checked_sub(PG_EPOCH_MICROS).ok_or(OutOfRange("timestamp"))?);
    Ok(())
}

/// A `time`: microseconds since midnight.
pub fn put_time(out: &mut BytesMut, micros: i64) -> Result<(), OutOfRange> {
    if !(0..=MICROS_PER_DAY).contains(&micros) {
        return Err(OutOfRange("time"));
    }
    out.put_i64(micros);
    Ok(())
}

/// A `timetz`: microseconds since midnight, and seconds west of UTC.
pub fn put_timetz(out: &mut BytesMut, text: &str) -> Result<(), OutOfRange> {
    let time = TimeTz::read(text).ok_or(OutOfRange("time"))?;
    out.put_i64(time.micros);
    out.put_i32(-time.distance);
    Ok(())
}

/// An `inet`: the version of its address, the bits of its network, that it is no `cidr`, and the address with its length.
pub fn put_inet(out: &mut BytesMut, text: &str) -> Result<(), OutOfRange> {
    let inet = Inet::read(text).ok_or(OutOfRange("inet"))?;
    let octets = inet.octets();
    out.put_u8(if inet.address.is_ipv4() { 2 } else { 3 });
    out.put_u8(inet.prefix);
    out.put_u8(0);
    out.put_u8(octets.len() as u8);
    out.put_slice(&octets);
    Ok(())
}

/// An `interval`.
pub fn put_interval(out: &mut BytesMut, months: i32, days: i32, micros: i64) {
    out.put_i64(micros);
    out.put_i32(days);
    out.put_i32(months);
}

/// A `numeric` from the digits of its unscaled value and its scale: groups of four decimal digits around the point.
pub fn put_numeric(out: &mut BytesMut, unscaled: &str, scale: i8) -> Result<(), OutOfRange> {
    let (negative, digits) = match unscaled.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, unscaled),
    };
    let digits = digits.trim_start_matches('0');
    let display_scale = u16::from(scale.max(0).unsigned_abs());
    // Zeros behind the digits bring the last one to the end of a group: the fraction to a multiple of four.
    let fraction = i32::from(scale);
    let filled = fraction.rem_euclid(4);
    let behind = if filled == 0 { 0 } else { 4 - filled } as usize;
    let total = digits.len() + behind;
    let before = (4 - total % 4) % 4;
    let mut padded = Vec::with_capacity(total + 4);
    padded.resize(before, b'0');
    padded.extend_from_slice(digits.as_bytes());
    padded.resize(before + total, b'0');
    let groups: Vec<i16> = padded
        .chunks_exact(4)
        .map(|group| group.iter().fold(0i16, |value, digit| value * 10 + i16::from(digit - b'0')))
        .collect();
    let after_point = (fraction + behind as i32) / 4;
    let weight = groups.len() as i32 - after_point - 1;
    let end = groups.iter().rposition(|group| *group != 0).map_or(0, |last| last + 1);
    let groups = groups.get(..end).unwrap_or_default();
    if groups.is_empty() {
        out.put_slice(&[0, 0, 0, 0, 0, 0]);
        out.put_u16(display_scale);
        return Ok(());
    }
    out.put_i16(i16::try_from(groups.len()).map_err(|_| OutOfRange("numeric"))?);
    out.put_i16(i16::try_from(weight).map_err(|_| OutOfRange("numeric"))?);
    out.put_u16(if negative { 0x4000 } else { 0 });
    out.put_u16(display_scale);
    for group in groups {
        out.put_i16(*group);
    }
    Ok(())
}
