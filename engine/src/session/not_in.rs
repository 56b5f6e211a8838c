//! `x NOT IN (query)` as a condition, of a query that depends on the row: no row of it may be x, nor leave open whether it is.
//!
//! ```text
//! Filter: x NOT IN (SELECT y …)   ─►   Filter: NOT EXISTS (SELECT y … WHERE (x = y) IS NOT FALSE)
//! ```
//!
//! DataFusion's own join for it, which knows of NULL, takes no other condition.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, col};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// EXISTS in place of dependent NOT IN.
#[derive(Debug, Default)]
pub struct DependentNotIn;

impl OptimizerRule for DependentNotIn {
    fn name(&self) -> &str {
        "dependent_not_in"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
        let input = filter.input.schema();
        let predicate = filter.predicate.clone().transform_down(|expr| {
            Ok(match &expr {
                Expr::BinaryExpr(BinaryExpr { op: Operator::And, .. }) => Transformed::no(expr),
                Expr::InSubquery(within) if is_wanted(within)? => {
                    Transformed::new(exists(within, input)?, true, TreeNodeRecursion::Jump)
                }
                // In a condition of another kind a NULL is not the same as false.
                _ => Transformed::new(expr, false, TreeNodeRecursion::Jump),
            })
        })?;
        if !predicate.transformed {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        Filter::try_new(predicate.data, filter.input).map(|filter| Transformed::yes(LogicalPlan::Filter(filter)))
    }
}

/// Whether it is a dependent NOT IN, of what is the same wherever it is computed.
fn is_wanted(within: &InSubquery) -> Result<bool> {
    let is_moved = !within.expr.is_volatile() && !within.expr.contains_outer();
    let is_query = |expr: &Expr| matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    let is_dependent = within.negated && !within.subquery.outer_ref_columns.is_empty();
    Ok(is_dependent && is_moved && !within.expr.exists(|expr| Ok(is_query(expr)))?)
}

fn exists(within: &InSubquery, input: &DFSchema) -> Result<Expr> {
    let wanted = within.expr.as_ref().clone().transform(|expr| match expr {
        Expr::Column(column) => {
            let field = Arc::clone(input.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let query = within.subquery.subquery.as_ref().clone();
    let Some(value) = query.schema().columns().into_iter().next() else { return plan_err!("a query without a column") };
    let may_be = Expr::IsNotFalse(Box::new(wanted.data.eq(col(value))));
    let subquery = LogicalPlanBuilder::from(query).filter(may_be)?.build()?;
    let outer_ref_columns = subquery.all_out_ref_exprs();
    let subquery = Subquery { subquery: subquery.into(), outer_ref_columns, ..within.subquery.clone() };
    Ok(Expr::Exists(Exists { subquery, negated: true }))
}
