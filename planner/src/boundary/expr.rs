//! Expressions over rows of people: read down to the base, checked, made total.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, plan_err};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Cast, Expr, Operator, TryCast};

use super::Walk;
use super::rows::{Bases, Rows, bare, exact, is_unit, position, refuse_names};
use crate::refusal::Refusal;
use crate::total::total;

const LARGEST: usize = 20_000;

/// What an expression is evaluated on.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The schema that the query's own names are of.
    pub shown: &'a DFSchema,
    /// What each of its columns is, over the base.
    pub defs: &'a [Expr],
    pub base: &'a Bases,
    /// The schema of the base.
    pub schema: &'a DFSchema,
    /// The rows themselves, where IN and EXISTS may choose among them (WHERE).
    pub chooses: Option<&'a Rows>,
}

impl Walk<'_> {
    /// An expression over `rows`, as it stands over their base.
    pub(super) fn value(&mut self, expr: &Expr, rows: &Rows, shown: &DFSchema, chooses: bool) -> Result<Expr, Refusal> {
        let context = Context {
            shown,
            defs: &rows.defs,
            base: &rows.base,
            schema: rows.plan.schema(),
            chooses: chooses.then_some(rows),
        };
        self.below(expr, context)
    }

    /// The same in any context. A bare column (under casts that lose nothing) may be of any role: its use decides.
    pub(super) fn below(&mut self, expr: &Expr, context: Context<'_>) -> Result<Expr, Refusal> {
        let below = self.rewrite(expr, context)?;
        let mut size = 0_usize;
        let _ = below.apply(|_| {
            size += 1;
            Ok(if size > LARGEST { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        if size > LARGEST {
            return Err(Refusal::unsupported("an expression is too large once its inner queries are written out"));
        }
        Ok(below)
    }

    #[recursive::recursive]
    fn rewrite(&mut self, expr: &Expr, context: Context<'_>) -> Result<Expr, Refusal> {
        match expr {
            Expr::Alias(a) => self.rewrite(&a.expr, context),
            Expr::Column(c) => {
                let at = position(context.shown, c)?;
                context
                    .defs
                    .get(at)
                    .cloned()
                    .ok_or_else(|| Refusal::unsupported("a column cannot be found in its place"))
            }
            Expr::Cast(Cast { expr: inner, field }) | Expr::TryCast(TryCast { expr: inner, field }) => {
                let value = self.rewrite(inner, context)?;
                if bare(&value, context.schema).is_some() && exact(&value, field.data_type(), context.schema) {
                    return Ok(Expr::Cast(Cast { expr: Box::new(value), field: field.clone() }));
                }
                refuse_names(&value, context.base, context.schema)?;
                let cast = match expr {
                    Expr::TryCast(_) => Expr::TryCast(TryCast { expr: Box::new(value), field: field.clone() }),
                    _ => Expr::Cast(Cast { expr: Box::new(value), field: field.clone() }),
                };
                total(cast, context.schema)
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                let (left, right) = (self.rewrite(left, context)?, self.rewrite(right, context)?);
                let units =
                    is_unit(&left, context.base, context.schema) && is_unit(&right, context.base, context.schema);
                if !units {
                    refuse_names(&left, context.base, context.schema)?;
                    refuse_names(&right, context.base, context.schema)?;
                }
                Ok(left.eq(right))
            }
            Expr::InSubquery(e) => self.in_subquery(e, context),
            Expr::Exists(e) => self.exists(e, context),
            Expr::ScalarSubquery(s) => self.scalar_subquery(s),
            Expr::SetComparison(_) => {
                Err(Refusal::unsupported("ANY and ALL of a subquery cannot be used on the rows of a protected table")
                    .hint("Use IN, or compare with an aggregate of the subquery."))
            }
            Expr::OuterReferenceColumn(_, c) => Err(Refusal::unsupported(format!(
                "a subquery over a protected table that refers to column \"{}\" outside is not supported",
                c.name
            ))
            .hint("Use a join, or EXISTS with an equality of the unit columns.")),
            other => {
                let mut refusal = None;
                let mapped = other.clone().map_children(|child| match self.operand(&child, context) {
                    Ok(value) => Ok(Transformed::yes(value)),
                    Err(r) => {
                        refusal = Some(r);
                        plan_err!("refused")
                    }
                });
                match (mapped, refusal) {
                    (_, Some(refusal)) => Err(refusal),
                    (Ok(mapped), None) => total(mapped.data, context.schema),
                    (Err(e), None) => Err(unreadable(&e)),
                }
            }
        }
    }

    /// A part of a larger expression: not a unit's name, not an identifier.
    fn operand(&mut self, expr: &Expr, context: Context<'_>) -> Result<Expr, Refusal> {
        let value = self.rewrite(expr, context)?;
        refuse_names(&value, context.base, context.schema)?;
        Ok(value)
    }
}

/// A plan that cannot be built: our own fault or a shape that the query engine does not take. Its text says nothing of data, but of
/// names that are ours, so it is not shown.
pub(super) fn unreadable(_: &DataFusionError) -> Refusal {
    Refusal::unsupported("this shape of query is not supported over a protected table")
        .hint("Write the query with simpler inner queries.")
}
