//! Makes one expression node total: no row of protected data may decide whether a query fails.
//!
//! Every node is matched by name; what is not listed is refused. Nothing here evaluates row data: patterns and formats, which must be
//! literals, are tried on made-up rows when planning.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::{BinaryExpr, Like, ScalarFunction};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, Operator, TryCast};
use datafusion::physical_expr::create_physical_expr;

use crate::checked::{self, Arithmetic};
use crate::functions::{self, Scalar};
use crate::refusal::Refusal;

const MOST_PADDING: i64 = 1_000;

/// Makes a node total whose children already are. `schema` is that of the rows it is evaluated on.
///
/// # Errors
/// What has no total form, or is in no list.
pub(crate) fn total(expr: Expr, schema: &DFSchema) -> Result<Expr, Refusal> {
    match expr {
        Expr::Column(_) | Expr::Literal(..) | Expr::Placeholder(_) => Ok(expr),
        Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::InList(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::ScalarSubquery(_) => Ok(expr),
        Expr::BinaryExpr(e) => binary(e, schema),
        Expr::Like(e) => like(e).map(Expr::Like),
        Expr::SimilarTo(e) => like(e).map(Expr::SimilarTo),
        Expr::Negative(e) => negative(*e, schema),
        Expr::Cast(Cast { expr, field }) => {
            let from = kind(&expr, schema)?;
            let to = field.data_type();
            if infallible(&from, to) {
                if let Expr::Literal(value, _) = expr.as_ref()
                    && let Ok(value) = value.cast_to(to)
                {
                    return Ok(Expr::Literal(value, None));
                }
                return Ok(Expr::Cast(Cast { expr, field }));
            }
            castable(&from, to)?;
            if let Expr::Literal(value, _) = expr.as_ref() {
                // The query's own text, not a row's: it is read now, and a bad one is refused.
                return match value.cast_to(to) {
                    Ok(value) => Ok(Expr::Literal(value, None)),
                    Err(_) => Err(Refusal::unsupported(format!("a literal of the query cannot be read as {to}"))
                        .hint("Correct the literal.")),
                };
            }
            Ok(Expr::TryCast(TryCast { expr, field }))
        }
        Expr::TryCast(TryCast { expr, field }) => {
            castable(&kind(&expr, schema)?, field.data_type())?;
            Ok(Expr::TryCast(TryCast { expr, field }))
        }
        Expr::ScalarFunction(call) => function(call, schema),
        Expr::Alias(a) => Ok(*a.expr),
        other => {
            Err(Refusal::unsupported(format!("{} cannot be used on the rows of a protected table", describe(&other))))
        }
    }
}

fn describe(expr: &Expr) -> &'static str {
    match expr {
        Expr::SetComparison(_) => "a comparison with ANY or ALL of a subquery",
        Expr::ScalarVariable(..) => "a variable",
        Expr::AggregateFunction(_) => "an aggregate in this place",
        Expr::WindowFunction(_) => "a window function in this place",
        Expr::GroupingSet(_) => "a grouping set in this place",
        Expr::OuterReferenceColumn(..) => "a correlated reference",
        Expr::Unnest(_) => "unnest",
        Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => "a function that takes a function",
        _ => "this expression",
    }
}

/// The type of an expression.
pub(crate) fn kind(expr: &Expr, schema: &DFSchema) -> Result<DataType, Refusal> {
    expr.get_type(schema).map_err(|_| {
        Refusal::unsupported("an expression without a type cannot be used on the rows of a protected table")
    })
}

/// Casts that no value can fail or be changed by in a way that matters: the ones that planners insert.
pub(crate) fn infallible(from: &DataType, to: &DataType) -> bool {
    from == to || widening(from, to) || text(from) && text(to) || matches!(from, DataType::Null)
}

fn text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => text(value),
        _ => false,
    }
}

