//! Files that were there when they were registered: a table whose files are all gone is an error, and no empty table.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::listing::ListingTable;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectStore;

use super::super::source::Source;
use crate::error::{Error, Sqlstate};

/// A listing of files that holds at least one, though it may be empty.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) table: ListingTable,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) source: Source,
}

#[async_trait]
impl TableProvider for Listed {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.table.scan(state, projection, filters, limit).await?;
        // What DataFusion makes of a listing without files, or with empty ones.
        if plan.downcast_ref::<EmptyExec>().is_some()
            && super::find(state, &self.store, &mut self.source.clone()).await.is_err()
        {
            return Err(Error::new(Sqlstate::IoError, "the files of the table are gone")
                .hint("Its steward can put them back or register the table anew.")
                .into());
        }
        Ok(plan)
    }
}
