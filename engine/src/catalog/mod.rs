//! The tables of a node: its own, its peers', and the federation's, as immutable snapshots swapped whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use kanon_planner::facts::{SiteId, TableFacts};

use crate::config::Config;
use crate::error::Result;
use crate::principal::Principal;
use crate::store::Store;

/// A table as registered, offered by a peer, or united over the federation.
#[derive(Debug, Clone)]
pub struct Table {
    /// Stable over restarts; unique among tables, 16384 and above.
    pub oid: u32,
    /// `public`, `federation` or a peer's node id.
    pub schema_name: String,
    /// Its name in that schema.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// What it is for.
    pub description: Option<String>,
    /// What its columns are for, by name.
    pub column_descriptions: BTreeMap<String, String>,
    /// What the planner must know.
    pub facts: TableFacts,
    /// parquet, csv, json, arrow, sqlite, federation or peer.
    pub kind: String,
    /// Where its data is, for its steward's eyes.
    pub location: Option<String>,
    /// The role that registered it.
    pub owner: String,
    /// Roles (names; `public` for everybody) that have SELECT.
    pub readers: BTreeSet<String>,
    /// The site it is at; several for `federation`.
    pub sites: Vec<SiteId>,
    /// Reads its rows. Only the release and open plans scan it.
    pub provider: Arc<dyn TableProvider>,
    /// UTC, RFC 3339.
    pub registered_at: String,
    /// UTC, RFC 3339.
    pub updated_at: String,
}

/// All tables at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows with every change.
    pub version: u64,
    /// All of them, whoever may see them.
    pub tables: Vec<Arc<Table>>,
}

impl Snapshot {
    /// The tables that a principal may see: those it, or a role it is in, may SELECT from, or, for stewards of this node, the node's own.
    pub fn visible_to(&self, _principal: &Principal) -> Vec<Arc<Table>> {
        Vec::new()
    }
}

/// The present snapshot and how it changes.
pub struct Catalog {
    snapshot: RwLock<Arc<Snapshot>>,
}

impl Catalog {
    /// Loads what the store knows.
    pub async fn load(_config: &Config, _store: &Store) -> Result<Catalog> {
        Ok(Catalog { snapshot: RwLock::new(Arc::new(Snapshot::default())) })
    }
    /// The present snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        match self.snapshot.read() {
            Ok(guard) => Arc::clone(&guard),
            Err(poisoned) => Arc::clone(&poisoned.into_inner()),
        }
    }
}
