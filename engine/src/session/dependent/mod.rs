//! Queries that depend on the row around them, computed for all those rows together: `LATERAL`, and queries for a value that are compared otherwise than by `=`.
//!
//! ```text
//! rows of t, and for each of them q(t.a)         rows of t joined with q of D by a
//!   Projection: t.a, (q(t.a))             ─►       Left join: t.a IS NOT DISTINCT FROM d.a
//!     t                                              t
//!                                                    q(d.a), of D: the values of t.a, each once
//! ```
//!
//! q of D is q with D in place of the row: whatever q reads is joined with D, and whatever it groups is grouped by D as well (T. Neumann, A. Kemper, "Unnesting
//! Arbitrary Queries", BTW 2015). What DataFusion joins by itself is left to it; what has no such plan stays as it is, and is refused.
//!
//! The rows of t are read twice by that, and must be the same rows both times ([`repeatable`]); and the plan grows with each query ([`super::growth`]).

mod counted;
mod grouped;
mod ordered;
mod recursive;
mod repeatable;
mod rows;

use std::collections::HashSet;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{EmptyRelation, Expr, Join, LogicalPlan, LogicalPlanBuilder, Subquery, col};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use self::counted::counted;
use super::growth::{Growth, rewritten};
use crate::error::Error;
use crate::functions::one_row;
use rows::Rows;

/// Joins in place of queries that depend on the row around them.
#[derive(Debug, Default)]
pub struct DependentJoins;

impl OptimizerRule for DependentJoins {
    fn name(&self) -> &str {
        "dependent_joins"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        rewritten(plan, |node, growth| match &node {
            LogicalPlan::Join(join) => Ok(match lateral(join, config, growth)? {
                Some(joined) => Transformed::yes(joined),
                None => Transformed::no(node),
            }),
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Aggregate(_) => {
                values(node, config, growth)
            }
            _ => Ok(Transformed::no(node)),
        })
    }
}

/// Joins the queries for values in the expressions of a node.
fn values(plan: LogicalPlan, config: &dyn OptimizerConfig, growth: &mut Growth) -> Result<Transformed<LogicalPlan>> {
    let is_dependent = |expr: &Expr| match expr {
        Expr::ScalarSubquery(query) => !query.outer_ref_columns.is_empty(),
        Expr::Exists(exists) => !exists.subquery.outer_ref_columns.is_empty(),
        Expr::InSubquery(within) => !within.subquery.outer_ref_columns.is_empty(),
        _ => false,
    };
    let exprs = plan.expressions();
    if !exprs.iter().any(|expr| expr.exists(|expr| Ok(is_dependent(expr))).unwrap_or(false)) {
        return Ok(Transformed::no(plan));
    }
    let Some(input) = plan.inputs().first().copied().cloned() else { return Ok(Transformed::no(plan)) };
    let mut joined = input.clone();
    let (names, mut changed) = (NamePreserver::new(&plan), false);
    let mut done = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let name = names.save(&expr);
        let rewritten = expr.transform_down(|expr| {
            let counted = counted(&expr, input.schema())?;
            let query = match (&expr, &counted) {
                (Expr::ScalarSubquery(query), _) | (_, Some(query)) => query,
                _ => return Ok(Transformed::no(expr)),
            };
            match value(query, &input, config)? {
                Some(Value { right, outer, keys, expr: value }) => {
                    growth.take(&right)?;
                    joined = join(joined.clone(), right, JoinType::Left, &outer, &keys, None)?;
                    Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(expr)),
            }
        })?;
        changed |= rewritten.transformed;
        done.push(name.restore(rewritten.data));
    }
    if !changed {
        return Ok(Transformed::no(plan));
    }
    let is_filter = matches!(plan, LogicalPlan::Filter(_));
    let plan = plan.with_new_exprs(done, vec![joined])?;
    // A filter has the columns of its input.
    let plan = if is_filter { LogicalPlanBuilder::from(plan).project(columns(input.schema()))?.build()? } else { plan };
    Ok(Transformed::yes(plan))
}

/// A query for a value, computed for all rows.
struct Value {
    right: LogicalPlan,
    /// What the rows are joined with it by.
    outer: Vec<Column>,
    keys: Vec<Column>,
    /// The value, once they are.
    expr: Expr,
}

/// A query for a value of each row of an input; `None` if that is for DataFusion to do, or cannot be done.
fn value(query: &Subquery, input: &LogicalPlan, config: &dyn OptimizerConfig) -> Result<Option<Value>> {
    let plan = query.subquery.as_ref();
    let has_one_row = plan.max_rows().is_some_and(|most| most <= 1);
    if query.outer_ref_columns.is_empty() || has_one_row && is_pulled_up(plan)? {
        return Ok(None);
    }
    let collected = if has_one_row { None } else { one_row::collected(plan)? };
    if !has_one_row && collected.is_none() {
        return Ok(None);
    }
    let plan = collected.as_ref().unwrap_or(plan);
    let Some(outer) = outer_columns(plan, input.schema())? else { return Ok(None) };
    let Some(mut rows) = Rows::values(input, &outer, config)? else { return Err(not_repeatable().into()) };
    let Some(pushed) = rows.push(plan)? else { return Ok(None) };
    let Some(value) = columns(plan.schema()).into_iter().next() else { return Ok(None) };
    let name = config.alias_generator().next("__dependent_value");
    let exprs = std::iter::once(value.alias(&name)).chain(pushed.keys.iter().cloned().map(Expr::Column));
    let right = LogicalPlanBuilder::from(pushed.plan).project(exprs)?.build()?;
    let value = col(Column::new_unqualified(name));
    let expr = if has_one_row { value } else { one_row::only(value) };
    Ok(Some(Value { right, outer, keys: pushed.keys, expr }))
}

