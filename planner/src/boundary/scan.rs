//! Leaves: scans of open and of protected tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::Column;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, SubqueryAlias, TableScan, TableScanBuilder};
use kanon_privacy::policy::{Access, ColumnRole};

use super::rows::{Base, Bases, Role, Rows, key};
use super::{Node, Open, Remote, Walk};
use crate::facts::Placement;
use crate::private::Range;
use crate::refusal::Refusal;

impl Walk<'_> {
    /// Whether a scan is of the working table of a recursive query that is being walked.
    pub(super) fn is_work_table(&self, scan: &TableScan) -> bool {
        self.recursive.iter().any(|name| name == scan.table_name.table())
            && source_as_provider(&scan.source).is_ok_and(|p| p.downcast_ref::<CteWorkTable>().is_some())
    }

    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Node, Refusal> {
        if self.is_work_table(scan) {
            return Ok(Node::Open(Open::of(LogicalPlan::TableScan(scan.clone()))));
        }
        let facts = self.facts.of(scan);
        if let Some(why) = facts.closed {
            return Err(Refusal::forbidden(format!("table \"{}\" {why}", facts.name)));
        }
        let Some(protection) = facts.protection else {
            let remote = match &facts.placement {
                Placement::Local => None,
                Placement::Sites { .. } => {
                    Some(Remote { placement: facts.placement.clone(), tables: vec![facts.name.clone()] })
                }
            };
            return Ok(Node::Open(Open {
                plan: LogicalPlan::TableScan(scan.clone()),
                released: false,
                crafted: self.facts.is_of_the_asker(scan),
                remote,
                lateral: false,
            }));
        };
        match protection.access {
            Access::Cohort | Access::Private => {}
            Access::Open => return Err(Refusal::forbidden(format!("table \"{}\" has no valid policy", facts.name))),
        }
        if scan.fetch.is_some() || !scan.filters.is_empty() {
            return Err(Refusal::unsupported(format!(
                "a scan of table \"{}\" that is already filtered is not supported",
                facts.name
            )));
        }
        let internal = |_| Refusal::unsupported(format!("table \"{}\" cannot be read", facts.name));
        let schema = scan.source.schema();
        if schema.index_of(&protection.unit_column).is_err() {
            return Err(Refusal::forbidden(format!(
                "table \"{}\" has no column \"{}\" for its units",
                facts.name, protection.unit_column
            )));
        }
        let alias = self.alias('t');
        let full =
            TableScanBuilder::new(scan.table_name.clone(), Arc::clone(&scan.source)).build().map_err(internal)?;
        let plan = SubqueryAlias::try_new(Arc::new(LogicalPlan::TableScan(full)), alias.as_str()).map_err(internal)?;
        let column = |name: &str| Column::new(Some(alias.as_str()), name);
        let unit = column(&protection.unit_column);
        let plan =
            Filter::try_new(Expr::Column(unit.clone()).is_not_null(), Arc::new(LogicalPlan::SubqueryAlias(plan)))
                .map_err(internal)?;

        let (private, domains) = match protection.access {
            Access::Private => (facts.private, BTreeMap::new()),
            Access::Cohort | Access::Open => (None, facts.domains),
        };
        let mut bases = Bases::new();
        for field in schema.fields() {
            let role = if *field.name() == protection.unit_column {
                Role::Unit
            } else {
                match facts.roles.get(field.name()).copied().unwrap_or_default() {
                    ColumnRole::None => Role::Plain,
                    // Another column that is said to name units names people all the same.
                    ColumnRole::Unit | ColumnRole::Identifier => Role::Identifier,
                    ColumnRole::Measure => Role::Measure,
                }
            };
            let declared = private.as_ref().and_then(|p| p.columns.get(field.name()));
            let bounds = declared.and_then(|column| column.bounds);
            let base = Base {
                role,
                condition: false,
                bare: true,
                column: field.name().clone(),
                table: facts.name.clone(),
                gates: vec![],
                range: bounds.map_or(Range::ALL, |bounds| Range::of(bounds.lower(), bounds.upper())),
                domain: declared
                    .and_then(|column| column.domain.as_ref())
                    .or_else(|| domains.get(field.name()))
                    .map(|domain| Arc::new(domain.clone())),
            };
            bases.insert(key(&column(field.name())), base);
        }
        let defs = scan.projected_schema.fields().iter().map(|f| Expr::Column(column(f.name()))).collect();
        Ok(Node::Private(Rows {
            plan: LogicalPlan::Filter(plan),
            defs,
            base: bases,
            unit: Some(unit),
            one_row: protection.unit_unique,
            protection: Some(protection),
            private,
            implied: vec![],
            multiplied: vec![],
            tables: vec![facts.name],
            placement: facts.placement,
            correlated: false,
            restricted: false,
        }))
    }
}
