//! The tables of a node: its own, its peers', and the federation's, as immutable snapshots swapped whole.
//!
//! ```text
//! CREATE, ALTER, GRANT … ─► store (durable) ─► records ─┐
//!                                                       ├─► Snapshot ─► sessions, peers, pg_catalog
//! descriptors of peers ───► set_remote_tables ──────────┘
//! ```
//!
//! A change is committed to the store first, then a snapshot is made of what the store holds and swapped in: what a steward was
//! told has happened holds for the very next statement of every session. [`GuardedTable`] is what plans hold.

mod alter;
mod change;
mod column;
mod columns;
mod excluding;
mod files;
pub mod guarded;
mod halt;
mod infer;
mod kinds;
mod options;
mod overlap;
mod part;
mod policy;
mod read;
pub(crate) mod row_cache;
mod source;
mod sqlite;
mod unique;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use kanon_planner::facts::{Placement, SiteId, TableFacts};
use kanon_privacy::policy::{Access, MinCohort};

use crate::config::Config;
use crate::error::Result;
use crate::ledger::Budget;
use crate::principal::{BuiltinRole, Principal};
use crate::store::{CatalogRecords, Excluded, Lost, RoleDirectory, Store, Suspended, Suspension, TableRecord};

pub use alter::{ChangedTable, TableChange};
pub use change::{ColumnDefinition, ExternalTable};
pub(crate) use column::parse_text_array;
pub use column::{COLUMN_OPTIONS, ColumnSettings};
use excluding::Excluding;
pub use guarded::GuardedTable;
pub use halt::Halt;
pub(crate) use options::{boolean, count, delta, epsilon, unknown_option};
pub use policy::{DEFAULT_UNIT_KIND, Policy, TABLE_OPTIONS};
pub(crate) use source::Source;
use unique::{OneRowAUnit, Otherwise};

/// The most columns a table may have: PostgreSQL's limit, which drivers rely on.
pub const MAX_COLUMNS: usize = 1600;

/// The kind of a session's temporary tables.
pub const TEMPORARY: &str = "temporary";
/// How the schemas of temporary tables begin: a session's has its number behind it.
pub const TEMPORARY_SCHEMAS: &str = "pg_temp_";

/// A table as registered, offered by a peer, united over the federation, or a session's own temporary one.
#[derive(Debug, Clone)]
pub struct Table {
    /// Stable over restarts; unique among tables, 16384 and above.
    pub oid: u32,
    /// `public`, `federation`, a peer's node id, or the schema of a session's temporary tables.
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
    /// Why nothing is answered from it for now.
    pub halted: Option<Halt>,
    /// Tells which units that opted out are left out of it; `None`: nobody is.
    pub excluded: Option<String>,
    /// Its policy, for `kanon.policies`; a peer's as far as it tells.
    pub policy: Policy,
    /// What its steward said of its columns, for `kanon.columns`.
    pub column_settings: BTreeMap<String, ColumnSettings>,
    /// parquet, csv, json, arrow, sqlite, federation, peer or temporary.
    pub kind: String,
    /// Where its data is, for its steward's eyes.
    pub location: Option<String>,
    /// The local file that it is, if it is one.
    pub file: Option<PathBuf>,
    /// The role that registered it.
    pub owner: String,
    /// Roles (names; `public` for everybody) that have SELECT.
    pub readers: BTreeSet<String>,
    /// Those that have SELECT on a column, by column.
    pub column_readers: BTreeMap<String, BTreeSet<String>>,
    /// The table of which this has only the columns that somebody was granted.
    pub whole: Option<Arc<Table>>,
    /// The site it is at; several for `federation`.
    pub sites: Vec<SiteId>,
    /// Reads its rows. Only the release and open plans scan it.
    pub provider: Arc<dyn TableProvider>,
    /// UTC, RFC 3339.
    pub registered_at: String,
    /// UTC, RFC 3339.
    pub updated_at: String,
}

impl Table {
    /// Whether it is a session's own: then whoever asks wrote its rows.
    pub fn is_temporary(&self) -> bool {
        self.kind == TEMPORARY
    }
}

/// All tables at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows with every change.
    pub version: u64,
    /// All of them, whoever may see them, by schema and name.
    pub tables: Vec<Arc<Table>>,
    /// The budgets of this node's kinds of units, by kind.
    pub privacy_units: Arc<BTreeMap<String, Budget>>,
    /// What is suspended but for tables.
    pub suspensions: Arc<Vec<Suspension>>,
    /// What the node's store does not know of its own past.
    pub lost: Option<Lost>,
    /// Units that opted out.
    pub excluded: Arc<Excluded>,
    /// The schemas that not everybody may use, with those who may.
    pub closed_schemas: Arc<BTreeMap<String, BTreeSet<String>>>,
    /// Who is in which role: always the present state, also for an older snapshot.
    pub roles: RoleDirectory,
}

