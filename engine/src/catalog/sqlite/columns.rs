//! Columns of SQLite tables as Arrow arrays.

use std::sync::Arc;

use datafusion::arrow::array::types::{Date32Type, Decimal128Type};
use datafusion::arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::compute::kernels::cast_utils::{Parser, parse_decimal, string_to_datetime};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::arrow::error::ArrowError;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, Result};

/// The type of a column by the type it was declared with, by SQLite's own rules of affinity made a little finer.
pub(super) fn declared_type(declared: &str) -> DataType {
    let upper = declared.trim().to_ascii_uppercase();
    if upper.contains("BOOL") {
        DataType::Boolean
    } else if upper.starts_with("TIMESTAMP") || upper.starts_with("DATETIME") {
        DataType::Timestamp(TimeUnit::Microsecond, None)
    } else if upper.starts_with("DATE") {
        DataType::Date32
    } else if upper.contains("INT") {
        DataType::Int64
    } else if ["CHAR", "CLOB", "TEXT", "STRING"].iter().any(|word| upper.contains(word)) {
        DataType::Utf8
    } else if upper.contains("BLOB") {
        DataType::Binary
    } else if ["REAL", "FLOA", "DOUB"].iter().any(|word| upper.contains(word)) {
        DataType::Float64
    } else if upper.starts_with("NUMERIC") || upper.starts_with("DECIMAL") {
        precision_and_scale(&upper)
            .map_or(DataType::Float64, |(precision, scale)| DataType::Decimal128(precision, scale))
    } else {
        DataType::Utf8
    }
}

fn precision_and_scale(declared: &str) -> Option<(u8, i8)> {
    let inner = declared.split_once('(')?.1.split_once(')')?.0;
    let mut numbers = inner.split(',').map(str::trim);
    let precision: u8 = numbers.next()?.parse().ok()?;
    let scale: i8 = numbers.next().map_or(Some(0), |scale| scale.parse().ok())?;
    ((1..=38).contains(&precision) && scale >= 0 && i16::from(scale) <= i16::from(precision))
        .then_some((precision, scale))
}

/// Takes the values of a column, row by row.
#[derive(Debug)]
pub(super) struct Reader {
    data_type: DataType,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Decimal(Decimal128Builder, u8, i8),
}

impl Clone for Reader {
    fn clone(&self) -> Reader {
        // A reader is copied before a scan, when it has read nothing.
        Reader { data_type: self.data_type.clone(), values: self.values.empty() }
    }
}

impl Values {
    fn empty(&self) -> Values {
        match self {
            Values::Boolean(_) => Values::Boolean(BooleanBuilder::new()),
            Values::Integer(_) => Values::Integer(Int64Builder::new()),
            Values::Float(_) => Values::Float(Float64Builder::new()),
            Values::Text(_) => Values::Text(StringBuilder::new()),
            Values::Bytes(_) => Values::Bytes(BinaryBuilder::new()),
            Values::Date(_) => Values::Date(Date32Builder::new()),
            Values::Timestamp(_) => Values::Timestamp(TimestampMicrosecondBuilder::new()),
            Values::Decimal(_, precision, scale) => Values::Decimal(Decimal128Builder::new(), *precision, *scale),
        }
    }
}

