//! Running what was asked, within the state's memory.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use datafusion::arrow::compute::{
    SortColumn, SortOptions, concat_batches, lexsort_to_indices, take, take_record_batch,
};
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use futures::TryStreamExt;

use super::ask::Asked;
use super::below;
use crate::error::Result;
use crate::statement::future_on_large_stack;

/// The exact answer, and the memory it is accounted in.
pub(super) struct Raw {
    /// Sorted by keys (NULLs last), then by grouping set.
    pub(super) batch: RecordBatch,
    _memory: MemoryReservation,
}

/// Starts a plan.
pub(super) async fn stream(state: &SessionState, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
    let (planner, plan) = (state.clone(), plan.clone());
    let planned = future_on_large_stack(async move { planner.create_physical_plan(&plan).await });
    let physical = planned.await.map_err(below)?.map_err(below)?;
    execute_stream(physical, state.task_ctx()).map_err(below)
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

fn sorted(batch: RecordBatch, keys: usize, grouping_id: Option<usize>) -> Result<RecordBatch> {
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

/// Rows of a batch by number; `None` gives NULL.
pub(super) fn pick(values: &ArrayRef, rows: &UInt64Array) -> Result<ArrayRef> {
    take(values, rows, None).map_err(below)
}
