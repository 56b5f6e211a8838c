//! Rows that are each of another unit: added as they come.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use super::super::super::below;
use super::super::groups::{DROPPED, KeyBytes};
use super::Job;
use super::columns::with_units;
use super::distinct::Value;
use super::totals::Totals;
use crate::error::Result;

/// The totals of these rows.
pub(super) async fn add(job: Arc<Job>, mut totals: Totals, mut stream: SendableRecordBatchStream) -> Result<Totals> {
    let mut numbers = job.numbers()?;
    while let Some(batch) = stream.try_next().await.map_err(below)? {
        let batch = with_units(batch)?;
        let mut groups = numbers.of_rows(job.layout.keys_of(&batch)?, batch.num_rows())?;
        let mut contents = job.layout.contents_of(&batch)?;
        if groups.contains(&DROPPED) {
            let kept = (0_u32..).zip(&groups).filter(|(_, group)| **group != DROPPED).map(|(row, _)| row);
            let kept = UInt32Array::from_iter_values(kept);
            contents = contents.iter().map(|c| take(c, &kept, None).map_err(below)).collect::<Result<_>>()?;
            groups.retain(|group| *group != DROPPED);
        }
        let number = job.groups.read().map_err(below)?.len();
        totals.resize(number)?;
        totals.add_units(groups.iter().copied())?;
        let (arguments, distinct) = job.layout.split(&contents)?;
        totals.add_rows(&groups, arguments)?;
        if !distinct.is_empty() {
            let values = values(&groups, distinct)?;
            job.distinct.lock().map_err(below)?.add(values)?;
        }
        tokio::task::consume_budget().await;
    }
    Ok(totals)
}

/// The values that the rows add to those of their groups.
fn values(groups: &[u32], columns: &[ArrayRef]) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    for (number, column) in (0_u32..).zip(columns) {
        let mut rows = groups.iter().enumerate();
        KeyBytes::of(&[column.data_type().clone()])?.each(std::slice::from_ref(column), |value| {
            if let Some((row, group)) = rows.next()
                && column.is_valid(row)
            {
                values.push((number, *group, value.into()));
            }
            Ok(())
        })?;
    }
    Ok(values)
}
