//! The columns of newline-delimited JSON: one object a line.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use object_store::{ObjectMeta, ObjectStore};
use serde_json::Value;

use super::super::MAX_COLUMNS;
use super::super::source::Source;
use super::text::{Chunks, bad_line, fits, not_utf8, open};
use super::{file_name, too_many_columns};
use crate::error::{Error, Result, Sqlstate};

/// The longest line, in bytes.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// Reads all lines of all files: their columns, or the declared ones if every value fits.
pub(super) async fn schema(
    store: &Arc<dyn ObjectStore>,
    source: &Source,
    files: &[ObjectMeta],
    declared: Option<Schema>,
) -> Result<Schema> {
    let mut reading = Reading { declared, columns: Vec::new() };
    for file in files {
        let (name, chunks) = (file_name(file), open(store, source, file).await?);
        reading = tokio::task::spawn_blocking(move || {
            reading.read(&name, chunks)?;
            Ok::<_, Error>(reading)
        })
        .await
        .map_err(Error::internal)??;
    }
    if let Some(declared) = reading.declared {
        return Ok(super::plain_schema(&declared));
    }
    if reading.columns.is_empty() {
        return Err(Error::new(Sqlstate::InvalidParameterValue, "the file is empty: it does not say its columns")
            .hint("Declare them: CREATE EXTERNAL TABLE t (a bigint, b text) STORED AS JSON …"));
    }
    let fields: Vec<Field> = reading
        .columns
        .into_iter()
        .map(|(name, kind)| Field::new(name, kind.map_or(DataType::Utf8, Scalar::data_type), true))
        .collect();
    Ok(Schema::new(fields))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scalar {
    Boolean,
    Integer,
    Float,
    Text,
}

impl Scalar {
    fn data_type(self) -> DataType {
        match self {
            Scalar::Boolean => DataType::Boolean,
            Scalar::Integer => DataType::Int64,
            Scalar::Float => DataType::Float64,
            Scalar::Text => DataType::Utf8,
        }
    }
}

struct Reading {
    declared: Option<Schema>,
    /// Names and what was seen, in the order they were seen.
    columns: Vec<(String, Option<Scalar>)>,
}

impl Reading {
    fn read(&mut self, file: &str, chunks: Chunks) -> Result<()> {
        let mut reader = BufReader::with_capacity(1 << 16, chunks);
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            number += 1;
            let read = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(|error| {
                Error::new(Sqlstate::IoError, format!("cannot read \"{file}\"")).detail(error.to_string())
            })?;
            if read == 0 {
                return Ok(());
            }
            if read as u64 >= MAX_LINE_BYTES {
                return Err(bad_line(file, number, format!("is longer than {} MB", MAX_LINE_BYTES >> 20)));
            }
            if number == 1 && line.starts_with(b"\xef\xbb\xbf") {
                return Err(bad_line(file, number, "begins with a byte order mark").hint("Write the file without it."));
            }
            let text = std::str::from_utf8(&line).map_err(|_| not_utf8(file, number))?;
            if text.trim().is_empty() {
                continue;
            }
            let value: Value = serde_json::from_str(text).map_err(|_| {
                bad_line(file, number, "is not JSON").hint(
                    "One object a line: a file that is one array must be rewritten, for example with jq -c '.[]'.",
                )
            })?;
            let Value::Object(object) = value else {
                return Err(
                    bad_line(file, number, "is not an object").hint("One object a line, as {\"a\": 1, \"b\": \"x\"}.")
                );
            };
            for (name, value) in &object {
                self.see(file, number, name, value)?;
            }
        }
    }

    fn see(&mut self, file: &str, line: u64, name: &str, value: &Value) -> Result<()> {
        if let Some(declared) = &self.declared {
            let Ok(field) = declared.field_with_name(name) else { return Ok(()) };
            let good = match (field.data_type(), value) {
                (_, Value::Null) => true,
                (DataType::Boolean, value) => value.is_boolean(),
                (DataType::Float32 | DataType::Float64, value) => value.is_number(),
                (data_type, Value::Number(number)) if data_type.is_integer() => {
                    fits(data_type, &number.to_string()) == Some(true)
                }
                (DataType::Decimal128(_, _), Value::Number(number)) => {
                    fits(field.data_type(), &number.to_string()) == Some(true)
                }
                (data_type, Value::String(text)) if !data_type.is_integer() => fits(data_type, text) == Some(true),
                _ => false,
            };
            if good {
                return Ok(());
            }
            return Err(bad_line(
                file,
                line,
                format!("has a value in column \"{name}\" that is not a {}", field.data_type()),
            ));
        }
        let scalar = match value {
            Value::Null => None,
            Value::Bool(_) => Some(Scalar::Boolean),
            Value::Number(number) if number.is_i64() => Some(Scalar::Integer),
            Value::Number(number) if number.is_u64() => {
                return Err(bad_line(file, line, format!("has a number in column \"{name}\" that is out of range")));
            }
            Value::Number(_) => Some(Scalar::Float),
            Value::String(_) => Some(Scalar::Text),
            Value::Array(_) | Value::Object(_) => {
                return Err(Error::unsupported(format!(
                    "lists and objects in JSON columns (line {line} of \"{file}\", column \"{name}\")"
                ))
                .hint("Declare the columns that the table should have; others are left out."));
            }
        };
        let Some((_, known)) = self.columns.iter_mut().find(|(known, _)| known == name) else {
            if self.columns.len() == MAX_COLUMNS {
                return Err(too_many_columns(file, MAX_COLUMNS + 1));
            }
            self.columns.push((name.to_owned(), scalar));
            return Ok(());
        };
        *known = match (*known, scalar) {
            (known, None) => known,
            (None, found) => found,
            (Some(a), Some(b)) if a == b => Some(a),
            (Some(Scalar::Integer), Some(Scalar::Float)) | (Some(Scalar::Float), Some(Scalar::Integer)) => {
                Some(Scalar::Float)
            }
            (Some(_), Some(_)) => {
                return Err(bad_line(
                    file,
                    line,
                    format!("has a value in column \"{name}\" of another type than the lines before"),
                )
                .hint("Write the column with one type."));
            }
        };
        Ok(())
    }
}
