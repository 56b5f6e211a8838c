//! Queries that have no row whatever the data: `… LIMIT 0`, `… WHERE 1 <> 1`.
//!
//! Tools ask them for the columns of an answer, or to see whether a table may be read at all. They are answered from the catalog, of protected tables too: nothing
//! is read.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use kanon_planner::facts::Facts;

/// A plan that reads nothing where there can be no row.
///
/// # Errors
/// If the plan is no plan.
pub(super) fn without_what_is_empty(
    plan: LogicalPlan,
    facts: &dyn Facts,
    options: &Arc<ConfigOptions>,
) -> Result<LogicalPlan> {
    let done = plan.transform_down(|node| {
        let is_empty = match &node {
            LogicalPlan::Limit(limit) => {
                matches!(limit.fetch.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(0)), _)))
            }
            LogicalPlan::Filter(filter) => {
                split_conjunction(&filter.predicate).into_iter().any(|one| is_never(one, options))
            }
            _ => false,
        };
        if !is_empty || !may_be_asked(&node, facts)? {
            return Ok(Transformed::no(node));
        }
        let schema = Arc::clone(node.schema());
        let nothing = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema });
        Ok(Transformed::new(nothing, true, TreeNodeRecursion::Jump))
    })?;
    Ok(done.data)
}

/// Whether a condition without columns is false or NULL, at any moment.
fn is_never(condition: &Expr, options: &Arc<ConfigOptions>) -> bool {
    if condition.any_column_refs() || depends(condition) {
        return false;
    }
    let context = SimplifyContext::builder().with_config_options(Arc::clone(options)).build();
    matches!(
        ExprSimplifier::new(context).simplify(condition.clone()),
        Ok(Expr::Literal(ScalarValue::Boolean(Some(false) | None), _))
    )
}

/// Whether it depends on more than its constants: on a query, on chance, on the moment.
fn depends(condition: &Expr) -> bool {
    let found = condition.exists(|expr| {
        Ok(match expr {
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => true,
            Expr::ScalarFunction(function) => function.func.signature().volatility != Volatility::Immutable,
            _ => false,
        })
    });
    found.unwrap_or(true)
}

/// Whether no table below is closed to who asks.
fn may_be_asked(plan: &LogicalPlan, facts: &dyn Facts) -> Result<bool> {
    let mut open = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            open &= facts.of(scan).closed.is_none();
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(open)
}
