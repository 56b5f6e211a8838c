//! PostgreSQL's `json` and `jsonb`, `uuid`, `inet` and `timetz`: types, operators and functions.
//!
//! A value is text, and its field says of which type it is: that of `json` as it was given, that of `jsonb`, `inet` and `timetz` in the one form that
//! PostgreSQL prints, that of `uuid` in small letters. So whatever moves text moves them, and only what looks into them is here.
//!
//! ```text
//! statement ─ rewrite/json.rs ─► '…'::jsonb, json_agg(x), json_each(x) … in functions of these and of DataFusion's
//!           ─ operators.rs ────► a -> b, a @> b, a = b … by the types of a and b
//!           ─ plans.rs ────────► CASE, coalesce, casts and ORDER BY, once the plan is there
//! rows ───── values.rs (any value → JSON), read.rs (text → Value), order.rs, change.rs, write.rs (Value → text)
//! ```
//!
//! Below the privacy boundary none of them is known, so none of them is allowed.

mod build;
mod change;
pub mod inet;
mod look;
mod operators;
mod order;
mod plans;
mod read;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
pub mod timetz;
mod uuid;
mod values;
mod write;

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

pub use operators::JsonOperators;
pub use plans::as_postgresql;

use super::moments::zone;
use crate::error::{Error, Sqlstate};
use crate::pg_catalog::datetimes;
use crate::pg_catalog::types::{METADATA_KEY, PgType, annotate};
use values::{Column, is_json};

/// What a function takes in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// JSON, or text to be read as such.
    Json,
    Text,
    /// A key or an index.
    Step,
    /// A list of texts.
    Texts,
    Any,
}

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Json,
    Jsonb,
    Uuid,
    Inet,
    TimeTz,
    /// JSON of a row.
    Row,
    Text,
    Int,
    Bool,
    Bytes,
    Texts,
    /// The argument as it is, and of no type of ours.
    Same,
}

/// One answer.
enum Value {
    Null,
    Text(String),
    Int(i32),
    Bool(bool),
    Bytes(Vec<u8>),
    Texts(Vec<Option<String>>),
}

/// A function: by its name, what it takes, and how one row is answered.
struct Spec {
    name: &'static str,
    /// The last is taken again and again if there may be more.
    takes: &'static [Takes],
    least: usize,
    most: usize,
    answer: Answer,
    /// Whether NULL in any place answers NULL.
    is_strict: bool,
    work: fn(&Row<'_>) -> Result<Value, Error>,
}

type Work = fn(&Row<'_>) -> Result<Value, Error>;

/// A function of a number of arguments that answers NULL for NULL.
const fn strict(name: &'static str, takes: &'static [Takes], answer: Answer, work: Work) -> Spec {
    Spec { name, takes, least: takes.len(), most: takes.len(), answer, is_strict: true, work }
}

/// A function of any number of arguments, of which so many must be there.
const fn variadic(name: &'static str, takes: &'static [Takes], least: usize, answer: Answer, work: Work) -> Spec {
    Spec { name, takes, least, most: usize::MAX, answer, is_strict: false, work }
}

fn specs() -> impl Iterator<Item = &'static Spec> {
    build::SPECS
        .iter()
        .chain(look::SPECS)
        .chain(change::SPECS)
        .chain(plans::SPECS)
        .chain(uuid::SPECS)
        .chain(inet::SPECS)
        .chain(timetz::SPECS)
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    specs().map(|spec| Arc::new(function(spec)))
}

fn function(spec: &'static Spec) -> ScalarUDF {
    let signature = match spec.least {
        0 => TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::UserDefined]),
        _ => TypeSignature::UserDefined,
    };
    // What is written of an instant depends on the session's zone.
    let depends = spec.takes.contains(&Takes::Any);
    let volatility = if depends { Volatility::Stable } else { Volatility::Immutable };
    ScalarUDF::new_from_impl(Function { spec, signature: Signature::new(signature, volatility) })
}

