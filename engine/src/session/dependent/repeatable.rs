//! Whether rows that are read twice are the same rows.
//!
//! A query for each of them is joined with them by their values: a value that is another one the second time has no answer, or loses its row. What is computed by
//! chance is not repeatable, and neither is what follows the order in which rows happen to come: the first of them, their numbers, sums that are rounded.

use std::collections::HashSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, Limit, LogicalPlan, Sort, Window, WindowFrameUnits,
    WindowFunctionDefinition,
};

use crate::functions::one_row;

/// Aggregates that are the same in whatever order their rows come, numbers of any kind among them.
const WITHOUT_ORDER: [&str; 10] =
    ["count", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor", "median", "percentile_cont"];
/// Those that are what they are of because of an order.
const BY_ORDER: [&str; 6] = ["first_value", "last_value", "nth_value", "array_agg", "string_agg", "any_value"];
/// Window functions that are the same for rows that come in either order.
const OF_PEERS: [&str; 4] = ["rank", "dense_rank", "percent_rank", "cume_dist"];

/// Whether a plan has the same rows whenever it is computed.
pub(super) fn is_repeatable(plan: &LogicalPlan) -> Result<bool> {
    // What is taken for the only value of a row is in no order.
    let mut are_lists_values = false;
    plan.apply_with_subqueries(|node| {
        are_lists_values |= node.expressions().iter().any(one_row::is_taken);
        Ok(if are_lists_values { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    let mut is_repeatable = true;
    plan.apply_with_subqueries(|node| {
        is_repeatable &= !node.expressions().iter().any(Expr::is_volatile)
            && match node {
                LogicalPlan::Limit(limit) => are_first_known(limit),
                LogicalPlan::Sort(sort) => sort.fetch.is_none() || tells_apart(&sort.expr, [], &sort.input),
                LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
                LogicalPlan::Distinct(Distinct::On(distinct)) => {
                    let order = distinct.sort_expr.as_deref().unwrap_or_default();
                    let known = known(order, &distinct.on_expr);
                    distinct.select_expr.iter().all(|expr| expr.column_refs().iter().all(|c| known.contains(c)))
                }
                LogicalPlan::Aggregate(aggregate) => are_aggregates_repeatable(aggregate, are_lists_values),
                LogicalPlan::Window(window) => are_windows_repeatable(window),
                _ => true,
            };
        Ok(if is_repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(is_repeatable)
}

/// Whether rows that an order and groups do not tell apart are the same in all columns.
fn tells_apart<'e>(order: &'e [SortExpr], groups: impl IntoIterator<Item = &'e Expr>, input: &LogicalPlan) -> bool {
    let (known, columns) = (known(order, groups), input.schema().columns());
    let LogicalPlan::Projection(projection) = input else { return columns.iter().all(|column| known.contains(column)) };
    // What is computed of known columns is known too.
    let all = || columns.iter().zip(&projection.expr);
    let below: HashSet<Column> = all()
        .filter(|(column, _)| known.contains(column))
        .filter_map(|(_, expr)| expr.clone().unalias().try_as_col().cloned())
        .collect();
    all().all(|(column, expr)| known.contains(column) || expr.column_refs().iter().all(|of| below.contains(*of)))
}

fn known<'e>(order: &'e [SortExpr], groups: impl IntoIterator<Item = &'e Expr>) -> HashSet<&'e Column> {
    order.iter().map(|sort| &sort.expr).chain(groups).filter_map(Expr::try_as_col).collect()
}

/// Whether the first rows are always the same.
fn are_first_known(limit: &Limit) -> bool {
    let mut below = limit.input.as_ref();
    loop {
        below = match below {
            // All rows are alike.
            LogicalPlan::Projection(projection) if projection.expr.iter().all(|expr| !expr.any_column_refs()) => {
                return true;
            }
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Sort(Sort { expr, input, .. }) => return tells_apart(expr, [], input),
            _ => return false,
        };
    }
}

fn are_aggregates_repeatable(aggregate: &Aggregate, are_lists_values: bool) -> bool {
    let schema = aggregate.input.schema();
    aggregate.aggr_expr.iter().all(|expr| {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias() else { return false };
        let is_list = are_lists_values && func.name() == "array_agg";
        is_list || is_aggregate_repeatable(func.name(), &params.args, &params.order_by, &aggregate.group_expr, schema)
    })
}

fn is_aggregate_repeatable(name: &str, args: &[Expr], order: &[SortExpr], groups: &[Expr], schema: &DFSchema) -> bool {
    if WITHOUT_ORDER.contains(&name) {
        return true;
    }
    if BY_ORDER.contains(&name) || name.starts_with("kanon_json") {
        let known = known(order, groups);
        return args.iter().all(|arg| arg.column_refs().iter().all(|column| known.contains(column)));
    }
    // Sums of floats are rounded as they go.
    args.iter().all(|arg| arg.get_type(schema).is_ok_and(|of_type| !of_type.is_floating()))
}

fn are_windows_repeatable(window: &Window) -> bool {
    let schema = window.input.schema();
    window.window_expr.iter().all(|expr| {
        let Expr::WindowFunction(function) = expr.clone().unalias() else { return false };
        let WindowFunction { fun, params } = *function;
        if tells_apart(&params.order_by, &params.partition_by, &window.input) {
            return true;
        }
        match fun {
            WindowFunctionDefinition::AggregateUDF(func) => {
                params.window_frame.units != WindowFrameUnits::Rows
                    && is_aggregate_repeatable(
                        func.name(),
                        &params.args,
                        &params.order_by,
                        &params.partition_by,
                        schema,
                    )
            }
            WindowFunctionDefinition::WindowUDF(func) => OF_PEERS.contains(&func.name()),
        }
    })
}
