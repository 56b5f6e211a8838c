//! `SELECT DISTINCT ON (a) b, (SELECT …) FROM t`: what is computed is computed below, where DataFusion plans queries for values.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, LogicalPlan, LogicalPlanBuilder};

/// Puts a projection below each DISTINCT ON that has a query in its expressions.
///
/// # Errors
/// If the plan is no plan.
pub(super) fn computed_below(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Distinct(Distinct::On(distinct)) if has_query(distinct) => apart(distinct).map(Transformed::yes),
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(done.data)
}

fn has_query(of: &DistinctOn) -> bool {
    let is_query = |expr: &Expr| matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    let has_query = |expr: &Expr| expr.exists(|expr| Ok(is_query(expr))).unwrap_or(false);
    let sorted = of.sort_expr.iter().flatten().map(|sort| &sort.expr);
    of.on_expr.iter().chain(&of.select_expr).chain(sorted).any(has_query)
}

fn apart(of: &DistinctOn) -> Result<LogicalPlan> {
    let mut computed: Vec<(Expr, Column)> = Vec::new();
    let mut place = |expr: &Expr| -> Expr {
        let plain = expr.clone().unalias();
        if let Some((_, column)) = computed.iter().find(|(known, _)| *known == plain) {
            return Expr::Column(column.clone());
        }
        let column = Column::new_unqualified(format!("__distinct_{}", computed.len()));
        computed.push((plain, column.clone()));
        Expr::Column(column)
    };
    let on: Vec<Expr> = of.on_expr.iter().map(&mut place).collect();
    let selected = of.select_expr.iter().zip(of.schema.columns());
    let selected: Vec<Expr> =
        selected.map(|(expr, name)| place(expr).alias_qualified(name.relation, name.name)).collect();
    let sorted: Option<Vec<SortExpr>> = of
        .sort_expr
        .as_ref()
        .map(|sorts| sorts.iter().map(|sort| SortExpr { expr: place(&sort.expr), ..sort.clone() }).collect());
    let named = computed.into_iter().map(|(expr, column)| expr.alias(column.name));
    let below = LogicalPlanBuilder::from(of.input.as_ref().clone()).project(named)?.build()?;
    Ok(LogicalPlan::Distinct(Distinct::On(DistinctOn::try_new(on, selected, sorted, Arc::new(below))?)))
}
