//! The query of an INSERT, with PostgreSQL's casts of assignments written into it.
//!
//! Literals, parameters and DEFAULT in VALUES or in a select list are of the columns' types at once, as PostgreSQL reads them. What else the query
//! gives is cast around it, if its type may be assigned.

use datafusion::arrow::datatypes::Field;
use datafusion::sql::sqlparser::ast::{
    CastKind, Expr, Query, Select, SelectItem, SetExpr, TableFactor, UnaryOperator, Value,
};

use super::columns::Column;
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::types::PgType;
use crate::statement::query_of;

/// Columns that are inserted into.
type Targets<'a> = [(&'a Field, &'a Column)];

/// What is inserted.
pub(super) enum Source {
    /// So many columns of VALUES, each of its column's type now.
    Values(usize),
    /// A query, whose types are what they are.
    Query,
}

/// Gives what has no type of its own the type of its column.
///
/// # Errors
/// 42601 for VALUES of different lengths, 42804 for literals of another type.
pub(super) fn coerce(query: &mut Query, targets: &Targets<'_>) -> Result<Source> {
    let is_plain = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    match query.body.as_mut() {
        SetExpr::Values(values) if is_plain => {
            let width = values.rows.first().map_or(0, |row| row.content.len());
            for row in &mut values.rows {
                if row.content.len() != width {
                    return Err(Error::new(Sqlstate::SyntaxError, "VALUES lists must all be the same length"));
                }
                for (item, (field, column)) in row.content.iter_mut().zip(targets) {
                    let taken = std::mem::replace(item, null());
                    *item = typed(taken, field, column)?;
                }
            }
            Ok(Source::Values(width))
        }
        SetExpr::Select(select) => {
            coerce_list(select, targets)?;
            Ok(Source::Query)
        }
        _ => Ok(Source::Query),
    }
}

fn coerce_list(select: &mut Select, targets: &Targets<'_>) -> Result<()> {
    for (item, (field, column)) in select.projection.iter_mut().zip(targets) {
        let expr = match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr,
            // It may be several columns.
            _ => return Ok(()),
        };
        let has_no_type = matches!(expr, Expr::Value(value) if matches!(
            value.value,
            Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_) | Value::Null | Value::Placeholder(_)
        ));
        if has_no_type {
            let taken = std::mem::replace(expr, null());
            *expr = typed(taken, field, column)?;
        }
    }
    Ok(())
}

/// An expression of VALUES as a value of a column.
fn typed(expr: Expr, field: &Field, column: &Column) -> Result<Expr> {
    if let Expr::Identifier(ident) = &expr
        && ident.quote_style.is_none()
        && ident.value.eq_ignore_ascii_case("default")
    {
        return Ok(cast(column.default.clone().unwrap_or_else(null), column));
    }
    let literal = match &expr {
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => expr.as_ref(),
        other => other,
    };
    let target = PgType::of_field(field);
    let other = match literal {
        Expr::Value(value) => match &value.value {
            Value::Boolean(_) => (target.category != 'B').then_some("boolean"),
            Value::Number(digits, _) => (target.category != 'N').then(|| match digits.parse::<i64>() {
                Ok(whole) if i32::try_from(whole).is_ok() => "integer",
                Ok(_) => "bigint",
                Err(_) => "numeric",
            }),
            _ => None,
        },
        _ => None,
    };
    match other {
        Some(of_type) if target.category != 'S' => Err(mismatch_of(of_type, field)),
        _ => Ok(cast(expr, column)),
    }
}

fn cast(expr: Expr, column: &Column) -> Expr {
    let Some(data_type) = column.cast.clone() else { return expr };
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// 42804: a column does not take values of this type.
pub(super) fn mismatch(from: &Field, to: &Field) -> Error {
    mismatch_of(&PgType::of_field(from).with_typmod(-1).sql_name(), to)
}

fn mismatch_of(from: &str, to: &Field) -> Error {
    let of_type = PgType::of_field(to).with_typmod(-1).sql_name();
    let message = format!("column \"{}\" is of type {of_type} but expression is of type {from}", to.name());
    Error::new(Sqlstate::DatatypeMismatch, message).hint("You will need to rewrite or cast the expression.")
}

/// Whether so many expressions go into so many columns. Columns that were named must all be given.
///
/// # Errors
/// 42601.
pub(super) fn check_width(expressions: usize, columns: usize, named: bool) -> Result<()> {
    let message = match expressions.cmp(&columns) {
        std::cmp::Ordering::Greater => "INSERT has more expressions than target columns",
        std::cmp::Ordering::Less if named => "INSERT has more target columns than expressions",
        _ => return Ok(()),
    };
    Err(Error::new(Sqlstate::SyntaxError, message))
}

/// What stands in a column where nothing is said, as SQL.
pub(super) fn default_text(field: &Field, column: &Column) -> String {
    let value = column.default.as_ref().map_or_else(|| "NULL".to_owned(), |default| format!("({default})"));
    format!("{} AS {}", cast_text(&value, column), quoted(field.name()))
}

fn cast_text(value: &str, column: &Column) -> String {
    match &column.cast {
        Some(data_type) => format!("CAST({value} AS {data_type})"),
        None => value.to_owned(),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// All columns of a table from a query of some of them, which are `provided` in its order; the others by default.
///
/// # Errors
/// If a default is no expression any more.
pub(super) fn outer(all: &Targets<'_>, provided: &[usize], query: Option<Box<Query>>) -> Result<Box<Query>> {
    let items = all.iter().enumerate().map(|(place, (field, column))| {
        match provided.iter().position(|given| *given == place) {
            Some(given) => format!("{} AS {}", cast_text(&format!("given.c{given}"), column), quoted(field.name())),
            None => default_text(field, column),
        }
    });
    let items = items.collect::<Vec<_>>().join(", ");
    let Some(query) = query else { return query_of(&format!("SELECT {items}")) };
    let names = (0..provided.len()).map(|given| format!("c{given}")).collect::<Vec<_>>().join(", ");
    let mut outer = query_of(&format!("SELECT {items} FROM (SELECT 1) AS given({names})"))?;
    if let SetExpr::Select(select) = outer.body.as_mut()
        && let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation)
    {
        *subquery = query;
    }
    Ok(outer)
}
