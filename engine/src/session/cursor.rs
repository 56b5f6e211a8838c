//! Cursors: answers that a session reads piece by piece, forwards.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::StreamExt;
use tokio::sync::Mutex;

use super::Rows;
use crate::error::{Error, Result};

/// An open cursor.
pub struct Cursor {
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether it outlives its transaction.
    pub hold: bool,
    state: Mutex<Reading>,
}

struct Reading {
    rows: Rows,
    rest: Option<RecordBatch>,
}

impl Cursor {
    /// A cursor before its first row.
    pub fn new(rows: Rows, hold: bool) -> Arc<Cursor> {
        Arc::new(Cursor { schema: Arc::clone(&rows.schema), hold, state: Mutex::new(Reading { rows, rest: None }) })
    }

    /// The next rows, at most `count` (`None`: all that are left). At most `limit` are kept in memory.
    ///
    /// # Errors
    /// What the query fails with; 53200 if ALL is more than `limit`.
    pub async fn fetch(&self, count: Option<usize>, limit: usize) -> Result<Vec<RecordBatch>> {
        // A mutex made for being held while rows arrive: two fetches of one cursor wait for one another.
        let mut reading = self.state.lock().await;
        let mut wanted = count.unwrap_or(usize::MAX);
        let (mut taken, mut total) = (Vec::new(), 0);
        while wanted > 0 {
            let batch = match reading.rest.take() {
                Some(batch) => batch,
                None => match reading.rows.stream.next().await {
                    Some(batch) => batch?,
                    None => break,
                },
            };
            let now = wanted.min(batch.num_rows());
            if now < batch.num_rows() {
                reading.rest = Some(batch.slice(now, batch.num_rows() - now));
            }
            wanted -= now;
            total += now;
            if total > limit {
                return Err(Error::new(
                    crate::error::Sqlstate::OutOfMemory,
                    format!("more than {limit} rows were asked of a cursor at once"),
                )
                .hint("Fetch fewer rows at a time."));
            }
            taken.push(batch.slice(0, now));
        }
        Ok(taken)
    }
}