/// Numeric widening: nothing is lost, but for the last bits of integers and decimals of more than 15 digits that planners turn into
/// doubles for averages.
pub(crate) fn widening(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256, Float16, Float32, Float64};
    let whole = |k: &DataType| -> Option<(u8, bool)> {
        match k {
            DataType::Int8 => Some((7, true)),
            DataType::Int16 => Some((15, true)),
            DataType::Int32 => Some((31, true)),
            DataType::Int64 => Some((63, true)),
            DataType::UInt8 => Some((8, false)),
            DataType::UInt16 => Some((16, false)),
            DataType::UInt32 => Some((32, false)),
            DataType::UInt64 => Some((64, false)),
            _ => None,
        }
    };
    let decimal = |k: &DataType| match k {
        Decimal128(p, s) | Decimal256(p, s) => Some((i16::from(*p), i16::from(*s))),
        _ => None,
    };
    if let (Some((from_bits, from_sign)), Some((to_bits, to_sign))) = (whole(from), whole(to)) {
        return to_bits >= from_bits && (to_sign || !from_sign);
    }
    if let (Some((bits, _)), Some((precision, scale))) = (whole(from), decimal(to)) {
        let digits = i32::from(bits) * 30_103 / 100_000 + 1;
        return scale >= 0 && i32::from(precision - scale) >= digits;
    }
    if let (Some((p, s)), Some((to_p, to_s))) = (decimal(from), decimal(to)) {
        return to_s >= s && to_p - to_s >= p - s;
    }
    match (from, to) {
        (Float16, Float32 | Float64) | (Float32, Float64) => true,
        (from, Float64) => whole(from).is_some() || decimal(from).is_some(),
        (from, Float32) => whole(from).is_some_and(|(bits, _)| bits <= 16),
        _ => false,
    }
}

fn simple(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, value) => text(value),
        DataType::LargeUtf8 => true,
        other => {
            other.is_numeric()
                || text(other)
                || matches!(
                    other,
                    DataType::Null
                        | DataType::Boolean
                        | DataType::Date32
                        | DataType::Date64
                        | DataType::Time32(_)
                        | DataType::Time64(_)
                        | DataType::Timestamp(..)
                        | DataType::Duration(_)
                        | DataType::Interval(_)
                )
        }
    }
}

fn castable(from: &DataType, to: &DataType) -> Result<(), Refusal> {
    if simple(from) && simple(to) && can_cast_types(from, to) {
        return Ok(());
    }
    Err(Refusal::unsupported(format!("a cast from {from} to {to} cannot be used on the rows of a protected table")))
}

fn binary(e: BinaryExpr, schema: &DFSchema) -> Result<Expr, Refusal> {
    match e.op {
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
            let (left, right) = (kind(&e.left, schema)?, kind(&e.right, schema)?);
            if !simple(&left) || !simple(&right) {
                return Err(Refusal::unsupported(format!(
                    "operator {} cannot be used on these columns of a protected table",
                    e.op
                )));
            }
            let divides = matches!(e.op, Operator::Divide | Operator::Modulo);
            let safe = if divides { safe_divisor(&e.right, &left) } else { left.is_floating() && right.is_floating() };
            match Arithmetic::of(e.op) {
                Some(op) if !safe => Ok(checked::arithmetic(op, *e.left, *e.right)),
                _ => Ok(Expr::BinaryExpr(e)),
            }
        }
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq
        | Operator::And
        | Operator::Or
        | Operator::IsDistinctFrom
        | Operator::IsNotDistinctFrom
        | Operator::BitwiseAnd
        | Operator::BitwiseOr
        | Operator::BitwiseXor
        | Operator::StringConcat => Ok(Expr::BinaryExpr(e)),
        Operator::RegexMatch
        | Operator::RegexIMatch
        | Operator::RegexNotMatch
        | Operator::RegexNotIMatch
        | Operator::LikeMatch
        | Operator::ILikeMatch
        | Operator::NotLikeMatch
        | Operator::NotILikeMatch => {
            pattern(&e.right)?;
            if literal(&e.right).is_some() {
                try_out(&Expr::BinaryExpr(BinaryExpr {
                    left: Box::new(sample_text(&e.right)),
                    op: e.op,
                    right: e.right.clone(),
                }))?;
            }
            Ok(Expr::BinaryExpr(e))
        }
        other => Err(Refusal::unsupported(format!("operator {other} cannot be used on the rows of a protected table"))),
    }
}

/// A literal divisor that cannot fail: not zero, and not −1 for integers (the least integer has no negative).
fn safe_divisor(divisor: &Expr, dividend: &DataType) -> bool {
    let Some(value) = literal(divisor) else { return false };
    match value {
        ScalarValue::Float64(Some(x)) => x != 0.0,
        ScalarValue::Float32(Some(x)) => x != 0.0,
        ScalarValue::Int64(Some(x)) => dividend.is_integer() && x > 0,
        ScalarValue::Int32(Some(x)) => dividend.is_integer() && x > 0,
        _ => false,
    }
}

fn negative(e: Expr, schema: &DFSchema) -> Result<Expr, Refusal> {
    let of = kind(&e, schema)?;
    if of.is_floating() || literal(&e).is_some() {
        return Ok(Expr::Negative(Box::new(e)));
    }
    match ScalarValue::new_zero(&of) {
        Ok(zero) if of.is_numeric() => {
            let difference = checked::arithmetic(Arithmetic::Subtract, Expr::Literal(zero, None), e);
            // A decimal's difference is one digit wider than its negation.
            if kind(&difference, schema)? == of {
                Ok(difference)
            } else {
                Ok(Expr::TryCast(TryCast::new(Box::new(difference), of)))
            }
        }
        _ => Err(Refusal::unsupported(format!("a negated {of} cannot be used on the rows of a protected table"))),
    }
}

