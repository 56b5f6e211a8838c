//! A session's temporary tables: its own, in memory, gone with it.
//!
//! ```text
//! CREATE TEMP TABLE … AS, INSERT … ─► the session's own query ─► answered rows ─► columns (types, lengths, NOT NULL) ─► chunks in memory
//!                                                                                                                        └─ Temporaries: tables by name
//! ```
//!
//! A table holds what was answered, so nothing is in it that its session was not told, and asking it again costs nothing. To the catalog it is one more
//! [`Table`], open and at this node, that no other session sees. To the boundary its rows are the asker's own, as those of VALUES are
//! ([`kanon_planner::facts::Facts::is_of_the_asker`]): they may weigh nobody. A subplan can name none: sessions of coordinators have none.
//!
//! Tables never change in place. What a transaction or a savepoint began with is the map of that moment, which ROLLBACK puts back.

mod columns;
mod insert;
mod rows;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session as DataFusionSession, TableProvider};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use kanon_planner::facts::{Placement, TableFacts};

use super::Session;
use crate::catalog::{Policy, TEMPORARY, TEMPORARY_SCHEMAS, Table};
use crate::error::{Error, Result, Sqlstate};
use crate::statement::steward::TableName;
use crate::statement::temporary::{OnCommit, TEMPORARY_SCHEMA};
use crate::store::now;
use columns::Columns;
use rows::Chunk;

/// Bytes that the temporary tables of a session may take, with what its open transaction would put back: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;
/// Temporary tables of a session.
pub const MAX_TABLES: usize = 1_000;

/// OIDs of temporary tables: no registered table gets so far, and no name is hashed to so few.
const OIDS: std::ops::Range<u32> = 0x5000_0000..0x6000_0000;

static NEXT_OID: AtomicU32 = AtomicU32::new(0);

/// Tables by name.
pub(super) type Tables = Arc<BTreeMap<String, Arc<TemporaryTable>>>;

/// The temporary tables of a session.
#[derive(Default)]
pub(super) struct Temporaries {
    tables: Tables,
    /// Those that the open transaction began with.
    begun: Option<Tables>,
    /// Those of its savepoints, outermost first.
    savepoints: Vec<Tables>,
    /// Bytes that are taken.
    used: Arc<AtomicUsize>,
}

/// A temporary table.
pub(super) struct TemporaryTable {
    /// What plans hold.
    table: Arc<Table>,
    columns: Arc<Columns>,
    chunks: Vec<Arc<Chunk>>,
    on_commit: OnCommit,
}

impl TemporaryTable {
    /// As plans and the catalog see it.
    pub(super) fn in_plans(&self) -> Arc<Table> {
        Arc::clone(&self.table)
    }
}

impl Temporaries {
    /// The tables now. What is changed is changed in another map.
    pub(super) fn tables(&self) -> Tables {
        Arc::clone(&self.tables)
    }

    /// BEGIN.
    pub(super) fn begin(&mut self) {
        self.begun = Some(self.tables());
    }

    /// SAVEPOINT.
    pub(super) fn savepoint(&mut self) {
        self.savepoints.push(self.tables());
    }

    /// RELEASE: so many savepoints are left.
    pub(super) fn release(&mut self, left: usize) {
        self.savepoints.truncate(left);
    }

    /// ROLLBACK TO the last of so many savepoints.
    pub(super) fn rollback_to(&mut self, left: usize) {
        self.savepoints.truncate(left);
        if let Some(tables) = self.savepoints.last() {
            self.tables = Arc::clone(tables);
        }
    }

    /// The end of a transaction.
    pub(super) fn end(&mut self, committed: bool) -> Result<()> {
        self.savepoints.clear();
        match self.begun.take() {
            Some(begun) if !committed => self.tables = begun,
            _ => self.commit()?,
        }
        Ok(())
    }

    /// DISCARD TEMP.
    pub(super) fn discard(&mut self) {
        self.tables = Tables::default();
    }

    /// What ON COMMIT says.
    fn commit(&mut self) -> Result<()> {
        if self.tables.values().all(|table| table.on_commit == OnCommit::PreserveRows) {
            return Ok(());
        }
        let mut kept = BTreeMap::new();
        for (name, table) in self.tables.iter() {
            let table = match table.on_commit {
                OnCommit::Drop => continue,
                OnCommit::DeleteRows if !table.chunks.is_empty() => Arc::new(table.with(Vec::new())?),
                OnCommit::PreserveRows | OnCommit::DeleteRows => Arc::clone(table),
            };
            kept.insert(name.clone(), table);
        }
        self.tables = Arc::new(kept);
        Ok(())
    }

