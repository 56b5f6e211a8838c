//! A table of which somebody was granted some columns: for whom the others are not there.
//!
//! ```text
//! GRANT SELECT (a, b) ON t ─► Table::of_readers ─► a table with a and b ─► catalogs, views, names in queries
//!                                                  in plans: SomeColumns ─► SELECT a, b FROM the whole table
//! ```
//!
//! Plans read the whole table below a projection, as they read a view: the planner sees the unit column there, whether or not whoever asks may name it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::policy::undefined_column;
use super::{GuardedTable, Table};
use crate::error::Result;

impl Table {
    /// What of it may be read by whoever goes by these names: all of it, some of its columns, or nothing.
    pub(super) fn of_readers(self: &Arc<Table>, names: &BTreeSet<String>) -> Option<Arc<Table>> {
        if !self.readers.is_disjoint(names) {
            return Some(Arc::clone(self));
        }
        let may_read = |name: &str| self.column_readers.get(name).is_some_and(|readers| !readers.is_disjoint(names));
        let fields: Vec<_> = self.schema.fields().iter().filter(|field| may_read(field.name())).cloned().collect();
        if fields.is_empty() {
            return None;
        }
        let schema = Schema::new_with_metadata(fields, self.schema.metadata().clone());
        let is_there = |name: &String| schema.column_with_name(name).is_some();
        let mut narrowed = Table::clone(self);
        narrowed.column_descriptions.retain(|name, _| is_there(name));
        narrowed.column_settings.retain(|name, _| is_there(name));
        // Which column names the units is part of the policy, and told.
        let unit = narrowed.policy.unit.clone();
        narrowed.facts.roles.retain(|name, _| is_there(name) || unit.as_ref() == Some(name));
        narrowed.facts.domains.retain(|name, _| is_there(name));
        if let Some(private) = &mut narrowed.facts.private {
            private.columns.retain(|name, _| is_there(name));
        }
        narrowed.schema = Arc::new(schema);
        narrowed.whole = Some(Arc::clone(self));
        Some(Arc::new(narrowed))
    }

    /// Whether it has these columns.
    ///
    /// # Errors
    /// 42703 for one that it does not have.
    pub(super) fn check_columns(&self, columns: &[String]) -> Result<()> {
        let unknown = columns.iter().find(|column| self.schema.column_with_name(column).is_none());
        unknown.map_or(Ok(()), |column| Err(undefined_column(column, &self.name, &self.schema)))
    }

    /// What plans hold of it.
    ///
    /// # Errors
    /// If its columns cannot be read from the whole table: a bug.
    pub fn provider_in_plans(self: &Arc<Table>) -> Result<Arc<dyn TableProvider>> {
        let Some(whole) = &self.whole else { return Ok(Arc::new(GuardedTable::new(Arc::clone(self)))) };
        let guarded = Arc::new(GuardedTable::showing(Arc::clone(whole), Arc::clone(&self.schema)));
        let name = TableReference::partial(self.schema_name.clone(), self.name.clone());
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| Expr::Column(Column::new(Some(name.clone()), field.name().clone())));
        let plan =
            LogicalPlanBuilder::scan(name.clone(), provider_as_source(guarded), None)?.project(columns)?.build()?;
        Ok(Arc::new(SomeColumns { schema: Arc::clone(&self.schema), plan }))
    }
}

/// Some columns of a table, in plans: put in its place while a query is read.
#[derive(Debug)]
struct SomeColumns {
    schema: SchemaRef,
    plan: LogicalPlan,
}

#[async_trait]
impl TableProvider for SomeColumns {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        // Its rows are those of a table that knows its rules.
        Err(DataFusionError::Internal("some columns of a table were to be read past it".to_owned()))
    }
}
