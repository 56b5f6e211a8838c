//! Columns named as PostgreSQL names them: `count(*)` is `count`, `a + b` is `?column?`, a cast keeps its column's name.
//!
//! DataFusion refuses two columns of one name, so what repeats gets an alias with a hidden number ([`display_name`] takes it
//! off). A statement's own columns keep their expressions, and get their names when the answer is described; columns of
//! subqueries are aliased, so that `SELECT count FROM (SELECT count(*) FROM t) s` finds them.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, FunctionArguments, Ident, ObjectName, OrderByKind, Query, Select,
    SelectItem, SetExpr, TableFactor, TrimWhereField, Value, VisitMut, VisitorMut, visit_expressions,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::pg_catalog::types::PgType;

/// Stands between a name and the number that keeps it apart from others. No statement can contain it.
const MARK: char = '\u{1}';
const NO_NAME: &str = "?column?";

/// A column's name without what keeps it apart from others of the same name.
pub fn display_name(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(name, _)| name)
}

/// A name with what keeps it apart from others: a number of its own.
pub(super) fn hidden_name(name: &str, number: usize) -> String {
    format!("{name}{MARK}{number}")
}

/// Names the columns of a query and of its subqueries. Answers the names of its own, in order, or none if it selects `*`:
/// then the plan's own are to be shown, through [`display_name`].
pub(super) fn name_columns(query: &mut Query) -> Vec<String> {
    let names = top_names(query);
    let mut visitor = Subqueries { depth: 0, top_has_names: names.is_some() };
    let _ = query.visit(&mut visitor);
    names.unwrap_or_default()
}

/// The names of a query's own columns; `None` if they cannot be told without the tables.
fn top_names(query: &Query) -> Option<Vec<String>> {
    first_select(&query.body)?.projection.iter().map(item_name).collect()
}

fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

/// Aliases what must have one.
struct Subqueries {
    depth: usize,
    top_has_names: bool,
}

impl VisitorMut for Subqueries {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let place = match (self.depth, self.top_has_names) {
            (0, true) => Place::Named,
            (0, false) => Place::Shown,
            _ => Place::Within,
        };
        let ordered = Ordered::by(query);
        alias_all(&mut query.body, place, &ordered);
        if place == Place::Within {
            order_apart(query, &ordered);
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// Names in ORDER BY.
#[derive(Default)]
struct Ordered {
    /// They mean an output column, if there is one of that name.
    bare: HashSet<String>,
    /// Behind that of a table, or in an expression: they mean its column.
    of_tables: HashSet<String>,
}

impl Ordered {
    fn by(query: &Query) -> Ordered {
        let mut names = Ordered::default();
        let Some(OrderByKind::Expressions(items)) = query.order_by.as_ref().map(|order| &order.kind) else {
            return names;
        };
        for item in items {
            if let Expr::Identifier(ident) = &item.expr {
                names.bare.insert(folded(ident));
                continue;
            }
            let _ = visit_expressions(&item.expr, |expr| {
                match expr {
                    Expr::CompoundIdentifier(parts) => names.of_tables.extend(parts.last().map(folded)),
                    Expr::Identifier(ident) => names.of_tables.extend([folded(ident)]),
                    _ => {}
                }
                ControlFlow::<()>::Continue(())
            });
        }
        names
    }

    /// Whether an output column's name must not be seen by ORDER BY.
    fn hides(&self, name: &str) -> bool {
        self.of_tables.contains(name) && !self.bare.contains(name)
    }
}

/// Where a query stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the statement, and its columns are named when the answer is described.
    Named,
    /// It is the statement, and its columns are shown through [`display_name`]: it selects `*`.
    Shown,
    /// It is in another one, which finds its columns by their names.
    Within,
}

fn alias_all(body: &mut SetExpr, place: Place, ordered: &Ordered) {
    match body {
        SetExpr::Select(select) => alias_select(select, place, ordered),
        SetExpr::SetOperation { left, right, .. } => {
            alias_all(left, place, ordered);
            alias_all(right, place, ordered);
            if let Some(select) = first_select(left) {
                let names: Vec<Option<String>> = select.projection.iter().map(item_name).collect();
                hide_columns(right, &names);
            }
        }
        // A query in parentheses is visited by itself.
        _ => {}
    }
}

/// The name of an item; `None` for `*`.
fn item_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    }
}

