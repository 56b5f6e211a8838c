//! Where in a statement the name stands that planning did not find, as PostgreSQL says it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, Ident, ObjectName, ObjectNamePart, Query, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use crate::error::{Error, Sqlstate};
use crate::pg_catalog::unreadable;
use crate::statement::Statement;

/// The same error, with the place of the name that it is about, if that can be told.
pub fn locate(error: Error, statement: &Statement, text: &str) -> Error {
    if error.position.is_some() {
        return error;
    }
    let Some(query) = query_of(statement) else { return error };
    let what = match error.state {
        Sqlstate::UndefinedTable => What::Relation,
        Sqlstate::UndefinedColumn | Sqlstate::AmbiguousColumn | Sqlstate::GroupingError => What::Column,
        Sqlstate::UndefinedFunction => What::Function,
        Sqlstate::UndefinedObject => What::Type,
        Sqlstate::InvalidTextRepresentation | Sqlstate::UntranslatableCharacter => What::Literal,
        _ => return error,
    };
    let name = if what == What::Literal { Some("") } else { quoted(&error.message) };
    let Some(name) = name else { return error };
    let name = name.trim_end_matches("[]");
    let mut find = Find { what, name: name.rsplit('.').next().unwrap_or(name), found: None };
    let _ = query.visit(&mut find);
    match find.found.and_then(|at| characters_before(text, at)) {
        Some(before) => error.at(before + 1),
        None => error,
    }
}

fn query_of(statement: &Statement) -> Option<&Query> {
    match statement {
        Statement::Query(query) => Some(query),
        Statement::Copy(copy) => Some(&copy.query),
        Statement::Declare(declare) => Some(&declare.query),
        Statement::Explain(explain) => Some(&explain.query),
        Statement::Temporary(temporary) => temporary.query(),
        _ => None,
    }
}

/// The first name in double quotes of a message; or, of a function, what stands before its parenthesis.
fn quoted(message: &str) -> Option<&str> {
    if let Some(rest) = message.strip_prefix("function ") {
        return rest.split(['(', ' ']).next();
    }
    if let Some(name) = message.strip_prefix("column ").and_then(|rest| rest.split(' ').next())
        && name.contains('.')
        && !name.starts_with('"')
    {
        return Some(name);
    }
    let mut parts = message.split('"');
    parts.next()?;
    parts.next()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Relation,
    Column,
    Function,
    /// Of a cast.
    Type,
    /// A string that is cast and cannot be read.
    Literal,
}

struct Find<'a> {
    what: What,
    /// The last part of the name.
    name: &'a str,
    found: Option<Location>,
}

impl Find<'_> {
    /// Takes the first part's place if the last part is the name.
    fn consider(&mut self, first: Option<&Ident>, last: Option<&Ident>) -> ControlFlow<()> {
        let (Some(first), Some(last)) = (first, last) else { return ControlFlow::Continue(()) };
        let same = match last.quote_style {
            Some(_) => last.value == self.name,
            None => last.value.to_lowercase() == self.name,
        };
        if !same || first.span == Span::empty() {
            return ControlFlow::Continue(());
        }
        self.found = Some(first.span.start);
        ControlFlow::Break(())
    }

    fn data_type(&mut self, data_type: &DataType) -> ControlFlow<()> {
        match data_type {
            DataType::Custom(name, _) => self.object(name),
            DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) => self.data_type(item),
            _ => ControlFlow::Continue(()),
        }
    }

    fn object(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let ident = |part: Option<&ObjectNamePart>| part.and_then(ObjectNamePart::as_ident).cloned();
        self.consider(ident(name.0.first()).as_ref(), ident(name.0.last()).as_ref())
    }
}

impl Visitor for Find<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        match self.what {
            What::Relation => self.object(relation),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match (self.what, factor) {
            (What::Function, TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. }) => {
                self.object(name)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match (self.what, expr) {
            (What::Column, Expr::Identifier(ident)) => self.consider(Some(ident), Some(ident)),
            (What::Column, Expr::CompoundIdentifier(parts)) => self.consider(parts.first(), parts.last()),
            (What::Function, Expr::Function(function)) => self.object(&function.name),
            (What::Type, Expr::Cast { data_type, .. }) => self.data_type(data_type),
            (What::Literal, expr) => match unreadable(expr) {
                Some(at) => {
                    self.found = Some(at);
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}

/// How many characters stand before a place, given by its line and its column in characters, both from 1.
fn characters_before(text: &str, at: Location) -> Option<usize> {
    let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
    let before: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    Some(before + column)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn place(text: &str, state: Sqlstate, message: &str) -> Option<usize> {
        locate(Error::new(state, message), &crate::statement::parse(text).unwrap(), text).position
    }

    #[test]
    fn names_are_found_where_they_stand() {
        use Sqlstate::{UndefinedColumn, UndefinedFunction, UndefinedTable};
        let none = "relation \"nosuch\" does not exist";
        assert_eq!(place("SELECT *\n  FROM nosuch", UndefinedTable, none), Some(17));
        assert_eq!(place("SELECT 'é', nosuch FROM public.NoSuch", UndefinedTable, none), Some(25));
        assert_eq!(place("SELECT (SELECT 1 FROM \"nosuch\")", UndefinedTable, none), Some(23));
        assert_eq!(place("SELECT 1 FROM \"NOSUCH\"", UndefinedTable, none), None);
        let none = "column t.nosuch does not exist";
        assert_eq!(place("SELECT 1 FROM nosuch t WHERE t.nosuch = 1", UndefinedColumn, none), Some(30));
        let none = "function nosuch(bigint) does not exist";
        assert_eq!(place("SELECT nosuch, nosuch(1)", UndefinedFunction, none), Some(16));
        let none = "function nosuch does not exist";
        assert_eq!(place("SELECT 1 FROM nosuch(1)", UndefinedFunction, none), Some(15));
        let none = "type \"no.such[]\" does not exist";
        assert_eq!(place("SELECT 1::int4, '{}'::no.such[]", Sqlstate::UndefinedObject, none), Some(23));
        let none = "invalid input syntax for type json";
        assert_eq!(place("SELECT '1'::json, '{'::jsonb", Sqlstate::InvalidTextRepresentation, none), Some(19));
        assert_eq!(place("SELECT '1'::json", Sqlstate::InvalidTextRepresentation, none), None);
        assert_eq!(place("SELECT nosuch", Sqlstate::DivisionByZero, "division by zero"), None);
    }
}
