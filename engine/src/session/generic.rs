//! Plans of statements with parameters that are made once for all values.
//!
//! How a statement is read may follow from a value: `'Feb 29, 2024'` is a date where a date is wanted. So a generic plan is used where values of the parameters' types are
//! all read alike, and only after it has become, with the values of a run, the very plan that is made for these values. What may be asked of whom is decided of each run's
//! plan as ever.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, Result as DfResult};
use datafusion::logical_expr::expr::{InList, Like, Placeholder};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan};

use super::told::metadata;
use crate::error::Result;
use crate::pg_catalog::types::PgType;

/// A plan with its parameters left open, of the given types, of which a client says what `told` has.
///
/// # Errors
/// If the plan is no plan with them.
pub(super) fn left_open(plan: LogicalPlan, types: &[DataType], told: &[Option<PgType>]) -> Result<LogicalPlan> {
    let fields: HashMap<String, Arc<Field>> = types
        .iter()
        .enumerate()
        .map(|(at, data_type)| {
            let name = format!("${}", at + 1);
            let metadata = metadata(data_type, told, at).into_iter().collect();
            let field = Field::new(&name, data_type.clone(), true).with_metadata(metadata);
            (name, Arc::new(field))
        })
        .collect();
    let typed = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| match expr {
                Expr::Placeholder(Placeholder { id, field }) => {
                    let field = fields.get(&id).cloned().or(field);
                    Ok(Transformed::yes(Expr::Placeholder(Placeholder { id, field })))
                }
                expr => Ok(Transformed::no(expr)),
            })?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(typed.data)
}

/// A plan with values for its open parameters.
///
/// # Errors
/// If a value is missing.
pub(super) fn with_values(plan: LogicalPlan, values: &ParamValues) -> Result<LogicalPlan> {
    Ok(plan.replace_params_with_values(values)?)
}

/// Whether values of these types are all read alike in a plan whose parameters are open: numbers, truth values and moments anywhere, text where it is compared with text.
pub(super) fn values_are_read_alike(plan: &LogicalPlan, types: &[DataType]) -> Result<bool> {
    let alike = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Boolean
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::UInt32
                | DataType::Float32
                | DataType::Float64
                | DataType::Date32
                | DataType::Timestamp(..)
        )
    };
    let texts: BTreeMap<String, ()> = types
        .iter()
        .enumerate()
        .filter(|(_, data_type)| **data_type == DataType::Utf8)
        .map(|(at, _)| (format!("${}", at + 1), ()))
        .collect();
    if !types.iter().all(|data_type| alike(data_type) || *data_type == DataType::Utf8) {
        return Ok(false);
    }
    if texts.is_empty() {
        return Ok(true);
    }
    let is_text = |expr: &Expr| matches!(expr, Expr::Placeholder(placeholder) if texts.contains_key(&placeholder.id));
    let (mut written, mut compared) = (0_usize, 0_usize);
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                written += usize::from(is_text(expr));
                compared += match expr {
                    Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
                        usize::from(is_text(left) && is_column(right)) + usize::from(is_column(left) && is_text(right))
                    }
                    Expr::Like(Like { expr, pattern, .. }) => usize::from(is_column(expr) && is_text(pattern)),
                    Expr::InList(InList { expr, list, .. }) if is_column(expr) => {
                        list.iter().filter(|item| is_text(item)).count()
                    }
                    _ => 0,
                };
                DfResult::Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(written == compared)
}

/// Of what type a column is has been settled: a text beside it that were none would have been cast.
fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_))
}
