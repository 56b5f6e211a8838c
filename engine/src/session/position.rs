//! Where in a statement the name stands that planning did not find, as PostgreSQL says it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, Ident, ObjectName, ObjectNamePart, Query, Spanned, TableFactor, Value,
    ValueWithSpan, Visit, Visitor,
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
        Sqlstate::AmbiguousColumn => What::Bare,
        Sqlstate::UndefinedColumn | Sqlstate::GroupingError => What::Column,
        Sqlstate::UndefinedFunction => match error.message.strip_prefix("operator does not exist: ") {
            Some(operator) => {
                let place = operator_place(query, operator, text);
                return match place {
                    Some(place) => error.at(place),
                    None => error,
                };
            }
            None => What::Function,
        },
        Sqlstate::UndefinedObject => What::Type,
        Sqlstate::InvalidTextRepresentation
        | Sqlstate::UntranslatableCharacter
        | Sqlstate::InvalidDatetime
        | Sqlstate::DatetimeOverflow => What::Literal,
        Sqlstate::NumericOutOfRange if error.message.contains('"') => What::Literal,
        _ => return error,
    };
    let name = match what {
        What::Literal => Some(literal(&error.message).unwrap_or_default()),
        _ => quoted(&error.message).map(|name| name.rsplit('.').next().unwrap_or(name)),
    };
    let Some(name) = name else { return error };
    let name = name.trim_end_matches("[]");
    let is_named = what != What::Literal || literal(&error.message).is_some();
    let mut find = Find { what, name, is_named, found: None, bare: None };
    let _ = query.visit(&mut find);
    match find.found.or(find.bare).and_then(|at| characters_before(text, at)) {
        Some(before) => error.at(before + 1),
        None => error,
    }
}

/// What stands in double quotes in a message, which may have some itself.
fn literal(message: &str) -> Option<&str> {
    let (from, to) = (message.find('"')? + 1, message.rfind('"')?);
    message.get(from..to)
}

/// Where an operator stands that there is not between these types: `text = integer`. Literals tell which one it is; of those that may be it, it is the first.
fn operator_place(query: &Query, operator: &str, text: &str) -> Option<usize> {
    struct Operators<'a> {
        words: Vec<&'a str>,
        places: Vec<(Location, Location, String)>,
    }
    impl Visitor for Operators<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let (left, op, right) = match expr {
                Expr::BinaryOp { left, op, right } => (left, op.to_string(), right.as_ref()),
                Expr::InList { expr, list, negated } => match list.first() {
                    Some(first) => (expr, if *negated { "<>".to_owned() } else { "=".to_owned() }, first),
                    None => return ControlFlow::Continue(()),
                },
                _ => return ControlFlow::Continue(()),
            };
            let at = self.words.iter().position(|word| *word == op || (*word == "!=" && op == "<>"));
            let Some((before, after)) = at.and_then(|at| Some((self.words.get(..at)?, self.words.get(at + 1..)?)))
            else {
                return ControlFlow::Continue(());
            };
            if may_be(left, &before.join(" ")) && may_be(right, &after.join(" ")) {
                self.places.push((left.span().end, right.span().start, op));
            }
            ControlFlow::Continue(())
        }
    }
    let mut operators = Operators { words: operator.split(' ').collect(), places: Vec::new() };
    let _ = query.visit(&mut operators);
    let (from, to, op) = operators.places.into_iter().next()?;
    let (from, to) = (characters_before(text, from)?, characters_before(text, to)?);
    let between: String = text.chars().skip(from).take(to.checked_sub(from)?).collect();
    let at = between.find(op.as_str()).or_else(|| between.find("!="));
    let at = at.or_else(|| between.to_ascii_lowercase().find("in"))?;
    Some(from + between.get(..at)?.chars().count() + 1)
}

/// Whether an operand may be of a type, as far as it is written out.
fn may_be(expr: &Expr, of_type: &str) -> bool {
    match expr {
        Expr::Nested(inner) => may_be(inner, of_type),
        Expr::Value(value) => match &value.value {
            Value::Number(..) => matches!(of_type, "integer" | "bigint" | "numeric"),
            Value::Boolean(_) => of_type == "boolean",
            Value::Placeholder(_) => true,
            _ => false,
        },
        _ => true,
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
    /// A column without its table.
    Bare,
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
    /// Whether the message says it.
    is_named: bool,
    found: Option<Location>,
    /// Where a string stands that is not cast in words.
    bare: Option<Location>,
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

    /// Where the string stands that an expression casts, if it is the one.
    fn cast_string(&mut self, expr: &Expr) -> Option<Location> {
        let of = |value: &ValueWithSpan| {
            let is_it = match &value.value {
                Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text == self.name,
                _ => false,
            };
            (is_it && value.span != Span::empty()).then_some(value.span.start)
        };
        match expr {
            Expr::Cast { expr: inner, .. } => match inner.as_ref() {
                Expr::Value(value) => of(value),
                _ => None,
            },
            Expr::TypedString(typed) => of(&typed.value),
            Expr::Interval(interval) => match interval.value.as_ref() {
                Expr::Value(value) => of(value),
                _ => None,
            },
            Expr::Value(value) => {
                self.bare = self.bare.or_else(|| of(value));
                None
            }
            _ => None,
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
            (What::Column | What::Bare, Expr::Identifier(ident)) => self.consider(Some(ident), Some(ident)),
            (What::Column, Expr::CompoundIdentifier(parts)) => self.consider(parts.first(), parts.last()),
            (What::Function, Expr::Function(function)) => self.object(&function.name),
            (What::Type, Expr::Cast { data_type, .. }) => self.data_type(data_type),
            (What::Literal, expr) => {
                self.found = if self.is_named { self.cast_string(expr) } else { unreadable(expr) };
                match self.found {
                    Some(_) => ControlFlow::Break(()),
                    None => ControlFlow::Continue(()),
                }
            }
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
        let none = "invalid input syntax for type date: \"x\"";
        assert_eq!(place("SELECT 'x', 'y'::date, 'x'::date", Sqlstate::InvalidDatetime, none), Some(24));
        assert_eq!(place("SELECT 1 FROM t WHERE d = 'x'", Sqlstate::InvalidDatetime, none), Some(27));
        let none = "operator does not exist: text = integer";
        assert_eq!(place("SELECT a = 'x', é = 1 FROM t", UndefinedFunction, none), Some(19));
        assert_eq!(
            place("SELECT a != 1 FROM t", UndefinedFunction, "operator does not exist: text != integer"),
            Some(10)
        );
        assert_eq!(place("SELECT nosuch", Sqlstate::DivisionByZero, "division by zero"), None);
    }
}
