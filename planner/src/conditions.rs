//! What of a measure's argument is a condition (privacy.md, cohort rule 1).
//!
//! Arithmetic is a column, a literal, `+ − *`, ln, exp, sqrt and lossless numeric widening. Every other subexpression is a condition:
//! the values that it takes in a group, NULL among them, split the group into parts, each of which holds 0 or at least k units. So is
//! arithmetic that is not plain (see [`crate::arguments`]).

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};

use crate::arguments::is_plain;
use crate::checked::{self, Arithmetic};
use crate::total::widening;

/// Subexpressions of `argument` that are not arithmetic, outermost first, each once. `is_condition` says whether a column of the rows is
/// one by the way it was made (a CASE in an inner query), `stands` whether it is one of a table as it stands there.
pub(crate) fn conditions(
    argument: &Expr,
    schema: &DFSchema,
    is_condition: &dyn Fn(&Expr) -> bool,
    stands: &dyn Fn(&Expr) -> bool,
) -> Vec<Expr> {
    let mut found = Vec::new();
    if !is_plain(argument, schema, stands) {
        add(&mut found, argument.clone());
    }
    collect(argument, schema, is_condition, &mut found);
    found
}

/// Adds one that is not there yet.
pub(crate) fn add(found: &mut Vec<Expr>, condition: Expr) {
    if !found.contains(&condition) {
        found.push(condition);
    }
}

#[recursive::recursive]
fn collect(expr: &Expr, schema: &DFSchema, is_condition: &dyn Fn(&Expr) -> bool, found: &mut Vec<Expr>) {
    match operands(expr, schema) {
        Some(inner) => {
            if matches!(expr, Expr::Column(_)) && is_condition(expr) {
                add(found, expr.clone());
            }
            for e in inner {
                collect(e, schema, is_condition, found);
            }
        }
        None => {
            if !constant(expr) {
                add(found, expr.clone());
            }
            for e in children(expr) {
                collect(e, schema, is_condition, found);
            }
        }
    }
}

/// The operands of a node that is arithmetic; `None` for one that is a condition.
pub(crate) fn operands<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<Vec<&'a Expr>> {
    if let Some((op, left, right)) = checked::as_arithmetic(expr) {
        return match op {
            Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply => Some(vec![left, right]),
            Arithmetic::Divide | Arithmetic::Modulo => None,
        };
    }
    match expr {
        Expr::Column(_) | Expr::Literal(..) | Expr::Placeholder(_) | Expr::ScalarSubquery(_) => Some(vec![]),
        Expr::Alias(a) => Some(vec![a.expr.as_ref()]),
        Expr::Negative(e) => Some(vec![e.as_ref()]),
        Expr::BinaryExpr(e) if matches!(e.op, Operator::Plus | Operator::Minus | Operator::Multiply) => {
            Some(vec![e.left.as_ref(), e.right.as_ref()])
        }
        Expr::Cast(c) => lossless(&c.expr, c.field.data_type(), schema).then(|| vec![c.expr.as_ref()]),
        Expr::TryCast(c) => lossless(&c.expr, c.field.data_type(), schema).then(|| vec![c.expr.as_ref()]),
        Expr::ScalarFunction(call) if matches!(call.func.name(), "ln" | "exp" | "sqrt") => {
            Some(call.args.iter().collect())
        }
        _ => None,
    }
}

fn lossless(inner: &Expr, to: &datafusion::arrow::datatypes::DataType, schema: &DFSchema) -> bool {
    inner.get_type(schema).is_ok_and(|from| from == *to || widening(&from, to))
}

/// The expression under lossless casts.
pub(crate) fn uncast<'a>(expr: &'a Expr, schema: &DFSchema) -> &'a Expr {
    let mut expr = expr;
    loop {
        expr = match expr {
            Expr::Alias(a) => &a.expr,
            Expr::Cast(c) if lossless(&c.expr, c.field.data_type(), schema) => &c.expr,
            Expr::TryCast(c) if lossless(&c.expr, c.field.data_type(), schema) => &c.expr,
            other => return other,
        }
    }
}

/// Whether an expression is the same for every row.
pub(crate) fn constant(expr: &Expr) -> bool {
    // A subquery in it may be of units: IN and EXISTS are conditions, whatever columns they name.
    let mut constant = true;
    let _ = datafusion::common::tree_node::TreeNode::apply(expr, |e| {
        if matches!(e, Expr::Column(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..)) {
            constant = false;
            return Ok(datafusion::common::tree_node::TreeNodeRecursion::Stop);
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    constant
}

fn children(expr: &Expr) -> Vec<&Expr> {
    let mut children = Vec::new();
    let _ = datafusion::common::tree_node::TreeNode::apply_children(expr, |e| {
        children.push(e);
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    children
}
