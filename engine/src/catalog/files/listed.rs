//! Files that were there when they were registered: a table whose files are all gone is an error, and no empty table.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use crate::error::{Error, Sqlstate};

/// A listing of files that holds at least one.
#[derive(Debug)]
pub(super) struct Listed(pub(super) Arc<dyn TableProvider>);

#[async_trait]
impl TableProvider for Listed {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.0.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.0.scan(state, projection, filters, limit).await?;
        // What DataFusion makes of a listing without files.
        if plan.downcast_ref::<EmptyExec>().is_some() && limit != Some(0) {
            return Err(Error::new(Sqlstate::IoError, "the files of the table are gone")
                .hint("Its steward can put them back or register the table anew.")
                .into());
        }
        Ok(plan)
    }
}
