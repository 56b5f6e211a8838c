//! Joins and subqueries of a subplan's text.

use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, Join, LogicalPlan};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::super::expr;
use super::{Block, Writer, field_names};
use crate::refusal::Refusal;

impl Writer<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Block, Refusal> {
        let word = match join.join_type {
            JoinType::Inner => "JOIN",
            JoinType::Left => "LEFT JOIN",
            JoinType::Right => "RIGHT JOIN",
            JoinType::Full => "FULL JOIN",
            _ => {
                return Err(
                    Refusal::unsupported("a join of this kind cannot be sent to sites").hint("Use IN or EXISTS.")
                );
            }
        };
        if join.null_equality != NullEquality::NullEqualsNothing {
            return Err(Refusal::unsupported("a join on NULLs cannot be sent to sites"));
        }
        // What a false condition rules out in one side of an outer join is not the site.
        let before = self.nowhere;
        let outer = join.join_type != JoinType::Inner;
        let left = self.side(&join.left, outer, matches!(join.join_type, JoinType::Right | JoinType::Full))?;
        let right = self.side(&join.right, true, matches!(join.join_type, JoinType::Left | JoinType::Full))?;
        if join.join_type != JoinType::Inner {
            self.nowhere = before;
        }
        let mut columns = left.columns.clone();
        columns.extend(right.columns.iter().cloned());
        let mut block = Block { from: String::new(), filters: left.filters, columns, sealed: false };
        let mut conditions = Vec::new();
        for (l, r) in &join.on {
            let l = self.over(l.clone(), join.left.schema(), &left.columns)?;
            let r = self.over(r.clone(), join.right.schema(), &right.columns)?;
            conditions.push(l.eq(r));
        }
        if let Some(filter) = &join.filter {
            let both = join
                .left
                .schema()
                .join(join.right.schema())
                .map_err(|_| Refusal::unsupported("a join with ambiguous columns"))?;
            let filter = self.over(filter.clone(), &both, &block.columns)?;
            conditions.extend(split_conjunction_owned(filter));
        }
        let mut texts = Vec::new();
        for condition in conditions {
            match self.constant(&condition) {
                Some(true) => {}
                _ => texts.push(format!("({})", self.text(&condition)?)),
            }
        }
        let right_from = right.from;
        block.from = match (texts.is_empty(), join.join_type) {
            (true, JoinType::Inner) => format!("{} CROSS JOIN {right_from}", left.from),
            (true, _) => format!("{} {word} {right_from} ON true", left.from),
            (false, _) => format!("{} {word} {right_from} ON {}", left.from, texts.join(" AND ")),
        };
        Ok(block)
    }

    /// A side of a join: a query of its own if it has conditions or is made of several tables, and if it computes what is to be NULL
    /// where the side is missing.
    fn side(&mut self, plan: &LogicalPlan, alone: bool, may_be_missing: bool) -> Result<Block, Refusal> {
        let block = self.block(plan)?;
        let computed = block.columns.iter().zip(plan.schema().fields());
        let computed =
            computed.filter(|(_, field)| self.used.contains(field.name())).any(|(c, _)| !matches!(c, Expr::Column(_)));
        if block.sealed
            || alone && (!block.filters.is_empty() || block.from.contains(" JOIN "))
            || may_be_missing && computed
        {
            return self.wrapped(block, plan.schema());
        }
        Ok(block)
    }

    pub(super) fn subquery(&mut self, expr: Expr, schema: &DFSchema, columns: &[Expr]) -> Result<Expr, Refusal> {
        let plan = match &expr {
            Expr::InSubquery(within) => std::sync::Arc::clone(&within.subquery.subquery),
            Expr::Exists(exists) => std::sync::Arc::clone(&exists.subquery.subquery),
            _ => {
                return Err(Refusal::unsupported(
                    "a scalar subquery below a federated aggregate cannot be sent to sites",
                ));
            }
        };
        self.outer.push((std::sync::Arc::new(schema.clone()), columns.to_vec()));
        let written = self.block(&plan).and_then(|block| {
            let (items, _) = self.items(&block, &field_names(plan.schema()))?;
            self.select(&items, &block)
        });
        self.outer.pop();
        let query = Parser::new(&PostgreSqlDialect {})
            .try_with_sql(&written?)
            .and_then(|mut parser| parser.parse_query())
            .map_err(|_| Refusal::unsupported("a subquery cannot be written for a site"))?;
        let tree = match expr {
            Expr::InSubquery(within) => {
                let operand = self.over(*within.expr, schema, columns)?;
                ast::Expr::InSubquery {
                    expr: Box::new(expr::tree(&operand, &self.subqueries, self.terse)?),
                    subquery: query,
                    negated: within.negated,
                }
            }
            Expr::Exists(exists) => ast::Expr::Exists { subquery: query, negated: exists.negated },
            _ => return Err(Refusal::unsupported("a subquery cannot be written for a site")),
        };
        self.subqueries.push(tree);
        Ok(expr::stand_in(self.subqueries.len() - 1))
    }
}
