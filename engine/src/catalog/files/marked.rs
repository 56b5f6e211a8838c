//! CSV files in which a text such as `NA` means NULL: DataFusion's reader knows only the empty one, so the columns are read as
//! text, the marks are taken out, and what is left is cast.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Operator, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, binary, case, cast, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

/// The columns of a schema, all as text.
pub(super) fn as_text(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true)).collect::<Vec<_>>(),
    ))
}

/// Files read as text, with a mark for NULL.
#[derive(Debug)]
pub(super) struct Marked {
    pub(super) text: Arc<dyn TableProvider>,
    pub(super) schema: SchemaRef,
    pub(super) mark: String,
}

#[async_trait]
impl TableProvider for Marked {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let input = self.text.scan(state, projection, &[], limit).await?;
        if schema.fields().is_empty() {
            return Ok(input);
        }
        let text = input.schema();
        let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(schema.fields().len());
        for (position, field) in schema.fields().iter().enumerate() {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), position));
            let marked = binary(Arc::clone(&column), Operator::Eq, lit(self.mark.clone()), &text)?;
            let unmarked = case(None, vec![(marked, lit(ScalarValue::Utf8(None)))], Some(column))?;
            columns.push((cast(unmarked, &text, field.data_type().clone())?, field.name().clone()));
        }
        Ok(Arc::new(ProjectionExec::try_new(columns, input)?))
    }
}
