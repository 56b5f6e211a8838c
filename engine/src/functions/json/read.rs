//! JSON text, read as PostgreSQL reads it: with its words for what is wrong, and with every number and value as it was written.

use std::borrow::Cow;

use crate::error::{Error, Result, Sqlstate};

/// The deepest value that is read, so that the stack lasts.
const MOST_DEEP: usize = 1_000;

/// A value and the text that it was read from.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    pub text: &'a str,
    pub value: Value<'a>,
}

#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// As it was written.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Item<'a>>),
    /// In the order of the text, with what is there twice.
    Object(Vec<(Cow<'a, str>, Item<'a>)>),
}

impl Value<'_> {
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Value::Array(_) | Value::Object(_))
    }
}

/// Whether escapes are only looked at, or made what they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Checked,
    Read,
}

/// Reads a text whole.
///
/// # Errors
/// 22P02 for what is not JSON, 22P05 for an escaped NUL, 54001 for what is too deep.
pub(super) fn read(text: &str) -> Result<Item<'_>> {
    whole(text, Escapes::Read)
}

/// Whether a text is of type `json`, whose escapes need not stand for anything.
///
/// # Errors
/// 22P02 for what is not JSON, 54001 for what is too deep.
pub(super) fn check(text: &str) -> Result<()> {
    whole(text, Escapes::Checked).map(|_| ())
}

fn whole(text: &str, escapes: Escapes) -> Result<Item<'_>> {
    let mut reader = Reader { text, at: 0, escapes };
    let first = reader.next()?;
    let item = reader.item(first, 0)?;
    match reader.next()?.kind {
        Kind::End => Ok(item),
        _ => Err(reader.unexpected("end of input")),
    }
}

#[derive(Debug)]
enum Kind<'a> {
    /// `{ } [ ] , :`
    Mark(u8),
    Text(Cow<'a, str>),
    Number(&'a str),
    True,
    False,
    Null,
    End,
}

#[derive(Debug)]
struct Token<'a> {
    from: usize,
    kind: Kind<'a>,
}

struct Reader<'a> {
    text: &'a str,
    /// Behind the last token.
    at: usize,
    escapes: Escapes,
}

fn invalid(detail: String) -> Error {
    Error::new(Sqlstate::InvalidTextRepresentation, "invalid input syntax for type json").detail(detail)
}

fn invalid_token(token: &str) -> Error {
    invalid(format!("Token \"{token}\" is invalid."))
}

