//! `information_schema._pg_expandarray`: of every element of an array a record, the element and its number.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Int32Array, ListArray, StructArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// An array of the records, which a select list unnests.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Expand {
    signature: Signature,
}

impl Expand {
    pub(super) fn new() -> Expand {
        Expand { signature: Signature::array(Volatility::Immutable) }
    }
}

fn fields(item: &DataType) -> Fields {
    Fields::from(vec![Field::new("x", item.clone(), true), Field::new("n", DataType::Int32, true)])
}

impl ScalarUDFImpl for Expand {
    fn name(&self) -> &str {
        "kanon_expandarray"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [DataType::List(item)] = arguments else { return plan_err!("_pg_expandarray takes an array") };
        let record = Field::new_list_field(DataType::Struct(fields(item.data_type())), true);
        Ok(DataType::List(Arc::new(record)))
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(lists) = arrays.first().and_then(|array| array.as_list_opt::<i32>()) else {
            return plan_err!("_pg_expandarray takes an array");
        };
        let numbers: Int32Array = lists
            .offsets()
            .windows(2)
            .filter_map(|ends| match ends {
                [start, end] => Some(1..=end - start),
                _ => None,
            })
            .flatten()
            .collect();
        let first = lists.offsets().first().copied().unwrap_or(0);
        let length = lists.offsets().last().copied().unwrap_or(0) - first;
        let items = lists.values().slice(usize::try_from(first).unwrap_or(0), usize::try_from(length).unwrap_or(0));
        let of_record = fields(items.data_type());
        let records = StructArray::try_new(of_record.clone(), vec![items, Arc::new(numbers)], None)?;
        let offsets = OffsetBuffer::from_lengths(
            (0..lists.len()).map(|row| usize::try_from(lists.value_length(row)).unwrap_or(0)),
        );
        let record = Arc::new(Field::new_list_field(DataType::Struct(of_record), true));
        let expanded = ListArray::try_new(record, offsets, Arc::new(records), lists.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(expanded)))
    }
}
