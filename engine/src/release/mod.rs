//! The only code that sees exact statistics of protected tables.
//!
//! ```text
//! ReleaseUnit ─► ask      one Aggregate: the user's aggregates and the guards the rules need
//!             ─► run      in the state's memory pool; every failure is one constant text
//!             ─► findings what the guards say of every group: cohorts, parts, dominance
//!             ─► revisit  a second, exact pass over the few groups the guards leave open
//!             ─► kanon_privacy::complement   what follows from the rest goes too
//!             ─► Released the groups and measures that are left, sorted by key
//! ```
//!
//! Nothing here logs a value, and no error text of a library leaves it.

mod answer;
mod ask;
mod findings;
mod guard;
pub mod private;
mod revisit;
mod run;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SessionState;
use futures::FutureExt;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::policy::Access;

use crate::error::{Error, Result};

/// A released answer: what the rules of a site let out. Only this module makes one from protected rows.
#[derive(Debug, Clone)]
pub struct Released {
    batch: RecordBatch,
}

impl Released {
    /// The released rows, sorted by key, with the columns of the unit's schema. Any measure may be NULL.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Answers of several sites, each released there, merged into one by arithmetic on released numbers only.
    pub(crate) fn merged(batch: RecordBatch) -> Released {
        Released { batch }
    }

    /// An answer that the ledger kept: it was released before.
    pub(crate) fn kept(batch: RecordBatch) -> Released {
        Released { batch }
    }
}

/// Computes and releases a local unit under its rules. Dropping the future stops it.
///
/// # Errors
/// 38000 for whatever fails while it is computed, 0A000 for `private` access, 54001 for more conditions than can be tested together.
pub async fn release(state: &SessionState, unit: &ReleaseUnit) -> Result<Released> {
    let (Some(protection), Some(unit_column)) = (&unit.protection, &unit.unit) else {
        return Err(Error::internal("a release unit without protection was given to the release"));
    };
    if protection.access != Access::Cohort {
        return Err(Error::internal("a private release without its question was given to the release"));
    }
    let computed = async {
        let asked = ask::Asked::of(unit, protection, unit_column)?;
        let raw = run::to_sorted_batch(state, &asked).await?;
        let findings = findings::Findings::of(&asked, &raw, protection)?;
        answer::release(state, unit, protection, &asked, &raw, findings).await
    };
    // A panic of a library may depend on the rows too: it is a failure like any other.
    let batch = AssertUnwindSafe(computed).catch_unwind().await.map_err(below)??;
    Ok(Released { batch })
}

/// Whatever a library reports below the boundary becomes one constant text.
fn below<E>(_: E) -> Error {
    Error::below_boundary()
}