impl<'a> Reader<'a> {
    fn item(&mut self, token: Token<'a>, depth: usize) -> Result<Item<'a>> {
        if depth > MOST_DEEP {
            return Err(Error::new(Sqlstate::StatementTooComplex, "stack depth limit exceeded"));
        }
        let from = token.from;
        let value = match token.kind {
            Kind::Null => Value::Null,
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
            Kind::Number(number) => Value::Number(number),
            Kind::Text(text) => Value::Text(text),
            Kind::Mark(b'[') => Value::Array(self.array(depth)?),
            Kind::Mark(b'{') => Value::Object(self.object(depth)?),
            _ => return Err(self.unexpected_at(from, "JSON value")),
        };
        Ok(Item { text: self.text.get(from..self.at).unwrap_or_default(), value })
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Item<'a>>> {
        let mut items = Vec::new();
        let mut token = self.next()?;
        if matches!(token.kind, Kind::Mark(b']')) {
            return Ok(items);
        }
        loop {
            items.push(self.item(token, depth + 1)?);
            token = self.next()?;
            match token.kind {
                Kind::Mark(b',') => token = self.next()?,
                Kind::Mark(b']') => return Ok(items),
                _ => return Err(self.unexpected_at(token.from, "\",\" or \"]\"")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Vec<(Cow<'a, str>, Item<'a>)>> {
        let mut fields = Vec::new();
        let mut token = self.next()?;
        let mut wanted = "string or \"}\"";
        if matches!(token.kind, Kind::Mark(b'}')) {
            return Ok(fields);
        }
        loop {
            let key = match token.kind {
                Kind::Text(key) => key,
                _ => return Err(self.unexpected_at(token.from, wanted)),
            };
            let colon = self.next()?;
            if !matches!(colon.kind, Kind::Mark(b':')) {
                return Err(self.unexpected_at(colon.from, "\":\""));
            }
            let first = self.next()?;
            fields.push((key, self.item(first, depth + 1)?));
            token = self.next()?;
            match token.kind {
                Kind::Mark(b',') => token = self.next()?,
                Kind::Mark(b'}') => return Ok(fields),
                _ => return Err(self.unexpected_at(token.from, "\",\" or \"}\"")),
            }
            wanted = "string";
        }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let last = self.text.get(..self.at).unwrap_or_default();
        let from = last.rfind(|c: char| c.is_ascii_whitespace()).map_or(0, |at| at + 1);
        self.unexpected_at(from, wanted)
    }

    fn unexpected_at(&self, from: usize, wanted: &str) -> Error {
        match self.text.get(from..self.at).unwrap_or_default() {
            "" => invalid("The input string ended unexpectedly.".to_owned()),
            found if wanted == "end of input" => invalid(format!("Expected end of input, but found \"{found}\".")),
            found => invalid(format!("Expected {wanted}, but found \"{found}\".")),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Result<Token<'a>> {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let from = self.at;
        let Some(byte) = self.peek() else { return Ok(Token { from, kind: Kind::End }) };
        let kind = match byte {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => {
                self.at += 1;
                Kind::Mark(byte)
            }
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => match self.word() {
                "true" => Kind::True,
                "false" => Kind::False,
                "null" => Kind::Null,
                "" => {
                    let one = self.text.get(from..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
                    return Err(invalid_token(self.text.get(from..from + one).unwrap_or_default()));
                }
                other => return Err(invalid_token(other)),
            },
        };
        Ok(Token { from, kind })
    }

    /// Letters, digits and whatever is not ASCII, from here on.
    fn word(&mut self) -> &'a str {
        let from = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80) {
            self.at += 1;
        }
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn digits(&mut self) -> bool {
        let from = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > from
    }

    fn number(&mut self) -> Result<Kind<'a>> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let mut is_number = if self.peek() == Some(b'0') {
            self.at += 1;
            true
        } else {
            self.digits()
        };
        if is_number && self.peek() == Some(b'.') {
            self.at += 1;
            is_number = self.digits();
        }
        if is_number && matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            is_number = self.digits();
        }
        is_number &= self.word().is_empty();
        let text = self.text.get(from..self.at).unwrap_or_default();
        if is_number { Ok(Kind::Number(text)) } else { Err(invalid_token(text)) }
    }

    fn string(&mut self) -> Result<Kind<'a>> {
        let from = self.at;
        self.at += 1;
        let start = self.at;
        let mut plain = String::new();
        // What of the text is not in `plain` yet.
        let mut copied = start;
        loop {
            let Some(byte) = self.peek() else {
                return Err(invalid_token(self.text.get(from..).unwrap_or_default()));
            };
            match byte {
                b'"' => {
                    let rest = self.text.get(copied..self.at).unwrap_or_default();
                    self.at += 1;
                    if copied == start || self.escapes == Escapes::Checked {
                        return Ok(Kind::Text(Cow::Borrowed(rest)));
                    }
                    plain.push_str(rest);
                    return Ok(Kind::Text(Cow::Owned(plain)));
                }
                0..0x20 => return Err(invalid(format!("Character with value 0x{byte:02x} must be escaped."))),
                b'\\' => {
                    plain.push_str(self.text.get(copied..self.at).unwrap_or_default());
                    self.at += 1;
                    plain.push(self.escape(from)?);
                    copied = self.at;
                }
                _ => self.at += 1,
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self, from: usize) -> Result<char> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(c) = rest.chars().next() else {
            return Err(invalid_token(self.text.get(from..).unwrap_or_default()));
        };
        self.at += c.len_utf8();
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.four_digits()?;
                if self.escapes == Escapes::Checked {
                    return Ok(' ');
                }
                return self.character(unit);
            }
            other => return Err(invalid(format!("Escape sequence \"\\{other}\" is invalid."))),
        })
    }

