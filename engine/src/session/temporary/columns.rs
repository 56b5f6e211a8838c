//! The columns of temporary tables: their types, and what a value must be to get into one.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{self, CharacterLength, Expr};

use crate::catalog::MAX_COLUMNS;
use crate::error::{Error, Result, Sqlstate};
use crate::functions::numeric::SHORT;
use crate::pg_catalog::types::{METADATA_KEY, PgType, TYPMOD_KEY, arrow_of_name};
use crate::statement::temporary;
use crate::statement::type_of;

/// The columns of a table.
pub(super) struct Columns {
    table: String,
    schema: SchemaRef,
    columns: Vec<Column>,
}

/// What is known of one besides its field.
pub(super) struct Column {
    /// The type that a value is cast to before it is kept; `None`: it is of that type already, or cannot be.
    pub(super) cast: Option<ast::DataType>,
    /// What stands where nothing is said.
    pub(super) default: Option<Expr>,
}

impl Columns {
    /// Those of CREATE TEMP TABLE.
    ///
    /// # Errors
    /// 42704 and 0A000 for types that there are not, 42701 for a name that is there twice, 54011.
    pub(super) fn declared(table: &str, declared: &[temporary::Column]) -> Result<Columns> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for column in declared {
            let field = declared_field(&column.name, &column.data_type)?.with_nullable(!column.not_null);
            columns.push(Column { cast: cast_type(&field), default: column.default.clone() });
            fields.push(field);
        }
        Columns::of(table, fields, columns)
    }

    /// Those of an answer, with other names where some are told. Of what is said of its columns, their types alone are kept.
    ///
    /// # Errors
    /// 42601 for too many names, 42701 for a name that is there twice, 54011.
    pub(super) fn answered(table: &str, answer: &Schema, names: &[String]) -> Result<Columns> {
        if names.len() > answer.fields().len() {
            return Err(Error::new(Sqlstate::SyntaxError, "too many column names were specified"));
        }
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (place, field) in answer.fields().iter().enumerate() {
            let name = names.get(place).unwrap_or_else(|| field.name());
            let of_type = match field.data_type() {
                DataType::Null => DataType::Utf8,
                known => known.clone(),
            };
            let known = |(key, _): &(&String, &String)| [METADATA_KEY, TYPMOD_KEY].contains(&key.as_str());
            let metadata = field.metadata().iter().filter(known).map(|(key, value)| (key.clone(), value.clone()));
            let field = Field::new(name, of_type, true).with_metadata(metadata.collect());
            columns.push(Column { cast: cast_type(&field), default: None });
            fields.push(field);
        }
        Columns::of(table, fields, columns)
    }

    fn of(table: &str, fields: Vec<Field>, columns: Vec<Column>) -> Result<Columns> {
        if fields.len() > MAX_COLUMNS {
            return Err(Error::new(Sqlstate::TooManyColumns, format!("tables can have at most {MAX_COLUMNS} columns")));
        }
        let mut seen = HashSet::new();
        for field in &fields {
            if !seen.insert(field.name()) {
                let message = format!("column \"{}\" specified more than once", field.name());
                return Err(Error::new(Sqlstate::DuplicateColumn, message));
            }
        }
        Ok(Columns { table: table.to_owned(), schema: Arc::new(Schema::new(fields)), columns })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Its fields with what else is known of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Field, &Column)> {
        self.schema.fields().iter().map(AsRef::as_ref).zip(&self.columns)
    }

    /// The places of these columns.
    ///
    /// # Errors
    /// 42703, 42701.
    pub(super) fn places(&self, names: &[String]) -> Result<Vec<usize>> {
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            let place = self.schema.fields().iter().position(|field| field.name() == name).ok_or_else(|| {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.table);
                Error::new(Sqlstate::UndefinedColumn, message)
            })?;
            if places.contains(&place) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(Error::new(Sqlstate::DuplicateColumn, message));
            }
            places.push(place);
        }
        Ok(places)
    }

    /// Rows of these columns, in their order, as rows of the table.
    ///
    /// # Errors
    /// 22001, 22003, 22P02, 23502 for what a column does not take.
    pub(super) fn take(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut taken = Vec::with_capacity(self.columns.len());
        for (column, field) in batch.columns().iter().zip(self.schema.fields()) {
            let column = converted(column, field)?;
            if !field.is_nullable() && column.null_count() > 0 {
                let message = format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    field.name(),
                    self.table
                );
                return Err(Error::new(Sqlstate::NotNullViolation, message));
            }
            check_texts(&column, field)?;
            taken.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema(), taken, &options).map_err(Error::internal)
    }
}