impl Reader {
    /// For values of this type.
    ///
    /// # Errors
    /// 0A000 for types that SQLite has nothing for.
    pub(super) fn new(data_type: &DataType) -> Result<Reader> {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Values::Integer(Int64Builder::new())
            }
            DataType::Float32 | DataType::Float64 => Values::Float(Float64Builder::new()),
            DataType::Utf8 => Values::Text(StringBuilder::new()),
            DataType::Binary => Values::Bytes(BinaryBuilder::new()),
            DataType::Date32 => Values::Date(Date32Builder::new()),
            DataType::Timestamp(_, None) => Values::Timestamp(TimestampMicrosecondBuilder::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal(Decimal128Builder::new(), *precision, *scale),
            other => {
                return Err(
                    Error::unsupported(format!("SQLite columns of type {other}")).hint("Declare the column as text.")
                );
            }
        };
        Ok(Reader { data_type: data_type.clone(), values })
    }

    pub(super) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// The column in SQL: a value of the storage class that [`Reader::push`] takes, or NULL.
    pub(super) fn expression(&self, column: &str) -> String {
        let c = column;
        match self.values {
            Values::Boolean(_) => format!(
                "CASE WHEN typeof({c}) = 'integer' AND {c} IN (0, 1) THEN {c} \
                 WHEN typeof({c}) = 'text' AND lower({c}) IN ('true', 't') THEN 1 \
                 WHEN typeof({c}) = 'text' AND lower({c}) IN ('false', 'f') THEN 0 END"
            ),
            Values::Integer(_) => format!("CASE WHEN typeof({c}) = 'integer' THEN {c} END"),
            Values::Float(_) => format!("CASE WHEN typeof({c}) IN ('integer', 'real') THEN CAST({c} AS REAL) END"),
            Values::Text(_) => {
                format!("CASE typeof({c}) WHEN 'text' THEN {c} WHEN 'blob' THEN NULL ELSE CAST({c} AS TEXT) END")
            }
            Values::Bytes(_) => format!("CASE typeof({c}) WHEN 'blob' THEN {c} WHEN 'text' THEN CAST({c} AS BLOB) END"),
            Values::Date(_) | Values::Timestamp(_) => format!("CASE WHEN typeof({c}) = 'text' THEN {c} END"),
            Values::Decimal(..) => format!("CASE WHEN typeof({c}) <> 'blob' THEN CAST({c} AS TEXT) END"),
        }
    }

    /// Takes the value of a row. `false`: it is not of the column's type, and was taken as NULL.
    pub(super) fn push(&mut self, row: &SqliteRow, position: usize) -> Result<bool, sqlx::Error> {
        let fits = match &mut self.values {
            Values::Boolean(to) => {
                to.append_option(row.try_get_unchecked::<Option<i64>, _>(position)?.map(|value| value != 0));
                true
            }
            Values::Integer(to) => {
                let value: Option<i64> = row.try_get_unchecked(position)?;
                let kept = value.filter(|value| in_range(&self.data_type, *value));
                to.append_option(kept);
                kept == value
            }
            Values::Float(to) => {
                to.append_option(row.try_get_unchecked::<Option<f64>, _>(position)?);
                true
            }
            Values::Bytes(to) => {
                to.append_option(row.try_get_unchecked::<Option<&[u8]>, _>(position)?);
                true
            }
            Values::Text(to) => {
                let (text, fits) = text(row, position)?;
                to.append_option(text);
                fits
            }
            Values::Date(to) => {
                let (text, fits) = text(row, position)?;
                let value = text.and_then(Date32Type::parse);
                to.append_option(value);
                fits && value.is_some() == text.is_some()
            }
            Values::Timestamp(to) => {
                let (text, fits) = text(row, position)?;
                let value = text.and_then(|text| string_to_datetime(&chrono::Utc, text).ok());
                to.append_option(value.map(|moment| moment.timestamp_micros()));
                fits && value.is_some() == text.is_some()
            }
            Values::Decimal(to, precision, scale) => {
                let (text, fits) = text(row, position)?;
                let value = text.and_then(|text| parse_decimal::<Decimal128Type>(text, *precision, *scale).ok());
                to.append_option(value);
                fits && value.is_some() == text.is_some()
            }
        };
        Ok(fits)
    }

    /// The column of the rows since the last call.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let array: ArrayRef = match &mut self.values {
            Values::Boolean(from) => Arc::new(from.finish()),
            Values::Integer(from) => Arc::new(from.finish()),
            Values::Float(from) => Arc::new(from.finish()),
            Values::Text(from) => Arc::new(from.finish()),
            Values::Bytes(from) => Arc::new(from.finish()),
            Values::Date(from) => Arc::new(from.finish()),
            Values::Timestamp(from) => Arc::new(from.finish()),
            Values::Decimal(from, precision, scale) => {
                Arc::new(from.finish().with_precision_and_scale(*precision, *scale)?)
            }
        };
        if array.data_type() == &self.data_type {
            return Ok(array);
        }
        cast_with_options(&array, &self.data_type, &CastOptions { safe: true, ..CastOptions::default() })
    }

    /// Lets go of what was read, for scans that only look.
    pub(super) fn forget_if_longer_than(&mut self, rows: usize) {
        let held = match &self.values {
            Values::Boolean(from) => from.values_slice().len() * 8,
            Values::Integer(from) => from.values_slice().len(),
            Values::Float(from) => from.values_slice().len(),
            Values::Text(from) => from.offsets_slice().len(),
            Values::Bytes(from) => from.offsets_slice().len(),
            Values::Date(from) => from.values_slice().len(),
            Values::Timestamp(from) => from.values_slice().len(),
            Values::Decimal(from, ..) => from.values_slice().len(),
        };
        if held > rows {
            self.values = self.values.empty();
        }
    }
}

fn in_range(data_type: &DataType, value: i64) -> bool {
    match data_type {
        DataType::Int8 => i8::try_from(value).is_ok(),
        DataType::Int16 => i16::try_from(value).is_ok(),
        DataType::Int32 => i32::try_from(value).is_ok(),
        _ => true,
    }
}

/// A text, and whether it is UTF-8; SQLite does not check.
fn text(row: &SqliteRow, position: usize) -> Result<(Option<&str>, bool), sqlx::Error> {
    Ok(match row.try_get_unchecked::<Option<&[u8]>, _>(position)? {
        None => (None, true),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text), true),
            Err(_) => (None, false),
        },
    })
}
