//! Calls of functions that mean several things in PostgreSQL, by what their arguments look like: `to_timestamp(0)` and `to_timestamp(text, pattern)`,
//! `make_interval(days => 3)`, `substring(text FROM pattern)`; patterns that PostgreSQL reads otherwise; functions that make rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart,
    Select, SelectItem, TableAliasColumnDef, TableFactor, TimezoneInfo, UnaryOperator, Value, visit_expressions_mut,
};

use super::{call, called, folded, literals, naming, string, take};
use crate::error::{Error, Result, Sqlstate};
use crate::functions::regular_expression;
use crate::functions::series::{NAME, SERIES};

/// The arguments of `make_interval`, in order.
const INTERVAL: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// Rewrites one expression.
///
/// # Errors
/// 42883 for an argument of a name that there is not; for a regular expression see [`regular_expression`].
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("localtime") => {
            *expr = local_time();
        }
        Expr::Substring { expr: text, substring_from: Some(pattern), substring_for, .. }
            if string(pattern).is_some() =>
        {
            let arguments = vec![take(text), take(pattern)];
            *expr = match substring_for {
                None => call("kanon_pattern_substring", arguments),
                Some(escape) => {
                    let escape = take(escape);
                    call("kanon_similar_substring", arguments.into_iter().chain([escape]).collect())
                }
            };
        }
        Expr::BinaryOp { op, right, .. } => {
            let ignores_case = match op {
                BinaryOperator::PGRegexMatch | BinaryOperator::PGRegexNotMatch => false,
                BinaryOperator::PGRegexIMatch | BinaryOperator::PGRegexNotIMatch => true,
                _ => return Ok(()),
            };
            pattern(right, if ignores_case { "i" } else { "" })?;
        }
        Expr::Function(_) => function(expr)?,
        _ => {}
    }
    Ok(())
}

/// A pattern that is written out, as the regex crate reads it. One that both read alike stays as it is.
fn pattern(expr: &mut Expr, flags: &str) -> Result<()> {
    let Some(text) = string(expr) else { return Ok(()) };
    let regex = regular_expression(text, flags)?;
    let is_plain =
        |c: char| c.is_alphanumeric() || matches!(c, '^' | '$' | '|' | '(' | ')' | '*' | '+' | '?' | ' ' | '_' | '-');
    if !text.chars().all(is_plain) {
        *expr = literal(regex);
    }
    Ok(())
}

fn function(expr: &mut Expr) -> Result<()> {
    let Some(name) = called(expr) else { return Ok(()) };
    let Expr::Function(function) = expr else { return Ok(()) };
    if function.over.is_some() || function.name.0.len() != 1 {
        return Ok(());
    }
    let FunctionArguments::List(list) = &mut function.args else {
        if name == "localtime" {
            *expr = local_time();
        }
        return Ok(());
    };
    if name == "localtime" {
        *expr = local_time();
        return Ok(());
    }
    if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_mut_slice()
        && let Some(data_type) = type_called(&name)
    {
        *expr = cast(take(value), data_type);
        return Ok(());
    }
    if name == "make_interval" {
        let arguments = interval_arguments(&mut list.args)?;
        *expr = call("kanon_make_interval", arguments);
        return Ok(());
    }
    let arguments = list.args.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let mut arguments: Vec<&mut Expr> = arguments.collect();
    let other = match (name.as_str(), arguments.as_mut_slice()) {
        ("substring", [_, pattern]) if string(pattern).is_some() => "kanon_pattern_substring",
        ("substring", [_, pattern, _]) if string(pattern).is_some() => "kanon_similar_substring",
        ("to_date", [_, _]) => "kanon_to_date",
        ("to_timestamp", [_] | [_, _]) => "kanon_to_timestamp",
        ("make_time", [_, _, _]) => "kanon_make_time",
        ("factorial", [_]) => "kanon_factorial",
        ("array_remove", [_, _]) => "kanon_array_remove",
        ("array_replace", [_, _, _]) => "kanon_array_replace",
        ("encode", [_, _]) => "kanon_encode",
        ("decode", [_, _]) => "kanon_decode",
        ("width_bucket", [_, _]) => "kanon_width_bucket",
        ("date_trunc", [_, interval]) if is_interval(interval) => "kanon_interval_trunc",
        ("chr", [number]) if is_number(number) => "kanon_chr",
        ("regexp_instr", [_, _, _, _, _, ..]) => "kanon_pattern_instr",
        ("regexp_replace", [_, _, _, _, _, ..]) => "kanon_pattern_replace",
        ("regexp_replace", [_, _, _, start]) if is_number(start) => "kanon_pattern_replace",
        ("regexp_replace", [_, _, with, ..]) if string(with).is_some_and(|with| with.contains("\\&")) => {
            "kanon_pattern_replace"
        }
        ("date_trunc", [field, moment, zone]) => {
            let (field, moment, zone) = (take(field), take(moment), take(zone));
            let local = call("timezone", vec![zone.clone(), moment]);
            *expr = call("timezone", vec![zone, call("date_trunc", vec![field, local])]);
            return Ok(());
        }
        ("to_hex", [number]) if is_small(number) => {
            // Of 32 bits.
            let left = Box::new(Expr::Nested(Box::new(take(number))));
            let right = Box::new(self::number(i64::from(u32::MAX)));
            **number = Expr::BinaryOp { left, op: BinaryOperator::BitwiseAnd, right };
            return Ok(());
        }
        ("pg_sleep_for", [time]) if string(time).is_some() => {
            **time = cast(take(time), DataType::Interval { fields: None, precision: None });
            return literals::rewrite(time);
        }
        ("pg_sleep_until", [moment]) if string(moment).is_some() => {
            **moment = cast(take(moment), DataType::Timestamp(None, TimezoneInfo::WithTimeZone));
            return Ok(());
        }
        // A text in quotes is of no type yet.
        ("pg_typeof", [Expr::Value(value)])
            if matches!(value.value, Value::Null | Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_)) =>
        {
            *expr = literal("unknown".to_owned());
            return Ok(());
        }
        ("regexp_like" | "regexp_count" | "regexp_replace" | "regexp_instr", [_, of, ..]) => {
            return pattern(of, "");
        }
        _ => return Ok(()),
    };
    if let Some(ObjectNamePart::Identifier(ident)) = function.name.0.last_mut() {
        *ident = Ident { value: other.to_owned(), quote_style: None, span: ident.span };
    }
    Ok(())
}