/// Whether a column of this type takes values of that type without being told how: PostgreSQL's casts in assignments.
pub(super) fn is_assignable(from: &Field, to: &Field) -> bool {
    let (from, to) = (PgType::of_field(from), PgType::of_field(to));
    if from.oid == to.oid || to.category == 'S' {
        return true;
    }
    let of_texts = |pg_type: PgType| pg_type.category == 'S' || is_text(pg_type);
    match (from.category, to.category) {
        ('N', 'N') | ('D', 'D') | ('A', 'A') => true,
        _ => of_texts(from) && is_text(to),
    }
}

/// Types whose values are texts here.
fn is_text(pg_type: PgType) -> bool {
    ["json", "jsonb", "uuid", "xml", "inet"].contains(&pg_type.name)
}

fn converted(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, field.data_type(), &options).map_err(|error| match &error {
        _ if field.data_type().is_decimal() => overflow(),
        _ => Error::from(DataFusionError::from(error)),
    })
}

fn overflow() -> Error {
    Error::new(Sqlstate::NumericOutOfRange, "numeric field overflow")
}

/// Lengths of `varchar(n)`, and texts that must be of another language.
fn check_texts(column: &ArrayRef, field: &Field) -> Result<()> {
    let pg_type = PgType::of_field(field);
    let Some(texts) = column.as_string_opt::<i32>() else { return Ok(()) };
    let invalid = |text: &str| {
        let text: String = text.chars().take(100).collect();
        let message = format!("invalid input syntax for type {}: \"{text}\"", pg_type.name);
        Error::new(Sqlstate::InvalidTextRepresentation, message)
    };
    match pg_type.name {
        "varchar" => {
            let Some(length) = usize::try_from(pg_type.typmod - 4).ok().filter(|_| pg_type.typmod >= 4) else {
                return Ok(());
            };
            // As in PostgreSQL, blanks beyond it would be let go of; they are few, and are refused here as the rest.
            match texts.iter().flatten().any(|text| text.len() > length && text.chars().count() > length) {
                true => Err(Error::new(
                    Sqlstate::StringTooLong,
                    format!("value too long for type character varying({length})"),
                )),
                false => Ok(()),
            }
        }
        "json" | "jsonb" => {
            match texts.iter().flatten().find(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_err()) {
                Some(_) => Err(Error::new(
                    Sqlstate::InvalidTextRepresentation,
                    format!("invalid input syntax for type {}", pg_type.name),
                )),
                None => Ok(()),
            }
        }
        "uuid" => match texts.iter().flatten().find(|text| uuid::Uuid::parse_str(text).is_err()) {
            Some(text) => Err(invalid(text)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// The field of a declared column.
fn declared_field(name: &str, data_type: &ast::DataType) -> Result<Field> {
    let unsupported = || Error::unsupported(format!("type {data_type} of column \"{name}\" is not supported"));
    let written = data_type.to_string();
    let Some(pg_type) = PgType::by_sql_name(&written) else {
        let name = written.to_lowercase();
        return Err(match name.contains("serial") || name.contains("char") {
            true => unsupported(),
            false => Error::new(Sqlstate::UndefinedObject, format!("type \"{name}\" does not exist")),
        });
    };
    // With modifiers that nothing here keeps.
    let is_plain = !written.contains('(') || matches!(pg_type, PgType::NUMERIC | PgType::VARCHAR);
    if !is_plain || pg_type == PgType::BPCHAR {
        return Err(unsupported());
    }
    let of_type = match pg_type {
        PgType::NUMERIC if !written.contains('(') => DataType::Decimal256(76, SHORT),
        _ => arrow_of_name(&written).ok_or_else(unsupported)?,
    };
    if let DataType::Decimal128(precision, scale) = of_type
        && (scale < 0 || u8::try_from(scale).is_ok_and(|scale| scale > precision))
    {
        return Err(unsupported());
    }
    let field = Field::new(name, of_type, true);
    let is_told = PgType::of_field(&field).oid == pg_type.oid;
    let mut metadata = BTreeMap::new();
    if !is_told {
        metadata.insert(METADATA_KEY.to_owned(), pg_type.name.to_owned());
    }
    if let Some(length) = length(data_type) {
        metadata.insert(TYPMOD_KEY.to_owned(), (length + 4).to_string());
    }
    Ok(field.with_metadata(metadata.into_iter().collect()))
}

fn length(data_type: &ast::DataType) -> Option<u64> {
    match data_type {
        ast::DataType::Varchar(length)
        | ast::DataType::CharacterVarying(length)
        | ast::DataType::CharVarying(length) => match length {
            Some(CharacterLength::IntegerLength { length, .. }) => Some(*length),
            Some(CharacterLength::Max) | None => None,
        },
        _ => None,
    }
}

/// The type by which a query casts to a field's.
fn cast_type(field: &Field) -> Option<ast::DataType> {
    if *field.data_type() == DataType::Utf8 {
        return Some(ast::DataType::Text);
    }
    let pg_type = PgType::of_field(field);
    if pg_type.name == "record" {
        return None;
    }
    type_of(&pg_type.sql_name()).ok()
}
