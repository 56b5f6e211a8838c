//! Plans whose numbers are PostgreSQL's: before they are analysed, so that whatever is cast is there for all to see.
//!
//! | in a plan of open tables of this node | becomes |
//! | --- | --- |
//! | a double beside a decimal | both double precision, as in PostgreSQL; DataFusion would take both for decimals of 30 digits |
//! | `avg` of whole numbers or decimals | `avg` of decimals with 17 digits behind the point: it has 21, [`QUOTIENT`](super::QUOTIENT) |
//! | `sum(bigint)` | `sum` of decimals: it does not wrap |
//! | decimal / number | [`QUOTIENT_OF`] |
//! | decimal · decimal beyond 38 digits | of 76 digits, or [`PRODUCT_OF`] |
//! | `round`, `trunc`, `ceil`, `floor` of a decimal | of the digits that are asked for |
//! | `extract(…)` | a decimal |
//! | `+`, `-`, `*` of whole numbers | [`whole_numbers`](super::super::whole_numbers): they do not wrap |
//! | a cast to `varchar(n)`, `char(n)`, `name` | a text of that length |
//! | a text beside a number | an error: there is no such operator |

use std::cell::OnceCell;

use datafusion::arrow::datatypes::{DataType, Decimal128Type, DecimalType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::datetime::date_part;
use datafusion::functions::unicode::left;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::{Case, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, cast, lit};

use super::super::arithmetic::inputs_schema;
use super::super::as_text::{is_written_otherwise, text_of};
use super::super::fitted::{as_type, is_fitted};
use super::super::numbers;
use super::super::whole_numbers::checked;
use super::division::{PRODUCT_OF, QUOTIENT_OF};
use super::text::AS_NUMERIC;
use super::{MOST_DIGITS, QUOTIENT, digits_and_scale, is_decimal, operators, rounding};
use crate::error::Error;
use crate::pg_catalog::integers::Wholes;
use crate::pg_catalog::types::PgType;

/// Functions of doubles: of a decimal they take the double next to it.
const OF_DOUBLES: [&str; 24] = [
    "power",
    "log",
    "log2",
    "log10",
    "ln",
    "sqrt",
    "cbrt",
    "exp",
    "sin",
    "cos",
    "tan",
    "cot",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "degrees",
    "radians",
    "signum",
    "width_bucket",
    "to_timestamp",
];
/// Functions that answer one of their arguments.
const OF_LIKE: [&str; 5] = ["coalesce", "nullif", "greatest", "least", "make_array"];
/// The scale of what is averaged: DataFusion's average has four digits more.
const AVERAGED: i8 = QUOTIENT - 4;
/// Which numbers a plan has that is not exact.
const INEXACT: DataType = DataType::Decimal128(38, 10);

/// A plan with PostgreSQL's decimals.
///
/// # Errors
/// If the plan is no plan.
pub fn exact(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewritten(plan, exact_one)
}

/// A plan whose numbers are double precision where nothing is said: below the boundary, and what is asked of peers.
///
/// # Errors
/// If the plan is no plan.
pub fn inexact(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewritten(plan, inexact_one)
}

/// What is around an expression.
pub(super) struct Around<'a> {
    node: &'a LogicalPlan,
    pub(super) schema: &'a DFSchema,
    wholes: OnceCell<Wholes>,
}

impl Around<'_> {
    /// Which whole numbers the columns are.
    pub(super) fn wholes(&self) -> &Wholes {
        self.wholes.get_or_init(|| Wholes::of(self.node))
    }
}

fn rewritten(plan: LogicalPlan, one: impl Fn(Expr, &Around<'_>) -> Result<Transformed<Expr>>) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let schema = inputs_schema(&node);
        let before = node.clone();
        let around = Around { node: &before, schema: &schema, wholes: OnceCell::new() };
        let mut changed = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|expr| one(expr, &around))?;
            Ok(if done.transformed { done.update_data(|expr| name.restore(expr)) } else { done })
        })?;
        changed.data = match changed.data {
            // Its types are not computed again by itself.
            LogicalPlan::Values(values) if changed.transformed => LogicalPlanBuilder::values(values.values)?.build()?,
            other => other.recompute_schema()?,
        };
        Ok(changed)
    })?;
    Ok(done.data)
}