    fn four_digits(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|four| four.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|four| u32::from_str_radix(four, 16).ok());
        self.at += 4;
        unit.ok_or_else(|| invalid("\"\\u\" must be followed by four hexadecimal digits.".to_owned()))
    }

    /// The character of one unit of UTF-16, or of it and the one that follows.
    fn character(&mut self, unit: u32) -> Result<char> {
        let alone = || invalid("Unicode low surrogate must follow a high surrogate.".to_owned());
        match unit {
            0 => Err(Error::new(Sqlstate::UntranslatableCharacter, "unsupported Unicode escape sequence")
                .detail("\\u0000 cannot be converted to text.")),
            0xd800..0xdc00 => {
                if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u")) {
                    return Err(alone());
                }
                self.at += 2;
                match self.four_digits()? {
                    low @ 0xdc00..0xe000 => {
                        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).ok_or_else(alone)
                    }
                    0xd800..0xdc00 => {
                        Err(invalid("Unicode high surrogate must not follow a high surrogate.".to_owned()))
                    }
                    _ => Err(alone()),
                }
            }
            other => char::from_u32(other).ok_or_else(alone),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_postgresqls_words() {
        // Each with what PostgreSQL 15 says.
        for (text, detail) in [
            ("{\"a\": x}", "Token \"x\" is invalid."),
            ("{\"a\": 1", "The input string ended unexpectedly."),
            ("", "The input string ended unexpectedly."),
            ("[1,]", "Expected JSON value, but found \"]\"."),
            ("{\"a\" 1}", "Expected \":\", but found \"1\"."),
            ("{1:1}", "Expected string or \"}\", but found \"1\"."),
            ("[1 2]", "Expected \",\" or \"]\", but found \"2\"."),
            ("1 2", "Expected end of input, but found \"2\"."),
            ("\"abc", "Token \"\"abc\" is invalid."),
            ("\"a\\qb\"", "Escape sequence \"\\q\" is invalid."),
            ("\"a\\u12\"", "\"\\u\" must be followed by four hexadecimal digits."),
            ("\"\\ud800\"", "Unicode low surrogate must follow a high surrogate."),
            ("\"\\udc00\"", "Unicode low surrogate must follow a high surrogate."),
            ("\"\\ud800\\ud800\"", "Unicode high surrogate must not follow a high surrogate."),
            ("01", "Token \"01\" is invalid."),
            ("-", "Token \"-\" is invalid."),
            ("1.", "Token \"1.\" is invalid."),
            ("tru", "Token \"tru\" is invalid."),
            ("\"a\nb\"", "Character with value 0x0a must be escaped."),
            ("\"\\", "Token \"\"\\\" is invalid."),
            ("\"\\u00é\"", "\"\\u\" must be followed by four hexadecimal digits."),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.detail.as_deref(), Some(detail), "{text}");
            assert_eq!(error.state, Sqlstate::InvalidTextRepresentation, "{text}");
        }
        assert_eq!(read("\"\\u0000\"").unwrap_err().state, Sqlstate::UntranslatableCharacter);
        assert!(check("\"\\u0000\\ud800\"").is_ok());
        assert!(matches!(read("\"\\ud83d\\ude00\"").unwrap().value, Value::Text(text) if text == "😀"));
    }

    #[test]
    fn depth_has_an_end() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(&nested(1_000)).is_ok());
        assert_eq!(check(&nested(1_002)).unwrap_err().state, Sqlstate::StatementTooComplex);
        assert_eq!(check(&"[".repeat(1_000_000)).unwrap_err().state, Sqlstate::StatementTooComplex);
    }

    #[test]
    fn values_keep_their_text() {
        let item = read(" {\"a\": [1.50,  {\"b\":null}] } ").unwrap();
        let Value::Object(fields) = &item.value else { panic!("no object") };
        assert_eq!(fields[0].1.text, "[1.50,  {\"b\":null}]");
    }
}
