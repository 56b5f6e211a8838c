//! Values cast to text, and put together with texts, as PostgreSQL writes them: `{1,NULL}`, `\\x00ff`, `1 day`, an instant by the session's clock.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::of_arrays;
use super::shown::shown;
use crate::error::Error;

static AS_TEXT: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(AsText(Signature::any(1, Volatility::Stable)))));

pub(super) fn as_text() -> Arc<ScalarUDF> {
    Arc::clone(&AS_TEXT)
}

/// The text of a value.
pub(super) fn text_of(value: Expr) -> Expr {
    AS_TEXT.call(vec![value])
}

/// Whether Arrow writes values of a type in another way than PostgreSQL.
pub(super) fn is_written_otherwise(of_type: &DataType) -> bool {
    matches!(
        of_type,
        DataType::Float32
            | DataType::Float64
            | DataType::Decimal256(..)
            | DataType::Binary
            | DataType::Interval(_)
            | DataType::Duration(_)
            | DataType::Timestamp(..)
    ) || matches!(of_type, DataType::List(item) if can_be_written(item.data_type()))
}

fn can_be_written(of_type: &DataType) -> bool {
    match of_type {
        DataType::List(item) => can_be_written(item.data_type()),
        DataType::Boolean | DataType::Utf8 | DataType::Decimal128(..) => true,
        other => other.is_integer() || other.is_temporal() || is_written_otherwise(other),
    }
}

/// See [`text_of`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct AsText(Signature);

impl ScalarUDFImpl for AsText {
    fn name(&self) -> &str {
        "kanon_text"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = args.config_options.execution.time_zone.as_deref().unwrap_or("UTC");
        let zone: Tz = zone.parse().map_err(Error::internal)?;
        of_arrays(&args, |arrays| {
            let Some(of) = arrays.first() else { return Err(Error::internal("nothing is written").into()) };
            let text = |row: usize| of.is_valid(row).then(|| shown(of.as_ref(), row, &zone)).transpose();
            let texts = (0..of.len()).map(text).collect::<crate::error::Result<Vec<_>>>()?;
            Ok(Arc::new(StringArray::from(texts)) as ArrayRef)
        })
    }
}
