//! `format`: texts put together by a pattern of `%s`, `%I` and `%L`.

use super::lengths::{MOST_OF_ONE, too_large};
use super::rows::{Give, Kind, Row, Spec, Value, spec};
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::{quote_ident, quote_literal};

pub(super) const SPECS: [Spec; 1] = [Spec {
    is_variadic: true,
    of_nulls: true,
    ..spec("format", &[&[Kind::Text], &[Kind::Text, Kind::Any]], Give::Text, |row, _| {
        let Some(pattern) = row.text(0) else { return Ok(Value::Null) };
        formatted(pattern, row).map(Value::Text)
    })
}];

fn bad(message: impl Into<String>) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, message)
}

fn too_few() -> Error {
    bad("too few arguments for format()")
}

/// A pattern as it is read.
struct Reader<'a> {
    rest: &'a str,
    /// The argument that was taken last.
    last: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<char> {
        let mut chars = self.rest.chars();
        let next = chars
            .next()
            .ok_or_else(|| bad("unterminated format() type specifier").hint("For a single \"%\" use \"%%\"."))?;
        self.rest = chars.as_str();
        Ok(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn digits(&mut self) -> Result<Option<usize>> {
        let digits = self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return Ok(None);
        }
        let number = self.rest.get(..digits).and_then(|digits| digits.parse::<i32>().ok());
        self.rest = self.rest.get(digits..).unwrap_or_default();
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| Error::new(Sqlstate::NumericOutOfRange, "number is out of range"))
    }

    /// The argument of this number, or the next one.
    fn argument(&mut self, number: Option<usize>, row: &Row<'_>) -> Result<usize> {
        if number == Some(0) {
            return Err(bad("format specifies argument 0, but arguments are numbered from 1"));
        }
        let number = number.unwrap_or(self.last + 1);
        self.last = number;
        if number < row.count() { Ok(number) } else { Err(too_few()) }
    }
}

fn formatted(pattern: &str, row: &Row<'_>) -> Result<String> {
    let mut out = String::new();
    let mut reader = Reader { rest: pattern, last: 0 };
    while let Some(at) = reader.rest.find('%') {
        let (before, after) = reader.rest.split_at_checked(at).unwrap_or((reader.rest, ""));
        out.push_str(before);
        reader.rest = after.get(1..).unwrap_or_default();
        if reader.peek() == Some('%') {
            reader.next()?;
            out.push('%');
            continue;
        }
        one(&mut out, &mut reader, row)?;
        if out.len() as u64 > MOST_OF_ONE {
            return Err(too_large());
        }
    }
    out.push_str(reader.rest);
    Ok(out)
}

/// `[position$][flags][width]type`
fn one(out: &mut String, reader: &mut Reader<'_>, row: &Row<'_>) -> Result<()> {
    let mut position = None;
    let mut width = reader.digits()?;
    if width.is_some() && reader.peek() == Some('$') {
        reader.next()?;
        position = width.take();
        if position == Some(0) {
            reader.argument(position, row)?;
        }
    }
    let mut is_left = false;
    if width.is_none() {
        while reader.peek() == Some('-') {
            reader.next()?;
            is_left = true;
        }
        if reader.peek() == Some('*') {
            reader.next()?;
            let mut of_width = reader.digits()?;
            if of_width.is_some() && reader.peek() != Some('$') {
                return Err(bad("width argument position must be ended by \"$\""));
            }
            if of_width.is_some() {
                reader.next()?;
            } else {
                of_width = None;
            }
            let argument = reader.argument(of_width, row)?;
            let text = row.shown(argument)?;
            let given = text.as_deref().map_or(Ok(0), |text| {
                let bad = || format!("invalid input syntax for type integer: \"{text}\"");
                text.trim().parse::<i32>().map_err(|_| Error::new(Sqlstate::InvalidTextRepresentation, bad()))
            })?;
            is_left |= given < 0;
            width = usize::try_from(given.unsigned_abs()).ok();
        } else {
            width = reader.digits()?;
        }
    }
    let kind = reader.next()?;
    if !matches!(kind, 's' | 'I' | 'L') {
        return Err(
            bad(format!("unrecognized format() type specifier \"{kind}\"")).hint("For a single \"%\" use \"%%\".")
        );
    }
    let argument = reader.argument(position, row)?;
    let text = match (kind, row.shown(argument)?) {
        ('s', text) => text.unwrap_or_default(),
        ('I', Some(text)) => quote_ident(&text),
        ('I', None) => {
            let message = "null values cannot be formatted as an SQL identifier";
            return Err(Error::new(Sqlstate::NullNotAllowed, message));
        }
        (_, Some(text)) => quote_literal(&text),
        (_, None) => "NULL".to_owned(),
    };
    let width = width.unwrap_or(0);
    if width as u64 > MOST_OF_ONE {
        return Err(too_large());
    }
    let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
    if is_left {
        out.push_str(&text);
        out.push_str(&blanks);
    } else {
        out.push_str(&blanks);
        out.push_str(&text);
    }
    Ok(())
}
