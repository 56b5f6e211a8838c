//! Text forms of scalar values, as PostgreSQL's output functions print them.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};

use super::time::{Civil, MICROS_PER_DAY, civil_from_days};

/// Appends an integer.
pub fn put_int(out: &mut BytesMut, value: impl itoa::Integer) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends an integer, filled with zeros on the left up to `width` digits.
fn put_padded(out: &mut BytesMut, value: u64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value);
    for _ in digits.len()..width {
        out.put_u8(b'0');
    }
    out.put_slice(digits.as_bytes());
}

/// `t` or `f`.
pub fn put_bool(out: &mut BytesMut, value: bool) {
    out.put_u8(if value { b't' } else { b'f' });
}

/// A `float8`: the fewest digits that read back as the same number; an exponent below 1e-4 and from 1e15.
pub fn put_f64(out: &mut BytesMut, value: f64) {
    if !value.is_finite() {
        return put_not_finite(out, value.is_nan(), value > 0.0);
    }
    put_shortest(out, zmij::Buffer::new().format_finite(value), 15);
}

/// A `float4`: as [`put_f64`], an exponent from 1e6.
pub fn put_f32(out: &mut BytesMut, value: f32) {
    if !value.is_finite() {
        return put_not_finite(out, value.is_nan(), value > 0.0);
    }
    put_shortest(out, zmij::Buffer::new().format_finite(value), 6);
}

fn put_not_finite(out: &mut BytesMut, nan: bool, positive: bool) {
    out.put_slice(if nan {
        b"NaN"
    } else if positive {
        b"Infinity"
    } else {
        b"-Infinity"
    });
}

/// Lays out the shortest digits of `printed` (`-12.5`, `1e-7`, `3.0`) as PostgreSQL does.
fn put_shortest(out: &mut BytesMut, printed: &str, exponent_from: i32) {
    let (negative, printed) = match printed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, printed),
    };
    let (mantissa, exponent) = match printed.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None => (printed, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // The digits without their point, and where the point stands among them.
    let mut digits = [0u8; 40];
    let mut count = 0usize;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if let Some(slot) = digits.get_mut(count) {
            *slot = byte;
            count += 1;
        }
    }
    let digits = digits.get(..count).unwrap_or_default();
    let leading = digits.iter().take_while(|d| **d == b'0').count();
    let digits = digits.get(leading..).unwrap_or_default();
    let trailing = digits.iter().rev().take_while(|d| **d == b'0').count();
    let digits = digits.get(..digits.len() - trailing).unwrap_or_default();
    if negative {
        out.put_u8(b'-');
    }
    let Some((first, rest)) = digits.split_first() else {
        out.put_u8(b'0');
        return;
    };
    let scientific = whole.len() as i32 - leading as i32 + exponent - 1;
    if scientific < -4 || scientific >= exponent_from {
        out.put_u8(*first);
        if !rest.is_empty() {
            out.put_u8(b'.');
            out.put_slice(rest);
        }
        out.put_slice(if scientific < 0 { b"e-" } else { b"e+" });
        put_padded(out, u64::from(scientific.unsigned_abs()), 2);
    } else if scientific < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', (-scientific - 1) as usize);
        out.put_slice(digits);
    } else {
        let point = scientific as usize + 1;
        if digits.len() <= point {
            out.put_slice(digits);
            out.put_bytes(b'0', point - digits.len());
        } else {
            let (whole, fraction) = digits.split_at(point);
            out.put_slice(whole);
            out.put_u8(b'.');
            out.put_slice(fraction);
        }
    }
}

/// A decimal of `scale` digits after the point, from the digits of its unscaled value (`-12345`, scale 2: `-123.45`).
pub fn put_decimal(out: &mut BytesMut, unscaled: &str, scale: i8) {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", unscaled),
    };
    out.put_slice(sign.as_bytes());
    if scale <= 0 {
        out.put_slice(digits.as_bytes());
        if digits != "0" {
            out.put_bytes(b'0', usize::from(scale.unsigned_abs()));
        }
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.put_slice(whole.as_bytes());
        out.put_u8(b'.');
        out.put_slice(fraction.as_bytes());
    } else {
        out.put_slice(b"0.");
        out.put_bytes(b'0', scale - digits.len());
        out.put_slice(digits.as_bytes());
    }
}

