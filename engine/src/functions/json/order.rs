//! How values of `jsonb` stand to each other: equal, before, one in the other.

use super::read::{Item, Value};
use super::write::{in_order, plain_number};
use crate::error::Result;

/// Bytes that are in the order of the values that they stand for.
///
/// Objects are above arrays, and those above booleans, numbers, strings and null; of two arrays or objects the longer one is above. An
/// empty array is below everything, but not in another array.
pub(super) fn key(value: &Value<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match value {
        Value::Array(items) if items.is_empty() => out.push(0),
        value => put_key(value, &mut out)?,
    }
    Ok(out)
}

fn put_key(value: &Value<'_>, out: &mut Vec<u8>) -> Result<()> {
    let put_count = |count: usize, out: &mut Vec<u8>| {
        out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
    };
    match value {
        Value::Null => out.push(1),
        Value::Text(text) => {
            out.push(2);
            put_text(text, out);
        }
        Value::Number(number) => {
            out.push(3);
            put_number(&plain_number(number)?, out);
        }
        Value::Bool(value) => out.extend([4, u8::from(*value)]),
        Value::Array(items) => {
            out.push(5);
            put_count(items.len(), out);
            for item in items {
                put_key(&item.value, out)?;
            }
        }
        Value::Object(fields) => {
            let fields = in_order(fields);
            out.push(6);
            put_count(fields.len(), out);
            for (key, item) in fields {
                put_text(key, out);
                put_key(&item.value, out)?;
            }
        }
    }
    Ok(())
}

/// No text of `jsonb` has a NUL in it.
fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend(text.as_bytes());
    out.push(0);
}

/// The sign, where the point stands, the digits: turned round for what is below zero.
fn put_number(plain: &str, out: &mut Vec<u8>) {
    let (is_negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let leading = all.len() - all.trim_start_matches('0').len();
    let significant = all.trim_matches('0');
    if significant.is_empty() {
        out.push(1);
        return;
    }
    let point = i64::try_from(whole.len()).unwrap_or(0) - i64::try_from(leading).unwrap_or(0);
    let place = u32::try_from(point + (1 << 30)).unwrap_or(0).to_be_bytes();
    let bytes = place.into_iter().chain(significant.bytes()).chain([0]);
    if is_negative {
        out.push(0);
        out.extend(bytes.map(|byte| !byte));
    } else {
        out.push(2);
        out.extend(bytes);
    }
}

/// `a @> b`
pub(super) fn contains(a: &Value<'_>, b: &Value<'_>) -> Result<bool> {
    match (a, b) {
        // An array contains a value that is in it.
        (Value::Array(items), b) if b.is_scalar() => any(items, |item| is_same_scalar(item, b)),
        _ => holds(a, b),
    }
}

fn holds(a: &Value<'_>, b: &Value<'_>) -> Result<bool> {
    match (a, b) {
        (Value::Object(of), Value::Object(wanted)) => {
            let of = in_order(of);
            for (key, item) in in_order(wanted) {
                let Some((_, found)) = of.iter().find(|(name, _)| *name == key) else { return Ok(false) };
                if !holds(&found.value, &item.value)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Array(of), Value::Array(wanted)) => {
            for item in wanted {
                if !any(of, |found| holds(found, &item.value))? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (a, b) => is_same_scalar(a, b),
    }
}

fn any(items: &[Item<'_>], is: impl Fn(&Value<'_>) -> Result<bool>) -> Result<bool> {
    for item in items {
        if is(&item.value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_same_scalar(a: &Value<'_>, b: &Value<'_>) -> Result<bool> {
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Number(_), Value::Number(_)) => key(a)? == key(b)?,
        _ => false,
    })
}

/// `value ? name`: a field, or a string in an array, or the string itself.
pub(super) fn has(value: &Value<'_>, name: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, _)| key == name),
        Value::Array(items) => items.iter().any(|item| matches!(&item.value, Value::Text(text) if text == name)),
        Value::Text(text) => text == name,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::super::read::read;
    use super::*;

    #[test]
    fn values_are_in_postgresqls_order() {
        // As PostgreSQL 15 sorts them, with collation C.
        let all = [
            "[]",
            "null",
            "\"B\"",
            "\"a\"",
            "\"aa\"",
            "-10",
            "-2.5",
            "-1.5",
            "-0.01",
            "0",
            "0.001",
            "0.5",
            "1",
            "2",
            "2.5",
            "10",
            "1e3",
            "false",
            "true",
            "[1]",
            "[[]]",
            "[3, 4]",
            "{}",
            "{\"a\": 1}",
            "{\"a\": 2}",
        ];
        for pair in all.windows(2) {
            let (a, b) = (key(&read(pair[0]).unwrap().value).unwrap(), key(&read(pair[1]).unwrap().value).unwrap());
            assert!(a < b, "{pair:?}");
        }
        for (a, b) in [("1.0", "1"), ("-0", "0.00"), ("1e2", "100"), ("{\"b\":1,\"a\":1}", "{\"a\":1,\"b\":1.0}")] {
            assert_eq!(key(&read(a).unwrap().value).unwrap(), key(&read(b).unwrap().value).unwrap(), "{a} {b}");
        }
    }

    #[test]
    fn values_contain_others() {
        // Each with what PostgreSQL 15 says.
        for (a, b, expected) in [
            ("{\"a\":1,\"b\":2}", "{\"a\":1}", true),
            ("[1,2,3]", "[3,1]", true),
            ("[1,2]", "1", true),
            ("\"x\"", "[\"x\"]", false),
            ("{\"a\":[1,{\"b\":1}]}", "{\"a\":[{\"b\":1}]}", true),
            ("1.0", "1", true),
            ("[[1,2]]", "[1]", false),
            ("{}", "[]", false),
            ("[]", "{}", false),
            ("[1,[1]]", "[[1]]", true),
            ("{\"a\":{\"b\":1}}", "{\"a\":{}}", true),
        ] {
            assert_eq!(contains(&read(a).unwrap().value, &read(b).unwrap().value).unwrap(), expected, "{a} {b}");
        }
    }
}