/// Whether the function of a cast reads a text.
pub fn is_read(function: &str, text: &str) -> bool {
    match function {
        "kanon_json" => read::check(text).is_ok(),
        "kanon_jsonb" => write::normal(text).is_ok(),
        "kanon_inet" => inet::normal(text).is_some(),
        "kanon_timetz" => datetimes::clock(text).is_ok(),
        _ => uuid::normal(text).is_some(),
    }
}

/// A call of one of them.
fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    match specs().find(|spec| spec.name == name) {
        Some(spec) => Ok(function(spec).call(args)),
        None => internal_err!("no function {name}"),
    }
}

/// What a field's type is called in an error.
fn type_name(field: &Field) -> String {
    match field.data_type() {
        DataType::Null => "unknown".to_owned(),
        _ => PgType::of_field(field).with_typmod(-1).sql_name(),
    }
}

/// One row of arguments.
struct Row<'a> {
    name: &'static str,
    columns: &'a [Column],
    /// Where each column's value stands.
    at: usize,
    zone: &'a Tz,
}

impl Row<'_> {
    fn count(&self) -> usize {
        self.columns.len()
    }

    fn column(&self, place: usize) -> Result<(&Column, usize), Error> {
        let column = self.columns.get(place).ok_or_else(|| Error::internal("an argument is missing"))?;
        // What is the same in every row is there once.
        Ok((column, if column.array.len() == 1 { 0 } else { self.at }))
    }

    fn is_null(&self, place: usize) -> Result<bool, Error> {
        let (column, at) = self.column(place)?;
        Ok(column.array.is_null(at) || column.array.data_type().is_null())
    }

    fn text(&self, place: usize) -> Result<&str, Error> {
        let (column, at) = self.column(place)?;
        let texts = column.array.as_string_opt::<i32>().ok_or_else(|| Error::internal("an argument is no text"))?;
        Ok(if texts.is_null(at) { "" } else { texts.value(at) })
    }

    /// A document: that of `jsonb` in its one form.
    fn document(&self, place: usize) -> Result<Cow<'_, str>, Error> {
        let text = self.text(place)?;
        let (column, _) = self.column(place)?;
        match self.name.contains("jsonb") && column.of != PgType::JSONB {
            true => write::normal(text).map(Cow::Owned),
            false => Ok(Cow::Borrowed(text)),
        }
    }

    /// A key, or an index.
    fn step(&self, place: usize) -> Result<look::Step<'_>, Error> {
        let (column, at) = self.column(place)?;
        match column.array.as_primitive_opt::<Int64Type>() {
            Some(numbers) => Ok(look::Step::Index(numbers.value(at))),
            None => Ok(look::Step::Key(self.text(place)?)),
        }
    }

    /// The items of a list of texts, or of pairs of them.
    fn texts(&self, place: usize) -> Result<Vec<Option<String>>, Error> {
        let (column, at) = self.column(place)?;
        let lists = column.array.as_list_opt::<i32>().ok_or_else(|| Error::internal("an argument is no list"))?;
        let items = lists.value(at);
        let items = match items.as_list_opt::<i32>() {
            Some(pairs) if pairs.iter().any(|pair| pair.is_none_or(|pair| pair.len() != 2)) => {
                return Err(Error::new(Sqlstate::ArraySubscriptError, "array must have two columns"));
            }
            Some(pairs) => Arc::clone(pairs.values()),
            None => items,
        };
        let texts = items.as_string_opt::<i32>().ok_or_else(|| Error::internal("a list is not one of texts"))?;
        Ok(texts.iter().map(|text| text.map(str::to_owned)).collect())
    }

    /// A value as JSON.
    fn put(&self, place: usize, out: &mut String) -> Result<(), Error> {
        let (column, at) = self.column(place)?;
        Ok(column.put(at, self.zone, out)?)
    }

    fn json(&self, place: usize) -> Result<String, Error> {
        let mut out = String::new();
        self.put(place, &mut out)?;
        Ok(out)
    }
}

