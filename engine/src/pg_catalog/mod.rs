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

mod defs;
mod directory;
mod provider;
mod rows;
pub mod types;
#[cfg(test)]
mod testing;
mod values;

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, TableProvider};

use crate::catalog::{Snapshot, Table};
use crate::error::{Error, Result};
use crate::principal::Principal;

use directory::Directory;

/// Reads a setting of the session.
pub type ReadSetting = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A role as `pg_roles` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleInfo {
    /// Its name.
    pub name: String,
    /// Whether it may log in.
    pub can_login: bool,
    /// Whether it is `admin` or holds it.
    pub is_admin: bool,
    /// The roles that it was granted.
    pub member_of: Vec<String>,
}

/// A setting as `pg_settings` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingInfo {
    /// Its name.
    pub name: String,
    /// Its value now.
    pub setting: String,
    /// `ms`, `kB` …
    pub unit: Option<String>,
    /// What it is for.
    pub description: String,
    /// `bool`, `integer`, `real`, `string` or `enum`.
    pub vartype: String,
    /// Its value if nobody sets it.
    pub default: String,
    /// The values that an `enum` can have.
    pub values: Vec<String>,
    /// Whether a session can change it.
    pub is_changeable: bool,
}

/// A view of schema `kanon`, to be listed with the tables.
#[derive(Debug, Clone)]
pub struct SystemView {
    /// Stable; below 16384 and not PostgreSQL's.
    pub oid: u32,
    /// `kanon`.
    pub schema_name: String,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// What it tells.
    pub description: Option<String>,
}

/// What one principal sees in one session at one moment.
#[derive(Clone)]
pub struct Viewer {
    /// The node's tables at this moment.
    pub snapshot: Arc<Snapshot>,
    /// Those of them that the principal may see.
    pub visible: Vec<Arc<Table>>,
    /// The views of `kanon` that it may see.
    pub views: Vec<SystemView>,
    /// Who looks.
    pub principal: Principal,
    /// The node's id.
    pub node_id: String,
    /// The roles that it may know of.
    pub roles: Vec<RoleInfo>,
    /// The session's settings, by name.
    pub setting: ReadSetting,
    /// All of them, for `pg_settings`.
    pub settings: Vec<SettingInfo>,
    /// The session's number, as cancel requests name it.
    pub backend_pid: i32,
    /// The database's name: `kanon`.
    pub database: String,
    /// When the node started: microseconds since 1970, UTC.
    pub started_at_us: i64,
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

/// Adds the schemas `pg_catalog` and `information_schema` to a statement's catalog.
pub fn register(catalog: &dyn CatalogProvider, viewer: Viewer) -> Result<()> {
    let shared = Shared::new(viewer);
    for schema_name in ["pg_catalog", "information_schema"] {
        let schema = Arc::new(provider::SystemSchema::new(schema_name, Arc::clone(&shared)));
        catalog.register_schema(schema_name, schema).map_err(Error::internal)?;
    }
    Ok(())
}

/// Whether a table of a plan is one of these: open to everybody, and nobody's data.
pub fn is_system_table(table: &dyn TableProvider) -> bool {
    table.is::<provider::SystemTable>()
}
