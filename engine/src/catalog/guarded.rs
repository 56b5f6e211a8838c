//! The table that plans hold: a provider that carries what was registered and tells nothing of its data.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::Table;
use super::row_cache::PinnedRows;

/// A registered table in a plan. The planner's facts come from the [`Table`] it carries; scans are passed to its provider.
///
/// It has no definition (which would tell the location), no constraints, and for anything but an open table no statistics: numbers of
/// rows and extremes of columns are as much behind the boundary as the rows.
#[derive(Debug)]
pub struct GuardedTable {
    table: Arc<Table>,
    /// The columns that whoever asks sees of it.
    shown: SchemaRef,
}

impl GuardedTable {
    /// Puts a table into plans.
    pub fn new(table: Arc<Table>) -> GuardedTable {
        GuardedTable { shown: Arc::clone(&table.schema), table }
    }

    /// Puts a table into plans of somebody who sees these columns of it.
    pub(super) fn showing(table: Arc<Table>, shown: SchemaRef) -> GuardedTable {
        GuardedTable { table, shown }
    }

    /// The number, from 1, that a column has for whoever asks: the one at a place of the table, from 0. `None` if it is not seen.
    pub fn number_of(&self, place: usize) -> Option<usize> {
        let name = self.table.schema.fields().get(place)?.name();
        self.shown.index_of(name).ok().map(|place| place + 1)
    }

    /// What was registered.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Whoever plans has asked before; a scan that was planned all the same is refused here.
    fn refuse_halted(&self) -> Result<()> {
        self.table.halted.map_or(Ok(()), |why| Err(why.error(&self.table.facts.name).into()))
    }
}

#[async_trait]
impl TableProvider for GuardedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        let open = self.table.facts.protection.is_none() && self.table.facts.closed.is_none();
        if open { self.table.provider.statistics() } else { None }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.table.provider.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.refuse_halted()?;
        self.table.provider.scan(state, projection, filters, limit).await
    }

    async fn scan_with_args<'a>(&self, state: &dyn Session, args: ScanArgs<'a>) -> Result<ScanResult> {
        self.refuse_halted()?;
        if let Some(pinned) = state.config().get_extension::<PinnedRows>()
            && let Some(plan) = pinned.scan(&self.table, args.projection(), args.limit())?
        {
            return Ok(plan.into());
        }
        self.table.provider.scan_with_args(state, args).await
    }
}