struct Function {
    spec: &'static Spec,
    signature: Signature,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Function").field(&self.spec.name).finish()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.spec.name == other.spec.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.name.hash(state);
    }
}

impl Function {
    fn takes(&self, place: usize) -> Takes {
        self.spec.takes.get(place).or(self.spec.takes.last()).copied().unwrap_or(Takes::Any)
    }

    /// What is wrong with the arguments.
    fn refuse(&self, fields: &[FieldRef]) -> Result<(), Error> {
        let is_wrong = |place: usize, field: &FieldRef| match self.takes(place) {
            Takes::Json | Takes::Text => !matches!(field.data_type(), DataType::Utf8),
            Takes::Step => !matches!(field.data_type(), DataType::Utf8 | DataType::Int64),
            Takes::Texts => !matches!(field.data_type(), DataType::List(_)),
            Takes::Any => false,
        };
        let is_count = (self.spec.least..=self.spec.most).contains(&fields.len());
        if is_count && !fields.iter().enumerate().any(|(place, field)| is_wrong(place, field)) {
            return Ok(());
        }
        if let (Some(target), [field]) = (cast_target(self.spec.name), fields) {
            if self.spec.name == "kanon_timetz" && field.data_type().is_temporal() {
                return Err(Error::unsupported(format!(
                    "casts from {} to {target} are not supported",
                    type_name(field)
                )));
            }
            let message = format!("cannot cast type {} to {target}", type_name(field));
            return Err(Error::new(Sqlstate::CannotCoerce, message));
        }
        let types: Vec<String> = fields.iter().map(|field| type_name(field)).collect();
        let message = format!("function {}({}) does not exist", self.spec.name, types.join(", "));
        Err(Error::new(Sqlstate::UndefinedFunction, message)
            .hint("No function matches the given name and argument types. You might need to add explicit type casts."))
    }
}

