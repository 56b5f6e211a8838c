//! Subqueries in expressions over rows of people, and WHERE.

use std::sync::Arc;

use datafusion::common::{DFSchema, Spans};
use datafusion::logical_expr::expr::{BinaryExpr, Exists, InSubquery};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, Operator, Projection, Subquery};

use super::expr::{Context, unreadable};
use super::outer::rows_refused;
use super::rows::{
    Rows, bare, bare_base, is_unit, less_of, position, refuse_as_condition, refuse_names, strictest, together,
    unit_used,
};
use super::{Node, Scope, Walk};
use crate::refusal::Refusal;

impl Walk<'_> {
    /// Keeps the rows for which all of `conjuncts` hold.
    pub(super) fn keep(&mut self, mut rows: Rows, shown: &DFSchema, conjuncts: Vec<Expr>) -> Result<Rows, Refusal> {
        let mut kept = Vec::new();
        let outside = std::mem::take(&mut self.joined);
        for conjunct in conjuncts {
            if self.is_correlation(&conjunct, &rows, shown)? {
                rows.correlated = true;
                continue;
            }
            let predicate = self.value(&conjunct, &rows, shown, true)?;
            refuse_as_condition(&predicate, &rows.base, rows.plan.schema())?;
            kept.push(predicate);
        }
        for other in std::mem::replace(&mut self.joined, outside) {
            if let (Some(a), Some(b)) = (&rows.protection, &other.protection) {
                rows.protection = Some(strictest(a, b)?);
                rows.private = less_of(&rows.private, &other.private);
            }
            rows.placement = together(&rows.placement, &other.placement)?;
            rows.tables.extend(other.tables);
        }
        if let Some(predicate) = conjunction(kept) {
            rows.plan =
                LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(rows.plan)).map_err(|e| unreadable(&e))?);
        }
        rows.restricted = true;
        Ok(rows)
    }

    /// Whether a conjunct is the equality of this row's unit with the unit outside an EXISTS.
    fn is_correlation(&self, conjunct: &Expr, rows: &Rows, shown: &DFSchema) -> Result<bool, Refusal> {
        let Some(Some(scope)) = self.scopes.last() else { return Ok(false) };
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = conjunct else { return Ok(false) };
        let (inner, outer) = match (uncast(left), uncast(right)) {
            (Expr::Column(inner), Expr::OuterReferenceColumn(_, outer)) => (inner, outer),
            (Expr::OuterReferenceColumn(_, outer), Expr::Column(inner)) => (inner, outer),
            _ => return Ok(false),
        };
        let unit = |rows: &Rows, shown: &DFSchema, column| -> Result<bool, Refusal> {
            let def = rows.defs.get(position(shown, column)?);
            Ok(def.and_then(|d| bare(d, rows.plan.schema())).is_some_and(|c| Some(c) == rows.unit.as_ref()))
        };
        if scope.shown.index_of_column(outer).is_err() {
            return Ok(false);
        }
        if !unit(rows, shown, inner)? || !unit(&scope.rows, &scope.shown, outer)? {
            return Ok(false);
        }
        Ok(true)
    }

    pub(super) fn exists(&mut self, e: &Exists, context: Context<'_>) -> Result<Expr, Refusal> {
        let rows = choosing(context)?;
        let shown = Arc::new(context.shown.clone());
        self.scopes.push(Some(Scope { shown, rows: rows.clone() }));
        let inner = self.node(&e.subquery.subquery);
        self.scopes.pop();
        match inner? {
            Node::Private(inner) if inner.correlated => {
                let unit = rows.unit.clone().ok_or_else(|| Refusal::unsupported("EXISTS needs rows of units"))?;
                let def = inner.unit.clone().map(Expr::Column);
                self.semi(Expr::Column(unit), inner, def, e.negated, context)
            }
            Node::Private(inner) => Err(Refusal::unsupported(format!(
                "EXISTS over {} needs an equality of its unit column with the one outside",
                super::outer::tables(&inner)
            ))
            .hint("Write EXISTS (SELECT 1 FROM … WHERE inner.unit = outer.unit AND …).")),
            Node::Open(_) if !e.subquery.outer_ref_columns.is_empty() => Err(Refusal::unsupported(
                "a correlated subquery over an open table is not supported over a protected table",
            )
            .hint("Use IN or a join.")),
            Node::Open(open) => {
                Ok(Expr::Exists(Exists { subquery: with_plan(&e.subquery, open.plan), negated: e.negated }))
            }
        }
    }

    pub(super) fn in_subquery(&mut self, e: &InSubquery, context: Context<'_>) -> Result<Expr, Refusal> {
        choosing(context)?;
        let value = self.below(&e.expr, context)?;
        if !e.subquery.outer_ref_columns.is_empty() {
            return Err(Refusal::unsupported("IN with a correlated subquery is not supported over a protected table")
                .hint(
                    "Use EXISTS with an equality of the unit columns, or IN without references to the rows outside.",
                ));
        }
        self.scopes.push(None);
        let inner = self.node(&e.subquery.subquery);
        self.scopes.pop();
        match inner? {
            Node::Open(open) => {
                refuse_names(&value, context.base, context.schema)?;
                Ok(Expr::InSubquery(InSubquery {
                    expr: Box::new(value),
                    subquery: with_plan(&e.subquery, open.plan),
                    negated: e.negated,
                }))
            }
            Node::Private(inner) => {
                let def = inner.defs.first().cloned();
                let units = is_unit(&value, context.base, context.schema)
                    && def.as_ref().is_some_and(|d| is_unit(d, &inner.base, inner.plan.schema()));
                if !units {
                    if let Some(b) = def.as_ref().and_then(|d| bare_base(d, &inner.base, inner.plan.schema()))
                        && is_unit(def.as_ref().unwrap_or(&value), &inner.base, inner.plan.schema())
                    {
                        return Err(unit_used(b));
                    }
                    refuse_names(&value, context.base, context.schema)?;
                    return Err(rows_refused(&inner, e.subquery.subquery.schema()));
                }
                self.semi(value, inner, def, e.negated, context)
            }
        }
    }

    /// `unit IN (SELECT unit …)` over two protected relations, both without NULLs among the units that are compared.
    fn semi(
        &mut self,
        value: Expr,
        inner: Rows,
        def: Option<Expr>,
        negated: bool,
        context: Context<'_>,
    ) -> Result<Expr, Refusal> {
        let fits = || {
            Refusal::unsupported("unit columns of different types cannot be compared")
                .hint("Give both unit columns one type.")
        };
        let def = def.ok_or_else(fits)?;
        let left = value.get_type(context.schema).map_err(|_| fits())?;
        let right = def.get_type(inner.plan.schema()).map_err(|_| fits())?;
        let (value, def) = if left == right {
            (value, def)
        } else if exact(&left, &right) {
            (Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(value), right)), def)
        } else if exact(&right, &left) {
            (value, Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(def), left)))
        } else {
            return Err(fits());
        };
        let mut plan = inner.plan.clone();
        if bare(&def, plan.schema()) != inner.unit.as_ref() {
            // From an outer join: rows without that unit are nobody's.
            plan = LogicalPlan::Filter(
                Filter::try_new(def.clone().is_not_null(), Arc::new(plan)).map_err(|e| unreadable(&e))?,
            );
        }
        let plan = Projection::try_new(vec![def], Arc::new(plan)).map_err(|e| unreadable(&e))?;
        let subquery = Subquery {
            subquery: Arc::new(LogicalPlan::Projection(plan)),
            outer_ref_columns: vec![],
            spans: Spans::new(),
        };
        self.joined.push(inner);
        Ok(Expr::InSubquery(InSubquery { expr: Box::new(value), subquery, negated }))
    }

    /// A subquery for a value: public, or released before and then a constant.
    pub(super) fn scalar_subquery(&mut self, s: &Subquery) -> Result<Expr, Refusal> {
        if !s.outer_ref_columns.is_empty() {
            return Err(Refusal::unsupported("a correlated scalar subquery is not supported over a protected table")
                .hint("Use a join with an inner query that groups."));
        }
        self.scopes.push(None);
        let inner = self.node(&s.subquery);
        self.scopes.pop();
        match inner? {
            Node::Open(open) => {
                self.constants.push((Arc::clone(&s.subquery), open.plan.clone()));
                Ok(Expr::ScalarSubquery(with_plan(s, open.plan)))
            }
            Node::Private(rows) => Err(rows_refused(&rows, s.subquery.schema())),
        }
    }
}

fn choosing<'a>(context: Context<'a>) -> Result<&'a Rows, Refusal> {
    context.chooses.ok_or_else(|| {
        Refusal::unsupported("IN and EXISTS with a subquery can be used on a protected table in WHERE only")
            .hint("Move the condition to WHERE of an inner query.")
    })
}

fn exact(from: &datafusion::arrow::datatypes::DataType, to: &datafusion::arrow::datatypes::DataType) -> bool {
    crate::total::infallible(from, to) && (!to.is_numeric() || from.is_integer() && to.is_integer())
}

fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(c) => uncast(&c.expr),
        Expr::Alias(a) => uncast(&a.expr),
        other => other,
    }
}

pub(super) fn with_plan(subquery: &Subquery, plan: LogicalPlan) -> Subquery {
    Subquery {
        subquery: Arc::new(plan),
        outer_ref_columns: subquery.outer_ref_columns.clone(),
        spans: subquery.spans.clone(),
    }
}
