//! Operators that PostgreSQL does not have: of a text and a number, of a truth value and a date. DataFusion casts one of the two.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

use super::plan::Around;
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::integers::BOUND_KEY;
use crate::pg_catalog::types::PgType;

/// What values of a type are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Text,
    Number,
    Truth,
    Bytes,
    Day,
    Time,
    Interval,
}

impl Class {
    fn of(of: &DataType) -> Option<Class> {
        Some(match of {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Class::Text,
            of if of.is_numeric() => Class::Number,
            DataType::Boolean => Class::Truth,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Class::Bytes,
            DataType::Date32 | DataType::Timestamp(..) => Class::Day,
            DataType::Time64(_) | DataType::Time32(_) => Class::Time,
            DataType::Interval(_) | DataType::Duration(_) => Class::Interval,
            _ => return None,
        })
    }
}

/// Whether an expression is a text in quotes, which is of the type that it stands beside.
fn is_open(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, metadata) => {
            let is_bound = metadata.as_ref().is_some_and(|metadata| metadata.inner().contains_key(BOUND_KEY));
            !is_bound && (value.is_null() || matches!(value, ScalarValue::Utf8(_)))
        }
        Expr::Placeholder(_) => true,
        Expr::Alias(alias) => is_open(&alias.expr),
        _ => false,
    }
}

/// Refuses an operator that there is not.
///
/// # Errors
/// 42883.
pub(super) fn check(op: Operator, left: &Expr, right: &Expr, around: &Around<'_>) -> Result<()> {
    let compares =
        matches!(op, Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
    let computes =
        matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo);
    if !compares && !computes || is_open(left) || is_open(right) {
        return Ok(());
    }
    let class = |expr: &Expr| expr.get_type(around.schema).ok().as_ref().and_then(Class::of);
    let (Some(a), Some(b)) = (class(left), class(right)) else { return Ok(()) };
    let is_text_and_number = matches!((a, b), (Class::Text, Class::Number) | (Class::Number, Class::Text));
    if a == b || (computes && !is_text_and_number) {
        return Ok(());
    }
    let (Some(left), Some(right)) = (type_name(left, around), type_name(right, around)) else { return Ok(()) };
    let op = if op == Operator::NotEq { "<>".to_owned() } else { op.to_string() };
    Err(Error::new(Sqlstate::UndefinedFunction, format!("operator does not exist: {left} {op} {right}"))
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts."))
}

/// What PostgreSQL calls the type of an expression.
fn type_name(expr: &Expr, around: &Around<'_>) -> Option<String> {
    let (_, field) = expr.to_field(around.schema).ok()?;
    let of = PgType::of_field(&field);
    let is_integer = of == PgType::INT8 && !around.wholes().is_bigint(expr);
    Some(if is_integer { PgType::INT4 } else { of }.plain_name())
}
