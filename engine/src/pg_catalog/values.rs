//! Rows by name: what a relation's rows are written with.
//!
//! A writer names the columns that it fills once; columns that a query does not read are never built, and the others get what
//! PostgreSQL has when there is nothing to say: NULL, or zero, false and the empty string where NULL is not allowed.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    ListBuilder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder, UInt32Builder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::{DataFusionError, Result};

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'a str),
    Text(String),
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

macro_rules! value_from {
    ($($from:ty, $value:ident => $to:expr;)*) => {
        $(impl<'a> From<$from> for Value<'a> {
            fn from($value: $from) -> Self { $to }
        })*
    };
}

value_from! {
    bool, v => Value::Bool(v);
    i16, v => Value::Int(v.into());
    i32, v => Value::Int(v.into());
    u32, v => Value::Int(v.into());
    i64, v => Value::Int(v);
    f64, v => Value::Float(v);
    &'a str, v => Value::Str(v);
    &'a String, v => Value::Str(v);
    String, v => Value::Text(v);
    Vec<i64>, v => Value::Ints(v);
    Vec<String>, v => Value::Texts(v);
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// A column being built.
pub(crate) enum Column {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt32(UInt32Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    Texts(ListBuilder<StringBuilder>),
    Int16s(ListBuilder<Int16Builder>),
    Int32s(ListBuilder<Int32Builder>),
    UInt32s(ListBuilder<UInt32Builder>),
    /// Of numbers, of which 0 is false.
    Bools(ListBuilder<BooleanBuilder>),
}

impl Column {
    /// A builder for a type; what catalogs never hold is built as text and refused when the batch is made.
    pub(crate) fn new(data_type: &DataType) -> Column {
        match data_type {
            DataType::Boolean => Column::Bool(BooleanBuilder::new()),
            DataType::Int16 => Column::Int16(Int16Builder::new()),
            DataType::Int32 => Column::Int32(Int32Builder::new()),
            DataType::Int64 => Column::Int64(Int64Builder::new()),
            DataType::UInt32 => Column::UInt32(UInt32Builder::new()),
            DataType::Float32 => Column::Float32(Float32Builder::new()),
            DataType::Float64 => Column::Float64(Float64Builder::new()),
            DataType::Timestamp(_, zone) => {
                Column::Time(TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone()))
            }
            DataType::List(item) => match item.data_type() {
                DataType::Int16 => Column::Int16s(ListBuilder::new(Int16Builder::new())),
                DataType::Int32 => Column::Int32s(ListBuilder::new(Int32Builder::new())),
                DataType::UInt32 => Column::UInt32s(ListBuilder::new(UInt32Builder::new())),
                DataType::Boolean => Column::Bools(ListBuilder::new(BooleanBuilder::new())),
                _ => Column::Texts(ListBuilder::new(StringBuilder::new())),
            },
            _ => Column::Text(StringBuilder::new()),
        }
    }

    /// Appends a value. One that does not fit the column is NULL.
    pub(crate) fn push(&mut self, value: &Value<'_>) {
        match (self, value) {
            (Column::Bool(b), Value::Bool(v)) => b.append_value(*v),
            (Column::Int16(b), Value::Int(v)) => b.append_option(i16::try_from(*v).ok()),
            (Column::Int32(b), Value::Int(v)) => b.append_option(i32::try_from(*v).ok()),
            (Column::Int64(b), Value::Int(v)) => b.append_value(*v),
            (Column::UInt32(b), Value::Int(v)) => b.append_option(u32::try_from(*v).ok()),
            (Column::Float32(b), Value::Float(v)) => b.append_value(*v as f32),
            (Column::Float64(b), Value::Float(v)) => b.append_value(*v),
            (Column::Time(b), Value::Int(v)) => b.append_value(*v),
            (Column::Text(b), Value::Str(v)) => b.append_value(v),
            (Column::Text(b), Value::Text(v)) => b.append_value(v),
            (Column::Texts(b), Value::Texts(v)) => b.append_value(v.iter().map(Some)),
            (Column::Int16s(b), Value::Ints(v)) => b.append_value(v.iter().map(|i| i16::try_from(*i).ok())),
            (Column::Int32s(b), Value::Ints(v)) => b.append_value(v.iter().map(|i| i32::try_from(*i).ok())),
            (Column::UInt32s(b), Value::Ints(v)) => b.append_value(v.iter().map(|i| u32::try_from(*i).ok())),
            (Column::Bools(b), Value::Ints(v)) => b.append_value(v.iter().map(|i| Some(*i != 0))),
            (column, _) => column.push_null(),
        }
    }

    fn push_null(&mut self) {
        match self {
            Column::Bool(b) => b.append_null(),
            Column::Int16(b) => b.append_null(),
            Column::Int32(b) => b.append_null(),
            Column::Int64(b) => b.append_null(),
            Column::UInt32(b) => b.append_null(),
            Column::Float32(b) => b.append_null(),
            Column::Float64(b) => b.append_null(),
            Column::Text(b) => b.append_null(),
            Column::Time(b) => b.append_null(),
            Column::Texts(b) => b.append_null(),
            Column::Int16s(b) => b.append_null(),
            Column::Int32s(b) => b.append_null(),
            Column::UInt32s(b) => b.append_null(),
            Column::Bools(b) => b.append_null(),
        }
    }

    fn push_nothing(&mut self, nullable: bool) {
        if nullable {
            return self.push_null();
        }
        match self {
            Column::Bool(b) => b.append_value(false),
            Column::Int16(b) => b.append_value(0),
            Column::Int32(b) => b.append_value(0),
            Column::Int64(b) => b.append_value(0),
            Column::UInt32(b) => b.append_value(0),
            Column::Float32(b) => b.append_value(0.0),
            Column::Float64(b) => b.append_value(0.0),
            Column::Text(b) => b.append_value(""),
            Column::Time(b) => b.append_value(0),
            Column::Texts(b) => b.append(true),
            Column::Int16s(b) => b.append(true),
            Column::Int32s(b) => b.append(true),
            Column::UInt32s(b) => b.append(true),
            Column::Bools(b) => b.append(true),
        }
    }

    fn builder(&mut self) -> &mut dyn ArrayBuilder {
        match self {
            Column::Bool(b) => b,
            Column::Int16(b) => b,
            Column::Int32(b) => b,
            Column::Int64(b) => b,
            Column::UInt32(b) => b,
            Column::Float32(b) => b,
            Column::Float64(b) => b,
            Column::Text(b) => b,
            Column::Time(b) => b,
            Column::Texts(b) => b,
            Column::Int16s(b) => b,
            Column::Int32s(b) => b,
            Column::UInt32s(b) => b,
            Column::Bools(b) => b,
        }
    }

    /// The array.
    pub(crate) fn finish(mut self) -> ArrayRef {
        self.builder().finish()
    }
}

/// The rows of a relation, with the columns that a query reads.
pub(crate) struct Rows {
    schema: SchemaRef,
    columns: Vec<Column>,
    count: usize,
    /// Column names that a writer gave and the relation does not have; a test holds it empty.
    #[cfg(test)]
    pub unknown: Vec<String>,
    #[cfg(test)]
    pub full: SchemaRef,
}

/// Writes rows of a fixed choice of columns.
pub(crate) struct Writer<'r, const N: usize> {
    rows: &'r mut Rows,
    /// For every column: which of the N values it takes.
    takes: Vec<Option<usize>>,
}

