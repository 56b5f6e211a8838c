//! Subqueries that DataFusion does not plan as they stand.
//!
//! - One that reads a relation which never has a row is NULL, or an empty list, or false.
//! - One that answers a value, correlated, must be an aggregate: the greatest of at most one value is that value.
//! - `ARRAY(SELECT …)` is `array_agg`.
//! - The collation of a column that is not its type's (psql's `\d`, `\dD`) joins on an inequality across the border: a look-up.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    JoinConstraint, JoinOperator, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value,
    VisitMut, VisitorMut, visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::expressions::column_name;
use super::{Scope, call, called, null, take};
use crate::pg_catalog::rows::is_always_empty;

pub(super) const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "every",
    "bit_and",
    "bit_or",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "variance",
    "var_pop",
    "var_samp",
    "percentile_cont",
    "percentile_disc",
    "mode",
    "kanon_json_list",
    "kanon_jsonb_list",
    "kanon_json_pairs",
    "kanon_jsonb_pairs",
    "kanon_json_values",
    "kanon_jsonb_values",
];

/// Columns that are always NULL, as they are unnested.
const NULL_LISTS: &[&str] =
    &["reloptions", "evttags", "setconfig", "proconfig", "attoptions", "attfdwoptions", "srvoptions"];

/// Rewrites an expression that holds a query.
pub(super) fn rewrite(expr: &mut Expr, scope: &Scope) {
    match expr {
        Expr::Subquery(query) => {
            if let Some(lookup) = collation_lookup(query, scope) {
                *expr = lookup;
            } else if never_answers(query, scope) {
                *expr = null();
            } else {
                make_aggregate(query);
            }
        }
        Expr::Function(function) if called_array(function) => {
            let FunctionArguments::Subquery(query) = &mut function.args else { return };
            if never_answers(query, scope) {
                *expr = call("kanon_list", vec![null()]);
            } else if collect(query) || collect_whole(query) {
                let query = std::mem::replace(query, empty_query());
                *expr = call("kanon_list", vec![Expr::Subquery(query)]);
            }
        }
        _ => {}
    }
}

/// `ARRAY(SELECT …)`: an empty array if there is no row.
pub(super) fn make_array(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    if !called_array(function) {
        return;
    }
    let FunctionArguments::Subquery(query) = &mut function.args else { return };
    if collect(query) || collect_whole(query) {
        let query = std::mem::replace(query, empty_query());
        let none = Expr::Array(Array { elem: Vec::new(), named: true });
        *expr = call("coalesce", vec![Expr::Subquery(query), none]);
    }
}

/// Any query → `SELECT array_agg(v ORDER BY o0) FROM (…) AS kanon_array (v, o0)`; one with a limit is counted, in its order.
fn collect_whole(query: &mut Box<Query>) -> bool {
    let around = if query.order_by.is_none() {
        "SELECT array_agg(v) FROM (SELECT 1) AS kanon_array (v)".to_owned()
    } else if query.limit_clause.is_some() {
        "SELECT array_agg(v ORDER BY n) FROM (SELECT v, row_number() OVER () AS n FROM (SELECT 1) AS kanon_array (v)) AS kanon_array"
            .to_owned()
    } else {
        let Some(orders) = ordered_by(query) else { return false };
        let names: Vec<&str> = orders.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "v").collect();
        let columns: String = names.iter().map(|name| format!(", {name}")).collect();
        let orders: Vec<String> = orders.iter().map(|(name, options)| format!("{name}{options}")).collect();
        format!("SELECT array_agg(v ORDER BY {}) FROM (SELECT 1) AS kanon_array (v{columns})", orders.join(", "))
    };
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&around).and_then(|mut parser| parser.parse_query());
    let Ok(mut around) = parsed else { return false };
    let Some(innermost) = innermost(&mut around) else { return false };
    std::mem::swap(innermost, query);
    *query = around;
    true
}

/// Takes the order off a query: the names of the columns that it is by, `v` for its own, and how. What is no column of it becomes one.
fn ordered_by(query: &mut Query) -> Option<Vec<(String, String)>> {
    let OrderByKind::Expressions(items) = &query.order_by.as_ref()?.kind else { return None };
    let own = match query.body.as_ref() {
        SetExpr::Select(select) => match select.projection.as_slice() {
            [SelectItem::UnnamedExpr(expr)] => Some((super::naming::name_of(expr), expr.clone())),
            [SelectItem::ExprWithAlias { expr, alias }] => Some((super::folded(alias), expr.clone())),
            _ => None,
        },
        _ => None,
    };
    let may_add = select_of(query).is_some_and(|select| select.distinct.is_none());
    let (mut orders, mut added) = (Vec::new(), Vec::new());
    for item in items {
        let is_own = match &item.expr {
            Expr::Value(value) => matches!(&value.value, Value::Number(number, _) if number == "1"),
            Expr::Identifier(ident) => own.as_ref().is_none_or(|(name, _)| *name == super::folded(ident)),
            other => own.as_ref().is_some_and(|(_, expr)| expr == other),
        };
        let mut options = String::new();
        if item.options.asc == Some(false) {
            options += " DESC";
        }
        match item.options.nulls_first {
            Some(true) => options += " NULLS FIRST",
            Some(false) => options += " NULLS LAST",
            None => {}
        }
        if is_own {
            orders.push(("v".to_owned(), options));
        } else if may_add {
            let name = format!("o{}", added.len());
            let alias = Ident::new(name.as_str());
            added.push(SelectItem::ExprWithAlias { expr: item.expr.clone(), alias });
            orders.push((name, options));
        } else {
            return None;
        }
    }
    query.order_by = None;
    if let Some(select) = select_of_mut(query) {
        select.projection.extend(added);
    }
    Some(orders)
}

