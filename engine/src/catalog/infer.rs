//! Finds the columns of files, by reading them: all of a text file, the footers of the others.
//!
//! Whatever could fail when a text file is read later is found now and told with file and line, which only its steward sees. After
//! this, a scan of the same files has no error that depends on a value.

mod arrow;
mod csv;
mod json;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::SessionState;
use object_store::{ObjectMeta, ObjectStore};

use super::read::plain_schema;
use super::source::{Source, SourceKind};
use super::{MAX_COLUMNS, files};
use crate::error::{Error, Result, Sqlstate};
use crate::nearest::did_you_mean;

/// The columns of files, or the declared ones if the files have them.
pub(super) async fn schema(
    state: &SessionState,
    store: &Arc<dyn ObjectStore>,
    source: &Source,
    files: &[ObjectMeta],
    declared: Option<Schema>,
) -> Result<Schema> {
    match source.kind {
        SourceKind::Csv => csv::schema(store, source, files, declared).await,
        SourceKind::Json => json::schema(store, source, files, declared).await,
        _ => from_footers(state, store, source, files, declared).await,
    }
}

/// A file's name in messages for stewards.
fn file_name(file: &ObjectMeta) -> String {
    file.location.filename().unwrap_or(file.location.as_ref()).to_owned()
}

fn too_many_columns(file: &str, found: usize) -> Error {
    Error::new(
        Sqlstate::TooManyColumns,
        format!("tables can have at most {MAX_COLUMNS} columns, and \"{file}\" has {found}"),
    )
}

async fn from_footers(
    state: &SessionState,
    store: &Arc<dyn ObjectStore>,
    source: &Source,
    objects: &[ObjectMeta],
    declared: Option<Schema>,
) -> Result<Schema> {
    let format = files::format(source);
    let mut merged = Merged::default();
    for object in objects {
        let name = file_name(object);
        if object.size == 0 {
            return Err(unreadable(&name, source.kind).detail("The file is empty."));
        }
        let from_footer = match source.kind {
            SourceKind::Arrow => {
                arrow::schema(store, object).await.map_err(|why| unreadable(&name, source.kind).detail(why))?
            }
            _ => None,
        };
        let found = match from_footer {
            Some(found) => Arc::new(found),
            None => format
                .infer_schema(state, store, std::slice::from_ref(object))
                .await
                .map_err(|error| unreadable(&name, source.kind).detail(error.strip_backtrace()))?,
        };
        if found.fields().len() > MAX_COLUMNS {
            return Err(too_many_columns(&name, found.fields().len()));
        }
        merged.add(&name, &plain_schema(&found))?;
    }
    let found = merged.schema();
    let Some(declared) = declared else { return Ok(found) };
    for field in declared.fields() {
        let Ok(present) = found.field_with_name(field.name()) else {
            let error = Error::new(
                Sqlstate::UndefinedColumn,
                format!("column \"{}\" is in no file of the table", field.name()),
            );
            return Err(did_you_mean(error, field.name(), found.fields().iter().map(|field| field.name().as_str())));
        };
        if widened(present.data_type(), field.data_type()).as_ref() != Some(field.data_type()) {
            return Err(Error::new(
                Sqlstate::DatatypeMismatch,
                format!(
                    "column \"{}\" is {} in the files, which is not always a {}",
                    field.name(),
                    present.data_type(),
                    field.data_type()
                ),
            )
            .hint("Leave the columns out of CREATE EXTERNAL TABLE to take them as they are."));
        }
    }
    Ok(plain_schema(&declared))
}

fn unreadable(file: &str, kind: SourceKind) -> Error {
    let kind = match kind {
        SourceKind::Parquet => "Parquet",
        SourceKind::Arrow => "Arrow IPC",
        SourceKind::Csv => "CSV",
        SourceKind::Json => "JSON",
        SourceKind::Sqlite => "SQLite",
    };
    Error::new(Sqlstate::IoError, format!("cannot read \"{file}\" as {kind}"))
}

/// The columns of several files, which must merge without loss.
#[derive(Default)]
struct Merged {
    fields: Vec<Field>,
    /// Which file a column was first seen in.
    first_in: BTreeMap<String, String>,
}

impl Merged {
    fn add(&mut self, file: &str, schema: &Schema) -> Result<()> {
        for field in schema.fields() {
            match self.fields.iter_mut().find(|known| known.name() == field.name()) {
                None => {
                    self.fields.push(field.as_ref().clone());
                    self.first_in.insert(field.name().clone(), file.to_owned());
                }
                Some(known) => match widened(known.data_type(), field.data_type()) {
                    Some(both) => *known = Field::new(field.name(), both, true),
                    None => {
                        let first = self.first_in.get(field.name()).map(String::as_str).unwrap_or_default();
                        return Err(Error::new(
                            Sqlstate::DatatypeMismatch,
                            format!(
                                "column \"{}\" is {} in \"{first}\" and {} in \"{file}\"",
                                field.name(),
                                known.data_type(),
                                field.data_type()
                            ),
                        )
                        .hint("Write the files with one schema, or register them as tables of their own."));
                    }
                },
            }
        }
        Ok(())
    }

    fn schema(self) -> Schema {
        Schema::new(self.fields)
    }
}

/// The type that holds every value of both, if there is one.
fn widened(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    if a == b {
        return Some(a.clone());
    }
    let rank = |data_type: &DataType| match data_type {
        Int8 => Some((8, true)),
        Int16 => Some((16, true)),
        Int32 => Some((32, true)),
        Int64 => Some((64, true)),
        UInt8 => Some((8, false)),
        UInt16 => Some((16, false)),
        UInt32 => Some((32, false)),
        _ => None,
    };
    match (rank(a), rank(b)) {
        (Some((bits_a, signed_a)), Some((bits_b, signed_b))) => {
            let need = |bits: i32, signed: bool| if signed { bits } else { bits + 1 };
            Some(match need(bits_a, signed_a).max(need(bits_b, signed_b)) {
                ..=8 => Int8,
                9..=16 => Int16,
                17..=32 => Int32,
                _ => Int64,
            })
        }
        (Some((bits, _)), None) if bits <= 32 && b == &Float64 => Some(Float64),
        (None, Some((bits, _))) if bits <= 32 && a == &Float64 => Some(Float64),
        _ if matches!((a, b), (Float32, Float64) | (Float64, Float32)) => Some(Float64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widens_only_without_loss() {
        use DataType::*;
        assert_eq!(widened(&Int32, &Int64), Some(Int64));
        assert_eq!(widened(&UInt32, &Int32), Some(Int64));
        assert_eq!(widened(&Int32, &Float64), Some(Float64));
        assert_eq!(widened(&Int64, &Float64), None, "2^53 + 1 has no double");
        assert_eq!(widened(&Int64, &Utf8), None);
        assert_eq!(widened(&Float64, &Float32), Some(Float64));
        assert_eq!(widened(&Boolean, &Int64), None);
    }
}