/// The type to which a function of this name casts.
fn cast_target(name: &str) -> Option<&'static str> {
    match name {
        "kanon_json" => Some("json"),
        "kanon_jsonb" => Some("jsonb"),
        "kanon_uuid" => Some("uuid"),
        "kanon_inet" => Some("inet"),
        "kanon_timetz" => Some("time with time zone"),
        _ => None,
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.spec.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let usual = |data_type: &DataType| match data_type {
            DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
            DataType::Dictionary(_, value) => match value.as_ref() {
                DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
                other => other.clone(),
            },
            other => other.clone(),
        };
        // What cannot be taken is refused with the answer's type, where an error stays what it is.
        let of = |place: usize, data_type: &DataType| match (self.takes(place), usual(data_type)) {
            (Takes::Json | Takes::Text | Takes::Step, DataType::Null) => DataType::Utf8,
            (Takes::Step, number) if number.is_integer() => DataType::Int64,
            (Takes::Texts, DataType::List(item)) if matches!(item.data_type(), DataType::List(_)) => {
                DataType::new_list(DataType::new_list(DataType::Utf8, true), true)
            }
            (Takes::Texts, DataType::Null | DataType::List(_)) => DataType::new_list(DataType::Utf8, true),
            (_, other) => other,
        };
        Ok(types.iter().enumerate().map(|(place, data_type)| of(place, data_type)).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the answer's field is asked for")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.refuse(args.arg_fields)?;
        plans::refuse(self.spec.name, args.arg_fields)?;
        let field = |data_type: DataType| Field::new(self.spec.name, data_type, true);
        Ok(Arc::new(match self.spec.answer {
            Answer::Json => annotate(field(DataType::Utf8), PgType::JSON),
            Answer::Jsonb => annotate(field(DataType::Utf8), PgType::JSONB),
            Answer::Uuid => annotate(field(DataType::Utf8), PgType::UUID),
            Answer::Inet => annotate(field(DataType::Utf8), PgType::INET),
            Answer::TimeTz => annotate(field(DataType::Utf8), PgType::TIMETZ),
            Answer::Row => annotate(field(DataType::Utf8), PgType::RECORD),
            Answer::Text => field(DataType::Utf8),
            Answer::Int => field(DataType::Int32),
            Answer::Bool => field(DataType::Boolean),
            Answer::Bytes => field(DataType::Binary),
            Answer::Texts => field(DataType::new_list(DataType::Utf8, true)),
            Answer::Same => {
                let Some(of) = args.arg_fields.first() else { return internal_err!("nothing is the same") };
                let mut same = of.as_ref().clone().with_nullable(true);
                if is_ours(PgType::of_field(of)) && matches!(of.data_type(), DataType::Utf8) {
                    let mut metadata = same.metadata().clone();
                    metadata.remove(METADATA_KEY);
                    same = same.with_metadata(metadata);
                }
                same
            }
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.spec.answer == Answer::Same {
            return args.args.into_iter().next().map_or_else(|| internal_err!("nothing is the same"), Ok);
        }
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let mut columns = Vec::with_capacity(args.args.len());
        for (arg, field) in args.args.iter().zip(&args.arg_fields) {
            let array = match arg {
                ColumnarValue::Array(array) => Arc::clone(array),
                ColumnarValue::Scalar(value) => value.to_array()?,
            };
            columns.push(Column::new(&array, field)?);
        }
        let of_session = zone(args.config_options.execution.time_zone.as_deref().unwrap_or("+00:00"))?;
        let mut answers = Vec::with_capacity(rows);
        for at in 0..rows {
            let row = Row { name: self.spec.name, columns: &columns, at, zone: &of_session };
            let mut is_null = false;
            for place in 0..row.count() {
                is_null |= self.spec.is_strict && row.is_null(place)?;
            }
            answers.push(if is_null { Value::Null } else { (self.spec.work)(&row)? });
        }
        let array = array_of(self.spec.answer, answers);
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
            false => Ok(ColumnarValue::Array(array)),
        }
    }
}

fn array_of(answer: Answer, values: Vec<Value>) -> ArrayRef {
    let values = values.into_iter();
    match answer {
        Answer::Int => Arc::new(Int32Array::from_iter(values.map(|value| match value {
            Value::Int(number) => Some(number),
            _ => None,
        }))),
        Answer::Bool => Arc::new(BooleanArray::from_iter(values.map(|value| match value {
            Value::Bool(value) => Some(value),
            _ => None,
        }))),
        Answer::Bytes => Arc::new(BinaryArray::from_iter(values.map(|value| match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }))),
        Answer::Texts => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for value in values {
                match value {
                    Value::Texts(texts) => {
                        texts.iter().for_each(|text| lists.values().append_option(text.as_deref()));
                        lists.append(true);
                    }
                    _ => lists.append(false),
                }
            }
            Arc::new(lists.finish())
        }
        _ => Arc::new(StringArray::from_iter(values.map(|value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        }))),
    }
}

/// The type that a function reads text as, if it is one of those that casts call.
pub(crate) fn read_by(function: &str) -> Option<PgType> {
    use operators::Kind;
    let kinds = [
        (Kind::Json, PgType::JSON),
        (Kind::Jsonb, PgType::JSONB),
        (Kind::Uuid, PgType::UUID),
        (Kind::Inet, PgType::INET),
        (Kind::TimeTz, PgType::TIMETZ),
    ];
    kinds.into_iter().find(|(kind, _)| kind.maker() == function).map(|(_, of)| of)
}

/// Whether values of a type are text that is of our making.
pub(crate) fn is_ours(of: PgType) -> bool {
    is_json(of) || [PgType::UUID, PgType::INET, PgType::TIMETZ].contains(&of)
}