/// The query in FROM that has no FROM itself.
fn innermost(query: &mut Query) -> Option<&mut Box<Query>> {
    let table = select_of_mut(query)?.from.first_mut()?;
    let TableFactor::Derived { subquery, .. } = &mut table.relation else { return None };
    let has_from = select_of(subquery).is_some_and(|select| !select.from.is_empty());
    if has_from { innermost(subquery) } else { Some(subquery) }
}

fn called_array(function: &Function) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident());
    name.is_some_and(|ident| ident.value.eq_ignore_ascii_case("array"))
}

/// In a SELECT from nothing no expression is ever computed, but beside aggregates: its subqueries need not be planned.
pub(super) fn fold_empty(select: &mut Select, scope: &Scope) {
    if !reads_nothing(&select.from, scope) || has_no_groups(select) && is_aggregate(select) {
        return;
    }
    let mut fold = Fold;
    for item in &mut select.projection {
        let _ = item.visit(&mut fold);
    }
    if let Some(selection) = &mut select.selection {
        let _ = selection.visit(&mut fold);
    }
}

struct Fold;

impl VisitorMut for Fold {
    type Break = ();
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Subquery(_) => *expr = null(),
            Expr::Exists { .. } => *expr = Expr::Value(Value::Boolean(false).into()),
            // Of a query that is NULL now.
            Expr::Function(function) if unnests_null(function) => *expr = null(),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn unnests_null(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    let is_unnest = function.name.to_string().eq_ignore_ascii_case("unnest");
    is_unnest
        && matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))]
            if matches!(argument, Expr::Value(value) if value.value == Value::Null))
}

fn select_of(query: &Query) -> Option<&Select> {
    match query.body.as_ref() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

fn select_of_mut(query: &mut Query) -> Option<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

fn has_no_groups(select: &Select) -> bool {
    matches!(&select.group_by, GroupByExpr::Expressions(exprs, modifiers) if exprs.is_empty() && modifiers.is_empty())
}

fn is_aggregate(select: &Select) -> bool {
    select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => aggregates(expr),
        _ => false,
    })
}

/// Whether an expression has an aggregate in it that is not in a query of its own.
fn aggregates(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { left, right, .. } => aggregates(left) || aggregates(right),
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } | Expr::Cast { expr: inner, .. } => aggregates(inner),
        Expr::Function(function) => {
            let FunctionArguments::List(list) = &function.args else { return false };
            let of_argument = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => aggregates(expr),
                _ => false,
            };
            called(expr).is_some_and(|name| AGGREGATES.contains(&name.as_str())) || list.args.iter().any(of_argument)
        }
        _ => false,
    }
}

/// Whether an expression of a SELECT makes rows.
fn makes_rows(select: &Select) -> bool {
    let rows = visit_expressions(&select.projection, |expr| match called(expr).as_deref() {
        Some("unnest") => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    rows.is_break()
}

/// Whether a query has no row whatever the catalog holds.
fn never_answers(query: &Query, scope: &Scope) -> bool {
    select_of(query).is_some_and(|s| has_no_groups(s) && !is_aggregate(s) && reads_nothing(&s.from, scope))
}

/// Whether one of the relations that must have a row has none.
fn reads_nothing(from: &[TableWithJoins], scope: &Scope) -> bool {
    from.iter().any(|table| {
        is_nothing(&table.relation, scope)
            || table.joins.iter().any(|join| {
                let inner = matches!(
                    join.join_operator,
                    JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(JoinConstraint::None)
                );
                inner && is_nothing(&join.relation, scope)
            })
    })
}

fn is_nothing(factor: &TableFactor, scope: &Scope) -> bool {
    let is_null_list = |expr: &Expr| column_name(expr).is_some_and(|name| NULL_LISTS.contains(&name.as_str()));
    match factor {
        TableFactor::Table { name, args: None, .. } => scope
            .system_relation(name)
            .is_some_and(|relation| relation.schema_name == "pg_catalog" && is_always_empty(relation.name)),
        TableFactor::Derived { subquery, .. } => never_answers(subquery, scope),
        TableFactor::UNNEST { array_exprs, .. } => array_exprs.iter().all(is_null_list),
        TableFactor::Table { name, args: Some(args), .. } => {
            let is_unnest =
                name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| i.value.eq_ignore_ascii_case("unnest"));
            is_unnest
                && args
                    .args
                    .iter()
                    .all(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if is_null_list(expr)))
        }
        _ => false,
    }
}

