//! PostgreSQL's spellings of what DataFusion has under another name, or says otherwise: `ceiling`, `every`, `LIKE … ESCAPE`, `SIMILAR TO`, `a && b`.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectNamePart, TableFactor, TimezoneInfo, UnaryOperator, Value,
};

use super::{call, folded, string, take};

/// Rewrites one expression.
pub(super) fn rewrite(expr: &mut Expr) {
    match expr {
        Expr::Value(value) => {
            if let Value::UnicodeStringLiteral(text) = &mut value.value {
                value.value = Value::SingleQuotedString(std::mem::take(text));
            }
        }
        Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("localtimestamp") =>
        {
            *expr = local_timestamp();
        }
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            let escape = escape_char.as_ref().and_then(|escape| one_char(&escape.value));
            if let (Some(escape), Some(text)) = (escape, string(pattern))
                && escape != '\\'
            {
                **pattern = literal(with_backslash(text, escape));
                *escape_char = None;
            }
        }
        Expr::SimilarTo { negated, expr: tested, pattern, escape_char } => {
            let escape = match escape_char {
                Some(escape) => one_char(&escape.value),
                None => Some('\\'),
            };
            if let (Some(escape), Some(text)) = (escape, string(pattern)) {
                let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
                let right = Box::new(literal(similar(text, escape)));
                let left = Box::new(Expr::Nested(Box::new(take(tested))));
                *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }));
            }
        }
        // The parser takes all that follows for the second operand.
        Expr::IsDistinctFrom(left, right) if is_logical(right) => {
            let (left, right) = (take(left), take(right));
            *expr = behind_first(right, &|first| Expr::IsDistinctFrom(Box::new(left.clone()), Box::new(first)));
        }
        Expr::IsNotDistinctFrom(left, right) if is_logical(right) => {
            let (left, right) = (take(left), take(right));
            *expr = behind_first(right, &|first| Expr::IsNotDistinctFrom(Box::new(left.clone()), Box::new(first)));
        }
        Expr::BinaryOp { left, op, right } => {
            let function = match op {
                BinaryOperator::PGOverlap => "array_has_any",
                BinaryOperator::PGStartsWith => "starts_with",
                _ => return,
            };
            let (left, right) = (take(left), take(right));
            *expr = call(function, vec![left, right]);
        }
        Expr::Extract { field, expr: moment, .. } if is_second(&field.to_string()) => {
            *expr = cast(seconds(take(moment), DataType::Numeric(places(14, 6))), DataType::Numeric(places(8, 6)));
        }
        // The sign would be the first unit's alone.
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: interval }
            if matches!(interval.as_ref(), Expr::Interval(_)) =>
        {
            let left = Box::new(take(interval));
            let right = Box::new(Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: Box::new(Expr::Value(Value::Number("1".to_owned(), false).into())),
            });
            *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Multiply, right }));
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expr = call("timezone", vec![take(time_zone), take(timestamp)]);
        }
        Expr::Function(_) => function(expr),
        _ => {}
    }
}

fn function(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let [ObjectNamePart::Identifier(ident)] = function.name.0.as_mut_slice() else { return };
    let name = folded(ident);
    let other = match name.as_str() {
        "ceiling" => Some("ceil"),
        "every" => Some("bool_and"),
        // The time of the statement.
        "statement_timestamp" | "transaction_timestamp" => Some("now"),
        "sign" => Some("signum"),
        _ => None,
    };
    if let Some(other) = other {
        *ident = Ident { value: other.to_owned(), quote_style: None, span: ident.span };
        return;
    }
    if name == "localtimestamp" {
        *expr = local_timestamp();
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    let arguments = list.args.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let mut arguments: Vec<&mut Expr> = arguments.collect();
    let rewritten = match (name.as_str(), arguments.as_mut_slice()) {
        ("mod", [left, right]) => {
            let (left, right) =
                (Box::new(Expr::Nested(Box::new(take(left)))), Box::new(Expr::Nested(Box::new(take(right)))));
            Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Modulo, right }))
        }
        ("date", [moment]) => cast(take(moment), DataType::Date),
        ("age", [from]) => {
            let today = cast(call("now", Vec::new()), DataType::Date);
            call("age", vec![today, take(from)])
        }
        // With what is left of a second.
        ("date_part", [field, moment]) if string(field).is_some_and(is_second) => {
            seconds(take(moment), DataType::DoublePrecision)
        }
        ("num_nulls" | "num_nonnulls", all) => {
            let ones = all.iter_mut().map(|one| {
                let tested = Box::new(take(one));
                cast(
                    if name == "num_nulls" { Expr::IsNull(tested) } else { Expr::IsNotNull(tested) },
                    DataType::Integer(None),
                )
            });
            let sum = ones.reduce(|left, right| Expr::BinaryOp {
                left: Box::new(left),
                op: BinaryOperator::Plus,
                right: Box::new(right),
            });
            let Some(sum) = sum else { return };
            Expr::Nested(Box::new(sum))
        }
        _ => return,
    };
    *expr = rewritten;
}

