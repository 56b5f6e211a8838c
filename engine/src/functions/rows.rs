//! Functions of one row at a time: a table says what each takes and gives, and how the arguments of a row become its value.

use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, ListBuilder, StringArray, StringBuilder, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::lengths::{MOST_OF_BATCH, too_large};
use super::moments::{at, zone};
use super::patterned::Patterns;
use super::shown::shown;
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::types::PgType;

/// What an argument is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Text,
    Bytes,
    /// An integer of any size.
    Whole,
    /// A number of any type.
    Float,
    /// A timestamp without a zone.
    Stamp,
    /// One with a zone.
    Instant,
    Interval,
    /// A list of anything.
    List,
    /// Whatever it is: see [`Row::shown`].
    Any,
}

/// What a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Give {
    Text,
    Bytes,
    Int4,
    Int8,
    Bool,
    Date,
    Time,
    Stamp,
    Instant,
    Interval,
    /// A numeric of so many places.
    Numeric(i8),
    Texts,
    /// A list of lists of text: rows of arrays, once they are unnested.
    Rows,
    Int4s,
}

/// One value that a function gives. It is of the variant that its [`Give`] says; dates are days, times and timestamps microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Text(String),
    Bytes(Vec<u8>),
    Int(i64),
    Bool(bool),
    Interval(IntervalMonthDayNano),
    Numeric(i128),
    Texts(Vec<Option<String>>),
    Rows(Vec<Vec<Option<String>>>),
    Ints(Vec<i32>),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

/// How the arguments of a row become a value.
pub(super) type Run = fn(&Row<'_>, &mut Patterns) -> Result<Value>;

/// A function.
#[derive(Debug)]
pub(super) struct Spec {
    /// The name it is registered under. What begins with `kanon_` is called by another name, of what follows, in statements.
    pub name: &'static str,
    /// The arguments it takes, one list a form.
    pub takes: &'static [&'static [Kind]],
    /// Whether the last argument may come any number of times more.
    pub is_variadic: bool,
    pub gives: Give,
    /// Whether it is asked about NULLs too; else it is NULL where an argument is.
    pub of_nulls: bool,
    pub volatility: Volatility,
    pub run: Run,
}

/// A function that is NULL where an argument is, and depends on its arguments alone.
pub(super) const fn spec(name: &'static str, takes: &'static [&'static [Kind]], gives: Give, run: Run) -> Spec {
    Spec { name, takes, is_variadic: false, gives, of_nulls: false, volatility: Volatility::Immutable, run }
}

/// The function of a row of a table.
pub(super) fn function(spec: &'static Spec) -> ScalarUDF {
    let signature = match spec.takes.iter().any(|kinds| kinds.is_empty()) {
        true => TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::UserDefined]),
        false => TypeSignature::UserDefined,
    };
    ScalarUDF::new_from_impl(OfRows { spec, signature: Signature::new(signature, spec.volatility) })
}

