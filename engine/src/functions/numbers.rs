//! Numbers rounded as PostgreSQL rounds them.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::of_arrays;

/// The name of the function that rounds.
pub(super) const RINT: &str = "kanon_rint";

static OF_NAME: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Rint::new())));

/// See [`Rint`].
pub(super) fn rint() -> Arc<ScalarUDF> {
    Arc::clone(&OF_NAME)
}

/// The nearest whole number, in the type of the number: of floats the even one of two, of decimals the one further from 0.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Rint(Signature);

impl Rint {
    pub(super) fn new() -> Rint {
        Rint(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Rint {
    fn name(&self) -> &str {
        RINT
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Float32 | DataType::Float64 | DataType::Decimal128(..)] => Ok(types.to_vec()),
            _ => plan_err!("kanon_rint takes a number with decimals"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().map_or_else(|| plan_err!("kanon_rint takes one argument"), Ok)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let [numbers] = arrays else { return plan_err!("kanon_rint takes one argument") };
            Ok(match numbers.data_type() {
                DataType::Float32 => {
                    Arc::new(numbers.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even))
                }
                DataType::Float64 => {
                    Arc::new(numbers.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even))
                }
                DataType::Decimal128(precision, scale) => {
                    let one = 10_i128.saturating_pow(u32::try_from(*scale).unwrap_or(0));
                    let rounded = |number: i128| {
                        let away = if number < 0 { -(one / 2) } else { one / 2 };
                        number.saturating_add(away) / one * one
                    };
                    let all: Decimal128Array = numbers.as_primitive::<Decimal128Type>().unary(rounded);
                    Arc::new(all.with_precision_and_scale(*precision, *scale)?) as ArrayRef
                }
                other => return plan_err!("kanon_rint does not take {other}"),
            })
        })
    }
}