    /// Whether one more of this name may be made.
    fn check_new(&self, name: &str) -> Result<()> {
        if self.tables.contains_key(name) {
            return Err(Error::new(Sqlstate::DuplicateTable, format!("relation \"{name}\" already exists")));
        }
        if self.tables.len() >= MAX_TABLES {
            let message = format!("a session may have {MAX_TABLES} temporary tables");
            return Err(
                Error::new(Sqlstate::ProgramLimitExceeded, message).hint("DROP those that are no longer needed.")
            );
        }
        Ok(())
    }

    fn put(&mut self, table: TemporaryTable) {
        Arc::make_mut(&mut self.tables).insert(table.table.name.clone(), Arc::new(table));
    }
}

impl TemporaryTable {
    fn new(
        session: &Session,
        name: &str,
        columns: Columns,
        chunks: Vec<Arc<Chunk>>,
        on_commit: OnCommit,
    ) -> Result<Self> {
        let schema = columns.schema();
        let owner = session.principal().display();
        let made_at = now();
        let table = Table {
            oid: OIDS.start + NEXT_OID.fetch_add(1, Ordering::Relaxed) % (OIDS.end - OIDS.start),
            schema_name: session.temporary_schema(),
            name: name.to_owned(),
            provider: TemporaryRows::of(&schema, &chunks)?,
            schema,
            description: None,
            column_descriptions: BTreeMap::new(),
            facts: TableFacts {
                name: name.to_owned(),
                protection: None,
                private: None,
                domains: BTreeMap::new(),
                closed: None,
                roles: BTreeMap::new(),
                placement: Placement::Local,
            },
            halted: None,
            excluded: None,
            policy: Policy::default(),
            column_settings: BTreeMap::new(),
            kind: TEMPORARY.to_owned(),
            location: None,
            file: None,
            readers: BTreeSet::from([owner.clone()]),
            column_readers: BTreeMap::new(),
            whole: None,
            owner,
            sites: vec![session.node.site().clone()],
            registered_at: made_at.clone(),
            updated_at: made_at,
        };
        Ok(TemporaryTable { table: Arc::new(table), columns: Arc::new(columns), chunks, on_commit })
    }

    /// The same table with other rows.
    fn with(&self, chunks: Vec<Arc<Chunk>>) -> Result<TemporaryTable> {
        let provider = TemporaryRows::of(&self.table.schema, &chunks)?;
        let table = Table { provider, updated_at: now(), ..self.table.as_ref().clone() };
        Ok(TemporaryTable {
            table: Arc::new(table),
            columns: Arc::clone(&self.columns),
            chunks,
            on_commit: self.on_commit,
        })
    }

    fn rows(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows()).sum()
    }
}

/// The rows of a temporary table at one moment.
#[derive(Debug)]
pub(super) struct TemporaryRows {
    rows: MemTable,
    /// Names these rows: those of another moment or session have another one.
    version: String,
}

impl TemporaryRows {
    fn of(schema: &SchemaRef, chunks: &[Arc<Chunk>]) -> Result<Arc<dyn TableProvider>> {
        let batches = chunks.iter().map(|chunk| chunk.batch().clone()).collect();
        let rows = MemTable::try_new(Arc::clone(schema), vec![batches])?;
        Ok(Arc::new(TemporaryRows { rows, version: uuid::Uuid::new_v4().to_string() }))
    }

    /// What names these rows.
    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

#[async_trait]
impl TableProvider for TemporaryRows {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
    fn table_type(&self) -> TableType {
        TableType::Temporary
    }
    async fn scan(
        &self,
        state: &dyn DataFusionSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.rows.scan(state, projection, filters, limit).await
    }
}

impl Session {
    /// The schema of its temporary tables.
    pub(super) fn temporary_schema(&self) -> String {
        format!("{TEMPORARY_SCHEMAS}{}", self.id)
    }

    /// The temporary table that a name means.
    fn temporary(&self, name: &TableName) -> Option<Arc<TemporaryTable>> {
        self.names_temporary(name).then(|| self.state().temporary.tables.get(&name.name).cloned()).flatten()
    }

    /// Whether a name is one that a temporary table may have.
    fn names_temporary(&self, name: &TableName) -> bool {
        name.schema.as_ref().is_none_or(|schema| self.is_temporary_schema(schema))
    }

    fn is_temporary_schema(&self, schema: &str) -> bool {
        schema == TEMPORARY_SCHEMA || schema == self.temporary_schema()
    }

    /// Changes the temporary tables, wholly or not at all. Outside of a transaction the change is committed.
    fn change_temporaries<T>(&self, change: impl FnOnce(&mut Temporaries) -> Result<T>) -> Result<T> {
        let mut state = self.state();
        let before = state.temporary.tables();
        let is_idle = !state.transaction.is_open();
        let temporary = &mut state.temporary;
        let changed = change(temporary).and_then(|done| {
            if is_idle {
                temporary.commit()?;
            }
            Ok(done)
        });
        if changed.is_err() {
            temporary.tables = before;
        }
        changed
    }
}
