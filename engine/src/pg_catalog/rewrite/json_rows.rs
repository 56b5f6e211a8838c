//! `json` and `jsonb` in FROM: functions that answer rows, rows as values, and VALUES of these types.
//!
//! | statement | becomes |
//! | --- | --- |
//! | `FROM json_each(x) AS e` | `FROM (SELECT unnest(…) AS key, unnest(…) AS value) AS e` |
//! | `e ->> 'a'`, where e is `json_array_elements(x)` in FROM | `e.value ->> 'a'` |
//! | `row_to_json(p)`, of a table p | `row_to_json(kanon_row('a', p.a, 'b', p.b))` |
//! | `VALUES ('1'::jsonb), ('2')` | `VALUES ('1'::jsonb), ('2'::jsonb)` |

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectNamePart, Parens, Query, Select, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::json::{MISSING, TAKE_ROWS, arguments, cast, literal, maker, series};
use super::naming::display_name;
use super::{call, called, folded, take};
use crate::error::{Error, Result};
use crate::pg_catalog::Viewer;
use crate::pg_catalog::defs::relation;

/// The name of a function that is called in FROM, if it is one of these.
pub(super) fn called_rows(factor: &TableFactor) -> Option<String> {
    let TableFactor::Table { name, args: Some(_), .. } = factor else { return None };
    let name = name.0.last().and_then(ObjectNamePart::as_ident).map(folded)?;
    (name.contains("json")).then_some(name)
}

/// A function that answers rows, in FROM.
///
/// # Errors
/// 0A000 for one of columns of what is beside it.
pub(super) fn rewrite_factor(factor: &mut TableFactor) -> Result<()> {
    let Some(function) = called_rows(factor) else { return Ok(()) };
    let TableFactor::Table { alias, args: Some(args), with_ordinality, .. } = factor else { return Ok(()) };
    let is_each = matches!(function.as_str(), "json_each" | "jsonb_each" | "json_each_text" | "jsonb_each_text");
    if MISSING.contains(&function.as_str()) || *with_ordinality {
        return Err(Error::unsupported(format!("function {function} in FROM is not supported")));
    }
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = args.args.as_slice() else { return Ok(()) };
    if series(&function).is_none() && !is_each {
        return Ok(());
    }
    if names_columns(argument) {
        let message = format!("function {function} of a column in FROM is not supported");
        return Err(Error::unsupported(message).hint(match is_each {
            true => "Take the fields with ->.".to_owned(),
            false => format!("Call it in a select list: SELECT {function}(…) FROM …"),
        }));
    }
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new(function.as_str()),
        columns: Vec::new(),
        at: None,
    });
    let one = |list: &str, shown: &str| match shown {
        "" => format!("unnest({list}({argument}))"),
        shown => format!("{shown}(unnest({list}({argument})))"),
    };
    let items = match series(&function) {
        Some((list, shown)) => {
            let column = if function.ends_with("_keys") { alias.name.clone() } else { Ident::new("value") };
            format!("{} AS {column}", one(list, shown))
        }
        None => {
            let of = if function.starts_with("jsonb") { "jsonb" } else { "json" };
            let shown = if function.ends_with("_text") { String::new() } else { format!("kanon_as_{of}") };
            let keys = one(&format!("kanon_{of}_each_keys"), "");
            format!("{keys} AS key, {} AS value", one(&format!("kanon_{function}"), &shown))
        }
    };
    let query = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&format!("SELECT {items}"))
        .and_then(|mut parser| parser.parse_query())
        .map_err(Error::internal)?;
    *factor = TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias.clone()), sample: None };
    Ok(())
}

/// Whether an expression names a column outside of a query of its own.
pub(super) fn names_columns(expr: &Expr) -> bool {
    struct Find {
        depth: usize,
        found: bool,
    }
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.found |= self.depth == 0 && matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            ControlFlow::Continue(())
        }
    }
    let mut find = Find { depth: 0, found: false };
    let _ = expr.visit(&mut find);
    find.found
}

