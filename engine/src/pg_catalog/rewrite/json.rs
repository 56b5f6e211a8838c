//! `json`, `jsonb`, `uuid`, `inet` and `timetz` in statements: casts to them, aggregates, and functions that answer rows.
//!
//! | statement | becomes |
//! | --- | --- |
//! | `x::jsonb` | `kanon_jsonb(x)` |
//! | `json_agg(x ORDER BY y)` | `kanon_json_list(array_agg(kanon_json_item(x) ORDER BY y))` |
//! | `SELECT json_array_elements(x)` | `SELECT kanon_as_json(unnest(kanon_json_elements(x)))` |
//!
//! What of them stands in FROM is in [`super::json_rows`].

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, OrderByExpr,
    OrderByOptions, Query, TableFactor, TimezoneInfo, Value, Visit, Visitor, visit_expressions_mut,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use super::json_rows::called_rows;
use super::{call, called, folded, parameter, string, take};
use crate::error::{Error, Result, Sqlstate};
use crate::functions::json;
use crate::pg_catalog::types::PgType;

/// Functions that look at a row as a whole.
pub(super) const TAKE_ROWS: [&str; 11] = [
    "row_to_json",
    "to_json",
    "to_jsonb",
    "json_agg",
    "jsonb_agg",
    "json_build_object",
    "jsonb_build_object",
    "json_build_array",
    "jsonb_build_array",
    "json_object_agg",
    "jsonb_object_agg",
];

/// Functions of PostgreSQL that there are not.
pub(super) const MISSING: [&str; 22] = [
    "jsonb_set",
    "jsonb_set_lax",
    "jsonb_insert",
    "jsonb_path_exists",
    "jsonb_path_match",
    "jsonb_path_query",
    "jsonb_path_query_array",
    "jsonb_path_query_first",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "json_populate_record",
    "jsonb_populate_record",
    "json_populate_recordset",
    "jsonb_populate_recordset",
    "json_to_record",
    "jsonb_to_record",
    "json_to_recordset",
    "jsonb_to_recordset",
    "hstore_to_json",
];