/// The type that a function of one argument casts to, for types that no other function is named as.
fn type_called(name: &str) -> Option<DataType> {
    Some(match name {
        "bool" => DataType::Boolean,
        "int2" => DataType::SmallInt(None),
        "int4" => DataType::Integer(None),
        "int8" => DataType::BigInt(None),
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        "text" | "bpchar" => DataType::Text,
        "timestamptz" => DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
        _ => return None,
    })
}

/// The arguments of `make_interval` in order, 0 where one is not given.
fn interval_arguments(given: &mut [FunctionArg]) -> Result<Vec<Expr>> {
    let missing = |name: &str| {
        let message = format!("function make_interval({name} => …) does not exist");
        Error::new(Sqlstate::UndefinedFunction, message)
            .hint("Its arguments are years, months, weeks, days, hours, mins and secs.")
    };
    let mut all: Vec<Expr> = INTERVAL.iter().map(|_| number(0)).collect();
    for (position, argument) in given.iter_mut().enumerate() {
        let (name, value) = match argument {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => (Some(folded(name)), value),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), .. } => {
                (Some(folded(name)), value)
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (None, value),
            _ => return Err(missing("…")),
        };
        let place = match &name {
            Some(name) => INTERVAL.iter().position(|known| known == name).ok_or_else(|| missing(name))?,
            None => position,
        };
        *all.get_mut(place).ok_or_else(|| missing("…"))? = take(value);
    }
    Ok(all)
}

fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } | Expr::Nested(expr) => is_number(expr),
        _ => false,
    }
}

/// Whether a number is written out that is an `integer` in PostgreSQL.
fn is_small(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits.parse::<i32>().is_ok()),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } | Expr::Nested(expr) => is_small(expr),
        _ => false,
    }
}

fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(_) => true,
        Expr::Cast { data_type, .. } => matches!(data_type, DataType::Interval { .. }),
        Expr::TypedString(typed) => matches!(typed.data_type, DataType::Interval { .. }),
        Expr::Nested(inner) => is_interval(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_interval(expr),
        Expr::Function(_) => called(expr)
            .is_some_and(|name| name.starts_with("justify_") || matches!(name.as_str(), "age" | "kanon_make_interval")),
        _ => false,
    }
}

/// The function that gives the rows of one that makes rows, as an array.
pub(super) fn array_of(name: &str) -> Option<&'static str> {
    Some(match name {
        NAME => SERIES,
        "generate_subscripts" => "kanon_generate_subscripts",
        "regexp_matches" => "kanon_pattern_matches",
        "regexp_split_to_table" => "regexp_split_to_array",
        "string_to_table" => "string_to_array",
        _ => return None,
    })
}

