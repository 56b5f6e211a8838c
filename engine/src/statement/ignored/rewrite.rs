//! What the planner knows under another name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, CharacterLength, DataType, Expr, Fetch, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, LimitClause, ObjectName, Query, Value, VisitorMut,
};

use super::super::reader::quoted;
use super::{refuse, unsupported};
use crate::error::{Error, Sqlstate};

/// `FETCH FIRST n ROWS ONLY` as LIMIT; casts to `varchar(n)` cut, as the planner forgets the length.
pub(super) struct Rewrite;

impl VisitorMut for Rewrite {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let Some(Fetch { with_ties, percent, quantity }) = query.fetch.take() else { return ControlFlow::Continue(()) };
        refuse(&[(with_ties, "FETCH … WITH TIES"), (percent, "FETCH … PERCENT")])?;
        let one = || Expr::value(Value::Number("1".to_owned(), false));
        let rows = quantity.unwrap_or_else(one);
        let offset = match query.limit_clause.take() {
            None => None,
            Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) if limit_by.is_empty() => offset,
            Some(_) => {
                let text = "multiple LIMIT clauses not allowed";
                return ControlFlow::Break(Error::new(Sqlstate::SyntaxError, text));
            }
        };
        query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(rows), offset, limit_by: Vec::new() });
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Cast { data_type, expr: inner, .. } = expr else { return ControlFlow::Continue(()) };
        let length = match data_type {
            DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
                length.take()
            }
            _ => return ControlFlow::Continue(()),
        };
        *data_type = DataType::Varchar(None);
        let Some(length) = length else { return ControlFlow::Continue(()) };
        let CharacterLength::IntegerLength { length, .. } = length else { return unsupported("varchar(max)") };
        let text = Expr::Cast {
            kind: CastKind::Cast,
            expr: std::mem::replace(inner, Box::new(Expr::value(Value::Null))),
            data_type: DataType::Varchar(None),
            array: false,
            format: None,
        };
        *expr = call("left", vec![text, Expr::value(Value::Number(length.to_string(), false))]);
        ControlFlow::Continue(())
    }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![quoted(name)]),
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
