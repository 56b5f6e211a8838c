//! Moments that a statement makes of constants, as Superset writes the ends of a span: `to_timestamp('2024-01-01', 'YYYY-MM-DD')`. Over rows of
//! people they are worked out before the boundary is drawn, below which these functions may not run: they know no rows.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

/// The functions: what they make depends on their arguments and the session's time zone alone.
const OF_CONSTANTS: [&str; 5] =
    ["kanon_to_date", "kanon_to_timestamp", "make_timestamp", "make_timestamptz", "kanon_make_interval"];

/// A plan with calls of constants as the values that they are. What fails stays as it is.
///
/// # Errors
/// If the plan cannot be made anew.
pub fn folded(plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
    let context = SimplifyContext::builder().with_config_options(options.clone().into()).build();
    let simplifier = ExprSimplifier::new(context);
    let one = |expr: Expr| {
        let value = is_of_constants(&expr).then(|| simplifier.simplify(expr.clone()));
        Ok(match value {
            Some(Ok(value @ Expr::Literal(..))) => Transformed::yes(value),
            _ => Transformed::no(expr),
        })
    };
    let done = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(one)?.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(done.data)
}

fn is_of_constants(expr: &Expr) -> bool {
    let Expr::ScalarFunction(call) = expr else { return false };
    OF_CONSTANTS.contains(&call.func.name()) && call.args.iter().all(is_constant)
}

/// A literal, under casts that came with the types of the arguments.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => is_constant(&cast.expr),
        _ => false,
    }
}