/// The function that reads text as a type, if it is one of these.
pub(super) fn maker(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::JSON => Some("kanon_json"),
        DataType::JSONB => Some("kanon_jsonb"),
        DataType::Uuid => Some("kanon_uuid"),
        DataType::Time(None, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => Some("kanon_timetz"),
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
            let name = match parts.as_slice() {
                [name] => name,
                [schema, name] if schema == "pg_catalog" => name,
                _ => return None,
            };
            match name.as_str() {
                "json" => Some("kanon_json"),
                "jsonb" => Some("kanon_jsonb"),
                "uuid" => Some("kanon_uuid"),
                "inet" => Some("kanon_inet"),
                "timetz" => Some("kanon_timetz"),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Casts the parameters of a query to those of these types that a client says they are of.
pub(super) fn cast_parameters(query: &mut Query, told: &[Option<PgType>]) {
    if !told.iter().flatten().any(|told| json::is_ours(*told)) {
        return;
    }
    let _ = visit_expressions_mut(query, |expr| {
        let told = parameter(expr).and_then(|place| told.get(place).copied().flatten());
        if let Some(told) = told.filter(|told| json::is_ours(*told)) {
            let name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(told.name))]);
            *expr = cast(take(expr), DataType::Custom(name, Vec::new()));
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Whether a query has any value of these types: what makes one is in the query itself.
pub(super) fn makes_some(query: &Query) -> bool {
    struct Find(bool);
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0 |= match expr {
                Expr::Cast { data_type, .. } => maker(data_type).is_some(),
                Expr::TypedString(typed) => maker(&typed.data_type).is_some(),
                Expr::Function(_) => called(expr).is_some_and(|name| name.contains("json") || name.contains("uuid")),
                _ => false,
            };
            if self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            self.0 |= called_rows(factor).is_some();
            if self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let mut find = Find(false);
    let _ = query.visit(&mut find);
    find.0
}

/// Rewrites one expression, what is in it being rewritten already.
///
/// # Errors
/// 0A000 for functions that there are not.
pub(super) fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Cast { expr: inner, data_type, .. } => match maker(data_type) {
            Some(function) => {
                refuse_number(inner, function)?;
                *expr = call(function, vec![take(inner)]);
            }
            // Whatever it was before, it is not any more.
            None if !matches!(inner.as_ref(), Expr::Value(_)) => **inner = call("kanon_plain", vec![take(inner)]),
            None => {}
        },
        Expr::TypedString(typed) => {
            if let Some(function) = maker(&typed.data_type) {
                *expr = call(function, vec![Expr::Value(typed.value.clone())]);
            }
        }
        Expr::BinaryOp { op, right, .. } => {
            let takes_list = matches!(
                op,
                BinaryOperator::HashArrow
                    | BinaryOperator::HashLongArrow
                    | BinaryOperator::HashMinus
                    | BinaryOperator::QuestionPipe
                    | BinaryOperator::QuestionAnd
            );
            if takes_list && string(right).is_some() {
                **right = text_list(take(right))?;
            }
        }
        Expr::Function(_) => function(expr)?,
        _ => {}
    }
    Ok(())
}

/// No number is cast to these types.
fn refuse_number(expr: &Expr, function: &str) -> Result<()> {
    let Expr::Value(value) = expr else { return Ok(()) };
    let of = match &value.value {
        Value::Number(number, _) if number.parse::<i32>().is_ok() => "integer",
        Value::Number(number, _) if number.parse::<i64>().is_ok() => "bigint",
        Value::Number(..) => "numeric",
        _ => return Ok(()),
    };
    let target = function.trim_start_matches("kanon_");
    Err(Error::new(Sqlstate::CannotCoerce, format!("cannot cast type {of} to {target}")))
}

/// Where the string stands that a cast cannot read as one of these types, if an expression is such a cast.
pub fn unreadable(expr: &Expr) -> Option<Location> {
    let (value, data_type) = match expr {
        Expr::Cast { expr: inner, data_type, .. } => match inner.as_ref() {
            Expr::Value(value) => (value, data_type),
            _ => return None,
        },
        Expr::TypedString(typed) => (&typed.value, &typed.data_type),
        _ => return None,
    };
    let text = match &value.value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text,
        _ => return None,
    };
    let is_read = json::is_read(maker(data_type)?, text);
    (!is_read && value.span != Span::empty()).then_some(value.span.start)
}

/// `'{a,b}'` → `'{a,b}'::text[]`, read.
fn text_list(text: Expr) -> Result<Expr> {
    let item = Box::new(DataType::Text);
    let data_type = DataType::Array(ArrayElemTypeDef::SquareBracket(item, None));
    let mut list = cast(text, data_type);
    super::literals::rewrite(&mut list)?;
    Ok(list)
}

fn function(expr: &mut Expr) -> Result<()> {
    let Some(name) = called(expr) else { return Ok(()) };
    if MISSING.contains(&name.as_str()) {
        return Err(Error::unsupported(format!("function {name} is not supported")));
    }
    match name.as_str() {
        "gen_random_uuid" => *expr = call("kanon_uuid", vec![call("uuid", Vec::new())]),
        "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg" => aggregate(expr, &name)?,
        "json_each" | "jsonb_each" | "json_each_text" | "jsonb_each_text" => {
            return Err(Error::unsupported(format!("function {name} in a select list is not supported"))
                .hint(format!("Call it in FROM: SELECT key, value FROM {name}(…).")));
        }
        "json_object" | "jsonb_object" => {
            for argument in arguments(expr) {
                if string(argument).is_some() {
                    *argument = text_list(take(argument))?;
                }
            }
        }
        other => {
            if let Some((list, shown)) = series(other)
                && let [argument] = arguments(expr).as_mut_slice()
            {
                let rows = call("unnest", vec![call(list, vec![take(argument)])]);
                *expr = if shown.is_empty() { rows } else { call(shown, vec![rows]) };
            } else if TAKE_ROWS.contains(&other) {
                arguments(expr).into_iter().for_each(row_value);
            }
        }
    }
    Ok(())
}

/// `row(1, 'x')` as a value: its fields are `f1`, `f2` …
fn row_value(expr: &mut Expr) {
    let items = match expr {
        Expr::Tuple(items) => std::mem::take(items),
        Expr::Function(_) if called(expr).as_deref() == Some("row") => arguments(expr).into_iter().map(take).collect(),
        _ => return,
    };
    let fields = items.into_iter().enumerate().flat_map(|(at, item)| [literal(&format!("f{}", at + 1)), item]);
    *expr = call("kanon_row", fields.collect());
}

pub(super) fn arguments(expr: &mut Expr) -> Vec<&mut Expr> {
    let Expr::Function(function) = expr else { return Vec::new() };
    let FunctionArguments::List(list) = &mut function.args else { return Vec::new() };
    let exprs = list.args.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    exprs.collect()
}

/// An aggregate as `array_agg` of what it gathers, put together.
fn aggregate(expr: &mut Expr, name: &str) -> Result<()> {
    arguments(expr).into_iter().for_each(row_value);
    let is_jsonb = name.starts_with("jsonb");
    let is_object = name.ends_with("object_agg");
    let Expr::Function(function) = &mut *expr else { return Ok(()) };
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let mut taken: Vec<Expr> = Vec::new();
    for argument in &mut list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else { return Ok(()) };
        taken.push(take(argument));
    }
    let (gathered, together) = match (is_object, taken.as_slice()) {
        (true, [_, _]) if is_distinct => {
            return Err(Error::unsupported(format!("DISTINCT in {name} is not supported")));
        }
        (true, [_, _]) => {
            (call("kanon_json_pair", taken), if is_jsonb { "kanon_jsonb_pairs" } else { "kanon_json_pairs" })
        }
        (false, [one]) if is_distinct => {
            order_distinct(list, one);
            (call("kanon_distinct", taken), if is_jsonb { "kanon_jsonb_values" } else { "kanon_json_values" })
        }
        (false, [_]) => (call("kanon_json_item", taken), if is_jsonb { "kanon_jsonb_list" } else { "kanon_json_list" }),
        // What it does not take is said of it by its own name.
        _ => {
            list.args = taken.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
            return Ok(());
        }
    };
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(gathered))];
    if let Some(ObjectNamePart::Identifier(ident)) = function.name.0.last_mut() {
        *ident = Ident::new("array_agg");
    }
    *expr = call(together, vec![take(expr)]);
    Ok(())
}

