//! Whole numbers, and what type a value is of.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::rows::Kind::Whole;
use super::rows::{Give, Spec, Value, spec};
use crate::error::{Error, Sqlstate};
use crate::pg_catalog::types::PgType;

/// The last number whose factorial a numeric of 38 digits holds.
const LAST_FACTORIAL: i64 = 33;

pub(super) const SPECS: [Spec; 2] = [
    spec("div", &[&[Whole, Whole]], Give::Numeric(0), |row, _| {
        let (dividend, divisor) = (row.whole(0).unwrap_or(0), row.whole(1).unwrap_or(0));
        let quotient = i128::from(dividend).checked_div(i128::from(divisor));
        quotient.map(Value::Numeric).ok_or_else(|| Error::new(Sqlstate::DivisionByZero, "division by zero"))
    }),
    spec("kanon_factorial", &[&[Whole]], Give::Numeric(0), |row, _| {
        let number = row.whole(0).unwrap_or(0);
        if number < 0 {
            let message = "factorial of a negative number is undefined";
            return Err(Error::new(Sqlstate::NumericOutOfRange, message));
        }
        if number > LAST_FACTORIAL {
            return Err(Error::new(Sqlstate::NumericOutOfRange, "value overflows numeric format"));
        }
        Ok(Value::Numeric((1..=i128::from(number)).product()))
    }),
];

/// `pg_typeof`: the name of a value's type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TypeOf(Signature);

/// The key of the name, in the metadata of the answer's field.
const NAMED: &str = "kanon.type_of";

impl TypeOf {
    pub(super) fn new() -> TypeOf {
        TypeOf(Signature::any(1, Volatility::Stable))
    }
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        let [of] = args.arg_fields else { return plan_err!("pg_typeof takes one argument") };
        // A whole number that is written is of 64 bits here.
        let name = match args.scalar_arguments {
            [Some(ScalarValue::Int64(Some(number)))] if i32::try_from(*number).is_ok() => "integer".to_owned(),
            _ => PgType::of_field(of).with_typmod(-1).sql_name(),
        };
        let metadata = [(NAMED.to_owned(), name)].into_iter().collect();
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8, false).with_metadata(metadata)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let name = args.return_field.metadata().get(NAMED).cloned();
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(name)))
    }
}
