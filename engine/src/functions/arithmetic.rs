//! Arithmetic of dates, intervals and whole numbers as PostgreSQL does it, where DataFusion answers something else.
//!
//! | expression | PostgreSQL | DataFusion |
//! | --- | --- | --- |
//! | date ± interval | a timestamp | a date, without the hours |
//! | date − date | an integer | one of 64 bits |
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
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, binary_expr, cast, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{literals, moments, numbers};
use crate::error::{Error, Sqlstate};
use crate::pg_catalog::types::PgType;

/// A plan with PostgreSQL's casts in place of DataFusion's, and intervals that are taken away. Twice is as once.
///
/// # Errors
/// If the plan is no plan.
pub fn as_postgresql(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let schema = inputs_schema(&plan);
        let mut changed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|expr| one(expr, &schema))?;
            Ok(if done.transformed { done.update_data(|expr| name.restore(expr)) } else { done })
        })?;
        // What is above may have another type now, and so what is above that.
        changed.data = changed.data.recompute_schema()?;
        Ok(changed)
    })?;
    Ok(done.data)
}

/// The columns that a node's expressions may name.
pub fn inputs_schema(plan: &LogicalPlan) -> Arc<DFSchema> {
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

/// Plans what is made of dates, timestamps and intervals.
#[derive(Debug)]
pub struct DateArithmetic;

impl ExprPlanner for DateArithmetic {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let timestamp = |expr: Expr| cast(expr, DataType::Timestamp(TimeUnit::Microsecond, None));
        let number = |expr: Expr| cast(expr, DataType::Float64);
        // To tell the type of a long sum takes long, and what is said of conditions is of their operands.
        let is_number = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Int64(_), _));
        let adds_number = matches!(expr.op, BinaryOperator::Plus | BinaryOperator::Minus) && is_number(&expr.right);
        if adds_number && matches!(expr.left, Expr::BinaryExpr(_))
            || expr.op == BinaryOperator::And
            || expr.op == BinaryOperator::Or
        {
            return Ok(PlannerResult::Original(expr));
        }
        let types = (expr.left.get_type(schema), expr.right.get_type(schema));
        let (Ok(left), Ok(right)) = types else { return Ok(PlannerResult::Original(expr)) };
        let expr = typed(expr, &left, &right)?;
        no_text(&expr, &left, &right)?;
        let (l, r) = (|| expr.left.clone(), || expr.right.clone());
        let planned = match &expr.op {
            BinaryOperator::Plus if is_date(&left) && is_interval(&right) => {
                binary_expr(timestamp(l()), Operator::Plus, r())
            }
            BinaryOperator::Minus if is_date(&left) && is_interval(&right) => {
                binary_expr(timestamp(l()), Operator::Minus, r())
            }
            BinaryOperator::Plus if is_interval(&left) && is_date(&right) => {
                binary_expr(timestamp(r()), Operator::Plus, l())
            }
            BinaryOperator::Minus
                if (is_timestamp(&left) && (is_timestamp(&right) || is_date(&right)))
                    || (is_date(&left) && is_timestamp(&right)) =>
            {
                moments::elapsed().call(vec![l(), r()])
            }
            BinaryOperator::Minus if is_date(&left) && is_date(&right) => {
                cast(binary_expr(l(), Operator::Minus, r()), DataType::Int32)
            }
            BinaryOperator::Multiply if is_interval(&left) && right.is_numeric() => {
                moments::interval_times().call(vec![l(), number(r())])
            }
            BinaryOperator::Multiply if left.is_numeric() && is_interval(&right) => {
                moments::interval_times().call(vec![r(), number(l())])
            }
            BinaryOperator::Divide if is_interval(&left) && right.is_numeric() => {
                moments::interval_times().call(vec![l(), binary_expr(lit(1.0), Operator::Divide, number(r()))])
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// Refuses to compute with texts.
fn no_text(expr: &RawBinaryExpr, left: &DataType, right: &DataType) -> Result<()> {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    let is_text = |expr: &Expr, of: &DataType| matches!(of, DataType::Utf8) && !matches!(expr, Expr::Literal(..));
    let is_wrong = is_text(&expr.left, left) && right.is_numeric() || left.is_numeric() && is_text(&expr.right, right);
    if !is_wrong || !matches!(expr.op, Plus | Minus | Multiply | Divide | Modulo) {
        return Ok(());
    }
    let name = |expr: &Expr, of: &DataType| match expr {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) if i32::try_from(*number).is_ok() => "integer".to_owned(),
        Expr::Cast(cast) => PgType::of_field(&cast.field).plain_name(),
        _ => PgType::of(of).with_typmod(-1).sql_name(),
    };
    let (left, right) = (name(&expr.left, left), name(&expr.right, right));
    let message = format!("operator does not exist: {left} {} {right}", expr.op);
    Err(Error::new(Sqlstate::UndefinedFunction, message)
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
        .into())
}

/// A text in quotes has the type of what it stands beside.
fn typed(mut expr: RawBinaryExpr, left: &DataType, right: &DataType) -> Result<RawBinaryExpr> {
    use BinaryOperator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Plus};
    if !matches!(expr.op, Plus | Minus | Multiply | Divide | Modulo | Eq | NotEq | Lt | LtEq | Gt | GtEq) {
        return Ok(expr);
    }
    let text = |expr: &Expr| match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text.clone()),
        _ => None,
    };
    if let Some(text) = text(&expr.left) {
        expr.left = literals::beside(&text, right)?.unwrap_or(expr.left);
    } else if let Some(text) = text(&expr.right) {
        expr.right = literals::beside(&text, left)?.unwrap_or(expr.right);
    }
    Ok(expr)
}

fn one(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let type_of = |expr: &Expr| expr.get_type(schema).ok();
    match &expr {
        Expr::Negative(inner) if type_of(inner).as_ref().is_some_and(is_interval) => {
            let negative = moments::interval_times().call(vec![inner.as_ref().clone(), lit(-1.0)]);
            Ok(Transformed::yes(negative))
        }
        Expr::Cast(of) => {
            let wanted = of.field.data_type();
            let Some(present) = type_of(&of.expr) else { return Ok(Transformed::no(expr)) };
            let has_places = matches!(present, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..));
            if wanted.is_integer() && has_places {
                let rounded = match of.expr.as_ref() {
                    Expr::ScalarFunction(function) if function.name() == numbers::RINT => {
                        return Ok(Transformed::no(expr));
                    }
                    // A number that is written with a point is a decimal.
                    Expr::Literal(ScalarValue::Float64(Some(number)), _) => lit(number.round()),
                    other => numbers::rint().call(vec![other.clone()]),
                };
                return Ok(Transformed::yes(cast(rounded, wanted.clone())));
            }
            if matches!(wanted, DataType::Utf8) && is_timestamp(&present) {
                return Ok(Transformed::yes(moments::timestamp_text().call(vec![of.expr.as_ref().clone()])));
            }
            Ok(Transformed::no(expr))
        }
        _ => Ok(Transformed::no(expr)),
    }
}
