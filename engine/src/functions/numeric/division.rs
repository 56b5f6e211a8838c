//! Quotients and long products, to 21 digits behind the point.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, i256};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::super::of_arrays;
use super::{MOST_DIGITS, Numbers, QUOTIENT, column, digits_and_scale, not_a_number, out_of_range, power_of_ten};
use super::{places_of_quotient, rescaled, rounded};
use crate::error::{Error, Sqlstate};

/// A quotient of two numbers.
pub(super) static QUOTIENT_OF: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(OfTwo::new("kanon_quotient", Operation::Divide))));
/// A product that a decimal's digits do not hold.
pub(super) static PRODUCT_OF: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(OfTwo::new("kanon_product", Operation::Multiply))));

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::clone(&QUOTIENT_OF), Arc::clone(&PRODUCT_OF)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Divide,
    Multiply,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfTwo {
    name: &'static str,
    operation: Operation,
    signature: Signature,
}

impl OfTwo {
    fn new(name: &'static str, operation: Operation) -> OfTwo {
        OfTwo { name, operation, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for OfTwo {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let decimal = |of_type: &DataType| match digits_and_scale(of_type) {
            Some((digits, scale)) => Ok(super::decimal(digits, scale)),
            None => Err(not_a_number(of_type)),
        };
        types.iter().map(decimal).collect()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal256(MOST_DIGITS, QUOTIENT))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let [left, right] = arrays else { return Err(Error::internal("two numbers are needed").into()) };
            let rows = left.len();
            let (left, right) = (Numbers::of(left)?, Numbers::of(right)?);
            let values = (0..rows).map(|row| {
                let (Some(x), Some(y)) = (left.at(row), right.at(row)) else { return Ok(None) };
                let result = match self.operation {
                    Operation::Divide if y == i256::ZERO => {
                        return Err(Error::new(Sqlstate::DivisionByZero, "division by zero").into());
                    }
                    Operation::Divide => quotient(x, left.scale, y, right.scale).and_then(computed),
                    Operation::Multiply => product(x, left.scale, y, right.scale),
                };
                result.map(Some).ok_or_else(out_of_range)
            });
            column(values, &DataType::Decimal256(MOST_DIGITS, QUOTIENT))
        })
    }
}

/// A quotient with as many digits as PostgreSQL computes.
fn computed(value: i256) -> Option<i256> {
    let places = places_of_quotient(value);
    rescaled(rescaled(value, QUOTIENT, places)?, places, QUOTIENT)
}

/// x/y in units of 10^-21, rounded. `None` if it does not fit.
fn quotient(x: i256, of_x: i8, y: i256, of_y: i8) -> Option<i256> {
    let steps = i32::from(QUOTIENT) + i32::from(of_y) - i32::from(of_x);
    if steps < 0 {
        return rounded(x, y.checked_mul(power_of_ten(steps.unsigned_abs())?)?);
    }
    if let Some(scaled) = power_of_ten(steps.unsigned_abs()).and_then(|factor| x.checked_mul(factor)) {
        return rounded(scaled, y);
    }
    // Digit by digit.
    let ten = i256::from_i128(10);
    let (mut whole, mut rest) = (x.checked_div(y)?, x.checked_rem(y)?);
    for _ in 0..steps {
        let more = rest.checked_mul(ten)?;
        whole = whole.checked_mul(ten)?.checked_add(more.checked_div(y)?)?;
        rest = more.checked_rem(y)?;
    }
    whole.checked_add(rounded(rest, y)?)
}

/// x·y in units of 10^-21, rounded. `None` if it does not fit.
fn product(x: i256, of_x: i8, y: i256, of_y: i8) -> Option<i256> {
    let scale = of_x.checked_add(of_y)?;
    if let Some(exact) = x.checked_mul(y) {
        return rescaled(exact, scale, QUOTIENT);
    }
    // Only 21 digits are kept anyway: the longer one is cut to them first.
    match of_x > of_y {
        true => {
            rescaled(x, of_x, QUOTIENT).and_then(|x| rescaled(x.checked_mul(y)?, QUOTIENT.checked_add(of_y)?, QUOTIENT))
        }
        false => {
            rescaled(y, of_y, QUOTIENT).and_then(|y| rescaled(x.checked_mul(y)?, QUOTIENT.checked_add(of_x)?, QUOTIENT))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::super::text::{parsed, written};
    use super::*;

    #[test]
    fn quotients_have_21_digits_however_large_the_numbers_are() {
        let digits = |text: &str, scale: i8| parsed(text, scale).unwrap().unwrap();
        for (x, of_x, y, of_y, expected) in [
            ("7", 0, "2", 0, "3.500000000000000000000"),
            ("1", 0, "3", 0, "0.333333333333333333333"),
            ("2", 0, "-3", 0, "-0.666666666666666666667"),
            ("10.50", 2, "0.3", 1, "35.000000000000000000000"),
            (
                "123456789012345678901234567890123456.789",
                3,
                "7",
                0,
                "17636684144620811271604938270017636.684142857142857142857",
            ),
            ("1", 0, "12345678901234567890123456789012345678", 0, "0.000000000000000000000"),
        ] {
            let found = quotient(digits(x, of_x), of_x, digits(y, of_y), of_y).map(|value| written(value, QUOTIENT));
            assert_eq!(found.as_deref(), Some(expected), "{x} / {y}");
        }
    }

    #[test]
    fn products_keep_21_digits() {
        let third = parsed("0.333333333333333333333", QUOTIENT).unwrap().unwrap();
        let three = i256::from_i128(3);
        assert_eq!(written(product(third, QUOTIENT, three, 0).unwrap(), QUOTIENT), "0.999999999999999999999");
        assert_eq!(written(product(third, QUOTIENT, third, QUOTIENT).unwrap(), QUOTIENT), "0.111111111111111111111");
        let large = parsed("99999999999999999999999999999999999999", 0).unwrap().unwrap();
        assert_eq!(product(large, 0, large, 0), None);
    }
}