/// The error for a function that does not take arguments of these types.
pub(super) fn missing(name: &str, types: &[DataType]) -> Error {
    let types = types.iter().map(|of_type| match of_type {
        DataType::Null => "unknown".to_owned(),
        other => PgType::of(other).with_typmod(-1).sql_name(),
    });
    let types = types.collect::<Vec<_>>().join(", ");
    let message = format!(
        "function {}({types}) does not exist",
        name.trim_start_matches("kanon_").replace("pattern_", "regexp_")
    );
    Error::new(Sqlstate::UndefinedFunction, message)
        .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

impl Kind {
    /// The Arrow type that a value of this one is cast to; `None` if it is not taken.
    fn taken(self, given: &DataType) -> Option<DataType> {
        let is_text = matches!(given, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
        let is_null = given.is_null();
        let (is, taken) = match self {
            Kind::Text => (is_text, DataType::Utf8),
            Kind::Bytes => {
                let is = matches!(
                    given,
                    DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
                );
                (is || is_null, DataType::Binary)
            }
            Kind::Whole => (given.is_integer() || is_null, DataType::Int64),
            Kind::Float => (given.is_numeric() || is_null, DataType::Float64),
            Kind::Stamp => {
                let is = matches!(given, DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64);
                (is || is_null, at(None))
            }
            Kind::Instant => (matches!(given, DataType::Timestamp(_, Some(_))) || is_null, at(Some("+00:00".into()))),
            // A text is one of unknown type.
            Kind::Interval => (
                matches!(given, DataType::Interval(_) | DataType::Duration(_)) || is_text,
                DataType::Interval(IntervalUnit::MonthDayNano),
            ),
            Kind::List => (matches!(given, DataType::List(_)) || is_null, given.clone()),
            Kind::Any => (true, given.clone()),
        };
        is.then_some(taken)
    }
}

impl Give {
    fn data_type(self) -> DataType {
        match self {
            Give::Text => DataType::Utf8,
            Give::Bytes => DataType::Binary,
            Give::Int4 => DataType::Int32,
            Give::Int8 => DataType::Int64,
            Give::Bool => DataType::Boolean,
            Give::Date => DataType::Date32,
            Give::Time => DataType::Time64(TimeUnit::Microsecond),
            Give::Stamp => at(None),
            Give::Instant => at(Some("+00:00".into())),
            Give::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Give::Numeric(scale) => DataType::Decimal128(38, scale),
            Give::Texts => DataType::new_list(DataType::Utf8, true),
            Give::Rows => DataType::new_list(DataType::new_list(DataType::Utf8, true), true),
            Give::Int4s => DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))),
        }
    }

    /// The column of values of this type.
    fn column(self, values: Vec<Value>) -> DfResult<ArrayRef> {
        let ints = || {
            values.iter().map(|value| match value {
                Value::Int(number) => Some(*number),
                _ => None,
            })
        };
        let small = || ints().map(|number| i32::try_from(number?).ok());
        Ok(match self {
            Give::Text => Arc::new(
                values
                    .iter()
                    .map(|value| match value {
                        Value::Text(text) => Some(text.as_str()),
                        _ => None,
                    })
                    .collect::<StringArray>(),
            ),
            Give::Bytes => Arc::new(
                values
                    .iter()
                    .map(|value| match value {
                        Value::Bytes(bytes) => Some(bytes.as_slice()),
                        _ => None,
                    })
                    .collect::<BinaryArray>(),
            ),
            Give::Int4 => Arc::new(small().collect::<Int32Array>()),
            Give::Int8 => Arc::new(ints().collect::<Int64Array>()),
            Give::Bool => Arc::new(
                values
                    .iter()
                    .map(|value| match value {
                        Value::Bool(is) => Some(*is),
                        _ => None,
                    })
                    .collect::<BooleanArray>(),
            ),
            Give::Date => Arc::new(small().collect::<Date32Array>()),
            Give::Time => Arc::new(ints().collect::<Time64MicrosecondArray>()),
            Give::Stamp => Arc::new(ints().collect::<TimestampMicrosecondArray>()),
            Give::Instant => Arc::new(ints().collect::<TimestampMicrosecondArray>().with_timezone("+00:00")),
            Give::Interval => Arc::new(
                values
                    .iter()
                    .map(|value| match value {
                        Value::Interval(interval) => Some(*interval),
                        _ => None,
                    })
                    .collect::<IntervalMonthDayNanoArray>(),
            ),
            Give::Numeric(scale) => {
                let numbers = values.iter().map(|value| match value {
                    Value::Numeric(number) => Some(*number),
                    _ => None,
                });
                Arc::new(numbers.collect::<Decimal128Array>().with_precision_and_scale(38, scale)?)
            }
            Give::Texts => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for value in &values {
                    match value {
                        Value::Texts(texts) => lists.append_value(texts.iter().map(Option::as_deref)),
                        _ => lists.append_null(),
                    }
                }
                Arc::new(lists.finish())
            }
            Give::Rows => {
                let mut lists = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
                for value in &values {
                    if let Value::Rows(rows) = value {
                        rows.iter().for_each(|texts| lists.values().append_value(texts.iter().map(Option::as_deref)));
                    }
                    lists.append(matches!(value, Value::Rows(_)));
                }
                Arc::new(lists.finish())
            }
            Give::Int4s => {
                let mut lists = ListBuilder::new(Int32Array::builder(0));
                for value in &values {
                    match value {
                        Value::Ints(numbers) => lists.append_value(numbers.iter().copied().map(Some)),
                        _ => lists.append_null(),
                    }
                }
                Arc::new(lists.finish())
            }
        })
    }
}

/// How many bytes of text a value has.
fn size(value: &Value) -> u64 {
    let of_all =
        |texts: &[Option<String>]| texts.iter().map(|text| 16 + text.as_ref().map_or(0, String::len) as u64).sum();
    match value {
        Value::Text(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::Texts(texts) => of_all(texts),
        Value::Rows(rows) => rows.iter().map(|texts| of_all(texts)).sum(),
        Value::Ints(numbers) => 4 * numbers.len() as u64,
        _ => 0,
    }
}

/// One row of arguments. What is asked for is `None` where the argument is NULL, missing, or of another kind.
pub(super) struct Row<'a> {
    arrays: &'a [ArrayRef],
    row: usize,
    zone: &'a Tz,
}

impl<'a> Row<'a> {
    /// The argument's array, and the place of its value in it; `None` for NULL.
    fn valid(&self, i: usize) -> Option<(&'a ArrayRef, usize)> {
        let array = self.arrays.get(i)?;
        let at = if array.len() == 1 { 0 } else { self.row };
        (!array.data_type().is_null() && array.is_valid(at)).then_some((array, at))
    }

