//! Rules that copy parts of a plan, and how much they may copy.
//!
//! A query in place of a value becomes a join with the rows that it is wanted for, which then are there twice. Of a query in a query in a query every part is
//! there so often that a statement of a few lines would fill the memory: the nodes that a rule adds are counted as it goes.

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use crate::error::{Error, Sqlstate};

/// The nodes that a rule may add to the plan of a statement.
const MOST_NODES: usize = 5_000;

/// What a rule may still add to a plan.
#[derive(Debug)]
pub struct Growth {
    left: usize,
}

impl Growth {
    /// Counts the nodes of what is added, those of its queries among them.
    ///
    /// # Errors
    /// 54001 if they are too many.
    pub fn take(&mut self, added: &LogicalPlan) -> Result<()> {
        added.apply_with_subqueries(|_| {
            self.left = self.left.saturating_sub(1);
            Ok(if self.left == 0 { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if self.left > 0 {
            return Ok(());
        }
        let message = "the statement has too many subqueries inside one another";
        let hint = "Compute some of them in temporary tables first, or write them as joins.";
        Err(Error::new(Sqlstate::StatementTooComplex, message).hint(hint).into())
    }
}

/// Rewrites the nodes of a plan and of its queries, from the leaves on.
///
/// # Errors
/// Those of `rewrite`, and 54001 if it adds too much.
pub fn rewritten(
    plan: LogicalPlan,
    mut rewrite: impl FnMut(LogicalPlan, &mut Growth) -> Result<Transformed<LogicalPlan>>,
) -> Result<Transformed<LogicalPlan>> {
    let (mut growth, mut has_changed) = (Growth { left: MOST_NODES }, false);
    plan.transform_up_with_subqueries(|node| {
        // What is above a changed node has the columns of what is there now.
        let node = if has_changed { node.recompute_schema()? } else { node };
        let done = rewrite(node, &mut growth)?;
        has_changed |= done.transformed;
        Ok(done)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::logical_expr::{LogicalPlanBuilder, lit};

    use super::*;

    #[test]
    fn what_is_added_is_counted() {
        let one = LogicalPlanBuilder::empty(true).build().unwrap();
        let filtered = |plan| LogicalPlanBuilder::from(plan).filter(lit(true)).unwrap().build().unwrap();
        let copied = |often: usize| {
            rewritten(one.clone(), |plan, growth| {
                let added = filtered(plan.clone());
                (0..often).try_for_each(|_| growth.take(&added))?;
                Ok(Transformed::yes(added))
            })
        };
        assert!(copied(MOST_NODES / 2 - 1).unwrap().transformed);
        let refused: Error = copied(MOST_NODES / 2).unwrap_err().into();
        assert_eq!(refused.state, Sqlstate::StatementTooComplex);
    }
}
