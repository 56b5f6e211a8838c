//! `kanon.privacy_units` and `kanon.budget`: read from the ledger when they are scanned, not whenever a statement is planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::SystemContext;
use super::views::Columns;
use crate::catalog::{DEFAULT_UNIT_KIND, Table};
use crate::error::Result;
use crate::ledger::{Budget, Ledger, Spending};
use crate::principal::BuiltinRole;

/// The kinds of units of the tables that one may see, for stewards all, with what everybody together spent.
pub(super) fn privacy_units(context: &SystemContext, visible: &[Arc<Table>]) -> Arc<dyn TableProvider> {
    LedgerView::provider(context, visible, privacy_unit_rows)
}

/// What one spent oneself, and everybody together, of those kinds; for stewards what each spent.
pub(super) fn budget(context: &SystemContext, visible: &[Arc<Table>]) -> Arc<dyn TableProvider> {
    LedgerView::provider(context, visible, budget_rows)
}

type Rows = fn(&str, &[Spending]) -> Result<MemTable>;

fn privacy_unit_rows(site: &str, all: &[Spending]) -> Result<MemTable> {
    let s = || all.iter().filter(|x| x.principal.is_none());
    Columns::default()
        .text("site", s().map(|_| Some(site)))
        .text("unit_kind", s().map(|x| Some(&x.kind)))
        .double("budget_epsilon", s().map(|x| Some(x.budget.epsilon.get())))
        .double("budget_delta", s().map(|x| Some(x.budget.delta.get())))
        .text("budget_window", s().map(|x| x.budget.window.map(|window| window.to_string())))
        .double("spent_epsilon", s().map(|x| Some(x.spent.epsilon)))
        .double("spent_delta", s().map(|x| Some(x.spent.delta)))
        .double("lifetime_epsilon", s().map(|x| Some(x.lifetime.epsilon)))
        .double("lifetime_delta", s().map(|x| Some(x.lifetime.delta)))
        .table()
}

fn budget_rows(site: &str, all: &[Spending]) -> Result<MemTable> {
    let s = || all.iter();
    let microseconds = |ms: Option<i64>| ms.map(|ms| ms.saturating_mul(1000));
    Columns::default()
        .text("site", s().map(|_| Some(site)))
        .text("unit_kind", s().map(|x| Some(&x.kind)))
        .text("principal", s().map(|x| x.principal.as_ref()))
        .text("scope", s().map(|x| Some(if x.principal.is_some() { "principal" } else { "unit" })))
        .double("spent_epsilon", s().map(|x| Some(x.spent.epsilon)))
        .double("spent_delta", s().map(|x| Some(x.spent.delta)))
        .double("left_epsilon", s().map(|x| Some(x.left.epsilon)))
        .double("left_delta", s().map(|x| Some(x.left.delta)))
        .double("lifetime_epsilon", s().map(|x| Some(x.lifetime.epsilon)))
        .time("window_start", s().map(|x| microseconds(x.window_start_ms)))
        .time("window_end", s().map(|x| microseconds(x.window_end_ms)))
        .double("budget_epsilon", s().map(|x| Some(x.budget.epsilon.get())))
        .double("budget_delta", s().map(|x| Some(x.budget.delta.get())))
        .table()
}

#[derive(Debug)]
struct LedgerView {
    ledger: Ledger,
    site: String,
    kinds: BTreeMap<String, Budget>,
    /// Who looks.
    principal: String,
    /// Whether all principals are shown.
    is_steward: bool,
    schema: SchemaRef,
    rows: Rows,
}

impl LedgerView {
    fn provider(context: &SystemContext, visible: &[Arc<Table>], rows: Rows) -> Arc<dyn TableProvider> {
        let is_steward = context.principal.via_peer.is_none() && context.principal.is(BuiltinRole::Steward);
        let snapshot = context.node.catalog.snapshot();
        let is_of = |table: &Table, kind: &str| {
            let default = table.policy.unit.as_ref().map(|_| DEFAULT_UNIT_KIND);
            table.schema_name == "public" && table.policy.unit_kind.as_deref().or(default) == Some(kind)
        };
        let kinds = snapshot
            .privacy_units
            .iter()
            .filter(|(kind, _)| is_steward || visible.iter().any(|table| is_of(table, kind)))
            .map(|(kind, budget)| (kind.clone(), *budget))
            .collect();
        let site = context.node.site().to_string();
        let schema = rows(&site, &[]).map(|table| table.schema()).unwrap_or_else(|_| Arc::new(Schema::empty()));
        Arc::new(LedgerView {
            ledger: context.node.ledger.clone(),
            site,
            kinds,
            principal: context.principal.display(),
            is_steward,
            schema,
            rows,
        })
    }

    async fn spending(&self) -> Result<Vec<Spending>> {
        let mut shown = Vec::new();
        for (kind, budget) in &self.kinds {
            let mut all = self.ledger.spending(kind, *budget).await?;
            let is_mine = |spending: &Spending| spending.principal.as_deref() == Some(&self.principal);
            if !self.is_steward {
                all.retain(|spending| spending.principal.is_none() || is_mine(spending));
                if !all.iter().any(is_mine) {
                    let mine = all.first().map(|everybody| everybody.none(&self.principal));
                    all.extend(mine);
                }
            }
            shown.append(&mut all);
        }
        Ok(shown)
    }
}

#[async_trait]
impl TableProvider for LedgerView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn table_type(&self) -> TableType {
        TableType::View
    }
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let table = (self.rows)(&self.site, &self.spending().await?)?;
        table.scan(state, projection, filters, limit).await
    }
}