    pub(super) fn count(&self) -> usize {
        self.arrays.len()
    }

    pub(super) fn is_null(&self, i: usize) -> bool {
        self.valid(i).is_none()
    }

    /// The zone of the session.
    pub(super) fn zone(&self) -> &'a Tz {
        self.zone
    }

    pub(super) fn text(&self, i: usize) -> Option<&'a str> {
        let (array, at) = self.valid(i)?;
        array.as_string_opt::<i32>().map(|texts| texts.value(at))
    }

    pub(super) fn bytes(&self, i: usize) -> Option<&'a [u8]> {
        let (array, at) = self.valid(i)?;
        array.as_binary_opt::<i32>().map(|bytes| bytes.value(at))
    }

    pub(super) fn whole(&self, i: usize) -> Option<i64> {
        let (array, at) = self.valid(i)?;
        array.as_primitive_opt::<Int64Type>().map(|numbers| numbers.value(at))
    }

    pub(super) fn float(&self, i: usize) -> Option<f64> {
        let (array, at) = self.valid(i)?;
        array.as_primitive_opt::<Float64Type>().map(|numbers| numbers.value(at))
    }

    pub(super) fn interval(&self, i: usize) -> Option<IntervalMonthDayNano> {
        let (array, at) = self.valid(i)?;
        array.as_primitive_opt::<IntervalMonthDayNanoType>().map(|intervals| intervals.value(at))
    }

    /// The value as PostgreSQL shows it.
    pub(super) fn shown(&self, i: usize) -> Result<Option<String>> {
        match self.valid(i) {
            Some((array, at)) => shown(array.as_ref(), at, self.zone).map(Some),
            None => Ok(None),
        }
    }

    /// The value alone.
    pub(super) fn one(&self, i: usize) -> Option<ArrayRef> {
        self.valid(i).map(|(array, at)| array.slice(at, 1))
    }

    /// The elements of an argument that is a list.
    pub(super) fn items(&self, i: usize) -> Option<ArrayRef> {
        let (array, at) = self.valid(i)?;
        array.as_list_opt::<i32>().map(|lists| lists.value(at))
    }
}

#[derive(Debug)]
struct OfRows {
    spec: &'static Spec,
    signature: Signature,
}

impl PartialEq for OfRows {
    fn eq(&self, other: &OfRows) -> bool {
        self.spec.name == other.spec.name
    }
}

impl Eq for OfRows {}

impl std::hash::Hash for OfRows {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.spec.name.hash(state);
    }
}

impl OfRows {
    fn form(&self, types: &[DataType]) -> Option<Vec<DataType>> {
        self.spec.takes.iter().find_map(|kinds| {
            let more = self.spec.is_variadic && types.len() > kinds.len();
            if types.len() != kinds.len() && !more {
                return None;
            }
            let last = kinds.last().unwrap_or(&Kind::Any);
            let kinds = kinds.iter().chain(std::iter::repeat(last));
            types.iter().zip(kinds).map(|(given, kind)| kind.taken(given)).collect()
        })
    }
}

impl ScalarUDFImpl for OfRows {
    fn name(&self) -> &str {
        self.spec.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        // What is not taken is refused where its type is asked for: an error here would be put into other words.
        Ok(self.form(types).unwrap_or_else(|| types.to_vec()))
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.form(types).ok_or_else(|| missing(self.spec.name, types))?;
        Ok(self.spec.gives.data_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = args.args.iter().map(|arg| match arg {
            ColumnarValue::Scalar(value) => value.to_array(),
            ColumnarValue::Array(array) => Ok(Arc::clone(array)),
        });
        let arrays = arrays.collect::<DfResult<Vec<ArrayRef>>>()?;
        let of_session = zone(args.config_options.execution.time_zone.as_deref().unwrap_or("UTC"))?;
        let rows = if is_constant { 1 } else { args.number_rows };
        let mut patterns = Patterns::default();
        let mut values = Vec::with_capacity(rows);
        let mut bytes: u64 = 0;
        for row in 0..rows {
            let row = Row { arrays: &arrays, row, zone: &of_session };
            let is_null = !self.spec.of_nulls && (0..arrays.len()).any(|i| row.is_null(i));
            let value = if is_null { Value::Null } else { (self.spec.run)(&row, &mut patterns)? };
            bytes = bytes.saturating_add(size(&value));
            if bytes > MOST_OF_BATCH {
                return Err(too_large().into());
            }
            values.push(value);
        }
        let column = self.spec.gives.column(values)?;
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&column, 0)?)),
            false => Ok(ColumnarValue::Array(column)),
        }
    }
}
