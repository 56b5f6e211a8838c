//! Running what was asked, within the state's memory.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, MutableArrayData, RecordBatch, UInt32Array, UInt64Array, make_array};
use datafusion::arrow::compute::{
    SortColumn, SortOptions, cast, concat_batches, lexsort_to_indices, take_record_batch,
};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use futures::TryStreamExt;

use super::ask::Asked;
use super::below;
use crate::error::{Error, Result};
use crate::statement::future_on_large_stack;

/// The exact answer, and the memory it is accounted in.
pub(super) struct Raw {
    /// Sorted by keys (NULLs last), then by grouping set.
    pub(super) batch: RecordBatch,
    _memory: MemoryReservation,
}

/// Starts a plan.
pub(super) async fn stream(state: &SessionState, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
    execute_stream(physical(state, plan).await?, state.task_ctx()).map_err(below)
}

/// How a plan is run.
pub(super) async fn physical(state: &SessionState, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let (planner, plan) = (state.clone(), plan.clone());
    let planned = future_on_large_stack(async move { planner.create_physical_plan(&plan).await });
    planned.await.map_err(below)?.map_err(below)
}

/// Runs the question.
pub(super) async fn to_sorted_batch(state: &SessionState, asked: &Asked) -> Result<Raw> {
    let memory = MemoryConsumer::new("release").register(&state.runtime_env().memory_pool);
    let mut stream = stream(state, &asked.plan).await?;
    let schema = stream.schema();
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await.map_err(below)? {
        // Twice: the batches, and the one they become; the cells of the rules are of the same order.
        memory.try_grow(batch.get_array_memory_size().saturating_mul(2)).map_err(below)?;
        batches.push(batch);
    }
    let batch = concat_batches(&schema, &batches).map_err(below)?;
    drop(batches);
    Ok(Raw { batch: sorted(batch, asked.keys, asked.grouping_id)?, _memory: memory })
}

/// In the order of the keys, NULLs last.
pub(super) fn sorted(batch: RecordBatch, keys: usize, grouping_id: Option<usize>) -> Result<RecordBatch> {
    let columns: Vec<SortColumn> = (0..keys)
        .chain(grouping_id)
        .filter_map(|c| batch.columns().get(c))
        .map(|values| SortColumn {
            values: Arc::clone(values),
            options: Some(SortOptions { descending: false, nulls_first: false }),
        })
        .collect();
    if columns.is_empty() || batch.num_rows() < 2 {
        return Ok(batch);
    }
    let order: UInt32Array = lexsort_to_indices(&columns, None).map_err(below)?;
    take_record_batch(&batch, &order).map_err(below)
}

/// Rows of a batch by number; `None` gives NULL, and nothing of any other row comes along.
///
/// Arrow's own `take` would do for a reader who minds the NULLs. But Arrow's wire format carries what lies under a NULL, and `take` leaves
/// there whatever the number beside the NULL points at: the very value that is withheld. A dictionary or a buffer of views likewise comes
/// along whole, with the keys of withheld groups. So every value is copied by itself, and under a NULL lie zeros.
pub(super) fn pick(values: &ArrayRef, rows: &UInt64Array) -> Result<ArrayRef> {
    if let Some(plain) = without_shared_buffers(values.data_type()) {
        let flat = pick(&cast(values, &plain).map_err(below)?, rows)?;
        return cast(&flat, values.data_type()).map_err(below);
    }
    let data = values.to_data();
    let mut out = MutableArrayData::new(vec![&data], true, rows.len());
    for row in rows {
        match row.map(usize::try_from).transpose().map_err(below)? {
            Some(row) if row >= values.len() => return Err(Error::below_boundary()),
            Some(row) if values.is_valid(row) => out.try_extend(0, row, row + 1).map_err(below)?,
            _ => out.try_extend_nulls(1).map_err(below)?,
        }
    }
    Ok(make_array(out.freeze()))
}

/// The type whose arrays hold their own values only, for one whose arrays share a buffer with others.
pub(super) fn without_shared_buffers(shared: &DataType) -> Option<DataType> {
    match shared {
        DataType::Utf8View => Some(DataType::LargeUtf8),
        DataType::BinaryView => Some(DataType::LargeBinary),
        DataType::Dictionary(_, values) => {
            Some(without_shared_buffers(values).unwrap_or_else(|| values.as_ref().clone()))
        }
        DataType::List(item) => Some(DataType::List(own_buffers(item)?)),
        DataType::LargeList(item) => Some(DataType::LargeList(own_buffers(item)?)),
        DataType::FixedSizeList(item, size) => Some(DataType::FixedSizeList(own_buffers(item)?, *size)),
        DataType::ListView(item) => Some(DataType::List(own_buffers(item).unwrap_or_else(|| Arc::clone(item)))),
        DataType::LargeListView(item) => {
            Some(DataType::LargeList(own_buffers(item).unwrap_or_else(|| Arc::clone(item))))
        }
        DataType::Struct(fields) => {
            let own: Vec<Option<FieldRef>> = fields.iter().map(own_buffers).collect();
            let any = own.iter().any(Option::is_some);
            let all = fields.iter().zip(own).map(|(field, own)| own.unwrap_or_else(|| Arc::clone(field)));
            any.then(|| DataType::Struct(all.collect()))
        }
        _ => None,
    }
}

