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
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Joins with a mark, for the queries in the expressions of projections and aggregates.
#[derive(Debug, Default)]
pub struct MarksForValues(DecorrelatePredicateSubquery);

impl OptimizerRule for MarksForValues {
    fn name(&self) -> &str {
        "marks_for_values"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let exprs = match &plan {
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => plan.expressions(),
            _ => return Ok(Transformed::no(plan)),
        };
        if !exprs.iter().any(|expr| expr.exists(|e| Ok(is_wanted(e))).unwrap_or(false)) {
            return Ok(Transformed::no(plan));
        }
        let Some(input) = plan.inputs().first().copied().cloned() else { return Ok(Transformed::no(plan)) };
        let names = NamePreserver::new(&plan);
        let mut marked = Marked { input, rule: &self.0, config };
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
        let query = &within.subquery;
        let Some((qualifier, field)) = query.subquery.schema().iter().next() else { return Ok(None) };
        let value = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let nulls = LogicalPlanBuilder::from(query.subquery.as_ref().clone()).filter(value.is_null())?.build()?;
        let found = self.mark(Expr::InSubquery(InSubquery { negated: false, ..within.clone() }))?;
        let has_null = self.exists(query, nulls)?;
        let has_row = self.exists(query, query.subquery.as_ref().clone())?;
        let (Some(found), Some(has_null), Some(has_row)) = (found, has_null, has_row) else { return Ok(None) };
        let unknown = has_null.or(within.expr.as_ref().clone().is_null().and(has_row));
        let answer = when(found, lit(true)).when(unknown, lit(ScalarValue::Boolean(None))).otherwise(lit(false))?;
        Ok(Some(if within.negated { Expr::Not(Box::new(answer)) } else { answer }))
    }

    fn exists(&mut self, query: &Subquery, plan: LogicalPlan) -> Result<Option<Expr>> {
        let subquery = Subquery { subquery: plan.into(), ..query.clone() };
        self.mark(Expr::Exists(Exists { subquery, negated: false }))
    }

    /// What stands for a condition with a query in it; `None` if there is no such join.
    fn mark(&mut self, condition: Expr) -> Result<Option<Expr>> {
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
