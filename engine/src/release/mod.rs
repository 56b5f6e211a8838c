//! The only code that sees exact statistics of protected tables.

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SessionState;
use kanon_planner::release_unit::ReleaseUnit;

use crate::error::{Error, Result};

/// A released answer: what the rules of a site let out. Only this module makes one from protected rows.
#[derive(Debug, Clone)]
pub struct Released {
    batch: RecordBatch,
}

impl Released {
    /// The released rows, sorted by key, with the columns of the unit's schema.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }
}

/// Computes and releases a local unit under its rules.
///
/// # Errors
/// 38000 for whatever fails while it is computed, 57014 when cancelled.
pub async fn release(_state: &SessionState, _unit: &ReleaseUnit) -> Result<Released> {
    Err(Error::unsupported("not built"))
}