/// A field of a nested type, if arrays of its type share a buffer.
fn own_buffers(field: &FieldRef) -> Option<FieldRef> {
    let plain = without_shared_buffers(field.data_type())?;
    Some(Arc::new(field.as_ref().clone().with_data_type(plain)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{
        ArrayData, DictionaryArray, Float64Array, Int64Array, ListArray, StringArray, StringViewArray, StructArray,
    };
    use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
    use datafusion::arrow::datatypes::{Field, Int32Type};

    use datafusion::arrow::compute::take;

    use super::*;

    /// All bytes of an array, as the wire would carry them.
    fn bytes(array: &ArrayRef) -> Vec<u8> {
        fn of(data: &ArrayData, out: &mut Vec<u8>) {
            data.buffers().iter().for_each(|b| out.extend(b.as_slice()));
            data.child_data().iter().for_each(|c| of(c, out));
        }
        let mut out = Vec::new();
        of(&array.to_data(), &mut out);
        out
    }

    fn holds(array: &ArrayRef, secret: &[u8]) -> bool {
        bytes(array).windows(secret.len()).any(|w| w == secret)
    }

    #[test]
    fn nothing_lies_under_a_null() {
        let secret = 0x0123_4567_89ab_cdef_i64;
        let integers: ArrayRef = Arc::new(Int64Array::from(vec![Some(secret), Some(7)]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![f64::from_bits(0x4123_4567_89ab_cdef), 7.0]));
        let known = UInt64Array::from(vec![None, Some(1)]);
        // The negative control: a NULL beside the number 0 takes along what is there.
        assert!(holds(&take(&integers, &known, None).unwrap(), &secret.to_le_bytes()));
        let picked = pick(&integers, &known).unwrap();
        assert!(!holds(&picked, &secret.to_le_bytes()));
        assert_eq!((picked.is_null(0), picked.is_valid(1), picked.len()), (true, true, 2));
        assert!(!holds(&pick(&floats, &known).unwrap(), &0x4123_4567_89ab_cdef_u64.to_le_bytes()));
        // Nor under a NULL of the values themselves.
        let nulls = NullBuffer::from(vec![false, true]);
        let hidden: ArrayRef = Arc::new(Int64Array::new(vec![secret, 7].into(), Some(nulls)));
        let picked = pick(&hidden, &UInt64Array::from(vec![0, 1])).unwrap();
        assert!(picked.is_null(0) && !holds(&picked, &secret.to_le_bytes()));
    }

    #[test]
    fn keys_of_withheld_groups_stay() {
        let secret = "a city that nobody may hear of";
        let texts = vec![Some(secret), Some("another long name of a large city"), None];
        let some = UInt64Array::from(vec![1, 2]);
        let dictionary: DictionaryArray<Int32Type> = texts.iter().copied().collect();
        let keys: [ArrayRef; 3] = [
            Arc::new(StringArray::from(texts.clone())),
            Arc::new(StringViewArray::from(texts.clone())),
            Arc::new(dictionary),
        ];
        for (number, keys) in keys.iter().enumerate() {
            // The negative control: `take` hands on whole dictionaries and buffers of views.
            assert_eq!(holds(&take(keys, &some, None).unwrap(), secret.as_bytes()), number > 0);
            let picked = pick(keys, &some).unwrap();
            assert!(!holds(&picked, secret.as_bytes()), "{:?}", keys.data_type());
            assert_eq!(
                &cast(&picked, &DataType::Utf8).unwrap(),
                &(Arc::new(StringArray::from(texts[1..].to_vec())) as ArrayRef)
            );
        }
    }

    #[test]
    fn keys_of_withheld_groups_stay_in_lists_and_structs_too() {
        let secret = "a city that nobody may hear of";
        let texts = vec![Some(secret), Some("another long name of a large city"), None];
        let views: ArrayRef = Arc::new(StringViewArray::from(texts.clone()));
        let dictionary: ArrayRef = Arc::new(texts.iter().copied().collect::<DictionaryArray<Int32Type>>());
        let field = |values: &ArrayRef| Arc::new(Field::new("item", values.data_type().clone(), true));
        let one_each = || OffsetBuffer::<i32>::from_lengths([1, 1, 1]);
        let list: ArrayRef = Arc::new(ListArray::new(field(&views), one_each(), Arc::clone(&views), None));
        let keys: [ArrayRef; 4] = [
            Arc::clone(&list),
            Arc::new(ListArray::new(field(&dictionary), one_each(), Arc::clone(&dictionary), None)),
            Arc::new(StructArray::from(vec![(field(&views), Arc::clone(&views))])),
            Arc::new(StructArray::from(vec![(field(&list), Arc::clone(&list))])),
        ];
        let some = UInt64Array::from(vec![Some(1), None]);
        for keys in &keys {
            assert!(holds(&take(keys, &some, None).unwrap(), secret.as_bytes()), "{:?}", keys.data_type());
            let picked = pick(keys, &some).unwrap();
            assert!(!holds(&picked, secret.as_bytes()), "{:?}", keys.data_type());
            assert_eq!(picked.data_type(), keys.data_type());
            assert_eq!(&picked.slice(0, 1), &keys.slice(1, 1));
            assert!(picked.is_null(1));
        }
    }
}
