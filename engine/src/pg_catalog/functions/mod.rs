//! PostgreSQL's functions about the catalog and the session, as scalar functions of DataFusion.
//!
//! Each is a row of a table: its name, its arguments, its result, and how one row of arguments becomes a value. They read the
//! [`Directory`] only, so what the principal may not see is not there.

mod names;
mod objects;
mod privileges;
mod records;
mod session;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StringArray};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{cast, is_not_null};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

pub use names::type_oid;
pub(crate) use names::{quote_literal, type_name};

use super::View;
use super::directory::Directory;
use super::types::{PgType, annotate};
use super::values::{Column, Value};
use crate::error::Error;

/// What an argument is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number.
    Number,
    /// Text.
    Text,
    /// A truth value.
    Bool,
    /// A list, its elements as text.
    List,
    /// A number or a name: read as text.
    Any,
}

/// What a function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Text,
    Name,
    Bool,
    Int4,
    Int8,
    Oid,
    Time,
    Names,
    Texts,
    Subscripts,
    Numbers,
    Oids,
    Bools,
    /// Names of a `reg…` type.
    Listed(PgType),
    /// The argument, an empty list for NULL.
    List,
    /// The argument, its elements as text.
    AsTexts,
}

impl Answer {
    fn data_type(self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        match self {
            Answer::Text | Answer::Name => DataType::Utf8,
            Answer::Bool => DataType::Boolean,
            Answer::Int4 => DataType::Int32,
            Answer::Int8 => DataType::Int64,
            Answer::Oid => DataType::UInt32,
            Answer::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            Answer::Names | Answer::Texts | Answer::Listed(_) | Answer::List | Answer::AsTexts => list(DataType::Utf8),
            Answer::Numbers => list(DataType::Int32),
            Answer::Oids => list(DataType::UInt32),
            Answer::Bools => list(DataType::Boolean),
            Answer::Subscripts => list(DataType::Int16),
        }
    }
    fn field(self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        match self {
            Answer::Oid => annotate(field, PgType::OID),
            Answer::Name => annotate(field, PgType::NAME),
            Answer::Names => PgType::NAME.array().map_or(field.clone(), |names| annotate(field, names)),
            Answer::Listed(of) => of.array().map_or(field.clone(), |names| annotate(field, names)),
            _ => field,
        }
    }
}

/// How one row of arguments becomes a value.
pub(crate) type Run = for<'a> fn(&'a Directory, &Row<'a>) -> Result<Value<'a>, Error>;

/// A function.
#[derive(Debug)]
pub(crate) struct Spec {
    pub name: &'static str,
    pub arguments: &'static [Kind],
    /// How many of them must be given.
    pub least: usize,
    pub answer: Answer,
    pub run: Run,
}

/// A function of a number of arguments that all must be given.
pub(crate) const fn spec(name: &'static str, arguments: &'static [Kind], answer: Answer, run: Run) -> Spec {
    Spec { name, arguments, least: arguments.len(), answer, run }
}

/// All functions.
pub(crate) fn all() -> impl Iterator<Item = ScalarUDF> {
    let records = ScalarUDF::new_from_impl(records::Records::new());
    let ours = specs().map(|spec| {
        let signature = match (spec.arguments.len(), spec.least) {
            (0, _) => TypeSignature::Nullary,
            (_, 0) => TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::UserDefined]),
            _ => TypeSignature::UserDefined,
        };
        let signature = Signature::new(signature, Volatility::Stable);
        ScalarUDF::new_from_impl(CatalogFunction { spec, signature })
    });
    ours.chain([records])
}

fn specs() -> impl Iterator<Item = &'static Spec> {
    names::SPECS.iter().chain(objects::SPECS).chain(privileges::SPECS).chain(session::SPECS)
}

/// Whether a name is one of these functions.
pub(crate) fn is_ours(name: &str) -> bool {
    specs().any(|spec| spec.name == name)
}

/// One of them. It is of whom the configuration of the statement says.
struct CatalogFunction {
    spec: &'static Spec,
    signature: Signature,
}