/// The value of a literal under casts that were not folded yet.
pub(crate) fn literal(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Alias(a) => literal(&a.expr),
        Expr::Cast(c) => literal(&c.expr)?.cast_to(c.field.data_type()).ok(),
        Expr::TryCast(c) => literal(&c.expr)?.cast_to(c.field.data_type()).ok(),
        _ => None,
    }
}

fn like(e: Like) -> Result<Like, Refusal> {
    pattern(&e.pattern)?;
    if literal(&e.pattern).is_some() {
        try_out(&Expr::Like(Like { expr: Box::new(sample_text(&e.pattern)), ..e.clone() }))?;
    }
    Ok(e)
}

fn pattern(expr: &Expr) -> Result<(), Refusal> {
    if literal(expr).is_some() || matches!(expr, Expr::Placeholder(_)) {
        return Ok(());
    }
    Err(Refusal::unsupported("a pattern that is not a literal cannot be used on the rows of a protected table")
        .hint("Write the pattern as a literal."))
}

fn sample_text(like: &Expr) -> Expr {
    let value = match literal(like).map(|v| v.data_type()) {
        Some(DataType::Utf8View) => ScalarValue::Utf8View(Some(String::new())),
        Some(DataType::LargeUtf8) => ScalarValue::LargeUtf8(Some(String::new())),
        _ => ScalarValue::Utf8(Some(String::new())),
    };
    Expr::Literal(value, None)
}

/// Evaluates an expression without columns, once: a pattern or format that fails is refused before any data is touched.
fn try_out(expr: &Expr) -> Result<(), Refusal> {
    let refused = || Refusal::unsupported("a pattern, format or field name is not valid").hint("Correct the literal.");
    let physical =
        create_physical_expr(expr, &DFSchema::empty(), &ExecutionProps::new(), &PhysicalPlanningContext::default())
            .map_err(|_| refused())?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch =
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).map_err(|_| refused())?;
    physical.evaluate(&batch).map(|_| ()).map_err(|_| refused())
}

fn function(call: ScalarFunction, schema: &DFSchema) -> Result<Expr, Refusal> {
    if checked::guards(&call.func).is_some() {
        return Ok(Expr::ScalarFunction(call));
    }
    let name = call.func.name().to_owned();
    match functions::scalar(&name) {
        Some(Scalar::Total) => Ok(Expr::ScalarFunction(call)),
        Some(Scalar::Guarded) => Ok(checked::guarded(call.func, call.args)),
        Some(Scalar::Literal(at)) => {
            let Some(argument) = call.args.get(at) else {
                return Err(Refusal::unsupported(format!("function {name} lacks an argument")));
            };
            if let Some(value) = literal(argument) {
                let padding = value.cast_to(&DataType::Int64).ok().and_then(|v| match v {
                    ScalarValue::Int64(n) => n,
                    _ => None,
                });
                if matches!(name.as_str(), "lpad" | "rpad") && padding.is_none_or(|n| n > MOST_PADDING) {
                    return Err(Refusal::unsupported(format!(
                        "function {name} pads at most to {MOST_PADDING} characters here"
                    )));
                }
                try_out(&sample_call(&call, schema)?)?;
            } else {
                pattern(argument)?;
            }
            Ok(checked::guarded(call.func, call.args))
        }
        Some(Scalar::Refused) | None => {
            let refusal =
                Refusal::unsupported(format!("function {name} cannot be used on the rows of a protected table"));
            Err(match name.as_str() {
                "now" | "current_date" | "current_time" => refusal.hint("Write the date or time as a literal."),
                "arrow_cast" | "cast_to_type" => refusal.hint("Use CAST."),
                _ => refusal.hint("Use it on the answer of the aggregate, outside."),
            })
        }
    }
}

fn sample_call(call: &ScalarFunction, schema: &DFSchema) -> Result<Expr, Refusal> {
    let mut args = Vec::new();
    for arg in &call.args {
        let value = match literal(arg) {
            Some(value) => value,
            None => {
                let kind = kind(arg, schema)?;
                ScalarValue::new_default(&kind).map_err(|_| {
                    Refusal::unsupported(format!("function {} cannot be used on a {kind} here", call.func.name()))
                })?
            }
        };
        args.push(Expr::Literal(value, None));
    }
    Ok(call.func.call(args))
}
