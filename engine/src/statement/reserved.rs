//! Words that cannot be names. The library takes them for names where nothing else fits, and PostgreSQL does not.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectNamePart, Query, TableAlias, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use crate::pg_catalog::keywords::{Category, category};

/// Reserved words that are expressions of their own, and those of clauses that the library reads as names: they are refused by what they ask for.
const VALUES: [&str; 13] = [
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "localtime",
    "localtimestamp",
    "only",
    "session_user",
    "user",
];

/// Where the first of them stands that names a table or a column.
pub(super) fn misplaced(query: &Query) -> Option<Location> {
    let mut find = Find { first: None };
    let _ = Visit::visit(query, &mut find);
    find.first
}

struct Find {
    first: Option<Location>,
}

impl Find {
    fn name(&mut self, ident: &Ident) {
        let word = ident.value.to_lowercase();
        let is_name = ident.quote_style.is_some()
            || ident.span == Span::empty()
            || !matches!(category(&word), Some(Category::Reserved | Category::FunctionName));
        if !is_name {
            let at = ident.span.start;
            self.first = Some(self.first.map_or(at, |first| first.min(at)));
        }
    }

    fn column(&mut self, ident: &Ident) {
        if !VALUES.contains(&ident.value.to_lowercase().as_str()) {
            self.name(ident);
        }
    }

    fn alias(&mut self, alias: Option<&TableAlias>) {
        if let Some(alias) = alias {
            self.name(&alias.name);
        }
    }
}

impl Visitor for Find {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.name(&cte.alias.name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, alias, args, .. } => {
                if args.is_none()
                    && let Some(first) = name.0.first().and_then(ObjectNamePart::as_ident)
                {
                    // One of these is called in FROM.
                    if name.0.len() == 1 { self.column(first) } else { self.name(first) }
                }
                self.alias(alias.as_ref());
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => self.alias(alias.as_ref()),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.column(ident),
            Expr::CompoundIdentifier(parts) => {
                if let Some(first) = parts.first() {
                    self.name(first);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
