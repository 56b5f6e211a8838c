//! PostgreSQL's `numeric` with Arrow's decimals, over open tables of this node.
//!
//! Each `numeric` has its own scale; each Arrow decimal has its column's. What a statement says the scale of keeps it: `1.50`, `price`, `round(x, 2)`, sums
//! and products of such. Two scales stand for those that only a value has:
//!
//! | scale | of | shown |
//! | --- | --- | --- |
//! | [`QUOTIENT`] | quotients and averages | with 16 digits behind the point from 1 to 9999, four more below and four fewer a factor of 10,000 above: as many as PostgreSQL computes |
//! | [`SHORT`] | a double, or a text of a column | without zeros at the end |
//!
//! Below the boundary, and in what is asked of peers, such numbers are double precision: see [`plan::inexact`].

mod division;
mod extract;
mod operators;
pub mod plan;
mod rounding;
mod text;

pub use self::text::AS_NUMERIC;
pub(super) use self::text::written;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal256Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal256Type, i256};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarUDF;

use crate::error::{Error, Sqlstate};

/// The scale of quotients and averages.
pub const QUOTIENT: i8 = 21;
/// The scale of numbers that are as long as they are.
pub const SHORT: i8 = 22;
/// The most digits of a decimal.
const MOST_DIGITS: u8 = 76;

/// All functions.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    [division::all(), rounding::all(), text::all()].concat()
}

/// A number of a column of this scale as it is shown: its digits, and how many of them are behind the point.
pub fn shown(value: i256, scale: i8) -> (i256, i8) {
    let places = match scale {
        QUOTIENT => places_of_quotient(value),
        SHORT => places_of_short(value),
        _ => return (value, scale),
    };
    rescaled(value, scale, places).map_or((value, scale), |shown| (shown, places))
}

/// 10^(21 + 4w) of each weight w, from the lowest that 21 digits behind the point have.
static WEIGHTS: LazyLock<Vec<i256>> = LazyLock::new(|| (1..76).step_by(4).filter_map(power_of_ten).collect());
const LOWEST_WEIGHT: i32 = -6;

/// How many digits PostgreSQL computes behind the point of a quotient: it counts in digits of 10,000 and wants at least 16 decimal ones (`select_div_scale`).
fn places_of_quotient(value: i256) -> i8 {
    let size = value.wrapping_abs();
    let reached = WEIGHTS.partition_point(|least| *least <= size);
    let weight = if value == i256::ZERO { -1 } else { LOWEST_WEIGHT + i32::try_from(reached).unwrap_or(0) };
    i8::try_from((16 - 4 * weight).clamp(0, 20)).unwrap_or(16)
}

fn places_of_short(value: i256) -> i8 {
    if value == i256::ZERO {
        return 0;
    }
    let digits = value.wrapping_abs().to_string();
    let zeros = digits.bytes().rev().take_while(|digit| *digit == b'0').count();
    SHORT - i8::try_from(zeros).unwrap_or(SHORT).clamp(0, SHORT)
}

fn power_of_ten(exponent: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(exponent)
}

/// A number of one scale in another one: rounded, halves away from 0. `None` if it does not fit.
fn rescaled(value: i256, from: i8, to: i8) -> Option<i256> {
    let steps = i32::from(to) - i32::from(from);
    let factor = power_of_ten(steps.unsigned_abs())?;
    if steps >= 0 { value.checked_mul(factor) } else { rounded(value, factor) }
}

/// A quotient, rounded, halves away from 0.
fn rounded(value: i256, by: i256) -> Option<i256> {
    let (whole, rest) = (value.checked_div(by)?, value.checked_rem(by)?.wrapping_abs());
    let by_half = by.wrapping_abs().wrapping_sub(rest);
    if rest < by_half {
        return Some(whole);
    }
    let away = if (value < i256::ZERO) == (by < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    whole.checked_add(away)
}

/// A column of numbers with their scale.
struct Numbers {
    values: Decimal256Array,
    scale: i8,
}

impl Numbers {
    fn of(array: &ArrayRef) -> Result<Numbers> {
        let (_, scale) = digits_and_scale(array.data_type()).ok_or_else(|| not_a_number(array.data_type()))?;
        let wide = cast(array, &DataType::Decimal256(MOST_DIGITS, scale))?;
        Ok(Numbers { values: wide.as_primitive::<Decimal256Type>().clone(), scale })
    }

    fn at(&self, row: usize) -> Option<i256> {
        self.values.is_valid(row).then(|| self.values.value(row))
    }
}

/// Numbers of a scale, in a column of this type.
fn column(values: impl Iterator<Item = Result<Option<i256>>>, of_type: &DataType) -> Result<ArrayRef> {
    let values = values.collect::<Result<Vec<_>>>()?;
    let scale = digits_and_scale(of_type).map_or(0, |(_, scale)| scale);
    let all = Decimal256Array::from_iter(values).with_precision_and_scale(MOST_DIGITS, scale)?;
    Ok(cast(&all, of_type)?)
}

/// Precision and scale of whole numbers and decimals.
fn digits_and_scale(of_type: &DataType) -> Option<(u8, i8)> {
    Some(match of_type {
        DataType::Null => (1, 0),
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => (*digits, *scale),
        _ => return None,
    })
}

/// The decimal type of these digits.
fn decimal(digits: u8, scale: i8) -> DataType {
    match digits {
        ..=38 => DataType::Decimal128(digits.max(1), scale),
        _ => DataType::Decimal256(digits.min(MOST_DIGITS), scale),
    }
}

fn is_decimal(of_type: &DataType) -> bool {
    matches!(
        of_type,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
    )
}

fn out_of_range() -> datafusion::error::DataFusionError {
    Error::new(Sqlstate::NumericOutOfRange, "value overflows numeric format").into()
}

fn not_a_number(of_type: &DataType) -> datafusion::error::DataFusionError {
    Error::new(Sqlstate::DatatypeMismatch, format!("{of_type} is not a number")).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_long_as_postgresql_computes_them() {
        let shown = |text: &str, scale: i8| {
            let (value, places) = shown(text::parsed(text, scale).unwrap().unwrap(), scale);
            written(value, places)
        };
        for (number, expected) in [
            ("54.438943894389438943894", "54.4389438943894389"),
            ("0.333333333333333333333", "0.33333333333333333333"),
            ("0.000033333333333333333", "0.00003333333333333333"),
            ("12345.678901234567890123", "12345.678901234568"),
            ("0", "0.00000000000000000000"),
            ("-9999.5", "-9999.5000000000000000"),
            ("123456789", "123456789.00000000"),
        ] {
            assert_eq!(shown(number, QUOTIENT), expected, "{number}");
        }
        for (number, expected) in [("1.5", "1.5"), ("-120", "-120"), ("0.0001", "0.0001"), ("0", "0")] {
            assert_eq!(shown(number, SHORT), expected, "{number}");
        }
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        let whole = |value: i128, by: i128| rounded(i256::from_i128(value), i256::from_i128(by)).unwrap().to_string();
        for (value, by, expected) in
            [(5, 2, "3"), (-5, 2, "-3"), (5, -2, "-3"), (4, 3, "1"), (5, 3, "2"), (-5, -3, "2"), (0, 7, "0")]
        {
            assert_eq!(whole(value, by), expected, "{value} / {by}");
        }
    }
}
