//! `to_number`: a numeric read from text in one of PostgreSQL's patterns, as its `formatting.c` does it.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::of_arrays;
use super::rows::missing;
use crate::error::{Error, Result, Sqlstate};

/// The most digits of a pattern.
const MOST_DIGITS: usize = 38;

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    /// `9`, `0`, or the point.
    Digit,
    Point,
    /// `,`: where a comma is, it is passed over. `G`: the same.
    Comma,
    /// `L`: a character that is no digit is passed over.
    Currency,
    Ending,
    Minus,
    Plus,
    EitherSign,
    /// Any other character: one is passed over, whichever it is.
    Text,
}

/// Where the sign of a pattern with `S` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Before,
    After,
}

#[derive(Debug, Clone, Default)]
struct Pattern {
    nodes: Vec<Node>,
    /// Digits before and after the point.
    whole: usize,
    places: usize,
    has_point: bool,
    sign: Option<Anchor>,
    has_brackets: bool,
    has_plus: bool,
    has_minus: bool,
}

impl Pattern {
    fn new(text: &str) -> Result<Pattern> {
        let mut pattern = Pattern::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let two = rest.get(..2).unwrap_or_default().to_ascii_uppercase();
            let (node, bytes) = match two.as_str() {
                "EE" | "RN" => {
                    let name = if two == "EE" { "EEEE" } else { "RN" };
                    return Err(Error::unsupported(format!("\"{name}\" not supported for input")));
                }
                "FM" | "SP" => (None, 2),
                "MI" => (Some(Node::Minus), 2),
                "PL" => (Some(Node::Plus), 2),
                "SG" => (Some(Node::EitherSign), 2),
                "TH" => (Some(Node::Ending), 2),
                "PR" => {
                    pattern.has_brackets = true;
                    (None, 2)
                }
                _ => match first.to_ascii_uppercase() {
                    '9' | '0' => (Some(Node::Digit), 1),
                    '.' | 'D' => (Some(Node::Point), 1),
                    ',' | 'G' => (Some(Node::Comma), 1),
                    'L' => (Some(Node::Currency), 1),
                    'B' | 'C' => (None, 1),
                    'S' => {
                        let is_after = pattern.nodes.iter().any(|node| matches!(node, Node::Digit | Node::Point));
                        pattern.sign = Some(if is_after { Anchor::After } else { Anchor::Before });
                        (None, 1)
                    }
                    'V' => return Err(Error::unsupported("\"V\" is not supported for input")),
                    '"' => {
                        let quoted = rest.get(1..).unwrap_or_default();
                        let end = quoted.find('"').unwrap_or(quoted.len());
                        let count = quoted.get(..end).unwrap_or_default().chars().count();
                        pattern.nodes.extend(std::iter::repeat_n(Node::Text, count));
                        rest = quoted.get(end + 1..).unwrap_or_default();
                        continue;
                    }
                    _ => (Some(Node::Text), first.len_utf8()),
                },
            };
            match node {
                Some(Node::Digit) if pattern.has_point => pattern.places += 1,
                Some(Node::Digit) => pattern.whole += 1,
                Some(Node::Point) if pattern.has_point => {
                    return Err(Error::new(Sqlstate::SyntaxError, "multiple decimal points"));
                }
                Some(Node::Point) => pattern.has_point = true,
                Some(Node::Plus) => pattern.has_plus = true,
                Some(Node::Minus) => pattern.has_minus = true,
                Some(Node::EitherSign) => (pattern.has_plus, pattern.has_minus) = (true, true),
                _ => {}
            }
            pattern.nodes.extend(node);
            rest = rest.get(bytes..).unwrap_or_default();
        }
        if pattern.whole + pattern.places > MOST_DIGITS {
            return Err(Error::unsupported("a pattern of to_number may have 38 digits"));
        }
        Ok(pattern)
    }
}

/// The text of a number as it is read.
struct Source<'a> {
    chars: &'a [char],
    at: usize,
    sign: Option<char>,
    whole: String,
    part: String,
    has_point: bool,
}

impl Source<'_> {
    fn next(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn count(&self) -> usize {
        self.whole.len() + self.part.len()
    }

    /// Passes over characters that are no part of a number.
    fn skip_others(&mut self, count: usize) {
        for _ in 0..count {
            if self.next().is_some_and(|c| !c.is_ascii_digit() && !matches!(c, '.' | ',' | '+' | '-')) {
                self.at += 1;
            }
        }
    }

    /// A digit or the point, with the sign that is before or behind it.
    fn number(&mut self, pattern: &Pattern, node: Node) {
        if self.next() == Some(' ') {
            self.at += 1;
        }
        if self.sign.is_none() && node == Node::Digit && self.count() == 0 {
            match self.next() {
                Some(c @ ('-' | '+')) if pattern.sign != Some(Anchor::After) => self.take_sign(c),
                Some(c @ ('-' | '+')) if pattern.sign.is_some() => self.take_sign(c),
                Some('<') if pattern.has_brackets && pattern.sign.is_none() => self.take_sign('-'),
                _ => {}
            }
        }
        let Some(c) = self.next() else { return };
        let mut is_read = false;
        if c.is_ascii_digit() {
            if self.has_point && self.part.len() == pattern.places {
                return;
            }
            if self.has_point { &mut self.part } else { &mut self.whole }.push(c);
            is_read = true;
        } else if pattern.has_point && !self.has_point && c == '.' {
            (self.has_point, is_read) = (true, true);
        }
        if self.sign.is_some() || self.count() == 0 {
            return;
        }
        let after = self.chars.get(self.at + 1).copied();
        if pattern.sign.is_some() {
            if is_read && let Some(c @ ('-' | '+')) = after {
                self.at += 1;
                self.sign = Some(c);
            }
        } else if !is_read && !pattern.has_plus && !pattern.has_minus && matches!(c, '-' | '+') {
            self.sign = Some(c);
        }
    }

    fn take_sign(&mut self, c: char) {
        self.sign = Some(c);
        self.at += 1;
    }
}