/// Plans `extract(field from moment)` as a function of its own: PostgreSQL's answers a `numeric`, and its `date_part` a double.
#[derive(Debug)]
pub struct Extracts;

impl ExprPlanner for Extracts {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(super::extract::EXTRACT.call(args)))
    }
}

fn inexact_one(expr: Expr, around: &Around<'_>) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Literal(value, metadata) => match double(&value) {
            Some(double) => Transformed::yes(Expr::Literal(double, metadata)),
            None => Transformed::no(Expr::Literal(value, metadata)),
        },
        Expr::ScalarFunction(function) if super::extract::is_extract(&function.func) => {
            Transformed::yes(date_part().call(function.args))
        }
        Expr::ScalarFunction(mut function) if function.name() == AS_NUMERIC => match function.args.pop() {
            Some(of) => Transformed::yes(cast(of, INEXACT)),
            None => Transformed::no(Expr::ScalarFunction(function)),
        },
        Expr::ScalarFunction(mut function) if rounding::digits_are_open(&function) => {
            // The type of a rounded decimal follows from the digits.
            if let Some(of) =
                function.args.first_mut().filter(|of| of.get_type(around.schema).is_ok_and(|t| is_decimal(&t)))
            {
                *of = cast(of.clone(), DataType::Float64);
            }
            Transformed::yes(Expr::ScalarFunction(function))
        }
        // What a type is called besides is for open answers.
        Expr::Cast(of) if !of.field.metadata().is_empty() => {
            let wanted = PgType::of_field(&of.field);
            let plain = cast(*of.expr, of.field.data_type().clone());
            Transformed::yes(match wanted.typmod.checked_sub(4).filter(|length| *length > 0) {
                Some(_) if wanted.oid == PgType::BPCHAR.oid => {
                    let error = Error::unsupported("type char(n) is not supported here");
                    return Err(error.hint("Use varchar(n) or text.").into());
                }
                Some(length) if wanted.oid == PgType::VARCHAR.oid => left().call(vec![plain, lit(i64::from(length))]),
                _ => plain,
            })
        }
        other => Transformed::no(other),
    })
}

/// The double next to a decimal.
fn double(value: &ScalarValue) -> Option<ScalarValue> {
    let (digits, scale) = match value {
        ScalarValue::Decimal128(digits, _, scale) => (digits.map(|digits| digits.to_string()), *scale),
        ScalarValue::Decimal256(digits, _, scale) => (digits.map(|digits| digits.to_string()), *scale),
        _ => return None,
    };
    // Exactly as it is written, so that it is the nearest.
    Some(ScalarValue::Float64(digits.and_then(|digits| format!("{digits}e{}", -i32::from(scale)).parse().ok())))
}

fn is_double(of_type: &DataType) -> bool {
    of_type.is_floating()
}

/// An expression as double precision.
fn as_double(expr: Expr) -> Expr {
    match &expr {
        Expr::Literal(value, metadata) => match double(value) {
            Some(double) => Expr::Literal(double, metadata.clone()),
            None => cast(expr, DataType::Float64),
        },
        _ => cast(expr, DataType::Float64),
    }
}

/// Expressions of one type: if there is a double among them, decimals are too.
fn alike(exprs: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = exprs.iter().map(|expr| expr.get_type(schema).ok()).collect();
    if !types.iter().flatten().any(is_double) {
        return false;
    }
    let mut changed = false;
    for (expr, of_type) in exprs.iter_mut().zip(types) {
        if of_type.as_ref().is_some_and(is_decimal) {
            let taken = std::mem::replace(*expr, Expr::Literal(ScalarValue::Null, None));
            **expr = as_double(taken);
            changed = true;
        }
    }
    changed
}

