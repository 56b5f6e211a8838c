//! `EXISTS` and `IN (query)` where a value is wanted: in select lists, in CASE, in aggregates. DataFusion plans them in conditions alone.
//!
//! ```text
//! Projection: exists(q)            Projection: mark
//!   input                    ─►      LeftMark join: input, q
//! ```
//!
//! `x IN (q)` has three answers: true where q has x; else NULL where x is NULL and q has a row, or q has a NULL; else false.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Subquery, lit, when};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::growth::{Growth, rewritten};

/// Joins with a mark, for the queries in the expressions of projections and aggregates.
#[derive(Debug, Default)]
pub struct MarksForValues(DecorrelatePredicateSubquery);

impl OptimizerRule for MarksForValues {
    fn name(&self) -> &str {
        "marks_for_values"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        rewritten(plan, |node, growth| self.marked(node, config, growth))
    }
}

impl MarksForValues {
    fn marked(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
        growth: &mut Growth,
    ) -> Result<Transformed<LogicalPlan>> {
        let exprs = match &plan {
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => plan.expressions(),
            _ => return Ok(Transformed::no(plan)),
        };
        if !exprs.iter().any(|expr| expr.exists(|e| Ok(is_wanted(e))).unwrap_or(false)) {
            return Ok(Transformed::no(plan));
        }
        let Some(input) = plan.inputs().first().copied().cloned() else { return Ok(Transformed::no(plan)) };
        let names = NamePreserver::new(&plan);
        let mut marked = Marked { input, rule: &self.0, config, growth };
        let mut done = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let name = names.save(&expr);
            let expr = expr.transform_down(|expr| marked.one(expr))?;
            done.push(name.restore(expr.data));
        }
        plan.with_new_exprs(done, vec![marked.input]).map(Transformed::yes)
    }
}

fn is_wanted(expr: &Expr) -> bool {
    matches!(expr, Expr::Exists(_) | Expr::InSubquery(_))
}

/// A plan with the marks that were asked for so far.
struct Marked<'r> {
    input: LogicalPlan,
    rule: &'r DecorrelatePredicateSubquery,
    config: &'r dyn OptimizerConfig,
    growth: &'r mut Growth,
}

impl Marked<'_> {
    fn one(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::Exists(_) => match self.mark(expr.clone())? {
                Some(mark) => Transformed::yes(mark),
                None => Transformed::no(expr),
            },
            Expr::InSubquery(within) => match self.within(&within)? {
                Some(answer) => Transformed::yes(answer),
                None => Transformed::no(Expr::InSubquery(within)),
            },
            other => Transformed::no(other),
        })
    }

    fn within(&mut self, within: &InSubquery) -> Result<Option<Expr>> {
        // What is looked for may itself be an answer with three values.
        let expr = within.expr.as_ref().clone().transform_down(|expr| self.one(expr))?.data;
        if expr.exists(|expr| Ok(is_wanted(expr)))? {
            return Ok(None);
        }
        let within = &InSubquery { expr: Box::new(expr), ..within.clone() };
        let query = &within.subquery;
        let Some((qualifier, field)) = query.subquery.schema().iter().next() else { return Ok(None) };
        let value = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let Some(found) = self.mark(Expr::InSubquery(InSubquery { negated: false, ..within.clone() }))? else {
            return Ok(None);
        };
        let mut unknown: Option<Expr> = None;
        if !has_no_null(&query.subquery) {
            let nulls = LogicalPlanBuilder::from(query.subquery.as_ref().clone()).filter(value.is_null())?.build()?;
            let Some(has_null) = self.exists(query, nulls)? else { return Ok(None) };
            unknown = Some(has_null);
        }
        if !is_never_null(&within.expr) {
            let Some(has_row) = self.exists(query, query.subquery.as_ref().clone())? else { return Ok(None) };
            let of_null = within.expr.as_ref().clone().is_null().and(has_row);
            unknown = Some(unknown.into_iter().fold(of_null, |of_null, has_null| has_null.or(of_null)));
        }
        let mut answer = when(found, lit(true));
        if let Some(unknown) = unknown {
            answer = answer.when(unknown, lit(ScalarValue::Boolean(None)));
        }
        let answer = answer.otherwise(lit(false))?;
        Ok(Some(if within.negated { Expr::Not(Box::new(answer)) } else { answer }))
    }

    fn exists(&mut self, query: &Subquery, plan: LogicalPlan) -> Result<Option<Expr>> {
        let subquery = Subquery { subquery: plan.into(), ..query.clone() };
        self.mark(Expr::Exists(Exists { subquery, negated: false }))
    }

    /// What stands for a condition with a query in it; `None` if there is no such join.
    fn mark(&mut self, condition: Expr) -> Result<Option<Expr>> {
        if let Expr::Exists(Exists { subquery, .. }) | Expr::InSubquery(InSubquery { subquery, .. }) = &condition {
            self.growth.take(&subquery.subquery)?;
        }
        let tested = Filter::try_new(condition.is_not_null(), self.input.clone().into())?;
        let planned = self.rule.rewrite(LogicalPlan::Filter(tested), self.config)?.data;
        let LogicalPlan::Projection(projection) = planned else { return Ok(None) };
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return Ok(None) };
        let Expr::IsNotNull(mark) = &filter.predicate else { return Ok(None) };
        if mark.exists(|expr| Ok(is_wanted(expr)))? {
            return Ok(None);
        }
        self.input = filter.input.as_ref().clone();
        Ok(Some(mark.as_ref().clone()))
    }
}

/// Whether an expression is a value whatever it is of: answers of `IN (query)` among others.
fn is_never_null(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => !value.is_null(),
        Expr::Alias(alias) => is_never_null(&alias.expr),
        Expr::Not(inner) => is_never_null(inner),
        Expr::Exists(_) | Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) => true,
        Expr::Case(case) => {
            case.when_then_expr.iter().all(|(_, then)| is_never_null(then))
                && case.else_expr.as_deref().is_some_and(is_never_null)
        }
        _ => false,
    }
}

/// Whether the only column of a query is never NULL.
fn has_no_null(query: &LogicalPlan) -> bool {
    match query {
        LogicalPlan::Projection(projection) => projection.expr.first().is_some_and(is_never_null),
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            query.inputs().first().is_some_and(|input| has_no_null(input))
        }
        _ => false,
    }
}
