//! JSON text, written as PostgreSQL writes it.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::read::{self, Item, Value};
use crate::error::{Error, Result, Sqlstate};

/// The most digits before the point of a number, and behind it.
const MOST_WHOLE: i64 = 131_072;
const MOST_SCALE: i64 = 16_383;

/// Appends a string in quotes.
pub(super) fn put_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The text of a `jsonb` from any JSON text.
///
/// # Errors
/// As [`read::read`], and 22003 for numbers beyond PostgreSQL's.
pub(super) fn normal(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    put(&read::read(text)?.value, &mut out)?;
    Ok(out)
}

/// Appends a value as `jsonb` has it: keys in order, each once, numbers without an exponent.
pub(super) fn put(value: &Value<'_>, out: &mut String) -> Result<()> {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                put(&item.value, out)?;
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (at, (key, item)) in in_order(fields).into_iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                put_string(key, out);
                out.push_str(": ");
                put(&item.value, out)?;
            }
            out.push('}');
        }
        scalar => put_scalar(scalar, out)?,
    }
    Ok(())
}

fn put_scalar(value: &Value<'_>, out: &mut String) -> Result<()> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&plain_number(number)?),
        Value::Text(text) => put_string(text, out),
        Value::Array(_) | Value::Object(_) => {}
    }
    Ok(())
}

/// Shorter keys first, those of one length by their bytes; of those that are there twice the last.
pub(super) fn in_order<'v, 'a>(fields: &'v [(Cow<'a, str>, Item<'a>)]) -> Vec<(&'v str, &'v Item<'a>)> {
    let mut sorted: Vec<(&str, &Item<'_>)> = fields.iter().map(|(key, item)| (key.as_ref(), item)).collect();
    sorted.sort_by(|(a, _), (b, _)| by_key(a, b));
    let mut once: Vec<(&str, &Item<'_>)> = Vec::with_capacity(sorted.len());
    for (key, item) in sorted {
        match once.last_mut() {
            Some(last) if last.0 == key => *last = (key, item),
            _ => once.push((key, item)),
        }
    }
    once
}

fn by_key(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// A number without an exponent, with as many places as it was written with.
pub(super) fn plain_number(text: &str) -> Result<Cow<'_, str>> {
    let overflow = || Error::new(Sqlstate::NumericOutOfRange, "value overflows numeric format");
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| overflow())?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_zero = mantissa.bytes().all(|b| matches!(b, b'0' | b'.'));
    let count = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    // Where the point stands among the digits, and how many are behind it.
    let point = count(whole).saturating_add(exponent);
    let scale = count(fraction).saturating_sub(exponent).max(0);
    if scale > MOST_SCALE || (point > MOST_WHOLE && !is_zero) {
        return Err(overflow());
    }
    let sign = if is_negative && !is_zero { "-" } else { "" };
    if exponent == 0 {
        return Ok(if is_negative && is_zero { Cow::Borrowed(digits) } else { Cow::Borrowed(text) });
    }
    let size = |number: i64| usize::try_from(number).unwrap_or(0);
    if is_zero {
        let dot = if scale > 0 { "." } else { "" };
        return Ok(Cow::Owned(format!("0{dot}{}", "0".repeat(size(scale)))));
    }
    let all = format!("{whole}{fraction}");
    let padded = match point {
        ..=0 => format!("{}{all}", "0".repeat(size(1 - point))),
        _ => format!("{all}{}", "0".repeat(size(point - count(&all)))),
    };
    let (whole, fraction) = padded.split_at_checked(size(point.max(1))).unwrap_or((&padded, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let dot = if fraction.is_empty() { "" } else { "." };
    Ok(Cow::Owned(format!("{sign}{whole}{dot}{fraction}")))
}

/// Appends a value over several lines, as `jsonb_pretty` does.
pub(super) fn put_pretty(value: &Value<'_>, depth: usize, out: &mut String) -> Result<()> {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"    ".repeat(depth));
    };
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                put_pretty(&item.value, depth + 1, out)?;
            }
            line(depth, out);
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (at, (key, item)) in in_order(fields).into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                put_string(key, out);
                out.push_str(": ");
                put_pretty(&item.value, depth + 1, out)?;
            }
            line(depth, out);
            out.push('}');
        }
        scalar => put_scalar(scalar, out)?,
    }
    Ok(())
}

/// Appends a value without blanks and without the fields that are null, as `json_strip_nulls` does.
pub(super) fn put_stripped(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put_stripped(&item.value, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            let kept = fields.iter().filter(|(_, item)| !matches!(item.value, Value::Null));
            for (at, (key, item)) in kept.enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put_string(key, out);
                out.push(':');
                put_stripped(&item.value, out);
            }
            out.push('}');
        }
        Value::Text(text) => put_string(text, out),
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(number),
    }
}

/// Takes the fields that are null out of a value.
pub(super) fn strip(value: &mut Value<'_>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| strip(&mut item.value)),
        Value::Object(fields) => {
            fields.retain(|(_, item)| !matches!(item.value, Value::Null));
            fields.iter_mut().for_each(|(_, item)| strip(&mut item.value));
        }
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn jsonb_is_normal() {
        // Each with what PostgreSQL 15 says.
        for (text, expected) in [
            ("{\"b\":1,\"aa\":2,\"a\":3,\"é\":4,\"b\":5}", "{\"a\": 3, \"b\": 5, \"aa\": 2, \"é\": 4}"),
            ("\"\\u00e9\\u000a\\u001f/\\/\"", "\"é\\n\\u001f//\""),
            ("[1 ,{ } ,[ ]]", "[1, {}, []]"),
            ("1e5", "100000"),
            ("1.50", "1.50"),
            ("1E-3", "0.001"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("1.5e2", "150"),
            ("1.50e1", "15.0"),
            ("0e10", "0"),
            ("1e-5", "0.00001"),
            ("1.23e5", "123000"),
            ("1.10e-2", "0.0110"),
            ("-12.5e+1", "-125"),
            ("0.05e1", "0.5"),
        ] {
            assert_eq!(normal(text).unwrap(), expected, "{text}");
        }
        for text in ["1e1000000", "1e131072", "1e-99999999999999999999"] {
            assert_eq!(normal(text).unwrap_err().state, Sqlstate::NumericOutOfRange, "{text}");
        }
    }
}
