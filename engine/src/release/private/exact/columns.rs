//! The columns of a release's rows: as the plan gives them, and as they wait for the others of their unit.
//!
//! ```text
//! the plan's   unit │ key … │ argument … │ value of count(distinct) …
//!                 │       │
//! a row's        id │ group │ unit, if its id is a name │ argument … │ value …
//! ```
//!
//! The id of a unit is its value where that is an integer, and a name of 128 bits elsewhere. Of a dictionary every value is named once. What a
//! row's columns hold shares no buffer with other rows: what waits is what is accounted.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, RecordBatchOptions,
    UInt32Array, UInt64Array,
};
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::compute::{cast, filter_record_batch, take};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type, UInt64Type};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast as cast_to, lit};
use kanon_planner::private::Question;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::bounding::{SiteKey, UnitOrder};
use kanon_privacy::statistics::Statistic;

use super::super::super::{below, run};
use super::super::groups::KeyBytes;
use crate::error::{Error, Result};

/// The column of units.
const UNIT: &str = "__kanon_unit";
/// The width of a name in bytes.
const NAME: usize = 16;

/// The plan of the rows that are read: the unit, the keys, the arguments, the values of count(distinct). Where each row is of another unit, that
/// there is one stands for it.
pub(super) fn rows(unit: &ReleaseUnit, question: &Question, mechanisms: &Mechanisms) -> Result<LogicalPlan> {
    let unit_column = unit.unit.clone().ok_or_else(Error::below_boundary)?;
    let mut rows = LogicalPlanBuilder::from(with_null_units(unit));
    let unit_column = Expr::Column(unit_column);
    let mut columns = vec![match unit.one_row_a_unit {
        false => unit_column.alias(UNIT),
        // Whose row it is does not matter, and need not be read.
        true => {
            rows = rows.filter(unit_column.is_not_null()).map_err(below)?;
            lit(true).alias(UNIT)
        }
    }];
    columns.extend(
        question.keys.iter().enumerate().map(|(i, key)| key.expr.clone().unalias().alias(format!("__kanon_key_{i}"))),
    );
    for (i, argument) in question.arguments.iter().enumerate() {
        let value = match (&argument.grid, argument.is_integer) {
            (Some(_), true) => cast_to(argument.expr.clone(), DataType::Int64),
            (Some(_), false) => cast_to(argument.expr.clone(), DataType::Float64),
            (None, _) => argument.expr.clone().is_not_null(),
        };
        columns.push(value.alias(format!("__kanon_argument_{i}")));
    }
    for (i, x) in distinct(mechanisms).enumerate() {
        let argument = question.arguments.get(x).ok_or_else(Error::below_boundary)?;
        columns.push(argument.expr.clone().alias(format!("__kanon_distinct_{i}")));
    }
    rows.project(columns).and_then(LogicalPlanBuilder::build).map_err(below)
}

/// What a unit reads, without the test at the top that there is a unit: who bounds rows drops those without one, and copies nothing for it.
fn with_null_units(unit: &ReleaseUnit) -> LogicalPlan {
    let is_unit = |e: &Expr| matches!((e, &unit.unit), (Expr::Column(column), Some(unit)) if column == unit);
    match &unit.input {
        LogicalPlan::Filter(filter) if matches!(&filter.predicate, Expr::IsNotNull(tested) if is_unit(tested)) => {
            filter.input.as_ref().clone()
        }
        other => other.clone(),
    }
}

/// The arguments of count(distinct), in the order of their statistics.
fn distinct(mechanisms: &Mechanisms) -> impl Iterator<Item = usize> {
    mechanisms.plan.statistics().iter().filter_map(|s| match s {
        Statistic::Distinct(x, _) => Some(*x),
        _ => None,
    })
}

/// Where what is.
pub(super) struct Layout {
    unit: DataType,
    /// The types of the keys, as the plan gives them.
    pub(super) keys: Vec<DataType>,
    /// The types of arguments and values.
    pub(super) contents: Vec<DataType>,
    arguments: usize,
    /// Of a row's columns.
    pub(super) schema: SchemaRef,
}

