//! Parameters of Bind, text and binary, to values. Every byte is a client's: nothing here may panic.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, i256};
use datafusion::scalar::ScalarValue;
use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::pg_catalog::datetimes;
use kanon_engine::pg_catalog::types::PgType;

use crate::encode::time::{MICROS_PER_DAY, PG_EPOCH_DAYS, PG_EPOCH_MICROS};
use crate::message::utf8;

/// Digits behind the point that a numeric may show.
const MAX_NUMERIC_SCALE: usize = 0x3fff;
/// Digits that a numeric parameter may have before or after its point: more than any Arrow decimal holds.
const MAX_NUMERIC_DIGITS: usize = 1_000;

/// Decodes parameter `number` (from 1), of the PostgreSQL type the client was told, into the type that the plan wants.
///
/// # Errors
/// 22P02 and 22007 for text that is not of the type, 22P03 for binary that is not, 08P01 for binary that is cut short, 22003 for
/// values that do not fit, 22023 for an unknown format.
pub fn decode(
    number: usize,
    bytes: Option<&[u8]>,
    format: i16,
    pg_type: PgType,
    target: &DataType,
    zone: &str,
) -> Result<ScalarValue> {
    if *target == DataType::Null {
        return Ok(ScalarValue::Null);
    }
    // A number has the digits that it is sent with, whatever it is put beside.
    let is_numeric = pg_type.oid == PgType::NUMERIC.oid && is_decimal(target);
    let own = DataType::Null;
    decode_as(number, bytes, format, pg_type, if is_numeric && bytes.is_some() { &own } else { target }, zone)
}

fn is_decimal(target: &DataType) -> bool {
    matches!(target, DataType::Decimal128(..) | DataType::Decimal256(..))
}

/// The same, in the very type that is wanted; a number in one of its own for `Null`.
fn decode_as(
    number: usize,
    bytes: Option<&[u8]>,
    format: i16,
    pg_type: PgType,
    target: &DataType,
    zone: &str,
) -> Result<ScalarValue> {
    let Some(bytes) = bytes else {
        return ScalarValue::try_new_null(target)
            .map_err(|_| Error::unsupported(format!("parameters of type {target}")));
    };
    let value = match format {
        0 => from_text(utf8(bytes)?, pg_type, target, zone)?,
        1 => from_binary(number, bytes, pg_type, target)?,
        other => return Err(Error::new(Sqlstate::InvalidParameterValue, format!("unsupported format code: {other}"))),
    };
    if value.data_type() == *target || target.is_null() {
        return Ok(value);
    }
    value.cast_to(target).map_err(|_| {
        let message = format!("parameter ${number} is out of range for type {}", PgType::of(target).sql_name());
        Error::new(Sqlstate::NumericOutOfRange, message)
    })
}

fn invalid(text: &str, pg_type: PgType) -> Error {
    let state = match pg_type.category {
        'D' | 'T' => Sqlstate::InvalidDatetime,
        _ => Sqlstate::InvalidTextRepresentation,
    };
    let shown: String = text.chars().take(200).collect();
    Error::new(state, format!("invalid input syntax for type {}: \"{shown}\"", pg_type.with_typmod(-1).sql_name()))
}

fn out_of_range(text: &str, pg_type: PgType) -> Error {
    let message = format!("value \"{text}\" is out of range for type {}", pg_type.with_typmod(-1).sql_name());
    Error::new(Sqlstate::NumericOutOfRange, message)
}

fn from_text(text: &str, pg_type: PgType, target: &DataType, zone: &str) -> Result<ScalarValue> {
    let moment = |to: DataType| datetimes::value(text, &to);
    Ok(match pg_type {
        PgType::BOOL => ScalarValue::Boolean(Some(bool_of(text).ok_or_else(|| invalid(text, pg_type))?)),
        PgType::INT2 => ScalarValue::Int16(Some(integer(text, pg_type)?)),
        PgType::INT4 => ScalarValue::Int32(Some(integer(text, pg_type)?)),
        PgType::INT8 => ScalarValue::Int64(Some(integer(text, pg_type)?)),
        PgType::OID | PgType::XID => ScalarValue::UInt32(Some(integer(text, pg_type)?)),
        PgType::FLOAT4 => ScalarValue::Float32(Some(float(text, pg_type)? as f32)),
        PgType::FLOAT8 => ScalarValue::Float64(Some(float(text, pg_type)?)),
        PgType::BYTEA => ScalarValue::Binary(Some(bytea(text, pg_type)?)),
        PgType::DATE => moment(DataType::Date32)?,
        PgType::TIME => moment(DataType::Time64(TimeUnit::Microsecond))?,
        PgType::TIMESTAMP => moment(DataType::Timestamp(TimeUnit::Microsecond, None))?,
        PgType::TIMESTAMPTZ => moment(DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())))?,
        PgType::INTERVAL => moment(DataType::Interval(IntervalUnit::MonthDayNano))?,
        PgType::UUID => ScalarValue::Utf8(Some(uuid_text(&uuid_bytes(text)?))),
        // A numeric's own precision and scale do not make it another type.
        numeric if numeric.oid == PgType::NUMERIC.oid => numeric_of(text, pg_type, target)?,
        array if array.elem_oid != 0 => array_from_text(text, array, target, zone)?,
        _ => ScalarValue::Utf8(Some(text.to_owned())),
    })
}

