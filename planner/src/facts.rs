//! What the planner is told about the tables of a plan.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::logical_expr::TableScan;
use kanon_privacy::policy::{Access, ColumnRole, DominancePercent, MinCohort};

pub use private::{Bounds, Domain, MaxNorm, PrivateColumn, PrivateFactError, PrivatePolicy};

mod private;

/// The name of a site (a node id): lower-case letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(String);

impl SiteId {
    /// A site id from text that is already known to be one.
    pub fn new(id: impl Into<String>) -> Self {
        SiteId(id.into())
    }
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who is protected by a table, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// `Cohort` or `Private`, never `Open`.
    pub access: Access,
    /// The column that names the unit of a row.
    pub unit_column: String,
    /// The kind of unit; tables join only on units of one kind.
    pub unit_kind: String,
    /// Whether every unit has at most one row (declared and verified).
    pub unit_unique: bool,
    /// The least number of units behind anything released.
    pub min_cohort: MinCohort,
    /// The share the two largest units of a sum may not reach.
    pub dominance_percent: DominancePercent,
}

/// Where the rows of a table are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// At this node (for `kanon` and `pg_catalog` views too).
    Local,
    /// At one or more sites, each of which is asked with SQL. `table` is the name there.
    Sites {
        /// The sites that hold a part, in order of their names. This node may be one of them.
        sites: Vec<SiteId>,
        /// Schema-qualified name at every site.
        table: String,
        /// Whether the table has the extra column `site` (tables of schema `federation`).
        site_column: bool,
    },
}

/// All that the planner knows of one scanned table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// The name a person knows it by, for messages.
    pub name: String,
    /// `None` for an open table.
    pub protection: Option<Protection>,
    /// What the steward set for private access; `None` for a table of another access.
    pub private: Option<PrivatePolicy>,
    /// The domains that the steward of a table with cohort access declared, by column. They are no secret, and they say nothing of who is in
    /// the table.
    pub domains: BTreeMap<String, Domain>,
    /// Set when nothing may be answered from the table (no policy yet, suspended): why, for the message.
    pub closed: Option<String>,
    /// Roles of columns that have one.
    pub roles: BTreeMap<String, ColumnRole>,
    /// Where its rows are.
    pub placement: Placement,
}

/// Gives the facts of a scan. A scan that is unknown must be reported as closed, never as open.
pub trait Facts {
    /// The facts of the table behind `scan`.
    fn of(&self, scan: &TableScan) -> TableFacts;

    /// Whether whoever asks wrote the rows of an open table itself, as it writes VALUES: then they could weigh the rows of people that they are
    /// joined with.
    fn is_of_the_asker(&self, _scan: &TableScan) -> bool {
        false
    }
}
