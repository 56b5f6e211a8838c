//! Numbers from texts and doubles.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, i256};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::of_arrays;
use super::{MOST_DIGITS, SHORT, column, decimal, digits_and_scale, not_a_number, out_of_range};
use crate::error::{Error, Sqlstate};

/// The name of the cast to a `numeric` of no declared scale.
pub const AS_NUMERIC: &str = "kanon_numeric";

/// A value as a `numeric` of no declared scale.
pub(super) static AS_NUMERIC_OF: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(AsNumeric(Signature::user_defined(Volatility::Immutable)))));

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::clone(&AS_NUMERIC_OF)]
}

/// A number in PostgreSQL's spelling in units of 10^-scale, rounded. `None` if it is none, an error if it does not fit.
pub(super) fn parsed(text: &str, scale: i8) -> Option<Result<i256>> {
    let number = Written::of(text)?;
    Some(number.in_units(scale).ok_or_else(out_of_range))
}

/// A number with so many digits behind the point.
pub(in super::super) fn written(value: i256, places: i8) -> String {
    let digits = value.wrapping_abs().to_string();
    let sign = if value < i256::ZERO { "-" } else { "" };
    let places = usize::try_from(places).unwrap_or(0);
    if places == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at_checked(padded.len() - places).unwrap_or((&padded, ""));
    format!("{sign}{whole}.{fraction}")
}

/// A number as it is written.
struct Written {
    negative: bool,
    digits: String,
    /// How many of the digits are behind the point; negative if zeros follow.
    scale: i32,
}

impl Written {
    fn of(text: &str) -> Option<Written> {
        let text = text.trim_ascii();
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok().filter(|e| e.abs() < 10_000)?),
            None => (text, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        Some(Written { negative, digits, scale: i32::try_from(fraction.len()).ok()? - exponent })
    }

    /// How many digits are behind the point, as PostgreSQL shows them.
    fn places(&self) -> i8 {
        i8::try_from(self.scale.clamp(0, 38)).unwrap_or(0)
    }

    fn in_units(&self, scale: i8) -> Option<i256> {
        let steps = i32::from(scale) - self.scale;
        let digits = self.digits.trim_start_matches('0');
        let value = if steps >= 0 {
            let zeros = usize::try_from(steps).ok().filter(|zeros| zeros + digits.len() <= usize::from(MOST_DIGITS));
            let zeros = if digits.is_empty() { 0 } else { zeros? };
            i256::from_string(&format!("0{digits}{}", "0".repeat(zeros)))?
        } else {
            let cut = usize::try_from(-steps).ok()?;
            let (kept, rest) = digits.split_at_checked(digits.len().saturating_sub(cut)).unwrap_or(("", digits));
            // Of fewer digits than are cut, the first is a zero.
            let up = digits.len() >= cut && rest.bytes().next().is_some_and(|digit| digit >= b'5');
            if kept.len() > usize::from(MOST_DIGITS) {
                return None;
            }
            let kept = i256::from_string(&format!("0{kept}"))?;
            if up { kept.checked_add(i256::ONE)? } else { kept }
        };
        Some(if self.negative { value.wrapping_neg() } else { value })
    }
}

fn invalid(text: &str) -> datafusion::error::DataFusionError {
    let word = text.trim_ascii().trim_start_matches(['-', '+']).to_ascii_lowercase();
    if ["nan", "infinity", "inf"].contains(&word.as_str()) {
        return Error::unsupported(format!("the numeric {} is not supported", text.trim_ascii())).into();
    }
    let message = format!("invalid input syntax for type numeric: \"{text}\"");
    Error::new(Sqlstate::InvalidTextRepresentation, message).into()
}

/// See [`AS_NUMERIC_OF`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct AsNumeric(Signature);

impl ScalarUDFImpl for AsNumeric {
    fn name(&self) -> &str {
        AS_NUMERIC
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [of] = types else { return Err(Error::internal("one value is cast").into()) };
        Ok(vec![match of {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
            of if digits_and_scale(of).is_some() => of.clone(),
            of => {
                let message = format!("cannot cast type {} to numeric", crate::pg_catalog::types::PgType::of(of).name);
                return Err(Error::new(Sqlstate::DatatypeMismatch, message).into());
            }
        }])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(Error::internal("the type depends on the value").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let of = args.arg_fields.first().ok_or_else(|| Error::internal("nothing is cast"))?.data_type();
        let constant = args.scalar_arguments.first().copied().flatten();
        let of_type = match (of, constant) {
            (DataType::Utf8, Some(ScalarValue::Utf8(Some(text)))) => {
                let number = Written::of(text).ok_or_else(|| invalid(text))?;
                let places = number.places();
                let digits = i32::try_from(number.digits.len()).unwrap_or(i32::MAX);
                let before = digits.saturating_sub(number.scale).max(1);
                decimal(u8::try_from(before.saturating_add(i32::from(places))).unwrap_or(MOST_DIGITS), places)
            }
            (DataType::Utf8 | DataType::Float64, _) => DataType::Decimal256(MOST_DIGITS, SHORT),
            (of, _) => {
                let (digits, scale) = digits_and_scale(of).ok_or_else(|| not_a_number(of))?;
                decimal(digits, scale)
            }
        };
        Ok(Arc::new(Field::new(AS_NUMERIC, of_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let returned = args.return_field.data_type().clone();
        of_arrays(&args, |arrays| {
            let Some(of) = arrays.first() else { return Err(Error::internal("nothing is cast").into()) };
            as_numeric(of, &returned)
        })
    }
}

fn as_numeric(of: &ArrayRef, returned: &DataType) -> Result<ArrayRef> {
    let (_, scale) = digits_and_scale(returned).ok_or_else(|| not_a_number(returned))?;
    let read = |text: &str| parsed(text, scale).unwrap_or_else(|| Err(invalid(text)));
    match of.data_type() {
        DataType::Utf8 => column(of.as_string::<i32>().iter().map(|text| text.map(read).transpose()), returned),
        DataType::Float64 => {
            // With the 15 digits that a double has for sure, as PostgreSQL takes it.
            let of_double = |double: f64| match double.is_finite() {
                true => read(&format!("{double:.14e}")),
                false => Err(Error::unsupported(format!("a numeric cannot be {double}")).into()),
            };
            column(of.as_primitive::<Float64Type>().iter().map(|double| double.map(of_double).transpose()), returned)
        }
        _ => Ok(cast(of, returned)?),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_postgresql_reads_them() {
        for (text, scale, expected) in [
            ("1.50", 2, Some("1.50")),
            (" -1e3 ", 0, Some("-1000")),
            ("1.005", 2, Some("1.01")),
            ("-0.5", 0, Some("-1")),
            ("0.04", 0, Some("0")),
            ("0.5e-1", 1, Some("0.1")),
            (".5", 1, Some("0.5")),
            ("5.", 1, Some("5.0")),
            ("0", 5, Some("0.00000")),
            ("1e2x", 0, None),
            ("", 0, None),
            (".", 0, None),
            ("1 2", 0, None),
        ] {
            let found = parsed(text, scale).map(|value| written(value.unwrap(), scale));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        assert!(parsed("1e80", 0).unwrap().is_err());
    }
}