/// Columns of what is put below a query that has their names at other places: DataFusion gives some of the others these names, and nobody sees those here.
fn hide_columns(body: &mut SetExpr, names: &[Option<String>]) {
    match body {
        SetExpr::Select(select) => {
            for (place, item) in select.projection.iter_mut().enumerate() {
                let SelectItem::UnnamedExpr(expr) = item else { continue };
                let name = name_of(expr);
                let is_elsewhere = names.iter().enumerate().any(|(at, of)| at != place && of.as_ref() == Some(&name));
                if is_elsewhere && matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
                    let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                    let alias = Ident::with_quote('"', hidden_name(&name, place));
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
        }
        SetExpr::Query(query) => hide_columns(&mut query.body, names),
        SetExpr::SetOperation { left, right, .. } => {
            hide_columns(left, names);
            hide_columns(right, names);
        }
        _ => {}
    }
}

fn alias_select(select: &mut Select, place: Place, ordered: &Ordered) {
    let is_top = place == Place::Named;
    let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    // Beside `*` any name may be there already.
    let beside_star = place == Place::Shown && select.projection.iter().any(is_star);
    let mut taken: HashSet<String> = HashSet::new();
    let mut columns: HashSet<String> = HashSet::new();
    for item in &mut select.projection {
        let number = taken.len() + columns.len();
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = name_of(expr);
                // ORDER BY finds a column in its table as well.
                let is_column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                let beside_star = beside_star && (is_column || !ordered.bare.contains(&name));
                let wanted = match expr {
                    _ if beside_star => true,
                    Expr::Identifier(_) => taken.contains(&name) || !columns.insert(name.clone()),
                    Expr::CompoundIdentifier(_) => taken.contains(&name) || !columns.insert(expr.to_string()),
                    // Left as it is where the answer is named afterwards, unless ORDER BY means it or it repeats. What is cast has the name
                    // of what it was before, which may be there too.
                    _ if is_top => {
                        ordered.bare.contains(&name) || is_respelled(expr) || !columns.insert(expr.to_string())
                    }
                    _ => true,
                };
                if wanted {
                    let hidden = beside_star || is_top && is_respelled(expr) && !ordered.bare.contains(&name);
                    let unique = match hidden {
                        true => format!("{name}{MARK}{number}"),
                        false => free_name(&name, &taken, &columns, number),
                    };
                    taken.insert(unique.clone());
                    let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                    *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', unique) };
                }
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = folded(alias);
                let hidden = beside_star && !ordered.bare.contains(&name);
                let unique = match hidden || is_top && ordered.hides(&name) {
                    true => format!("{name}{MARK}{number}"),
                    false => free_name(&name, &taken, &columns, number),
                };
                if unique != name {
                    *alias = Ident { value: unique.clone(), quote_style: Some('"'), span: alias.span };
                }
                taken.insert(unique);
            }
            _ => {}
        }
    }
}

