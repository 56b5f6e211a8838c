//! Which versions of their data releases are of.
//!
//! That each unit has one row, or that every row names one, was found of a version: a release that relies on it is of that version, or begins again. Any
//! other is right of whatever rows it reads; if they changed meanwhile its answer is of no version, and is kept for nobody else.

use std::collections::BTreeMap;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use kanon_planner::release_unit::ReleaseUnit;

use super::temporary::TemporaryRows;
use crate::catalog::Catalog;
use crate::catalog::guarded::GuardedTable;
use crate::error::{Error, Result, Sqlstate};

/// How often data that changes while it is read is read.
const MOST_TIMES: u32 = 3;

/// The versions of the data of tables, by their OIDs; `None` if one cannot be told.
pub(super) struct DataVersions(BTreeMap<u32, Option<String>>);

impl DataVersions {
    /// Of all tables that a unit reads here, now.
    pub(super) async fn of(catalog: &Catalog, unit: &ReleaseUnit) -> Result<DataVersions> {
        let mut versions = BTreeMap::new();
        unit.input.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Ok(provider) = source_as_provider(&scan.source)
                && let Some(guarded) = provider.downcast_ref::<GuardedTable>()
            {
                let table = guarded.table();
                let temporary = table.provider.downcast_ref::<TemporaryRows>();
                versions.insert(table.oid, temporary.map(|rows| rows.version().to_owned()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        for (oid, version) in versions.iter_mut().filter(|(_, version)| version.is_none()) {
            *version = catalog.data_version(*oid).await;
        }
        Ok(DataVersions(versions))
    }

    /// The version of a table's data.
    pub(super) fn get(&self, oid: u32) -> Option<&str> {
        self.0.get(&oid)?.as_deref()
    }

    /// Whether these are still there, and could be told.
    ///
    /// # Errors
    /// If the unit's plan is no plan.
    pub(super) async fn are_still_there(&self, catalog: &Catalog, unit: &ReleaseUnit) -> Result<bool> {
        let present = DataVersions::of(catalog, unit).await?;
        Ok(self.0 == present.0 && self.0.values().all(Option::is_some))
    }
}

/// Counts how often a release that relies on what was found of a version met another one.
#[derive(Debug, Default)]
pub(super) struct Attempts(u32);

impl Attempts {
    /// Whether it is of the versions that it was asked of.
    pub(super) fn is_first(&self) -> bool {
        self.0 == 0
    }

    /// Another one begins. What the last one gave is seen by nobody.
    ///
    /// # Errors
    /// 55000 if the data changes all the time.
    pub(super) fn again(&mut self, unit: &ReleaseUnit) -> Result<()> {
        self.0 += 1;
        if self.0 < MOST_TIMES {
            return Ok(());
        }
        Err(changed(unit))
    }
}

/// 55000: there is no answer of one version.
pub(super) fn changed(unit: &ReleaseUnit) -> Error {
    let message = format!("the data of {} changed while it was read", unit.tables.join(", "));
    Error::new(Sqlstate::ObjectNotInPrerequisiteState, message).hint("Ask again when it is complete.")
}
