//! What is ignored at a function, which depends on the functions there are.

use std::ops::ControlFlow;

use datafusion::execution::FunctionRegistry;
use datafusion::sql::sqlparser::ast::{DuplicateTreatment, Expr, FunctionArguments, Query, TableFactor, Visitor};

use super::{check_joins_by_name, refuse};
use crate::error::{Error, Sqlstate};

/// What depends on the functions there are, or on rewrites.
pub(super) struct CheckFunctions<'a> {
    pub(super) functions: &'a dyn FunctionRegistry,
}

impl Visitor for CheckFunctions<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        check_joins_by_name(&query.body)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        let ordinality = match factor {
            TableFactor::Table { with_ordinality, .. }
            | TableFactor::Function { with_ordinality, .. }
            | TableFactor::UNNEST { with_ordinality, .. } => *with_ordinality,
            _ => false,
        };
        refuse(&[(ordinality, "WITH ORDINALITY")])?;
        // The planner drops the schema of a function in FROM.
        let schema = match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => name.0.len() > 1,
            _ => false,
        };
        if schema {
            return ControlFlow::Break(Error::new(Sqlstate::UndefinedFunction, "function in FROM does not exist"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = match function.name.0.as_slice() {
            [part] => match part.as_ident() {
                Some(ident) if ident.quote_style.is_none() => ident.value.to_lowercase(),
                Some(ident) => ident.value.clone(),
                None => function.name.to_string(),
            },
            _ => function.name.to_string(),
        };
        // A scalar function comes before an aggregate of its name, as in the planner.
        let scalar = self.functions.udf(&name).is_ok() || matches!(name.as_str(), "unnest" | "unnest_outer");
        if !scalar {
            return ControlFlow::Continue(());
        }
        let (distinct, clauses) = match &function.args {
            FunctionArguments::List(list) => {
                (list.duplicate_treatment == Some(DuplicateTreatment::Distinct), !list.clauses.is_empty())
            }
            FunctionArguments::None | FunctionArguments::Subquery(_) => (false, false),
        };
        let what = [
            (distinct, "DISTINCT"),
            (clauses, "ORDER BY"),
            (function.filter.is_some(), "FILTER"),
            (function.over.is_some(), "OVER"),
            (!function.within_group.is_empty(), "WITHIN GROUP"),
            (function.null_treatment.is_some(), "IGNORE or RESPECT NULLS"),
        ];
        match what.iter().find(|(holds, _)| *holds) {
            Some((_, what)) => ControlFlow::Break(Error::unsupported(format!(
                "{what} specified, but {name} is not an aggregate function"
            ))),
            None => ControlFlow::Continue(()),
        }
    }
}
