//! Rows in memory, and the room that they take: of the session's own, and of the node's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{Array, RecordBatch, UInt64Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::StreamExt;

use super::MAX_BYTES;
use super::columns::Columns;
use crate::error::{Error, Result, Sqlstate};
use crate::session::Rows;

/// Rows that a chunk is filled up to before another one begins.
const FULL: usize = 4_096;

/// Some rows of a table.
pub(super) struct Chunk {
    batch: RecordBatch,
    _room: Room,
}

impl Chunk {
    pub(super) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub(super) fn batch(&self) -> &RecordBatch {
        &self.batch
    }
}

/// Where room is taken from.
pub(super) struct Memory {
    pub(super) used: Arc<AtomicUsize>,
    pub(super) pool: Arc<dyn MemoryPool>,
}

/// Bytes that are given back when it is dropped.
struct Room {
    bytes: usize,
    used: Arc<AtomicUsize>,
    _reservation: MemoryReservation,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Memory {
    /// Room for so many bytes.
    ///
    /// # Errors
    /// 53200 if the session or the node has none.
    fn room(&self, bytes: usize) -> Result<Room> {
        let reservation = MemoryConsumer::new("temporary tables").register(&self.pool);
        reservation.try_grow(bytes)?;
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= MAX_BYTES);
        if self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            let most = MAX_BYTES >> 20;
            let message = format!("the temporary tables of a session may take {most} MB of memory");
            return Err(Error::new(Sqlstate::OutOfMemory, message)
                .detail("What an open transaction would put back counts too.")
                .hint("DROP or TRUNCATE those that are no longer needed, or keep fewer rows."));
        }
        Ok(Room { bytes, used: Arc::clone(&self.used), _reservation: reservation })
    }

    fn chunk(&self, batch: RecordBatch) -> Result<Arc<Chunk>> {
        let batch = compact(batch)?;
        let room = self.room(batch.get_array_memory_size())?;
        Ok(Arc::new(Chunk { batch, _room: room }))
    }

    /// Reads an answer to its end, as rows of a table.
    ///
    /// # Errors
    /// What the query fails with, what the columns do not take, and 53200.
    pub(super) async fn keep(&self, mut rows: Rows, columns: &Columns) -> Result<Vec<Arc<Chunk>>> {
        let schema = columns.schema();
        let (mut chunks, mut pending, mut count) = (Vec::new(), Vec::new(), 0_usize);
        while let Some(batch) = rows.stream.next().await {
            let batch = columns.take(&batch?)?;
            count += batch.num_rows();
            pending.push(batch);
            if count >= FULL {
                let batch = concat_batches(&schema, &pending).map_err(Error::internal)?;
                chunks.push(self.chunk(batch)?);
                (pending, count) = (Vec::new(), 0);
            }
        }
        if count > 0 {
            let batch = concat_batches(&schema, &pending).map_err(Error::internal)?;
            chunks.push(self.chunk(batch)?);
        }
        Ok(chunks)
    }

    /// More rows behind others. A last chunk with few rows is filled up, so that a table of many statements is not one of many chunks.
    ///
    /// # Errors
    /// 53200.
    pub(super) fn append(&self, chunks: &[Arc<Chunk>], mut more: Vec<Arc<Chunk>>) -> Result<Vec<Arc<Chunk>>> {
        let mut all = chunks.to_vec();
        if let (Some(last), Some(first)) = (all.last(), more.first())
            && last.rows() + first.rows() <= FULL
        {
            let schema = last.batch.schema();
            let both = concat_batches(&schema, [&last.batch, &first.batch]).map_err(Error::internal)?;
            let both = self.chunk(both)?;
            all.pop();
            more.remove(0);
            all.push(both);
        }
        all.append(&mut more);
        Ok(all)
    }
}

/// The same rows, without what else there may be in their buffers.
fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let needed: usize = batch
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX / 4096))
        .sum();
    if batch.get_array_memory_size() / 2 <= needed.saturating_add(1024) {
        return Ok(batch);
    }
    let all = UInt64Array::from_iter_values((0_u64..).take(batch.num_rows()));
    take_record_batch(&batch, &all).map_err(Error::internal)
}
