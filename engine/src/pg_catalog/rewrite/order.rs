//! The order of a table's columns in queries that ask for none.
//!
//! PostgreSQL finds the rows of `pg_attribute` by its index, a table's columns in their order, and joins what else there is to them one by one. Clients take
//! that order for granted: ADBC describes tables by such a query. A hash join has the order of whichever side is larger.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Query, Select, SetExpr,
    TableFactor, visit_expressions,
};

use super::subqueries::AGGREGATES;
use super::{Scope, called, is_catalog_function};
use crate::pg_catalog::defs::PROCEDURES;

/// Orders the rows of a query by the columns of tables that it joins, unless it has an order, or groups.
pub(super) fn by_columns(query: &mut Query, scope: &Scope) {
    if !scope.reads_catalog || query.order_by.is_some() {
        return;
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(name) = columns_joined(select, scope).filter(|_| is_of_rows(select)) else { return };
    let by = |column: &str| OrderByExpr {
        expr: Expr::CompoundIdentifier(vec![name.clone(), Ident::new(column)]),
        options: OrderByOptions { asc: None, nulls_first: None },
        with_fill: None,
    };
    let kind = OrderByKind::Expressions(vec![by("attrelid"), by("attnum")]);
    query.order_by = Some(OrderBy { kind, interpolate: None });
}

/// What `pg_attribute` is called in FROM, if other tables are joined with it.
fn columns_joined(select: &Select, scope: &Scope) -> Option<Ident> {
    let mut factors: Vec<&TableFactor> = Vec::new();
    for table in &select.from {
        factors.push(&table.relation);
        factors.extend(table.joins.iter().map(|join| &join.relation));
    }
    if factors.len() < 2 {
        return None;
    }
    factors.into_iter().find_map(|factor| match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let relation = scope.system_relation(name).filter(|relation| relation.name == "pg_attribute")?;
            Some(alias.as_ref().map_or_else(|| Ident::new(relation.name), |alias| alias.name.clone()))
        }
        _ => None,
    })
}

/// Whether a SELECT answers a row for each that it reads.
fn is_of_rows(select: &Select) -> bool {
    let has_groups = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
    };
    if has_groups || select.distinct.is_some() || select.having.is_some() {
        return false;
    }
    let aggregate = visit_expressions(&select.projection, |expr| match expr {
        Expr::Function(function) if may_gather(function, expr) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    aggregate.is_continue()
}

/// Whether a function may make one value of many rows.
fn may_gather(function: &Function, call: &Expr) -> bool {
    let Some(name) = called(call) else { return true };
    let is_listed = || PROCEDURES.iter().any(|known| known.name == name && known.kind == "a");
    let is_aggregate = || AGGREGATES.contains(&name.as_str()) || name.ends_with("_agg") || is_listed();
    function.over.is_none() && !is_catalog_function(&name) && is_aggregate()
}