fn bool_of(text: &str) -> Option<bool> {
    let word = text.trim().to_ascii_lowercase();
    let starts = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    match word.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if starts("true", 1) || starts("yes", 1) || starts("on", 2) => Some(true),
        _ if starts("false", 1) || starts("no", 1) || starts("off", 2) => Some(false),
        _ => None,
    }
}

fn integer<T: TryFrom<i128>>(text: &str, pg_type: PgType) -> Result<T> {
    let digits = text.trim().trim_start_matches(['-', '+']);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid(text, pg_type));
    }
    let value = text.trim().parse::<i128>().map_err(|_| out_of_range(text, pg_type))?;
    T::try_from(value).map_err(|_| out_of_range(text, pg_type))
}

fn float(text: &str, pg_type: PgType) -> Result<f64> {
    let word = text.trim();
    let plain = word.bytes().any(|b| b.is_ascii_digit());
    let named = word.trim_start_matches(['-', '+']).to_ascii_lowercase();
    if !plain && !matches!(named.as_str(), "nan" | "inf" | "infinity") {
        return Err(invalid(text, pg_type));
    }
    let value: f64 = word.parse().map_err(|_| invalid(text, pg_type))?;
    let infinite = match pg_type {
        PgType::FLOAT4 => (value as f32).is_infinite(),
        _ => value.is_infinite(),
    };
    if plain && infinite {
        let message = format!("\"{word}\" is out of range for type {}", pg_type.sql_name());
        return Err(Error::new(Sqlstate::NumericOutOfRange, message));
    }
    Ok(value)
}

fn bytea(text: &str, pg_type: PgType) -> Result<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => bytea_of_hex(hex),
        None => bytea_escaped(text).ok_or_else(|| invalid(text, pg_type)),
    }
}

fn bytea_of_hex(hex: &str) -> Result<Vec<u8>> {
    let wrong = |message: String| Err(Error::new(Sqlstate::InvalidParameterValue, message));
    let mut digits = Vec::with_capacity(hex.len());
    for c in hex.chars().filter(|c| !c.is_ascii_whitespace()) {
        match c.to_digit(16) {
            Some(digit) => digits.push(digit as u8),
            None => return wrong(format!("invalid hexadecimal digit: \"{c}\"")),
        }
    }
    if !digits.len().is_multiple_of(2) {
        return wrong("invalid hexadecimal data: odd number of digits".to_owned());
    }
    Ok(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn bytea_escaped(text: &str) -> Option<Vec<u8>> {
    // The older form: \\ and \ooo.
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\\' => out.push(b'\\'),
            first => {
                let octal = [first, bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&octal).ok()?, 8).ok().map(|value| out.push(value))?;
            }
        }
    }
    Some(out)
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    pair.iter().try_fold(0u8, |value, digit| Some(value << 4 | (*digit as char).to_digit(16)? as u8))
}

