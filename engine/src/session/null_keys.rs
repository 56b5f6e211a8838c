//! Joins by keys of which NULL equals NULL: what else is compared in them is not.
//!
//! `a IS NOT DISTINCT FROM b` makes all keys of a join such keys. An equality of a condition that becomes a key too would then be true of two NULLs, and so would
//! the keys of a join that is put together with this one. [`NoNullsAmongKeys`] says of such an equality that it is of no NULL, and [`JoinsApart`] keeps such joins
//! from being put together with others.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{find_valid_equijoin_key_pair, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator, Projection};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// `a = b` becomes `a = b AND a IS NOT NULL` before it becomes a key: to be run right before every `ExtractEquijoinPredicate`.
///
/// Equalities above a join are pushed into its condition at the end of a pass at the earliest, and so pass here in the next one.
#[derive(Debug, Default)]
pub struct NoNullsAmongKeys;

impl OptimizerRule for NoNullsAmongKeys {
    fn name(&self) -> &str {
        "no_nulls_among_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        let Some(filter) = join.filter.as_ref().filter(|_| equals_nulls(&join)) else {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        };
        let conditions = split_conjunction(filter);
        let mut missing: Vec<Expr> = Vec::new();
        for condition in &conditions {
            let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { continue };
            let pair = find_valid_equijoin_key_pair(left, right, join.left.schema(), join.right.schema())?;
            let Some((left, _)) = pair else { continue };
            let known = left.is_not_null();
            if !conditions.contains(&&known) && !missing.contains(&known) {
                missing.push(known);
            }
        }
        if missing.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Join(join)));
        }
        let filter = missing.into_iter().fold(filter.clone(), Expr::and);
        Ok(Transformed::yes(LogicalPlan::Join(Join { filter: Some(filter), ..join })))
    }
}

/// Inner joins of such keys between projections of all columns, through which `EliminateCrossJoin` does not look: to be run right before it. What is left of the
/// projections is taken away at the end of a pass.
#[derive(Debug, Default)]
pub struct JoinsApart;

impl OptimizerRule for JoinsApart {
    fn name(&self) -> &str {
        "joins_apart"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        Ok(match plan {
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner && equals_nulls(&join) => {
                let (left, right) = (apart(Arc::unwrap_or_clone(join.left)), apart(Arc::unwrap_or_clone(join.right)));
                let join = Join { left: Arc::new(left), right: Arc::new(right), ..join };
                Transformed::yes(apart(LogicalPlan::Join(join)))
            }
            plan => Transformed::no(plan),
        })
    }
}

fn equals_nulls(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull
}

/// A plan under a projection if it is an inner join.
fn apart(plan: LogicalPlan) -> LogicalPlan {
    if !matches!(&plan, LogicalPlan::Join(join) if join.join_type == JoinType::Inner) {
        return plan;
    }
    let schema = Arc::clone(plan.schema());
    LogicalPlan::Projection(Projection::new_from_schema(Arc::new(plan), schema))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::session::context::optimizer_rules;

    #[test]
    fn the_rules_run_before_those_that_they_are_for() {
        let rules = optimizer_rules();
        for (ours, theirs) in
            [("no_nulls_among_keys", "extract_equijoin_predicate"), ("joins_apart", "eliminate_cross_join")]
        {
            let place = |name| rules.iter().position(|rule| rule.name() == name).unwrap();
            assert_eq!(place(ours) + 1, place(theirs));
        }
    }
}
