//! Arithmetic of dates, intervals and whole numbers as PostgreSQL does it, where DataFusion answers something else.
//!
//! | expression | PostgreSQL | DataFusion |
//! | --- | --- | --- |
//! | date ± interval | a timestamp | a date, without the hours |
//! | timestamp − timestamp | an interval of days and hours | a duration, which compares with no interval |
//! | interval · number, −interval | an interval | refused, or the same interval |
//! | 1.5::integer | 2 | 1 |
//! | timestamp::text | `2024-02-29 12:00:00` | `2024-02-29T12:00:00` |

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, binary_expr, cast, lit};

/// A plan with PostgreSQL's arithmetic in place of DataFusion's. Twice is as once.
///
/// # Errors
/// If the plan is no plan, or a function is not registered.
pub fn as_postgresql(plan: LogicalPlan, functions: &dyn FunctionRegistry) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let schema = inputs(&plan);
        let mut changed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|expr| one(expr, &schema, functions))?;
            Ok(if done.transformed { done.update_data(|expr| name.restore(expr)) } else { done })
        })?;
        // What is above may have another type now, and so what is above that.
        changed.data = changed.data.recompute_schema()?;
        Ok(changed)
    })?;
    Ok(done.data)
}

/// The columns that a node's expressions may name.
fn inputs(plan: &LogicalPlan) -> Arc<DFSchema> {
    let mut inputs = plan.inputs().into_iter();
    let Some(first) = inputs.next() else { return Arc::clone(plan.schema()) };
    let mut schema = first.schema().as_ref().clone();
    for input in inputs {
        schema.merge(input.schema());
    }
    Arc::new(schema)
}

fn is_interval(of_type: &DataType) -> bool {
    matches!(of_type, DataType::Interval(_))
}

fn is_date(of_type: &DataType) -> bool {
    matches!(of_type, DataType::Date32 | DataType::Date64)
}

fn is_timestamp(of_type: &DataType) -> bool {
    matches!(of_type, DataType::Timestamp(..))
}

fn one(expr: Expr, schema: &DFSchema, functions: &dyn FunctionRegistry) -> Result<Transformed<Expr>> {
    let call = |name: &str, args: Vec<Expr>| -> Result<Expr> { Ok(functions.udf(name)?.call(args)) };
    let type_of = |expr: &Expr| expr.get_type(schema).ok();
    let timestamp = |expr: Expr| cast(expr, DataType::Timestamp(TimeUnit::Microsecond, None));
    let number = |expr: Expr| cast(expr, DataType::Float64);
    match &expr {
        Expr::BinaryExpr(binary) => {
            let (Some(left), Some(right)) = (type_of(&binary.left), type_of(&binary.right)) else {
                return Ok(Transformed::no(expr));
            };
            let (l, r) = (|| binary.left.as_ref().clone(), || binary.right.as_ref().clone());
            let done = match binary.op {
                op @ (Operator::Plus | Operator::Minus) if is_date(&left) && is_interval(&right) => {
                    binary_expr(timestamp(l()), op, r())
                }
                Operator::Plus if is_interval(&left) && is_date(&right) => {
                    binary_expr(l(), Operator::Plus, timestamp(r()))
                }
                Operator::Minus
                    if (is_timestamp(&left) && (is_timestamp(&right) || is_date(&right)))
                        || (is_date(&left) && is_timestamp(&right)) =>
                {
                    call("kanon_elapsed", vec![l(), r()])?
                }
                Operator::Multiply if is_interval(&left) && right.is_numeric() => {
                    call("kanon_interval_times", vec![l(), number(r())])?
                }
                Operator::Multiply if left.is_numeric() && is_interval(&right) => {
                    call("kanon_interval_times", vec![r(), number(l())])?
                }
                Operator::Divide if is_interval(&left) && right.is_numeric() => {
                    let part = binary_expr(lit(1.0), Operator::Divide, number(r()));
                    call("kanon_interval_times", vec![l(), part])?
                }
                _ => return Ok(Transformed::no(expr)),
            };
            Ok(Transformed::yes(done))
        }
        Expr::Negative(inner) if type_of(inner).as_ref().is_some_and(is_interval) => {
            Ok(Transformed::yes(call("kanon_interval_times", vec![inner.as_ref().clone(), lit(-1.0)])?))
        }
        Expr::Cast(of) => {
            let wanted = of.field.data_type();
            let Some(present) = type_of(&of.expr) else { return Ok(Transformed::no(expr)) };
            if wanted.is_integer()
                && matches!(present, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..))
            {
                let rounded = match of.expr.as_ref() {
                    Expr::ScalarFunction(function) if function.name() == "kanon_rint" => {
                        return Ok(Transformed::no(expr));
                    }
                    // A number that is written with a point is a decimal.
                    Expr::Literal(ScalarValue::Float64(Some(number)), _) => lit(number.round()),
                    other => call("kanon_rint", vec![other.clone()])?,
                };
                return Ok(Transformed::yes(cast(rounded, wanted.clone())));
            }
            if matches!(wanted, DataType::Utf8) && is_timestamp(&present) {
                return Ok(Transformed::yes(call("kanon_timestamp_text", vec![of.expr.as_ref().clone()])?));
            }
            Ok(Transformed::no(expr))
        }
        _ => Ok(Transformed::no(expr)),
    }
}
