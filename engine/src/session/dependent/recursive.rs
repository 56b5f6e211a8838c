//! Recursive queries: each row that is found keeps the values it was found for, and so do the rows that the next step finds from it.

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, RecursiveQuery, TableScan, TableSource, col};
use std::sync::Arc;

use super::rows::{Pushed, Rows, under_names};

/// What a recursive query found in the step before, with the values.
pub(super) struct Found {
    /// The query's name.
    name: String,
    source: Arc<dyn TableSource>,
    keys: Vec<Column>,
}

impl Rows<'_> {
    /// Whether a query reads what a recursive query around it found: then it depends on the rows outside as that does.
    pub(super) fn reads_found(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut found = false;
        if !self.found.is_empty() {
            plan.apply_with_subqueries(|node| {
                found |= matches!(node, LogicalPlan::TableScan(scan) if self.found_by(scan).is_some());
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })?;
        }
        Ok(found)
    }

    fn found_by(&self, scan: &TableScan) -> Option<&Found> {
        let found = self.found.iter().rfind(|found| scan.table_name == TableReference::bare(found.name.as_str()))?;
        let provider = source_as_provider(&scan.source).ok()?;
        provider.is::<CteWorkTable>().then_some(found)
    }

    /// What the step before found.
    pub(super) fn scanned(&self, scan: &TableScan) -> Result<Option<Pushed>> {
        let is_whole = scan.projection.is_none() && scan.filters.is_empty() && scan.fetch.is_none();
        let Some(found) = self.found_by(scan).filter(|_| is_whole) else { return Ok(None) };
        let source = Arc::clone(&found.source);
        let plan = LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?.build()?;
        let of_table = |key: &Column| Column::new(Some(scan.table_name.clone()), key.name.clone());
        Ok(Some(Pushed { plan, keys: found.keys.iter().map(of_table).collect() }))
    }

    pub(super) fn repeated(&mut self, query: &RecursiveQuery) -> Result<Option<Pushed>> {
        let Some(first) = self.push(&query.static_term)? else { return Ok(None) };
        let keys: Vec<Column> = first.keys.iter().map(|key| Column::new_unqualified(key.name.clone())).collect();
        let first = flat(&query.static_term, &query.schema, first, &keys)?;
        // As the planner has it, columns may be NULL in later steps.
        let fields = first.schema().fields().iter().map(|field| Field::clone(field).with_nullable(true));
        let table = CteWorkTable::new(&query.name, Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        let source = provider_as_source(Arc::new(table));
        self.found.push(Found { name: query.name.clone(), source, keys: keys.clone() });
        let next = self.push(&query.recursive_term);
        self.found.pop();
        let Some(next) = next? else { return Ok(None) };
        let next = flat(&query.recursive_term, &query.schema, next, &keys)?;
        let plan = LogicalPlanBuilder::from(first).to_recursive_query(query.name.clone(), next, query.is_distinct)?;
        let exprs =
            query.schema.columns().into_iter().map(|column| col(Column::new_unqualified(column.name))).collect();
        under_names(Pushed { plan: plan.build()?, keys }, exprs, &query.schema).map(Some)
    }
}

/// A term's columns under the query's names, and then the values.
fn flat(term: &LogicalPlan, schema: &DFSchema, pushed: Pushed, keys: &[Column]) -> Result<LogicalPlan> {
    let own = term.schema().columns().into_iter().zip(schema.columns());
    let own = own.map(|(column, name)| col(column).alias(name.name));
    let keyed = pushed.keys.iter().zip(keys).map(|(key, name)| col(key.clone()).alias(name.name.clone()));
    let exprs: Vec<Expr> = own.chain(keyed).collect();
    LogicalPlanBuilder::from(pushed.plan).project(exprs)?.build()
}
