//! Constants that cannot be computed: `1 / 0`, `2147483647 + 1`. PostgreSQL computes them when it plans a statement for its run, so that nothing of an answer comes before
//! the error, whether or not there is a row; and reads texts in quotes as values of their types before that.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use crate::error::{Error, Result};

/// Functions whose answers depend on settings in PostgreSQL, so that it computes them when a statement runs.
const STABLE: [&str; 8] = [
    "kanon_to_date",
    "kanon_to_timestamp",
    "to_number",
    "to_char",
    "format",
    "make_timestamptz",
    "concat",
    "concat_ws",
];
/// Functions that read a text as a value of a type.
const READ: [&str; 5] = ["kanon_json", "kanon_jsonb", "kanon_uuid", "kanon_inet", "kanon_timetz"];

/// What the first constant of an analysed plan fails with that cannot be computed.
///
/// # Errors
/// At once for a text that is no value of its type.
pub(super) fn failure(plan: &LogicalPlan, state: &SessionState) -> Result<Option<Error>> {
    let mut found = None;
    let mut of_rows: HashSet<*const LogicalPlan> = HashSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Unnest(unnest) = node {
            // What makes rows is computed when they are wanted.
            of_rows.insert(std::ptr::from_ref(unnest.input.as_ref()));
        }
        if of_rows.contains(&std::ptr::from_ref(node)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if is_constant(expr)? {
                    if may_fail(expr)? {
                        found = of_constant(expr, state)?;
                    }
                    return Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Jump });
                }
                // Which of its parts is computed depends on rows.
                Ok(if chooses(expr) { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}

fn of_constant(expr: &Expr, state: &SessionState) -> Result<Option<Error>> {
    let Err(error) = computed(expr, state) else { return Ok(None) };
    let mut unread = None;
    expr.apply(|part| {
        if let Expr::ScalarFunction(function) = part
            && READ.contains(&function.name())
            && matches!(function.args.as_slice(), [Expr::Literal(..)])
        {
            unread = computed(part, state).err();
        }
        Ok(if unread.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    match unread {
        Some(error) => Err(error),
        None => Ok(Some(error)),
    }
}

fn computed(expr: &Expr, state: &SessionState) -> Result<()> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(DFSchema::empty()))
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    // What cannot be computed stays as it is.
    let simple = ExprSimplifier::new(context).simplify(expr.clone())?;
    if matches!(simple, Expr::Literal(..)) {
        return Ok(());
    }
    let physical = state.create_physical_expr(simple, &DFSchema::empty())?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row =
        RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &options).map_err(Error::internal)?;
    physical.evaluate(&row)?;
    Ok(())
}

/// Whether an expression is the same for all rows and at all times.
fn is_constant(expr: &Expr) -> datafusion::error::Result<bool> {
    let varies = expr.exists(|part| {
        Ok(match part {
            Expr::Literal(..)
            | Expr::Alias(_)
            | Expr::BinaryExpr(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::Not(_)
            | Expr::Negative(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Between(_)
            | Expr::InList(_)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_) => false,
            Expr::ScalarFunction(function) => {
                function.func.signature().volatility != Volatility::Immutable || STABLE.contains(&function.name())
            }
            _ => true,
        })
    })?;
    Ok(!varies)
}

/// Whether an expression can fail at all: to compute what cannot takes time for nothing.
fn may_fail(expr: &Expr) -> datafusion::error::Result<bool> {
    expr.exists(|part| {
        Ok(match part {
            Expr::BinaryExpr(binary) => binary.op.is_numerical_operators(),
            Expr::ScalarFunction(_) | Expr::Negative(_) => true,
            Expr::Cast(cast) => cast.field.data_type().is_numeric() || !matches!(cast.expr.as_ref(), Expr::Literal(..)),
            _ => false,
        })
    })
}

fn chooses(expr: &Expr) -> bool {
    match expr {
        Expr::Case(_) => true,
        Expr::ScalarFunction(function) => matches!(function.name(), "coalesce" | "nvl" | "nvl2"),
        _ => false,
    }
}
