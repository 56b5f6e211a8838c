//! Queries that stand for a value, once a row of the query around them: `SELECT (SELECT name FROM people WHERE id = v.person) FROM visits v`.
//!
//! DataFusion joins such a query by its condition, and so takes aggregates alone. The values of each row are collected, and taken if there is one at most.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::expr_fn::{array_agg, first_value};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Limit, LogicalPlan, LogicalPlanBuilder, Projection, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Subquery, Volatility,
};

use super::of_arrays;
use crate::error::{Error, Sqlstate};

static ONE_ROW: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let name = "kanon_one_row";
    Arc::new(ScalarUDF::new_from_impl(OneRow { name, signature: Signature::any(1, Volatility::Immutable) }))
});

pub(super) fn one_row() -> Arc<ScalarUDF> {
    Arc::clone(&ONE_ROW)
}

/// A plan whose queries for values are aggregates, where they depend on the row around them.
///
/// # Errors
/// If the plan is no plan.
pub fn aggregated(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|expr| match expr {
                Expr::ScalarSubquery(query) if !query.outer_ref_columns.is_empty() => match of_one_row(&query)? {
                    Some(value) => Ok(Transformed::yes(value)),
                    None => Ok(Transformed::no(Expr::ScalarSubquery(query))),
                },
                other => Ok(Transformed::no(other)),
            })?;
            Ok(if done.transformed { done.update_data(|expr| name.restore(expr)) } else { done })
        })
    })?;
    Ok(done.data)
}

/// The value of a query; `None` if it is an aggregate, which has one row, or not of a shape that can be made one.
fn of_one_row(query: &Subquery) -> Result<Option<Expr>> {
    let plan = query.subquery.as_ref();
    if is_aggregate(plan) {
        return Ok(None);
    }
    let again = |plan: LogicalPlan| Expr::ScalarSubquery(Subquery { subquery: plan.into(), ..query.clone() });
    match plan {
        // Of one row the first is that.
        LogicalPlan::Limit(limit) if is_aggregate(&limit.input) && takes_one(limit) => {
            Ok(Some(again(limit.input.as_ref().clone())))
        }
        // The first row is one.
        LogicalPlan::Limit(limit) => {
            let is_first = matches!(limit.fetch.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(1)), _)));
            if !is_first || limit.skip.is_some() {
                return Ok(None);
            }
            let (input, value, order) = match limit.input.as_ref() {
                LogicalPlan::Sort(sort) => (&sort.input, only_column(&sort.input), sort.expr.clone()),
                // By a column that is not selected.
                LogicalPlan::Projection(Projection { expr, input, .. }) => match (expr.as_slice(), input.as_ref()) {
                    ([value], LogicalPlan::Sort(sort)) => (&sort.input, Some(value.clone()), sort.expr.clone()),
                    _ if is_ordered(input) => return Ok(None),
                    _ => (&limit.input, only_column(&limit.input), Vec::new()),
                },
                other if is_ordered(other) => return Ok(None),
                other => (&limit.input, only_column(other), Vec::new()),
            };
            let Some(value) = value else { return Ok(None) };
            let first = first_value(value.unalias(), order);
            let plan = LogicalPlanBuilder::from(Arc::clone(input)).aggregate(Vec::<Expr>::new(), vec![first])?;
            Ok(Some(again(plan.build()?)))
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) => {
            Ok(collected(plan)?.map(|all| only(again(all))))
        }
        _ => Ok(None),
    }
}

/// A query of one row: the list of all values of another one; `None` if that has more than one column.
///
/// # Errors
/// If the plan is no plan.
pub fn collected(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let plan = if let LogicalPlan::Sort(sort) = plan { sort.input.as_ref() } else { plan };
    let Some(value) = only_column(plan) else { return Ok(None) };
    let all = LogicalPlanBuilder::from(plan.clone());
    all.aggregate(Vec::<Expr>::new(), vec![array_agg(value)])?.build().map(Some)
}

/// The only value of a list: 21000 if there are more.
pub fn only(list: Expr) -> Expr {
    one_row().call(vec![list])
}

/// Whether an expression takes the only value of a list.
pub fn is_taken(expr: &Expr) -> bool {
    let found = expr
        .exists(|expr| Ok(matches!(expr, Expr::ScalarFunction(function) if function.func.name() == ONE_ROW.name())));
    found.unwrap_or(false)
}

/// Whether a limit leaves one row as it is.
fn takes_one(limit: &Limit) -> bool {
    let number = |expr: &Option<Box<Expr>>, none: i64| match expr.as_deref() {
        None => Some(none),
        Some(Expr::Literal(ScalarValue::Int64(number), _)) => Some(number.unwrap_or(none)),
        Some(_) => None,
    };
    number(&limit.skip, 0) == Some(0) && number(&limit.fetch, 1).is_some_and(|fetch| fetch > 0)
}

/// Whether a query has an order that is not its uppermost part.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Subquery(_) => {
            plan.inputs().first().is_some_and(|input| is_ordered(input))
        }
        _ => false,
    }
}

fn only_column(plan: &LogicalPlan) -> Option<Expr> {
    let mut columns = plan.schema().iter();
    let (qualifier, field) = columns.next()?;
    columns.next().is_none().then(|| Expr::Column(Column::new(qualifier.cloned(), field.name())))
}

/// Whether a query has one row, whatever it reads.
fn is_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) | LogicalPlan::Filter(_) => {
            plan.inputs().first().is_some_and(|input| is_aggregate(input))
        }
        _ => false,
    }
}

/// The only element of a list; NULL of none.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OneRow {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for OneRow {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::List(item)] => Ok(item.data_type().clone()),
            _ => Err(Error::internal(format!("{} takes what {} gives", self.name, array_agg_udaf().name())).into()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let lists = arrays.first().and_then(|lists| lists.as_list_opt::<i32>());
            let lists = lists.ok_or_else(|| Error::internal("a list is needed"))?;
            let mut places = Vec::with_capacity(lists.len());
            for (row, ends) in lists.value_offsets().windows(2).enumerate() {
                let [from, to] = ends else { continue };
                places.push(match to - from {
                    _ if lists.is_null(row) => None,
                    0 => None,
                    1 => u32::try_from(*from).ok(),
                    _ => {
                        let message = "more than one row returned by a subquery used as an expression";
                        return Err(Error::new(Sqlstate::CardinalityViolation, message).into());
                    }
                });
            }
            Ok(take(lists.values(), &UInt32Array::from(places), None)? as ArrayRef)
        })
    }
}