/// `SELECT upper(t.code) AS code FROM t ORDER BY t.code` in another query → `SELECT "code\u{1}0" AS code FROM (…)`, in which no output column
/// has the name of one that the order is by.
fn order_apart(query: &mut Query, ordered: &Ordered) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let names: Option<Vec<String>> = select.projection.iter().map(item_name).collect();
    let Some(names) = names else { return };
    let clashes =
        |(item, name): (&SelectItem, &String)| matches!(item, SelectItem::ExprWithAlias { .. }) && ordered.hides(name);
    if !select.projection.iter().zip(&names).any(clashes) {
        return;
    }
    let around = "SELECT 1 FROM (SELECT 1) AS kanon_ordered";
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(around).and_then(|mut parser| parser.parse_query());
    let Ok(mut around) = parsed else { return };
    let mut outer = Vec::with_capacity(names.len());
    for (place, (item, name)) in select.projection.iter_mut().zip(&names).enumerate() {
        let inner = Ident::with_quote('"', hidden_name(display_name(name), place));
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *item = SelectItem::ExprWithAlias { expr, alias: inner.clone() };
        let alias = Ident::with_quote('"', name.as_str());
        outer.push(SelectItem::ExprWithAlias { expr: Expr::Identifier(inner), alias });
    }
    let SetExpr::Select(select) = around.body.as_mut() else { return };
    select.projection = outer;
    let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|table| &mut table.relation) else {
        return;
    };
    std::mem::swap(subquery.as_mut(), query);
    *query = *around;
}

/// Functions that are planned under the name of another one.
const RESPELLED: [&str; 4] = ["every", "starts_with", "array", "variance"];

/// Whether an expression may be planned as another one is that stands beside it: a type is said in it, or a query, or a function of two names.
fn is_respelled(expr: &Expr) -> bool {
    let mut found = false;
    let _ = visit_expressions(expr, |expr| {
        found |= match expr {
            Expr::Cast { .. } | Expr::TypedString(_) | Expr::Trim { .. } | Expr::Subquery(_) | Expr::Exists { .. } => {
                true
            }
            Expr::BinaryOp { op, .. } => *op == BinaryOperator::PGStartsWith,
            Expr::Function(function) => RESPELLED.contains(&last(&function.name).as_str()),
            _ => false,
        };
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

fn free_name(name: &str, taken: &HashSet<String>, columns: &HashSet<String>, number: usize) -> String {
    let ends_alike = |column: &String| column == name || column.rsplit('.').next() == Some(name);
    if taken.contains(name) || columns.iter().any(ends_alike) {
        format!("{name}{MARK}{number}")
    } else {
        name.to_owned()
    }
}

fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn last(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map_or_else(|| NO_NAME.to_owned(), folded)
}

/// The name that PostgreSQL gives an expression.
pub(super) fn name_of(expr: &Expr) -> String {
    figure(expr).map_or_else(|| NO_NAME.to_owned(), |(name, _)| name)
}

/// A name and whether it is one of its own (a column's, a function's), which a cast around it keeps.
fn figure(expr: &Expr) -> Option<(String, bool)> {
    let own = |name: &str| Some((name.to_owned(), true));
    match expr {
        Expr::Identifier(ident) => Some((folded(ident), true)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| (folded(ident), true)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => Some((folded(ident), true)),
                _ => None,
            });
            field.or_else(|| figure(root))
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some((name, true)) => Some((name, true)),
            _ => Some((type_name(data_type), false)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), false)),
        Expr::Interval(_) => Some(("interval".to_owned(), false)),
        Expr::Function(function) => {
            if matches!(function.args, FunctionArguments::Subquery(_)) {
                return own("array");
            }
            Some((last(&function.name), true))
        }
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".to_owned(), false)),
        },
        Expr::Subquery(query) => {
            let select = first_select(&query.body)?;
            match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => figure(expr),
                SelectItem::ExprWithAlias { alias, .. } => Some((folded(alias), true)),
                _ => None,
            }
        }
        Expr::Exists { .. } => own("exists"),
        Expr::Array(_) => own("array"),
        Expr::Tuple(_) => own("row"),
        Expr::Extract { .. } => own("extract"),
        Expr::Ceil { .. } => own("ceil"),
        Expr::Floor { .. } => own("floor"),
        Expr::Position { .. } => own("position"),
        Expr::Substring { shorthand, .. } => own(if *shorthand { "substr" } else { "substring" }),
        Expr::Overlay { .. } => own("overlay"),
        Expr::AtTimeZone { .. } => own("timezone"),
        Expr::Trim { trim_where, .. } => own(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Value(value) => match &value.value {
            Value::Placeholder(_) => None,
            _ => None,
        },
        _ => None,
    }
}