fn renamed(expr: &mut Expr, name: &str) {
    if let Expr::Function(function) = expr
        && let Some(ObjectNamePart::Identifier(ident)) = function.name.0.last_mut()
    {
        *ident = Ident { value: name.to_owned(), quote_style: None, span: ident.span };
    }
}

/// Functions of a select list that make rows: those that are `wanted`.
pub(super) fn make_rows(select: &mut Select, wanted: impl Fn(&str) -> bool) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        // What is unnested already stays so: it has another name.
        let _ = visit_expressions_mut(expr, |expr| {
            let name = called(expr).filter(|name| wanted(name));
            if let Some(array) = name.as_deref().and_then(array_of) {
                renamed(expr, array);
                *expr = call("unnest", vec![take(expr)]);
            }
            ControlFlow::<()>::Continue(())
        });
    }
}

/// A function of FROM that makes rows: an array that is unnested, whose arguments may name what stands before it. A series of constants is a table.
pub(super) fn rows_of(factor: &mut TableFactor) {
    let (name, arguments, alias, with_ordinality) = match factor {
        TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
            (name, &mut args.args, alias, *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => (name, args, alias, *with_ordinality),
        _ => return,
    };
    let function = name.0.last().and_then(ObjectNamePart::as_ident).map(folded).unwrap_or_default();
    let Some(array) = array_of(&function).filter(|_| name.0.len() == 1) else { return };
    let exprs = arguments.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let mut exprs: Vec<&mut Expr> = exprs.collect();
    let is_table = array == SERIES && !with_ordinality && exprs.iter().all(|expr| is_constant(expr));
    if is_table {
        if exprs.iter().all(|expr| is_integer(expr)) {
            exprs.iter_mut().for_each(|expr| **expr = cast(take(expr), DataType::Integer(None)));
        }
        return literals::name_series(&function, alias);
    }
    let array_exprs = vec![call(array, exprs.into_iter().map(take).collect())];
    let mut alias = alias.take();
    literals::name_series(&function, &mut alias);
    *factor = TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_offset_alias: None, with_ordinality };
}

/// `unnest(list) WITH ORDINALITY`: beside each element its number.
pub(super) fn count_rows(factor: &mut TableFactor) {
    let TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } = factor else { return };
    let ([list], true) = (array_exprs.as_slice(), *with_ordinality) else { return };
    let one = cast(number(1), DataType::BigInt(None));
    let count = cast(call("cardinality", vec![list.clone()]), DataType::BigInt(None));
    array_exprs.push(call(SERIES, vec![one, count]));
    literals::name_series("unnest", alias);
    if let Some(columns) = alias.as_mut().map(|alias| &mut alias.columns).filter(|columns| columns.len() == 1) {
        columns.push(TableAliasColumnDef { name: Ident::new("ordinality"), data_type: None });
    }
    *with_ordinality = false;
}

/// Whether an expression is of numbers that are written out, or NULL.
pub(crate) fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..) | Value::Null),
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } | Expr::Cast { expr: inner, .. } => is_constant(inner),
        Expr::BinaryOp { left, right, .. } => is_constant(left) && is_constant(right),
        _ => false,
    }
}

/// Whether an expression of such numbers is an `integer` in PostgreSQL, or NULL.
fn is_integer(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) if matches!(value.value, Value::Null) => true,
        Expr::Nested(inner) => is_integer(inner),
        Expr::BinaryOp { left, right, .. } => is_integer(left) && is_integer(right),
        other => is_small(other),
    }
}

/// Names what is the same expression under two of its names: `bool_and(a)` and `every(a)`.
pub(super) fn keep_apart(select: &mut Select) {
    let mut seen = std::collections::HashSet::new();
    for (place, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let spelled = expr.to_string().replace(['(', ')', ' '], "");
        if !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) && !seen.insert(spelled) {
            let alias = Ident::with_quote('"', naming::hidden_name(&naming::name_of(expr), place));
            *item = SelectItem::ExprWithAlias { expr: take(expr), alias };
        }
    }
}

fn local_time() -> Expr {
    let now = cast(call("now", Vec::new()), DataType::Timestamp(None, TimezoneInfo::None));
    cast(now, DataType::Time(None, TimezoneInfo::None))
}

/// `CAST(expr AS data_type)`.
pub(super) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn literal(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).into())
}

fn number(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}