impl Snapshot {
    /// The tables that a principal may see: those it, or a role it is in, may SELECT from, with the columns that it may, or, for stewards of this node, the node's own.
    pub fn visible_to(&self, principal: &Principal) -> Vec<Arc<Table>> {
        let names = self.roles.grantee_names(principal);
        let steward = principal.via_peer.is_none() && principal.is(BuiltinRole::Steward);
        let of_peer = self.tables_of_peer(principal);
        let tables = self.tables.iter().filter(|table| is_among(table, of_peer.as_ref()));
        tables
            .filter_map(|table| match steward && table.schema_name == "public" {
                true => Some(Arc::clone(table)),
                false => self.in_usable_schema(table, &names)?.of_readers(&names),
            })
            .collect()
    }

    /// What of a table that it sees a principal may SELECT: what it, or a role it is in, was granted. Seeing one as its steward is not that.
    pub fn readable(&self, principal: &Principal, table: &Arc<Table>) -> Option<Arc<Table>> {
        let names = self.roles.grantee_names(principal);
        let whole = table.whole.as_ref().unwrap_or(table);
        is_among(whole, self.tables_of_peer(principal).as_ref())
            .then(|| self.in_usable_schema(whole, &names)?.of_readers(&names))
            .flatten()
    }

    /// Whether a principal may SELECT all of a table.
    pub fn may_select(&self, principal: &Principal, table: &Arc<Table>) -> bool {
        self.readable(principal, table).is_some_and(|readable| readable.whole.is_none())
    }

    /// Whether whoever goes by these names may use a schema.
    pub fn may_use(&self, schema: &str, names: &BTreeSet<String>) -> bool {
        self.closed_schemas.get(schema).is_none_or(|who| !who.is_disjoint(names))
    }

    fn in_usable_schema<'t>(&self, table: &'t Arc<Table>, names: &BTreeSet<String>) -> Option<&'t Arc<Table>> {
        self.may_use(&table.schema_name, names).then_some(table)
    }

    /// The only tables of this node that somebody may see who comes through a peer, if that is bounded.
    fn tables_of_peer(&self, principal: &Principal) -> Option<BTreeSet<String>> {
        self.roles.rules_of_peer(principal.via_peer.as_ref()?).tables
    }

    /// The table of a name.
    pub fn table(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.iter().find(|table| table.schema_name == schema && table.name == name)
    }
}

/// The present snapshot and how it changes.
pub struct Catalog {
    site: SiteId,
    default_min_cohort: MinCohort,
    data_root: Option<PathBuf>,
    store: Store,
    runtime: Arc<RuntimeEnv>,
    /// For reading sources when they are registered or checked; statements have states of their own.
    state: Arc<SessionState>,
    present: RwLock<Present>,
}

/// What the snapshot was made from, and the snapshot.
#[derive(Default)]
struct Present {
    records: Arc<CatalogRecords>,
    remote: Vec<Table>,
    snapshot: Arc<Snapshot>,
}

impl Catalog {
    /// Loads what the store knows. Object stores of the tables are registered in `runtime`, which statements must run in.
    ///
    /// # Errors
    /// What is wrong with the store. A table whose files are gone is no error: its queries are.
    pub async fn load(config: &Config, store: &Store, runtime: Arc<RuntimeEnv>) -> Result<Catalog> {
        let catalog = Catalog {
            site: SiteId::new(config.node_id.clone()),
            default_min_cohort: config.min_cohort,
            data_root: config.data_root.clone(),
            store: store.clone(),
            state: Arc::new(read::state(Arc::clone(&runtime))),
            runtime,
            present: RwLock::default(),
        };
        catalog.reload().await?;
        Ok(catalog)
    }