impl Layout {
    /// Of a plan with this schema.
    pub(super) fn of(plan: &Schema, question: &Question) -> Result<Layout> {
        let types: Vec<DataType> = plan.fields().iter().map(|f| f.data_type().clone()).collect();
        let (unit, rest) = types.split_first().ok_or_else(Error::below_boundary)?;
        let (keys, contents) = rest.split_at_checked(question.keys.len()).ok_or_else(Error::below_boundary)?;
        let own = |t: &DataType| run::without_shared_buffers(t).unwrap_or_else(|| t.clone());
        let unit = own(unit);
        let contents: Vec<DataType> = contents.iter().map(own).collect();
        let id = if unit.is_integer() { DataType::UInt64 } else { DataType::FixedSizeBinary(NAME as i32) };
        let mut fields = vec![Field::new("id", id, false), Field::new("group", DataType::UInt32, false)];
        if !unit.is_integer() {
            fields.push(Field::new("unit", unit.clone(), true));
        }
        fields.extend(contents.iter().enumerate().map(|(i, t)| Field::new(format!("content {i}"), t.clone(), true)));
        let schema = Arc::new(Schema::new(fields));
        Ok(Layout { unit, keys: keys.to_vec(), contents, arguments: question.arguments.len(), schema })
    }

    /// Whether ids are the units themselves, as 64 bits.
    pub(super) fn ids_are_words(&self) -> bool {
        self.unit.is_integer()
    }

    /// Whether those are numbers with a sign.
    pub(super) fn ids_are_signed(&self) -> bool {
        self.unit != DataType::UInt64
    }

    /// The keys in a batch of the plan.
    pub(super) fn keys_of<'b>(&self, batch: &'b RecordBatch) -> Result<&'b [ArrayRef]> {
        batch.columns().get(1..=self.keys.len()).ok_or_else(Error::below_boundary)
    }

    /// Arguments and values in a batch of the plan.
    pub(super) fn contents_of(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let columns = batch.columns().get(1 + self.keys.len()..).ok_or_else(Error::below_boundary)?;
        columns.iter().zip(&self.contents).map(|(column, own)| unshared(column, own)).collect()
    }

    /// The arguments among the contents, and the values of count(distinct).
    pub(super) fn split<'b>(&self, contents: &'b [ArrayRef]) -> Result<(&'b [ArrayRef], &'b [ArrayRef])> {
        contents.split_at_checked(self.arguments).ok_or_else(Error::below_boundary)
    }

    /// Arguments and values in a batch of rows.
    pub(super) fn contents<'b>(&self, rows: &'b RecordBatch) -> Result<&'b [ArrayRef]> {
        let from = if self.unit.is_integer() { 2 } else { 3 };
        rows.columns().get(from..).ok_or_else(Error::below_boundary)
    }

    /// The orders of the units of some rows.
    pub(super) fn orders(&self, rows: &RecordBatch, which: &[u32], key: &SiteKey) -> Result<Vec<UnitOrder>> {
        let which = UInt32Array::from(which.to_vec());
        let units = if self.unit.is_integer() {
            let ids = take(rows.columns().first().ok_or_else(Error::below_boundary)?, &which, None).map_err(below)?;
            let ids = ids.as_primitive_opt::<UInt64Type>().ok_or_else(Error::below_boundary)?;
            match self.unit {
                DataType::UInt64 => Arc::new(ids.clone()) as ArrayRef,
                _ => cast(&Int64Array::new(ids.values().inner().clone().into(), None), &self.unit).map_err(below)?,
            }
        } else {
            take(rows.columns().get(2).ok_or_else(Error::below_boundary)?, &which, None).map_err(below)?
        };
        let mut orders = Vec::with_capacity(which.len());
        KeyBytes::of(std::slice::from_ref(&self.unit))?.each(&[units], |unit| {
            orders.push(key.unit(unit));
            Ok(())
        })?;
        Ok(orders)
    }
}

/// Makes rows of batches of the plan.
pub(super) struct Identifier {
    layout: Arc<Layout>,
    key: SiteKey,
    bytes: KeyBytes,
    /// The dictionary that came last, and the names of its values.
    dictionary: Option<(ArrayRef, Vec<[u8; NAME]>)>,
}

impl Identifier {
    pub(super) fn new(layout: &Arc<Layout>, key: &SiteKey) -> Result<Identifier> {
        let bytes = KeyBytes::of(std::slice::from_ref(&layout.unit))?;
        Ok(Identifier { layout: Arc::clone(layout), key: key.clone(), bytes, dictionary: None })
    }