/// What stands in FROM under a name.
enum Source {
    /// Values of one column, which the name itself means.
    Values(Ident),
    /// Rows of these columns.
    Rows(Vec<String>),
}

/// Columns of the WITH queries around, by name.
pub(super) type WithColumns = HashMap<String, Option<Vec<String>>>;

/// Learns the columns of the WITH queries of a query.
pub(super) fn learn_with(query: &Query, with: &mut WithColumns, viewer: &Viewer) {
    for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
        let columns = aliased(Some(&cte.alias), columns_of(&cte.query, with, viewer));
        with.insert(folded(&cte.alias.name), columns);
    }
}

/// Puts columns in place of names of FROM that stand for a value or a row.
pub(super) fn name_rows(query: &mut Query, with: &WithColumns, viewer: &Viewer) {
    match query.body.as_mut() {
        SetExpr::Select(select) => {
            let sources = sources(select, with, viewer);
            if !sources.is_empty() {
                let _ = VisitMut::visit(query, &mut NameRows(&sources));
            }
        }
        body => name_rows_within(body, with, viewer),
    }
}

/// The same for what a query is put together of. One in parentheses is visited by itself.
fn name_rows_within(body: &mut SetExpr, with: &WithColumns, viewer: &Viewer) {
    match body {
        SetExpr::Select(select) => {
            let sources = sources(select, with, viewer);
            if !sources.is_empty() {
                let _ = VisitMut::visit(select, &mut NameRows(&sources));
            }
        }
        SetExpr::Values(values) => type_columns(&mut values.rows),
        SetExpr::SetOperation { left, right, .. } => {
            name_rows_within(left, with, viewer);
            name_rows_within(right, with, viewer);
        }
        _ => {}
    }
}

/// The names of FROM that stand for a value or a row.
fn sources(select: &Select, with: &WithColumns, viewer: &Viewer) -> HashMap<String, Source> {
    let mut sources: HashMap<String, Source> = HashMap::new();
    let mut columns: Vec<String> = Vec::new();
    for factor in factors(select) {
        let Some(name) = name_of_factor(factor) else { continue };
        if let Some(function) = called_rows(factor).filter(|function| series(function).is_some()) {
            let TableFactor::Table { alias, .. } = factor else { continue };
            let column = match alias.as_ref().and_then(|alias| alias.columns.first()) {
                Some(column) => column.name.clone(),
                None if function.ends_with("_keys") => Ident::with_quote('"', name.clone()),
                None => Ident::new("value"),
            };
            columns.push(folded(&column));
            sources.insert(name, Source::Values(column));
        } else if let Some(of_factor) = columns_of_factor(factor, with, viewer) {
            columns.extend(of_factor.iter().cloned());
            sources.insert(name, Source::Rows(of_factor));
        }
    }
    // A column stands before a table of its name.
    sources.retain(|name, _| !columns.contains(name));
    sources
}

/// `VALUES ('1'::jsonb), ('2')`: what is cast in one row is in all.
fn type_columns(rows: &mut [Parens<Vec<Expr>>]) {
    let type_of = |expr: &Expr| match expr {
        Expr::Cast { data_type, .. } => maker(data_type).map(|_| data_type.clone()),
        Expr::TypedString(typed) => maker(&typed.data_type).map(|_| typed.data_type.clone()),
        _ => None,
    };
    let count = rows.first().map_or(0, |row| row.content.len());
    for column in 0..count {
        let Some(data_type) = rows.iter().find_map(|row| row.content.get(column).and_then(type_of)) else { continue };
        for expr in rows.iter_mut().filter_map(|row| row.content.get_mut(column)) {
            if matches!(expr, Expr::Value(_)) {
                *expr = cast(take(expr), data_type.clone());
            }
        }
    }
}

struct NameRows<'s>(&'s HashMap<String, Source>);

