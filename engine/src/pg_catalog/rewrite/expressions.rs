//! Operators, functions and words.

use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart,
    Value,
};

use super::calls::cast;
use super::json::arguments;
use super::{Scope, call, called, folded, is_catalog_function, null, string, strip_schema, take};
use crate::error::Result;

/// What is done in every statement.
pub(super) fn rewrite(expr: &mut Expr, scope: &Scope) {
    match expr {
        Expr::Function(function) => {
            strip_schema(&mut function.name);
            let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded);
            // `current_user` without parentheses: the same function.
            if matches!(function.args, FunctionArguments::None) && name.as_deref().is_some_and(is_catalog_function) {
                *expr = call(name.as_deref().unwrap_or_default(), Vec::new());
            }
        }
        Expr::Identifier(ident) if ident.quote_style.is_none() => {
            let word = ident.value.to_lowercase();
            if matches!(
                word.as_str(),
                "current_schema" | "current_role" | "current_user" | "session_user" | "current_catalog" | "user"
            ) {
                *expr = call(&word, Vec::new());
            }
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            if matches!(right.as_ref(), Expr::Subquery(_)) {
                *expr = in_subquery(take(left), take(right), false);
            } else if let Some(list) = elements(right) {
                *expr = Expr::InList { expr: Box::new(take(left)), list, negated: false };
            }
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
            if matches!(right.as_ref(), Expr::Subquery(_)) {
                *expr = in_subquery(take(left), take(right), true);
            } else if let Some(list) = elements(right) {
                *expr = Expr::InList { expr: Box::new(take(left)), list, negated: true };
            }
        }
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                && let Some(usual) = usual_operator(parts)
            {
                *op = usual;
            }
        }
        Expr::CompoundIdentifier(parts) => {
            if let [.., table, column] = parts.as_slice()
                && let Some(relation) = scope.aliases.get(&folded(table))
            {
                match folded(column).as_str() {
                    "tableoid" => *expr = number(relation.oid),
                    // That of rows which were there from the beginning.
                    "xmin" => *expr = cast(number(1), DataType::IntUnsigned(None)),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// `left IN (query)`.
fn in_subquery(left: Expr, query: Expr, negated: bool) -> Expr {
    match query {
        Expr::Subquery(subquery) => Expr::InSubquery { expr: Box::new(left), subquery, negated },
        other => other,
    }
}

/// What is done where the catalog is read.
pub(super) fn rewrite_in_catalog(expr: &mut Expr) -> Result<()> {
    match expr {
        // A list beside '{…}': compared as text.
        Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } => {
            for (text, list) in
                [(&mut *right, 0), (&mut *left, 1)].map(|(e, side)| (array_text(e).map(|t| t.join(",")), side))
            {
                let Some(joined) = text else { continue };
                let (text, list) = if list == 0 { (&mut *right, &mut *left) } else { (&mut *left, &mut *right) };
                **text = literal(joined);
                let inner = take(list);
                **list = call("array_to_string", vec![inner, literal(",".to_owned())]);
            }
        }
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            if let Some(escape) = escape_char.take() {
                let inner = take(pattern);
                **pattern = call("kanon_like_pattern", vec![inner, Expr::Value(escape)]);
            }
        }
        Expr::Function(_) => function_in_catalog(expr),
        // A list, or '{}'.
        Expr::Case { conditions, else_result: Some(other), .. } => {
            let is_list = conditions.iter().any(|when| called(&when.result).as_deref() == Some("acldefault"));
            if is_list && string(other) == Some("{}") {
                **other = call("kanon_list", vec![null()]);
            }
        }
        _ => {}
    }
    Ok(())
}

fn function_in_catalog(expr: &mut Expr) {
    let Some(name) = called(expr) else { return };
    let Expr::Function(function) = expr else { return };
    let FunctionArguments::List(list) = &mut function.args else { return };
    let mut arguments = list.args.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    match name.as_str() {
        // coalesce(list, '{}'): an empty list for none.
        "coalesce" => {
            let (Some(first), Some(second)) = (arguments.next(), arguments.next()) else { return };
            if string(second) == Some("{}") {
                *expr = call("kanon_list", vec![take(first)]);
            }
        }
        "generate_subscripts" => {
            if let Some(first) = arguments.next() {
                *expr = call("unnest", vec![call("kanon_subscripts", vec![take(first)])]);
            }
        }
        _ => {}
    }
}

fn usual_operator(parts: &[String]) -> Option<BinaryOperator> {
    let operator = match parts {
        [operator] => operator,
        [schema, operator] if schema.eq_ignore_ascii_case("pg_catalog") => operator,
        _ => return None,
    };
    Some(match operator.as_str() {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

/// The elements of `ARRAY[…]` or `'{…}'`.
fn elements(expr: &mut Expr) -> Option<Vec<Expr>> {
    if called(expr).as_deref() == Some("make_array") {
        let elements: Vec<Expr> = arguments(expr).into_iter().map(take).collect();
        return (!elements.is_empty()).then_some(elements);
    }
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => elements(inner),
        Expr::Array(Array { elem, .. }) if !elem.is_empty() => Some(std::mem::take(elem)),
        other => {
            let items = array_text(other)?;
            (!items.is_empty()).then(|| items.into_iter().map(literal).collect())
        }
    }
}

/// The elements of a string that is written as an array, without quoting inside.
fn array_text(expr: &Expr) -> Option<Vec<String>> {
    let inner = string(expr)?.strip_prefix('{')?.strip_suffix('}')?;
    if inner.is_empty() {
        return Some(Vec::new());
    }
    Some(inner.split(',').map(|item| item.trim().trim_matches('"').to_owned()).collect())
}

fn literal(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).into())
}

fn number(value: u32) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

/// A column of a name, for tests of shapes.
pub(super) fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(folded(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|i: &Ident| folded(i)),
        Expr::Nested(inner) => column_name(inner),
        _ => None,
    }
}