/// A number as a pattern has it, in units of its last place.
fn scanned(text: &str, pattern: &Pattern) -> Result<i128> {
    let chars: Vec<char> = text.chars().take(1_000).collect();
    let mut source =
        Source { chars: &chars, at: 0, sign: None, whole: String::new(), part: String::new(), has_point: false };
    for node in &pattern.nodes {
        let Some(next) = source.next() else { break };
        match node {
            Node::Digit | Node::Point => source.number(pattern, *node),
            Node::Comma if next != ',' => continue,
            Node::Comma | Node::Text => {}
            Node::Currency => {
                source.skip_others(1);
                continue;
            }
            Node::Ending => {
                source.skip_others(2);
                continue;
            }
            Node::Minus | Node::Plus | Node::EitherSign => {
                let is_sign = matches!(
                    (node, next),
                    (Node::Minus | Node::EitherSign, '-') | (Node::Plus | Node::EitherSign, '+')
                );
                if !is_sign {
                    source.skip_others(1);
                    continue;
                }
                source.sign = Some(next);
            }
        }
        source.at += 1;
    }
    if source.count() == 0 {
        let sign = source.sign.unwrap_or(' ');
        let message = format!("invalid input syntax for type numeric: \"{sign}\"");
        return Err(Error::new(Sqlstate::InvalidTextRepresentation, message));
    }
    let places = pattern.places;
    let digits = format!("{}{:0<places$}", source.whole, source.part);
    let number: i128 = digits.parse().map_err(|_| Error::new(Sqlstate::NumericOutOfRange, "numeric field overflow"))?;
    Ok(if source.sign == Some('-') { -number } else { number })
}

fn is_text(of: &DataType) -> bool {
    matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
}

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToNumber(Signature);

impl ToNumber {
    pub(super) fn new() -> ToNumber {
        ToNumber(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for ToNumber {
    fn name(&self) -> &str {
        "to_number"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(if types.iter().all(is_text) { vec![DataType::Utf8; types.len()] } else { types.to_vec() })
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        plan_err!("to_number is of its pattern's type")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        if types.len() != 2 || !types.iter().all(is_text) {
            return Err(missing(self.name(), &types).into());
        }
        let places = match args.scalar_arguments.get(1).copied().flatten() {
            Some(pattern) => match pattern.try_as_str().flatten() {
                Some(pattern) => Pattern::new(pattern)?.places,
                None => 0,
            },
            None => {
                return Err(Error::unsupported("the pattern of to_number must be a constant").into());
            }
        };
        let scale = i8::try_from(places).unwrap_or(0);
        Ok(Arc::new(Field::new(self.name(), DataType::Decimal128(38, scale), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let places = match args.return_type() {
            DataType::Decimal128(_, scale) => *scale,
            _ => 0,
        };
        let pattern = match args.args.get(1) {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern)))) => Some(Pattern::new(pattern)?),
            _ => None,
        };
        of_arrays(&args, |arrays| {
            let Some(texts) = arrays.first() else { return plan_err!("to_number takes two arguments") };
            let numbers = texts.as_string::<i32>().iter().map(|text| match (text, &pattern) {
                (Some(text), Some(pattern)) => scanned(text, pattern).map(Some),
                _ => Ok(None),
            });
            let numbers = numbers.collect::<Result<Decimal128Array>>()?;
            Ok(Arc::new(numbers.with_precision_and_scale(38, places)?) as ArrayRef)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        let number = |text: &str, pattern: &str| scanned(text, &Pattern::new(pattern).unwrap()).unwrap();
        // Each with what PostgreSQL 15 says, in units of the last place.
        for (text, pattern, expected) in [
            ("1,234.5", "9,999.9", 12_345),
            ("-12,454.8-", "99G999D9S", -124_548),
            ("12.345", "99.99", 1_234),
            ("$12.3", "L99.9", 123),
            ("-5", "999", -5),
            ("5-", "9MI", -5),
            ("<5>", "9PR", -5),
            ("+5", "S9", 5),
            ("1234", "99", 12),
            ("12 34", "9999", 1_234),
            ("  42", "9999", 42),
            (".5", "9.9", 5),
            ("12th", "99th", 12),
            ("1234567.89", "9G999G999D99", 123_456_789),
        ] {
            assert_eq!(number(text, pattern), expected, "{text} {pattern}");
        }
        assert!(scanned("abc", &Pattern::new("999").unwrap()).is_err());
        assert!(Pattern::new("RN").is_err());
    }
}
