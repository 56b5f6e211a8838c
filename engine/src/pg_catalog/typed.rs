//! Types of texts that Arrow does not tell apart: `varchar(n)`, `char(n)`, `name`, and `oid`, a number. A cast says which one it is in the metadata of its field.

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{self, ArrayElemTypeDef, CharacterLength, ObjectNamePart};

use super::types::{PgType, TYPMOD_KEY, annotate, arrow_of};
use crate::error::{Error, Sqlstate};

/// The type that a parameter is cast to of which a client says the type: that is its modifier. No statement can name it.
pub(crate) const PARAMETER: &str = "kanon_parameter";
/// The key of the metadata of such a cast.
pub(crate) const TOLD_KEY: &str = "kanon.told";

/// The longest `varchar(n)` and `char(n)`, as in PostgreSQL.
const LONGEST: u64 = 10_485_760;

/// Plans types with what PostgreSQL calls them.
#[derive(Debug)]
pub struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let text = || Field::new("", DataType::Utf8, true);
        Ok(match sql_type {
            // So that what it was before is forgotten.
            ast::DataType::Text => Some(annotate(text(), PgType::TEXT).into()),
            ast::DataType::Varchar(length)
            | ast::DataType::CharacterVarying(length)
            | ast::DataType::CharVarying(length) => Some(of_length(PgType::VARCHAR, length.as_ref(), None)?),
            ast::DataType::Char(length) | ast::DataType::Character(length) => {
                Some(of_length(PgType::BPCHAR, length.as_ref(), Some(1))?)
            }
            // Their elements are texts.
            ast::DataType::Array(ArrayElemTypeDef::SquareBracket(item, None)) => {
                let item = self.plan_type_field(item)?.filter(|item| !item.metadata().is_empty());
                item.map(|item| Field::new("", DataType::new_list(item.data_type().clone(), true), true).into())
            }
            ast::DataType::Custom(name, modifiers) if name.to_string() == PARAMETER => {
                let of = modifiers.first().and_then(|of| PgType::by_name(of));
                of.and_then(|of| {
                    let field = annotate(Field::new("", arrow_of(of.oid)?, true), of);
                    let mut metadata = field.metadata().clone();
                    metadata.insert(TOLD_KEY.to_owned(), String::new());
                    Some(field.with_metadata(metadata).into())
                })
            }
            ast::DataType::Custom(name, modifiers) if modifiers.is_empty() => match name.0.as_slice() {
                [ObjectNamePart::Identifier(ident)] if ident.value == PgType::NAME.name => {
                    Some(annotate(text(), PgType::NAME).into())
                }
                [ObjectNamePart::Identifier(ident)] if ident.value == PgType::OID.name => {
                    Some(annotate(Field::new("", DataType::UInt32, true), PgType::OID).into())
                }
                _ => None,
            },
            _ => None,
        })
    }
}

fn of_length(of: PgType, length: Option<&CharacterLength>, usual: Option<u64>) -> Result<FieldRef> {
    let length = match length {
        Some(CharacterLength::IntegerLength { length, .. }) => Some(*length),
        _ => usual,
    };
    let shown = if of == PgType::BPCHAR { "char" } else { "varchar" };
    let mut field = annotate(Field::new("", DataType::Utf8, true), of);
    if let Some(length) = length {
        let is_wrong = match length {
            0 => Some(format!("length for type {shown} must be at least 1")),
            1..=LONGEST => None,
            _ => Some(format!("length for type {shown} cannot exceed {LONGEST}")),
        };
        if let Some(message) = is_wrong {
            return Err(Error::new(Sqlstate::InvalidParameterValue, message).into());
        }
        let mut metadata = field.metadata().clone();
        metadata.insert(TYPMOD_KEY.to_owned(), (length + 4).to_string());
        field = field.with_metadata(metadata);
    }
    Ok(field.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn planned(text: &str) -> Option<String> {
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap();
        let sql_type = parser.parse_data_type().unwrap();
        let field = Types.plan_type_field(&sql_type).map_err(|error| error.to_string()).unwrap()?;
        Some(PgType::of_field(&field).sql_name())
    }

    #[test]
    fn types_of_texts() {
        for (text, shown) in [
            ("varchar(7)", Some("character varying(7)")),
            ("character varying", Some("character varying")),
            ("char(3)", Some("character(3)")),
            ("char", Some("character(1)")),
            ("text", Some("text")),
            ("name", Some("name")),
            ("oid", Some("oid")),
            ("int4", None),
        ] {
            assert_eq!(planned(text).as_deref(), shown, "{text}");
        }
        let endless = ast::DataType::Char(Some(CharacterLength::IntegerLength { length: LONGEST + 1, unit: None }));
        assert!(Types.plan_type_field(&endless).is_err());
    }
}
