//! Strings with a type that DataFusion reads otherwise than PostgreSQL, or not at all: `'\x00ff'::bytea`, `'{1,NULL}'::int4[]`,
//! `interval '1 mon 04:05:06'`. An interval that cannot be read here is left as it is, for Arrow to read or refuse.

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, CastKind, DataType, Expr, Ident, TableAlias, TableAliasColumnDef, Value,
};

use super::string;
use crate::error::{Error, Result, Sqlstate};

/// The largest exponent of a number that is read as a decimal.
const MAX_EXPONENT: i32 = 60;
/// Deepest array that is read.
const MAX_DIMENSIONS: usize = 6;
/// Most elements: each becomes an expression. Parameters take any number.
const MAX_ITEMS: usize = 10_000;

/// Rewrites one expression.
///
/// # Errors
/// 0A000 for a collation other than the byte order, 22P02 for an array or a `bytea` that cannot be read, 54001 for one of too many elements.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        // Texts are in the order of their bytes, which some collations have by other names.
        Expr::Collate { expr: inner, collation } => {
            let name = collation.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.as_str());
            let name = name.unwrap_or_default();
            if !["default", "C", "POSIX", "ucs_basic"].contains(&name) {
                return Err(Error::unsupported(format!("collation \"{name}\" is not supported")));
            }
            *expr = super::take(inner);
        }
        // Beyond what a decimal holds.
        Expr::Value(value) => {
            if let Value::Number(text, _) = &value.value
                && exponent(text).is_some_and(|exponent| exponent.abs() > MAX_EXPONENT)
            {
                *expr = Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(literal(text.clone())),
                    data_type: DataType::DoublePrecision,
                    array: false,
                    format: None,
                };
            }
        }
        Expr::Interval(interval) => {
            let plain = interval.leading_field.is_none() && interval.last_field.is_none();
            if plain && let Some(text) = string(&interval.value).and_then(interval_text) {
                *interval.value = literal(text);
            }
        }
        Expr::Cast { expr: inner, data_type, .. } => match (string(inner), &*data_type) {
            (Some(text), DataType::Bytea) => {
                let hex = bytea_hex(text).ok_or_else(|| invalid("invalid input syntax for type bytea"))?;
                *expr = Expr::Value(Value::HexStringLiteral(hex).into());
            }
            (Some(text), DataType::Interval { fields: None, .. }) => {
                if let Some(text) = interval_text(text) {
                    **inner = literal(text);
                }
            }
            (Some(text), DataType::Array(ArrayElemTypeDef::SquareBracket(item, _))) => {
                if text.matches(',').count() >= MAX_ITEMS {
                    let message = format!("an array in quotes may have {MAX_ITEMS} elements");
                    return Err(Error::new(Sqlstate::StatementTooComplex, message).hint("Send it as a parameter."));
                }
                let items =
                    array_items(text).ok_or_else(|| invalid(&format!("malformed array literal: \"{text}\"")))?;
                let nested = items.iter().any(|item| matches!(item, Item::Array(_)));
                let array = array(items, innermost(item))?;
                if nested {
                    *expr = array;
                } else {
                    **inner = array;
                }
            }
            _ => {}
        },
        _ => {}
    }
    Ok(())
}

/// The exponent of a number that is written with one.
fn exponent(number: &str) -> Option<i32> {
    number.split_once(['e', 'E']).map(|(_, exponent)| exponent.parse().unwrap_or(i32::MAX))
}

fn invalid(message: &str) -> Error {
    Error::new(Sqlstate::InvalidTextRepresentation, message)
}

/// `generate_series(1, 3) AS g`: its one column is `g`; without an alias it is named as the function.
pub(super) fn name_series(function: &str, alias: &mut Option<TableAlias>) {
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new(function),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

fn literal(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).into())
}

/// The hexadecimal digits of a `bytea` in either of PostgreSQL's forms.
fn bytea_hex(text: &str) -> Option<String> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let hex: String = hex.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        return (hex.len().is_multiple_of(2) && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hex);
    }
    let mut hex = String::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte != b'\\' {
            byte
        } else {
            match bytes.next()? {
                b'\\' => b'\\',
                first => [bytes.next()?, bytes.next()?]
                    .into_iter()
                    .try_fold(octal(first)?, |value, digit| value.checked_mul(8)?.checked_add(octal(digit)?))?,
            }
        };
        hex.push_str(&format!("{byte:02x}"));
    }
    Some(hex)
}

fn octal(digit: u8) -> Option<u8> {
    (b'0'..=b'7').contains(&digit).then(|| digit - b'0')
}