fn type_name(data_type: &DataType) -> String {
    if let DataType::Custom(name, _) = data_type {
        return last(name);
    }
    let text = data_type.to_string();
    let element = text.trim_end_matches("[]");
    PgType::by_sql_name(element).map_or_else(|| element.to_lowercase(), |t| t.name.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;

    use super::*;

    fn named(sql: &str) -> (Vec<String>, String) {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        let Some(Statement::Query(mut query)) = statements.pop() else { panic!("no query") };
        let names = name_columns(&mut query);
        (names, query.to_string())
    }

    #[test]
    fn names_are_those_that_postgresql_gives() {
        // Each with the name PostgreSQL 15 gave it.
        for (expr, name) in [
            ("true", "?column?"),
            ("1::int", "int4"),
            ("'x'::text", "text"),
            ("current_user", "current_user"),
            ("extract(year from now())", "extract"),
            ("substring('a' from 1)", "substring"),
            ("trim('a')", "btrim"),
            ("date '2020-01-01'", "date"),
            ("interval '1 day'", "interval"),
            ("case when true then 1 end", "case"),
            ("case when true then 1 else age end", "age"),
            ("coalesce(1,2)", "coalesce"),
            ("array[1]", "array"),
            ("exists(select 1)", "exists"),
            ("array(select 1)", "array"),
            ("(select 1)", "?column?"),
            ("(select 1 as q)", "q"),
            ("(array[1,2])[1]", "array"),
            ("tags[1]", "tags"),
            ("age is null", "?column?"),
            ("-age", "?column?"),
            ("not true", "?column?"),
            ("now() at time zone 'utc'", "timezone"),
            ("position('a' in 'b')", "position"),
            ("age::text", "age"),
            ("age::numeric(10,2)::text", "age"),
            ("count(*) over ()", "count"),
            ("null", "?column?"),
            ("floor(1.5)", "floor"),
            ("patients.age", "age"),
            ("cast(lower(sex) as varchar)", "lower"),
            ("(age)", "age"),
            ("1::double precision", "float8"),
            ("'now'::timestamp with time zone", "timestamptz"),
            ("'{1}'::int[]", "int4"),
            ("cast(1 as bigint)", "int8"),
            ("cast(1 as boolean)", "bool"),
            ("cast(1 as char(3))", "bpchar"),
            ("age || 'x'", "?column?"),
            ("trim(leading 'x' from 'y')", "ltrim"),
            ("to_regclass('x')::oid", "to_regclass"),
        ] {
            assert_eq!(named(&format!("SELECT {expr} FROM patients")).0, [name], "{expr}");
        }
    }

    #[test]
    fn what_repeats_is_kept_apart_and_shown_alike() {
        let (names, sql) = named("SELECT count(*), count(*), age, age FROM t");
        assert_eq!(names, ["count", "count", "age", "age"]);
        assert_eq!(sql.matches(MARK).count(), 1, "{sql}");
        assert_eq!(display_name("age\u{1}3"), "age");
    }

    #[test]
    fn expressions_stay_bare_unless_order_by_means_them() {
        assert_eq!(
            named("SELECT sex, count(*) FROM t GROUP BY sex ORDER BY 2").1,
            "SELECT sex, count(*) FROM t GROUP BY sex ORDER BY 2"
        );
        assert!(named("SELECT sex, count(*) FROM t GROUP BY sex ORDER BY count").1.contains("count(*) AS \"count\""));
        assert!(named("SELECT n FROM (SELECT max(age) FROM t) s").1.contains("max(age) AS \"max\""));
        assert!(named("SELECT *, age + 1 FROM t").1.contains("age + 1 AS \"?column?\u{1}0\""));
    }
}
