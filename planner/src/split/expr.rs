//! Expressions as SQL text.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, Cast};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::sql::sqlparser::ast::{self, VisitMut, VisitorMut};
use datafusion::sql::unparser::Unparser;
use datafusion::sql::unparser::dialect::{DefaultDialect, Dialect, IntervalStyle, PostgreSqlDialect};

use crate::parts::names;
use crate::refusal::Refusal;

/// PostgreSQL's, with identifiers quoted only where they must be.
struct Readable;

impl Dialect for Readable {
    fn identifier_quote_style(&self, name: &str) -> Option<char> {
        match (DefaultDialect {}).identifier_quote_style(name) {
            None if name.eq_ignore_ascii_case("id") && name != "id" => Some('"'),
            // Reserved in PostgreSQL alone.
            None if matches!(name, "analyse" | "isnull") => Some('"'),
            style => style,
        }
    }
    fn interval_style(&self) -> IntervalStyle {
        (PostgreSqlDialect {}).interval_style()
    }
    fn float64_ast_dtype(&self) -> ast::DataType {
        (PostgreSqlDialect {}).float64_ast_dtype()
    }
    fn int8_cast_dtype(&self) -> ast::DataType {
        ast::DataType::TinyInt(None)
    }
    fn supports_qualify(&self) -> bool {
        false
    }
}

/// A name as SQL text, quoted where it must be.
pub fn identifier(name: &str) -> String {
    match Readable.identifier_quote_style(name) {
        Some(_) => format!("\"{}\"", name.replace('"', "\"\"")),
        None => name.to_owned(),
    }
}

/// The name of a function as SQL text: before parentheses no keyword is taken for anything else.
fn function(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain { name.to_owned() } else { identifier(name) }
}

/// A condition over the bare columns of one table as SQL text, for open tables.
///
/// `None` if it cannot be written.
pub fn predicate_sql(expr: &Expr) -> Option<String> {
    let bare = expr
        .clone()
        .transform(|e| {
            Ok(match e {
                Expr::Column(column) => Transformed::yes(Expr::Column(Column::from_name(column.name))),
                other => Transformed::no(other),
            })
        })
        .ok()?
        .data;
    if bare.is_volatile() || bare.exists(|e| Ok(is_subquery(e))).ok()? {
        return None;
    }
    scalar(&bare, &[], false).ok()
}

/// Whether a condition is comparisons of columns and literals, and what connects them: every version of a site means the same by it.
pub fn predicate_is_plain(expr: &Expr) -> bool {
    use Operator::*;
    let plain = |e: &Expr| match e {
        Expr::Column(_) | Expr::Not(_) | Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::InList(_) | Expr::Between(_) => {
            true
        }
        Expr::Literal(value, _) => !value.is_null(),
        Expr::BinaryExpr(binary) => matches!(binary.op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq),
        _ => false,
    };
    expr.exists(|e| Ok(!plain(e))).is_ok_and(|other| !other)
}

pub(super) fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_))
}

/// The column that stands for the `number`th subquery condition.
pub(super) fn stand_in(number: usize) -> Expr {
    Expr::Column(Column::from_name(format!("{STAND_IN}{number}")))
}

const STAND_IN: &str = "__kanon_subquery_";

/// A scalar expression as text; `subqueries` are what stand-ins stand for.
pub(super) fn scalar(expr: &Expr, subqueries: &[ast::Expr], terse: bool) -> Result<String, Refusal> {
    Ok(tree(expr, subqueries, terse)?.to_string())
}

/// A scalar expression as a syntax tree.
pub(super) fn tree(expr: &Expr, subqueries: &[ast::Expr], terse: bool) -> Result<ast::Expr, Refusal> {
    let failed = |_| Refusal::unsupported("an expression cannot be written for a site");
    let ready = prepared(expr.clone(), terse).map_err(failed)?;
    let mut tree = Unparser::new(&Readable).with_pretty(true).expr_to_sql(&ready).map_err(failed)?;
    let _ = tree.visit(&mut FillIn(subqueries));
    Ok(tree)
}

struct FillIn<'a>(&'a [ast::Expr]);

impl VisitorMut for FillIn<'_> {
    type Break = ();
    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> std::ops::ControlFlow<()> {
        if let ast::Expr::Identifier(name) = expr
            && let Some(number) = name.value.strip_prefix(STAND_IN)
            && let Some(subquery) = number.parse::<usize>().ok().and_then(|n| self.0.get(n))
        {
            *expr = ast::Expr::Nested(Box::new(subquery.clone()));
        }
        std::ops::ControlFlow::Continue(())
    }
}

