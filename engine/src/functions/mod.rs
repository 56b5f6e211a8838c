//! Functions of PostgreSQL that DataFusion lacks or has otherwise, PostgreSQL's arithmetic of dates, and its JSON.

pub mod arithmetic;
mod as_text;
pub mod constants;
mod counting;
mod expressions;
mod fields;
mod fitted;
mod format;
pub mod json;
pub mod lengths;
mod lists;
mod literals;
mod making;
mod moments;
mod numbers;
pub mod numeric;
pub mod one_row;
mod ordered;
mod patterned;
mod patterns;
mod reading;
mod rows;
mod scanned;
pub mod series;
mod shown;
#[cfg(test)]
mod statements;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod testing;
mod texts;
mod trunc;
pub mod whole_numbers;

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::error::Result;
use datafusion::logical_expr::{AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use crate::error::Result as OurResult;

pub(crate) use literals::boolean;

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
        as_text::as_text(),
        fitted::fitted(),
        Arc::new(ScalarUDF::new_from_impl(trunc::DateTrunc::new())),
        Arc::new(ScalarUDF::new_from_impl(counting::TypeOf::new())),
        Arc::new(ScalarUDF::new_from_impl(scanned::ToNumber::new())),
        Arc::new(series::function()),
    ];
    let of_rows =
        [counting::SPECS.as_slice(), &format::SPECS, &lists::SPECS, &making::SPECS, &patterned::SPECS, &texts::SPECS];
    let of_rows = of_rows.into_iter().flatten().map(rows::function);
    let ours = lengths::all().into_iter().chain(lists::all()).chain(of_rows).map(Arc::new);
    all.into_iter().chain(ours).chain(numeric::all()).chain(whole_numbers::all()).chain(json::all())
}

/// The aggregates of PostgreSQL that DataFusion lacks.
pub fn aggregates() -> impl Iterator<Item = Arc<AggregateUDF>> {
    ordered::all().into_iter()
}

/// A regular expression as the regex crate writes it, where PostgreSQL reads it another way.
///
/// # Errors
/// 2201B for one that is none, 0A000 for what is not supported.
pub(crate) fn regular_expression(pattern: &str, flags: &str) -> OurResult<String> {
    Ok(expressions::read(pattern, expressions::Options::new(flags)?)?.regex)
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