/// What is there once is in order, if no other one is asked for.
fn order_distinct(list: &mut FunctionArgumentList, one: &Expr) {
    let same = || call("kanon_distinct", vec![one.clone()]);
    let mut is_ordered = false;
    for clause in &mut list.clauses {
        if let FunctionArgumentClause::OrderBy(items) = clause {
            is_ordered = true;
            for item in items.iter_mut().filter(|item| item.expr == *one) {
                item.expr = same();
            }
        }
    }
    if !is_ordered {
        let options = OrderByOptions { asc: None, nulls_first: None };
        let by = OrderByExpr { expr: same(), options, with_fill: None };
        list.clauses.push(FunctionArgumentClause::OrderBy(vec![by]));
    }
}

/// The function that gives the rows of one as a list, and the one that says of which type they are.
pub(super) fn series(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "json_array_elements" => ("kanon_json_elements", "kanon_as_json"),
        "jsonb_array_elements" => ("kanon_jsonb_elements", "kanon_as_jsonb"),
        "json_array_elements_text" => ("kanon_json_elements_text", ""),
        "jsonb_array_elements_text" => ("kanon_jsonb_elements_text", ""),
        "json_object_keys" => ("kanon_json_keys", ""),
        "jsonb_object_keys" => ("kanon_jsonb_keys", ""),
        _ => return None,
    })
}

pub(super) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

pub(super) fn literal(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}
