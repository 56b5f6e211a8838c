//! The views and functions of schema `kanon`, made for one session from what its principal may see.
//!
//! They tell of names, policies and peers; never of rows, sizes or counts of a protected table.

mod audit;
mod functions;
mod policy_text;
pub(crate) mod rewrite;
mod spending;
#[cfg(test)]
mod tests;
mod views;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::catalog::TableProvider;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};

pub use functions::functions;
pub use rewrite::rewrite;
pub use views::tables;

use crate::catalog::Table;
use crate::error::{Error, Result, Sqlstate};
use crate::node::Node;
use crate::principal::Principal;
use crate::session::report::PrivacyReport;

/// What a session's last query came to, if it had a release: shared with the views of the session.
#[derive(Debug, Clone, Default)]
pub struct LastQuery(Arc<Mutex<Option<Arc<PrivacyReport>>>>);

impl LastQuery {
    /// What it came to.
    pub fn get(&self) -> Option<Arc<PrivacyReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// A query with a release has run.
    pub fn set(&self, report: Option<Arc<PrivacyReport>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }
}

/// Whose views they are. The configuration of a statement carries it to the functions.
#[derive(Clone)]
pub struct SystemContext {
    /// The node.
    pub node: Arc<Node>,
    /// Who asks.
    pub principal: Principal,
    /// What its session's last query came to.
    pub last_query: LastQuery,
}

impl fmt::Debug for SystemContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemContext").field("principal", &self.principal.display()).finish_non_exhaustive()
    }
}

/// It has no settings: it is carried along.
impl ExtensionOptions for SystemContext {
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

impl ConfigExtension for SystemContext {
    const PREFIX: &'static str = "kanon_system";
}

impl SystemContext {
    /// Roles that it holds, in order, as text.
    fn roles(&self) -> String {
        self.principal.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The visible table of a name, looked for in `public` and `federation` if it has no schema.
    fn table(&self, name: &str) -> Result<Arc<Table>> {
        let missing = || Error::new(Sqlstate::UndefinedTable, format!("relation \"{name}\" does not exist"));
        let mut parts = crate::statement::names(name).ok_or_else(missing)?;
        if parts.len() == 3 && parts.first().is_some_and(|database| database == "kanon") {
            parts.remove(0);
        }
        let table = parts.pop().ok_or_else(missing)?;
        let schema = parts.pop();
        if !parts.is_empty() {
            return Err(missing());
        }
        let visible = self.node.catalog.snapshot().visible_to(&self.principal);
        let find = |schema: &str| visible.iter().find(|t| t.schema_name == schema && t.name == table).cloned();
        match schema {
            Some(schema) => find(&schema),
            None => find("public").or_else(|| find("federation")),
        }
        .ok_or_else(missing)
    }
}

/// A table's name as its viewers write it.
fn qualified(table: &Table) -> String {
    if table.schema_name == "public" { table.name.clone() } else { format!("{}.{}", table.schema_name, table.name) }
}

/// The sites of a table in one text.
fn sites(table: &Table) -> String {
    table.sites.iter().map(|site| site.as_str()).collect::<Vec<_>>().join(", ")
}

/// Registered under the names of [`tables`].
pub type SystemTables = Vec<(String, Arc<dyn TableProvider>)>;