fn exact_one(mut expr: Expr, around: &Around<'_>) -> Result<Transformed<Expr>> {
    let schema = around.schema;
    let type_of = |expr: &Expr| expr.get_type(schema).ok();
    match &mut expr {
        Expr::Literal(ScalarValue::Decimal128(Some(digits), _, scale), metadata) if *scale < 0 => {
            // 1e3 has four digits and none behind the point.
            let zeros = 10_i128.checked_pow(u32::from(scale.unsigned_abs()));
            let written = zeros
                .and_then(|zeros| digits.checked_mul(zeros))
                .filter(|whole| Decimal128Type::is_valid_decimal_precision(*whole, 38));
            let value = match written {
                Some(whole) => {
                    let precision = u8::try_from(whole.unsigned_abs().to_string().len()).unwrap_or(38);
                    ScalarValue::Decimal128(Some(whole), precision, 0)
                }
                None => match double(&ScalarValue::Decimal128(Some(*digits), 38, *scale)) {
                    Some(double) => double,
                    None => return Ok(Transformed::no(expr)),
                },
            };
            return Ok(Transformed::yes(Expr::Literal(value, metadata.take())));
        }
        Expr::BinaryExpr(binary) => {
            let (left, right) = (binary.left.as_mut(), binary.right.as_mut());
            if alike(&mut [&mut *left, &mut *right], schema) {
                return Ok(Transformed::yes(expr));
            }
            if binary.op == Operator::StringConcat {
                return Ok(if texts(&mut [left, right], schema, false) {
                    Transformed::yes(expr)
                } else {
                    Transformed::no(expr)
                });
            }
            if days_beside_moments(left, right, schema) {
                return Ok(Transformed::yes(expr));
            }
            let (Some(of_left), Some(of_right)) = (type_of(left), type_of(right)) else {
                return Ok(Transformed::no(expr));
            };
            operators::check(binary.op, left, right, around)?;
            if !is_decimal(&of_left) && !is_decimal(&of_right) {
                let is_integer = || !around.wholes().is_bigint(left) && !around.wholes().is_bigint(right);
                let is_whole = of_left.is_integer() && of_right.is_integer();
                let has_function = is_whole && checked(binary.op, false).is_some();
                return Ok(match has_function.then(|| checked(binary.op, is_integer())).flatten() {
                    Some(function) => Transformed::yes(function.call(vec![left.clone(), right.clone()])),
                    None => Transformed::no(expr),
                });
            }
            let (Some((of_x, x)), Some((of_y, y))) = (digits_and_scale(&of_left), digits_and_scale(&of_right)) else {
                return Ok(Transformed::no(expr));
            };
            let operands = || vec![left.clone(), right.clone()];
            match binary.op {
                Operator::Divide => return Ok(Transformed::yes(QUOTIENT_OF.call(operands()))),
                Operator::Multiply if x.saturating_add(y) >= QUOTIENT || of_x + of_y + 1 > MOST_DIGITS => {
                    return Ok(Transformed::yes(PRODUCT_OF.call(operands())));
                }
                Operator::Multiply if of_x + of_y + 1 > 38 => widen(left, of_x, x, right, of_y, y),
                Operator::Plus | Operator::Minus
                    if whole(of_x, x).max(whole(of_y, y)) + x.max(y).unsigned_abs() + 1 > 38 =>
                {
                    widen(left, of_x, x, right, of_y, y);
                }
                _ => return Ok(Transformed::no(expr)),
            }
            return Ok(Transformed::yes(expr));
        }
        Expr::Between(between) => {
            operators::check(Operator::GtEq, &between.expr, &between.low, around)?;
            operators::check(Operator::LtEq, &between.expr, &between.high, around)?;
            let changed = alike(&mut [&mut *between.expr, &mut *between.low, &mut *between.high], schema);
            return Ok(Transformed::new_transformed(expr, changed));
        }
        Expr::InList(list) => {
            for item in &list.list {
                operators::check(Operator::Eq, &list.expr, item, around)?;
            }
            let mut all: Vec<&mut Expr> = std::iter::once(list.expr.as_mut()).chain(&mut list.list).collect();
            if alike(&mut all, schema) {
                return Ok(Transformed::yes(expr));
            }
        }
        Expr::Case(case) => {
            let changed = of_case(case, schema);
            return Ok(Transformed::new_transformed(expr, changed));
        }
        Expr::Cast(of) if is_fitted(PgType::of_field(&of.field)) => {
            let text = match type_of(&of.expr) {
                Some(present) if is_written_otherwise(&present) => text_of(of.expr.as_ref().clone()),
                _ => cast(of.expr.as_ref().clone(), DataType::Utf8),
            };
            return Ok(Transformed::yes(as_type(text, PgType::of_field(&of.field))));
        }
        Expr::Cast(of)
            if matches!(of.field.data_type(), DataType::Utf8)
                && type_of(&of.expr).as_ref().is_some_and(is_written_otherwise) =>
        {
            return Ok(Transformed::yes(text_of(of.expr.as_ref().clone())));
        }
        Expr::Cast(of) if of.field.data_type().is_integer() => {
            if let (Some(DataType::Decimal256(..)), Some(round)) = (type_of(&of.expr), rounding::instead_of("round")) {
                let whole = round.call(vec![of.expr.as_ref().clone()]);
                if !matches!(of.expr.as_ref(), Expr::ScalarFunction(function) if function.name() == round.name()) {
                    return Ok(Transformed::yes(cast(whole, of.field.data_type().clone())));
                }
            }
        }
        // PostgreSQL's timestamps are of microseconds, and reach from 4713 BC on.
        Expr::Cast(of) => {
            if let DataType::Timestamp(TimeUnit::Nanosecond, zone) = of.field.data_type() {
                let of_micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                return Ok(Transformed::yes(cast(of.expr.as_ref().clone(), of_micros)));
            }
        }
        Expr::ScalarFunction(function) => {
            let name = function.name().to_owned();
            let first = function.args.first().and_then(type_of);
            if name == "concat" || name == "concat_ws" {
                if texts(&mut function.args.iter_mut().collect::<Vec<_>>(), schema, true) {
                    return Ok(Transformed::yes(expr));
                }
            } else if OF_LIKE.contains(&name.as_str()) {
                if alike(&mut function.args.iter_mut().collect::<Vec<_>>(), schema) {
                    return Ok(Transformed::yes(expr));
                }
            } else if OF_DOUBLES.contains(&name.as_str()) {
                let mut changed = false;
                for arg in &mut function.args {
                    if type_of(arg).as_ref().is_some_and(is_decimal) {
                        *arg = as_double(arg.clone());
                        changed = true;
                    }
                }
                if changed {
                    return Ok(Transformed::yes(expr));
                }
            } else if let Some(of_decimals) =
                rounding::instead_of(&name).filter(|_| first.as_ref().is_some_and(is_decimal))
            {
                return Ok(Transformed::yes(rounding::called(&of_decimals, std::mem::take(&mut function.args))));
            } else if name == "round" && function.args.len() == 1 && first.as_ref().is_some_and(is_double) {
                return Ok(Transformed::yes(numbers::rint().call(std::mem::take(&mut function.args))));
            } else if super::extract::is_extract(&function.func) {
                return super::extract::exact(std::mem::take(&mut function.args)).map(Transformed::yes);
            } else if name == "date_part" && !matches!(expr.get_type(schema), Ok(DataType::Float64)) {
                return Ok(Transformed::yes(cast(expr, DataType::Float64)));
            }
        }
        Expr::AggregateFunction(function) => {
            let name = function.func.name().to_owned();
            if let Some(wide) = of_aggregate(&name, &function.params.args, around) {
                function.params.args = wide;
                return Ok(Transformed::yes(expr));
            }
        }
        Expr::WindowFunction(function) => {
            let name = function.fun.name().to_owned();
            if let Some(wide) = of_aggregate(&name, &function.params.args, around) {
                function.params.args = wide;
                return Ok(Transformed::yes(expr));
            }
        }
        _ => {}
    }
    Ok(Transformed::no(expr))
}