impl Rows {
    /// No rows of `schema`, which is what a query reads of `full`.
    pub(crate) fn new(schema: SchemaRef, _full: SchemaRef) -> Rows {
        let columns = schema.fields().iter().map(|field| Column::new(field.data_type())).collect();
        Rows {
            schema,
            columns,
            count: 0,
            #[cfg(test)]
            unknown: Vec::new(),
            #[cfg(test)]
            full: _full,
        }
    }

    /// A writer that fills the columns of these names.
    pub(crate) fn writer<const N: usize>(&mut self, names: [&str; N]) -> Writer<'_, N> {
        #[cfg(test)]
        self.unknown.extend(names.iter().filter(|n| self.full.index_of(n).is_err()).map(|n| n.to_string()));
        let takes =
            self.schema.fields().iter().map(|field| names.iter().position(|name| name == field.name())).collect();
        Writer { rows: self, takes }
    }

    /// The batch.
    pub(crate) fn finish(self) -> Result<RecordBatch> {
        let arrays = self.columns.into_iter().map(Column::finish).collect::<Vec<_>>();
        let arrays = arrays
            .into_iter()
            .zip(self.schema.fields())
            .map(|(array, field)| match array.data_type() == field.data_type() {
                true => Ok(array),
                false => cast(&array, field.data_type()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(DataFusionError::from)
    }
}

impl<const N: usize> Writer<'_, N> {
    /// Adds a row.
    pub(crate) fn push(&mut self, values: [Value<'_>; N]) {
        for ((column, takes), field) in self.rows.columns.iter_mut().zip(&self.takes).zip(self.rows.schema.fields()) {
            match takes.and_then(|i| values.get(i)) {
                Some(Value::Null) | None => column.push_nothing(field.is_nullable()),
                Some(value) => column.push(value),
            }
        }
        self.rows.count += 1;
    }
}
