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

mod acl;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod corpus;
pub mod datetimes;
mod defs;
mod directory;
mod functions;
pub mod integers;
pub(crate) mod keywords;
pub mod modifiers;
mod provider;
mod rewrite;
mod rows;
pub mod sessions;
#[cfg(test)]
pub(crate) mod testing;
mod typed;
pub mod types;
mod values;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::logical_expr::ScalarUDF;

use crate::catalog::{Snapshot, Table};
use crate::error::Error;
use crate::principal::Principal;

use crate::store::RoleInfo;
use directory::Directory;
pub(crate) use directory::quote_ident;
pub(crate) use functions::quote_literal;
pub use functions::type_oid;
pub use rewrite::{display_name, rewrite, unreadable};
pub(crate) use rewrite::{is_constant, parameter};
use sessions::Sessions;
pub use typed::Types;
pub(crate) use typed::{PARAMETER, TOLD_KEY};

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
    /// The principal's sessions, and what this one keeps.
    pub sessions: Arc<dyn Sessions>,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer").field("principal", &self.principal.display()).finish_non_exhaustive()
    }
}

/// A viewer and what follows from it, computed when it is first needed: what the system's relations and functions look into.
#[derive(Debug)]
pub(crate) struct Shared {
    viewer: Arc<Viewer>,
    directory: OnceLock<Directory>,
}

impl Shared {
    /// What the viewer may see.
    pub(crate) fn directory(&self) -> &Directory {
        self.directory.get_or_init(|| Directory::new(Arc::clone(&self.viewer)))
    }
}

/// What one viewer sees of the catalog, for its statements: the schemas to plan in, and the [`functions`] to call.
///
/// The functions are the same for everybody. Whose they are follows from the configuration of the statement that calls them.
#[derive(Debug, Clone)]
pub struct View(Arc<Shared>);

impl View {
    /// What a viewer sees.
    pub fn of(viewer: Viewer) -> View {
        View(Arc::new(Shared { viewer: Arc::new(viewer), directory: OnceLock::new() }))
    }

    /// Whose it is.
    pub fn viewer(&self) -> &Viewer {
        &self.0.viewer
    }

    /// The schemas `pg_catalog` and `information_schema` for a statement's catalog.
    pub fn schemas(&self) -> impl Iterator<Item = (String, Arc<dyn SchemaProvider>)> {
        ["pg_catalog", "information_schema"].into_iter().map(|name| {
            let schema: Arc<dyn SchemaProvider> = Arc::new(provider::SystemSchema::new(name, Arc::clone(&self.0)));
            (name.to_owned(), schema)
        })
    }

    /// Makes statements of this configuration this viewer's.
    pub fn put_into(&self, options: &mut ConfigOptions) {
        options.extensions.insert(self.clone());
    }
}

/// It has no settings: it is carried along.
impl ExtensionOptions for View {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }
    fn set(&mut self, key: &str, _value: &str) -> datafusion::error::Result<()> {
        Err(Error::internal(format!("no such setting: {key}")).into())
    }
    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

impl ConfigExtension for View {
    const PREFIX: &'static str = "kanon_catalog";
}

/// The functions by which drivers and tools ask about the catalog and the session.
pub fn functions() -> impl Iterator<Item = ScalarUDF> {
    functions::all()
}

/// Whether a table of a plan is one of these: open to everybody, and nobody's data.
pub fn is_system_table(table: &dyn TableProvider) -> bool {
    table.is::<provider::SystemTable>()
}