/// `\x` and hexadecimal digits.
pub fn put_bytea(out: &mut BytesMut, value: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + value.len() * 2);
    out.put_slice(b"\\x");
    for byte in value {
        for nibble in [byte >> 4, byte & 15] {
            out.put_u8(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
        }
    }
}

/// `550e8400-e29b-41d4-a716-446655440000`.
pub fn put_uuid(out: &mut BytesMut, value: &[u8]) {
    let mut text = String::with_capacity(36);
    for (i, byte) in value.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    out.put_slice(text.as_bytes());
}

/// `2024-02-29`, `0044-03-15 BC`.
pub fn put_date(out: &mut BytesMut, days: i64) {
    let civil = civil_from_days(days);
    put_ymd(out, &civil);
    put_era(out, &civil);
}

fn put_ymd(out: &mut BytesMut, civil: &Civil) {
    // There is no year 0: the year before 1 is 1 BC.
    let year = if civil.year > 0 { civil.year } else { 1 - civil.year };
    put_padded(out, year.unsigned_abs(), 4);
    out.put_u8(b'-');
    put_padded(out, u64::from(civil.month), 2);
    out.put_u8(b'-');
    put_padded(out, u64::from(civil.day), 2);
}

fn put_era(out: &mut BytesMut, civil: &Civil) {
    if civil.year <= 0 {
        out.put_slice(b" BC");
    }
}

/// A time of day in microseconds: `13:45:00.25`, `24:00:00`.
pub fn put_time(out: &mut BytesMut, micros: i64) {
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    put_padded(out, seconds / 3600, 2);
    out.put_u8(b':');
    put_padded(out, seconds / 60 % 60, 2);
    out.put_u8(b':');
    put_padded(out, seconds % 60, 2);
    put_fraction(out, micros % 1_000_000);
}

/// `.25` for 250,000; nothing for 0.
fn put_fraction(out: &mut BytesMut, micros: u64) {
    if micros == 0 {
        return;
    }
    let (mut value, mut width) = (micros, 6);
    while value % 10 == 0 {
        value /= 10;
        width -= 1;
    }
    out.put_u8(b'.');
    put_padded(out, value, width);
}

/// A `timestamp` in microseconds since 1970, local.
pub fn put_timestamp(out: &mut BytesMut, micros: i64) {
    let civil = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
    put_ymd(out, &civil);
    out.put_u8(b' ');
    put_time(out, micros.rem_euclid(MICROS_PER_DAY));
    put_era(out, &civil);
}

/// A `timestamptz`: microseconds since 1970 UTC, and the zone's offset then, in seconds east.
pub fn put_timestamptz(out: &mut BytesMut, micros: i64, offset: i32) {
    let local = micros.saturating_add(i64::from(offset) * 1_000_000);
    let civil = civil_from_days(local.div_euclid(MICROS_PER_DAY));
    put_ymd(out, &civil);
    out.put_u8(b' ');
    put_time(out, local.rem_euclid(MICROS_PER_DAY));
    out.put_u8(if offset < 0 { b'-' } else { b'+' });
    let offset = u64::from(offset.unsigned_abs());
    put_padded(out, offset / 3600, 2);
    if !offset.is_multiple_of(3600) {
        out.put_u8(b':');
        put_padded(out, offset / 60 % 60, 2);
        if !offset.is_multiple_of(60) {
            out.put_u8(b':');
            put_padded(out, offset % 60, 2);
        }
    }
    put_era(out, &civil);
}

/// An `interval` in PostgreSQL's own style: `1 year 2 mons -3 days +04:05:06.7`.
pub fn put_interval(out: &mut BytesMut, months: i32, days: i32, micros: i64) {
    let mut empty = true;
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        if !empty {
            out.put_u8(b' ');
        }
        if after_negative && value > 0 {
            out.put_u8(b'+');
        }
        put_int(out, value);
        out.put_u8(b' ');
        out.put_slice(unit.as_bytes());
        if value != 1 {
            out.put_u8(b's');
        }
        after_negative = value < 0;
        empty = false;
    }
    if empty || micros != 0 {
        if !empty {
            out.put_u8(b' ');
        }
        if micros < 0 {
            out.put_u8(b'-');
        } else if after_negative {
            out.put_u8(b'+');
        }
        put_time(out, micros);
    }
}
