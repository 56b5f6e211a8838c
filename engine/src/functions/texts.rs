//! Texts and bytes: `unistr`, `encode`, `string_to_array`, hashes.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::lengths::{MOST_OF_ONE, too_large};
use super::rows::Kind::{Bytes, Text, Whole};
use super::rows::{Give, Spec, Value, spec};
use crate::error::{Error, Result, Sqlstate};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);
/// PostgreSQL breaks lines of base64 after so many characters.
const LINE: usize = 76;

pub(super) const SPECS: [Spec; 6] = [
    spec("unistr", &[&[Text]], Give::Text, |row, _| unistr(row.text(0).unwrap_or_default()).map(Value::Text)),
    spec("kanon_encode", &[&[Bytes, Text], &[Text, Text]], Give::Text, |row, _| {
        let bytes = row.bytes(0).or_else(|| row.text(0).map(str::as_bytes)).unwrap_or_default();
        encoded(bytes, row.text(1).unwrap_or_default()).map(Value::Text)
    }),
    spec("kanon_decode", &[&[Text, Text]], Give::Bytes, |row, _| {
        decoded(row.text(0).unwrap_or_default(), row.text(1).unwrap_or_default()).map(Value::Bytes)
    }),
    spec("kanon_chr", &[&[Whole]], Give::Text, |row, _| {
        let number = row.whole(0).unwrap_or(0);
        let limit = |message: String| Error::new(Sqlstate::ProgramLimitExceeded, message);
        match number {
            0 => Err(limit("null character not permitted".to_owned())),
            ..0 => Err(Error::new(Sqlstate::InvalidParameterValue, "character number must be positive")),
            0x11_0000.. => Err(limit(format!("requested character too large for encoding: {number}"))),
            _ => {
                let c = u32::try_from(number).ok().and_then(char::from_u32);
                let message = format!("requested character not valid for encoding: {number}");
                c.map(|c| Value::Text(c.to_string())).ok_or_else(|| limit(message))
            }
        }
    }),
    spec("get_byte", &[&[Bytes, Whole]], Give::Int4, |row, _| {
        let (bytes, place) = (row.bytes(0).unwrap_or_default(), row.whole(1).unwrap_or(0));
        let byte = usize::try_from(place).ok().and_then(|place| bytes.get(place));
        let message =
            || format!("index {place} out of valid range, 0..{}", i64::try_from(bytes.len()).unwrap_or(0) - 1);
        byte.map(|byte| Value::Int(i64::from(*byte)))
            .ok_or_else(|| Error::new(Sqlstate::ArraySubscriptError, message()))
    }),
    spec("bit_count", &[&[Bytes]], Give::Int8, |row, _| {
        let bits = row.bytes(0).unwrap_or_default().iter().map(|byte| i64::from(byte.count_ones()));
        Ok(Value::Int(bits.sum()))
    }),
];

/// A text with Unicode escapes: `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX`.
fn unistr(text: &str) -> Result<String> {
    let bad = |message: &str| Error::new(Sqlstate::SyntaxError, message);
    let escape =
        || bad("invalid Unicode escape").hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.");
    let mut out = String::new();
    let mut high: Option<u32> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        if c != '\\' || rest.starts_with('\\') {
            if high.is_some() {
                return Err(bad("invalid Unicode surrogate pair"));
            }
            if c == '\\' {
                rest = rest.get(1..).unwrap_or_default();
            }
            out.push(c);
            continue;
        }
        let (skipped, digits) = match rest.chars().next() {
            Some('+') => (1, 6),
            Some('u') => (1, 4),
            Some('U') => (1, 8),
            _ => (0, 4),
        };
        let hex = rest.get(skipped..skipped + digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or_else(escape)?;
        rest = rest.get(skipped + digits..).unwrap_or_default();
        let code = match (high.take(), code) {
            (Some(high), 0xDC00..=0xDFFF) => 0x1_0000 + ((high - 0xD800) << 10) + (code - 0xDC00),
            (Some(_), _) | (None, 0xDC00..=0xDFFF) => return Err(bad("invalid Unicode surrogate pair")),
            (None, 0xD800..=0xDBFF) => {
                high = Some(code);
                continue;
            }
            (None, code) => code,
        };
        out.push(char::from_u32(code).filter(|c| *c != '\0').ok_or_else(|| {
            Error::new(Sqlstate::InvalidParameterValue, format!("invalid Unicode code point: {code:04X}"))
        })?);
    }
    if high.is_some() {
        return Err(bad("invalid Unicode surrogate pair"));
    }
    Ok(out)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, message)
}

fn unknown(encoding: &str) -> Error {
    invalid(format!("unrecognized encoding: \"{encoding}\""))
}

fn encoded(bytes: &[u8], encoding: &str) -> Result<String> {
    if bytes.len() as u64 * 4 > MOST_OF_ONE {
        return Err(too_large());
    }
    Ok(match encoding.to_ascii_lowercase().as_str() {
        "hex" => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        "base64" => {
            let all = BASE64.encode(bytes);
            let lines: Vec<&str> =
                (0..all.len()).step_by(LINE).filter_map(|at| all.get(at..all.len().min(at + LINE))).collect();
            lines.join("\n")
        }
        "escape" => {
            let mut text = String::new();
            for byte in bytes {
                match byte {
                    b'\\' => text.push_str("\\\\"),
                    0 | 0x80.. => text.push_str(&format!("\\{byte:03o}")),
                    other => text.push(char::from(*other)),
                }
            }
            text
        }
        _ => return Err(unknown(encoding)),
    })
}

fn decoded(text: &str, encoding: &str) -> Result<Vec<u8>> {
    match encoding.to_ascii_lowercase().as_str() {
        "hex" => {
            let mut digits = Vec::new();
            for c in text.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r')) {
                let digit = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digits.push(digit.ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")))?);
            }
            let pairs = digits.chunks(2).map(|pair| match pair {
                [high, low] => Ok(high << 4 | low),
                _ => Err(invalid("invalid hexadecimal data: odd number of digits")),
            });
            pairs.collect()
        }
        "base64" => {
            let text: String = text.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r')).collect();
            let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
            if let Some(c) = text.chars().find(|c| !is_digit(*c)) {
                return Err(invalid(format!("invalid symbol \"{c}\" found while decoding base64 sequence")));
            }
            BASE64.decode(&text).map_err(|_| {
                invalid("invalid base64 end sequence")
                    .hint("Input data is missing padding, is truncated, or is otherwise corrupted.")
            })
        }
        "escape" => {
            let bad = || Error::new(Sqlstate::InvalidTextRepresentation, "invalid input syntax for type bytea");
            let mut out = Vec::new();
            let mut bytes = text.bytes();
            while let Some(byte) = bytes.next() {
                if byte != b'\\' {
                    out.push(byte);
                    continue;
                }
                match bytes.next().ok_or_else(bad)? {
                    b'\\' => out.push(b'\\'),
                    first @ b'0'..=b'3' => {
                        let mut value = first - b'0';
                        for _ in 0..2 {
                            let digit = bytes.next().filter(|digit| (b'0'..=b'7').contains(digit)).ok_or_else(bad)?;
                            value = value << 3 | (digit - b'0');
                        }
                        out.push(value);
                    }
                    _ => return Err(bad()),
                }
            }
            Ok(out)
        }
        _ => Err(unknown(encoding)),
    }
}