    /// The present snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.read().snapshot)
    }

    /// Replaces the tables of peers and of the federation. Their oids and readers are filled in from the store.
    ///
    /// # Errors
    /// If the store fails; the snapshot is then as it was.
    pub async fn set_remote_tables(&self, mut tables: Vec<Table>) -> Result<()> {
        let names: Vec<_> = tables.iter().map(|table| (table.schema_name.clone(), table.name.clone())).collect();
        let oids = self.store.oids(&names).await?;
        for (table, oid) in tables.iter_mut().zip(oids) {
            table.oid = oid;
        }
        let mut present = self.write();
        present.remote = tables;
        self.rebuild(&mut present);
        Ok(())
    }

    /// Makes a snapshot of what the store holds now.
    ///
    /// # Errors
    /// If the store cannot be read; the snapshot is then as it was.
    pub async fn reload(&self) -> Result<()> {
        let records = self.store.catalog_records().await?;
        let mut present = self.write();
        // Of two changes at once, the later one's records may have come first.
        if records.version >= present.records.version {
            present.records = Arc::new(records);
            self.rebuild(&mut present);
        }
        Ok(())
    }

    fn rebuild(&self, present: &mut Present) {
        let records = Arc::clone(&present.records);
        let readers = |schema: &str, name: &str| {
            let table = (schema.to_owned(), name.to_owned());
            let grants = &records.grants;
            (
                grants.tables.get(&table).cloned().unwrap_or_default(),
                grants.columns.get(&table).cloned().unwrap_or_default(),
            )
        };
        let before: BTreeMap<u32, &Arc<Table>> =
            present.snapshot.tables.iter().map(|table| (table.oid, table)).collect();
        let own = records.tables.iter().map(|record| {
            let units = excluding::of_policy(&record.policy, &records.excluded);
            let excluded = units.map(excluding::digest);
            // A provider keeps connections and footers: one whose table did not change stays.
            let provider = match before.get(&record.oid) {
                Some(table) if table.updated_at == record.updated_at && table.excluded == excluded => {
                    Arc::clone(&table.provider)
                }
                _ => match (&record.policy.unit, units) {
                    (Some(unit), Some(units)) => Arc::new(Excluding::new(self.provider(record), unit, units)),
                    _ => self.provider(record),
                },
            };
            Table {
                excluded,
                ..self.own_table(
                    record,
                    provider,
                    readers("public", &record.name),
                    halted(&record.policy, &records, true),
                )
            }
        });
        let remote = present
            .remote
            .iter()
            .map(|table| {
                let (readers, column_readers) = readers(&table.schema_name, &table.name);
                Table { readers, column_readers, ..table.clone() }
            })
            .map(|table| Table { halted: halted(&table.policy, &records, false), ..table });
        let mut tables: Vec<Arc<Table>> = own.chain(remote).map(Arc::new).collect();
        tables.sort_by(|a, b| (&a.schema_name, &a.name).cmp(&(&b.schema_name, &b.name)));
        let snapshot = Snapshot {
            version: present.snapshot.version + 1,
            tables,
            privacy_units: Arc::clone(&records.privacy_units),
            suspensions: Arc::clone(&records.suspensions),
            lost: records.lost.clone(),
            excluded: Arc::clone(&records.excluded),
            closed_schemas: Arc::new(records.grants.schemas.clone()),
            roles: self.store.directory().clone(),
        };
        present.snapshot = Arc::new(snapshot);
    }

    fn provider(&self, record: &TableRecord) -> Arc<dyn TableProvider> {
        let policy = &record.policy;
        let rows = read::provider(&self.runtime, &record.name, &record.source, &record.schema, policy.is_protected());
        match (&policy.unit, &policy.unit_data_version) {
            (Some(unit), version) if policy.takes_one_row_a_unit() => {
                let otherwise = match policy.access {
                    Some(Access::Private) => Otherwise::OneRow,
                    _ => Otherwise::Nothing,
                };
                // What was not looked at is, before it is read.
                let seen = (version.clone().unwrap_or_default(), policy.units_found());
                let (state, source) = (Arc::clone(&self.state), record.source.clone());
                Arc::new(OneRowAUnit::new(rows, state, source, unit.clone(), otherwise, seen))
            }
            _ => rows,
        }
    }

    fn own_table(
        &self,
        record: &TableRecord,
        provider: Arc<dyn TableProvider>,
        (readers, column_readers): (BTreeSet<String>, BTreeMap<String, BTreeSet<String>>),
        halted: Option<Halt>,
    ) -> Table {
        Table {
            oid: record.oid,
            schema_name: "public".to_owned(),
            name: record.name.clone(),
            schema: Arc::clone(&record.schema),
            description: record.description.clone(),
            column_descriptions: record.column_descriptions.clone(),
            facts: record.policy.facts(&record.name, &record.columns, self.default_min_cohort, Placement::Local),
            halted,
            excluded: None,
            policy: record.policy.clone(),
            column_settings: record.columns.clone(),
            kind: record.source.kind.as_str().to_owned(),
            location: Some(record.source.location.clone()),
            file: record.source.local_file(),
            owner: record.owner.clone(),
            readers,
            column_readers,
            whole: None,
            sites: vec![self.site.clone()],
            provider,
            registered_at: record.registered_at.clone(),
            updated_at: record.updated_at.clone(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Present> {
        match self.present.read() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Present> {
        match self.present.write() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

/// Whether a table is among those that a peer may ask about.
fn is_among(table: &Table, of_peer: Option<&BTreeSet<String>>) -> bool {
    match of_peer {
        Some(names) if !table.is_temporary() => table.schema_name == "public" && names.contains(&table.name),
        _ => true,
    }
}

/// Why nothing is answered from a table with this policy.
fn halted(policy: &Policy, records: &CatalogRecords, is_own: bool) -> Option<Halt> {
    let node = records.suspensions.iter().any(|suspension| suspension.of == Suspended::Node);
    match policy {
        _ if policy.suspended => Some(Halt::Table),
        _ if node && policy.is_protected() => Some(Halt::Node),
        _ if is_own && records.lost.is_some() && policy.is_protected() => Some(Halt::Behind),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
