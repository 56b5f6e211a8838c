//! Scalar subqueries of a release unit: their values are known before it runs, so to a site they are constants.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Expr, LogicalPlan};

/// A plan in which scalar subqueries, those within its IN and EXISTS too, are replaced by what `value` gives for their plans.
///
/// # Errors
/// Those of `value`, and of plans that cannot be put together again.
pub fn with_values(plan: LogicalPlan, mut value: impl FnMut(&LogicalPlan) -> Result<Expr>) -> Result<LogicalPlan> {
    let replaced = plan.transform_down_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_down(|expr| match &expr {
                Expr::ScalarSubquery(subquery) => Ok(Transformed::yes(value(&subquery.subquery)?)),
                _ => Ok(Transformed::no(expr)),
            })
        })
    })?;
    Ok(replaced.data)
}