impl VisitorMut for NameRows<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some(Source::Values(column)) = self.0.get(&folded(ident))
        {
            *expr = Expr::CompoundIdentifier(vec![ident.clone(), column.clone()]);
        }
        if called(expr).is_some_and(|name| TAKE_ROWS.contains(&name.as_str())) {
            for argument in arguments(expr) {
                if let Expr::Identifier(ident) = argument
                    && let Some(Source::Rows(columns)) = self.0.get(&folded(ident))
                {
                    let field = |column: &String| {
                        let of = Ident::with_quote('"', column.clone());
                        [literal(display_name(column)), Expr::CompoundIdentifier(vec![ident.clone(), of])]
                    };
                    *argument = call("kanon_row", columns.iter().flat_map(field).collect());
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn factors(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select
        .from
        .iter()
        .flat_map(|table| std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)))
}

fn alias_of(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

pub(super) fn name_of_factor(factor: &TableFactor) -> Option<String> {
    match (alias_of(factor), factor) {
        (Some(alias), _) => Some(folded(&alias.name)),
        (None, TableFactor::Table { name, .. }) => name.0.last().and_then(ObjectNamePart::as_ident).map(folded),
        _ => None,
    }
}

/// The columns of a query; `None` if they cannot be told.
fn columns_of(query: &Query, with: &WithColumns, viewer: &Viewer) -> Option<Vec<String>> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => return columns_of_select(select, with, viewer),
            SetExpr::Query(query) => return columns_of(query, with, viewer),
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Values(values) => {
                let count = values.rows.first().map(|row| row.content.len())?;
                return Some((1..=count).map(|at| format!("column{at}")).collect());
            }
            _ => return None,
        }
    }
}

fn columns_of_select(select: &Select, with: &WithColumns, viewer: &Viewer) -> Option<Vec<String>> {
    let mut columns = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => columns.push(super::naming::name_of(expr)),
            SelectItem::ExprWithAlias { alias, .. } => columns.push(folded(alias)),
            SelectItem::Wildcard(_) => {
                for factor in factors(select) {
                    columns.extend(columns_of_factor(factor, with, viewer)?);
                }
            }
            _ => return None,
        }
    }
    Some(columns)
}

/// The columns of a table of FROM; `None` if they cannot be told.
pub(super) fn columns_of_factor(factor: &TableFactor, with: &WithColumns, viewer: &Viewer) -> Option<Vec<String>> {
    let columns = match factor {
        TableFactor::Table { name, args: None, .. } => {
            let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
            match parts.as_slice() {
                [name] if with.contains_key(name) => with.get(name).cloned().flatten(),
                [name] => temporary(viewer, name)
                    .or_else(|| table(viewer, "public", name))
                    .or_else(|| table(viewer, "federation", name))
                    .or_else(|| table(viewer, "pg_catalog", name)),
                [.., schema, name] => table(viewer, schema, name),
                _ => None,
            }
        }
        TableFactor::Derived { subquery, .. } => columns_of(subquery, with, viewer),
        _ => None,
    };
    aliased(alias_of(factor), columns)
}

fn temporary(viewer: &Viewer, name: &str) -> Option<Vec<String>> {
    let found = viewer.visible.iter().find(|table| table.is_temporary() && table.name == name)?;
    Some(names_of(&found.schema))
}

fn table(viewer: &Viewer, schema_name: &str, name: &str) -> Option<Vec<String>> {
    match viewer.visible.iter().find(|table| table.schema_name == schema_name && table.name == name) {
        Some(found) => Some(names_of(&found.schema)),
        None => {
            let schema_name = ["pg_catalog", "information_schema"].into_iter().find(|known| *known == schema_name)?;
            relation(schema_name, name).map(|found| names_of(&found.schema))
        }
    }
}

fn names_of(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// Columns under the names that an alias gives them.
fn aliased(alias: Option<&TableAlias>, columns: Option<Vec<String>>) -> Option<Vec<String>> {
    let mut columns = columns?;
    let names = alias.into_iter().flat_map(|alias| &alias.columns);
    for (column, TableAliasColumnDef { name, .. }) in columns.iter_mut().zip(names) {
        *column = folded(name);
    }
    Some(columns)
}
