//! Tables whose units have one row each: that a steward said so is believed only of data that was looked at.

use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use datafusion::arrow::array::{Array, Int64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::{count, count_distinct};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionContext, ident};

use super::read;
use super::source::Source;
use crate::error::{Error, Result, Sqlstate};

/// What a scan of the unit column found.
pub(super) struct Units {
    /// Rows.
    pub(super) rows: i64,
    /// Rows with a unit.
    pub(super) named: i64,
    /// Whether each of those has another one; not looked at unless asked.
    pub(super) unique: bool,
}

/// Reads the unit column.
pub(super) async fn count_units(
    state: &SessionState,
    provider: Arc<dyn TableProvider>,
    unit: &str,
    distinct: bool,
) -> Result<Units> {
    let rows = SessionContext::new_with_state(state.clone()).read_table(provider)?;
    let mut measures = vec![count(lit(1i64)), count(ident(unit))];
    if distinct {
        measures.push(count_distinct(ident(unit)));
    }
    let found = rows.aggregate(Vec::new(), measures)?.collect().await?;
    let number = |column: usize| {
        let values = found.first()?.columns().get(column)?.as_any().downcast_ref::<Int64Array>()?;
        (!values.is_empty()).then(|| values.value(0))
    };
    match (number(0), number(1)) {
        (Some(rows), Some(named)) => Ok(Units { rows, named, unique: distinct && number(2) == Some(named) }),
        _ => Err(Error::internal("counting units gave no number")),
    }
}

/// Reads a table that plans take to have one row a unit. Data that changed is looked at before it is read; if units have several rows
/// now, nothing is read: an answer would be of other people than it says.
#[derive(Debug)]
pub(super) struct VerifiedUnique {
    inner: Arc<dyn TableProvider>,
    state: Arc<SessionState>,
    source: Source,
    unit: String,
    /// The data that was looked at.
    version: RwLock<String>,
}

impl VerifiedUnique {
    pub(super) fn new(
        inner: Arc<dyn TableProvider>,
        state: Arc<SessionState>,
        source: Source,
        unit: String,
        version: String,
    ) -> VerifiedUnique {
        VerifiedUnique { inner, state, source, unit, version: RwLock::new(version) }
    }

    async fn verify(&self) -> Result<()> {
        let present = read::data_version(&self.state, &self.source).await?;
        if self.seen() == present {
            return Ok(());
        }
        if !count_units(&self.state, Arc::clone(&self.inner), &self.unit, true).await?.unique {
            return Err(Error::new(
                Sqlstate::ObjectNotInPrerequisiteState,
                "the table changed since its policy was set",
            )
            .hint("Its steward can look at it again: ALTER TABLE … SET (refresh = true)."));
        }
        match self.version.write() {
            Ok(mut version) => *version = present,
            Err(poisoned) => *poisoned.into_inner() = present,
        }
        Ok(())
    }

    fn seen(&self) -> String {
        match self.version.read() {
            Ok(version) => version.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }
}

#[async_trait]
impl TableProvider for VerifiedUnique {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        self.inner.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        self.verify().await?;
        self.inner.scan(state, projection, filters, limit).await
    }
}