    /// The rows of a batch, whose groups are known, and which all have a unit.
    pub(super) fn rows(&mut self, batch: &RecordBatch, groups: Vec<u32>) -> Result<RecordBatch> {
        let unit = batch.columns().first().ok_or_else(Error::below_boundary)?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.layout.schema.fields().len());
        if self.layout.unit.is_integer() {
            let unit = unshared(unit, &self.layout.unit)?;
            let ids = match unit.as_primitive_opt::<UInt64Type>() {
                Some(ids) => UInt64Array::new(ids.values().clone(), None),
                None => {
                    let ids = cast(&unit, &DataType::Int64).map_err(below)?;
                    let ids = ids.as_primitive_opt::<Int64Type>().ok_or_else(Error::below_boundary)?;
                    UInt64Array::new(ids.values().inner().clone().into(), None)
                }
            };
            columns.push(Arc::new(ids));
            columns.push(Arc::new(UInt32Array::from(groups)));
        } else {
            columns.push(Arc::new(self.names(unit)?));
            columns.push(Arc::new(UInt32Array::from(groups)));
            columns.push(unshared(unit, &self.layout.unit)?);
        }
        columns.extend(self.layout.contents_of(batch)?);
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.layout.schema), columns, &options).map_err(below)
    }

    fn names(&mut self, units: &ArrayRef) -> Result<FixedSizeBinaryArray> {
        let mut bytes: Vec<u8> = Vec::with_capacity(units.len() * NAME);
        match units.as_any_dictionary_opt() {
            Some(dictionary) if dictionary.values().is_empty() => bytes.resize(units.len() * NAME, 0),
            Some(dictionary) => {
                let values = dictionary.values();
                if !self.dictionary.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, values)) {
                    let mut names = Vec::with_capacity(values.len());
                    self.each_name(values, |name| names.push(name))?;
                    self.dictionary = Some((Arc::clone(values), names));
                }
                let names = self.dictionary.as_ref().map_or(&[][..], |(_, names)| names);
                // The key of a NULL may be any.
                dictionary
                    .normalized_keys()
                    .iter()
                    .for_each(|place| bytes.extend(names.get(*place).unwrap_or(&[0; NAME])));
            }
            None => self.each_name(units, |name| bytes.extend(name))?,
        }
        FixedSizeBinaryArray::try_new(NAME as i32, Buffer::from_vec(bytes), None).map_err(below)
    }

    fn each_name(&self, units: &ArrayRef, mut with: impl FnMut([u8; NAME])) -> Result<()> {
        let units = unshared(units, &self.layout.unit)?;
        self.bytes.each(&[units], |unit| {
            with(self.key.name(unit).to_le_bytes());
            Ok(())
        })
    }
}

/// The rows of a batch of the plan that have a unit.
pub(super) fn with_units(batch: RecordBatch) -> Result<RecordBatch> {
    let unit = batch.columns().first().ok_or_else(Error::below_boundary)?;
    match unit.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Ok(batch),
        Some(nulls) => filter_record_batch(&batch, &BooleanArray::new(nulls.into_inner(), None)).map_err(below),
    }
}

/// The ids of rows.
pub(super) enum Ids<'r> {
    /// Integers.
    Words(&'r [u64]),
    /// Names.
    Names(&'r FixedSizeBinaryArray),
}

/// The ids of rows.
pub(super) fn ids(rows: &RecordBatch) -> Result<Ids<'_>> {
    let column = rows.columns().first().ok_or_else(Error::below_boundary)?;
    match column.as_primitive_opt::<UInt64Type>() {
        Some(words) => Ok(Ids::Words(words.values())),
        None => column.as_fixed_size_binary_opt().map(Ids::Names).ok_or_else(Error::below_boundary),
    }
}

/// The groups of rows.
pub(super) fn groups(rows: &RecordBatch) -> Result<&[u32]> {
    let column = rows.columns().get(1).ok_or_else(Error::below_boundary)?;
    Ok(column.as_primitive_opt::<UInt32Type>().ok_or_else(Error::below_boundary)?.values())
}

fn unshared(column: &ArrayRef, own: &DataType) -> Result<ArrayRef> {
    if column.data_type() == own { Ok(Arc::clone(column)) } else { cast(column, own).map_err(below) }
}
