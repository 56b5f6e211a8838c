//! Texts as values of `varchar(n)`, `char(n)` and `name`: cut to the length, as a cast does it in PostgreSQL.
//!
//! A `char(n)` is kept without the blanks at its end, which are of no meaning: it is equal to the same text with others, and has none of them once it is a text. They
//! are put there when it is shown.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use super::of_arrays;
use crate::error::Error;
use crate::pg_catalog::types::{PgType, TYPMOD_KEY, annotate};

static FITTED: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Fitted::new())));

/// The most bytes of a `name`.
const NAME_BYTES: usize = 63;

/// The function.
pub(super) fn fitted() -> Arc<ScalarUDF> {
    Arc::clone(&FITTED)
}

/// A text as a value of a type of texts.
pub(super) fn as_type(text: Expr, of: PgType) -> Expr {
    FITTED.call(vec![text, lit(of.name), lit(of.typmod)])
}

/// Whether a type is one of these.
pub(super) fn is_fitted(of: PgType) -> bool {
    [PgType::VARCHAR.oid, PgType::BPCHAR.oid, PgType::NAME.oid].contains(&of.oid)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Fitted(Signature);

impl Fitted {
    fn new() -> Fitted {
        let types = vec![DataType::Utf8, DataType::Utf8, DataType::Int32];
        Fitted(Signature::exact(types, Volatility::Immutable))
    }
}

/// The type that the last two arguments say.
fn type_of(name: Option<&ScalarValue>, typmod: Option<&ScalarValue>) -> Result<PgType> {
    match (name, typmod) {
        (Some(ScalarValue::Utf8(Some(name))), Some(ScalarValue::Int32(Some(typmod)))) => {
            let of = PgType::by_name(name).ok_or_else(|| Error::internal("a text of no type"))?;
            Ok(of.with_typmod(*typmod))
        }
        _ => Err(Error::internal("a text of no type").into()),
    }
}

fn fit(text: &str, of: PgType) -> &str {
    if of.oid == PgType::NAME.oid {
        let end = (0..=NAME_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        return text.get(..end.unwrap_or(0)).unwrap_or(text);
    }
    let most = usize::try_from(of.typmod - 4).unwrap_or(usize::MAX);
    let end = text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
    let cut = text.get(..end).unwrap_or(text);
    if of.oid == PgType::BPCHAR.oid { cut.trim_end_matches(' ') } else { cut }
}

impl ScalarUDFImpl for Fitted {
    fn name(&self) -> &str {
        "kanon_fitted"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let constant = |place: usize| args.scalar_arguments.get(place).copied().flatten();
        let of = type_of(constant(1), constant(2))?;
        let field = annotate(Field::new(self.name(), DataType::Utf8, true), of);
        let mut metadata = field.metadata().clone();
        if of.typmod >= 0 {
            metadata.insert(TYPMOD_KEY.to_owned(), of.typmod.to_string());
        }
        Ok(Arc::new(field.with_metadata(metadata)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [_, ColumnarValue::Scalar(name), ColumnarValue::Scalar(typmod)] = args.args.as_slice() else {
            return Err(Error::internal("a text of no type").into());
        };
        let of = type_of(Some(name), Some(typmod))?;
        of_arrays(&args, |arrays| {
            let texts = arrays.first().and_then(|texts| texts.as_string_opt::<i32>());
            let texts = texts.ok_or_else(|| Error::internal("no texts"))?;
            Ok(Arc::new(texts.iter().map(|text| text.map(|text| fit(text, of))).collect::<StringArray>()) as ArrayRef)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_as_postgresql_cuts_them() {
        let of = |of: PgType, length: i32| of.with_typmod(length + 4);
        assert_eq!(fit("äöü", of(PgType::VARCHAR, 2)), "äö");
        assert_eq!(fit("ab ", PgType::VARCHAR), "ab ");
        assert_eq!(fit("a  ", of(PgType::BPCHAR, 2)), "a");
        assert_eq!(fit("abc", of(PgType::BPCHAR, 2)), "ab");
        assert_eq!(fit(&"é".repeat(40), PgType::NAME), "é".repeat(31));
    }
}
