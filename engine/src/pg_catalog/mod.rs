//! `pg_catalog` and `information_schema` as drivers and tools look for them.
//!
//! ```text
//! statement ─ rewrite ─► DataFusion's SQL ─► plan over relations that are built when they are read (provider, rows)
//!             (PostgreSQL's names, casts,     and functions that look things up (functions)
//!              operators, column names)                        └── both from one Directory: what the principal may see
//! ```
//!
//! Everything follows from a [`Viewer`]: an immutable snapshot seen by one principal. Nothing here reads a table's data, and
//! nothing tells how many rows it has: `reltuples` is -1, sizes are NULL and statistics are empty.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod corpus;
pub mod datetimes;
mod defs;
mod directory;
mod functions;
pub mod integers;
pub mod modifiers;
mod provider;
mod rewrite;
mod rows;
#[cfg(test)]
pub(crate) mod testing;
mod typed;
pub mod types;
mod values;

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::execution::FunctionRegistry;

use crate::catalog::{Snapshot, Table};
use crate::error::{Error, Result};
use crate::principal::Principal;

use crate::store::RoleInfo;
use directory::Directory;
pub(crate) use directory::quote_ident;
pub(crate) use functions::quote_literal;
pub use rewrite::{display_name, rewrite, unreadable};
pub use typed::Types;

/// The one database.
pub const DATABASE_NAME: &str = "kanon";

/// Reads a setting of the session.
pub type ReadSetting = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What one principal sees in one session at one moment.
#[derive(Clone)]
pub struct Viewer {
    /// The node's tables at this moment.
    pub snapshot: Arc<Snapshot>,
    /// Those of them that the principal may see.
    pub visible: Vec<Arc<Table>>,
    /// The views of schema `kanon`, by name.
    pub views: Vec<(String, SchemaRef)>,
    /// Who looks.
    pub principal: Principal,
    /// The node's id.
    pub node_id: String,
    /// The roles that it may know of.
    pub roles: Vec<RoleInfo>,
    /// The session's settings, by name.
    pub setting: ReadSetting,
    /// All of them, for `pg_settings`: name, value, what it is for.
    pub settings: Vec<(&'static str, String, &'static str)>,
    /// The session's number, as cancel requests name it.
    pub backend_pid: i32,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer").field("principal", &self.principal.display()).finish_non_exhaustive()
    }
}

/// A viewer and what follows from it, computed when it is first needed.
#[derive(Debug)]
pub(crate) struct Shared {
    viewer: Arc<Viewer>,
    directory: OnceLock<Directory>,
}

impl Shared {
    fn new(viewer: Viewer) -> Arc<Shared> {
        Arc::new(Shared { viewer: Arc::new(viewer), directory: OnceLock::new() })
    }
    /// What the viewer may see.
    pub(crate) fn directory(&self) -> &Directory {
        self.directory.get_or_init(|| Directory::new(Arc::clone(&self.viewer)))
    }
}

/// The schemas `pg_catalog` and `information_schema` for a statement's catalog.
pub fn schemas(viewer: &Viewer) -> Result<Vec<(String, Arc<dyn SchemaProvider>)>> {
    let shared = Shared::new(viewer.clone());
    Ok(["pg_catalog", "information_schema"]
        .into_iter()
        .map(|name| {
            let schema: Arc<dyn SchemaProvider> = Arc::new(provider::SystemSchema::new(name, Arc::clone(&shared)));
            (name.to_owned(), schema)
        })
        .collect())
}

/// Adds the functions by which drivers and tools ask about the catalog and the session.
pub fn register_functions(registry: &mut dyn FunctionRegistry, viewer: &Viewer) -> Result<()> {
    let shared = Shared::new(viewer.clone());
    for function in functions::all(&shared) {
        registry.register_udf(Arc::new(function)).map_err(Error::internal)?;
    }
    Ok(())
}

/// Whether a table of a plan is one of these: open to everybody, and nobody's data.
pub fn is_system_table(table: &dyn TableProvider) -> bool {
    table.is::<provider::SystemTable>()
}
