//! Releases are of one version of their data. What a table says of its data (that each unit has one row, that every row names one) was found of a
//! version; a release may read it several times; and its answer is kept under it.

use std::collections::BTreeMap;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use kanon_planner::release_unit::ReleaseUnit;

use crate::catalog::Catalog;
use crate::catalog::guarded::GuardedTable;
use crate::error::{Error, Result, Sqlstate};

/// How often data that changes while it is read is read.
const MOST_TIMES: u32 = 3;

/// The versions of the data of tables, by their OIDs; `None` if one cannot be told.
pub(super) struct DataVersions {
    of_tables: BTreeMap<u32, Option<String>>,
    /// How often they were not there any more.
    times: u32,
}

impl DataVersions {
    /// Of all tables that a unit reads here, now.
    pub(super) async fn of(catalog: &Catalog, unit: &ReleaseUnit) -> Result<DataVersions> {
        let mut versions = BTreeMap::new();
        unit.input.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Ok(provider) = source_as_provider(&scan.source)
                && let Some(guarded) = provider.downcast_ref::<GuardedTable>()
            {
                versions.insert(guarded.table().oid, None);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        for (oid, version) in &mut versions {
            *version = catalog.data_version(*oid).await;
        }
        Ok(DataVersions { of_tables: versions, times: 0 })
    }

    /// The version of a table's data.
    pub(super) fn get(&self, oid: u32) -> Option<&str> {
        self.of_tables.get(&oid)?.as_deref()
    }

    /// Whether a release that began when these were there read no others. If not it is to be begun again, with the present ones: what it gave is seen by
    /// nobody.
    ///
    /// # Errors
    /// 55000 if the data changes all the time.
    pub(super) async fn are_still_there(&mut self, catalog: &Catalog, unit: &ReleaseUnit) -> Result<bool> {
        let present = DataVersions::of(catalog, unit).await?;
        if self.of_tables == present.of_tables {
            return Ok(true);
        }
        self.of_tables = present.of_tables;
        self.times += 1;
        if self.times < MOST_TIMES {
            return Ok(false);
        }
        Err(Error::new(
            Sqlstate::ObjectNotInPrerequisiteState,
            format!("the data of {} changed while it was read", unit.tables.join(", ")),
        )
        .hint("Ask again when it is complete."))
    }
}
