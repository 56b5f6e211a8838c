//! From PostgreSQL's SQL about its catalog to SQL that DataFusion plans.
//!
//! One pass over the syntax tree. What concerns names and types (`pg_catalog.f(…)`, `::regclass`, `current_schema`) is done in
//! every statement; what changes shapes (subqueries, arrays) only where the catalog is read, so that a user's query stays as
//! it was written.

mod calls;
mod casts;
mod expressions;
mod from;
mod json;
mod json_rows;
mod literals;
mod naming;
mod order;
mod spellings;
mod subqueries;
mod using;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Query, Select, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::Viewer;
use super::defs::{Relation, relation};
use super::functions;
use super::types::PgType;
use crate::error::{Error, Result};

pub(crate) use calls::is_constant;
pub use json::unreadable;
pub(super) use literals::interval_text;
pub use naming::display_name;

/// Rewrites a query in place, and answers the names of its columns as PostgreSQL gives them, in order. The list is empty when
/// the query selects `*`: the plan's own names are right then, through [`display_name`]. `told` are the types that a client says its
/// parameters are of.
///
/// # Errors
/// 0A000 for collations other than the byte order.
pub fn rewrite(query: &mut Query, viewer: &Viewer, told: &[Option<PgType>]) -> Result<Vec<String>> {
    let names = naming::name_columns(query);
    json::cast_parameters(query, told);
    let mut scope = Scope::default();
    let _ = Visit::visit(query, &mut scope);
    scope.makes_json = json::makes_some(query);
    order::by_columns(query, &scope);
    let with_columns = json_rows::WithColumns::new();
    let mut rewriter = Rewriter { scope, viewer, with_columns, error: None, in_expression: 0 };
    let _ = VisitMut::visit(query, &mut rewriter);
    match rewriter.error {
        Some(error) => Err(error),
        None => Ok(names),
    }
}

/// What a statement reads of the system.
#[derive(Default)]
struct Scope {
    /// Names of WITH queries: they stand before relations of the same name.
    with: HashSet<String>,
    /// Names and aliases under which relations of the system are read.
    aliases: HashMap<String, &'static Relation>,
    /// Whether any is.
    reads_catalog: bool,
    /// Whether it has values of `json`, `jsonb` or `uuid`.
    makes_json: bool,
    /// Whether tables are joined by the names of their columns.
    joins_by_name: bool,
}

impl Visitor for Scope {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.joins_by_name |= using::joins_by_name(query);
        if let Some(with) = &query.with {
            self.with.extend(with.cte_tables.iter().map(|cte| folded(&cte.alias.name)));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && let Some(found) = self.system_relation(name)
        {
            self.reads_catalog = true;
            self.aliases.insert(found.name.to_owned(), found);
            if let Some(alias) = alias {
                self.aliases.insert(folded(&alias.name), found);
            }
        }
        ControlFlow::Continue(())
    }
}

impl Scope {
    /// The relation of the system that a name means.
    fn system_relation(&self, name: &ObjectName) -> Option<&'static Relation> {
        let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
        match parts.as_slice() {
            [name] if !self.with.contains(name) => relation("pg_catalog", name),
            [schema, name] | [_, schema, name] => {
                let schema = ["pg_catalog", "information_schema"].into_iter().find(|s| *s == schema.as_str())?;
                relation(schema, name)
            }
            _ => None,
        }
    }
}

struct Rewriter<'v> {
    scope: Scope,
    viewer: &'v Viewer,
    with_columns: json_rows::WithColumns,
    error: Option<Error>,
    /// How many expressions with a query of their own are around.
    in_expression: usize,
}

impl Rewriter<'_> {
    fn fail(&mut self, error: Error) -> ControlFlow<()> {
        self.error = Some(error);
        ControlFlow::Break(())
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self.scope.makes_json || self.scope.joins_by_name {
            json_rows::learn_with(query, &mut self.with_columns, self.viewer);
        }
        if self.scope.joins_by_name {
            using::qualify(query, &self.with_columns, self.viewer);
        }
        if self.scope.makes_json {
            json_rows::name_rows(query, &self.with_columns, self.viewer);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if has_query(expr) {
            self.in_expression += 1;
        }
        from::expand_field(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if has_query(expr) {
            self.in_expression -= 1;
        }
        if let Err(error) = casts::rewrite(expr, self.scope.reads_catalog) {
            return self.fail(error);
        }
        if let Err(error) = literals::rewrite(expr) {
            return self.fail(error);
        }
        expressions::rewrite(expr, &self.scope);
        if self.scope.makes_json
            && let Err(error) = json::rewrite(expr)
        {
            return self.fail(error);
        }
        if let Err(error) = calls::rewrite(expr) {
            return self.fail(error);
        }
        spellings::rewrite(expr);
        from::expand(expr);
        from::call_array(expr);
        if !self.scope.reads_catalog {
            subqueries::make_array(expr);
        }
        if self.scope.reads_catalog {
            subqueries::rewrite(expr, &self.scope);
            if let Err(error) = expressions::rewrite_in_catalog(expr) {
                return self.fail(error);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if self.in_expression == 0 {
            casts::show(select);
        }
        if self.scope.reads_catalog {
            calls::make_rows(select, |name| !name.starts_with("generate_"));
            subqueries::fold_empty(select, &self.scope);
        }
        calls::make_rows(select, |_| true);
        if !self.scope.reads_catalog {
            calls::keep_apart(select);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if self.scope.makes_json
            && let Err(error) = json_rows::rewrite_factor(factor)
        {
            return self.fail(error);
        }
        if let TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } = factor {
            strip_schema(name);
            for part in &mut name.0 {
                if let ObjectNamePart::Identifier(ident) = part {
                    ident.value = folded(ident);
                }
            }
        }
        spellings::unnest_beside(factor);
        from::rewrite_factor(factor);
        calls::rows_of(factor);
        calls::count_rows(factor);
        match factor {
            TableFactor::Table { name, args, .. } => {
                if args.is_some() {
                    strip_schema(name);
                } else if let Some(found) = self.scope.system_relation(name)
                    && name.0.len() == 1
                {
                    name.0.insert(0, ObjectNamePart::Identifier(Ident::new(found.schema_name)));
                }
            }
            TableFactor::Function { name, .. } => strip_schema(name),
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality: false, .. }
                if array_exprs.len() == 1 =>
            {
                literals::name_series("unnest", alias);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Which parameter an expression is, from 0.
pub(crate) fn parameter(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else { return None };
    let Value::Placeholder(name) = &value.value else { return None };
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// Whether an expression holds a query of its own, whose columns are values and not an answer's.
fn has_query(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => true,
        Expr::Function(function) => matches!(function.args, FunctionArguments::Subquery(_)),
        _ => false,
    }
}

fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// `pg_catalog.f` → `f`.
fn strip_schema(name: &mut ObjectName) {
    let first = name.0.first().and_then(ObjectNamePart::as_ident).map(folded);
    if name.0.len() == 2 && matches!(first.as_deref(), Some("pg_catalog" | "information_schema")) {
        name.0.remove(0);
    }
}

/// `name(arguments)`.
fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The name of a plain function call, without its schema.
fn called(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Function(function) => function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded),
        _ => None,
    }
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// Takes an expression out of its place.
fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, null())
}

/// A string's text.
fn string(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => string(inner),
        _ => None,
    }
}

/// Whether a name is a function about the catalog or the session.
fn is_catalog_function(name: &str) -> bool {
    functions::is_ours(name)
}
