//! The columns of CSV files.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use object_store::{ObjectMeta, ObjectStore};

use super::super::MAX_COLUMNS;
use super::super::source::{CsvDialect, Source};
use super::text::{Chunks, Guess, bad_line, fits, not_utf8, open};
use super::{file_name, too_many_columns};
use crate::error::{Error, Result, Sqlstate};

/// Reads all lines of all files: their columns, or the declared ones if every value fits.
pub(super) async fn schema(
    store: &Arc<dyn ObjectStore>,
    source: &Source,
    files: &[ObjectMeta],
    declared: Option<Schema>,
) -> Result<Schema> {
    let mut reading = Reading { dialect: source.csv.clone(), declared, header: None, width: None, guesses: Vec::new() };
    for file in files {
        let (name, chunks) = (file_name(file), open(store, source, file).await?);
        reading = tokio::task::spawn_blocking(move || {
            reading.read(&name, chunks)?;
            Ok::<_, Error>(reading)
        })
        .await
        .map_err(Error::internal)??;
    }
    reading.schema()
}

struct Reading {
    dialect: CsvDialect,
    declared: Option<Schema>,
    /// The first file's, and that file.
    header: Option<(Vec<String>, String)>,
    width: Option<usize>,
    guesses: Vec<Guess>,
}

impl Reading {
    fn read(&mut self, file: &str, chunks: Chunks) -> Result<()> {
        let mut builder = csv::ReaderBuilder::new();
        builder
            .has_headers(false)
            .flexible(true)
            .delimiter(self.dialect.delimiter)
            .quote(self.dialect.quote)
            .escape(self.dialect.escape)
            .comment(self.dialect.comment);
        let mut reader = builder.from_reader(chunks);
        let mut record = csv::ByteRecord::new();
        let mut first = true;
        loop {
            let line = reader.position().line();
            let more = reader.read_byte_record(&mut record).map_err(|error| {
                Error::new(Sqlstate::IoError, format!("cannot read \"{file}\"")).detail(error.to_string())
            })?;
            let line = record.position().map_or(line, csv::Position::line);
            if !more {
                return Ok(());
            }
            if record.len() > MAX_COLUMNS {
                return Err(too_many_columns(file, record.len()));
            }
            if std::mem::take(&mut first) && self.dialect.has_header {
                self.header(file, line, &record)?;
            } else {
                self.row(file, line, &record)?;
            }
        }
    }

    fn header(&mut self, file: &str, line: u64, record: &csv::ByteRecord) -> Result<()> {
        let names: Vec<String> = record
            .iter()
            .map(|name| std::str::from_utf8(name).map(str::to_owned).map_err(|_| not_utf8(file, line)))
            .collect::<Result<_>>()?;
        match &self.header {
            None => {
                self.check_declared(file, &names)?;
                self.set_width(names.len());
                self.header = Some((names, file.to_owned()));
                Ok(())
            }
            Some((known, _)) if *known == names => Ok(()),
            Some((_, first)) => Err(Error::new(
                Sqlstate::DatatypeMismatch,
                format!("\"{file}\" has other columns than \"{first}\", or has them in another order"),
            )
            .hint("Write the files with one header, or register them as tables of their own.")),
        }
    }

    /// Declared columns are taken by position: a header that has them elsewhere says that this is a mistake.
    fn check_declared(&self, file: &str, names: &[String]) -> Result<()> {
        let Some(declared) = &self.declared else { return Ok(()) };
        if declared.fields().len() != names.len() {
            return Err(Error::new(
                Sqlstate::DatatypeMismatch,
                format!("\"{file}\" has {} columns, and {} are declared", names.len(), declared.fields().len()),
            ));
        }
        for (position, (field, name)) in declared.fields().iter().zip(names).enumerate() {
            if field.name() != name && names.contains(field.name()) {
                return Err(Error::new(
                    Sqlstate::DatatypeMismatch,
                    format!(
                        "column {} of \"{file}\" is \"{name}\", and declared as \"{}\"",
                        position + 1,
                        field.name()
                    ),
                )
                .hint("Declare the columns in the order of the file."));
            }
        }
        Ok(())
    }

    fn row(&mut self, file: &str, line: u64, record: &csv::ByteRecord) -> Result<()> {
        let width = match self.width {
            Some(width) => width,
            None => {
                let width = self.declared.as_ref().map_or(record.len(), |declared| declared.fields().len());
                self.set_width(width);
                width
            }
        };
        if record.len() != width {
            return Err(bad_line(file, line, format!("has {} fields, not {width}", record.len())));
        }
        for (position, (value, guess)) in record.iter().zip(&mut self.guesses).enumerate() {
            let value = std::str::from_utf8(value).map_err(|_| not_utf8(file, line))?;
            if value.is_empty() || self.dialect.null_value.as_deref() == Some(value) {
                continue;
            }
            let Some(field) = self.declared.as_ref().and_then(|declared| declared.fields().get(position)) else {
                guess.see(value);
                continue;
            };
            match fits(field.data_type(), value) {
                Some(true) => {}
                Some(false) => {
                    return Err(bad_line(
                        file,
                        line,
                        format!("has a value in column \"{}\" that is not a {}", field.name(), field.data_type()),
                    )
                    .hint(
                        "Declare the column as text, or name the value that means NULL: OPTIONS ('null_value' 'NA').",
                    ));
                }
                None => {
                    return Err(Error::unsupported(format!(
                        "CSV column \"{}\" of type {}",
                        field.name(),
                        field.data_type()
                    ))
                    .hint("Declare it as text."));
                }
            }
        }
        Ok(())
    }

    fn set_width(&mut self, width: usize) {
        self.width = Some(width);
        self.guesses = vec![Guess::NOTHING_SEEN; width];
    }

    fn schema(self) -> Result<Schema> {
        if let Some(declared) = self.declared {
            return Ok(super::plain_schema(&declared));
        }
        if self.width.is_none() {
            return Err(Error::new(Sqlstate::InvalidParameterValue, "the file is empty: it does not say its columns")
                .hint("Declare them: CREATE EXTERNAL TABLE t (a bigint, b text) STORED AS CSV …"));
        }
        let names = match self.header {
            Some((names, _)) => names,
            None => (1..=self.guesses.len()).map(|number| format!("column_{number}")).collect(),
        };
        let types = self.guesses.into_iter().map(Guess::data_type);
        let fields: Vec<Field> =
            names.iter().zip(types).map(|(name, data_type): (_, DataType)| Field::new(name, data_type, true)).collect();
        Ok(Schema::new(fields))
    }
}