/// The 16 bytes of a UUID.
///
/// # Errors
/// 22P02 for text that is none.
pub fn uuid_bytes(text: &str) -> Result<[u8; 16]> {
    let wrong = || invalid(text, PgType::UUID);
    let inner = text.trim();
    let inner = inner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(inner);
    let digits: Vec<u8> = inner.bytes().filter(|byte| *byte != b'-').collect();
    let bytes: Option<Vec<u8>> = match digits.len() {
        32 => digits.chunks_exact(2).map(hex_pair).collect(),
        _ => None,
    };
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut out = bytes::BytesMut::with_capacity(36);
    crate::encode::text::put_uuid(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

/// A numeric in the decimal type that is wanted, rounded half away from zero to its scale; as a float if one is wanted.
fn numeric_of(text: &str, pg_type: PgType, target: &DataType) -> Result<ScalarValue> {
    let text = text.trim();
    if matches!(target, DataType::Float32 | DataType::Float64) {
        return Ok(ScalarValue::Float64(Some(float(text, pg_type)?)));
    }
    if ["nan", "infinity", "-infinity", "+infinity", "inf", "-inf", "+inf"]
        .contains(&text.to_ascii_lowercase().as_str())
    {
        return Err(Error::unsupported(format!("the numeric {text} is not supported")));
    }
    let (negative, digits, point) = plain_digits(text).ok_or_else(|| invalid(text, pg_type))?;
    let behind = (digits.len() as i64 - point).max(0);
    let (own_digits, own_scale) = (behind + point.max(1), i8::try_from(behind.min(75)).unwrap_or(0));
    let own = match own_digits {
        ..=38 => DataType::Decimal128(u8::try_from(own_digits).unwrap_or(38), own_scale),
        _ => DataType::Decimal256(76, own_scale),
    };
    let target = if target.is_null() { &own } else { target };
    let (precision, scale) = match target {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => (*p, *s),
        _ => (38, i8::try_from(behind.min(37)).unwrap_or(0)),
    };
    let overflow = || {
        Error::new(Sqlstate::NumericOutOfRange, "numeric field overflow")
            .detail(format!("A field with precision {precision}, scale {scale} cannot hold this value."))
    };
    // How many of the digits are kept: those before the point and `scale` after it.
    let kept = point + i64::from(scale);
    let mut unscaled = match usize::try_from(kept) {
        Ok(kept) if kept >= digits.len() => {
            let mut all = digits.clone();
            all.resize(kept, b'0');
            all
        }
        Ok(kept) => {
            let mut some: Vec<u8> = digits.iter().take(kept).copied().collect();
            if digits.get(kept).is_some_and(|next| *next >= b'5') {
                add_one(&mut some);
            }
            some
        }
        Err(_) => Vec::new(),
    };
    let zeros = unscaled.iter().take_while(|digit| **digit == b'0').count();
    unscaled.drain(..zeros);
    if unscaled.len() > usize::from(precision) {
        return Err(overflow());
    }
    let mut printed = String::from(if negative { "-" } else { "" });
    printed.push_str(std::str::from_utf8(&unscaled).unwrap_or_default());
    if unscaled.is_empty() {
        printed = "0".to_owned();
    }
    Ok(match target {
        DataType::Decimal256(p, s) => {
            ScalarValue::Decimal256(Some(i256::from_string(&printed).ok_or_else(overflow)?), *p, *s)
        }
        _ => ScalarValue::Decimal128(Some(printed.parse().map_err(|_| overflow())?), precision.min(38), scale),
    })
}

/// Sign, digits, and how many of them stand before the point.
fn plain_digits(text: &str) -> Option<(bool, Vec<u8>, i64)> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let too_long =
        whole.len() > MAX_NUMERIC_DIGITS || fraction.len() > 16_383 || exponent.abs() > MAX_NUMERIC_DIGITS as i32;
    if !all_digits || too_long || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes()).collect();
    Some((negative, digits, whole.len() as i64 + i64::from(exponent)))
}

