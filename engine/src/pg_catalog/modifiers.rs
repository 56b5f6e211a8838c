//! Which numbers of an answer have a precision that somebody declared: columns of tables and casts, and what only hands them on. All others are `numeric`, as in PostgreSQL.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::JoinType;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Whether each column of a plan is of the type that was declared.
pub fn declared(plan: &LogicalPlan) -> Vec<bool> {
    let none = || vec![false; plan.schema().fields().len()];
    let found: Vec<bool> = match plan {
        LogicalPlan::TableScan(_) => vec![true; plan.schema().fields().len()],
        LogicalPlan::Projection(projection) => of_exprs(&projection.expr, &projection.input),
        LogicalPlan::Aggregate(aggregate) => {
            let mut all = of_exprs(&aggregate.group_expr, &aggregate.input);
            all.resize(plan.schema().fields().len(), false);
            all
        }
        LogicalPlan::Window(window) => {
            let mut all = declared(&window.input);
            all.resize(plan.schema().fields().len(), false);
            all
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_) => plan.inputs().first().map(|input| declared(input)).unwrap_or_default(),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                [declared(&join.left), declared(&join.right)].concat()
            }
            _ => none(),
        },
        _ => none(),
    };
    if found.len() == plan.schema().fields().len() { found } else { none() }
}

fn of_exprs(exprs: &[Expr], input: &LogicalPlan) -> Vec<bool> {
    let of_input = declared(input);
    let of = |expr: &Expr| match expr.clone().unalias() {
        Expr::Cast(cast) => matches!(cast.field.data_type(), DataType::Decimal128(..) | DataType::Decimal256(..)),
        Expr::Column(column) => {
            let place = input.schema().maybe_index_of_column(&column);
            place.and_then(|place| of_input.get(place).copied()).unwrap_or(false)
        }
        _ => false,
    };
    exprs.iter().map(of).collect()
}
