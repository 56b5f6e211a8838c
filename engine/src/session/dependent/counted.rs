//! `EXISTS` and `IN` of a query that depends on the row around it otherwise than by conditions, such as one of `unnest(t.a)`: its rows are counted.
//!
//! ```text
//! EXISTS (q)    ─►  (SELECT count(*) FROM q) > 0
//! x IN (q)      ─►  (SELECT count(value = x) … FROM q): true, false, or NULL if that cannot be told
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_aggregate::count::{count, count_all};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, col, lit, when};

/// A query for the value of `EXISTS` or `IN`, if there is no other way.
pub(super) fn counted(expr: &Expr, outside: &DFSchema) -> Result<Option<Subquery>> {
    let (query, plan) = match expr {
        Expr::Exists(Exists { subquery, negated }) if needs_counting(subquery)? => {
            (subquery, of_exists(subquery, *negated)?)
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if needs_counting(subquery)? => {
            let Some(tested) = seen_from_inside(expr, outside)? else { return Ok(None) };
            let Some(plan) = of_in(&tested, subquery, *negated)? else { return Ok(None) };
            (subquery, plan)
        }
        _ => return Ok(None),
    };
    Ok(Some(Subquery { subquery: Arc::new(plan), ..query.clone() }))
}

/// Whether a query names the row around it elsewhere than in conditions: those are joined by.
fn needs_counting(query: &Subquery) -> Result<bool> {
    let mut found = false;
    query.subquery.apply(|node| {
        found |= !matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Subquery(_)) && node.contains_outer_reference();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn of_exists(query: &Subquery, negated: bool) -> Result<LogicalPlan> {
    let rows = LogicalPlanBuilder::from(query.subquery.as_ref().clone())
        .aggregate(Vec::<Expr>::new(), vec![count_all().alias(ROWS)])?;
    let none = col(ROWS).eq(lit(0_i64));
    rows.project([if negated { none } else { col(ROWS).gt(lit(0_i64)) }.alias(FOUND)])?.build()
}

/// Names of what is counted.
const ROWS: &str = "__rows";
const VALUES: &str = "__values";
const EQUAL: &str = "__equal";
const FOUND: &str = "__found";

fn of_in(tested: &Expr, query: &Subquery, negated: bool) -> Result<Option<LogicalPlan>> {
    let plan = query.subquery.as_ref().clone();
    let Some(value) = plan.schema().columns().into_iter().next().map(Expr::Column) else { return Ok(None) };
    let is_equal = when(value.clone().eq(tested.clone()), lit(true)).end()?;
    let counts = vec![count_all().alias(ROWS), count(value).alias(VALUES), count(is_equal).alias(EQUAL)];
    let is_open = col(ROWS).gt(col(VALUES)).or(tested.clone().is_null().and(col(ROWS).gt(lit(0_i64))));
    let found = when(col(EQUAL).gt(lit(0_i64)), lit(!negated))
        .when(is_open, lit(ScalarValue::Boolean(None)))
        .otherwise(lit(negated))?;
    let counted = LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), counts)?;
    counted.project([found.alias(FOUND)])?.build().map(Some)
}

/// An expression of the row around a query, as the query names it; `None` if it has a query of its own.
fn seen_from_inside(expr: &Expr, outside: &DFSchema) -> Result<Option<Expr>> {
    let mut is_plain = true;
    let done = expr.clone().transform_up(|expr| {
        is_plain &= !matches!(
            expr,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::OuterReferenceColumn(..)
        );
        Ok(match expr {
            Expr::Column(column) => {
                let field = Arc::clone(outside.field_from_column(&column)?);
                Transformed::yes(Expr::OuterReferenceColumn(field, column))
            }
            expr => Transformed::no(expr),
        })
    })?;
    Ok(is_plain.then_some(done.data))
}
