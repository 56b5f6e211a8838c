//! The part of a table's rows that a scan asks for, where what is read is a plan of its own.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::catalog::Session;
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;

/// What a scan asks for.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) projection: Option<&'a Vec<usize>>,
    pub(super) filters: &'a [Expr],
    pub(super) limit: Option<usize>,
}

impl Part<'_> {
    /// These rows and columns of a plan that gives all columns of `schema`.
    pub(super) async fn of(
        self,
        mut plan: LogicalPlanBuilder,
        schema: &Schema,
        state: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        for filter in self.filters {
            plan = plan.filter(filter.clone())?;
        }
        if let Some(projection) = self.projection {
            let projected = projection.iter().filter_map(|place| schema.fields().get(*place)).map(column);
            plan = plan.project(projected.collect::<Vec<_>>())?;
        }
        state.create_physical_plan(&plan.limit(0, self.limit)?.build()?).await
    }
}

/// A column of the table.
pub(super) fn column(field: &Arc<Field>) -> Expr {
    Expr::Column(Column::new_unqualified(field.name()))
}
