//! Arrays of records, which a select list unnests: what `information_schema._pg_expandarray` and `aclexplode` answer.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// `kanon_records('x', xs, 'n', ns)`: of arrays of one length in each row the records of what is at the same place in them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Records {
    signature: Signature,
}

impl Records {
    pub(super) fn new() -> Records {
        Records { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Records {
    fn name(&self) -> &str {
        "kanon_records"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("{} is made of names and arrays", self.name())
    }
    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let names = arguments.scalar_arguments.iter().step_by(2);
        let lists = arguments.arg_fields.iter().skip(1).step_by(2);
        let mut fields = Vec::new();
        for (name, list) in names.zip(lists) {
            let name = name.and_then(|name| name.try_as_str().flatten());
            let (Some(name), DataType::List(item)) = (name, list.data_type()) else {
                return plan_err!("{} is made of names and arrays", self.name());
            };
            fields.push(Arc::new(item.as_ref().clone().with_name(name).with_nullable(true)));
        }
        let record = Field::new_list_field(DataType::Struct(Fields::from(fields)), true);
        Ok(Arc::new(Field::new(self.name(), DataType::List(Arc::new(record)), true)))
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::List(record) = args.return_field.data_type() else { return exec_err!("no records") };
        let DataType::Struct(fields) = record.data_type() else { return exec_err!("no records") };
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let count = if all_scalar { 1 } else { args.number_rows };
        let lists: Vec<ArrayRef> =
            args.args.iter().skip(1).step_by(2).map(|list| list.to_array(count)).collect::<Result<_>>()?;
        let lists: Vec<&ListArray> = lists.iter().filter_map(|list| list.as_list_opt::<i32>()).collect();
        let Some(first) = lists.first() else { return exec_err!("no arrays") };
        let length = |list: &ListArray, row| if list.is_valid(row) { list.value_length(row) } else { 0 };
        if lists.iter().any(|list| (0..count).any(|row| length(list, row) != length(first, row))) {
            return exec_err!("arrays of different lengths");
        }
        let columns: Vec<ArrayRef> = lists.iter().map(|list| values(list)).collect::<Result<_>>()?;
        let records = StructArray::try_new(fields.clone(), columns, None)?;
        let offsets =
            OffsetBuffer::from_lengths((0..count).map(|row| usize::try_from(length(first, row)).unwrap_or(0)));
        let lists = ListArray::try_new(Arc::clone(record), offsets, Arc::new(records), first.nulls().cloned())?;
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}

/// The elements of all arrays, one after the other.
fn values(list: &ListArray) -> Result<ArrayRef> {
    let rows: Vec<ArrayRef> = (0..list.len()).filter(|row| list.is_valid(*row)).map(|row| list.value(row)).collect();
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    if rows.is_empty() {
        return Ok(list.values().slice(0, 0));
    }
    Ok(concat(&rows)?)
}
