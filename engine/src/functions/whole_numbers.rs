//! `+`, `-` and `*` of whole numbers that do not fit their type: an error, as in PostgreSQL, where DataFusion goes on at the other end.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, Datum, Scalar};
use datafusion::arrow::compute::kernels::numeric::{add, mul, sub};
use datafusion::arrow::compute::{max, min};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, Sqlstate};

/// Each operator, of numbers of any type, and of those of 64 bits that are an `integer` in PostgreSQL.
static ALL: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let functions = NAMES.iter().map(|(name, op, is_integer)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Checked { name, op: *op, is_integer: *is_integer, signature }))
    });
    functions.collect()
});

const NAMES: [(&str, Operator, bool); 6] = [
    ("kanon_plus", Operator::Plus, false),
    ("kanon_minus", Operator::Minus, false),
    ("kanon_times", Operator::Multiply, false),
    ("kanon_plus_int4", Operator::Plus, true),
    ("kanon_minus_int4", Operator::Minus, true),
    ("kanon_times_int4", Operator::Multiply, true),
];

/// Whether a function is one of these.
pub fn is_checked(name: &str) -> bool {
    NAMES.iter().any(|(known, ..)| *known == name)
}

/// All of them.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    ALL.clone()
}

/// The function of an operator; `None` if it has none.
pub(super) fn checked(op: Operator, is_integer: bool) -> Option<Arc<ScalarUDF>> {
    let place = NAMES.iter().position(|(_, known, small)| *known == op && *small == is_integer)?;
    ALL.get(place).cloned()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    name: &'static str,
    op: Operator,
    is_integer: bool,
    signature: Signature,
}

fn width(of: &DataType) -> u8 {
    match of {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::Null => 16,
        DataType::Int32 | DataType::UInt16 => 32,
        _ => 64,
    }
}

fn common(types: &[DataType]) -> DataType {
    match types.iter().map(width).max() {
        Some(16) => DataType::Int16,
        Some(32) => DataType::Int32,
        _ => DataType::Int64,
    }
}

impl Checked {
    fn out_of_range(&self, of: &DataType) -> Error {
        let name = match of {
            DataType::Int16 => "smallint",
            DataType::Int64 if !self.is_integer => "bigint",
            _ => "integer",
        };
        Error::new(Sqlstate::NumericOutOfRange, format!("{name} out of range"))
    }

    fn compute(&self, left: &dyn Datum, right: &dyn Datum, of: &DataType) -> Result<ArrayRef> {
        let found = match self.op {
            Operator::Plus => add(left, right),
            Operator::Minus => sub(left, right),
            _ => mul(left, right),
        };
        let found = match found {
            Err(ArrowError::ArithmeticOverflow(_)) => return Err(self.out_of_range(of).into()),
            other => other?,
        };
        if let (true, Some(numbers)) = (self.is_integer, found.as_primitive_opt::<Int64Type>()) {
            let fits = |number: Option<i64>| number.is_none_or(|number| i32::try_from(number).is_ok());
            if !fits(min(numbers)) || !fits(max(numbers)) {
                return Err(self.out_of_range(of).into());
            }
        }
        Ok(found)
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![common(types); types.len()])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(common(types))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let of = args.return_field.data_type().clone();
        let [left, right] = args.args.as_slice() else { return Err(Error::internal("an operator of two").into()) };
        let found = match (left, right) {
            (ColumnarValue::Array(left), ColumnarValue::Array(right)) => self.compute(left, right, &of)?,
            (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) => {
                self.compute(left, &Scalar::new(right.to_array()?), &of)?
            }
            (ColumnarValue::Scalar(left), ColumnarValue::Array(right)) => {
                self.compute(&Scalar::new(left.to_array()?), right, &of)?
            }
            (ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)) => {
                let found = self.compute(&left.to_array()?, &right.to_array()?, &of)?;
                return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&found, 0)?));
            }
        };
        Ok(ColumnarValue::Array(found))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{Int16Array, Int64Array};

    use super::*;

    fn of(name: &str, left: &dyn Datum, right: &dyn Datum, of: &DataType) -> Result<ArrayRef, String> {
        let (name, op, is_integer) = *NAMES.iter().find(|(known, ..)| *known == name).unwrap();
        let signature = Signature::user_defined(Volatility::Immutable);
        let checked = Checked { name, op, is_integer, signature };
        checked.compute(left, right, of).map_err(|error| Error::from(error).message)
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let big = |value: i64| Int64Array::from(vec![Some(value), None]);
        let whole = DataType::Int64;
        assert_eq!(of("kanon_plus", &big(i64::MAX), &big(1), &whole).unwrap_err(), "bigint out of range");
        assert_eq!(of("kanon_minus", &big(i64::MIN), &big(1), &whole).unwrap_err(), "bigint out of range");
        assert_eq!(of("kanon_times_int4", &big(1 << 20), &big(1 << 20), &whole).unwrap_err(), "integer out of range");
        assert_eq!(of("kanon_plus_int4", &big(7), &big(-8), &whole).unwrap().as_primitive::<Int64Type>().value(0), -1);
        let small = Int16Array::from(vec![i16::MAX]);
        assert_eq!(of("kanon_plus", &small, &small, &DataType::Int16).unwrap_err(), "smallint out of range");
    }
}