/// `LATERAL unnest(list)` is `unnest(list)`, which may always name columns of its neighbours.
pub(super) fn unnest_beside(factor: &mut TableFactor) {
    let TableFactor::Function { lateral: true, name, args, alias, with_ordinality, .. } = factor else { return };
    if !name.to_string().eq_ignore_ascii_case("unnest") {
        return;
    }
    let exprs = args.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    *factor = TableFactor::UNNEST {
        alias: alias.take(),
        array_exprs: exprs.collect(),
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: *with_ordinality,
    };
}

fn is_logical(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

/// `a AND b OR c` with its first operand replaced.
fn behind_first(expr: Expr, replaced: &dyn Fn(Expr) -> Expr) -> Expr {
    match expr {
        Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
            Expr::BinaryOp { left: Box::new(behind_first(*left, replaced)), op, right }
        }
        first => replaced(first),
    }
}

fn is_second(field: &str) -> bool {
    matches!(field.to_ascii_lowercase().as_str(), "second" | "seconds" | "sec" | "secs")
}

fn places(precision: u64, scale: i64) -> ExactNumberInfo {
    ExactNumberInfo::PrecisionAndScale(precision, scale)
}

/// The seconds of a moment, with what is left of one, in this type.
fn seconds(moment: Expr, data_type: DataType) -> Expr {
    let micros = cast(call("date_part", vec![literal("microsecond".into()), moment]), data_type);
    let million = Box::new(Expr::Value(Value::Number("1000000".to_owned(), false).into()));
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(micros), op: BinaryOperator::Divide, right: million }))
}

fn local_timestamp() -> Expr {
    cast(call("now", Vec::new()), DataType::Timestamp(None, TimezoneInfo::None))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn literal(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).into())
}

fn one_char(value: &Value) -> Option<char> {
    let Value::SingleQuotedString(text) = value else { return None };
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// A pattern of LIKE with a backslash in place of another character that escapes.
fn with_backslash(pattern: &str, escape: char) -> String {
    let mut plain = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            _ if c == escape => {
                if let Some(next) = chars.next() {
                    if matches!(next, '%' | '_' | '\\') {
                        plain.push('\\');
                    }
                    plain.push(next);
                }
            }
            '\\' => plain.push_str("\\\\"),
            other => plain.push(other),
        }
    }
    plain
}

/// A pattern of SIMILAR TO as a regular expression of the whole text: `%` and `_` stand for any text and any character; `| * + ? { } ( ) [ ]` are as in those,
/// and all else is itself.
fn similar(pattern: &str, escape: char) -> String {
    let mut regex = "^(?:".to_owned();
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            _ if c == escape => {
                if let Some(next) = chars.next() {
                    if !next.is_alphanumeric() {
                        regex.push('\\');
                    }
                    regex.push(next);
                }
            }
            '[' => {
                in_class = true;
                regex.push('[');
            }
            ']' => {
                in_class = false;
                regex.push(']');
            }
            _ if in_class => regex.push(c),
            '%' => regex.push_str("(?s:.*)"),
            '_' => regex.push_str("(?s:.)"),
            '.' | '^' | '$' | '\\' => regex.extend(['\\', c]),
            other => regex.push(other),
        }
    }
    regex.push_str(")$");
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert_eq!(with_backslash("a!_b!!c\\%", '!'), "a\\_b!c\\\\%");
        assert_eq!(with_backslash("50!%", '!'), "50\\%");
        assert_eq!(similar("(A|B)%", '\\'), "^(?:(A|B)(?s:.*))$");
        assert_eq!(similar("a.c_[%_]+!%", '!'), "^(?:a\\.c(?s:.)[%_]+\\%)$");
    }
}