fn add_one(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

/// A parameter in binary, read from the front.
struct Binary {
    number: usize,
    rest: Bytes,
}

impl Binary {
    fn wrong(&self) -> Error {
        let message = format!("incorrect binary data format in bind parameter {}", self.number);
        Error::new(Sqlstate::InvalidBinaryRepresentation, message)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N)?;
        <[u8; N]>::try_from(bytes.as_ref()).map_err(|_| self.wrong())
    }

    fn bytes(&mut self, count: usize) -> Result<Bytes> {
        if self.rest.remaining() < count {
            return Err(Error::new(Sqlstate::ProtocolViolation, "insufficient data left in message"));
        }
        Ok(self.rest.split_to(count))
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    fn text(&mut self) -> Result<String> {
        let all = self.bytes(self.rest.remaining())?;
        Ok(utf8(&all)?.to_owned())
    }
}

fn datetime_out_of_range(pg_type: PgType) -> Error {
    Error::new(Sqlstate::DatetimeOverflow, format!("{} out of range", pg_type.name))
}

fn from_binary(number: usize, bytes: &[u8], pg_type: PgType, target: &DataType) -> Result<ScalarValue> {
    let mut body = Binary { number, rest: Bytes::copy_from_slice(bytes) };
    let range = || datetime_out_of_range(pg_type);
    let value = match pg_type {
        PgType::BOOL => ScalarValue::Boolean(Some(body.take::<1>()? != [0])),
        PgType::INT2 => ScalarValue::Int16(Some(body.i16()?)),
        PgType::INT4 => ScalarValue::Int32(Some(body.i32()?)),
        PgType::INT8 => ScalarValue::Int64(Some(body.i64()?)),
        PgType::OID | PgType::XID => ScalarValue::UInt32(Some(u32::from_be_bytes(body.take()?))),
        PgType::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(body.take()?))),
        PgType::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(body.take()?))),
        PgType::BYTEA => ScalarValue::Binary(Some(body.bytes(body.rest.remaining())?.to_vec())),
        PgType::DATE => {
            let days = i64::from(body.i32()?) + PG_EPOCH_DAYS;
            ScalarValue::Date32(Some(i32::try_from(days).map_err(|_| range())?))
        }
        PgType::TIME => {
            let micros = body.i64()?;
            if !(0..MICROS_PER_DAY).contains(&micros) {
                return Err(range());
            }
            ScalarValue::Time64Microsecond(Some(micros))
        }
        PgType::TIMESTAMP | PgType::TIMESTAMPTZ => {
            let micros = body.i64()?.checked_add(PG_EPOCH_MICROS).ok_or_else(range)?;
            let zone: Option<Arc<str>> = (pg_type == PgType::TIMESTAMPTZ).then(|| "+00:00".into());
            ScalarValue::TimestampMicrosecond(Some(micros), zone)
        }
        PgType::INTERVAL => {
            let (micros, days, months) = (body.i64()?, body.i32()?, body.i32()?);
            let nanoseconds = micros.checked_mul(1_000).ok_or_else(range)?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds }))
        }
        PgType::UUID => ScalarValue::Utf8(Some(uuid_text(&body.take::<16>()?))),
        PgType::JSONB => {
            if body.take::<1>()? != [1] {
                return Err(body.wrong());
            }
            ScalarValue::Utf8(Some(body.text()?))
        }
        numeric if numeric.oid == PgType::NUMERIC.oid => {
            let text = numeric_text(&mut body)?;
            numeric_of(&text, pg_type, target)?
        }
        array if array.elem_oid != 0 => array_from_binary(&mut body, array, target)?,
        text if text.category == 'S' || matches!(text, PgType::JSON | PgType::XML | PgType::UNKNOWN | PgType::CHAR) => {
            ScalarValue::Utf8(Some(body.text()?))
        }
        other => return Err(Error::unsupported(format!("binary parameters of type {}", other.sql_name()))),
    };
    if body.rest.has_remaining() { Err(body.wrong()) } else { Ok(value) }
}

fn external_numeric(what: &str) -> Error {
    let message = format!("invalid {what} in external \"numeric\" value");
    Error::new(Sqlstate::InvalidBinaryRepresentation, message)
}

/// The text of a binary numeric: groups of four decimal digits around the point, and as many digits behind it as are to be shown.
fn numeric_text(body: &mut Binary) -> Result<String> {
    let (count, weight, sign, scale) = (body.i16()?, i32::from(body.i16()?), body.i16()? as u16, body.i16()?);
    match sign {
        0 | 0x4000 => {}
        0xC000 => return Ok("NaN".to_owned()),
        0xD000 => return Ok("Infinity".to_owned()),
        0xF000 => return Ok("-Infinity".to_owned()),
        _ => return Err(external_numeric("sign")),
    }
    let count = i32::from(count);
    let scale = usize::try_from(scale).ok().filter(|scale| *scale <= MAX_NUMERIC_SCALE);
    let scale = scale.ok_or_else(|| external_numeric("scale"))?;
    if count < 0 || !(-300..=300).contains(&weight) || count > 600 {
        return Err(body.wrong());
    }
    let mut groups = Vec::new();
    for _ in 0..count {
        let group = body.i16()?;
        if !(0..10_000).contains(&group) {
            return Err(external_numeric("digit"));
        }
        groups.push(group);
    }
    let group_at =
        |place: i32| usize::try_from(weight - place).ok().and_then(|at| groups.get(at).copied()).unwrap_or(0);
    let mut text = String::from(if sign == 0x4000 { "-" } else { "" });
    for place in (0..=weight.max(0)).rev() {
        text.push_str(&format!("{:04}", group_at(place)));
    }
    text.push('.');
    let shown = text.len() + scale;
    for place in (1..).take(scale.div_ceil(4)) {
        text.push_str(&format!("{:04}", group_at(-place)));
    }
    // Further digits are cut off, as in PostgreSQL.
    text.truncate(shown);
    Ok(text)
}

