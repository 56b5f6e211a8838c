//! What the planner knows under another name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Fetch, LimitClause, Query, Value, VisitorMut};

use super::refuse;
use crate::error::{Error, Sqlstate};

/// `FETCH FIRST n ROWS ONLY` as LIMIT.
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
}
