//! `uuid`: sixteen bytes, as text in small letters.

use super::{Answer, Row, Spec, Takes, Value, strict};
use crate::error::{Error, Result, Sqlstate};

pub(super) const SPECS: &[Spec] = &[strict("kanon_uuid", &[Takes::Text], Answer::Uuid, uuid)];

fn uuid(row: &Row<'_>) -> Result<Value> {
    let text = row.text(0)?;
    normal(text).map(Value::Text).ok_or_else(|| {
        let message = format!("invalid input syntax for type uuid: \"{text}\"");
        Error::new(Sqlstate::InvalidTextRepresentation, message)
    })
}

/// 32 digits, with a hyphen behind any four of them, in braces or not.
pub(super) fn normal(text: &str) -> Option<String> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut digits = String::with_capacity(36);
    let mut count = 0;
    let mut last = ' ';
    for c in inner.chars() {
        if c == '-' && count % 4 == 0 && count > 0 && count < 32 && last != '-' {
            last = c;
            continue;
        }
        if !c.is_ascii_hexdigit() || count == 32 {
            return None;
        }
        if matches!(count, 8 | 12 | 16 | 20) {
            digits.push('-');
        }
        digits.push(c.to_ascii_lowercase());
        count += 1;
        last = c;
    }
    (count == 32).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn uuids_are_read_as_postgresql_reads_them() {
        let one = Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".to_owned());
        for text in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(normal(text), one, "{text}");
        }
        for text in [
            "",
            "x",
            " a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0e-ebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee--bc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a111",
        ] {
            assert_eq!(normal(text), None, "{text}");
        }
    }
}