/// The element type of a list that is wanted, or what stands for the array's own.
fn item_type(target: &DataType, element: PgType) -> DataType {
    match target {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item.data_type().clone(),
        _ => kanon_engine::pg_catalog::types::arrow_of(element.oid).unwrap_or(DataType::Utf8),
    }
}

fn list_of(values: &[ScalarValue], item: &DataType) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list_nullable(values, item))
}

fn array_from_binary(body: &mut Binary, array: PgType, target: &DataType) -> Result<ScalarValue> {
    let (dimensions, _has_null) = (body.i32()?, body.i32()?);
    let element = PgType::by_oid(u32::from_be_bytes(body.take()?)).ok_or_else(|| body.wrong())?;
    if array.elem_oid != element.oid {
        let expected = PgType::by_oid(array.elem_oid).map(|expected| expected.sql_name()).unwrap_or_default();
        let message = format!(
            "binary data has array element type {} ({}) instead of expected {} ({expected})",
            element.oid,
            element.sql_name(),
            array.elem_oid
        );
        return Err(Error::new(Sqlstate::DatatypeMismatch, message));
    }
    let item = item_type(target, element);
    let length = match dimensions {
        0 => 0,
        1 => {
            let (length, _lower_bound) = (body.i32()?, body.i32()?);
            usize::try_from(length).map_err(|_| body.wrong())?
        }
        2..=6 => return Err(Error::unsupported("array parameters of several dimensions")),
        7.. => {
            let message = format!("number of array dimensions ({dimensions}) exceeds the maximum allowed (6)");
            return Err(Error::new(Sqlstate::ProgramLimitExceeded, message));
        }
        _ => {
            let message = format!("invalid number of dimensions: {dimensions}");
            return Err(Error::new(Sqlstate::InvalidBinaryRepresentation, message));
        }
    };
    let mut values = Vec::new();
    for _ in 0..length {
        let bytes = match body.i32()? {
            -1 => None,
            length => {
                let element = usize::try_from(length).ok().filter(|length| *length <= body.rest.remaining());
                let cut_short =
                    || Error::new(Sqlstate::InvalidBinaryRepresentation, "insufficient data left in message");
                Some(body.bytes(element.ok_or_else(cut_short)?)?)
            }
        };
        values.push(decode_as(body.number, bytes.as_deref(), 1, element, &item, "UTC")?);
    }
    Ok(list_of(&values, &item))
}

fn array_from_text(text: &str, array: PgType, target: &DataType, zone: &str) -> Result<ScalarValue> {
    let malformed = || {
        let shown: String = text.chars().take(200).collect();
        Error::new(Sqlstate::InvalidTextRepresentation, format!("malformed array literal: \"{shown}\""))
    };
    let element = array.element().ok_or_else(malformed)?;
    let item = item_type(target, element);
    let inside = text
        .trim()
        .strip_prefix('{')
        .ok_or_else(|| malformed().detail("Array value must start with \"{\" or dimension information."))?;
    let inner = inside.strip_suffix('}').ok_or_else(|| malformed().detail("Unexpected end of input."))?;
    let mut values = Vec::new();
    let mut chars = inner.chars().peekable();
    let mut more = !inner.trim().is_empty();
    while more {
        let (mut value, mut quoted) = (String::new(), false);
        more = false;
        while let Some(c) = chars.next() {
            match c {
                ',' => {
                    more = true;
                    break;
                }
                '{' | '}' => return Err(Error::unsupported("array parameters of several dimensions")),
                '\\' => value.push(chars.next().ok_or_else(malformed)?),
                '"' if value.trim().is_empty() && !quoted => {
                    (value, quoted) = (String::new(), true);
                    loop {
                        match chars.next().ok_or_else(malformed)? {
                            '"' => break,
                            '\\' => value.push(chars.next().ok_or_else(malformed)?),
                            c => value.push(c),
                        }
                    }
                }
                c if quoted && c.is_whitespace() => {}
                _ if quoted => return Err(malformed()),
                c => value.push(c),
            }
        }
        let value = if quoted { value.as_str() } else { value.trim() };
        if value.is_empty() && !quoted {
            return Err(malformed());
        }
        let bytes = (quoted || !value.eq_ignore_ascii_case("null")).then_some(value.as_bytes());
        values.push(decode_as(values.len() + 1, bytes, 0, element, &item, zone)?);
    }
    Ok(list_of(&values, &item))
}