/// An aggregate as text.
pub(super) fn aggregate(expr: &Expr, subqueries: &[ast::Expr], terse: bool) -> Result<String, Refusal> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
        return Err(Refusal::unsupported("an aggregate cannot be written for a site"));
    };
    if params.null_treatment.is_some() {
        return Err(Refusal::unsupported("IGNORE NULLS cannot be written for a site"));
    }
    let within = func.supports_within_group_clause() && !params.order_by.is_empty();
    let mut args = Vec::new();
    for arg in params.args.iter().skip(usize::from(within)) {
        args.push(match arg {
            Expr::Literal(value, _) if func.name() == "count" && !value.is_null() => "*".to_owned(),
            // Planning adds the cast again, but to what takes anything.
            Expr::Cast(cast) if terse && !matches!(func.name(), "sum" | "count" | names::COUNT) => {
                scalar(&cast.expr, subqueries, terse)?
            }
            other => scalar(other, subqueries, terse)?,
        });
    }
    let mut sorts = Vec::new();
    for sort in &params.order_by {
        let direction = if sort.asc { "" } else { " DESC" };
        let nulls = if sort.nulls_first { " NULLS FIRST" } else { " NULLS LAST" };
        sorts.push(format!("{}{direction}{nulls}", scalar(&sort.expr, subqueries, terse)?));
    }
    let distinct = if params.distinct { "DISTINCT " } else { "" };
    let inside = if within || sorts.is_empty() { String::new() } else { format!(" ORDER BY {}", sorts.join(", ")) };
    let mut text = format!("{}({distinct}{}{inside})", function(func.name()), args.join(", "));
    if within {
        text.push_str(&format!(" WITHIN GROUP (ORDER BY {})", sorts.join(", ")));
    }
    if let Some(filter) = &params.filter {
        text.push_str(&format!(" FILTER (WHERE {})", scalar(filter, subqueries, terse)?));
    }
    Ok(text)
}

/// Literals whose type their text would not show are written as casts; with `terse`, casts that planning adds again are left out.
fn prepared(expr: Expr, terse: bool) -> DfResult<Expr> {
    let expr = if terse { expr.transform_up(without_implied_casts)?.data } else { expr };
    Ok(expr.transform_up(typed_literal)?.data)
}

fn without_implied_casts(expr: Expr) -> DfResult<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(mut binary) if coerces(&binary.op) => {
            let (left, right) = (uncast(*binary.left.clone()), uncast(*binary.right.clone()));
            binary.left = Box::new(left);
            binary.right = Box::new(right);
            Transformed::yes(Expr::BinaryExpr(binary))
        }
        Expr::InList(mut list) => {
            list.expr = Box::new(uncast(*list.expr));
            list.list = list.list.into_iter().map(uncast).collect();
            Transformed::yes(Expr::InList(list))
        }
        Expr::Between(mut between) => {
            between.expr = Box::new(uncast(*between.expr));
            between.low = Box::new(uncast(*between.low));
            between.high = Box::new(uncast(*between.high));
            Transformed::yes(Expr::Between(between))
        }
        Expr::ScalarFunction(mut function) => {
            function.args = function.args.into_iter().map(uncast).collect();
            Transformed::yes(Expr::ScalarFunction(function))
        }
        other => Transformed::no(other),
    })
}

fn coerces(op: &Operator) -> bool {
    use Operator::*;
    matches!(
        op,
        Eq | NotEq
            | Lt
            | LtEq
            | Gt
            | GtEq
            | Plus
            | Minus
            | Multiply
            | Divide
            | Modulo
            | StringConcat
            | IsDistinctFrom
            | IsNotDistinctFrom
    )
}

fn uncast(expr: Expr) -> Expr {
    match expr {
        Expr::Cast(Cast { expr, field })
            if field.data_type().is_numeric()
                || matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) =>
        {
            *expr
        }
        other => other,
    }
}

fn typed_literal(expr: Expr) -> DfResult<Transformed<Expr>> {
    let Expr::Literal(value, metadata) = expr else {
        return Ok(Transformed::no(expr));
    };
    let data_type = value.data_type();
    if value.is_null() && data_type != DataType::Null {
        let null = Expr::Literal(ScalarValue::Null, metadata);
        return Ok(Transformed::yes(Expr::Cast(Cast::new(Box::new(null), data_type))));
    }
    let plain = match &value {
        ScalarValue::Float64(Some(x)) => {
            if !x.is_finite()
                || (x.fract() == 0.0 && x.abs() < 1e15)
                || x.abs() >= 1e15
                || (*x != 0.0 && x.abs() < 1e-4)
            {
                Some(ScalarValue::Utf8(Some(x.to_string())))
            } else {
                None
            }
        }
        ScalarValue::Int64(Some(i)) if *i == i64::MIN => Some(ScalarValue::Utf8(Some(i.to_string()))),
        ScalarValue::Int8(_)
        | ScalarValue::Int16(_)
        | ScalarValue::Int32(_)
        | ScalarValue::UInt8(_)
        | ScalarValue::UInt16(_)
        | ScalarValue::UInt32(_) => Some(value.cast_to(&DataType::Int64)?),
        ScalarValue::UInt64(_)
        | ScalarValue::Float32(_)
        | ScalarValue::Float16(_)
        | ScalarValue::Decimal32(..)
        | ScalarValue::Decimal64(..)
        | ScalarValue::Decimal128(..)
        | ScalarValue::Decimal256(..)
        | ScalarValue::Date32(_)
        | ScalarValue::Date64(_)
        | ScalarValue::TimestampSecond(..)
        | ScalarValue::TimestampMillisecond(..)
        | ScalarValue::TimestampMicrosecond(..)
        | ScalarValue::TimestampNanosecond(..)
        | ScalarValue::Time32Second(_)
        | ScalarValue::Time32Millisecond(_)
        | ScalarValue::Time64Microsecond(_)
        | ScalarValue::Time64Nanosecond(_) => Some(value.cast_to(&DataType::Utf8)?),
        _ => None,
    };
    Ok(match plain {
        Some(plain) => Transformed::yes(Expr::Cast(Cast::new(Box::new(Expr::Literal(plain, metadata)), data_type))),
        None => Transformed::no(Expr::Literal(value, metadata)),
    })
}
