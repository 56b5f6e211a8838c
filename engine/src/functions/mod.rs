//! Functions of PostgreSQL that DataFusion lacks or has otherwise, PostgreSQL's arithmetic of dates, and its JSON.

pub mod arithmetic;
pub mod json;
mod lengths;
mod literals;
mod moments;
mod numbers;
pub mod numeric;
pub mod one_row;
mod patterns;

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

/// All of them: in place of DataFusion's, where those have the same names.
pub fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let all = [
        Arc::new(ScalarUDF::new_from_impl(patterns::ToChar::new())),
        Arc::new(ScalarUDF::new_from_impl(moments::Timezone::new())),
        Arc::new(ScalarUDF::new_from_impl(moments::Age::new())),
        moments::elapsed(),
        moments::interval_times(),
        moments::timestamp_text(),
        numbers::rint(),
        one_row::one_row(),
    ];
    all.into_iter().chain(lengths::all().map(Arc::new)).chain(numeric::all()).chain(json::all())
}

/// A function of whole arrays: constants are written out.
fn of_arrays(args: &ScalarFunctionArgs, work: impl Fn(&[ArrayRef]) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let arrays = ColumnarValue::values_to_arrays(&args.args)?;
    let answer = work(&arrays)?;
    match is_constant {
        true => Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&answer, 0)?)),
        false => Ok(ColumnarValue::Array(answer)),
    }
}
