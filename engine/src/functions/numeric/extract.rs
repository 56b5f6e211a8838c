//! `extract(field from moment)`.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions::datetime::date_part;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};

use super::text::AS_NUMERIC_OF;
use crate::error::Error;

/// Stands in a plan until it is said what it answers. Its name is what it becomes: what is grouped by it is named so.
pub(super) static EXTRACT: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Extract(Signature::any(2, Volatility::Immutable)))));

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extract(Signature);

impl ScalarUDFImpl for Extract {
    fn name(&self) -> &str {
        "date_part"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(Error::internal("extract was not planned").into())
    }
}

/// Whether a function is [`EXTRACT`].
pub(super) fn is_extract(function: &ScalarUDF) -> bool {
    Arc::ptr_eq(function.inner(), EXTRACT.inner())
}

/// The field as a `numeric`, with the digits that PostgreSQL gives it.
pub(super) fn exact(args: Vec<Expr>) -> Result<Expr> {
    let field = match args.first() {
        Some(Expr::Literal(ScalarValue::Utf8(Some(field)), _)) => field.to_ascii_lowercase(),
        _ => String::new(),
    };
    let of_type = match field.as_str() {
        "epoch" => DataType::Decimal128(38, 6),
        "millisecond" | "milliseconds" => DataType::Decimal128(20, 3),
        _ => DataType::Decimal128(20, 0),
    };
    // Of no declared precision.
    Ok(AS_NUMERIC_OF.call(vec![cast(date_part().call(args), of_type)]))
}