/// `(SELECT e FROM …)` → `(SELECT max(e) FROM …)`.
fn make_aggregate(query: &mut Query) {
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return;
    }
    let is_plain = select_of(query).is_some_and(|s| {
        has_no_groups(s) && !is_aggregate(s) && s.distinct.is_none() && s.projection.len() == 1 && !s.from.is_empty()
    });
    if !is_plain {
        return;
    }
    query.order_by = None;
    let Some(select) = select_of_mut(query) else { return };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            *expr = call("max", vec![take(expr)]);
        }
    }
}

/// `SELECT e FROM … ORDER BY 1` → `SELECT array_agg(e ORDER BY e) FROM …`.
fn collect(query: &mut Query) -> bool {
    let is_plain = query.limit_clause.is_none()
        && select_of(query).is_some_and(|s| {
            let is_one = has_no_groups(s) && !is_aggregate(s) && s.distinct.is_none() && s.projection.len() == 1;
            is_one && s.having.is_none() && !makes_rows(s)
        });
    if !is_plain {
        return false;
    }
    let order = query.order_by.take();
    let Some(select) = select_of_mut(query) else { return false };
    let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = select.projection.first_mut()
    else {
        return false;
    };
    let inner = take(expr);
    let mut aggregate = call("array_agg", vec![inner.clone()]);
    if let (Expr::Function(function), Some(order)) = (&mut aggregate, order)
        && let (FunctionArguments::List(list), OrderByKind::Expressions(mut items)) = (&mut function.args, order.kind)
    {
        for item in &mut items {
            if matches!(&item.expr, Expr::Value(v) if matches!(v.value, Value::Number(..))) {
                item.expr = inner.clone();
            }
        }
        list.clauses.push(datafusion::sql::sqlparser::ast::FunctionArgumentClause::OrderBy(items));
    }
    *expr = aggregate;
    true
}

/// `(SELECT c.collname FROM pg_collation c, pg_type t WHERE c.oid = X AND t.oid = Y AND X <> t.typcollation)`: the look-up of X and Y, in what is made of
/// the name.
fn collation_lookup(query: &Query, scope: &Scope) -> Option<Expr> {
    let select = select_of(query)?;
    let relations: Vec<&str> = select
        .from
        .iter()
        .filter(|table| table.joins.is_empty())
        .filter_map(|table| match &table.relation {
            TableFactor::Table { name, args: None, .. } => scope.system_relation(name).map(|r| r.name),
            _ => None,
        })
        .collect();
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] = select.projection.as_slice()
    else {
        return None;
    };
    if relations != ["pg_collation", "pg_type"] {
        return None;
    }
    let mut conditions = Vec::new();
    conjuncts(select.selection.as_ref()?, &mut conditions);
    let [
        Expr::BinaryOp { left: collation_oid, op: BinaryOperator::Eq, right: collation },
        Expr::BinaryOp { left: type_oid, op: BinaryOperator::Eq, right: pg_type },
        Expr::BinaryOp { left: same, op: BinaryOperator::NotEq, right: own },
    ] = conditions.as_slice()
    else {
        return None;
    };
    let is_shape = column_name(collation_oid).as_deref() == Some("oid")
        && column_name(type_oid).as_deref() == Some("oid")
        && column_name(own).as_deref() == Some("typcollation")
        && same == collation;
    if !is_shape {
        return None;
    }
    // What is asked is made of the name alone: `' collate ' || c.collname`.
    let mut asked = item.clone();
    let lookup = call("kanon_other_collation", vec![collation.as_ref().clone(), pg_type.as_ref().clone()]);
    let mut is_name = true;
    let _ = visit_expressions_mut(&mut asked, |expr| {
        if column_name(expr).as_deref() == Some("collname") {
            *expr = lookup.clone();
        }
        ControlFlow::<()>::Continue(())
    });
    let _ = visit_expressions(item, |expr| {
        let is_other = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_))
            && column_name(expr).as_deref() != Some("collname");
        is_name &= !is_other;
        ControlFlow::<()>::Continue(())
    });
    is_name.then_some(asked)
}

fn conjuncts<'e>(expr: &'e Expr, out: &mut Vec<&'e Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, out);
            conjuncts(right, out);
        }
        Expr::Nested(inner) => conjuncts(inner, out),
        other => out.push(other),
    }
}

/// Stands where a query was taken from.
fn empty_query() -> Box<Query> {
    Box::new(Query {
        with: None,
        body: Box::new(SetExpr::Values(datafusion::sql::sqlparser::ast::Values {
            explicit_row: false,
            value_keyword: false,
            rows: Vec::new(),
        })),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    })
}
