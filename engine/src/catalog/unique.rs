//! Tables whose units have one row each: that a steward said so is believed only of data that was looked at.
//!
//! Where each row is of another unit, mostly all that matters of the unit is that there is one. Of data that was found to name one in every row the column
//! is then not read at all.

use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use datafusion::arrow::array::{Array, Int64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::{count, count_distinct};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, UNNAMED_TABLE, lit,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionContext, ident};

use super::part::{Part, column};
use super::read;
use super::source::{Source, SourceKind};
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

impl Units {
    pub(super) fn found(&self) -> Found {
        Found { unique: self.unique, named: self.named == self.rows }
    }
}

/// What is known of the units of some state of the data. Nothing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// Each unit has one row.
    pub(super) unique: bool,
    /// Every row has a unit.
    pub(super) named: bool,
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

/// What is read of a table that plans take to have one row a unit, where it has more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// Nothing: an answer would be of other people than it says.
    Nothing,
    /// One row of each unit, for private access: a unit adds no more than it may, and only its steward is told.
    OneRow,
}

/// Reads a table that plans take to have one row a unit. Data that changed is looked at before it is read.
#[derive(Debug)]
pub(super) struct OneRowAUnit {
    inner: Arc<dyn TableProvider>,
    state: Arc<SessionState>,
    source: Source,
    unit: String,
    otherwise: Otherwise,
    /// The data that was looked at, and what was found.
    seen: RwLock<(String, Found)>,
}

impl OneRowAUnit {
    /// `seen` is the version of the data that was looked at, and what was found.
    pub(super) fn new(
        inner: Arc<dyn TableProvider>,
        state: Arc<SessionState>,
        source: Source,
        unit: String,
        otherwise: Otherwise,
        seen: (String, Found),
    ) -> OneRowAUnit {
        OneRowAUnit { inner, state, source, unit, otherwise, seen: RwLock::new(seen) }
    }

    /// What is true of the present data.
    async fn found(&self) -> Result<Found> {
        let found = self.found_of_present().await?;
        // A database may change with every row that is read.
        Ok(Found { named: found.named && self.source.kind != SourceKind::Sqlite, ..found })
    }

    async fn found_of_present(&self) -> Result<Found> {
        let present = read::data_version(&self.state, &self.source).await?;
        let (version, found) = self.seen();
        if version == present {
            return Ok(found);
        }
        let found = count_units(&self.state, Arc::clone(&self.inner), &self.unit, true).await?.found();
        if read::data_version(&self.state, &self.source).await? != present {
            // Of no version that can be named.
            return Ok(Found::default());
        }
        match self.seen.write() {
            Ok(mut seen) => *seen = (present, found),
            Err(poisoned) => *poisoned.into_inner() = (present, found),
        }
        Ok(found)
    }

    fn seen(&self) -> (String, Found) {
        match self.seen.read() {
            Ok(seen) => seen.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// One row of each unit, the first in the order of all its columns: whatever else is in the table, and in whatever order.
    async fn one_row_each(
        &self,
        state: &dyn Session,
        part: Part<'_>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        const NUMBER: &str = "__kanon_number";
        let schema = self.inner.schema();
        let columns: Vec<Expr> = schema.fields().iter().map(column).collect();
        // Lists and structs have no order, and two rows that differ in nothing else could come either way round: none of them is read.
        let ordered = schema.fields().iter().filter(|field| !field.data_type().is_nested());
        let order: Vec<_> = ordered.map(|field| column(field).sort(true, false)).collect();
        let number = row_number().partition_by(vec![self.unit()]).order_by(order).build()?.alias(NUMBER);
        let shown = columns.iter().zip(schema.fields()).map(|(column, field)| {
            if field.data_type().is_nested() {
                let nothing = ScalarValue::try_from(field.data_type())?;
                return Ok(Expr::Literal(nothing, None).alias(field.name()));
            }
            Ok(column.clone())
        });
        let shown = shown.collect::<datafusion::error::Result<Vec<_>>>()?;
        let rows = provider_as_source(Arc::clone(&self.inner));
        let plan = LogicalPlanBuilder::scan(UNNAMED_TABLE, rows, None)?
            .window(vec![number])?
            .filter(Expr::Column(Column::new_unqualified(NUMBER)).eq(lit(1_u64)))?
            .project(shown)?;
        part.of(plan, &schema, state).await
    }

    fn unit(&self) -> Expr {
        Expr::Column(Column::new_unqualified(&self.unit))
    }

    /// Whether this asks that there is a unit, and nothing else.
    fn asks_for_a_unit(&self, filter: &Expr) -> bool {
        matches!(filter, Expr::IsNotNull(tested) if matches!(tested.as_ref(), Expr::Column(column) if column.name == self.unit))
    }
}

#[async_trait]
impl TableProvider for OneRowAUnit {
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
        let mut supported = self.inner.supports_filters_pushdown(filters)?;
        for (filter, supported) in filters.iter().zip(&mut supported) {
            if self.asks_for_a_unit(filter) {
                *supported = TableProviderFilterPushDown::Exact;
            }
        }
        Ok(supported)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let found = self.found().await?;
        match (found.unique, self.otherwise) {
            (true, _) => {
                let (of_unit, filters): (Vec<Expr>, Vec<Expr>) =
                    filters.iter().cloned().partition(|filter| self.asks_for_a_unit(filter));
                if of_unit.is_empty() || found.named {
                    return self.inner.scan(state, projection, &filters, limit).await;
                }
                let rows = LogicalPlanBuilder::scan(UNNAMED_TABLE, provider_as_source(Arc::clone(&self.inner)), None)?;
                let filters = [filters, of_unit].concat();
                Part { projection, filters: &filters, limit }.of(rows, &self.inner.schema(), state).await
            }
            (false, Otherwise::OneRow) => self.one_row_each(state, Part { projection, filters, limit }).await,
            (false, Otherwise::Nothing) => {
                Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, "the table changed since its policy was set")
                    .hint("Its steward can look at it again: ALTER TABLE … SET (refresh = true).")
                    .into())
            }
        }
    }
}