fn not_repeatable() -> Error {
    Error::unsupported("a query for each of some rows is not supported where reading them again may give other rows")
        .detail("random(), LIMIT, DISTINCT ON, window functions and sums of floating-point numbers may do so.")
        .hint("Put the rows into a temporary table first, or ORDER BY all of their columns that the query names.")
}

/// Whether DataFusion joins a query by its conditions.
fn is_pulled_up(query: &LogicalPlan) -> Result<bool> {
    let mut is_condition = true;
    query.apply(|node| {
        // Out of a query in FROM it takes columns by names that they have inside.
        is_condition &= match node {
            LogicalPlan::Filter(_) => true,
            LogicalPlan::Subquery(_) => false,
            LogicalPlan::RecursiveQuery(_) => !depends(node)?,
            other => !other.contains_outer_reference(),
        };
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !is_condition {
        return Ok(false);
    }
    let mut pull_up = PullUpCorrelatedExpr::new().with_need_handle_count_bug(true);
    // It fails where a condition is below a join that was made for another query.
    Ok(query.clone().rewrite(&mut pull_up).is_ok() && pull_up.can_pull_up)
}

/// A join whose right side depends on the left.
fn lateral(join_of: &Join, config: &dyn OptimizerConfig, growth: &mut Growth) -> Result<Option<LogicalPlan>> {
    if !matches!(join_of.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(None);
    }
    let (query, alias) = match join_of.right.as_ref() {
        LogicalPlan::Subquery(query) => (query, None),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(query) => (query, Some(alias.alias.clone())),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let plan = match alias {
        Some(alias) => LogicalPlanBuilder::from(query.subquery.as_ref().clone()).alias(alias)?.build()?,
        None => query.subquery.as_ref().clone(),
    };
    let left = join_of.left.as_ref();
    let Some(outer) = outer_columns(&plan, left.schema())? else { return Ok(None) };
    if outer.is_empty() {
        return Ok(None);
    }
    let conditions = join_of.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
    let condition = conditions.chain(join_of.filter.clone()).reduce(Expr::and);
    if join_of.join_type == JoinType::Inner && is_chain(&plan)? {
        // Each row goes through it by itself, with all of its columns.
        let all = left.schema().columns();
        let mut rows = Rows::whole(left, &all, config);
        let Some(pushed) = rows.push(&plan)? else { return Ok(None) };
        let own = all
            .iter()
            .zip(&pushed.keys)
            .map(|(column, key)| col(key.clone()).alias_qualified(column.relation.clone(), column.name.clone()));
        let exprs: Vec<Expr> = own.chain(columns(plan.schema())).collect();
        let joined = LogicalPlanBuilder::from(pushed.plan).project(exprs)?;
        return match condition {
            Some(condition) => joined.filter(condition)?.build().map(Some),
            None => joined.build().map(Some),
        };
    }
    let Some(mut rows) = Rows::values(left, &outer, config)? else {
        // DataFusion reads the rows once, of what it joins.
        let done = DecorrelateLateralJoin::new().rewrite(LogicalPlan::Join(join_of.clone()), config)?;
        return if done.transformed { Ok(Some(done.data)) } else { Err(not_repeatable().into()) };
    };
    let Some(pushed) = rows.push(&plan)? else { return Ok(None) };
    growth.take(&pushed.plan)?;
    let joined = join(left.clone(), pushed.plan, join_of.join_type, &outer, &pushed.keys, condition)?;
    let exprs: Vec<Expr> = columns(left.schema()).into_iter().chain(columns(plan.schema())).collect();
    LogicalPlanBuilder::from(joined).project(exprs)?.build().map(Some)
}

/// A join of rows with what was computed for each of their values.
fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
    outer: &[Column],
    keys: &[Column],
    condition: Option<Expr>,
) -> Result<LogicalPlan> {
    let on = (outer.to_vec(), keys.to_vec());
    LogicalPlanBuilder::from(left).join_detailed(right, join_type, on, condition, NullEquality::NullEqualsNull)?.build()
}

fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// The columns of the rows outside that a query names; `None` if it names others, or has a query inside that names any.
fn outer_columns(query: &LogicalPlan, outside: &DFSchema) -> Result<Option<Vec<Column>>> {
    let (mut seen, mut found, mut is_plain) = (HashSet::new(), Vec::new(), true);
    query.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::OuterReferenceColumn(_, column) => {
                        is_plain &= outside.has_column(column);
                        if seen.insert(column.clone()) {
                            found.push(column.clone());
                        }
                    }
                    Expr::ScalarSubquery(query) => is_plain &= query.outer_ref_columns.is_empty(),
                    Expr::Exists(exists) => is_plain &= exists.subquery.outer_ref_columns.is_empty(),
                    Expr::InSubquery(within) => is_plain &= within.subquery.outer_ref_columns.is_empty(),
                    Expr::SetComparison(set) => is_plain &= set.subquery.outer_ref_columns.is_empty(),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(is_plain.then_some(found))
}

/// Whether a query is computed row by row.
fn is_chain(query: &LogicalPlan) -> Result<bool> {
    let mut is_chain = true;
    query.apply(|node| {
        is_chain &= match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, .. }) => true,
            node => !depends(node)?,
        };
        // What does not depend on the row is read as a whole.
        Ok(if depends(node)? { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Jump })
    })?;
    Ok(is_chain)
}

/// Whether a query names a column of the rows outside.
fn depends(query: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    query.apply(|node| {
        found |= node.contains_outer_reference();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