enum Item {
    Null,
    Text(String),
    Array(Vec<Item>),
}

fn innermost(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) => innermost(item),
        other => other,
    }
}

fn array(items: Vec<Item>, item_type: &DataType) -> Result<Expr> {
    let elem = items
        .into_iter()
        .map(|item| {
            let value = match item {
                Item::Array(items) => return array(items, item_type),
                Item::Null => Expr::Value(Value::Null.into()),
                Item::Text(text) => literal(text),
            };
            let mut cast = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(value),
                data_type: item_type.clone(),
                array: false,
                format: None,
            };
            rewrite(&mut cast)?;
            Ok(cast)
        })
        .collect::<Result<_>>()?;
    Ok(Expr::Array(Array { elem, named: true }))
}

/// Reads `{a,"b c",NULL,{…}}`.
fn array_items(text: &str) -> Option<Vec<Item>> {
    let mut chars = text.trim().chars().peekable();
    let items = items_of(&mut chars, 0)?;
    chars.next().is_none().then_some(items)
}

fn items_of(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, depth: usize) -> Option<Vec<Item>> {
    if depth >= MAX_DIMENSIONS || chars.next()? != '{' {
        return None;
    }
    let mut items = Vec::new();
    skip_blanks(chars);
    if chars.peek() == Some(&'}') {
        chars.next();
        return Some(items);
    }
    loop {
        skip_blanks(chars);
        items.push(match chars.peek()? {
            '{' => Item::Array(items_of(chars, depth + 1)?),
            '"' => Item::Text(quoted(chars)?),
            _ => bare(chars)?,
        });
        skip_blanks(chars);
        match chars.next()? {
            ',' => {}
            '}' => return Some(items),
            _ => return None,
        }
    }
}

fn skip_blanks(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
        chars.next();
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    chars.next();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.push(chars.next()?),
            other => text.push(other),
        }
    }
}

fn bare(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Item> {
    let mut text = String::new();
    let mut escaped = false;
    while let Some(next) = chars.peek().copied().filter(|c| !matches!(c, ',' | '}')) {
        chars.next();
        match next {
            '"' | '{' => return None,
            '\\' => {
                escaped = true;
                text.push(chars.next()?);
            }
            other => text.push(other),
        }
    }
    let trimmed = text.trim_end();
    if trimmed.is_empty() {
        return None;
    }
    Some(if !escaped && trimmed.eq_ignore_ascii_case("null") { Item::Null } else { Item::Text(trimmed.to_owned()) })
}

/// An interval in the words that Arrow reads: months, days and microseconds. `None` for what is not read here.
pub(in super::super) fn interval_text(text: &str) -> Option<String> {
    const SECOND: i64 = 1_000_000;
    let (mut months, mut days, mut micros) = (0i64, 0i64, 0i64);
    let iso = iso_words(text);
    let text = iso.as_deref().unwrap_or(text).trim();
    let (text, is_ago) = match text.len().checked_sub(4).and_then(|at| text.split_at_checked(at)) {
        Some((before, ago)) if ago.eq_ignore_ascii_case(" ago") => (before, true),
        _ => (text, false),
    };
    let mut words = text.split_whitespace().peekable();
    words.peek()?;
    while let Some(word) = words.next() {
        if word.contains(':') {
            micros = micros.checked_add(clock(word)?)?;
            continue;
        }
        let Some(unit) = words.next() else {
            // A bare number is of seconds.
            micros = micros.checked_add(scaled(word, SECOND)?)?;
            continue;
        };
        let unit = unit.to_ascii_lowercase();
        let unit = if unit.len() > 3 { unit.strip_suffix('s').unwrap_or(&unit) } else { &unit };
        let whole = |factor: i64| word.parse::<i64>().ok()?.checked_mul(factor);
        match unit {
            "year" | "yr" | "yrs" => months = months.checked_add(whole(12)?)?,
            "mon" | "month" => months = months.checked_add(whole(1)?)?,
            "week" => days = days.checked_add(whole(7)?)?,
            "day" => days = days.checked_add(whole(1)?)?,
            "hour" | "hr" | "hrs" => micros = micros.checked_add(scaled(word, 3_600 * SECOND)?)?,
            "min" | "minute" => micros = micros.checked_add(scaled(word, 60 * SECOND)?)?,
            "sec" | "second" => micros = micros.checked_add(scaled(word, SECOND)?)?,
            "millisecond" => micros = micros.checked_add(scaled(word, 1_000)?)?,
            "microsecond" => micros = micros.checked_add(whole(1)?)?,
            _ => return None,
        }
    }
    let sign = if is_ago { -1 } else { 1 };
    Some(format!("{} months {} days {} microseconds", sign * months, sign * days, sign * micros))
}

/// `P1Y2M3DT4H5M6S`, in words.
fn iso_words(text: &str) -> Option<String> {
    let rest = text.trim().strip_prefix(['P', 'p'])?;
    let (mut out, mut number, mut is_time) = (String::new(), String::new(), false);
    for c in rest.chars() {
        let unit = match c.to_ascii_uppercase() {
            'T' if !is_time && number.is_empty() => {
                is_time = true;
                continue;
            }
            '0'..='9' | '.' | '-' => {
                number.push(c);
                continue;
            }
            'Y' if !is_time => "year",
            'M' if !is_time => "month",
            'W' if !is_time => "week",
            'D' if !is_time => "day",
            'H' if is_time => "hour",
            'M' if is_time => "minute",
            'S' if is_time => "second",
            _ => return None,
        };
        if number.is_empty() {
            return None;
        }
        out.push_str(&format!(" {number} {unit}"));
        number.clear();
    }
    (number.is_empty() && !out.is_empty()).then_some(out)
}

/// `[-]H:M[:S[.f]]` in microseconds.
fn clock(word: &str) -> Option<i64> {
    let (sign, rest) = match word.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let mut parts = rest.split(':');
    let (hours, minutes) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?);
    let seconds = match parts.next() {
        Some(seconds) if !seconds.starts_with(['+', '-']) => scaled(seconds, 1_000_000)?,
        Some(_) => return None,
        None => 0,
    };
    if parts.next().is_some() || minutes > 59 || seconds >= 61_000_000 {
        return None;
    }
    Some(sign * ((i64::from(hours) * 3_600 + i64::from(minutes) * 60) * 1_000_000 + seconds))
}