/// Texts of values that are put together with texts. Some functions write truth values in one letter.
fn texts(exprs: &mut [&mut Expr], schema: &DFSchema, in_letters: bool) -> bool {
    let types: Vec<Option<DataType>> = exprs.iter().map(|expr| expr.get_type(schema).ok()).collect();
    // Arrays are put together as arrays.
    if !in_letters && types.iter().flatten().any(|of_type| matches!(of_type, DataType::List(_))) {
        return false;
    }
    let mut changed = false;
    for (expr, of_type) in exprs.iter_mut().zip(types) {
        let is_truth = in_letters && of_type == Some(DataType::Boolean);
        if is_truth || of_type.as_ref().is_some_and(is_written_otherwise) {
            let taken = std::mem::replace(*expr, Expr::Literal(ScalarValue::Null, None));
            **expr = text_of(taken);
            changed = true;
        }
    }
    changed
}

/// A date that is compared with a timestamp, both in microseconds.
fn days_beside_moments(left: &mut Expr, right: &mut Expr, schema: &DFSchema) -> bool {
    let (of_left, of_right) = (left.get_type(schema), right.get_type(schema));
    let zone = match (of_left, of_right) {
        (Ok(DataType::Date32), Ok(DataType::Timestamp(_, zone))) => zone,
        (Ok(DataType::Timestamp(_, zone)), Ok(DataType::Date32)) => zone,
        _ => return false,
    };
    for expr in [left, right] {
        let taken = std::mem::replace(expr, Expr::Literal(ScalarValue::Null, None));
        *expr = cast(taken, DataType::Timestamp(TimeUnit::Microsecond, zone.clone()));
    }
    true
}

