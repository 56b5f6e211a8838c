//! Texts in quotes beside values of other types: `active = 't'`, `1 + '2'`. They are of those types, as PostgreSQL takes them.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};

use crate::error::{Error, Sqlstate};
use crate::pg_catalog::types::PgType;

/// A text as a value of the type that it stands beside; `None` for types whose texts are read elsewhere.
///
/// # Errors
/// 22P02 for a text that is no value of the type.
pub(super) fn beside(text: &str, of_type: &DataType) -> Result<Option<Expr>> {
    let word = text.trim_ascii();
    let value = match of_type {
        DataType::Boolean => boolean(word).map(lit),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            word.parse::<i64>().ok().and_then(|number| ScalarValue::from(number).cast_to(of_type).ok()).map(lit)
        }
        DataType::Float32 | DataType::Float64 => word.parse::<f64>().ok().map(lit),
        _ => return Ok(None),
    };
    value.map(Some).ok_or_else(|| {
        let message = format!("invalid input syntax for type {}: \"{text}\"", PgType::of(of_type).sql_name());
        // What DataFusion reads as 64 bits is an integer as it is written.
        let message = message.replace("type bigint", "type integer");
        Error::new(Sqlstate::InvalidTextRepresentation, message).into()
    })
}

/// PostgreSQL's words for true and false, and what they begin with.
pub(crate) fn boolean(word: &str) -> Option<bool> {
    let word = word.to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    match word.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || begins("on", 2) => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}