/// A decimal number times a factor, exactly or not at all below a microsecond.
fn scaled(word: &str, factor: i64) -> Option<i64> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let whole: u32 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let numerator: i64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = i128::from(numerator) * i128::from(factor) / 10i128.pow(u32::try_from(fraction.len()).ok()?);
    let value = i64::from(whole).checked_mul(factor)?.checked_add(i64::try_from(part).ok()?)?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, expected) in [
            ("1 year 2 mons 3 days 04:05:06.7", Some((14, 3, 14_706_700_000_i64))),
            ("-1 mons +2 days -00:00:01", Some((-1, 2, -1_000_000))),
            ("0", Some((0, 0, 0))),
            ("1.5 hours", Some((0, 0, 5_400_000_000))),
            ("100 hours", Some((0, 0, 360_000_000_000))),
            ("2 weeks", Some((0, 14, 0))),
            ("P1Y2M3DT4H5M6.5S", Some((14, 3, 14_706_500_000))),
            ("PT-1H", Some((0, 0, -3_600_000_000))),
            ("1 day 2 hours ago", Some((0, -1, -7_200_000_000))),
            ("P1Y2", None),
            ("P1H", None),
            ("1.5 months", None),
            ("", None),
            ("1:99", None),
        ] {
            let expected = expected.map(|(m, d, u)| format!("{m} months {d} days {u} microseconds"));
            assert_eq!(interval_text(text), expected, "{text}");
        }
    }

    #[test]
    fn bytes() {
        assert_eq!(bytea_hex("\\x00fF").as_deref(), Some("00fF"));
        assert_eq!(bytea_hex("a\\\\\\001").as_deref(), Some("615c01"));
        assert_eq!(bytea_hex("").as_deref(), Some(""));
        assert_eq!((bytea_hex("\\x0"), bytea_hex("\\9")), (None, None));
    }

    #[test]
    fn arrays() {
        fn shown(items: &[Item]) -> String {
            let items = items.iter().map(|item| match item {
                Item::Null => "-".to_owned(),
                Item::Text(text) => format!("<{text}>"),
                Item::Array(items) => shown(items),
            });
            format!("[{}]", items.collect::<Vec<_>>().join(" "))
        }
        for (text, expected) in [
            ("{}", Some("[]")),
            ("{1, NULL,-3}", Some("[<1> - <-3>]")),
            ("{{1,2},{3,4}}", Some("[[<1> <2>] [<3> <4>]]")),
            (r#"{a,"b c","NULL","q\"",""}"#, Some(r#"[<a> <b c> <NULL> <q"> <>]"#)),
            ("{1,}", None),
            ("1", None),
            ("{1}x", None),
            ("{{{{{{{1}}}}}}}", None),
        ] {
            assert_eq!(array_items(text).map(|items| shown(&items)).as_deref(), expected, "{text}");
        }
    }
}