/// How many digits are before the point.
fn whole(digits: u8, scale: i8) -> u8 {
    digits.saturating_sub(scale.max(0).unsigned_abs())
}

fn widen(left: &mut Expr, of_x: u8, x: i8, right: &mut Expr, of_y: u8, y: i8) {
    for (expr, digits, scale) in [(left, of_x, x), (right, of_y, y)] {
        let taken = std::mem::replace(expr, Expr::Literal(ScalarValue::Null, None));
        *expr = cast(taken, DataType::Decimal256(digits, scale));
    }
}

fn of_case(case: &mut Case, schema: &DFSchema) -> bool {
    let mut thens: Vec<&mut Expr> = Vec::new();
    let mut whens: Vec<&mut Expr> = Vec::new();
    for (when, then) in &mut case.when_then_expr {
        whens.push(when);
        thens.push(then);
    }
    thens.extend(case.else_expr.as_deref_mut());
    let mut changed = alike(&mut thens, schema);
    if let Some(tested) = case.expr.as_deref_mut() {
        whens.push(tested);
        changed |= alike(&mut whens, schema);
    }
    changed
}

/// The arguments of an aggregate if they are to be of another type.
fn of_aggregate(name: &str, args: &[Expr], around: &Around<'_>) -> Option<Vec<Expr>> {
    let first = args.first()?;
    let of_first = first.get_type(around.schema).ok()?;
    match name {
        "avg" => {
            digits_and_scale(&of_first).filter(|_| of_first != DataType::Null)?;
            Some(vec![cast(first.clone(), DataType::Decimal256(MOST_DIGITS - 4, AVERAGED))])
        }
        "sum" => match &of_first {
            DataType::Int64 if around.wholes().is_bigint(first) => {
                Some(vec![cast(first.clone(), DataType::Decimal128(28, 0))])
            }
            DataType::UInt64 => Some(vec![cast(first.clone(), DataType::Decimal128(28, 0))]),
            DataType::Decimal128(digits @ 29.., scale) => {
                Some(vec![cast(first.clone(), DataType::Decimal256(*digits, *scale))])
            }
            _ => None,
        },
        "percentile_cont" | "percentile_disc" | "approx_percentile_cont" | "approx_percentile_cont_with_weight" => {
            let doubles = args.iter().map(|arg| match arg {
                Expr::Literal(value, _) if double(value).is_some() => as_double(arg.clone()),
                other => other.clone(),
            });
            let doubles: Vec<Expr> = doubles.collect();
            (doubles != args).then_some(doubles)
        }
        _ => None,
    }
}