impl fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatalogFunction({})", self.spec.name)
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.spec.name == other.spec.name
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.spec.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match (self.spec.answer, arguments) {
            (Answer::List, [list @ DataType::List(_)]) => Ok(list.clone()),
            (answer, _) => Ok(answer.data_type()),
        }
    }
    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        match (self.spec.answer, arguments.arg_fields) {
            (Answer::List, [list]) if matches!(list.data_type(), DataType::List(_)) => {
                Ok(Arc::new(list.as_ref().clone().with_name(self.spec.name).with_nullable(true)))
            }
            (answer, _) => Ok(Arc::new(answer.field(self.spec.name))),
        }
    }
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() < self.spec.least || types.len() > self.spec.arguments.len() {
            return plan_err!("function {} does not exist with {} arguments", self.spec.name, types.len());
        }
        Ok(types.iter().zip(self.spec.arguments).map(|(given, kind)| wanted_type(*kind, given)).collect())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let (Answer::List, [list]) = (self.spec.answer, args.args.as_slice()) {
            return or_empty(list, args.number_rows);
        }
        if let (Answer::AsTexts, [list]) = (self.spec.answer, args.args.as_slice()) {
            return list.cast_to(&self.spec.answer.data_type(), None);
        }
        let options = Arc::clone(&args.config_options);
        let view = options.extensions.get::<View>();
        let directory = view.ok_or_else(|| Error::internal("a statement without a viewer"))?.0.directory();
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let count = if all_scalar { 1 } else { args.number_rows };
        let columns = args
            .args
            .into_iter()
            .zip(self.spec.arguments)
            .map(|(arg, kind)| Argument::new(*kind, arg.into_array(count)?))
            .collect::<Result<Vec<_>>>()?;
        let mut out = Column::new(&self.spec.answer.data_type());
        for index in 0..count {
            let row = Row { columns: &columns, index };
            out.push(&(self.spec.run)(directory, &row).map_err(|e| DataFusionError::External(Box::new(e)))?);
        }
        let array = out.finish();
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// A list, with empty ones for NULL.
fn or_empty(list: &ColumnarValue, count: usize) -> Result<ColumnarValue> {
    let array = list.to_array(count)?;
    let DataType::List(item) = array.data_type() else { return Ok(list.clone()) };
    let empty = ScalarValue::List(ScalarValue::new_list(&[], item.data_type(), true)).to_scalar()?;
    let given = is_not_null(&array)?;
    Ok(ColumnarValue::Array(zip(&given, &array, &empty)?))
}

fn wanted_type(kind: Kind, given: &DataType) -> DataType {
    match kind {
        Kind::Number => DataType::Int64,
        Kind::Text => DataType::Utf8,
        Kind::Bool => DataType::Boolean,
        Kind::List if *given == DataType::Null => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        Kind::Any if *given == DataType::Null => DataType::Utf8,
        Kind::List | Kind::Any => given.clone(),
    }
}

/// An argument's column.
enum Argument {
    Numbers(Int64Array),
    Texts(StringArray),
    Bools(BooleanArray),
    Lists(ListArray),
}

impl Argument {
    fn new(kind: Kind, array: ArrayRef) -> Result<Argument> {
        let texts =
            || -> Result<Argument> { Ok(Argument::Texts(cast(&array, &DataType::Utf8)?.as_string::<i32>().clone())) };
        match kind {
            Kind::Number => Ok(Argument::Numbers(cast(&array, &DataType::Int64)?.as_primitive().clone())),
            Kind::Bool => Ok(Argument::Bools(cast(&array, &DataType::Boolean)?.as_boolean().clone())),
            Kind::Text | Kind::Any => texts(),
            Kind::List => {
                let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
                Ok(Argument::Lists(cast(&array, &list)?.as_list::<i32>().clone()))
            }
        }
    }
}

/// One row of arguments.
pub(crate) struct Row<'a> {
    columns: &'a [Argument],
    index: usize,
}

impl<'a> Row<'a> {
    fn valid(&self, array: &dyn Array) -> bool {
        array.is_valid(self.index)
    }
    /// How many arguments were given.
    pub(crate) fn count(&self) -> usize {
        self.columns.len()
    }
    /// A number; `None` for NULL and for what was not given.
    pub(crate) fn number(&self, i: usize) -> Option<i64> {
        match self.columns.get(i)? {
            Argument::Numbers(array) => self.valid(array).then(|| array.value(self.index)),
            _ => None,
        }
    }
    /// A number that is an OID.
    pub(crate) fn oid(&self, i: usize) -> Option<u32> {
        u32::try_from(self.number(i)?).ok()
    }
    /// Text.
    pub(crate) fn text(&self, i: usize) -> Option<&str> {
        match self.columns.get(i)? {
            Argument::Texts(array) => self.valid(array).then(|| array.value(self.index)),
            _ => None,
        }
    }
    /// A truth value.
    pub(crate) fn bool(&self, i: usize) -> Option<bool> {
        match self.columns.get(i)? {
            Argument::Bools(array) => self.valid(array).then(|| array.value(self.index)),
            _ => None,
        }
    }
    /// A list.
    pub(crate) fn list(&self, i: usize) -> Option<Vec<Option<String>>> {
        match self.columns.get(i)? {
            Argument::Lists(array) if self.valid(array) => {
                let items = array.value(self.index);
                Some(items.as_string::<i32>().iter().map(|item| item.map(str::to_owned)).collect())
            }
            _ => None,
        }
    }
    /// NULL for a function that is NULL when this argument is.
    pub(crate) fn is_null(&self, i: usize) -> bool {
        match self.columns.get(i) {
            Some(Argument::Numbers(array)) => !self.valid(array),
            Some(Argument::Texts(array)) => !self.valid(array),
            Some(Argument::Bools(array)) => !self.valid(array),
            Some(Argument::Lists(array)) => !self.valid(array),
            None => true,
        }
    }
}
